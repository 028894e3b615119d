"""What notebook 02 builds by hand is what the package does."""

import copy
import json

import pytest
import torch
from lessons import FOLDER, functions_of

import growlab as gl
from growlab.plans import Candidate, GrowthPlan

MINE = functions_of("02_random_growth", SIDES=[32] * 2 + [16] * 2 + [8] * 3 + [4] * 3 + [2] * 3)


def weights(model):
    return model[1].weight.data, model[1].bias.data, model[3].weight.data


@pytest.fixture
def model():
    return gl.mlp([6, 5, 4, 3]).double()


@pytest.mark.parametrize("outgoing", [0.0, 0.7])
def test_fresh_neurons_by_hand_are_those_of_the_package(model, outgoing):
    plan = gl.propose("random", model, outgoing=outgoing).within(neurons=4)
    new = [candidate for candidate in plan.candidates if candidate.unit == "1"]
    plan = GrowthPlan("random", plan.widths, tuple(new))
    grown = copy.deepcopy(model)
    gl.apply(grown, plan)
    edits = {edit.tensor: edit for edit in next(unit for unit in gl.units(model) if unit.name == "1").edits}
    incoming = torch.stack([c.values[edits["1.weight"]].flatten() for c in new]).double()
    silent = torch.zeros(4, 1)
    heard = torch.cat([c.values.get(edits["3.weight"], silent) for c in new], 1).double()
    bias = torch.stack([c.values[edits["1.bias"]].flatten() for c in new]) if edits["1.bias"] in new[0].values else None
    assert bias is None, "the notebook's new biases are zero"
    for mine, theirs in zip(MINE["add_neurons"](*weights(model), incoming, heard), weights(grown)):
        assert torch.allclose(mine, theirs)


def test_the_guess_grows_vgg16_by_the_cut_points_of_the_package():
    sizes = torch.tensor([MINE["grown_by_cuts"](seed) for seed in range(200)]).double()
    assert abs(sizes.mean() - 324_741) < 4 * sizes.std() / 200**0.5  # the mean of 40,000 draws: test_published.py
    assert len(set(sizes.tolist())) > 150 and sizes.std() > 15_000


def test_the_published_copies_are_ours_if_nobody_is_drawn_twice_and_else_they_are_not(model):
    for parents, right in (([3, 0, 1], True), ([2, 2], False), ([4, 1, 4], False)):
        plan = GrowthPlan(
            "copies", {unit.name: unit.neurons for unit in gl.units(model)}, tuple(Candidate("1", p) for p in parents)
        )
        grown = copy.deepcopy(model)
        gl.apply(grown, plan)
        theirs = MINE["published_copies"](*weights(model), parents)
        assert all(map(torch.allclose, theirs, weights(grown))) == right


def test_parameters_and_multiply_adds_by_hand_are_those_of_the_package():
    widths = torch.randint(1, 20, (13,)).tolist()
    model = gl.vgg16(widths)
    plan = gl.propose("random", model, [(torch.zeros(1, 3, 32, 32), torch.zeros(1, dtype=torch.long))])
    assert MINE["parameters_of"](widths) == gl.parameter_count(model) == plan.within(neurons=0).parameters
    work = MINE["multiply_adds"](widths)
    assert plan.within(flops=work).neurons == 0
    with pytest.raises(ValueError, match="flops"):
        plan.within(flops=work - 1)


def test_neurons_spread_by_hand_are_as_many_as_the_package_adds_and_at_most_one_on_each():
    widths = torch.randint(1, 20, (13,)).tolist()
    spread = MINE["spread_at_random"](widths, 0.35, torch.Generator().manual_seed(0))
    plan = gl.propose("random", gl.vgg16(widths)).within(rate=0.35)
    assert sum(spread) == sum(plan.widths_after.values())
    assert all(old <= new <= 2 * old for old, new in zip(widths, spread))


def test_the_record_has_what_the_notebook_shows():
    record = json.loads((FOLDER.parent / "data" / "results" / "02_when_to_grow.json").read_text())
    assert len(record["seeds"]) >= 3 and len(record["test_accuracy"]) == 8
    assert all(len(values) == len(record["seeds"]) for values in record["test_accuracy"].values())
    assert "late, one cosine" in record["test_accuracy"] and "never, long decay" in record["test_accuracy"]
