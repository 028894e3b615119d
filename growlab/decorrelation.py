"""The K iterations after a growth: steps that make the filters of each layer less alike (Sakai & Hotta 2024, §3).

Flow: apply, **decorrelate**, train. The steps move the weights of the producers alone, on copies that are put in
place at the very end, so whatever goes wrong leaves the model as it was. Notebook 04.

How far do they go? ``lr`` (0.1 unless given; the paper does not tell) makes w ← w − lr · gradient, so K is a dose,
another one in every layer and for every penalty. ``movement`` makes it a fair one: every step of a layer is
movement/k · ‖W‖ long (W: before the steps), whatever the gradient's size. K steps in one direction move the layer by
exactly ``movement``; a path that bends, or hovers around the minimum, ends nearer. Compare penalties at equal movement,
and look at what the trace measured. A layer without a force stays where it is.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from inspect import signature
from itertools import islice

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from growlab.checks import flag, number, one_of, whole
from growlab.data.batches import endless
from growlab.machine import like
from growlab.norms import refresh_statistics
from growlab.penalties import CHANGES, PENALTIES, change_and_gradient, penalty_and_gradient
from growlab.plans import GrowthPlan
from growlab.seeds import random_stream
from growlab.similarity import twin_angle, unit_rows
from growlab.structure.units import growable, units
from growlab.watching import evaluating


def decorrelate(
    model: nn.Module, k: int = 20, *, penalty: str = "absolute", weight_change: str = "sum",
    penalty_strength: float = 1.0, change_strength: float = 1.0, previous: str = "before", lr: float | None = None,
    movement: float | None = None, batches: Iterable | None = None, target: str | nn.Module | None = None,
    refresh: bool = False, twins: GrowthPlan | dict | None = None, seed=0, per_layer: bool = False,
) -> pd.DataFrame:  # fmt: skip
    """K steps of plain gradient descent on similarity penalty + weight change, in place; returns the trace.

    For the weight of the producer of every unit, its filters as rows (one of several readings: depthwise layers and the
    read-out are not included). Biases, statistics, the optimiser's state, gradients, modes and hooks stay. Weights with
    ``requires_grad=False`` are left alone. How far the steps go, by ``lr`` or ``movement``: see the module.

    The loss sums ``penalty_strength`` · Eq. 3 + ``change_strength`` · Eq. 4 over the layers. Two readings of Eq. 3 fit
    the paper: "absolute", the mean "approaches 0" (§3.1, §5), and "mean_absolute", the "average absolute value" falls
    (§4.2), with more cosines near 0 (Fig. 6). The first is the default. "random" is a placebo: a fixed direction (by
    ``seed``) for each layer. Eq. 4 compares with the weights ``previous`` to all steps ("before") or to the last one
    ("iteration"). Without batches Eq. 4 alone moves nothing, since it starts at its minimum.

    ``batches`` of (pictures, labels), repeated if there are fewer than k + 1, one for each row of the trace. Alone they
    only measure: the drift of the outputs, mean square change / variance. ``target="labels"`` adds the cross-entropy to
    the loss; "outputs" adds the drift, to keep the outputs of before the steps, or of another model, given as
    ``target``. All in eval mode. ``refresh=True`` re-estimates the batch-norm statistics from these batches afterwards.

    The trace has k + 1 rows, before and after each step: step, penalty, weight_change, movement (‖W − W before‖ /
    ‖W before‖), averaged over the layers; twin_angle in radians if ``twins`` are given, as the last plan or as
    {unit: [(neuron, neuron)]}; loss or drift. ``per_layer=True``: a row for each step and layer.

    A layer with one neuron has nothing to do: penalty 0. Filters of zeros have no similarity and stay. Raises
    ``ValueError`` for options out of range and twins that are not there, ``FloatingPointError`` if a loss or a weight
    becomes NaN or infinite; the model is as it was then. ``k = 0`` only looks. Notebook 04.
    """
    _check(k, penalty, weight_change, penalty_strength, change_strength, previous, lr, movement, target, refresh)
    if batches is None and (target is not None or refresh):
        raise ValueError("target= and refresh= need batches=, an iterable of (pictures, labels)")
    if isinstance(batches, Iterable) and iter(batches) is batches:
        batches = list(batches)  # a generator can be read only once
    layers = moving_layers(model, twins, penalty, seed)
    task = _Task(model, layers, target, islice(endless(batches), k + 1)) if batches is not None else None
    rate = 0.1 if lr is None else lr
    length = (lambda layer: rate) if movement is None or not k else (lambda layer: layer.fair(movement / k))
    rows, losses = [], []
    for row, loss in descend(layers, k, length, penalty_strength, change_strength, weight_change, previous, task):
        rows += row
        losses += [loss] if task else []
    losses = torch.stack(losses).tolist() if task else []
    _check_finite(layers, losses, k, rate)
    if k:
        _commit(model, layers, batches if refresh else None)
    trace = _trace(rows, losses, layers, "loss" if target == "labels" else "drift")
    return trace if per_layer else trace.groupby("step", as_index=False).mean(numeric_only=True)


@torch.no_grad()
def descend(layers, k, length, penalty_strength, change_strength, weight_change="sum", previous="before", task=None):
    """The K steps: yields before the first and after each one a row of figures for each layer, and the task's loss.

    ``length(layer)`` is what the layer's gradient is multiplied by in a step.
    """
    for step in range(k + 1):
        loss, slopes = task(step < k) if task else (None, [0] * len(layers))
        rows = []
        for layer, slope in zip(layers, slopes):
            similarity, push = penalty_and_gradient(layer.filters, layer.penalty)  # Eq. 3
            change, pull = change_and_gradient(layer.filters, layer.previous, CHANGES[weight_change])  # Eq. 4
            rows.append(layer.figures(similarity, change))
            layer.gradient = penalty_strength * push + change_strength * pull + slope
        yield rows, loss
        for layer in layers if step < k else ():
            layer.step(length(layer), forget=previous == "iteration")


def check_options(k, options: dict) -> None:
    """Raise ``ValueError`` unless ``decorrelate(model, k, **options)`` can be called by a training loop."""
    for name in options:
        one_of("option of decorrelate", name, [*signature(_check).parameters][1:])
    if isinstance(options.get("target"), nn.Module):
        raise ValueError('target must be "labels" or "outputs" (of the network before growth) here, got a model')
    _check(k, **options)


def _check(
    k, penalty="absolute", weight_change="sum", penalty_strength=1.0, change_strength=1.0, previous="before", lr=None,
    movement=None, target=None, refresh=False,
):  # fmt: skip
    """The options of ``decorrelate``, with its defaults."""
    whole("k", k, 0, "so many steps; the paper tried 1 … 30")
    one_of("penalty", penalty, [*PENALTIES, "random"])
    one_of("weight_change", weight_change, CHANGES)
    one_of("previous", previous, ("before", "iteration"))
    number("penalty_strength", penalty_strength, "[0, inf)", "1 is usual")
    number("change_strength", change_strength, "[0, inf)", "1 is usual")
    if lr is not None and movement is not None:
        raise ValueError(f"give either lr= or movement=, got lr={lr} and movement={movement}")
    flag("refresh", refresh, "True estimates the statistics of batch norm again")
    number("lr", 0 if lr is None else lr, "[0, inf)", "0.1 is usual")
    number("movement", 0 if movement is None else movement, "[0, inf)", "0.1 moves a layer by 10 % of its length")
    if not isinstance(target, nn.Module) and target is not None:
        one_of("target", target, ("labels", "outputs"))


# The parts


@dataclass(eq=False)
class MovingLayer:
    """The filters of one unit's producer on their way, as rows ``(n, D)``; ``start`` is where they come from."""

    name: str
    parameter: nn.Parameter
    axis: int  # of the neurons, in the parameter
    penalty: object
    pairs: Tensor | None  # (2, pairs): neurons that come from one
    start: Tensor

    def __post_init__(self):
        self.filters = self.previous = self.start
        self.size, self.gradient = self.start.norm(), None

    @classmethod
    def of(cls, unit, pairs, penalty, seed):
        start = unit.weight.clone(memory_format=torch.contiguous_format)
        start = start.float() if start.dtype in (torch.float16, torch.bfloat16) else start
        if not start.isfinite().all():
            raise ValueError(f"{unit.name} holds weights that are NaN or infinite: nothing can be compared with them")
        stream = random_stream(seed, "placebo", unit.name)
        function = _placebo(start, stream) if penalty == "random" else PENALTIES[penalty]
        pairs = torch.tensor(pairs, device=start.device).T if pairs else None
        if pairs is not None and not 0 <= pairs.min() <= pairs.max() < unit.neurons:
            named = f"twins name neuron {pairs.max().item()} of {unit.name}, which has {unit.neurons}"
            raise ValueError(f"{named}: apply the plan first, and pass the last one")
        return cls(unit.name, unit.producer, unit.filters.axis, function, pairs, start)

    def figures(self, similarity, change):
        """One row of the trace, as scalars that stay on the device."""
        moved = (self.filters - self.start).norm() / self.size.masked_fill(self.size == 0, math.inf)
        row = [similarity, change, moved]
        return row if self.pairs is None else [*row, like(twin_angle(*self.filters[self.pairs]).mean(), moved)]

    def fair(self, share):
        """The factor that makes a step ``share`` times as long as the weights were; 0 where there is no force."""
        steepness = self.gradient.norm()
        noise = 16 * torch.finfo(steepness.dtype).eps  # what rounding leaves of a gradient of zero, times the size
        return torch.where(steepness * self.size > noise, share * self.size / steepness, 0)

    def step(self, length, forget):
        """``forget``: Eq. 4 looks back to the last step, and no further."""
        self.previous = self.filters if forget else self.previous
        self.filters = self.filters - length * self.gradient

    def as_parameter(self, filters):
        moved = self.parameter.movedim(self.axis, 0).shape
        return filters.view(moved).movedim(0, self.axis)


