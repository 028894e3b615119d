"""``k``: the K steps on a small network that has grown by copies. Notebook 04."""

import copy
import math
from functools import lru_cache, partial
from itertools import islice

import numpy as np
import torch

from growlab.course.explore.shell import Explorer, choice, frame, given_or, legend, panels, slider
from growlab.course.figures.style import BLACK, BLUE, RED
from growlab.data.sources import load_data
from growlab.decorrelation import descend, moving_layers
from growlab.models import vgg5
from growlab.norms import refresh_statistics
from growlab.plans import apply, propose
from growlab.similarity import cosine_map, mean_cosine, null_bands, twin_angle
from growlab.structure.units import units
from growlab.training import train
from growlab.watching import evaluating

STEPS = 30  # the paper tried K = 1 … 30
PENALTIES = {
    "|mean|": "absolute", "mean": "signed", "mean |cosine|": "mean_absolute", "mean square": "square",
    "energy": "energy", "log det": "logdet", "placebo": "random",
}  # fmt: skip
PICTURES = 150  # to measure with, and as many to estimate the statistics of batch norm


def k(model=None, plan=None, data=None, **start) -> Explorer:
    """K steps, their dose, terms and penalty in one layer: how alike its neurons are, and what the network puts out.

    For a ``model`` that has grown by ``plan``, and its ``data``; without them a small network is trained in seconds.
    """
    model, plan, data = given_or(grown_by_copies, model=model, plan=plan, data=data)
    look = Look(model, plan, data)
    layers = {f"{number} ({unit.neurons})": unit.name for number, unit in enumerate(units(model), 1)}
    knobs = {
        "k": slider("K (steps)", range(STEPS + 1), 20),
        "dose": slider("step, % of ‖W‖", (0.25, 0.5, 1.0, 2.0, 4.0), 1.0, " %"),
        "similarity": slider("factor of Eq. 3", (0.0, 0.5, 1.0, 2.0), 1.0),
        "change": slider("factor of Eq. 4", (0.0, 0.5, 1.0, 10.0), 1.0),
        "penalty": choice("penalty", PENALTIES),
        "layer": choice("layer (neurons)", layers),
    }
    return Explorer(look, knobs, **{"layer": list(layers.values())[min(1, len(layers) - 1)], **start})


