"""The exercises of notebook 04: the cosine map, what its mean sees, and what it cannot see."""

import math

import torch
import torch.nn.functional as F

from growlab.course.exercises.exercise import Exercise, normal


def zeros(*shape):
    return torch.zeros(shape, dtype=torch.float64)


def cosine_map(weight):
    rows = weight.flatten(1)
    lengths = rows.norm(dim=1, keepdim=True)
    rows = rows / torch.where(lengths > 0, lengths, 1)  # a filter of zeros stays zero
    return rows @ rows.T


def filters():
    yield (torch.tensor([[1.0, 0.0], [3.0, 3.0]], dtype=torch.float64),)
    yield (normal(3, 5),)
    yield (normal(4, 2, 3, 3),)
    yield (torch.cat([normal(2, 4), zeros(1, 4)]),)


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
    mistakes={
        "You normalised the columns. A neuron is a row: sum over dim=1.": columns,
        "You divided by the length of the whole weight. Each neuron has a length of its own.": one_length,
        "You normalised over the last axis only. A filter is all of (C, h, w): flatten it first.": last_axis,
        "A filter of zeros gives NaN: its row must be zeros.": nan_for_zeros,
    }, properties=(ignores_lengths,),
)  # fmt: skip


def mean_cosine(weight):
    rows = F.normalize(weight, dim=1)  # filters of zeros stay zeros
    n = len(rows)
    resultant = rows.sum(0)
    own = rows.square().sum()  # the diagonal of the map: n, unless a filter is zero
    return (resultant @ resultant - own) / max(n * (n - 1), 1)


def matrices():
    yield (torch.tensor([[2.0, 0.0], [1.0, 1.0]], dtype=torch.float64),)
    yield (normal(4, 6),)
    yield (torch.cat([normal(3, 4), zeros(1, 4)]),)
    yield (normal(1, 3),)


class Watched(torch.Tensor):
    """A tensor that remembers the largest one computed from it."""

    largest = 0

    @classmethod
    def __torch_function__(cls, function, types, arguments=(), options=None):
        result = super().__torch_function__(function, types, arguments, options or {})
        Watched.largest = max(Watched.largest, result.numel() if isinstance(result, torch.Tensor) else 0)
        return result


def needs_no_map(answer, weight):
    Watched.largest, n = 0, 100
    answer(normal(n, 3).as_subclass(Watched))
    if Watched.largest >= n * n:
        what = "The value is right, but you made all n × n cosines on the way: 160 GB for 200,000 filters. "
        return f"{what}Add up the rows first."


def with_diagonal(weight):
    resultant, n = F.normalize(weight, dim=1).sum(0), len(weight)
    return resultant @ resultant / max(n * (n - 1), 1)


def over_all_entries(weight):
    rows, n = F.normalize(weight, dim=1), len(weight)
    return (rows.sum(0).square().sum() - rows.square().sum()) / n**2


def rows_as_they_are(weight):
    n = len(weight)
    return (weight.sum(0).square().sum() - weight.square().sum()) / max(n * (n - 1), 1)


def minus_n(weight):
    n = len(weight)
    return (F.normalize(weight, dim=1).sum(0).square().sum() - n) / max(n * (n - 1), 1)


def nothing_over_nothing(weight):
    rows, n = F.normalize(weight, dim=1), len(weight)
    return (rows.sum(0).square().sum() - rows.square().sum()) / torch.tensor(n * (n - 1), dtype=weight.dtype)


MEAN_IN_ONE_VECTOR = Exercise(
    "mean-in-one-vector", mean_cosine, matrices,
    mistakes={
        "The diagonal is still in it: each filter's cosine with itself. Take Σ ‖ŵ_i‖² away.": with_diagonal,
        "You divided by n². Without the diagonal there are n(n − 1) entries.": over_all_entries,
        "You summed the filters as they are. Make each of them a unit vector first.": rows_as_they_are,
        "You took n away. A filter of zeros has no 1 on the diagonal: take Σ ‖ŵ_i‖² away.": minus_n,
        "One neuron: 0/0. It has no pairs, and its mean is 0 here.": nothing_over_nothing,
    }, properties=(needs_no_map,),
)  # fmt: skip


def fool_the_mean():
    a, b = torch.eye(2)  # any two directions will do
    return torch.stack([a, a, b, -b])


FEW = "At least four filters, please, as the rows of a matrix, and none of them zero."
NO_TWINS = "Not every filter has a twin or an opposite. Right angles make the mean zero honestly: nothing is fooled."
ZERO_RESULTANT = "The resultant is zero, and the mean is below zero: ‖Σ ŵ‖² must be n, not 0."
TOO_LONG = "The mean is not zero: the resultant is too long. Let some filters cancel each other."
TOO_SHORT = "The mean is not zero: the resultant is too short. Let fewer filters cancel each other."


def fools(answer):
    rows = torch.as_tensor(answer(), dtype=torch.float64)
    if rows.dim() != 2 or len(rows) < 4 or not rows.any(1).all():
        return FEW
    rows = F.normalize(rows, dim=1)
    if ((rows @ rows.T).fill_diagonal_(0).abs().amax(1) < 1 - 1e-12).any():  # in degrees: 8e-5
        return NO_TWINS
    squared, n = rows.sum(0).square().sum().item(), len(rows)
    if abs(squared - n) > 1e-5 * n:
        return ZERO_RESULTANT if squared < 1e-9 else TOO_LONG if squared > n else TOO_SHORT


