"""Training with growth on a schedule; a history of everything; runs that can be killed at any moment.

The last station of the flow: data, model, units, propose, plan, apply, **train**. The loop is a plain PyTorch loop.
Whatever is random (order of the data, growth, dropout) has a stream of its own for each epoch, so a run that is
resumed from the checkpoint of an epoch ends bit-equal to one that was never stopped. Notebooks 00 and 02.
"""

import io
import json
import math
import os
import platform
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn
from tqdm.auto import tqdm

from . import models
from .data import Data, Split, random_stream
from .plans import METHODS, Candidate, apply, check_rate, propose
from .similarity import similarity_figures
from .surgery import widen
from .units import units

SCHEDULES = ("cosine", "restarts", "constant_then_cosine")
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
CONSTANT_PART = 0.4  # of training, before constant_then_cosine begins to decay


@dataclass(frozen=True)
class Growth:
    """When and how a network grows: ``rate`` more neurons by ``method``, ``every`` so many epochs or ``at`` given ones.

    ``every=50`` in 250 epochs means after 50, 100, 150 and 200 (the paper's §4.1). ``options`` go to the method. ``per_unit`` gives every unit its share of the budget; otherwise the
    best scores of the whole network win.
    """

    method: str | Callable = "random"
    rate: float = 0.35
    every: int | None = None
    at: tuple[int, ...] = ()
    per_unit: bool = False
    options: dict = field(default_factory=dict)

    def __post_init__(self):
        check_rate(self.rate)
        if isinstance(self.method, str) and self.method not in METHODS:
            raise ValueError(f"unknown method {self.method!r}: choose from {', '.join(METHODS)}, or pass your own function")
        if (self.every is None) == (not self.at):
            raise ValueError(f"give either every= or at=, got every={self.every}, at={self.at}")
        if self.every is not None and self.every < 1:
            raise ValueError(f"every must be at least 1 epoch, got {self.every}")
        object.__setattr__(self, "at", tuple(sorted(set(self.at))))

    def epochs(self, total: int) -> tuple[int, ...]:
        """After which epochs a run of ``total`` epochs grows."""
        if self.at and not 0 < self.at[0] <= self.at[-1] < total:
            raise ValueError(f"at must lie within 1 … {total - 1} for a run of {total} epochs, got {self.at}")
        return self.at or tuple(range(self.every, total, self.every))


@dataclass
class History:
    """What happened in a run: plain lists and numbers, the same in memory and in JSON.

    ``epochs``: a row each (loss, accuracies, learning rate, widths, parameters, seconds by phase). ``growths``: a row
    each (after which epoch, the new neurons as a table, parameters, seconds). ``similarity``: the figures of every
    layer before and after each growth, and at the end. ``result``: what the final network scores.
    """

    settings: dict
    environment: dict
    epochs: list[dict] = field(default_factory=list)
    growths: list[dict] = field(default_factory=list)
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


def learning_rate(schedule: str, epoch: float, epochs: int, growths=()) -> float:
    """The factor of the learning rate at a moment of training, in [0, 1].

    "cosine": one half cosine over the run (the paper). "restarts": one for each stage between two ``growths``.
    "constant_then_cosine": 1 for the first 40 % of the run, then a half cosine: grow early, decay long.
    """
    start, end = 0.0, float(epochs)
    if schedule == "restarts":
        edges = [0, *growths, epochs]
        start, end = next((a, b) for a, b in zip(edges, edges[1:]) if epoch < b or b == epochs)
    elif schedule == "constant_then_cosine":
        start = CONSTANT_PART * epochs
    elif schedule != "cosine":
        raise ValueError(f"unknown schedule {schedule!r}: choose from {', '.join(SCHEDULES)}")
    return (1 + math.cos(math.pi * max(epoch - start, 0) / (end - start))) / 2


