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
from contextlib import contextmanager
from functools import lru_cache
from itertools import count
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from time import sleep

import pandas as pd
import torch
from tqdm.auto import tqdm

from growlab.checks import number, whole
from growlab.data.sources import default_root, load_data
from growlab.files import write_sealed
from growlab.lab.folder import Superseded, check_same, claimed, held, last_claim, noted, revoke, state
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
        whole("jobs", jobs, 1, "the number of processes that train at once")
    number("beat", beat, "(0, inf)", "10 seconds are usual")
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
    crew = _Crew(places, sources, root, device, executor, jobs or _cores(), beat)
    with _progress(places, progress) as advance:
        try:
            while crew.busy:
                crew.start()
                crew.collect()
                advance()
        except KeyboardInterrupt:
            tqdm.write("stopped: nothing is lost, and the same call goes on from here")
            raise
        finally:
            crew.dismiss()
    failed = [run.name for run, place in places.items() if state(place) == "failed"]
    if failed:
        tqdm.write(f"{len(failed)} of {len(places)} runs failed, error.json says why: {', '.join(failed)}")
    return results(folder, runs)


class _Crew:
    """Who trains what: runs to do, runs at work (on one pool each), runs that somebody else holds."""

    def __init__(self, places, sources, root, device, executor, jobs, beat):
        self.places, self.sources, self.executor, self.beat = places, sources, executor, beat
        self.where, self.owner, self.attempt = (root, device), uuid.uuid4().hex, count()
        self.todo = [run for run, place in places.items() if state(place) == "open"]
        self.free = [executor or None] * (len(self.todo) if executor else min(jobs, len(self.todo)))  # None: not begun
        self.pools, self.working, self.elsewhere, self.deaths = [], {}, [], Counter()

    @property
    def busy(self):
        return self.todo or self.working or self.elsewhere

    def start(self):
        """Give a run to each pool that is free."""
        while self.todo and self.free:
            run, pool = self.todo.pop(0), self.free.pop() or _process(self.pools)
            what = run, self.places[run], self.sources[run.data], *self.where, self.owner, self.beat, next(self.attempt)
            self.working[pool.submit(_work, *what)] = run, pool

    def collect(self):
        """See which runs have ended, and which are free again, for a second at most."""
        if not self.working:
            sleep(1)  # somebody else has the rest
        for task in wait(self.working, 1, FIRST_COMPLETED).done:
            run, pool = self.working.pop(task)
            try:
                if task.result() == "held":
                    self.elsewhere.append(run)
            except Exception as error:  # what a run raises is kept there, so its process has died
                pool = self.bury(run, pool, error)
            self.free.append(pool)
        for run in [run for run in self.elsewhere if not held(self.places[run])]:
            self.elsewhere.remove(run)
            self.todo += [run] if state(self.places[run]) == "open" else []

    def bury(self, run, pool, error):
        """The process of a run has died: try it again, on a new one, unless it has died three times."""
        self.deaths[run] += 1
        if self.deaths[run] < ATTEMPTS:
            self.todo.insert(0, run)
        else:
            _give_up(self.places[run], error)
        if self.executor:
            return pool
        revoke(self.places[run], self.owner)
        return None

    def dismiss(self):
        for task in self.working:
            task.cancel()
        for pool in self.pools:
            pool.lifeline.close()
            pool.shutdown(cancel_futures=True)
        for place in self.places.values():
            revoke(place, self.owner)


@contextmanager
def _progress(places, shown):
    """A bar over the multiply-adds of all runs; yields what brings it up to date."""
    cost = {run: _cost(run) for run in places}
    done = {run: _share(place, run.epochs) for run, place in places.items()}
    total, initial = sum(cost.values()), sum(cost[run] * done[run] for run in places)
    form = "{desc}{percentage:3.0f}%|{bar}| {elapsed}<{remaining}"
    with tqdm(total=total, initial=initial, smoothing=0, disable=not shown, bar_format=form) as bar:

        def advance():
            for run in (run for run in places if done[run] < 1):
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
    write_sealed(place / "error.json", json.dumps(note, indent=1).encode())


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
