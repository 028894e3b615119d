"""Runs and grids as plain values, many runs at a time that lose nothing, and what may be concluded from them."""

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import BrokenExecutor, Executor, Future
from dataclasses import asdict, fields, replace
from inspect import getsource
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from test_data import cifar  # noqa: F401  a fixture

import growlab as gl
from growlab import training
from growlab.lab import execute as execution
from growlab.lab import folder as claims
from growlab.lab import statistics
from growlab.lab.folder import state
from growlab.lab.grids import GRIDS
from growlab.lab.results import collect
from growlab.lab.run import Run, multiply_adds, widths_by_epoch
from growlab.lab.statistics import compare, default_contrasts, holm
from growlab.plans import propose

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
    return gl.execute(runs, folder, executor or Here(), **{"beat": 0.1, "progress": False} | how)


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


# Runs


OTHER = {
    "data": "critters", "limit": 100, "model": "mobilenet", "width": 9, "method": "random", "rate": 0.5, "at": (1, 3),
    "budget": "parameters", "options": {"step": 0.1}, "k": 3, "when": "every_epoch", "penalty": "square",
    "penalty_strength": 2, "weight_change": "frobenius", "change_strength": 2, "previous": "iteration", "movement": 0.2,
    "target": "labels", "refresh": True, "epochs": 5, "schedule": "restarts", "lr": 0.06, "batch_size": 16,
    "weight_decay": 0, "augment": False, "precision": "bfloat16", "threads": 2, "seed": 1,
}  # fmt: skip


def test_every_setting_but_the_label_changes_the_name():
    runs = [TINY, *(replace(TINY, **{name: value}) for name, value in OTHER.items())]
    runs += [replace(TINY, at=(), every=2), replace(TINY, movement=None), replace(TINY, movement=None, steps_lr=0.2)]
    runs += [replace(TINY, data="critters", reliability=0.7), replace(TINY, method=None)]
    runs += [replace(TINY, data="critters", shortcut=0.7)]
    assert {f.name for f in fields(Run)} == {*OTHER, "every", "steps_lr", "reliability", "shortcut", "arm"}
    assert len({run.name for run in runs}) == len(runs) == len(set(runs))
    assert replace(TINY, arm="ours").name == TINY.name and replace(TINY, lr=1).name == replace(TINY, lr=1.0).name


def test_names_stay_what_they_are():
    """In every process, on every machine, and in later versions: finished runs are found by them."""
    assert Run().name == "critters-vgg5w4-never-s0-1c7285b3ad"
    assert TINY.name == "digits-mlpw8-net2net-s0-efd5137da0"
    assert gl.grid("table1", [3])[5].name == "cifar10-vgg16w16-firefly-k15-s3-bbc988b2ba"
    here, there = (Run(f"folder:{path}", width=(4, 5, 6, 7)) for path in ("cifar10-jpeg", "/some/where/cifar10-jpeg"))
    assert here.name == there.name == "cifar10-jpeg-vgg5w7-never-s0-f7d8ffe894"


