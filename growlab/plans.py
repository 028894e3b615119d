"""Growth plans: which neurons a network would gain, decided before anything changes.

A method of growth *proposes* candidates with scores; a plan keeps the best within a budget; ``apply`` builds
exactly those. Methods differ only in what they propose (flow: units, **propose, plan, apply**, train; notebooks
01 to 03).
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from math import nan

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from growlab import gating
from growlab.checks import number, resolved, whole
from growlab.costs import TensorCost, costs_of, size_of
from growlab.structure.units import Edit, units_with
from growlab.surgery import widen

METHODS = {  # name -> function; anything with the same signature can be passed instead of a name
    "random": "growlab.methods.random_growth:fresh",
    "net2net": "growlab.methods.random_growth:net2net",
    "splitting": "growlab.methods.splitting:splitting",
    "firefly": "growlab.methods.firefly:firefly",
    "gradmax": "growlab.methods.gradmax:gradmax",
}


@dataclass(frozen=True)
class Candidate:
    """One possible new neuron of a unit.

    ``parent`` is the neuron that it continues (index before growth), None for a fresh one. ``values`` gives its
    rows and columns by edit, each for the *old* shape of the other axes: for a child the difference to the parent
    (which moves the other way), for a fresh neuron the values themselves. Higher scores are better.
    """

    unit: str
    parent: int | None = None
    score: float = 0.0
    values: dict[Edit, Tensor] = field(default_factory=dict, repr=False, compare=False)

    @property
    def kind(self) -> str:
        return "fresh" if self.parent is None else "split" if self.values else "copy"


@dataclass(frozen=True)
class GrowthPlan:
    """Candidates for a model with these ``widths`` (neurons by unit, before growth), best first.

    ``nats``: whether a score is the decrease of the loss that the candidate promises, in nats per picture.
    """

    method: str
    widths: dict[str, int]
    candidates: tuple[Candidate, ...]
    costs: tuple[TensorCost, ...] = field(default=(), repr=False)
    refused: tuple[tuple[Candidate, str], ...] = field(default=(), repr=False)  # by ``gate``, each with the reason
    nats: bool = True

    @property
    def neurons(self) -> int:
        """How many neurons the plan adds."""
        return len(self.candidates)

    @property
    def widths_after(self) -> dict[str, int]:
        added = self._added(self.neurons)
        return {unit: width + added[unit] for unit, width in self.widths.items()}

    @property
    def parameters(self) -> int:
        """How many parameters the grown network has."""
        return self.size("parameters", self.neurons)

    def size(self, what: str, neurons: int = 0) -> int:
        """ "parameters" or "flops" (multiply-adds per picture) of the network with the first so many candidates."""
        if not self.costs:
            raise ValueError(f"this plan does not know its costs: make it with gl.propose to use {what}=")
        return size_of(self.costs, what, self._added(neurons))

    def table(self) -> pd.DataFrame:
        """A row per new neuron: its unit, its parent (-1: none), its kind, score, and the index it will have."""
        index, rows = Counter(self.widths), []
        for c in self.candidates:
            parent = -1 if c.parent is None else c.parent
            rows.append({"unit": c.unit, "parent": parent, "kind": c.kind, "score": c.score, "neuron": index[c.unit]})
            index[c.unit] += 1
        return pd.DataFrame(rows, columns=["unit", "parent", "kind", "score", "neuron"])

    @property
    def twins(self) -> dict[str, list[tuple[int, int]]]:
        """Pairs (parent, child) by unit, by their indices after growth."""
        return twins_of(self.table())

    def within(self, rate=None, *, neurons=None, parameters=None, flops=None, per_unit=False) -> "GrowthPlan":
        """The best candidates within one budget; give exactly one.

        ``rate``: round(rate · neurons of the units that can grow), over the whole network, or all candidates where a
        method found fewer worth building (``plan.neurons`` tells). ``neurons``: exactly so many. ``parameters``,
        ``flops`` (multiply-adds per picture): as many as fit if the *grown network* may have so many.
        ``per_unit=True`` shares the number over the units in proportion to their widths.
        """
        given = {"rate": rate, "neurons": neurons, "parameters": parameters, "flops": flops}
        given = {name: value for name, value in given.items() if value is not None}
        if len(given) != 1:
            budgets = "rate, neurons, parameters, flops"
            raise ValueError(f"within takes exactly one budget ({budgets}), got {given or 'none'}")
        ranked = replace(self, candidates=tuple(sorted(self.candidates, key=lambda c: -c.score)))
        ((name, budget),) = given.items()
        if name == "rate":
            neurons = round(growth_rate(rate) * sum(self.widths.values()))
        elif name != "neurons":
            least = self.size(name)
            number(name, budget, f"[{least}, inf)", "it must be at least what the network has already")
            neurons = bisect_right(range(self.neurons + 1), budget, key=lambda count: ranked.size(name, count)) - 1
        whole("neurons", neurons, 0, f"the plan has {self.neurons} candidates")
        if neurons > self.neurons and rate is None:
            hint = "ask for fewer, or propose more"
            raise ValueError(f"the plan has {self.neurons} candidates, {neurons} were asked for: {hint}")
        if per_unit:
            return ranked._per_unit(neurons, exact=rate is None)
        return replace(ranked, candidates=ranked.candidates[:neurons])

    def gate(
        self, model: nn.Module, max_cosine: float = 0.9, *, on="weights", batches=None, soft=False, seed=0
    ) -> "GrowthPlan":
        """Similarity-gated growth: without the candidates that are too much like other neurons of their unit.

        Best first, a candidate is compared, as it would be built, with all neurons there and all candidates that
        were let in before it: refused if any cosine is above ``max_cosine``, in [0, 1]. ``on="weights"`` compares
        filters; "activations" the correlation of what they put out for ``batches`` of (pictures, labels), before
        batch norm; "both" the smaller of the two. ``soft=True``: the chance to get in falls from 1 at ``max_cosine``
        to 0 for an exact copy (by ``seed``). Call it before ``within``, so that the budget goes to others; what it
        refuses is in ``plan.refused``, with the reason. The model is left as it is.

        From a second-hand summary, not from the paper (notebook 04). Raises ``ValueError`` for options out
        of range, missing or empty batches, and a model of other widths.
        """
        candidates = sorted(self.candidates, key=lambda candidate: -candidate.score)
        found = units_with(model, self.widths)
        accepted, refused = gating.gate(
            model, found, candidates, max_cosine, on=on, batches=batches, soft=soft, seed=seed
        )
        return replace(self, candidates=tuple(accepted), refused=(*self.refused, *refused))

    def _per_unit(self, neurons, exact):
        left = share_out(neurons, self.widths)
        chosen = []
        for candidate in self.candidates:
            if left[candidate.unit] > 0:
                left[candidate.unit] -= 1
                chosen.append(candidate)
        if exact and any(left.values()):
            short = {unit: missing for unit, missing in left.items() if missing}
            raise ValueError(f"too few candidates for an equal share of every unit, missing: {short}; propose more")
        return replace(self, candidates=tuple(chosen))

    def _added(self, neurons):
        return Counter(candidate.unit for candidate in self.candidates[:neurons])


def propose(method: str | Callable, model: nn.Module, batches: Iterable | None = None, **options) -> GrowthPlan:
    """Candidates for growth with their scores; the model is left as it is.

    ``method``: "random" or "net2net" (no batches needed), "splitting", "firefly", "gradmax", or your own function
    ``(model, batches, **options) -> GrowthPlan``, or its name, "package.module:function". ``options`` go to it. Raises
    ``ValueError`` for an unknown method and for a model in which nothing can grow.
    """
    plan = resolved("method", method, METHODS)(model, batches, **options)
    return replace(plan, costs=costs_of(model, plan.widths, batches))


def apply(model: nn.Module, plan: GrowthPlan, optimizer: torch.optim.Optimizer | None = None) -> GrowthPlan:
    """Build exactly what the plan says, in place; parameters stay the same objects and the optimiser follows.

    The same plan can be applied to a copy of the model (an average of its weights, say). Returns the plan. Raises
    ``ValueError`` if the model has other widths than the plan was made for; then nothing has changed.
    """
    found, new = units_with(model, plan.widths), {}
    for candidate in plan.candidates:
        new.setdefault(found[candidate.unit], []).append(candidate)
    if new:  # a method may find nothing worth building
        widen(model, new, optimizer)
    return plan


def twins_of(table) -> dict[str, list[tuple[int, int]]]:
    """Pairs (parent, child) by unit, of a plan's table or of what a record keeps of it."""
    twins = {}
    for unit, parent, neuron in zip(table["unit"], table["parent"], table["neuron"]):
        if parent >= 0:
            twins.setdefault(unit, []).append((parent, neuron))
    return twins


