"""The exercises of notebook 00: what pictures, neurons and histories are made of."""

import torch
import torch.nn.functional as F

from growlab import models
from growlab.course.exercises.exercise import Exercise, normal


def background_colour(images, objects):
    outside = ~objects[:, None]  # (N, 1, H, W): the same for red, green and blue
    return (images * outside).sum((2, 3)) / outside.sum((2, 3))


def scenes():
    for seed, (pictures, side) in enumerate([(1, 2), (2, 3), (3, 6)]):
        objects = normal(pictures, side, side, seed=seed + 20) > 0.3
        objects[:, 0, 0], objects[:, 1, 1] = False, True  # something of both
        yield 100 + 50 * normal(pictures, 3, side, side, seed=seed), objects


def sees_the_animal(answer, images, objects):
    if not torch.allclose(answer(images + 99 * objects[:, None], objects), answer(images, objects)):
        return "Your colour changes when the animal is painted in another one. Use the pixels outside only."


def over_the_batch(images, objects):
    outside = ~objects[:, None]
    return (images * outside).sum((0, 2, 3)) / outside.sum()


COLOUR_CHEAT = Exercise(
    "colour-cheat", background_colour, scenes,
    mistakes={
        "That is the colour of the animal. The background is where objects is False: ~objects.":
            lambda images, objects: (images * objects[:, None]).sum((2, 3)) / objects[:, None].sum((2, 3)),
        "You averaged over the whole picture, animal and all. Leave its pixels out.":
            lambda images, objects: images.mean((2, 3)),
        "You divided by all pixels. Divide by the number of those outside, (~objects).sum(…).":
            lambda images, objects: (images * ~objects[:, None]).mean((2, 3)),
        "You averaged over all pictures. Each one has a background of its own: the result is (N, 3).": over_the_batch,
    }, properties=(sees_the_animal,),
)  # fmt: skip


def convolve(images, weight, padding):
    patches = F.unfold(images, weight.shape[2:], padding=padding)  # (N, D, places)
    rows = weight.flatten(1)  # (n, D): a row for each neuron
    maps = rows @ patches  # (N, n, places)
    height = images.shape[2] + 2 * padding - weight.shape[2] + 1
    return maps.unflatten(2, (height, -1))


def convolutions():
    sizes = [(1, 1, 2, 3, 3, 1), (2, 2, 3, 4, 3, 1), (2, 3, 2, 5, 2, 0), (1, 2, 4, 3, 1, 1)]
    for seed, (N, C, n, side, kernel, padding) in enumerate(sizes):
        yield normal(N, C, side, side + 1, seed=seed), normal(n, C, kernel, kernel, seed=seed + 10), padding


def is_the_convolution(answer, images, weight, padding):
    if not torch.allclose(answer(images, weight, padding), F.conv2d(images, weight, padding=padding)):
        return "It differs from F.conv2d."
    if not torch.allclose(answer(images, weight[:1], padding), answer(images, weight, padding)[:, :1]):
        return "The first neuron alone must give the first map."


def reshaped_to_columns(images, weight, padding):
    patches = F.unfold(images, weight.shape[2:], padding=padding)
    return (weight.reshape(-1, len(weight)).T @ patches).unflatten(
        2, (images.shape[2] + 2 * padding - weight.shape[2] + 1, -1)
    )


def channels_last(images, weight, padding):
    patches = F.unfold(images, weight.shape[2:], padding=padding)
    rows = weight.permute(0, 2, 3, 1).flatten(1)
    return (rows @ patches).unflatten(2, (images.shape[2] + 2 * padding - weight.shape[2] + 1, -1))


def map_turned(images, weight, padding):
    maps = weight.flatten(1) @ F.unfold(images, weight.shape[2:], padding=padding)
    return maps.unflatten(2, (-1, images.shape[2] + 2 * padding - weight.shape[2] + 1))


ROWS_ARE_NEURONS = Exercise(
    "rows-are-neurons", convolve, convolutions,
    mistakes={
        "reshape(D, n) cuts the filters into pieces. The first axis is the neuron's: weight.flatten(1) is (n, D).":
            reshaped_to_columns,
        "unfold orders each patch by channel, row, column, as the weight is stored: flatten it without moving axes.":
            channels_last,
        "The padding is missing: pass it to F.unfold. Without it the maps are too small, or shifted.":
            lambda images, weight, padding: F.conv2d(images, weight),
        "Height and width are exchanged: pictures are (N, C, H, W), and the places run along the rows.": map_turned,
    }, properties=(is_the_convolution,),
)  # fmt: skip


def count(widths, classes):
    total, inputs = 0, 3
    for outputs in widths:
        total += outputs * inputs * 9  # the convolution, without bias
        total += 2 * outputs  # batch norm: a scale and a shift for each channel
        inputs = outputs
    return total + inputs * classes + classes  # the linear layer has a bias


def networks():
    yield from [([1, 1, 1, 1], 1), ([4, 4, 4, 4], 10), ([2, 5, 3, 7], 3), ([16] * 13, 10)]


def is_what_the_model_has(answer, widths, classes):
    build = models.vgg5 if len(widths) == 4 else models.vgg16
    if answer(widths, classes) != models.parameter_count(build(list(widths), classes)):
        return "It differs from gl.parameter_count."


COUNT_BY_HAND = Exercise(
    "count-by-hand", count, networks,
    mistakes={
        "Batch norm is missing: it learns a scale and a shift, two numbers for each channel.":
            lambda widths, classes: count(widths, classes) - 2 * sum(widths),
        "These convolutions have no bias, since batch norm follows them. Look at print(model): bias=False.":
            lambda widths, classes: count(widths, classes) + sum(widths),
        "Running mean and variance are buffers: measured, not learned. Leave them out.":
            lambda widths, classes: count(widths, classes) + 2 * sum(widths),
        "The linear layer has a bias, one number for each class.":
            lambda widths, classes: count(widths, classes) - classes,
    }, properties=(is_what_the_model_has,),
)  # fmt: skip


def find_growth(neurons):
    pairs = zip(neurons, neurons[1:])  # each epoch and the one after it
    return [(epoch, after - before) for epoch, (before, after) in enumerate(pairs, start=1) if after > before]


def histories():
    yield from [([4, 4, 6, 6],), ([5, 8, 8],), ([16, 16, 29, 29, 52, 52],), ([7, 7, 7],), ([3, 4, 6, 9, 9, 10],)]


FIND_THE_GROWTH = Exercise(
    "find-the-growth", find_growth, histories,
    mistakes={
        "That is the first epoch with the new neurons. The growth came after the epoch before it.":
            lambda neurons: [(epoch + 1, new) for epoch, new in find_growth(neurons)],
        "You count epochs from 0. The first epoch is epoch 1.":
            lambda neurons: [(epoch - 1, new) for epoch, new in find_growth(neurons)],
        "You gave the size after the growth. Asked is how many neurons came: the difference.":
            lambda neurons: [(epoch, neurons[epoch]) for epoch, _ in find_growth(neurons)],
        "You found the first growth only. There may be more: return all of them.":
            lambda neurons: find_growth(neurons)[:1],
    },
)  # fmt: skip
EXERCISES = (COLOUR_CHEAT, ROWS_ARE_NEURONS, COUNT_BY_HAND, FIND_THE_GROWTH)
