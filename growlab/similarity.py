"""How alike are the neurons of a layer? The cosine map of Sakai & Hotta (2024, §3.1) and what to hold it against.

Looks at the model between growth and training (flow: apply, **similarity**, train); notebook 04 builds it by hand.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

HISTOGRAM_BINS = 40  # of width 0.05 from −1 to 1


def cosine_map(weight: Tensor) -> Tensor:
    """Eq. 1: the cosines between all neurons, ``(n, n)``, of filters ``(n, D)`` or ``(n, …)``.

    A filter of zeros has no direction: its row and column are zeros.
    """
    rows = F.normalize(weight.flatten(1), dim=1, eps=torch.finfo(weight.dtype).tiny)
    return rows @ rows.T


def mean_cosine(weight: Tensor) -> Tensor:
    """Eq. 2: the mean of the off-diagonal cosines, μ in [−1/(n−1), 1], a scalar.

    From the resultant of the unit rows in O(nD), without the map: (‖Σ ŵ‖² − Σ‖ŵ‖²) / (n(n−1)). 0 for one neuron.
    """
    rows = F.normalize(weight.flatten(1), dim=1, eps=torch.finfo(weight.dtype).tiny)
    n = len(rows)
    return (rows.sum(0).square().sum() - rows.square().sum()) / max(n * (n - 1), 1)


def twin_angle(a: Tensor, b: Tensor) -> Tensor:
    """Angles in radians between the rows of ``a`` and of ``b``, both ``(m, D)``: shape ``(m,)``.

    By 2·atan2(‖â − b̂‖, ‖â + b̂‖) (Kahan): in float32, arccos of the cosine cannot see angles below 3e-4.
    """
    a, b = (F.normalize(rows.flatten(1).double(), dim=1) for rows in (a, b))
    return 2 * torch.atan2((a - b).norm(dim=1), (a + b).norm(dim=1))


def null_deviation(n: int, d: int) -> float:
    """Standard deviation of μ for n random Gaussian filters in D dimensions: √(2 / (n(n−1)D)).

    That of a single cosine is 1/√D. Without this band deep layers look better for free.
    """
    return math.sqrt(2 / (n * (n - 1) * d)) if n > 1 else math.nan


@torch.no_grad()
def similarity_figures(weight: Tensor, twins: list[tuple[int, int]] = ()) -> dict:
    """What a record keeps of one layer's filters ``(n, D)``: plain numbers, ready for JSON.

    μ, the mean |cosine|, μ in null deviations, the mean angle in radians of ``twins`` (pairs of indices), and the
    histogram of the off-diagonal cosines, each pair once, in 40 bins from −1 to 1.
    """
    weight = weight.detach().flatten(1).double().cpu()
    n, d = weight.shape
    cosines = cosine_map(weight)[tuple(torch.triu_indices(n, n, 1))]
    mu = mean_cosine(weight).item()
    figures = {
        "neurons": n,
        "mean_cosine": mu,
        "mean_absolute_cosine": cosines.abs().mean().item() if n > 1 else 0.0,
        "null_z": mu / null_deviation(n, d) if n > 1 else None,
        "histogram": torch.histc(cosines.clamp(-1, 1), HISTOGRAM_BINS, -1, 1).int().tolist(),
    }
    if twins:
        first, second = (list(index) for index in zip(*twins))
        figures["twin_angle"] = twin_angle(weight[first], weight[second]).mean().item()
    return figures
