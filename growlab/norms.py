"""The running statistics of batch normalisation, estimated again after the weights have moved. Notebook 04."""

from collections.abc import Iterable

import torch
from torch import nn

from growlab.watching import evaluating


@torch.no_grad()
def refresh_statistics(model: nn.Module, batches: Iterable) -> None:
    """Estimate all running statistics of batch normalisation again, in place: averages over ``batches``.

    Steps on weights alone make them stale. ``batches`` of (pictures, labels); every batch counts alike. Nothing else
    changes, neither modes nor weights; dropout is off. Raises ``ValueError`` for an empty iterable; if anything
    fails half-way the statistics are as they were.
    """
    norms = [
        m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.running_mean is not None
    ]
    before = [(buffer, buffer.clone()) for norm in norms for buffer in norm.buffers()]
    momenta = [norm.momentum for norm in norms]
    with evaluating(model):
        try:
            for norm in norms:
                norm.reset_running_stats()
                norm.momentum, norm.training = None, True  # None: a plain average
            images = None
            for images, _ in batches:
                model(images)
            if images is None:
                raise ValueError("no batches: pass an iterable of at least one (pictures, labels)")
            if not all(buffer.isfinite().all() for buffer, _ in before):
                raise FloatingPointError("statistics became NaN or infinite: look at the pictures and the weights")
        except BaseException:
            for buffer, values in before:
                buffer.copy_(values)
            raise
        finally:
            for norm, momentum in zip(norms, momenta):
                norm.momentum = momentum
