"""Training with growth on a schedule; a history of everything; runs that can be killed at any moment.

The last station of the flow: data, model, units, propose, plan, apply, **train**. The loop is a plain PyTorch loop.
Whatever is random (order of the data, growth, dropout) has a stream of its own for each epoch, so a run that is
resumed from the checkpoint of an epoch ends bit-equal to one that was never stopped. Notebooks 00 and 02.
"""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from tqdm.auto import tqdm

from growlab import models
from growlab.checks import flag, number, one_of, plain, whole
from growlab.data.batches import Data, Split
from growlab.growth import Growth, after_epoch
from growlab.history import History
from growlab.machine import environment, precise, threads
from growlab.records import checksum, resume, write_checkpoint
from growlab.seeds import seeded
from growlab.structure.units import units
from growlab.watching import evaluating

SCHEDULES = ("cosine", "restarts", "constant_then_cosine")
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
CONSTANT_PART = 0.4  # of training, before constant_then_cosine begins to decay


def learning_rate(schedule: str, epoch: float, epochs: int, growths=()) -> float:
    """The factor of the learning rate, in [0, 1], at a moment of training: ``epoch`` from 0 to ``epochs``.

    "cosine": one half cosine over the run (so we read the paper). "restarts": one for each stage between ``growths``.
    "constant_then_cosine": 1 for the first 40 % of the run, then a half cosine: grow early, decay long.
    """
    one_of("schedule", schedule, SCHEDULES)
    epochs = whole("epochs", epochs, 1, "of the whole run")
    epoch, start, end = number("epoch", epoch, f"[0, {epochs}]", "it must lie within the run"), 0.0, float(epochs)
    if schedule == "restarts":
        edges = [0, *(whole("growths", growth, 1, "epochs, as at=") for growth in growths), epochs]
        start, end = next((a, b) for a, b in zip(edges, edges[1:]) if epoch < b or b == epochs)
    elif schedule == "constant_then_cosine":
        start = CONSTANT_PART * epochs
    return (1 + math.cos(math.pi * max(epoch - start, 0) / (end - start))) / 2


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained by SGD; see ``train``. Raises ``ValueError`` for settings that cannot be trained."""

    epochs: int
    seed: int = 0
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    batch_size: int = 128
    schedule: str = "cosine"
    augment: bool = True
    precision: str = "float32"
    nesterov: bool = False

    def __post_init__(self):
        vars(self).update(plain(vars(self)))  # frozen for others
        whole("epochs", self.epochs, 1, "the paper has 250")
        whole("seed", self.seed, 0, "seeds are numbered from 0")
        whole("batch_size", self.batch_size, 1, "128 is usual")
        number("lr", self.lr, "(0, inf)", "0.1 is usual")
        flag("nesterov", self.nesterov, "True looks ahead along the momentum")
        number("momentum", self.momentum, "(0, 1)" if self.nesterov else "[0, 1)", "0.9 is usual")
        number("weight_decay", self.weight_decay, "[0, inf)", "1e-4 is usual")
        one_of("schedule", self.schedule, SCHEDULES)
        flag("augment", self.augment, "True moves and mirrors the pictures")
        one_of("precision", self.precision, PRECISIONS)


def train(
    model: nn.Module, data: Data, epochs: int, *, growth: Growth | None = None, folder=None, progress: bool = True,
    each_epoch: Callable[[History], None] | None = None, **settings,
) -> History:  # fmt: skip
    """Train a model in place by SGD and let it grow; returns the history, with the accuracy on the test pictures.

    ``settings`` are those of ``Recipe``: seed=0, lr=0.1, momentum=0.9, weight_decay=1e-4, batch_size=128,
    schedule="cosine", augment=True, precision="float32" ("bfloat16" computes in autocast, faster and with other
    numbers), nesterov=False. The paper (§4.1) gives 250 epochs, momentum 0.9, a cosine and batches of 128; its learning
    rate and weight decay are not in our text.

    With a ``folder``, the state is kept in ``folder/checkpoint.pt`` after every epoch and the finished history in
    ``folder/record.json``. The same call goes on where a stopped or killed run was, with the number of threads it was
    started with. Raises ``ValueError`` if the folder holds a run with other settings or on other pictures.

    ``each_epoch(history)`` is called after every epoch, before it is kept; what it raises ends the run there.
    """
    recipe = Recipe(epochs=epochs, **settings)
    growths = growth.epochs(recipe.epochs) if growth else ()
    device = data.train.images.device
    model.to(device, memory_format=torch.channels_last)
    how = {name: getattr(recipe, name) for name in ("momentum", "weight_decay", "nesterov")}
    rate = torch.tensor(recipe.lr, dtype=precise(device), device=device)  # steps write and read it there
    optimizer = torch.optim.SGD(model.parameters(), rate, **how)
    history, checkpoint = _begin(model, data, optimizer, recipe, growth, folder)
    done, steps = len(history.epochs), len(data.batches("train", recipe.batch_size))
    bar = tqdm(desc="training", total=recipe.epochs * steps, initial=done * steps, leave=False, disable=not progress)
    with threads(history.environment["threads"]), bar:
        try:
            for epoch in range(done, recipe.epochs):
                row = _learn(model, data, optimizer, recipe, growths, epoch, bar)
                if growth:
                    row["seconds"] |= after_epoch(growth, model, data, optimizer, history, row, recipe)
                history.epochs.append(row)
                if epoch + 1 == recipe.epochs:
                    _finish(model, data, history)
                if each_epoch:
                    each_epoch(history)
                if checkpoint:
                    write_checkpoint(checkpoint, model, optimizer, history)
        except KeyboardInterrupt:
            where = f"; the same call goes on from {checkpoint}" if checkpoint else " (no folder, nothing kept)"
            tqdm.write(f"stopped after epoch {len(history.epochs)} of {epochs}{where}")
            raise
    if checkpoint:
        history.save(checkpoint.with_name("record.json"))
    return history


def _begin(model, data, optimizer, recipe, growth, folder):
    """The history, empty or as the folder holds it, and the path of the checkpoint, if there is a folder."""
    settings = plain({
        "data": data.name, "pictures": len(data.train), "checksum": checksum(data.train), **asdict(recipe),
        "growth": _described(growth), "model": models.recipe(model) or type(model).__name__,
    })  # fmt: skip
    history = History(settings, environment(data.train.images.device))
    if folder is None:
        return history, None
    history.contents()  # what no record can hold is refused before anything is trained
    checkpoint = Path(folder) / "checkpoint.pt"
    if checkpoint.exists():
        defaults = asdict(Recipe(epochs=1)) | {"growth": _described(Growth(every=1))}
        return resume(checkpoint, model, optimizer, settings, defaults), checkpoint
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    write_checkpoint(checkpoint, model, optimizer, history)
    return history, checkpoint


def _learn(model, data, optimizer, recipe, growths, epoch, bar):
    """One epoch of training: its row for the history."""
    started = time.perf_counter()
    batches = data.batches("train", recipe.batch_size, augment=recipe.augment, seed=(recipe.seed, "data", epoch))

    rate = lambda part: recipe.lr * learning_rate(recipe.schedule, epoch + part, recipe.epochs, growths)
    with seeded(recipe.seed, "dropout", epoch):  # which draws from the global generator
        loss, accuracy = _train_epoch(model, batches, optimizer, PRECISIONS[recipe.precision], bar, rate)
    trained = time.perf_counter()
    if not math.isfinite(loss):
        raise FloatingPointError(f"the loss became {loss} in epoch {epoch + 1}: lower lr (it is {recipe.lr})")
    row = {
        "epoch": epoch + 1, "loss": loss, "train_accuracy": accuracy, "val_accuracy": evaluate(model, data.val),
        "learning_rate": optimizer.param_groups[0]["lr"].item(), "parameters": models.parameter_count(model),
        "widths": {unit.name: unit.neurons for unit in units(model)},
    }  # fmt: skip
    bar.set_postfix(loss=f"{loss:.3f}", val=f"{row['val_accuracy']:.1%}", parameters=row["parameters"])
    return row | {"seconds": {"training": trained - started, "evaluation": time.perf_counter() - trained}}


def _finish(model, data, history):
    last = history.epochs[-1]
    history.note_similarity(model, last["epoch"], "end")
    history.result = {"test_accuracy": evaluate(model, data.test), **{n: last[n] for n in ("parameters", "widths")}}


@torch.inference_mode()
def evaluate(model: nn.Module, split: Split, batch_size: int = 500) -> float:
    """Share of a split's pictures that the model classifies correctly, in eval mode; the model's mode stays."""
    with evaluating(model):
        correct = sum((model(images).argmax(1) == labels).sum() for images, labels in split.batches(batch_size))
    return correct.item() / len(split)


def _train_epoch(model, batches, optimizer, precision, bar, lr_at):
    """One pass; returns the mean loss and accuracy. Nothing is read from the device before its end."""
    model.train()
    rates = [lr_at(step / len(batches)) for step in range(len(batches))]
    rates = optimizer.param_groups[0]["lr"].new_tensor(rates)
    totals = rates.new_zeros(2, dtype=torch.float32)
    for draws in batches.draws():
        at = torch.zeros(1, dtype=torch.long, device=rates.device)
        for _ in range(draws.shape[1]):
            step(model, optimizer, batches, draws, rates, at, totals, precision)
            bar.update()
        rates = rates[draws.shape[1] :]
    loss, correct = totals.tolist()
    return loss / len(batches.split), correct / len(batches.split)


def step(model, optimizer, batches, draws, rates, at, totals, precision) -> None:
    """One step of training. What differs from step to step is read from tensors on the device, so it can be replayed.

    ``at`` (1,) is the number of the step, counted up here: it takes its pictures from ``draws`` (Batches.draws) and its
    learning rate from ``rates``. ``totals`` (2,) adds up loss and hits of all pictures.
    """
    images, labels = batches.take(draws.index_select(1, at)[:, 0])
    optimizer.param_groups[0]["lr"].copy_(rates.index_select(0, at)[0])
    with torch.autocast(images.device.type, precision, enabled=precision is not torch.float32):
        logits = model(images)
        loss = F.cross_entropy(logits, labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    hits = (logits.detach().argmax(1) == labels).sum()
    totals += torch.stack([loss.detach() * len(labels), hits])
    at += 1


def _described(growth):
    own = growth and {name: getattr(growth, name) for name in ("method", "then")}  # names, or functions of your own
    named = {name: getattr(f, "__qualname__", f) for name, f in own.items()} if growth else {}
    return growth and asdict(growth) | named | {"at": list(growth.at)}
