"""Right and wrong answers to the exercises of notebook 04, as students would write them."""

import math

import torch
import torch.nn.functional as F

# cosine-map


def by_pairs(weight):
    rows = weight.reshape(len(weight), -1)
    result = torch.zeros(len(rows), len(rows), dtype=weight.dtype)
    for i, a in enumerate(rows):
        for j, b in enumerate(rows):
            if a.any() and b.any():
                result[i, j] = torch.dot(a, b) / (torch.linalg.norm(a) * torch.linalg.norm(b))
    return result


def into_single_precision(weight):
    rows = weight.flatten(1)
    result = torch.zeros(len(rows), len(rows))  # float32: torch's default
    result[:] = F.cosine_similarity(rows[:, None], rows[None], dim=2)
    return result


def with_numpy(weight):
    rows = weight.flatten(1).numpy()
    lengths = (rows**2).sum(1, keepdims=True) ** 0.5
    rows = rows / lengths.clip(1e-30)
    return rows @ rows.T


def through_columns(weight):
    w = weight.reshape(weight.shape[0], -1)
    w = w / torch.linalg.norm(w, dim=0)
    return torch.einsum("id,jd->ij", w, w)


def by_the_frobenius_norm(weight):
    w = weight.view(weight.size(0), -1)
    return w @ w.t() / (w**2).sum()


def normalised_before_it_was_flattened(weight):
    unit = weight / weight.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    return unit.flatten(1) @ unit.flatten(1).T


def divided_by_zero(weight):
    w = weight.flatten(1)
    lengths = w.square().sum(1).sqrt()
    return (w @ w.T) / torch.outer(lengths, lengths)


# mean-in-one-vector


def in_a_loop(weight):
    total, own, count = torch.zeros(weight.shape[1], dtype=weight.dtype), 0.0, len(weight)
    for row in weight:
        length = math.sqrt((row * row).sum())
        if length > 0:
            total, own = total + row / length, own + 1
    return 0.0 if count == 1 else (float(total @ total) - own) / (count * (count - 1))


def from_the_map(weight):
    rows = F.normalize(weight, dim=1)
    cosines = rows @ rows.T
    return (cosines.sum() - cosines.diagonal().sum()) / max(len(rows) * (len(rows) - 1), 1)


def diagonal_forgotten(weight):
    unit = weight / weight.norm(dim=1, keepdim=True).clamp(min=1e-12)
    return (unit.sum(dim=0) ** 2).sum() / max(len(unit) ** 2 - len(unit), 1)


def divided_by_n_squared(weight):
    unit = weight / weight.norm(dim=1, keepdim=True).clamp(min=1e-12)
    return ((unit.sum(dim=0) ** 2).sum() - (unit**2).sum()) / (len(unit) * len(unit))


def never_normalised(weight):
    total, n = weight.sum(dim=0), weight.shape[0]
    return (total.dot(total) - weight.pow(2).sum()) / max(n * (n - 1), 1)


def ones_on_the_diagonal(weight):
    unit = weight / weight.norm(dim=1, keepdim=True).clamp(min=1e-12)
    n = weight.shape[0]
    return (unit.sum(dim=0).norm() ** 2 - n) / max(n * n - n, 1)


# fool-the-mean


def nine_in_space():
    """A resultant of length 3, and opposites for the rest."""
    a, b, c = 2 * torch.linalg.qr(torch.randn(3, 3))[0]
    return torch.stack([a, a, a, b, -b, c, -c, b, -b])


def two_families_at_an_angle():
    """Five filters, a twice and c three times: 2² + 3² + 12 cos = 5."""
    cosine = -8 / 12
    a, c = [1.0, 0.0], [cosine, math.sqrt(1 - cosine**2)]
    return [a, a, c, c, c]


def orthogonal():
    return torch.linalg.qr(torch.randn(6, 6))[0]


def pairs_of_opposites():
    a, b, c = torch.randn(3, 10)
    return torch.stack([a, -a, b, -b, c, -c])


def all_twice():
    rows = torch.eye(5)
    return torch.cat([rows, rows])


def all_equal():
    return torch.ones(4, 3)


def zeros_instead_of_opposites():
    return torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0], [0.0, 0.0]])


# push


def by_autograd(weight):
    w = weight.clone().requires_grad_()
    rows, n = w / w.norm(dim=1, keepdim=True), len(w)
    return torch.autograd.grad((rows.sum(0).square().sum() - n) / (n * (n - 1)), w)[0]


