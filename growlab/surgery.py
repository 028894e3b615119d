"""``grown`` and ``widen``: the only code that changes shapes. Weights, statistics and optimiser state grow together.

A tensor after growth is its old entries, some of them repeated and multiplied by a factor, plus what is new: ``grown``
says so for one tensor, out of place and with a gradient, for Firefly; ``widen`` puts it into a model. Parameters keep
their identity (``Tensor.set_``), so optimisers, hooks and graphs that are still alive stay valid. All new tensors are
computed before the first one is put in place, so an error leaves the model whole. Notebook 01 builds the case of two
linear layers by hand.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from growlab.machine import like
from growlab.momentum import powers_of
from growlab.structure.graph import named_tensors
from growlab.structure.units import Edit, Unit


@dataclass(frozen=True)
class Births:
    """The new neurons of one unit: the parent of each (None: fresh), and what is new in the tensors.

    ``values[edit]`` holds all of them along the edit's axis, for the *old* shape of the other axes: for a child the
    difference to its parent (which moves the other way), for a fresh neuron the values themselves.
    """

    neurons: int  # of the unit, before growth
    parents: Sequence[int | None]
    values: dict[Edit, Tensor]

    @cached_property
    def origin(self) -> list[int | None]:  # of each neuron after growth, the new ones at the end
        return [*range(self.neurons), *self.parents]

    @cached_property
    def old(self) -> Tensor:  # double: 1, but 0 for fresh ones
        return torch.tensor([neuron is not None for neuron in self.origin], dtype=torch.float64)

    @cached_property
    def family(self) -> Tensor:  # double: how many neurons share the same origin
        copies = Counter(self.origin)
        return torch.tensor([1 if o is None else copies[o] for o in self.origin], dtype=torch.float64)


@torch.no_grad()
def widen(model: nn.Module, new: dict[Unit, Sequence], optimizer: torch.optim.Optimizer | None = None) -> None:
    """Give every unit its new neurons, in place: ``new[unit]`` is a sequence of candidates (``plans.Candidate``).

    A candidate with a parent continues it: its own rows are the parent's plus ``values``, and the parent's are
    reduced by as much (w + v and w − v; Net2Wider without values). A candidate without parent is fresh: its rows
    *are* the values, otherwise 0 (1 for scales and variances, as in a new layer). Columns in the consumers are
    divided by the size of the family, so the function stays.

    State of the optimiser follows the gradients: with m copies the incoming gradients are 1/m of the parent's, the
    outgoing ones stay (notebook 02); state of fresh neurons starts at zero. Raises ``ValueError`` if the
    optimizer does not hold the model's parameters.
    """
    tensors, edits = named_tensors(model), edits_by_tensor(new)
    births = {unit: births_of(unit, candidates, tensors) for unit, candidates in new.items()}
    powers = powers_of(optimizer, [tensors[name] for name in edits]) if optimizer else {}
    widened = {name: grown(tensors[name], todo, births) for name, todo in edits.items()}
    states = [
        (tensors[name], key, _grown_state(optimizer, powers[key], tensors[name], key, todo, births))
        for name, todo in edits.items()
        for key, value in (optimizer.state.get(tensors[name], {}).items() if optimizer else ())
        if key in powers
    ]
    for name, tensor in widened.items():
        tensors[name].set_(tensor).grad = None
    for parameter, key, value in states:
        optimizer.state[parameter][key] = value
    for layer, size, more in ((*e.tensor.rsplit(".", 1), e.repeat * len(new[u])) for u in new for e in u.sizes):
        module = model.get_submodule(layer)
        setattr(module, size, getattr(module, size) + more)


def grown(tensor: Tensor, todo: list[tuple[Edit, Unit]], births: dict[Unit, Births]) -> Tensor:
    """A weight or statistic after growth, out of place; ``todo`` are its edits in the order of ``edits_by_tensor``."""
    result = tensor
    for place, (edit, unit) in enumerate(todo):
        new = births[unit]
        result = _select(result, edit, new, new.old if edit.kind == "copy" else new.old / new.family)
        value = new.values.get(edit)
        if value is not None:
            for earlier, other in todo[:place]:  # values follow the axes that have grown already
                if earlier.axis != edit.axis:
                    value = _select(value, earlier, births[other], births[other].old)
            moves = _moves(value, edit, new)
            result.narrow(edit.axis, edit.offset, moves.shape[edit.axis]).add_(moves)
    return _restore_format(result, tensor)


def edits_by_tensor(units: Iterable[Unit]) -> dict[str, list[tuple[Edit, Unit]]]:
    """All edits of each tensor: copies first, and from the back, so that offsets stay valid."""
    edits = defaultdict(list)
    for unit in units:
        for edit in unit.edits:
            edits[edit.tensor].append((edit, unit))
    for todo in edits.values():
        todo.sort(key=lambda pair: (pair[0].kind, pair[0].axis, -pair[0].offset))
    return edits


def births_of(unit: Unit, candidates: Sequence, tensors: dict[str, Tensor]) -> Births:
    """What candidates (``plans.Candidate``) bring. Scales and variances of fresh neurons are 1 unless given."""
    values = {}
    for edit in unit.edits:
        tensor = tensors[edit.tensor]
        shape = slot(tensor, edit, 0).shape
        scale = 1.0 if edit.tensor.endswith(("weight", "running_var")) and tensor.dim() == 1 else 0.0
        if edit.tensor.replace("weight", "num_parameters") in [size.tensor for size in unit.sizes]:
            scale = 0.25  # a PReLU's slope
        parts = [c.values.get(edit, scale if c.parent is None else 0.0) for c in candidates]
        if any(isinstance(part, Tensor) or part for part in parts):
            whole = (like(p, tensor) if isinstance(p, Tensor) else tensor.new_full(shape, p) for p in parts)
            values[edit] = torch.cat([part.reshape(shape) for part in whole], edit.axis)
    return Births(unit.neurons, [candidate.parent for candidate in candidates], values)


def slot(tensor: Tensor, edit: Edit, neuron: int) -> Tensor:
    """The part of a tensor that belongs to one neuron: a view with ``edit.repeat`` entries along ``edit.axis``."""
    return tensor.narrow(edit.axis, edit.offset + neuron * edit.repeat, edit.repeat)


def _moves(value, edit, new):
    """What is added to the neurons of a unit along an axis: values to the new ones, less the same to their parents."""
    axis, children = edit.axis, [i for i, parent in enumerate(new.parents) if parent is not None]
    value = value.unflatten(axis, (len(new.parents), edit.repeat))
    back = value.new_zeros([new.neurons if i == axis else size for i, size in enumerate(value.shape)])
    if children:
        parents = torch.tensor([new.parents[i] for i in children], device=value.device)
        own = value.index_select(axis, torch.tensor(children, device=value.device))
        back = back.index_add(axis, parents, own, alpha=-1)
    return torch.cat([back, value], axis).flatten(axis, axis + 1)


def _grown_state(optimizer, power, parameter, key, todo, births):
    """A tensor of the optimiser's state: it follows a power of the gradient, or the weight itself."""
    value = optimizer.state[parameter][key]
    (group,) = (g for g in optimizer.param_groups if any(p is parameter for p in g["params"]))
    if key == "ax":  # an average of the weights
        return grown(value, todo, births)

    def follow(value, power):
        for edit, new in ((edit, births[unit]) for edit, unit in todo):
            value = _select(value, edit, new, new.old / new.family ** (power if edit.kind == "copy" else 0))
        return _restore_format(value, parameter)

    if key == "step_size":
        return follow(value, 0).masked_fill_(follow(torch.ones_like(value), 0) == 0, float(group["lr"]))
    if key == "acc_delta":  # of the squares of g·sqrt((acc_delta + ε) / (square_avg + ε))
        before, after = (follow(optimizer.state[parameter]["square_avg"], power) for power in (0, 2))
        factor = after * (before + group["eps"]) / (before * (after + group["eps"]))
        return follow(value, 0) * factor.nan_to_num(1.0)
    start = group["initial_accumulator_value"] if key == "sum" else 0
    return follow(value - start, power) + start


def _select(tensor, edit, new, factor):
    """Repeat a unit's entries along one axis, new ones behind the old, and multiply each by its ``factor``."""
    axis, places = edit.axis, torch.arange(tensor.shape[edit.axis])
    own = places.narrow(0, edit.offset, new.neurons * edit.repeat).unflatten(0, (new.neurons, edit.repeat))
    own = own[[parent or 0 for parent in new.origin]].flatten()
    places = torch.cat([places[: edit.offset], own, places[edit.offset + new.neurons * edit.repeat :]])
    result = tensor.index_select(axis, places.to(tensor.device))
    if (factor != 1).any():
        factor = like(factor.repeat_interleave(edit.repeat), tensor).reshape(-1, *[1] * (tensor.dim() - axis - 1))
        result.narrow(axis, edit.offset, len(own)).mul_(factor)
    return result


def _restore_format(new, old):
    """Indexing drops channels_last."""
    if old.dim() == 4 and old.is_contiguous(memory_format=torch.channels_last):
        return new.contiguous(memory_format=torch.channels_last)
    return new.contiguous()
