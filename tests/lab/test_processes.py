"""Processes that train are killed and stopped, and nothing is lost or done twice."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from inspect import getsource
from pathlib import Path

import pytest
from lab_runs import TINY, Here, execute, record

from growlab.lab import execute as execution
from growlab.lab import folder as claims
from growlab.lab.folder import state

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
