"""Schedules, the history, and runs that lose nothing."""

import copy
import json
import math
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import growlab as gl
from growlab import training
from growlab.data.batches import Data, Split
from growlab.files import write_atomically
from growlab.records import read_checkpoint
from growlab.seeds import seeded
from growlab.training import learning_rate


def tiny_data(n=256, size=16):
    """Two-class pictures that a small network learns in seconds: bright on the left, or on the right."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 120, (n, 3, size, size), generator=generator)
    labels = torch.randint(2, (n,), generator=generator)
    for image, label in zip(images, labels):
        image[:, :, label * size // 2 : (label + 1) * size // 2] += 100
    images, classes = images.to(torch.uint8), ("left", "right")
    mean, std = images.float().mean((0, 2, 3)), images.float().std((0, 2, 3))
    cut = {"train": slice(0, n // 2), "val": slice(n // 2, 3 * n // 4), "test": slice(3 * n // 4, n)}
    return Data("tiny", classes, {s: Split(images[c], labels[c], classes, mean, std, shift=2) for s, c in cut.items()})


def small_net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        *list(gl.vgg5(4, classes=2))[:-1], nn.Dropout(0.2), nn.Linear(4, 2)
    )  # dropout: more randomness


def settings(**changes):
    return {
        "epochs": 4,
        "growth": gl.Growth("net2net", every=1),
        "batch_size": 32,
        "lr": 0.05,
        "progress": False,
    } | changes


def same_weights(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def without_seconds(history):
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in history.epochs + history.growths]
    return json.dumps([rows, history.similarity, history.result])


@pytest.fixture(scope="module")
def data():
    return tiny_data()


def test_a_network_learns_and_grows_on_schedule(data):
    model = small_net()
    history = gl.train(model, data, **settings(epochs=6, growth=gl.Growth("random", 0.5, every=2)))
    assert [event["epoch"] for event in history.growths] == [2, 4]
    assert [sum(row["widths"].values()) for row in history.epochs] == [16, 16, 24, 24, 36, 36]
    assert (
        [row["parameters"] for row in history.epochs][-1] == gl.parameter_count(model) == history.result["parameters"]
    )
    assert history.result["test_accuracy"] == gl.evaluate(model, data.test) > 0.9  # chance is 0.5
    assert list(history.table()["epoch"]) == [1, 2, 3, 4, 5, 6]


def test_the_record_holds_the_similarity_of_every_layer_before_and_after_growth_and_at_the_end(data):
    history = gl.train(small_net(), data, **settings())
    moments = [(note["epoch"], note["when"]) for note in history.similarity]
    assert moments == [(e, w) for e in (1, 2, 3) for w in ("before growth", "after growth")] + [(4, "end")]
    for note, event in zip(history.similarity[1::2], history.growths):
        for unit, layer in note["layers"].items():
            assert layer["neurons"] == event["widths"][unit]
            assert sum(layer["histogram"]) == layer["neurons"] * (layer["neurons"] - 1) // 2
    first = next(iter(history.growths))["new"]
    just_grown = history.similarity[1]["layers"]
    assert all(just_grown[unit]["twin_angle"] < 1e-3 for unit in set(first["unit"]))  # copies, to rounding
    assert any(
        layer["twin_angle"] > 1e-3 for layer in history.similarity[-1]["layers"].values() if "twin_angle" in layer
    )


def test_history_survives_json(data, tmp_path):
    history = gl.train(small_net(), data, **settings(), folder=tmp_path)
    assert gl.History.load(tmp_path / "record.json") == history


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_stopped_run_goes_on_and_ends_bit_equal(data, tmp_path, monkeypatch, stop):
    whole = small_net()
    expected = gl.train(whole, data, **settings())

    model, real = small_net(), training.step
    calls, steps = [], len(data.batches("train", settings()["batch_size"]))

    def stop_in_the_middle(*arguments):
        real(*arguments)
        calls.append(1)
        if len(calls) == stop * steps + 2:  # half an epoch is lost
            raise KeyboardInterrupt

    monkeypatch.setattr(training, "step", stop_in_the_middle)
    with pytest.raises(KeyboardInterrupt):
        gl.train(model, data, **settings(), folder=tmp_path)
    monkeypatch.undo()

    other = small_net(seed=9)  # a fresh process would pass a fresh network
    again = gl.train(other, data, **settings(), folder=tmp_path)
    assert same_weights(whole, other) and without_seconds(again) == without_seconds(expected)


def test_the_same_cell_run_again_after_stop_goes_on_with_the_same_model_object(data, tmp_path, monkeypatch):
    whole, model, real = gl.vgg5(4, classes=2), None, training._train_epoch
    model = copy.deepcopy(whole)
    gl.train(whole, data, **settings())

    def stop_in_the_third_epoch(model, batches, *rest):
        if gl.parameter_count(model) > 900:
            raise KeyboardInterrupt
        return real(model, batches, *rest)

    monkeypatch.setattr(training, "_train_epoch", stop_in_the_third_epoch)
    with pytest.raises(KeyboardInterrupt):
        gl.train(model, data, **settings(), folder=tmp_path)
    monkeypatch.undo()
    gl.train(model, data, **settings(), folder=tmp_path)
    assert same_weights(whole, model)


RUN = """
import sys; sys.path.insert(0, {tests!r})
import torch; torch.set_num_threads({threads})
from test_training import *
def pause(history):
    if len(history.epochs) == {pause}:
        print("paused", flush=True), signal.pause()
