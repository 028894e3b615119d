"""What is written can be read, or is refused at once; checkpoints with odd parts are refused in words."""

import copy
import datetime
import json
import os
from collections import deque
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import growlab as gl
from growlab.files import ARCHIVE, read_sealed, write_atomically, write_sealed
from growlab.records import read_checkpoint

HISTORY = gl.History({"model": "a"}, {"threads": 1}, [{"epoch": 1}])
READABLE = {
    "number": 1.5, "text": "a", "none": None, "list": [1, (2, "b")], "dict": {"a": {"b": 1}}, "tensor": torch.eye(2),
    "np.float64": np.float64(0.5), "nan": float("nan"), "inf": float("inf"), "true": np.True_, "keys": {1: 2},
}  # fmt: skip
UNREADABLE = {
    "path": Path("x"), "array": np.eye(2), "history": HISTORY, "run": gl.Run(), "keys": {np.int64(1): 2},
    "own": lambda: 1, "named": copy.deepcopy, "date": datetime.date(2026, 1, 1), "deque": deque([1]), "range": range(3),
    "fraction": Fraction(1, 3), "table": pd.DataFrame({"a": [1]}), "module": torch.nn.Linear(2, 2), "type": int,
    "generator": (i for i in range(3)), "file": open(os.devnull, "rb"), "nested": {"a": [{"b": Path("x")}]},
}  # fmt: skip
NO_JSON = {
    "array": np.eye(2), "path": Path("x"), "function": copy.deepcopy, "lambda": lambda: 1, "tensor": torch.eye(2),
    "set": {1}, "nan": float("nan"), "date": datetime.date(2026, 1, 1), "bytes": b"a", "complex": 1j,
    "keys": {(1, 2): 3}, "dtype": torch.float32, "nested": [{"a": (1, {2})}],
}  # fmt: skip
DATA = gl.load_data("digits", limit=100)


def mlp():
    return gl.mlp([64, 6, 6, 10])


def method(model, batches, table=None):
    return gl.propose("random", model)


def training(folder, **how):
    return gl.train(mlp(), DATA, how.pop("epochs", 3), **{"folder": folder, "lr": 0.05, "progress": False} | how)


# ---------------------------------------------------------------------------------- written, and read again


@pytest.mark.parametrize("value", READABLE.values(), ids=READABLE)
def test_what_save_takes_load_reads(value, tmp_path):
    gl.save(tmp_path / "x.pt", mlp(), note=value)
    assert gl.load(tmp_path / "x.pt")
    expected = value.item() if isinstance(value, np.generic) else value
    assert repr(read_checkpoint(tmp_path / "x.pt")["note"]) == repr(expected)


@pytest.mark.parametrize("value", UNREADABLE.values(), ids=UNREADABLE)
def test_what_load_would_refuse_save_refuses_by_name_and_the_old_file_stays(value, tmp_path):
    gl.save(tmp_path / "x.pt", mlp(), fine=1)
    old = (tmp_path / "x.pt").read_bytes()
    with pytest.raises(ValueError, match="(?s)^note must be tensors and plain values, got .*can be read back"):
        gl.save(tmp_path / "x.pt", mlp(), fine=1, note=value)
    assert (tmp_path / "x.pt").read_bytes() == old and os.listdir(tmp_path) == ["x.pt"]


def test_the_recipe_is_not_the_reader_s_to_give(tmp_path):
    with pytest.raises(ValueError, match="recipe must be left to gl.save"):
        gl.save(tmp_path / "x.pt", mlp(), recipe={"lr": 0.1})


@pytest.mark.parametrize("value", NO_JSON.values(), ids=NO_JSON)
def test_a_run_whose_settings_no_record_can_hold_is_refused_before_it_begins(value, tmp_path):
    growth = gl.Growth(method, every=1, options={"table": value})
    with pytest.raises(
        ValueError, match=r"settings(\.growth\.options\.table.* must be plain values| must be without NaN), got"
    ):
        training(tmp_path / "run", growth=growth)
    assert not (tmp_path / "run").exists()
    if not isinstance(value, set | list):
        assert gl.train(mlp(), DATA, 2, growth=growth, progress=False).growths  # nothing is kept, so anything goes


@pytest.mark.parametrize("value", [np.eye(2), {1}, Path("x"), torch.eye(2)], ids=str)
def test_what_each_epoch_adds_is_refused_at_once_too(value, tmp_path):
    def note(history):
        history.epochs[-1]["mine"] = value if len(history.epochs) == 2 else np.float64(1)

    with pytest.raises(ValueError, match=r"epochs\[1\].mine must be plain values, got"):
        training(tmp_path, each_epoch=note)
    assert read_checkpoint(tmp_path / "checkpoint.pt")["history"]["epochs"][0]["mine"] == 1.0
    assert len(training(tmp_path).epochs) == 3  # it goes on
    assert gl.History.load(tmp_path / "record.json").epochs[0]["mine"] == 1.0


def test_a_history_that_cannot_be_written_leaves_the_old_file(tmp_path):
    HISTORY.save(tmp_path / "a.json")
    with pytest.raises(ValueError, match=r"result.map must be plain values, got array"):
        gl.History({}, {}, result={"map": np.eye(2)}).save(tmp_path / "a.json")
    assert gl.History.load(tmp_path / "a.json") == HISTORY


# ------------------------------------------------------------------------------------------------ odd files


@pytest.mark.parametrize("text", [
    "", "[]", "null", "5", "{", '{"settings": {}}', '{"settings": {}, "environment": {}, "epochs": 3}', "\0" * 9,
    '{"settings": [], "environment": {}}', '{"settings": {}, "environment": {}, "epochs": [3]}', "[" * 100_000,
    '{"settings": {}, "environment": {}, "other": []}',
], ids=lambda text: text[:20])  # fmt: skip
def test_a_file_that_is_no_history_is_named(text, tmp_path):
    (tmp_path / "record.json").write_text(text)
    with pytest.raises(ValueError, match=r"record.json is no record of a run, or damaged: move it away"):
        gl.History.load(tmp_path / "record.json")


