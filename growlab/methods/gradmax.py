"""GradMax (Evci et al. 2022, arXiv 2201.05125): fresh neurons that change nothing yet, and learn as fast as they can.

A fresh neuron with outgoing weights o = 0 keeps the function. Its first step of learning moves o alone, so its incoming
weights w are chosen, at a fixed length, to make the gradient G(w) = ∂L/∂o at o = 0 as long as possible. One of the
proposals (flow: units, **propose**, plan, apply, train).
"""

import copy

import torch
import torch.nn.functional as F
from torch.func import functional_call

from growlab.checks import whole
from growlab.plans import Candidate, GrowthPlan
from growlab.seeds import random_stream
from growlab.structure.graph import named_tensors
from growlab.structure.units import growable
from growlab.surgery import births_of, edits_by_tensor, grown, slot, widen


def gradmax(model: torch.nn.Module, batches, *, seed: int = 0, steps: int = 5) -> GrowthPlan:
    """Fresh neurons with outgoing weights of zero, whose gradient is as long as incoming weights can make it.

    A unit gets as many candidates as it has neurons, or as its filters have weights if that is less. The score is
    ‖G(w)‖ for the loss of the first batch of (images, labels), as in training but without dropout: batch norm uses the
    statistics of the batch. It ranks neurons and predicts no loss. Fresh neurons have no bias and the default batch
    norm; depthwise filters behind them pass the middle on. Every w is as long as the layer's filters are on average
    ("mean_norm" in the published code), and those of a layer are orthogonal.

    From a random start (by ``seed``), each of ``steps`` turns w towards the gradient of ½‖G(w)‖² and makes the w of a
    layer orthogonal. Without activation and batch norm G(w) = M w: M sums g xᵀ over pictures and positions, where x is
    what the layer reads and g the gradient at its consumer's output. Then this is the power iteration for MᵀM, damped:
    the w become the first right singular vectors of M, the scores its singular values times the length. Otherwise it
    climbs in the real network, towards a maximum nearby. Neurons without gradient are left out: dead ones, and those
    that end beyond the rank of M. On other pictures a third to a half of the gain over random ones is left.

    The paper's main variant is the mirror image: *incoming* weights of zero, and the left singular vectors of M as
    outgoing ones. One SVD is enough if activations have slope 1 at 0. ReLU has none there, which this side does not
    need. The published code has this side too, by 100 steps of Adam. Both take one batch of 128.

    The model is left as it is. Raises ``ValueError`` for options out of range, no batches, a loss that is not finite.
    """
    steps = whole("steps", steps, 1, "5 find most of the gain")
    batch = next(iter(batches or ()), None)
    if batch is None:
        raise ValueError("gradmax needs batches: gl.propose('gradmax', model, data.batches('train', 128))")
    units, tensors = growable(model), {name: tensor.detach() for name, tensor in named_tensors(model).items()}
    rng = random_stream(seed, "gradmax")
    rows = {u: _orthogonal(u, torch.randn(u.neurons, sum(_sizes(u, tensors).values()), generator=rng)) for u in units}
    enlarged = copy.deepcopy(model).eval().requires_grad_(False)
    widen(enlarged, {unit: [Candidate(unit.name)] * len(own) for unit, own in rows.items()})
    for layer in enlarged.modules():
        layer.training = isinstance(layer, torch.nn.modules.batchnorm._BatchNorm)  # which makes ‖w‖ irrelevant
    for _ in range(steps):
        reached = _gradients(enlarged, tensors, batch, rows)  # only o has one, and any tiny length will do
        climb = _gradients(enlarged, tensors, batch, {u: rows[u] + 1e-8 * F.normalize(reached[u]) for u in units})
        rows = {unit: _orthogonal(unit, own, climb[unit]) for unit, own in rows.items()}
    reached = _gradients(enlarged, tensors, batch, rows)
    found = [_candidate(u, tensors, w.detach(), g.norm().item()) for u in units for w, g in zip(rows[u], reached[u])]
    best = sorted(found, key=lambda candidate: -candidate.score)
    learning = tuple(candidate for candidate in best if candidate.score > 1e-6 * best[0].score)
    return GrowthPlan("gradmax", {unit.name: unit.neurons for unit in units}, learning, nats=False)


def _gradients(enlarged, tensors, batch, rows):
    """The gradient of the loss by unit for its fresh neurons; a row of (n, D + K) is w, then o.

    At o = εG its part for w is ε times the gradient of ½‖G(w)‖²: L(εG, w) = L + ε⟨G, G(w)⟩ + O(ε²). So two plain passes
    do without second derivatives.
    """
    births = {u: births_of(u, [_candidate(u, tensors, row) for row in own], tensors) for u, own in rows.items()}
    weights = {name: grown(tensors[name], todo, births) for name, todo in edits_by_tensor(rows).items()}
    loss = F.cross_entropy(functional_call(enlarged, weights, (batch[0],)), batch[1])
    if not loss.isfinite():
        raise ValueError(f"the loss is {loss.item()}, it has no gradient: train at a lower lr")
    return dict(zip(rows, torch.autograd.grad(loss, [*rows.values()], materialize_grads=True)))


def _sizes(unit, tensors):
    """How many numbers of a fresh neuron are free, by edit: its filter's, then its outgoing weights'."""
    free = [unit.filters, *(edit for edit in unit.edits if edit.kind == "share")]
    return {edit: slot(tensors[edit.tensor], edit, 0).numel() for edit in free}


def _candidate(unit, tensors, row, score=0.0):
    sizes = _sizes(unit, tensors)
    values = dict(zip(sizes, row.split([*sizes.values()])))
    for edit in unit.edits:
        if edit not in values and tensors[edit.tensor].dim() > 2:  # a depthwise filter
            values[edit] = torch.nn.init.dirac_(torch.zeros_like(slot(tensors[edit.tensor], edit, 0)))
    return Candidate(unit.name, None, score, values)


def _orthogonal(unit, rows, climb=None):
    """The parts for w, turned towards ``climb``, orthogonal, as long as the unit's filters; o = 0. Signs are kept."""
    w = rows.detach()[:, : unit.weight.shape[1]]
    if climb is not None:  # longer steps jump over the maximum where batch norm makes the length of w meaningless
        w = F.normalize(w) + 0.3 * F.normalize(climb[:, : w.shape[1]], eps=1e-30)
    q, r = torch.linalg.qr(w.T.to("cpu", unit.weight.dtype))
    w = (q * torch.where(r.diagonal() < 0, -1, 1)).T.to(unit.weight) * unit.weight.norm(dim=1).mean()
    return F.pad(w, (0, rows.shape[1] - w.shape[1])).requires_grad_()
