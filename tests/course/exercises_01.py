"""Right and wrong answers to the exercises of notebook 01, as students would write them."""

import numpy as np
import torch

# ---------------------------------------------------------------------------------------------- split-copy


def loop_over_families(w_in, w_out, parents):
    rows, columns = list(w_in), list(w_out.T)
    for parent in parents:
        rows.append(w_in[parent])
        columns.append(w_out[:, parent] / (1 + parents.count(parent)))
    for parent in set(parents):
        columns[parent] = w_out[:, parent] / (1 + parents.count(parent))
    return torch.stack(rows), torch.stack(columns, 1)


def only_appended(w_in, w_out, parents):
    return torch.cat([w_in, w_in[parents]]), torch.cat([w_out, w_out[:, parents]], dim=1)


def halves_each_parent_once(w_in, w_out, parents):
    w_out = w_out.clone()
    w_out[:, sorted(set(parents))] /= 2
    return torch.cat([w_in, w_in[parents]]), torch.cat([w_out, w_out[:, parents]], dim=1)


def halves_the_layer(w_in, w_out, parents):
    return torch.cat([w_in, w_in[parents]]), 0.5 * torch.cat([w_out, w_out[:, parents]], dim=1)


def appends_rows(w_in, w_out, parents):
    return torch.vstack([w_in] + [w_in[p] for p in parents]), torch.vstack([w_out] + [w_out[p] for p in parents])


def halves_again_and_again(w_in, w_out, parents):
    columns = [column.clone() for column in w_out.T]
    for parent in parents:
        columns[parent] = columns[parent] / 2
        columns.append(columns[parent])
    return torch.cat([w_in, w_in[parents]]), torch.stack(columns, dim=1)


# ---------------------------------------------------------------------------------------- splitting-matrix


def sum_of_outer_products(x, z, slope, g):
    cosh = torch.cosh(z)
    return sum(
        gp * slope * slope * -2 * torch.sinh(zp) / c**3 * torch.outer(xp, xp) for xp, zp, gp, c in zip(x, z, g, cosh)
    )


def with_the_slope_of_tanh(x, z, slope, g):
    return torch.einsum("p,pi,pj->ij", g * (1 - z.tanh().square()) * slope**2, x, x)


def slope_to_the_first(x, z, slope, g):
    t = z.tanh()
    return torch.einsum("p,pi,pj->ij", g * slope * (2 * t**3 - 2 * t), x, x)


def mean_instead_of_sum(x, z, slope, g):
    t = z.tanh()
    terms = (g * slope**2 * (2 * t**3 - 2 * t))[:, None, None] * x[:, :, None] * x[:, None, :]
    return terms.mean(0)


def no_slope(x, z, slope, g):
    t = z.tanh()
    return torch.einsum("p,pi,pj->ij", g * (2 * t**3 - 2 * t), x, x)


# ------------------------------------------------------------------------------------------ best-direction


def by_svd_of_a_shifted_matrix(matrix):
    shift = matrix.norm() + 1
    return torch.linalg.svd(shift * torch.eye(len(matrix), dtype=matrix.dtype) - matrix)[0][:, 0]


def last_column(matrix):
    return np.linalg.eigh(matrix.numpy())[1][:, -1]


def power_iteration(matrix):
    v = torch.ones(len(matrix), dtype=matrix.dtype) + 0.1 * torch.arange(len(matrix))
    for _ in range(5000):
        v = matrix @ v / (matrix @ v).norm()
    return v


def first_row(matrix):
    values, vectors = torch.linalg.eigh(matrix)
    return vectors[values.argmin()]


def scaled(matrix):
    values, vectors = torch.linalg.eigh(matrix)
    return values.min() * vectors[:, values.argmin()]


# ----------------------------------------------------------------------------------------------- slope-two


def between_two_points(w, x, v, steps):
    change = [
        (torch.tanh(x @ (w + e * v)) / 2 + torch.tanh(x @ (w - e * v)) / 2 - torch.tanh(x @ w)).abs().mean()
        for e in steps
    ]
    return (torch.log(change[-1] / change[0]) / torch.log(steps[-1] / steps[0])).item()


def by_polyfit(w, x, v, steps):
    change = [
        (torch.tanh(x @ (w + e * v)) / 2 + torch.tanh(x @ (w - e * v)) / 2 - torch.tanh(x @ w)).abs().mean()
        for e in steps
    ]
    return np.polyfit(np.log(steps.numpy()), np.log(change), 1)[0]


def sum_of_the_twins(w, x, v, steps):
    change = [
        (torch.tanh(x @ (w + e * v)) + torch.tanh(x @ (w - e * v)) - torch.tanh(x @ w)).abs().mean() for e in steps
    ]
    return np.polyfit(np.log(steps.numpy()), np.log(change), 1)[0]


def to_one_side(w, x, v, steps):
    change = [
        (0.5 * torch.tanh(x @ (w + e * v)) + 0.5 * torch.tanh(x @ w) - torch.tanh(x @ w)).abs().mean() for e in steps
    ]
    return np.polyfit(np.log(steps.numpy()), np.log(change), 1)[0]


def half_logarithmic(w, x, v, steps):
    change = [
        (torch.tanh(x @ (w + e * v)) / 2 + torch.tanh(x @ (w - e * v)) / 2 - torch.tanh(x @ w)).abs().mean()
        for e in steps
    ]
    return np.polyfit(steps.numpy(), np.log(change), 1)[0]


RIGHT = {
    "split-copy": [loop_over_families],
    "same-function-other-training": [lambda m: np.array([float(m), m**-1])],
    "splitting-matrix": [sum_of_outer_products],
    "best-direction": [by_svd_of_a_shifted_matrix],
    "slope-two": [between_two_points, by_polyfit],
}

WRONG = {
    "split-copy": [
        (only_appended, "Nothing was shared out"),
        (halves_each_parent_once, "a family of three"),
        (halves_the_layer, "A neuron without a copy"),
        (appends_rows, "are a column of it"),
        (halves_again_and_again, "are not equal"),
    ],
    "same-function-other-training": [
        (lambda m: [1.0, 1.0], "With equal rates"),
        (lambda m: (m**-1, 1.0), "must undo them"),
        (lambda m: (float(m), 1.0), "The incoming rate is right"),
        (lambda m: [m, m], "m of them add up"),
    ],
    "splitting-matrix": [
        (with_the_slope_of_tanh, "You took tanh'"),
        (slope_to_the_first, "Take slope²"),
        (mean_instead_of_sum, "holds 1/N already"),
        (no_slope, "Where is the slope?"),
    ],
    "best-direction": [
        (last_column, "in which the loss rises most"),
        (power_iteration, "power iteration"),
        (first_row, "are its columns"),
        (scaled, "not of length one"),
    ],
    "slope-two": [
        (sum_of_the_twins, "half of the outgoing weight"),
        (to_one_side, "to one side only"),
        (half_logarithmic, "on both axes: of the change"),
    ],
}
