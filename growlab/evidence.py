"""What runs have left, as one table, and what it supports: arms are compared seed by seed.

Beside the flow, after ``execute``. Notebook 05 shows the tables. Sources: Holm 1979 for several comparisons, Schuirmann
1987 for equivalence by two one-sided tests; the paper's times are those of its tables 1 to 3 (Sakai & Hotta 2024).
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from .experiments import DEFAULTS, METHODS_OF_THE_PAPER, Run
from .records import environment, write_atomically

PHASES = {"training": "training", "evaluation": "evaluation", "growth": "growth", "penalty": "decorrelation"}
MOMENTS = {"before": "after growth", "after": "after decorrelation", "end": "end"}  # of the last K steps; of the run
COSINES = ("mean_cosine", "mean_absolute_cosine", "twin_angle")
KEPT_EPOCHS = 30


def state(place: Path) -> str:
    """Of a run's folder: "finished", "failed" or "open"."""
    if (place / "record.json").exists() and not (place / "checkpoint.pt").exists():
        return "finished"
    return "failed" if (place / "error.json").exists() else "open"


def results(source="runs", runs: Iterable[Run] | None = None) -> pd.DataFrame:
    """A row for each run in a folder of ``execute``, also while it works, or in a file of ``collect``.

    Its settings, and ``state``: "finished", "failed" (with its ``error``), or "open", and then the rest is missing.
    ``test_accuracy``, ``val_accuracy``; ``parameters``, ``widths`` and ``multiply_adds`` (per picture) of the final
    network; ``compute``: the multiply-adds of training, three times those of every picture's way forward, without
    proposals and K steps. ``seconds``, and those of training, evaluation, growth and penalty (the K steps); ``moved``:
    the mean movement that the K steps measured. Mean cosine, mean absolute cosine, twins' angle (radians) and
    the share of pairs within ±0.1 (``near_zero``), averaged over layers, before and after the last K steps and at the
    end.

    ``runs``: these only, in this order, with their labels. Raises ``FileNotFoundError`` for a source that is not there.
    """
    source, runs = Path(source), runs if runs is None else list(runs)
    if source.is_file():
        try:
            lines = json.loads(source.read_text())["runs"]
            there = [Run(**line["run"]) for line in lines]
            found = {run.name: (line["state"], line["figures"]) for run, line in zip(there, lines)}
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{source} is no file of gl.collect, or damaged: {type(error).__name__}: {error}") from error
    elif source.is_dir():
        there = _runs(source) if runs is None else runs
        found = {run.name: _figures(source / run.name) for run in there}
    else:
        raise FileNotFoundError(f"{source} is neither a folder of gl.execute nor a file of recorded runs")
    rows = []
    for run in there if runs is None else runs:
        now, figures = found.get(run.name, ("open", {}))
        rows.append({"name": run.name, "state": now, **asdict(run), **figures})
    return pd.DataFrame(rows, columns=None if rows else ["name", "state", *DEFAULTS])


def collect(folder, file) -> None:
    """Write what a folder of runs has left into one JSON file that is small enough to be kept, a line for each run.

    ``environments`` and ``runs``. Each run has its settings other than the defaults (``run``), ``state``, the
    ``figures`` of ``results``, and if finished its ``environment`` (an index), ``epochs`` (30 at most, the last among
    them), ``growths`` (with the kinds of new neurons) and ``similarity``: the cosines of each layer at the last growth
    and at the end, with a histogram for the second layer. Six digits of the figures, four of the rest.
    """
    if not Path(folder).is_dir():
        raise ValueError(f"{folder} is no folder of runs, so there is nothing to collect from it")
    lines, environments = [], []
    for run in _runs(folder):
        now, figures = _figures(Path(folder) / run.name)
        kind, colon, path = run.data.partition(":")
        settings = {name: value for name, value in asdict(run).items() if value != DEFAULTS[name]}
        row = {"run": settings | {"data": kind + colon + Path(path).name}, "state": now}  # not where the pictures lay
        if now == "finished":
            history = json.loads((Path(folder) / run.name / "record.json").read_text())
            if history["environment"] not in environments:
                environments.append(history["environment"])
            row["environment"] = environments.index(history["environment"])
            row["epochs"] = history["epochs"][:: -max(1, math.ceil(len(history["epochs"]) / KEPT_EPOCHS))][::-1]
            row["growths"] = [event | {"new": Counter(event["new"]["kind"])} for event in history["growths"]]
            row["similarity"] = [_compact(note) for note in _last_notes(history).values()]
            for epoch in row["epochs"]:
                del epoch["learning_rate"]  # the schedule tells
        lines.append(json.dumps(_rounded(row, 4) | {"figures": _rounded(figures, 6)}, separators=(",", ":")))
    what = f"runs of growlab {environment()['growlab']}; gl.results and growlab results read this file"
    head = json.dumps({"what": what, "environments": environments})[:-1]
    write_atomically(file, (head + ',\n"runs": [\n' + ",\n".join(lines) + "\n]}\n").encode())


