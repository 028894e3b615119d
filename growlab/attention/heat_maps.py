"""Heat maps: where a picture speaks for a class, by pytorch-grad-cam, not scaled: shares of a map mean something."""

from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from growlab.attention.inputs import check_pictures, checked_targets
from growlab.checks import one_of, whole
from growlab.watching import evaluating, hooked

FINEST = 4  # the default layer's maps are at most so many times smaller than the picture


# -------------------------------------------------------------------------------------------------- heat maps
@dataclass(frozen=True, eq=False, repr=False)
class Heatmaps:
    """``maps`` (N, H, W), not negative, in the method's own unit; at which layer, and how."""

    maps: Tensor
    layer: str
    method: str

    @property
    def empty(self) -> Tensor:  # (N,): nothing spoke for the target
        return self.maps.flatten(1).amax(1) <= 0

    @property
    def scaled(self) -> Tensor:  # each over its own maximum, for the eye
        return self.maps / self.maps.amax((1, 2), keepdim=True).where(~self.empty[:, None, None], torch.ones(()))

    def __repr__(self):
        return f"{len(self.maps)} heat maps, {self.method} at layer {self.layer!r}, {int(self.empty.sum())} empty"


def heatmaps(model: nn.Module, images: Tensor, targets, layer=None, method="gradcam", batch_size=100) -> Heatmaps:
    """Where normalised images (N, C, H, W) speak for the classes ``targets`` (N,), by pytorch-grad-cam.

    ``layer``: a module or its name; by default the last one whose maps are at least a quarter as wide as the pictures
    (8×8 of 32×32; the last convolution often has 2×2). ``method``: a class of the library in small letters, "gradcam"
    (Selvaraju et al. 2017), "gradcam++", "layercam", "hirescam", "eigencam", …. The library scales every map by its own
    minimum and maximum; here none is scaled, so that shares of it mean something. Gradients, modes and hooks are
    afterwards as they were. Raises ``ValueError`` for an unknown layer or method, a wrong target, or maps that are not
    finite. Notebook 06.
    """
    one_of("method", method, known := _methods())
    batch_size = whole("batch_size", batch_size, 1, "100 is usual")
    check_pictures(images)
    if any(p.dtype == torch.bfloat16 for p in model.parameters()):
        raise ValueError("NumPy, which the library computes in, knows no bfloat16: pass copy.deepcopy(model).float()")
    with _as_it_was(model):
        name, classes = _look_at(model, images[:1], layer)
        targets = checked_targets(targets, images, classes)
        batches = zip(images.split(batch_size), targets.split(batch_size))
        maps = torch.cat([_raw_maps(known[method], model, model.get_submodule(name), *batch) for batch in batches])
    return Heatmaps(maps, name, method)


def _raw_maps(cam_of, model, layer, images, targets):
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    raw, cam = [], cam_of(model, [layer])
    image_of = cam.get_cam_image
    cam.get_cam_image = lambda *given, **more: raw.append(image_of(*given, **more)) or raw[-1]
    try:  # its own `with` hides an IndexError
        cam(images.clone().requires_grad_(), [ClassifierOutputTarget(target) for target in targets.tolist()])
    finally:
        cam.activations_and_grads.release()
    maps = torch.from_numpy(raw[0]).float()  # (B, h, w)
    if not maps.isfinite().all():
        raise ValueError("the heat maps became NaN or infinite: look at the network's weights and at the pictures")
    maps = maps.clamp_min(0)
    return F.interpolate(maps[:, None], images.shape[-2:], mode="bilinear", align_corners=False)[:, 0]


def _methods():
    import pytorch_grad_cam as library
    from pytorch_grad_cam.base_cam import BaseCAM

    found = {name.lower(): kind for name, kind in vars(library).items() if isinstance(kind, type)}
    kinds = {name: kind for name, kind in found.items() if issubclass(kind, BaseCAM)}
    del kinds["fullgrad"], kinds["randomcam"]  # of all layers at once; of NumPy's global random numbers
    return kinds | {"gradcam++": library.GradCAMPlusPlus}


@contextmanager
def _as_it_was(model):
    """Eval mode, gradients on, nothing in place (it would overwrite what hooks have seen); afterwards as before."""
    before = [(p, "grad", p.grad) for p in model.parameters()]
    before += [(m, "inplace", m.inplace) for m in model.modules() if hasattr(m, "inplace")]
    for thing, name, _ in before:
        setattr(thing, name, None if name == "grad" else False)
    try:
        with evaluating(model), torch.enable_grad():
            yield
    finally:
        for thing, name, value in before:
            setattr(thing, name, value)


def _look_at(model, image, layer):
    """(name of the layer, number of classes)."""
    names, sizes = {module: name for name, module in model.named_modules()}, {}

    def note(module, _, output):
        sizes.pop(module, None)  # the order is that of the last call
        sizes[module] = tuple(output.shape[2:]) if isinstance(output, Tensor) and output.dim() == 4 else ()

    with hooked(dict.fromkeys(names, note)):
        classes = model(image).shape[1]
    if layer is None:
        least = [-(-side // FINEST) for side in image.shape[2:]]
        single = {module: size for module, size in sizes.items() if size and not any(module.children())}
        if not (fine := [module for module, (h, w) in single.items() if h >= least[0] and w >= least[1]]):
            raise ValueError(
                f"no layer has maps of {least[0]}×{least[1]} or more: pass layer=, one with maps (N, C, h, w)"
            )
        layer = fine[-1]
    name = names.get(layer, layer) if isinstance(layer, nn.Module) else layer
    one_of("layer", name, [known for known in names.values() if known])  # the whole model has no name
    if not sizes.get(model.get_submodule(name)):
        raise ValueError(f"layer {name!r} has no maps (N, C, h, w): choose a convolution, or what follows it")
    return name, classes
