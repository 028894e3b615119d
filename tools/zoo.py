"""Grow every unit of unmodified torchvision models at once, and measure what it does to the function.

``python tools/zoo.py`` prints the table that data/results/zoo.md holds; test_zoo.py asserts it.
"""

import copy
import sys
import warnings
from pathlib import Path
from unittest import mock

import torch
import torchvision

import growlab as gl
from growlab import surgery
from growlab.plans import Candidate, GrowthPlan

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from oracles import change, outputs, unsettle

MODELS = {  # name -> (side of the pictures, options): all as torchvision makes them
    "resnet18": (64, {}), "resnet34": (64, {}), "vgg11_bn": (64, {}), "alexnet": (96, {}), "mobilenet_v2": (64, {}),
    "mnasnet0_5": (64, {}), "squeezenet1_0": (96, {}), "googlenet": (96, {"init_weights": False}),
    "densenet121": (64, {}), "mobilenet_v3_small": (64, {}), "efficientnet_b0": (64, {}),
    "shufflenet_v2_x0_5": (64, {}), "regnet_y_400mf": (64, {}), "convnext_tiny": (64, {}),
    "vit_b_16": (32, {"image_size": 32}),
}  # fmt: skip


def make(name):
    """A model in float64, fair for the test (see ``unsettle``), and eight pictures."""
    side, options = MODELS[name]
    torch.manual_seed(0)
    images = torch.randn(8, 3, side, side, dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = getattr(torchvision.models, name)(weights=None, **options)
    return unsettle(model, images), images


def everything(model, fresh):
    """A plan that grows every unit, coupled ones too: some parents twice and thrice, and fresh neurons."""
    generator, new = torch.Generator().manual_seed(0), []
    found = gl.units(model, coupled=True)
    for unit in found:
        parents = torch.randint(unit.neurons, (2 + unit.neurons // 8,), generator=generator).tolist()
        new += [Candidate(unit.name, parent) for parent in [0, 0, *parents]]
    if fresh:
        new += gl.propose("random", model, coupled=True).within(rate=0.2).candidates
    return GrowthPlan("everything", {unit.name: unit.neurons for unit in found}, tuple(new))


def examine(name):
    """One row of the table: units, largest change of the outputs by mode, and the same without the division."""
    model, images = make(name)
    row = {"model": name, "units": len(gl.units(model)), "all units": len(gl.units(model, coupled=True))}
    before = {mode: outputs(model, images, mode == "train") for mode in ("eval", "train")}
    plan, wrong = everything(model, fresh=True), copy.deepcopy(model)
    gl.apply(model, plan)
    no_division = property(lambda births: torch.ones_like(births.old))
    with mock.patch.object(surgery.Births, "family", no_division):
        gl.apply(wrong, plan)
    for mode in ("eval", "train"):
        row[mode] = change(before[mode], outputs(model, images, mode == "train"))
        row[f"{mode}, no division"] = change(before[mode], outputs(wrong, images, mode == "train"))
    return row


def table(names=MODELS):
    lines = [
        "| model | units with one producer / all | eval | train | eval, no division | train, no division |",
        "|---|---|---|---|---|---|",
    ]
    for name in names:
        row = examine(name)
        numbers = " | ".join(f"{row[key]:.0e}" for key in ("eval", "train", "eval, no division", "train, no division"))
        lines.append(f"| {name} | {row['units']} / {row['all units']} | {numbers} |")
        print(lines[-1], file=sys.stderr)
    return "\n".join(lines)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(
        f"Every unit of unmodified torchvision {torchvision.__version__.partition('+')[0]} models grown at once, "
        "by copies (repeated parents too) and fresh neurons.\nLargest change of an output, relative to the spread "
        "between pictures, in float64; and the same surgery with the\n"
        "division left out, which must fail. Made by `python tools/zoo.py`.\n"
    )
    print(table(sys.argv[1:] or MODELS))
