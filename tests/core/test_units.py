"""What can grow is found, what cannot is frozen with a reason, and whatever hangs on a model survives growth."""

import copy
import pickle
import re

import pytest
import torch
import torch.nn.functional as F
import torch.nn.utils as U
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracles import change, outputs, unsettle
from torch import nn

import growlab as gl
from growlab.plans import Candidate, GrowthPlan
from growlab.structure.graph import named_tensors
from growlab.structure.units import Edit


def found(model, **options):
    return {unit.name: unit for unit in gl.units(model, **options)}


def reasons(model):
    return {unit.name: unit.frozen for unit in gl.units(model, explain=True)}


class Net(nn.Module):
    """Layers given by name, and a forward given as a function: unusual models in a line."""

    def __init__(self, forward, **layers):
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.compute = forward

    def forward(self, x):
        return self.compute(self, x)


def test_the_edits_of_a_chain():
    units = found(
        nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d(5), nn.Flatten(), nn.Linear(36, 10)
        )
    )
    assert list(units) == ["0"] and units["0"].neurons == 4 and units["0"].layers == ("0",)
    assert set(units["0"].edits) == {
        Edit("0.weight", 0, "copy"), Edit("0.bias", 0, "copy"), Edit("1.weight", 0, "copy"), Edit("1.bias", 0, "copy"),
        Edit("1.running_mean", 0, "copy"), Edit("1.running_var", 0, "copy"), Edit("5.weight", 1, "share", repeat=9),
    }  # fmt: skip
    assert units["0"].weight.shape == (4, 27)


def test_a_depthwise_follower_copies_and_the_next_layer_shares():
    first, *_ = gl.units(gl.mobilenet(8))
    convolutions = {(e.tensor, e.kind) for e in first.edits if e.tensor in ("0.weight", "3.weight", "6.weight")}
    assert convolutions == {("0.weight", "copy"), ("3.weight", "copy"), ("6.weight", "share")}


def test_a_residual_stream_is_one_coupled_unit():
    model = Net(
        lambda m, x: m.d(m.b(F.relu(m.a(x))) + m.c(x)),
        a=nn.Linear(5, 4),
        b=nn.Linear(4, 6),
        c=nn.Linear(5, 6),
        d=nn.Linear(6, 2),
    )
    assert list(found(model)) == ["a"]
    coupled = found(model, coupled=True)
    assert coupled["b"].layers == ("b", "c") and coupled["b"].neurons == 6


def test_concatenation_has_offsets():
    model = Net(
        lambda m, x: m.c(torch.cat([m.a(x), m.b(x), m.a(x)], -1)),
        a=nn.Linear(5, 4),
        b=nn.Linear(5, 6),
        c=nn.Linear(14, 2),
    )
    units = found(model)
    assert [e for e in units["a"].edits if e.kind == "share"] == [
        Edit("c.weight", 1, "share", 0),
        Edit("c.weight", 1, "share", 10),
    ]
    assert [e for e in units["b"].edits if e.kind == "share"] == [Edit("c.weight", 1, "share", 4)]


def test_squeeze_excite_couples_the_gate_and_the_gated():
    def forward(m, x):
        x = m.a(x)
        gate = torch.sigmoid(m.up(F.relu(m.down(x.mean((2, 3), keepdim=True)))))
        return m.out((x * gate).mean((2, 3)))

    model = Net(forward, a=nn.Conv2d(3, 8, 3), down=nn.Conv2d(8, 2, 1), up=nn.Conv2d(2, 8, 1), out=nn.Linear(8, 2))
    assert found(model, coupled=True)["a"].layers == ("a", "up") and list(found(model)) == ["down"]