def growth_rate(rate: float) -> float:
    """A checked rate."""
    return number("growth rate", rate, "(0, 1]", "0.35 adds 35 % of the neurons")


def share_out(total: int, widths: dict[str, int]) -> dict[str, int]:
    """Share ``total`` over units in proportion to their widths, exactly: largest remainders, ties in order."""
    exact = {unit: total * width / sum(widths.values()) for unit, width in widths.items()}
    shares = {unit: int(quota) for unit, quota in exact.items()}
    by_remainder = sorted(exact, key=lambda unit: shares[unit] - exact[unit])
    for unit in by_remainder[: total - sum(shares.values())]:
        shares[unit] += 1
    return shares


@torch.no_grad()
def preview(model: nn.Module, plan: GrowthPlan, batch: tuple[Tensor, Tensor]) -> tuple[float, float]:
    """What a plan promises and what it does: ``(predicted, actual)`` change of the loss; the model is left as it is.

    ``batch``: (images, labels). Both are changes of the mean cross-entropy in eval mode, in nats per picture, so good
    growth is negative. ``predicted`` is minus the sum of the scores, as if candidates did not meet each other; nan for
    a plan whose scores are no nats, such as the random numbers of "net2net". ``actual`` is measured on a copy that
    has grown. Notebook 03.
    """
    images, labels = batch
    grown = deepcopy(model).eval()
    before = F.cross_entropy(grown(images), labels)
    apply(grown, plan)
    actual = F.cross_entropy(grown(images), labels) - before
    return -sum(c.score for c in plan.candidates) if plan.nats else nan, actual.item()
