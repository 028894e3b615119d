"""Every public function that takes numbers: NumPy's are as good as Python's, and True, False and NaN are none.

A row of the table is a function of one number, with a good value; a whole one must be whole. A wrong value is answered
by its name and itself ("… must be …, got …"), or by Python's own TypeError.
"""

import dataclasses
import math
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

import growlab as gl
from growlab import attention, critters
from growlab.checks import flag, number, one_of, plain, whole
from growlab.lab.statistics import MEANS
from growlab.seeds import random_stream, seeded

# ------------------------------------------------------------------------------------------- the checks themselves


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_whole_gives_the_value_as_python_has_it(value):
    assert type(whole("n", value, 3, "some")) is int and whole("n", value, 3, "some") == 3
    with pytest.raises(ValueError, match=r"n must be a whole number of at least 4, got .*3.*: some"):
        whole("n", value, 4, "some")


@pytest.mark.parametrize("value", [0.5, np.float64(0.5), np.float32(0.5)])
def test_number_keeps_to_the_interval(value):
    assert type(number("p", value, "[0, 1]", "half")) is float and number("p", value, "[0.5, 0.5]", "half") == 0.5
    for interval in ("(0.5, 1]", "[0, 0.5)", "[0.6, 1]", "[-inf, 0.4]", "(0.5, inf)"):
        with pytest.raises(ValueError, match=rf"p must be in {re.escape(interval)}, got .*0.5.*: half"):
            number("p", value, interval, "half")
    assert number("p", np.int64(2), "(0, inf)", "half") == 2
    with pytest.raises(ValueError, match="got inf"):
        number("p", math.inf, "(0, inf)", "half")


@pytest.mark.parametrize("wrong", [True, False, np.True_, math.nan, np.float32("nan"), None, "3", [3], 3j])
def test_no_check_takes_what_is_no_number(wrong):
    for check, limit in ((whole, -5), (number, "[-5, 5]")):
        with pytest.raises(ValueError, match=f"n must be .*got {re.escape(repr(wrong))}: hint"):
            check("n", wrong, limit, "hint")


def test_one_of_says_what_is_near_and_flag_takes_no_number():
    assert one_of("kind", "cat", ("cat", "dog")) == "cat"
    with pytest.raises(ValueError, match="kind must be one of cat, dog, got 'dig': did you mean 'dog'?"):
        one_of("kind", "dig", ("cat", "dog"))
    with pytest.raises(ValueError, match="kind must be one of cat, dog, got 3: choose one"):
        one_of("kind", 3, ("cat", "dog"))
    assert flag("soft", np.True_, "hint") is True and flag("soft", False, "hint") is False
    with pytest.raises(ValueError, match="soft must be True or False, got 1: hint"):
        flag("soft", 1, "hint")


def test_plain_reaches_into_dicts_and_lists():
    found = plain({"a": [np.float32(0.5), (np.int64(2), np.True_)], "b": "c"})
    assert repr(found) == "{'a': [0.5, (2, True)], 'b': 'c'}"


def test_seeded_begins_at_the_stream_and_gives_the_global_generator_back():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    with seeded(5, "a"):
        drawn = torch.rand(3)
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(drawn, torch.rand(3, generator=random_stream(5, "a")))


# ------------------------------------------------------------------------------------------------- the table


@pytest.fixture(scope="module")
def w(tmp_path_factory):
    """A world of small things."""
    folder = tmp_path_factory.mktemp("pictures")
    for split in ("train", "test"):
        for level, name in enumerate(("dark", "light")):
            (folder / split / name).mkdir(parents=True)
            for i in range(2):
                array = np.full((8, 8, 3), 200 * level + i, np.uint8)
                Image.fromarray(array).save(folder / split / name / f"{i}.png")
    digits, animals = gl.load_data("digits", limit=60), gl.load_data("critters", n=4)
    rows = [
        {"data": "digits", "model": "mlp", "state": "finished", "arm": arm, "seed": seed, "val_accuracy": 0.5}
        | dict.fromkeys(MEANS, 1.0) | {"test_accuracy": 0.5 + 0.01 * seed * (arm == "b")}
        for arm in "ab" for seed in range(4)
    ]  # fmt: skip
    batches = list(digits.batches("train", 18))
    net = gl.mlp([64, 4, 10])
    pictures = animals.test.normalise(animals.test.images[:2])
    return SimpleNamespace(
        folder=folder, digits=digits, animals=animals, rows=pd.DataFrame(rows), batches=batches,
        net=net, smooth=gl.mlp([64, 4, 10], nn.Softplus), plan=gl.propose("random", net, batches, outgoing=0.1),
        eyes=gl.vgg5(2), pictures=pictures, maps=torch.rand(2, 32, 32, generator=torch.Generator().manual_seed(0)),
    )  # fmt: skip


