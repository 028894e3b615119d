"""Write docs/results.md: what the records show, exclude and leave undecided, each with its interval and its command.

    python tools/results_page.py

Tables and contrasts come from ``data/results``, the words around them from ``docs/results.in.md``. A test compares the
page with both.
"""

import json
import re
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

import growlab as gl
from growlab.lab.statistics import compare, holm, paired
from growlab.lab.verdicts import runs_of

ROOT = Path(__file__).resolve().parents[1]
RESULTS, TEMPLATE, PAGE = ROOT / "data" / "results", ROOT / "docs" / "results.in.md", ROOT / "docs" / "results.md"
COPIES = ("net2net", "splitting")
PARTING = ("equal shares", "new neurons reset", "kick", "absolute", "mean_absolute", "energy")
READINGS = ("absolute", "mean_absolute", "square", "energy")
ARMS = [
    f"{method}, {schedule}" for method in ("random", "net2net") for schedule in ("constant_then_cosine", "restarts")
]


@dataclass
class Experiment:
    """A section of the page. ``contrasts``: the primary one first; None: those of ``summary``."""

    title: str
    record: str
    question: str
    command: str
    contrasts: list | None = None
    margin: float = 0.3
    what: str = "100 * test_accuracy"
    unit: str = "points"


EXPERIMENTS = [
    Experiment(
        "The penalty, read as |μ|, on a small network", "cifar10_methods.json",
        "vgg5 from width 4 on 5,120 pictures of CIFAR-10 (JPEG), 35 % more neurons after each of epochs 1 to 4 of 12. "
        "Primary: the penalty less none, averaged over random growth, splitting and Firefly.",
        "growlab run methods --seeds 10 --out runs/methods",
    ),
    Experiment(
        "The same on VGG16", "cifar10_vgg16.json",
        "VGG16 from width 16 on all pictures, two growths in three epochs. Primary: as above.",
        "growlab run vgg16 --seeds 10 --out runs/vgg16",
    ),
    Experiment(
        "Readings of Eq. 3 where there is something to push", "cifar10_copies.json",
        "Growth by copies only, so that neurons are alike. Primary: mean |cos| less none, averaged over net2net and "
        "splitting, 40 seeds; the other arms have ten.",
        "python data/recipes/cifar10_copies.py FOLDER",
        [([f"{method}+mean_absolute" for method in COPIES], list(COPIES))]
        + [(f"{m}+{p}", m) for m, p in product(COPIES, (*READINGS, "placebo", "labels"))]
        + [(f"{m}+{p}", f"{m}+placebo") for m, p in product(COPIES, READINGS)],
    ),
    Experiment(
        "What parts copies, and does it help?", "cifar10_parting.json",
        "Growth by net2net. Primary: outgoing shares made equal in each lineage, less plain copies, after four "
        "growths.",
        "python data/recipes/cifar10_grids.py parting FOLDER",
        [(f"net2net+{arm}", "net2net") for arm in PARTING],
    ),
    Experiment(
        "Momentum carried through a growth, or reset", "cifar10_momentum.json",
        "Random growth and net2net, on the usual schedule and on one cosine for each stage. Primary: reset less "
        "carried, averaged over both methods and both schedules, 20 seeds.",
        "python data/recipes/cifar10_grids.py momentum FOLDER",
        [([f"{arm}, reset" for arm in ARMS], ARMS)]
        + [(f"{arm}, reset", arm) for arm in ARMS]
        + [(f"{method}, restarts", f"{method}, constant_then_cosine") for method in ("random", "net2net")]
        + [(f"{arm}, Nesterov", arm) for arm in ARMS],
    ),
    Experiment(
        "GradMax beside random growth", "cifar10_gradmax.json",
        "Primary: GradMax less random growth with as many new neurons.",
        "python data/recipes/cifar10_grids.py gradmax FOLDER",
        [("gradmax", "random"), ("gradmax+penalty", "gradmax"), *product(("gradmax", "random"), ("never", "scratch"))],
    ),
    Experiment(
        "Whole animals, where two parts of five suffice", "critters_redundancy.json",
        "Critters whose parts are all honest (reliability 1), random growth. Primary: effective parts by "
        "interventions, mean |cos| less none, margin ±0.1. Positive control: training pictures with one random part "
        "hidden must raise them by 0.3 or more, else the experiment says nothing.",
        "python data/recipes/critters_redundancy.py FOLDER",
        [
            ("random+mean_absolute", "random"), ("random, one part hidden", "random"), ("random+absolute", "random"),
            ("random+square", "random"),
        ], 0.1, "effective_parts", "parts",
    ),
]  # fmt: skip


