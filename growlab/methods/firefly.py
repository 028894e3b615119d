"""Firefly (Wu et al. 2020): perturb the network in every way at once, train the perturbations, keep the best.

Every neuron is offered a split, every unit some fresh neurons. All of them together make an *enlarged network*; its
perturbations alone are trained for some batches, and the gradient of a gate that fades them in says what each one is
worth. The enlarged network is the one that surgery would build, so what is scored is what is built. One of the
proposals (flow: units, **propose**, plan, apply, train); notebook 03 builds it by hand for one layer.
"""

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm

from growlab.checks import number, whole
from growlab.data.batches import endless
from growlab.plans import Candidate, GrowthPlan
from growlab.seeds import random_stream
from growlab.structure.graph import named_tensors
from growlab.structure.units import Edit, Unit, growable
from growlab.surgery import Births, edits_by_tensor, grown, slot, widen
from growlab.tracing import CONV

OUTGOING = 0.1  # of the others' steps: a first-order effect beside second-order ones (published: 0.01 and 0.1)


def firefly(
    model: nn.Module, batches: Iterable, *, seed: int = 0, fresh: int = 8, steps: int = 10, scoring: int = 5,
    step_size: float = 0.03, penalty: float = 1e-2, gate: float = 0.5,
) -> GrowthPlan:  # fmt: skip
    """A split of every neuron and ``fresh`` new neurons per unit, scored by the decrease of the loss that they promise.

    The enlarged network replaces each activation σ(w·x) by ½[σ((w + y·v)·x) + σ((w − y·v)·x)] and adds y·o·σ(u·x) of
    the fresh neurons to what the consumers read; fresh neurons of neighbouring units are not connected. Weights are
    frozen and batch norm is in eval mode; v, u and o are trained at y = 1 for ``steps`` batches of (images, labels).
    Then the score −∂L/∂y = −⟨v, ∂L/∂v⟩/y (fresh neurons: o instead of v) is read with every y at ``gate``, as the mean
    over the next ``scoring`` batches. Fewer batches than that are used again. Unit of a score: nats per picture.

    ``gate``: at the midpoint 0.5 the score is the whole gain if the loss is quadratic in y; at 1 (published) a split
    counts twice, and the score of a well-trained direction is zero. ``step_size``: the first step of each filter,
    relative to the root mean square of its layer's weights; steps follow the normalised gradient and fall to zero, and
    outgoing weights move a tenth of it. In deep networks large steps add up, and the plan promises more than it keeps:
    see ``gl.preview``. ``penalty``: times ‖v‖²; it shrinks splits that gain nothing.

    The published code has fresh=70, an epoch each for steps and for scoring, gate=1, penalty=1e-2 (1e-4 for u), RMSprop
    with steps of 1e-3, and starts from U(−0.1, 0.1) for v, U(−0.01, 0.01) for o, N(0, 0.1²) for u. It leaves the batch
    norm of fresh neurons at its defaults; here they get the running statistics of the first scoring batch, so that they
    act in train mode as they were scored.

    The model is left as it is. Raises ``ValueError`` for options out of range, no batches, a loss that is not finite.
    """
    _check(batches, fresh, steps, scoring, step_size, penalty, gate)
    tensors = {name: tensor.detach() for name, tensor in named_tensors(model).items()}
    p = perturb(growable(model), tensors, fresh, step_size, random_stream(seed, "firefly"))
    enlarged, stream = enlarge(model, p), endless(batches)
    gradients = partial(_gradients, enlarged, tensors, p, step_size)
    norms = [(layer, where) for layer, name, _, where in _statistics(enlarged, p) if name == "running_mean"]
    hooks = [n.register_forward_pre_hook(partial(_measure, where=w)) for n, w in norms if isinstance(n, BatchNorm)]
    for step in range(steps):
        size = step_size * (1 - step / steps)
        for (kind, edit), gradient in gradients(next(stream), 1.0).items():
            direction = p.directions[kind, edit].detach()  # shares its memory
            if kind == "split":
                gradient = gradient + 2 * penalty * direction
            direction.sub_(size * _scale(kind, tensors[edit.tensor]) * _normalised(gradient, edit))

    scores = {unit: torch.zeros(unit.neurons + fresh, dtype=torch.float64) for unit in p.units}
    for _ in range(scoring):
        found = gradients(next(stream), gate)
        for hook in hooks:
            hook.remove()  # the fresh neurons keep the statistics of the first of these batches
        for (kind, edit), gradient in found.items():
            if kind != "incoming":  # which is not gated itself: it fades in with the outgoing weights
                unit = p.unit_of[edit]
                own = slice(unit.neurons) if kind == "split" else slice(unit.neurons, None)
                gain = gate_score(_rows(p.directions[kind, edit].detach(), edit), _rows(gradient, edit), gate)
                scores[unit][own] += gain.cpu() / scoring

    statistics = {edit: getattr(layer, name)[where] for layer, name, edit, where in _statistics(enlarged, p)}
    candidates = [c for unit in p.units for c in _candidates(unit, p, scores[unit].tolist(), statistics)]
    widths = {unit.name: unit.neurons for unit in p.units}
    return GrowthPlan("firefly", widths, tuple(sorted(candidates, key=lambda c: -c.score)))


