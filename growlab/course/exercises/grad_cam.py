"""The exercises of notebook 06: hide a part, find out who votes, draw a heat map, measure it, and test the measure."""

import torch
import torch.nn.functional as F
from torch import nn

from growlab.course.exercises.exercise import Exercise, normal


def hide(image, mask, order):
    hidden = image.clone()
    hidden[:, mask] = image[:, mask][:, order]
    return hidden


def parts_to_hide():
    for seed, (size, wide) in enumerate([(3, 2), (4, 2), (8, 5), (9, 7)]):
        image = normal(3, size, size, seed=seed)
        mask = torch.zeros(size, size, dtype=torch.bool)
        mask[1 : 1 + wide, :wide] = True
        mask[1, 0] = False  # no square
        order = torch.randperm(int(mask.sum()), generator=torch.Generator().manual_seed(seed))
        yield image, mask, order


def leaves_the_rest(answer, image, mask, order):
    if not torch.equal(answer(image, mask, order)[:, ~mask], image[:, ~mask]):
        return "Pixels outside the mask have changed."


TORN = "A pixel is three numbers that belong together: one order for all three colours."


def keeps_pixels_whole(answer, image, mask, order):
    before, after = (picture[:, mask].T.tolist() for picture in (image, answer(image, mask, order)))
    by_colour = [
        sorted(row[channel] for row in before) == sorted(row[channel] for row in after) for channel in range(3)
    ]
    if all(by_colour) and sorted(before) != sorted(after):
        return TORN


def everywhere_else(image, mask, order):
    hidden = image.clone()
    hidden[:, ~mask] = image[:, ~mask].flip(1)
    return hidden


def colours_apart(image, mask, order):
    hidden = image.clone()
    for channel, places in enumerate((order, order.flip(0), order.roll(1))):
        hidden[channel, mask] = image[channel, mask][places]
    return hidden


HIDE_A_PART = Exercise(
    "hide-a-part", hide, parts_to_hide,
    mistakes={
        "Black pixels are a new cue: a network can see where the part was. Shuffle the part's own pixels.":
            lambda image, mask, order: image.masked_fill(mask, 0),
        "One flat colour is a new cue as well: no other place of the animal is so smooth. Shuffle instead.":
            lambda image, mask, order: torch.where(mask, image[:, mask].mean(1)[:, None, None], image),
        "You changed what is around the part and left the part: the mask is True where it is.": everywhere_else,
        TORN: colours_apart,
    }, properties=(leaves_the_rest, keeps_pixels_whole),
)  # fmt: skip


def who_votes(before, after, labels, donors):
    each = torch.arange(len(labels))
    lead = before[each, labels] - before[each, donors]
    leads = after[:, each, labels] - after[:, each, donors]
    return (lead - leads).T


def votes_counted():
    for seed, (n, parts, classes) in enumerate([(1, 2, 2), (2, 3, 3), (5, 4, 6)]):
        labels = torch.randint(classes, (n,), generator=torch.Generator().manual_seed(seed))
        yield normal(n, classes, seed=seed), normal(parts, n, classes, seed=seed + 9), labels, (labels + 1) % classes


def sees_the_part_that_is_read(answer, *_):
    labels, donors = torch.tensor([0, 1, 2]), torch.tensor([4, 4, 3])
    before = F.one_hot(labels, 5).double()
    after = torch.stack([before, before, F.one_hot(donors, 5).double(), before])
    falls = torch.as_tensor(answer(before, after, labels, donors))
    if falls.shape != (3, 4) or not torch.equal(falls.double(), torch.tensor([[0.0, 0, 2, 0]] * 3).double()):
        what = "A network that reads part 2 only must give (0, 0, 2, 0) for each picture: "
        return f"{what}its lead goes from 1 to −1 there."


def true_class_alone(before, after, labels, donors):
    each = torch.arange(len(labels))
    return (before[each, labels] - after[:, each, labels]).T


def lost_accuracy(before, after, labels, donors):
    return ((before.argmax(1) == labels).double() - (after.argmax(2) == labels).double()).T


def lead_after(before, after, labels, donors):
    each = torch.arange(len(labels))
    return (after[:, each, labels] - after[:, each, donors]).T


WHO_VOTES = Exercise(
    "who-votes", who_votes, votes_counted,
    mistakes={
        "The true class's logit alone does not tell whose form won: all logits may fall "
        "together. Take its lead over the donor.": true_class_alone,
        "The sign is turned around: a part that counts makes the lead fall, so before less after.":
            lambda before, after, labels, donors: -who_votes(before, after, labels, donors),
        "Lost accuracy sees only votes that change the winner. In a network that counts five votes no single one does.":
            lost_accuracy,
        "This is the lead after the swap. How far has it fallen? The lead before less the lead after.": lead_after,
        "A row for each picture, please, and a column for each part: (N, parts).":
            lambda before, after, labels, donors: who_votes(before, after, labels, donors).T,
    }, properties=(sees_the_part_that_is_read,),
)  # fmt: skip


