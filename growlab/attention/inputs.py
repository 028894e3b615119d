"""What this room is given, checked in one place: pictures, target classes, heat maps."""

import torch
from torch import Tensor


def check_pictures(images: Tensor) -> None:
    """``ValueError`` unless these are pictures (N, C, H, W), at least one."""
    if images.dim() != 4 or not len(images):
        hint = "one picture is images[:1]"
        raise ValueError(f"pictures must be (N, C, H, W), at least one, got {tuple(images.shape)}: {hint}")


def checked_targets(targets, images: Tensor, classes: int) -> Tensor:
    """As a tensor (N,) of whole numbers: the class that each picture's map is about."""
    targets = torch.as_tensor(targets)
    if targets.dim() != 1 or len(targets) != len(images):
        got = len(targets) if targets.dim() == 1 else f"the shape {tuple(targets.shape)}"
        raise ValueError(f"targets must be one class per picture, got {got} for {len(images)}: pass labels, say")
    if targets.is_floating_point() or targets.dtype == torch.bool:
        raise ValueError(f"targets must be whole numbers, got {targets.dtype}: pass labels, say, or .long() of them")
    if len(wrong := targets[(targets < 0) | (targets >= classes)]):
        raise ValueError(f"targets must be classes in 0..{classes - 1}, got {wrong[0]}: pass labels, say")
    return targets


def checked_maps(cams) -> Tensor:
    """The tensor (N, H, W) in ``Heatmaps``, or in what else is one, on the CPU and without gradients."""
    maps = torch.as_tensor(getattr(cams, "maps", cams)).detach().cpu()
    if maps.dim() != 3 or maps.shape[1:].numel() < 2:
        hint = "one map is maps[:1]"
        raise ValueError(f"heat maps must be (N, H, W), of more than one pixel, got {tuple(maps.shape)}: {hint}")
    if not maps.isfinite().all():
        raise ValueError("heat maps must be finite, got NaN or infinity: look at what they were computed from")
    return maps


def checked_masks(masks, objects, maps: Tensor) -> tuple[Tensor, Tensor]:
    """Masks (N, parts, H, W) and objects (N, H, W), all parts together if None: bool, on the CPU, of the maps' size."""
    if masks is None:
        raise ValueError("masks must be (N, parts, H, W), got None: take critters, which have them")
    masks = torch.as_tensor(masks).cpu()
    if masks.dim() != 4:
        hint = "one part for all is masks[:, None]"
        raise ValueError(f"masks must be (N, parts, H, W), got {tuple(masks.shape)}: {hint}")
    objects = masks.any(1) if objects is None else torch.as_tensor(objects).cpu()
    if masks.dtype != torch.bool or objects.dtype != torch.bool:
        raise ValueError(f"masks and objects must be bool, got {masks.dtype} and {objects.dtype}: pass masks > 0, say")
    if not maps.shape == objects.shape == masks[:, 0].shape:
        raise ValueError(
            f"maps, masks and objects must be of the same pictures, got {tuple(maps.shape)}, {tuple(masks.shape)} and "
            f"{tuple(objects.shape)}: take the rows and the size of the pictures that the maps are of"
        )
    return masks, objects