def moving_layers(model, twins, penalty, seed) -> list[MovingLayer]:
    """All layers that the K steps move; ``twins``, ``penalty`` and ``seed`` as in ``decorrelate``."""
    pairs, found = twins.twins if isinstance(twins, GrowthPlan) else twins or {}, growable(model)
    if pairs.keys() - {unit.name for unit in found}:  # those of a residual stream may be there: nothing is done to them
        known = [unit.name for unit in units(model, coupled=True)]
        for name in pairs:
            one_of("unit in twins", name, known)
    layers = [MovingLayer.of(unit, pairs.get(unit.name), penalty, seed) for unit in found]
    return [layer for layer in layers if layer.parameter.requires_grad]


class _Task:
    """What the batches ask of the network: its loss, and the slope of it for each layer's filters ``(n, D)``."""

    def __init__(self, model, layers, target, batches):
        self.model, self.layers, self.target, self.batches = model, layers, target, batches
        self.teacher = target if isinstance(target, nn.Module) else model

    def __call__(self, with_slopes):
        images, labels = next(self.batches)
        with_slopes = with_slopes and self.target is not None
        with evaluating(self.model, self.teacher), torch.set_grad_enabled(with_slopes):
            leaves = [layer.filters.detach().requires_grad_(with_slopes) for layer in self.layers]
            pairs = zip(self.layers, leaves)
            weights = {f"{of.name}.weight": of.as_parameter(leaf).to(of.parameter.dtype) for of, leaf in pairs}
            outputs = torch.func.functional_call(self.model, weights, (images,))  # the model itself stays as it is
            if self.target == "labels":
                loss = F.cross_entropy(outputs, labels)
            else:
                with torch.no_grad():
                    wanted = self.teacher(images)
                loss = (outputs - wanted).square().mean() / wanted.var().clamp_min(torch.finfo(wanted.dtype).tiny)
            slopes = torch.autograd.grad(loss, leaves, materialize_grads=True) if with_slopes else [0] * len(leaves)
        return loss.detach(), slopes


