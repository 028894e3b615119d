"""The readings of Eq. 3 and Eq. 4 of Sakai & Hotta (2024): what the K steps lower, with gradients by hand.

The formulas of the paper are lost in our text. They are *reconstructed from its words*, and where the words allow
several readings all of them are here (flow: apply, **decorrelate**, train). Notebook 04 builds them by hand.
"""

import math

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from growlab.checks import one_of
from growlab.similarity import unit_rows

RIDGE = 1e-3  # δ of log det(S + δI): keeps it finite, and twins in reach, when a layer is rank deficient


# Readings of Eq. 3. Each takes unit rows (n, D), n > 1, and returns its value and its gradient with respect to the
# rows, as if they were free. Whatever lies along a row itself does not matter: see penalty_and_gradient.
def signed(rows):
    """μ itself: "minimise μ", down to −1/(n−1)."""
    n, resultant = len(rows), rows.sum(0)
    mu = (resultant.square().sum() - rows.square().sum()) / (n * (n - 1))  # Eq. 2
    return mu, (2 / (n * (n - 1)) * resultant).expand_as(rows)  # one direction for all: away from the resultant


def absolute(rows):
    """|μ|: "bring the mean to zero"."""
    mu, pull = signed(rows)
    return mu.abs(), mu.sign() * pull


def mean_absolute(rows):
    """The mean of |S_ij|. Smallest at right angles (n ≤ D); for D < n ≤ 2D with n − D exact twins or opposites."""
    n, cosines = len(rows), (rows @ rows.T).fill_diagonal_(0)
    return cosines.abs().sum() / (n * (n - 1)), 2 / (n * (n - 1)) * cosines.sign() @ rows


def square(rows):
    """The mean of S_ij², from the smaller of ŴŴᵀ and ŴᵀŴ: both have the same sum of squares."""
    n, d = rows.shape
    gram = rows @ rows.T if n <= d else rows.T @ rows
    value = (gram.square().sum() - rows.square().sum()) / (n * (n - 1))
    return value, 4 / (n * (n - 1)) * (gram @ rows if n <= d else rows @ gram)


def energy(rows):
    """Hyperspherical energy (Liu et al. 2018): the mean of 1/‖ŵ_i − ŵ_j‖. Its force grows as twins get closer.

    Pairs closer than the precision can tell apart count as touching, and do not push: the direction would be noise.
    """
    n, closest = len(rows), 16 * torch.finfo(rows.dtype).eps
    squared = (2 - 2 * rows @ rows.T).fill_diagonal_(math.inf)  # ‖ŵ_i − ŵ_j‖²
    inverse = squared.clamp_min(closest).rsqrt()
    push = (inverse**3).masked_fill_(squared < closest, 0)
    return inverse.sum() / (n * (n - 1)), 2 / (n * (n - 1)) * push @ rows


def logdet(rows):
    """−log det(S + δI) / n: small when the filters span a large volume.

    It parts twins by their new direction, so not where the other filters fill all D dimensions already (n well over D).
    """
    n, d = rows.shape
    gram = rows @ rows.T if n <= d else rows.T @ rows  # (S + δI)⁻¹Ŵ = Ŵ(ŴᵀŴ + δI)⁻¹
    gram.diagonal().add_(RIDGE)
    factor, _ = torch.linalg.cholesky_ex(gram)
    value = -(2 * factor.diagonal().log().sum() + max(n - d, 0) * math.log(RIDGE)) / n
    return value, -2 / n * (torch.cholesky_solve(rows, factor) if n <= d else torch.cholesky_solve(rows.T, factor).T)


PENALTIES = {
    "signed": signed, "absolute": absolute, "mean_absolute": mean_absolute,
    "square": square, "energy": energy, "logdet": logdet,
}  # fmt: skip


