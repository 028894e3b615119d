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
from concurrent.futures import FIRST_COMPLETED, Executor, ProcessPoolExecutor, wait
from functools import lru_cache
from itertools import count
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from time import sleep

import pandas as pd
import torch
from tqdm.auto import tqdm

from growlab.checks import whole
from growlab.data.sources import default_root, load_data
from growlab.files import write_atomically
from growlab.lab.folder import Superseded, claimed, held, last_claim, noted, revoke, state
from growlab.lab.results import results
from growlab.lab.run import Run, multiply_adds_by_epoch, train_run
from growlab.machine import environment, threads
from growlab.records import save

ATTEMPTS = 3  # a run whose process has died so often is given up
OVERHEAD = 1.3e6  # what a picture costs besides its multiply-adds, in their unit; only the time left depends on it


def execute(
    runs: Iterable[Run], folder="runs", executor: Executor | None = None, *, jobs: int | None = None, device="cpu",
    beat: float = 10.0, progress: bool = True,
) -> pd.DataFrame:  # fmt: skip
    """Train all runs, each in a folder of its name, and return their ``results``.

    ``executor``: any ``concurrent.futures.Executor``, such as ``dask.distributed.Client(…).get_executor()``, whose
    machines share ``folder`` and the data. Without one: ``jobs`` processes (as many as there are cores) on ``device``;
    in a script, the call must then stand under ``if __name__ == "__main__":``.

    Finished runs are skipped, interrupted ones go on. A run that raises is kept with its traceback in ``error.json``,
    tried again at the next call, and stops no other. A process that dies is replaced; a run that has killed three is
    given up. Several calls, also from several machines, may work on one folder: a run is claimed for as long as its
    process gives a sign every ``beat`` seconds, and free after six missed ones. Stop (Ctrl-C) leaves everything
    resumable. At the end a folder holds run.json, record.json and weights.pt (``gl.load``).

    Raises ``FileNotFoundError`` and others of ``load_data`` before anything runs, and ``RuntimeError`` if the processes
    cannot even begin.
    """
    runs, folder = list(runs), Path(folder).absolute()
    if not runs:
        raise ValueError('there are no runs to train: gl.grid("quick") makes some')
    if jobs is not None:
        whole("jobs", jobs, 1, "so many processes train at a time")
    root = str(Path(os.environ.get("GROWLAB_DATA") or default_root()).expanduser().absolute())
    sources = {run.data: _absolute(run.data, root) for run in runs}
    for source in set(sources.values()) - {"critters", "digits"}:
        load_data(source, root, limit=2)  # downloaded and decoded once, here; and what is missing is an error here
    if executor is None:
        torch.empty(0, device=device)  # as well
    unique = {run.name: run for run in runs}
    places = {name: folder / name for name in unique}
    for name, place in places.items():
        place.mkdir(parents=True, exist_ok=True)
        (place / "error.json").unlink(missing_ok=True)
        if not (place / "run.json").exists():
            write_atomically(place / "run.json", unique[name].to_json().encode())
    todo = [name for name in unique if state(places[name]) == "open"]
    free = [executor] * len(todo) if executor else [None] * min(jobs or _cores(), len(todo))  # None: not started yet
    owner, pools, working, elsewhere, deaths, attempt = uuid.uuid4().hex, [], {}, [], Counter(), count()
    cost = {name: _cost(run) for name, run in unique.items()}
    done = {name: _share(places[name], run.epochs) for name, run in unique.items()}
    with tqdm(
        total=sum(cost.values()), initial=sum(cost[name] * done[name] for name in unique), smoothing=0,
        disable=not progress, bar_format="{desc}{percentage:3.0f}%|{bar}| {elapsed}<{remaining}",
    ) as bar:  # fmt: skip
        try:
            while todo or working or elsewhere:
                while todo and free:
                    name, pool = todo.pop(0), free.pop() or _process(pools)
                    run = unique[name]
                    where = places[name], sources[run.data], root, device
                    working[pool.submit(_work, run, *where, owner, beat, next(attempt))] = name, pool
                if not working:
                    sleep(1)  # somebody else has the rest
                for task in wait(working, 1, FIRST_COMPLETED).done:
                    name, pool = working.pop(task)
                    try:
                        if task.result() == "held":
                            elsewhere.append(name)
                    except Exception as error:  # what a run raises is kept there, so its process has died
                        deaths[name] += 1
                        if deaths[name] < ATTEMPTS:
                            todo.insert(0, name)
                        else:
                            _give_up(places[name], error)
                        if not executor:
                            revoke(places[name], owner)
                            pool = None
                    free.append(pool)
                for name in [name for name in elsewhere if not held(places[name])]:
                    elsewhere.remove(name)
                    todo += [name] if state(places[name]) == "open" else []
                for name in (name for name in unique if done[name] < 1):
                    share = max(done[name], _share(places[name], unique[name].epochs))
                    bar.update(cost[name] * (share - done[name]))
                    done[name] = share
                finished = sum(share == 1 for share in done.values())
                bar.set_description(f"{finished} of {len(unique)} runs", refresh=False)
        except KeyboardInterrupt:
            tqdm.write("stopped: nothing is lost, and the same call goes on from here")
            raise
        finally:
            for task in working:
                task.cancel()
            for pool in pools:
                pool.lifeline.close()
                pool.shutdown(cancel_futures=True)
            for place in places.values():
                revoke(place, owner)
    failed = [name for name, place in places.items() if state(place) == "failed"]
    if failed:
        tqdm.write(f"{len(failed)} of {len(unique)} runs failed, error.json says why: {', '.join(failed)}")
    return results(folder, runs)


