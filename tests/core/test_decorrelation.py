"""The K iterations: what moves, how far, what the trace says, and what stays as it was."""

import copy
import math
from inspect import signature

import pytest
import torch
import torchvision
from oracles import twin_layer, unsettle
from torch import nn

import growlab as gl
from growlab import decorrelation
from growlab.decorrelation import check_options
from growlab.penalties import PENALTIES
from growlab.watching import evaluating

KINDS = list(PENALTIES)


@pytest.fixture
def model():
    """A network after some training: statistics and affine parameters are not those of a fresh one."""
    return unsettle(gl.vgg5([6, 7, 8, 9], classes=5), torch.randn(16, 3, 16, 16))


@pytest.fixture
def batches():
    return [(torch.randn(12, 3, 16, 16, dtype=torch.float64), torch.randint(5, (12,))) for _ in range(3)]


def state(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(model, before):
    return all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


PRODUCERS = [f"{layer}.weight" for layer in (0, 4, 8, 12)]


@pytest.mark.parametrize("kind", [*KINDS, "random"])
def test_every_penalty_falls_and_only_the_weights_of_producers_move(model, kind):
    before = state(model)
    trace = gl.decorrelate(model, 10, penalty=kind, movement=0.02)
    after = model.state_dict()
    assert [name for name in after if not torch.equal(after[name], before[name])] == PRODUCERS  # no buffers, no biases
    assert list(trace["step"]) == list(range(11)) and (trace["penalty"].diff()[1:4] < 0).all()
    assert (trace["movement"][1:] > 0).all() and trace["weight_change"][0] == 0


def test_biases_depthwise_layers_and_the_read_out_stay():
    model = gl.mobilenet([6, 5, 4, 7, 8, 5, 6, 7, 4, 5, 6, 7, 8, 5])
    before = state(model)
    gl.decorrelate(model, 2)
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == {f"{unit.name}.weight" for unit in gl.units(model)} and len(moved) == 14
    mlp = gl.mlp([6, 5, 4, 3])
    before = state(mlp)
    gl.decorrelate(mlp, 2)
    assert {n for n, t in mlp.state_dict().items() if not torch.equal(t, before[n])} == {"1.weight", "3.weight"}


@pytest.mark.parametrize("options", [{}, {"movement": 0.1}, {"target": "labels"}, {"refresh": True}])
def test_no_steps_change_nothing_bit_for_bit(model, batches, options):
    before = state(model)
    if "target" in options or "refresh" in options:
        options = options | {"batches": batches}
    trace = gl.decorrelate(model, 0, **options)
    assert same(model, before) and list(trace["step"]) == [0]


def test_weights_move_exactly_if_the_penalty_counts(model):
    before = state(model)
    gl.decorrelate(model, 5, penalty_strength=0)  # Eq. 4 alone starts at its minimum
    assert same(model, before)
    gl.decorrelate(model, 5, movement=0.1, penalty_strength=0, change_strength=7)
    assert same(model, before)
    gl.decorrelate(model, 5, penalty_strength=1e-3)
    assert not any(torch.equal(model.state_dict()[name], before[name]) for name in PRODUCERS)


def test_steps_are_plain_gradient_descent_on_the_sum_of_both_terms(model):
    reference = copy.deepcopy(model)
    options = {"penalty": "square", "weight_change": "frobenius", "penalty_strength": 0.7, "change_strength": 0.3}
    gl.decorrelate(model, 6, lr=0.5, **options)
    weights = [reference.get_parameter(name) for name in PRODUCERS]
    start = [weight.detach().clone() for weight in weights]
    optimizer = torch.optim.SGD(weights, 0.5)
    for _ in range(6):
        optimizer.zero_grad()
        loss = sum(
            0.7 * gl.similarity_penalty(w, "square") + 0.3 * gl.weight_change(w, w0, "frobenius")
            for w, w0 in zip(weights, start)
        )
        loss.backward()
        optimizer.step()
    for name, weight in zip(PRODUCERS, weights):
        torch.testing.assert_close(model.state_dict()[name], weight.detach(), rtol=0, atol=1e-13)


@pytest.mark.parametrize("kind", ["signed", "energy", "logdet", "square", "random"])
@pytest.mark.parametrize("dose", [0.01, 0.1])
def test_movement_is_the_same_dose_for_every_layer_and_penalty(model, kind, dose):
    before = state(model)
    trace = gl.decorrelate(model, 20, penalty=kind, movement=dose, change_strength=0, per_layer=True)
    for name in PRODUCERS:
        moved = (model.state_dict()[name] - before[name]).norm() / before[name].norm()
        row = trace[(trace["layer"] == name.removesuffix(".weight")) & (trace["step"] == 20)]
        assert row["movement"].item() == pytest.approx(moved.item(), rel=1e-9)
        assert 0.9 * dose < moved <= dose * (1 + 1e-9)  # the path bends a little
    single = gl.decorrelate(model, 1, penalty=kind, movement=dose)
    assert single["movement"][1] == pytest.approx(dose, rel=1e-9)


def test_a_satisfied_penalty_moves_nothing_however_large_the_dose():
    model = gl.mlp([8, 6, 3]).double()
    with torch.no_grad():
        model[1].weight.copy_(torch.linalg.qr(torch.randn(8, 6, dtype=torch.float64))[0].T)
    for kind in ("square", "logdet"):  # orthogonal filters: no force but rounding, and no step along the rounding
        assert gl.decorrelate(copy.deepcopy(model), 5, penalty=kind, movement=0.5)["movement"].max() == 0


def test_the_absolute_mean_comes_to_zero_and_hovers_there(model):
    with torch.no_grad():
        for name in PRODUCERS:
            model.get_parameter(name).add_(0.1)  # alike, as filters that share a mean
    trace = gl.decorrelate(model, 200, penalty="absolute", movement=2.0)
    assert trace["penalty"].iloc[-1] < 0.02 < 0.2 < trace["penalty"][0]
    assert trace["movement"].iloc[-1] < 1


def test_the_other_reading_of_previous_holds_back_less(model):
    options = {"penalty": "signed", "weight_change": "frobenius", "change_strength": 5.0, "lr": 0.05}
    held, freer = (gl.decorrelate(copy.deepcopy(model), 20, previous=p, **options) for p in ("before", "iteration"))
    free = gl.decorrelate(copy.deepcopy(model), 20, **options | {"change_strength": 0})
    assert held["movement"].iloc[-1] < 0.8 * freer["movement"].iloc[-1] < free["movement"].iloc[-1]
    first = [t["movement"][1] for t in (held, freer, free)]
    assert first[0] == first[1] == first[2]  # with K = 1 Eq. 4 does nothing, under any reading


def test_the_trace_follows_twins_of_the_last_plan(model):
    before = {unit.name: unit.neurons for unit in gl.units(model)}
    plan = gl.apply(model, gl.propose("net2net", model, step=0.02).within(rate=0.35))
    pairs = {}
    for row in plan.table().itertuples():
        pairs.setdefault(row.unit, []).append((row.parent, row.neuron))
        assert row.neuron >= before[row.unit]
    other = copy.deepcopy(model)
    trace = gl.decorrelate(model, 20, penalty="energy", movement=0.17, twins=plan)
    assert trace["twin_angle"].iloc[-1] > 2 * trace["twin_angle"][0] > 0
    pd_equal = gl.decorrelate(other, 20, penalty="energy", movement=0.17, twins=pairs)
    assert trace.equals(pd_equal)
    layers = gl.decorrelate(model, 1, twins={"4": [(0, 1)]}, per_layer=True)
    assert layers.groupby("layer")["twin_angle"].count().to_dict() == {"0": 0, "12": 0, "4": 2, "8": 0}


def test_twins_of_a_residual_stream_are_no_unknown_ones():
    model = torchvision.models.resnet18(num_classes=10)
    stream = next(unit.name for unit in gl.units(model, coupled=True) if len(unit.layers) > 1)
    assert len(gl.decorrelate(model, 1, twins={stream: [(0, 1)]})) == 2


def test_twins_in_a_network_part_as_in_a_single_layer():
    model = gl.mlp([144, 16, 3]).double()
    with torch.no_grad():
        model[1].weight.copy_(twin_layer(16, 144, angle=0.02))
    twins = {"1": [(i, i + 8) for i in range(8)]}
    end = {k: gl.decorrelate(copy.deepcopy(model), 30, penalty=k, movement=0.17, twins=twins).iloc[-1] for k in KINDS}
    assert (
        end["logdet"]["twin_angle"]
        > end["energy"]["twin_angle"]
        > end["square"]["twin_angle"]
        > 3 * end["signed"]["twin_angle"]
    )


# With batches


def test_batches_alone_measure_the_drift_and_change_no_step(model, batches):
    other = copy.deepcopy(model)
    plain = gl.decorrelate(model, 4)
    measured = gl.decorrelate(other, 4, batches=batches)
    assert same(model, state(other)) and plain.equals(measured.drop(columns="drift"))
    assert measured["drift"][0] == 0 and (measured["drift"][1:] > 0).all()


def test_keeping_the_outputs_holds_the_drift_back(model, batches):
    free = gl.decorrelate(copy.deepcopy(model), 15, batches=batches, lr=1e-3)
    kept = gl.decorrelate(copy.deepcopy(model), 15, batches=batches, lr=1e-3, target="outputs")
    assert 0 < kept["drift"].iloc[-1] < 0.8 * free["drift"].iloc[-1]


def test_outputs_can_be_those_of_a_network_before_it_grew(model, batches):
    teacher = copy.deepcopy(model).train()
    gl.apply(model, gl.propose("random", model, outgoing=0.5).within(rate=0.35))
    trace = gl.decorrelate(model, 15, penalty_strength=0, batches=batches[:1], target=teacher, lr=1e-3)
    assert trace["drift"].iloc[-1] < 0.5 * trace["drift"][0]  # growth had changed the function
    assert teacher.training


def test_labels_add_the_cross_entropy(model, batches):
    reference = copy.deepcopy(model).eval()
    trace = gl.decorrelate(
        model, 3, batches=iter(batches[:1]), target="labels", penalty_strength=0, change_strength=0, lr=0.01
    )
    assert trace["loss"].is_monotonic_decreasing
    weights = [reference.get_parameter(name) for name in PRODUCERS]
    optimizer = torch.optim.SGD(weights, 0.01)
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(reference(batches[0][0]), batches[0][1]).backward()
        optimizer.step()
    for name, weight in zip(PRODUCERS, weights):
        torch.testing.assert_close(model.state_dict()[name], weight.detach(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("target", [None, "labels", "outputs"])
def test_gradients_modes_hooks_and_the_optimiser_stay(model, batches, target):
    model.train()
    model[1].eval()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    nn.functional.cross_entropy(model(batches[0][0]), batches[0][1]).backward()
    optimizer.step()
    grads = [p.grad.clone() for p in model.parameters()]
    momentum = [optimizer.state[p]["momentum_buffer"].clone() for p in model.parameters()]
    modes = [m.training for m in model.modules()]
    identity = [(p.data_ptr(), p.stride()) for p in model.parameters()]
    buffers = [b.clone() for b in model.buffers()]
    gl.decorrelate(model, 3, batches=batches, target=target)
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), grads))
    assert all(torch.equal(optimizer.state[p]["momentum_buffer"], m) for p, m in zip(model.parameters(), momentum))
    assert [m.training for m in model.modules()] == modes and all(
        torch.equal(a, b) for a, b in zip(buffers, model.buffers())
    )
    assert identity == [(p.data_ptr(), p.stride()) for p in model.parameters()]
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_frozen_weights_are_left_alone(model):
    before = state(model)
    model[4].weight.requires_grad_(False)
    trace = gl.decorrelate(model, 2, per_layer=True)
    assert torch.equal(model[4].weight, before["4.weight"]) and set(trace["layer"]) == {"0", "8", "12"}


