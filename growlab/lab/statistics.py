"""What a table of results supports: arms are compared seed by seed.

Sources: Holm 1979 for several comparisons, Schuirmann 1987 for equivalence by two one-sided tests. Notebook 05.
"""

import math
import re
from itertools import product

import numpy as np
import pandas as pd
from scipy import stats

from growlab.checks import number
from growlab.lab.paper import paper_seconds
from growlab.lab.treatments import METHODS_OF_THE_PAPER

# What they support
MEANS = ["test_accuracy", "parameters", "compute", "seconds", "training_seconds", "growth_seconds", "penalty_seconds"]
COLUMNS = [
    "data", "model", "arm", "against", "seeds", "difference", "low", "high", "p", "p_holm", "p_equal", "verdict",
    "differences", *MEANS, *(f"{name}_against" for name in MEANS),
    "paper_seconds", "paper_seconds_against", "paper_accuracy",
]  # fmt: skip
PLACEBOS = ("placebo", "labels", "refresh")


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
    ±``margin``? not corrected for being many) and the ``verdict`` at 5 %. Then the means of both arms.
    ``paper_seconds`` are of another machine and of 250 epochs; the check marks of the paper's table 3 are lost, its
    rows taken in the order of its text. Its accuracies are not in our source.
    """
    margin = number("margin", margin, "(0, inf)", "in points of accuracy")
    for contrast in contrasts or ():
        if isinstance(contrast, str) or len(contrast) != 2:
            raise ValueError(
                f'a contrast must be (arm or list of arms, against), such as ("random", "never"), got {contrast!r}'
            )
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
        row[f"paper_seconds{suffix}"] = paper_seconds(data, model, names)
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
    treated = {arm: arm.rpartition("+")[0] for arm in arms if "+" in arm and arm.rpartition("+")[0] in arms}
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
