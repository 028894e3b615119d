"""The exercises of notebook 04: the cosine map, what its mean sees, and what it cannot see."""

import math

import torch
import torch.nn.functional as F

from . import Exercise


def normal(*shape, seed=0):
    """Standard normal numbers in float64, the same at every call."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# ---------------------------------------------------------------------------------------------- cosine-map

def cosine_map(weight):
    rows = weight.flatten(1)
    lengths = rows.norm(dim=1, keepdim=True)
    rows = rows / torch.where(lengths > 0, lengths, 1)  # a filter of zeros stays zero
    return rows @ rows.T


def filters():
    yield (torch.tensor([[1.0, 0.0], [3.0, 3.0]], dtype=torch.float64),)
    yield (normal(3, 5),)
    yield (normal(4, 2, 3, 3),)
    yield (torch.cat([normal(2, 4), torch.zeros(1, 4, dtype=torch.float64)]),)


def ignores_lengths(answer, weight):
    scales = torch.arange(1, len(weight) + 1, dtype=weight.dtype).view(-1, *[1] * (weight.dim() - 1))
    if not torch.allclose(answer(weight * scales), answer(weight)):
        return "A cosine does not change when a filter gets longer: divide each filter by its own length."


def columns(weight):
    rows = F.normalize(weight.flatten(1), dim=0)
    return rows @ rows.T


def one_length(weight):
    rows = weight.flatten(1) / weight.norm()
    return rows @ rows.T


def last_axis(weight):
    rows = F.normalize(weight, dim=-1).flatten(1)
    return rows @ rows.T


def nan_for_zeros(weight):
    rows = weight.flatten(1) / weight.flatten(1).norm(dim=1, keepdim=True)
    return rows @ rows.T


COSINE_MAP = Exercise(
    "cosine-map", cosine_map, filters,
    hints=(
        "A cosine is the inner product of two vectors of length one. What must be done to each row first?",
        "With rows of length one, all inner products are one matrix product: rows @ rows.T.",
        "weight.flatten(1) makes a row of each filter; .norm(dim=1, keepdim=True) gives the lengths. Beware of a length of 0.",
    ),
    mistakes={
        "You normalised the columns. A neuron is a row: sum over dim=1.": columns,
        "You divided by the length of the whole weight. Each neuron has a length of its own.": one_length,
        "You normalised over the last axis only. A filter is all of (C, h, w): flatten it first.": last_axis,
        "A filter of zeros gives NaN: its row must be zeros.": nan_for_zeros,
    },
    properties=(ignores_lengths,),
)  # fmt: skip


EXERCISES = (COSINE_MAP,)
