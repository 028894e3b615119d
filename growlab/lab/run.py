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

import torch
from torch import nn

from growlab import models
from growlab.checks import flag, number, one_of, plain, resolved, whole
from growlab.costs import positions_of
from growlab.data.sources import source_of
from growlab.growth import Growth, moments
from growlab.models import LAYERS, check_size, for_pictures
from growlab.plans import METHODS, GrowthPlan, share_out
from growlab.seeds import random_stream
from growlab.structure.units import growable
from growlab.training import Recipe, train


@dataclass(frozen=True)
class Run(Recipe):
    """All that a training depends on. Equal runs end bit-equal (same machine, versions), whoever executes them.

    ``data``, ``limit``, and ``reliability``, ``shortcut`` and ``hide`` (of critters) go to ``load_data``. ``model`` is
    one of the package's with ``width``, one number or one for each layer (mlp: the hidden ones), or your own function
    that returns one, "package.module:function". ``method`` None never grows; it and ``rate`` to ``until`` are as in
    ``Growth``, ``options`` the method's. ``k`` to ``refresh`` are the K steps (``decorrelate``); ``movement`` is
    their dose, None for steps of ``steps_lr`` times the gradient. With method None they come at the same epochs, to a
    network that stays as large as it is. ``then`` is another treatment after each growth, as in ``Growth``. The rest is
    the ``Recipe`` of ``train``. ``arm`` is a label for tables, and no part of the name.

    The seed gives initial weights, order of the data and randomness of growth, a stream for each, so arms share them.
    Raises ``ValueError`` for settings that cannot be trained.
    """

    data: str = "critters"
    limit: int | None = None
    reliability: float | None = None
    shortcut: float | None = None
    hide: int | None = None
    model: str = "vgg5"
    width: int | tuple[int, ...] = 4
    method: str | None = None
    rate: float = 0.35
    budget: str = "neurons"
    every: int | None = None
    at: tuple[int, ...] = ()
    per_unit: bool = False
    gate: float | None = None
    until: float | int | None = None
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
    then: str | None = None
    target: str | None = None
    refresh: bool = False
    threads: int = 1
    arm: str = ""
    epochs: int = field(default=12, kw_only=True)

    def __post_init__(self):
        super().__post_init__()
        for name, kind in ((f.name, f.type) for f in fields(self)):
            value = getattr(self, name)
            if kind is bool:
                flag(name, value, "Run.__doc__ says what it is")
            if kind is float or (kind == float | None and value is not None):
                vars(self)[name] = float(number(name, value, "(-inf, inf)", "Run.__doc__ says what it is"))  # 1 is 1.0
        vars(self)["at"] = moments(self.at)
        source_of(self.data)
        if self.limit is not None:
            whole("limit", self.limit, 2, "at least one picture to train on and one to validate")
        whole("threads", self.threads, 1, "so many cores compute")
        whole("k", self.k, 0, "so many steps; the paper tried 1 … 30")
        for name, value in self.drawing.items():
            if self.data != "critters":
                raise ValueError(f"{name}={value} is of critters, not of {self.data}: leave it out")
            hint = "so many parts are hidden" if name == "hide" else "it is a probability"
            number(name, value, "[0, 5]" if name == "hide" else "[0, 1]", hint)
        self._check_model()
        if growth := self.growth():
            growth.epochs(self.epochs)
        if self.options and self.method is None:
            raise ValueError(f"options {self.options} are a method's, but method is None: give one, or leave them out")
        if self.options and self.method in METHODS:
            known = {*signature(resolved("method", self.method, METHODS)).parameters} - {"model", "batches", "seed"}
            for name in self.options:
                one_of(f"option of {self.method}", name, sorted(known))

    def _check_model(self):
        if isinstance(self.width, Iterable) and not isinstance(self.width, str):
            vars(self)["width"] = plain(tuple(self.width))
        for width in self.width if isinstance(self.width, tuple) else [self.width]:
            whole("width", width, 1, "a number of neurons, or several")
        if ":" in str(self.model):
            return
        one_of("model", self.model, models.BUILDERS)
        if isinstance(self.width, tuple) and self.model != "mlp" and len(self.width) != LAYERS[self.model]:
            raise ValueError(f"width must be one number or {LAYERS[self.model]} for {self.model}, got {self.width}")
        if self.data == "digits":
            check_size(self.model, 8)

    @property
    def drawing(self) -> dict:
        """How critters are drawn, as far as it is given."""
        given = {name: getattr(self, name) for name in ("reliability", "shortcut", "hide")}
        return {name: value for name, value in given.items() if value is not None}

    def growth(self) -> Growth | None:
        """For ``train``; None for a network that neither grows nor takes the K steps."""
        if self.method is None and not self.k:
            return None
        steps = {name: getattr(self, name) for name in STEPS} | {"lr": self.steps_lr}
        return Growth(
            self.method or nothing, self.rate, every=self.every, at=self.at, budget=self.budget, options=self.options,
            k=self.k, decorrelate={name: value for name, value in steps.items() if value is not None}, when=self.when,
            per_unit=self.per_unit, gate=self.gate, until=self.until, then=self.then,
        )  # fmt: skip

    @property
    def name(self) -> str:
        """Of its folder: readable, and another one for every other content but the label."""
        kind, _, path = self.data.partition(":")
        source = _readable(Path(path).name) if path else kind  # wherever it lies
        other = {name: value for name, value in asdict(self).items() if value != DEFAULTS[name] and name != "arm"}
        digest = hashlib.sha256(json.dumps(other | {"data": source}, sort_keys=True).encode()).hexdigest()[:10]
        width = self.width if isinstance(self.width, int) else max(self.width)
        steps = f"-k{self.k}" if self.k else ""
        model, method = _readable(self.model), _readable(self.method or "never")
        return f"{source}-{model}w{width}-{method}{steps}-s{self.seed}-{digest}"

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Run":
        values = json.loads(text)
        for name in values:
            one_of("setting of a run", name, DEFAULTS)
        return cls(**values)


STEPS = ("penalty", "penalty_strength", "weight_change", "change_strength", "previous", "movement", "target", "refresh")
RECIPE = tuple(f.name for f in fields(Recipe))
DEFAULTS = {f.name: {} if f.name == "options" else f.default for f in fields(Run)}


def _readable(text):
    return re.sub(r"[^A-Za-z0-9-]+", "_", text)


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


def network_of(run: Run, classes: int, picture: tuple[int, ...]) -> nn.Module:
    """A new network of a run: one of the package's, or what your own function returns."""
    if ":" not in run.model:
        return for_pictures(run.model, run.width, classes, picture)
    model = resolved("model", run.model, {})()
    if not isinstance(model, nn.Module):
        raise ValueError(f"{run.model!r} must return a model, and returned {type(model).__name__}")
    return model


def train_run(run, data, **how):
    """Initialise the network of a run and train it on ``data``; (model, History). ``how`` goes to ``train``."""
    classes, picture = len(data.classes), tuple(data.train.images.shape[1:])
    torch.manual_seed(random_stream(run.seed, "initialisation").initial_seed())
    model = network_of(run, classes, picture)
    recipe = {name: getattr(run, name) for name in RECIPE}
    history = train(model, data, growth=run.growth(), progress=False, **recipe, **how)
    if ":" not in run.model:
        used = [multiply_adds(run.model, tuple(row["widths"].values()), classes, picture) for row in history.epochs]
        history.result |= {"multiply_adds": used[-1], "compute": 3 * len(data.train) * sum(used)}
    return model, history
