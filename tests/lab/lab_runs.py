"""Small runs, an executor in this process, and what a run has left."""

import json
from concurrent.futures import Executor, Future
from pathlib import Path

import pytest
import torch

import growlab as gl
from growlab import training
from growlab.lab.run import Run

TINY = Run(
    "digits", 200, model="mlp", width=8, method="net2net", at=(1, 2), epochs=4, lr=0.05, batch_size=32, movement=0.1
)
SMALL = {
    "data": "digits",
    "limit": 200,
    "model": "mlp",
    "width": 8,
    "at": (1, 2),
    "epochs": 4,
    "lr": 0.05,
    "batch_size": 32,
}


KEPT = ["record.json", "run.json", "weights.pt"]  # in the folder of a finished run


class Here(Executor):
    """Runs everything in this process, at once."""

    def submit(self, function, *arguments):
        future = Future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future


def execute(runs, folder, executor=None, **how):
    return gl.execute(runs, folder, executor or Here(), **{"progress": False} | how)


def record(folder, run):
    history = gl.History.load(Path(folder) / run.name / "record.json")
    rows = [
        {name: value for name, value in row.items() if name != "seconds"} for row in history.epochs + history.growths
    ]
    return json.dumps([rows, history.similarity, history.result])


def weights(folder, run):
    return torch.load(Path(folder) / run.name / "weights.pt", weights_only=True)["model"]


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def interrupted(folder, monkeypatch, calls=3):
    """Start TINY, and press Stop in its third epoch."""
    real = training._train_epoch

    def stop(*arguments, left=[calls]):
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(training, "_train_epoch", stop)
        with pytest.raises(KeyboardInterrupt):
            execute([TINY], folder)
