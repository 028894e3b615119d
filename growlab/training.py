"""Training with growth on a schedule; a history of everything; runs that can be killed at any moment.

The last station of the flow: data, model, units, propose, plan, apply, **train**. The loop is a plain PyTorch loop.
Whatever is random (order of the data, growth, dropout) has a stream of its own for each epoch, so a run that is
resumed from the checkpoint of an epoch ends bit-equal to one that was never stopped. Notebooks 00 and 02.
"""

import copy
import math
import time
import zlib
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from tqdm.auto import tqdm

from growlab import models
from growlab.checks import one_of, plain, whole
from growlab.data.batches import Data, Split
from growlab.growth import Growth, described, grow, note_similarity, take_the_steps
from growlab.records import History, environment, read_checkpoint, restore, save
from growlab.seeds import random_stream
from growlab.structure.units import units

SCHEDULES = ("cosine", "restarts", "constant_then_cosine")
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
CONSTANT_PART = 0.4  # of training, before constant_then_cosine begins to decay


def learning_rate(schedule: str, epoch: float, epochs: int, growths=()) -> float:
    """The factor of the learning rate, in [0, 1], at a moment of training: ``epoch`` from 0 to ``epochs``.

    "cosine": one half cosine over the run (the paper). "restarts": one for each stage between two ``growths``.
    "constant_then_cosine": 1 for the first 40 % of the run, then a half cosine: grow early, decay long.
    """
    one_of("schedule", schedule, SCHEDULES)
    if not 0 <= epoch <= epochs or epochs == 0:
        raise ValueError(f"epoch must lie within the run, from 0 to epochs, at least 1, got {epoch} of {epochs}")
    start, end = 0.0, float(epochs)
    if schedule == "restarts":
        edges = [0, *growths, epochs]
        start, end = next((a, b) for a, b in zip(edges, edges[1:]) if epoch < b or b == epochs)
    elif schedule == "constant_then_cosine":
        start = CONSTANT_PART * epochs
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
    each_epoch: Callable[[History], None] | None = None,
) -> History:
    """Train a model in place by SGD and let it grow; returns the history, with the accuracy on the test pictures.

    The paper (§4.1) gives 250 epochs, momentum 0.9, a cosine and batches of 128; its learning rate and weight decay
    are not in our text. ``precision="bfloat16"`` computes in autocast, faster and with other numbers.

    With a ``folder``, the state is kept in ``folder/checkpoint.pt`` after every epoch and the finished history in
    ``folder/record.json``. The same call goes on where a stopped or killed run was, with the number of threads it was
    started with. Raises ``ValueError`` if the folder holds a run with other settings or on other pictures.

    ``each_epoch(history)`` is called after every epoch, before it is kept; what it raises ends the run there.
    """
    epochs, seed, batch_size, lr, momentum, weight_decay = plain((epochs, seed, batch_size, lr, momentum, weight_decay))
    whole("epochs", epochs, 1, "the paper has 250")
    growths = growth.epochs(epochs) if growth else ()
    learning_rate(schedule, 0, epochs, growths)
    one_of("precision", precision, PRECISIONS)
    model.to(data.train.images.device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr, momentum=momentum, weight_decay=weight_decay)
    settings = plain({
        "data": data.name, "pictures": len(data.train), "checksum": _checksum(data.train), "epochs": epochs,
        "growth": described(growth), "seed": seed, "lr": lr, "momentum": momentum, "weight_decay": weight_decay,
        "batch_size": batch_size, "schedule": schedule, "augment": augment, "precision": precision,
        "model": models.recipe(model) or type(model).__name__,
    })  # fmt: skip
    history = History(settings, environment(data.train.images.device))
    checkpoint = None
    if folder is not None:
        checkpoint = Path(folder) / "checkpoint.pt"
        if checkpoint.exists():
            history = _resume(checkpoint, model, optimizer, settings)
        else:
            checkpoint.parent.mkdir(parents=True, exist_ok=True)
            _write_checkpoint(checkpoint, model, optimizer, history)
    done = len(history.epochs)

    with threads(history.environment["threads"]), tqdm(
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
                grows = epoch + 1 in growths and not growth.enough(row)
                steps = growth and growth.k and (grows or (growth.when == "every_epoch" and epoch + 1 < epochs))
                before = copy.deepcopy(model) if steps and growth.decorrelate.get("target") == "outputs" else None
                if grows:
                    seconds["growth"] = grow(model, data, growth, optimizer, history, epoch + 1, seed, batch_size)
                if steps:
                    seconds["decorrelation"] = take_the_steps(
                        model, data, growth, history, epoch + 1, seed, batch_size, before
                    )
                    if grows:
                        note_similarity(model, history, epoch + 1, "after decorrelation")
                history.epochs.append(row | {"seconds": seconds})
                bar.set_postfix(loss=f"{loss:.3f}", val=f"{row['val_accuracy']:.1%}", parameters=row["parameters"])
                if epoch + 1 == epochs:
                    note_similarity(model, history, epochs, "end")
                    history.result = {
                        "test_accuracy": evaluate(model, data.test), "parameters": row["parameters"],
                        "widths": row["widths"],
                    }  # fmt: skip
                if each_epoch:
                    each_epoch(history)
                if checkpoint:
                    _write_checkpoint(checkpoint, model, optimizer, history)
        except KeyboardInterrupt:
            where = (
                f"; run the same call again to go on from {checkpoint}" if checkpoint else " (no folder, nothing kept)"
            )
            tqdm.write(f"stopped after epoch {len(history.epochs)} of {epochs}{where}")
            raise
    if folder is not None:
        history.save(Path(folder) / "record.json")
    return history


@torch.inference_mode()
def evaluate(model: nn.Module, split: Split, batch_size: int = 500) -> float:
    """Share of a split's pictures that the model classifies correctly, in eval mode; the model's mode stays."""
    with models.evaluating(model):
        correct = sum((model(images).argmax(1) == labels).sum() for images, labels in split.batches(batch_size))
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


def _checksum(split):
    """Of the pictures and their labels: other ones of the same name are another run."""
    checksum = 0
    for column in (split.images, split.labels):
        checksum = zlib.crc32(column.cpu().contiguous().numpy(), checksum)
    return checksum


@contextmanager
def threads(count):
    """The number of threads changes the order of sums, so it belongs to a run."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _write_checkpoint(path, model, optimizer, history):
    save(path, model, optimizer=optimizer.state_dict(), history=asdict(history))


def _resume(path, model, optimizer, settings):
    contents = read_checkpoint(path)
    history = History(**contents["history"])
    if settings["model"] == contents["recipe"]:  # the very model that was stopped, grown since it was first passed
        settings = settings | {"model": history.settings["model"]}
    different = {
        name: (history.settings[name], value)
        for name, value in settings.items()
        if history.settings.get(name, value) != value  # an earlier version noted fewer
    }
    if different:
        raise ValueError(
            f"{path} belongs to a run with other settings; name: (there, now) {different}; choose another folder"
        )
    restore(model, contents["model"], path)
    optimizer.load_state_dict(contents["optimizer"])
    return history