def grad_cam(model, layer, images, targets):
    seen = []
    handle = model.get_submodule(layer).register_forward_hook(lambda *given: seen.append(given[-1]))
    scores = model(images)
    handle.remove()
    (slopes,) = torch.autograd.grad(scores.gather(1, targets[:, None]).sum(), seen)
    maps = (slopes.mean((2, 3), keepdim=True) * seen[0]).sum(1, keepdim=True).relu()
    return F.interpolate(maps, images.shape[-2:], mode="bilinear", align_corners=False)[:, 0]


def networks():
    for seed, (n, size, filters) in enumerate([(1, 4, 1), (2, 8, 3), (3, 8, 4)]):
        with torch.random.fork_rng():
            torch.manual_seed(seed + 3)
            model = nn.Sequential(
                nn.Conv2d(3, filters, 3, padding=1), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(filters, 4, 1), nn.ReLU(),
                nn.Flatten(), nn.Linear(size**2, 4),
            ).double()  # fmt: skip
        yield model, "2", normal(n, 3, size, size, seed=seed), torch.arange(n) % 4


def is_about_the_target_and_leaves_no_trace(answer, model, layer, images, targets):
    other, again = answer(model, layer, images, (targets + 1) % 4), answer(model, layer, images, targets)
    if not all(torch.isfinite(maps).all() and (maps >= 0).all() for maps in (other, again)):
        return "A map is never negative."
    if len(images) > 1 and torch.allclose(other, again):
        return "Other targets must give other maps."
    if any(module._forward_hooks for module in model.modules()):
        return "Your hook is still there: handle.remove()."
    if any(p.grad is not None for p in model.parameters()):
        return "The parameters have a .grad now. torch.autograd.grad(…, seen) leaves none, backward() does."


def catch(model, layer, images):
    seen = []
    handle = model.get_submodule(layer).register_forward_hook(lambda *given: seen.append(given[-1]))
    scores = model(images)
    handle.remove()
    return scores, seen[0]


def resized(maps, images):
    return F.interpolate(maps.relu(), images.shape[-2:], mode="bilinear", align_corners=False)[:, 0]


def of_the_probability(model, layer, images, targets):
    scores, seen = catch(model, layer, images)
    (slopes,) = torch.autograd.grad(scores.softmax(1).gather(1, targets[:, None]).sum(), seen)
    return resized((slopes.mean((2, 3), keepdim=True) * seen).sum(1, keepdim=True), images)


def of_the_loss(model, layer, images, targets):
    scores, seen = catch(model, layer, images)
    (slopes,) = torch.autograd.grad(F.cross_entropy(scores, targets, reduction="sum"), seen)
    return resized((slopes.mean((2, 3), keepdim=True) * seen).sum(1, keepdim=True), images)


def without_weights(model, layer, images, targets):
    scores, seen = catch(model, layer, images)
    return resized(seen.mean(1, keepdim=True), images)


def without_relu(model, layer, images, targets):
    scores, seen = catch(model, layer, images)
    (slopes,) = torch.autograd.grad(scores.gather(1, targets[:, None]).sum(), seen)
    maps = (slopes.mean((2, 3), keepdim=True) * seen).sum(1, keepdim=True)
    return F.interpolate(maps, images.shape[-2:], mode="bilinear", align_corners=False)[:, 0]


def place_by_place(model, layer, images, targets):
    scores, seen = catch(model, layer, images)
    (slopes,) = torch.autograd.grad(scores.gather(1, targets[:, None]).sum(), seen)
    return resized((slopes * seen).sum(1, keepdim=True), images)


SIX_LINES = Exercise(
    "six-lines", grad_cam, networks,
    mistakes={
        "That is the slope of the probability. A softmax flattens where the network is sure; take the logit itself.":
            of_the_probability,
        "That is the slope of the loss: what raises it speaks against the class. Take the logit of the target.":
            of_the_loss,
        "All channels count the same, and the target plays no part. Weigh each channel by its mean slope.":
            without_weights,
        "Negative heat speaks against the class: a relu is missing, before the map is resized.": without_relu,
        "You weigh place by place. That is another method, HiResCAM; Grad-CAM gives a channel "
        "one weight, the mean of its slopes.": place_by_place,
    }, properties=(is_about_the_target_and_leaves_no_trace,),
)  # fmt: skip