@lru_cache(1)
def grown_by_copies():
    """A small network that has learned critters, then grown by half by copies moved a little: (model, plan, data)."""
    data = load_data("critters", n=1500, reliability=1.0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = vgg5(width=8)
        train(model, data, 5, lr=0.02, batch_size=32, schedule="constant_then_cosine", augment=False, progress=False)
    return model, apply(model, propose("net2net", model, step=0.05).within(rate=0.5)), data


class Look:
    """The pure function behind ``k``, with what it measures on and what it has computed already."""

    def __init__(self, model, plan, data):
        self.model, self.units, self.twins = copy.deepcopy(model).eval(), units(model), plan.twins
        self.seen = next(iter(data.batches("val", PICTURES)))
        self.others = list(islice(data.batches("train", PICTURES // 2, seed=0), 2))
        self.path = lru_cache(32)(partial(path, self.model, self.twins))
        self.start = self.logits(self.model)

    def __call__(self, k, dose, similarity, change, penalty, layer):
        unit = next(unit for unit in self.units if unit.name == layer)
        steps = self.path(penalty, dose, similarity, change)  # {unit: (31, n, D)}
        numbers = self.consequences({name: filters[k] for name, filters in steps.items()})
        mu = torch.stack([mean_cosine(filters) for filters in steps[layer]]).tolist()
        pairs = self.twins.get(layer)
        angles = [math.degrees(angle(filters, pairs)) for filters in steps[layer]] if pairs else [math.nan] * len(mu)
        one, of_mean = null_bands(unit.neurons, unit.weight.shape[1])
        numbers |= {"mean_before": mu[0], "mean_cosine": mu[k], "null_z": mu[k] / of_mean}
        numbers |= {"angle_before": angles[0], "twin_angle": angles[k]}
        figure = draw(cosine_map(steps[layer][0]), cosine_map(steps[layer][k]), mu, angles, k, one, of_mean)
        names = {value: name for name, value in PENALTIES.items()}
        terms = f"“{names[penalty]}” (Eq. 3 × {similarity:g}, Eq. 4 × {change:g})"
        figure.alt = told(numbers, k, dose, terms, list(steps).index(layer) + 1)
        return figure, numbers

    def consequences(self, filters):
        """Drift of the outputs, and accuracy at the start, after the steps, and with new statistics of batch norm."""
        model = copy.deepcopy(self.model)
        with torch.no_grad():
            for unit in self.units:
                weight = model.get_submodule(unit.name).weight
                weight.copy_(filters[unit.name].view(weight.shape))
        after = self.logits(model)
        refresh_statistics(model, self.others)
        drift = (after - self.start).square().mean() / self.start.var()
        stages = {"accuracy_before": self.start, "accuracy": after, "accuracy_refreshed": self.logits(model)}
        right = {name: logits.argmax(1) == self.seen[1] for name, logits in stages.items()}
        return {"drift": drift.item()} | {name: hits.float().mean().item() for name, hits in right.items()}

    @torch.no_grad()
    def logits(self, model):
        with evaluating(model):
            return model(self.seen[0])


@torch.no_grad()
def path(model, twins, penalty, dose, similarity, change):
    """{unit: filters after 0 … 30 steps (31, n, D)}: those of ``decorrelate`` with movement = dose · K, for all K."""
    layers = moving_layers(model, twins, penalty, seed=0)
    steps = descend(layers, STEPS, lambda layer: layer.fair(dose / 100), similarity, change)
    paths = [[layer.filters for layer in layers] for _ in steps]
    return {layer.name: torch.stack(filters) for layer, filters in zip(layers, zip(*paths))}


def angle(filters, pairs):
    return twin_angle(*filters[torch.tensor(pairs).T]).mean().item()


def draw(before, after, mu, angles, k, one, of_mean):
    """The map; the cosines of all pairs, ± one deviation by chance; the paths of their mean and of the twins' angle."""
    figure, (left, middle, path, twins) = panels((3, 3.6, 3.3, 3.3), (10.4, 2.9), left=0.035, gap=0.3)
    n, edges, steps = len(after), np.linspace(-1, 1, 41), range(len(mu))
    left.imshow(after.numpy(), cmap="RdBu", vmin=-1, vmax=1, interpolation="nearest")
    ticks = range(0, n, max(n // 3, 1))
    frame(left, f"cosines, K = {k}", "neuron", (-0.5, n - 0.5), (n - 0.5, -0.5), ticks, ticks)
    left.grid(False)
    pairs = np.triu_indices(n, 1)
    counts = [np.histogram(values[pairs].clip(-1, 1), edges)[0] for values in (before.numpy(), after.numpy())]
    middle.axvspan(-one, one, color="#E5E5E5", zorder=0)
    middle.stairs(counts[1], edges, fill=True, color=BLUE, label="after")
    middle.stairs(counts[0], edges, color=BLACK, ls=":", lw=1.5, label="before")
    middle.axvline(mu[k], color=RED, ls="--", lw=2)
    frame(middle, "pairs of neurons", "cosine", (-1, 1), (0, 1.25 * max(map(max, counts))), (-1, 0, 1))
    legend(middle, loc="upper left")
    path.axhspan(-of_mean, of_mean, color="#E5E5E5", zorder=0)
    path.plot(steps, mu, color=RED, ls="--", lw=2)
    path.plot(k, mu[k], "o", color=RED, ms=8)
    room = 0.15 * (max(mu) - min(mu) + 4 * of_mean)
    frame(path, "mean cosine", "step", (0, STEPS), (min(*mu, -2 * of_mean) - room, max(*mu, 2 * of_mean) + room))
    twins.plot(steps, angles, color=BLUE, lw=2)
    twins.plot(k, angles[k], "s", color=BLUE, ms=8)
    frame(twins, "angle of twins, degrees", "step", (0, STEPS), (0, 1.15 * np.nanmax([10, *angles])))
    return figure


def told(numbers, k, dose, terms, layer):
    """What the setting shows, in words."""
    g, far = numbers, abs(numbers["null_z"])
    where = "within what chance gives" if far <= 2 else f"{far:.1f} deviations away from chance"
    twins = f"the twins are {g['twin_angle']:.0f}° apart, before {g['angle_before']:.0f}°"
    if math.isnan(g["twin_angle"]):
        twins = "there are no twins in this layer"
    return (
        f"Layer {layer} after K = {k} steps, each {dose:g} % as long as the weights, under {terms}. "
        f"The mean cosine went from {g['mean_before']:+.3f} to {g['mean_cosine']:+.3f}, {where}; {twins}. "
        f"The outputs drifted by {g['drift']:.0%} of their variance. Accuracy {g['accuracy_before']:.0%} before, "
        f"{g['accuracy']:.0%} right after the steps, {g['accuracy_refreshed']:.0%} with new statistics of batch norm. "
        "Grey: one deviation by chance."
    )
