"""Reads the forward of a model with ``torch.fx``, and leaves the model as it is; knows PyTorch's functions by name."""

import inspect
import operator
import os
import traceback
from contextlib import nullcontext, suppress
from copy import deepcopy
from itertools import combinations, product

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

TORCH = os.path.dirname(torch.__file__)
CONV = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
CONV_TRANSPOSE = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
INSTANCE_NORM = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
PER_CHANNEL = (*BATCH_NORM, nn.PReLU, *INSTANCE_NORM)
# Functions, methods and layers by ``plain_name``: to copy a channel before one of them is as good as after it.
ELEMENTWISE = frozenset(
    """relu relu6 leakyrelu elu selu celu gelu silu mish softplus sigmoid tanh hardtanh hardswish hardsigmoid logsigmoid
    softsign threshold dropout dropout1d dropout2d dropout3d alphadropout stochasticdepth neg abs exp sqrt square pow
    clamp contiguous clone detach float double half to typeas identity""".split()
)
# Some of them are linear, at least piecewise.
STRAIGHT = frozenset(
    """relu relu6 leakyrelu threshold hardtanh hardsigmoid dropout dropout1d dropout2d dropout3d alphadropout neg abs
    clamp contiguous clone detach float double half to typeas identity stochasticdepth""".split()
)
# These mix positions, never channels, if the channels lie on axis 1 of a map.
SPATIAL = frozenset(
    """maxpool1d maxpool2d maxpool3d avgpool1d avgpool2d avgpool3d adaptiveavgpool1d adaptiveavgpool2d adaptiveavgpool3d
    adaptivemaxpool1d adaptivemaxpool2d adaptivemaxpool3d interpolate upsample upsamplingnearest2d upsamplingbilinear2d
    zeropad2d reflectionpad2d replicationpad2d""".split()
)
# These move or drop axes; ``moved`` tries them, and finds out whether that of the channels stays whole.
MOVING = frozenset(
    "mean sum amax amin permute transpose swapaxes movedim moveaxis squeeze unsqueeze getitem narrow select pad".split()
)
TWO_SIDED = frozenset("add iadd sub isub mul imul div truediv itruediv".split())
TYPE_QUESTIONS = frozenset("device dtype ndim is_cuda requires_grad".split())
TAUGHT = set()  # names that ``units(elementwise=)`` was given
WRAPPED = {  # what is no model of its own, and how to grow it
    "OptimizedModule": "a compiled model cannot be read: grow model._orig_mod, then compile it again",
    "ScriptModule": "a scripted model cannot be read: grow the Python model it was made from, then script it again",
    "DataParallel": "a wrapped model cannot be read: grow model.module, then wrap it again",
    "DistributedDataParallel": "grow model.module in every process by the same plan, then wrap it again",
}
LAYERS = "Layers must be parts of the model: make them in __init__ and keep them in attributes or nn.ModuleList"
LOOPS = "The number of turns of a loop must not depend on the input: loop over a number that the model knows"
NO_VALUES = "What the forward does must not depend on values of tensors"
VALUES = f"{NO_VALUES}: move that part into a function under @torch.fx.wrap"


def shadow(model: nn.Module) -> nn.Module:
    """A model with the very same parameters, but state of its own: whatever its forward does, ``model`` stays as it is.

    Buffers and other attributes of its modules are copies; what cannot be copied (a lock, a file) is shared.
    """
    pairs = [(old, object.__new__(type(old))) for old in model.modules() if not isinstance(old, torch.jit.ScriptModule)]
    memo = {id(old): old for old in (*model.parameters(), *model.modules())} | {id(old): new for old, new in pairs}
    for old, new in pairs:
        own = vars(new)
        own.update(vars(old))
        quick = type(old).__module__.startswith("torch.nn.modules.")  # these change their buffers only
        for name in ("_parameters", "_modules") if quick else own:
            try:
                own[name] = deepcopy(own[name], memo)
            except Exception:  # as each type has its own; copies of the outside at least
                own[name] = own[name].copy() if isinstance(own[name], dict | list | set) else own[name]
        own["_buffers"] = {n: None if b is None else b.detach().clone() for n, b in old._buffers.items()}
    return memo[id(model)]


class _Tracer(fx.Tracer):
    """Optional arguments have their defaults; those in ``given`` have something else: a tensor, or the other flag."""

    given = ()

    def is_leaf_module(self, module, name):
        known = layer_type(module) is not nn.Module or isinstance(module, torch.jit.ScriptModule)
        return known or type(module).__name__ in TAUGHT or super().is_leaf_module(module, name)

    def call_module(self, module, forward, args, kwargs):
        hooked = module._forward_hooks or module._forward_pre_hooks  # which may do anything, here with no tensors
        return super().call_module(module, module.forward if hooked else forward, args, kwargs)

    def create_proxy(self, kind, target, args, kwargs, *more, **options):
        if kind == "placeholder" and args and (target not in self.given or isinstance(args[0], bool)):
            return args[0] != (target in self.given) if isinstance(args[0], bool) else args[0]
        return super().create_proxy(kind, target, args, kwargs, *more, **options)