def test_channels_last_and_transposed_weights_get_the_same_steps():
    torch.manual_seed(0)
    plain = nn.Sequential(
        nn.ConvTranspose2d(3, 6, 2, 2), nn.ReLU(), nn.Conv2d(6, 5, 3), nn.ReLU(), nn.Conv2d(5, 2, 1)
    ).double()
    last = copy.deepcopy(plain).to(memory_format=torch.channels_last)
    for model in (plain, last):
        gl.decorrelate(model, 3, penalty="square")
    for a, b in zip(plain.parameters(), last.parameters()):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-14)
    assert last[2].weight.is_contiguous(memory_format=torch.channels_last)


def test_one_neuron_and_dead_layers_are_stated_not_errors():
    model = gl.mlp([4, 1, 5, 3])
    with torch.no_grad():
        model[3].weight.zero_()
    before = state(model)
    for kind in [*KINDS, "random"]:
        trace = gl.decorrelate(model, 3, penalty=kind, movement=0.1, per_layer=True)
        assert same(model, before) and (trace["movement"] == 0).all() and trace["penalty"].notna().all()
    assert (gl.decorrelate(model, 1, penalty="square")["penalty"] == 0).all()


def test_placebo_is_by_seed_and_has_the_same_dose(model):
    def moved(seed):
        other = copy.deepcopy(model)
        gl.decorrelate(other, 5, penalty="random", movement=0.1, seed=seed)
        return other.state_dict()["4.weight"]

    assert torch.equal(moved(0), moved(0)) and not torch.equal(moved(0), moved(1))


