"""What tensors cost, in parameters and multiply-adds, when units grow: a plan's budget is counted with it."""

from collections import Counter
from dataclasses import dataclass
from functools import partial
from itertools import islice
from math import prod

import torch

from growlab.models import evaluating, hooked
from growlab.structure.units import units


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


def costs_of(model, plan, batches):
    grows = {}
    for unit in units(model, coupled=True):
        if unit.name in plan.widths:
            for edit in unit.edits:
                grows.setdefault(edit.tensor, []).append((edit.axis, unit.name, edit.repeat))
    positions = positions_of(model, batches) if batches is not None else {}
    return tuple(
        TensorCost(
            tuple(p.shape), positions.get(name, 0 if p.dim() < 2 or positions else None), tuple(grows.get(name, ()))
        )
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