def _gradients(enlarged, tensors, p, step_size, batch, y):
    """The gradient of the loss for each direction, with every gate at y."""
    images, labels = batch
    loss = F.cross_entropy(functional_call(enlarged, gated_weights(tensors, p, y), (images,)), labels)
    if not loss.isfinite():
        hint = f"look at the model's own loss, and if it is finite try a smaller step_size than {step_size}"
        raise ValueError(f"the loss of the enlarged network is {loss.item()}: {hint}")
    return dict(zip(p.directions, torch.autograd.grad(loss, [*p.directions.values()], materialize_grads=True)))


def gate_score(direction: Tensor, gradient: Tensor, gate: float) -> Tensor:
    """−∂L/∂y = −⟨v, ∂L/∂v⟩ / y at y = ``gate``, by candidate: no gate variable is needed.

    ``direction`` and its ``gradient`` are ``(candidates, D)``, where v acts as y·v. The chain rule twice: both
    derivatives are those with respect to the product. Returns ``(candidates,)``; positive if more y lowers the loss.
    """
    return -(direction * gradient).sum(1) / gate


@dataclass(frozen=True)
class Perturbations:
    """All candidates of a network: a split of every neuron of ``units`` and ``fresh`` new neurons in each.

    ``directions[kind, edit]``: v ("split", of the producer's shape), u ("incoming") and o ("outgoing", the shape of
    the edit's tensor, but with ``fresh`` neurons along its axis).
    """

    units: list[Unit]
    fresh: int
    directions: dict[tuple[str, Edit], Tensor]

    @cached_property
    def unit_of(self) -> dict[Edit, Unit]:
        return {edit: unit for unit in self.units for edit in unit.edits}

    @cached_property
    def by_tensor(self) -> dict[str, list[tuple[Edit, Unit]]]:
        return edits_by_tensor(self.units)

    def births(self, unit: Unit, y: float) -> Births:
        """Children of all neurons, then fresh ones; v and o times the gate."""
        values = {}
        for edit in unit.edits:
            new = self.directions.get(("incoming", edit))
            if ("outgoing", edit) in self.directions:
                new = y * self.directions["outgoing", edit]
            if new is not None:
                v = self.directions.get(("split", edit))
                values[edit] = torch.cat([_zeros(new, edit, unit.neurons) if v is None else y * v, new], edit.axis)
        return Births(unit.neurons, [*range(unit.neurons), *[None] * self.fresh], values)


def perturb(units: list[Unit], tensors: dict[str, Tensor], fresh: int, size: float, generator) -> Perturbations:
    """Where the directions start: v random and small (its gradient is zero at zero), u as in a new layer, o zero.

    Depthwise filters of fresh neurons belong to u: at zero they would cut the neuron off.
    """
    directions = {}
    for unit in units:
        for edit in unit.edits:
            tensor = tensors[edit.tensor]
            room = _zeros(tensor, edit, fresh)
            if edit.kind == "share":
                directions["outgoing", edit] = room
            elif tensor.dim() > 1:
                if edit.tensor.removesuffix(".weight") in unit.layers:
                    noise = torch.randn(tensor.shape, generator=generator).to(tensor)
                    directions["split", edit] = size * _scale("split", tensor) * noise
                uniform = 2 * torch.rand(room.shape, generator=generator) - 1
                directions["incoming", edit] = (uniform / slot(tensor, edit, 0).numel() ** 0.5).to(tensor)
    for direction in directions.values():
        direction.requires_grad_()
    return Perturbations(units, fresh, directions)


def enlarge(model: nn.Module, p: Perturbations) -> nn.Module:
    """A frozen copy in eval mode that has room for all candidates: parents, then children, then fresh neurons."""
    enlarged = copy.deepcopy(model).eval().requires_grad_(False)
    widen(enlarged, {u: [Candidate(u.name, parent) for parent in p.births(u, 0).parents] for u in p.units})
    for name, edits in p.by_tensor.items() if p.fresh else ():
        layer = enlarged.get_submodule(name.rpartition(".")[0])
        if isinstance(layer, CONV) and layer.groups == 1 and name.endswith("weight") and len(edits) == 2:
            (_, maker), (edit, read) = edits  # a copy and a share: between two units
            if 2 * read.neurons + p.fresh == layer.in_channels:  # and nothing else is read
                _skip_what_is_known(layer, read.neurons, maker.neurons)
    return enlarged


