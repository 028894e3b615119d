"""``looks``: what a heat map says about one picture, and how much of the animal it covers. Notebook 06."""

from functools import lru_cache, partial

import torch
from torch import nn

from growlab.attention.heat_maps import heatmaps
from growlab.attention.measures import coverage
from growlab.course.explore.shell import Explorer, choice, frame, given_or, panels, slider
from growlab.course.figures.style import BLACK, BLUE, RED, outline, show_picture
from growlab.data.critters import PARTS
from growlab.data.sources import load_data
from growlab.models import vgg5
from growlab.training import train
from growlab.watching import evaluating, hooked

METHODS = ("gradcam", "gradcam++", "layercam", "hirescam", "eigengradcam")


def looks(models=None, data=None, **start) -> Explorer:
    """A picture of the test set, the layer, the method and the network: heat, outlines of masks, coverage in numbers.

    For {name: network} that know critters, and their ``data``; without them two small ones are trained in seconds.
    """
    models, data = given_or(two_networks, models=models, data=data)
    if not isinstance(models, dict) or not models:
        hint = "pass {'mine': model}"
        raise ValueError(f"models must be networks by name, at least one, got {type(models).__name__}: {hint}")
    if data.test.masks is None:
        raise ValueError(
            "looks compares the heat with masks of the animal, and these pictures have none: "
            "pass gl.load_data('critters')"
        )
    first, *others = (layers_of(model, data) for model in models.values())
    layers = {label: name for label, name in first.items() if all(label in other for other in others)}
    if not layers:
        raise ValueError(
            f"there is no nn.ReLU with maps, of the same name and size in all of {', '.join(models)}: "
            "looks shows what such a layer sees"
        )
    knobs = {
        "picture": slider("picture", range(min(30, len(data.test))), 0),
        "layer": choice("layer", layers),
        "method": choice("method", {name: name for name in METHODS}),
        "model": choice("network", {name: name for name in models}),
    }
    fine = [name for label, name in layers.items() if int(label.split("×")[1]) >= data.test.images.shape[-1] // 4]
    return Explorer(partial(show, models, data), knobs, **{"layer": (fine or [*layers.values()])[-1], **start})


@lru_cache(1)
def two_networks():
    """A narrow and a wide network that have learned critters for a few epochs: ({name: network}, data)."""
    data, found = load_data("critters", n=1500, reliability=0.8), {}
    recipe = {"lr": 0.02, "batch_size": 32, "schedule": "constant_then_cosine", "augment": False}
    with torch.random.fork_rng():
        for name, width in (("width 13", 13), ("width 4", 4)):
            torch.manual_seed(0)
            found[name] = vgg5(width)
            train(found[name], data, 6, progress=False, **recipe)
    return found, data


def layers_of(model, data):
    """{"10: 8×8": "10", …}: the non-linearities that put out maps, with their size."""
    sizes = {}

    def note(module, inputs, output, name):
        sizes[name] = tuple(output.shape[2:])

    found = {module: partial(note, name=name) for name, module in model.named_modules() if isinstance(module, nn.ReLU)}
    with hooked(found), evaluating(model), torch.no_grad():
        model(next(iter(data.test.batches(1)))[0])
    return {f"{name}: {size[0]}×{size[1]}": name for name, size in sizes.items() if len(size) == 2}


def show(models, data, picture, layer, method, model):
    """The pure function behind ``looks``."""
    network, split = models[model], data.test
    image = split.normalise(split.images[picture : picture + 1])
    label, masks, inside = split.labels[picture].item(), split.masks[picture], split.objects[picture]
    cams = heatmaps(network, image, [label], layer=layer, method=method)
    with evaluating(network), torch.no_grad():
        chances = network(image).softmax(1)[0]
    numbers = coverage(cams, masks[None], inside[None]).iloc[0].to_dict()
    heat = cams.maps[0] / cams.maps[0].mean().clamp_min(1e-12)
    by_part = [heat[mask].mean().item() for mask in masks]
    numbers |= {"effective_parts": 0.0} if not any(by_part) else {}
    numbers |= {"by_part": by_part, "parts_heat": sum(by_part)}
    numbers |= {"object": inside.float().mean().item(), "chance": chances[label].item()}
    true = [form == label for form in split.forms[picture].tolist()]
    figure = draw(split.images[picture], heat, masks, inside, by_part, true)
    where, says = f"Picture {picture}, {method} at layer {layer} of {model}", split.classes[chances.argmax()]
    figure.alt = told(numbers, where, split.classes[label], says, sum(true))
    return figure, numbers


def draw(image, heat, masks, inside, by_part, true):
    """The picture with its parts, the heat with the animal's outline, and how hot each part is."""
    figure, (left, middle, right) = panels((3, 3, 3.6), (10, 3.3), left=0.02, gap=0.12, right=0.98)
    show_picture(left, image)
    for mask, honest in zip(masks, true):
        outline(left, mask, BLUE if honest else RED, "-" if honest else "--", width=2, fine=3)
    left.set_title("form: — true, -- another", fontsize=11, weight="bold", y=1.0)
    middle.imshow(heat.numpy(), cmap="magma", vmin=0, vmax=3)
    outline(middle, inside, BLUE, width=2, fine=3)
    middle.set_axis_off()
    middle.set_title("heat, and the animal's outline", fontsize=11, weight="bold", y=1.0)
    place, up = range(1, len(by_part) + 1), (0, max(5, 1.1 * max(by_part)))
    colors, hatches = zip(*((BLUE, "") if honest else (RED, "//") for honest in true))
    right.bar(place, by_part, 0.65, color=colors, hatch=hatches, edgecolor="white")
    right.axhline(1, color=BLACK, ls="--", lw=1.5)
    frame(right, "heat of each part, 1 = the map's mean", "", (0.4, len(by_part) + 0.6), up, place, names=PARTS)
    right.yaxis.tick_right()
    return figure


def told(n, where, truth, says, honest):
    """What the setting shows, in words."""
    if n["empty"]:
        return f"{where}: the map is empty, nothing speaks for {truth}. The network says {says}."
    shared = f"the parts share theirs as {n['effective_parts']:.1f} equal ones would"
    if n["parts_heat"] == 0:
        shared = "no part has any of it"
    return (
        f"{where}, for the class {truth} (the network gives it {n['chance']:.0%}, and says {says}; "
        f"{honest} of 5 parts show it). The animal fills {n['object']:.0%} of the picture and holds "
        f"{n['energy']:.0%} of the heat; {5 * n['parts']:.0f} of 5 parts reach half the maximum, and {shared}."
    )
