"""``firefly``: which candidates Firefly chooses, and what becomes of their promise. Notebook 03."""

import copy
from functools import lru_cache

import numpy as np
import torch
from torch import nn

from growlab.course.explore.shell import Explorer, frame, given_or, legend, panels, slider
from growlab.course.figures.style import BLACK, BLUE, RED
from growlab.data.sources import load_data
from growlab.methods.firefly import firefly as propose_firefly
from growlab.models import mlp
from growlab.plans import preview
from growlab.training import train

STEPS = 6  # of the directions: few, so that a move is quick


def firefly(model=None, batch=None, **start) -> Explorer:
    """Fresh candidates, step size, gate and budget: splits or fresh neurons, in which layer, predicted and real gain.

    For a ``model`` and a batch of (pictures, labels); without them a small one learns the digits in a second.
    """
    look = Look(*given_or(half_trained, model=model, batch=batch))
    knobs = {
        "fresh": slider("fresh per layer", (0, 2, 4, 8, 16, 32), 8, at_once=False),
        "step_size": slider("first step, % of ‖W‖", (0.3, 1, 3, 10, 30, 100), 3, " %", at_once=False),
        "gate": slider("gate y", (0.1, 0.25, 0.5, 0.75, 1.0), 0.5, at_once=False),
        "budget": slider("budget (neurons)", range(10, 110, 10), 50, " %"),
    }
    return Explorer(look, knobs, **start)


@lru_cache(1)
def half_trained():
    """A narrow network in the middle of learning digits, and a batch: (model, batch)."""
    data = load_data("digits")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = mlp([64, 6, 6, 10], nn.Tanh)
        train(model, data, 3, lr=0.05, batch_size=32, augment=False, progress=False)
    images, labels = next(iter(data.batches("train", 640)))
    return model.double(), (images.double(), labels)


class Look:
    """The pure function behind ``firefly``; proposals are kept, since the budget asks for the same one again."""

    def __init__(self, model, batch):
        self.model, self.batch = copy.deepcopy(model), batch
        self.proposal = lru_cache(32)(self.propose)

    def propose(self, fresh, step_size, gate):
        options = {"fresh": fresh, "step_size": step_size / 100, "gate": gate, "steps": STEPS, "scoring": 1}
        return propose_firefly(self.model, [self.batch], **options)

    def __call__(self, fresh, step_size, gate, budget):
        plan = self.proposal(fresh, step_size, gate)
        chosen = plan.within(rate=budget / 100)
        predicted, actual = preview(self.model, chosen, self.batch)
        won = {unit: [0, 0] for unit in plan.widths}  # splits, fresh ones
        for candidate in chosen.candidates:
            won[candidate.unit][candidate.kind == "fresh"] += 1
        splits, new = map(sum, zip(*won.values()))
        numbers = {"neurons": chosen.neurons, "splits": splits, "fresh": new}
        numbers |= {"predicted": predicted, "actual": actual, "won": won}
        figure = draw(plan, chosen.neurons, won, predicted, actual)
        offered = f"{fresh} fresh ones per layer, a first step of {step_size:g} %, scores read at y = {gate:g}"
        figure.alt = told(numbers, offered)
        return figure, numbers


def draw(plan, neurons, won, predicted, actual):
    """Winners by layer and kind; the scores of all candidates, best first; promised and real change of the loss."""
    figure, (left, middle, right) = panels((3, 4.2, 2.4), (10, 3.1), left=0.035)
    places = np.arange(1, len(won) + 1)
    for new, (name, color, hatch) in enumerate((("split", BLUE, ""), ("fresh", RED, "//"))):
        heights, look = [row[new] for row in won.values()], {"color": color, "hatch": hatch, "edgecolor": "white"}
        left.bar(places + (new - 0.5) * 0.4, heights, 0.38, label=name, **look)
    up = (0, 1.35 * max(4, *(count for row in won.values() for count in row)))
    frame(left, f"the {neurons} neurons that get in", "hidden layer", (0.4, len(won) + 0.6), up, places.tolist())
    legend(left, loc="upper left", ncols=2)
    for kind, color, mark in (("split", BLUE, "o"), ("fresh", RED, "s")):
        some = [(i, 1000 * c.score) for i, c in enumerate(plan.candidates, 1) if c.kind == kind]
        middle.plot([i for i, _ in some], [score for _, score in some], mark, color=color, ms=5, ls="", label=kind)
    middle.axvspan(0.5, neurons + 0.5, color="#E5E5E5", zorder=0)
    scores = [1000 * c.score for c in plan.candidates]
    room = 0.1 * (max(scores) - min(*scores, 0)) + 1e-9
    up = min(*scores, 0) - room, max(scores) + room
    frame(middle, "scores, 1/1000 nat (grey: built)", "candidate, best first", (0, len(scores) + 1), up)
    legend(middle, loc="upper right")
    right.bar((1, 2), (predicted, actual), 0.6, color=(BLUE, RED), hatch=("", "//"), edgecolor="white")
    right.axhline(0, color=BLACK, lw=1)
    low, high = min(predicted, actual, 0), max(predicted, actual, 0)
    room = 0.15 * (high - low) + 1e-9
    up = low - room, high + room
    frame(right, "change of the loss, nat", "", (0.4, 2.6), up, (1, 2), names=("promised", "real"))
    return figure


def told(n, offered):
    """What the setting shows, in words."""
    layers = "; ".join(
        f"layer {i}: {splits} splits, {fresh} fresh" for i, (splits, fresh) in enumerate(n["won"].values(), 1)
    )
    if not n["neurons"]:
        what = f"A split of each neuron, {offered}: no neuron gets in, since the budget is less than one of them. "
        return f"{what}Take a larger one."
    if n["predicted"] >= 0:
        kept = "no gain was promised"
    elif n["actual"] > 0:
        kept = "the promise turns into harm"
    else:
        kept = f"{abs(n['actual'] / n['predicted']):.0%} of the promise is kept"
    return (
        f"A split of each neuron, {offered}: {n['neurons']} neurons get in ({layers}). They promise to change the loss "
        f"by {n['predicted']:+.3f} nat per picture, and really change it by {n['actual']:+.3f}: {kept}."
    )
