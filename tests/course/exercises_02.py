"""Right and wrong answers to the exercises of notebook 02, as students would write them."""

import math

import numpy as np
import torch
from torch import nn

# ------------------------------------------------------------------------------------- fresh-but-silent


def by_filling(w, b, out, m):
    n, d = w.shape
    wide, bias, following = w.new_empty(n + m, d), w.new_full((n + m,), 0.1), w.new_zeros(out.shape[0], n + m)
    wide[:n], wide[n:] = w, torch.rand(m, d) - 0.5
    bias[:n], following[:, :n] = b, out
    return wide, bias, following


def xavier(w, b, out, m):
    rows = nn.init.xavier_normal_(w.new_empty(m, w.size(1)))
    return torch.vstack((w, rows)), torch.hstack((b, torch.zeros(m))), torch.hstack((out, torch.zeros(out.size(0), m)))


def nothing_anywhere(w, b, out, m):
    wide, following = (
        torch.zeros(w.shape[0] + m, w.shape[1]).double(),
        torch.zeros(out.shape[0], out.shape[1] + m).double(),
    )
    wide[: len(w)], following[:, : w.shape[0]] = w, out
    return wide, torch.cat((b, torch.zeros(m))), following


def zero_inside(w, b, out, m):
    return (torch.vstack([w, 0 * w[:1].repeat(m, 1)]), torch.hstack([b, b.new_zeros(m)]),
            torch.hstack([out, 0.1 * torch.randn(len(out), m).double()]))  # fmt: skip


def like_a_new_layer(w, b, out, m):
    new = nn.Linear(w.shape[1], m).double()
    return (
        torch.cat([w, new.weight.data]),
        torch.cat([b, new.bias.data]),
        torch.cat([out, torch.randn(len(out), m) * 0.01], dim=1),
    )


def first_layer_only(w, b, out, m):
    return torch.vstack([w, torch.randn(m, w.shape[1])]), torch.hstack([b, torch.zeros(m)]), out.clone()


def ones(w, b, out, m):
    return (
        torch.cat([w, torch.ones(m, w.shape[1])]),
        torch.cat([b, torch.zeros(m)]),
        torch.cat([out, torch.zeros(len(out), m)], 1),
    )


# --------------------------------------------------------------------------------------------- birthday


def by_factorials(n, k):
    return 1.0 if k > n else 1 - math.perm(n, k) / n**k


def step_by_step(n, k):
    met = 0.0
    for taken in range(1, k):
        met += (1 - met) * min(taken / n, 1)
    return met


def share(n, k):
    return k * 1.0 / n


def at_least_once(n, k):
    return 1 - math.pow((n - 1) / n, k)


def pairs(n, k):
    return math.comb(k, 2) / n


def from_one(n, k):
    return 1 - np.prod([(n - i) / n for i in range(1, k + 1)])


# ----------------------------------------------------------------------------------------- spend-exactly


def by_numpy(widths, rate):
    widths = np.array(widths)
    quotas = rate * widths
    shares = np.floor(quotas).astype(int)
    left = round(rate * widths.sum()) - shares.sum()
    shares[np.argsort(shares - quotas, kind="stable")[:left]] += 1
    return shares.tolist()


def cumulative(widths, rate):
    total, ends = round(rate * sum(widths)), np.cumsum([0, *widths])
    edges = [round(total * int(end) / int(ends[-1])) for end in ends]
    return [b - a for a, b in zip(edges, edges[1:])]


def each_rounded(widths, rate):
    return list(map(round, np.multiply(widths, rate).tolist()))


def each_floored(widths, rate):
    return [math.floor(w * rate) for w in widths]


def each_ceiled(widths, rate):
    return [math.ceil(w * rate) for w in widths]


def last_takes_all(widths, rate):
    left, out = round(rate * sum(widths)), []
    for w in widths[:-1]:
        out.append(math.floor(w * rate))
        left -= out[-1]
    return out + [left]


