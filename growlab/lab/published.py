"""Random growth as a public program does it that the paper may have used: a guess, held against its sizes (02, 05).

Read from the files of Firefly's authors (github.com/klightz/Firefly, sp/net.py and sp/conv.py). Nothing says that the
paper used them. Their optimiser is made anew after each growth, and the rate set back: ``treatments`` has both.
"""

from collections import Counter

import torch
from torch import nn

from growlab.checks import number
from growlab.plans import Candidate, GrowthPlan, growth_rate
from growlab.seeds import random_stream
from growlab.structure.graph import named_tensors
from growlab.structure.units import growable
from growlab.surgery import slot


def published_random(model: nn.Module, batches=None, *, seed=0, rate: float = 0.35, noise: float = 0.01) -> GrowthPlan:
    """Copies of neurons drawn *with replacement*, a random number in each layer, moved apart by noise.

    The first copy of a neuron halves its outgoing weights. Each further one brings the same half again: drawn twice, a
    neuron counts 1.5 times, so the function is not kept. ``noise`` is the length of each row of a kernel of the noise;
    theirs moves parent and child on their own, this moves them apart by the same difference. The plan is the whole
    growth, ``rate`` included: build all of it (``Growth(published_random, 1.0, …)``). Notebooks 02 and 05.
    """
    growth_rate(rate)
    number("noise", noise, "[0, inf)", "0.01 is as published")
    tensors, generator, found = named_tensors(model), random_stream(seed, "published random"), growable(model)
    counts = layer_budgets(int(rate * sum(unit.neurons for unit in found)), len(found), generator)
    candidates = []
    for unit, count in zip(reversed(found), counts):  # from the last layer to the first
        drawn = Counter()
        for parent in torch.randint(unit.neurons, (count,), generator=generator).tolist():
            edit, again = unit.filters, drawn[parent]
            row = slot(tensors[edit.tensor], edit, parent).detach()
            apart = noise / 2 * sum(_noise(row, generator) for _ in range(2))
            values = {edit: apart}
            if again:  # a fresh neuron that looks like a copy
                whole = {e: slot(tensors[e.tensor], e, parent).detach() for e in unit.edits}
                values = {e: value / 2 if e.kind == "share" else value for e, value in whole.items()}
                values[edit] = row + 2 * apart
            candidates.append(Candidate(unit.name, None if again else parent, 0.0, values))
            drawn[parent] += 1
    return GrowthPlan("published random", {unit.name: unit.neurons for unit in found}, tuple(candidates), nats=False)


def layer_budgets(neurons: int, layers: int, generator) -> list[int]:
    """How many new neurons each layer gets: differences of cut points, drawn without replacement from 0 … neurons − 1.

    From the third layer on, one more each. A layer's width plays no part.
    """
    cuts = torch.randperm(neurons, generator=generator)[:layers].sort().values
    between = cuts.diff(prepend=cuts.new_zeros(1))
    between[2:] += 1
    return between.tolist()


def _noise(like, generator):
    rows = torch.randn(like.shape, generator=generator, dtype=torch.float64)
    return (rows / rows.norm(dim=-1, keepdim=True)).to(like)
