"""Where the mean of |cosine| is smallest: at right angles for n ≤ D, with duplicates as soon as n > D (notebook 04).

The bound for n > D: Ŵ has rank D at most, so n − D orthonormal vectors are in the null space of S = ŴŴᵀ. Let P project
on them. 0 = tr(PS) = n − D + Σ_{i≠j} P_ij S_ij, and no entry of a projection off its diagonal exceeds 1/2. So the sum
of |S_ij| over i ≠ j is at least 2(n − D). It is reached only if P_ij = ±1/2 wherever S_ij ≠ 0. Then P_ii = 1/2, the
row of P has no room for a second such j, and ŵ_i = ∓ŵ_j.
"""

import pytest
import torch
import torch.nn.functional as F

import growlab as gl
from growlab.penalties import PENALTIES, penalty_and_gradient


def descend(rows, steps=800, length=0.5):
    """Unit rows that go downhill on the mean of |cosine|, in steps that get smaller."""
    for step in range(steps):
        _, gradient = penalty_and_gradient(rows, PENALTIES["mean_absolute"])
        rows = F.normalize(rows - length * 0.988**step * len(rows) / 4 * gradient, dim=1)
    return rows


def drawn(n, d, seed):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def partners(rows, cosine=0.99):
    """How many filters have a twin or an opposite."""
    return (gl.cosine_map(rows).abs().fill_diagonal_(0).amax(1) > cosine).sum().item()


@pytest.mark.parametrize("n, d", [(6, 6), (7, 6), (9, 6), (12, 6), (5, 4), (16, 144)])
def test_the_mean_of_absolute_cosines_is_least_at_right_angles_and_beyond_D_with_duplicates(n, d):
    bound = 2 * max(n - d, 0) / (n * (n - 1))
    ends = [descend(drawn(n, d, seed)) for seed in range(8)]
    values = [gl.similarity_penalty(rows, "mean_absolute").item() for rows in ends]
    assert min(values) >= bound - 1e-12
    best = ends[values.index(min(values))]
    assert min(values) == pytest.approx(bound, abs=1e-3)
    assert partners(best) == 2 * max(n - d, 0)  # n − D pairs, and nobody else
    if n > d:
        cosines = gl.cosine_map(best).abs()
        assert ((cosines < 0.02) | (cosines > 0.99)).all()  # the others at right angles


@pytest.mark.parametrize("n, d", [(7, 6), (9, 6), (12, 6), (20, 6)])
def test_the_bound_holds_for_filters_drawn_at_random_and_for_a_basis_with_repeats_it_is_exact(n, d):
    rows = F.normalize(drawn(n, d, seed=1), dim=1)
    null = torch.linalg.svd(rows)[0][:, d:]  # (n, n − D)
    projection = null @ null.T
    off = projection - projection.diagonal().diag()
    assert off.abs().max() <= 0.5 + 1e-12
    assert -(off * gl.cosine_map(rows)).sum().item() == pytest.approx(n - d)
    repeated = torch.cat([torch.eye(d), torch.eye(d)[torch.arange(n - d) % d]]).double()
    value = gl.similarity_penalty(repeated, "mean_absolute").item() * n * (n - 1)
    assert value == pytest.approx(2 * (n - d)) if n <= 2 * d else value > 2 * (n - d)


def test_up_to_D_filters_it_parts_twins():
    """The second layer of the paper's VGG16 at first: 16 filters of 144 weights, half of them near copies."""
    first = F.normalize(drawn(8, 144, seed=2), dim=1)
    near = F.normalize(first + 0.02 * F.normalize(drawn(8, 144, seed=3), dim=1), dim=1)
    end = descend(torch.cat([first, near]), steps=1500, length=2.0)
    before, after = (gl.twin_angle(*half).rad2deg() for half in ((first, near), end.chunk(2)))
    assert before.max() < 1.2 and after.min() > 80
