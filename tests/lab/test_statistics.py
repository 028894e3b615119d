"""What may be concluded from a table of results."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import growlab as gl
from growlab.lab import statistics
from growlab.lab.statistics import compare, default_contrasts, holm


def test_compare_agrees_with_scipy():
    differences = np.random.default_rng(0).normal(0.2, 0.5, 10)
    found, oracle = compare(differences), stats.ttest_1samp(differences, 0)
    interval = oracle.confidence_interval(0.95)
    assert (found["p"], found["low"], found["high"]) == pytest.approx((oracle.pvalue, *interval))
    above = stats.ttest_1samp(differences, -0.3, alternative="greater").pvalue
    below = stats.ttest_1samp(differences, 0.3, alternative="less").pvalue
    assert found["p_equal"] == pytest.approx(max(above, below)) and found["difference"] == pytest.approx(
        differences.mean()
    )


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_intervals_cover_and_equivalence_is_rarely_claimed_in_vain(seeds):
    draws = np.random.default_rng(seeds).normal(0.3, 0.4, (1000, seeds))  # the truth lies on the margin
    found = pd.DataFrame([compare(row) for row in draws])
    covered = ((found["low"] < 0.3) & (0.3 < found["high"])).mean()
    assert 0.929 < covered < 0.971  # 95 %, and three standard errors of the simulation
    assert (found["p_equal"] < 0.05).mean() < 0.071


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, math.nan, 0.02])[::2] == pytest.approx([0.5, 0.04]) and math.isnan(holm([math.nan])[0])
    assert holm([0.6, 0.7]) == [1.0, 1.0] and holm([]) == []


def runs_of(accuracies, **more):
    """A table as ``results`` gives it: {arm: accuracies by seed in percent}."""
    rows = [
        {"data": "cifar10", "model": "vgg16", "arm": arm, "seed": seed, "state": "finished",
         "test_accuracy": value / 100, "val_accuracy": value / 100, **dict.fromkeys(statistics.MEANS[1:], 1.0), **more}
        for arm, values in accuracies.items() for seed, value in enumerate(values)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_the_primary_contrast_is_the_penalty_over_all_methods_of_the_paper_and_is_not_corrected():
    noise = np.random.default_rng(1).normal(0, 0.2, (8, 6))
    base = 60 + noise[:4].cumsum(0)
    arms = {"random": base[0], "splitting": base[1], "firefly": base[2], "never": base[3] - 10}
    arms |= {
        f"{method}+penalty": arms[method] + 1 + noise[4 + i]
        for i, method in enumerate(("random", "splitting", "firefly"))
    }
    arms |= {"random+placebo": arms["random"] + noise[7]}
    found = gl.summary(runs_of(arms))
    first = found.iloc[0]
    assert (
        first["arm"] == "random+penalty, splitting+penalty, firefly+penalty"
        and first["against"] == "random, splitting, firefly"
    )
    expected = np.mean([arms[f"{m}+penalty"] - arms[m] for m in ("random", "splitting", "firefly")], axis=0)
    assert first["differences"] == pytest.approx(expected, abs=0.006) and first["p"] == pytest.approx(
        stats.ttest_1samp(expected, 0).pvalue
    )
    assert math.isnan(first["p_holm"]) and first["verdict"] == "higher"
    others = found.iloc[1:]
    assert list(others["p_holm"]) == pytest.approx(holm(list(others["p"])))
    assert list(zip(others["arm"], others["against"])) == [
        ("random+penalty", "random"), ("splitting+penalty", "splitting"), ("firefly+penalty", "firefly"),
        ("random+placebo", "random"),
        ("random+penalty", "random+placebo"), ("random", "never"), ("splitting", "never"), ("firefly", "never"),
    ]  # fmt: skip
    assert found["verdict"].iloc[-1] == "higher"


def test_schedules_that_were_tried_are_held_against_their_own_controls():
    names = [f"{arm}, {schedule}" for schedule in ("long", "short") for arm in ("never", "scratch", "random")]
    primary, found = default_contrasts(runs_of({name: [50, 51] for name in names}))
    assert primary == [] and found == [
        (f"{arm}, {schedule}", f"{control}, {schedule}")
        for control, arm in (("never", "random"), ("scratch", "random"), ("never", "scratch"))
        for schedule in ("long", "short")
    ]


def test_of_a_sweep_over_k_only_the_best_on_validation_is_reported_on_test():
    table = runs_of({"random": [50, 51, 52], "random+k5": [51, 52, 53.5], "random+k20": [55, 56, 57.5]})
    table.loc[table["arm"] == "random+k5", "val_accuracy"] = 0.9  # although another one is better on test
    found = gl.summary(table)
    assert (
        found[["arm", "against"]].values.tolist() == [["random+k5", "random"]] and found["p_holm"][0] == found["p"][0]
    )


def test_verdicts():
    base = np.array([50, 60, 70, 80])
    arms = {"wild": base[[3, 0, 2, 1]], "same": base, "near": base + [0.1, -0.1, 0.1, 0], "up": base + [5, 5.5, 5, 5.5]}
    table = runs_of({"base": base, **arms, "alike": base + 1, "new": [50]})
    found = gl.summary(table, [(arm, "base") for arm in (*arms, "alike", "new")])
    assert dict(zip(found["arm"], found["verdict"])) == {
        "wild": "undecided", "same": "undecided", "near": "within ±0.3", "up": "higher",
        "alike": "alike in all seeds: nothing to judge by", "new": "too few seeds in common: 1",
    }  # fmt: skip
    lower = gl.summary(table, [("base", "up")], margin=9)
    assert lower["verdict"].tolist() == ["lower, within ±9"]


def test_data_sets_and_models_are_families_of_their_own_and_unfinished_runs_do_not_count():
    one, two = (
        runs_of({"random": [50, 51], "random+penalty": [52, 54]}),
        runs_of({"random": [50, 51], "random+penalty": [52, 54]}, model="x"),
    )
    two.loc[two.index[-1], "state"] = "open"
    found = gl.summary(pd.concat([one, two]))
    assert (
        found["model"].tolist() == ["vgg16", "x"] and found["seeds"].tolist() == [2, 1] and found["p_holm"].isna().all()
    )
    assert found["paper_seconds"].tolist()[0] == 3090 and found["paper_seconds_against"].tolist()[0] == 3022
    assert math.isnan(found["paper_seconds"][1]) and set(found["paper_accuracy"]) == {"not in our source"}


def test_impossible_summaries_say_why():
    table = runs_of({"random": [50, 51]})
    with pytest.raises(ValueError, match="no finished run is called never: choose from random"):
        gl.summary(table, [("random", "never")])
    with pytest.raises(ValueError, match="several runs of one seed are called 'random': select rows"):
        gl.summary(pd.concat([table, table]))
    for contrasts in (["random"], "random", [("random",)]):
        with pytest.raises(ValueError, match=r"a contrast must be \(arm or list of arms, against\).* got"):
            gl.summary(table, contrasts)
    assert default_contrasts(table) == ([], [])
