"""Many runs at a time: skipped, stopped, failed, given up; in this process, so nothing has to be waited for."""

import json
import os
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from dataclasses import replace
from threading import Event

import pandas as pd
import pytest
from lab_runs import KEPT, TINY, Here, execute, interrupted, record, same, weights
from waiting import until

import growlab as gl
from growlab import training
from growlab.lab import execute as execution
from growlab.lab.folder import EPOCH, LOCK, held, state
from growlab.records import read_checkpoint


def test_a_finished_run_is_skipped_and_its_folder_holds_record_and_weights(tmp_path, monkeypatch):
    table = execute([TINY], tmp_path)
    assert sorted(os.listdir(tmp_path / TINY.name)) == KEPT
    model, data = gl.load(tmp_path / TINY.name / "weights.pt"), gl.load_data("digits", limit=200)
    assert gl.evaluate(model, data.test) == table["test_accuracy"][0] > 0.2  # chance is 0.1
    monkeypatch.setattr(execution, "_train", lambda *_: pytest.fail("it trained again"))
    assert (
        execute([TINY, replace(TINY, arm="again")], tmp_path)["test_accuracy"].tolist() == [*table["test_accuracy"]] * 2
    )


def test_stop_leaves_everything_resumable_and_the_end_is_bit_equal(tmp_path, monkeypatch):
    execute([TINY], tmp_path / "whole")
    interrupted(tmp_path / "stopped", monkeypatch)
    place = tmp_path / "stopped" / TINY.name
    with held(place) as mine:
        assert mine and state(place) == "open" and (place / "checkpoint.pt").exists()
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


def test_killed_after_the_weights_but_before_the_lock_was_removed_it_is_removed_without_training(tmp_path, monkeypatch):
    execute([TINY], tmp_path)
    (tmp_path / TINY.name / LOCK).touch()
    monkeypatch.setattr(execution, "_train", lambda *_: pytest.fail("it trained again"))
    assert execute([TINY], tmp_path)["state"].tolist() == ["finished"]
    assert sorted(os.listdir(tmp_path / TINY.name)) == KEPT


def pressed_when(happens, monkeypatch):
    """Stop is pressed, in the thread that waits for tasks, as soon as something has happened."""

    class Ended:
        def put(self, task):
            pass

        def get(self, timeout):
            until(happens)
            raise KeyboardInterrupt

    monkeypatch.setattr(execution, "SimpleQueue", Ended)


def test_a_stopped_executor_s_task_ends_with_its_epoch_keeps_its_lock_till_then_and_writes_no_more(
    tmp_path, monkeypatch
):
    execute([TINY], tmp_path / "whole")
    real, place, begun, gate = training._train_epoch, tmp_path / "stopped" / TINY.name, Event(), Event()

    def second_waits(*arguments, epochs=[]):
        epochs.append(1)
        assert len(epochs) < 3, "it went on"
        if len(epochs) == 2:
            begun.set()
            until(gate.is_set)
        return real(*arguments)

    with monkeypatch.context() as patch, ThreadPoolExecutor(1) as threads:
        pressed_when(begun.is_set, patch)
        patch.setattr(training, "_train_epoch", second_waits)
        with pytest.raises(KeyboardInterrupt):
            execute([TINY], tmp_path / "stopped", threads)
        with held(place) as mine:
            assert not mine
        gate.set()
    assert state(place) == "open" and len(read_checkpoint(place / "checkpoint.pt")["history"]["epochs"]) == 1
    assert sorted(os.listdir(place)) == ["checkpoint.pt", EPOCH, LOCK, "run.json"]
    execute([TINY], tmp_path / "stopped")
    assert record(tmp_path / "whole", TINY) == record(tmp_path / "stopped", TINY)
    assert sorted(os.listdir(place)) == KEPT