def _absolute(data, root):
    """A folder of pictures as other processes find it: as given, or in the folder of all data."""
    kind, _, path = data.partition(":")
    places = [Path(path).expanduser(), Path(root, path)]
    return f"{kind}:{next((p for p in places if p.exists()), places[0]).absolute()}" if path else data


def _cores():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _cost(run):
    pictures = run.limit or {"critters": 6000, "digits": 1438}.get(run.data, 50000)
    return pictures * (sum(multiply_adds_by_epoch(run)) + run.epochs * OVERHEAD) / 1e9


def _share(place, epochs):
    """How much of a run is done."""
    return noted(last_claim(place)).get("epoch", 0) / epochs if state(place) == "open" else 1.0


def _process(pools):
    """A pool of one process, so that a death concerns one run. It ends with this process, or with its lifeline."""
    context = multiprocessing.get_context("spawn")
    end, lifeline = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(1, context, _follow, (end,))
    pool.lifeline = lifeline
    pools.append(pool)
    return pool


def _follow(end):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all processes, and the first one decides
    threading.Thread(target=lambda: (wait_for([end]), os._exit(1)), daemon=True).start()


def _give_up(place, error):
    if last_claim(place) is None:
        raise RuntimeError(
            f"{place.name} could not even begin in {ATTEMPTS} processes ({error!r}): in a script, call execute under "
            'if __name__ == "__main__":, and see to it that the workers can import growlab and write there'
        ) from error
    _fail(place, error)


def _fail(place, error):
    trace = "".join(traceback.format_exception(error))
    note = {"error": f"{type(error).__name__}: {error}", "traceback": trace, "environment": environment()}
    write_atomically(place / "error.json", json.dumps(note, indent=1).encode())


# One run, in any process
_ALONE = threading.Lock()  # torch's random generator and threads belong to the process: one run at a time in each


def _work(run, place, source, root, device, owner, beat, attempt):
    """Train one run, or find that somebody else does: "finished", "failed" or "held". What it raises is kept.

    ``attempt`` is another number in every call: Dask would answer equal calls with the result of the first one.
    """
    with _ALONE:
        with claimed(place, owner, beat) as each_epoch:
            if each_epoch is None:
                return "held"
            if state(place) == "open":
                try:
                    _train(run, place, source, root, device, each_epoch)
                except Superseded:
                    return "held"
                except Exception as error:
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
