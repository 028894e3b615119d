"""A ``Run`` is all that a training depends on, as a plain value. Notebook 05."""

import hashlib
import json
import math
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from functools import lru_cache
from inspect import signature
from pathlib import Path
from pkgutil import resolve_name

import torch

from growlab import models
from growlab.checks import one_of, plain, whole
from growlab.costs import positions_of
from growlab.growth import BUDGETS, Growth, moments
from growlab.models import LAYERS, check_size, for_pictures
from growlab.plans import METHODS, GrowthPlan, share_out
from growlab.seeds import random_stream
from growlab.structure.units import growable
from growlab.training import PRECISIONS, SCHEDULES, train


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
            if kind is float or (kind == float | None and value is not None):
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
            raise ValueError(
                f'unknown data set {self.data!r}: take "critters", "digits", "cifar10", "cifar100" or "folder:PATH"'
            )
        if self.limit is not None:
            whole("limit", self.limit, 2, "at least one picture to train on and one to validate")
        one_of("budget", self.budget, BUDGETS)
        one_of("model", self.model, models.BUILDERS)
        one_of("schedule", self.schedule, SCHEDULES)
        one_of("precision", self.precision, PRECISIONS)
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
            known = {*signature(resolve_name(METHODS[self.method])).parameters}
            one_of(f"option of {self.method}", name, sorted(known - {"model", "batches", "seed"}))

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
            one_of("setting of a run", name, DEFAULTS)
        return cls(**values)


STEPS = ("penalty", "penalty_strength", "weight_change", "change_strength", "previous", "movement", "target", "refresh")
DEFAULTS = {f.name: {} if f.name == "options" else f.default for f in fields(Run)}


def nothing(model, batches=None) -> GrowthPlan:
    """A method that proposes no neuron: so the K steps come at the epochs of growth, without growth."""
    return GrowthPlan("nothing", {unit.name: unit.neurons for unit in growable(model)}, ())


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
        network = for_pictures(model, widths, classes, picture)
    times = positions_of(network, [(torch.zeros(1, *picture), None)])
    return sum(times.get(name, 0) * weight.numel() for name, weight in network.named_parameters())


def train_run(run, data, **how):
    """Initialise the network of a run and train it on ``data``, here and now; (model, History). ``how`` goes to ``train``."""
    classes, picture = len(data.classes), tuple(data.train.images.shape[1:])
    torch.manual_seed(random_stream(run.seed, "initialisation").initial_seed())
    model = for_pictures(run.model, run.width, classes, picture)
    history = train(
        model, data, run.epochs, growth=run.growth(), seed=run.seed, lr=run.lr, weight_decay=run.weight_decay,
        augment=run.augment, batch_size=run.batch_size, schedule=run.schedule, precision=run.precision, progress=False, **how,
    )  # fmt: skip
    used = [multiply_adds(run.model, tuple(row["widths"].values()), classes, picture) for row in history.epochs]
    history.result |= {"multiply_adds": used[-1], "compute": 3 * len(data.train) * sum(used)}
    return model, history
