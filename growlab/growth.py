"""When a network grows and by how much, and one growth event: propose, gate, budget, apply, K steps.

Between ``apply`` and ``train`` in the flow: ``train`` calls it after an epoch. Notebooks 00 and 02.
"""

import copy
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from inspect import signature
from itertools import islice

from growlab.checks import flag, number, one_of, plain, resolved, whole
from growlab.decorrelation import check_options, decorrelate
from growlab.gating import check_gate
from growlab.models import parameter_count
from growlab.plans import METHODS, GrowthPlan, apply, growth_rate, propose
from growlab.seeds import seeded

WHEN = ("after_growth", "every_epoch")
BUDGETS = ("neurons", "parameters", "flops")
REFRESH_BATCHES = 32  # for new batch-norm statistics after the K steps


@dataclass(frozen=True)
class Growth:
    """When and how a network grows: ``rate`` more neurons by ``method``, ``every`` so many epochs or ``at`` given ones.

    ``every=50`` in 250 epochs means after 50, 100, 150 and 200 (the paper's §4.1). ``options`` go to the method.
    ``per_unit`` gives every unit its share of the budget; otherwise the best scores of the whole network win.
    ``budget="parameters"`` or "flops" (multiply-adds per picture) makes ``rate`` the share by which those may grow.

    ``k`` steps of ``decorrelate`` follow each growth (the paper's K; 0: none), or, with ``when="every_epoch"``, every
    epoch but the last, whether or not it grew. ``decorrelate`` holds that function's options, e.g.
    ``{"penalty": "square", "movement": 0.1}``; its batches are training pictures.

    ``gate`` keeps candidates out that are too much like other neurons: a largest cosine, or the options of
    ``GrowthPlan.gate``, e.g. ``{"max_cosine": 0.9, "on": "both"}``. Then fewer neurons than the budget may come.
    ``then`` is a function of your own ``(model, optimizer, history)``, or its name "package.module:function": it is
    called after each growth, before the K steps, to treat the grown network otherwise.

    ``until`` ends growth at a size or a performance: a whole number of parameters, or a validation accuracy in (0, 1].
    """

    method: str | Callable = "random"
    rate: float = 0.35
    every: int | None = None
    at: tuple[int, ...] = ()
    per_unit: bool = False
    options: dict = field(default_factory=dict)
    k: int = 0
    decorrelate: dict = field(default_factory=dict)
    when: str = "after_growth"
    gate: float | dict | None = None
    until: float | int | None = None
    budget: str = "neurons"
    then: str | Callable | None = None

    def __post_init__(self):
        vars(self).update(plain(vars(self)))  # frozen for others
        growth_rate(self.rate)
        one_of("budget", self.budget, BUDGETS)
        one_of("when", self.when, WHEN)
        flag("per_unit", self.per_unit, "True gives every unit its share")
        for name, known in (("method", METHODS), ("then", {None: ""})):
            value = getattr(self, name)
            callable(value) or ":" in str(value) or one_of(name, value, known)
        vars(self)["at"] = moments(self.at)
        if (self.every is None) == (not self.at):
            raise ValueError(f"give either every= or at=, got every={self.every}, at={self.at}")
        if self.every is not None:
            whole("every", self.every, 1, "it grows after so many epochs, and after twice as many, …")
        check_options(self.k, self.decorrelate)
        if self.gate is not None:
            for name in self.gate_options:
                one_of("option of gate", name, ("max_cosine", "on", "soft"))
            check_gate(**self.gate_options)
        if isinstance(self.until, float):
            number("until", self.until, "(0, 1]", "a validation accuracy, or a whole number of parameters")
        elif self.until is not None:
            whole("until", self.until, 1, "a number of parameters, or a validation accuracy in (0, 1]")

    def within(self, plan: GrowthPlan) -> GrowthPlan:
        """The best candidates within the budget."""
        if self.budget == "neurons":
            return plan.within(self.rate, per_unit=self.per_unit)
        return plan.within(**{self.budget: int(plan.size(self.budget) * (1 + self.rate))}, per_unit=self.per_unit)

    @property
    def gate_options(self) -> dict:
        return dict(self.gate) if isinstance(self.gate, dict) else {"max_cosine": self.gate}

    def enough(self, row: dict) -> bool:
        """Whether the network of this row of the history is as large or as good as wanted."""
        if self.until is None:
            return False
        return row["val_accuracy" if isinstance(self.until, float) else "parameters"] >= self.until

    def epochs(self, total: int) -> tuple[int, ...]:
        """After which epochs a run of ``total`` epochs grows."""
        if self.at and not 0 < self.at[0] <= self.at[-1] < total:
            raise ValueError(f"at must lie within 1 … {total - 1} for a run of {total} epochs, got {self.at}")
        return self.at or tuple(range(self.every, total, self.every))