# Statistics


def test_refreshed_statistics_are_averages_over_the_batches(model, batches):
    before = state(model)
    gl.refresh_statistics(model, batches)
    z = [model[0](images) for images, _ in batches]
    torch.testing.assert_close(model[1].running_mean, torch.stack([x.mean((0, 2, 3)) for x in z]).mean(0))
    torch.testing.assert_close(model[1].running_var, torch.stack([x.var((0, 2, 3)) for x in z]).mean(0))
    after = model.state_dict()
    assert all(torch.equal(after[n], before[n]) for n in after if "running" not in n and "tracked" not in n)
    assert model[1].momentum == 0.1 and model[1].training == model.training


def test_refresh_repairs_what_the_steps_made_stale(model, batches):
    gl.refresh_statistics(model, batches)
    fresh, stale = copy.deepcopy(model), copy.deepcopy(model)
    gl.decorrelate(fresh, 10, penalty="energy", movement=0.3, batches=batches, refresh=True)
    gl.decorrelate(stale, 10, penalty="energy", movement=0.3)
    assert torch.equal(fresh[4].weight, stale[4].weight)

    def off(network):
        z = torch.cat([network[0](images) for images, _ in batches]).mean((0, 2, 3))
        return (network[1].running_mean - z).norm()

    assert off(fresh) < 1e-12 and off(stale) > 1e-3


