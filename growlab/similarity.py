"""How alike are the neurons of a layer? The cosine map of Sakai & Hotta (2024, §3.1), its mean, and null bands.

Everything here looks at one layer's filters, a matrix ``(n, D)`` with a neuron per row (flow: apply, **similarity**,
decorrelate, train); notebook 04 builds it by hand. Eq. 1 and 2 are *reconstructed from the paper's words*.
"""

import math

import torch
from torch import Tensor

from growlab.checks import whole
from growlab.machine import in_double


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
    return rows @ rows.T  # Eq. 1: S = Ŵ Ŵᵀ


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
    (a, _), (b, _) = unit_rows(in_double(a)), unit_rows(in_double(b))
    return 2 * torch.atan2((a - b).norm(dim=1), (a + b).norm(dim=1))


# What to hold them against
def null_bands(n: int, d: int) -> tuple[float, float]:
    """Standard deviations, for n random Gaussian filters in D dimensions, of one cosine and of μ.

    1/√D and √(2 / (n(n−1)D)). Without these bands deep layers look better for free. NaN for μ of one neuron.
    """
    n, d = _sizes(n, d)
    return 1 / math.sqrt(d), math.sqrt(2 / (n * (n - 1) * d)) if n > 1 else math.nan


def welch_bound(n: int, d: int) -> float:
    """The mean squared cosine of n filters in D dimensions is never below this (Welch 1974): (n−D) / (D(n−1)).

    0 for n ≤ D. Reached by tight frames. The bound of the *largest* |cosine| is its square root.
    """
    n, d = _sizes(n, d)
    return max(n - d, 0) / (d * max(n - 1, 1))


def _sizes(n, d):
    return whole("n", n, 1, "a number of filters"), whole("d", d, 1, "the number of their entries")


def effective_rank(weight: Tensor) -> float:
    """How many directions the unit rows fill: exp of the entropy of their singular values (Roy & Vetterli 2007).

    min(n, D) for orthogonal filters, 1 if all are parallel, 0 if all are zero. Raises ``ValueError`` for NaN, infinity.
    """
    if not weight.isfinite().all():
        raise ValueError("the filters hold NaN or infinity, so they have no directions: look at the training")
    rows, _ = unit_rows(in_double(weight.detach()))
    gram = rows @ rows.T if len(rows) <= rows.shape[1] else rows.T @ rows
    singular = torch.linalg.eigvalsh(gram).clamp_min(0).sqrt()
    if not singular.any():
        return 0.0
    return torch.special.entr(singular / singular.sum()).sum().exp().item()