def test_a_task_that_ends_while_stop_is_pressed_leaves_nothing_behind(tmp_path, monkeypatch):
    place = tmp_path / TINY.name
    pressed_when(lambda: state(place) == "finished" and not (place / LOCK).exists(), monkeypatch)
    with ThreadPoolExecutor(1) as threads, pytest.raises(KeyboardInterrupt):
        execute([TINY], tmp_path, threads)
    assert sorted(os.listdir(place)) == KEPT


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


@pytest.mark.parametrize("damaged", [b"", b"many", b"\xff", b"999", b"-1"])
def test_a_damaged_count_of_epochs_harms_only_the_bar(damaged, tmp_path):
    (tmp_path / EPOCH).write_bytes(damaged)
    assert execution._share(tmp_path, 4) <= 1


def test_many_runs_cost_looks_at_files_that_grow_linearly(tmp_path, monkeypatch):
    """All at once on an executor, and each ends at another moment: what is looked at then must not be all of them."""
    looks = []
    monkeypatch.setattr(execution, "state", lambda place: looks.append(place) or state(place))
    monkeypatch.setattr(execution, "_work", lambda run, place, *_: (place / "record.json").touch() or "finished")
    monkeypatch.setattr(execution, "results", lambda *_: None)
    counted = []
    for number in (10, 100):
        execute([replace(TINY, seed=seed) for seed in range(number)], tmp_path / str(number))
        counted.append(len(looks))
        looks.clear()
    assert counted[1] == 10 * counted[0]


class Counting(Here):
    calls = 0

    def submit(self, *arguments):
        Counting.calls += 1
        return super().submit(*arguments)


class Dying(Here):
    """A process that is killed whenever it begins with a certain run."""

    def __init__(self, name):
        self.name, self.deaths = name, 0

    def submit(self, work, run, *others):
        if run.name != self.name:
            return super().submit(work, run, *others)
        self.deaths += 1
        future = Future()
        future.set_exception(BrokenExecutor("killed"))
        return future


def test_a_run_that_kills_three_processes_is_given_up_and_the_others_finish(tmp_path):
    table = execute([TINY, replace(TINY, seed=1)], tmp_path, executor := Dying(TINY.name))
    assert table["state"].tolist() == ["failed", "finished"] and executor.deaths == 3
    assert "killed; its process has died 3 times" in table["error"][0] and "__main__" in table["error"][0]


def test_data_that_are_not_there_are_an_error_before_anything_runs(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        execute([replace(TINY, data="folder:nowhere")], tmp_path)
    assert os.listdir(tmp_path) == []
    (tmp_path / "photos").mkdir()
    monkeypatch.setenv("GROWLAB_DATA", str(tmp_path))  # a folder of pictures beside the other data
    assert execution._absolute("folder:photos", str(tmp_path)) == f"folder:{tmp_path / 'photos'}"


@pytest.mark.parametrize("jobs", [0, -1, "2", 1.5])
def test_jobs_must_be_a_number_of_processes_and_runs_some(jobs, tmp_path):
    with pytest.raises(ValueError, match="jobs must be a whole number of at least 1"):
        gl.execute([TINY], tmp_path, jobs=jobs)
    with pytest.raises(ValueError, match="no runs to train"):
        gl.execute([], tmp_path)


def test_a_folder_with_another_run_s_settings_is_never_taken_for_this_run(tmp_path):
    """Names tell what differs from the defaults, so after a change of a default an old folder has a new run's name."""
    place = tmp_path / TINY.name
    place.mkdir()
    (place / "run.json").write_text(replace(TINY, lr=0.3, arm="other").to_json())
    (place / "record.json").write_text("{}")
    with pytest.raises(
        ValueError, match=r"holds a run with other settings; name: \(there, now\) {'lr': \(0.3, 0.05\)}"
    ):
        gl.execute([TINY], tmp_path, Here(), progress=False)
    with pytest.raises(ValueError, match="holds a run with other settings"):
        gl.results(tmp_path, [TINY])
    assert (place / "record.json").read_text() == "{}"
