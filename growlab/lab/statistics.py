"""What a table of results supports: arms are compared seed by seed.

Sources: Holm 1979 for several comparisons, Schuirmann 1987 for equivalence by two one-sided tests, Pitman 1939 for the
ratio of two variances. Notebook 05.
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
OF_AVERAGES = [
    "components", "independent_low", "independent_high", "independent_p",
    "variance_ratio", "ratio_5_percent", "flagged",
]  # fmt: skip
OF_TREATMENTS = [
    "moved", "moved_against", "pushed", "placebo", "moved_placebo", "placebo_difference", "placebo_low", "placebo_high",
]  # fmt: skip
COSINES = [
    f"{name}_{moment}" for name in ("mu", "mean_absolute_cosine", "near_zero") for moment in ("before", "after", "end")
]
COLUMNS = [
    "data", "model", "arm", "against", "seeds", "difference", "low", "high", "p", "p_holm", "p_equal", "verdict",
    "differences", *OF_AVERAGES, *OF_TREATMENTS, *COSINES, *MEANS, *(f"{name}_against" for name in MEANS),
    "paper_seconds", "paper_seconds_against", "paper_accuracy",
]  # fmt: skip
PLACEBOS = ("placebo", "labels", "refresh")
PUSHES = {  # what a penalty pushes, in words, and the column of ``results`` that is nearest to it
    "absolute": ("|mu|", "mu"),
    "mean_absolute": ("mean |cos|", "mean_absolute_cosine"), "square": ("mean |cos|", "mean_absolute_cosine"),
}  # fmt: skip
HARDLY = 0.02  # of a cosine: all pairs 1.1 degrees nearer to a right angle
AS_RANDOM = 2  # deviations of random filters


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
    ±``margin``? not corrected for being many) and the ``verdict`` at 5 %. An average over several arms holds its
    ``components`` too, and what ``independence`` finds; it never changes the verdict.

    What the treatment did: how far the K steps ``moved`` the weights, in the arm, in the other, and in the ``placebo``
    (random steps, those of nearest length), and the placebo's difference; what ``pushed`` says; the arm's cosines.
    Then the means of both arms.
    ``paper_seconds`` are of another machine and of 250 epochs; the check marks of the paper's table 3 are lost, its
    rows taken in the order of its text. Its accuracies are not in our source.
    """
    margin = number("margin", margin, "(0, inf)", "in points of accuracy")
    for contrast in contrasts or ():
        if isinstance(contrast, str) or len(contrast) != 2:
            hint = 'such as ("random", "never")'
            raise ValueError(f"a contrast must be (arm or list of arms, against), {hint}, got {contrast!r}")
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
    each = 100 * paired(group, arms, against)
    differences = each.mean(axis=1)
    data, model = group[["data", "model"]].iloc[0]
    row = {"data": data, "model": model, "arm": ", ".join(arms), "against": ", ".join(against)}
    row |= compare(differences, margin) | {"differences": differences.round(2).tolist(), "flagged": False}
    if each.shape[1] > 1:
        row |= {"components": "; ".join(map(_component, each.items()))} | independence(each)
    row |= _manipulation(group, arms, against)
    for suffix, names in (("", arms), ("_against", against)):
        means = group[group["arm"].isin(names)].groupby("arm")[MEANS].mean().mean()
        row |= {f"{name}{suffix}": means[name] for name in MEANS}
        row[f"paper_seconds{suffix}"] = paper_seconds(data, model, names)
    return row | {"paper_accuracy": "not in our source"}


def paired(table: pd.DataFrame, arms: list, against: list, what: str = "test_accuracy") -> pd.DataFrame:
    """Differences in each seed: a row for each seed that all have, a column for each pair of arms.

    ``what``: a column of the table, or an expression of some. If there are not as many ``arms`` as in ``against``, the
    averages of both sides are compared, one column. Against nothing, the values themselves.
    """
    values = table.assign(value=table.eval(what)).pivot(index="seed", columns="arm", values="value")
    if missing := [arm for arm in [*arms, *against] if arm not in values]:
        raise ValueError(f"no finished run is called {', '.join(missing)}: choose from {', '.join(values)}")
    each = values[arms]
    if len(arms) == len(against):
        each = each - values[against].to_numpy()
    elif against:
        difference = each.mean(axis=1, skipna=False) - values[against].mean(axis=1, skipna=False)
        each = difference.to_frame(", ".join(arms))
    return each.dropna()  # seeds that one side lacks


