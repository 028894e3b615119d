"""Where does a network look? Interventions on critters, heat maps, and whether heat maps can be trusted.

The last station of the flow (train, record, **attention**); notebook 06 builds the main parts by hand. Interventions
change a picture and watch the decision, so they say what causes it. A heat map is a guess at that, and is held to them.
"""

import copy
import math
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from scipy.stats import mannwhitneyu
from torch import Tensor, nn

from . import critters
from .data import Data, Split, random_stream, whole
from .models import evaluating
from .similarity import check_name

FINEST = 4  # the default layer's maps are at most so many times smaller than the picture


# ------------------------------------------------------------------------------------ interventions, on critters

def changed(data: Data, n: int, seed=0, **how) -> Split:
    """n critters that no split of ``data`` holds, drawn as ``how`` tells ``critters.draw``, normalised as ``data.test``."""
    if data.test.forms is None:
        raise ValueError("only critters can be changed, and these pictures are none: pass gl.load_data('critters')")
    drawn = _drawn(n, seed, tuple(sorted(how.items())))
    columns = {name: torch.tensor(column, device=data.test.images.device) for name, column in vars(drawn).items()}  # copies
    return replace(data.test, **columns)


@lru_cache(16, typed=True)  # seed=1.0 is not seed=1
def _drawn(n, seed, how):  # the same critters for one seed, whatever how, but for the pixels that it is about
    return critters.draw(n, random_stream(seed, "interventions").initial_seed(), **dict(how))


@torch.no_grad()
def logits(model: nn.Module, split: Split, batch_size=500) -> Tensor:
    """(N, classes), in eval mode; the model's mode stays."""
    with evaluating(model):
        scores = torch.cat([model(images) for images, _ in split.batches(batch_size)])
    if scores.shape[1] < len(split.classes):
        raise ValueError(f"the network knows {scores.shape[1]} classes, the pictures have {len(split.classes)}: train one that knows them all")
    return scores


class Votes(NamedTuple):
    """falls (N, parts): by how much the true class's lead over the donor fell; followed (N, parts): the donor won."""

    falls: Tensor
    followed: Tensor


def part_votes(model: nn.Module, data: Data, n: int = 1000, seed=0) -> Votes:
    """Whose form does the decision follow when one part shows another class, the donor, and four show the true one?

    n new critters with five honest parts; each part in turn gets the donor's form. A network that reads one part follows
    that part; one that counts all votes follows none. ``effective_parts(falls)`` says how many it reads. Notebook 06.
    """
    honest = changed(data, n, seed, reliability=1)
    swapped = [changed(data, n, seed, reliability=1, swap=part) for part in critters.PARTS]
    return votes(logits(model, honest), [logits(model, split) for split in swapped], honest.labels, swapped[0].forms[:, 0])


def votes(before: Tensor, after: list[Tensor], labels: Tensor, donors: Tensor) -> Votes:
    """From logits (N, classes) before and, part by part, after the swap; labels and donors (N,)."""
    each = torch.arange(len(labels))
    lead, *leads = (scores[each, labels] - scores[each, donors] for scores in (before, *after))
    return Votes(lead[:, None] - torch.stack(leads, 1), torch.stack(after, 1).argmax(2) == donors[:, None])


def effective_parts(weights: Tensor) -> Tensor:
    """How many parts share the weight (N, parts) of each picture, (N,): (Σw)² / Σw² (participation ratio).

    From 1, one has all, to the number of parts, all have as much. Negative weights count as none; NaN if none has any.
    """
    weights = weights.double().clamp_min(0)
    return weights.sum(1).square() / weights.square().sum(1)


def accuracy_by_hidden_parts(model: nn.Module, data: Data, n: int = 1000, seed=0, reliability=0.6) -> list[float]:
    """The accuracy with 0, 1, … 5 parts hidden, drawn for each picture: their texture stays, their form goes. Notebook 06."""
    splits = [changed(data, n, seed, reliability=reliability, hide=hidden) for hidden in range(len(critters.PARTS) + 1)]
    return [(logits(model, split).argmax(1) == split.labels).float().mean().item() for split in splits]


