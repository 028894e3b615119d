"""A run as a plain value: its name, its JSON, and what cannot be trained."""

import hashlib
import math
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lab_runs import TINY

import growlab as gl
from growlab.lab.run import Run, multiply_adds
from growlab.plans import propose

RESULTS = Path(__file__).resolve().parents[2] / "data" / "results"
OTHER = {
    "data": "critters", "limit": 100, "model": "mobilenet", "width": 9, "method": "random", "rate": 0.5, "at": (1, 3),
    "budget": "parameters", "options": {"step": 0.1}, "k": 3, "when": "every_epoch", "penalty": "square",
    "penalty_strength": 2, "weight_change": "frobenius", "change_strength": 2, "previous": "iteration", "movement": 0.2,
    "target": "labels", "refresh": True, "epochs": 5, "schedule": "restarts", "lr": 0.06, "batch_size": 16,
    "weight_decay": 0, "augment": False, "precision": "bfloat16", "threads": 2, "seed": 1, "momentum": 0.5,
    "per_unit": True, "gate": 0.9, "until": 500,
    "nesterov": True, "then": "growlab.lab.treatments:reset_optimizer",
}  # fmt: skip


def test_every_setting_but_the_label_changes_the_name():
    runs = [TINY, *(replace(TINY, **{name: value}) for name, value in OTHER.items())]
    runs += [replace(TINY, at=(), every=2), replace(TINY, movement=None), replace(TINY, movement=None, steps_lr=0.2)]
    runs += [replace(TINY, data="critters", reliability=0.7), replace(TINY, method=None)]
    runs += [replace(TINY, data="critters", shortcut=0.7), replace(TINY, data="critters", hide=1)]
    assert {f.name for f in fields(Run)} == {*OTHER, "every", "steps_lr", "reliability", "shortcut", "hide", "arm"}
    assert len({run.name for run in runs}) == len(runs) == len(set(runs))
    assert replace(TINY, arm="ours").name == TINY.name and replace(TINY, lr=1).name == replace(TINY, lr=1.0).name


NAMES = {  # {record: (runs, the start of sha256 of their names, a line each)}
    "cifar10_assay": (45, "8e5f5f3a5a93778e"), "cifar10_copies": (260, "b603a946a04bd267"),
    "cifar10_methods": (140, "8056ac79ec0c104e"), "cifar10_vgg16": (80, "39197b1bd0f06281"),
    "critters_methods": (110, "1d74fc700eed2e95"), "critters_sweeps": (162, "01436c1fc883396b"),
    "growth_lab": (110, "a84d317435b88660"),
}  # fmt: skip


@pytest.mark.parametrize("record", NAMES)
def test_recorded_runs_keep_their_names(record):
    names = gl.results(RESULTS / f"{record}.json")["name"]
    assert (len(names), hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]) == NAMES[record]


def test_names_stay_what_they_are():
    """In every process, on every machine, and in later versions: finished runs are found by them."""
    assert Run().name == "critters-vgg5w4-never-s0-1c7285b3ad"
    assert TINY.name == "digits-mlpw8-net2net-s0-efd5137da0"
    assert gl.grid("table1", [3])[5].name == "cifar10-vgg16w16-firefly-k15-s3-bbc988b2ba"
    here, there = (Run(f"folder:{path}", width=(4, 5, 6, 7)) for path in ("cifar10-jpeg", "/some/where/cifar10-jpeg"))
    assert here.name == there.name == "cifar10-jpeg-vgg5w7-never-s0-f7d8ffe894"


