"""Claims on the folder of a run: one holder at a time, and none that is dead."""

import json
import os
import threading

from lab_runs import LONG_BEAT, TINY, execute, interrupted
from waiting import until

from growlab import records, training
from growlab.lab import execute as execution
from growlab.lab import folder as claims
from growlab.lab.folder import state


def test_a_claim_is_exclusive(tmp_path):
    got, threads = [], []

    def claim():
        with claims.claimed(tmp_path, "me", LONG_BEAT) as each_epoch:
            got.append(each_epoch is not None)
            barrier.wait()

    barrier = threading.Barrier(12)
    threads = [threading.Thread(target=claim) for _ in range(12)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sum(got) == 1


def grow_old(claim, beats, beat):
    """A claim as it looks when no beat has come for so long."""
    before = claim.stat().st_mtime - beats * beat
    os.utime(claim, (before, before))


def test_a_claim_is_held_until_it_has_missed_six_beats(tmp_path):
    with claims.claimed(tmp_path, "me", LONG_BEAT) as each_epoch:
        assert each_epoch and claims.held(tmp_path)
        with claims.claimed(tmp_path, "you", LONG_BEAT) as other:
            assert other is None
        grow_old(claims.last_claim(tmp_path), 5, LONG_BEAT)
        assert claims.held(tmp_path)
        grow_old(claims.last_claim(tmp_path), 1, LONG_BEAT)
        assert not claims.held(tmp_path)
        with claims.claimed(tmp_path, "you", LONG_BEAT) as other:
            assert other and claims.held(tmp_path)
    assert not claims.held(tmp_path)  # given back


def test_the_heart_touches_the_claim_again_and_again(tmp_path):
    with claims.claimed(tmp_path, "me", 0.01):
        claim = claims.last_claim(tmp_path)
        for _ in range(3):
            os.utime(claim, (0, 0))
            until(lambda: claim.stat().st_mtime > 0)


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
        assert execution._work(TINY, place, "digits", str(tmp_path), "cpu", "me", LONG_BEAT, 0) == "held"
    assert state(place) == "open" and not (place / "error.json").exists()
    assert len(records.read_checkpoint(place / "checkpoint.pt")["history"]["epochs"]) == 1


def test_the_run_of_a_dead_executor_is_taken_over_once_its_claim_is_void_and_not_before(tmp_path, monkeypatch):
    interrupted(tmp_path, monkeypatch)
    place, events = tmp_path / TINY.name, []
    claim = claims._next(place)
    claim.write_text(json.dumps({"owner": "killed without a word", "beat": LONG_BEAT, "epoch": 2}))

    def wait(_):
        events.append("waits")
        if len(events) == 3:
            grow_old(claim, claims.BEATS, LONG_BEAT)

    train = execution.train_run
    monkeypatch.setattr(execution, "sleep", wait)
    monkeypatch.setattr(execution, "train_run", lambda *given, **how: events.append("trains") or train(*given, **how))
    assert execute([TINY], tmp_path)["state"].tolist() == ["finished"]
    assert events == ["waits", "waits", "waits", "trains"]
    assert not list(place.glob("claim*"))
