"""The cosine map, its mean and its bands; every reading of Eq. 3 and Eq. 4; what they do to twins."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracles import brute_mean_cosine, twin_layer

import growlab as gl
from growlab.penalties import CHANGES, PENALTIES, penalty_and_gradient

KINDS = list(PENALTIES)


def filters(n, d, seed=0, dtype=torch.float64):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def directed(cosine_rows):
    """Lengths from 0.1 to 10, so that nothing can rely on unit rows."""
    return cosine_rows * torch.logspace(-1, 1, len(cosine_rows), dtype=cosine_rows.dtype)[:, None]


# The map, its mean, the bands


@pytest.mark.parametrize("shape", [(2, 3), (7, 20), (20, 7), (6, 4, 3, 3)])
def test_mean_cosine_from_the_resultant_equals_brute_force(shape):
    weight = directed(filters(shape[0], math.prod(shape[1:]))).view(shape)
    assert gl.mean_cosine(weight).item() == pytest.approx(brute_mean_cosine(weight), abs=1e-14)
    weight[1] = 0  # Σ‖ŵ‖² is n − 1 now, not n
    assert gl.mean_cosine(weight).item() == pytest.approx(brute_mean_cosine(weight), abs=1e-14)
    assert torch.equal(gl.cosine_map(weight)[1], torch.zeros(shape[0], dtype=torch.float64))


@pytest.mark.parametrize("scale", [1e-30, 1e-15, 1, 1e15])
def test_cosines_do_not_depend_on_the_lengths_in_float32_and_vanishing_filters_have_none(scale):
    weight = filters(6, 10, dtype=torch.float32)
    expected = gl.cosine_map(weight) if scale > 1e-20 else torch.zeros(6, 6)  # squares of 1e-30 are zero in float32
    torch.testing.assert_close(gl.cosine_map(weight * scale), expected, atol=1e-6, rtol=0)


def test_one_neuron_has_no_mean_and_no_penalty():
    weight = filters(1, 5)
    assert gl.mean_cosine(weight) == 0
    for kind in KINDS:
        value, gradient = penalty_and_gradient(weight, PENALTIES[kind])
        assert value == 0 and not gradient.any()


def test_mean_cosine_of_200_000_filters_needs_no_map():
    assert abs(gl.mean_cosine(filters(200_000, 10, dtype=torch.float32))) < 1e-5  # the map would take 160 GB


@given(st.integers(2, 12), st.integers(1, 12), st.integers(0, 10_000), st.booleans())
def test_mean_cosine_and_mean_square_stay_within_their_bounds(n, d, seed, twins):
    weight = filters(n, d, seed)
    if twins:
        weight[-1] = weight[0]
    assert -1 / (n - 1) - 1e-12 <= gl.mean_cosine(weight) <= 1 + 1e-12
    assert gl.similarity_penalty(weight, "square") >= gl.welch_bound(n, d) - 1e-12


def test_bounds_are_reached():
    assert gl.mean_cosine(torch.ones(5, 3)) == pytest.approx(1, abs=1e-6)
    simplex = torch.eye(5, dtype=torch.float64) - 0.2  # five directions as far apart as five can be
    assert gl.mean_cosine(simplex).item() == pytest.approx(-1 / 4, abs=1e-14)


@pytest.mark.parametrize("d", [2, 3, 8])
def test_tight_frames_reach_the_welch_bound(d):
    basis = torch.linalg.qr(filters(d, d))[0]
    other = torch.linalg.qr(filters(d, d, seed=1))[0]
    frame = torch.cat([basis, other])  # a union of orthonormal bases
    assert gl.similarity_penalty(frame, "square").item() == pytest.approx(gl.welch_bound(2 * d, d), abs=1e-14)
    angles = torch.arange(7, dtype=torch.float64) * 2 * math.pi / 7
    polygon = torch.stack([angles.cos(), angles.sin()], 1)
    assert gl.similarity_penalty(polygon, "square").item() == pytest.approx(gl.welch_bound(7, 2), abs=1e-14)
    assert gl.welch_bound(5, 5) == gl.welch_bound(1, 5) == 0


def test_null_bands_are_the_deviations_of_random_gaussian_filters():
    n, d, trials = 12, 30, 2000
    rows = [filters(n, d, seed) for seed in range(trials)]
    mu = torch.stack([gl.mean_cosine(weight) for weight in rows])
    single = torch.stack([gl.cosine_map(weight)[0, 1] for weight in rows])
    expected = gl.null_bands(n, d)
    # A deviation estimated from 2,000 values is off by 1/√4000 = 1.6 %; four times that is allowed.
    assert single.std().item() == pytest.approx(expected[0], rel=0.065)
    assert mu.std().item() == pytest.approx(expected[1], rel=0.065)
    assert math.isnan(gl.null_bands(1, 30)[1])


def test_effective_rank_counts_directions():
    assert gl.effective_rank(torch.eye(6)) == pytest.approx(6)
    assert gl.effective_rank(torch.ones(6, 4)) == pytest.approx(1, abs=1e-5)
    assert gl.effective_rank(torch.cat([torch.eye(4)] * 3)) == pytest.approx(4)
    assert gl.effective_rank(torch.zeros(3, 4)) == 0
    assert gl.effective_rank(torch.ones(1, 4)) == pytest.approx(1)


@pytest.mark.parametrize("n, d", [(1, 5), (6, 9), (9, 4)])
def test_figures_of_a_layer_are_plain_numbers(n, d):
    weight = directed(filters(n, d))
    figures = gl.similarity_figures(weight, [(0, n - 1)])
    off = gl.cosine_map(weight)[~torch.eye(n, dtype=torch.bool)]
    assert figures["mean_cosine"] == pytest.approx(brute_mean_cosine(weight), abs=1e-14)
    assert figures["mean_square_cosine"] == pytest.approx(off.square().mean().item() if n > 1 else 0, abs=1e-14)
    assert figures["mean_square_cosine"] >= figures["welch_bound"] and sum(figures["histogram"]) == n * (n - 1) // 2
    assert all(value is None or type(value) in (int, float, list) for value in figures.values())


# The angle between twins


def test_twin_angle_sees_what_arccos_cannot():
    axes = torch.linalg.qr(filters(20, 2))[0].T
    for angle in (1e-9, 1e-6, 1e-3, 1.0, math.pi / 2, 3.14):
        a, b = 3 * axes[:1], 0.2 * (math.cos(angle) * axes[:1] + math.sin(angle) * axes[1:])
        measured = gl.twin_angle(a, b).item()
        assert measured == pytest.approx(angle, rel=1e-6 if angle < 1e-3 else 1e-12)  # a and b are rounded to 1e-16
        assert gl.twin_angle(a.float(), b.float()).item() == pytest.approx(angle, abs=1e-4)  # rounding to 6e-8 each
    a, b = axes[:1].float(), (axes[:1] + 1e-4 * axes[1:]).float()
    cosine = (a / a.norm()) @ (b / b.norm()).T
    assert gl.twin_angle(a, b).item() == pytest.approx(1e-4, rel=0.01)
    assert abs(cosine.clamp(-1, 1).arccos().item() - 1e-4) > 5e-5  # the naive ruler is wrong by half and more


# Penalties


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n, d", [(5, 9), (9, 5), (2, 3), (4, 2)])
def test_gradients_by_hand_equal_finite_differences(kind, n, d):
    weight = directed(filters(n, d)).requires_grad_()
    assert torch.autograd.gradcheck(lambda w: gl.similarity_penalty(w, kind), weight, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_values_equal_their_definitions(kind):
    weight = directed(filters(7, 11))
    cosines, eye = gl.cosine_map(weight), torch.eye(7, dtype=torch.bool)
    rows = weight / weight.norm(dim=1, keepdim=True)
    definitions = {
        "signed": lambda: cosines[~eye].mean(), "absolute": lambda: cosines[~eye].mean().abs(),
        "mean_absolute": lambda: cosines[~eye].abs().mean(), "square": lambda: cosines[~eye].square().mean(),
        "energy": lambda: (1 / torch.cdist(rows, rows))[~eye].mean(),
        "logdet": lambda: -torch.logdet(cosines + 1e-3 * eye.double()) / 7,
    }  # fmt: skip
    torch.testing.assert_close(gl.similarity_penalty(weight, kind), definitions[kind](), atol=1e-12, rtol=0)
    wide = gl.similarity_penalty(weight.T.contiguous(), kind)  # 11 filters in 7 dimensions: the other Gram matrix
    cosines, eye = gl.cosine_map(weight.T), torch.eye(11, dtype=torch.bool)
    if kind == "square":
        torch.testing.assert_close(wide, cosines[~eye].square().mean(), atol=1e-12, rtol=0)
    if kind == "logdet":
        torch.testing.assert_close(wide, -torch.logdet(cosines + 1e-3 * eye.double()) / 11, atol=1e-10, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_penalties_see_directions_only(kind):
    weight = filters(6, 8)
    value, gradient = penalty_and_gradient(weight, PENALTIES[kind])
    scale = torch.logspace(-2, 2, 6, dtype=torch.float64)[:, None]
    scaled, other = penalty_and_gradient(scale * weight, PENALTIES[kind])
    assert scaled.item() == pytest.approx(value.item(), rel=1e-12)
    torch.testing.assert_close(other * scale, gradient)  # falls as 1/‖w_i‖
    assert ((gradient * weight).sum(1).abs() < 1e-14).all()  # no push along a filter itself


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zero_filters_give_no_nan_and_get_no_push(kind, dtype):
    weight = filters(6, 8, dtype=dtype)
    weight[2] = 0
    weight.requires_grad_()
    gl.similarity_penalty(weight, kind).backward()
    assert weight.grad.isfinite().all() and not weight.grad[2].any() and weight.grad[3].any()
    zeros = torch.zeros(3, 4, dtype=dtype, requires_grad=True)
    value = gl.similarity_penalty(zeros, kind)
    value.backward()
    assert value.isfinite() and not zeros.grad.any()
    weight.grad = None
    gl.mean_cosine(weight).backward()  # the plain formula is safe under autograd, too
    assert weight.grad.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_exact_twins_do_not_push_each_other(kind, dtype):
    """Angle 0 is stationary for every function of the cosine; the common push of the others is the same for both."""
    weight = torch.cat([filters(4, 30, dtype=dtype)] * 2)
    _, gradient = penalty_and_gradient(weight, PENALTIES[kind])
    torch.testing.assert_close(gradient[:4], gradient[4:], atol=300 * torch.finfo(dtype).eps, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_weights_are_compared_in_float32(dtype):
    weight = filters(6, 8).to(dtype).requires_grad_()
    value = gl.similarity_penalty(weight, "logdet")
    value.backward()
    assert value.dtype == torch.float32 and weight.grad.dtype == dtype


def test_filters_full_of_twins_can_have_mean_zero():
    """Eq. 3 constrains one vector. With a, a, b, −b the resultant is 2a: choose the cosine of a and b."""
    a, b = torch.eye(2, dtype=torch.float64)
    four = torch.stack([a, a, b, -b])
    assert gl.mean_cosine(four).item() == pytest.approx(0, abs=1e-15)
    assert gl.cosine_map(four).abs().sum(1).min() == 2  # every filter has an exact twin or opposite
    assert gl.similarity_penalty(four, "square") > 0.3


def test_mean_absolute_cosine_is_smallest_where_every_filter_has_an_exact_twin():
    """n = 2D: no descent from random filters gets below an orthonormal set, twice."""
    d = 3
    pairs = torch.cat([torch.eye(d, dtype=torch.float64)] * 2)
    best = gl.similarity_penalty(pairs, "mean_absolute").item()
    assert best == pytest.approx(1 / (2 * d - 1))
    found = []
    for seed in range(12):
        weight = filters(2 * d, d, seed)
        for step in range(400):
            _, gradient = penalty_and_gradient(weight, PENALTIES["mean_absolute"])
            weight = weight / weight.norm(dim=1, keepdim=True) - 0.5 * 0.985**step * gradient
        found.append(gl.similarity_penalty(weight, "mean_absolute").item())
    assert min(found) >= best - 1e-9  # nothing lies below
    assert min(found) < best + 0.02  # and the best restarts come back to it


# Twins under the penalties, at equal relative movement


def part(weight, kind, movement, steps=30):
    """Plain descent in steps of equal length; returns the filters and how far they moved."""
    start = weight
    for _ in range(steps):
        _, gradient = penalty_and_gradient(weight, PENALTIES[kind])
        weight = weight - movement / steps * start.norm() / gradient.norm() * gradient
    return weight, ((weight - start).norm() / start.norm()).item()


def twin_cosine(weight):
    half = len(weight) // 2
    return gl.twin_angle(weight[:half], weight[half:]).cos().mean().item()


def test_twins_part_under_square_energy_and_logdet_but_not_under_the_mean():
    """The means leave them, square is slow, energy and log det are not."""
    cosine, moved = {}, {}
    for kind in KINDS:
        weight, moved[kind] = part(twin_layer(16, 144, angle=0.02), kind, 0.17)
        cosine[kind] = twin_cosine(weight)
    assert all(cosine[kind] > 0.9997 for kind in ("signed", "absolute", "mean_absolute"))  # 0.9998 at the start
    assert 0.975 < cosine["square"] < 0.995
    assert 0.9 < cosine["logdet"] < cosine["energy"] < 0.95
    assert moved["signed"] == pytest.approx(moved["energy"], abs=0.002) == pytest.approx(moved["logdet"], abs=0.002)
    assert moved["absolute"] < 0.12  # it hovers: the mean is zero, and nothing is left to do


@pytest.mark.parametrize("lr", [0.01, 0.1, 1.0, 10.0])
@pytest.mark.parametrize("kind", ["signed", "absolute"])
def test_no_learning_rate_lets_the_mean_part_twins(kind, lr):
    weight = twin_layer(16, 144, angle=0.02)
    for _ in range(30):
        weight = weight - lr * penalty_and_gradient(weight, PENALTIES[kind])[1]
    assert twin_cosine(weight) > 0.9997


def test_energy_overshoots_unless_the_step_is_bounded():
    free = bounded = twin_layer(16, 144, angle=0.02)
    for _ in range(30):
        free = free - 1.0 * penalty_and_gradient(free, PENALTIES["energy"])[1]
    bounded, _ = part(bounded, "energy", 0.17)
    assert twin_cosine(free) < -0.9  # twins end opposite: the first force throws them apart, and then it is gone
    assert 0.9 < twin_cosine(bounded) < 0.95


def test_logdet_does_not_part_twins_when_the_other_filters_fill_all_dimensions():
    few, _ = part(twin_layer(16, 27, angle=0.02), "logdet", 0.17)
    many, _ = part(twin_layer(108, 27, angle=0.02), "logdet", 0.17)  # 54 distinct ones in 27 dimensions
    other, _ = part(twin_layer(108, 27, angle=0.02), "energy", 0.17)
    assert twin_cosine(few) < 0.95 and twin_cosine(other) < 0.95 and twin_cosine(many) > 0.999


# Eq. 4


@pytest.mark.parametrize("kind", CHANGES)
def test_weight_change_has_no_value_and_no_gradient_where_nothing_changed(kind):
    weight = filters(4, 9).requires_grad_()
    value = gl.weight_change(weight, weight.detach(), kind)
    value.backward()
    assert value == 0 and not weight.grad.any()  # so with K = 1 it does nothing


@pytest.mark.parametrize("kind", CHANGES)
def test_weight_change_gradients_equal_finite_differences(kind):
    weight, previous = filters(4, 9).requires_grad_(), filters(4, 9, seed=1)
    assert torch.autograd.gradcheck(lambda w: gl.weight_change(w, previous, kind), weight)


def test_readings_of_weight_change():
    previous = filters(4, 9)
    moved = previous + 0.1 * filters(4, 9, seed=1)
    size = previous.square().sum()
    assert gl.weight_change(moved, previous, "frobenius").sqrt() == pytest.approx(
        ((moved - previous).norm() / size.sqrt()).item()
    )
    for kind, sums in (("sum", torch.sum), ("absolute_sum", lambda w: w.abs().sum())):
        value = gl.weight_change(moved, previous, kind)
        assert value.item() == pytest.approx(((sums(moved) - sums(previous)) ** 2 / 36 / size).item())
        assert value <= gl.weight_change(moved, previous, "frobenius")
    shuffled = previous[torch.randperm(4)]  # the sums stay, the matrix does not
    assert gl.weight_change(shuffled, previous, "sum") < 1e-30 < gl.weight_change(shuffled, previous, "frobenius")
    assert gl.weight_change(torch.zeros(2, 2), torch.zeros(2, 2), "frobenius") == 0


@pytest.mark.parametrize("call, message", [
    (lambda w: gl.similarity_penalty(w, "cosine"), "penalty must be one of signed, absolute.*, got 'cosine'"),
    (lambda w: gl.weight_change(w, w, "l2"), "weight_change must be one of sum, absolute_sum, frobenius.*, got 'l2'"),
    (lambda w: gl.weight_change(w, w[:2]), r"one shape, got \(3, 4\) and \(2, 4\)"),
    (lambda w: gl.effective_rank(w * math.nan), "hold NaN or infinity"),
    (lambda w: gl.similarity_figures(w * math.inf), "hold NaN or infinity"),
])  # fmt: skip
def test_wrong_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.ones(3, 4))
