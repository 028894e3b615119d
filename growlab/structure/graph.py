"""What is known of a tensor while a model is read: its sets of channels, and where they lie.

What ``units`` begins with (flow: model, **units**, propose).
"""

from typing import NamedTuple

from torch import Tensor, nn


def named_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, tied ones under each of their names."""
    return {**dict(model.named_parameters(remove_duplicate=False)), **dict(model.named_buffers(remove_duplicate=False))}


class Channels:
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


class Map(NamedTuple):
    """What is known of a tensor in the graph: which channels lie along which axis.

    ``parts``: (channels, repeat) in order; none if nothing in it grows. ``rank`` is None where it depends on the input,
    then ``axis`` is -1. ``repeat`` is the name of a flatten until a consumer tells how many positions there were.
    """

    parts: tuple
    axis: int
    rank: int | None

    @property
    def shape(self):  # maps of equal width that were flattened have equally many positions
        unknown = {repeat for _, repeat in self.parts if isinstance(repeat, str)}
        return self.axis, self.rank, [(c.size, "?" if {repeat} == unknown else repeat) for c, repeat in self.parts]

    @property
    def last(self):
        return self.axis == -1 or self.axis + 1 == self.rank

    def resolved(self, length):
        """The number of positions filled in, from the length that a consumer expects; None if that does not fit."""
        unknown = {repeat for _, repeat in self.parts if isinstance(repeat, str)}
        known = sum(c.size * repeat for c, repeat in self.parts if repeat not in unknown)
        many, rest = divmod(length - known, sum(c.size for c, repeat in self.parts if repeat in unknown) or length + 1)
        if len(unknown) > 1 or rest or many != max(many, len(unknown)):
            return None
        return self._replace(parts=tuple((c, many if repeat in unknown else repeat) for c, repeat in self.parts))


class Shape(NamedTuple):
    """``x.shape``: harmless unless someone reads the entry of the channels."""

    of: Map | None