def trained(w, epochs=1, **options):
    torch.manual_seed(0)
    model = gl.mlp([64, 4, 10])
    history = gl.train(model, w.digits, epochs, progress=False, **options)
    return model.state_dict(), history.settings, history.result["test_accuracy"]


def stepped(w, k=2, **options):
    torch.manual_seed(0)
    return gl.decorrelate(gl.mlp([64, 4, 10]), k, **options)


def proposed(w, method, net=None, **options):
    return gl.propose(method, net or w.net, w.batches, **options)


def executed(w, **options):
    return gl.execute([gl.Run("digits", model="mlp")], w.folder / "never", progress=False, **options)


TABLE = {
    "load_data": {
        "limit": (20, lambda w, v: gl.load_data("digits", limit=v)),
        "seed": (3, lambda w, v: gl.load_data("digits", limit=20, seed=v)),
        "n": (20, lambda w, v: gl.load_data("critters", n=v)),
        "reliability": (0.5, lambda w, v: gl.load_data("critters", n=4, reliability=v)),
        "shortcut": (0.5, lambda w, v: gl.load_data("critters", n=4, shortcut=v)),
        "size": (8, lambda w, v: gl.load_data(f"folder:{w.folder}", size=v)),
    },
    "batches": {
        "batch size": (16, lambda w, v: list(w.digits.batches("train", v, seed=0))),
        "seed": (3, lambda w, v: list(w.digits.batches("train", 16, seed=v))),
    },
    "draw": {
        "n": (3, lambda w, v: critters.draw(v, 0)),
        "seed": (3, lambda w, v: critters.draw(2, v)),
        "reliability": (0.5, lambda w, v: critters.draw(9, 0, reliability=v)),
        "shortcut": (0.5, lambda w, v: critters.draw(9, 0, shortcut=v)),
        "hide": (2, lambda w, v: critters.draw(9, 0, hide=v)),
        "swap": (2, lambda w, v: critters.draw(9, 0, swap=v)),
    },
    "best_accuracy": {
        "parts": (3, lambda w, v: critters.best_accuracy(v, 0.6)),
        "reliability": (0.5, lambda w, v: critters.best_accuracy(3, v)),
    },
    "mlp": {"width": (5, lambda w, v: gl.mlp([64, v, 10]))},
    "vgg5": {
        "width": (5, lambda w, v: gl.vgg5(v)),
        "every width": (5, lambda w, v: gl.vgg5([4, v, 4, 4])),
        "classes": (5, lambda w, v: gl.vgg5(2, classes=v)),
        "channels": (1, lambda w, v: gl.vgg5(2, channels=v)),
    },
    "vgg16": {"width": (2, lambda w, v: gl.vgg16(v))},
    "mobilenet": {"width": (2, lambda w, v: gl.mobilenet(v))},
    "within": {
        "rate": (0.5, lambda w, v: w.plan.within(rate=v)),
        "neurons": (2, lambda w, v: w.plan.within(neurons=v)),
        "parameters": (500.0, lambda w, v: w.plan.within(parameters=v)),
        "flops": (500.0, lambda w, v: w.plan.within(flops=v)),
    },
    "gate": {
        "max_cosine": (0.5, lambda w, v: w.plan.gate(w.net, v)),
        "seed": (3, lambda w, v: w.plan.gate(w.net, 0.5, soft=True, seed=v)),
    },
    "propose random": {
        "outgoing": (0.25, lambda w, v: proposed(w, "random", outgoing=v)),
        "seed": (3, lambda w, v: proposed(w, "random", seed=v)),
    },
    "propose net2net": {
        "step": (0.25, lambda w, v: proposed(w, "net2net", step=v)),
        "seed": (3, lambda w, v: proposed(w, "net2net", seed=v)),
    },
    "propose splitting": {
        "step": (0.25, lambda w, v: proposed(w, "splitting", step=v, require_negative=False)),
        "beta": (2.0, lambda w, v: proposed(w, "splitting", beta=v, require_negative=False)),
        "fit": (2, lambda w, v: proposed(w, "splitting", w.smooth, path="matrix-free", fit=v, require_negative=False)),
        "held_out": (
            2, lambda w, v: proposed(w, "splitting", w.smooth, path="matrix-free", held_out=v, require_negative=False),
        ),
        "seed": (3, lambda w, v: proposed(w, "splitting", path="matrix-free", seed=v, require_negative=False)),
    },
    "splitting_matrices": {"beta": (2.0, lambda w, v: gl.splitting_matrices(w.net, w.batches, beta=v))},
    "propose firefly": {
        "fresh": (2, lambda w, v: proposed(w, "firefly", fresh=v, steps=2)),
        "steps": (2, lambda w, v: proposed(w, "firefly", steps=v)),
        "scoring": (2, lambda w, v: proposed(w, "firefly", steps=2, scoring=v)),
        "step_size": (0.25, lambda w, v: proposed(w, "firefly", steps=2, step_size=v)),
        "penalty": (0.25, lambda w, v: proposed(w, "firefly", steps=2, penalty=v)),
        "gate": (0.25, lambda w, v: proposed(w, "firefly", steps=2, gate=v)),
        "seed": (3, lambda w, v: proposed(w, "firefly", steps=2, seed=v)),
    },
    "propose gradmax": {
        "steps": (2, lambda w, v: proposed(w, "gradmax", steps=v)),
        "seed": (3, lambda w, v: proposed(w, "gradmax", seed=v)),
    },
    "decorrelate": {
        "k": (2, lambda w, v: stepped(w, v)),
        "penalty_strength": (0.5, lambda w, v: stepped(w, penalty_strength=v)),
        "change_strength": (0.5, lambda w, v: stepped(w, change_strength=v)),
        "lr": (0.25, lambda w, v: stepped(w, lr=v)),
        "movement": (0.25, lambda w, v: stepped(w, movement=v)),
        "seed": (3, lambda w, v: stepped(w, penalty="random", seed=v)),
    },
    "null_bands": {
        "n": (5, lambda w, v: gl.null_bands(v, 9)),
        "d": (9, lambda w, v: gl.null_bands(5, v)),
    },
    "welch_bound": {
        "n": (9, lambda w, v: gl.welch_bound(v, 5)),
        "d": (5, lambda w, v: gl.welch_bound(9, v)),
    },
    "Growth": {
        "rate": (0.5, lambda w, v: gl.Growth(rate=v, every=2)),
        "every": (2, lambda w, v: gl.Growth(every=v)),
        "at": (2, lambda w, v: gl.Growth(at=(1, v))),
        "k": (2, lambda w, v: gl.Growth(every=2, k=v)),
        "max_cosine": (0.5, lambda w, v: gl.Growth(every=2, gate=v)),
        "until": (500, lambda w, v: gl.Growth(every=2, until=v)),
        "until, an accuracy": (0.5, lambda w, v: gl.Growth(every=2, until=v)),
        "movement": (0.5, lambda w, v: gl.Growth(every=2, k=2, decorrelate={"movement": v})),
        "penalty_strength": (0.5, lambda w, v: gl.Growth(every=2, k=2, decorrelate={"penalty_strength": v})),
    },
    "train": {
        "epochs": (2, lambda w, v: trained(w, v)),
        "seed": (3, lambda w, v: trained(w, seed=v)),
        "lr": (0.25, lambda w, v: trained(w, lr=v)),
        "momentum": (0.5, lambda w, v: trained(w, momentum=v)),
        "weight_decay": (0.25, lambda w, v: trained(w, weight_decay=v)),
        "batch_size": (16, lambda w, v: trained(w, batch_size=v)),
    },
    "evaluate": {"batch size": (16, lambda w, v: gl.evaluate(w.net, w.digits.test, v))},
    "learning_rate": {
        "epoch": (1.5, lambda w, v: gl.learning_rate("cosine", v, 4)),
        "epochs": (4, lambda w, v: gl.learning_rate("cosine", 1.5, v)),
        "growths": (2, lambda w, v: gl.learning_rate("restarts", 2.5, 4, growths=(v,))),
    },
    "Run": {
        "limit": (20, lambda w, v: gl.Run(limit=v)),
        "reliability": (0.5, lambda w, v: gl.Run(reliability=v)),
        "shortcut": (0.5, lambda w, v: gl.Run(shortcut=v)),
        "width": (5, lambda w, v: gl.Run(width=v)),
        "width, of a layer": (5, lambda w, v: gl.Run(width=(4, v, 4, 4))),
        "rate": (0.5, lambda w, v: gl.Run(rate=v, method="random", every=2)),
        "every": (2, lambda w, v: gl.Run(method="random", every=v)),
        "at": (2, lambda w, v: gl.Run(method="random", at=(1, v))),
        "k": (2, lambda w, v: gl.Run(k=v, every=2)),
        "penalty_strength": (0.5, lambda w, v: gl.Run(penalty_strength=v, k=2, every=2)),
        "change_strength": (0.5, lambda w, v: gl.Run(change_strength=v, k=2, every=2)),
        "movement": (0.5, lambda w, v: gl.Run(movement=v, k=2, every=2)),
        "steps_lr": (0.5, lambda w, v: gl.Run(steps_lr=v, k=2, every=2)),
        "epochs": (5, lambda w, v: gl.Run(epochs=v)),
        "lr": (0.5, lambda w, v: gl.Run(lr=v)),
        "batch_size": (16, lambda w, v: gl.Run(batch_size=v)),
        "weight_decay": (0.5, lambda w, v: gl.Run(weight_decay=v)),
        "threads": (2, lambda w, v: gl.Run(threads=v)),
        "seed": (3, lambda w, v: gl.Run(seed=v)),
    },
    "grid": {
        "seeds": (2, lambda w, v: gl.grid("quick", v)),
        "seed": (2, lambda w, v: gl.grid("quick", [v])),
        "epochs": (6, lambda w, v: gl.grid("quick", 1, epochs=v)),
        "movement": (0.25, lambda w, v: gl.grid("quick", 1, movement=v)),
    },
    "execute": {
        "jobs": (2, lambda w, v: executed(w, jobs=v)),
    },
    "summary": {"margin": (0.25, lambda w, v: gl.summary(w.rows, [("b", "a")], margin=v))},
    "heatmaps": {"batch_size": (1, lambda w, v: gl.heatmaps(w.eyes, w.pictures, [0, 1], batch_size=v))},
    "road": {
        "percentiles": (50.0, lambda w, v: gl.road(w.eyes, w.pictures, [0, 1], w.maps, percentiles=(20, v))),
        "seed": (3, lambda w, v: gl.road(w.eyes, w.pictures, [0, 1], w.maps, seed=v)),
    },
    "randomised": {"seed": (3, lambda w, v: attention.randomised(w.net, v).state_dict())},
    "part_votes": {
        "n": (3, lambda w, v: gl.part_votes(w.eyes, w.animals, v)),
        "seed": (3, lambda w, v: gl.part_votes(w.eyes, w.animals, 2, v)),
    },
    "accuracy_by_hidden_parts": {
        "n": (3, lambda w, v: gl.accuracy_by_hidden_parts(w.eyes, w.animals, v)),
        "seed": (3, lambda w, v: gl.accuracy_by_hidden_parts(w.eyes, w.animals, 2, v)),
        "reliability": (0.5, lambda w, v: gl.accuracy_by_hidden_parts(w.eyes, w.animals, 2, reliability=v)),
    },
    "background_votes": {
        "n": (3, lambda w, v: gl.background_votes(w.eyes, w.animals, v)),
        "seed": (3, lambda w, v: gl.background_votes(w.eyes, w.animals, 2, v)),
        "reliability": (0.5, lambda w, v: gl.background_votes(w.eyes, w.animals, 2, reliability=v)),
    },
}  # fmt: skip
ROWS = [
    pytest.param(call, name.partition(",")[0], good, id=f"{function}-{name}")
    for function, rows in TABLE.items() for name, (good, call) in rows.items()
]  # fmt: skip
CALLED = [row for row in ROWS if not row.id.startswith("execute")]  # which would start processes


