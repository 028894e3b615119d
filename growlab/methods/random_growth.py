"""Growth at random: fresh neurons, and copies of random neurons (Net2Net). Notebook 02.

Both keep the function when their one option is 0. The scores are random numbers, so that a budget over the whole
network draws neurons without replacement, uniformly over all units.
"""

import torch
from torch import nn

from growlab.checks import number
from growlab.plans import Candidate, GrowthPlan
from growlab.seeds import random_stream
from growlab.structure.graph import named_tensors
from growlab.structure.units import growable
from growlab.surgery import slot


def fresh(model: nn.Module, batches=None, *, seed: int = 0, outgoing: float = 0.0, coupled: bool = False) -> GrowthPlan:
    """Fresh neurons with random incoming weights, one candidate per neuron of the network.

    Incoming weights are drawn as PyTorch draws those of a new layer, U(−1/√D, 1/√D). ``outgoing`` is the size of
    the outgoing weights relative to the root mean square of the consumer's: at 0 the function is kept and the
    neuron learns all the same (its outgoing weights have a gradient at once); if the *incoming* ones were zero as
    well it would be dead for ever.
    """
    outgoing = number("outgoing", outgoing, "[0, inf)", "at 0 the function is kept")
    tensors, generator = named_tensors(model), random_stream(seed, "fresh neurons")
    candidates, found = [], growable(model, coupled)
    for unit in found:
        for _ in range(unit.neurons):
            values = {}
            for edit in unit.edits:
                tensor = tensors[edit.tensor]
                if edit.kind == "copy" and tensor.dim() > 1:
                    row = slot(tensor, edit, 0)
                    values[edit] = (2 * torch.rand(row.shape, generator=generator) - 1) / row.numel() ** 0.5
                elif edit.kind == "share" and outgoing:
                    size = outgoing * tensor.detach().square().mean().sqrt().item()
                    values[edit] = size * torch.randn(slot(tensor, edit, 0).shape, generator=generator)
            candidates.append(Candidate(unit.name, None, _uniform(generator), values))
    return GrowthPlan("random", {unit.name: unit.neurons for unit in found}, tuple(candidates), nats=False)


def net2net(model: nn.Module, batches=None, *, seed: int = 0, step: float = 0.0, coupled: bool = False) -> GrowthPlan:
    """A copy of every neuron (Net2Wider, Chen et al. 2016), one candidate each.

    With ``step`` > 0 child and parent are moved apart by ± a random direction of that length (the random split of
    Elsken et al. 2017, the baseline in the Firefly study); at 0 the function is kept exactly.
    """
    step = number("step", step, "[0, inf)", "at 0 the function is kept")
    tensors, generator = named_tensors(model), random_stream(seed, "copies")
    candidates, found = [], growable(model, coupled)
    for unit in found:
        for parent in range(unit.neurons):
            values = {}
            for edit in unit.edits:
                if step and edit.kind == "copy" and edit.tensor.removesuffix(".weight") in unit.layers:
                    direction = torch.randn(slot(tensors[edit.tensor], edit, 0).shape, generator=generator)
                    values[edit] = direction * (step / direction.norm())
            candidates.append(Candidate(unit.name, parent, _uniform(generator), values))
    return GrowthPlan("net2net", {unit.name: unit.neurons for unit in found}, tuple(candidates), nats=False)


def _uniform(generator):
    return torch.rand((), generator=generator, dtype=torch.float64).item()
