"""Many runs at a time, on any ``concurrent.futures.Executor``, so that nothing is lost and nothing is done twice.

Between ``grid`` and ``results``. Notebook 05 and ``growlab run GRID`` use it.
"""

import json
import multiprocessing
import os
import signal
import threading
import traceback
import uuid
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import CancelledError, Executor, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import islice
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from queue import Empty, SimpleQueue

import pandas as pd
import torch
from tqdm.auto import tqdm

from growlab.checks import whole
from growlab.data.sources import default_root, load_data
from growlab.files import write_atomically, write_sealed
from growlab.lab.folder import EPOCH, LOCK, check_locks, check_same, held, state
from growlab.lab.results import results
from growlab.lab.run import Run, multiply_adds_by_epoch, train_run
from growlab.machine import environment, threads
from growlab.records import save

ATTEMPTS = 3  # a run whose process has died so often is given up
WATCHED = 32  # of the runs at work, the bar looks at so many at most: the oldest
DIED = f"; its process has died {ATTEMPTS} times: is there enough memory? Does a script call execute under __main__?"
OVERHEAD = 1.3e6  # what a picture costs besides its multiply-adds, in their unit; only the time left depends on it


def execute(
    runs: Iterable[Run], folder="runs", executor: Executor | None = None, *, jobs: int | None = None, device="cpu",
    progress: bool = True,
) -> pd.DataFrame:  # fmt: skip
    """Train all runs, each in a folder of its name, and return their ``results``.

    ``executor``: any ``concurrent.futures.Executor``, such as ``dask.distributed.Client(…).get_executor()``, whose
    machines share ``folder`` and the data. Without one: ``jobs`` processes (as many as there are cores) on ``device``;
    in a script, the call must then stand under ``if __name__ == "__main__":``.

    Finished runs are skipped, interrupted ones go on. A run that raises is kept with its traceback in ``error.json``,
    tried again at the next call, and stops no other. A process that dies is replaced; a run whose process has died
    three times is recorded as failed. Several calls, also from several machines, may work on one folder: who trains a
    run holds a lock, which ends with the process. Stop (Ctrl-C) leaves everything resumable; what an ``executor`` still
    trains then ends with its epoch. At the end a folder holds run.json, record.json and weights.pt (``gl.load``).

    Before anything runs, raises ``FileNotFoundError`` and others of ``load_data``, and ``OSError`` where files cannot
    be locked.
    """
    runs, folder = list(runs), Path(folder).absolute()
    if not runs:
        raise ValueError('there are no runs to train: gl.grid("quick") makes some')
    if jobs is not None:
        whole("jobs", jobs, 1, "the number of processes that train at once")
    root = str(Path(os.environ.get("GROWLAB_DATA") or default_root()).expanduser().absolute())
    sources = {run.data: _absolute(run.data, root) for run in runs}
    for source in set(sources.values()) - {"critters", "digits"}:
        load_data(source, root, limit=2)  # downloaded and decoded once, here; and what is missing is an error here
    if executor is None:
        torch.empty(0, device=device)  # as well
    places = {run: folder / run.name for run in {run.name: run for run in runs}.values()}
    for run, place in places.items():
        check_same(place, run)
    for run, place in places.items():
        place.mkdir(parents=True, exist_ok=True)
        (place / "error.json").unlink(missing_ok=True)
        if not (place / "run.json").exists():
            write_sealed(place / "run.json", run.to_json().encode())
    todo = [run for run, place in places.items() if state(place) == "open" or (place / LOCK).exists()]
    if todo:
        check_locks(folder)
    with _progress(places, progress) as advance:
        try:
            _train_all(todo, places, sources, (root, device), executor, jobs or _cores(), advance)
        except KeyboardInterrupt:
            tqdm.write("stopped: nothing is lost, and the same call goes on from here")
            raise
    failed = [run.name for run, place in places.items() if state(place) == "failed"]
    if failed:
        tqdm.write(f"{len(failed)} of {len(places)} runs failed, error.json says why: {', '.join(failed)}")
    return results(folder, runs)


