"""Right and wrong answers to the exercises of notebook 00, as students would write them."""

import torch
import torch.nn.functional as F

# colour-cheat


def colour_picture_by_picture(images, objects):
    return torch.stack([image[:, ~mask].mean(1) for image, mask in zip(images, objects)])


def colour_of_the_animal(images, objects):
    return torch.stack([image[:, mask].mean(1) for image, mask in zip(images, objects)])


def colour_of_everything(images, objects):
    return images.flatten(2).mean(2)


def colour_with_zeros(images, objects):
    without = images.clone()
    without[objects[:, None].expand_as(images)] = 0
    return without.flatten(2).mean(-1)


def colour_of_all_backgrounds(images, objects):
    return torch.stack([images[:, channel][~objects].mean() for channel in range(3)])


# rows-are-neurons


def convolve_patch_by_patch(images, weight, padding):
    padded, k = F.pad(images, [padding] * 4), weight.shape[2]
    tall, wide = padded.shape[2] - k + 1, padded.shape[3] - k + 1
    result = images.new_zeros(len(images), len(weight), tall, wide)
    for y in range(tall):
        for x in range(wide):
            patch = padded[:, :, y : y + k, x : x + k].reshape(len(images), -1)
            result[:, :, y, x] = patch @ weight.reshape(len(weight), -1).T
    return result


def convolve_with_columns(images, weight, padding):
    k = weight.shape[-1]
    maps = torch.einsum("dn,bdp->bnp", weight.reshape(-1, weight.shape[0]), F.unfold(images, k, padding=padding))
    return maps.view(len(images), len(weight), images.shape[2] + 2 * padding - k + 1, -1)


def convolve_channels_last(images, weight, padding):
    k = weight.shape[-1]
    maps = weight.movedim(1, -1).reshape(len(weight), -1) @ F.unfold(images, k, padding=padding)
    return maps.view(len(images), len(weight), images.shape[2] + 2 * padding - k + 1, -1)


def convolve_without_padding(images, weight, padding):
    k = weight.shape[-1]
    maps = weight.flatten(1) @ F.unfold(images, k)
    return maps.view(len(images), len(weight), images.shape[2] - k + 1, -1)


def convolve_turned(images, weight, padding):
    k = weight.shape[-1]
    maps = weight.flatten(1) @ F.unfold(images, k, padding=padding)
    return maps.view(
        len(images), len(weight), images.shape[3] + 2 * padding - k + 1, images.shape[2] + 2 * padding - k + 1
    )


# count-by-hand


def count_in_one_line(widths, classes):
    return sum(9 * a * b + 2 * b for a, b in zip([3, *widths], widths)) + (widths[-1] + 1) * classes


def count_without_norm(widths, classes):
    return sum(9 * a * b for a, b in zip([3, *widths], widths)) + (widths[-1] + 1) * classes


def count_with_biases(widths, classes):
    return sum((9 * a + 1) * b + 2 * b for a, b in zip([3, *widths], widths)) + (widths[-1] + 1) * classes


def count_with_running_statistics(widths, classes):
    return sum(9 * a * b + 4 * b for a, b in zip([3, *widths], widths)) + (widths[-1] + 1) * classes


def count_without_last_bias(widths, classes):
    return sum(9 * a * b + 2 * b for a, b in zip([3, *widths], widths)) + widths[-1] * classes


# find-the-growth


def growth_by_index(neurons):
    found = []
    for i in range(1, len(neurons)):
        if neurons[i] != neurons[i - 1]:
            found.append([i, neurons[i] - neurons[i - 1]])
    return found


def growth_when_seen(neurons):
    return [(i + 1, neurons[i] - neurons[i - 1]) for i in range(1, len(neurons)) if neurons[i] > neurons[i - 1]]


def growth_from_zero(neurons):
    return [(i, b - a) for i, (a, b) in enumerate(zip(neurons, neurons[1:])) if b != a]


def growth_as_sizes(neurons):
    return [(i, neurons[i]) for i in range(1, len(neurons)) if neurons[i] > neurons[i - 1]]


def growth_the_first(neurons):
    for i in range(1, len(neurons)):
        if neurons[i] > neurons[i - 1]:
            return [(i, neurons[i] - neurons[i - 1])]
    return []


RIGHT = {
    "colour-cheat": [colour_picture_by_picture],
    "rows-are-neurons": [convolve_patch_by_patch],
    "count-by-hand": [count_in_one_line],
    "find-the-growth": [growth_by_index],
}

WRONG = {
    "colour-cheat": [
        (colour_of_the_animal, "the colour of the animal"),
        (colour_of_everything, "animal and all"),
        (colour_with_zeros, "You divided by all pixels"),
        (colour_of_all_backgrounds, "a background of its own"),
    ],
    "rows-are-neurons": [
        (convolve_with_columns, "cuts the filters into pieces"),
        (convolve_channels_last, "flatten it without moving axes"),
        (convolve_without_padding, "The padding is missing"),
        (convolve_turned, "Height and width are exchanged"),
    ],
    "count-by-hand": [
        (count_without_norm, "Batch norm is missing"),
        (count_with_biases, "have no bias"),
        (count_with_running_statistics, "are buffers"),
        (count_without_last_bias, "The linear layer has a bias"),
    ],
    "find-the-growth": [
        (growth_when_seen, "first epoch with the new neurons"),
        (growth_from_zero, "count epochs from 0"),
        (growth_as_sizes, "the size after the growth"),
        (growth_the_first, "the first growth only"),
    ],
}