@pytest.mark.parametrize("name", GRIDS)
def test_the_runs_of_every_grid_survive_json_and_are_told_apart(name):
    runs = gl.grid(name, 2)
    assert [Run.from_json(run.to_json()) for run in runs] == runs
    assert len({run.name for run in runs}) == len({(run.model, run.arm, run.seed) for run in runs}) == len(runs)
    assert all(set(run.name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") for run in runs)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"model": "resnet"}, "model must be one of mlp, vgg5.*, got 'resnet'"),
        ({"epochs": 0}, "epochs must be a whole number of at least 1, got 0"),
        ({"width": (4, 5)}, r"one number or 4 for vgg5, got \(4, 5\)"),
        ({"width": 0}, "width must be .* got 0"),
        ({"lr": 0}, "lr must be positive.* got 0.0"),
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
    with pytest.raises(ValueError, match="setting of a run must be one of data.*, got 'dropout'"):
        Run.from_json('{"dropout": 0.5}')


# Grids


def test_tables_follow_the_papers_protocol():
    for name, data in (("table1", "cifar10"), ("table2", "cifar100")):
        runs = gl.grid(name, 1)
        assert {(run.model, run.width) for run in runs} == {("vgg16", 16), ("mobilenet", 32)} and len(runs) == 12
        assert {(run.method, run.k) for run in runs if run.k} == {("random", 20), ("splitting", 10), ("firefly", 15)}
        for run in runs:
            assert run.growth().epochs(run.epochs) == (50, 100, 150, 200) and run.rate == 0.35
            assert (run.data, run.epochs, run.schedule, run.batch_size) == (data, 250, "cosine", 128)
    rows = [
        (run.method, run.k > 0 and run.penalty_strength, run.k > 0 and run.change_strength)
        for run in gl.grid("table3", 1)
    ]
    assert rows == [
        (method, *row) for method in ("random", "splitting", "firefly") for row in ((0, 0), (1, 0), (0, 1), (1, 1))
    ]


def test_the_control_born_large_has_the_neurons_that_growth_gives_and_the_other_one_its_compute():
    grown = next(run for run in gl.grid("methods", 1) if run.arm == "random")
    arms = {run.arm: run for run in gl.grid("methods", 1)}
    assert widths_by_epoch(grown)[-1] == (14, 14, 13, 13) == arms["scratch"].width and arms["scratch"].method is None
    compute = sum(multiply_adds("vgg5", widths) for widths in widths_by_epoch(grown))
    each = multiply_adds("vgg5", arms["scratch"].width)
    assert abs(arms["scratch at equal compute"].epochs * each - compute) <= each / 2
    assert widths_by_epoch(gl.grid("table1", 1)[0])[-1] == (54,) * 2 + (53,) * 11  # 691 neurons


def test_multiply_adds_by_hand_and_as_the_budget_counts_them():
    by_hand = 9 * (3 * 4 * 32**2 + 4 * 5 * 16**2 + 5 * 6 * 8**2 + 6 * 7 * 4**2) + 7 * 10
    assert multiply_adds("vgg5", (4, 5, 6, 7)) == by_hand
    batch = torch.rand(1, 3, 32, 32), torch.zeros(1, dtype=torch.int64)
    assert propose("random", gl.vgg5([4, 5, 6, 7]), [batch]).within(flops=by_hand).neurons == 0
    assert multiply_adds("mobilenet", (8,) * 14) < multiply_adds("mobilenet", (9,) * 14)


def test_seeds_changes_and_unknown_grids():
    assert [run.seed for run in gl.grid("dose", [7, 9])][::12] == [7, 9]
    assert {(run.epochs, run.limit) for run in gl.grid("k", 1, epochs=6, limit=500)} == {(6, 500)}
    assert {run.method for run in gl.grid("readings", 1, method="firefly")} == {"firefly"}
    with pytest.raises(ValueError, match="grid must be one of table1, table2.*, got 'table4'"):
        gl.grid("table4")


# What arms share, and what each of them does


@pytest.fixture(scope="module")
def controls(tmp_path_factory):
    """The controls and placebos in miniature: (folder, {arm: run}, {arm: history})."""
    folder = tmp_path_factory.mktemp("controls")
    everything = gl.grid("controls", 1, **SMALL | {"epochs": 3, "precision": "float32"})
    runs = [
        run
        for run in everything
        if run.method not in ("splitting", "firefly") or not run.arm.endswith(statistics.PLACEBOS)
    ]
    table = execute(runs, folder)
    assert set(table["state"]) == {"finished"}
    arms = {run.arm: run for run in runs}
    return folder, arms, {arm: gl.History.load(folder / run.name / "record.json") for arm, run in arms.items()}


def test_arms_share_initial_weights_order_of_data_and_randomness_of_growth(controls):
    _, arms, histories = controls
    small = {arm: history.epochs[0]["loss"] for arm, history in histories.items() if "scratch" not in arm}
    assert len(small) == 13 and len(set(small.values())) == 1  # trained alike until the first growth
    for method in ("random", "splitting", "firefly"):
        of_method = [h.growths[0]["new"] for arm, h in histories.items() if arm.partition("+")[0] == method]
        assert len(of_method) == (5 if method == "random" else 2) and all(new == of_method[0] for new in of_method)


def test_another_seed_is_another_run(tmp_path):
    runs = [TINY, replace(TINY, seed=1)]
    execute(runs, tmp_path)
    first, second = (gl.History.load(tmp_path / run.name / "record.json") for run in runs)
    assert first.epochs[0]["loss"] != second.epochs[0]["loss"] and first.growths[0]["new"] != second.growths[0]["new"]


def test_no_steps_are_bit_equal_to_base_whatever_the_penalty(tmp_path):
    other = replace(TINY, k=0, penalty="energy", movement=0.7, when="every_epoch", weight_change="frobenius")
    execute([TINY, other], tmp_path)
    assert other.name != TINY.name and same(weights(tmp_path, TINY), weights(tmp_path, other))
    assert record(tmp_path, TINY) == record(tmp_path, other)


def test_controls_and_placebos_do_what_they_are_called(controls):
    folder, arms, histories = controls
    moved = {
        arm: [round(step["last"]["movement"], 6) for step in history.decorrelations]
        for arm, history in histories.items()
    }
    for arm, history in histories.items():
        assert [step["epoch"] for step in history.decorrelations] == ([1, 2] if "+" in arm else []), arm
        widths = [sum(row["widths"].values()) for row in history.epochs]
        expected = (
            [16] * 3 if arm.startswith("never") else [30] * len(widths) if arm.startswith("scratch") else [16, 22, 30]
        )
        assert widths == expected or (arm.startswith("splitting") and widths[0] < widths[1]), (
            arm
        )  # splitting finds fewer
        assert len(history.epochs) == (2 if arm == "scratch at equal compute" else 3)
    assert moved["random+placebo"] == pytest.approx([0.1, 0.1], rel=0.01)  # one direction: the whole way
    assert all(
        0 < movement < 0.1001
        for movement in moved["random+labels"] + moved["random+penalty"] + moved["firefly+penalty"]
    )
    assert moved["random+refresh"] == [0, 0]
    assert moved["never+penalty"][0] > 0 and moved["scratch+penalty"][0] > 0
    assert same(
        weights(folder, arms["random+refresh"]), weights(folder, arms["random"])
    )  # no batch norm: nothing to refresh
    assert all(step["last"]["loss"] < step["first"]["loss"] for step in histories["random+labels"].decorrelations)
    angles = {
        arm: history.similarity[1]["layers"]["1"].get("twin_angle")
        for arm, history in histories.items()
        if arm.startswith("net2net")
    }
    assert angles["net2net"] < 1e-6 < angles["net2net with step"]


def test_eq4_alone_moves_nothing_since_it_starts_at_its_minimum(tmp_path):
    base, eq3, eq4, both = runs = gl.grid("table3", 1, every=None, **SMALL)[:4]
    execute(runs, tmp_path)
    assert same(weights(tmp_path, base), weights(tmp_path, eq4)) and not same(
        weights(tmp_path, base), weights(tmp_path, eq3)
    )


@pytest.mark.parametrize("budget", ["parameters", "flops"])
def test_budgets_by_parameters_and_by_multiply_adds_bound_each_growth(budget, tmp_path):
    run = replace(TINY, budget=budget, rate=0.4)
    execute([run], tmp_path)
    rows = gl.History.load(tmp_path / run.name / "record.json").epochs
    sizes = [
        row["parameters"]
        if budget == "parameters"
        else multiply_adds("mlp", tuple(row["widths"].values()), 10, (1, 8, 8))
        for row in rows
    ]
    for before, after in zip(sizes, sizes[1:]):
        assert 1.25 * before < after <= 1.4 * before


def test_table2_runs_on_a_small_cifar100_in_the_original_format(cifar, tmp_path):  # noqa: F811
    cifar("cifar100")
    (tmp_path / "cifar-100-python.tar.gz").rename(tmp_path / "root" / "cifar-100-python.tar.gz")
    few = {"firefly": {"fresh": 2, "steps": 1, "scoring": 1}, "splitting": {"fit": 1, "held_out": 1}}
    runs = [
        replace(run, width=2, options=few.get(run.method, {}))
        for run in gl.grid("table2", 1, epochs=2, every=1, batch_size=6)
    ]
    table = execute(runs, tmp_path / "runs")
    assert set(table["state"]) == {"finished"} and len(table) == 12
    assert set(table["model"]) == {"vgg16", "mobilenet"}
    found = gl.summary(table)
    assert list(found["paper_seconds"][found["arm"] == "splitting+penalty"]) == [13790, 7250]
    for run in runs:
        history = gl.History.load(tmp_path / "runs" / run.name / "record.json")
        assert history.settings["data"] == "cifar100" and history.settings["model"]["classes"] == 100
        assert (
            sum(history.epochs[1]["widths"].values()) > sum(history.epochs[0]["widths"].values())
            or run.method == "splitting"
        )


# Execution


def test_a_finished_run_is_skipped_and_its_folder_holds_record_and_weights(tmp_path, monkeypatch):
    table = execute([TINY], tmp_path)
    assert sorted(os.listdir(tmp_path / TINY.name)) == ["record.json", "run.json", "weights.pt"]
    model, data = gl.load(tmp_path / TINY.name / "weights.pt"), gl.load_data("digits", limit=200)
    assert gl.evaluate(model, data.test) == table["test_accuracy"][0] > 0.2  # chance is 0.1
    monkeypatch.setattr(execution, "_train", lambda *_: pytest.fail("it trained again"))
    assert (
        execute([TINY, replace(TINY, arm="again")], tmp_path)["test_accuracy"].tolist() == [*table["test_accuracy"]] * 2
    )


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


def test_stop_leaves_everything_resumable_and_the_end_is_bit_equal(tmp_path, monkeypatch):
    execute([TINY], tmp_path / "whole")
    interrupted(tmp_path / "stopped", monkeypatch)
    place = tmp_path / "stopped" / TINY.name
    assert state(place) == "open" and not claims.held(place) and (place / "checkpoint.pt").exists()
    assert gl.results(tmp_path / "stopped")["state"].tolist() == ["open"]
    execute([TINY], tmp_path / "stopped")
    assert record(tmp_path / "whole", TINY) == record(tmp_path / "stopped", TINY)
    assert same(weights(tmp_path / "whole", TINY), weights(tmp_path / "stopped", TINY))


def test_killed_after_the_record_but_before_the_weights_it_is_finished_without_training(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(execution, "save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            execute([TINY], tmp_path)
    assert (tmp_path / TINY.name / "record.json").exists() and state(tmp_path / TINY.name) == "open"
    monkeypatch.setattr(training, "_train_epoch", lambda *_: pytest.fail("it trained again"))
    assert execute([TINY], tmp_path)["state"].tolist() == ["finished"]


def test_a_failing_run_is_kept_with_its_traceback_stops_no_other_and_is_tried_again(tmp_path, capsys):
    bad, good = replace(TINY, lr=1e30), replace(TINY, seed=1)
    table = execute([bad, good], tmp_path)
    assert table["state"].tolist() == ["failed", "finished"]
    assert table["error"][0].startswith("FloatingPointError: the loss became") and pd.isna(table["error"][1])
    kept = json.loads((tmp_path / bad.name / "error.json").read_text())
    assert "_train_epoch" in kept["traceback"] or "in train" in kept["traceback"]
    assert "1 of 2 runs failed" in capsys.readouterr().out
    again = execute([bad], tmp_path, Counting())
    assert again["state"].tolist() == ["failed"] and Counting.calls == 1


def test_one_bar_tells_how_much_is_done_and_begins_where_it_was(tmp_path, monkeypatch, capsys):
    interrupted(tmp_path, monkeypatch)
    capsys.readouterr()
    execute([TINY, replace(TINY, seed=1)], tmp_path, progress=True)
    shown = [line for line in capsys.readouterr().err.split("\r") if line.strip()]
    assert shown[0].startswith(" 25%") and "<" in shown[0]  # two of four epochs of one of two runs
    assert shown[-1].startswith("2 of 2 runs: 100%")
    wide, long = replace(TINY, width=80), replace(TINY, epochs=8)
    assert execution._cost(wide) > execution._cost(TINY) and execution._cost(long) > 1.9 * execution._cost(TINY)


class Counting(Here):
    calls = 0

    def submit(self, *arguments):
        Counting.calls += 1
        return super().submit(*arguments)


class Dying(Here):
    """A process that is killed as soon as it has begun with a certain run."""

    def __init__(self, name, begins=True):
        self.name, self.begins = name, begins

    def submit(self, work, run, place, *others):
        if run.name != self.name:
            return super().submit(work, run, place, *others)
        place.mkdir(exist_ok=True)
        if self.begins:
            claims._create(claims._next(place))
        future = Future()
        future.set_exception(BrokenExecutor("killed"))
        return future


def test_a_run_that_kills_three_processes_is_given_up_and_the_others_finish(tmp_path):
    table = execute([TINY, replace(TINY, seed=1)], tmp_path, Dying(TINY.name))
    assert table["state"].tolist() == ["failed", "finished"] and "killed" in table["error"][0]
    with pytest.raises(RuntimeError, match=f"{TINY.name} could not even begin in 3 processes.*__main__"):
        execute([TINY], tmp_path / "other", Dying(TINY.name, begins=False))


def test_data_that_are_not_there_are_an_error_before_anything_runs(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        execute([replace(TINY, data="folder:nowhere")], tmp_path)
    assert os.listdir(tmp_path) == []
    (tmp_path / "photos").mkdir()
    monkeypatch.setenv("GROWLAB_DATA", str(tmp_path))  # a folder of pictures beside the other data
    assert execution._absolute("folder:photos", str(tmp_path)) == f"folder:{tmp_path / 'photos'}"


def test_a_claim_is_exclusive(tmp_path):
    got, threads = [], []

    def claim():
        with claims.claimed(tmp_path, "me", 10) as each_epoch:
            got.append(each_epoch is not None)
            barrier.wait()

    barrier = threading.Barrier(12)
    threads = [threading.Thread(target=claim) for _ in range(12)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sum(got) == 1


def test_a_claim_is_void_after_six_missed_beats_and_held_while_its_heart_beats(tmp_path):
    with claims.claimed(tmp_path, "me", 0.05) as each_epoch:
        assert each_epoch
        time.sleep(0.6)  # twelve beats
        assert claims.held(tmp_path)
        with claims.claimed(tmp_path, "you", 0.05) as other:
            assert other is None
    assert not claims.held(tmp_path)  # given back
    claim = claims._next(tmp_path)
    claim.write_text('{"owner": "dead", "beat": 0.1}')
    assert claims.held(tmp_path)
    os.utime(claim, (time.time() - 1, time.time() - 1))
    assert not claims.held(tmp_path)


def test_whoever_has_lost_a_claim_stops_and_writes_nothing_more(tmp_path, monkeypatch):
    real, place = training._train_epoch, tmp_path / TINY.name

    def taken_over(*arguments, epochs=[]):
        epochs.append(1)
        if len(epochs) == 2:
            claims._create(claims._next(place))  # somebody has found this process silent
        assert len(epochs) < 3, "it went on"
        return real(*arguments)

    place.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(training, "_train_epoch", taken_over)
        assert execution._work(TINY, place, "digits", str(tmp_path), "cpu", "me", 10, 0) == "held"
    assert state(place) == "open" and not (place / "error.json").exists()
    assert len(training.read_checkpoint(place / "checkpoint.pt")["history"]["epochs"]) == 1


def test_the_run_of_a_dead_executor_is_taken_over_once_its_claim_is_void(tmp_path, monkeypatch):
    interrupted(tmp_path, monkeypatch)
    place = tmp_path / TINY.name
    claim = claims._next(place)
    claim.write_text('{"owner": "killed without a word", "beat": 0.2, "epoch": 2}')
    started = time.monotonic()
    assert execute([TINY], tmp_path)["state"].tolist() == ["finished"]
    assert time.monotonic() - started > 1  # six beats
    assert not list(place.glob("claim*"))


SECOND = """
import os, sys, time
from concurrent.futures import Executor, Future
from dataclasses import replace
import growlab as gl
from growlab.lab import execute as execution
tiny = gl.Run.from_json({run!r})
{here}
{note}
note_who_trains(os.getpid())
print("ready", flush=True)
sys.stdin.readline()
gl.execute([replace(tiny, seed=seed) for seed in reversed(range(6))], {folder!r}, Here(), progress=False)
"""


def note_who_trains(who, patch=setattr):
    real = execution._train

    def train(run, place, *rest):
        (place / f"trained-by-{who}").touch()
        time.sleep(0.2)
        return real(run, place, *rest)

    patch(execution, "_train", train)


def test_two_executors_on_one_folder_never_do_a_run_twice(tmp_path, monkeypatch):
    parts = {"here": getsource(Here), "note": getsource(note_who_trains)}
    script = SECOND.format(run=TINY.to_json(), folder=str(tmp_path), **parts)
    second = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    note_who_trains("me", monkeypatch.setattr)
    runs = [replace(TINY, seed=seed) for seed in range(6)]
    execute([replace(TINY, seed=99)], tmp_path / "warm up")
    assert second.stdout.readline() == "ready\n"
    second.stdin.write("go\n")
    second.stdin.flush()
    table = execute(runs, tmp_path, beat=10)
    assert second.wait(60) == 0 and set(table["state"]) == {"finished"}
    trained = [[path.name for path in (tmp_path / run.name).glob("trained-by-*")] for run in runs]
    assert all(len(names) == 1 for names in trained) and len({name for names in trained for name in names}) == 2


LONG = replace(TINY, limit=1000, epochs=20, at=(1, 2, 12), batch_size=8)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The record of LONG when nothing disturbs it."""
    folder = tmp_path_factory.mktemp("whole")
    execute([LONG], folder)
    return record(folder, LONG)


PROCESSES = """
import growlab as gl
if __name__ == "__main__":
    gl.execute([gl.Run.from_json({run!r})], {folder!r}, jobs=1, beat=0.2)
"""


def note_of(place, least=0, but=None, seconds=120):
    """What the claim of a run says once it is so many epochs on, in another process than ``but``."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        note = claims.noted(claims.last_claim(place))
        if note.get("epoch", 0) >= least and note.get("pid", but) != but:
            return note
        time.sleep(0.05)
    pytest.fail(f"no claim like that: {note}")


def gone(pid, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
                return True
            time.sleep(0.05)
        except FileNotFoundError:
            return True
    return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
def test_processes_may_be_killed_and_stopped_and_nothing_is_lost(whole, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(PROCESSES.format(run=LONG.to_json(), folder=str(tmp_path / "runs")))
    caller = subprocess.Popen([sys.executable, script], stderr=subprocess.PIPE, text=True, start_new_session=True)
    place = tmp_path / "runs" / LONG.name
    first = note_of(place, least=3)["pid"]
    os.kill(first, signal.SIGKILL)
    note = note_of(place, least=5, but=first)  # another process has gone on
    os.killpg(caller.pid, signal.SIGINT)  # Ctrl-C in a terminal
    _, said = caller.communicate(timeout=60)
    assert "KeyboardInterrupt" in said
    assert gone(note["pid"]) and state(place) == "open" and not claims.held(place)
    table = execute([LONG], tmp_path / "runs")
    assert table["state"].tolist() == ["finished"] and record(tmp_path / "runs", LONG) == whole


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
def test_a_process_of_the_pool_ends_with_its_lifeline():
    pools = []
    pid = execution._process(pools).submit(os.getpid).result()
    assert not gone(pid, seconds=0.1)
    pools[0].lifeline.close()
    assert gone(pid)
    pools[0].shutdown()


def test_dask_goes_on_when_a_worker_is_killed_in_mid_run(whole, tmp_path):
    distributed = pytest.importorskip("distributed")
    runs = [LONG, replace(TINY, seed=1), replace(TINY, seed=2)]
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):

        def kill():
            os.kill(note_of(tmp_path / "runs" / LONG.name, least=3)["pid"], signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        table = execute(runs, tmp_path / "runs", client.get_executor())
        killer.join()
    assert set(table["state"]) == {"finished"}
    assert record(tmp_path / "runs", LONG) == whole


# Results


def test_results_read_a_folder_live_and_one_file_alike(controls, tmp_path):
    folder, arms, _ = controls
    table = gl.results(folder)
    assert len(table) == len(arms) and set(table["state"]) == {"finished"}
    (tmp_path / "there").mkdir()
    collect(folder, tmp_path / "there" / "runs.json")
    again = gl.results(tmp_path / "there" / "runs.json")
    assert set(again) == set(table)
    pd.testing.assert_frame_equal(again[table.columns], table, rtol=1e-4, check_dtype=False)
    labelled = gl.results(
        tmp_path / "there" / "runs.json", [replace(arms["random"], arm="ours"), replace(TINY, seed=9)]
    )
    assert labelled["arm"].tolist() == ["ours", ""] and labelled["state"].tolist() == ["finished", "open"]
    with pytest.raises(FileNotFoundError, match="neither a folder of gl.execute nor a file"):
        gl.results(tmp_path / "nowhere")
    assert gl.results(tmp_path / "there").empty and gl.summary(gl.results(tmp_path / "there")).empty


def test_a_row_says_what_a_record_says(controls):
    folder, arms, histories = controls
    table = gl.results(folder, arms.values()).set_index("arm")
    for arm in ("never", "random+penalty", "net2net"):
        row, history = table.loc[arm], histories[arm]
        assert (
            row["test_accuracy"] == history.result["test_accuracy"]
            and row["parameters"] == history.epochs[-1]["parameters"]
        )
        assert row["val_accuracy"] == history.epochs[-1]["val_accuracy"]
        phases = ["training_seconds", "evaluation_seconds", "growth_seconds", "penalty_seconds"]
        assert row["seconds"] == pytest.approx(sum(row[phases])) and (row["penalty_seconds"] > 0) == ("penalty" in arm)
        assert row["growth_seconds"] == pytest.approx(sum(event["seconds"] for event in history.growths))
        pictures, (first, *others) = history.settings["pictures"], [list(e["widths"].values()) for e in history.epochs]
        assert row["compute"] == 3 * pictures * sum(64 * a + a * b + b * 10 for a, b in [first, *others])
    layers = histories["random+penalty"].similarity
    for column, when in (("before", "after growth"), ("after", "after decorrelation"), ("end", "end")):
        last = [note for note in layers if note["when"] == when][-1]["layers"].values()
        expected = np.mean([layer["mean_absolute_cosine"] for layer in last])
        assert table.loc["random+penalty", f"mean_absolute_cosine_{column}"] == pytest.approx(expected)
    assert abs(table.loc["random+penalty", "mean_cosine_after"]) < abs(
        table.loc["random+penalty", "mean_cosine_before"]
    )
    assert pd.isna(table.loc["random", "mean_cosine_after"]) and pd.isna(table.loc["never", "moved"])
    assert table.loc["net2net", "twin_angle_before"] > 0


def test_a_collected_file_is_small_has_provenance_and_no_place_of_this_machine(tmp_path):
    run = replace(
        TINY, width=(4, 4, 4, 4), at=(1, 2, 3, 4), epochs=12, k=2
    )  # as many layers, events and epochs as there
    execute([run, replace(run, seed=1)], tmp_path)
    moved = replace(run, data="folder:/some/where/else/digits")
    (tmp_path / run.name / "run.json").write_text(moved.to_json())
    (tmp_path / run.name).rename(tmp_path / moved.name)
    collect(tmp_path, tmp_path / "runs.json")
    text = (tmp_path / "runs.json").read_text()
    assert "/some" not in text and str(tmp_path) not in text
    content = json.loads(text)
    sizes = [len(line) for line in text.splitlines()[2:4]]
    assert 140 * max(sizes) < 1_000_000  # ten seeds of the 14 arms of "methods"
    assert content["environments"][0]["torch"] == torch.__version__ and len(text.splitlines()) == 5
    first = content["runs"][0]
    kept = [note["layers"]["3"] for note in first["similarity"]]
    assert [note["when"] for note in first["similarity"]] == ["after growth", "after decorrelation", "end"]
    assert all(sum(layer["histogram"]) == math.comb(layer["neurons"], 2) for layer in kept)
    assert "histogram" not in first["similarity"][0]["layers"]["1"] and [
        row["epoch"] for row in first["epochs"]
    ] == list(range(1, 13))
    assert first["growths"][0]["new"] == {"copy": 6}
    assert gl.results(tmp_path / "runs.json")["data"].tolist() == [row["run"]["data"] for row in content["runs"]]


def test_long_runs_keep_thirty_epochs_and_the_last(controls, tmp_path):
    folder, arms, histories = controls
    place = tmp_path / arms["never"].name
    place.mkdir()
    long = asdict(histories["never"])
    long["epochs"] = [long["epochs"][0] | {"epoch": epoch + 1} for epoch in range(250)]
    (place / "record.json").write_text(json.dumps(long))
    (place / "run.json").write_text(arms["never"].to_json())
    collect(tmp_path, tmp_path / "runs.json")
    epochs = [row["epoch"] for row in json.loads((tmp_path / "runs.json").read_text())["runs"][0]["epochs"]]
    assert len(epochs) <= 30 and epochs[-1] == 250 and len(set(np.diff(epochs))) == 1


# Statistics


def test_compare_agrees_with_scipy():
    differences = np.random.default_rng(0).normal(0.2, 0.5, 10)
    found, oracle = compare(differences), stats.ttest_1samp(differences, 0)
    interval = oracle.confidence_interval(0.95)
    assert (found["p"], found["low"], found["high"]) == pytest.approx((oracle.pvalue, *interval))
    above = stats.ttest_1samp(differences, -0.3, alternative="greater").pvalue
    below = stats.ttest_1samp(differences, 0.3, alternative="less").pvalue
    assert found["p_equal"] == pytest.approx(max(above, below)) and found["difference"] == pytest.approx(
        differences.mean()
    )


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_intervals_cover_and_equivalence_is_rarely_claimed_in_vain(seeds):
    draws = np.random.default_rng(seeds).normal(0.3, 0.4, (1000, seeds))  # the truth lies on the margin
    found = pd.DataFrame([compare(row) for row in draws])
    covered = ((found["low"] < 0.3) & (0.3 < found["high"])).mean()
    assert 0.929 < covered < 0.971  # 95 %, and three standard errors of the simulation
    assert (found["p_equal"] < 0.05).mean() < 0.071


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, math.nan, 0.02])[::2] == pytest.approx([0.5, 0.04]) and math.isnan(holm([math.nan])[0])
    assert holm([0.6, 0.7]) == [1.0, 1.0] and holm([]) == []


def runs_of(accuracies, **more):
    """A table as ``results`` gives it: {arm: accuracies by seed in percent}."""
    rows = [
        {"data": "cifar10", "model": "vgg16", "arm": arm, "seed": seed, "state": "finished",
         "test_accuracy": value / 100, "val_accuracy": value / 100, **dict.fromkeys(statistics.MEANS[1:], 1.0), **more}
        for arm, values in accuracies.items() for seed, value in enumerate(values)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_the_primary_contrast_is_the_penalty_over_all_methods_of_the_paper_and_is_not_corrected():
    noise = np.random.default_rng(1).normal(0, 0.2, (8, 6))
    base = 60 + noise[:4].cumsum(0)
    arms = {"random": base[0], "splitting": base[1], "firefly": base[2], "never": base[3] - 10}
    arms |= {
        f"{method}+penalty": arms[method] + 1 + noise[4 + i]
        for i, method in enumerate(("random", "splitting", "firefly"))
    }
    arms |= {"random+placebo": arms["random"] + noise[7]}
    found = gl.summary(runs_of(arms))
    first = found.iloc[0]
    assert (
        first["arm"] == "random+penalty, splitting+penalty, firefly+penalty"
        and first["against"] == "random, splitting, firefly"
    )
    expected = np.mean([arms[f"{m}+penalty"] - arms[m] for m in ("random", "splitting", "firefly")], axis=0)
    assert first["differences"] == pytest.approx(expected, abs=0.006) and first["p"] == pytest.approx(
        stats.ttest_1samp(expected, 0).pvalue
    )
    assert math.isnan(first["p_holm"]) and first["verdict"] == "higher"
    others = found.iloc[1:]
    assert list(others["p_holm"]) == pytest.approx(holm(list(others["p"])))
    assert list(zip(others["arm"], others["against"])) == [
        ("random+penalty", "random"), ("splitting+penalty", "splitting"), ("firefly+penalty", "firefly"),
        ("random+placebo", "random"),
        ("random+penalty", "random+placebo"), ("random", "never"), ("splitting", "never"), ("firefly", "never"),
    ]  # fmt: skip
    assert found["verdict"].iloc[-1] == "higher"


def test_schedules_that_were_tried_are_held_against_their_own_controls():
    names = [f"{arm}, {schedule}" for schedule in ("long", "short") for arm in ("never", "scratch", "random")]
    primary, found = default_contrasts(runs_of({name: [50, 51] for name in names}))
    assert primary == [] and found == [
        (f"{arm}, {schedule}", f"{control}, {schedule}")
        for control, arm in (("never", "random"), ("scratch", "random"), ("never", "scratch"))
        for schedule in ("long", "short")
    ]


def test_of_a_sweep_over_k_only_the_best_on_validation_is_reported_on_test():
    table = runs_of({"random": [50, 51, 52], "random+k5": [51, 52, 53.5], "random+k20": [55, 56, 57.5]})
    table.loc[table["arm"] == "random+k5", "val_accuracy"] = 0.9  # although another one is better on test
    found = gl.summary(table)
    assert (
        found[["arm", "against"]].values.tolist() == [["random+k5", "random"]] and found["p_holm"][0] == found["p"][0]
    )


def test_verdicts():
    base = np.array([50, 60, 70, 80])
    arms = {"wild": base[[3, 0, 2, 1]], "same": base, "near": base + [0.1, -0.1, 0.1, 0], "up": base + [5, 5.5, 5, 5.5]}
    table = runs_of({"base": base, **arms, "alike": base + 1, "new": [50]})
    found = gl.summary(table, [(arm, "base") for arm in (*arms, "alike", "new")])
    assert dict(zip(found["arm"], found["verdict"])) == {
        "wild": "undecided", "same": "undecided", "near": "within ±0.3", "up": "higher",
        "alike": "alike in all seeds: nothing to judge by", "new": "too few seeds in common: 1",
    }  # fmt: skip
    lower = gl.summary(table, [("base", "up")], margin=9)
    assert lower["verdict"].tolist() == ["lower, within ±9"]


def test_data_sets_and_models_are_families_of_their_own_and_unfinished_runs_do_not_count():
    one, two = (
        runs_of({"random": [50, 51], "random+penalty": [52, 54]}),
        runs_of({"random": [50, 51], "random+penalty": [52, 54]}, model="x"),
    )
    two.loc[two.index[-1], "state"] = "open"
    found = gl.summary(pd.concat([one, two]))
    assert (
        found["model"].tolist() == ["vgg16", "x"] and found["seeds"].tolist() == [2, 1] and found["p_holm"].isna().all()
    )
    assert found["paper_seconds"].tolist()[0] == 3090 and found["paper_seconds_against"].tolist()[0] == 3022
    assert math.isnan(found["paper_seconds"][1]) and set(found["paper_accuracy"]) == {"not in our source"}


def test_impossible_summaries_say_why():
    table = runs_of({"random": [50, 51]})
    with pytest.raises(ValueError, match="no finished run is called never: choose from random"):
        gl.summary(table, [("random", "never")])
    with pytest.raises(ValueError, match="several runs of one seed are called 'random': select rows"):
        gl.summary(pd.concat([table, table]))
    for contrasts in (["random"], "random", [("random",)]):
        with pytest.raises(ValueError, match=r"a contrast must be \(arm or list of arms, against\).* got"):
            gl.summary(table, contrasts)
    assert default_contrasts(table) == ([], [])


@pytest.mark.parametrize("changes, message", [
    ({"data": "imagenet"}, "unknown data set 'imagenet'"), ({"limit": 1}, "limit must be a whole number of at least 2"),
    ({"limit": 10.5}, "limit must be"), ({"reliability": 5}, "reliability must be a probability"),
    ({"reliability": math.nan}, "reliability must be"), ({"shortcut": -1}, "shortcut must be a probability"),
    ({"augment": "no"}, "augment must be True or False, got 'no'"), ({"refresh": "yes"}, "refresh must be"),
    ({"at": (1.5,)}, "each epoch in at must be a whole number"), ({"at": 3}, "at must be several epochs, got 3"),
    ({"every": 2.5, "at": ()}, "every must be"), ({"budget": "money"}, "budget must be one of .*, got 'money'"), ({"seed": True}, "seed must be"),
    ({"width": 4.0}, "width must be a whole number, or several, got 4.0"), ({"width": (4, 4, 4.5, 4)}, "width must be .* got 4.5"),
    ({"data": "digits", "model": "vgg16"}, "vgg16 takes pictures of 32×32 pixels or more, and these have 8: take mlp or mobilenet"),
    ({"lr": None}, "lr must be a number, got None"), ({"rate": "high"}, "rate must be a number, got 'high'"),
    ({"data": "folder:"}, "unknown data set 'folder:'"), ({"data": 3}, "unknown data set 3"),
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


def test_grids_take_another_schedule_and_other_data():
    assert {run.every for run in gl.grid("quick", 1, every=2)} == {2} and {
        run.at for run in gl.grid("table1", 1, at=(3,))
    } == {(3,)}
    assert {run.reliability for run in gl.grid("quick", 1, data="digits", model="mlp")} == {None}


@pytest.mark.parametrize("jobs", [0, -1, "2", 1.5])
def test_jobs_must_be_a_number_of_processes_and_runs_some(jobs, tmp_path):
    with pytest.raises(ValueError, match="jobs must be a whole number of at least 1"):
        gl.execute([TINY], tmp_path, jobs=jobs)
    with pytest.raises(ValueError, match="no runs to train"):
        gl.execute([], tmp_path)


@pytest.mark.parametrize("name, text", [
    ("run.json", ""), ("record.json", '{"settings": {}, "env'), ("record.json", "{}"), ("record.json", "[]"),
    ("record.json", '{"settings": {}, "environment": {}}'),
    ("record.json", '{"settings": {}, "environment": {}, "epochs": [{}]}'), ("error.json", "{"),
])  # fmt: skip
def test_a_damaged_file_is_named(name, text, tmp_path):
    place = tmp_path / TINY.name
    place.mkdir()
    (place / "run.json").write_text(TINY.to_json())
    (place / name).write_text(text)
    with pytest.raises(ValueError, match=f"{TINY.name}/{name}.* move its folder away"):
        gl.results(tmp_path)
