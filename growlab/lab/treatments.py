"""Arms of a comparison: how a network grows, what is done to it afterwards, and what that is to be held against.

An arm is a base and one change; "+" sets a treatment apart from the arm that it is compared with.
"""

from collections import defaultdict
from dataclasses import replace
from itertools import product

import torch

from growlab.lab.run import multiply_adds_by_epoch, widths_by_epoch
from growlab.methods.random_growth import net2net
from growlab.methods.splitting import splitting
from growlab.momentum import powers_of
from growlab.plans import GrowthPlan, twins_of
from growlab.structure.graph import named_tensors
from growlab.structure.units import units
from growlab.surgery import slot

METHODS_OF_THE_PAPER = ("random", "splitting", "firefly")
K = {"random": 20, "splitting": 10, "firefly": 15, "net2net": 20}  # the paper's; its "random" includes Net2Net


def grown(base, method):
    return replace(base, method=method, arm=method)


def treated(run, treatment="penalty", **changes):
    """The same arm with the K steps, or with what they are to be held against."""
    return replace(run, arm=f"{run.arm}+{treatment}", **{"k": K.get(run.method, K["random"])} | changes)


def pairs(base, methods=METHODS_OF_THE_PAPER):
    for method in methods:
        yield grown(base, method)
        yield treated(grown(base, method))


def placebos(run):
    yield treated(run, "placebo", penalty="random")  # steps of the same length, straight on in a random direction
    # of the same length, by cross-entropy
    yield treated(run, "labels", penalty_strength=0, change_strength=0, target="labels")
    yield treated(run, "refresh", k=1, penalty_strength=0, change_strength=0, refresh=True)  # new statistics alone


def without_growth(base):
    """Never grown, and born with the final widths: for equal epochs, and for equal compute."""
    compute = multiply_adds_by_epoch(grown(base, "random"))
    never = replace(base, method=None, arm="never")
    scratch = replace(never, width=widths_by_epoch(grown(base, "random"))[-1], arm="scratch")
    yield from (never, treated(never), scratch, treated(scratch))
    yield replace(scratch, epochs=round(sum(compute) / compute[-1]), arm="scratch at equal compute")


# What can be done to a network that has grown: ``Growth(then=…)``, ``Run(then="growlab.lab.treatments:…")``
def reset_optimizer(model, optimizer, history) -> None:
    """Its state begins anew, as after every growth in the published program (a new optimiser)."""
    optimizer.state.clear()


def reset_new_neurons(model, optimizer, history) -> None:
    """The state of the new neurons begins anew, their parents keep theirs: so exact copies part.

    The asymmetric reset of SPARKLING (arXiv 2602.02472), without its second warm-up of the learning rate.
    """
    tensors, new = named_tensors(model), history.growths[-1]["new"]
    found = {unit.name: unit for unit in units(model, coupled=True)}
    for name, neuron in zip(new["unit"], new["neuron"]):
        for edit in found[name].edits:
            for value in optimizer.state.get(tensors[edit.tensor], {}).values():
                if isinstance(value, torch.Tensor) and value.dim():
                    slot(value, edit, neuron).zero_()


def lineages(history) -> dict[str, list[list[int]]]:
    """{unit: families} over all growths so far: each a list of neurons that come from one. Single ones are left out."""
    ancestor, families = {}, defaultdict(dict)
    for event in history.growths:
        for unit, pairs in twins_of(event["new"]).items():
            for parent, child in pairs:
                first = ancestor[unit, child] = ancestor.get((unit, parent), parent)
                families[unit].setdefault(first, [first]).append(child)
    return {unit: list(found.values()) for unit, found in families.items()}


@torch.no_grad()
def equal_shares(model, optimizer, history) -> None:
    """Every lineage divides its outgoing weights equally among its members: so exact copies stay together, to rounding.

    A twin that is copied again keeps a quarter and leaves a quarter, and its sibling has one half. Error flows back
    through these shares, so such twins are pushed with different force. Their sum is kept, and with it the function, as
    long as the members of a lineage are equal. The state of the optimiser becomes what equal shares would have given.
    Notebook 01.
    """
    tensors, families, found = named_tensors(model), lineages(history), units(model, coupled=True)
    powers = powers_of(optimizer, [tensors[edit.tensor] for unit in found for edit in unit.edits])
    for unit in found:
        for family, edit in product(families.get(unit.name, ()), unit.edits):
            if edit.kind == "share":
                _level(tensors[edit.tensor], edit, family)
            for key, value in optimizer.state.get(tensors[edit.tensor], {}).items():
                if key in powers:
                    _level(value, edit, family, powers[key] or 1)


def _level(tensor, edit, family, power=1):
    """Give all members their mean; of second moments, which follow the square of a share, the square of mean roots."""
    members = [slot(tensor, edit, neuron) for neuron in family]
    mean = torch.stack(members).pow(1 / power).mean(0).pow(power)
    for member in members:
        member.copy_(mean)


# A method of growth: "growlab.lab.treatments:kicked_copies"
def kicked_copies(model, batches, *, seed=0, step: float = 0.06) -> GrowthPlan:
    """The copies of ``net2net``, moved apart by ± ``step`` along the directions of ``splitting``."""
    copies, splits = net2net(model, seed=seed), splitting(model, batches, seed=seed, step=step, require_negative=False)
    directions = {(split.unit, split.parent): split.values for split in splits.candidates}
    moved = (replace(copy, values=directions.get((copy.unit, copy.parent), {})) for copy in copies.candidates)
    return replace(copies, candidates=tuple(moved))
