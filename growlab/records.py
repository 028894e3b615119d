"""What a run leaves behind: its history as JSON, its weights as a checkpoint. Both carry a checksum.

Beside the flow: ``train`` writes them after every epoch, ``save`` and ``load`` are for any model. Notebook 00.
Whatever is written is first tried against what reading allows, so nothing is kept that nobody can read.
"""

import io
import zlib
from contextlib import contextmanager
from pickle import UnpicklingError

import torch
from torch import nn

from growlab import models
from growlab.checks import plain, whole
from growlab.files import ARCHIVE, read_sealed, write_sealed
from growlab.history import History
from growlab.plans import Candidate
from growlab.structure.graph import named_tensors
from growlab.structure.units import all_units
from growlab.surgery import widen

NO_CHECKPOINT = "is not a checkpoint of growlab, or damaged: move it away, and a run starts anew; weights need a copy"


def save(path, model: nn.Module, **extra) -> None:
    """Write a model's weights, with what ``load`` needs to bring back its shapes; ``extra`` is kept beside them.

    Tensors and plain values only, no objects: ``ValueError`` names what could not be read back. The file appears whole
    or not at all, and an old one survives a full disk.
    """
    if "recipe" in extra:
        raise ValueError(f"recipe must be left to gl.save, got {extra['recipe']!r:.80}: give yours another name")
    contents = {"model": model.state_dict(), **plain({"recipe": models.recipe(model), **extra})}
    write_sealed(path, _archive(contents))


def _archive(contents):
    """As the bytes of a file that can be read; what could not be is named."""
    try:
        torch.save(contents, buffer := io.BytesIO())
        _parse(buffer.getvalue())
        return buffer.getvalue()
    except MemoryError:
        raise
    except Exception as error:  # many kinds, of pickle and of whatever is pickled
        if len(contents) > 1:
            for name, value in contents.items():
                _archive({name: value})
        must = "must be tensors and plain values"
        told = ", ".join(f"{name} {must}, got {value!r:.80}" for name, value in contents.items())
        hint = "what runs no code can be read back; str(…), .tolist() or dataclasses.asdict(…) make such values"
        raise ValueError(f"{told}: {hint}") from error


def _parse(archive):
    try:
        return torch.load(io.BytesIO(archive), map_location="cpu", weights_only=True)
    except UnpicklingError as error:  # PyTorch's words tell how to run code all the same
        raise ValueError("it holds more than tensors and plain values") from error


def load(path, model: nn.Module | None = None) -> nn.Module:
    """The model that ``save`` or ``train`` wrote, grown shapes included.

    The package's own models are built anew from the name and widths in the file. For any other, pass a fresh
    ``model``: it is grown in place to the shapes in the file, and keeps its precision. No pickled code is ever run.
    Raises ``ValueError`` if the file is damaged, or of another architecture; then ``model`` is as it was.
    """
    contents = read_checkpoint(path)
    if model is None:
        if contents["recipe"] is None:
            raise ValueError(f"{path} holds a model of your own: pass a fresh one, load(path, model=…)")
        with _worded(path):
            model = models.build(**contents["recipe"])
            for name, tensor in named_tensors(model).items():
                tensor.data = tensor.to(contents["model"][name].dtype)
    restore(model, contents["model"], path)
    return model


def read_checkpoint(path) -> dict:
    """What ``save`` wrote: tensors and plain values, never code. Raises ``ValueError`` for a damaged file."""
    contents = read_sealed(path, ARCHIVE, _parse, NO_CHECKPOINT)
    if not isinstance(contents, dict) or not {"recipe", "model"} <= contents.keys():
        hint = "gl.save writes one; a state_dict goes into model.load_state_dict"
        raise ValueError(f"{path} is not a checkpoint of growlab: {hint}")
    with _worded(path):
        if odd := [name for name, tensor in contents["model"].items() if not isinstance(tensor, torch.Tensor)]:
            raise ValueError(f"{odd[0]} is no tensor")
    return contents


