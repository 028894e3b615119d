"""The K iterations after a growth: steps that make the filters of each layer less alike (Sakai & Hotta 2024, §3).

Flow: apply, **decorrelate**, train. The steps move the weights of the producers alone, on copies that are put in
place at the very end, so whatever goes wrong leaves the model as it was. Notebook 04.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from inspect import signature
from itertools import cycle, islice

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from growlab.checks import one_of
from growlab.models import evaluating
from growlab.penalties import CHANGES, PENALTIES, change_and_gradient, penalty_and_gradient
from growlab.plans import GrowthPlan
from growlab.seeds import random_stream
from growlab.similarity import twin_angle, unit_rows
from growlab.structure.units import growable, units

TARGETS = ("labels", "outputs")
PREVIOUS = ("before", "iteration")


def decorrelate(
    model: nn.Module,
    k: int = 20,
    *,
    penalty: str = "absolute",
    weight_change: str = "sum",
    penalty_strength: float = 1.0,
    change_strength: float = 1.0,
    previous: str = "before",
    lr: float | None = None,
    movement: float | None = None,
    batches: Iterable | None = None,
    target: str | nn.Module | None = None,
    refresh: bool = False,
    twins: GrowthPlan | dict | None = None,
    seed=0,
    per_layer: bool = False,
) -> pd.DataFrame:
    """K steps of plain gradient descent on similarity penalty + weight change, in place; returns the trace.

    For the weight of the producer of every unit, its filters as rows (one of several readings: depthwise layers and the
    read-out are not included). Biases, batch-norm statistics and everything else stay; so do the optimiser's state,
    gradients, modes and hooks. Weights with ``requires_grad=False`` are left alone.

    The loss is the sum over the layers of ``penalty_strength`` · Eq. 3 + ``change_strength`` · Eq. 4. The default
    penalty, "absolute", is the one reading under which the paper's words for Eq. 3 agree: the mean of the map
    "approaches 0" (§3.1, §5) and an "absolute value" is minimised (§4.2, §4.3). "random" is a placebo: a fixed
    random direction (by ``seed``) for each layer. Eq. 4 compares with the weights ``previous`` to all steps
    ("before") or to the last one ("iteration"). Without batches Eq. 4 alone moves nothing, since it starts at its
    minimum.

    How far: ``lr`` (0.1 unless given; the paper does not tell) makes w ← w − lr · gradient, so K is a dose, another
    one in every layer and for every penalty. ``movement`` makes it a fair one: every step of a layer is
    movement/k · ‖W‖ long (W: before the steps), whatever the gradient's size, so K steps in one direction move the
    layer by exactly ``movement``; a path that bends, or hovers around the minimum, ends nearer. Compare penalties
    at equal movement, and look at what the trace measured. A layer without a force stays where it is.

    ``batches`` of (pictures, labels), repeated if there are fewer than k + 1, one for each row of the trace. Alone
    they only measure: the drift of the outputs, mean square change / variance. ``target="labels"`` adds the
    cross-entropy to the loss; ``target="outputs"`` adds the drift, to keep the outputs of before the steps, or of
    another model, given as ``target`` (a copy made before growth). All in eval mode. ``refresh=True`` re-estimates the
    batch-norm statistics from these batches afterwards (``refresh_statistics``).

    The trace has k + 1 rows, before and after each step: step, penalty, weight_change, movement
    (‖W − W before‖ / ‖W before‖), averaged over the layers; twin_angle in radians if ``twins`` are given, as the last
    plan or as {unit: [(neuron, neuron)]}; loss or drift. ``per_layer=True``: a row for each step and layer.

    A layer with one neuron has nothing to do: penalty 0. Filters of zeros have no similarity and stay. Raises
    ``ValueError`` for options out of range, an empty iterable of batches, twins that are not there, weights that are
    not finite and a model without units, ``FloatingPointError`` if a loss or a weight becomes NaN or infinite; the
    model is as it was then. ``k = 0`` only looks. Notebook 04.
    """
    _check(k, penalty, weight_change, penalty_strength, change_strength, previous, lr, movement, target)
    if batches is None and (target is not None or refresh):
        raise ValueError("target= and refresh= need batches=, an iterable of (pictures, labels)")
    if isinstance(batches, Iterable) and iter(batches) is batches:
        batches = list(batches)  # a generator can be read only once
    pairs = _pairs(twins)
    found = growable(model)
    if pairs.keys() - {unit.name for unit in found}:  # those of a residual stream may be there: nothing is done to them
        known = [unit.name for unit in units(model, coupled=True)]
        for name in pairs:
            one_of("unit in twins", name, known)
    layers = [MovingLayer.of(unit, pairs.get(unit.name), penalty, seed) for unit in found]
    layers = [layer for layer in layers if layer.parameter.requires_grad]
    task = _Task(model, layers, target) if batches is not None else None
    pictures = _some(batches, k + 1) if batches is not None else [None] * (k + 1)
    rate, record, losses = 0.1 if lr is None else lr, [], []
    with torch.no_grad():
        for step, batch in enumerate(pictures):
            loss, slopes = task(batch, step < k) if task else (None, [None] * len(layers))
            losses += [loss] if task else []
            for layer, slope in zip(layers, slopes):
                similarity, push = penalty_and_gradient(layer.filters, layer.penalty)  # Eq. 3
                change, pull = change_and_gradient(layer.filters, layer.previous, CHANGES[weight_change])  # Eq. 4
                record.append(layer.figures(similarity, change))
                if step == k:
                    continue
                gradient = penalty_strength * push + change_strength * pull
                if slope is not None:
                    gradient = gradient + slope
                length = rate if movement is None else layer.fair(gradient, movement / k)
                if previous == "iteration":
                    layer.previous = layer.filters
                layer.filters = layer.filters - length * gradient
    losses = torch.stack(losses).tolist() if task else []
    broken = [layer.name for layer in layers if not layer.filters.norm().isfinite()]  # also too large to be squared
    if broken or not all(map(math.isfinite, losses)):
        raise FloatingPointError(
            f"the {k} steps went astray ({'weights of ' + ', '.join(broken) if broken else 'the loss'} became NaN or "
            f"infinite): lower lr (it is {rate}), or give movement=; the model is as it was"
        )
    if k:
        _commit(model, layers, batches if refresh else None)
    trace = _trace(record, losses, layers, k, "loss" if target == "labels" else "drift")
    return trace if per_layer else trace.groupby("step", as_index=False).mean(numeric_only=True)


@torch.no_grad()
def refresh_statistics(model: nn.Module, batches: Iterable) -> None:
    """Estimate all running statistics of batch normalisation anew, in place: averages over ``batches``.

    Steps on weights alone make them stale. ``batches`` of (pictures, labels); every batch counts alike. Nothing else
    changes, neither modes nor weights; dropout is off. Raises ``ValueError`` for an empty iterable; if anything
    fails half-way the statistics are as they were.
    """
    norms = [
        m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.running_mean is not None
    ]
    before = [(norm.momentum, {name: buffer.clone() for name, buffer in norm.named_buffers()}) for norm in norms]
    with evaluating(model):
        try:
            for norm in norms:
                norm.reset_running_stats()
                norm.momentum = None  # a plain average
                norm.training = True
            for images, _ in _some(batches):
                model(images)
            if not all(buffer.isfinite().all() for norm in norms for buffer in norm.buffers()):
                raise FloatingPointError("statistics became NaN or infinite: look at the pictures and the weights")
        except BaseException:
            for norm, (_, buffers) in zip(norms, before):
                for name, buffer in norm.named_buffers():
                    buffer.copy_(buffers[name])
            raise
        finally:
            for norm, (momentum, _) in zip(norms, before):
                norm.momentum = momentum


def check_options(k, options: dict) -> None:
    """Raise ``ValueError`` unless ``decorrelate(model, k, **options)`` can be called by a training loop."""
    known = signature(decorrelate).parameters
    usable = [name for name in known if name not in ("model", "k", "batches", "twins", "seed", "per_layer")]
    for name in options:
        one_of("option of decorrelate", name, usable)
    if isinstance(options.get("target"), nn.Module):
        raise ValueError('target must be "labels" or "outputs" (of the network before growth) here, got a model')
    values = {name: options.get(name, known[name].default) for name in signature(_check).parameters if name != "k"}
    _check(k, **values)


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
    filters: Tensor
    previous: Tensor
    size: Tensor  # ‖start‖

    @classmethod
    def of(cls, unit, pairs, penalty, seed):
        filters = unit.weight.clone(memory_format=torch.contiguous_format)
        filters = filters.float() if filters.dtype in (torch.float16, torch.bfloat16) else filters
        if not filters.isfinite().all():
            raise ValueError(f"{unit.name} holds weights that are NaN or infinite: nothing can be compared with them")
        axis = next(edit.axis for edit in unit.edits if edit.kind == "copy")
        function = (
            _placebo(filters, random_stream(seed, "placebo", unit.name)) if penalty == "random" else PENALTIES[penalty]
        )
        pairs = torch.tensor(pairs, device=filters.device).T if pairs else None
        if pairs is not None and not 0 <= pairs.min() <= pairs.max() < unit.neurons:
            raise ValueError(
                f"twins name neuron {pairs.max().item()} of {unit.name}, which has {unit.neurons}: apply the plan first, and pass "
                "the last one"
            )
        return cls(unit.name, unit.producer, axis, function, pairs, filters, filters, filters, filters.norm())

    def figures(self, similarity, change):
        """One row of the trace, as scalars that stay on the device."""
        moved = (self.filters - self.start).norm() / self.size.masked_fill(self.size == 0, math.inf)
        row = [similarity, change, moved]
        return row if self.pairs is None else [*row, twin_angle(*self.filters[self.pairs]).mean().to(moved.dtype)]

    def fair(self, gradient, share):
        """The factor that makes a step ``share`` times as long as the weights were; 0 where there is no force."""
        steepness = gradient.norm()
        noise = 16 * torch.finfo(gradient.dtype).eps  # what rounding leaves of a gradient of zero, times the size
        return torch.where(steepness * self.size > noise, share * self.size / steepness, 0)

    def as_parameter(self, filters):
        moved = self.parameter.movedim(self.axis, 0).shape
        return filters.view(moved).movedim(0, self.axis)


class _Task:
    """What the batches ask of the network: its loss, and the slope of it for each layer's filters ``(n, D)``."""

    def __init__(self, model, layers, target):
        self.model, self.layers, self.target = model, layers, target
        self.teacher = target if isinstance(target, nn.Module) else model

    def __call__(self, batch, with_slopes):
        images, labels = batch
        with_slopes = with_slopes and self.target is not None
        with evaluating(self.model, self.teacher), torch.set_grad_enabled(with_slopes):
            leaves = [layer.filters.detach().requires_grad_(with_slopes) for layer in self.layers]
            weights = {
                f"{layer.name}.weight": layer.as_parameter(leaf).to(layer.parameter.dtype)
                for layer, leaf in zip(self.layers, leaves)
            }
            outputs = torch.func.functional_call(self.model, weights, (images,))  # the model itself stays as it is
            if self.target == "labels":
                loss = F.cross_entropy(outputs, labels)
            else:
                with torch.no_grad():
                    wanted = self.teacher(images)
                loss = (outputs - wanted).square().mean() / wanted.var().clamp_min(torch.finfo(wanted.dtype).tiny)
            slopes = torch.autograd.grad(loss, leaves, materialize_grads=True) if with_slopes else [None] * len(leaves)
        return loss.detach(), slopes


