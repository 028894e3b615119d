"""``rate``: how large a network becomes under a growth rate, and what that costs, untrained. Notebooks 02 and 03."""

import json
from collections import Counter
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from growlab import models
from growlab.course.explore.shell import Explorer, choice, frame, legend, panels, slider
from growlab.course.figures.style import BLACK, BLUE, GREEN, RED
from growlab.growth import Growth
from growlab.plans import Candidate, propose
from growlab.seeds import random_stream

RESULTS = Path(__file__).resolve().parents[3] / "data" / "results"
NETWORKS = {"VGG16": "vgg16", "vgg5": "vgg5"}
EPOCHS = {"vgg16": 250, "vgg5": 12}
PAPER = (28_800, 325_000)  # parameters at first and in the end
METHODS = {"random": "random", "splitting": "splitting", "firefly": "firefly", "equal shares": "shares"}
BUDGETS = {"neurons": "neurons", "parameters": "parameters", "multiply-adds": "flops"}
WHEN = {"all along": "whole run", "first 40 %": "early"}
NAMES = {
    "neurons": "neurons", "parameters": "parameters", "flops": "multiply-adds",
    "whole run": "all along", "early": "in the first 40 % of training",
    "random": "at random", "splitting": "as splitting did", "firefly": "as Firefly did",
    "shares": "every layer its share",
}  # fmt: skip


def rate(**start) -> Explorer:
    """How many neurons, when, where, counted in what: widths, parameters and multiply-adds over a run, and its cost."""
    knobs = {
        "rate": slider("growth rate", range(5, 105, 5), 35, " %"),
        "events": slider("growths", range(7), 4),
        "when": choice("when", WHEN),
        "method": choice("method", METHODS),
        "budget": choice("rate counts", BUDGETS),
        "network": choice("network", NETWORKS),
    }
    return Explorer(show, knobs, **start)


def show(rate, events, when, method, budget, network):
    """The pure function behind ``rate``."""
    stages, epochs = simulate(rate / 100, events, when, method, budget, network), EPOCHS[network]
    starts = [epoch for epoch, *_ in stages]
    lengths = np.diff([*starts, epochs])
    work = float(sum(length * stage[3] for length, stage in zip(lengths, stages)))
    numbers = {
        "neurons": sum(stages[-1][1]), "parameters": stages[-1][2], "multiply_adds": stages[-1][3],
        "first": stages[0][2], "cost_of_never": work / (epochs * stages[0][3]),
        "cost_of_large": work / (epochs * stages[-1][3]), "widths": stages[-1][1],
    }  # fmt: skip
    figure = draw(stages, epochs, network)
    how = f"{NAMES[budget]}, {NAMES[when]}, {NAMES[method]}"
    figure.alt = told(numbers, f"{rate} % of its {how}", len(stages) - 1, network)
    return figure, numbers


@lru_cache(256)
def simulate(rate, events, when, method, budget, network):
    """Stages of a run between growths: (epoch of the growth before, widths, parameters, multiply-adds per picture)."""
    if network == "vgg16" and method in ("splitting", "firefly"):
        raise ValueError(
            f"{method} chooses layers by what a trained network tells it, and that is recorded for vgg5 only: "
            "take network = vgg5"
        )
    epochs = EPOCHS[network]
    end = epochs if when == "whole run" else 0.4 * epochs
    last = events + 1 if when == "whole run" else max(events, 1)
    at = sorted({max(1, round(end * i / last)) for i in range(1, events + 1)})
    empty = first_plan(network)
    stages = [(0, *sizes(empty))]
    for event, epoch in enumerate(at):
        now = replace(empty, candidates=tuple(offered(empty.widths, method, event)))
        plan = Growth("random", rate, at=(epoch,), budget=budget, per_unit=method == "shares").within(now)
        added = Counter(candidate.unit for candidate in plan.candidates)
        costs = tuple(replace(layer, shape=grown(layer, added)) for layer in empty.costs)
        empty = replace(empty, widths=plan.widths_after, costs=costs)
        stages.append((epoch, *sizes(empty)))
    return stages


@lru_cache
def first_plan(network):
    """A plan without candidates for the network before any growth: its widths, and what its weights cost."""
    with torch.random.fork_rng():
        model = models.vgg16(16) if network == "vgg16" else models.vgg5(4)
    picture = [(torch.zeros(1, 3, 32, 32), torch.zeros(1, dtype=torch.long))]
    return propose("random", model, picture).within(neurons=0)


def sizes(plan):
    return list(plan.widths.values()), plan.size("parameters"), plan.size("flops")


def grown(layer, added):
    shape = list(layer.shape)
    for axis, unit, repeat in layer.grows:
        shape[axis] += repeat * added[unit]
    return tuple(shape)