def _train_all(todo, places, sources, where, executor, jobs, advance):
    """Train runs, on one pool each. Tells ``advance`` which one has ended, or which may have got on in a second."""
    free = [executor or None] * (len(todo) if executor else min(jobs, len(todo)))  # None: a process that has not begun
    pools, working, ended, deaths = [], {}, SimpleQueue(), Counter()
    try:
        while todo or working:
            while todo and free:
                run, pool = todo.pop(0), free.pop() or _process(pools)
                stop = places[run] / f"stop-{uuid.uuid4().hex}"
                task = pool.submit(_work, run, places[run], sources[run.data], *where, stop)
                working[task] = run, pool, stop
                task.add_done_callback(ended.put)
            try:
                task = ended.get(timeout=1)
            except Empty:
                advance([run for run, *_ in islice(working.values(), WATCHED)])
                continue
            run, pool, _ = working.pop(task)
            try:
                if task.result() == "open":  # somebody else trains it
                    todo.append(run)
            except Exception as error:  # what a run raises is kept there, so its process has died
                pool = executor
                deaths[run] += 1
                if deaths[run] < ATTEMPTS:
                    todo.insert(0, run)
                else:
                    _fail(places[run], error, DIED)
            free.append(pool)
            advance([run])
    finally:
        for task, (run, _, stop) in working.items():
            task.cancel()
            if executor:
                stop.touch()
                if state(places[run]) == "finished":  # while we looked away
                    stop.unlink(missing_ok=True)
        for pool in pools:
            pool.lifeline.close()
            pool.shutdown(cancel_futures=True)


def _fail(place, error, hint=""):
    trace = "".join(traceback.format_exception(error))
    note = {"error": f"{type(error).__name__}: {error}{hint}", "traceback": trace, "environment": environment()}
    write_sealed(place / "error.json", json.dumps(note, indent=1).encode())


@contextmanager
def _progress(places, shown):
    """A bar over the multiply-adds of all runs; yields what brings it up to date about some."""
    cost = {run: _cost(run) for run in places}
    done = {run: _share(place, run.epochs) for run, place in places.items()}
    total, initial = sum(cost.values()), sum(cost[run] * done[run] for run in places)
    form = "{desc}{percentage:3.0f}%|{bar}| {elapsed}<{remaining}"
    with tqdm(total=total, initial=initial, smoothing=0, disable=not shown, bar_format=form) as bar:

        def advance(runs):
            for run in runs:
                share = max(done[run], _share(places[run], run.epochs))
                bar.update(cost[run] * (share - done[run]))
                done[run] = share
            finished = sum(share == 1 for share in done.values())
            bar.set_description(f"{finished} of {len(places)} runs", refresh=False)

        yield advance


def _absolute(data, root):
    """A folder of pictures as other processes find it: as given, or in the folder of all data."""
    kind, _, path = data.partition(":")
    places = [Path(path).expanduser(), Path(root, path)]
    return f"{kind}:{next((p for p in places if p.exists()), places[0]).absolute()}" if path else data


def _cores():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _cost(run):
    pictures = run.limit or {"critters": 6000, "digits": 1438}.get(run.data, 50000)
    known = 0 if ":" in run.model else sum(multiply_adds_by_epoch(run))  # of a model of your own, nothing is known
    return pictures * (known + run.epochs * OVERHEAD) / 1e9


def _share(place, epochs):
    """How much of a run is done."""
    if state(place) != "open":
        return 1.0
    with suppress(OSError, ValueError):  # none yet, or damaged
        return min(int((place / EPOCH).read_text()) / epochs, 1.0)
    return 0.0


def _process(pools):
    """A pool of one process, so that a death concerns one run. It ends with this process, or with its lifeline."""
    context = multiprocessing.get_context("spawn")
    end, lifeline = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(1, context, _follow, (end,))
    pool.lifeline = lifeline
    pools.append(pool)
    return pool


def _follow(end):
    tqdm.set_lock(threading.RLock())  # its own is a semaphore of the system, which os._exit would leave behind
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all processes, and the first one decides
    threading.Thread(target=lambda: (wait_for([end]), os._exit(1)), daemon=True).start()


# One run, in any process
_ALONE = threading.Lock()  # torch's random generator and threads belong to the process: one run at a time in each


def _work(run, place, source, root, device, stop):
    """Train one run, unless somebody else does; returns the state of its folder. What it raises is kept.

    It ends with the epoch in which the file ``stop`` appears. That has another name in every call, also because Dask
    would answer equal calls with the result of the first one.
    """

    def each_epoch(history):
        if stop.exists():
            raise CancelledError
        write_atomically(place / EPOCH, str(len(history.epochs)).encode())

    with _ALONE, held(place, 1) as mine:
        if mine and state(place) == "open":
            try:
                _train(run, place, source, root, device, each_epoch)
            except Exception as error:
                if stop.exists():
                    stop.unlink()
                else:
                    _fail(place, error)
    return state(place)


def _train(run, place, source, root, device, each_epoch):
    with threads(run.threads), torch.random.fork_rng():
        data = _pictures(source, root, device, run.limit, run.seed, tuple(run.drawing.items()))
        model, history = train_run(run, data, folder=place, each_epoch=each_epoch)
    history.save(place / "record.json")
    save(place / "weights.pt", model)
    (place / "checkpoint.pt").unlink(missing_ok=True)  # the last step


@lru_cache(maxsize=1)  # the arms of a seed follow each other
def _pictures(source, root, device, limit, seed, drawing):
    return load_data(source, root, device, limit, seed, **dict(drawing))