def background_votes(model: nn.Module, data: Data, n: int = 1000, seed=0, reliability=0.6) -> dict[str, float]:
    """What the background does to the decision: the same n critters before their own class's hue and before another's.

    ``helped`` and ``misled``: the accuracy on each. ``followed``: the share of decisions for the class of the misleading
    hue; (1 − misled) / 9 if backgrounds play no part, 1 if they are all that counts. Notebook 06.
    """
    own = changed(data, n, seed, reliability=reliability, shortcut=1.0)
    other = changed(data, n, seed, reliability=reliability, shortcut=1.0, new_backgrounds=True)
    before, after = logits(model, own).argmax(1), logits(model, other).argmax(1)
    found = {"helped": before == own.labels, "misled": after == own.labels, "followed": after == other.backgrounds}
    return {name: share.float().mean().item() for name, share in found.items()}


# -------------------------------------------------------------------------------------------------- heat maps

@dataclass(frozen=True, eq=False, repr=False)
class Heatmaps:
    """``maps`` (N, H, W), not negative, in the method's own unit; at which layer, and how."""

    maps: Tensor
    layer: str
    method: str

    @property
    def empty(self) -> Tensor:  # (N,): nothing spoke for the target
        return self.maps.flatten(1).amax(1) <= 0

    @property
    def scaled(self) -> Tensor:  # each over its own maximum, for the eye
        return self.maps / self.maps.amax((1, 2), keepdim=True).where(~self.empty[:, None, None], torch.ones(()))

    def __repr__(self):
        return f"{len(self.maps)} heat maps, {self.method} at layer {self.layer!r}, {int(self.empty.sum())} empty"


def heatmaps(model: nn.Module, images: Tensor, targets, layer=None, method="gradcam", batch_size=100) -> Heatmaps:
    """Where normalised images (N, C, H, W) speak for the classes ``targets`` (N,), by pytorch-grad-cam.

    ``layer``: a module or its name; by default the last one whose maps are at least a quarter as wide as the pictures
    (8×8 of 32×32; the last convolution often has 2×2). ``method``: a class of the library in small letters, "gradcam"
    (Selvaraju et al. 2017), "gradcam++", "layercam", "hirescam", "eigencam", …. The library scales every map by its own
    minimum and maximum; here none is scaled, so that shares of it mean something. Gradients, modes and hooks are
    afterwards as they were. Raises ``ValueError`` for an unknown layer or method, a wrong target, or maps that are not
    finite. Notebook 06.
    """
    check_name("method", method, known := _methods())
    whole("batch_size", batch_size, 1, "100 is usual")
    _check_pictures(images)
    if any(p.dtype == torch.bfloat16 for p in model.parameters()):
        raise ValueError("pytorch-grad-cam computes in NumPy, which knows no bfloat16: pass copy.deepcopy(model).float()")
    with _as_it_was(model):
        name, classes = _look_at(model, images[:1], layer)
        targets = _checked_targets(targets, images, classes)
        batches = zip(images.split(batch_size), targets.split(batch_size))
        maps = torch.cat([_raw_maps(known[method], model, model.get_submodule(name), *batch) for batch in batches])
    return Heatmaps(maps, name, method)


def _check_pictures(images):
    if images.dim() != 4 or not len(images):
        raise ValueError(f"pictures must be (N, C, H, W), at least one, got {tuple(images.shape)}: one picture is images[:1]")


