"""Notebook 04: what it builds by hand is what the package does, its record, and its figures."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from lessons import functions_of

import growlab as gl
from growlab import plots
from growlab.course.exercises import cosine_map as exercises
from growlab.penalties import PENALTIES, penalty_and_gradient

GIVEN = {"cosine_map": exercises.cosine_map}
RECORD = Path(__file__).resolve().parents[2] / "data" / "results" / "04_cosine_map.json"


@pytest.fixture(scope="module")
def lesson():
    functions = functions_of("04_cosine_map")
    for function in functions.values():  # stubs are replaced by answers in the notebook, too
        function.__globals__.update(GIVEN)
    return functions


def filters(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


SHAPES = [(2, 3), (7, 20), (20, 7), (12, 40)]


@pytest.mark.parametrize("n, d", SHAPES)
def test_the_mean_of_the_map_is_the_package_s(lesson, n, d):
    weight = filters(n, d)
    assert lesson["mean_off_diagonal"](gl.cosine_map(weight)).item() == pytest.approx(
        gl.mean_cosine(weight).item(), abs=1e-14
    )


@pytest.mark.parametrize("n, d", SHAPES)
def test_the_readings_of_eq_3_are_the_package_s(lesson, n, d):
    weight = filters(n, d)
    values = lesson["readings"](weight)
    assert values.keys() <= PENALTIES.keys()
    for kind, value in values.items():
        assert value.item() == pytest.approx(gl.similarity_penalty(weight, kind).item(), abs=1e-13)


@pytest.mark.parametrize("n, d", SHAPES)
def test_bands_bound_and_energy_are_the_package_s(lesson, n, d):
    assert lesson["null"](n, d) == pytest.approx(gl.null_bands(n, d), rel=1e-14)
    assert lesson["lowest"](n, d) == pytest.approx(gl.welch_bound(n, d), abs=1e-15)
    assert lesson["energy"](filters(n, d)).item() == pytest.approx(
        gl.similarity_penalty(filters(n, d), "energy").item(), rel=1e-12
    )


def test_eq_4_is_the_package_s(lesson):
    now, before = filters(5, 9), filters(5, 9, seed=1)
    expected = gl.weight_change(now, before, "sum").item()
    assert lesson["sum_change"](now, before).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("n, d", SHAPES)
def test_the_solutions_of_the_exercises_are_the_package_s(n, d):
    weight = filters(n, d)
    torch.testing.assert_close(exercises.cosine_map(weight), gl.cosine_map(weight))
    torch.testing.assert_close(exercises.mean_cosine(weight), gl.mean_cosine(weight))
    torch.testing.assert_close(exercises.push(weight), penalty_and_gradient(weight, PENALTIES["signed"])[1])
    torch.testing.assert_close(
        exercises.see_the_angle(weight, weight.flip(0)), gl.twin_angle(weight, weight.flip(0)), atol=1e-14, rtol=1e-10
    )


def test_a_a_b_minus_b_has_mean_zero_for_every_a_and_b():
    for seed in range(10):
        a, b = filters(2, 5, seed)
        assert abs(gl.mean_cosine(torch.stack([a, a, b, -b])).item()) < 1e-15


def test_the_record_is_complete_and_within_a_seed_all_arms_begin_alike():
    record = json.loads(RECORD.read_text())
    arms, seeds = record["runs"], range(len(record["seeds"]))
    assert set(arms) == {"|μ|", "mean square", "random", "no penalty"} and all(
        len(runs) == len(seeds) >= 5 for runs in arms.values()
    )
    for seed in seeds:
        first = [next(note for note in runs[seed]["layer"] if note["when"] == "after growth") for runs in arms.values()]
        assert all(note == first[0] for note in first)
        for runs in arms.values():
            assert {note["epoch"] for note in runs[seed]["layer"]} == {2, 4, 8} and 0 < runs[seed]["test_accuracy"] < 1
            assert all(sum(n["histogram"]) == n["neurons"] * (n["neurons"] - 1) // 2 for n in runs[seed]["layer"])


# The figures


def test_cosine_maps_show_each_pair_once_and_say_the_means():
    maps = {"one": gl.cosine_map(filters(5, 9)), "two": gl.cosine_map(filters(6, 9))}
    figure = plots.cosine_maps(maps, band=0.3)
    bars = figure.axes[2].patches
    assert sum(bar.get_height() for bar in bars if 0.04 < bar.get_width() < 0.06) == 10
    assert f"{gl.mean_cosine(filters(5, 9)):+.3f}".replace("-", "−") in figure.alt and "±0.30" in figure.alt


def test_the_workflow_draws_an_arrow_for_every_copy_and_none_for_a_fresh_neuron():
    weight = filters(7, 9)
    figure = plots.workflow(weight, [gl.cosine_map(weight)] * 2, [1, None, 3])
    assert len(figure.axes[0].texts) == 2 and "4 old neurons and 3 new ones" in figure.alt


def test_distributions_have_a_line_for_every_seed_and_one_for_the_mean():
    counts = np.arange(12).reshape(3, 4)
    figure = plots.distributions(
        {"now": {"a": counts, "b": counts}, "then": {"a": counts, "b": counts}}, 0.1, [-1, -0.5, 0, 0.5, 1]
    )
    steps = [patch for patch in figure.axes[0].patches if hasattr(patch, "get_data")]
    assert len(steps) == 8
    np.testing.assert_allclose([patch.get_data().values.sum() for patch in steps], 1)
    assert "now; then" in figure.alt and "a, b" in figure.alt
