"""What notebook 03 and its exercises build by hand is what the package does."""

import json

import pytest
import torch
import torch.nn.functional as F
from lessons import FOLDER, functions_of
from torch import nn
from torch.func import functional_call

import growlab as gl
from growlab.course.exercises import firefly as lesson
from growlab.methods import firefly as ff
from growlab.plans import Candidate, GrowthPlan
from growlab.seeds import random_stream
from growlab.structure.graph import named_tensors

SIZE, FRESH = 0.1, 4


@pytest.fixture(scope="module")
def functions():
    return functions_of("03_firefly")


@pytest.fixture
def small():
    """A network of one hidden layer, as the notebook's: no bias there, and directions as the package starts them."""
    torch.manual_seed(0)
    model = gl.mlp([5, 3, 4], nn.Tanh).double()
    nn.init.zeros_(model[1].bias)
    x, labels = torch.randn(40, 5, dtype=torch.float64), torch.randint(4, (40,))
    tensors = {name: tensor.detach() for name, tensor in named_tensors(model).items()}
    p = ff.perturb(gl.units(model), tensors, FRESH, SIZE, random_stream(0, "firefly"))
    start = {kind: direction for (kind, edit), direction in p.directions.items() if edit.tensor.endswith("weight")}
    directions = [start[kind].detach().clone() for kind in ("split", "incoming", "outgoing")]
    return model, (x, labels), p, tensors, directions


def test_the_hand_built_layer_is_the_packages_enlarged_network(small):
    model, (x, _), p, tensors, (v, u, o) = small
    with torch.no_grad():
        for direction in p.directions.values():
            direction.copy_(torch.randn_like(direction))
    v, u, o = (
        {kind: d.detach() for (kind, _), d in p.directions.items()}[kind] for kind in ("split", "incoming", "outgoing")
    )
    for y in (0.0, 0.5, 1.0):
        logits = functional_call(ff.enlarge(model, p), ff.gated_weights(tensors, p, y), (x,))
        gates = torch.full((3 + FRESH,), y, dtype=torch.float64)
        by_hand = lesson.perturbed_layer(x, model[1].weight, model[3].weight, v, u, o, gates) + model[3].bias
        torch.testing.assert_close(by_hand, logits, rtol=0, atol=1e-12)


def test_the_score_by_hand_is_the_packages():
    direction, gradient = torch.randn(2, 6, 4, dtype=torch.float64)
    for gate in (0.25, 0.5, 1.0):
        assert torch.equal(lesson.gate_score(direction, gradient, gate), ff.gate_score(direction, gradient, gate))


def test_directions_trained_and_scored_by_hand_are_those_of_the_package(functions, small):
    model, batch, _, tensors, start = small
    rms = [tensors[f"{place}.weight"].square().mean().sqrt() for place in (1, 3)]
    gates = torch.ones(3 + FRESH, dtype=torch.float64)

    def loss(v, u, o, gates=gates):
        logits = lesson.perturbed_layer(batch[0], tensors["1.weight"], tensors["3.weight"], v, u, o, gates)
        return F.cross_entropy(logits + tensors["3.bias"], batch[1])

    sizes = [SIZE * rms[0], SIZE * rms[0], SIZE * rms[1] / 10]
    by_hand = functions["train_directions"](*start, loss, 5, sizes)
    gates = torch.full_like(gates, 0.5, requires_grad=True)
    (slopes,) = torch.autograd.grad(loss(*by_hand, gates), gates)
    plan = gl.propose("firefly", model, [batch], fresh=FRESH, steps=5, scoring=1, step_size=SIZE, penalty=0)
    scores = torch.tensor([c.score for c in plan.candidates], dtype=torch.float64)
    torch.testing.assert_close((-slopes).sort(descending=True).values, scores, rtol=1e-9, atol=1e-14)
    moved = {c.parent: v for c in plan.candidates if c.kind == "split" for v in c.values.values()}
    torch.testing.assert_close(
        torch.cat([moved[i].reshape(1, -1) for i in range(3)]), by_hand[0], rtol=1e-9, atol=1e-14
    )


def test_picking_by_hand_is_the_plans_budget():
    torch.manual_seed(0)
    scores = [torch.randn(5), torch.randn(3)]
    candidates = tuple(
        Candidate(str(layer), i, s.item()) for layer, row in enumerate(scores) for i, s in enumerate(row)
    )
    for k in range(9):
        plan = GrowthPlan("mine", {"0": 5, "1": 3}, candidates).within(neurons=k)
        assert [(int(c.unit), c.parent) for c in plan.candidates] == lesson.pick(scores, k)


def test_building_by_hand_is_apply(small):
    model, (x, _), *_ = small
    w, out, bias = (tensor.detach().clone() for tensor in (model[1].weight, model[3].weight, model[3].bias))
    (unit,) = gl.units(model)
    rows, columns = (
        next(e for e in unit.edits if e.kind == kind and e.tensor.endswith("weight")) for kind in ("copy", "share")
    )
    v, u, o = (torch.randn(shape, dtype=torch.float64) for shape in ((3, 5), (2, 5), (4, 2)))
    new = [Candidate(unit.name, i, 0.0, {rows: v[i : i + 1]}) for i in (0, 2)]
    new.append(Candidate(unit.name, None, 0.0, {rows: u[1:], columns: o[:, 1:]}))
    gl.apply(model, GrowthPlan("mine", {unit.name: 3}, tuple(new)))
    by_hand = lesson.tanh_layer(x, *lesson.build(w, out, v, u, o, [0, 2], [1])) + bias
    torch.testing.assert_close(model(x), by_hand, rtol=0, atol=1e-12)


def test_the_record_has_ten_seeds_of_every_arm_that_the_notebook_names():
    record = json.loads((FOLDER.parent / "data" / "results" / "03_firefly.json").read_text())
    assert set(record["test_accuracy"]) == {"Tanh", "ReLU"}
    text = (FOLDER / "text" / "03_firefly.py").read_text()
    for arms in record["test_accuracy"].values():
        assert all(f'"{name}"' in text and len(values) == len(record["seeds"]) == 10 for name, values in arms.items())
