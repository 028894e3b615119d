"""To look at a model without changing it: in eval mode, or with hooks, within a block only; and what it must return."""

from collections.abc import Callable, Mapping
from contextlib import contextmanager

from torch import Tensor, nn


def logits_of(model: nn.Module, images: Tensor, classes: int = 1) -> Tensor:
    """What a classifier returns for pictures (N, …): its logits (N, ``classes`` or more).

    Raises ``ValueError`` for a model that returns something else, or that wants more than the pictures.
    """
    try:
        scores = model(images)
    except TypeError as error:
        if "forward() missing" not in str(error):
            raise
        raise ValueError(f"the model must take pictures alone, got {error}: give all else a default") from error
    known = scores.shape[1] if isinstance(scores, Tensor) and scores.dim() == 2 else 0
    if known >= classes and len(scores) == len(images):
        return scores
    must = "the model must return logits (N, classes), got"
    if not isinstance(scores, Tensor):
        raise ValueError(f"{must} a {type(scores).__name__}: wrap it in a module that returns nothing but the logits")
    if not known or len(scores) != len(images):
        raise ValueError(f"{must} a tensor {(*scores.shape,)} for {len(images)} pictures: bring it into that shape")
    hint = f"it knows {known} classes, the pictures have {classes}; take one that knows them all"
    raise ValueError(f"{must} {known} for {classes} classes: {hint}")


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
