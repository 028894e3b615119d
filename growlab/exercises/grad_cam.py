"""The exercises of notebook 06: interventions, how many parts they speak of, heat maps, and whether a ruler is straight."""

import torch
import torch.nn.functional as F

from . import Exercise


def normal(*shape, seed=0):
    """Standard normal numbers in float64, the same at every call."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# ----------------------------------------------------------------------------------------------- who-votes

def who_votes(scores, donors):
    decisions = scores.argmax(2)  # (parts, N)
    return (decisions == donors).double().mean(1)  # the donors (N,) are compared with every row


def swaps():
    own, donor, third = torch.eye(3, dtype=torch.float64)  # scores for class 0, 1 and 2; the true class is 0
    yield torch.stack([torch.stack([own, own]), torch.stack([donor, donor])]), torch.tensor([1, 1])
    yield torch.stack([torch.stack([third, donor]), torch.stack([own, third])]), torch.tensor([1, 1])
    yield normal(5, 40, 10), torch.arange(40) % 9 + 1
    yield normal(3, 3, 4, seed=1), torch.tensor([1, 2, 3])


def any_change(scores, donors):
    return (scores.argmax(2) != 0).double().mean(1)


def beats_the_truth(scores, donors):
    each = torch.arange(len(donors))
    return (scores[:, each, donors] > scores[:, :, 0]).double().mean(1)


def over_parts(scores, donors):
    return (scores.argmax(2) == donors).double().mean(0)


def of_those_that_follow(scores, donors):
    followed = (scores.argmax(2) == donors).double().sum(1)
    return followed / followed.sum().clamp_min(1)


WHO_VOTES = Exercise(
    "who-votes", who_votes, swaps,
    hints=(
        "A decision is the class with the highest score: argmax over the last dimension.",
        "decisions == donors compares the donors, (N,), with each row of the decisions, (parts, N).",
        "The share is the mean over the pictures: dimension 1 of (parts, N).",
    ),
    mistakes={
        "You count every decision that changed. Some go to a third class: that is confusion, and follows nobody.": any_change,
        "The donor beats the true class there, but a third class may beat both. The decision is the argmax of all scores.": beats_the_truth,
        "You took the mean over the parts. One share for each part is wanted: the mean over the pictures.": over_parts,
        "You divided by all that follow some part. Then a network that follows nobody looks like one that follows all.": of_those_that_follow,
    },
)  # fmt: skip


# ----------------------------------------------------------------------------------------- effective-parts

def effective_parts(falls):
    weights = falls.clamp(min=0)
    return weights.sum(1) ** 2 / (weights**2).sum(1)


def falls():
    yield (torch.tensor([[3.0, 0.0], [1.0, 1.0]], dtype=torch.float64),)
    yield (torch.eye(4, dtype=torch.float64),)
    yield (torch.tensor([[2.0, 2.0, -1.0]], dtype=torch.float64),)
    yield (normal(6, 5).abs() + normal(6, 5, seed=1),)


def ignores_the_unit(answer, falls):
    if not torch.allclose(answer(3 * falls), answer(falls)):
        return "With all falls three times as large, the number of parts must stay: it is a matter of shares."


def with_negative(falls):
    return falls.sum(1) ** 2 / (falls**2).sum(1)


def pictures_first(falls):
    weights = falls.clamp(min=0).mean(0)
    return (weights.sum() ** 2 / (weights**2).sum()).expand(len(falls))


def not_squared(falls):
    weights = falls.clamp(min=0)
    return weights.sum(1) / (weights**2).sum(1)


def how_many_fall(falls):
    return (falls > 0).double().sum(1)


EFFECTIVE_PARTS = Exercise(
    "effective-parts", effective_parts, falls,
    hints=(
        "Start with what must not count: falls.clamp(min=0).",
        "Two parts with weights 1, 1: (1 + 1)² / (1² + 1²) = 2. With 3, 0: 3² / 3² = 1.",
        "Each picture has a number of its own: sum over dimension 1, the parts.",
    ),
    mistakes={
        "A part whose swap *raises* the lead counts as if it carried it. Set what is negative to zero first.": with_negative,
        "You took the mean over pictures first. A network that reads one part, but another one each time, would pass for one that reads all.": pictures_first,
        "Square the sum too: else the number depends on the unit of the scores.": not_squared,
        "You counted the parts with any weight. One part in a thousand is not a whole part.": how_many_fall,
    },
    properties=(ignores_the_unit,),
)  # fmt: skip


# ----------------------------------------------------------------------------------------------- six-lines

def grad_cam(maps, gradients):
    weights = gradients.mean((2, 3), keepdim=True)  # (N, K, 1, 1): how much each channel speaks for the class
    return (weights * maps).sum(1).relu()  # (N, h, w)


def features():
    one = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 2.0]]]], dtype=torch.float64)
    yield one, torch.tensor([[[[1.0, 0.0], [0.0, 0.0]], [[-1.0, 0.0], [0.0, 0.0]]]], dtype=torch.float64)
    yield normal(2, 3, 4, 4).relu(), normal(2, 3, 4, 4, seed=1)
    yield normal(3, 5, 2, 6).relu(), normal(3, 5, 2, 6, seed=2)


def cannot_be_negative(answer, maps, gradients):
    if (answer(maps, gradients) < 0).any():
        return "The map is negative somewhere: a heat map shows what speaks for the class, so cut it off at 0."


def place_by_place(maps, gradients):
    return (gradients * maps).sum(1).relu()


def no_weights(maps, gradients):
    return maps.mean(1).relu()


def no_cut(maps, gradients):
    return (gradients.mean((2, 3), keepdim=True) * maps).sum(1)


def cut_too_early(maps, gradients):
    return (gradients.mean((2, 3), keepdim=True) * maps).relu().sum(1)


def over_pictures(maps, gradients):
    return (gradients.mean((0, 2, 3), keepdim=True) * maps).sum(1).relu()


SIX_LINES = Exercise(
    "six-lines", grad_cam, features,
    hints=(
        "Each channel gets one weight: the mean of its gradient over all places, dimensions 2 and 3.",
        "keepdim=True keeps the weights at (N, K, 1, 1), so that they multiply the maps (N, K, h, w).",
        "Sum over the channels first, cut off at 0 last.",
    ),
    mistakes={
        "You multiplied place by place. That is HiResCAM, and often the better map; Grad-CAM takes the mean of the gradient first.": place_by_place,
        "The gradient plays no part, so the map is the same for every class. Weight each channel by its mean gradient.": no_weights,
        "The ReLU is missing: what speaks against the class would show up as cold spots.": no_cut,
        "You cut each channel before the sum. A channel against the class must be able to outweigh one for it.": cut_too_early,
        "You averaged over the pictures, too. Each picture has weights of its own.": over_pictures,
    },
    properties=(cannot_be_negative,),
)  # fmt: skip


# ------------------------------------------------------------------------------------------- energy-inside

def energy_inside(maps, masks):
    return (maps * masks).sum((1, 2)) / maps.sum((1, 2))  # 0 / 0 is NaN: an empty map has no share


def maps_and_masks():
    masks = torch.zeros(2, 2, 2, dtype=torch.bool)
    masks[:, 0] = True
    yield torch.tensor([[[1.0, 1.0], [1.0, 1.0]], [[0.0, 2.0], [2.0, 0.0]]], dtype=torch.float64), masks
    yield torch.tensor([[[4.0, 3.0], [2.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]], dtype=torch.float64), masks
    yield normal(3, 6, 6).abs() + 1, normal(3, 6, 6, seed=1) > 0.5


def ignores_the_scale(answer, maps, masks):
    if not torch.allclose(answer(5 * maps, masks), answer(maps, masks), equal_nan=True):
        return "Five times the heat, the same share: divide by all the heat of the map."


def mean_inside(maps, masks):
    return (maps * masks).sum((1, 2)) / masks.sum((1, 2))


def stretched(maps, masks):
    maps = maps - maps.amin((1, 2), keepdim=True)
    return (maps * masks).sum((1, 2)) / maps.sum((1, 2))


def all_together(maps, masks):
    return ((maps * masks).sum() / maps.sum()).expand(len(maps))


def empty_is_zero(maps, masks):
    return ((maps * masks).sum((1, 2)) / maps.sum((1, 2))).nan_to_num()


ENERGY_INSIDE = Exercise(
    "energy-inside", energy_inside, maps_and_masks,
    hints=(
        "Heat inside: multiply by the mask, and sum over the two dimensions of the picture.",
        "A share is a part of a whole. The whole is all the heat of the same map.",
        "Leave 0 / 0 as it comes, NaN: it says that this map is empty, and somebody must count it.",
    ),
    mistakes={
        "That is the mean heat inside, and no share: divide by the heat of the whole map.": mean_inside,
        "You subtracted the minimum first. Then a map that is the same everywhere has no heat at all, inside or out.": stretched,
        "You divided all pictures' heat at once. Each picture has a share of its own.": all_together,
        "An empty map got a share of 0, as if it had looked elsewhere. It looked nowhere: leave NaN, and count it.": empty_is_zero,
    },
    properties=(ignores_the_scale,),
)  # fmt: skip


# ----------------------------------------------------------------------------------- is-the-ruler-straight

def auc(larger, smaller):
    difference = larger[:, None] - smaller[None, :]  # all pairs
    return ((difference > 0).double() + 0.5 * (difference == 0)).mean()


def readings():
    yield torch.tensor([2.0, 3.0]).double(), torch.tensor([1.0, 2.0]).double()
    yield torch.tensor([1.0, 1.0, 4.0]).double(), torch.tensor([1.0, 5.0]).double()
    yield normal(9) + 1, normal(6, seed=1)
    yield torch.ones(3).double(), torch.ones(4).double()


def chance_is_a_half(answer, larger, smaller):
    if abs(float(answer(larger, larger)) - 0.5) > 1e-9:
        return "The same readings on both sides must give one half: nothing is told apart."


def ties_lose(larger, smaller):
    return (larger[:, None] > smaller).double().mean()


def ties_win(larger, smaller):
    return (larger[:, None] >= smaller).double().mean()


def side_by_side(larger, smaller):
    n = min(len(larger), len(smaller))
    difference = larger[:n] - smaller[:n]
    return ((difference > 0).double() + 0.5 * (difference == 0)).mean()


def one_threshold(larger, smaller):
    middle = torch.cat([larger, smaller]).mean()
    return ((larger > middle).double().mean() + (smaller <= middle).double().mean()) / 2


def turned_around(larger, smaller):
    return auc(smaller, larger)


RULER = Exercise(
    "is-the-ruler-straight", auc, readings,
    hints=(
        "Compare every reading of the first kind with every one of the second: larger[:, None] - smaller.",
        "A win counts 1, a tie ½, a loss 0.",
        "The mean over all pairs is the probability that was asked for.",
    ),
    mistakes={
        "A tie counts nothing with you. It is half a win, else a ruler that always reads the same looks worse than chance.": ties_lose,
        "A tie counts as a win with you. It is half a win, else a ruler that always reads the same looks perfect.": ties_win,
        "You compared the readings side by side. They are no pairs: compare each with each.": side_by_side,
        "That is how often one threshold is right, and another threshold may be better. Compare each with each instead.": one_threshold,
        "It is the wrong way around: count how often the first kind is the larger one.": turned_around,
    },
    properties=(chance_is_a_half,),
)  # fmt: skip

EXERCISES = (WHO_VOTES, EFFECTIVE_PARTS, SIX_LINES, ENERGY_INSIDE, RULER)