def moments(at: Iterable[int]) -> tuple[int, ...]:
    """The epochs of ``at``, in order, each once."""
    if not isinstance(at, Iterable):
        raise ValueError(f"at must be several epochs, got {at!r}: one is at=({at},)")
    at = plain(tuple(at))
    for epoch in at:
        whole("each epoch in at", epoch, 1, "it grows after these")
    return tuple(sorted(set(at)))


def after_epoch(growth, model, data, optimizer, history, row, recipe) -> dict:
    """Grow if it is time, then take the K steps; the history notes both. Returns the seconds of each, without notes.

    ``row``: the epoch's own, for the history; ``recipe``: how the whole run is trained.
    """
    epoch, epochs, seed, batch_size, seconds = row["epoch"], recipe.epochs, recipe.seed, recipe.batch_size, {}
    grows = epoch in growth.epochs(epochs) and not growth.enough(row)
    steps = growth.k and (grows or (growth.when == "every_epoch" and epoch < epochs))
    before = copy.deepcopy(model) if steps and growth.decorrelate.get("target") == "outputs" else None
    if grows:
        history.note_similarity(model, epoch, "before growth")
        seconds["growth"] = _grow(growth, model, data, optimizer, history, epoch, seed, batch_size)
        history.note_similarity(model, epoch, "after growth")
    if steps:
        batches = data.batches("train", batch_size, seed=(seed, "penalty", epoch))
        seconds["decorrelation"] = _take_steps(growth, model, batches, history, epoch, (seed, "penalty", epoch), before)
        if grows:
            history.note_similarity(model, epoch, "after decorrelation")
    return seconds


def _grow(growth, model, data, optimizer, history, epoch, seed, batch_size):
    started, stream = time.perf_counter(), (seed, "proposal", epoch)
    batches = data.batches("train", batch_size, seed=stream)
    takes_seed = "seed" in signature(resolved("method", growth.method, METHODS)).parameters
    options = ({"seed": stream} if takes_seed else {}) | growth.options
    with seeded(*stream):
        plan = propose(growth.method, model, batches, **options)
    if growth.gate is not None:
        options = {"seed": (seed, "gate", epoch)} | growth.gate_options
        compares_outputs = options.get("on", "weights") != "weights"
        plan = plan.gate(model, batches=islice(batches, 1) if compares_outputs else None, **options)
    plan = growth.within(plan)
    apply(model, plan, optimizer)
    event = {
        "epoch": epoch, "method": plan.method, "neurons": plan.neurons, "widths": plan.widths_after,
        "parameters": parameter_count(model), "seconds": time.perf_counter() - started,
        "new": plan.table().to_dict("list"), **({} if growth.gate is None else {"refused": len(plan.refused)}),
    }  # fmt: skip
    history.growths.append(event)
    if growth.then:
        resolved("then", growth.then, {})(model, optimizer, history)
    return event["seconds"]


def _take_steps(growth, model, batches, history, epoch, seed, before):
    started, options = time.perf_counter(), dict(growth.decorrelate)
    if options.get("target") or options.get("refresh"):
        options["batches"] = list(islice(batches, max(growth.k + 1, REFRESH_BATCHES * bool(options.get("refresh")))))
    if before is not None:
        options["target"] = before
    trace = decorrelate(model, growth.k, twins=history.twins, seed=seed, **options)
    seconds = time.perf_counter() - started
    first, last = trace.iloc[[0, -1]].to_dict("records")
    history.decorrelations.append({"epoch": epoch, "first": first, "last": last, "seconds": seconds})
    return seconds
