"""The networks of the course: plain ``nn.Sequential`` built from a list of widths.

Nothing here knows that networks can grow. That is the point: growing needs no special layers
(notebooks 00 and 02). The convolutions have no bias, since batch normalisation follows them.
"""

import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import islice

import torch
from torch import nn

from growlab.checks import one_of, whole

VGG16_BLOCKS = (2, 2, 3, 3, 3)  # convolutions per block; a max-pooling ends each block
MOBILENET_STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)  # of the 13 depthwise convolutions, for 32x32 pictures


def mlp(widths: Sequence[int], activation=nn.ReLU) -> nn.Sequential:
    """Fully connected network; ``widths`` = [inputs, hidden, …, classes], e.g. [64, 16, 16, 10] for the digits.

    Takes pictures ``(N, C, H, W)`` with C·H·W = ``widths[0]``, or vectors, and returns logits ``(N, classes)``.
    """
    if len(widths) < 2:
        raise ValueError(f"mlp needs at least [inputs, classes], got {list(widths)}")
    widths = _checked(widths)
    layers = [nn.Flatten()]
    for inputs, outputs in zip(widths, widths[1:]):
        layers += [nn.Linear(inputs, outputs), activation()]
    return nn.Sequential(*layers[:-1])


def vgg5(width=4, classes=10, channels=3) -> nn.Sequential:
    """The shallow sibling of VGG16 for quick runs: four times conv3x3, batch norm, ReLU, max-pool; linear read-out.

    ``width`` is one number or a list of four. Pictures must be at least 16x16.
    """
    return _vgg((1, 1, 1, 1), width, classes, channels)


def vgg16(width=16, classes=10, channels=3) -> nn.Sequential:
    """VGG16 with batch norm and one linear read-out (the paper's §4.1): 28,666 parameters at width 16.

    ``width`` is one number or a list of thirteen. Pictures must be at least 32x32.
    """
    return _vgg(VGG16_BLOCKS, width, classes, channels)


def mobilenet(width=32, classes=10, channels=3) -> nn.Sequential:
    """MobileNetV1 (the paper's §4.1): a convolution, then 13 pairs of depthwise and pointwise ones.

    ``width`` is one number or a list of fourteen: the first convolution and the 13 pointwise ones.
    19,978 parameters at width 32.
    """
    first, *rest = _widths(width, 1 + len(MOBILENET_STRIDES))
    layers = _conv(channels, first, 3)
    for stride, inputs, outputs in zip(MOBILENET_STRIDES, [first, *rest], rest):
        layers += _conv(inputs, inputs, 3, stride, groups=inputs) + _conv(inputs, outputs, 1)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(rest[-1], classes))


def parameter_count(model: nn.Module) -> int:
    """Number of parameters; buffers such as running means are none."""
    return sum(p.numel() for p in model.parameters())


def _vgg(blocks, width, classes, channels):
    widths = iter(_widths(width, sum(blocks)))
    layers, inputs = [], channels
    for convolutions in blocks:
        for outputs in islice(widths, convolutions):
            layers += _conv(inputs, outputs, 3)
            inputs = outputs
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))


def _conv(inputs, outputs, kernel, stride=1, groups=1):
    whole("channels", inputs, 1, "3 for colours")
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]


def _widths(width, layers):
    widths = list(width) if isinstance(width, Iterable) else [width] * layers
    if len(widths) != layers:
        raise ValueError(f"width must be one number or a list of {layers} (one per layer), got {len(widths)}: {widths}")
    return _checked(widths)


def _checked(widths):
    return [whole("every width", width, 1, f"they are {list(widths)}") for width in widths]


def recipe(model: nn.Module) -> dict | None:
    """Name and widths of one of the networks above, whatever its widths are by now; None for any other model."""
    widths = [m.out_channels for m in model.modules() if isinstance(m, nn.Conv2d) and m.groups == 1]
    dense = [m for m in model.modules() if isinstance(m, nn.Linear)]
    channels = next((m.in_channels for m in model.modules() if isinstance(m, nn.Conv2d)), 0)
    for name in BUILDERS if dense else ():
        made = {"width": widths, "classes": dense[-1].out_features, "channels": channels}
        if name == "mlp":
            made = {"widths": [dense[0].in_features, *(layer.out_features for layer in dense)]}
        with suppress(ValueError), torch.device("meta"):  # it has not so many layers
            if repr(build(name, **made)) == repr(model):
                return {"name": name, **made}
    return None


def build(name: str, **made) -> nn.Sequential:
    """One of the networks above by name."""
    return BUILDERS[one_of("model", name, BUILDERS)](**made)


BUILDERS = {"mlp": mlp, "vgg5": vgg5, "vgg16": vgg16, "mobilenet": mobilenet}
LAYERS = {"mlp": 2, "vgg5": 4, "vgg16": 13, "mobilenet": 14}  # so many widths a model has
SMALLEST = {"vgg5": 16, "vgg16": 32}  # pictures that are left after so many halvings


def check_size(model: str, pixels: int) -> None:
    if pixels < (least := SMALLEST.get(model, 1)):
        hint = f"these have {pixels}: take mlp or mobilenet"
        raise ValueError(f"{model} takes pictures of {least}×{least} pixels or more, and {hint}")


def for_pictures(model: str, width: int | tuple[int, ...], classes: int, picture: tuple[int, ...]) -> nn.Sequential:
    """One of the package's networks for pictures of that shape, (C, H, W)."""
    check_size(model, min(picture[1:]))
    if model == "mlp":
        hidden = (width,) * LAYERS[model] if isinstance(width, int) else width
        return mlp([math.prod(picture), *hidden, classes])
    widths = width if isinstance(width, int) else list(width)
    return build(model, width=widths, classes=classes, channels=picture[0])
