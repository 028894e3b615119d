"""Locks on the folder of a run: one holder at a time, and none that is dead."""

import errno
import os
import subprocess
import sys
import threading
import time
import warnings

import pytest
from lab_runs import KEPT, TINY, execute, interrupted
from waiting import PATIENCE, until

from growlab.lab import execute as execution
from growlab.lab.folder import LOCK, held, state


def test_a_lock_is_exclusive(tmp_path):
    got = []

    def hold():
        with held(tmp_path) as mine:
            got.append(mine)
            barrier.wait()

    barrier = threading.Barrier(12)
    threads = [threading.Thread(target=hold) for _ in range(12)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sum(got) == 1
    with held(tmp_path) as mine:  # given back
        assert mine


HOLDER = """
from pathlib import Path
from growlab.lab.folder import held
with held(Path({place!r})) as mine:
    print(mine, flush=True)
    input()
"""


def test_the_lock_of_another_process_holds_while_it_lives_and_is_free_as_soon_as_it_is_killed(tmp_path):
    command = [sys.executable, "-c", HOLDER.format(place=str(tmp_path))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "True\n"
        with held(tmp_path) as mine:
            assert not mine
        holder.kill()
        assert holder.wait(PATIENCE) != 0
    with held(tmp_path) as mine:
        assert mine


def test_what_dead_processes_and_earlier_versions_have_left_blocks_nothing_and_is_removed(tmp_path, monkeypatch):
    interrupted(tmp_path, monkeypatch)
    place, tomorrow = tmp_path / TINY.name, time.time() + 24 * 60 * 60
    for name, content in {
        LOCK: "damaged\0", "epoch": "many", "claim-000001": '{"owner": "me", "beat": 1e9, "epoch": 2}',
        "claim-000002": "[]", "claim-999999": "", "claim-abcdef": "\0", "stop-0123": "",
        "checkpoint.pt.1.part": "half",
    }.items():  # fmt: skip
        (place / name).write_text(content)
        os.utime(place / name, (tomorrow, tomorrow))
    assert execute([TINY], tmp_path)["state"].tolist() == ["finished"]
    assert sorted(os.listdir(place)) == KEPT


def test_a_run_that_somebody_holds_is_waited_for_and_taken_over_once_it_is_free_and_not_before(tmp_path, monkeypatch):
    states, work = [], execution._work
    monkeypatch.setattr(execution, "_work", lambda *given: states.append(work(*given)) or states[-1])
    place = tmp_path / TINY.name
    place.mkdir()
    executor = threading.Thread(target=execute, args=([TINY], tmp_path))
    with held(place) as mine:
        assert mine
        executor.start()
        until(lambda: len(states) == 2)
        assert set(states) == {"open"} and not (place / "checkpoint.pt").exists()
    executor.join()
    assert states[-1] == "finished" and set(states[:-1]) == {"open"} and sorted(os.listdir(place)) == KEPT


def test_who_gets_the_lock_of_a_file_that_was_just_removed_finds_nothing_to_do(tmp_path, monkeypatch):
    """The holder ends between the moments when another opens the file and locks it: there are two files of one name."""
    fcntl, place = pytest.importorskip("fcntl"), tmp_path
    flock = fcntl.flock

    def ends_first(file, how):
        if not (place / "record.json").exists():
            (place / "record.json").touch()
            (place / LOCK).unlink()
        return flock(file, how)

    monkeypatch.setattr(fcntl, "flock", ends_first)
    monkeypatch.setattr(execution, "_train", lambda *_: pytest.fail("it trained again"))
    assert execution._work(TINY, place, "digits", str(tmp_path), "cpu", place / "stop") == "finished"
    assert os.listdir(place) == ["record.json"]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EAGAIN, errno.EIO])
def test_where_files_cannot_be_locked_an_error_says_so_and_nothing_runs(number, tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def flock(file, how):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with warnings.catch_warnings(), pytest.raises(OSError, match="lies where files cannot be locked.*another disk"):
        warnings.simplefilter("ignore")  # filelock's about its substitute
        execute([TINY], tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == [TINY.name, "run.json"]
    assert state(tmp_path / TINY.name) == "open"
