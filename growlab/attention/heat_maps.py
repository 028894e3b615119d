"""Heat maps: where a picture speaks for a class, by pytorch-grad-cam, not scaled: shares of a map mean something."""

from collections import Counter
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge

from growlab.attention.inputs import check_pictures, checked_targets
from growlab.checks import one_of, whole
from growlab.watching import evaluating, hooked, logits_of

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
    (8×8 of 32×32; the last convolution often has 2×2). Of a layer that is called several times it is the last call's
    map. ``method``: a class of the library in small letters, "gradcam" (Selvaraju et al. 2017), "gradcam++",
    "layercam", "hirescam", "eigencam", …. The library scales every map by its own minimum and maximum; here none is
    scaled, so that shares of it mean something. The model and the pictures stay as they are. Raises ``ValueError`` for
    an unknown layer or method, a wrong target, a model that does not return logits (N, classes), a layer that the
    logits do not depend on, and maps that are not finite. Notebook 06.
    """
    one_of("method", method, known := _methods())
    batch_size = whole("batch_size", batch_size, 1, "100 is usual")
    check_pictures(images)
    if any(p.dtype == torch.bfloat16 for p in model.parameters()):
        raise ValueError("NumPy, which the library computes in, knows no bfloat16: pass copy.deepcopy(model).float()")
    with evaluating(model), torch.enable_grad():
        name, calls, classes = _look_at(model, images[:1], layer)
        targets = checked_targets(targets, images, classes)
        cam = known[method](model, [model.get_submodule(name)])
        cam.activations_and_grads.release()  # its hooks take the first call, and a view of what may be written into
        if calls > 1 and hasattr(cam, "ablation_layer"):
            raise ValueError(f"method {method!r} replaces all {calls} calls of {name!r}: take another method or layer")
        batches = zip(images.split(batch_size), targets.split(batch_size))
        maps = torch.cat([_raw_maps(cam, model, name, *batch) for batch in batches])
    return Heatmaps(maps, name, method)


def _raw_maps(cam, model, name, images, targets):
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    layer, last = model.get_submodule(name), []

    def keep(_, __, output):
        kept = output.clone()  # what follows may write into the output
        # The output goes on as it is, but for a copy of a view, which has no gradient once it is written into, and
        # for ShapleyCAM, which takes a Hessian and needs a tensor in the graph.
        copied = output._base is not None or not cam.detach
        last[:] = kept, kept if copied or not output.requires_grad else get_gradient_edge(output)
        return kept.clone() if copied else None

    with hooked({layer: keep}):
        scores = model(images.clone().requires_grad_().clone())  # a leaf could not be written into
    (kept, at), gradients = last, None
    if cam.uses_gradients:
        score = scores.gather(1, targets[:, None].to(scores.device)).sum()
        if score.requires_grad and kept.requires_grad:
            (gradients,) = torch.autograd.grad(score, [at], create_graph=not cam.detach, allow_unused=True)
        if gradients is None:
            raise ValueError(f"the logits have no gradient at what layer {name!r} returns last: choose another layer")
    if cam.detach:
        kept, gradients = (each if each is None else each.detach().cpu().numpy() for each in (kept, gradients))
    cam.save_activation = lambda *_: setattr(cam, "activations", last[0].detach())  # ablation's own is a view, too
    wanted = [ClassifierOutputTarget(target) for target in targets.tolist()]
    maps = torch.from_numpy(cam.get_cam_image(images.clone(), layer, wanted, kept, gradients, False)).float()
    if not maps.isfinite().all():
        raise ValueError("the heat maps became NaN or infinite: look at the network's weights and at the pictures")
    return F.interpolate(maps[:, None].clamp_min(0), images.shape[-2:], mode="bilinear", align_corners=False)[:, 0]


def _methods():
    import pytorch_grad_cam as library
    from pytorch_grad_cam.base_cam import BaseCAM

    found = {name.lower(): kind for name, kind in vars(library).items() if isinstance(kind, type)}
    kinds = {name: kind for name, kind in found.items() if issubclass(kind, BaseCAM)}
    del kinds["fullgrad"], kinds["randomcam"]  # of all layers at once; of NumPy's global random numbers
    return kinds | {"gradcam++": library.GradCAMPlusPlus}


def _look_at(model, image, layer):
    """(name of the layer, how often it is called, number of classes)."""
    names, sizes, calls = {module: name for name, module in model.named_modules()}, {}, Counter()

    def note(module, _, output):
        calls[module] += 1
        sizes.pop(module, None)  # the order is that of the last call
        is_map = isinstance(output, Tensor) and output.dim() == 4 and len(output) == len(image)
        sizes[module] = tuple(output.shape[2:]) if is_map else ()

    with hooked(dict.fromkeys(names, note)):
        classes = logits_of(model, image.clone()).shape[1]  # a model may write into what it is given
    if layer is None:
        least = [-(-side // FINEST) for side in image.shape[2:]]
        single = {module: size for module, size in sizes.items() if size and not any(module.children())}
        if not (fine := [module for module, (h, w) in single.items() if h >= least[0] and w >= least[1]]):
            hint = "pass layer=, one with maps (N, C, h, w)"
            raise ValueError(f"no layer has maps of {least[0]}×{least[1]} or more: {hint}")
        layer = fine[-1]
    name = names.get(layer, layer) if isinstance(layer, nn.Module) else layer
    one_of("layer", name, [known for known in names.values() if known])  # the whole model has no name
    if not sizes.get(chosen := model.get_submodule(name)):
        raise ValueError(f"layer {name!r} has no maps (N, C, h, w) at its last call: choose a convolution, say")
    return name, calls[chosen], classes
