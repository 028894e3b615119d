"""Right and wrong answers to the exercises of notebook 06, as students would write them."""

import torch
import torch.nn.functional as F

# hide-a-part


def hide_by_places(image, mask, order):
    hidden = image.clone()
    places = mask.nonzero()
    for (y, x), source in zip(places.tolist(), order.tolist()):
        hidden[:, y, x] = image[:, places[source, 0], places[source, 1]]
    return hidden


def hide_by_scatter(image, mask, order):
    flat, places = image.flatten(1), mask.flatten().nonzero()[:, 0]
    return flat.index_copy(1, places, flat[:, places[order]]).view_as(image)


def hide_in_black(image, mask, order):
    return image * (~mask)


def hide_in_grey(image, mask, order):
    hidden = image.clone()
    for colour in hidden:
        colour[mask] = colour[mask].mean()
    return hidden


def hide_the_rest(image, mask, order):
    hidden = image.clone()
    hidden[:, ~mask] = image[:, ~mask].flip(1)
    return hidden


def hide_colour_by_colour(image, mask, order):
    hidden = image.clone()
    hidden[0, mask] = image[0, mask][order]
    hidden[1, mask] = image[1, mask][order.flip(0)]
    hidden[2, mask] = image[2, mask][order.roll(1)]
    return hidden


# who-votes


def votes_in_a_loop(before, after, labels, donors):
    falls = torch.zeros(len(labels), len(after), dtype=before.dtype)
    for i, (own, other) in enumerate(zip(labels.tolist(), donors.tolist())):
        for part in range(len(after)):
            falls[i, part] = (before[i, own] - before[i, other]) - (after[part, i, own] - after[part, i, other])
    return falls


def votes_by_gather(before, after, labels, donors):
    change = before - after  # (parts, N, classes)
    own, other = (change.gather(2, rows.expand(len(after), -1)[..., None])[..., 0] for rows in (labels, donors))
    return (own - other).T


def votes_of_the_true_class(before, after, labels, donors):
    rows = range(len(labels))
    return torch.stack([before[rows, labels] - scores[rows, labels] for scores in after], 1)


def votes_as_gain_of_the_true_class(before, after, labels, donors):
    return -votes_in_a_loop(before, after, labels, donors)


def votes_as_accuracy(before, after, labels, donors):
    right = (before.argmax(1) == labels).double()
    return torch.stack([right - (scores.argmax(1) == labels).double() for scores in after], 1)


def votes_of_parts(before, after, labels, donors):
    return torch.stack([votes_in_a_loop(before, scores[None], labels, donors)[:, 0] for scores in after])


# six-lines


def cam(
    model, layer, images, targets, scores_of=lambda scores, targets: scores, weigh=lambda slopes: slopes.mean((2, 3))
):
    kept = {}
    module = dict(model.named_modules())[layer]
    handle = module.register_forward_hook(lambda module, given, output: kept.update(output=output))
    scores = scores_of(model(images), targets)
    handle.remove()
    wanted = scores[torch.arange(len(images)), targets].sum()
    slopes = torch.autograd.grad(wanted, kept["output"])[0]
    maps = torch.einsum("nk,nkhw->nhw", weigh(slopes), kept["output"]).clamp(min=0)
    return F.interpolate(maps[:, None], size=images.shape[2:], mode="bilinear")[:, 0]


def cam_of_softmax(model, layer, images, targets):
    return cam(model, layer, images, targets, lambda scores, targets: scores.softmax(1))


def cam_of_loss(model, layer, images, targets):
    return cam(model, layer, images, targets, lambda scores, targets: -scores.log_softmax(1))


def cam_of_all_channels(model, layer, images, targets):
    return cam(
        model, layer, images, targets, weigh=lambda slopes: torch.ones_like(slopes[:, :, 0, 0]) / slopes.shape[1]
    )


def cam_with_minus(model, layer, images, targets):
    kept = []
    handle = model.get_submodule(layer).register_forward_hook(lambda *_: kept.append(_[2]))
    scores = model(images)
    handle.remove()
    slopes = torch.autograd.grad(scores[range(len(images)), targets].sum(), kept[0])[0]
    maps = (kept[0] * slopes.mean((2, 3))[:, :, None, None]).sum(1)
    return F.interpolate(maps[:, None], size=images.shape[2:], mode="bilinear")[:, 0]


def cam_by_place(model, layer, images, targets):
    kept = []
    handle = model.get_submodule(layer).register_forward_hook(lambda *_: kept.append(_[2]))
    scores = model(images)
    handle.remove()
    slopes = torch.autograd.grad(scores[range(len(images)), targets].sum(), kept[0])[0]
    return F.interpolate((kept[0] * slopes).sum(1).clamp(0)[:, None], size=images.shape[2:], mode="bilinear")[:, 0]


# energy-inside


def energy_in_a_loop(maps, masks):
    return torch.stack([heat[mask].sum() / heat.sum() for heat, mask in zip(maps, masks)])


def energy_by_einsum(maps, masks):
    shares = maps / maps.sum((1, 2), keepdim=True)
    return torch.einsum("nhw,nhw->n", shares, masks.to(maps.dtype))


