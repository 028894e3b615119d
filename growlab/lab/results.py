"""What runs have left, as one table, and as one small file. Notebook 05 shows the tables."""

import json
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from growlab.checks import whole
from growlab.files import write_atomically
from growlab.lab.folder import check_same, read, state
from growlab.lab.run import DEFAULTS, Run
from growlab.machine import environment

PHASES = {"training": "training", "evaluation": "evaluation", "growth": "growth", "penalty": "decorrelation"}
MOMENTS = {"before": "after growth", "after": "after decorrelation", "end": "end"}  # of the last K steps; of the run
COSINES = ("mean_cosine", "mean_absolute_cosine", "twin_angle")


def results(source="runs", runs: Iterable[Run] | None = None) -> pd.DataFrame:
    """A row for each run in a folder of ``execute``, also while it works, or in a file of ``collect``.

    Its settings, and ``state``: "finished", "failed" (with its ``error``), or "open", and then the rest is missing.
    ``test_accuracy``, ``val_accuracy``; ``parameters``, ``widths`` and ``multiply_adds`` (per picture) of the final
    network; ``compute``: the multiply-adds of training, three times those of every picture's way forward, without
    proposals and K steps. ``seconds``, and those of training, evaluation, growth and penalty (the K steps); ``moved``:
    the mean movement that the K steps measured. Mean cosine, mean absolute cosine, twins' angle (radians) and
    the share of pairs within ±0.1 (``near_zero``), averaged over layers, before and after the last K steps and at the
    end. Likewise ``mu``, the mean over layers of |mean cosine|, ``null_z``, the same in standard deviations of random
    filters, and ``near_zero_second``, of the second layer alone (the paper's Fig. 6).

    ``runs``: these only, in this order, with their labels. Raises ``FileNotFoundError`` for a source that is not there,
    and ``ValueError`` for a damaged one, or if a folder that is named like one of ``runs`` holds another run.
    """
    source, runs = Path(source), runs if runs is None else list(runs)
    if source.is_file():
        try:
            content = json.loads(source.read_text())
            lines, defaults = content["runs"], content.get("defaults", {})  # which may have changed since
            there = [Run(**defaults | line["run"]) for line in lines]
            found = {run.name: (line["state"], _recorded(line)) for run, line in zip(there, lines)}
        except (KeyError, TypeError, ValueError) as error:
            hint = f"{type(error).__name__}: {error}"
            raise ValueError(f"{source} is no file of gl.collect, or damaged: {hint}") from error
    elif source.is_dir():
        places = _places(source, runs)
        there = places.values()
        found = {run.name: _figures(place) for place, run in places.items()}
    else:
        raise FileNotFoundError(f"{source} is neither a folder of gl.execute nor a file of recorded runs")
    rows = []
    for run in there if runs is None else runs:
        now, figures = found.get(run.name, ("open", {}))
        rows.append({"name": run.name, "state": now, **asdict(run), **figures})
    table = pd.DataFrame(rows, columns=None if rows else ["name", "state", *DEFAULTS])
    if "test_accuracy" in table and "compute" not in table:  # of models of your own it is not known
        table[["multiply_adds", "compute"]] = math.nan
    return table


def collect(folder, file, epochs: int = 30) -> None:
    """Write what a folder of runs has left into one JSON file that is small enough to be kept, a line for each run.

    ``environments``, ``defaults`` and ``runs``. Each run has its settings other than the defaults (``run``), ``state``,
    the ``figures`` of ``results``, and if finished its ``environment`` (an index), ``epochs`` (so many at most, the
    last among them), ``growths`` (with the kinds of new neurons) and ``similarity``: the cosines of each layer at the
    last growth and at the end, with a histogram for the second layer. Six digits of the figures, four of the rest.
    """
    whole("epochs", epochs, 1, "30 are enough for a curve")
    if not Path(folder).is_dir():
        raise ValueError(f"{folder} is no folder of runs, so there is nothing to collect from it")
    lines, environments = [], []
    for place, run in _places(folder).items():
        now, figures = _figures(place)
        kind, colon, path = run.data.partition(":")
        settings = {name: value for name, value in asdict(run).items() if value != DEFAULTS[name]}
        row = {"run": settings | {"data": kind + colon + Path(path).name}, "state": now}  # not where the pictures lay
        if now == "finished":
            history = read(place / "record.json", json.loads)
            if history["environment"] not in environments:
                environments.append(history["environment"])
            row["environment"] = environments.index(history["environment"])
            row["epochs"] = history["epochs"][:: -max(1, math.ceil(len(history["epochs"]) / epochs))][::-1]
            row["growths"] = [event | {"new": Counter(event["new"]["kind"])} for event in history["growths"]]
            row["similarity"] = [_compact(note) for note in _last_notes(history).values()]
            for epoch in row["epochs"]:
                del epoch["learning_rate"]  # the schedule tells
        lines.append(json.dumps(rounded(row, 4) | {"figures": rounded(figures, 6)}, separators=(",", ":")))
    what = f"runs of growlab {environment()['growlab']}; gl.results and growlab results read this file"
    head = json.dumps({"what": what, "environments": environments, "defaults": DEFAULTS})[:-1]
    write_atomically(file, (head + ',\n"runs": [\n' + ",\n".join(lines) + "\n]}\n").encode())


