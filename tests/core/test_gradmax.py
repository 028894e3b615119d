"""GradMax: the singular vectors of M by hand, the function kept, and gradients as large as the scores say."""

import copy
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
import torchvision
from oracles import change, outputs, unsettle
from torch import nn

import growlab as gl
from growlab.structure.graph import named_tensors
from growlab.surgery import slot

MODELS = {
    "mlp": (lambda: gl.mlp([3 * 16 * 16, 7, 6, 10]), 16),
    "tanh": (lambda: gl.mlp([3 * 16 * 16, 7, 6, 10], nn.Tanh), 16),
    "vgg5": (lambda: gl.vgg5([4, 5, 6, 7]), 32),
    "mobilenet": (lambda: gl.mobilenet([6, 5, 4, 7, 8, 5, 6, 7, 4, 5, 6, 7, 8, 5]), 32),
    "flatten, transposed": (lambda: nn.Sequential(
        nn.ConvTranspose2d(3, 4, 2, 2), nn.ReLU(), nn.Conv2d(4, 5, 3, 8), nn.BatchNorm2d(5), nn.SiLU(), nn.Flatten(),
        nn.Linear(80, 10),
    ), 16),
}  # fmt: skip


def subject(name, pictures=24):
    torch.manual_seed(0)
    make, side = MODELS[name]
    images = F.interpolate(torch.randn(pictures, 3, side // 4, side // 4, dtype=torch.float64), side)
    return unsettle(make(), images), (images, torch.randint(10, (pictures,)))


def two_layers(activation, size=1.0):
    """A small network, a batch, and M = Σ g xᵀ written out, with the mean length of the filters."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 4), activation, nn.Linear(4, 5)).double()
    with torch.no_grad():
        net[0].weight.mul_(size)
    x, labels = torch.randn(50, 6, dtype=torch.float64), torch.randint(5, (50,))
    logits = net(x)
    (g,) = torch.autograd.grad(F.cross_entropy(logits, labels), logits)
    return net, (x, labels), g.T @ x, net[0].weight.detach().norm(dim=1).mean()


def measured(model, plan, batch):
    """After growth, by unit: the length of the gradient of each new neuron's outgoing weights, by plain autograd."""
    model = copy.deepcopy(model).train()
    widths = {unit.name: unit.neurons for unit in gl.units(model)}
    gl.apply(model, plan)
    F.cross_entropy(model(batch[0]), batch[1]).backward()
    tensors, found = named_tensors(model), {}
    for unit in gl.units(model):
        found[unit.name] = torch.zeros(unit.neurons - widths[unit.name], dtype=torch.float64)
        for edit in (edit for edit in unit.edits if edit.kind == "share"):
            for j in range(len(found[unit.name])):
                gradient = slot(tensors[edit.tensor].grad, edit, widths[unit.name] + j)
                found[unit.name][j] += gradient.double().square().sum()
    return {name: squares.sqrt() for name, squares in found.items()}


def scores(plan):
    by_unit = {name: [] for name in plan.widths}
    for candidate in plan.candidates:
        by_unit[candidate.unit].append(candidate.score)
    return {name: torch.tensor(found, dtype=torch.float64) for name, found in by_unit.items()}


# The oracle


def test_without_activation_they_are_the_singular_vectors_of_m():
    net, batch, m, length = two_layers(nn.Identity())
    plan = gl.propose("gradmax", net, [batch], steps=400)
    _, values, vectors = torch.linalg.svd(m)
    (unit,) = gl.units(net)
    w = torch.cat([candidate.values[unit.filters] for candidate in plan.candidates]).reshape(4, 6)
    torch.testing.assert_close((w @ vectors[:4].T / length).abs(), torch.eye(4, dtype=torch.float64), atol=1e-6, rtol=0)
    torch.testing.assert_close(scores(plan)["0"], (values * length)[:4], rtol=1e-9, atol=0)


def test_a_convolution_without_activation_sums_m_over_positions():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()).double()
    images, labels = torch.randn(20, 2, 6, 6, dtype=torch.float64), torch.randint(4, (20,))
    middle = net[1](net[0](images))
    (g,) = torch.autograd.grad(F.cross_entropy(net[2:](middle), labels), middle)
    m = torch.einsum("bcp,bdp->cd", g.flatten(2), F.unfold(images, 3))
    length = net[0].weight.detach().flatten(1).norm(dim=1).mean()
    plan = gl.propose("gradmax", net, [(images, labels)], steps=400)
    torch.testing.assert_close(scores(plan)["0"], torch.linalg.svdvals(m)[:3] * length, rtol=1e-9, atol=0)


def test_small_weights_make_tanh_linear():
    """tanh(z) = z + O(z³): scores differ from the singular values by the square of the weights' size."""
    differences = []
    for size in (0.1, 0.05):
        net, batch, m, length = two_layers(nn.Tanh(), size)
        expected = torch.linalg.svdvals(m)[:4] * length
        found = scores(gl.propose("gradmax", net, [batch], steps=400))["0"]
        differences.append(((found - expected).abs().max() / expected.max()).item())
    assert differences[0] < 1e-2 and 3 < differences[0] / differences[1] < 5


def test_candidates_beyond_the_rank_and_dead_ones_are_left_out():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 3))
    batch = torch.randn(30, 6), torch.randint(3, (30,))
    assert gl.propose("gradmax", net, [batch], steps=200).neurons == 2  # the gradients of three logits sum to zero
    assert gl.propose("gradmax", net.double(), [(batch[0].double(), batch[1])], steps=200).neurons == 2
    narrow = gl.mlp([3, 8, 10], nn.Tanh)
    assert gl.propose("gradmax", narrow, [(torch.randn(30, 3), torch.randint(10, (30,)))]).neurons == 3
    dead = torchvision.models.VisionTransformer(32, 16, 2, 2, 16, 32, num_classes=10)  # its head is zero
    assert gl.propose("gradmax", dead, [(torch.randn(4, 3, 32, 32), torch.arange(4))]).neurons == 0