def test_evaluating_restores_every_module_after_an_error(model):
    model.train()
    model[1].eval()
    modes = [m.training for m in model.modules()]
    with pytest.raises(KeyError), evaluating(model):
        assert not any(m.training for m in model.modules())
        raise KeyError
    assert [m.training for m in model.modules()] == modes


# Bad input


@pytest.mark.parametrize("k, options, message", [
    (-1, {}, "k must be a whole number of at least 0, got -1"), (2.0, {}, "got 2.0"), (True, {}, "got True"),
    (2, {"penalty": "cosine"}, "penalty must be one of signed.*, got 'cosine'"),
    (2, {"weight_change": "l2"}, "weight_change must be one of .*, got 'l2'"),
    (2, {"previous": "last"}, "previous must be one of .*, got 'last'"),
    (2, {"penalty_strength": -1}, "penalty_strength must be in \\[0, inf\\), got -1"),
    (2, {"change_strength": math.nan}, "change_strength must be in \\[0, inf\\), got nan"),
    (2, {"lr": -0.1}, "lr must be"), (2, {"movement": math.inf}, "movement must be"),
    (2, {"lr": 0.1, "movement": 0.1}, "give either lr= or movement="), (2, {"target": "labels"}, "need batches="),
    (2, {"refresh": True}, "need batches="),
    (2, {"target": "logits", "batches": []}, "target must be one of .*, got 'logits'"),
    (2, {"twins": {"nope": [(0, 1)]}}, "unit in twins must be one of .*, got 'nope'"),
    (2, {"twins": {"4": [(0, 7)]}}, "twins name neuron 7 of 4, which has 7: apply the plan first"),
    (2, {"batches": []}, "no batches left"), (2, {"batches": iter([])}, "no batches left"),
])  # fmt: skip
def test_options_out_of_range_are_named_and_nothing_happens(model, k, options, message):
    before = state(model)
    with pytest.raises(ValueError, match=message):
        gl.decorrelate(model, k, **options)
    assert same(model, before)


