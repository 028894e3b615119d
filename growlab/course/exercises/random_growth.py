"""The exercises of notebook 02: fresh neurons, draws, budgets, and what the optimiser keeps."""

import torch
import torch.nn.functional as F

from growlab.course.exercises.exercise import Exercise, normal


def silent_neurons(weight, bias, following, count):
    fresh = torch.randn(count, weight.shape[1], dtype=weight.dtype)
    silent = torch.zeros(len(following), count, dtype=weight.dtype)
    weight = torch.cat([weight, fresh])  # random incoming weights: a row each
    bias = torch.cat([bias, bias.new_zeros(count)])
    following = torch.cat([following, silent], dim=1)  # outgoing weights of zero: a column each
    return weight, bias, following


def layers():
    for d, n, outputs, count in ((3, 2, 2, 1), (5, 4, 3, 2), (4, 4, 4, 3)):
        yield normal(n, d), normal(n, seed=1), normal(outputs, n, seed=2), count


def two_layers(x, weight, bias, following):
    return F.relu(x @ weight.T + bias) @ following.T


def gradients(x, tensors):
    """Of the loss ½|answers − 1|², for each tensor."""
    tensors = [tensor.detach().requires_grad_() for tensor in tensors]
    loss = (two_layers(x, *tensors) - 1).square().mean() / 2
    return torch.autograd.grad(loss, tensors)


UNHEARD = "The next layer does not hear the new neurons: each one needs a column there (cat along dim=1)."
LOUD = "The answers changed. Nobody may listen to the new neurons yet: which side must be zero?"
BOTH_ZERO = "Dead for ever: with zeros on both sides, neither side ever gets a gradient. Draw one of them at random."
INCOMING_ZERO = "Silent, but dead for ever: relu(0) is 0 and has slope 0. It is the other side that may be zero."
ALL_ALIKE = (
    "Your new neurons are all alike. They get the same gradients, and so they stay alike: draw each one by itself."
)