def history_in(contents: dict, path) -> History:
    """The history that ``train`` keeps in a checkpoint. ``path`` is named in the error if anything of it is missing."""
    with _worded(path):
        if missing := {"history", "optimizer"} - contents.keys():
            raise ValueError(f"it has no {' and no '.join(sorted(missing))}")
        history = History(**contents["history"])
        whole("threads", history.environment["threads"], 1, "of the processor")
        if (epochs := [row["epoch"] for row in history.epochs]) != list(range(1, len(epochs) + 1)):
            raise ValueError(f"epochs must be 1, 2, …, got {epochs}")
        if "model" not in history.settings or not isinstance(history.settings.get("growth"), dict | None):
            raise ValueError("its settings are odd")
        whole("epochs", history.settings.get("epochs", len(epochs)), len(epochs), "a run has no more")
        return history


@contextmanager
def _worded(path):
    """What is odd inside a checkpoint raises an error that names the file."""
    try:
        yield
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{path} {NO_CHECKPOINT} ({type(error).__name__}: {error})") from error


def restore(model: nn.Module, state: dict, path, optimizer=None, momentum=None) -> None:
    """Grow a model to the shapes of a state dict, and load it, and ``momentum``, the state of an ``optimizer``.

    ``path`` is named in the error; then nothing has changed.
    """
    new, shapes = {}, {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    for unit in (unit for unit in all_units(model) if not unit.frozen):
        name, axis, *_ = unit.filters
        there = state[name].shape[axis] if name in state and state[name].dim() > axis else 0
        if there > unit.neurons:
            new[unit] = [Candidate(unit.name)] * (there - unit.neurons)
            for edit in (edit for edit in unit.edits if edit.tensor in shapes):
                shapes[edit.tensor][edit.axis] += len(new[unit]) * edit.repeat
    there = {name: list(tensor.shape) for name, tensor in state.items()}
    if other := [name for name in shapes | there if shapes.get(name) != there.get(name)]:  # before anything changes
        told = "; ".join(f"{name}: {there.get(name)} there, {shapes.get(name)} here" for name in other[:3])
        hint = "pass one like that it was made of"
        raise ValueError(f"{path} is of another architecture than the model ({told}): {hint}")
    if optimizer:
        with _worded(path):
            _check_momentum([state[name] for name, _ in model.named_parameters()], optimizer.param_groups[0], momentum)
    widen(model, new)
    model.load_state_dict(state)
    if optimizer:
        rate = optimizer.param_groups[0]["lr"]  # a tensor that steps read
        optimizer.load_state_dict(momentum)
        optimizer.param_groups[0]["lr"] = rate


def _check_momentum(parameters, group, momentum):
    """Raise if this is not the state of SGD on such parameters, or with other settings than those of ``group``."""
    (kept,) = momentum["param_groups"]
    fixed = {name: value for name, value in group.items() if name not in ("params", "lr") and name in kept}
    if kept["params"] != list(range(len(parameters))) or any(kept[name] != value for name, value in fixed.items()):
        raise ValueError("its optimizer is another one")
    for i, state in momentum["state"].items():
        buffer = state.get("momentum_buffer")
        if buffer is not None and buffer.shape != parameters[i].shape:
            raise ValueError(f"the momentum of parameter {i} must be {list(parameters[i].shape)}, got {buffer.shape}")


def write_checkpoint(path, model, optimizer, history) -> None:
    """Keep the state of a run between two epochs."""
    save(path, model, optimizer=optimizer.state_dict(), history=history.contents())


def resume(path, model, optimizer, settings: dict, defaults: dict) -> History:
    """Bring model and optimizer to the state of a checkpoint, and return its history.

    ``defaults`` are the settings that an earlier version did not note. Raises ``ValueError`` for a run with other
    ``settings``; then nothing has changed.
    """
    contents = read_checkpoint(path)
    history = history_in(contents, path)
    if settings["model"] == contents["recipe"]:  # the very model that was stopped, grown since it was first passed
        settings = settings | {"model": history.settings["model"]}
    there = settings | defaults | history.settings
    there["growth"] = there["growth"] and defaults["growth"] | there["growth"]
    if different := {name: (there[name], now) for name, now in settings.items() if there[name] != now}:
        found = f"name: (there, now) {different}"
        raise ValueError(f"{path} belongs to a run with other settings; {found}; choose another folder")
    restore(model, contents["model"], path, optimizer, contents["optimizer"])
    return history


def checksum(split) -> int:
    """Of the pictures and their labels: other ones of the same name are another run."""
    images, labels = (column.cpu().contiguous().numpy() for column in (split.images, split.labels))
    return zlib.crc32(labels, zlib.crc32(images))
