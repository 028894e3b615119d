"""Budgets are exact, plans are honest, bad input is named."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

import growlab as gl
from growlab.plans import Candidate, GrowthPlan, share_out


@pytest.fixture
def model():
    torch.manual_seed(0)
    return gl.vgg5([4, 5, 6, 7])


def batches():
    return [(torch.randn(8, 3, 32, 32), torch.randint(10, (8,)))]


def test_starting_widths_of_the_paper():
    assert gl.parameter_count(gl.vgg16(16)) == 28_666
    assert gl.parameter_count(gl.mobilenet(32)) == 19_978


def test_numpy_s_numbers_are_widths_and_budgets_too():
    model = gl.vgg5(np.int64(4))
    assert repr(model) == repr(gl.vgg5(np.full(4, 4))) == repr(gl.vgg5(4)) and repr(gl.mlp(np.array([6, 4]))) == repr(
        gl.mlp([6, 4])
    )
    assert gl.propose("random", model).within(neurons=np.int64(2)).neurons == 2


@pytest.mark.parametrize("method", ["random", "net2net"])
def test_budget_is_exact_over_four_growths_and_no_width_falls(method):
    model = gl.vgg16(16)
    for expected in (281, 379, 512, 691):  # 208 neurons, each time round(1.35 x)
        before = {unit.name: unit.neurons for unit in gl.units(model)}
        plan = gl.propose(method, model, seed=expected).within(rate=0.35)
        gl.apply(model, plan)
        after = {unit.name: unit.neurons for unit in gl.units(model)}
        assert sum(after.values()) == expected and after == plan.widths_after
        assert all(after[name] >= before[name] for name in before)
        assert gl.parameter_count(model) == plan.parameters


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.35, 0.5, 0.999, 1])
def test_per_unit_shares_are_exact_and_within_one_of_the_quota(model, rate):
    plan = gl.propose("random", model).within(rate=rate, per_unit=True)
    assert plan.neurons == round(rate * 22)
    for name, width in plan.widths.items():
        assert abs(plan.widths_after[name] - width - rate * width) < 1 + 0.5 * width / 22


def test_share_out_is_exact_and_breaks_ties_in_order():
    assert share_out(2, {"a": 5, "b": 5, "c": 5}) == {"a": 1, "b": 1, "c": 0}
    for total in range(40):
        assert sum(share_out(total, {"a": 3, "b": 7, "c": 11}).values()) == total


def test_best_scores_of_the_whole_network_win_and_ties_keep_their_order(model):
    scores = {("0", 0): 1.0, ("0", 1): 3.0, ("4", 0): 2.0, ("8", 0): 3.0, ("8", 1): -math.inf}
    candidates = tuple(Candidate(unit, parent, score) for (unit, parent), score in scores.items())
    plan = GrowthPlan("mine", {"0": 4, "4": 5, "8": 6}, candidates)
    kept = plan.within(neurons=3).candidates
    assert [(c.unit, c.parent) for c in kept] == [("0", 1), ("8", 0), ("4", 0)]
    assert plan.within(neurons=0).neurons == 0 and plan.within(neurons=5).neurons == 5


def test_parameters_budget_is_the_largest_that_fits(model):
    plan = gl.propose("random", model)
    for budget in (gl.parameter_count(model), 2000, 3000, plan.parameters):
        kept = plan.within(parameters=budget)
        assert kept.parameters <= budget
        if kept.neurons < plan.neurons:
            assert plan.within(neurons=kept.neurons + 1).parameters > budget
        grown = copy.deepcopy(model)
        gl.apply(grown, kept)
        assert gl.parameter_count(grown) == kept.parameters


def test_flops_budget_counts_multiply_adds_of_the_grown_network(model):
    def flops(network):  # by hand: weights times positions of each layer, pictures of 32x32
        sides = iter((32, 16, 8, 4, 1))
        return sum(m.weight.numel() * next(sides) ** 2 for m in network if isinstance(m, nn.Conv2d | nn.Linear))

    plan = gl.propose("random", model, batches())
    for budget in (flops(model), int(1.3 * flops(model)), int(1.6 * flops(model))):
        kept = plan.within(flops=budget)
        grown, larger = copy.deepcopy(model), copy.deepcopy(model)
        gl.apply(grown, kept)
        gl.apply(larger, plan.within(neurons=kept.neurons + 1))
        assert flops(grown) <= budget < flops(larger)


def test_a_proposal_leaves_the_model_as_it_is(model):
    model.train()
    before, shapes = copy.deepcopy(model.state_dict()), repr(model)
    for method in ("random", "net2net"):
        gl.propose(method, model, batches()).within(rate=0.5)
    assert repr(model) == shapes and model.training
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values()))
    assert not any(module._forward_hooks for module in model.modules())


def test_proposals_depend_on_their_seed_alone(model):
    def chosen(seed):
        torch.rand(seed + 1)  # the global generator must not matter
        return gl.propose("net2net", model, seed=seed).within(rate=0.35).table()

    assert chosen(1).equals(chosen(1)) and not chosen(1).equals(chosen(2))


def test_a_rate_takes_a_short_list_whole_but_a_number_is_exact(model):
    """A method may find fewer neurons worth building than the rate asks for; what it left out must not be built."""
    plan = gl.propose("net2net", model)
    short = GrowthPlan("mine", plan.widths, tuple(c for c in plan.candidates if c.unit == "12")[:3])
    assert (
        short.within(rate=0.35).neurons == short.within(rate=1, per_unit=True).neurons == 3
        and short.within(rate=0.1).neurons == 2
    )
    for budget in ({"neurons": 4}, {"neurons": 3, "per_unit": True}):
        with pytest.raises(ValueError, match="were asked for|missing"):
            short.within(**budget)


def test_an_empty_plan_changes_nothing(model):
    before = copy.deepcopy(model.state_dict())
    plan = GrowthPlan("mine", {"0": 4}, ()).within(rate=0.35)
    assert gl.apply(model, plan, torch.optim.SGD(model.parameters(), 0.1)).neurons == 0
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values()))


def test_costs_leave_every_mode_alone_and_know_what_a_used_up_generator_does_not_tell(model):
    model.train()[1].eval()
    plan = gl.propose("net2net", model, iter(batches()))
    assert model.training and not model[1].training and plan.within(flops=10**9).neurons == 22
    with pytest.raises(ValueError, match="pass batches"):
        gl.propose("net2net", model, iter(())).within(flops=10**9)


def test_the_table_tells_where_the_new_neurons_are(model):
    plan = gl.propose("net2net", model).within(rate=0.35)
    gl.apply(model, plan)
    weights = {unit.name: unit.weight for unit in gl.units(model)}
    inputs = {"0": None, "4": "0", "8": "4", "12": "8"}
    for row in plan.table().itertuples():
        assert row.neuron >= plan.widths[row.unit] and row.kind == "copy"
        if inputs[row.unit] is None:
            assert torch.equal(weights[row.unit][row.neuron], weights[row.unit][row.parent])


def test_your_own_method_is_a_function(model):
    def widen_the_last(model, batches, *, by):
        unit = gl.units(model)[-1]
        return GrowthPlan("mine", {unit.name: unit.neurons}, (Candidate(unit.name),) * by)

    gl.apply(model, gl.propose(widen_the_last, model, by=3))
    assert [unit.neurons for unit in gl.units(model)] == [4, 5, 6, 10]


def test_random_split_moves_twins_apart_by_its_step(model):
    before = {unit.name: unit.weight.clone() for unit in gl.units(model)}
    plan = gl.propose("net2net", model, step=0.25).within(neurons=1)
    (candidate,) = plan.candidates
    gl.apply(model, plan)
    grown = next(unit for unit in gl.units(model) if unit.name == candidate.unit).weight
    child, parent = grown[-1], grown[candidate.parent]
    assert (child - before[candidate.unit][candidate.parent]).norm().item() == pytest.approx(0.25, rel=1e-5)
    torch.testing.assert_close((child + parent) / 2, before[candidate.unit][candidate.parent])
    assert candidate.kind == "split"


# Bad input


@pytest.mark.parametrize("rate", [0, -0.1, 3.5, math.nan, math.inf])
def test_a_growth_rate_outside_its_range_is_named(model, rate):
    plan = gl.propose("random", model)
    with pytest.raises(ValueError, match=r"growth rate must be in \(0, 1\], got .*0.35 adds 35 %"):
        plan.within(rate=rate)
    with pytest.raises(ValueError, match="growth rate"):
        gl.Growth("random", rate, every=1)


def test_a_plan_for_other_widths_is_refused_and_nothing_changes(model):
    plan = gl.propose("random", model).within(rate=0.35)
    gl.apply(model, plan)
    before = repr(model)
    with pytest.raises(ValueError, match=r"made for other widths.*propose again"):
        gl.apply(model, plan)
    with pytest.raises(ValueError, match="missing"):
        gl.apply(gl.mlp([64, 4, 10]), plan)
    assert repr(model) == before


def test_unknown_methods_are_answered_with_the_list(model):
    with pytest.raises(ValueError, match="method must be one of random, net2net.*, got 'magic'"):
        gl.propose("magic", model)
    with pytest.raises(ValueError, match="method must be one of .*, got 'magic'"):
        gl.Growth("magic", every=1)


@pytest.mark.parametrize("budget, message", [
    ({}, "exactly one budget"), ({"rate": 0.3, "neurons": 2}, "exactly one budget"),
    ({"neurons": 23}, "22 candidates, 23"),
    ({"neurons": -1}, "22 candidates"), ({"neurons": 2.5}, "whole number of at least 0, got 2.5"),
    ({"flops": 10**9}, "pass batches"),
    ({"parameters": 10}, "got 10: it must be at least what the network has already"),
    ({"parameters": math.nan}, "parameters must be in .*, got nan"),
])  # fmt: skip
def test_impossible_budgets_say_why(model, budget, message):
    with pytest.raises(ValueError, match=message):
        gl.propose("random", model).within(**budget)


def test_a_model_in_which_nothing_can_grow_says_why():
    with pytest.raises(ValueError, match="nothing can grow.*output of the model"):
        gl.propose("random", nn.Sequential(nn.Flatten(), nn.Linear(4, 2)))


@pytest.mark.parametrize("make, message", [
    (lambda: gl.vgg16([16] * 12), "list of 13.*got 12"), (lambda: gl.vgg5(0), "at least 1, got 0"),
    (lambda: gl.mobilenet([8] * 13), "list of 14.*got 13"), (lambda: gl.mlp([64]), "at least"),
    (lambda: gl.vgg5([4, 4, 4.5, 4]), "whole number.*4.5"), (lambda: gl.vgg5(4.0), "whole number.*4.0"),
    (lambda: gl.vgg5(True), "got True"),
])  # fmt: skip
def test_widths_of_the_wrong_length_or_kind_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
