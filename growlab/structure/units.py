"""What can grow in a model: every set of channels, with all tensors that must follow when it gets longer.

Second station of the flow (data, model, **units**, propose, plan, apply, train); notebook 01 does it by hand for two
layers. The model is read once (graph.py, channels.py) and left as it is.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor, nn

from growlab.structure.channels import Reader
from growlab.structure.graph import trace
from growlab.watching import evaluating


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
    producer: Tensor | None = field(default=None, repr=False, compare=False)

    @property
    def filters(self) -> Edit:
        """Where the filters lie: the edit of the first producer's weight."""
        return next(edit for edit in self.edits if edit.kind == "copy" and edit.tensor == f"{self.name}.weight")

    @property
    def weight(self) -> Tensor:
        """The filters of the first producer as rows: a view of shape ``(n, D)``, D = C_in·k_h·k_w."""
        return self.producer.detach().movedim(self.filters.axis, 0).flatten(1)


def units(model: nn.Module, coupled: bool = False, explain: bool = False) -> list[Unit]:
    """The units of a model, in the order in which the model computes them.

    By default the units with one producer, which is what splitting and Firefly take. ``coupled=True`` adds those
    with several (residual streams, squeeze-excite). ``explain=True`` adds the frozen ones as well: ``unit.frozen``
    says why. Raises ``ValueError`` for models that ``torch.fx`` cannot read.
    """
    reader = Reader(model)
    with evaluating(model):  # which also brings the modes back
        for mode in (True, False):  # a branch on self.training must be followed whichever way it goes
            model.train(mode)
            reader.read(trace(model))
    reader.freeze_what_is_tied()
    return [unit for unit in _units_of(reader) if explain or (not unit.frozen and (coupled or len(unit.layers) == 1))]


def _units_of(reader) -> list[Unit]:
    edits = {channels.root: [] for channels in reader.outputs.values()}
    for (tensor, axis), (parts, kind) in reader.layouts.items():
        offset = 0
        for channels, repeat in parts:
            edits[channels.root].append(Edit(tensor, axis, kind, offset, repeat))
            offset += channels.size * repeat
    return [
        Unit(c.layers[0], c.size, tuple(c.layers), tuple(found), c.reason, reader.tensors[f"{c.layers[0]}.weight"])
        for c, found in edits.items()
    ]


def units_with(model: nn.Module, widths: dict[str, int]) -> dict[str, Unit]:
    """The units of a model by name, if those in ``widths`` have so many neurons; a ``ValueError`` if not."""
    found = {unit.name: unit for unit in units(model, coupled=True)}
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
