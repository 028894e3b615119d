"""Linear algebra of splitting matrices S_i = Xᵀ diag(weight_i) X, without ever building the patches X as a whole.

``X`` is ``(P, D)``: a row for each picture and position. Behind ``splitting``; notebook 01 does it for one neuron.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from growlab.machine import in_double, like

PATHS = (None, "dense", "matrix-free")  # None: the cheaper one
LANCZOS_STEPS = 20
PATCHES = 1 << 23  # entries of the patches that are unfolded at once
BLOCK = 1 << 18  # entries of those that are weighted and multiplied at once: they stay in the cache
TILE = 48  # rows of a splitting matrix that are computed at once


def respond(layer: nn.Module, x: Tensor, filters: Tensor) -> Tensor:
    """X filtersᵀ: what the layer computes from x with other filters, (m, D), and without bias."""
    if isinstance(layer, nn.Linear):
        return F.linear(x, filters)
    return layer._conv_forward(x, filters.reshape(-1, *layer.weight.shape[1:]), None)


def product(layer: nn.Module, x: Tensor, weight: Tensor, v: Tensor) -> Tensor:
    """S_i v_i of every neuron, (n, D): Xᵀ(weight_i ⊙ (X v_i)), the vector-Jacobian product of v ↦ X v."""
    with torch.enable_grad():
        v = like(v.detach(), x).requires_grad_()
        z = respond(layer, x, v)
        return torch.autograd.grad(z, v, z.detach().mul_(weight))[0]


def quadratic_form(layer: nn.Module, samples: list, v: Tensor) -> Tensor:
    """v_iᵀ S_i v_i of every neuron, (n,): Σ_p weight_ip (x_p v_i)²."""
    terms = (rows_of(layer, respond(layer, x, like(v, x)).square_().mul_(weight)) for x, weight in samples)
    return sum((in_double(rows).sum(0) for rows in terms), torch.zeros_like(v[:, 0]))


@torch.no_grad()
def gram(layer: nn.Module, samples: list) -> Tensor:
    """S_i = Xᵀ diag(weight_i) X of every neuron, (n, D, D) in float64."""
    n, d = layer.weight.flatten(1).shape
    identity = torch.eye(d, dtype=layer.weight.dtype, device=layer.weight.device)
    result = in_double(identity.new_zeros(n, d, d))
    for x, weight in samples:
        pictures = max(1, PATCHES * n * len(weight) // (d * weight.numel()))
        for some, its_weight in zip(x.split(pictures), weight.split(pictures)):
            # im2col: the d-th unit vector as a filter reads entry d
            patches = rows_of(layer, respond(layer, some, identity))
            part, size = identity.new_zeros(n, d, d), max(1, BLOCK // d)
            for block, weights in zip(patches.split(size), rows_of(layer, its_weight).split(size)):
                for i, w in enumerate(weights.T):
                    used, rows = w.nonzero().flatten(), block
                    if len(used) < len(w):  # max-pooling gives one position in four a gradient
                        rows, w = rows[used], w[used]
                    for a in range(0, d, TILE):  # S is symmetric: the upper triangle is enough
                        part[i, a : a + TILE, a:].addmm_((rows[:, a : a + TILE] * w[:, None]).T, rows[:, a:])
            result += in_double(part)
    return result.triu() + result.triu(1).mT


def rows_of(layer, z):
    """A map (N, n, …) of a convolution, or (…, n) of a linear layer, as rows (P, n)."""
    return (z if isinstance(layer, nn.Linear) else z.movedim(1, -1)).flatten(0, -2)


@torch.no_grad()
def smallest_eigenpairs(layer: nn.Module, samples: list, path: str | None, generator) -> tuple[Tensor, Tensor]:
    """The smallest eigenvalue of every neuron's S over ``samples``, (n,), and its eigenvector, (n, D), in float64."""
    n, d = layer.weight.flatten(1).shape
    start = torch.randn(n, d, generator=generator, dtype=torch.float64).to(in_double(layer.weight.detach()).device)
    if not samples:
        return torch.zeros_like(start[:, 0]), start
    positions = sum(weight.numel() for _, weight in samples) / n
    # Multiply-adds per neuron; weighting the patches takes as long as multiplying them.
    if path == "dense" or (path is None and d * (2 * positions + 10 * d) < 2 * LANCZOS_STEPS * positions):
        # In float64: in float32, eigh failed to converge on layers with dead inputs.
        eigenvalues, vectors = torch.linalg.eigh(gram(layer, samples))
        return eigenvalues[:, 0], vectors[:, :, 0]
    # So here: where gradients vanish, the squares of S would vanish in float32.
    return lanczos(lambda v: in_double(sum(product(layer, *sample, v) for sample in samples)), start)


def lanczos(multiply: Callable, start: Tensor, steps=LANCZOS_STEPS, tolerance=1e-4) -> tuple[Tensor, Tensor]:
    """Smallest eigenpairs of n symmetric matrices S at once, (n,) and (n, D), from products alone.

    ``multiply`` maps (n, D) to (n, D), row i times matrix i; ``start`` is random. Lanczos, fully re-orthogonalised,
    takes the smallest eigenpair of QᵀSQ, Q an orthonormal basis of the Krylov space. It is exact after D steps, but the
    ends of the spectrum come first. It stops when all residuals |Sv − λv| are within ``tolerance``·|S|: λ is as good as
    their squares.
    """
    n, d = start.shape
    steps = min(steps, d)
    basis, projected = start.new_zeros(n, steps, d), start.new_zeros(n, steps, steps)
    q = F.normalize(start)
    for k in range(1, steps + 1):
        basis[:, k - 1] = q
        known, q = basis[:, :k], multiply(q)[:, :, None]
        coefficients = known @ q  # the last column of QᵀSQ, down to its diagonal
        projected[:, :k, k - 1] = coefficients[:, :, 0]
        rest = q - known.mT @ coefficients
        size = rest.norm(dim=1)
        if k == steps or (k > 4 and k % 4 == 0):
            eigenvalues, vectors = torch.linalg.eigh(projected[:, :k, :k], UPLO="U")
            residuals = size[:, 0] * vectors[:, -1, 0].abs()
            if k == steps or (residuals <= tolerance * eigenvalues.abs().amax(1)).all():
                return eigenvalues[:, 0], (known.mT @ vectors[:, :, :1])[:, :, 0]
        exhausted = size <= 1e-10 * q.norm(dim=1)  # the space is invariant: go on in another direction
        rest = torch.where(exhausted[:, :, None], start.roll(k, dims=1)[:, :, None], rest)
        rest = rest - known.mT @ (known @ rest)  # once more: the first time leaves rounding of the size of q
        q = F.normalize(rest[:, :, 0], eps=torch.finfo(rest.dtype).tiny)