def _placebo(filters, stream):
    """A penalty without meaning: a random direction for every filter, of the length that "signed" has at random."""
    direction = torch.randn(filters.shape, generator=stream, dtype=torch.float64).to(filters)
    direction, _ = unit_rows(direction)
    direction *= 2 / len(filters)
    return lambda rows: ((direction * rows).sum(), direction)


def _pairs(twins):
    if not isinstance(twins, GrowthPlan):
        return twins or {}
    pairs, table = {}, twins.table()
    for unit, parent, neuron in zip(table["unit"], table["parent"], table["neuron"]):
        if parent >= 0:
            pairs.setdefault(unit, []).append((parent, neuron))
    return pairs


def _some(batches, count=None):
    """The first ``count`` batches, from the start again if there are fewer; all of them once if not given."""
    empty = True
    for batch in batches if count is None else islice(cycle(batches), count):
        empty = False
        yield batch
    if empty:
        raise ValueError("batches are empty: pass an iterable of (pictures, labels)")


def _trace(record, losses, layers, k, name):
    columns = ["penalty", "weight_change", "movement", "twin_angle"]
    values = iter(
        torch.stack([value for row in record for value in row]).tolist() if record else ()
    )  # one wait for all
    rows = [
        {"step": step, "layer": layer.name, **{c: next(values) for c in columns[: 3 if layer.pairs is None else 4]}}
        for step in range(k + 1)
        for layer in layers
    ]
    seen = columns if any(layer.pairs is not None for layer in layers) else columns[:3]
    trace = pd.DataFrame(rows, columns=["step", "layer", *seen])
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


def _check(k, penalty, weight_change, penalty_strength, change_strength, previous, lr, movement, target):
    if isinstance(k, bool) or not isinstance(k, int) or k < 0:
        raise ValueError(f"k must be a whole number of steps, 0 or more, got {k!r}: the paper tried 1 … 30")
    one_of("penalty", penalty, [*PENALTIES, "random"])
    one_of("weight_change", weight_change, CHANGES)
    one_of("previous", previous, PREVIOUS)
    for name, value in {"penalty_strength": penalty_strength, "change_strength": change_strength}.items():
        if not 0 <= value < math.inf:  # False for NaN
            raise ValueError(f"{name} must be 0 or a positive number, got {value}: 1 is usual")
    if lr is not None and movement is not None:
        raise ValueError(f"give either lr= or movement=, got lr={lr} and movement={movement}")
    for name, value in {"lr": lr, "movement": movement}.items():
        if value is not None and not 0 <= value < math.inf:
            raise ValueError(f"{name} must be 0 or a positive number, got {value}")
    if not isinstance(target, nn.Module) and target is not None:
        one_of("target", target, TARGETS)