def independence(each) -> dict:
    """Does an average vary as if its methods were independent? ``each``: differences ``(seeds, methods)``.

    ``independent_low``, ``independent_high``, ``independent_p``: ``compare`` of all differences as so many independent
    ones. ``variance_ratio``: the variance of the average over seeds, against that expected of independent methods, each
    in units of its own standard deviation: R = 1 + (m − 1) times the mean correlation of m methods. Below 1 the methods
    make up for each other, and the interval of the average is narrow by that alone. ``flagged`` if it is below
    ``ratio_5_percent``.

    With equal variances this is analysis of variance: m times the variance of the average over n seeds, against the
    mean square of what seed and method leave, F = (m − 1) R / (m − R), has n − 1 and (m − 1)(n − 1) degrees of freedom
    (not m (n − 1): the average is a part of the variance within methods). Here each method gives up its scale, so that
    unequal variances do not matter. F with d and (m − 1) d, d = n − 1 − 2/m, then has R's mean and variance; for
    two methods it is exact (Pitman), for more it flags 4 to 5 % of independent ones from six seeds on, and fewer below.
    NaN for fewer than three seeds, or for a method that never differs.
    """
    each = np.asarray(each, float)
    n, m = each.shape
    alone = compare(each.ravel())
    found = {f"independent_{name}": alone[name] for name in ("low", "high", "p")}
    found |= {"variance_ratio": math.nan, "ratio_5_percent": math.nan, "flagged": False}
    spread = each.std(axis=0, ddof=1) if n > 2 else np.zeros(m)
    if (spread > 1e-9 * np.abs(each).max(initial=0)).all():
        ratio, d = m * float((each / spread).mean(axis=1).var(ddof=1)), n - 1 - 2 / m
        f = float(stats.f.ppf(0.05, d, (m - 1) * d))
        found |= {"variance_ratio": ratio, "ratio_5_percent": m * f / (m - 1 + f)}
        found["flagged"] = ratio < found["ratio_5_percent"]
    return found


def _component(item):
    name, differences = item
    return "{} {difference:+.2f} [{low:+.2f}, {high:+.2f}]".format(name, **compare(differences))


def pushed(runs: pd.DataFrame) -> str:
    """What the last K steps of an arm's runs did to the quantity that they push, in words; "" if that is not recorded.

    "nothing to push": of |μ|, if it was within two standard deviations of random filters before the steps, on average
    over layers and runs. "hardly moved": if it fell by less than 0.02. |μ| is the mean over layers of |mean cosine|.
    The mean square is judged by the mean of |cos|; of the energy, and of steps without a penalty, nothing is said.
    """
    run = runs.iloc[0]
    if not run.get("k") or not run.get("penalty_strength") or run["penalty"] not in PUSHES:
        return ""
    name, column = PUSHES[run["penalty"]]
    before, after, deviations = _means(runs, [f"{column}_before", f"{column}_after", "null_z_before"])
    if math.isnan(before):
        return ""
    if run["penalty"] == "absolute" and deviations < AS_RANDOM:
        return f"nothing to push: {name} was {before:.3f} before the steps"
    return f"{'hardly moved: ' * (before - after < HARDLY)}{name} {before:.3f} to {after:.3f}"


def _manipulation(group, arms, against):
    """The columns ``OF_TREATMENTS`` and ``COSINES``."""
    of_arm, treated = dict(list(group.groupby("arm"))), [arm for arm in arms if "+" in arm]
    words = {arm: text for arm in arms if (text := pushed(of_arm[arm]))}
    found = {"pushed": "; ".join(words.values() if len(arms) == 1 else map(": ".join, words.items()))}
    found |= dict(zip(COSINES, np.mean([_means(of_arm[arm], COSINES) for arm in arms], axis=0)))

    def moved(names):
        return float(np.mean([_means(of_arm[name], ["moved"])[0] for name in names]))

    found |= {"moved": moved(arms), "moved_against": moved(against), "placebo": ""}
    bases, placebos = [arm.rpartition("+")[0] for arm in treated], []
    for arm, base in zip(treated, bases):
        steps = [name for name in of_arm if name.startswith(f"{base}+") and name.endswith("placebo")]
        if base in of_arm and steps and arm not in steps and not math.isnan(length := moved([arm])):
            placebos.append(min(steps, key=lambda name: abs(moved([name]) - length)))
    if arms and len(placebos) == len(arms):
        effect = compare(100 * paired(group, placebos, bases).mean(axis=1))
        found |= {"placebo": ", ".join(placebos), "moved_placebo": moved(placebos)}
        found |= {f"placebo_{name}": effect[name] for name in ("difference", "low", "high")}
    return found


def _means(runs, columns):
    return runs.reindex(columns=columns).astype(float).mean().tolist()


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
