"""Exact copies stay together as long as they have equal shares of the outgoing weights, and part where they do not.

In double precision: rounding is 1e-16 of a weight there. Training enlarges it; a thousand million times would still be
below ``TOGETHER``. So what is above it is no rounding.
"""

from itertools import combinations

import pytest
import torch

import growlab as gl
from growlab.lab.treatments import equal_shares, lineages

TOGETHER = 1e-5  # degrees


def in_double(model):
    """Its weights and its inputs in double precision."""
    model.double().register_forward_pre_hook(lambda module, given: (given[0].double(),))
    return model


def angles(model, history):
    """{(unit, members of a lineage): the largest angle between two of them in degrees}"""
    found = {}
    for unit in gl.units(model):
        for family in lineages(history).get(unit.name, ()):
            pairs = torch.tensor(list(combinations(family, 2))).T
            between = gl.twin_angle(*(unit.weight[side] for side in pairs)).rad2deg()
            found[unit.name, tuple(family)] = between.max().item()
    return found


def trained(critters, rate, at, then=None):
    """The angles after the last of five epochs, and the history: vgg5 grown by exact copies."""
    torch.manual_seed(1)
    model = in_double(gl.vgg5(width=4))
    growth = gl.Growth("net2net", rate=rate, at=at, then=then)
    recipe = {"lr": 0.05, "batch_size": 32, "augment": False, "progress": False, "schedule": "constant_then_cosine"}
    history = gl.train(model, critters, 5, seed=1, growth=growth, **recipe)
    return angles(model, history), history


@pytest.fixture(scope="module")
def critters():
    return gl.load_data("critters", limit=640, n=900)


def test_twins_stay_together_after_one_growth(critters):
    found, history = trained(critters, rate=1.0, at=(1,))
    assert len(found) == 16 and all(len(family) == 2 for _, family in found)
    assert max(found.values()) < TOGETHER
    assert history.epochs[-1]["loss"] < history.epochs[1]["loss"]  # and it has learned meanwhile


def test_after_two_growths_those_part_that_have_unequal_shares_and_no_others(critters):
    found, history = trained(critters, rate=0.5, at=(1, 2))
    unequal = {key: angle for key, angle in found.items() if len(key[1]) == 3}
    equal = {key: angle for key, angle in found.items() if len(key[1]) != 3}
    assert len(unequal) > 2 and len(equal) > 2
    assert min(unequal.values()) > 1 and max(equal.values()) < TOGETHER
    again, _ = trained(critters, rate=0.5, at=(1, 2), then=equal_shares)
    assert again.keys() == found.keys() and max(again.values()) < TOGETHER