def _placebo(filters, stream):
    """A penalty without meaning: a random direction for every filter, of the length that "signed" has at random."""
    direction = like(torch.randn(filters.shape, generator=stream, dtype=torch.float64), filters)
    direction = unit_rows(direction)[0] * (2 / len(filters))
    return lambda rows: ((direction * rows).sum(), direction)


def _check_finite(layers, losses, k, rate):
    broken = [layer.name for layer in layers if not layer.filters.norm().isfinite()]  # also too large to be squared
    if broken or not all(map(math.isfinite, losses)):
        what = f"weights of {', '.join(broken)}" if broken else "the loss"
        hint = f"lower lr (it is {rate}), or give movement=; the model is as it was"
        raise FloatingPointError(f"the {k} steps went astray ({what} became NaN or infinite): {hint}")


def _trace(rows, losses, layers, name):
    columns = ["penalty", "weight_change", "movement", "twin_angle"]
    values = iter(torch.stack([value for row in rows for value in row]).tolist() if rows else ())  # one wait for all
    table = []
    for i, row in enumerate(rows):
        step, layer = divmod(i, len(layers))
        table.append({"step": step, "layer": layers[layer].name, **{c: next(values) for c, _ in zip(columns, row)}})
    trace = pd.DataFrame(table, columns=["step", "layer", *columns[: max(map(len, rows), default=3)]])
    return trace.assign(**{name: trace["step"].map(dict(enumerate(losses)))}) if losses else trace


@torch.no_grad()
def _commit(model, layers, batches):
    before = [layer.parameter.clone() for layer in layers]
    try:
        for layer in layers:
            layer.parameter.copy_(layer.as_parameter(layer.filters))
        if batches is not None:
            refresh_statistics(model, batches)
    except BaseException:
        for layer, weight in zip(layers, before):
            layer.parameter.copy_(weight)
        raise
