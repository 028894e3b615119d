"""To look at a model without changing it: in eval mode, or with hooks, within a block only."""

from collections.abc import Callable, Mapping
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(*models: nn.Module):
    """Eval mode within the block; afterwards every module is in its own mode again."""
    modes = {module: module.training for model in models for module in model.modules()}
    for model in models:
        model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def hooked(functions: Mapping[nn.Module, Callable]):
    """``functions[module](module, inputs, output)`` is called whenever the module has been, within the block only."""
    handles = [module.register_forward_hook(function) for module, function in functions.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
