"""Equal shares of a lineage: who belongs to it, that the function stays, and what becomes of the optimiser."""

import copy
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import growlab as gl
from growlab.lab.treatments import equal_shares, lineages
from growlab.plans import Candidate, GrowthPlan


class Joined(nn.Module):
    """Two branches side by side, flattened: the consumer has offsets, and four entries for each channel."""

    def __init__(self):
        super().__init__()
        self.left, self.right = (nn.Conv2d(3, 3, 3, padding=1, bias=False) for _ in range(2))
        self.norms = nn.ModuleList([nn.BatchNorm2d(3), nn.BatchNorm2d(3)])
        self.pool, self.last = nn.AdaptiveAvgPool2d(2), nn.Linear(24, 5)

    def forward(self, x):
        both = torch.cat([norm(layer(x)) for norm, layer in zip(self.norms, (self.left, self.right))], 1)
        return self.last(self.pool(F.relu(both)).flatten(1))


def step(model, optimizer, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(16, 3, 16, 16, generator=generator).double()
    y = torch.randint(5, (16,), generator=generator)
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(model.train()(x), y).backward()
        optimizer.step()
    return x


def grown(model, make, generations):
    """The model, its optimiser and a history, grown by copies of these parents of each unit; trained in between."""
    optimizer, history = make(model.parameters()), SimpleNamespace(growths=[])
    for parents in generations:
        step(model, optimizer)
        widths = {unit.name: unit.neurons for unit in gl.units(model)}
        new = tuple(Candidate(unit, parent) for unit in widths for parent in parents if parent < widths[unit])
        plan = gl.apply(model, GrowthPlan("by hand", widths, new), optimizer)
        history.growths.append({"new": plan.table().to_dict("list")})
    return model, optimizer, history


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.05, momentum=0.9)


def adam(parameters):
    return torch.optim.Adam(parameters, lr=0.01, amsgrad=True)


MODELS = {
    "joined": Joined,
    "vgg5": lambda: gl.vgg5(width=3, classes=5),
    "mobilenet": lambda: gl.mobilenet(width=4, classes=5),
}
GENERATIONS = [(0,), (0, 1), (3, 1)]  # 0 is copied twice, and its first copy, 3, once more


def test_lineages_reach_over_all_growths():
    _, _, history = grown(gl.vgg5(width=3, classes=5).double(), sgd, GENERATIONS)
    assert lineages(history) == {name: [[0, 3, 4, 6], [1, 5, 7]] for name in ("0", "4", "8", "12")}


@pytest.mark.parametrize("make", [sgd, adam])
@pytest.mark.parametrize("name", MODELS)
def test_the_function_stays_and_the_shares_are_equal(name, make):
    torch.manual_seed(0)
    model, optimizer, history = grown(MODELS[name]().double(), make, [(0, 1), (0,)])
    x = torch.randn(7, 3, 16, 16).double()
    before = [copy.deepcopy(model).train(mode)(x) for mode in (True, False)]
    equal_shares(model, optimizer, history)
    for mode, wanted in zip((True, False), before):
        torch.testing.assert_close(copy.deepcopy(model).train(mode)(x), wanted, atol=1e-12, rtol=1e-12)
    tensors, seen = dict(model.named_parameters()), set()
    for unit in gl.units(model):
        for edit in unit.edits:
            if edit.kind == "share":
                seen.add((edit.offset > 0, edit.repeat > 1))
                neurons = tensors[edit.tensor].movedim(edit.axis, 0)[edit.offset :][: unit.neurons * edit.repeat]
                neurons = neurons.unflatten(0, (unit.neurons, edit.repeat))
                assert torch.equal(neurons[0], neurons[-1])  # 0 and its second copy
    assert name != "joined" or seen == {(False, True), (True, True)}


@pytest.mark.parametrize("make", [sgd, adam])
def test_a_network_with_equal_shares_trains_as_if_it_had_been_copied_so_at_once(make):
    """Two growths of one copy each, and one growth of two: the same network, and the same state of the optimiser."""
    torch.manual_seed(0)
    start = gl.vgg5(width=3, classes=5).double()
    optimizer = make(start.parameters())
    step(start, optimizer)

    def after(*generations):
        model, state = copy.deepcopy((start, optimizer))
        history = SimpleNamespace(growths=[])
        for parents in generations:
            widths = {unit.name: unit.neurons for unit in gl.units(model)}
            new = tuple(Candidate(unit, parent) for unit in widths for parent in parents)
            plan = gl.apply(model, GrowthPlan("by hand", widths, new), state)
            history.growths.append({"new": plan.table().to_dict("list")})
        equal_shares(model, state, history)
        step(model, state, seed=1)
        return model

    for one, other in zip(after((0,), (3,)).parameters(), after((0, 0)).parameters()):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-9)