gl.train(small_net(), tiny_data(), **settings(epochs=12, growth=gl.Growth("net2net", at=(3, 6, 9))), folder={folder!r},
         each_epoch=pause)
"""


def start(folder, threads=1, pause=None):
    """A process that trains; it stands still after an epoch, before that is kept."""
    script = RUN.format(tests=os.path.dirname(__file__), folder=str(folder), threads=threads, pause=pause)
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)


@pytest.mark.processes
def test_kill_9_loses_nothing_and_the_run_keeps_its_number_of_threads(tmp_path):
    with start(tmp_path / "whole") as process:
        pass
    assert process.returncode == 0
    with start(tmp_path / "killed", pause=5) as process:
        assert process.stdout.readline() == "paused\n"
        process.kill()
    assert process.returncode == -signal.SIGKILL and not (tmp_path / "killed" / "record.json").exists()
    assert len(read_checkpoint(tmp_path / "killed" / "checkpoint.pt")["history"]["epochs"]) == 4
    with start(tmp_path / "killed", threads=2) as process:
        pass
    assert process.returncode == 0  # resumed under two threads, it takes its own one again
    whole, killed = (gl.History.load(tmp_path / name / "record.json") for name in ("whole", "killed"))
    assert without_seconds(whole) == without_seconds(killed) and killed.environment["threads"] == 1
    a, b = (read_checkpoint(tmp_path / name / "checkpoint.pt") for name in ("whole", "killed"))
    assert all(torch.equal(a["model"][key], b["model"][key]) for key in a["model"])


def test_another_seed_is_another_run(data):
    assert without_seconds(gl.train(small_net(), data, **settings())) != without_seconds(
        gl.train(small_net(), data, **settings(seed=1))
    )


def test_a_finished_run_is_not_run_again(data, tmp_path, monkeypatch):
    model = small_net()
    first = gl.train(model, data, **settings(), folder=tmp_path)
    monkeypatch.setattr(training, "_train_epoch", lambda *_: pytest.fail("it trained again"))
    other = small_net(seed=5)
    assert gl.train(other, data, **settings(), folder=tmp_path) == first and same_weights(model, other)


def test_a_folder_with_another_run_is_refused(data, tmp_path):
    gl.train(small_net(), data, **settings(), folder=tmp_path)
    with pytest.raises(ValueError, match=r"other settings.*'lr': \(0.05, 0.01\).*another folder"):
        gl.train(small_net(), data, **settings(lr=0.01), folder=tmp_path)


def test_a_folder_with_a_run_on_other_pictures_is_refused_and_one_of_an_earlier_version_goes_on(
    data, tmp_path, monkeypatch
):
    other = tiny_data()
    other.train.labels[0] = 1 - other.train.labels[0]
    gl.train(small_net(), data, **settings(), folder=tmp_path / "new")
    with pytest.raises(ValueError, match="other settings.*'checksum'"):
        gl.train(small_net(), other, **settings(), folder=tmp_path / "new")
    write = training.write_checkpoint

    def write_without(path, model, optimizer, history):
        history.settings.pop("checksum", None)
        write(path, model, optimizer, history)

    monkeypatch.setattr(training, "write_checkpoint", write_without)
    gl.train(small_net(), data, **settings(epochs=1, growth=None), folder=tmp_path / "old")
    monkeypatch.undo()
    assert len(gl.train(small_net(), data, **settings(epochs=1, growth=None), folder=tmp_path / "old").epochs) == 1


def test_growing_with_momentum_trains_exactly_as_without_growth_when_fresh_neurons_stay_silent(data):
    """With outgoing weights at zero and frozen there, a grown run is the run that never grew."""
    plain, grown = small_net().double(), small_net().double()
    x, y = next(iter(data.batches("train", 64, seed=0)))
    for model in (plain, grown):
        optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
        model.eval()
        for step in range(4):
            if model is grown and step == 2:
                gl.apply(model, gl.propose("random", model), optimizer)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x.double()), y).backward()
            if model is grown and step >= 2:
                model[-1].weight.grad[:, 4:] = 0
                for layer in (4, 8, 12):
                    model[layer].weight.grad[:, 4:] = 0
            optimizer.step()
    torch.testing.assert_close(plain(x.double()), grown(x.double()), rtol=0, atol=1e-12)


# Schedules


def test_learning_rates():
    assert [learning_rate("cosine", e, 10) for e in (0, 5, 10)] == pytest.approx([1, 0.5, 0])
    assert [learning_rate("constant_then_cosine", e, 10) for e in (0, 4, 7, 10)] == pytest.approx([1, 1, 0.5, 0])
    restarts = [learning_rate("restarts", e, 10, (4, 6)) for e in (0, 2, 3.999, 4, 5, 6, 8, 10)]
    assert restarts == pytest.approx([1, 0.5, 0, 1, 0.5, 1, 0.5, 0], abs=1e-5)
    assert learning_rate("cosine", 200, 250) == pytest.approx(0.0955, abs=1e-3)  # the paper's last growth


def test_growth_epochs():
    assert gl.Growth(every=50).epochs(250) == (50, 100, 150, 200)
    assert gl.Growth(at=(3, 1, 3)).epochs(4) == (1, 3)
    assert gl.Growth(every=5).epochs(5) == ()


@pytest.mark.parametrize("make, message", [
    (lambda: gl.Growth("random"), "either every= or at="),
    (lambda: gl.Growth(every=2, at=(3,)), "either every= or at="),
    (lambda: gl.Growth(every=0), "every must be a whole number of at least 1, got 0"),
    (lambda: gl.Growth(every=2.5), "every must be a whole number"),
    (lambda: gl.Growth(at=3), r"several epochs, got 3: one is at=\(3,\)"),
    (lambda: gl.Growth(at=(0, 2)), "each epoch in at must be"),
    (lambda: gl.Growth(at=(1.5,)), "each epoch in at must be a whole number"),
    (lambda: gl.Growth(None, every=2), "method must be one of .*, got None"),
    (lambda: gl.Growth(at=(5,)).epochs(5), "within 1 … 4"),
    (lambda: learning_rate("linear", 0, 5), "one of cosine, .*, got 'linear'"),
    (lambda: learning_rate("cosine", 13, 12), "epoch must be in .* got 13: it must lie within the run"),
    (lambda: learning_rate("restarts", 0, 0), "epochs must be a whole number of at least 1, got 0"),
    (lambda: learning_rate("cosine", math.nan, 2), "epoch must be in .* got nan"),
])  # fmt: skip
def test_impossible_schedules_say_why(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_unknown_precision_and_exploding_loss_are_named(data):
    with pytest.raises(ValueError, match="precision must be one of float32, bfloat16.*, got 'float8'"):
        gl.train(small_net(), data, **settings(precision="float8"))
    with pytest.raises(FloatingPointError, match="lower lr"):
        gl.train(small_net(), data, **settings(lr=1e30))


def test_bfloat16_trains_and_differs(data):
    plain, low = (gl.train(small_net(), data, **settings(precision=p)) for p in ("float32", "bfloat16"))
    assert math.isfinite(low.epochs[-1]["loss"]) and low.epochs[-1]["loss"] != plain.epochs[-1]["loss"]


def test_evaluate_leaves_the_mode_alone(data):
    model = small_net().train()
    gl.evaluate(model, data.val)
    assert model.training and model[1].num_batches_tracked == 0


# Files


@pytest.mark.parametrize("make", [
    lambda: gl.mlp([12, 5, 4]), lambda: gl.vgg5([4, 5, 6, 7], classes=3), lambda: gl.vgg16(4, channels=1),
    lambda: gl.mobilenet(8),
])  # fmt: skip
def test_save_and_load_bring_back_grown_shapes(make, tmp_path):
    model = make()
    gl.apply(model, gl.propose("random", model).within(rate=0.35))
    gl.save(tmp_path / "model.pt", model)
    loaded = gl.load(tmp_path / "model.pt")
    assert same_weights(model, loaded) and repr(model) == repr(loaded)


def test_your_own_model_comes_back_by_growing_a_fresh_one(tmp_path):
    model = small_net()
    gl.apply(model, gl.propose("net2net", model).within(rate=0.35))
    gl.save(tmp_path / "model.pt", model)
    with pytest.raises(ValueError, match=r"pass a fresh one, load\(path, model=…\)"):
        gl.load(tmp_path / "model.pt")
    assert same_weights(model, gl.load(tmp_path / "model.pt", model=small_net(seed=3)))


@pytest.mark.parametrize("other", [lambda: gl.mlp([64, 5, 4]), lambda: gl.vgg5(16), lambda: gl.vgg5(4, classes=7)])
def test_a_checkpoint_of_another_architecture_is_refused(other, tmp_path):
    gl.save(tmp_path / "model.pt", gl.vgg5(8))
    with pytest.raises(ValueError, match="another architecture"):
        gl.load(tmp_path / "model.pt", model=other())


def test_a_file_that_is_no_checkpoint_is_named_and_no_code_in_it_runs(tmp_path):
    import pickle

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "broken-in"),)

    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Evil()))
    (tmp_path / "short.pt").write_bytes(b"PK")
    for name in ("evil.pt", "short.pt"):
        with pytest.raises(ValueError, match=f"{name} is not a checkpoint"):
            gl.load(tmp_path / name)
    assert not (tmp_path / "broken-in").exists()
    with pytest.raises(FileNotFoundError):
        gl.load(tmp_path / "none.pt")


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path):
    resource = pytest.importorskip("resource")  # not on Windows
    gl.save(tmp_path / "model.pt", gl.vgg5(4))
    old = (tmp_path / "model.pt").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(old) + 1000, hard))  # no file may become larger than that
    try:
        with pytest.raises(OSError, match="could not write .*model.pt.*what was there before is untouched"):
            gl.save(tmp_path / "model.pt", gl.vgg5(40))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert (tmp_path / "model.pt").read_bytes() == old and os.listdir(tmp_path) == ["model.pt"]


def test_write_atomically_replaces_whole_files(tmp_path):
    write_atomically(tmp_path / "a", b"old")
    write_atomically(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new" and os.listdir(tmp_path) == ["a"]


# The K steps, the gate, and when to stop growing


def grow_with(**options):
    return settings(growth=gl.Growth("net2net", **{"every": 1, "options": {"step": 0.02}} | options))


def decorrelations(history):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in history.decorrelations]


def test_no_steps_are_bit_equal_to_no_penalty(data):
    plain, none = small_net(), small_net()
    expected = gl.train(plain, data, **grow_with())
    history = gl.train(
        none, data, **grow_with(k=0, decorrelate={"penalty": "energy", "movement": 0.3}, when="every_epoch")
    )
    assert same_weights(plain, none) and without_seconds(history) == without_seconds(expected)
    assert history.decorrelations == [] and all(note["when"] != "after decorrelation" for note in history.similarity)


def test_steps_without_a_penalty_are_bit_equal_too_and_move_no_random_stream(data):
    plain, still = small_net(), small_net()
    expected = gl.train(plain, data, **grow_with())
    idle = {"penalty_strength": 0, "target": None, "movement": 0.2}
    history = gl.train(still, data, **grow_with(k=3, decorrelate=idle, when="every_epoch"))
    assert same_weights(plain, still) and len(history.decorrelations) == 3
    assert [event["new"] for event in history.growths] == [event["new"] for event in expected.growths]


def test_the_record_holds_the_trace_and_the_figures_after_the_steps(data, tmp_path):
    history = gl.train(
        small_net(), data, **grow_with(k=4, decorrelate={"penalty": "energy", "movement": 0.1}), folder=tmp_path
    )
    moments = [(note["epoch"], note["when"]) for note in history.similarity]
    steps = ("before growth", "after growth", "after decorrelation")
    assert moments == [(e, w) for e in (1, 2, 3) for w in steps] + [(4, "end")]
    assert [row["epoch"] for row in history.decorrelations] == [1, 2, 3]
    for row, event, after, later in zip(
        history.decorrelations, history.growths, history.similarity[1::3], history.similarity[2::3]
    ):
        assert (row["first"]["step"], row["last"]["step"]) == (0, 4) and row["seconds"] > 0
        assert row["last"]["penalty"] < row["first"]["penalty"] and 0.08 < row["last"]["movement"] <= 0.1001
        assert row["last"]["twin_angle"] > row["first"]["twin_angle"] > 0
        twins = [unit for unit in after["layers"] if "twin_angle" in after["layers"][unit]]
        assert set(event["new"]["unit"]) <= set(twins)
        assert any(later["layers"][unit]["twin_angle"] > after["layers"][unit]["twin_angle"] for unit in twins)
    assert all("decorrelation" in row["seconds"] for row in history.epochs[:3])
    assert gl.History.load(tmp_path / "record.json") == history


def test_every_epoch_means_every_epoch_but_the_last(data):
    growth = {"every": None, "at": (2,), "when": "every_epoch", "k": 2}
    history = gl.train(small_net(), data, **grow_with(**growth))
    assert [row["epoch"] for row in history.decorrelations] == [1, 2, 3]
    assert [note["when"] for note in history.similarity].count("after decorrelation") == 1
    assert "twin_angle" not in history.decorrelations[0]["first"] and "twin_angle" in history.decorrelations[2]["first"]


@pytest.mark.parametrize("options", [
    {"penalty": "square", "movement": 0.05}, {"target": "labels", "refresh": True, "lr": 0.01},
    {"target": "outputs", "lr": 1e-3}, {"penalty": "random", "movement": 0.05},
])  # fmt: skip
def test_a_stopped_run_with_steps_and_gate_ends_bit_equal(data, tmp_path, monkeypatch, options):
    run = grow_with(
        k=3, decorrelate=options, when="every_epoch", gate={"max_cosine": 0.99999, "on": "both", "soft": True}
    )
    whole, real, calls = small_net(), training._train_epoch, []
    expected = gl.train(whole, data, **run)

    def stop_in_the_third_epoch(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(training, "_train_epoch", stop_in_the_third_epoch)
    with pytest.raises(KeyboardInterrupt):
        gl.train(small_net(), data, **run, folder=tmp_path)
    monkeypatch.undo()
    other = small_net(seed=9)
    again = gl.train(other, data, **run, folder=tmp_path)
    assert same_weights(whole, other) and without_seconds(again) == without_seconds(expected)
    assert decorrelations(again) == decorrelations(expected) and len(again.decorrelations) == 3
    column = "loss" if options.get("target") == "labels" else "drift" if options.get("target") else None
    assert column is None or column in again.decorrelations[0]["first"]


def test_matching_outputs_means_those_of_before_the_growth(data):
    growth = gl.Growth(
        "random", 0.5, at=(1,), options={"outgoing": 1.0}, k=1, decorrelate={"target": "outputs", "lr": 0}
    )
    history = gl.train(small_net(), data, **settings(epochs=2, growth=growth))
    assert history.decorrelations[0]["first"]["drift"] > 1e-6  # these neurons change the function at once


@pytest.mark.parametrize("per_unit", [False, True])
def test_a_gate_in_training_keeps_copies_out_and_fills_the_budget_with_others(data, per_unit):
    closed = gl.train(small_net(), data, **settings(growth=gl.Growth("net2net", every=1, gate=0.99, per_unit=per_unit)))
    assert [event["neurons"] for event in closed.growths] == [0, 0, 0]
    assert [event["refused"] for event in closed.growths] == [16, 16, 16]
    opened = gl.train(small_net(), data, **settings(growth=gl.Growth("random", every=1, gate=0.99, per_unit=per_unit)))
    assert [event["neurons"] for event in opened.growths] == [6, 8, 10]  # round(0.35 x) of 16, 22 and 30


def test_growth_stops_at_the_size_or_the_performance_wanted(data):
    free = gl.train(small_net(), data, **settings(growth=gl.Growth("random", 0.5, every=1)))
    sizes = [row["parameters"] for row in free.epochs]
    assert sizes == sorted(set(sizes))
    size = gl.train(small_net(), data, **settings(growth=gl.Growth("random", 0.5, every=1, until=sizes[1])))
    assert [event["epoch"] for event in size.growths] == [1] and size.result["parameters"] == sizes[1]
    reached = next(row["epoch"] for row in free.epochs if row["val_accuracy"] >= 0.6)
    good = gl.train(small_net(), data, **settings(growth=gl.Growth("random", 0.5, every=1, until=0.6)))
    assert [event["epoch"] for event in good.growths] == [e for e in (1, 2, 3) if e < reached]
    never = gl.train(
        small_net(), data, **settings(growth=gl.Growth("random", 0.5, every=1, until=1, k=2, when="every_epoch"))
    )
    assert never.growths == [] and len(never.decorrelations) == 3  # the placebo "penalty without growth"


@pytest.mark.parametrize("options, message", [
    ({"k": -1}, "k must be a whole number of at least 0"), ({"k": 1.5}, "k must be"),
    ({"decorrelate": {"penalty": "cosine"}}, "penalty must be one of .*, got 'cosine'"),
    ({"decorrelate": {"dose": 1}}, "option of decorrelate must be one of penalty.*, got 'dose'"),
    ({"when": "sometimes"}, "when must be one of after_growth, every_epoch.*, got 'sometimes'"),
    ({"gate": 1.5}, r"max_cosine must be in \[0, 1\]"),
    ({"gate": {"threshold": 0.9}}, "option of gate must be one of .*, got 'threshold'"),
    ({"until": 1.5}, r"until must be in \(0, 1\], got 1.5: a validation accuracy, or a whole number of parameters"),
    ({"until": 0}, "got 0"),
    ({"until": True}, "got True"), ({"until": "0.9"}, "got '0.9'"),
])  # fmt: skip
def test_wrong_options_of_growth_are_named_before_training(options, message):
    with pytest.raises(ValueError, match=message):
        gl.Growth(every=1, **options)


def test_numpy_s_numbers_in_the_settings_lose_no_run(tmp_path):
    growth = gl.Growth("random", np.float64(0.5), at=np.array([1]), gate=np.float64(0.99))
    how = {
        "growth": growth,
        "seed": np.int64(1),
        "lr": np.float64(0.05),
        "augment": np.True_,
        "folder": tmp_path,
        "progress": False,
    }

    def stop(history):
        if len(history.epochs) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gl.train(small_net(), tiny_data(), np.int64(3), each_epoch=stop, **how)
    history = gl.train(small_net(), tiny_data(), np.int64(3), **how)  # reads the checkpoint, writes the record
    plain = {"growth": gl.Growth("random", 0.5, at=(1,), gate=0.99), "seed": 1, "lr": 0.05, "progress": False}
    expected = gl.train(small_net(), tiny_data(), 3, **plain)
    assert json.loads((tmp_path / "record.json").read_text())["settings"] == expected.settings
    assert [row["loss"] for row in history.epochs] == [row["loss"] for row in expected.epochs]
    gl.save(
        tmp_path / "own.pt", gl.vgg5(np.int64(4), classes=np.int64(3)), accuracy=np.float64(0.5), widths=[np.int64(4)]
    )
    assert read_checkpoint(tmp_path / "own.pt")["widths"] == [4] and gl.load(tmp_path / "own.pt")


def test_evaluate_leaves_every_module_in_its_mode_also_by_an_error():
    net = small_net().train()
    net[1].eval()
    gl.evaluate(net, tiny_data().test)
    assert not net[1].training and net[0].training and net.training
    with pytest.raises(RuntimeError):
        gl.evaluate(net, tiny_data(size=2).test)
    assert not net[1].training and net[0].training


def test_a_file_that_save_did_not_write_is_refused_and_a_refused_one_changes_nothing(tmp_path):
    torch.save(gl.vgg5(4).state_dict(), tmp_path / "state.pt")
    for model in (None, gl.vgg5(4)):
        with pytest.raises(ValueError, match="gl.save writes one; a state_dict goes into model.load_state_dict"):
            gl.load(tmp_path / "state.pt", model)
    gl.save(tmp_path / "wide.pt", gl.vgg5(6))
    model = gl.vgg5(4, classes=7)
    before = gl.parameter_count(model)
    with pytest.raises(ValueError, match="another architecture"):
        gl.load(tmp_path / "wide.pt", model)
    assert gl.parameter_count(model) == before
    gl.save(tmp_path / "five.pt", gl.vgg5(4, classes=5))
    first = model[0].weight.clone()
    with pytest.raises(ValueError, match="another architecture"):
        gl.load(tmp_path / "five.pt", model)
    assert torch.equal(model[0].weight, first)  # it would fit


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_a_model_comes_back_in_its_precision(dtype, tmp_path):
    model = gl.vgg5([4, 5, 6, 7]).to(dtype)
    gl.save(tmp_path / "model.pt", model)
    loaded = gl.load(tmp_path / "model.pt")
    assert same_weights(model, loaded) and loaded[0].weight.dtype == loaded[1].running_mean.dtype == dtype


def train_by_hand(model, optimizer, batches, rates):
    """A plain loop over the batches."""
    with seeded(0, "dropout", 0):
        for rate, (images, labels) in zip(rates, batches):
            optimizer.param_groups[0]["lr"] = rate
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()


def test_a_step_takes_pictures_and_rate_of_the_number_that_lies_on_the_device(data):
    """As a graph on a GPU would replay it: the same call, the same tensors, another number in ``at`` each time."""
    by_hand, model = small_net(), small_net()
    batches = data.batches("train", 32, augment=True, seed=(0, "data", 0))
    plain = torch.optim.SGD(by_hand.parameters(), 0.1, 0.9, weight_decay=1e-4)
    rates = torch.linspace(0.1, 0.02, len(batches), dtype=torch.float64)
    train_by_hand(by_hand, plain, batches, rates.tolist())

    rate = torch.zeros((), dtype=torch.float64)
    optimizer = torch.optim.SGD(model.parameters(), rate, 0.9, weight_decay=1e-4)
    totals, places = torch.zeros(2), {name: p.data_ptr() for name, p in model.named_parameters()}
    whole, last = batches.draws()
    at = torch.zeros(1, dtype=torch.long)
    with seeded(0, "dropout", 0):
        for _ in range(whole.shape[1]):
            training.step(model, optimizer, batches, whole, rates, at, totals, torch.float32)
        training.step(model, optimizer, batches, last, rates[-1:], torch.zeros_like(at), totals, torch.float32)
    assert at.item() == whole.shape[1] == len(batches) - 1
    assert same_weights(by_hand, model) and rate == rates[-1] and rate is optimizer.param_groups[0]["lr"]
    assert places == {name: p.data_ptr() for name, p in model.named_parameters()}  # nothing has been replaced


def test_the_rate_of_the_steps_survives_a_resumed_run(data, tmp_path):
    whole, model = small_net(), small_net()
    gl.train(whole, data, **settings())

    def stop(history):
        if len(history.epochs) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gl.train(model, data, **settings(), folder=tmp_path, each_epoch=stop)
    other = small_net(seed=9)
    again = gl.train(other, data, **settings(), folder=tmp_path)
    assert same_weights(whole, other)
    rates = [row["learning_rate"] for row in again.epochs]
    assert rates == sorted(rates, reverse=True) and len(set(rates)) == len(rates)  # a cosine, and it went on


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_nesterov_s_momentum_needs_momentum_and_is_pytorch_s(data, momentum):
    run = {"seed": 0, "lr": 0.05, "batch_size": 32, "momentum": momentum, "nesterov": True, "progress": False}
    if not momentum:
        with pytest.raises(ValueError, match="momentum must be in .0, 1., got 0.0"):
            gl.train(small_net(), data, 1, **run)
        return
    model, by_hand = small_net(), small_net()
    gl.train(model, data, 1, **run)
    optimizer = torch.optim.SGD(by_hand.parameters(), 0.05, 0.9, weight_decay=1e-4, nesterov=True)
    batches = data.batches("train", 32, augment=True, seed=(0, "data", 0))
    rates = [0.05 * gl.learning_rate("cosine", step / len(batches), 1) for step in range(len(batches))]
    train_by_hand(by_hand, optimizer, batches, rates)
    assert same_weights(model, by_hand)
