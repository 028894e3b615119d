"""A preview says beforehand what a plan promises and what it will do."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from oracles import unsettle
from torch import nn

import growlab as gl
from growlab.plans import METHODS, Candidate, GrowthPlan
from growlab.structure.graph import named_tensors


@pytest.fixture
def subject():
    """A network with smooth activations in the middle of its training, and the batch it is at."""
    torch.manual_seed(0)
    centres = torch.randn(20, 12, dtype=torch.float64)
    batch = centres.repeat(10, 1) + 0.3 * torch.randn(200, 12, dtype=torch.float64), torch.arange(20).repeat(10) % 5
    model = gl.mlp([12, 6, 6, 5], nn.Tanh).double()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(model(batch[0]), batch[1]).backward()
        optimizer.step()
    return model, batch


def loss(model, batch):
    with torch.no_grad():
        return F.cross_entropy(copy.deepcopy(model).eval()(batch[0]), batch[1]).item()


@pytest.mark.parametrize("method", METHODS)
def test_it_works_for_every_method_and_measures_what_apply_does(method, subject):
    model, batch = subject
    plan = gl.propose(method, model, [batch] * 2)
    plan = plan.within(neurons=min(4, plan.neurons))
    before = loss(model, batch)
    predicted, actual = gl.preview(model, plan, batch)
    gl.apply(model, plan)
    assert actual == pytest.approx(loss(model, batch) - before, abs=1e-14)
    if method in ("random", "net2net", "gradmax"):
        assert math.isnan(predicted)  # their scores are random numbers or lengths of gradients: they promise nothing
        assert abs(actual) < 1e-12  # and at their defaults they keep the function
    else:
        assert predicted == -sum(c.score for c in plan.candidates)


@pytest.mark.parametrize("method, options, tolerance", [
    ("firefly", {"step_size": 0.01}, 0.1), ("firefly", {}, 0.2),
    ("splitting", {"require_negative": False}, 0.02),
])  # fmt: skip
def test_small_steps_do_what_they_promise(method, options, tolerance, subject):
    """Scores leave out that candidates meet each other and (splitting) the fourth order: both vanish with the step."""
    if method not in METHODS:
        pytest.skip(f"there is no method {method}")
    model, batch = subject
    plan = gl.propose(method, model, [batch], **options)
    predicted, actual = gl.preview(model, plan.within(neurons=4), batch)
    assert actual < 0 and predicted == pytest.approx(actual, rel=tolerance)


def test_a_plan_of_one_s_own_and_an_empty_plan(subject):
    model, batch = subject
    widths = {unit.name: unit.neurons for unit in gl.units(model)}
    own = GrowthPlan("mine", widths, (Candidate("1", 0, score=0.25), Candidate("1", 1, score=0.5)))
    assert gl.preview(model, own, batch) == (-0.75, pytest.approx(0, abs=1e-14))  # it promised too much
    assert gl.preview(model, GrowthPlan("mine", widths, ()), batch) == (0, 0)


def test_it_is_in_eval_mode_and_leaves_the_model_as_it_is():
    torch.manual_seed(0)
    batch = torch.randn(8, 3, 32, 32, dtype=torch.float64), torch.randint(10, (8,))
    model = unsettle(gl.vgg5(4), batch[0]).train()
    F.cross_entropy(model(batch[0]), batch[1]).backward()
    before = {name: (tensor.clone(), tensor.data_ptr()) for name, tensor in named_tensors(model).items()}
    gradients = [p.grad.clone() for p in model.parameters()]
    plan = gl.propose("net2net", model, step=0.1)
    first = gl.preview(model, plan, batch)
    assert gl.preview(model, plan, batch)[1] == first[1] != 0  # batch norm in train mode would not repeat itself
    with pytest.raises(ValueError, match="other widths"):
        gl.preview(model, GrowthPlan("other", {"0": 99}, ()), batch)
    assert model.training and [u.neurons for u in gl.units(model)] == [4] * 4
    assert all(torch.equal(t, before[n][0]) and t.data_ptr() == before[n][1] for n, t in named_tensors(model).items())
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), gradients))
