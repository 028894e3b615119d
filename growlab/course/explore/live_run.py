"""``growth_lab``: train one network live and see it beside the recorded seeds. Notebook 05.

The run is one of ``gl.grid``'s kind, in a process of its own: Stop works at once, the page stays alive, and other cells
neither meet its random numbers nor the tracing of its network, which torch.fx does by patching ``nn.Module``.
"""

import multiprocessing
import os
import signal
import threading
import time
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from ipywidgets import HTML, Button, FloatProgress, HBox, Layout

from growlab.checks import number
from growlab.course.explore.random_growth import recorded
from growlab.course.explore.shell import Explorer, choice, frame, legend, panels, slider
from growlab.course.figures.style import BLACK, BLUE, LINES, RED
from growlab.data.sources import load_data
from growlab.files import write_sealed
from growlab.history import History
from growlab.lab.grids import QUICK
from growlab.lab.run import Run, train_run
from growlab.lab.treatments import K
from growlab.machine import threads
from growlab.text import markup

LIMIT = 20.0  # seconds for a run, unless $GROWLAB_LIVE_SECONDS says otherwise
METHODS = {
    "never grown": "never", "random": "random", "copies": "net2net", "splitting": "splitting", "firefly": "firefly",
}  # fmt: skip
RECORD = "growth_lab.json"


def growth_lab(folder="runs/lab", **start) -> "GrowthLab":
    """Method, K, rate and seed; Start and Stop; the accuracy over the band of recorded seeds, and the growing widths.

    A run ends after 20 seconds, or after as many as ``$GROWLAB_LIVE_SECONDS`` says: ``inf`` on a slow machine. The last
    two stay side by side. "Save as record" puts the last one, if it is finished, into ``folder``, where
    ``gl.results(folder)`` finds it. Notebook 05. Raises ``ValueError`` for a setting that a knob does not have.
    """
    knobs = {
        "method": choice("method", METHODS),
        "k": slider("K (steps)", (0, 1, 5, 10, 15, 20, 30), 0),
        "rate": slider("growth rate", (10, 20, 35, 50, 75, 100), 35, " %"),
        "seed": slider("seed", range(20), 0),
    }
    return GrowthLab(folder, knobs, **{"method": "random", **start})