def _runs(folder):
    return [_read(path, Run.from_json) for path in sorted(Path(folder).glob("*/run.json"))]


def _read(path, parse):
    try:
        return parse(path.read_text())
    except (LookupError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged: move its folder away, and the others can be read ({type(error).__name__}: {error})") from error


def _figures(place):
    now = state(place)
    if now == "failed":
        return now, _read(place / "error.json", lambda text: {"error": json.loads(text)["error"]})
    return now, _read(place / "record.json", _measured) if now == "finished" else {}


def _measured(text):
    history, seconds = json.loads(text), Counter()
    for row in history["epochs"]:
        seconds.update(row["seconds"])
    figures = history["result"] | {"val_accuracy": history["epochs"][-1]["val_accuracy"]}
    figures |= {"seconds": seconds.total()} | {f"{name}_seconds": seconds[phase] for name, phase in PHASES.items()}
    figures["moved"] = _mean(steps["last"]["movement"] for steps in history["decorrelations"])
    notes = _last_notes(history)
    for moment, when in MOMENTS.items():
        layers = notes[when]["layers"].values() if when in notes else ()
        figures |= {f"{name}_{moment}": _mean(layer[name] for layer in layers if name in layer) for name in COSINES}
        figures[f"near_zero_{moment}"] = _mean(_near_zero(layer["histogram"]) for layer in layers)
    return figures


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


def _rounded(value, digits):
    if isinstance(value, dict):
        return {name: _rounded(inner, digits) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(inner, digits) for inner in value]
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value


# What they support

MEANS = ["test_accuracy", "parameters", "compute", "seconds", "training_seconds", "growth_seconds", "penalty_seconds"]
COLUMNS = [
    "data", "model", "arm", "against", "seeds", "difference", "low", "high", "p", "p_holm", "p_equal", "verdict",
    "differences", *MEANS, *(f"{name}_against" for name in MEANS),
    "paper_seconds", "paper_seconds_against", "paper_accuracy",
]  # fmt: skip
PLACEBOS = ("placebo", "labels", "refresh")
TREATMENTS = ("", "eq3", "eq4", "penalty")  # the columns of the table below
PAPER_SECONDS = {  # 250 epochs on a GTX 1080 Ti
    ("cifar10", "vgg16", "random"): (3022, 3030, 3077, 3090),
    ("cifar10", "vgg16", "splitting"): (6146, 6149, 6171, 6176),
    ("cifar10", "vgg16", "firefly"): (3375, 3379, 3402, 3409),
    ("cifar10", "mobilenet", "random"): (1240, None, None, 1264),
    ("cifar10", "mobilenet", "splitting"): (3191, None, None, 3370),
    ("cifar10", "mobilenet", "firefly"): (1630, None, None, 1670),
    ("cifar100", "vgg16", "random"): (6612, None, None, 6680),
    ("cifar100", "vgg16", "splitting"): (13560, None, None, 13790),
    ("cifar100", "vgg16", "firefly"): (5307, None, None, 5360),
    ("cifar100", "mobilenet", "random"): (2690, None, None, 2842),
    ("cifar100", "mobilenet", "splitting"): (7167, None, None, 7250),
    ("cifar100", "mobilenet", "firefly"): (3673, None, None, 3690),
}


def summary(table: pd.DataFrame, contrasts: list | None = None, margin: float = 0.3) -> pd.DataFrame:
    """What finished runs support: a row for each contrast of two arms with seeds in common, by data set and model.

    The primary contrast, fixed beforehand, comes first: the penalty, averaged in each seed over those methods of the
    paper that are there. The rest is corrected for being many (Holm): every treatment against its arm without it, the
    penalty against each placebo, every method against the networks that never grow or are born large, and these against
    each other: if they are alike, nothing can be shown. A sweep over K
    gives one contrast for a method, of the K with the best *validation* accuracy. ``contrasts``: your own instead, the
    primary one first, a list of (arm or list of arms, against).

    In percentage points of test accuracy: ``difference`` (mean), ``low`` and ``high`` (95 % paired t interval),
    ``differences`` (each of them). ``p`` (paired t test), ``p_holm``, ``p_equal`` (two one-sided tests: within
    ±``margin``? not corrected for being many) and the ``verdict`` at 5 %. Then the means of both arms. ``paper_seconds`` are of another machine and
    of 250 epochs; the check marks of the paper's table 3 are lost, its rows taken in the order of its text. Its
    accuracies are not in our source.
    """
    for contrast in contrasts or ():
        if isinstance(contrast, str) or len(contrast) != 2:
            raise ValueError(f'a contrast must be (arm or list of arms, against), such as ("random", "never"), got {contrast!r}')
    rows, finished = [], table[table["state"] == "finished"]
    for _, group in finished.groupby(["data", "model"], sort=False):
        if doubled := set(group["arm"][group.duplicated(["arm", "seed"])]):
            names = ", ".join(map(repr, sorted(doubled)))
            raise ValueError(f"several runs of one seed are called {names}: select rows, or give other labels")
        primary, others = (contrasts[:1], contrasts[1:]) if contrasts else default_contrasts(group)
        found = [_contrast(group, *sides, margin) for sides in [*primary, *others]]
        corrected = [math.nan] * len(primary) + holm([row["p"] for row in found[len(primary) :]])
        for row, p in zip(found, corrected):
            row |= {"p_holm": p, "verdict": _verdict(row, row["p"] if math.isnan(p) else p, margin)}
        rows += found
    return pd.DataFrame(rows, columns=COLUMNS)


def _contrast(group, arms, against, margin):
    arms, against = ([side] if isinstance(side, str) else list(side) for side in (arms, against))
    accuracy = 100 * group.pivot(index="seed", columns="arm", values="test_accuracy")
    if missing := [arm for arm in arms + against if arm not in accuracy]:
        raise ValueError(f"no finished run is called {', '.join(missing)}: choose from {', '.join(accuracy)}")
    differences = accuracy[arms].mean(axis=1, skipna=False) - accuracy[against].mean(axis=1, skipna=False)
    differences = differences.dropna()  # seeds that one side lacks
    data, model = group[["data", "model"]].iloc[0]
    row = {"data": data, "model": model, "arm": ", ".join(arms), "against": ", ".join(against)}
    row |= compare(differences, margin) | {"differences": differences.round(2).tolist()}
    for suffix, names in (("", arms), ("_against", against)):
        means = group[group["arm"].isin(names)].groupby("arm")[MEANS].mean().mean()
        row |= {f"{name}{suffix}": means[name] for name in MEANS}
        row[f"paper_seconds{suffix}"] = _paper_seconds(data, model, names)
    return row | {"paper_accuracy": "not in our source"}


def compare(differences, margin: float = 0.3) -> dict:
    """One difference for each seed: their mean, its 95 % t interval and p, and p for not being within ±``margin``.

    NaN where there is nothing to judge by: fewer than two seeds, or all differences alike. If all are zero, nothing has
    changed in these seeds, p is 1, and what another would do is not known: ``p_equal`` is NaN.
    """
    n = len(differences)
    mean = float(np.mean(differences)) if n else math.nan
    error = float(np.std(differences, ddof=1)) / math.sqrt(n) if n > 1 else 0.0
    found = {"seeds": n, "difference": mean, **dict.fromkeys(("low", "high", "p", "p_equal"), math.nan)}
    if n > 1 and not np.any(differences):  # nothing has changed, to the bit
        found |= {"low": 0.0, "high": 0.0, "p": 1.0}
    elif n > 1 and error > 1e-9 * abs(mean):
        half = float(stats.t.ppf(0.975, n - 1)) * error
        p, p_equal = stats.t.sf(np.array([abs(mean), margin - abs(mean)]) / error, n - 1).tolist()  # the larger of two
        found |= {"low": mean - half, "high": mean + half, "p": 2 * p, "p_equal": p_equal}
    return found


def holm(p: list[float]) -> list[float]:
    """p values that are corrected for being several: the smallest times their number, the next times one less, …

    NaN stays NaN, and does not count.
    """
    order = sorted((i for i in range(len(p)) if not math.isnan(p[i])), key=lambda i: p[i])
    corrected, largest = list(p), 0.0
    for rank, i in enumerate(order):
        corrected[i] = largest = max(largest, min(1.0, (len(order) - rank) * p[i]))
    return corrected


def default_contrasts(group: pd.DataFrame) -> tuple[list, list]:
    """Those of ``summary``, primary and others: a "+" sets a treatment apart from the arm that it is compared with,
    and ", " a schedule from the arm, if several were tried."""
    arms = list(dict.fromkeys(group["arm"]))
    treated = {arm: arm.rpartition("+")[0] for arm in arms if arm.rpartition("+")[0] in arms}
    plain = [arm for arm in arms if arm not in treated]
    never, scratch = ([arm for arm in plain if arm.startswith(control)] for control in ("never", "scratch"))
    grown = [arm for arm in plain if arm not in never + scratch]
    sweeps, validation = {}, group.groupby("arm")["val_accuracy"].mean()
    for arm, base in treated.items():
        if re.search(r"\+k\d+$", arm):
            sweeps.setdefault(base, []).append(arm)
    found = [(arm, base) for arm, base in treated.items() if arm not in sweeps.get(base, ())]
    found += [(validation[several].idxmax(), base) for base, several in sweeps.items()]
    for arm, base in treated.items():
        if arm.endswith(PLACEBOS) and f"{base}+penalty" in arms:
            found.append((f"{base}+penalty", arm))
    rivals = [*product(never, grown), *product(scratch, grown), *product(never, scratch)]
    found += [(arm, control) for control, arm in rivals if arm.partition(", ")[2] == control.partition(", ")[2]]
    ours = [method for method in METHODS_OF_THE_PAPER if (f"{method}+penalty", method) in found]
    if len(ours) == 1:
        found.remove((f"{ours[0]}+penalty", ours[0]))  # it is the primary one
    return [([f"{method}+penalty" for method in ours], ours)] if ours else [], found


def _verdict(row, p, margin):
    if row["seeds"] < 2:
        return f"too few seeds in common: {row['seeds']}"
    if math.isnan(p):
        return "alike in all seeds: nothing to judge by"
    words = ["higher" if row["difference"] > 0 else "lower"] if p < 0.05 else []
    return ", ".join(words + [f"within ±{margin:g}"] * (row["p_equal"] < 0.05)) or "undecided"


def _paper_seconds(data, model, arms):
    kind, known = "cifar100" if "cifar100" in data else "cifar10" if "cifar10" in data else "", []
    for method, _, treatment in (arm.partition("+") for arm in arms):
        times = dict(zip(TREATMENTS, PAPER_SECONDS.get((kind, model, method), ())))
        known.append(times.get(treatment))
    return math.nan if None in known else sum(known) / len(known)
