"""``widen``: the only code that changes shapes. Weights, statistics and optimiser state grow together.

Every tensor is its old entries, some of them repeated and multiplied by a factor, plus those of fresh neurons. Parameters keep their
identity (``Tensor.set_``), so optimisers, hooks and graphs that are still alive stay valid; all new tensors are
computed before the first one is put in place, so an error leaves the model whole. Notebook 01 builds the case of
two linear layers by hand.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from growlab.structure.graph import named_tensors
from growlab.structure.units import Edit, Unit


@dataclass(frozen=True)
class Neurons:
    """The neurons of one unit after growth, the new ones at the end."""

    index: Tensor  # (n + m,) long: the old neuron that each one continues; 0 for fresh ones
    old: Tensor  # (n + m,) double: 1, but 0 for fresh ones
    family: Tensor  # (n + m,) double: how many neurons share the same origin

    @classmethod
    def after(cls, unit: Unit, new: Sequence) -> "Neurons":
        parents = [*range(unit.neurons), *(candidate.parent for candidate in new)]
        copies = Counter(parents)
        return cls(
            torch.tensor([parent or 0 for parent in parents]),
            torch.tensor([parent is not None for parent in parents], dtype=torch.float64),
            torch.tensor([1 if parent is None else copies[parent] for parent in parents], dtype=torch.float64),
        )


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
    tensors = named_tensors(model)
    edits = defaultdict(list)
    for unit in new:
        for edit in unit.edits:
            edits[edit.tensor].append((edit, unit))
    neurons = {unit: Neurons.after(unit, candidates) for unit, candidates in new.items()}
    _check_optimizer(optimizer, [tensors[name] for name in edits])

    grown, states = {}, []
    for name, todo in edits.items():
        todo.sort(key=lambda pair: (pair[0].kind, pair[0].axis, -pair[0].offset))  # copies first; offsets stay valid
        grown[name] = _grow(tensors[name], todo, new, neurons)
        for key, value in optimizer.state.get(tensors[name], {}).items() if optimizer else ():
            if isinstance(value, Tensor) and value.dim():
                states.append((tensors[name], key, _grow_state(key, value, tensors[name], todo, neurons)))

    for name, tensor in grown.items():
        tensors[name].set_(tensor)
        tensors[name].grad = None
    for parameter, key, value in states:
        optimizer.state[parameter][key] = value
    for name in {name.rpartition(".")[0] for name in edits}:
        _update_sizes(model.get_submodule(name))


def slot(tensor: Tensor, edit: Edit, neuron: int) -> Tensor:
    """The part of a tensor that belongs to one neuron: a view with ``edit.repeat`` entries along ``edit.axis``."""
    return tensor.narrow(edit.axis, edit.offset + neuron * edit.repeat, edit.repeat)


def _grow(tensor, todo, new, neurons):
    """A weight or statistic after growth. Values of candidates are given for the old shape of the other axes."""
    result, done = tensor, []
    for edit, unit in todo:
        after, count = neurons[unit], unit.neurons
        factor = after.old if edit.kind == "copy" else after.old / after.family
        result = _select(result, edit, count, after.index, factor)
        for neuron, candidate in enumerate(new[unit], start=count):
            value = candidate.values.get(edit)
            if value is None:
                if candidate.parent is None and edit.kind == "copy" and tensor.dim() == 1:
                    slot(result, edit, neuron).fill_(edit.tensor.endswith(("weight", "running_var")))
                continue
            value = value.to(tensor).reshape(slot(tensor, edit, 0).shape)
            for earlier, other in done:  # the candidate's slice follows the axes that have grown already
                if earlier.axis != edit.axis:
                    value = _select(value, earlier, other.neurons, neurons[other].index, neurons[other].old)
            slot(result, edit, neuron).add_(value)
            if candidate.parent is not None:
                slot(result, edit, candidate.parent).sub_(value)
        done.append((edit, unit))
    return _restore_format(result, tensor)


def _grow_state(key, value, parameter, todo, neurons):
    """A tensor of the optimiser's state: momentum follows the gradient, second moments its square."""
    if value.shape != parameter.shape:
        raise ValueError(
            f"cannot grow the optimizer's {key!r} of shape {tuple(value.shape)} for a parameter of shape "
            f"{tuple(parameter.shape)}: use an optimizer whose state has the parameters' shapes (SGD, Adam, AdamW, …)"
        )
    power, result = 2 if key.endswith("_sq") else 1, value
    for edit, unit in todo:
        after = neurons[unit]
        factor = after.old / after.family**power if edit.kind == "copy" else after.old
        result = _select(result, edit, unit.neurons, after.index, factor)
    return _restore_format(result, value)


def _select(tensor, edit, count, index, factor):
    """Repeat a unit's entries along one axis, new ones behind the old, and multiply each by its ``factor``."""
    axis, end = edit.axis, edit.offset + count * edit.repeat
    own = tensor.narrow(axis, edit.offset, end - edit.offset).unflatten(axis, (count, edit.repeat))
    born = own.index_select(axis, index[count:].to(tensor.device)).flatten(axis, axis + 1)
    result = torch.cat([tensor.narrow(axis, 0, end), born, tensor.narrow(axis, end, tensor.shape[axis] - end)], axis)
    scaled = (factor != 1).nonzero().flatten()  # few: to multiply everything would cost as much as the copy
    if len(scaled):
        grown = result.narrow(axis, edit.offset, len(index) * edit.repeat).unflatten(axis, (len(index), edit.repeat))
        factor = factor[scaled].to(tensor).reshape(-1, *[1] * (grown.dim() - axis - 1))
        scaled = scaled.to(tensor.device)
        grown.index_copy_(axis, scaled, grown.index_select(axis, scaled).mul_(factor))
    return result


def _restore_format(new, old):
    """Indexing drops channels_last."""
    if old.dim() == 4 and old.is_contiguous(memory_format=torch.channels_last):
        return new.contiguous(memory_format=torch.channels_last)
    return new.contiguous()


def _check_optimizer(optimizer, tensors):
    if optimizer is None:
        return
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if not any(id(tensor) in held for tensor in tensors):
        raise ValueError(
            "the optimizer holds none of the parameters that grow: it was made for another model (or a copy of this "
            "one); make it from this model's parameters, before growing"
        )


def _update_sizes(module):
    """The numbers that layers keep about their own shapes."""
    if hasattr(module, "in_features"):
        module.out_features, module.in_features = module.weight.shape
    elif hasattr(module, "in_channels"):
        rows, columns = module.weight.shape[:2]
        if module.groups > 1:  # depthwise: the only grouped convolution that grows
            module.groups = module.in_channels = module.out_channels = rows
        else:
            module.in_channels, module.out_channels = (rows, columns) if module.transposed else (columns, rows)
    elif hasattr(module, "num_features"):
        module.num_features = len(module.weight if module.weight is not None else module.running_mean)
    elif hasattr(module, "num_parameters"):
        module.num_parameters = len(module.weight)
