"""Reads the forward of a model with ``torch.fx``, down to the layers whose weights growlab knows how to grow.

What ``units`` and ``splitting`` begin with (flow: model, **units**, propose).
"""

import os
import traceback

import torch
from torch import fx, nn

TORCH = os.path.dirname(torch.__file__)
CONV = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
CONV_TRANSPOSE = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
PER_CHANNEL = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, nn.PReLU,
               nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)  # fmt: skip


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module, name):
        return layer_type(module) is not nn.Module or super().is_leaf_module(module, name)


def trace(model: nn.Module) -> fx.Graph:
    """The graph of a model's forward; an error that says what to do if ``torch.fx`` cannot read it."""
    if hasattr(model, "_orig_mod"):
        raise ValueError("a compiled model cannot be read: grow model._orig_mod, then compile it again")
    if isinstance(model, torch.jit.ScriptModule):
        hint = "grow the Python model that it was made from, then script it again"
        raise ValueError(f"a scripted model cannot be read: {hint}")
    try:
        return _Tracer().trace(model)
    except Exception as error:
        calls = traceback.extract_tb(error.__traceback__)
        own = [call for call in calls if not call.filename.startswith((TORCH, __file__))]
        where = f"{own[-1].filename}, line {own[-1].lineno}: {own[-1].line}" if own else "unknown line"
        what = "What the forward does must not depend on values of tensors"
        hint = "move that part into a function under @torch.fx.wrap, or grow the submodule below it"
        raise ValueError(f"torch.fx cannot read {type(model).__name__} ({error}) at {where}. {what}: {hint}") from error


def layer_type(module: nn.Module) -> type:
    """The known layer type that a module behaves as; ``nn.Module`` if a subclass changes what the layer computes."""
    for base in type(module).__mro__:
        if base in (*CONV, *CONV_TRANSPOSE, *PER_CHANNEL, nn.Linear, nn.Flatten):
            methods = ("forward", "_conv_forward")
            same = all(getattr(type(module), m, None) is getattr(base, m, None) for m in methods)
            return base if same and "forward" not in vars(module) else nn.Module
    return nn.Module


def named_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and buffers by name, tied ones under each of their names."""
    return {**dict(model.named_parameters(remove_duplicate=False)), **dict(model.named_buffers(remove_duplicate=False))}


def plain_name(name: str) -> str:
    """One name for a function, its in-place twin and its layer: leakyrelu for leaky_relu, leaky_relu_ and LeakyReLU."""
    return name.lower().replace("_", "")