class GrowthLab(Explorer):
    """An explorer that trains; ``kept`` are the last two runs, each a pair [Run, History].

    ``limit`` is in seconds of ``clock``. Both may be set before a run.
    """

    def __init__(self, folder, knobs, **start):
        self.folder, self.kept, self.process, self.thread = Path(folder), [], None, None
        self.limit, self.clock = seconds_allowed(), time.monotonic
        self._drawing, self._turn = threading.Lock(), threading.Lock()  # _turn: to end a run, which only one may
        super().__init__(lambda **settings: show(**settings, kept=tuple(self.kept)), knobs, **start)
        tips = {"Start": "train with this setting", "Stop": "at once", "Save as record": "keep the last run"}
        self.start_button, self.stop_button, self.save_button = (
            Button(description=name, tooltip=tip, disabled=name != "Start") for name, tip in tips.items()
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

    def tell(self, words):
        self.status.value = markup(words)

    def start(self):
        """Train with the present setting, in a process that a thread listens to."""
        self.stop()
        run = run_of(**self.settings)
        listen, speak = multiprocessing.Pipe(duplex=False)
        self.kept = [*[pair for pair in self.kept if pair[1].epochs][-1:], [run, History({}, {})]]
        self.start_button.disabled, self.stop_button.disabled, self.save_button.disabled = True, False, True
        self.bar.value = 0
        self.tell("starting")
        self.process = multiprocessing.get_context("spawn").Process(target=_train, args=(run, speak), daemon=True)
        self.process.start()
        speak.close()  # so that the other end hears if the process dies
        self.thread = threading.Thread(target=self._listen, args=(self.process, listen, self.kept[-1]), daemon=True)
        self.thread.start()

    def stop(self):
        """At once."""
        if self.process:
            run, history = self.kept[-1]
            self._end(self.process, f"stopped after epoch {len(history.epochs)} of {run.epochs}")

    def wait(self):
        """Until the run has ended, for cells that go on with it."""
        if self.thread:
            self.thread.join()

    def save(self):
        """Keep the last run, if it is finished, as ``gl.execute`` would, for ``gl.results``."""
        run, history = self.kept[-1] if self.kept else (None, History({}, {}))
        if not history.result:
            return self.tell("not saved: only a run that has finished can be")
        place = self.folder / run.name
        try:
            place.mkdir(parents=True, exist_ok=True)
            write_sealed(place / "run.json", run.to_json().encode())
            history.save(place / "record.json")
            self.tell(f'saved; gl.results("{self.folder}") shows it')
        except OSError as error:
            self.tell(f"not saved: {error}")

    def _end(self, process, words, finished=False):
        with self._turn:
            if self.process is not process:
                return  # it has ended already, and its last words are said
            self.process = None
        process.kill()
        self.tell(words)
        self.save_button.disabled, self.start_button.disabled, self.stop_button.disabled = not finished, False, True

    def _listen(self, process, pipe, pair):
        """What the process sends: None at its beginning, the history after each epoch, at last a result or words."""
        run, began = pair[0], None
        while self.process is process:
            said = None
            if pipe.poll(0.2):
                try:
                    said = pipe.recv()
                except EOFError:
                    return self._end(process, "the process that trains has died")
                began = self.clock() if began is None else began
            if isinstance(said, str):
                return self._end(process, f"this setting cannot be trained: {said}")
            seconds, done = 0 if began is None else self.clock() - began, len(pair[1].epochs)
            if isinstance(said, History) and self.process is process:
                pair[1], done = said, len(said.epochs)
                self.bar.value = done / run.epochs
            if done and self.process is process:
                self.tell(f"{max(min(seconds * (run.epochs / done - 1), self.limit - seconds), 0):.0f} s left")
            if said is not None:
                self.draw()
            if pair[1].result:
                return self._end(process, "finished", finished=True)
            if seconds > self.limit:
                return self._end(process, f"{self.limit:g} seconds are over after epoch {done} of {run.epochs}")

    def _reset(self):
        self.stop()
        self.kept, self.bar.value, self.save_button.disabled = [], 0, True
        self.tell("ready")
        super()._reset()


def seconds_allowed() -> float:
    """For a run; tests lift the limit, since no test may depend on how fast a machine is."""
    given = os.environ.get("GROWLAB_LIVE_SECONDS") or LIMIT
    with suppress(ValueError):  # a word is refused below
        given = float(given)
    return number("GROWLAB_LIVE_SECONDS", given, "(0, inf]", "20 seconds are usual, inf lifts the limit")


def _train(run, pipe):
    """In a process of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Jupyter's interrupt is for the cells
    try:
        data = load_data(run.data, limit=run.limit, seed=run.seed, **run.drawing)
        pipe.send(None)
        pipe.send(live(run, data, lambda history: pipe.send(replace(history, result={}))))  # a result comes last
    except BrokenPipeError:  # nobody listens any more
        pass
    except Exception as error:
        pipe.send(f"{error}")


def live(run, data, each_epoch=None) -> History:
    """Train a run of ``critters`` on its ``data``, as ``gl.execute`` would; nothing is kept."""
    with threads(run.threads), torch.random.fork_rng():
        return train_run(run, data, each_epoch=each_epoch)[1]


def run_of(method, k, rate, seed) -> Run:
    """The run of a setting: as those of the record, but for the setting, which its label tells."""
    if method == "never":
        return replace(QUICK, seed=seed, arm="never")
    at_rate = f" {rate} %" if rate / 100 != QUICK.rate else ""
    return replace(QUICK, seed=seed, method=method, rate=rate / 100, k=k, arm=f"{method}{at_rate}" + f"+k{k}" * (k > 0))


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
    """The pure function behind ``growth_lab``: the recorded seeds of a setting's arm, and two runs, (Run, History)."""
    run = run_of(method, k, rate, seed)
    penalised = run.method and run.k > 0
    recorded_runs = band(f"{method}+penalty" if penalised else method)
    ends = recorded_runs[:, -1]
    numbers = {"seeds": len(ends), "recorded_mean": ends.mean(), "recorded_sd": ends.std(ddof=1)}
    figure, axes = panels((4.6, 2.6, 2.6), (10.4, 3.2), left=0.05)
    numbers["runs"], told = _draw_accuracy(axes[0], recorded_runs, kept)
    highest = max([20, *(width for _, history in kept for row in history.epochs for width in row["widths"].values())])
    for cell, place in zip(axes[1:], (1, 2)):
        other, history = kept[-place] if len(kept) >= place else (None, None)
        _draw_widths(cell, other, history, recorded_runs.shape[1], highest)
    with_k = f" with K = {K[method]}" if penalised else ""
    rate = " of them, at a growth rate of 35 %" if run.method else ""
    figure.alt = (
        f"Grey: the validation accuracy of {len(ends)} recorded seeds of “{method}”{with_k} on critters, "
        f"from the worst to the best{rate}; in the end {ends.mean():.0%} on average, with a standard deviation of "
        f"{100 * numbers['recorded_sd']:.1f} points. "
        + ("; ".join(told) if told else "No run yet")
        + f". Start trains {name_of(run)}."
    )
    if not numbers["runs"]:
        del numbers["runs"]
    return figure, numbers


def _draw_accuracy(axes, recorded_runs, kept):
    """The band of recorded seeds and the runs over it; returns where the runs are by now, and that in words."""
    x, ends, told = np.arange(1, recorded_runs.shape[1] + 1), [], []
    label = f"{len(recorded_runs)} recorded seeds"
    axes.fill_between(x, recorded_runs.min(0), recorded_runs.max(0), color="#D9D9D9", label=label)
    axes.plot(x, recorded_runs.mean(0), color=BLACK, ls=":", lw=2, label="their mean")
    for (run, history), (color, style, mark) in zip(kept[::-1], ((BLUE, "-", "o"), (RED, "--", "s"))):
        accuracy = [row["val_accuracy"] for row in history.epochs]
        if accuracy:
            how = {"color": color, "ls": style, "marker": mark, "ms": 5, "lw": 2, "label": name_of(run)}
            axes.plot(x[: len(accuracy)], accuracy, **how)
            ends.append(accuracy[-1])
            size = f"{history.epochs[-1]['parameters']:,} parameters"
            told.append(f"{name_of(run)}: {accuracy[-1]:.0%} after epoch {len(accuracy)}, {size}")
    ticks = range(2, len(x) + 1, 2), (0, 0.25, 0.5, 0.75, 1)
    frame(axes, "validation accuracy", "epoch", (0.5, len(x) + 0.5), (0, 1), *ticks)
    legend(axes, loc="upper left")
    return ends, told


def _draw_widths(axes, run, history, epochs, highest):
    """The neurons of each layer of a run, if there is one."""
    rows = history.epochs if history else []
    for i, unit in enumerate(rows[0]["widths"] if rows else ()):
        widths = [row["widths"][unit] for row in rows]
        color, style, _ = LINES[i % len(LINES)]
        x, y = range(len(widths) + 1), [widths[0], *widths]
        axes.step(x, y, where="pre", color=color, ls=style, lw=2, label=f"layer {i + 1}")
    title = "neurons: no run yet" if run is None else f"neurons: {name_of(run)}"
    frame(axes, title, "epoch", (0, epochs), (0, 1.1 * highest), range(0, epochs + 1, 4))
    if rows:
        legend(axes, loc="upper left")
