"""What notebook 05 and its exercises build by hand is what the package does, and its sentences fit its records."""

import json

import numpy as np
import pytest
import torch
from lessons import FOLDER

import growlab as gl
from growlab.course.exercises import cifar_experiments as lesson
from growlab.lab.run import multiply_adds_by_epoch
from growlab.lab.statistics import compare, default_contrasts

RESULTS = FOLDER.parent / "data" / "results"
TINY = {
    "data": "critters", "limit": 1600, "reliability": 0.8,
    "at": (1, 2, 3), "epochs": 8, "lr": 0.02, "batch_size": 32, "augment": False,
}  # fmt: skip
METHODS = ("random", "splitting", "firefly", "net2net")


@pytest.fixture(scope="module")
def record():
    return gl.results(RESULTS / "cifar10_methods.json")


@pytest.fixture(scope="module")
def accuracy(record):
    return 100 * record.pivot(index="seed", columns="arm", values="test_accuracy")


def test_the_interval_by_hand_is_that_of_summary():
    torch.manual_seed(0)
    for n in (3, 5, 10):
        penalty, base = torch.randn(2, n, dtype=torch.float64)
        found = compare((penalty - base).numpy())
        assert lesson.paired_interval(penalty, base) == pytest.approx((found["low"], found["high"]), abs=1e-9)


@pytest.mark.parametrize("name", ["methods", "controls"])
def test_the_control_at_equal_compute_is_the_one_by_hand(name):
    arms = {run.arm: run for run in gl.grid(name, 1)}
    assert arms["scratch at equal compute"].epochs == lesson.equal_compute(multiply_adds_by_epoch(arms["random"]), 0)


def test_k_is_chosen_by_hand_as_summary_chooses_it():
    sweep = gl.results(RESULTS / "critters_sweeps.json", gl.grid("k", 3, **TINY))
    chosen = [arm for arm, _ in default_contrasts(sweep)[1] if "+k" in arm]
    for method, rows in sweep[sweep["k"] > 0].groupby("method", sort=False):
        validation, test = (
            rows.pivot(index="k", columns="seed", values=f"{kind}_accuracy") for kind in ("val", "test")
        )
        index, reported = lesson.choose(torch.tensor(validation.values), torch.tensor(test.values))
        (k,) = (int(arm.partition("+k")[2]) for arm in chosen if arm.startswith(method))
        assert validation.loc[k].mean() == pytest.approx(validation.iloc[int(index)].mean())  # two may tie
        assert reported == pytest.approx(test.iloc[int(index)].mean())


@pytest.mark.parametrize("file, runs", [
    ("cifar10_methods", gl.grid("methods", 10)), ("cifar10_assay", gl.grid("assay", 3)),
    ("critters_sweeps", [run for name in ("k", "dose", "rate") for run in gl.grid(name, 3, **TINY)]),
])  # fmt: skip
def test_the_records_are_whole(file, runs):
    assert set(gl.results(RESULTS / f"{file}.json", runs)["state"]) == {"finished"}
    assert len(gl.results(RESULTS / f"{file}.json")) == len({run.name for run in runs})


def test_the_deeper_network_has_ten_seeds_of_every_arm():
    deep = gl.results(RESULTS / "cifar10_vgg16.json")
    assert set(deep[deep["state"] == "finished"].groupby("arm")["seed"].count()) == {10}


def test_the_assay_is_sensitive_where_it_is_used():
    assay = gl.results(RESULTS / "cifar10_assay.json").groupby("arm")["test_accuracy"].mean()
    assert assay["scratch, early growth"] - assay["never, early growth"] >= 0.05


def test_fresh_neurons_gain_most_then_fireflys_and_copies_least(accuracy):
    gain = accuracy.mean() - accuracy["never"].mean()
    assert gain["random"] > gain["firefly"] > 2 * gain["splitting"] > 2 * gain["net2net"] > 0


def test_no_method_reaches_the_final_size_at_equal_epochs_and_random_growth_comes_close_at_equal_work(record):
    found = gl.summary(record).set_index(["arm", "against"])
    assert all(found.loc[(method, "scratch"), "verdict"] == "lower" for method in METHODS)
    assert found.loc[("random", "scratch at equal compute"), "verdict"] == "undecided"


def test_the_primary_contrast_shows_no_gain_and_excludes_a_quarter_of_a_point(record):
    primary = gl.summary(record).iloc[0]
    assert (
        primary["seeds"] == 10
        and primary["verdict"] == "undecided"
        and -0.75 < primary["low"] < 0 < primary["high"] < 0.25
    )


def test_where_neurons_are_alike_the_steps_bring_the_mean_cosine_down_for_good_and_leave_twins_together(record):
    means = record.select_dtypes(float).groupby(record["arm"]).mean()
    for method in ("splitting", "net2net"):
        given, plain = means.loc[f"{method}+penalty"], means.loc[method]
        assert given["mean_cosine_after"] < 0.7 * given["mean_cosine_before"]
        assert given["mean_cosine_end"] < 0.8 * plain["mean_cosine_end"]
        assert given["twin_angle_after"] - given["twin_angle_before"] < np.radians(2)
    assert (means.loc[["random+penalty", "firefly+penalty"], "mean_cosine_before"].abs() < 0.05).all()


COPIES = ("net2net", "splitting")


@pytest.fixture(scope="module")
def copies():
    return gl.results(RESULTS / "cifar10_copies.json")


@pytest.fixture(scope="module")
def of_copies(copies):
    wanted = [([f"{method}+mean_absolute" for method in COPIES], list(COPIES))]
    readings = ("absolute", "mean_absolute", "square", "energy")
    wanted += [(f"{m}+{treatment}", m) for m in COPIES for treatment in (*readings, "placebo", "labels")]
    wanted += [(f"{m}+{reading}", f"{m}+placebo") for m in COPIES for reading in readings]
    return gl.summary(copies, wanted)


