"""Slow, obvious versions and the fair test of "function kept", shared by the tests."""

import copy

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

import growlab as gl
from growlab.plans import Candidate, GrowthPlan


def unsettle(model, images, seed=0):
    """Make a fresh network a fair subject, in float64: statistics of real pictures, random affine parameters.

    The output of a freshly initialised network hardly depends on its input, so that surgery without the division
    passes a test of "function kept". Dropout and stochastic depth go to 0, since twins draw masks of their own.
    """
    generator = torch.Generator().manual_seed(seed)
    model.double()
    norms = [m for m in model.modules() if getattr(m, "running_mean", None) is not None]
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() < 2 or parameter.std() < 1e-4:  # affine parameters, biases, layer scales, zero heads
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
        for module in model.modules():
            if isinstance(getattr(module, "p", None), float):
                module.p = 0.0
        for norm in norms:
            norm.momentum = 1.0
        model.train()(images.double())
        for norm in norms:  # near what the pictures give, so that the output stays finite, but not equal to it
            norm.momentum = 0.1
            norm.running_mean += (
                0.1 * norm.running_var.sqrt() * torch.randn(norm.running_mean.shape, generator=generator)
            )
            norm.running_var *= 0.8 + 0.4 * torch.rand(norm.running_var.shape, generator=generator)
    return model


def outputs(model, images, train):
    """All logits of a copy of the model as one tensor, in train or eval mode."""
    with torch.no_grad():
        result = copy.deepcopy(model).train(train)(images)
    return torch.cat(tuple(result), 1) if isinstance(result, tuple) else result


def change(before, after):
    """Largest change of an output, relative to the spread between pictures (the median over the logits)."""
    return ((after - before).abs().max() / before.std(0).median()).item()


def brute_mean_cosine(weight):
    """Eq. 2 pair by pair; a filter of zeros has cosine 0 with everyone."""
    rows, total = weight.flatten(1), 0.0
    for i, a in enumerate(rows):
        for j, b in enumerate(rows):
            if i != j and a.any() and b.any():
                total += (a @ b / (a.norm() * b.norm())).item()
    return total / max(len(rows) * (len(rows) - 1), 1)


def twin_layer(n, d, angle, seed=0):
    """Random filters ``(n, d)``, each with a twin n/2 rows below it, at ``angle`` radians, as a split leaves them."""
    generator = torch.Generator().manual_seed(seed)
    parents, steps = (torch.randn(n // 2, d, generator=generator, dtype=torch.float64) for _ in range(2))
    parents /= d**0.5  # lengths near 1
    lengths = parents.norm(dim=1, keepdim=True)
    steps -= (steps * parents).sum(1, keepdim=True) / lengths**2 * parents
    steps *= lengths / steps.norm(dim=1, keepdim=True) * torch.tan(torch.tensor(angle / 2, dtype=torch.float64))
    return torch.cat([parents + steps, parents - steps])


def enlarged_mlp(model, images, units, gates):
    """Firefly's enlarged network written out for an mlp: ½[σ(w+yv) + σ(w−yv)], and y·o·σ(u) from fresh neurons.

    ``units``: for each hidden layer (v (n, D), u (m, D), o (next n, m)); ``gates``: for each (n + m,), splits first.
    """
    *hidden, last = [m for m in model if isinstance(m, nn.Linear)]
    activation = model[2]
    x = images.flatten(1)
    extra = torch.zeros((), dtype=x.dtype)  # what the fresh neurons of the layer below add
    for layer, (v, u, o), y in zip(hidden, units, gates):
        n = len(v)
        z, move = layer(x) + extra, y[:n] * (x @ v.T)
        extra = (y[n:] * activation(x @ u.T)) @ o.T
        x = (activation(z + move) + activation(z - move)) / 2
    return last(x) + extra


def split_loss(model, unit, neuron, images, labels):
    """The network with one neuron split, written out by surgery: δ (D,) -> loss with w + δ and w − δ, and D."""
    grown = copy.deepcopy(model).eval()
    gl.apply(grown, GrowthPlan("split", {unit.name: unit.neurons}, (Candidate(unit.name, neuron),)))
    weight = grown.get_parameter(f"{unit.name}.weight").detach()
    sign = torch.zeros(len(weight), *[1] * (weight.dim() - 1), dtype=weight.dtype)
    sign[neuron], sign[-1] = -1, 1

    def loss(delta):
        moved = {f"{unit.name}.weight": weight + sign * delta.reshape(weight.shape[1:])}
        return F.cross_entropy(functional_call(grown, moved, (images,)), labels)

    return loss, weight[0].numel()


def split_hessian(model, unit, neuron, images, labels):
    """The splitting matrix of one neuron as what it is: the Hessian of ``split_loss`` at δ = 0, by autograd."""
    loss, d = split_loss(model, unit, neuron, images, labels)
    return torch.autograd.functional.hessian(loss, torch.zeros(d, dtype=images.dtype))