ODD = {
    "no history": lambda c: c.pop("history"), "no optimizer": lambda c: c.pop("optimizer"),
    "history None": lambda c: c.update(history=None), "an empty history": lambda c: c.update(history={}),
    "rows that are none": lambda c: c["history"].update(epochs=[1]),
    "another epoch": lambda c: c["history"]["epochs"][0].update(epoch=2),
    "an epoch twice": lambda c: c["history"]["epochs"].append(c["history"]["epochs"][0]),
    "more epochs than the run": lambda c: c["history"]["epochs"].extend({"epoch": i} for i in (3, 4, 5)),
    "no epochs": lambda c: c["history"]["epochs"][0].clear(), "a new part": lambda c: c["history"].update(extra=1),
    "no threads": lambda c: c["history"]["environment"].clear(),
    "threads 0": lambda c: c["history"]["environment"].update(threads=0),
    "threads 'a'": lambda c: c["history"]["environment"].update(threads="a"),
    "no settings": lambda c: c["history"].update(settings=None),
    "empty settings": lambda c: c["history"]["settings"].clear(),
    "growth 1": lambda c: c["history"]["settings"].update(growth=1),
    "optimizer 1": lambda c: c.update(optimizer=1), "an empty optimizer": lambda c: c.update(optimizer={}),
    "no groups": lambda c: c["optimizer"].update(param_groups=[]),
    "another momentum": lambda c: c["optimizer"]["param_groups"][0].update(momentum="a"),
    "fewer parameters": lambda c: c["optimizer"]["param_groups"][0].update(params=[0]),
    "no states": lambda c: c["optimizer"].update(state=None),
    "a wrong buffer": lambda c: c["optimizer"]["state"][0].update(momentum_buffer=torch.ones(7)),
    "a buffer that is none": lambda c: c["optimizer"]["state"][0].update(momentum_buffer="a"),
    "a buffer too many": lambda c: c["optimizer"]["state"].update({99: {"momentum_buffer": torch.ones(7)}}),
    "model None": lambda c: c.update(model=None), "model of words": lambda c: c["model"].update({"1.weight": "a"}),
}  # fmt: skip


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")

    def stop(history):
        if len(history.epochs) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training(folder, epochs=4, each_epoch=stop)
    return read_checkpoint(folder / "checkpoint.pt")


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("change", ODD.values(), ids=ODD)
def test_a_checkpoint_with_odd_parts_is_refused_in_words_and_changes_nothing(change, sealed, stopped, tmp_path):
    contents, path, model = copy.deepcopy(stopped), tmp_path / "checkpoint.pt", mlp()
    change(contents)
    torch.save(contents, path)
    if sealed:
        write_sealed(path, path.read_bytes())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match="checkpoint.pt is not a checkpoint .* move it away, and a run starts anew"):
        gl.train(model, DATA, 4, folder=tmp_path, lr=0.05, progress=False)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    path.rename(tmp_path / "away")
    assert len(training(tmp_path, epochs=4).epochs) == 4


@pytest.mark.parametrize("recipe", [5, {}, {"name": "x"}, {"name": "mlp"}, {"name": "vgg5", "width": "a"}, [1], "mlp"])
def test_an_odd_recipe_is_refused_in_words(recipe, stopped, tmp_path):
    torch.save(copy.deepcopy(stopped) | {"recipe": recipe}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match=r"x.pt is not a checkpoint of growlab, or damaged: move it away"):
        gl.load(tmp_path / "x.pt")


def test_words_that_tell_how_to_run_code_are_not_passed_on(tmp_path):
    torch.save({"recipe": None, "model": {}, "x": Path("a")}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match="it holds more than tensors and plain values") as caught:
        gl.load(tmp_path / "x.pt")
    assert "weights_only" not in str(caught.value) and "\x1b" not in str(caught.value)


# ---------------------------------------------------------------------------------------- earlier versions


def without_checksums(folder):
    for path in folder.rglob("*.pt"):
        write_atomically(path, read_sealed(path, ARCHIVE, bytes, "…"))
    for path in folder.rglob("*.json"):
        contents = json.loads(path.read_text())
        assert len(contents.pop("sha256")) == 64
        path.write_text(json.dumps(contents))


def test_folders_of_earlier_versions_are_read_and_go_on(tmp_path):
    def stop(history):
        if len(history.epochs) == 2:
            raise KeyboardInterrupt

    growth, folder = gl.Growth("net2net", at=(1,), options={"step": 0.0}, k=1), tmp_path / "run"
    torch.manual_seed(0)
    expected = training(tmp_path / "whole", growth=growth)
    with pytest.raises(KeyboardInterrupt):
        torch.manual_seed(0)
        training(folder, growth=growth, each_epoch=stop)
    without_checksums(folder)
    contents = torch.load(folder / "checkpoint.pt")  # an earlier version had fewer settings, as they are by default
    for settings, name in (
        (contents["history"]["settings"], "schedule"),
        (contents["history"]["settings"]["growth"], "gate"),
    ):
        del settings[name]
    torch.save(contents, folder / "checkpoint.pt")
    with pytest.raises(ValueError, match="belongs to a run with other settings"):
        training(folder, growth=growth, schedule="restarts")
    history = training(folder, growth=growth)
    assert [row["loss"] for row in history.epochs] == [row["loss"] for row in expected.epochs]
    without_checksums(tmp_path)
    assert gl.History.load(folder / "record.json") == history and gl.load(folder / "checkpoint.pt")