def _places(folder, runs=None):
    """{folder of a run: Run}: of all runs there, whatever their folders are called, or of given ones."""
    if runs is None:
        return {path.parent: read(path, Run.from_json) for path in sorted(Path(folder).glob("*/run.json"))}
    for run in runs:
        check_same(folder / run.name, run)
    return {folder / run.name: run for run in runs}


def _figures(place):
    now = state(place)
    if now == "failed":
        return now, read(place / "error.json", lambda text: {"error": json.loads(text)["error"]})
    return now, read(place / "record.json", _measured) if now == "finished" else {}


def _measured(text):
    history, seconds = json.loads(text), Counter()
    for row in history["epochs"]:
        seconds.update(row["seconds"])
    figures = {"multiply_adds": math.nan, "compute": math.nan} | history["result"]
    figures["val_accuracy"] = history["epochs"][-1]["val_accuracy"]
    figures |= {"seconds": seconds.total()} | {f"{name}_seconds": seconds[phase] for name, phase in PHASES.items()}
    figures["moved"] = _mean(steps["last"]["movement"] for steps in history["decorrelations"])
    notes = _last_notes(history)
    for moment, when in MOMENTS.items():
        layers = notes[when]["layers"].values() if when in notes else ()
        figures |= {f"{name}_{moment}": _mean(layer[name] for layer in layers if name in layer) for name in COSINES}
        figures[f"near_zero_{moment}"] = _mean(_near_zero(layer["histogram"]) for layer in layers)
    return figures | _of_layers(notes)


def _recorded(line):
    """The figures of a run in a file of ``collect``, and those that were added since and that its notes hold."""
    return (_of_layers(_last_notes(line)) if "similarity" in line else {}) | line["figures"]


def _of_layers(notes):
    """Figures for which a compact note suffices. Signed means of layers would cancel, so |μ| of each layer."""
    found = {}
    for moment, when in MOMENTS.items():
        layers = list(notes[when]["layers"].values()) if when in notes else []
        found[f"mu_{moment}"] = _mean(abs(layer["mean_cosine"]) for layer in layers)
        deviations = [layer.get("null_z") for layer in layers]
        found[f"null_z_{moment}"] = _mean(abs(z) for z in deviations if z is not None)
        second = [_near_zero(layer["histogram"]) for layer in layers[1:2] if "histogram" in layer]
        found[f"near_zero_second_{moment}"] = _mean(second)
    return found


def _near_zero(histogram):
    """The share of pairs of neurons whose cosine lies within ±0.1 (Fig. 6 of the paper): four bins of 0.05."""
    middle = len(histogram) // 2
    return sum(histogram[middle - 2 : middle + 2]) / max(sum(histogram), 1)


def _last_notes(history):
    notes = {note["when"]: note for note in history["similarity"]}
    return {when: notes[when] for when in MOMENTS.values() if when in notes}


def _compact(note):
    kept, layers = ("neurons", *COSINES, "null_z"), {}
    for i, (name, layer) in enumerate(note["layers"].items()):
        with_histogram = ("histogram",) if i == 1 else ()
        layers[name] = {figure: layer[figure] for figure in (*kept, *with_histogram) if figure in layer}
    return note | {"layers": layers}


def _mean(values):
    values = list(values)
    return sum(values) / len(values) if values else None


def rounded(value, digits: int):
    """All fractions in a value, also inside dicts and lists, to so many digits."""
    if isinstance(value, dict):
        return {name: rounded(inner, digits) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(inner, digits) for inner in value]
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value
