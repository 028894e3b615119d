"""Which channels of a model must stay as long as each other, and which tensors hold them.

A union-find over the traced graph collects them; whatever cannot be followed with certainty is frozen, with the
reason. ``units`` makes units of what is found here (flow: model, **units**, propose).
"""

from collections import Counter
from typing import NamedTuple

import torch
from torch import fx, nn

from growlab.structure.graph import CONV_TRANSPOSE, PER_CHANNEL, layer_type, named_tensors, plain_name

# Functions, methods and layers by ``plain_name``: to copy a channel before one of them is as good as after it.
ELEMENTWISE = frozenset(
    """relu relu6 leakyrelu elu selu celu gelu silu mish softplus sigmoid tanh hardtanh hardswish hardsigmoid logsigmoid
    softsign threshold dropout dropout1d dropout2d dropout3d alphadropout stochasticdepth neg abs exp sqrt square pow
    clamp contiguous clone detach float double half to typeas identity""".split()
)
# These mix positions, never channels, if the channels lie on axis 1 of a map.
SPATIAL = frozenset(
    """maxpool1d maxpool2d maxpool3d avgpool1d avgpool2d avgpool3d adaptiveavgpool1d adaptiveavgpool2d adaptiveavgpool3d
    adaptivemaxpool1d adaptivemaxpool2d adaptivemaxpool3d interpolate upsample upsamplingnearest2d upsamplingbilinear2d
    zeropad2d reflectionpad2d replicationpad2d""".split()
)
TWO_SIDED = frozenset("add iadd sub isub mul imul div truediv itruediv".split())
TYPE_QUESTIONS = frozenset("device dtype ndim is_cuda requires_grad".split())


class _Channels:
    """A set of channels: a node of the union-find forest."""

    def __init__(self, size, layer):
        self.size, self.parent, self.layers, self.reason = size, self, [layer], ""

    @property
    def root(self):
        while self.parent is not self:
            self = self.parent
        return self

    def union(self, other):
        a, b = self.root, other.root
        if a is not b:
            b.parent = a
            a.layers += [layer for layer in b.layers if layer not in a.layers]
            a.reason = a.reason or b.reason

    def freeze(self, reason):
        self.root.reason = self.root.reason or reason


class _Map(NamedTuple):
    """What is known of a tensor in the graph: which channels lie along which axis.

    ``parts``: (channels, repeat) in order. ``rank`` is None where it depends on the input, then ``axis`` is -1.
    ``repeat`` is None after a flatten, until a consumer tells how many positions there were.
    """

    parts: tuple
    axis: int
    rank: int | None

    @property
    def shape(self):
        return self.axis, self.rank, [(channels.size, repeat) for channels, repeat in self.parts]

    @property
    def last(self):
        return self.axis == -1 or self.axis + 1 == self.rank


class _Shape(NamedTuple):
    """``x.shape`` of a tensor with known channels: harmless unless someone reads the entry of the channels."""

    of: _Map


