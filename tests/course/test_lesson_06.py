"""What notebook 06 and its exercises build by hand is what the package does; and the records that it reads."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from lessons import FOLDER

import growlab as gl
from growlab import attention, critters
from growlab.course.exercises import grad_cam as lesson
from growlab.lab.statistics import compare

RESULTS = FOLDER.parent / "data" / "results"
KEPT = sorted((RESULTS / "attention").glob("*.pt"))


@pytest.fixture(scope="module")
def data():
    return gl.load_data("critters", n=200)


@pytest.fixture(scope="module")
def honest(data):
    return attention.changed(data, 20, seed=2, reliability=1)


@pytest.fixture
def net():
    return gl.load(RESULTS / "attention" / "random.pt").eval()


def read(name):
    return json.loads((RESULTS / f"{name}.json").read_text())


def test_the_readers_of_all_are_right_more_often_than_four_parts_allow_by_five_standard_errors():
    calibration = read("attention_calibration")
    four = calibration["best accuracy from four parts"]
    assert four == pytest.approx(critters.best_accuracy(4, 0.6), abs=1e-3)
    for name, p in calibration["accuracy"].items():
        if name.startswith("all"):
            assert (p - four) / (p * (1 - p) / 20_000) ** 0.5 > 5


def test_the_six_lines_are_the_packages_heat_maps(net, honest):
    images = honest.normalise(honest.images)
    for layer in ("6", "10"):
        expected = gl.heatmaps(net, images, honest.labels, layer).maps
        assert torch.allclose(lesson.grad_cam(net, layer, images, honest.labels), expected, atol=1e-6)


def test_votes_by_hand_are_part_votes(net, data):
    before = attention.changed(data, 50, 1, reliability=1)
    swapped = [attention.changed(data, 50, 1, reliability=1, swap=part) for part in critters.PARTS]
    after = torch.stack([attention.logits(net, split) for split in swapped])
    by_hand = lesson.who_votes(attention.logits(net, before), after, before.labels, swapped[0].forms[:, 0])
    assert torch.allclose(by_hand, gl.part_votes(net, data, 50, 1).falls)


def test_a_part_hidden_by_hand_keeps_its_pixels_as_a_hidden_part_of_critters_does(data, honest):
    hidden = attention.changed(data, 20, seed=2, reliability=1, hide="belly")
    for image, other, mask in zip(honest.images, hidden.images, honest.masks[:, 2]):
        mine = lesson.hide(image, mask, torch.randperm(int(mask.sum())))
        pixels = [sorted(map(tuple, picture[:, mask].T.tolist())) for picture in (image, mine, other)]
        assert pixels[0] == pixels[1] == pixels[2] and torch.equal(mine[:, ~mask], other[:, ~mask])


def test_energy_by_hand_is_that_of_coverage(honest):
    maps = torch.rand(20, 32, 32, dtype=torch.float64)
    maps[3] = 0
    table = gl.coverage(maps, honest.masks, honest.objects)
    assert (
        np.allclose(lesson.energy_inside(maps, honest.objects), table["energy"], equal_nan=True)
        and table["empty"].sum() == 1
    )


def test_the_auc_by_hand_is_the_packages():
    for larger, smaller in lesson.two_groups():
        assert lesson.area_under_curve(larger, smaller).item() == pytest.approx(gl.auc(larger, smaller))


def test_the_networks_of_the_notebook_are_small_and_load():
    assert {"head", "all", "random", "random+penalty"} <= {path.stem for path in KEPT}
    for path in KEPT:
        assert path.stat().st_size < 120_000 and gl.parameter_count(gl.load(path)) < 20_000


def test_the_readers_must_read_what_their_names_say(data):
    head = gl.part_votes(gl.load(RESULTS / "attention" / "head.pt"), data, 100)
    assert head.followed.float().mean(0)[0] > 0.95 and head.followed.float().mean(0)[1:].max() < 0.05
    record = read("attention_calibration")
    accuracy = {name: value for name, value in record["accuracy"].items() if name.startswith("all")}
    assert (
        len(accuracy) == record["readers of all"]
        and len(record["accuracy"]) == len(accuracy) + record["readers of one"]
    )
    margin = 2 * (0.83 * 0.17 / 20_000) ** 0.5
    assert min(accuracy.values()) > record["best accuracy from four parts"] + margin
    assert record["best accuracy from four parts"] == pytest.approx(critters.best_accuracy(4, 0.6), abs=1e-4)


def test_the_primary_contrast_has_ten_seeds_and_both_arms_of_every_seed_are_there():
    runs = read("critters_attention")["runs"]
    arms = {}
    for run in runs:
        arms.setdefault((run["shortcut"], run["arm"]), {})[run["seed"]] = run
    assert set(arms[0.0, "random"]) == set(arms[0.0, "random+penalty"]) == set(range(10))
    gains = [
        arms[0.0, "random+penalty"][seed]["effective_parts"] - run["effective_parts"]
        for seed, run in arms[0.0, "random"].items()
    ]
    assert all(1 <= run["effective_parts"] <= 5 and len(run["hidden"]) == 6 for run in runs)
    assert compare(gains)["seeds"] == 10


def test_the_panel_of_photographs_has_its_text_and_numbers():
    record = read("cifar_attention")
    assert len(record["alt"]) > 100 and (RESULTS / "cifar_attention.png").stat().st_size < 200_000
    assert all(len(row) == len(record["columns"]) for row in record["table"])


def test_where_two_parts_suffice_the_penalty_adds_little_and_hidden_parts_add_one():
    table = pd.DataFrame(json.loads((RESULTS / "critters_redundancy.json").read_text())["runs"])
    parts = table.pivot(index="seed", columns="arm", values="effective_parts")
    assert parts["random"].mean() == pytest.approx(2.9, abs=0.05) and table["accuracy"].min() > 0.999
    penalty = compare(parts["random+mean_absolute"] - parts["random"], margin=0.1)
    assert [round(penalty[name], 2) for name in ("difference", "low", "high")] == [0.06, 0.01, 0.11]
    assert (parts["random, one part hidden"] - parts["random"]).mean() == pytest.approx(1.01, abs=0.005)