def rows_of(experiment, table):
    """One for each contrast, the primary one first."""
    if experiment.what == "100 * test_accuracy":
        return gl.summary(table, experiment.contrasts, experiment.margin).to_dict("records")
    rows = []
    for arm, against in experiment.contrasts:
        differences = paired(table, [arm], [against], experiment.what).iloc[:, 0]
        moved = table[table["arm"] == arm]["moved"].mean()
        rows.append({"arm": arm, "against": against, "moved": moved} | compare(differences, experiment.margin))
    for row, p in zip(rows, [float("nan"), *holm([row["p"] for row in rows[1:]])]):
        row["p_holm"] = p
    return rows


def interval(row, prefix=""):
    low, high = (row[f"{prefix}{end}"] for end in ("low", "high"))
    return signed(f"{row[f'{prefix}difference']:+.2f} [{low:+.2f}, {high:+.2f}]")


def signed(text):
    return text.replace("-", "−")


def link(record):
    return f"[{record}](../data/results/{record})"


def known(value):
    return isinstance(value, str) or (value is not None and value == value)


def section(experiment):
    table = runs_of(RESULTS / experiment.record)
    rows, seeds = rows_of(experiment, table), table.groupby("arm")["seed"].nunique()
    first, unit = rows[0], experiment.unit
    equal = (
        f", p of a difference beyond ±{experiment.margin:g}: {first['p_equal']:.2g}" if known(first["p_equal"]) else ""
    )
    yield f"## {experiment.title}\n\n{experiment.question}\n"
    yield f"**Primary: {interval(first)} {unit}** ({first['seeds']} seeds{equal})."
    if known(first.get("components")):
        flag = "flagged: they vary together less than independent ones would" if first["flagged"] else "not flagged"
        alone = f"[{first['independent_low']:+.2f}, {first['independent_high']:+.2f}]"
        yield (
            f"Each by itself: {signed(first['components'])}. As independent differences: {signed(alone)}; ratio of the "
            f"variances {first['variance_ratio']:.2f}, 5 % point {first['ratio_5_percent']:.2f}, {flag}."
        )
    yield ""
    yield (
        f"| arm | less | seeds | {unit} [95 %] | p (Holm) | moved | its placebo | what it pushed |"
        + "\n"
        + "|---" * 8
        + "|"
    )
    for row in rows:
        placebo = f"{interval(row, 'placebo_')}, moved {row['moved_placebo']:.3f}" if row.get("placebo") else ""
        moved = f"{row['moved']:.3f}" if known(row.get("moved")) else ""
        p = f"{row['p_holm']:.2g}" if known(row["p_holm"]) else "primary"
        pushed = (row.get("pushed") or "").replace("|mu|", "\\|μ\\|").replace("|cos|", "\\|cos\\|")
        cells = [row["arm"], row["against"], row["seeds"], interval(row), p, moved, placebo, pushed]
        yield f"| {' | '.join(map(str, cells))} |"
    yield ""
    yield "| arm | seeds | test accuracy, mean (sd) | parameters |\n|---|---|---|---|"
    column = "test_accuracy" if "test_accuracy" in table else "accuracy"
    for arm, group in table.sort_values(["arm", "seed"]).groupby("arm", sort=False):
        size = f"{group['parameters'].mean():,.0f}" if "parameters" in group else ""
        spread = f"{100 * group[column].mean():.1f} % ({100 * group[column].std():.1f})"
        yield f"| {arm} | {seeds[arm]} | {spread} | {size} |"
    yield f"\n`{experiment.command}` makes the runs again; the record is {link(experiment.record)}.\n"


def paper():
    """The claims by verdict."""
    rows = json.loads((RESULTS / "verdicts.json").read_text())
    for verdict, heading in (
        ("reproduced", "Shown"), ("not reproduced", "Excluded"), ("undecided", "Undecided"),
        ("cannot be tested here", "Not tested"),
    ):  # fmt: skip
        yield f"### {heading}\n"
        for row in (row for row in rows if row["verdict"] == verdict):
            number = ""
            if row["record"]:
                number = signed(f"{row['number']:+.3g} [{row['low']:+.3g}, {row['high']:+.3g}] {row['unit']}")
                number = f": **{number}** ({link(row['record'])})"
            words = "; ".join(text for text in (row["did"], row["reading"], row["doubt"]) if text)
            found = f"{words[0].upper()}{words[1:]}. What would change it: {row['change']}."
            yield f"- {row['claim']} ({row['place']}){number}. {found}"
        yield ""


def page():
    """The template, with each {record} replaced by its section, and {paper} by the claims."""
    parts = {"paper": paper} | {experiment.record: partial(section, experiment) for experiment in EXPERIMENTS}

    def filled(match):
        there = match[1] == "paper" or (RESULTS / match[1]).exists()
        return "\n".join(parts[match[1]]()) if there else ""

    return re.sub(r"\{([\w.]+)\}", filled, TEMPLATE.read_text())


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"{PAGE.relative_to(ROOT)}: {len(PAGE.read_text().splitlines())} lines")