def energy_as_mean(maps, masks):
    return torch.stack([heat[mask].mean() if mask.any() else heat.sum() / 0 for heat, mask in zip(maps, masks)])


def energy_of_stretched(maps, masks):
    low, high = maps.flatten(1).min(1).values[:, None, None], maps.flatten(1).max(1).values[:, None, None]
    return energy_in_a_loop((maps - low) / (high - low), masks)


def energy_with_zero(maps, masks):
    return energy_in_a_loop(maps, masks).nan_to_num(0)


def energy_of_all(maps, masks):
    return torch.stack([heat[mask].sum() / maps.sum() for heat, mask in zip(maps, masks)])


# is-the-ruler-straight


def auc_in_a_loop(larger, smaller):
    pairs = [(a, b) for a in larger.tolist() for b in smaller.tolist() if a == a and b == b]
    return sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs) / len(pairs)


def auc_by_ranks(larger, smaller):
    from scipy.stats import mannwhitneyu

    larger, smaller = larger[larger == larger], smaller[smaller == smaller]
    return mannwhitneyu(larger, smaller).statistic / len(larger) / len(smaller)


def auc_side_by_side(larger, smaller):
    return sum(a > b for a, b in zip(larger.tolist(), smaller.tolist())) / len(larger)


def auc_without_halves(larger, smaller):
    pairs = [(a, b) for a in larger.tolist() for b in smaller.tolist() if a == a and b == b]
    return sum(a > b for a, b in pairs) / len(pairs)


def auc_with_nan(larger, smaller):
    pairs = [(a, b) for a in larger.tolist() for b in smaller.tolist()]
    return sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs) / len(pairs)


def auc_as_distance(larger, smaller):
    return larger[larger == larger].mean() - smaller[smaller == smaller].mean()


def hide_with_numpy(image, mask, order):
    hidden = image.numpy().copy()
    hidden[:, mask.numpy()] = image.numpy()[:, mask.numpy()][:, order.numpy()]
    return hidden


def hide_by_three_draws(image, mask, order):
    hidden = image.clone()
    for channel in hidden:
        channel[mask] = channel[mask][torch.randperm(int(mask.sum()))]
    return hidden


def votes_in_single_precision(before, after, labels, donors):
    return votes_in_a_loop(before, after, labels, donors).float()


def votes_that_are_left(before, after, labels, donors):
    own, other = (after.gather(2, rows.expand(len(after), -1)[..., None])[..., 0] for rows in (labels, donors))
    return (own - other).T


def energy_as_a_list(maps, masks):
    return [float((heat * mask).sum() / heat.sum()) for heat, mask in zip(maps, masks)]


def auc_in_single_precision(larger, smaller):
    larger, smaller = larger[larger == larger], smaller[smaller == smaller]
    table = torch.zeros(len(larger), len(smaller))
    table[larger[:, None] > smaller], table[larger[:, None] == smaller] = 1, 0.5
    return table.mean()


def auc_of_zeros(larger, smaller):
    return auc_in_a_loop(larger.nan_to_num(0), smaller.nan_to_num(0))


RIGHT = {
    "hide-a-part": [hide_by_places, hide_by_scatter, hide_with_numpy],
    "who-votes": [votes_in_a_loop, votes_by_gather, votes_in_single_precision],
    "six-lines": [cam],
    "energy-inside": [energy_in_a_loop, energy_by_einsum, energy_as_a_list],
    "is-the-ruler-straight": [auc_in_a_loop, auc_by_ranks, auc_in_single_precision],
}

WRONG = {
    "hide-a-part": [
        (hide_in_black, "Black pixels are a new cue"),
        (hide_in_grey, "One flat colour is a new cue"),
        (hide_the_rest, "changed what is around the part"),
        (hide_colour_by_colour, "three numbers that belong together"),
        (hide_by_three_draws, "three numbers that belong together"),
    ],
    "who-votes": [
        (votes_of_the_true_class, "Take its lead over the donor"),
        (votes_as_gain_of_the_true_class, "sign is turned around"),
        (votes_as_accuracy, "sees only votes that change the winner"),
        (votes_of_parts, "A row for each picture"),
        (votes_that_are_left, "the lead after the swap"),
    ],
    "six-lines": [
        (cam_of_softmax, "slope of the probability"),
        (cam_of_loss, "slope of the loss"),
        (cam_of_all_channels, "Weigh each channel by its mean slope"),
        (cam_with_minus, "a relu is missing"),
        (cam_by_place, "HiResCAM"),
    ],
    "energy-inside": [
        (energy_as_mean, "not by the size of the mask"),
        (energy_of_stretched, "Do not stretch the map"),
        (energy_with_zero, "leave it NaN"),
        (energy_of_all, "Each picture has its own heat"),
    ],
    "is-the-ruler-straight": [
        (auc_side_by_side, "Compare each with all"),
        (auc_without_halves, "A tie counts one half"),
        (auc_with_nan, "Leave it out first"),
        (auc_of_zeros, "not 0 either"),
        (auc_as_distance, "Count pairs"),
    ],
}