def each_filter_alone(weight):
    n, result = len(weight), []
    unit = [w / w.norm() for w in weight]
    for i, w in enumerate(weight):
        rest = sum(unit[j] for j in range(n) if j != i)
        project = torch.eye(len(w), dtype=w.dtype) - torch.outer(unit[i], unit[i])
        result.append(2 * project @ rest / (n * (n - 1) * w.norm()))
    return torch.stack(result)


def projection_forgotten(weight):
    n, unit = len(weight), F.normalize(weight, dim=1)
    rest = torch.stack([unit.sum(0) - u for u in unit])
    return 2 * rest / (n * (n - 1) * weight.norm(dim=1)[:, None])


def two_forgotten(weight):
    n, norms = len(weight), weight.norm(dim=1)[:, None]
    unit = weight / norms
    total = unit.sum(0)
    return (total - (unit @ total)[:, None] * unit) / (n * (n - 1)) / norms


def length_forgotten(weight):
    n, unit = len(weight), F.normalize(weight, dim=1)
    total = unit.sum(0)
    return 2 / (n * (n - 1)) * (total - torch.outer(unit @ total, torch.ones(len(total), dtype=weight.dtype)) * unit)


def the_step_downhill(weight):
    return -by_autograd(weight)


# see-the-angle


def by_arcsine(a, b):
    a, b = F.normalize(a, dim=1), F.normalize(b, dim=1)
    return 2 * torch.asin(torch.linalg.norm(a - b, dim=1).clamp(max=2) / 2)


def by_components(a, b):
    a, b = F.normalize(a.double(), dim=1), F.normalize(b.double(), dim=1)
    along = (a * b).sum(1)
    return torch.atan2((b - along[:, None] * a).norm(dim=1), along)


def by_arccosine(a, b):
    cosine = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
    return torch.acos(cosine.clamp(min=-1.0, max=1.0))


def in_degrees(a, b):
    return torch.rad2deg(by_components(a, b))


def cosine_distance(a, b):
    unit_a, unit_b = a / a.norm(dim=1, keepdim=True), b / b.norm(dim=1, keepdim=True)
    return torch.ones(len(a), dtype=a.dtype) - (unit_a * unit_b).sum(1)


def distance_of_the_tips(a, b):
    unit_a, unit_b = a / a.norm(dim=1, keepdim=True), b / b.norm(dim=1, keepdim=True)
    return (unit_a - unit_b).pow(2).sum(1).sqrt()


def two_forgotten_before_atan2(a, b):
    unit_a, unit_b = a / a.norm(dim=1, keepdim=True), b / b.norm(dim=1, keepdim=True)
    return torch.atan2((unit_a - unit_b).norm(dim=1), (unit_a + unit_b).norm(dim=1))


def hats_forgotten(a, b):
    d, s = a - b, a + b
    return 2 * torch.atan2(d.square().sum(1).sqrt(), s.square().sum(1).sqrt())


def nearly_twins():
    return torch.tensor([[1, 0.001, 0], [1, 0, 0], [0, 0, 1], [0, 0, -1]])


RIGHT = {
    "cosine-map": [by_pairs, into_single_precision, with_numpy],
    "mean-in-one-vector": [in_a_loop],
    "fool-the-mean": [nine_in_space, two_families_at_an_angle],
    "push": [by_autograd, each_filter_alone],
    "see-the-angle": [by_arcsine, by_components],
}

WRONG = {
    "cosine-map": [
        (through_columns, "normalised the columns"), (by_the_frobenius_norm, "length of the whole weight"),
        (normalised_before_it_was_flattened, "over the last axis only"), (divided_by_zero, "zeros gives NaN"),
    ],
    "mean-in-one-vector": [
        (from_the_map, "all n × n cosines"), (diagonal_forgotten, "diagonal is still in it"),
        (divided_by_n_squared, "divided by n²"), (never_normalised, "unit vector first"),
        (ones_on_the_diagonal, "took n away"),
    ],
    "fool-the-mean": [
        (orthogonal, "Right angles"), (pairs_of_opposites, "must be n, not 0"), (all_twice, "too long"),
        (all_equal, "too long"),
        (zeros_instead_of_opposites, "none of them zero"), (nearly_twins, "Not every filter has a twin"),
    ],
    "push": [
        (projection_forgotten, "a part along the filter"), (two_forgotten, "half of the gradient"),
        (length_forgotten, "1/‖w_i‖ is missing"), (the_step_downhill, "points up"),
    ],
    "see-the-angle": [
        (by_arccosine, "cannot see twins"), (in_degrees, "in radians"), (cosine_distance, "no angle"),
        (distance_of_the_tips, "along the circle"), (two_forgotten_before_atan2, "half of the angle"),
        (hats_forgotten, "unit vectors of both first"),
    ],
}  # fmt: skip