@pytest.mark.parametrize(
    "change, message",
    [
        ({"model": "resnet"}, "model must be one of mlp, vgg5.*, got 'resnet'"),
        ({"epochs": 0}, "epochs must be a whole number of at least 1, got 0"),
        ({"width": (4, 5)}, r"one number or 4 for vgg5, got \(4, 5\)"),
        ({"width": 0}, "width must be .* got 0"),
        ({"lr": 0}, "lr must be in \\(0, inf\\), got 0"),
        ({"method": "random"}, "either every= or at="),
        ({"method": "random", "at": (12,)}, r"within 1 … 11"),
        ({"method": "sprout", "at": (1,)}, "method must be one of .*, got 'sprout'"),
        (
            {"method": "net2net", "at": (1,), "options": {"steps": 3}},
            "option of net2net must be one of coupled, step.*, got 'steps'",
        ),
        ({"options": {"steps": 3}}, "method is None: give one, or leave them out"),
        ({"k": 5}, "either every= or at="),
        (
            {"method": "random", "at": (1,), "budget": "money"},
            "budget must be one of neurons, parameters, flops.*, got 'money'",
        ),
        ({"method": "random", "at": (1,), "k": 5, "penalty": "cosine"}, "penalty must be one of .*, got 'cosine'"),
        ({"data": "digits", "reliability": 0.5}, "reliability=0.5 is of critters, not of digits: leave it out"),
        ({"precision": "float8"}, "precision must be one of"),
        ({"schedule": "linear"}, "schedule must be one of"),
        ({"seed": -1}, "seed must be"),
        ({"method": "random", "at": (1,), "movement": 0.1, "steps_lr": 0.1, "k": 1}, "either lr= or movement="),
    ],
)
def test_impossible_runs_say_why(change, message):
    with pytest.raises(ValueError, match=message):
        Run(**change)


def test_a_setting_of_another_version_is_named():
    with pytest.raises(ValueError, match="setting of a run must be one of .*data.*, got 'dropout'"):
        Run.from_json('{"dropout": 0.5}')


@pytest.mark.parametrize("changes, message", [
    ({"data": "imagenet"}, "data set must be one of critters, .*, got 'imagenet'"),
    ({"limit": 1}, "limit must be a whole number of at least 2"),
    ({"limit": 10.5}, "limit must be"), ({"reliability": 5}, "reliability must be in \\[0, 1\\], got 5"),
    ({"reliability": math.nan}, "reliability must be"), ({"shortcut": -1}, "shortcut must be in \\[0, 1\\], got -1"),
    ({"augment": "no"}, "augment must be True or False, got 'no'"), ({"refresh": "yes"}, "refresh must be"),
    ({"at": (1.5,)}, "each epoch in at must be a whole number"), ({"at": 3}, "at must be several epochs, got 3"),
    ({"every": 2.5, "at": ()}, "every must be"), ({"budget": "money"}, "budget must be one of .*, got 'money'"),
    ({"seed": True}, "seed must be"),
    ({"width": 4.0}, "width must be a whole number of at least 1, got 4.0"),
    ({"width": (4, 4, 4.5, 4)}, "width must be .* got 4.5"),
    ({"data": "digits", "model": "vgg16"},
     "vgg16 takes pictures of 32×32 pixels or more, and these have 8: take mlp or mobilenet"),
    ({"lr": None}, "lr must be in \\(0, inf\\), got None"), ({"rate": "high"}, "rate must be in .* got 'high'"),
    ({"data": "folder:"}, "data set must be one of .*, got 'folder:'"),
    ({"data": 3}, "data set must be one of .*, got 3"),
])  # fmt: skip
def test_a_run_that_cannot_be_trained_is_refused_with_the_value(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(Run(method="random", at=(1,)), **changes)


def test_numpy_s_numbers_make_the_same_run():
    odd = Run(width=np.int64(4), method="random", rate=np.float64(0.5), at=(np.int64(1),), seed=np.int64(2), options={})
    assert (
        odd == Run(width=4, method="random", rate=0.5, at=(1,), seed=2)
        and odd.name == Run.from_json(odd.to_json()).name
    )
    assert gl.grid("quick", np.arange(2)) == gl.grid("quick", np.int64(2)) == gl.grid("quick", 2)
    arrays = Run(width=np.array([4, 5, 6, 7]), method="random", at=np.array([2, 1]))
    assert arrays == Run(width=(4, 5, 6, 7), method="random", at=(1, 2)) == Run.from_json(arrays.to_json())
    with pytest.raises(ValueError, match="seeds must be a whole number of at least 1, got 2.5"):
        gl.grid("quick", 2.5)


def test_multiply_adds_by_hand_and_as_the_budget_counts_them():
    by_hand = 9 * (3 * 4 * 32**2 + 4 * 5 * 16**2 + 5 * 6 * 8**2 + 6 * 7 * 4**2) + 7 * 10
    assert multiply_adds("vgg5", (4, 5, 6, 7)) == by_hand
    batch = torch.rand(1, 3, 32, 32), torch.zeros(1, dtype=torch.int64)
    assert propose("random", gl.vgg5([4, 5, 6, 7]), [batch]).within(flops=by_hand).neurons == 0
    assert multiply_adds("mobilenet", (8,) * 14) < multiply_adds("mobilenet", (9,) * 14)
