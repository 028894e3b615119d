"""``growth_lab``: train one network live and see it beside the recorded seeds. Notebook 05.

The run is one of ``gl.grid``'s kind, in a thread, so that the page stays alive; it asks before each batch whether to go on.
Random numbers that other cells draw while it runs are its own: it sets the seed of PyTorch at each epoch.
"""

import threading
import time
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from ipywidgets import HTML, Button, FloatProgress, HBox, Layout

from ..data import Data, load_data
from ..execution import train_run
from ..experiments import QUICK, Run
from ..plots import BLACK, BLUE, LINES, RED
from ..records import History, write_atomically
from .random_growth import recorded
from .shell import Explorer, choice, frame, legend, panels, slider

LIMIT = 20  # seconds for a run
METHODS = {"never grown": "never", "random": "random", "copies": "net2net", "splitting": "splitting", "firefly": "firefly"}
RECORD = "growth_lab.json"


def growth_lab(folder="runs/lab", **start) -> "GrowthLab":
    """Method, K, rate and seed; Start and Stop; the accuracy over the band of recorded seeds, and the widths as they grow.

    At most 20 seconds a run. The last two stay side by side. "Save as record" puts the last one, if it is finished, into
    ``folder``, where ``gl.results(folder)`` finds it.
    """
    knobs = {
        "method": choice("method", METHODS),
        "k": slider("K (steps)", (0, 1, 5, 10, 15, 20, 30), 0),
        "rate": slider("growth rate", (10, 20, 35, 50, 75, 100), 35, " %"),
        "seed": slider("seed", range(20), 0),
    }
    return GrowthLab(folder, knobs, **{"method": "random", **start})


class GrowthLab(Explorer):
    """An explorer that trains; ``kept`` are the last two runs, each a pair (Run, History)."""

    def __init__(self, folder, knobs, **start):
        self.folder, self.kept, self.thread, self._drawing, self._over = Path(folder), [], None, threading.Lock(), None
        super().__init__(lambda **settings: show(**settings, kept=tuple(self.kept)), knobs, **start)
        self.start_button, self.stop_button, self.save_button = (
            Button(description=name, tooltip=tip, disabled=name != "Start")
            for name, tip in (("Start", "train with this setting"), ("Stop", "at once"), ("Save as record", "keep the last run"))
        )
        self.start_button.on_click(lambda _: self.start())
        self.stop_button.on_click(lambda _: self.stop())
        self.save_button.on_click(lambda _: self.save())
        for name, button in (("start", self.start_button), ("stop", self.stop_button), ("save", self.save_button)):
            button.add_class(f"growlab-{name}")
        self.bar, self.status = FloatProgress(0, max=1, layout=Layout(width="180px")), HTML("ready")
        self.status.add_class("growlab-status")
        row = [self.start_button, self.stop_button, self.save_button, self.bar, self.status]
        above, *below = self.children
        self.children = above, HBox(row, layout=Layout(flex_flow="row wrap", align_items="center")), *below

    def draw(self):
        with self._drawing:  # the thread draws as well
            super().draw()

    def start(self):
        """Train with the present setting, in a thread."""
        self.stop()
        run, self._over = run_of(**self.settings), threading.Event()
        self.kept = [*self.kept[-1:], (run, History({}, {}))]
        self.start_button.disabled, self.stop_button.disabled, self.save_button.disabled = True, False, True
        self.status.value, self.bar.value = "loading", 0
        self.thread = threading.Thread(target=self._train, args=(run, self._over), daemon=True)
        self.thread.start()

    def stop(self):
        """At once: the thread ends before its next batch, and nobody waits for it."""
        if self._over and not self._over.is_set():
            self._end(self._over, f"stopped after epoch {len(self.kept[-1][1].epochs)} of {self.kept[-1][0].epochs}")

    def wait(self):
        """Until the run has ended, for cells that go on with it."""
        self.thread.join()

    def _end(self, over, words, finished=False):
        over.set()
        self.status.value, self.save_button.disabled = words, not finished
        self.start_button.disabled, self.stop_button.disabled = False, True

    def save(self):
        """Keep the last run as ``gl.execute`` would, for ``gl.results``."""
        run, history = self.kept[-1]
        place = self.folder / run.name
        try:
            place.mkdir(parents=True, exist_ok=True)
            write_atomically(place / "run.json", run.to_json().encode())
            history.save(place / "record.json")
            self.status.value = f'saved; gl.results("{self.folder}") shows it'
        except OSError as error:
            self.status.value = f"not saved: {error}"

    def _train(self, run, over):
        began, seen, told = time.monotonic(), 0, 0.0

        def before_each_batch(total):
            nonlocal seen, told
            seconds = time.monotonic() - began
            if over.is_set():
                raise _Stopped
            if seconds > LIMIT:
                raise _Stopped(f"{LIMIT} seconds are over after epoch {len(self.kept[-1][1].epochs)} of {run.epochs}")
            seen += 1
            if seconds - told > 0.3:
                told, self.bar.value = seconds, min(seen / total, 1)
                left = min(seconds * max(total / seen - 1, 0), LIMIT - seconds)
                self.status.value = f"{left:.0f} s left"

        def each_epoch(history):
            if not over.is_set():
                self.kept[-1] = run, history
                self.draw()

        try:
            data = _Watched(pictures(run.seed), before_each_batch, run)
            began = time.monotonic()
            live(run, data, each_epoch)
            ending = "finished"
        except _Stopped as stopped:
            ending = str(stopped)
        except Exception as error:
            ending = f"this setting cannot be trained: {error}"
        if not over.is_set():
            self.bar.value = 1 if ending == "finished" else self.bar.value
            self._end(over, ending, ending == "finished")

    def _reset(self):
        self.stop()
        self.kept, self.bar.value, self.status.value, self.save_button.disabled = [], 0, "ready", True
        super()._reset()


