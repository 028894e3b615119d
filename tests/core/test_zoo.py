"""Unmodified torchvision models grow, all units at once, and keep their function."""

import pytest
from zoo import MODELS, examine

UNITS = {  # with one producer, all
    "resnet18": (8, 12), "resnet34": (16, 20), "vgg11_bn": (10, 10), "alexnet": (7, 7), "mobilenet_v2": (20, 25),
    "mnasnet0_5": (20, 25), "squeezenet1_0": (25, 25), "googlenet": (61, 61), "densenet121": (120, 120),
    "mobilenet_v3_small": (14, 27), "efficientnet_b0": (19, 40), "shufflenet_v2_x0_5": (18, 18),
    "regnet_y_400mf": (17, 21), "convnext_tiny": (18, 18), "vit_b_16": (12, 12),
}  # fmt: skip


QUICK = ("resnet18", "squeezenet1_0", "mobilenet_v3_small")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in MODELS]
)
def test_every_unit_grows_at_once_and_the_function_stays(name):
    row = examine(name)
    assert (row["units"], row["all units"]) == UNITS[name]
    assert row["eval"] < 1e-10 and row["train"] < 1e-10
    assert row["eval, no division"] > 0.1 and row["train, no division"] > 0.1  # else the test could not fail