# In real networks


@pytest.mark.parametrize("name", MODELS)
def test_the_function_is_kept_and_the_gradients_are_the_scores(name):
    model, batch = subject(name)
    plan = gl.propose("gradmax", model, [batch])
    assert plan.neurons >= 0.8 * sum(plan.widths.values())
    assert [c.score for c in plan.candidates] == sorted((c.score for c in plan.candidates), reverse=True)
    built = copy.deepcopy(model)
    gl.apply(built, plan)
    assert change(outputs(model, batch[0], train=False), outputs(built, batch[0], train=False)) < 1e-9
    promised = scores(plan)
    for unit, found in measured(model, plan, batch).items():
        torch.testing.assert_close(found, promised[unit], rtol=1e-9, atol=0)
    for unit in gl.units(model):  # all as long as the layer's filters are on average, and orthogonal
        rows = [c.values[unit.filters].flatten() for c in plan.candidates if c.unit == unit.name]
        gram = torch.stack(rows) @ torch.stack(rows).T / unit.weight.norm(dim=1).mean() ** 2
        torch.testing.assert_close(gram, torch.eye(len(gram), dtype=gram.dtype), atol=1e-9, rtol=0)


@pytest.mark.parametrize("name", MODELS)
def test_gradients_are_longer_than_those_of_random_neurons(name):
    """50 random sets of as many orthogonal filters: longer than their mean in every layer, than the best in all."""
    model, batch = subject(name)
    plan, generator, draws = gl.propose("gradmax", model, [batch]), torch.Generator().manual_seed(1), []
    for _ in range(50):
        candidates = []
        for unit in gl.units(model):
            own = [c for c in plan.candidates if c.unit == unit.name]
            noise = torch.randn(unit.weight.shape[1], len(own), generator=generator, dtype=torch.float64)
            rows = unit.weight.norm(dim=1).mean() * torch.linalg.qr(noise)[0].T
            candidates += [replace(c, values={**c.values, unit.filters: w}) for c, w in zip(own, rows)]
        draws.append(measured(model, replace(plan, candidates=tuple(candidates)), batch))
    for unit, promised in scores(plan).items():
        others = torch.stack([draw[unit] for draw in draws]).norm(dim=1)
        assert promised.norm() > 1.02 * others.mean()
    totals = [torch.cat([*found.values()]).norm() for found in (scores(plan), *draws)]
    assert totals[0] > 1.2 * max(totals[1:])