@pytest.mark.parametrize("target", [None, "labels", "outputs"])
@pytest.mark.parametrize("refresh", [False, True])
def test_batches_that_break_half_way_leave_the_model_whole(model, batches, target, refresh):
    model.train()
    before, calls = state(model), []

    class Breaks:
        def __iter__(self):
            calls.append(1)
            yield from batches[:2] if not refresh or len(calls) > 1 else batches * 2  # with refresh: not before the end
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        gl.decorrelate(model, 4, batches=Breaks(), target=target, refresh=refresh)
    assert same(model, before) and model.training and model[1].momentum == 0.1


def test_losses_and_weights_that_become_nan_are_an_error_and_nothing_happens(model, batches):
    before = state(model)
    broken = [(images * math.nan, labels) for images, labels in batches]
    for target in ("labels", "outputs", None):
        with pytest.raises(FloatingPointError, match="the model is as it was"):
            gl.decorrelate(model, 2, batches=broken, target=target)
    with pytest.raises(FloatingPointError, match="statistics"):
        gl.refresh_statistics(model, broken)
    for kind in KINDS:
        with pytest.raises(FloatingPointError, match="lower lr"):
            gl.decorrelate(model.float(), 8, penalty=kind, lr=1e38)
        with pytest.raises(FloatingPointError, match="lower lr"):  # finite, but too large to be squared
            gl.decorrelate(model.float(), 20, penalty=kind, change_strength=1e6)
        model.double()
    assert all(torch.allclose(t, before[n].to(t), rtol=1e-6) for n, t in model.state_dict().items())
    model[4].weight.data[0, 0, 0, 0] = math.nan
    with pytest.raises(ValueError, match="4 holds weights that are NaN"):
        gl.decorrelate(model, 2)


def test_empty_batches_and_models_without_units_are_named(model):
    before = state(model)
    with pytest.raises(ValueError, match="no batches: pass an iterable of at least one"):
        gl.refresh_statistics(model, [])
    assert same(model, before)
    with pytest.raises(ValueError, match="nothing can grow"):
        gl.decorrelate(nn.Linear(3, 2), 2)


def test_options_of_a_schedule_are_checked_before_training():
    check_options(15, {"penalty": "square", "movement": 0.1, "target": "labels", "refresh": True})
    for k, options, message in [
        (1.5, {}, "k must be"), (1, {"penalty": "x"}, "penalty must be one of"),
        (1, {"strength": 1}, "option of decorrelate must be"),
        (1, {"batches": []}, "option of decorrelate must be"), (1, {"target": nn.Linear(1, 1)}, "got a model"),
        (1, {"target": 3}, "target must be one of"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            check_options(k, options)


def test_the_options_that_are_checked_have_the_defaults_of_decorrelate():
    """``check_options`` judges what a growth will pass on: an option that is left out is the one of ``decorrelate``."""
    ours, checked = (signature(function).parameters for function in (gl.decorrelate, decorrelation._check))
    assert {name: p.default for name, p in checked.items() if name != "k"} == {
        name: ours[name].default for name in checked if name != "k"
    }
