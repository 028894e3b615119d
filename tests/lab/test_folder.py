"""Claims on the folder of a run: one holder at a time, and none that is dead."""

import os
import threading
import time

from lab_runs import TINY, execute, interrupted

from growlab import training
from growlab.lab import execute as execution
from growlab.lab import folder as claims
from growlab.lab.folder import state


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
