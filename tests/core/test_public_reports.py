"""Small models after public bug reports: kept to rounding, frozen with a reason, or refused in words."""

import copy
import itertools
import os
import threading

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from oracles import change, outputs, split_hessian, unsettle
from test_units import Net
from torch import nn

import growlab as gl
from growlab.plans import Candidate, GrowthPlan


def conv(i, o, k=3, **more):
    return nn.Conv2d(i, o, k, padding=k // 2, **more)


def reasons(model, **options):
    return {unit.name: unit.frozen for unit in gl.units(model, explain=True, **options)}


def kept(model, *inputs, only=None):
    """Everything grows (or the units that are named), twice; how much the outputs change in both modes."""
    torch.manual_seed(0)
    unsettle_in_double(model, inputs)
    if only is not None:
        assert {unit.name for unit in gl.units(model, coupled=True)} == set(only), reasons(model)
    before = [both(model, inputs, train) for train in (False, True)]
    for seed in range(2):
        found, new = gl.units(model, coupled=True), []
        for unit in found:
            new += [Candidate(unit.name, parent) for parent in (0, 0, unit.neurons - 1)]
        fresh = gl.propose("random", model, coupled=True, seed=seed).candidates[::2]
        gl.apply(model, GrowthPlan("all", {unit.name: unit.neurons for unit in found}, (*new, *fresh)))
    return max(change(b, both(model, inputs, train)) for b, train in zip(before, (False, True)))


def unsettle_in_double(model, inputs):
    model.double()
    for parameter in model.parameters():
        with torch.no_grad():
            parameter.add_(0.2 * torch.randn_like(parameter))
    with torch.no_grad():
        model.train()(*inputs)


def both(model, inputs, train):
    with torch.no_grad():
        return copy.deepcopy(model).train(train)(*inputs)


IMAGES = torch.randn(8, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
FEATURES = torch.randn(8, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


# Flattened maps side by side


def pyramid(levels):
    def forward(m, x):
        x = torch.relu(m.a(x))
        return m.o(torch.cat([F.adaptive_avg_pool2d(x, n).flatten(1) for n in levels], 1))

    return Net(forward, a=conv(3, 6), o=nn.Linear(6 * sum(n * n for n in levels), 4))


@pytest.mark.parametrize("levels", [(1, 2, 4), (2, 4), (1, 2)])
def test_flattened_maps_of_several_sizes_are_frozen(levels):
    assert "with other maps whose sizes are not known" in reasons(pyramid(levels))["a"]


def test_parts_whose_positions_are_known_stay_so():
    def forward(m, x):
        maps = F.adaptive_avg_pool2d(torch.relu(m.a(x)), 4).flatten(1)
        return m.o(torch.cat([maps, torch.relu(m.h(torch.relu(m.g(x)).mean((2, 3))))], 1))

    model = Net(forward, a=conv(3, 4), g=conv(3, 6), h=nn.Linear(6, 8), o=nn.Linear(4 * 16 + 8, 5))
    assert kept(model, IMAGES, only=("a", "g", "h")) < 1e-9


def test_one_flatten_of_several_maps_has_one_number_of_positions():
    model = Net(
        lambda m, x: m.o(torch.cat([m.a(x), m.b(x)], 1).flatten(1)), a=conv(3, 4), b=conv(3, 2), o=nn.Linear(384, 3)
    )
    assert kept(model, IMAGES, only=("a", "b")) < 1e-9


# Reading changes nothing


class Busy(nn.Module):
    """Whatever a forward may do to its own module."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.norm = nn.Linear(12, 9), nn.Linear(9, 4), nn.BatchNorm1d(12)
        self.register_buffer("centre", torch.zeros(4))
        self.register_buffer("t", torch.ones(()))
        self.plain, self.count, self.log, self.seen = torch.ones(3), 0, [], {"shapes": [[1]]}
        self.counter, self.lock = itertools.count(), threading.Lock()

    def forward(self, x):
        if self.training:
            self.t.mul_(0.9)
            self.plain += 1
            self.norm.running_mean.add_(1)
        self.noise = torch.rand(3)
        self.count += 1
        self.log.append(self.a)
        self.seen["shapes"][0].append(next(self.counter))
        self.features = torch.relu(self.a(x))
        self.log.append(self.features)
        y = self.b(self.features)
        self.centre = 0.9 * self.centre + 0.1 * y.detach().mean(0)
        return (y - self.centre) / self.t


def test_reading_changes_nothing_of_a_model():
    model = Busy()
    model(FEATURES.float())
    before = dict(vars(model))
    inner = copy.deepcopy((model.state_dict(), model.plain, model.count, model.seen))
    log, places, rng = list(model.log), {n: id(b) for n, b in model.named_buffers()}, torch.get_rng_state()
    gl.units(model, explain=True)
    assert all(vars(model)[name] is value for name, value in before.items()) and vars(model).keys() == before.keys()
    after = (model.state_dict(), model.plain, model.count, model.seen)
    assert all(torch.equal(a, b) for a, b in zip(inner[0].values(), after[0].values()))
    assert torch.equal(inner[1], after[1]) and inner[2:] == after[2:] and next(model.counter) == 1
    assert len(log) == len(model.log) and all(a is b for a, b in zip(log, model.log))
    assert places == {n: id(b) for n, b in model.named_buffers()} and torch.equal(rng, torch.get_rng_state())


def test_splitting_leaves_buffers_alone():
    def forward(m, x):
        m.t.mul_(0.9)
        return m.b(torch.tanh(m.a(x))) / m.t

    model = Net(forward, a=nn.Linear(12, 9), b=nn.Linear(9, 4)).double()
    model.register_buffer("t", torch.ones((), dtype=torch.float64))
    gl.splitting_matrices(model, [(FEATURES, torch.arange(8) % 4)])
    assert model.t == 1


# One layer, several inputs


def recurrent(m, x):
    h = x.new_zeros(x.size(0), 9)
    for t in range(2):
        h = torch.tanh(m.wx(x[:, 6 * t : 6 * t + 6]) + m.wh(h))
    return m.o(h)


def two_levels(m, x):
    levels = torch.relu(m.p3(x)), torch.relu(m.norm(m.p4(x)))
    return sum(m.out(torch.relu(m.head(level))).mean((2, 3)) for level in levels)


PINNED = {
    "iterated": (lambda: Net(lambda m, x: m.o(m.f(torch.tanh(m.f(x)))), f=nn.Linear(12, 12), o=nn.Linear(12, 4)), "f"),
    "recurrent": (lambda: Net(recurrent, wx=nn.Linear(6, 9), wh=nn.Linear(9, 9), o=nn.Linear(9, 4)), "wx"),
    "depthwise": (lambda: Net(lambda m, x: m.o(m.d(m.a(m.d(x)))), d=conv(3, 3, groups=3), a=conv(3, 3), o=conv(3, 2)),
                  "a"),
    "norm": (lambda: Net(lambda m, x: m.o(m.n(m.a(m.n(x)))), n=nn.BatchNorm2d(3), a=conv(3, 3), o=conv(3, 2)), "a"),
    "norm without tensors": (
        lambda: Net(lambda m, x: m.o(m.n(m.a(m.n(x)))), n=nn.InstanceNorm2d(3), a=conv(3, 3), o=conv(3, 2)), "a"),
    "two levels": (lambda: Net(two_levels, p3=conv(3, 8), p4=conv(3, 8), norm=nn.GroupNorm(2, 8), head=conv(8, 6),
                               out=conv(6, 4)), "p3"),
}  # fmt: skip


@pytest.mark.parametrize("make, unit", PINNED.values(), ids=PINNED)
def test_a_layer_that_also_reads_something_that_cannot_grow_pins_its_inputs(make, unit):
    model = make()
    assert "is used with inputs of different make-up" in reasons(model)[unit]
    if len(gl.units(model, coupled=True)):
        assert kept(model, IMAGES) < 1e-9


# Norms


@pytest.mark.parametrize("norm", [
    nn.InstanceNorm2d, lambda c: nn.BatchNorm2d(c, affine=False, track_running_stats=False),
    lambda c: nn.InstanceNorm2d(c, affine=True, track_running_stats=True), nn.BatchNorm2d,
])  # fmt: skip
def test_norms_with_and_without_tensors_grow_every_time(norm):
    model = nn.Sequential(
        conv(3, 6), norm(6), nn.ReLU(), conv(6, 4), norm(4), nn.ReLU(), nn.Flatten(), nn.Linear(256, 3)
    )
    assert kept(model, IMAGES, only=("0", "3")) < 1e-9
    assert (model[1].num_features, model[4].num_features) == (model[0].out_channels, model[3].out_channels)
    assert model[0].out_channels > 12


def test_instance_norm_without_positions_mixes_the_features():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 9), nn.InstanceNorm1d(9), nn.Linear(9, 4))
    assert "normalises over the channels" in reasons(model)["1"]


@pytest.mark.parametrize("norm", [nn.BatchNorm1d, nn.InstanceNorm1d])
def test_a_norm_behind_an_unknown_number_of_axes_is_frozen(norm):
    assert "the number of axes is unknown" in reasons(nn.Sequential(nn.Linear(12, 10), norm(10), nn.Linear(10, 4)))["0"]


def test_a_norm_on_features_grows():
    layers = (nn.Flatten(), nn.ReLU(), nn.Linear(12, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 4))
    assert kept(nn.Sequential(*layers), FEATURES, only=("2",)) < 1e-9


def test_fresh_neurons_have_the_slope_that_prelu_begins_with():
    model = nn.Sequential(nn.Linear(12, 9), nn.PReLU(9), nn.Linear(9, 4))
    gl.apply(model, gl.propose("random", model).within(neurons=2))
    assert model[1].weight[9:].tolist() == [nn.PReLU().weight.item()] * 2 and model[1].num_parameters == 11


# Frozen parts, weights that the forward reads, hooks


def test_units_that_nothing_trains_take_no_part():
    trunk = nn.Sequential(conv(3, 6), nn.ReLU(), conv(6, 5), nn.ReLU(), nn.Flatten())
    trunk.requires_grad_(False)
    model = nn.Sequential(trunk, nn.Linear(320, 7), nn.ReLU(), nn.Linear(7, 4))
    assert [unit.name for unit in gl.units(model)] == ["0.2", "1"]  # what reads 0.2 is trained
    assert "none of its weights is trained" in reasons(model)["0.0"]
    model.requires_grad_(False)  # an average of weights, say: it grows by the plan of another
    assert len(gl.units(model)) == 3


READ = {
    "tied": lambda m, x: m.o(F.linear(torch.tanh(m.a(x)), m.a.weight.t())),
    "penalty": lambda m, x: m.b(torch.relu(m.a(x))) + m.a.weight.square().sum(),
    "bias": lambda m, x: m.b(torch.relu(m.a(x))) + m.a.bias.mean(),
    "consumer": lambda m, x: m.b(torch.relu(m.a(x))) + m.b.weight.square().sum(),
    "width": lambda m, x: m.b(torch.relu(m.a(x))) / m.a.weight.shape[0],
}


@pytest.mark.parametrize("forward", READ.values(), ids=READ)
def test_tensors_that_the_forward_reads_itself_freeze_their_channels(forward):
    model = Net(forward, a=nn.Linear(12, 9), b=nn.Linear(9, 4), o=nn.Linear(12, 4))
    assert "itself" in reasons(model)["a"] or "linear" in reasons(model)["a"]


def test_to_ask_a_weight_for_its_type_is_no_use_of_it():
    model = Net(lambda m, x: m.b(torch.relu(m.a(x.to(m.a.weight.dtype)))), a=nn.Linear(12, 9), b=nn.Linear(9, 4))
    assert kept(model, FEATURES, only=("a",)) < 1e-9


@pytest.mark.parametrize("hook", ["register_forward_hook", "register_forward_pre_hook"])
def test_layers_with_hooks_are_frozen(hook):
    block, seen = nn.Sequential(conv(3, 5), nn.ReLU(), conv(5, 6), nn.ReLU()), []
    model = nn.Sequential(conv(3, 3), block, conv(6, 5), nn.ReLU(), conv(5, 2))
    getattr(block, hook)(lambda *given: seen.append(given[-1]))
    found = reasons(model)
    assert "passes a forward hook of 1" in found["0"] and "passes a forward hook of 1" in found["1.2"]
    assert kept(model, IMAGES, only=("1.0", "2")) < 1e-9 and all(isinstance(x, tuple | torch.Tensor) for x in seen)
    getattr(model[2], hook)(lambda *given: None)
    assert "passes a forward hook of 2" in reasons(model)["2"]
    with pytest.raises(ValueError, match="forward hook of 1 cannot be run: remove it"):
        gl.propose("splitting", model, [(IMAGES, torch.arange(8))] * 2)


# Arguments with defaults


class Both(nn.Module):
    def __init__(self):
        super().__init__()
        self.v, self.a, self.head_v, self.head_va = nn.Linear(12, 9), nn.Linear(7, 6), nn.Linear(9, 4), nn.Linear(15, 4)

    def forward(self, video, audio=None):
        v = torch.relu(self.v(video))
        return self.head_v(v) if audio is None else self.head_va(torch.cat([v, torch.relu(self.a(audio))], -1))


class Three(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.d = (nn.Linear(12, 9) for _ in range(4))
        self.o = nn.Linear(9, 4)

    def forward(self, x, y=None, z=None, aux=False):
        h = torch.relu(self.a(x))
        if y is not None and z is None:
            h = h + self.b(y)
        if z is not None:
            h = h * self.c(z)
        return self.o(torch.relu(self.d(F.pad(h, (0, 3)))) if aux else h)


class Flag(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.aux = nn.Linear(12, 9), nn.Linear(9, 4), nn.Linear(9, 3)

    def forward(self, x, return_features=False, aux=False, scale=1.0):
        h = torch.relu(self.a(x)) * scale
        return h if return_features else self.aux(h) if aux else self.b(h)


def test_optional_arguments_are_read_both_ways():
    torch.manual_seed(0)
    model, audio = Both().double(), FEATURES[:, :7]
    alone, together = model(FEATURES), model(FEATURES, audio)
    gl.apply(model, gl.propose("net2net", model).within(neurons=7))
    torch.testing.assert_close(model(FEATURES), alone, rtol=0, atol=1e-12)
    torch.testing.assert_close(model(FEATURES, audio), together, rtol=0, atol=1e-12)


def test_a_flag_is_read_both_ways_and_features_are_no_output():
    torch.manual_seed(0)
    model = Flag().double()
    assert [unit.name for unit in gl.units(model, coupled=True)] == ["a"]
    plain, aux = model(FEATURES), model(FEATURES, aux=True)
    gl.apply(model, gl.propose("net2net", model).within(neurons=4))
    torch.testing.assert_close(model(FEATURES), plain, rtol=0, atol=1e-12)
    torch.testing.assert_close(model(FEATURES, aux=True), aux, rtol=0, atol=1e-12)


def test_several_optional_arguments():
    found = reasons(Three())
    assert found["a"] and gl.units(Three(), coupled=True) == []  # F.pad of the features, where the flag says so


# What cannot mix channels


GROWS = {
    "interpolate to another's size": (lambda m, x: m.o(torch.cat(
        [a := torch.relu(m.a(x)), F.interpolate(m.b(F.max_pool2d(a, 2)), size=a.shape[2:])], 1)),
        {"a": conv(3, 6), "b": conv(6, 6), "o": conv(12, 2)}),
    "pad": (lambda m, x: m.o(F.pad(m.a(x), (0, 1, 0, 1))), {"a": conv(3, 6), "o": conv(6, 2)}),
    "slice": (lambda m, x: m.o(m.a(x)[:, :, :-2, 1:]), {"a": conv(3, 6), "o": conv(6, 2)}),
    "ellipsis": (lambda m, x: m.o(m.a(x)[..., :-2]), {"a": conv(3, 6), "o": conv(6, 2)}),
    "one pixel": (lambda m, x: m.o(m.a(x)[:, :, 0, 1]), {"a": conv(3, 6), "o": nn.Linear(6, 2)}),
    "squeeze": (lambda m, x: m.o(F.adaptive_avg_pool2d(m.a(x), 1).squeeze(-1).squeeze(-1)),
                {"a": conv(3, 6), "o": nn.Linear(6, 2)}),
    "scalar": (lambda m, x: m.o(m.a(x) * m.s.exp()),
               {"a": conv(3, 6), "s": nn.Parameter(torch.ones(())), "o": conv(6, 2)}),
    "scalar of one entry": (lambda m, x: m.o(m.a(x) * m.s),
                            {"a": conv(3, 6), "s": nn.Parameter(torch.ones(1)), "o": conv(6, 2)}),
    "sum": (lambda m, x: m.o(m.a(x).sum((2, 3))), {"a": conv(3, 6), "o": nn.Linear(6, 2)}),
    "largest": (lambda m, x: m.o(m.a(x).amax((2, 3))), {"a": conv(3, 6), "o": nn.Linear(6, 2)}),
    "number of pixels": (lambda m, x: m.o(m.a(x).sum((2, 3)) / (x.shape[2] * x.size(3))),
                         {"a": conv(3, 6), "o": nn.Linear(6, 2)}),
    "view": (lambda m, x: m.o(m.a(x).view(x.size(0), -1)), {"a": conv(3, 6), "o": nn.Linear(384, 2)}),
    "tokens": (lambda m, x: m.o(m.a(x).flatten(2).transpose(1, 2)).mean(1), {"a": conv(3, 6), "o": nn.Linear(6, 2)}),
}  # fmt: skip


@pytest.mark.parametrize("forward, layers", GROWS.values(), ids=GROWS)
def test_what_cannot_mix_channels_grows(forward, layers):
    grow = {name for name in layers if name not in "os"}
    assert kept(Net(forward, **layers), IMAGES, only=grow) < 1e-9


def test_features_side_by_side_grow_apart():
    towers = Net(lambda m, x: m.o(torch.cat((torch.relu(m.a(x)), torch.relu(m.b(x))), 1)), a=nn.Linear(12, 9),
                 b=nn.Linear(12, 9), o=nn.Linear(18, 2))  # fmt: skip
    assert kept(towers, FEATURES, only=("a", "b")) < 1e-9 and [u.layers for u in gl.units(towers)] == [("a",), ("b",)]


MIXES = {
    "slice of channels": lambda m, x: m.o(F.pad(m.a(x)[:, :6], (0, 0, 0, 0, 0, 0))),
    "all channels by number": lambda m, x: m.o(m.a(x)[:, :1000]),
    "channels from the second on": lambda m, x: m.p(m.a(x)[:, 1:]),
    "pad of channels": lambda m, x: m.q(F.pad(m.a(x), (0, 0, 0, 0, 0, 1))),
    "sum of channels": lambda m, x: m.a(x).sum(1).flatten(1),
    "squeeze of anything": lambda m, x: m.l(F.adaptive_avg_pool2d(m.a(x), 1).squeeze()),
    "one of two results": lambda m, x: m.o(F.max_pool2d(m.a(x), 2, return_indices=True)[0]),
    "batch and channels": lambda m, x: m.l(F.adaptive_avg_pool2d(m.a(x), 1).flatten(0, 1).view(8, 6)),
}


@pytest.mark.parametrize("forward", MIXES.values(), ids=MIXES)
def test_what_may_mix_channels_is_frozen(forward):
    layers = {"a": conv(3, 6), "o": conv(6, 2), "p": conv(5, 2), "q": conv(7, 2), "l": nn.Linear(6, 2)}
    assert reasons(Net(forward, **layers))["a"]


# Words


class Made(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = conv(3, 6)

    def forward(self, x):
        return nn.ReLU()(self.c(x))


class Looped(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = conv(3, 3)

    def forward(self, x):
        for part in x:
            x = self.c(x) + part
        return x


def replaced():
    model = nn.Sequential(nn.Linear(3, 3))
    model.forward = lambda x: x
    return model


@pytest.mark.parametrize("make, words", [
    (Made, "make them in __init__"), (Looped, "turns of a loop"), (replaced, "forward was replaced"),
    (lambda: nn.DataParallel(gl.vgg5(4)), r"grow model\.module, then wrap it again"),
])  # fmt: skip
def test_words_by_cause(make, words):
    with pytest.raises(ValueError, match=words):
        gl.units(make())


def test_units_explained_print_as_a_table():
    model = nn.Sequential(nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 4))
    listing = gl.units(model, explain=True)
    assert isinstance(listing, list) and len(listing) == 2
    assert str(listing).split("\n") == [
        "unit  neurons  followed by  frozen because",
        "0     9        2            -",
        "2     4                     it is an output of the model",
    ]


@torch.fx.wrap
def doubled_where_positive(x):
    return torch.where(x > 0, 2 * x, x)


def test_an_operation_of_ones_own_can_be_taught():
    model = Net(lambda m, x: m.b(doubled_where_positive(m.a(x))), a=nn.Linear(12, 9), b=nn.Linear(9, 4))
    assert "may mix channels" in reasons(model)["a"]
    gl.units(model, elementwise=("doubled_where_positive",))
    assert kept(model, FEATURES, only=("a",)) < 1e-9


# The optimiser's state


STATES = {
    "RMSprop": lambda p: torch.optim.RMSprop(p, 0.0, centered=True, momentum=0.9),
    "Adagrad": lambda p: torch.optim.Adagrad(p, 0.0), "Adadelta": lambda p: torch.optim.Adadelta(p, 0.0),
    "Adagrad from 0.1": lambda p: torch.optim.Adagrad(p, 0.0, initial_accumulator_value=0.1),
    "Adam": lambda p: torch.optim.Adam(p, 0.0, amsgrad=True), "Adamax": lambda p: torch.optim.Adamax(p, 0.0),
    "NAdam": lambda p: torch.optim.NAdam(p, 0.0), "RAdam": lambda p: torch.optim.RAdam(p, 0.0),
    "SGD": lambda p: torch.optim.SGD(p, 0.0, momentum=0.9),
}  # fmt: skip


def a_step(model, optimizer):
    optimizer.zero_grad()
    F.cross_entropy(model(FEATURES), torch.arange(8) % 4).backward()
    optimizer.step()


def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 5), nn.Tanh(), nn.Linear(5, 4)).double()


@pytest.mark.parametrize("make", STATES.values(), ids=STATES)
def test_carried_state_is_that_of_the_grown_network(make):
    model = small()
    optimizer = make(model.parameters())
    a_step(model, optimizer)
    gl.apply(
        model, GrowthPlan("copies", {"0": 5}, (Candidate("0", 1), Candidate("0", 1), Candidate("0", None))), optimizer
    )
    twin = copy.deepcopy(model)
    other = make(twin.parameters())
    a_step(twin, other)
    for mine, its in zip(model.parameters(), twin.parameters()):
        for key, value in optimizer.state[mine].items():
            if value.dim():
                old = tuple(slice(0, -1) if n == 8 else slice(None) for n in value.shape)  # without the fresh neuron
                expected = other.state[its][key]
                # RMSprop's momentum and Adamax' maximum: the same up to ε
                rtol = 1e-3 if key in ("momentum_buffer", "exp_inf") else 1e-6
                torch.testing.assert_close(value[old], expected[old], rtol=rtol, atol=1e-12)


def test_rprop_and_asgd():
    model = small()
    rprop = torch.optim.Rprop(model.parameters(), 0.01)
    for _ in range(2):
        a_step(model, rprop)
    before = rprop.state[model[2].weight]["step_size"].clone()
    gl.apply(model, GrowthPlan("both", {"0": 5}, (Candidate("0", 1), Candidate("0", None))), rprop)
    after = rprop.state[model[2].weight]["step_size"]
    assert torch.equal(after[:, :5], before) and torch.equal(after[:, 5], before[:, 1]) and (after[:, 6] == 0.01).all()
    model = small()
    asgd = torch.optim.ASGD(model.parameters(), 0.1, t0=0)
    for _ in range(5):
        a_step(model, asgd)

    def average():
        other = copy.deepcopy(model)
        with torch.no_grad():
            for p, q in zip(other.parameters(), model.parameters()):
                p.copy_(asgd.state[q]["ax"])
        return other(FEATURES)

    before = average()
    gl.apply(model, GrowthPlan("both", {"0": 5}, (Candidate("0", 1), Candidate("0", None))), asgd)
    assert change(before, average()) < 1e-9


class Sign(torch.optim.Optimizer):
    """Not one of PyTorch's, with a name like one of theirs."""

    def __init__(self, params):
        super().__init__(params, {"lr": 0.1})

    @torch.no_grad()
    def step(self):
        for p in (p for group in self.param_groups for p in group["params"]):
            self.state[p].setdefault("exp_avg", torch.zeros_like(p)).add_(p.grad)


@pytest.mark.parametrize("make, name", [(Sign, "Sign"), (torch.optim.LBFGS, "LBFGS")])
def test_other_optimizers_are_refused_by_name_and_nothing_changes(make, name):
    model = small()
    optimizer = make(model.parameters())
    optimizer.zero_grad()
    loss = lambda: F.cross_entropy(model(FEATURES), torch.arange(8) % 4)
    loss().backward()
    optimizer.step(*([lambda: loss()] if name == "LBFGS" else []))
    with pytest.raises(ValueError, match=rf"the state of {name} cannot grow"):
        gl.apply(model, gl.propose("net2net", model), optimizer)
    assert model[0].weight.shape == (5, 12)


# The splitting matrix


class Product(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.o = nn.Conv2d(2, 3, 3), nn.Linear(3, 4)

    def forward(self, x):
        return self.o(torch.tanh(self.a(x)).mean((2, 3)) * torch.tanh(self.a(x.flip(2))).mean((2, 3)))


def behind(f):
    return lambda: Net(lambda m, x: m.o(f(m, torch.tanh(m.a(x))).mean((2, 3))), a=nn.Conv2d(2, 3, 3),
                       n=nn.InstanceNorm2d(3), b=nn.BatchNorm2d(3, track_running_stats=False),
                       o=nn.Linear(3, 4))  # fmt: skip


BENT = {
    "square": behind(lambda m, h: h.square()), "pow": behind(lambda m, h: h**3),
    "times itself": behind(lambda m, h: h * h),
    "sigmoid": behind(lambda m, h: torch.sigmoid(h)), "InstanceNorm2d": behind(lambda m, h: m.n(h)),
    "BatchNorm2d": behind(lambda m, h: m.b(h)), "one over": behind(lambda m, h: 1 / (h + 2)), "product": Product,
}  # fmt: skip


@pytest.mark.parametrize("make", BENT.values(), ids=BENT)
def test_units_that_bend_twice_are_left_out(make):
    batch = torch.randn(8, 2, 6, 6, dtype=torch.float64), torch.arange(8) % 4
    with pytest.raises(ValueError, match="a: .* is not linear either|a: no second derivative"):
        gl.splitting_matrices(make().double(), [batch])


@pytest.mark.parametrize("f", [
    lambda m, h: F.max_pool2d(h, 2), lambda m, h: 3 * F.relu(h) / 2, lambda m, h: F.pad(h, (0, 1)) + 1,
    lambda m, h: h * h.shape[2], lambda m, h: torch.cat([h, -h], 2).abs(),
])  # fmt: skip
def test_what_stays_linear_behind_the_activation_has_the_exact_matrix(f):
    torch.manual_seed(0)
    images, labels = torch.randn(8, 2, 6, 6, dtype=torch.float64), torch.arange(8) % 4
    model = unsettle(behind(f)(), images).eval()
    matrices = gl.splitting_matrices(model, [(images, labels)])["a"]
    hessian = split_hessian(model, gl.units(model)[0], 0, images, labels)
    assert (matrices[0] - hessian).abs().max() < 1e-10 * hessian.abs().max()
    assert torch.isfinite(outputs(model, images, False)).all()


# Random models of the kinds above: kept, frozen, or refused in words


class Drawn(nn.Module):
    """Blocks in a row on maps (N, 6, 8, 8), each of a kind; one layer is shared by all blocks that reuse it."""

    def __init__(self, blocks, head):
        super().__init__()
        self.blocks, self.head, self.calls = blocks, head, 0
        self.stem, self.shared, self.norm = conv(3, 6), conv(6, 6), nn.InstanceNorm2d(6)
        self.own = nn.ModuleList(conv(6, 6) for _ in blocks)
        self.bypass = nn.ModuleList(conv(6, 6, 1) for _ in blocks)
        self.scale, self.bare = nn.Parameter(torch.ones(())), nn.BatchNorm2d(6, affine=False, track_running_stats=False)
        self.register_buffer("seen", torch.zeros(()))
        self.maps, self.pooled = nn.Linear(6 * 64, 4), nn.Linear(6, 4)
        self.scales, self.sides = nn.Linear(6 * 20, 4), nn.Linear(6 * 16 + 6, 4)

    def forward(self, x, extra=None, twice=False):
        self.calls += 1
        if self.training:
            self.seen = self.seen + x.detach().mean()
        x = self.stem(x)
        for kind, own, bypass in zip(self.blocks, self.own, self.bypass):
            x = self.block(kind, own, bypass, x)
        if extra is not None:
            x = x + self.shared(extra)
        if self.head == "maps":
            return self.maps(x.flatten(1))
        if self.head == "pooled":
            return self.pooled(x.sum((2, 3)) / x.shape[2])
        large = F.adaptive_avg_pool2d(x, 4).flatten(1)
        if self.head == "scales":
            return self.scales(torch.cat([large, F.adaptive_avg_pool2d(x, 2).flatten(1)], 1))
        return self.sides(torch.cat([large, x.mean((2, 3))], 1)) * (2 if twice else 1)

    def block(self, kind, own, bypass, x):
        if kind == "reused":
            return torch.tanh(self.shared(torch.tanh(self.shared(x))))
        if kind == "in place":
            return F.relu(own(x), inplace=True).mul_(0.5)
        if kind == "bare norm":
            return self.bare(self.norm(own(x)))
        if kind == "own norm":
            return torch.tanh(bypass(nn.functional.instance_norm(own(x))))
        if kind == "cell":
            h = torch.zeros_like(x)
            for _ in range(2):
                h = torch.tanh(own(x) + bypass(h))
            return h
        if kind == "frozen":
            own.requires_grad_(False)
            bypass.requires_grad_(False)
            return bypass(torch.relu(own(x)))
        if kind == "weight":
            return own(x) + own.weight.mean()
        return F.pad(own(x)[:, :, :-1], (0, 0, 0, 1)) * self.scale + bypass(x)


KINDS = ["reused", "in place", "bare norm", "own norm", "cell", "frozen", "weight", "slice"]
EXAMPLES = int(os.environ.get("GROWLAB_EXAMPLES", 50))  # more for a long search


@given(st.lists(st.sampled_from(KINDS), max_size=4), st.sampled_from(["maps", "pooled", "scales", "sides"]))
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_random_model_is_kept_frozen_or_refused(blocks, head):
    torch.manual_seed(0)
    model = Drawn(blocks, head).double()
    model(IMAGES)
    before, calls = copy.deepcopy(model.state_dict()), model.calls
    try:
        found = gl.units(model, coupled=True, explain=True)
    except ValueError as error:
        event("refused")
        assert "torch.fx cannot read" in str(error)
        return
    assert model.calls == calls and all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values()))
    if all(unit.frozen for unit in found):
        return event("frozen")
    event("kept")
    images = IMAGES.flip(0).clone()
    extra = torch.randn(8, 6, 8, 8, dtype=torch.float64)
    more = [unit.name for unit in found if not unit.frozen]
    given_extra = both(model, (images, extra), False)
    twice = model.eval()(images, twice=True)
    assert kept_as_it_is(model, images, more) < 1e-9
    torch.testing.assert_close(both(model, (images, extra), False), given_extra, rtol=0, atol=1e-9)
    torch.testing.assert_close(model.eval()(images, twice=True), twice, rtol=0, atol=1e-9)


def kept_as_it_is(model, images, names):
    """Every unit that can grow does; the largest change of an output in both modes, relative to their size."""
    before = [both(model, (images,), train) for train in (False, True)]
    found = {unit.name: unit for unit in gl.units(model, coupled=True)}
    new = [Candidate(name, parent) for name in names for parent in (0, 0, 5)]
    gl.apply(model, GrowthPlan("all", {name: found[name].neurons for name in names}, tuple(new)))
    after = [both(model, (images,), train) for train in (False, True)]
    return max(((a - b).abs().max() / b.abs().max()).item() for a, b in zip(after, before))