FROZEN = {
    "output": (lambda m, x: m.a(x), "output of the model"),
    "softmax": (lambda m, x: m.b(torch.softmax(m.a(x), 1)), "softmax"),
    "slice": (lambda m, x: m.b(F.pad(m.a(x)[:, :2], (0, 2))), "getitem"),
    "chunk": (lambda m, x: m.b(torch.cat(m.a(x).chunk(2, 1), 1)), "chunk"),
    "matmul": (lambda m, x: m.b(m.a(x) @ m.a.weight[:, :4]), "matmul"),
    "broadcast": (lambda m, x: m.b(m.a(x) * x.sum(1, keepdim=True)), "unknown width"),
    "parameter": (lambda m, x: m.b(m.a(x) * m.a.bias), "unknown width"),
    "width": (lambda m, x: m.b(m.a(x) / m.a(x).shape[1] ** 0.5), "getitem"),
    "size": (lambda m, x: m.b(m.a(x) / m.a(x).size(-1)), "size"),
    "transposed": (lambda m, x: m.b(m.a(x).T.contiguous().T), "getattr"),
    "mean": (lambda m, x: m.b(m.a(x) - m.a(x).mean(-1, keepdim=True)), "averages over the channels|mean"),
    "layer norm": (lambda m, x: m.b(m.n(m.a(x))), "LayerNorm"),
    "functional": (lambda m, x: F.linear(m.a(x), m.b.weight), "linear"),
    "stack": (lambda m, x: m.b(torch.stack([m.a(x), m.a(x)]).mean(0)), "stack"),
    "cat input": (lambda m, x: m.c(torch.cat([m.a(x), x], 1)), "unknown width"),
}


@pytest.mark.parametrize("forward, reason", FROZEN.values(), ids=FROZEN)
def test_what_mixes_channels_freezes_them_with_the_reason(forward, reason):
    model = Net(forward, a=nn.Linear(5, 4), b=nn.Linear(4, 2), c=nn.Linear(9, 2), n=nn.LayerNorm(4))
    assert re.search(reason, reasons(model)["a"]), reasons(model)
    assert "a" not in found(model, coupled=True)


@pytest.mark.parametrize("norm", [nn.GroupNorm(2, 4), nn.Softmax(1), nn.ChannelShuffle(2), nn.LocalResponseNorm(2)])
def test_layers_that_mix_channels_freeze_them(norm):
    model = nn.Sequential(nn.Conv2d(3, 4, 1), norm, nn.Conv2d(4, 2, 1))
    assert type(norm).__name__ in reasons(model)["0"]


def test_grouped_convolutions_freeze_both_sides():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 8, 1, groups=2), nn.Conv2d(8, 2, 1))
    assert "2 groups" in reasons(model)["0"] and "1" not in found(model, coupled=True)


def test_a_subclass_that_changes_the_layer_freezes_and_one_that_does_not_grows():
    class Plain(nn.Linear):
        pass

    class Doubled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    assert list(found(nn.Sequential(Plain(5, 4), nn.ReLU(), nn.Linear(4, 2)))) == ["0"]
    assert found(nn.Sequential(nn.Linear(5, 4), Doubled(4, 2))) == {}


def test_a_layer_called_twice_is_one_unit_and_keeps_the_function():
    model = Net(
        lambda m, x: m.b(torch.tanh(m.h(torch.tanh(m.h(torch.tanh(m.a(x))))))),
        a=nn.Linear(5, 4),
        h=nn.Linear(4, 4),
        b=nn.Linear(4, 3),
    )
    units = found(model, coupled=True)
    assert units["a"].layers == ("a", "h") and list(found(model)) == []  # its input and output are the same channels
    images = torch.randn(8, 5, dtype=torch.float64)
    before = outputs(unsettle(model, images), images, False)
    gl.apply(model, gl.propose("net2net", model, coupled=True))
    assert change(before, outputs(model, images, False)) < 1e-10 and model.h.weight.shape == (8, 8)


def test_a_branch_on_training_is_followed_both_ways():
    model = Net(
        lambda m, x: m.b(m.a(x)) if m.training else m.c(m.a(x)), a=nn.Linear(5, 4), b=nn.Linear(4, 2), c=nn.Linear(4, 2)
    )
    model.eval()
    assert {e.tensor for e in found(model)["a"].edits} >= {"b.weight", "c.weight"} and not model.training


@pytest.mark.parametrize(
    "wrap", [U.weight_norm, U.spectral_norm, U.parametrizations.weight_norm, U.parametrizations.spectral_norm]
)
@pytest.mark.filterwarnings("ignore")
def test_computed_weights_are_frozen_with_the_reason(wrap):
    model = nn.Sequential(
        nn.Linear(4, 4), nn.ReLU(), wrap(nn.Linear(4, 4)), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)
    )
    assert "2, whose weight is computed (a parametrisation)" in reasons(model)["0"]
    assert list(found(model)) == ["4"]
    with pytest.raises(ValueError, match="nothing can grow.*whose weight is computed"):
        gl.propose("random", model[:3])