def trace(model: nn.Module, training: bool = False, given: tuple = ()) -> tuple[nn.Module, fx.Graph]:
    """A shadow of the model, in this mode, and the graph of its forward; the model is left as it is.

    ``given``: optional arguments that are not left at their defaults. An error says what to do if ``torch.fx`` cannot
    read the model.
    """
    tracer, own = _Tracer(), shadow(model).train(training)
    tracer.given = given
    try:
        with torch.random.fork_rng(devices=()):
            return own, tracer.trace(own)
    except Exception as error:
        calls = traceback.extract_tb(error.__traceback__)
        lines = [call for call in calls if not call.filename.startswith((TORCH, __file__))]
        where = f"{lines[-1].filename}, line {lines[-1].lineno}: {lines[-1].line}" if lines else "unknown line"
        what = " with ".join((type(model).__name__, *given))
        advice = LAYERS if "as a submodule" in str(error) else LOOPS if "iterated" in str(error) else VALUES
        hint = f"{advice}, or grow the submodule below it"
        raise ValueError(f"torch.fx cannot read {what} ({error}) at {where}. {hint}") from error


def runnable(model: nn.Module) -> tuple[nn.Module, fx.Graph]:
    """``trace`` in eval mode, for a graph that computes what the model computes."""
    own, graph = trace(model)
    called = {node.target for node in graph.nodes}
    for name, module in own.named_modules():
        if (module._forward_hooks or module._forward_pre_hooks) and name not in called:
            raise ValueError(f"the forward hook of {name or 'the model'} cannot be run: remove it meanwhile")
    return own, graph


def readings(model: nn.Module):
    """The graphs of the forward in both modes, and whether a flag asks for more than usual.

    Optional arguments (None or a flag by default) are not given, or each alone, all but each, or all of them.
    """
    for kind in (base.__name__ for base in type(model).__mro__ if base.__name__ in WRAPPED):
        raise ValueError(WRAPPED[kind])
    if "forward" in vars(model):
        raise ValueError("model.forward was replaced, and its class has another: replace it after growing")
    found = inspect.signature(type(model).forward).parameters.values()
    flags = {p.name: p.default is not None for p in found if p.default is None or isinstance(p.default, bool)}
    for size in sorted({0, min(1, len(flags)), max(0, len(flags) - 1), len(flags)}):
        for training, given in product((True, False), combinations(flags, size)):
            by_flag = any(flags[name] for name in given)
            with suppress(ValueError) if by_flag else nullcontext():  # then the flag must stay at its default
                yield trace(model, training, given)[1], by_flag


def layer_type(module: nn.Module) -> type:
    """The known layer type that a module behaves as; ``nn.Module`` if a subclass changes what the layer computes."""
    for base in type(module).__mro__:
        if base in (*CONV, *CONV_TRANSPOSE, *PER_CHANNEL, nn.Linear, nn.Flatten):
            methods = ("forward", "_conv_forward")
            same = all(getattr(type(module), m, None) is getattr(base, m, None) for m in methods)
            return base if same and "forward" not in vars(module) else nn.Module
    return nn.Module


def plain_name(name: str) -> str:
    """One name for a function, its in-place twin and its layer: leakyrelu for leaky_relu, leaky_relu_ and LeakyReLU."""
    return name.lower().replace("_", "")


def owns_its_weights(module):
    """False where a weight is computed from others: ``torch.nn.utils.parametrize``, weight and spectral norm."""
    return all(name in module._parameters for name in ("weight", "bias") if hasattr(module, name))


def crossed_hook(node: fx.Node, hooked: set[str]) -> str:
    """The module with a forward hook (one of ``hooked``) that what a node reads goes into or comes out of, or ""."""
    if not hooked:
        return ""
    inside = lambda n: {(call, at) for call, (at, _) in n.meta.get("nn_module_stack", {}).items() if at in hooked}
    crossed = [name for source in node.all_input_nodes for _, name in inside(source) ^ inside(node)]
    return min(crossed, default="")


def axis_after(node: fx.Node, name: str, axis: int, rank: int) -> tuple[int, int] | None:
    """(axis, rank) behind one of the functions ``MOVING``; None unless the axis stays whole, however long it is.

    Tried on a tensor without data in which this axis alone is long.
    """
    long, sizes = 10**6 + 3, [1 if name == "squeeze" else 999] * rank
    sizes[axis] = long
    function = {"getitem": operator.getitem, "pad": F.pad}.get(name) or getattr(Tensor, name)
    args, options = fx.node.map_arg((node.args[1:], node.kwargs), lambda _: 1)
    try:  # x[0] may be one of several results, and what squeeze() drops depends on the input
        certain = isinstance(args[0], tuple) if name == "getitem" else args or options or name != "squeeze"
        shape = [*function(torch.empty(sizes, device="meta"), *args, **options).shape] if certain else []
    except Exception:  # as each function has its own
        return None
    return (shape.index(long), len(shape)) if shape.count(long) == 1 else None
