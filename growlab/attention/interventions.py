"""Interventions on critters: a part is swapped or hidden, or the background changes, and the decision is watched.

They say what causes a decision. A heat map is a guess at that (heat_maps.py), and is held to them. Notebook 06.
"""

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

from growlab.data import critters
from growlab.data.batches import Data, Split
from growlab.seeds import random_stream
from growlab.watching import evaluating, logits_of


# ------------------------------------------------------------------------------------ interventions, on critters
def changed(data: Data, n: int, seed=0, **how) -> Split:
    """n critters that no split of ``data`` holds, drawn by ``critters.draw(**how)``, normalised as ``data.test``.

    Raises ``ValueError`` if ``data`` are no critters, and for what ``draw`` refuses.
    """
    if data.test.forms is None:
        raise ValueError("only critters can be changed, and these pictures are none: pass gl.load_data('critters')")
    drawn = _drawn(n, seed, tuple(sorted(how.items())))
    device = data.test.images.device
    return replace(data.test, **{name: torch.tensor(column, device=device) for name, column in vars(drawn).items()})


@lru_cache(16, typed=True)  # seed=True is an error, whether seed=1 was there or not
def _drawn(n, seed, how):  # the same critters for one seed, whatever how, but for the pixels that it is about
    return critters.draw(n, random_stream(seed, "interventions").initial_seed(), **dict(how))


@torch.no_grad()
def logits(model: nn.Module, split: Split, batch_size=500) -> Tensor:
    """(N, classes), in eval mode; the model's mode stays. ``ValueError`` if it returns no such thing, or too few."""
    with evaluating(model):
        batches = split.batches(batch_size)
        return torch.cat([logits_of(model, images, len(split.classes)) for images, _ in batches])


class Votes(NamedTuple):
    """falls (N, parts): by how much the true class's lead over the donor fell; followed (N, parts): the donor won."""

    falls: Tensor
    followed: Tensor


def part_votes(model: nn.Module, data: Data, n: int = 1000, seed=0) -> Votes:
    """Whose form does the decision follow when one part shows another class, the donor, and four show the true one?

    n new critters with five honest parts; each part in turn gets the donor's form. A network that reads one part
    follows that part; one that counts all votes follows none. ``effective_parts(falls)`` says how many it reads.
    Notebook 06.
    """
    honest = changed(data, n, seed, reliability=1)
    swapped = [changed(data, n, seed, reliability=1, swap=part) for part in critters.PARTS]
    return votes(
        logits(model, honest), [logits(model, split) for split in swapped], honest.labels, swapped[0].forms[:, 0]
    )


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
    """The accuracy with 0, 1, … 5 parts hidden, drawn for each of n pictures: their texture stays, their form goes.

    ``reliability``: with it a part that is not hidden shows its own class. Notebook 06.
    """
    splits = [changed(data, n, seed, reliability=reliability, hide=hidden) for hidden in range(len(critters.PARTS) + 1)]
    return [(logits(model, split).argmax(1) == split.labels).float().mean().item() for split in splits]


def background_votes(model: nn.Module, data: Data, n: int = 1000, seed=0, reliability=0.6) -> dict[str, float]:
    """What the background does to the decision: the same n critters before their own class's hue and before another's.

    ``helped`` and ``misled``: the accuracy on each. ``followed``: the share of decisions for the class of the
    misleading hue; (1 − misled) / 9 if backgrounds play no part, 1 if they are all that counts. Notebook 06.
    """
    own = changed(data, n, seed, reliability=reliability, shortcut=1.0)
    other = changed(data, n, seed, reliability=reliability, shortcut=1.0, new_backgrounds=True)
    before, after = logits(model, own).argmax(1), logits(model, other).argmax(1)
    found = {"helped": before == own.labels, "misled": after == own.labels, "followed": after == other.backgrounds}
    return {name: share.float().mean().item() for name, share in found.items()}