def test_tied_weights_are_frozen_with_the_reason():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    model[2].weight = model[0].weight
    assert "0.weight is tied" in reasons(model)["0"] and found(model) == {}


def test_a_module_under_two_names_is_no_tie():
    layer = nn.Linear(4, 4)
    model = Net(lambda m, x: m.out(torch.relu(m.a(x))), a=layer, same=layer, out=nn.Linear(4, 2))
    gl.apply(model, gl.propose("net2net", model))
    assert model.same.weight.shape == (8, 4) and model.out.in_features == 8


class Branch(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        y = self.a(x)
        if y.sum() > 0:  # the line that the error names
            y = -y
        return self.b(y)


@pytest.mark.parametrize("make, message", [
    (lambda: torch.compile(gl.vgg5(4)), r"grow model\._orig_mod, then compile it again"),
    (lambda: torch.jit.trace(gl.mlp([4, 4, 2]), torch.randn(1, 4)), "scripted model.*then script it again"),
    (Branch, r"Branch.*test_units\.py, line \d+: if y\.sum\(\) > 0"),
])  # fmt: skip
@pytest.mark.filterwarnings("ignore")
def test_models_that_cannot_be_read_are_named_with_what_to_do(make, message):
    with pytest.raises(ValueError, match=message):
        gl.units(make())


# What hangs on a model


def grow(model, optimizer=None, seed=0):
    return gl.apply(model, gl.propose("net2net", model, seed=seed).within(rate=0.35), optimizer)


def step(model, optimizer, images=None, labels=None):
    images = torch.randn(8, 3, 32, 32) if images is None else images
    optimizer.zero_grad()
    F.cross_entropy(model(images), torch.arange(8) if labels is None else labels).backward()
    optimizer.step()


def test_hooks_survive():
    model, seen = gl.vgg5(4), []
    model[0].register_forward_hook(lambda module, inputs, output: seen.append(output.shape[1]))
    model[0].weight.register_hook(lambda gradient: seen.append(gradient.shape[0]))
    grow(model)
    F.cross_entropy(model(torch.randn(8, 3, 32, 32)), torch.arange(8)).backward()
    assert seen == [len(model[0].weight)] * 2


def test_a_loss_from_before_can_still_be_read_and_never_gives_wrong_gradients():
    model = gl.vgg5(4)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    loss = F.cross_entropy(model(torch.randn(8, 3, 32, 32)), torch.arange(8))
    value = loss.item()
    grow(model, optimizer)
    assert loss.item() == value
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):  # PyTorch's own guard
        loss.backward()
    step(model, optimizer)


@pytest.mark.parametrize("make", [
    lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, foreach=True),
    lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, fused=True),
    lambda p: torch.optim.Adam(p, 0.01, fused=True), lambda p: torch.optim.Adam(p, 0.01, foreach=True, amsgrad=True),
    lambda p: torch.optim.AdamW(p, 0.01), lambda p: torch.optim.RMSprop(p, 0.01, momentum=0.9),
    lambda p: torch.optim.NAdam(p),
], ids=["sgd foreach", "sgd fused", "adam fused", "adam foreach amsgrad", "adamw", "rmsprop", "nadam"])  # fmt: skip
def test_optimizers_go_on(make):
    model = gl.vgg5(4)
    optimizer = make(model.parameters())
    for _ in range(3):
        step(model, optimizer)
        grow(model, optimizer)
    step(model, optimizer)
    shapes = [
        (p.shape, v.shape)
        for p in model.parameters()
        for v in optimizer.state[p].values()
        if torch.is_tensor(v) and v.dim()
    ]
    assert shapes and all(a == b for a, b in shapes)
    again = make(copy.deepcopy(model).parameters())
    again.load_state_dict(optimizer.state_dict())


def test_an_average_of_the_weights_grows_by_the_same_plan():
    model = gl.vgg5(4)
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(2):
        step(model, optimizer)
        average.update_parameters(model)
        images = torch.randn(8, 3, 32, 32)
        before = outputs(average, images, False)
        gl.apply(average.module, grow(model, optimizer))
        torch.testing.assert_close(outputs(average, images, False), before, rtol=0, atol=1e-4)
    assert [p.shape for p in model.parameters()] == [p.shape for p in average.module.parameters()]
    average.update_parameters(model)


