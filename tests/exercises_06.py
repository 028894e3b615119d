"""Right and wrong answers to the exercises of notebook 06, as students would write them."""

import torch
from scipy.stats import mannwhitneyu


# who-votes

def votes_in_a_loop(scores, donors):
    shares = []
    for part in scores:
        shares.append(sum(int(row.argmax()) == int(donor) for row, donor in zip(part, donors)) / len(donors))
    return torch.tensor(shares, dtype=torch.float64)


def no_longer_true(scores, donors):
    return torch.stack([(part.argmax(dim=-1) > 0).double().mean() for part in scores])


def donor_above_truth(scores, donors):
    lead = scores[..., 0] - scores.gather(2, donors[None, :, None].expand(len(scores), -1, 1))[..., 0]
    return (lead < 0).double().mean(dim=1)


def wrong_axis(scores, donors):
    followed = torch.stack([part.max(1).indices == donors for part in scores]).double()
    return followed.mean(dim=0)


def adds_up_to_one(scores, donors):
    counts = torch.stack([(part.argmax(1) == donors).sum() for part in scores]).double()
    return counts / counts.sum() if counts.sum() > 0 else counts


# effective-parts

def parts_from_shares(falls):
    shares = torch.relu(falls) / torch.relu(falls).sum(1, keepdim=True)
    return 1 / shares.square().sum(1)


def takes_all(falls):
    return torch.stack([row.sum().pow(2) / row.dot(row) for row in falls])


def averages(falls):
    mean = torch.relu(falls).sum(0) / len(falls)
    return torch.full((len(falls),), float(mean.sum() ** 2 / mean.square().sum()), dtype=torch.float64)


def sum_over_squares(falls):
    return torch.relu(falls).sum(1) / torch.relu(falls).pow(2).sum(1)


def counts(falls):
    return torch.tensor([sum(float(x) > 0 for x in row) for row in falls], dtype=torch.float64)


# six-lines

def by_einsum(maps, gradients):
    return torch.einsum("nk,nkhw->nhw", gradients.flatten(2).mean(2), maps).clamp(min=0)


def elementwise(maps, gradients):
    return torch.relu(torch.einsum("nkhw,nkhw->nhw", gradients, maps))


def channels_only(maps, gradients):
    return torch.relu(maps).sum(1).div(maps.shape[1])


def signed(maps, gradients):
    return torch.einsum("nk,nkhw->nhw", gradients.flatten(2).mean(2), maps)


def each_channel_cut(maps, gradients):
    return torch.stack([torch.relu(w.mean((1, 2))[:, None, None] * m).sum(0) for w, m in zip(gradients, maps)])


# energy-inside

def energy_in_a_loop(maps, masks):
    return torch.stack([heat[mask].sum() / heat.sum() for heat, mask in zip(maps, masks)])


def mean_heat(maps, masks):
    return torch.stack([heat[mask].mean() for heat, mask in zip(maps, masks)])


def min_max(maps, masks):
    low, high = maps.amin((1, 2), True), maps.amax((1, 2), True)
    scaled = (maps - low) / (high - low)
    return (scaled * masks).sum((1, 2)) / scaled.sum((1, 2))


def whole_batch(maps, masks):
    return torch.full((len(maps),), float(maps[masks].sum() / maps.sum()), dtype=torch.float64)


def zero_where_empty(maps, masks):
    total = maps.sum((1, 2))
    return torch.where(total > 0, (maps * masks).sum((1, 2)) / total, 0.0)


# is-the-ruler-straight

def by_ranks(larger, smaller):
    return mannwhitneyu(larger.numpy(), smaller.numpy()).statistic / (len(larger) * len(smaller))


def strictly(larger, smaller):
    return sum(float(a > b) for a in larger for b in smaller) / (len(larger) * len(smaller))


def at_least(larger, smaller):
    return sum(float(a >= b) for a in larger for b in smaller) / (len(larger) * len(smaller))


def the_other_way(larger, smaller):
    return 1 - by_ranks(larger, smaller)


def in_order(larger, smaller):
    return torch.tensor([float(a > b) + 0.5 * float(a == b) for a, b in zip(larger, smaller)]).double().mean()


RIGHT = {
    "who-votes": [votes_in_a_loop], "effective-parts": [parts_from_shares], "six-lines": [by_einsum],
    "energy-inside": [energy_in_a_loop], "is-the-ruler-straight": [by_ranks],
}  # fmt: skip

WRONG = {
    "who-votes": [
        (no_longer_true, "third class"), (donor_above_truth, "beats the true class"), (wrong_axis, "mean over the parts"),
        (adds_up_to_one, "all that follow"),
    ],
    "effective-parts": [
        (takes_all, "negative to zero"), (averages, "mean over pictures"), (sum_over_squares, "Square the sum"), (counts, "any weight"),
    ],
    "six-lines": [
        (elementwise, "HiResCAM"), (channels_only, "same for every class"), (signed, "ReLU is missing"), (each_channel_cut, "before the sum"),
    ],
    "energy-inside": [
        (mean_heat, "mean heat inside"), (min_max, "subtracted the minimum"), (whole_batch, "all pictures' heat"), (zero_where_empty, "looked elsewhere"),
    ],
    "is-the-ruler-straight": [
        (strictly, "worse than chance"), (at_least, "looks perfect"), (the_other_way, "wrong way around"), (in_order, "side by side"),
    ],
}  # fmt: skip
