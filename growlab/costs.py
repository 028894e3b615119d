"""What tensors cost, in parameters and multiply-adds, when units grow: a plan's budget is counted with it."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from math import prod

import torch
from torch import nn

from growlab.structure.units import units
from growlab.watching import evaluating, hooked


@dataclass(frozen=True)
class TensorCost:
    """What a weight costs: its shape, how often a picture uses it, and which of its axes follow which unit."""

    shape: tuple[int, ...]
    positions: int | None  # None: not measured
    grows: tuple[tuple[int, str, int], ...]  # (axis, unit, entries per neuron)

    def size(self, added: Counter) -> int:
        shape = list(self.shape)
        for axis, unit, repeat in self.grows:
            shape[axis] += repeat * added[unit]
        return prod(shape)


def size_of(costs: Iterable[TensorCost], what: str, added: Counter) -> int:
    """ "parameters" or "flops" (multiply-adds per picture) of all tensors, with so many neurons added to the units."""
    if what == "parameters":
        return sum(cost.size(added) for cost in costs)
    if any(cost.positions is None for cost in costs):
        raise ValueError("flops depend on the size of the pictures: pass batches to gl.propose")
    return sum(cost.size(added) * cost.positions for cost in costs)


def costs_of(model: nn.Module, widths: Iterable[str], batches: Iterable | None) -> tuple[TensorCost, ...]:
    """What every parameter costs when the units in ``widths`` grow; positions are counted if there are batches."""
    grows, positions = {}, positions_of(model, batches) if batches is not None else {}
    for unit in units(model, coupled=True):
        for edit in unit.edits if unit.name in widths else ():
            grows.setdefault(edit.tensor, []).append((edit.axis, unit.name, edit.repeat))
    unknown = 0 if positions else None  # a layer that no picture meets costs nothing
    return tuple(
        TensorCost(tuple(p.shape), positions.get(name, unknown if p.dim() > 1 else 0), tuple(grows.get(name, ())))
        for name, p in model.named_parameters()
    )


@torch.no_grad()
def positions_of(model, batches):
    """How often one picture uses each weight: the number of positions in the layer's output."""
    found = {}

    def note(module, inputs, output, name, channels):
        found[f"{name}.weight"] = found.get(f"{name}.weight", 0) + output[0].numel() // channels

    notes = {}
    for name, module in model.named_modules():
        if hasattr(module, "weight") and (hasattr(module, "in_channels") or hasattr(module, "in_features")):
            channels = getattr(module, "out_channels", None) or module.out_features
            notes[module] = partial(note, name=name, channels=channels)
    with evaluating(model), hooked(notes):
        for images, _ in islice(batches, 1):  # none left: a generator that the method has used up
            model(images[:1])
    return found