def test_the_mean_of_absolute_cosines_makes_no_difference_of_more_than_the_margin(of_copies):
    primary = of_copies.iloc[0]
    assert primary["seeds"] == 40 and primary["verdict"] == "within ±0.3"
    assert [round(primary[name], 2) for name in ("difference", "low", "high", "p_equal")] == [-0.01, -0.29, 0.26, 0.02]
    alone = of_copies.set_index(["arm", "against"])
    assert all(alone.loc[(f"{method}+mean_absolute", method), "verdict"] == "undecided" for method in COPIES)


def test_three_arms_gain_and_after_net2net_every_reading_is_below_the_placebo(of_copies):
    verdicts = of_copies.iloc[1:].set_index(["arm", "against"])["verdict"]
    higher = {("splitting+energy", "splitting"), ("splitting+square", "splitting"), ("net2net+placebo", "net2net")}
    assert set(verdicts[verdicts == "higher"].index) == higher | {("splitting+energy", "splitting+placebo")}
    below = verdicts[verdicts == "lower"].index
    assert len(below) == 4 and all(against == "net2net+placebo" for _, against in below)
    assert len(verdicts) == 20 and (verdicts == "undecided").sum() == 12


def test_after_copies_the_treatment_arrived_in_part_lasted_and_left_the_twins(copies):
    means = copies.select_dtypes(float).groupby(copies["arm"]).mean()
    for method, after, end in zip(COPIES, (0.65, 0.64), (0.39, 0.38)):
        given, plain = means.loc[f"{method}+mean_absolute"], means.loc[method]
        assert given["near_zero_after"] == pytest.approx(after, abs=0.005)
        assert given["near_zero_end"] == pytest.approx(end, abs=0.005)
        assert plain["near_zero_end"] == pytest.approx(0.28, abs=0.005)
        assert given["twin_angle_after"] - given["twin_angle_before"] < np.radians(0.5)
    for parted in ("net2net+placebo", "splitting+square", "splitting+energy", "splitting+placebo"):
        assert means.loc[parted, "twin_angle_end"] > means.loc[parted.partition("+")[0], "twin_angle_end"] + 0.06


def test_the_penalty_on_vgg16_is_undecided_since_its_small_p_stands_on_negative_correlations():
    deep = gl.results(RESULTS / "cifar10_vgg16.json")
    assert gl.summary(deep).iloc[0]["p"] == pytest.approx(0.004, abs=5e-4)
    accuracy = 100 * deep.pivot(index="seed", columns="arm", values="test_accuracy")
    each = np.array([accuracy[f"{method}+penalty"] - accuracy[method] for method in METHODS[:3]])
    correlations = np.corrcoef(each)[np.triu_indices(3, 1)]
    assert sorted(correlations.round(2)) == [-0.56, -0.36, -0.33]
    alone = compare(each.ravel())
    assert [round(alone[name], 3) for name in ("p", "low", "high")] == [0.076, -0.018, 0.329]


def test_on_vgg16_two_methods_beat_the_network_that_never_grows_and_random_growth_is_level_with_the_final_size():
    found = gl.summary(gl.results(RESULTS / "cifar10_vgg16.json")).set_index(["arm", "against"])
    assert [found.loc[(m, "never"), "verdict"] for m in METHODS[:3]] == ["higher", "undecided", "higher"]
    assert -0.6 < found.loc[("splitting", "never"), "low"] < found.loc[("splitting", "never"), "high"] < -0.04
    level = found.loc[("random", "scratch")]
    assert level["low"] < -2.2 and level["high"] > 2.5 and abs(level["difference"]) < 0.15


def test_every_record_says_where_it_was_made():
    for file in ("cifar10_methods", "cifar10_assay", "critters_sweeps", "cifar10_vgg16", "cifar10_copies"):
        for environment in json.loads((RESULTS / f"{file}.json").read_text())["environments"]:
            assert environment["torch"] and environment["processor"] and environment["threads"] == 1


def test_the_gain_of_the_best_of_thirty_is_that_of_drawing():
    draws = np.random.default_rng(0).normal(size=(20_000, 31))
    gain, chance = lesson.best_of(30)
    assert draws[:, :30].max(1).mean() == pytest.approx(gain, abs=0.02)  # standard error 0.0035
    assert (draws[:, :30].max(1) > draws[:, 30]).mean() == pytest.approx(chance, abs=0.006)  # 0.0012


def test_copies_that_stay_alike_lose_and_copies_that_part_gain_and_the_penalty_parts_none():
    parting = gl.results(RESULTS / "cifar10_parting.json")
    arms = ("equal shares", "new neurons reset", "kick", "absolute", "mean_absolute", "energy")
    found = gl.summary(parting, [(f"net2net+{arm}", "net2net") for arm in arms]).set_index("arm")
    gains = found["difference"].round(1).to_dict()
    assert (gains["net2net+equal shares"], gains["net2net+new neurons reset"], gains["net2net+kick"]) == (
        -3.4,
        3.7,
        3.7,
    )
    assert found["verdict"].tolist() == ["lower", "higher", "higher", "undecided", "undecided", "undecided"]
    ends = np.degrees(parting.groupby("arm")["twin_angle_end"].mean())
    assert ends["net2net+equal shares"] < 0.5 and ends[["net2net+kick", "net2net+new neurons reset"]].min() > 29
    assert all(abs(ends[f"net2net+{arm}"] - ends["net2net"]) < 4 for arm in arms[3:])