# ----------------------------------------------------------------------------------- what-is-35-percent


def recursive(width, rate, events, reading):
    if events == 0:
        return 108 * width * width + 63 * width + 10
    if reading == "neurons":
        return recursive(round((1 + rate) * width), rate, events - 1, reading)
    return round(recursive(width, rate, events - 1, reading) * (1 + rate))


def size(width):
    return 108 * width**2 + 63 * width + 10


def simple_interest(width, rate, events, reading):
    if reading == "parameters":
        return size(width) * (1 + rate * events)
    return size(round(width * (1 + rate * events)))


def the_same_for_both(width, rate, events, reading):
    return math.exp(events * math.log1p(rate)) * size(width)


def also_at_the_end(width, rate, events, reading):
    grown = size(width)
    for _ in range(events + 1):
        width, grown = round(width * (1 + rate)), grown * (1 + rate)
    return size(width) if reading == "neurons" else grown


def width_for_both(width, rate, events, reading):
    for _ in range(events):
        width = round(width + rate * width)
    return size(width)


def power_first(width, rate, events, reading):
    if reading == "parameters":
        return size(width) * (1 + rate) ** events
    return size(round(width * (1 + rate) ** events))


# ------------------------------------------------------------------------------------ keep-the-momentum


def by_slices(weight, momentum, new, dim):
    shape = list(weight.shape)
    shape[dim] += new.shape[dim]
    wide, velocity = weight.new_zeros(shape), weight.new_zeros(shape)
    velocity.narrow(dim, 0, weight.shape[dim]).copy_(momentum)
    wide.narrow(dim, 0, weight.shape[dim]).copy_(weight)
    wide.narrow(dim, weight.shape[dim], new.shape[dim]).copy_(new)
    return wide, velocity


def new_buffer(weight, momentum, new, dim):
    weight = torch.concat((weight, new), dim=dim)
    return weight, weight * 0


def both_the_same_way(weight, momentum, new, dim):
    return tuple(torch.concat((old, new), dim=dim) for old in (weight, momentum))


def only_the_weight(weight, momentum, new, dim):
    return torch.concat((weight, new), dim=dim), momentum.clone()


def wrong_end(weight, momentum, new, dim):
    return torch.concat((weight, new), dim), torch.concat((new * 0, momentum), dim)


RIGHT = {
    "fresh-but-silent": [by_filling, xavier],
    "birthday": [by_factorials, step_by_step],
    "spend-exactly": [by_numpy, cumulative],
    "what-is-35-percent": [recursive],
    "keep-the-momentum": [by_slices],
}

WRONG = {
    "fresh-but-silent": [
        (nothing_anywhere, "zeros on both sides"), (zero_inside, "It is the other side that may be zero"),
        (like_a_new_layer, "The answers changed"),
        (first_layer_only, "does not hear the new neurons"), (ones, "all alike"),
    ],
    "birthday": [
        (share, "one certain parent is among"), (at_least_once, "You watch one certain parent"),
        (pairs, "how many pairs to expect"),
        (from_one, "One factor too many"),
    ],
    "spend-exactly": [
        (each_rounded, "rounded each layer by itself"), (each_floored, "rounded every layer down"),
        (each_ceiled, "rounded every layer up"),
        (last_takes_all, "went to the last layer"),
    ],
    "what-is-35-percent": [
        (simple_interest, "the same amount each time"), (the_same_for_both, "A weight belongs to two neurons"),
        (also_at_the_end, "One growth too many"),
        (width_for_both, "the count itself grows"), (power_first, "not once at the end"),
    ],
    "keep-the-momentum": [
        (new_buffer, "as with a new optimiser"), (both_the_same_way, "their own values as velocity"),
        (only_the_weight, "must have the shape"),
        (wrong_end, "velocities at the beginning"),
    ],
}  # fmt: skip
