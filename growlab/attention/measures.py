"""What heat maps cover, and whether they can be trusted: do they follow the network, or only the picture?"""

import copy
import math

import numpy as np
import pandas as pd
import torch
from scipy.stats import mannwhitneyu
from torch import Tensor, nn

from growlab.attention.inputs import check_pictures, checked_maps, checked_masks, checked_targets
from growlab.attention.interventions import effective_parts
from growlab.checks import number
from growlab.seeds import random_stream, seeded
from growlab.watching import evaluating, hooked, logits_of


# ------------------------------------------------------------------------------------- what heat maps cover
def coverage(cams, masks: Tensor, objects: Tensor | None = None) -> pd.DataFrame:
    """What heat maps (N, H, W) cover, a row for each picture; ``masks`` (N, parts, H, W), ``objects`` (N, H, W), bool.

    Without ``objects`` these are all parts together. Scaling a map changes nothing; NaN where it is ``empty``. Raises
    ``ValueError`` for maps that are negative or not finite, and for masks of other pictures, or that are not bool.

    | column | meaning | range | of a uniform map |
    |---|---|---|---|
    | energy | share of the heat in the object (energy-based pointing game, Wang et al. 2020) | 0–1 | its share |
    | pointing | 1 if the hottest pixel is in it (pointing game, Zhang et al. 2016); ties share | 0–1 | its share |
    | parts | share of parts in which the map reaches half its maximum | 0–1 | 1 |
    | effective_parts | how many parts share the heat that parts have, see ``effective_parts`` | 1–parts | parts |
    | area | share of the picture at half the maximum or more | 0–1 | 1 |
    | entropy | of the heat as a distribution over pixels, over that of a uniform one | 0–1 | 1 |

    Chance: the same maps on the masks of *other* pictures, ``coverage(cams, masks.roll(1, 0), …)``. Notebook 06.
    """
    maps = checked_maps(cams).double()
    masks, objects = checked_masks(masks, objects, maps)
    if (maps < 0).any():
        raise ValueError(f"maps must not be negative, got {maps.min():.3g}: cut them off, maps.clamp_min(0)")
    heat, inside = maps.flatten(1), objects.flatten(1)  # (N, HW)
    share, top = heat / heat.sum(1, keepdim=True), heat.amax(1, keepdim=True)
    hottest = heat == top
    by_part = maps[:, None] * masks  # (N, parts, H, W)
    table = {
        "energy": (share * inside).sum(1),
        "pointing": (hottest & inside).sum(1) / hottest.sum(1),
        "parts": (by_part.flatten(2).amax(2) >= top / 2).double().mean(1),
        "effective_parts": effective_parts(by_part.sum((2, 3)) / masks.sum((2, 3)).clamp_min(1)),
        "area": (heat >= top / 2).double().mean(1),
        "entropy": torch.special.entr(share).sum(1) / math.log(heat.shape[1]),
    }
    empty = top[:, 0] <= 0
    return pd.DataFrame(
        {name: column.masked_fill(empty, math.nan).numpy() for name, column in table.items()} | {"empty": empty.numpy()}
    )


def baselines(images: Tensor) -> dict[str, Tensor]:
    """Maps (N, H, W) that know no network: a Gaussian in the middle of the picture, and how its brightness changes."""
    y, x = (torch.linspace(-1, 1, size) for size in images.shape[-2:])
    edges = torch.hypot(*torch.gradient(images.float().mean(1), dim=(1, 2)))
    return {"centre prior": torch.exp(-2 * (y[:, None] ** 2 + x**2)).expand_as(edges), "edge map": edges}


def auc(larger, smaller) -> float:
    """The probability that a value of the first kind exceeds one of the second; ties one half, NaN left out.

    0.5 is chance.
    """
    larger, smaller = (values[~np.isnan(values)] for values in (np.asarray(larger, float), np.asarray(smaller, float)))
    return float(mannwhitneyu(larger, smaller).statistic / (len(larger) * len(smaller)))


# -------------------------------------------------------------------------------- do they follow the network?
def road(model: nn.Module, images: Tensor, targets, cams, percentiles=(20, 50, 80), seed=0) -> np.ndarray:
    """Faithfulness by the library's ROAD (Rong et al. 2022), (N,): without what is hot the target should be unknown.

    Half the target's probability without the coldest pixels less that without the hottest: −½ to ½, 0 for a map of
    noise, NaN for an empty one. Ties are broken by chance: maps with many zeros would have the whole picture removed.
    ``percentiles``: the shares of the picture that are removed, in %. Raises ``ValueError`` for wrong targets, and for
    maps that are not finite or of another size than the pictures.
    """
    from pytorch_grad_cam.metrics.road import ROADCombined
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget

    check_pictures(images)
    maps = checked_maps(cams).float()
    if maps.shape != images[:, 0].shape:
        raise ValueError(f"maps {tuple(maps.shape)} must be as many and as large as the pictures {tuple(images.shape)}")
    usual = "(20, 50, 80) are usual"
    if not len(percentiles):
        raise ValueError(f"percentiles must be at least one, got {percentiles}: {usual}")
    percentiles = [number("percentiles", percentile, "(0, 100)", usual) for percentile in percentiles]
    with evaluating(model), torch.no_grad():
        targets = checked_targets(targets, images, logits_of(model, images[:1].clone()).shape[1])
    top = maps.amax((1, 2), keepdim=True)
    maps = maps / top.where(top > 0, torch.ones(()))
    maps = (maps + 1e-4 * torch.rand(maps.shape, generator=random_stream(seed, "road"))) / (1 + 1e-4)
    wanted = [ClassifierOutputSoftmaxTarget(target) for target in targets.tolist()]
    with evaluating(model), seeded(seed, "road", "imputation"):
        apart = lambda given: model(given.clone())  # a model may write into what it is given
        scores = ROADCombined(percentiles)(images.contiguous(), maps.numpy(), wanted, apart)
    return np.where(top.flatten().numpy() <= 0, np.nan, scores)


def randomised(model: nn.Module, seed=0) -> nn.Module:
    """A copy with new random weights: a map that stays as it was shows the picture only (Adebayo et al. 2018).

    Raises ``ValueError`` for parameters of a module without a method to draw them anew: the test would pass falsely.
    """

    def redraw(module):  # of nn.MultiheadAttention it has an underscore
        return getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)

    kept = [
        f"{where}.{name}".lstrip(".")
        for where, module in model.named_modules()
        if not redraw(module)
        for name, _ in module.named_parameters(recurse=False)
    ]
    if kept:
        hint = "give its module a method reset_parameters()"
        raise ValueError(f"nothing tells how to draw {', '.join(kept)} anew: {hint}")
    with seeded(seed, "randomised"):
        return copy.deepcopy(model).apply(lambda module: (redraw(module) or int)())


@torch.no_grad()
def activations(model: nn.Module, images: Tensor, layer: str) -> Tensor:
    """What each neuron of a layer puts out, less its mean, (n, N·h·w): their correlations are ``cosine_map`` of it."""
    seen = []
    with evaluating(model), hooked({model.get_submodule(layer): lambda _, __, output: seen.append(output.clone())}):
        model(images.clone())
    rows = seen[-1].movedim(1, 0).flatten(1).double()
    return rows - rows.mean(1, keepdim=True)
