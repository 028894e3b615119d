"""Growing keeps the function, the identity of the parameters and the memory of the optimiser."""

import copy

import pytest
import torch
import torch.nn.functional as F
from oracles import change, outputs, unsettle
from torch import nn

import growlab as gl
from growlab import surgery
from growlab.plans import Candidate, GrowthPlan
from growlab.structure.graph import named_tensors
from growlab.structure.units import units

MODELS = {
    "mlp": lambda: gl.mlp([3 * 32 * 32, 7, 5, 10]),
    "vgg5": lambda: gl.vgg5([4, 5, 6, 7]),
    "vgg16": lambda: gl.vgg16([4, 5, 6, 7, 8, 4, 5, 6, 7, 8, 4, 5, 6]),
    "mobilenet": lambda: gl.mobilenet([6, 5, 4, 7, 8, 5, 6, 7, 4, 5, 6, 7, 8, 5]),
    "flatten over 2x2": lambda: nn.Sequential(
        nn.Conv2d(3, 5, 3, 4, 1), nn.BatchNorm2d(5), nn.ReLU(), nn.AvgPool2d(4), nn.Flatten(),
        nn.BatchNorm1d(20), nn.Linear(20, 6), nn.Tanh(), nn.Linear(6, 10),
    ),
    "transposed and 1d": lambda: nn.Sequential(
        nn.ConvTranspose2d(3, 4, 2, 2), nn.PReLU(4), nn.Conv2d(4, 6, 3, 2, bias=True),
        nn.InstanceNorm2d(6, affine=True),
        nn.ReLU(), nn.Flatten(2), nn.Conv1d(6, 5, 3), nn.ReLU(), nn.AdaptiveMaxPool1d(3), nn.Flatten(),
        nn.Linear(15, 10),
    ),
}  # fmt: skip


@pytest.fixture(params=MODELS)
def subject(request):
    torch.manual_seed(0)
    images = pictures(request.param)
    return unsettle(MODELS[request.param](), images), images


def pictures(name):
    """Eight pictures, large enough that the last map is at least 2x2."""
    side = 64 if name in ("vgg5", "vgg16", "mobilenet") else 32
    return torch.randn(8, 3, side, side, dtype=torch.float64)


def copies(model, seed=0):
    """A plan in which every unit grows: random parents, neuron 0 twice, so families of two, three and more."""
    generator = torch.Generator().manual_seed(seed)
    found = units(model)
    new = [
        Candidate(unit.name, parent)
        for unit in found
        for parent in [0, 0, *torch.randint(unit.neurons, (3,), generator=generator).tolist()]
    ]
    return GrowthPlan("test", {unit.name: unit.neurons for unit in found}, tuple(new))


@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
def test_copies_keep_the_function(subject, train):
    model, images = subject
    before = outputs(model, images, train)
    gl.apply(model, copies(model))
    assert change(before, outputs(model, images, train)) < 1e-10


@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
def test_the_test_sees_a_forgotten_division(subject, train, monkeypatch):
    """The negative control of the test above: the same surgery, but every family counted as one."""
    model, images = subject
    before = outputs(model, images, train)
    monkeypatch.setattr(surgery.Births, "family", property(lambda births: torch.ones_like(births.old)))
    gl.apply(model, copies(model))
    assert change(before, outputs(model, images, train)) > 0.1


@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
def test_fresh_neurons_with_zero_outgoing_weights_keep_the_function(subject, train):
    model, images = subject
    before = outputs(model, images, train)
    gl.apply(model, gl.propose("random", model))
    assert change(before, outputs(model, images, train)) < 1e-10


def test_fresh_neurons_with_outgoing_weights_change_the_function(subject):
    model, images = subject
    before = outputs(model, images, train=False)
    gl.apply(model, gl.propose("random", model, outgoing=0.5))
    assert change(before, outputs(model, images, train=False)) > 1e-3


def test_copies_and_fresh_neurons_of_neighbours_in_one_plan_keep_the_function(subject):
    model, images = subject
    before = outputs(model, images, train=False)
    plan, fresh = copies(model), gl.propose("random", model)
    gl.apply(model, GrowthPlan("both", plan.widths, plan.candidates + fresh.candidates))
    assert change(before, outputs(model, images, train=False)) < 1e-10


@pytest.mark.parametrize("name", MODELS)
def test_float32_keeps_the_function_to_its_rounding(name):
    torch.manual_seed(0)
    images = pictures(name).float()
    model = unsettle(MODELS[name](), images).float()
    before = outputs(model, images, train=False)
    gl.apply(model, copies(model))
    assert change(before, outputs(model, images, train=False)) < 1e-4


def test_two_linear_layers_by_hand():
    """The whole of ``widen`` on the smallest case, written out: one split, one fresh neuron."""
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)).double()
    w, b, u = (model[0].weight.detach().clone(), model[0].bias.detach().clone(), model[2].weight.detach().clone())
    (unit,) = units(model)
    incoming, _, outgoing = unit.edits
    v, fresh, o = torch.tensor([0.1, -0.2]).double(), torch.tensor([3.0, 4.0]).double(), torch.tensor([5.0]).double()
    plan = GrowthPlan("hand", {"0": 3}, (
        Candidate("0", 1, values={incoming: v}), Candidate("0", None, values={incoming: fresh, outgoing: o}),
    ))  # fmt: skip
    gl.apply(model, plan)
    torch.testing.assert_close(model[0].weight, torch.stack([w[0], w[1] - v, w[2], w[1] + v, fresh]), rtol=0, atol=0)
    torch.testing.assert_close(model[0].bias, torch.cat([b, b[1:2], torch.zeros(1)]), rtol=0, atol=0)
    expected = torch.tensor([[u[0, 0], u[0, 1] / 2, u[0, 2], u[0, 1] / 2, 5.0]]).double()
    torch.testing.assert_close(model[2].weight, expected, rtol=0, atol=0)
    assert (model[0].out_features, model[2].in_features) == (5, 5)