def _skip_what_is_known(layer, n, made):
    """The same convolution in a third of the work: it reads n twins alike, and its fresh rows no fresh neurons."""

    def forward(x):
        parents, children, new = x.split([n, n, x.shape[1] - 2 * n], 1)
        old, fresh = layer.weight.split([2 * made, layer.out_channels - 2 * made])
        bias = (None, None) if layer.bias is None else layer.bias.split([len(old), len(fresh)])
        both, of_new = parents + children, old[:, 2 * n :]
        twins = layer._conv_forward(torch.cat([both, new], 1), torch.cat([old[:, :n], of_new], 1), bias[0])
        return torch.cat([twins, layer._conv_forward(both, fresh[:, :n], bias[1])], 1)

    layer.forward = forward


def gated_weights(tensors: dict[str, Tensor], p: Perturbations, y: float) -> dict[str, Tensor]:
    """The weights of the enlarged network by name, with every v and o times the gate: surgery that has a gradient.

    At y = 0 the function is the plain network's. Biases and batch norm are in the enlarged network already.
    """
    births = {unit: p.births(unit, y) for unit in p.units}
    return {name: grown(tensors[name], todo, births) for name, todo in p.by_tensor.items() if tensors[name].dim() > 1}


def _zeros(tensor, edit, neurons):
    """Like the tensor, but with so many neurons along the edit's axis."""
    return tensor.new_zeros(
        [neurons * edit.repeat if axis == edit.axis else size for axis, size in enumerate(tensor.shape)]
    )


def _rows(tensor, edit):
    """One row per neuron: ``(neurons, D)``."""
    tensor = tensor.movedim(edit.axis, 0)
    return tensor.unflatten(0, (len(tensor) // edit.repeat, edit.repeat)).flatten(1)


def _normalised(gradient, edit):
    """The gradient of each neuron divided by its own root mean square; zero stays zero."""
    size = _rows(gradient, edit).square().mean(1).sqrt().repeat_interleave(edit.repeat)
    shape = [-1 if axis == edit.axis else 1 for axis in range(gradient.dim())]
    return gradient / size.reshape(shape).clamp_min(torch.finfo(gradient.dtype).tiny)


def _scale(kind, tensor):
    """Root mean square of a layer's weights, the unit of steps: a tenth of it for outgoing ones."""
    return tensor.square().mean().sqrt() * (OUTGOING if kind == "outgoing" else 1)


# Batch norm of fresh neurons
def _statistics(enlarged, p):
    """Running statistics of fresh neurons: (layer, name, edit, where they are in the enlarged network)."""
    for tensor, todo in p.by_tensor.items():
        layer, _, name = tensor.rpartition(".")
        for edit, unit in todo if p.fresh and name in ("running_mean", "running_var") else ():
            before = sum((other.neurons + p.fresh) * e.repeat for e, other in todo if e.offset < edit.offset)
            start = edit.offset + before + 2 * unit.neurons * edit.repeat
            yield enlarged.get_submodule(layer), name, edit, slice(start, start + p.fresh * edit.repeat)


@torch.no_grad()
def _measure(norm, inputs, where):
    """Before a batch norm is computed: its fresh channels get the statistics that train mode would use."""
    channels = inputs[0][:, where]
    variance, mean = torch.var_mean(channels, [axis for axis in range(channels.dim()) if axis != 1], correction=0)
    norm.running_mean[where], norm.running_var[where] = mean, variance


def _candidates(unit, p, scores, statistics):
    """The candidates of one unit, each with the rows and columns that it was scored with."""

    def part(tensor, edit, neuron):
        return tensor.detach().narrow(edit.axis, neuron * edit.repeat, edit.repeat).clone()

    split = {edit: v for (kind, edit), v in p.directions.items() if kind == "split" and edit in unit.edits}
    new = {edit: u for (kind, edit), u in p.directions.items() if kind != "split" and edit in unit.edits}
    new |= {edit: s for edit, s in statistics.items() if edit in unit.edits}
    origins = [*((split, i, i) for i in range(unit.neurons)), *((new, None, j) for j in range(p.fresh))]
    return [
        Candidate(unit.name, parent, score, {edit: part(tensor, edit, i) for edit, tensor in values.items()})
        for (values, parent, i), score in zip(origins, scores)
    ]


def _check(batches, fresh, steps, scoring, step_size, penalty, gate):
    if batches is None:
        raise ValueError("firefly needs batches: gl.propose('firefly', model, data.batches('train', 128))")
    whole("fresh", fresh, 0, "70 is as published")
    whole("steps", steps, 1, "so many batches train the directions")
    whole("scoring", scoring, 1, "so many batches read the scores")
    number("gate", gate, "(0, 1]", "0.5 predicts, 1 is as published; at 0 every split scores 0")
    number("step_size", step_size, "(0, inf)", "0.03 means 3 % of the weights' root mean square")
    number("penalty", penalty, "[0, inf)", "0.01 is as published")