FOOL_THE_MEAN = Exercise(
    "fool-the-mean", fool_the_mean, lambda: [()],
    mistakes={
        FEW: lambda: torch.tensor([[1.0, 0.0], [-1.0, 0.0]]),
        NO_TWINS: lambda: torch.eye(4),
        ZERO_RESULTANT: lambda: torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]]),
        TOO_LONG: lambda: torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]),
        TOO_SHORT: lambda: torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, -1.0], [0.0, 1.0], [0.0, -1.0]]),
    }, properties=(fools,), same=None,
)  # fmt: skip


def push(weight):
    lengths = weight.norm(dim=1, keepdim=True)
    rows = weight / lengths
    others = rows.sum(0) - rows  # row i: the resultant of all filters but i
    sideways = others - (others * rows).sum(1, keepdim=True) * rows
    return 2 / (len(rows) * (len(rows) - 1)) * sideways / lengths


def directions():
    yield (torch.tensor([[2.0, 0.0], [1.0, 1.0]], dtype=torch.float64),)
    yield (3 * normal(3, 4),)
    yield (normal(6, 3) * torch.arange(1, 7, dtype=torch.float64)[:, None],)


def turns_only(answer, weight):
    if (answer(weight) * weight).sum(1).abs().max() > 1e-5:
        return "Longer filters have the same cosines, so no filter is pushed along itself."


def with_what_lies_along(weight):
    lengths, n = weight.norm(dim=1, keepdim=True), len(weight)
    rows = weight / lengths
    return 2 / (n * (n - 1)) * (rows.sum(0) - rows) / lengths


PUSH = Exercise(
    "push", push, directions,
    mistakes={
        "It has a part along the filter itself. Project: (I − ŵ_i ŵ_iᵀ) takes that part away.": with_what_lies_along,
        "It is half of the gradient: each pair counts twice, as (i, j) and as (j, i).": lambda weight: push(weight) / 2,
        "1/‖w_i‖ is missing: a long filter turns less by the same step.":
            lambda weight: push(weight) * weight.norm(dim=1, keepdim=True),
        "This is the way down, minus the gradient. The gradient of μ points up.": lambda weight: -push(weight),
    }, properties=(turns_only,),
)  # fmt: skip


def see_the_angle(a, b):
    a = a / a.norm(dim=1, keepdim=True)
    b = b / b.norm(dim=1, keepdim=True)
    return 2 * torch.atan2((a - b).norm(dim=1), (a + b).norm(dim=1))


def pairs():
    first, second = torch.eye(3, dtype=torch.float64)[:2]
    yield first[None], 2 * second[None]
    yield normal(4, 6), 5 * normal(4, 6, seed=1)
    yield torch.stack([first, second]), torch.stack([-3 * first, second])
    yield 4 * torch.stack([first, second]), torch.stack([first + 1e-9 * second, second - 3e-10 * first])
    yield first[None].float(), (first + 1e-4 * second)[None].float()


def as_close(got, expected):
    """The same to a millionth of the angle, in float32 to a thousandth."""
    tolerance = 1e-6 if expected.dtype == torch.float64 else 1e-3
    return got.shape == expected.shape and torch.allclose(got.double(), expected.double(), rtol=tolerance, atol=0)


def with_the_opposite_half_a_turn(answer, a, b):
    if ((answer(a, b) + answer(a, -b) - math.pi).abs() > 3e-3).any():
        return "The angles to b and to −b must add up to π."


def arccos(a, b):
    return F.cosine_similarity(a, b).clamp(-1, 1).arccos()


def degrees(a, b):
    return see_the_angle(a, b) * 180 / math.pi


def half(a, b):
    return see_the_angle(a, b) / 2


SEE_THE_ANGLE = Exercise(
    "see-the-angle", see_the_angle, pairs,
    mistakes={
        "A ruler that cannot see twins: near 1 the cosine has no digits left for the angle. Do not go through arccos.":
            arccos,
        "These are degrees: the answer is wanted in radians.": degrees,
        "1 − cosine is no angle: for small angles it is t²/2.": lambda a, b: 1 - F.cosine_similarity(a, b),
        "This is the straight way between the tips of the unit vectors. The angle is the way along the circle.":
            lambda a, b: (F.normalize(a, dim=1) - F.normalize(b, dim=1)).norm(dim=1),
        "This is half of the angle.": half,
        "Make unit vectors of both first. Of filters of other lengths, the difference tells "
        "more about lengths than about the angle.":
            lambda a, b: 2 * torch.atan2((a - b).norm(dim=1), (a + b).norm(dim=1)),
    }, properties=(with_the_opposite_half_a_turn,), same=as_close,
)  # fmt: skip
EXERCISES = (COSINE_MAP, MEAN_IN_ONE_VECTOR, FOOL_THE_MEAN, PUSH, SEE_THE_ANGLE)