def offered(widths, method, event):
    """Candidates of a neuron each: drawn over the network, or so many of each layer as the record has of it."""
    if method in ("splitting", "firefly"):
        shares = recorded_shares(method)[min(event, len(recorded_shares(method)) - 1)]
        places = range(sum(widths.values()))
        return [
            Candidate(unit, score=-(place + 0.5) / max(share, 1e-3))
            for unit, share in zip(widths, shares)
            for place in places
        ]
    luck = torch.rand(sum(widths.values()), generator=random_stream(event, "explore")).tolist()
    owners = [unit for unit, width in widths.items() for _ in range(width)]
    return [Candidate(unit, score=score) for unit, score in zip(owners, luck)]


@lru_cache
def recorded_shares(method):
    """(growths, layers): which share of new neurons each layer got, on average over the recorded seeds."""
    runs = [line for line in recorded("critters_methods.json") if line["run"].get("arm") == method]
    shares = []
    for run in runs:
        widths = [run["epochs"][0]["widths"], *(event["widths"] for event in run["growths"])]
        new = np.diff([list(row.values()) for row in widths], axis=0)
        shares.append(new / new.sum(1, keepdims=True))
    return np.mean(shares, 0)


@lru_cache
def recorded(name) -> list[dict]:
    """The runs of a record that comes with the course, as ``collect`` has written them."""
    if not (RESULTS / name).exists():
        raise FileNotFoundError(f"the recorded runs are missing, {name}: they come with the course, in data/results")
    return json.loads((RESULTS / name).read_text())["runs"]


def draw(stages, epochs, network):
    """Parameters and multiply-adds over the epochs, and the widths of the layers at first and in the end."""
    figure, (left, middle, right) = panels((3.6, 3.2, 3.6), (10, 3.1), left=0.06)
    x = [epoch for epoch, *_ in stages] + [epochs]
    parameters, work = ([stage[i] for stage in stages] + [stages[-1][i]] for i in (2, 3))
    left.step(x, parameters, where="post", color=BLUE, lw=2.2, label="this network")
    low, high = parameters[0], parameters[-1]
    if network == "vgg16":
        low, high = min(low, PAPER[0]), max(high, PAPER[1])
        path, at = [PAPER[0] * (PAPER[1] / PAPER[0]) ** (i / 4) for i in (0, 1, 2, 3, 4, 4)], range(0, 300, 50)
        left.step(at, path, where="post", color=RED, ls="--", lw=2, label="the paper")
        legend(left, loc="upper left")
    marks = (300, 1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6, 3e6, 1e7, 3e7, 1e8, 1e9)
    marks = [mark for mark in marks if low / 2 <= mark <= 4 * high]
    left.set_yscale("log")
    left.minorticks_off()
    frame(left, "parameters", "epoch", (0, epochs), (low / 1.5, high * 3), yticks=marks)
    left.set_yticks(marks, [short(mark) for mark in marks])
    middle.step(x, [value / 1e6 for value in work], where="post", color=GREEN, ls="-.", lw=2.2)
    frame(middle, "multiply-adds per picture, millions", "epoch", (0, epochs), (0, 1.15 * work[-1] / 1e6))
    first, last = stages[0][1], stages[-1][1]
    places = np.arange(1, len(first) + 1)
    right.bar(places, last, 0.75, color=BLUE, label="in the end")
    right.bar(places, first, 0.75, color=BLACK, alpha=0.6, hatch="//", edgecolor="white", label="at first")
    frame(right, "neurons", "layer", (0.3, len(first) + 0.7), (0, 1.35 * max(last)), places[:: 1 + len(first) // 7])
    legend(right, loc="upper left", ncols=2)
    return figure


def short(number):
    return f"{number / 1e6:g} M" if number >= 1e6 else f"{number / 1e3:g} k" if number >= 1e3 else f"{number:g}"


def told(numbers, how, events, network):
    """What the setting shows, in words."""
    n = numbers
    times = "once" if events == 1 else f"{events} times" if events else "never"
    paper = ""
    if network == "vgg16":
        ratio = n["parameters"] / PAPER[1]
        paper = f" The paper went from 0.0288 to 0.325 million (dashed): this ends at {ratio:.2f} times that."
    return (
        f"Grown {times} by {how}: {n['neurons']:,} neurons, and from {n['first']:,} to {n['parameters']:,} parameters."
        f"{paper} Training costs {n['cost_of_never']:.1f} times as many multiply-adds as if it had never grown, and "
        f"{n['cost_of_large']:.0%} of what the final size costs from the start. "
        f"{n['multiply_adds'] / 1e6:,.1f} million for a picture in the end."
    )
