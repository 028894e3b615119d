"""Which channels of a model must stay as long as each other, and which tensors hold them.

A union-find over the traced graph collects them; whatever cannot be followed with certainty is frozen, with the
reason. ``units`` makes units of what is found here (flow: model, **units**, propose).
"""

from collections import Counter

from torch import fx, nn

from growlab import tracing
from growlab.structure.graph import Channels, Map, Shape, named_tensors
from growlab.tracing import layer_type, owns_its_weights, plain_name

NUMBER, BATCH = "a number", "the number of pictures"  # values of nodes that have no channels


class Reader:
    """Walks over the nodes of a traced graph; what it learns of channel sets and tensors is kept across graphs."""

    def __init__(self, model):
        self.modules = dict(model.named_modules())
        self.tensors = named_tensors(model)
        self.layouts = {}  # (name of a tensor, or of a size that a layer keeps, axis) -> (parts, kind)
        self.outputs = {}  # producer's name -> its channels
        self.used = set()  # ids of the tensors that the forward reads itself
        self.hooked = {name for name, m in self.modules.items() if m._forward_hooks or m._forward_pre_hooks}

    def read(self, graph, by_flag):
        """``by_flag``: a flag asks for what the model does not give by default, perhaps its features."""
        self.values, self.by_flag = {}, by_flag
        for node in graph.nodes:
            self.values[node] = getattr(self, node.op)(node)
            if name := tracing.crossed_hook(node, self.hooked):
                self.freeze(node, f"it passes a forward hook of {name}, which may change it")

    # One method for each kind of node; each returns a Map, a Shape, a number, or None for "nothing here can grow".

    def placeholder(self, node):
        return None

    def get_attr(self, node):
        tensor = self.tensors.get(node.target)
        if not all(user.target is getattr and user.args[1] in tracing.TYPE_QUESTIONS for user in node.users):
            self.used.add(id(tensor))
        return NUMBER if tensor is not None and tensor.numel() == 1 and tensor.dim() < 2 else None

    def output(self, node):
        if not self.by_flag:
            self.freeze(node, "it is an output of the model")

    def call_method(self, node):
        return self.operation(node, node.target)

    def call_function(self, node):
        name = getattr(node.target, "__name__", "")
        home = getattr(node.target, "__module__", None) or "torch"
        known = home.split(".")[0] in ("_operator", "builtins", "torch", "torchvision") or name in tracing.TAUGHT
        return self.operation(node, name if known else "")

    def call_module(self, node):
        module, kind = self.modules[node.target], layer_type(self.modules[node.target])
        name = type(module).__name__
        if kind is nn.Module or name in tracing.TAUGHT:
            plain = type(module).__module__.startswith(("torch.nn.", "torchvision.ops.")) or name in tracing.TAUGHT
            return self.operation(node, name if plain else "")
        if not owns_its_weights(module):
            return self.freeze(node, f"it feeds {node.target}, whose weight is computed (a parametrisation)")
        if len(node.all_input_nodes) != 1:
            return self.freeze(node, f"it feeds {node.target} together with other inputs")
        x = self.values[node.all_input_nodes[0]]
        if isinstance(x, Shape):
            return self.freeze(node, f"its width is read by {node.target}")
        if kind is nn.Flatten:
            return self.flatten(node, x, module.start_dim, module.end_dim)
        return (self.per_channel if kind in tracing.PER_CHANNEL else self.linear)(node, x, module)

    # Layers

    def per_channel(self, node, x, module):
        """Batch norm and its like: statistics and affine parameters follow their channels."""
        size = "num_parameters" if isinstance(module, nn.PReLU) else "num_features"
        if size == "num_parameters" and module.num_parameters == 1:
            return x
        wrong = "" if x and x.axis == 1 else "along another axis than the channels"
        if x and x.rank is None:  # the channels come last: on axis 1 if there are no others
            wrong = "" if size == "num_parameters" else "and the number of axes is unknown: begin with nn.Flatten()"
        elif x and x[1:] == (1, 2) and isinstance(module, tracing.INSTANCE_NORM):
            wrong = "and without positions it normalises over the channels"
        return self.copy_all(node, self.entering(node, x, getattr(module, size), wrong), module, size)

    def entering(self, node, x, length, wrong):
        """What a layer reads, made up of so many channels; frozen if that is ``wrong``, or does not add up."""
        if isinstance(x, Map) and x.parts:
            if not wrong and (resolved := x.resolved(length)):
                return resolved
            self.freeze(node, f"it feeds {node.target} {wrong or 'with other maps whose sizes are not known'}")
        return x._replace(parts=()) if isinstance(x, Map) else None

    def copy_all(self, node, x, module, *sizes):
        """A layer whose tensors, and sizes, follow what it reads."""
        for name in ("weight", "bias", "running_mean", "running_var", *sizes):
            if getattr(module, name, None) is not None:
                self.follow(f"{node.target}.{name}", 0, x.parts if x else (), "copy")
        return x

    def linear(self, node, x, module):
        """Convolutions and linear layers: they end one unit and begin the next."""
        dense, transposed = isinstance(module, nn.Linear), isinstance(module, tracing.CONV_TRANSPOSE)
        sizes = ("in_features", "out_features") if dense else ("in_channels", "out_channels")
        inputs, outputs = (getattr(module, size) for size in sizes)
        wrong = "" if x and (x.last if dense else x.axis == 1) else "along another axis than the channels"
        x = self.entering(node, x, inputs, wrong)
        if not dense and module.groups > 1:
            if not module.groups == inputs == outputs or transposed:
                return self.freeze(node, f"it feeds {node.target}, a convolution in {module.groups} groups")
            return self.copy_all(node, x, module, "groups", *sizes)  # depthwise: a follower like batch norm
        parts = ((self.outputs.setdefault(node.target, Channels(outputs, node.target)), 1),)
        self.follow(f"{node.target}.weight", 0 if transposed else 1, x.parts if x else (), "share")
        self.follow(f"{node.target}.{sizes[0]}", 0, x.parts if x else (), "share")
        self.follow(f"{node.target}.weight", 1 if transposed else 0, parts, "copy")
        for name in ("bias", sizes[1])[module.bias is None :]:
            self.follow(f"{node.target}.{name}", 0, parts, "copy")
        if dense:
            return Map(parts, -1, None) if x is None or x.rank is None else Map(parts, x.rank - 1, x.rank)
        return Map(parts, 1, module.weight.dim())

    # Operations

    def operation(self, node, name):
        """A function, a method or another layer, by its name ("" if it is not one of PyTorch's)."""
        args, kind = node.args, plain_name(name)
        x = self.values.get(args[0]) if args and isinstance(args[0], fx.Node) else None
        if kind in tracing.TWO_SIDED and len(args) == 2:
            return self.two_sided(node)
        if name in ("cat", "concat", "concatenate"):
            return self.concatenate(node, _argument(node, 1, "dim", _argument(node, 1, "axis", 0)))
        if (name == "getattr" and args[1] == "shape") or (name == "size" and len(args) == 1):
            return Shape(x) if not isinstance(x, Shape) else None
        if name == "size" or (name == "getitem" and isinstance(x, Shape)):
            return self.entry(node, x.of if isinstance(x, Shape) else x, args[1])
        if name in ("_assert", "dim") or (name == "getattr" and args[1] in tracing.TYPE_QUESTIONS):
            return NUMBER
        others = [self.values[other] for other in node.all_input_nodes if self.values[other] is not x]
        alone = x is not None and all(isinstance(value, str) for value in others)
        if kind in tracing.ELEMENTWISE or name in tracing.TAUGHT:
            if alone and not isinstance(x, Shape):
                return x
        elif isinstance(x, Map) and len(self.inputs(node)) == 1:
            if kind in tracing.SPATIAL and x.axis == 1 and x.rank is not None and x.rank > 2:
                return x
            if name in tracing.MOVING and alone and x.rank is not None:
                return self.moved(node, x, name)
        if name == "flatten":
            return self.flatten(node, x, _argument(node, 1, "start_dim", 0), _argument(node, 2, "end_dim", -1))
        if name in ("view", "reshape"):
            first, *rest = args[1:] if len(args) > 2 or not isinstance(args[1], tuple | list) else args[1]
            if rest == [-1] and isinstance(first, fx.Node) and self.values[first] == BATCH:
                return self.flatten(node, x, 1, -1)
        return self.freeze(node, f"it feeds {name or node.target} ({node.name}), which may mix channels")

    def entry(self, node, x, index):
        """``x.shape[index]``: a number, if it is not that of the channels."""
        grows = isinstance(x, Map) and x.parts
        if not grows or (x.rank is not None and len(node.all_input_nodes) == 1):
            there = (range(x.rank) if grows else range(9))[index] if len(node.all_input_nodes) == 1 else -1
            if not grows or x.axis not in (there if isinstance(index, slice) else [there]):
                return BATCH if there == 0 else NUMBER
        return self.freeze(node, f"its width is read by {node.name}") if node.users else None

    def two_sided(self, node):
        """Additions and products: both sides must grow alike."""
        left, right = (self.values.get(a) if isinstance(a, fx.Node) else NUMBER for a in node.args[:2])
        for one, other in ((left, right), (right, left)):
            if isinstance(other, str) and not isinstance(one, Shape):
                return NUMBER if isinstance(one, str) else one
        if isinstance(left, Map) and isinstance(right, Map) and left.shape == right.shape:
            return _united(left, right)
        return self.freeze(node, f"{node.name} joins it with something of another or unknown width")

    def concatenate(self, node, axis):
        listed = node.args and isinstance(node.args[0], list | tuple)
        maps = [self.values.get(n) for n in node.args[0]] if listed else [None]
        first = maps[0]
        if all(isinstance(m, Map) and (m.axis, m.rank) == first[1:] for m in maps):
            # where the rank is unknown, axis 1 may be that of tokens; but then the next layer's width does not fit
            if axis == first.axis or (axis % first.rank == first.axis if first.rank else axis == 1):
                return Map(tuple(part for m in maps for part in m.parts), *first[1:])
            if all(m.shape == first.shape for m in maps):  # along another axis: the channels must stay alike
                return _united(*maps)
        return self.freeze(node, f"{node.name} concatenates it with something of unknown width")

    def flatten(self, node, x, start, end):
        if not isinstance(x, Map) or x.rank is None:
            return (x or Map((), 0, 2)) if (start, end) == (1, -1) else self.freeze(node, f"it feeds {node.name}")
        start, end = start % x.rank, end % x.rank
        flat = x._replace(rank=x.rank - (end - start))
        if start == end or x.axis < start:
            return flat
        if x.axis > end:
            return flat._replace(axis=x.axis - (end - start))
        if x.axis == start and all(repeat == 1 for _, repeat in x.parts):
            return flat._replace(parts=tuple((channels, node.name) for channels, _ in x.parts))
        return self.freeze(node, f"{node.name} flattens it together with other axes")

    def moved(self, node, x, name):
        """Functions that move, drop or shorten axes."""
        if there := tracing.axis_after(node, name, x.axis, x.rank):
            return x._replace(axis=there[0], rank=there[1])
        return self.freeze(node, f"{node.name} takes some of the channels, or all together ({name})")

    # Bookkeeping

    def follow(self, tensor, axis, parts, kind):
        """Note that this axis of this tensor consists of these channels; a second call must agree with the first.

        No ``parts``: something that cannot grow.
        """
        known, _ = self.layouts.setdefault((tensor, axis), (parts, kind))
        if [(c.size, r) for c, r in known] == [(c.size, r) for c, r in parts]:
            _united(Map(known, axis, None), Map(parts, axis, None))
        else:
            for channels, _ in (*known, *parts):
                channels.freeze(f"{tensor} is used with inputs of different make-up")

    def inputs(self, node) -> list[Map]:
        values = [getattr(self.values.get(n), "of", self.values.get(n)) for n in node.all_input_nodes]
        return [value for value in values if isinstance(value, Map)]

    def freeze(self, node, reason):
        for x in self.inputs(node):
            for channels, _ in x.parts:
                channels.freeze(reason)

    def finish(self):
        """What only the whole tells: tensors that are tied, or that the forward reads itself."""
        uses = Counter(id(p) for module in set(self.modules.values()) for p in module._parameters.values())
        for (name, _), (parts, _) in self.layouts.items():
            tensor = id(self.tensors.get(name, self))
            for channels, _ in parts if uses[tensor] > 1 or tensor in self.used else ():
                channels.freeze(f"{name} is {'tied to another' if uses[tensor] > 1 else 'read by the forward itself'}")


def _united(first, *others):
    """Maps whose channels must stay as long as each other."""
    for other in others:
        for (a, _), (b, _) in zip(first.parts, other.parts):
            a.union(b)
    return first


def _argument(node, position, name, default):
    return node.args[position] if len(node.args) > position else node.kwargs.get(name, default)