def train(
    model: nn.Module,
    data: Data,
    epochs: int,
    *,
    growth: Growth | None = None,
    seed: int = 0,
    folder=None,
    lr: float = 0.1,
    momentum: float = 0.9,
    weight_decay: float = 1e-4,
    batch_size: int = 128,
    schedule: str = "cosine",
    augment: bool = True,
    precision: str = "float32",
    progress: bool = True,
) -> History:
    """Train a model in place by SGD and let it grow; returns the history, with the accuracy on the test pictures.

    The paper (§4.1) gives 250 epochs, momentum 0.9, a cosine and batches of 128; its learning rate and weight decay
    are not in our text. ``precision="bfloat16"`` computes in autocast, faster and with other numbers.

    With a ``folder``, the state is kept in ``folder/checkpoint.pt`` after every epoch and the finished history in
    ``folder/record.json``. The same call goes on where a stopped or killed run was, with the number of threads it was
    started with. Raises ``ValueError`` if the folder holds a run with other settings.
    """
    growths = growth.epochs(epochs) if growth else ()
    learning_rate(schedule, 0, epochs, growths)
    if precision not in PRECISIONS:
        raise ValueError(f"unknown precision {precision!r}: choose from {', '.join(PRECISIONS)}")
    model.to(data.train.images.device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr, momentum=momentum, weight_decay=weight_decay)
    settings = {
        "data": data.name, "pictures": len(data.train), "epochs": epochs, "growth": _describe(growth), "seed": seed,
        "lr": lr, "momentum": momentum, "weight_decay": weight_decay, "batch_size": batch_size, "schedule": schedule,
        "augment": augment, "precision": precision, "model": models.recipe(model) or type(model).__name__,
    }  # fmt: skip
    history = History(settings, environment(data.train.images.device))
    checkpoint = None
    if folder is not None:
        checkpoint = Path(folder) / "checkpoint.pt"
        if checkpoint.exists():
            history = _resume(checkpoint, model, optimizer, settings)
            if len(history.epochs) == epochs:
                return history
        else:
            checkpoint.parent.mkdir(parents=True, exist_ok=True)
            _write_checkpoint(checkpoint, model, optimizer, history)
    done = len(history.epochs)

    with _threads(history.environment["threads"]), tqdm(
        total=epochs * len(data.batches("train", batch_size)), initial=done * len(data.batches("train", batch_size)),
        desc="training", unit="batch", leave=False, disable=not progress,
    ) as bar:  # fmt: skip
        try:
            for epoch in range(done, epochs):
                started = time.perf_counter()
                batches = data.batches("train", batch_size, augment=augment, seed=(seed, "data", epoch))
                with torch.random.fork_rng():  # dropout draws from the global generator
                    torch.manual_seed(random_stream(seed, "dropout", epoch).initial_seed())
                    loss, accuracy = _train_epoch(
                        model, batches, optimizer, PRECISIONS[precision], bar,
                        lambda part: lr * learning_rate(schedule, epoch + part, epochs, growths),
                    )  # fmt: skip
                trained = time.perf_counter()
                if not math.isfinite(loss):
                    raise FloatingPointError(f"the loss became {loss} in epoch {epoch + 1}: lower lr (it is {lr})")
                row = {
                    "epoch": epoch + 1, "loss": loss, "train_accuracy": accuracy,
                    "val_accuracy": evaluate(model, data.val), "learning_rate": optimizer.param_groups[0]["lr"],
                    "widths": {unit.name: unit.neurons for unit in units(model)},
                    "parameters": models.parameter_count(model),
                }  # fmt: skip
                seconds = {"training": trained - started, "evaluation": time.perf_counter() - trained}
                if epoch + 1 in growths:
                    seconds["growth"] = _grow(model, data, growth, optimizer, history, epoch + 1, seed, batch_size)
                history.epochs.append(row | {"seconds": seconds})
                bar.set_postfix(loss=f"{loss:.3f}", val=f"{row['val_accuracy']:.1%}", parameters=row["parameters"])
                if epoch + 1 == epochs:
                    _note_similarity(model, history, epochs, "end")
                    history.result = {
                        "test_accuracy": evaluate(model, data.test), "parameters": row["parameters"],
                        "widths": row["widths"],
                    }  # fmt: skip
                if checkpoint:
                    _write_checkpoint(checkpoint, model, optimizer, history)
        except KeyboardInterrupt:
            where = f"; run the same call again to go on from {checkpoint}" if checkpoint else " (no folder, nothing kept)"
            tqdm.write(f"stopped after epoch {len(history.epochs)} of {epochs}{where}")
            raise
    if folder is not None:
        history.save(Path(folder) / "record.json")
    return history


@torch.inference_mode()
def evaluate(model: nn.Module, split: Split, batch_size: int = 500) -> float:
    """Share of a split's pictures that the model classifies correctly, in eval mode; the model's mode stays."""
    training = model.training
    model.eval()
    correct = sum((model(images).argmax(1) == labels).sum() for images, labels in split.batches(batch_size))
    model.train(training)
    return correct.item() / len(split)


def _train_epoch(model, batches, optimizer, precision, bar, lr_at):
    """One pass; returns the mean loss and accuracy. Nothing is read from the device before its end."""
    model.train()
    device = next(model.parameters()).device
    total, correct, count = torch.zeros((), device=device), torch.zeros((), device=device), 0
    for step, (images, labels) in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = lr_at(step / len(batches))
        with torch.autocast(device.type, precision, enabled=precision is not torch.float32):
            logits = model(images)
            loss = F.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.detach() * len(labels)
        correct += (logits.detach().argmax(1) == labels).sum()
        count += len(labels)
        bar.update()
    return total.item() / count, correct.item() / count


