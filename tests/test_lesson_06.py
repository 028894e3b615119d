"""What notebook 06 builds by hand is what growlab.attention holds."""

import numpy as np
import torch
from lessons import functions_of

import growlab as gl
from growlab import attention, plots
from growlab.exercises import grad_cam as solutions


def test_heat_by_hand_is_that_of_the_package():
    heat = functions_of("06_grad_cam")["heat"]
    heat.__globals__["grad_cam"] = solutions.grad_cam
    data, model = gl.load_data("critters", n=50), gl.vgg5([3, 4, 5, 4])
    images, labels = next(iter(data.batches("test", 6)))
    for layer in ("6", "10"):
        expected = gl.heatmaps(model, images, labels, layer).maps
        assert torch.allclose(heat(model, images, labels, layer), expected, atol=1e-6)


def test_the_solutions_of_the_exercises_are_the_package():
    generator = torch.Generator().manual_seed(0)
    falls = torch.randn(20, 5, generator=generator, dtype=torch.float64)
    assert torch.allclose(solutions.effective_parts(falls), gl.effective_parts(falls), equal_nan=True)
    maps, masks = torch.rand(4, 8, 8, generator=generator).double(), torch.rand(4, 8, 8, generator=generator) > 0.5
    maps[1] = 0
    assert np.allclose(solutions.energy_inside(maps, masks), gl.coverage(maps, masks[:, None], masks).energy, equal_nan=True)
    larger, smaller = torch.randint(9, (12,), generator=generator).double(), torch.randint(7, (8,), generator=generator).double()
    assert abs(float(solutions.auc(larger, smaller)) - gl.auc(larger, smaller)) < 1e-12
    scores, donors = torch.randn(5, 30, 10, generator=generator), torch.randint(1, 10, (30,), generator=generator)
    votes = attention.votes(scores[0], list(scores), torch.zeros(30, dtype=int), donors)
    assert torch.allclose(solutions.who_votes(scores, donors), votes.followed.double().mean(0))


def test_heats_are_drawn_over_their_mean_and_differences_with_their_interval():
    images = torch.zeros(3, 3, 8, 8, dtype=torch.uint8)
    figure = plots.heats(images, ["a", "b", "c"], {"one": torch.ones(3, 8, 8), "none": torch.zeros(3, 8, 8)}, alt="x" * 40)
    shown = [axes.images[0].get_array() for axes in figure.axes if axes.images and axes.images[0].get_array().ndim == 2]
    assert {float(heat.max()) for heat in shown} >= {1.0, 0.0} and all(axes.images[0].get_clim() == (0, 5) for axes in figure.axes[3:9])
    figure = plots.differences({"effect": ([0.1, 0.3], -1.0, 1.4)}, "change")
    assert "+0.2" in figure.alt and "-1" in figure.alt and len(figure.alt) >= 40