def _checked_targets(targets, images, classes):
    """As a tensor (N,) of whole numbers: the class that each picture's map is about."""
    targets = torch.as_tensor(targets)
    if targets.dim() != 1 or len(targets) != len(images):
        got = len(targets) if targets.dim() == 1 else f"the shape {tuple(targets.shape)}"
        raise ValueError(f"one target class per picture, got {got} for {len(images)}: pass labels, say")
    if targets.is_floating_point() or targets.dtype == torch.bool:
        raise ValueError(f"targets must be whole numbers, got {targets.dtype}: pass labels, say, or .long() of them")
    if len(wrong := targets[(targets < 0) | (targets >= classes)]):
        raise ValueError(f"targets must be classes in 0..{classes - 1}, got {wrong[0]}")
    return targets


def _checked_maps(cams):
    """The tensor (N, H, W) in ``Heatmaps``, or in what else is one, on the CPU and without gradients."""
    maps = torch.as_tensor(cams.maps if isinstance(cams, Heatmaps) else cams).detach().cpu()
    if maps.dim() != 3 or maps.shape[1:].numel() < 2:
        raise ValueError(f"heat maps must be (N, H, W), of more than one pixel, got {tuple(maps.shape)}")
    if not maps.isfinite().all():
        raise ValueError("heat maps must be finite, got NaN or infinity: look at what they were computed from")
    return maps


def _raw_maps(cam_of, model, layer, images, targets):
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    raw, cam = [], cam_of(model, [layer])
    image_of = cam.get_cam_image
    cam.get_cam_image = lambda *given, **more: raw.append(image_of(*given, **more)) or raw[-1]
    try:  # its own `with` hides an IndexError
        cam(images.clone().requires_grad_(), [ClassifierOutputTarget(target) for target in targets.tolist()])
    finally:
        cam.activations_and_grads.release()
    maps = torch.from_numpy(raw[0]).float()                                             # (B, h, w)
    if not maps.isfinite().all():
        raise ValueError("the heat maps became NaN or infinite: look at the network's weights and at the pictures")
    maps = maps.clamp_min(0)
    return F.interpolate(maps[:, None], images.shape[-2:], mode="bilinear", align_corners=False)[:, 0]


def _methods():
    import pytorch_grad_cam as library
    from pytorch_grad_cam.base_cam import BaseCAM

    kinds = {name.lower(): kind for name, kind in vars(library).items() if isinstance(kind, type) and issubclass(kind, BaseCAM)}
    del kinds["fullgrad"], kinds["randomcam"]  # of all layers at once; of NumPy's global random numbers
    return kinds | {"gradcam++": library.GradCAMPlusPlus}


@contextmanager
def _as_it_was(model):
    """Eval mode, gradients on, nothing computed in place (that would overwrite what hooks have seen); then as before."""
    before = [(p, "grad", p.grad) for p in model.parameters()]
    before += [(m, "inplace", m.inplace) for m in model.modules() if hasattr(m, "inplace")]
    for thing, name, _ in before:
        setattr(thing, name, None if name == "grad" else False)
    try:
        with evaluating(model), torch.enable_grad():
            yield
    finally:
        for thing, name, value in before:
            setattr(thing, name, value)