def test_state_dicts_copies_and_pickles_of_a_grown_model_are_whole():
    model = gl.vgg5(4)
    grow(model)
    images = torch.randn(8, 3, 32, 32)
    expected = outputs(model, images, False)
    fresh = gl.vgg5([unit.neurons for unit in gl.units(model)])
    fresh.load_state_dict(model.state_dict())
    for other in (fresh, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(outputs(other, images, False), expected)
        grow(other, seed=1)
        step(other, torch.optim.SGD(other.parameters(), 0.1))


def test_reading_leaves_nothing_behind():
    model = gl.mobilenet(8).eval()
    model[1].train()
    before = [(name, dict(vars(module)), module.training) for name, module in model.named_modules()]
    gl.units(model, explain=True)
    after = [(name, dict(vars(module)), module.training) for name, module in model.named_modules()]
    assert before == after and len(named_tensors(model)) == len(model.state_dict())


# Random models


@st.composite
def networks(draw):
    """A random network of supported layers, as a function of a seed: chains, residual blocks, branches, gates."""
    width = st.integers(2, 6)
    blocks = draw(
        st.lists(
            st.tuples(st.sampled_from(["conv", "residual", "cat", "depthwise", "gate", "transposed"]), width),
            min_size=1,
            max_size=5,
        )
    )
    head = draw(st.sampled_from(["flatten", "mean", "permute"]))
    hidden = draw(width)
    return blocks, head, hidden


class Random(nn.Module):
    """A network from a drawn description, with layers by index and a forward that follows it."""

    def __init__(self, blocks, head, hidden):
        super().__init__()
        self.blocks, self.head, self.parts = blocks, head, nn.ModuleList()
        c = 3
        for kind, width in blocks:
            conv = lambda i, o, k=3, **more: nn.Sequential(
                nn.Conv2d(i, o, k, padding=k // 2, **more), nn.BatchNorm2d(o), nn.SiLU()
            )
            if kind == "conv":
                part, c = [conv(c, width)], width
            elif kind == "residual":
                part = [conv(c, width), conv(width, c, 1)]
            elif kind == "cat":
                part, c = [conv(c, width), conv(c, 2)], c + width + 2
            elif kind == "depthwise":
                part, c = [conv(c, c, groups=c), conv(c, width, 1)], width
            elif kind == "gate":
                part = [nn.Conv2d(c, width, 1), nn.Conv2d(width, c, 1)]
            else:
                part, c = [nn.ConvTranspose2d(c, width, 1), nn.PReLU(width)], width
            self.parts.append(nn.ModuleList(part))
        self.first = nn.Linear(c * 16 if head == "flatten" else c, hidden)
        self.last = nn.Linear(hidden, 4)

    def forward(self, x):
        for (kind, _), part in zip(self.blocks, self.parts):
            if kind == "residual":
                x = x + part[1](part[0](x))
            elif kind == "cat":
                x = torch.cat([part[0](x), x, part[1](x)], dim=1)
            elif kind == "gate":
                x = x * torch.sigmoid(part[1](F.relu(part[0](F.adaptive_avg_pool2d(x, 1)))))
            else:
                x = part[1](part[0](x)) if len(part) == 2 else part[0](x)
        if self.head == "flatten":
            x = torch.flatten(x, 1)
        elif self.head == "mean":
            x = x.mean([2, 3])
        else:
            x = x.permute(0, 2, 3, 1)
        x = self.last(torch.tanh(self.first(x)))
        return x.mean((1, 2)) if self.head == "permute" else x


@given(networks(), st.integers(0, 2**20))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_random_models_keep_their_function_under_random_plans(network, seed):
    torch.manual_seed(seed)
    images = torch.randn(8, 3, 4, 4, dtype=torch.float64)
    model = unsettle(Random(*network), images)
    units, new = gl.units(model, coupled=True), []
    for unit in units:
        for parent in torch.randint(-1, unit.neurons, (int(torch.randint(4, ())),)).tolist():
            new.append(Candidate(unit.name, parent if parent >= 0 else None))
    for candidate in gl.propose("random", model, seed=seed, coupled=True).candidates[::3]:
        new.append(candidate)
    before = [outputs(model, images, train) for train in (False, True)]
    gl.apply(model, GrowthPlan("drawn", {unit.name: unit.neurons for unit in units}, tuple(new)))
    for train in (False, True):
        assert change(before[train], outputs(model, images, train)) < 1e-9
