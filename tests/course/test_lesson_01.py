"""What notebook 01 builds by hand is what the package does."""

import json

import pytest
import torch
from lessons import FOLDER, functions_of
from torch import nn

import growlab as gl
from growlab.course.exercises.neuron_splitting import best_direction, splitting_matrix, widen
from growlab.methods.splitting import second_derivative
from growlab.plans import Candidate, GrowthPlan


@pytest.fixture(scope="module")
def by_hand():
    return functions_of("01_neuron_splitting", splitting_matrix=splitting_matrix, best_direction=best_direction)


def tanh_net(seed=0):
    torch.manual_seed(seed)
    return gl.mlp([9, 6, 5, 4], activation=nn.Tanh).double()


def batch(seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(30, 1, 3, 3, generator=generator).double(), torch.randint(4, (30,), generator=generator)


@pytest.mark.parametrize("parents", [[0], [2, 2], [5, 0, 5, 5, 3]])
def test_widen_by_hand_is_what_apply_does(parents):
    model = tanh_net()
    expected = widen(model[1].weight.detach(), model[3].weight.detach(), parents)
    candidates = tuple(Candidate("1", parent) for parent in parents)
    gl.apply(model, GrowthPlan("by hand", {"1": 6}, candidates))
    for weight, wanted in zip((model[1].weight, model[3].weight), expected):
        torch.testing.assert_close(weight.detach(), wanted)


def test_the_kernel_by_hand_is_the_package_s(by_hand):
    z = torch.linspace(-5, 5, 101).double()
    for beta in (1.0, 3.0):
        torch.testing.assert_close(by_hand["kernel"](z, beta), second_derivative(nn.ReLU(), "relu", z, beta))


def test_the_splitting_matrices_by_hand_are_the_package_s(by_hand):
    model, pictures = tanh_net(), batch(1)
    expected = gl.splitting_matrices(model, [pictures])["1"]
    torch.testing.assert_close(by_hand["first_layer_matrices"](model, *pictures), expected, atol=1e-12, rtol=0)


def test_the_splitting_matrix_of_the_exercise_is_the_package_s_behind_batch_norm():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, 3), nn.BatchNorm1d(3), nn.Tanh(), nn.Linear(3, 4)).double()
    nn.init.uniform_(model[2].weight), model[2].running_var.uniform_(0.5, 2), model.eval()
    images, labels = batch(2)
    z = model[:3](images).detach()
    h = torch.tanh(z).requires_grad_()
    (g,) = torch.autograd.grad(nn.functional.cross_entropy(model[4](h), labels), h)
    slope = (model[2].weight / (model[2].running_var + model[2].eps).sqrt()).detach()
    for i, expected in enumerate(gl.splitting_matrices(model, [(images, labels)])["1"]):
        mine = splitting_matrix(images.flatten(1), z[:, i], slope[i], g[:, i])
        torch.testing.assert_close(mine, expected, atol=1e-12, rtol=0)


def test_the_loss_after_a_split_by_hand_is_that_of_the_grown_network(by_hand):
    model, (images, labels) = tanh_net(), batch(3)
    (unit,) = [unit for unit in gl.units(model) if unit.name == "1"]
    (edit,) = [edit for edit in unit.edits if edit.tensor == "1.weight"]
    for neuron in range(unit.neurons):
        delta = torch.randn(9, generator=torch.Generator().manual_seed(neuron)).double()
        plan = GrowthPlan("by hand", {"1": 6}, (Candidate("1", neuron, values={edit: delta}),))
        _, actual = gl.preview(model, plan, (images, labels))
        after, before = (
            by_hand["loss_after_split"](model, neuron, d, images, labels).item() for d in (delta, 0 * delta)
        )
        assert after - before == pytest.approx(actual, abs=1e-12)


def test_the_ranking_by_hand_is_that_of_propose_with_its_scores(by_hand):
    model, pictures = tanh_net(), batch(4)
    plan = gl.propose("splitting", model, [pictures], fit=1, require_negative=False, path="dense").within(rate=1.0)
    ranking = by_hand["split_ranking"](gl.splitting_matrices(model, [pictures]))
    assert [(c.unit, c.parent) for c in plan.candidates] == [(unit, neuron) for _, unit, neuron in ranking]
    assert [c.score for c in plan.candidates] == pytest.approx([score for score, _, _ in ranking])


def test_the_record_of_twins_separates_rounding_from_unequal_shares():
    """As the text says: all pairs with unequal shares part, in either precision; with equal ones only rounding does."""
    record = json.loads((FOLDER.parent / "data" / "results" / "twins.json").read_text())
    for runs in (record["critters"], record["cifar10"]):
        assert {run["seed"] for run in runs} == set(range(5))
        for run in runs:
            last = run["epochs"][-1]
            assert last["equal"]["mean"] < 8 and (run["precision"] == "float32" or last["equal"]["largest"] < 1e-8)
            assert ("unequal" in last) == (run["shares"] == "plain")
            if run["shares"] == "plain":
                assert last["unequal"]["smallest"] > 2 and last["unequal"]["mean"] > 15
    of = {(run["seed"], run["precision"]): run["epochs"][-1]["unequal"]["mean"]
          for run in record["critters"] if (run["shares"], run["rate"]) == ("plain", "schedule")}  # fmt: skip
    assert all(0.5 < of[seed, "float32"] / of[seed, "float64"] < 2 for seed in range(5))
    single = [run for run in record["cifar10"] if run["precision"] == "float32"]
    for shares, mean in (("plain", 14.0), ("equal", 0.4)):  # degrees, in the README
        recorded = [run["as recorded"] for run in single if run["shares"] == shares]
        assert sum(recorded) / 5 == pytest.approx(mean, abs=0.05)


def test_the_held_out_share_by_hand_is_what_propose_keeps(by_hand):
    model, one, other = tanh_net(), batch(5), batch(6)
    assert all((torch.linalg.eigvalsh(s)[:, 0] < 0).all() for s in gl.splitting_matrices(model, [one]).values())
    kept = gl.propose("splitting", model, [one, other], fit=1, held_out=1).neurons
    assert 0 < kept < 11 and by_hand["still_negative"](model, one, other) == pytest.approx(kept / 11)