def test_their_gradients_are_longer_on_other_pictures_too():
    """One half of the pictures made the directions, the other half is measured."""
    model, (images, labels) = subject("vgg5", 96)
    other = images[48:], labels[48:]
    plan = gl.propose("gradmax", model, [(images[:48], labels[:48])])
    lengths = [torch.cat([*measured(model, p, other).values()]).norm() for p in (plan, gl.propose("random", model))]
    assert lengths[0] > 1.1 * lengths[1]


# What it takes and leaves


def test_its_seed_and_what_it_leaves_alone():
    model, batch = subject("vgg5")
    model.train()[0].eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    torch.manual_seed(3)
    first, again, other = (gl.propose("gradmax", model, iter([batch]), seed=seed) for seed in ((1, "a"), (1, "a"), 2))
    torch.testing.assert_close(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(3)))
    for a, b in zip(first.candidates, again.candidates):
        assert a == b and all(torch.equal(a.values[edit], b.values[edit]) for edit in a.values)
    assert [c.score for c in first.candidates] != [c.score for c in other.candidates]
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert modes == [module.training for module in model.modules()]
    assert not any(value.requires_grad for c in first.candidates for value in c.values.values())


def test_what_it_refuses():
    model, (images, labels) = subject("mlp")
    for batches in (None, [], iter(())):
        with pytest.raises(ValueError, match="gradmax needs batches: gl.propose"):
            gl.propose("gradmax", model, batches)
    for steps in (0, -1, 1.5, True):
        with pytest.raises(ValueError, match="steps must be a whole number of at least 1, got"):
            gl.propose("gradmax", model, [(images, labels)], steps=steps)
    with pytest.raises(ValueError, match="the loss is nan, it has no gradient"):
        gl.propose("gradmax", model, [(images * math.nan, labels)])
    with pytest.raises(ValueError, match="nothing can grow"):
        gl.propose("gradmax", nn.Sequential(nn.Flatten(), nn.Linear(768, 10)).double(), [(images, labels)])


@pytest.mark.parametrize("make", [
    lambda p: torch.optim.SGD(p, 0.05, momentum=0.9), lambda p: torch.optim.AdamW(p, 0.01),
])  # fmt: skip
def test_new_neurons_learn_under_every_optimiser_in_float32(make):
    model, (images, labels) = subject("vgg5")
    model, images = model.float().train(), images.float()
    optimizer = make(model.parameters())

    def step():
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    step()
    plan = gl.propose("gradmax", model, [(images, labels)]).within(rate=0.5)
    gl.apply(model, plan, optimizer)
    step()
    tensors = named_tensors(model)
    for unit in gl.units(model):
        for edit in (edit for edit in unit.edits if edit.kind == "share"):
            for neuron in range(plan.widths[unit.name], unit.neurons):
                assert slot(tensors[edit.tensor], edit, neuron).any()


def test_it_trains_and_runs(tmp_path):
    data = gl.load_data("digits", limit=300)
    history = gl.train(gl.mlp([64, 6, 10]), data, 2, growth=gl.Growth("gradmax", 0.5, at=(1,)), progress=False)
    assert history.growths[0]["method"] == "gradmax" and history.growths[0]["neurons"] == 3
    options = {"model": "mlp", "width": 6, "method": "gradmax", "rate": 0.5, "at": (1,), "options": {"steps": 2}}
    table = gl.execute([gl.Run("digits", 300, epochs=2, **options)], tmp_path)
    assert list(table["method"]) == ["gradmax"] and table["state"].item() == "finished"