def penalty_and_gradient(weight: Tensor, penalty) -> tuple[Tensor, Tensor]:
    """A penalty's value and its gradient ``(n, D)`` with respect to filters ``(n, D)``.

    Only the direction of a filter counts, so its gradient is orthogonal to it and falls with its length:
    ∂/∂w_i = (I − ŵ_i ŵ_iᵀ) (∂/∂ŵ_i) / ‖w_i‖. One neuron: 0, nothing to do. A filter of zeros gets a zero gradient.
    """
    rows, lengths = unit_rows(weight)
    if len(rows) < 2:
        return rows.new_zeros(()), torch.zeros_like(rows)
    value, pull = penalty(rows)
    return value, (pull - (pull * rows).sum(1, keepdim=True) * rows) / lengths


def similarity_penalty(weight: Tensor, kind: str = "absolute") -> Tensor:
    """A reading of Eq. 3 for filters ``(n, D)`` or ``(n, …)``: a scalar to minimise, differentiable once.

    "signed", "absolute" (of the mean), "mean_absolute", "square", "energy" or "logdet". All see directions only:
    scaling a filter by a positive number changes nothing. One neuron gives 0. Exact twins feel no force from each
    other under any of them (angle 0 is stationary for every function of the cosine). The gradients are written by
    hand. Raises ``ValueError`` for an unknown kind. Notebook 04.
    """
    one_of("penalty", kind, PENALTIES)
    with torch.no_grad():
        value, gradient = penalty_and_gradient(weight, PENALTIES[kind])
    return _ByHand.apply(weight, value, gradient.view(weight.shape).to(weight.dtype))


# Readings of Eq. 4: the weights now and before, both (n, D); relative to the size before, without units. The sum of a
# change is at most √N times its norm (N entries), so with the factor 1/N no reading exceeds the last one.
def sum_change(weight, previous):
    """ "The sum of weights": (ΣW − ΣW')² / (N‖W'‖²)."""
    change = weight.sum() - previous.sum()
    return change.square() / weight.numel(), (2 / weight.numel() * change).expand_as(weight)


def absolute_sum_change(weight, previous):
    """The sum of absolute weights: (Σ|W| − Σ|W'|)² / (N‖W'‖²)."""
    change = weight.abs().sum() - previous.abs().sum()
    return change.square() / weight.numel(), 2 / weight.numel() * change * weight.sign()


def frobenius_change(weight, previous):
    """All weights: ‖W − W'‖² / ‖W'‖², the squared relative movement."""
    change = weight - previous
    return change.square().sum(), 2 * change


CHANGES = {"sum": sum_change, "absolute_sum": absolute_sum_change, "frobenius": frobenius_change}


def change_and_gradient(weight: Tensor, previous: Tensor, change) -> tuple[Tensor, Tensor]:
    """A reading of Eq. 4 and its gradient ``(n, D)`` with respect to the filters now, for filters ``(n, D)``."""
    value, gradient = change(weight, previous)
    size = previous.square().sum()
    size = size.masked_fill(size == 0, math.inf)  # a layer of zeros: no relative change, and no NaN
    return value / size, gradient / size


def weight_change(weight: Tensor, previous: Tensor, kind: str = "sum") -> Tensor:
    """A reading of Eq. 4, the term against "unstable changes in the sum of weights": a scalar, differentiable once.

    Between filters now and before, of the same shape; "sum", "absolute_sum" or "frobenius". Squares, relative to
    ‖previous‖², hence without units. At ``weight == previous`` value *and* gradient are zero: with a single step
    (K = 1) this term does nothing. Raises ``ValueError`` for an unknown kind or different shapes. Notebook 04.
    """
    one_of("weight_change", kind, CHANGES)
    if weight.shape != previous.shape:
        shapes = f"{tuple(weight.shape)} and {tuple(previous.shape)}"
        raise ValueError(f"weight_change compares weights of one shape, got {shapes}")
    with torch.no_grad():
        value, gradient = change_and_gradient(weight, previous, CHANGES[kind])
    return _ByHand.apply(weight, value, gradient)


class _ByHand(torch.autograd.Function):
    """A scalar whose gradient was computed along with it."""

    @staticmethod
    def forward(ctx, weight, value, gradient):
        ctx.save_for_backward(gradient)
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream):
        return upstream * ctx.saved_tensors[0], None, None