def _grow(model, data, growth, optimizer, history, epoch, seed, batch_size):
    """One growth event, noted in the history; returns its seconds (without those of the notes)."""
    _note_similarity(model, history, epoch, "before growth")
    started = time.perf_counter()
    batches = data.batches("train", batch_size, seed=(seed, "proposal", epoch))
    options = dict(growth.options)
    if isinstance(growth.method, str):
        options.setdefault("seed", (seed, "proposal", epoch))
    with torch.random.fork_rng():
        torch.manual_seed(random_stream(seed, "proposal", epoch).initial_seed())
        plan = propose(growth.method, model, batches, **options).within(growth.rate, per_unit=growth.per_unit)
    apply(model, plan, optimizer)
    seconds = time.perf_counter() - started
    history.growths.append({
        "epoch": epoch, "method": plan.method, "neurons": plan.neurons, "widths": plan.widths_after,
        "parameters": models.parameter_count(model), "seconds": seconds, "new": plan.table().to_dict("list"),
    })  # fmt: skip
    _note_similarity(model, history, epoch, "after growth")
    return seconds


def _twins(history):
    """Pairs (parent, child) by unit of all growth so far: new neurons go to the end, so indices stay valid."""
    twins = {}
    for event in history.growths:
        new = event["new"]
        for unit, parent, neuron in zip(new["unit"], new["parent"], new["neuron"]):
            if parent >= 0:
                twins.setdefault(unit, []).append((parent, neuron))
    return twins


def _note_similarity(model, history, epoch, moment):
    twins = _twins(history)
    layers = {unit.name: similarity_figures(unit.weight, twins.get(unit.name, ())) for unit in units(model)}
    history.similarity.append({"epoch": epoch, "when": moment, "layers": layers})


def _describe(growth):
    if growth is None:
        return None
    method = growth.method if isinstance(growth.method, str) else growth.method.__qualname__
    return {**asdict(growth), "method": method, "at": list(growth.at)}


def environment(device="cpu") -> dict:
    """What the numbers of a run may depend on besides its settings."""
    processor = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        processor = names[0].partition(":")[2].strip() if names else processor
    gpu = torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else None
    return {
        "growlab": version("growlab"), "torch": str(torch.__version__), "python": platform.python_version(),
        "system": platform.system(), "processor": processor, "cores": os.cpu_count(), "gpu": gpu,
        "threads": torch.get_num_threads(),
    }  # fmt: skip


@contextmanager
def _threads(count):
    """The number of threads changes the order of sums, so it belongs to a run."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


# Checkpoints


def save(path, model: nn.Module, **extra) -> None:
    """Write a model's weights, with what ``load`` needs to bring back its shapes; ``extra`` is kept beside them.

    Weights and plain values only. The file appears whole or not at all: an old one survives a full disk.
    """
    contents = {"recipe": models.recipe(model), "model": model.state_dict(), **extra}
    buffer = io.BytesIO()
    torch.save(contents, buffer)
    write_atomically(path, buffer.getvalue())


def load(path, model: nn.Module | None = None) -> nn.Module:
    """The model that ``save`` or ``train`` wrote, grown shapes included.

    The package's own models are built anew from the name and widths in the file. For any other, pass a fresh
    ``model``: it is grown in place to the shapes in the file. No pickled code is ever run. Raises ``ValueError`` if
    the file is of another architecture.
    """
    contents = _read(path)
    if model is None:
        if contents["recipe"] is None:
            raise ValueError(f"{path} holds a model of your own: pass a fresh one, load(path, model=…)")
        model = models.build(**contents["recipe"])
    _restore(model, contents["model"], path)
    return model


def write_atomically(path, contents: bytes) -> None:
    """Write a file whole or not at all; on an error the old file stays."""
    path = Path(path)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as file:
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        kept = "; what was there before is untouched" if path.exists() else ""
        raise OSError(error.errno, f"could not write {path} ({error.strerror}){kept}") from error


def _read(path):
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(f"{path} is not a checkpoint of growlab, or damaged: {type(error).__name__}") from error


def _restore(model, state, path):
    """Grow a model to the shapes of a state dict, and load it."""
    new = {}
    for unit in units(model, coupled=True):
        edit = next(edit for edit in unit.edits if edit.kind == "copy")
        missing = len(state[edit.tensor].movedim(edit.axis, 0)) - unit.neurons if edit.tensor in state else 0
        if missing > 0:
            new[unit] = [Candidate(unit.name)] * missing
    widen(model, new)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{path} is of another architecture than the model: {error}") from error


def _write_checkpoint(path, model, optimizer, history):
    save(path, model, optimizer=optimizer.state_dict(), history=asdict(history))


def _resume(path, model, optimizer, settings):
    contents = _read(path)
    history = History(**contents["history"])
    if settings["model"] == contents["recipe"]:  # the very model that was stopped, grown since it was first passed
        settings = settings | {"model": history.settings["model"]}
    different = {
        name: (history.settings.get(name), value)
        for name, value in settings.items()
        if history.settings.get(name) != value
    }
    if different:
        raise ValueError(f"{path} belongs to a run with other settings; name: (there, now) {different}; choose another folder")
    _restore(model, contents["model"], path)
    optimizer.load_state_dict(contents["optimizer"])
    return history
