"""What can grow in a model: every set of channels, with all tensors that must follow when it gets longer.

Second station of the flow (data, model, **units**, propose, plan, apply, train); notebook 01 does it by hand for two
layers. The model is read once (graph.py, channels.py) and left as it is.
"""

from dataclasses import dataclass, field, replace
from typing import NamedTuple

from torch import Tensor, nn

from growlab.structure.channels import Reader
from growlab.tracing import TAUGHT, readings


class Edit(NamedTuple):
    """What happens to one axis of one tensor when a unit grows.

    ``copy``: the entries of a copied neuron are repeated (producers, batch norm, depthwise followers).
    ``share``: they are divided by the number of copies as well (consumers), so that the sum stays.
    The unit's neuron ``i`` lies at ``offset + i * repeat … offset + (i + 1) * repeat`` of the axis.
    """

    tensor: str
    axis: int
    kind: str
    offset: int = 0
    repeat: int = 1


@dataclass(frozen=True)
class Unit:
    """A set of ``neurons`` channels that grow together, named after the first layer that produces them.

    ``layers`` produce the channels, ``edits`` are all tensors that must follow, ``frozen`` says why the unit
    cannot grow (empty if it can).
    """

    name: str
    neurons: int
    layers: tuple[str, ...]
    edits: tuple[Edit, ...]
    frozen: str = ""
    sizes: tuple[Edit, ...] = field(default=(), repr=False)  # of what layers keep beside tensors: out_features, groups
    producer: Tensor | None = field(default=None, repr=False, compare=False)

    @property
    def filters(self) -> Edit:
        """Where the filters lie: the edit of the first producer's weight."""
        return next(edit for edit in self.edits if edit.kind == "copy" and edit.tensor == f"{self.name}.weight")

    @property
    def weight(self) -> Tensor:
        """The filters of the first producer as rows: a view of shape ``(n, D)``, D = C_in·k_h·k_w."""
        return self.producer.detach().movedim(self.filters.axis, 0).flatten(1)


class Listing(list):
    """Units that print as a table: name, neurons, what follows them, and why they are frozen."""

    def __repr__(self):
        rows = [("unit", "neurons", "followed by", "frozen because")]
        for unit in self:
            layers = dict.fromkeys(edit.tensor.rpartition(".")[0] for edit in unit.edits)
            layers.pop(unit.name)
            rows.append((unit.name, str(unit.neurons), ", ".join(layers), unit.frozen or "-"))
        wide = [max(map(len, column)) for column in zip(*rows)]
        return "\n".join("  ".join(map(str.ljust, row, wide)).rstrip() for row in rows)


def units(model: nn.Module, coupled=False, explain=False, elementwise: tuple[str, ...] = ()) -> list[Unit]:
    """The units of a model, in the order in which the model computes them.

    By default the units with one producer, which is what splitting and Firefly take. ``coupled=True`` adds those
    with several (residual streams, squeeze-excite). ``explain=True`` adds the frozen ones as well, and prints as a
    table: ``unit.frozen`` says why. Units are frozen as well if none of their weights is trained, but others are.

    ``elementwise``: names of your own functions (under ``@torch.fx.wrap``) and classes of layers that treat every
    number by itself; from then on they are known, to all that grows. Raises ``ValueError`` for models that
    ``torch.fx`` cannot read.
    """
    TAUGHT.update(elementwise)
    found, some = all_units(model), any(p.requires_grad for p in model.parameters())
    tensors = dict(model.named_parameters(remove_duplicate=False)) if some else {}
    for place, unit in enumerate(found):
        weights = [tensors[e.tensor] for e in unit.edits if e.tensor in tensors and tensors[e.tensor].dim() > 1]
        if weights and not any(weight.requires_grad for weight in weights):
            found[place] = replace(unit, frozen=unit.frozen or "none of its weights is trained (requires_grad=False)")
    if explain:
        return Listing(found)
    return [unit for unit in found if not unit.frozen and (coupled or len(unit.layers) == 1)]


def all_units(model: nn.Module) -> list[Unit]:
    """All units of a model, frozen or not, whether their weights are trained or not."""
    reader = Reader(model)
    for graph, by_flag in readings(model):  # a branch on self.training must be followed whichever way it goes
        reader.read(graph, by_flag)
    reader.finish()
    edits, sizes = ({channels.root: [] for channels in reader.outputs.values()} for _ in range(2))
    for (tensor, axis), (parts, kind) in reader.layouts.items():
        offset = 0
        for channels, repeat in parts:
            place = edits if tensor in reader.tensors else sizes
            place[channels.root].append(Edit(tensor, axis, kind, offset, repeat))
            offset += channels.size * repeat
    found = []
    for c, own in edits.items():
        reason = c.reason or ("" if any(edit.kind == "share" for edit in own) else "no layer reads it")
        rest = (reason, tuple(sizes[c]), reader.tensors[f"{c.layers[0]}.weight"])
        found.append(Unit(c.layers[0], c.size, tuple(c.layers), tuple(own), *rest))
    return found


def units_with(model: nn.Module, widths: dict[str, int]) -> dict[str, Unit]:
    """The units of a model by name, if those in ``widths`` have so many neurons; a ``ValueError`` if not."""
    found = {unit.name: unit for unit in all_units(model) if not unit.frozen}
    now = {name: found[name].neurons if name in found else "missing" for name in widths}
    if other := {name: (width, now[name]) for name, width in widths.items() if now[name] != width}:
        hint = "propose again for this model"
        raise ValueError(f"the plan was made for other widths; unit: (plan, model) {other}; {hint}")
    return found


def growable(model: nn.Module, coupled: bool = False) -> list[Unit]:
    """The units of a model for a proposal; an error with the reasons if there are none."""
    if not (usable := units(model, coupled)):
        found = units(model, coupled, explain=True)
        reasons = "; ".join(f"{unit.name}: {unit.frozen or 'several producers (coupled=True)'}" for unit in found)
        reasons = reasons or "it has no layers with channels"
        raise ValueError(f"nothing can grow in this {type(model).__name__}: {reasons}")
    return usable