def test_slices_of_neighbours_follow_each_other_s_growth():
    """A split and a fresh neuron in each of two neighbouring layers: new rows are shared out over new columns."""
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1)).double()
    first, second = units(model)
    w = model[2].weight.detach().clone()
    row = next(e for e in second.edits if e.tensor == "2.weight")
    column = next(e for e in first.edits if e.tensor == "2.weight")
    v, u, o = torch.tensor([[0.1, 0.2], [3.0, 4.0], [5.0, 6.0]]).double()
    gl.apply(model, GrowthPlan("hand", {"0": 2, "2": 2}, (
        Candidate("0", 1), Candidate("0", None, values={column: o}),
        Candidate("2", 0, values={row: v}), Candidate("2", None, values={row: u}),
    )))  # fmt: skip
    old = torch.stack([w[0] - v, w[1], w[0] + v, u])  # rows of the second layer before its inputs grew
    expected = torch.stack([old[:, 0], old[:, 1] / 2, old[:, 1] / 2, torch.tensor([5.0, 6.0, 5.0, 0.0]).double()], 1)
    torch.testing.assert_close(model[2].weight, expected, rtol=0, atol=1e-15)


# The optimiser


def one_step(model, optimizer, images, labels):
    optimizer.zero_grad()
    F.cross_entropy(model.train()(images), labels).backward()
    optimizer.step()


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, 0.05, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, 0.01),
    "adamw, amsgrad": lambda p: torch.optim.AdamW(p, 0.01, amsgrad=True, weight_decay=0.1),
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("name", ["mlp", "vgg5", "mobilenet"])
def test_after_zero_outgoing_growth_old_weights_move_as_if_nothing_had_happened(name, kind):
    torch.manual_seed(0)
    images, labels = torch.randn(16, 3, 32, 32, dtype=torch.float64), torch.randint(10, (16,))
    model = unsettle(MODELS[name](), images)
    optimizer = OPTIMIZERS[kind](model.parameters())
    for _ in range(3):
        one_step(model, optimizer, images, labels)
    twin, twin_optimizer = copy.deepcopy((model, optimizer))
    gl.apply(model, gl.propose("random", model), optimizer)
    one_step(model, optimizer, images, labels)
    one_step(twin, twin_optimizer, images, labels)
    for name, old in twin.named_parameters():
        new = dict(model.named_parameters())[name][tuple(slice(length) for length in old.shape)]
        torch.testing.assert_close(new, old, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["mlp", "vgg5", "vgg16", "mobilenet"])
def test_carried_momentum_is_the_gradient_that_the_grown_network_has(name):
    """Momentum that equals the gradient still equals it after copying: incoming 1/m of the parent's, outgoing 1."""
    torch.manual_seed(0)
    images, labels = torch.randn(16, 3, 32, 32, dtype=torch.float64), torch.randint(10, (16,))
    model = unsettle(MODELS[name](), images)
    adam = torch.optim.Adam(model.parameters(), 0.0, betas=(0.0, 0.0))  # its moments: the last gradient and its square
    one_step(model, adam, images, labels)
    gl.apply(model, copies(model), adam)
    model.zero_grad()
    F.cross_entropy(model.train()(images), labels).backward()
    for parameter in model.parameters():
        scale = parameter.grad.abs().max()
        torch.testing.assert_close(adam.state[parameter]["exp_avg"], parameter.grad, rtol=0, atol=1e-10 * scale)
        torch.testing.assert_close(
            adam.state[parameter]["exp_avg_sq"], parameter.grad**2, rtol=0, atol=1e-10 * scale**2
        )


def test_parameters_stay_the_same_objects_in_the_same_groups():
    model = gl.vgg5(4)
    optimizer = torch.optim.SGD(
        [{"params": [p], "lr": 0.1 * i} for i, p in enumerate(model.parameters())], momentum=0.9
    )
    before = [id(p) for group in optimizer.param_groups for p in group["params"]]
    gl.apply(model, copies(model), optimizer)
    assert before == [id(p) for p in model.parameters()] == [id(p) for g in optimizer.param_groups for p in g["params"]]
    one_step(model, optimizer, torch.randn(8, 3, 32, 32), torch.randint(10, (8,)))


def test_an_optimizer_of_another_model_is_refused_and_nothing_changes():
    model = gl.vgg5(4)
    stale = torch.optim.SGD(copy.deepcopy(model).parameters(), 0.1)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match="holds none of the parameters"):
        gl.apply(model, copies(model), stale)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values()))


def test_state_that_cannot_grow_is_refused_and_nothing_changes():
    model = gl.mlp([64, 8, 10])
    adafactor = torch.optim.Adafactor(model.parameters())
    one_step(model, adafactor, torch.randn(8, 1, 8, 8), torch.randint(10, (8,)))
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match="row_var.*use an optimizer"):
        gl.apply(model, copies(model), adafactor)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values()))


def test_memory_format_dtype_and_requires_grad_survive():
    model = gl.mobilenet(8).to(torch.float16, memory_format=torch.channels_last)
    model[0].weight.requires_grad_(False)
    gl.apply(model, copies(model))
    for name, tensor in named_tensors(model).items():
        if tensor.dim() == 4:
            assert tensor.is_contiguous(memory_format=torch.channels_last), name
        assert tensor.dtype == (torch.int64 if name.endswith("num_batches_tracked") else torch.float16)
    assert [p.requires_grad for p in model.parameters()] == [False] + [True] * (len(list(model.parameters())) - 1)
