"""What a run leaves behind: its history as JSON, its weights as a checkpoint, files that appear whole or not at all.

Beside the flow: ``train`` writes them after every epoch, ``save`` and ``load`` are for any model. Notebook 00.
"""

import io
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from growlab import models
from growlab.checks import plain
from growlab.files import write_atomically
from growlab.plans import Candidate
from growlab.structure.graph import named_tensors
from growlab.structure.units import units
from growlab.surgery import widen


@dataclass
class History:
    """What happened in a run: plain lists and numbers, the same in memory and in JSON.

    ``epochs``: a row each (loss, accuracies, learning rate, widths, parameters, seconds by phase). ``growths``: a row
    each (after which epoch, the new neurons as a table, parameters, seconds, how many candidates a gate refused).
    ``decorrelations``: a row each (after which epoch, the first and the last row of the trace, seconds).
    ``similarity``: the figures of every layer before and after each growth, after the K steps, and at the end.
    ``result``: what the final network scores.
    """

    settings: dict
    environment: dict
    epochs: list[dict] = field(default_factory=list)
    growths: list[dict] = field(default_factory=list)
    decorrelations: list[dict] = field(default_factory=list)
    similarity: list[dict] = field(default_factory=list)
    result: dict = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        """A row per epoch."""
        return pd.DataFrame(self.epochs)

    def save(self, path) -> None:
        """Write it as JSON, one line per row."""
        parts = []
        for name, value in asdict(self).items():
            rows = value if isinstance(value, list) else None
            text = json.dumps(value) if not rows else "[\n  " + ",\n  ".join(map(json.dumps, rows)) + "\n ]"
            parts.append(f' "{name}": {text}')
        write_atomically(path, ("{\n" + ",\n".join(parts) + "\n}\n").encode())

    @classmethod
    def load(cls, path) -> "History":
        return cls(**json.loads(Path(path).read_text()))


def save(path, model: nn.Module, **extra) -> None:
    """Write a model's weights, with what ``load`` needs to bring back its shapes; ``extra`` is kept beside them.

    Weights and plain values only. The file appears whole or not at all: an old one survives a full disk.
    """
    contents = {"model": model.state_dict(), **plain({"recipe": models.recipe(model), **extra})}
    buffer = io.BytesIO()
    torch.save(contents, buffer)
    write_atomically(path, buffer.getvalue())


def load(path, model: nn.Module | None = None) -> nn.Module:
    """The model that ``save`` or ``train`` wrote, grown shapes included.

    The package's own models are built anew from the name and widths in the file. For any other, pass a fresh
    ``model``: it is grown in place to the shapes in the file, and keeps its precision. No pickled code is ever run.
    Raises ``ValueError`` if the file is of another architecture; then ``model`` is as it was.
    """
    contents = read_checkpoint(path)
    if model is None:
        if contents["recipe"] is None:
            raise ValueError(f"{path} holds a model of your own: pass a fresh one, load(path, model=…)")
        model = models.build(**contents["recipe"])
        for name, tensor in named_tensors(model).items():
            tensor.data = tensor.to(contents["model"][name].dtype)
    restore(model, contents["model"], path)
    return model


def read_checkpoint(path) -> dict:
    """What ``save`` wrote: tensors and plain values, never code."""
    try:
        contents = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(f"{path} is not a checkpoint of growlab, or damaged: {type(error).__name__}") from error
    if not isinstance(contents, dict) or not {"recipe", "model"} <= contents.keys():
        hint = "gl.save writes one; a state_dict goes into model.load_state_dict"
        raise ValueError(f"{path} is not a checkpoint of growlab: {hint}")
    return contents


def restore(model: nn.Module, state: dict, path) -> None:
    """Grow a model to the shapes of a state dict, and load it. ``path`` is named in the error."""
    new, shapes = {}, {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    for unit in units(model, coupled=True):
        name, axis, *_ = unit.filters
        there = state[name].shape[axis] if name in state and state[name].dim() > axis else 0
        if there > unit.neurons:
            new[unit] = [Candidate(unit.name)] * (there - unit.neurons)
            for edit in (edit for edit in unit.edits if edit.tensor in shapes):
                shapes[edit.tensor][edit.axis] += len(new[unit]) * edit.repeat
    there = {name: list(tensor.shape) for name, tensor in state.items()}
    if other := [name for name in shapes | there if shapes.get(name) != there.get(name)]:  # before anything changes
        told = "; ".join(f"{name}: {there.get(name)} there, {shapes.get(name)} here" for name in other[:3])
        raise ValueError(
            f"{path} is of another architecture than the model ({told}): pass one like that it was made of"
        )
    widen(model, new)
    model.load_state_dict(state)
