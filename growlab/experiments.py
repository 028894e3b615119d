"""Experiments as plain values: a ``Run`` is all that a training depends on, a ``grid`` the runs behind a table.

Beside the flow: ``execute`` (execution.py) trains runs, many at a time; ``results`` and ``summary`` (evidence.py) say
what came of them. Nothing is trained here. Notebook 05.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache
from importlib import import_module
from inspect import signature
from pathlib import Path

import torch
from torch import nn

from . import models
from .data import whole
from .plans import METHODS, GrowthPlan, growable, positions_of, share_out
from .records import plain
from .similarity import check_name
from .training import BUDGETS, PRECISIONS, SCHEDULES, Growth, moments

LAYERS = {"mlp": 2, "vgg5": 4, "vgg16": 13, "mobilenet": 14}  # so many widths a model has
SMALLEST = {"vgg5": 16, "vgg16": 32}  # pictures that are left after so many halvings


@dataclass(frozen=True)
class Run:
    """All that a training depends on. Equal runs end bit-equal (same machine, versions), whoever executes them.

    ``data``, ``limit``, and ``reliability`` and ``shortcut`` (of critters) go to ``load_data``; ``width`` is one number,
    or one for each layer (mlp: the hidden ones). ``method`` None never grows; ``rate``, ``budget``, ``every`` or ``at``
    are those of ``Growth``, and ``options`` the method's. ``k`` to ``refresh`` are the K steps (``decorrelate``);
    ``movement`` is their dose, None for steps of ``steps_lr`` times the gradient. With method None they come at the same
    epochs, to a network that stays as large as it is. The rest goes to ``train``. ``arm`` is a label for tables, and no
    part of the name.

    The seed gives initial weights, order of the data and randomness of growth, a stream for each, so arms share them.
    Raises ``ValueError`` for settings that cannot be trained.
    """

    data: str = "critters"
    limit: int | None = None
    reliability: float | None = None
    shortcut: float | None = None
    model: str = "vgg5"
    width: int | tuple[int, ...] = 4
    method: str | None = None
    rate: float = 0.35
    budget: str = "neurons"
    every: int | None = None
    at: tuple[int, ...] = ()
    options: dict = field(default_factory=dict, hash=False)
    k: int = 0
    when: str = "after_growth"
    penalty: str = "absolute"
    penalty_strength: float = 1.0
    weight_change: str = "sum"
    change_strength: float = 1.0
    previous: str = "before"
    movement: float | None = None
    steps_lr: float | None = None
    target: str | None = None
    refresh: bool = False
    epochs: int = 12
    schedule: str = "cosine"
    lr: float = 0.1
    batch_size: int = 128
    weight_decay: float = 1e-4
    augment: bool = True
    precision: str = "float32"
    threads: int = 1
    seed: int = 0
    arm: str = ""

    def __post_init__(self):
        for name, value in vars(self).items():
            object.__setattr__(self, name, plain(value))
        for name, kind in ((f.name, f.type) for f in fields(self)):
            value = getattr(self, name)
            if kind is bool and not isinstance(value, bool):
                raise ValueError(f"{name} must be True or False, got {value!r}")
            if kind is float or kind == float | None and value is not None:
                if isinstance(value, bool) or not isinstance(value, int | float):
                    raise ValueError(f"{name} must be a number, got {value!r}")
                object.__setattr__(self, name, float(value))  # 1 and 1.0 are one run
        object.__setattr__(self, "at", moments(self.at))
        if isinstance(self.width, Iterable):
            object.__setattr__(self, "width", plain(tuple(self.width)))
        elif not isinstance(self.width, int):
            raise ValueError(f"width must be a whole number, or several, got {self.width!r}")
        kind, _, path = str(self.data).partition(":")
        if kind not in ("critters", "digits", "cifar10", "cifar100", "folder") or bool(path) != (kind == "folder"):
            raise ValueError(f'unknown data set {self.data!r}: take "critters", "digits", "cifar10", "cifar100" or "folder:PATH"')
        if self.limit is not None:
            whole("limit", self.limit, 2, "at least one picture to train on and one to validate")
        check_name("budget", self.budget, BUDGETS)
        check_name("model", self.model, models.BUILDERS)
        check_name("schedule", self.schedule, SCHEDULES)
        check_name("precision", self.precision, PRECISIONS)
        for name in ("epochs", "batch_size", "threads"):
            whole(name, getattr(self, name), 1, "Run.__doc__ says what it is")
        whole("seed", self.seed, 0, "seeds are numbered from 0")
        if not isinstance(self.width, int) and self.model != "mlp" and len(self.width) != LAYERS[self.model]:
            raise ValueError(f"width must be one number or {LAYERS[self.model]} for {self.model}, got {self.width}")
        for width in [self.width] if isinstance(self.width, int) else self.width:
            whole("width", width, 1, "so many neurons")
        if not (0 < self.lr < math.inf and 0 <= self.weight_decay < math.inf):
            raise ValueError(f"lr must be positive, weight_decay 0 or positive, got {self.lr} and {self.weight_decay}")
        for name, value in self.drawing.items():
            if self.data != "critters":
                raise ValueError(f"{name}={value} is of critters, not of {self.data}: leave it out")
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be a probability, from 0 to 1, got {value}")
        if self.data == "digits":
            check_size(self.model, 8)
        if growth := self.growth():
            growth.epochs(self.epochs)
        if self.options and self.method is None:
            raise ValueError(f"options {self.options} are a method's, but method is None: give one, or leave them out")
        for name in self.options:
            module, function = METHODS[self.method]
            known = {*signature(getattr(import_module(f".{module}", __package__), function)).parameters}
            check_name(f"option of {self.method}", name, sorted(known - {"model", "batches", "seed"}))

    @property
    def drawing(self) -> dict:
        """How critters are drawn, as far as it is given."""
        given = {"reliability": self.reliability, "shortcut": self.shortcut}
        return {name: value for name, value in given.items() if value is not None}

    def growth(self) -> Growth | None:
        """For ``train``; None for a network that neither grows nor takes the K steps."""
        if self.method is None and not self.k:
            return None
        steps = {name: getattr(self, name) for name in STEPS} | {"lr": self.steps_lr}
        return Growth(
            self.method or nothing, self.rate, every=self.every, at=self.at, budget=self.budget, options=self.options,
            k=self.k, decorrelate={name: value for name, value in steps.items() if value is not None}, when=self.when,
        )  # fmt: skip

    @property
    def name(self) -> str:
        """Of its folder: readable, and another one for every other content but the label."""
        kind, _, path = self.data.partition(":")
        source = re.sub(r"[^A-Za-z0-9-]+", "_", Path(path).name) if path else kind  # wherever it lies
        other = {name: value for name, value in asdict(self).items() if value != DEFAULTS[name] and name != "arm"}
        digest = hashlib.sha256(json.dumps(other | {"data": source}, sort_keys=True).encode()).hexdigest()[:10]
        width = self.width if isinstance(self.width, int) else max(self.width)
        steps = f"-k{self.k}" if self.k else ""
        return f"{source}-{self.model}w{width}-{self.method or 'never'}{steps}-s{self.seed}-{digest}"

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Run":
        values = json.loads(text)
        for name in values:
            check_name("setting of a run", name, DEFAULTS)
        return cls(**values)


STEPS = ("penalty", "penalty_strength", "weight_change", "change_strength", "previous", "movement", "target", "refresh")
DEFAULTS = {f.name: {} if f.name == "options" else f.default for f in fields(Run)}


def nothing(model, batches=None) -> GrowthPlan:
    """A method that proposes no neuron: so the K steps come at the epochs of growth, without growth."""
    return GrowthPlan("nothing", {unit.name: unit.neurons for unit in growable(model)}, ())


# Grids. An arm is a base and one change; "+" sets a treatment apart from the arm that it is compared with.

METHODS_OF_THE_PAPER = ("random", "splitting", "firefly")
K = {"random": 20, "splitting": 10, "firefly": 15, "net2net": 20}  # the paper's; its "random" includes Net2Net
PAPER = Run(  # §4.1, but for what is not in our source: the learning rate and the strength of the penalty
    "cifar10", model="vgg16", width=16, every=50, epochs=250, movement=0.1,
)  # fmt: skip
SMALL = Run(  # grown early, decayed long, since on one cosine the larger network has no time to be better
    "folder:cifar10-jpeg", 5120, at=(1, 2, 3, 4), movement=0.1, schedule="constant_then_cosine", lr=0.05, batch_size=64,
)  # fmt: skip
REPLICA = Run(  # VGG16 on all pictures, in 3 epochs: two growths, since each makes an epoch dearer
    "folder:cifar10-jpeg", model="vgg16", width=16, at=(1, 2), epochs=3, movement=0.1, schedule="constant_then_cosine",
)  # fmt: skip
QUICK = Run(
    limit=1600, reliability=0.8, at=(1, 2, 3), movement=0.1, epochs=8, schedule="constant_then_cosine", lr=0.02,
    batch_size=32, augment=False,
)  # fmt: skip
PAPERS = {"at": (), "schedule": "cosine"}  # growth all along one cosine
ASSAYED = {  # schedules
    "early growth": {}, "early growth, one cosine": {"schedule": "cosine"},
    "the paper's in 10 epochs": PAPERS | {"every": 2, "epochs": 10},
    "the paper's in 5 epochs": PAPERS | {"every": 1, "epochs": 5},
    "the paper's in 5 epochs, lr 0.002": PAPERS | {"every": 1, "epochs": 5, "lr": 0.002},
}  # fmt: skip
AS_FAR = 0.028  # as the penalty's steps really move SMALL after random growth, measured: they turn about where the mean is zero
AS_FAR_AFTER_COPIES = {"net2net": 0.0744, "splitting": 0.0728}  # as mean |cos| moves SMALL: means of seeds 0, 1, 2
FIREFLY_STEP = 0.06  # how long the splits are that Firefly builds on SMALL, where filters are 0.8 long


def grown(base, method):
    return replace(base, method=method, arm=method)


def treated(run, treatment="penalty", **changes):
    """The same arm with the K steps, or with what they are to be held against."""
    return replace(run, arm=f"{run.arm}+{treatment}", **{"k": K[run.method or "random"]} | changes)


def assay(base):
    """Can a schedule show anything? Only if a network of the final size beats one that never grows; the first is ours."""
    for label, changes in ASSAYED.items():
        base_of_it = replace(base, **changes)
        never, _, scratch, *_ = without_growth(base_of_it)
        for run in (never, scratch, grown(base_of_it, "random")):
            yield replace(run, arm=f"{run.arm}, {label}")


def pairs(base, methods=METHODS_OF_THE_PAPER):
    for method in methods:
        yield grown(base, method)
        yield treated(grown(base, method))


def placebos(run):
    yield treated(run, "placebo", penalty="random")  # steps of the same length, straight on in a random direction
    yield treated(run, "labels", penalty_strength=0, change_strength=0, target="labels")  # of the same length, by cross-entropy
    yield treated(run, "refresh", k=1, penalty_strength=0, change_strength=0, refresh=True)  # new statistics alone


def without_growth(base):
    """Never grown, and born with the final widths: for equal epochs, and for equal compute."""
    compute = multiply_adds_by_epoch(grown(base, "random"))
    never = replace(base, method=None, arm="never")
    scratch = replace(never, width=widths_by_epoch(grown(base, "random"))[-1], arm="scratch")
    yield from (never, treated(never), scratch, treated(scratch))
    yield replace(scratch, epochs=round(sum(compute) / compute[-1]), arm="scratch at equal compute")


def table(base):
    for model, width in (("vgg16", 16), ("mobilenet", 32)):
        yield from pairs(replace(base, model=model, width=width))


def ablation(base):
    for method in METHODS_OF_THE_PAPER:
        run = grown(base, method)
        yield from (run, treated(run, "eq3", change_strength=0), treated(run, "eq4", penalty_strength=0), treated(run))


def methods(base):
    never, _, scratch, _, equal_compute = without_growth(base)
    placebo, labels, _ = placebos(grown(base, "random"))
    as_far = replace(placebo, movement=AS_FAR, arm="random+short placebo")
    yield from (never, scratch, equal_compute, *pairs(base, K), placebo, as_far, labels)


def copies(base):
    """The readings of Eq. 3 where there is something to push: after growth by copies (splitting, net2net).

    Primary contrast, fixed before the first run: mean |cos| less none, averaged over the two methods in each seed, of
    test accuracy; equivalence margin ±0.3 points. Its arms get seeds 10 to 49, the others 10 to 19; no seeds are added.
    Differences of earlier records have a standard deviation of 0.78 points, so a 90 % half-width of ±0.21 is expected
    with 40 seeds, ±0.45 with ten. Secondary: every reading less none, and less the placebo, each method by itself (Holm).
    The placebo walks straight on, as far as mean |cos| gets: 0.0744 of the weights after net2net and 0.0728 after
    splitting, the means of seeds 0, 1, 2 (0.0742, 0.0745, 0.0745; 0.0656, 0.0717, 0.0809). Check of the treatment: the
    share of pairs within ±0.1 (Fig. 6) and the twins' angle, before the steps, after them and at the end.
    """
    for method in AS_FAR_AFTER_COPIES:
        run = grown(base, method)
        yield run
        for penalty in ("absolute", "mean_absolute", "square", "energy"):
            yield treated(run, penalty, penalty=penalty)
        placebo, labels, _ = placebos(run)
        yield from (replace(placebo, movement=AS_FAR_AFTER_COPIES[method]), labels)


def controls(base):
    yield from (*without_growth(base), *pairs(base), grown(base, "net2net"))
    yield replace(grown(base, "net2net"), options={"step": FIREFLY_STEP}, arm="net2net with step")
    for method in METHODS_OF_THE_PAPER:
        yield from placebos(grown(base, method))


def replica(base):
    never, _, scratch, *_ = without_growth(base)
    yield from (*pairs(base), never, scratch)


def sweep(base, treatments):
    for method in METHODS_OF_THE_PAPER:
        run = grown(base, method)
        yield from (run, *(treated(run, label, **changes) for label, changes in treatments.items()))


def rates(base):
    for rate in (0.1, 0.2, 0.35, 0.5, 0.75):
        for method in METHODS_OF_THE_PAPER:
            run = replace(grown(base, method), rate=rate, arm=f"{method} {rate:g}")
            yield from (run, treated(run))


def readings(base):
    """What the paper leaves open, one at a time: A which mean, D Eq. 4, E when and on what, G the learning rate."""
    run = grown(base, base.method or "splitting")
    yield run
    for penalty in ("absolute", "signed", "mean_absolute", "square", "energy", "logdet"):
        yield treated(run, f"A {penalty}", penalty=penalty)
    for change in ("sum", "absolute_sum", "frobenius"):
        for previous in ("before", "iteration")[change == "sum" :]:  # the default is A absolute
            yield treated(run, f"D {change}, {previous}", weight_change=change, previous=previous)
    yield treated(run, "E with labels", target="labels")
    yield treated(run, "E every epoch", when="every_epoch")
    for schedule in SCHEDULES:
        if schedule != base.schedule:
            other = replace(run, schedule=schedule, arm=f"G {schedule}")
            yield from (other, treated(other))


def quick(base):
    never, _, scratch, *_ = without_growth(base)
    placebo, *_ = placebos(grown(base, "random"))
    yield from (never, scratch, *pairs(base), placebo)


GRIDS = {
    "table1": (PAPER, table), "table2": (replace(PAPER, data="cifar100"), table), "table3": (PAPER, ablation),
    "assay": (SMALL, assay), "methods": (SMALL, methods), "vgg16": (REPLICA, replica), "controls": (SMALL, controls),
    "copies": (SMALL, copies),
    "rate": (SMALL, rates), "readings": (SMALL, readings),
    "k": (SMALL, lambda base: sweep(base, {f"k{k}": {"k": k} for k in (1, 2, 5, 10, 15, 20, 30)})),
    "dose": (SMALL, lambda base: sweep(base, {f"dose {dose:g}": {"movement": 0.1 * dose} for dose in (0.25, 1, 4)})),
    "quick": (QUICK, quick),
}  # fmt: skip


def grid(name: str, seeds: int | Iterable[int] = 3, **changes) -> list[Run]:
    """The runs behind a table, all arms of a seed together.

    "table1" (CIFAR-10), "table2" (CIFAR-100) and "table3" (the ablation) follow the paper's protocol. "assay" asks which
    schedules can show a difference at all. "methods" is our primary comparison, vgg5 on 5,120 pictures, and "vgg16"
    repeats it with a deeper network on all of them. "copies" tries the readings of Eq. 3 where neurons are alike. "controls", "k", "dose", "rate" and "readings" vary "methods", the
    last one for ``method="splitting"`` or another. "quick" is it in miniature, on critters, two minutes on two cores.

    ``seeds``: how many, or which. ``changes`` are settings of ``Run`` for all arms, unless an arm is about that
    setting: ``grid("table2", epochs=20, every=4)``. Raises ``ValueError`` for an unknown name.
    """
    check_name("grid", name, GRIDS)
    base, arms = GRIDS[name]
    if not isinstance(seeds, Iterable):
        whole("seeds", seeds, 1, "so many of each arm")
        seeds = range(seeds)
    if {"every", "at"} & changes.keys():  # one of them instead of the other
        changes = {"every": None, "at": ()} | changes
    if changes.get("data", base.data) != "critters":
        changes = {"reliability": None, "shortcut": None} | changes
    runs = list(arms(replace(base, **changes)))
    return [replace(run, seed=seed) for seed in seeds for run in runs]


def widths_by_epoch(run: Run) -> list[tuple[int, ...]]:
    """The widths in each epoch if all layers grow alike: for controls, and to estimate how long runs take."""
    start = (run.width,) * LAYERS[run.model] if isinstance(run.width, int) else run.width
    rate = run.rate if run.budget == "neurons" else math.sqrt(1 + run.rate) - 1  # weights grow with the square
    growths = run.growth().epochs(run.epochs) if run.method else ()
    neurons, found = sum(start), []
    for epoch in range(1, run.epochs + 1):
        found.append(tuple(share_out(neurons, dict(enumerate(start))).values()))
        neurons += round(rate * neurons) if epoch in growths else 0
    return found


def multiply_adds_by_epoch(run: Run) -> list[int]:
    """Of one picture, likewise; of 32×32 pixels but for the digits."""
    picture = (1, 8, 8) if run.data == "digits" else (3, 32, 32)
    return [multiply_adds(run.model, widths, picture=picture) for widths in widths_by_epoch(run)]


@lru_cache(maxsize=1024)
def multiply_adds(model: str, widths: tuple[int, ...], classes=10, picture: tuple[int, ...] = (3, 32, 32)) -> int:
    """Of one picture's way forward through one of the package's networks: every weight, as often as it is used."""
    with torch.random.fork_rng(devices=()):  # initial weights are drawn, and those of others must not change by that
        network = build(model, widths, classes, picture)
    times = positions_of(network, [(torch.zeros(1, *picture), None)])
    return sum(times.get(name, 0) * weight.numel() for name, weight in network.named_parameters())


def check_size(model: str, pixels: int) -> None:
    if pixels < (least := SMALLEST.get(model, 1)):
        raise ValueError(f"{model} takes pictures of {least}×{least} pixels or more, and these have {pixels}: take mlp or mobilenet")


def build(model: str, width: int | tuple[int, ...], classes: int, picture: tuple[int, ...]) -> nn.Sequential:
    """One of the package's networks for pictures of that shape, (C, H, W)."""
    check_size(model, min(picture[1:]))
    if model == "mlp":
        hidden = (width,) * LAYERS[model] if isinstance(width, int) else width
        return models.mlp([math.prod(picture), *hidden, classes])
    widths = width if isinstance(width, int) else list(width)
    return models.build(model, width=widths, classes=classes, channels=picture[0])