class Reader:
    """Walks over the nodes of a traced graph; what it learns of channel sets and tensors is kept across graphs."""

    def __init__(self, model):
        self.modules = dict(model.named_modules())
        self.tensors = named_tensors(model)
        self.layouts = {}  # (tensor name, axis) -> (parts, kind)
        self.outputs = {}  # producer's name -> its channels

    def read(self, graph):
        self.values = {}
        for node in graph.nodes:
            self.values[node] = getattr(self, node.op)(node)

    # One method for each kind of node; each returns a _Map, a _Shape, or None for "nothing here can grow".

    def placeholder(self, node):
        return None

    get_attr = placeholder

    def output(self, node):
        self.freeze(node, "it is an output of the model")

    def call_method(self, node):
        return self.operation(node, node.target)

    def call_function(self, node):
        home = getattr(node.target, "__module__", None) or "torch"
        known = home.split(".")[0] in ("_operator", "builtins", "torch", "torchvision")
        return self.operation(node, node.target.__name__ if known else "")

    def call_module(self, node):
        module, kind = self.modules[node.target], layer_type(self.modules[node.target])
        if kind is nn.Module:
            plain = type(module).__module__.startswith(("torch.nn.", "torchvision.ops."))
            return self.operation(node, type(module).__name__ if plain else "")
        if not _owns_its_weights(module):
            return self.freeze(node, f"it feeds {node.target}, whose weight is computed (a parametrisation)")
        if len(node.all_input_nodes) != 1:
            return self.freeze(node, f"it feeds {node.target} together with other inputs")
        x = self.values[node.all_input_nodes[0]]
        if isinstance(x, _Shape):
            return self.freeze(node, f"its width is read by {node.target}")
        if kind is nn.Flatten:
            return self.flatten(node, x, module.start_dim, module.end_dim)
        if kind in PER_CHANNEL:
            return self.per_channel(node, x, module)
        return self.linear(node, x, module)

    # Layers

    def per_channel(self, node, x, module):
        """Batch norm and its like: statistics and affine parameters follow their channels."""
        if x is None or (isinstance(module, nn.PReLU) and module.num_parameters == 1):
            return x
        x = self.resolve(x, module.num_parameters if isinstance(module, nn.PReLU) else module.num_features)
        if x is None or x.axis not in (1, -1):
            return self.freeze(node, f"it feeds {node.target} along another axis than the channels")
        return self.copy_all(node, x, module)

    def copy_all(self, node, x, module):
        for name in ("weight", "bias", "running_mean", "running_var"):
            if getattr(module, name, None) is not None:
                self.follow(f"{node.target}.{name}", 0, x.parts, "copy")
        return x

    def linear(self, node, x, module):
        """Convolutions and linear layers: they end one unit and begin the next."""
        dense, transposed = isinstance(module, nn.Linear), isinstance(module, CONV_TRANSPOSE)
        weight, groups = f"{node.target}.weight", 1 if dense else module.groups
        sizes = ("in_features", "out_features") if dense else ("in_channels", "out_channels")
        inputs, outputs = (getattr(module, size) for size in sizes)
        if x is not None:
            x = self.resolve(x, inputs) if (x.last if dense else x.axis == 1) else None
            if x is None:
                self.freeze(node, f"it feeds {node.target} along another axis than the channels")
        if groups > 1:
            if not groups == inputs == outputs or transposed:
                return self.freeze(node, f"it feeds {node.target}, a convolution in {groups} groups")
            return x and self.copy_all(node, x, module)  # depthwise: a follower like batch norm
        if x is not None:
            self.follow(weight, 0 if transposed else 1, x.parts, "share")
        parts = ((self.outputs.setdefault(node.target, _Channels(outputs, node.target)), 1),)
        self.follow(weight, 1 if transposed else 0, parts, "copy")
        if module.bias is not None:
            self.follow(f"{node.target}.bias", 0, parts, "copy")
        if dense:
            return _Map(parts, -1, None) if x is None or x.rank is None else _Map(parts, x.rank - 1, x.rank)
        return _Map(parts, 1, self.tensors[weight].dim())

    # Operations

    def operation(self, node, name):
        x = self.values.get(node.args[0]) if node.args and isinstance(node.args[0], fx.Node) else None
        kind = plain_name(name)
        if kind in TWO_SIDED and len(node.args) == 2:
            return self.two_sided(node)
        if name in ("cat", "concat", "concatenate"):
            return self.concatenate(node, _argument(node, 1, "dim", _argument(node, 1, "axis", 0)))
        if (name == "getattr" and node.args[1] == "shape") or (name == "size" and len(node.args) == 1):
            return _Shape(x) if isinstance(x, _Map) else None
        if name in ("size", "getitem") and isinstance(node.args[1], int):
            seen = x.of if isinstance(x, _Shape) else x if name == "size" else None
            harmless = seen and seen.rank is not None and node.args[1] % seen.rank != seen.axis
            if harmless or (seen and not node.users):
                return None
        if name in ("_assert", "dim") or (name == "getattr" and node.args[1] in TYPE_QUESTIONS):
            return None
        if isinstance(x, _Map) and len(self.inputs(node)) == 1:
            if kind in ELEMENTWISE and len(node.all_input_nodes) == 1:
                return x
            if kind in SPATIAL and x.axis == 1 and x.rank is not None and x.rank > 2:
                return x
            if name == "flatten":
                return self.flatten(node, x, _argument(node, 1, "start_dim", 0), _argument(node, 2, "end_dim", -1))
            if name in ("mean", "permute", "transpose") and x.rank is not None:
                return self.moved(node, x, name)
        if name in ("view", "reshape") and isinstance(x, _Map):
            sizes = node.args[1:] if len(node.args) > 2 else node.args[1]
            if isinstance(sizes, tuple | list) and len(sizes) == 2 and sizes[1] == -1:
                return self.flatten(node, x, 1, -1)
        return self.freeze(node, f"it feeds {name or node.target} ({node.name}), which may mix channels")

    def two_sided(self, node):
        """Additions and products: both sides must grow alike."""
        left, right = (self.values.get(a) if isinstance(a, fx.Node) else "number" for a in node.args[:2])
        if "number" in (left, right) and not isinstance(left, _Shape) and not isinstance(right, _Shape):
            return left if right == "number" else right
        if isinstance(left, _Map) and isinstance(right, _Map) and left.shape == right.shape:
            return _united(left, right)
        return self.freeze(node, f"{node.name} joins it with something of another or unknown width")

    def concatenate(self, node, axis):
        listed = node.args and isinstance(node.args[0], list | tuple)
        maps = [self.values.get(n) for n in node.args[0]] if listed else [None]
        first = maps[0]
        if all(isinstance(m, _Map) and (m.axis, m.rank) == first[1:] for m in maps):
            if axis == first.axis or (first.rank is not None and axis % first.rank == first.axis):
                return _Map(tuple(part for m in maps for part in m.parts), *first[1:])
            if all(m.shape == first.shape for m in maps):  # along another axis: the channels must stay alike
                return _united(*maps)
        return self.freeze(node, f"{node.name} concatenates it with something of unknown width")

    def flatten(self, node, x, start, end):
        if x is None or x.rank is None or x.rank == 2:
            return x
        if x.axis == 1 and start % x.rank == 1 and end % x.rank == x.rank - 1:
            return _Map(tuple((channels, None) for channels, _ in x.parts), 1, 2)
        if x.axis < start % x.rank:
            return x._replace(rank=x.rank - (end % x.rank - start % x.rank))
        return self.freeze(node, f"{node.name} flattens it together with other axes")

    def moved(self, node, x, name):
        """Where the axis of the channels goes: tried on a tensor without data whose sizes tell its axes apart."""
        probe = torch.empty([axis + 2 for axis in range(x.rank)], device="meta")
        shape = [*getattr(probe, name)(*node.args[1:], **node.kwargs).shape]
        if x.axis + 2 in shape:
            return x._replace(axis=shape.index(x.axis + 2), rank=len(shape))
        return self.freeze(node, f"{node.name} averages over the channels")

    # Bookkeeping

    def resolve(self, x, length):
        """Fill in the repeat of a flattened map from the length that its consumer expects."""
        channels = sum(c.size for c, _ in x.parts)
        if any(repeat is None for _, repeat in x.parts):
            x = x._replace(parts=tuple((c, length // channels) for c, _ in x.parts))
        return x if sum(c.size * repeat for c, repeat in x.parts) == length else None

    def follow(self, tensor, axis, parts, kind):
        """Note that this axis of this tensor consists of these channels; a second call must agree with the first."""
        known, _ = self.layouts.setdefault((tensor, axis), (parts, kind))
        if [(c.size, r) for c, r in known] == [(c.size, r) for c, r in parts]:
            _united(_Map(known, axis, None), _Map(parts, axis, None))
        else:
            for channels, _ in (*known, *parts):
                channels.freeze(f"{tensor} is used with inputs of different make-up")

    def inputs(self, node) -> list[_Map]:
        values = (self.values.get(n) for n in node.all_input_nodes)
        return [v.of if isinstance(v, _Shape) else v for v in values if v is not None]

    def freeze(self, node, reason):
        for x in self.inputs(node):
            for channels, _ in x.parts:
                channels.freeze(reason)

    def freeze_what_is_tied(self):
        uses = Counter(id(p) for module in set(self.modules.values()) for p in module._parameters.values())
        for (tensor, _), (parts, _) in self.layouts.items():
            if uses[id(self.tensors[tensor])] > 1:
                for channels, _ in parts:
                    channels.freeze(f"{tensor} is tied to another layer's")


def _united(first, *others):
    """Maps whose channels must stay as long as each other."""
    for other in others:
        for (a, _), (b, _) in zip(first.parts, other.parts):
            a.union(b)
    return first


def _owns_its_weights(module):
    """False where a weight is computed from others: ``torch.nn.utils.parametrize``, weight and spectral norm."""
    return all(name in module._parameters for name in ("weight", "bias") if hasattr(module, name))


def _argument(node, position, name, default):
    return node.args[position] if len(node.args) > position else node.kwargs.get(name, default)
