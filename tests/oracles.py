"""Slow, obvious versions and the fair test of "function kept", shared by the tests."""

import copy

import torch
from torch import nn


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
            norm.running_mean += 0.1 * norm.running_var.sqrt() * torch.randn(norm.running_mean.shape, generator=generator)
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
