"""Processes that train are killed and stopped, and nothing is lost or done twice.

They stand still where a test needs them to (``stand_still``), so the order of events does not depend on speed.
"""

import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from lab_runs import KEPT, TINY, execute, record
from waiting import PATIENCE, until

from growlab.files import write_atomically
from growlab.lab import execute as execution
from growlab.lab.folder import held, state

LONG = replace(TINY, limit=1000, epochs=20, at=(1, 2, 12), batch_size=8)
in_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The record of LONG when nothing disturbs it."""
    folder = tmp_path_factory.mktemp("whole")
    execute([LONG], folder)
    return record(folder, LONG)


def stand_still(gates):
    """Every run of this process stands still after so many epochs until there is a file: {epochs: file}.

    Before that it notes its number in a file beside it.
    """
    train = execution.train_run

    def train_run(run, data, *, each_epoch, **how):
        def tell_and_wait(history):
            each_epoch(history)
            if gate := gates.get(len(history.epochs)):
                write_atomically(f"{gate}-waits", str(os.getpid()).encode())
                until(Path(gate).exists)

        return train(run, data, each_epoch=tell_and_wait, **how)

    execution.train_run = train_run


def meet(who, patch=setattr):
    """Note who trains a run, in its folder, and wait until somebody else trains one as well."""
    train = execution.train_run

    def train_run(run, data, *, folder, **how):
        mine = folder / f"trained-by-{who}"
        mine.touch()
        until(lambda: {path.name for path in folder.parent.glob("*/trained-by-*")} - {mine.name})
        return train(run, data, folder=folder, **how)

    patch(execution, "train_run", train_run)


def script(text, folder):
    """A file with a program that finds these tests."""
    path = folder / "script.py"
    path.write_text(f"import sys\nsys.path[:0] = {sys.path!r}\nfrom test_processes import *\n{text}")
    return path


@pytest.mark.processes
def test_two_executors_on_one_folder_never_do_a_run_twice(tmp_path, monkeypatch):
    runs = [replace(TINY, seed=seed) for seed in range(6)]
    text = f"meet('you')\nexecute([replace(TINY, seed=seed) for seed in range(6)], {str(tmp_path)!r})"
    second = subprocess.Popen([sys.executable, script(text, tmp_path)])
    meet("me", monkeypatch.setattr)
    table = execute(runs, tmp_path)
    assert second.wait(PATIENCE) == 0 and set(table["state"]) == {"finished"}
    trained = [[path.name for path in (tmp_path / run.name).glob("trained-by-*")] for run in runs]
    assert all(len(names) == 1 for names in trained) and len({name for names in trained for name in names}) == 2


def waiting(gate):
    """The process that stands still at a gate, once there is one."""
    until(Path(f"{gate}-waits").exists)
    return int(Path(f"{gate}-waits").read_text())


def gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def kill(pid):
    os.kill(pid, signal.SIGKILL)
    until(lambda: gone(pid))


PROCESSES = """
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it in its background jobs
stand_still({gates})  # in the processes of the pool too, which import this file
if __name__ == "__main__":
    execution.execute({runs}, {folder!r}, jobs={jobs})
"""


def caller(tmp_path, gates, runs="[LONG]", jobs=1):
    """A process that executes runs in tmp_path/runs, with a group of its own."""
    gates = {epochs: str(gate) for epochs, gate in gates.items()}
    text = PROCESSES.format(gates=gates, runs=runs, folder=str(tmp_path / "runs"), jobs=jobs)
    command = [sys.executable, script(text, tmp_path)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)


def free(place):
    with held(place) as mine:
        return mine and state(place) == "open"


@in_proc
@pytest.mark.processes
def test_processes_may_be_killed_and_stopped_and_nothing_is_lost(whole, tmp_path):
    place, (first, second, third, fourth) = tmp_path / "runs" / LONG.name, (tmp_path / name for name in "abcd")
    one = caller(tmp_path, {3: first, 5: second})
    kill(killed := waiting(first))
    first.touch()
    stopped = waiting(second)  # another process has gone on
    assert stopped != killed and not free(place)
    os.killpg(one.pid, signal.SIGINT)  # Ctrl-C in a terminal
    assert "KeyboardInterrupt" in one.communicate(timeout=PATIENCE)[1]
    until(lambda: gone(stopped))
    assert free(place)
    two = caller(tmp_path, {7: third})
    orphan = waiting(third)
    two.kill()  # its processes end with it
    two.communicate(timeout=PATIENCE)
    until(lambda: gone(orphan))
    assert free(place)
    three = caller(tmp_path, {9: fourth})
    last = waiting(fourth)
    os.killpg(three.pid, signal.SIGKILL)
    three.communicate(timeout=PATIENCE)
    until(lambda: gone(last))
    assert free(place)
    table = execute([LONG], tmp_path / "runs")
    assert table["state"].tolist() == ["finished"] and record(tmp_path / "runs", LONG) == whole
    assert sorted(os.listdir(place)) == KEPT


@pytest.mark.processes
def test_a_grid_ends_without_a_word_of_leaked_semaphores(tmp_path):
    two = caller(tmp_path, {}, "[TINY, replace(TINY, seed=1)]", jobs=2)
    _, said = two.communicate(timeout=PATIENCE)
    assert two.returncode == 0 and "2 of 2 runs" in said and "leaked" not in said and "Warning" not in said


@in_proc
def test_a_process_of_the_pool_ends_with_its_lifeline():
    pools = []
    pid = execution._process(pools).submit(os.getpid).result()
    assert not gone(pid)
    pools[0].lifeline.close()
    until(lambda: gone(pid))
    pools[0].shutdown()


@in_proc
@pytest.mark.processes
def test_dask_goes_on_when_a_worker_is_killed_in_mid_run(whole, tmp_path):
    distributed, dask = pytest.importorskip("distributed"), pytest.importorskip("dask")
    waits = dict.fromkeys(("connect", "tcp"), f"{PATIENCE} s")
    runs, gate, place = [LONG, replace(TINY, seed=1), replace(TINY, seed=2)], tmp_path / "dead", tmp_path / "runs"

    def kill_one():
        kill(waiting(gate))
        gate.touch()

    with (
        dask.config.set({"distributed.comm.timeouts": waits, "distributed.scheduler.worker-ttl": None}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
        ) as cluster,
        distributed.Client(cluster, timeout=PATIENCE) as client,
    ):  # fmt: skip
        client.run(stand_still, {3: str(gate)})
        killer = threading.Thread(target=kill_one, daemon=True)
        killer.start()
        table = execute(runs, place, client.get_executor())
        killer.join()
    assert set(table["state"]) == {"finished"}
    assert record(place, LONG) == whole