def content(value):
    """As plain values, for a comparison to the bit and to the type."""
    if isinstance(value, torch.Tensor):
        return str(value.dtype), tuple(value.shape), content(value.detach().numpy())
    if isinstance(value, np.ndarray):
        return value.tobytes()
    if isinstance(value, pd.DataFrame):
        return value.to_csv()
    if dataclasses.is_dataclass(value):
        return type(value).__name__, content(vars(value))
    if isinstance(value, dict):
        return [(repr(name), content(inner)) for name, inner in value.items() if name != "_constants"]
    return [*map(content, value)] if isinstance(value, list | tuple) else repr(value)


def numpys(good):
    if isinstance(good, int):
        return [np.int64(good), np.int32(good), np.uint16(good)]
    return [np.float64(good), np.float32(good)] + [np.int64(good)] * good.is_integer()


@pytest.mark.parametrize("call, name, good", CALLED)
def test_numpys_numbers_are_as_good_as_pythons(call, name, good, w):
    expected = content(call(w, good))
    for value in numpys(good):
        assert content(call(w, value)) == expected, repr(value)


@pytest.mark.parametrize("call, name, good", ROWS)
def test_what_is_no_number_is_named(call, name, good, w):
    wrongs = [True, False, np.True_, math.nan, np.float64("nan"), np.float32("nan")]
    for wrong in wrongs + [good + 0.5, np.float64(good + 0.5)] * isinstance(good, int):
        try:
            call(w, wrong)
        except ValueError as error:
            message, said = str(error), (f"got {wrong!r}", f"got {plain(wrong)!r}")
            assert re.search(rf"\b{name}\b", message) and any(got in message for got in said), message
        except TypeError:
            pass
        else:
            raise AssertionError(f"{name} took {wrong!r}")