def energy_inside(maps, masks):
    return (maps * masks).sum((1, 2)) / maps.sum((1, 2))


def maps_and_masks():
    for seed, (n, size) in enumerate([(1, 2), (2, 3), (4, 6)]):
        masks = torch.rand(n, size, size, generator=torch.Generator().manual_seed(seed)) < 0.4
        masks[:, 0, 0] = True
        yield normal(n, size, size, seed=seed).abs(), masks
    yield (
        torch.stack([torch.ones(2, 2), torch.zeros(2, 2)]).double(),
        torch.tensor([[True, False], [False, False]]).expand(2, 2, 2),
    )


def is_a_share(answer, maps, masks):
    maps = maps[maps.sum((1, 2)) > 0][:1]
    full, even = (
        torch.as_tensor(answer(given, masks[:1])).double() for given in (maps * masks[:1], torch.ones_like(maps))
    )
    if not torch.allclose(full, torch.ones_like(full)):
        return "If all heat is inside, the energy is 1."
    if not torch.allclose(even, masks[:1].double().mean((1, 2))):
        return "A map that is the same everywhere has as much of its heat inside as the mask has of the picture."


def stretched_first(maps, masks):
    maps = maps - maps.amin((1, 2), keepdim=True)
    return energy_inside(maps / maps.amax((1, 2), keepdim=True), masks)


ENERGY_INSIDE = Exercise(
    "energy-inside", energy_inside, maps_and_masks,
    mistakes={
        "The mean heat inside changes when the map is scaled. Divide by all heat, not by the size of the mask.":
            lambda maps, masks: (maps * masks).sum((1, 2)) / masks.sum((1, 2)),
        "Do not stretch the map between its minimum and maximum first: a uniform map has no heat left then.":
            stretched_first,
        "An empty map covers neither all nor nothing: leave it NaN, so that it can be counted.":
            lambda maps, masks: (maps * masks).sum((1, 2)) / maps.sum((1, 2)).clamp_min(1e-12),
        "Each picture has its own heat: divide by the sum over its places, not over all pictures.":
            lambda maps, masks: (maps * masks).sum((1, 2)) / maps.sum(),
    }, properties=(is_a_share,),
)  # fmt: skip


def area_under_curve(larger, smaller):
    larger, smaller = larger[~larger.isnan()], smaller[~smaller.isnan()]
    wins = (larger[:, None] > smaller).double() + (larger[:, None] == smaller).double() / 2
    return wins.mean()


def two_groups():
    nan = float("nan")
    yield torch.tensor([2.0, 3.0]).double(), torch.tensor([1.0, 1.0]).double()
    yield torch.tensor([1.0, 1.0]).double(), torch.tensor([1.0, 0.0]).double()
    yield torch.tensor([0.0, 2.0, 5.0]).double(), torch.tensor([1.0, 4.0, 4.5]).double()
    yield torch.tensor([3.0, nan, 1.5]).double(), torch.tensor([nan, 1.0, 2.0]).double()
    for seed in range(3):
        yield normal(6, seed=seed) + 1, normal(6, seed=seed + 20)


def turns_around(answer, larger, smaller):
    if abs(float(answer(larger, smaller)) + float(answer(smaller, larger)) - 1) > 1e-6:
        return "With the groups exchanged it must be 1 less what it was: a tie counts one half on both sides."


def without_ties(larger, smaller):
    larger, smaller = larger[~larger.isnan()], smaller[~smaller.isnan()]
    return (larger[:, None] > smaller).double().mean()


def empty_loses(larger, smaller):
    return ((larger[:, None] > smaller).double() + (larger[:, None] == smaller).double() / 2).mean()


IS_THE_RULER_STRAIGHT = Exercise(
    "is-the-ruler-straight", area_under_curve, two_groups,
    mistakes={
        "You compared the first with the first, the second with the second. Compare each with all.":
            lambda larger, smaller: (larger > smaller).double().mean(),
        "A tie counts one half. Otherwise a ruler that always says 3 gets 0 instead of one half.": without_ties,
        "NaN is larger than nothing and smaller than nothing, so it always loses. Leave it out first.": empty_loses,
        "NaN is no number, and not 0 either: an empty map has measured nothing. Leave it out.":
            lambda larger, smaller: area_under_curve(larger.nan_to_num(0), smaller.nan_to_num(0)),
        "A difference of means has the unit of the ruler, so rulers could not be compared. Count pairs.":
            lambda larger, smaller: larger.nanmean() - smaller.nanmean(),
    }, properties=(turns_around,),
)  # fmt: skip
EXERCISES = (HIDE_A_PART, WHO_VOTES, SIX_LINES, ENERGY_INSIDE, IS_THE_RULER_STRAIGHT)