class _Stopped(Exception):
    pass


@dataclass
class _Watched:
    """Data that ask before each batch whether to go on."""

    data: Data
    ask: object
    run: Run

    def __getattr__(self, name):
        return getattr(self.data, name)

    def batches(self, *given, **how):
        return _Asking(self.data.batches(*given, **how), self.ask, self.run.epochs)


@dataclass
class _Asking:
    batches: object
    ask: object
    epochs: int

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        for batch in self.batches:
            self.ask(len(self.batches) * self.epochs)
            yield batch


@lru_cache(2)
def pictures(seed):
    return load_data(QUICK.data, limit=QUICK.limit, seed=seed, **QUICK.drawing)


def run_of(method, k, rate, seed) -> Run:
    """The run of a setting: as those of the record, but for the setting."""
    if method == "never":
        return replace(QUICK, seed=seed, arm="never")
    return replace(QUICK, seed=seed, method=method, rate=rate / 100, k=k, arm=method + "+penalty" * (k > 0))


def live(run, data, each_epoch=None) -> History:
    """Train a run of ``critters``, here and now, as ``gl.execute`` would."""
    with torch.random.fork_rng():
        return train_run(run, data, each_epoch=each_epoch)[1]


@lru_cache
def band(arm):
    """Validation accuracies of the recorded seeds of an arm, (seeds, epochs)."""
    runs = [line for line in recorded(RECORD) if line["run"].get("arm") == arm and line["state"] == "finished"]
    if not runs:
        raise ValueError(f"no seed of {arm!r} is recorded in {RECORD}")
    return np.array([[row["val_accuracy"] for row in line["epochs"]] for line in runs])


def name_of(run):
    steps = f", K = {run.k}" if run.k else ""
    return f"{run.method or 'never grown'}{f' {100 * run.rate:.0f} %' if run.method else ''}{steps}, seed {run.seed}"


def show(method, k, rate, seed, kept=()):
    """The pure function behind ``growth_lab``: the recorded seeds of a setting's arm, and up to two runs, (Run, History)."""
    run = run_of(method, k, rate, seed)
    recorded_runs = band(run.arm)
    numbers = {"seeds": len(recorded_runs), "recorded_mean": recorded_runs[:, -1].mean(), "recorded_sd": recorded_runs[:, -1].std(ddof=1)}
    figure, axes = panels((4.6, 2.6, 2.6), (10.4, 3.2), left=0.05)
    x = np.arange(1, recorded_runs.shape[1] + 1)
    axes[0].fill_between(x, recorded_runs.min(0), recorded_runs.max(0), color="#D9D9D9", label=f"{len(recorded_runs)} recorded seeds")
    axes[0].plot(x, recorded_runs.mean(0), color=BLACK, ls=":", lw=2, label="their mean")
    told = []
    for (other, history), (color, style, mark) in zip(kept[::-1], ((BLUE, "-", "o"), (RED, "--", "s"))):
        accuracy = [row["val_accuracy"] for row in history.epochs]
        if accuracy:
            axes[0].plot(x[: len(accuracy)], accuracy, color=color, ls=style, marker=mark, ms=5, lw=2, label=name_of(other))
            numbers.setdefault("runs", []).append(accuracy[-1])
            told.append(f"{name_of(other)}: {accuracy[-1]:.0%} after epoch {len(accuracy)}, {history.epochs[-1]['parameters']:,} parameters")
    frame(axes[0], "validation accuracy", "epoch", (0.5, len(x) + 0.5), (0, 1), range(2, len(x) + 1, 2), (0, 0.25, 0.5, 0.75, 1))
    legend(axes[0], loc="upper left")
    highest = max([20, *(row["widths"][unit] for _, history in kept for row in history.epochs for unit in row["widths"])])
    for cell, place in zip(axes[1:], (1, 2)):
        other, history = kept[-place] if len(kept) >= place else (None, None)
        for i, unit in enumerate(history.epochs[0]["widths"] if history and history.epochs else ()):
            widths = [row["widths"][unit] for row in history.epochs]
            color, style, _ = LINES[i % len(LINES)]
            cell.step(range(len(widths) + 1), [widths[0], *widths], where="pre", color=color, ls=style, lw=2, label=f"layer {i + 1}")
        title = "neurons: no run yet" if other is None else f"neurons: {name_of(other)}"
        frame(cell, title, "epoch", (0, len(x)), (0, 1.1 * highest), range(0, len(x) + 1, 4))
        if history and history.epochs:
            legend(cell, loc="upper left")
    figure.alt = (
        f"Grey: the validation accuracy of {len(recorded_runs)} recorded seeds of “{run.arm}” on critters, from the worst to the best"
        f"{' of them, at a growth rate of 35 %' if run.method else ''}; in the end {numbers['recorded_mean']:.0%} on average, with a standard deviation of {100 * numbers['recorded_sd']:.1f} points. "
        + ("; ".join(told) if told else "No run yet") + f". Start trains {name_of(run)}."
    )
    return figure, numbers
