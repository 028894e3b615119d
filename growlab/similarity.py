"""How alike are the neurons of a layer? The cosine map of Sakai & Hotta (2024, §3.1), penalties, and null bands.

Everything here looks at one layer's filters, a matrix ``(n, D)`` with a neuron per row (flow: apply, **similarity**,
decorrelate, train); notebook 04 builds it by hand. The formulas of the paper are lost in our text: Eq. 1–4 are
*reconstructed from its words*, and where the words allow several readings all of them are here.
"""

import math

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

HISTOGRAM_BINS = 40  # of width 0.05 from −1 to 1
RIDGE = 1e-3  # δ of log det(S + δI): keeps it finite, and twins in reach, when a layer is rank deficient


# Filters and their cosines


def unit_rows(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Filters ``(n, …)`` as unit rows ``(n, D)``, and their lengths ``(n, 1)``; in float32 at least.

    A filter of zeros has no direction: its row is zero and its length inf, so that nothing divided by it is NaN.
    """
    rows = weight.flatten(1)
    rows = rows.float() if rows.dtype in (torch.float16, torch.bfloat16) else rows
    lengths = rows.norm(dim=1, keepdim=True)
    lengths = lengths.masked_fill(lengths <= torch.finfo(rows.dtype).tiny ** 0.5, math.inf)  # squares vanish below
    return rows / lengths, lengths


def cosine_map(weight: Tensor) -> Tensor:
    """Eq. 1: the cosines between all neurons, ``(n, n)``, of filters ``(n, D)`` or ``(n, …)``.

    A filter of zeros has no direction: its row and column are zeros.
    """
    rows, _ = unit_rows(weight)
    return rows @ rows.T                                            # Eq. 1: S = Ŵ Ŵᵀ


def mean_cosine(weight: Tensor) -> Tensor:
    """Eq. 2: the mean of the off-diagonal cosines, μ in [−1/(n−1), 1], a scalar. 0 for one neuron.

    From the resultant of the unit rows in O(nD), without the map: (‖Σ ŵ‖² − Σ‖ŵ‖²) / (n(n−1)). So Eq. 3 constrains
    one vector only: unit filters a, a, b, −b have μ = 0 for every b, and are full of twins.
    """
    rows, _ = unit_rows(weight)
    n = len(rows)
    return (rows.sum(0).square().sum() - rows.square().sum()) / max(n * (n - 1), 1)


def twin_angle(a: Tensor, b: Tensor) -> Tensor:
    """Angles in radians between the rows of ``a`` and of ``b``, both ``(m, D)``: shape ``(m,)``.

    By 2·atan2(‖â − b̂‖, ‖â + b̂‖) (Kahan): in float32, arccos of the cosine cannot see angles below 3e-4.
    """
    (a, _), (b, _) = unit_rows(a.double()), unit_rows(b.double())
    return 2 * torch.atan2((a - b).norm(dim=1), (a + b).norm(dim=1))


# What to hold them against


def null_bands(n: int, d: int) -> tuple[float, float]:
    """Standard deviations, for n random Gaussian filters in D dimensions, of one cosine and of μ.

    1/√D and √(2 / (n(n−1)D)). Without these bands deep layers look better for free. NaN for μ of one neuron.
    """
    return 1 / math.sqrt(d), math.sqrt(2 / (n * (n - 1) * d)) if n > 1 else math.nan


def welch_bound(n: int, d: int) -> float:
    """The mean squared cosine of n filters in D dimensions is never below this (Welch 1974): (n−D) / (D(n−1)).

    0 for n ≤ D. Reached by tight frames. The bound of the *largest* |cosine| is its square root.
    """
    return max(n - d, 0) / (d * max(n - 1, 1))


def effective_rank(weight: Tensor) -> float:
    """How many directions the unit rows fill: exp of the entropy of their singular values (Roy & Vetterli 2007).

    min(n, D) for orthogonal filters, 1 if all are parallel, 0 if all are zero. Raises ``ValueError`` for NaN and infinity.
    """
    if not weight.isfinite().all():
        raise ValueError("the filters hold NaN or infinity, so they have no directions: look at the training, or take another layer")
    rows, _ = unit_rows(weight.detach().double())
    gram = rows @ rows.T if len(rows) <= rows.shape[1] else rows.T @ rows
    singular = torch.linalg.eigvalsh(gram).clamp_min(0).sqrt()
    if not singular.any():
        return 0.0
    return torch.special.entr(singular / singular.sum()).sum().exp().item()


@torch.no_grad()
def similarity_figures(weight: Tensor, twins: list[tuple[int, int]] = ()) -> dict:
    """What a record keeps of one layer's filters ``(n, D)``: plain numbers, ready for JSON.

    μ, also in null deviations, the mean |cosine|, the mean squared cosine and its Welch bound, the effective rank,
    the mean angle in radians of ``twins`` (pairs of indices), and the histogram of the off-diagonal cosines, each
    pair once, in 40 bins from −1 to 1.
    """
    weight = weight.detach().flatten(1).double().cpu()
    n, d = weight.shape
    cosines = cosine_map(weight)[tuple(torch.triu_indices(n, n, 1))]
    mu = mean_cosine(weight).item()
    figures = {
        "neurons": n,
        "mean_cosine": mu,
        "mean_absolute_cosine": cosines.abs().mean().item() if n > 1 else 0.0,
        "mean_square_cosine": cosines.square().mean().item() if n > 1 else 0.0,
        "welch_bound": welch_bound(n, d),
        "effective_rank": effective_rank(weight),
        "null_z": mu / null_bands(n, d)[1] if n > 1 else None,
        "histogram": torch.histc(cosines.clamp(-1, 1), HISTOGRAM_BINS, -1, 1).int().tolist(),
    }
    if twins:
        first, second = (list(index) for index in zip(*twins))
        figures["twin_angle"] = twin_angle(weight[first], weight[second]).mean().item()
    return figures


# Readings of Eq. 3. Each takes unit rows (n, D), n > 1, and returns its value and its gradient with respect to the
# rows, as if they were free. Whatever lies along a row itself does not matter: see penalty_and_gradient.


def signed(rows):
    """μ itself: "minimise μ", down to −1/(n−1)."""
    n, resultant = len(rows), rows.sum(0)
    mu = (resultant.square().sum() - rows.square().sum()) / (n * (n - 1))       # Eq. 2
    return mu, (2 / (n * (n - 1)) * resultant).expand_as(rows)      # one direction for all: away from the resultant


def absolute(rows):
    """|μ|: "bring the mean to zero"."""
    mu, pull = signed(rows)
    return mu.abs(), mu.sign() * pull


def mean_absolute(rows):
    """The mean of |S_ij|. At n = 2D it is smallest where every filter has an exact twin."""
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
    squared = (2 - 2 * rows @ rows.T).fill_diagonal_(math.inf)      # ‖ŵ_i − ŵ_j‖²
    inverse = squared.clamp_min(closest).rsqrt()
    push = (inverse**3).masked_fill_(squared < closest, 0)
    return inverse.sum() / (n * (n - 1)), 2 / (n * (n - 1)) * push @ rows


def logdet(rows):
    """−log det(S + δI) / n: small when the filters span a large volume.

    It parts twins by their new direction, so not where the other filters fill all D dimensions already (n well over D).
    """
    n, d = rows.shape
    gram = rows @ rows.T if n <= d else rows.T @ rows               # (S + δI)⁻¹Ŵ = Ŵ(ŴᵀŴ + δI)⁻¹
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
    check_name("penalty", kind, PENALTIES)
    with torch.no_grad():
        value, gradient = penalty_and_gradient(weight, PENALTIES[kind])
    return _ByHand.apply(weight, value, gradient.view(weight.shape).to(weight.dtype))


# Readings of Eq. 4: the weights now and before, both (n, D); relative to the size before, without units. The sum of a
# change is at most √N times its norm (N entries), so with the factor 1/N no reading exceeds the last one.


def sum_change(weight, previous):
    """"The sum of weights": (ΣW − ΣW')² / (N‖W'‖²)."""
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
    check_name("weight_change", kind, CHANGES)
    if weight.shape != previous.shape:
        raise ValueError(f"weight_change compares weights of one shape, got {tuple(weight.shape)} and {tuple(previous.shape)}")
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


def check_name(what: str, name, known) -> None:
    if name not in known:
        raise ValueError(f"unknown {what} {name!r}: choose from {', '.join(known)}")
