"""Pictures in, normalised batches out: the first station of the flow.

``load_data`` brings a data set onto the device as uint8; ``data.batches`` shuffles, crops, flips and normalises
it there, a whole batch at a time. Everything after it (data -> model -> units -> propose -> plan -> apply ->
decorrelate -> train) takes its batches from here. Notebook 00 meets the data.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F

from growlab.checks import flag, one_of, whole
from growlab.seeds import random_stream

COLUMNS = ("labels", "masks", "objects", "forms", "touched", "backgrounds")  # of a Split: one row for each picture


# --------------------------------------------------------------------------- pictures on a device, in batches
@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """The pictures of one split, all on one device.

    images (N, C, H, W) uint8; labels (N,) int64; classes: their names; mean, std (C,) of the *training* pictures,
    in grey levels 0..255. Critters also have masks (N, 5, H, W) and objects (N, H, W), bool; forms (N, 5), the
    class whose form each part shows, -1 where hidden; touched (N, 5) bool, the parts that an intervention changed;
    backgrounds (N,), the class whose hue is behind. Elsewhere these are None.
    ``shift`` (pixels) and ``flip`` say what augment=True does to this data set.
    """

    images: torch.Tensor
    labels: torch.Tensor
    classes: tuple
    mean: torch.Tensor
    std: torch.Tensor
    masks: torch.Tensor | None = None
    objects: torch.Tensor | None = None
    forms: torch.Tensor | None = None
    touched: torch.Tensor | None = None
    backgrounds: torch.Tensor | None = None
    shift: int = 0
    flip: bool = False

    def __post_init__(self):
        images, labels, n = self.images, self.labels, len(self.classes)
        if (images.dtype, labels.dtype) != (torch.uint8, torch.int64):
            raise TypeError(f"images must be uint8, labels int64, got {images.dtype} and {labels.dtype}: convert them")
        if images.ndim != 4 or not images.numel():
            raise ValueError(f"images must be (N, C, H, W), not empty, got {(*images.shape,)}: one is (1, C, H, W)")
        for name in COLUMNS:
            column = getattr(self, name)
            if column is not None and len(column) != len(images):
                raise ValueError(f"{name} must be as many as the images, got {len(column)} for {len(images)}")
        if len(wrong := labels[(labels < 0) | (labels >= n)]):
            raise ValueError(f"labels must be in 0..{n - 1} for {n} classes, got {wrong[0]}: number the classes from 0")

    def __len__(self):
        return len(self.images)

    def __repr__(self):
        shape = "×".join(map(str, self.images.shape[1:]))
        return f"Split({len(self):,} pictures of {shape}, {len(self.classes)} classes)"

    def batches(self, size=128, augment=False, seed=None):
        """A re-iterable of (normalised float32 images (B, C, H, W), labels (B,)); every pass is the same.

        No seed: in stored order. A seed (a whole number, or a tuple such as (0, "data", epoch)): shuffled by it.
        augment=True needs a seed, and also moves each picture by up to ``shift`` pixels over black and mirrors
        every other one, if ``flip``. A pass shows each picture exactly once. The last batch holds what is left; one
        picture that is left alone joins the batch before it, as a batch norm cannot be trained on a single picture.
        """
        return Batches(self, size, augment, seed)

    def normalise(self, images):
        """uint8 (B, C, H, W) -> float32, less the training mean, over the training standard deviation, per channel."""
        mean, std = self._constants
        return images.to(torch.float32, memory_format=torch.channels_last).sub(mean).div_(std)

    @cached_property
    def _constants(self):  # as large as a picture: three values broadcast over channels_last take three times as long
        wide = lambda v: v[:, None, None].expand_as(self.images[:1]).contiguous(memory_format=torch.channels_last)
        return wide(self.mean), wide(self.std)

    @cached_property
    def padded(self):
        """The pictures in a black frame of ``shift`` pixels, (N, H + 2 shift, W + 2 shift, C); made when first used."""
        return F.pad(self.images, (self.shift,) * 4).permute(0, 2, 3, 1).contiguous()


@dataclass(frozen=True, eq=False)
class Batches:
    """What ``Split.batches`` returns; ``len`` is the number of batches."""

    split: Split
    size: int
    augment: bool
    seed: object

    def __post_init__(self):
        object.__setattr__(self, "size", whole("batch size", self.size, 1, "128 is usual"))
        flag("augment", self.augment, "True crops and flips")
        if self.augment and self.seed is None:
            raise ValueError("augment=True needs a seed, got None: pass seed=0, and another one for each epoch")

    def __len__(self):  # a rest of one picture is no batch, unless all batches are of one, or there is no other picture
        return -(-(len(self.split) - (self.size > 1)) // self.size) or 1

    def __iter__(self):
        for draws in self.draws():
            yield from map(self.take, draws.unbind(1))

    def draws(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Of all batches but the last, (1 or 4, batches, size), and of the last one, (1 or 4, 1, what is left).

        Which pictures, and with augment=True how they are moved and mirrored. Drawn on the CPU and moved once: the same
        numbers on every device, and no waiting within a pass.
        """
        split, n, stream = self.split, len(self.split), random_stream(self.seed, "batches")
        draws = [torch.arange(n) if self.seed is None else torch.randperm(n, generator=stream)]
        if self.augment:
            choices = 2 * split.shift + 1, 2 * split.shift + 1, 1 + split.flip
            draws += [torch.randint(choice, (n,), generator=stream) for choice in choices]
        whole, last = torch.stack(draws).to(split.images.device).tensor_split([self.size * (len(self) - 1)], 1)
        return whole.unflatten(1, (len(self) - 1, self.size)), last[:, None]

    def take(self, draw: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The batch of one draw, (1 or 4, B): images and labels."""
        rows, *moves = draw
        split = self.split
        images = crop_and_flip(split.padded, rows, *moves, split.shift) if self.augment else split.images[rows]
        return split.normalise(images), split.labels[rows]


def endless(batches):
    """Batches, again from the start when they end; nothing is kept, as an epoch of pictures may be large."""
    while True:
        batch = None
        for batch in batches:
            yield batch
        if batch is None:  # an empty list, or a generator that has run out
            raise ValueError("no batches left: pass data.batches(…) or a list of at least one (images, labels)")


def crop_and_flip(padded, rows, top, left, flip, shift):
    """Windows at (top, left) of the pictures ``rows`` of padded (N, H + 2 shift, W + 2 shift, C), mirrored where flip.

    The four index vectors are (B,). Returns (B, C, H, W) in channels_last memory: one gather from the list of all
    pixels, a row of channels each.
    """
    _, tall, wide, channels = padded.shape
    y = torch.arange(tall - 2 * shift, device=padded.device)
    x = torch.arange(wide - 2 * shift, device=padded.device)
    x = left[:, None] + torch.where(flip[:, None] == 1, x.flip(0), x)  # (B, W)
    y = rows[:, None] * tall + top[:, None] + y  # (B, H): lines of all pictures
    pixels = y[:, :, None] * wide + x[:, None, :]  # (B, H, W)
    return padded.view(-1, channels).index_select(0, pixels.flatten()).view(*pixels.shape, channels).permute(0, 3, 1, 2)


@dataclass(frozen=True, eq=False, repr=False)
class Data:
    """A data set: its name, the names of its classes, and ``splits``, a dict of Split: train, val, test.

    Critters also have hidden (one part, drawn for each picture), swapped (one part shows another class's form) and
    backgrounds (behind each is the hue of another class than its own): the test pictures with that one change.
    """

    name: str
    classes: tuple
    splits: dict

    train = property(lambda self: self.splits["train"])
    val = property(lambda self: self.splits["val"])
    test = property(lambda self: self.splits["test"])

    def __repr__(self):
        sizes = ", ".join(f"{name} {len(split):,}" for name, split in self.splits.items())
        return f"Data({self.name}: {len(self.classes)} classes; {sizes})"

    def batches(self, split, size=128, augment=False, seed=None):
        """Batches of one split by name, ``data.batches("train", 128, augment=True, seed=0)``: see Split.batches."""
        return self.splits[one_of(f"split of {self.name}", split, self.splits)].batches(size, augment, seed)