def _look_at(model, image, layer):
    """(name of the layer, number of classes)."""
    names, sizes, handles = {module: name for name, module in model.named_modules()}, {}, []

    def note(module, _, output):
        sizes.pop(module, None)  # the order is that of the last call
        sizes[module] = tuple(output.shape[2:]) if isinstance(output, Tensor) and output.dim() == 4 else ()

    try:
        handles += [module.register_forward_hook(note) for module in names]
        classes = model(image).shape[1]
    finally:
        for handle in handles:
            handle.remove()
    if layer is None:
        least = [-(-side // FINEST) for side in image.shape[2:]]
        single = {module: size for module, size in sizes.items() if size and not any(module.children())}
        if not (fine := [module for module, (h, w) in single.items() if h >= least[0] and w >= least[1]]):
            raise ValueError(f"no layer has maps of {least[0]}×{least[1]} or more: pass layer=, one with maps (N, C, h, w)")
        layer = fine[-1]
    name = names.get(layer, layer) if isinstance(layer, nn.Module) else layer
    check_name("layer", name, [known for known in names.values() if known])  # the whole model has no name
    if not sizes.get(model.get_submodule(name)):
        raise ValueError(f"layer {name!r} has no maps (N, C, h, w): choose a convolution, or what follows it")
    return name, classes


# ------------------------------------------------------------------------------------- what heat maps cover

def coverage(cams, masks: Tensor, objects: Tensor | None = None) -> pd.DataFrame:
    """What heat maps (N, H, W) cover, a row for each picture; ``masks`` (N, parts, H, W), ``objects`` (N, H, W), bool.

    Without ``objects`` these are all parts together. Scaling a map changes nothing; NaN where it is ``empty``. Raises
    ``ValueError`` for maps that are negative or not finite, and for masks of other pictures, or that are not bool.

    | column | meaning | range | of a uniform map |
    |---|---|---|---|
    | energy | share of the heat inside the object (energy-based pointing game, Wang et al. 2020) | 0–1 | the object's area |
    | pointing | whether the hottest pixel is inside (pointing game, Zhang et al. 2016); ties share | 0–1 | the object's area |
    | parts | share of parts in which the map reaches half its maximum | 0–1 | 1 |
    | effective_parts | how many parts share the heat that parts have, see ``effective_parts`` | 1–parts | parts |
    | area | share of the picture at half the maximum or more | 0–1 | 1 |
    | entropy | of the heat as a distribution over pixels, over that of a uniform one | 0–1 | 1 |

    Chance: the same maps on the masks of *other* pictures, ``coverage(cams, masks.roll(1, 0), …)``. Notebook 06.
    """
    maps = _checked_maps(cams).double()
    if masks is None:
        raise ValueError("masks are None, and without them nothing says where the animal is: take critters, which have them")
    masks = torch.as_tensor(masks).cpu()
    if masks.dim() != 4:
        raise ValueError(f"masks must be (N, parts, H, W), got {tuple(masks.shape)}: one part for all is masks[:, None]")
    objects = masks.any(1) if objects is None else torch.as_tensor(objects).cpu()
    if masks.dtype != torch.bool or objects.dtype != torch.bool:
        raise ValueError(f"masks and objects must be bool, got {masks.dtype} and {objects.dtype}: pass masks > 0, say")
    if not maps.shape == objects.shape == masks[:, 0].shape or (maps < 0).any():
        raise ValueError(f"maps {tuple(maps.shape)}, masks {tuple(masks.shape)} and objects {tuple(objects.shape)} must be "
                         "of the same pictures, and maps not negative")
    heat, inside = maps.flatten(1), objects.flatten(1)                                  # (N, HW)
    share, top = heat / heat.sum(1, keepdim=True), heat.amax(1, keepdim=True)
    hottest = heat == top
    by_part = maps[:, None] * masks                                                     # (N, parts, H, W)
    table = {
        "energy": (share * inside).sum(1), "pointing": (hottest & inside).sum(1) / hottest.sum(1),
        "parts": (by_part.flatten(2).amax(2) >= top / 2).double().mean(1),
        "effective_parts": effective_parts(by_part.sum((2, 3)) / masks.sum((2, 3)).clamp_min(1)),
        "area": (heat >= top / 2).double().mean(1), "entropy": torch.special.entr(share).sum(1) / math.log(heat.shape[1]),
    }  # fmt: skip
    empty = top[:, 0] <= 0
    return pd.DataFrame({name: column.masked_fill(empty, math.nan).numpy() for name, column in table.items()} | {"empty": empty.numpy()})


def baselines(images: Tensor) -> dict[str, Tensor]:
    """Maps (N, H, W) that know no network: a Gaussian in the middle of the picture, and how much its brightness changes."""
    y, x = (torch.linspace(-1, 1, size) for size in images.shape[-2:])
    edges = torch.hypot(*torch.gradient(images.float().mean(1), dim=(1, 2)))
    return {"centre prior": torch.exp(-2 * (y[:, None] ** 2 + x**2)).expand_as(edges), "edge map": edges}


def auc(larger, smaller) -> float:
    """The probability that a value of the first kind exceeds one of the second, ties one half, NaN left out. 0.5 is chance."""
    larger, smaller = (values[~np.isnan(values)] for values in (np.asarray(larger, float), np.asarray(smaller, float)))
    return float(mannwhitneyu(larger, smaller).statistic / (len(larger) * len(smaller)))


# -------------------------------------------------------------------------------- do they follow the network?

def road(model: nn.Module, images: Tensor, targets, cams, percentiles=(20, 50, 80), seed=0) -> np.ndarray:
    """Faithfulness by the library's ROAD (Rong et al. 2022), (N,): without what is hot the network should not know the target.

    Half the target's probability without the coldest pixels less that without the hottest: −½ to ½, 0 for a map of
    noise, NaN for an empty one. Ties are broken by chance, or maps with many zeros would have the whole picture removed.
    ``percentiles``: the shares of the picture that are removed, in %. Raises ``ValueError`` for wrong targets, and for maps that are
    not finite or of another size than the pictures.
    """
    from pytorch_grad_cam.metrics.road import ROADCombined
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget

    _check_pictures(images)
    maps = _checked_maps(cams).float()
    if maps.shape != images[:, 0].shape:
        raise ValueError(f"maps {tuple(maps.shape)} must be as many and as large as the pictures {tuple(images.shape)}")
    if not len(percentiles) or not all(0 < percentile < 100 for percentile in percentiles):
        raise ValueError(f"percentiles must be between 0 and 100, at least one, got {percentiles}: (20, 50, 80) are usual")
    with evaluating(model), torch.no_grad():
        targets = _checked_targets(targets, images, model(images[:1]).shape[1])
    top = maps.amax((1, 2), keepdim=True)
    maps = maps / top.where(top > 0, torch.ones(()))
    maps = (maps + 1e-4 * torch.rand(maps.shape, generator=random_stream(seed, "road"))) / (1 + 1e-4)
    wanted = [ClassifierOutputSoftmaxTarget(target) for target in targets.tolist()]
    with evaluating(model), torch.random.fork_rng():
        torch.manual_seed(random_stream(seed, "road", "imputation").initial_seed())
        scores = ROADCombined(percentiles)(images.contiguous(), maps.numpy(), wanted, model)
    return np.where(top.flatten().numpy() <= 0, np.nan, scores)


def randomised(model: nn.Module, seed=0) -> nn.Module:
    """A copy with new random weights: a map that stays as it was shows the picture only (Adebayo et al. 2018).

    Raises ``ValueError`` for parameters of a module without a method to draw them anew: the test would pass falsely.
    """
    def redraw(module):  # of nn.MultiheadAttention it has an underscore
        return getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)

    kept = [f"{where}.{name}".lstrip(".") for where, module in model.named_modules() if not redraw(module)
            for name, _ in module.named_parameters(recurse=False)]
    if kept:
        raise ValueError(f"nothing tells how to draw {', '.join(kept)} anew: give the module that holds it a method reset_parameters()")
    with torch.random.fork_rng():
        torch.manual_seed(random_stream(seed, "randomised").initial_seed())
        return copy.deepcopy(model).apply(lambda module: (redraw(module) or int)())


@torch.no_grad()
def activations(model: nn.Module, images: Tensor, layer: str) -> Tensor:
    """What each neuron of a layer puts out, less its mean, (n, N·h·w): ``cosine_map`` of it holds their correlations."""
    seen = []
    handle = model.get_submodule(layer).register_forward_hook(lambda _, __, output: seen.append(output.clone()))
    with evaluating(model):
        try:
            model(images)
        finally:
            handle.remove()
    rows = seen[-1].movedim(1, 0).flatten(1).double()
    return rows - rows.mean(1, keepdim=True)
