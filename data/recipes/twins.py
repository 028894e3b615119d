"""What parts exact copies: rounding, or unequal shares of the outgoing weights? Angles of twins, epoch by epoch.

    python data/recipes/twins.py PICTURES    writes the record (some twenty minutes on one core)

A neuron that is copied keeps one half of its outgoing weights; a twin that is copied again keeps a quarter, and its
sibling has one half. Error flows back through these weights. If *unequal shares* part twins, then only those pairs part
whose shares differ, in single and in double precision alike, and none does once the shares are made equal in each
lineage (``equal_shares``). If *rounding* parts them, then double precision, whose rounding is a thousand million times
finer, keeps them together.

"critters": the runs "exact copies" of notebook 01 (vgg5, half more neurons after epochs 2 and 4 of 8, seeds 0 to 4),
with the shares as growth leaves them ("plain") or equal, in float32 and float64, under their schedule and at a constant
rate. "cifar10": the runs "net2net" of the README (four growths), seeds 0 to 4, from the folder PICTURES. Both have been
looked at before with these seeds: this record explains their angles, and compares no accuracy.

A pair is a parent and its child. It is "equal" if both had equal shares after every growth since the child's birth, and
"unequal" if not. For each kind and epoch: how many pairs, and their smallest, mean and largest angle in degrees.
"as recorded" is the mean of the layers' means at the end, as other records have it. Notebooks 01 and 05 show it.
"""

import json
import math
import sys
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from itertools import product
from pathlib import Path

import torch

import growlab as gl
from growlab.files import write_atomically
from growlab.lab.results import rounded
from growlab.lab.run import RECIPE
from growlab.lab.treatments import equal_shares, lineages
from growlab.machine import environment
from growlab.plans import twins_of
from growlab.seeds import random_stream

TREATMENTS = {"plain": None, "equal": equal_shares}
CRITTERS = {"epochs": 8, "lr": 0.02, "batch_size": 32, "schedule": "constant_then_cosine", "augment": False}
CONSTANT_UNTIL = 0.4  # of training under this schedule: a run of 20 epochs that ends after 8 has a constant rate


class Enough(Exception):
    """Ends a training."""


def shares_of(growths):
    """The share of its first ancestor's outgoing weights that growth has left each copied neuron, after each growth."""
    share, found = defaultdict(lambda: Fraction(1)), []
    for event in growths:
        new = [(unit, *pair) for unit, pairs in twins_of(event["new"]).items() for pair in pairs]
        for key, copies in Counter((unit, parent) for unit, parent, _ in new).items():
            share[key] /= copies + 1
        share |= {(unit, child): share[unit, parent] for unit, parent, child in new}
        found.append(dict(share))
    return found


def pairs_of(growths, levelled):
    """{"equal": [(unit, parent, child)], "unequal": …}"""
    found, after = {"equal": [], "unequal": []}, shares_of(growths)
    for born, event in enumerate(growths):
        for unit, pairs in twins_of(event["new"]).items():
            for parent, child in pairs:
                alike = levelled or all(share[unit, parent] == share[unit, child] for share in after[born:])
                found["equal" if alike else "unequal"].append((unit, parent, child))
    return found


def angles(model, history, levelled):
    """{kind: {"pairs", "smallest", "mean", "largest"}}, in degrees"""
    weights, found = {unit.name: unit.weight for unit in gl.units(model)}, {}
    for kind, pairs in pairs_of(history.growths, levelled).items():
        if pairs:
            each = [gl.twin_angle(weights[u][[a]], weights[u][[b]]).rad2deg().item() for u, a, b in pairs]
            mean = sum(each) / len(each)
            found[kind] = {"pairs": len(each), "smallest": min(each), "mean": mean, "largest": max(each)}
    return found


def follow(model, data, growth, precision, epochs, constant=False, **recipe):
    """Train a network and note the angles after each epoch, and its families at the end."""
    if precision == "float64":
        model.double().register_forward_pre_hook(lambda module, given: (given[0].double(),))
    found, levelled = {"lineages": {}, "epochs": []}, growth.then is not None

    def note(history):
        if history.growths:
            found["epochs"].append({"epoch": len(history.epochs), **angles(model, history, levelled)})
            found["lineages"] = families(history)
        if constant and len(history.epochs) == epochs:
            raise Enough

    whole = round(epochs / CONSTANT_UNTIL) if constant else epochs
    with suppress(Enough):
        history = gl.train(model, data, whole, growth=growth, each_epoch=note, progress=False, **recipe)
        layers = history.similarity[-1]["layers"].values()
        means = [layer["twin_angle"] for layer in layers if "twin_angle" in layer]
        found["as recorded"] = math.degrees(sum(means) / len(means))
    return found


def families(history):
    """{"1/2, 1/4, 1/4": how many}: the shares that growth has left the members"""
    share = shares_of(history.growths)[-1]
    found = Counter(
        ", ".join(map(str, sorted((share[unit, neuron] for neuron in family), reverse=True)))
        for unit, several in lineages(history).items()
        for family in several
    )
    return dict(found.most_common())


def critters(seed, shares, precision, rate):
    torch.manual_seed(seed)
    growth = gl.Growth("net2net", rate=0.5, at=(2, 4), then=TREATMENTS[shares])
    recipe = CRITTERS | {"seed": seed, "constant": rate == "constant"}
    return follow(gl.vgg5(width=4), gl.load_data("critters"), growth, precision, **recipe)


def cifar10(seed, shares, precision, pictures):
    run = next(run for run in gl.grid("methods", [seed]) if run.arm == "net2net")
    data = gl.load_data(f"folder:{pictures}", limit=run.limit, seed=seed)
    torch.manual_seed(random_stream(seed, "initialisation").initial_seed())
    growth = replace(run.growth(), then=TREATMENTS[shares])
    recipe = {name: getattr(run, name) for name in RECIPE if name != "precision"}
    return follow(gl.vgg5(run.width), data, growth, precision, **recipe)


def arms(seeds):
    """(function, its settings)"""
    for seed, shares, precision in product(seeds, TREATMENTS, ("float32", "float64")):
        for rate in ("schedule", "constant"):
            yield critters, {"seed": seed, "shares": shares, "precision": precision, "rate": rate}
        if (shares, precision) != ("plain", "float64"):
            yield cifar10, {"seed": seed, "shares": shares, "precision": precision}


def record(pictures, seeds=range(5)):
    torch.set_num_threads(1)
    found = {"critters": [], "cifar10": []}
    for train, settings in arms(seeds):
        where = {"pictures": pictures} if train is cifar10 else {}
        found[train.__name__].append(settings | rounded(train(**settings, **where), 3))
        print(train.__name__, settings, found[train.__name__][-1]["epochs"][-1], flush=True)
    what = "angles of exact copies (growth by net2net), in degrees; made by data/recipes/twins.py"
    return {"what": what, "environment": environment(), **found}


if __name__ == "__main__":
    contents = json.dumps(record(sys.argv[1]))
    write_atomically(Path(__file__).parents[1] / "results" / "twins.json", contents.encode())