def grows_right(answer, *arguments):
    weight, bias, following, count = arguments
    n, x = len(weight), normal(64, weight.shape[1], seed=3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        grown = answer(*arguments)
    if grown[2].shape != (len(following), n + count):
        return UNHEARD
    if grown[0].shape != (n + count, weight.shape[1]) or grown[1].shape != (n + count,):
        return f"{n + count} neurons need {n + count} rows of incoming weights, and as many biases."
    if any(not torch.equal(new[:n], old) for new, old in zip(grown[:2], arguments)) or not torch.equal(
        grown[2][:, :n], following
    ):
        return "The old neurons changed, or are no longer the first ones: put the new ones behind them."
    if not torch.allclose(two_layers(x, *grown), two_layers(x, *arguments[:3])):
        return LOUD
    first = gradients(x, grown)
    second = gradients(x, [tensor - 0.1 * step for tensor, step in zip(grown, first)])
    listens, speaks = (second[0][n:] != 0).any(1), (first[2][:, n:] != 0).any(0)
    if not (listens & speaks).all():
        return INCOMING_ZERO if grown[2][:, n:].any() else BOTH_ZERO
    if count > 1 and torch.linalg.matrix_rank(grown[0][n:] - grown[0][n]) == 0:
        return ALL_ALIKE
    return None


def both_zero(weight, bias, following, count):
    return F.pad(weight, (0, 0, 0, count)), F.pad(bias, (0, count)), F.pad(following, (0, count))


def incoming_zero(weight, bias, following, count):
    return *both_zero(weight, bias, following, count)[:2], torch.cat([following, normal(len(following), count)], 1)


def both_random(weight, bias, following, count):
    return silent_neurons(weight, bias, following, count)[:2] + incoming_zero(weight, bias, following, count)[2:]


def not_heard(weight, bias, following, count):
    return silent_neurons(weight, bias, following, count)[:2] + (following,)


def all_alike(weight, bias, following, count):
    return torch.cat([weight, weight[:1].expand(count, -1)]), F.pad(bias, (0, count)), F.pad(following, (0, count))


FRESH_BUT_SILENT = Exercise(
    "fresh-but-silent", silent_neurons, layers,
    mistakes={
        UNHEARD: not_heard, LOUD: both_random, BOTH_ZERO: both_zero, INCOMING_ZERO: incoming_zero, ALL_ALIKE: all_alike,
    }, properties=(grows_right,), same=None,
)  # fmt: skip


def drawn_twice(n, k):
    all_differ = 1.0
    for drawn in range(k):
        all_differ *= 1 - drawn / n  # so many of the n parents are taken already
    return 1 - all_differ


def draws():
    yield from ((2, 1), (2, 2), (4, 2), (4, 3), (8, 3), (16, 6), (5, 7), (54, 19))


def agrees_with_a_simulation(answer, n, k):
    parents = torch.randint(n, (4000, k), generator=torch.Generator().manual_seed(n)).sort(1).values
    measured = (parents.diff(dim=1) == 0).any(1).double().mean().item()
    if abs(answer(n, k) - measured) > 0.05:
        return f"In 4,000 trials a parent was drawn twice in a share of {measured:.2f}."


BIRTHDAY = Exercise(
    "birthday", drawn_twice, draws,
    mistakes={
        "k / n is the probability that one certain parent is among k different ones. Any two draws may meet.":
            lambda n, k: k / n,
        "You watch one certain parent: 1 − (1 − 1/n)^k is how probably it is drawn at all. Any parent may come twice.":
            lambda n, k: 1 - (1 - 1 / n) ** k,
        "You counted pairs: that is how many pairs to expect, and it can be more than 1.":
            lambda n, k: k * (k - 1) / 2 / n,
        "One factor too many: the first draw cannot meet any other. Begin with 1 − 0/n.":
            lambda n, k: drawn_twice(n, k + 1),
    }, properties=(agrees_with_a_simulation,),
)  # fmt: skip


def share_out(widths, rate):
    total = round(rate * sum(widths))
    quotas = [total * width / sum(widths) for width in widths]
    shares = [int(quota) for quota in quotas]  # rounded down: some neurons are left
    nearest = sorted(range(len(widths)), key=lambda i: shares[i] - quotas[i])
    for i in nearest[: total - sum(shares)]:  # those who lost most get one more
        shares[i] += 1
    return shares


def networks():
    for widths in ([4, 4, 4, 4], [16] * 13, [3, 7, 11], [5], [2, 2, 3], [9, 1, 30, 12]):
        for rate in (0.01, 0.25, 0.35, 0.5, 1.0):
            yield widths, rate


def fair(got, expected):
    """The same sum, and nobody gets two more or fewer: which layer gets the odd neuron is free."""
    pairs = list(zip(got, expected, strict=True))
    return sum(a for a, _ in pairs) == sum(expected) and all(abs(a - b) <= 1 for a, b in pairs)


def within_one_of_the_quota(answer, widths, rate):
    shares = answer(widths, rate)
    for share, width in zip(shares, widths):
        if share != int(share) or share < 0:
            return f"A layer can get 0, 1, 2, … neurons, and not {share}."
        if abs(share - rate * width) >= 1.5:
            return f"A layer of {width} gets {share}: that is more than one from {rate * width:.2f}."
    if list(shares) != list(answer(widths, rate)):
        return "The same question got two answers: break ties in a fixed order, not by chance."


def rest_to_the_last(widths, rate):
    shares = [int(rate * width) for width in widths]
    return shares[:-1] + [round(rate * sum(widths)) - sum(shares[:-1])]


SPEND_EXACTLY = Exercise(
    "spend-exactly", share_out, networks,
    mistakes={
        "You rounded each layer by itself. The errors add up: thirteen layers of 16 get 78 instead of 73 at 35 %.":
            lambda widths, rate: [round(rate * width) for width in widths],
        "You rounded every layer down: what was cut off is never spent.":
            lambda widths, rate: [int(rate * width) for width in widths],
        "You rounded every layer up: that is more than the budget.":
            lambda widths, rate: [-int(-rate * width // 1) for width in widths],
        "All that was left went to the last layer. One more for each of several layers is fairer.": rest_to_the_last,
    }, properties=(within_one_of_the_quota,), same=fair,
)  # fmt: skip


def final_size(width, rate, events, reading):
    parameters = 108 * width**2 + 63 * width + 10
    if reading == "parameters":
        return parameters * (1 + rate) ** events
    for _ in range(events):
        width = round(width * (1 + rate))
    return 108 * width**2 + 63 * width + 10


def readings():
    for width, rate, events in ((16, 0.5, 1), (16, 0.35, 2), (16, 0.35, 4), (10, 0.2, 3), (32, 0.35, 4)):
        yield width, rate, events, "neurons"
        yield width, rate, events, "parameters"


def two_growths_are_one_after_the_other(answer, width, rate, events, reading):
    if (
        reading == "parameters"
        and abs(answer(width, rate, events, reading) / answer(width, rate, 0, reading) - (1 + rate) ** events) > 0.01
    ):
        return "Each growth multiplies what is there by 1 + rate."


def linear(width, rate, events, reading):
    factor = 1 + events * rate
    return final_size(width, factor - 1, 1, reading)


WHAT_IS_35_PERCENT = Exercise(
    "what-is-35-percent", final_size, readings,
    mistakes={
        "You added the same amount each time. The second growth takes 35 % of what is there by then.": linear,
        "A weight belongs to two neurons: 35 % more neurons are far more than 35 % more "
        "parameters. Grow the width, then count.":
            lambda width, rate, events, reading: final_size(width, rate, events, "parameters"),
        "One growth too many. After epochs 50, 100, 150 and 200 there are four; epoch 250 is the end.":
            lambda width, rate, events, reading: final_size(width, rate, events + 1, reading),
        "Under the reading \"parameters\" the count itself grows by the rate, not the width.":
            lambda width, rate, events, reading: final_size(width, rate, events, "neurons"),
        "Round the width after each growth, not once at the end: half a neuron cannot be built.":
            lambda width, rate, events, reading: final_size(width, (1 + rate) ** events - 1, 1, reading),
    }, properties=(two_growths_are_one_after_the_other,),
    same=lambda got, expected: abs(float(got) - expected) <= 1e-3 * expected,  # whole or not: both may be meant
)  # fmt: skip


def grow_with_momentum(weight, momentum, new, dim):
    weight = torch.cat([weight, new], dim)
    momentum = torch.cat([momentum, torch.zeros_like(new)], dim)  # what has no past has no velocity
    return weight, momentum


def moving_weights():
    for rows, columns, count, dim in ((2, 3, 1, 0), (2, 3, 1, 1), (4, 4, 2, 0), (3, 3, 2, 1), (5, 2, 3, 0)):
        shape = (count, columns) if dim == 0 else (rows, count)
        yield normal(rows, columns), normal(rows, columns, seed=1), normal(*shape, seed=2), dim


def old_weights_move_as_before(answer, weight, momentum, new, dim):
    n, gradient = weight.shape[dim], normal(*weight.shape, seed=3)
    grown, carried = answer(weight, momentum, new, dim)
    after = (grown - 0.1 * 0.9 * carried).narrow(dim, 0, n) - 0.1 * gradient  # one step of SGD with momentum
    if not torch.allclose(after, weight - 0.1 * (0.9 * momentum + gradient)):
        return "At the next step the old weights do not move as they would have without growth."


def forgotten(weight, momentum, new, dim):
    return torch.cat([weight, new], dim), torch.zeros_like(torch.cat([weight, new], dim))


def new_ones_first(weight, momentum, new, dim):
    return torch.cat([weight, new], dim), torch.cat([torch.zeros_like(new), momentum], dim)


KEEP_THE_MOMENTUM = Exercise(
    "keep-the-momentum", grow_with_momentum, moving_weights,
    mistakes={
        "All momentum is gone, as with a new optimiser: only the new entries have no past.": forgotten,
        "You gave the new weights their own values as velocity: they have not moved yet.":
            lambda weight, momentum, new, dim: (torch.cat([weight, new], dim), torch.cat([momentum, new], dim)),
        "The momentum must have the shape of the weight: it needs the new entries, too.":
            lambda weight, momentum, new, dim: (torch.cat([weight, new], dim), momentum),
        "The new weights are at the end and their velocities at the beginning: every old weight got another one's.":
            new_ones_first,
    }, properties=(old_weights_move_as_before,),
)  # fmt: skip
EXERCISES = (FRESH_BUT_SILENT, BIRTHDAY, SPEND_EXACTLY, WHAT_IS_35_PERCENT, KEEP_THE_MOMENTUM)
