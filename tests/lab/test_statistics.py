"""What may be concluded from a table of results."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import growlab as gl
from growlab.lab import statistics
from growlab.lab.statistics import compare, default_contrasts, holm, independence, paired, pushed

RESULTS = Path(__file__).resolve().parents[2] / "data" / "results"


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


@pytest.mark.parametrize(("seeds", "methods"), [(4, 2), (7, 3), (10, 2), (10, 3), (20, 4)])
@pytest.mark.parametrize("spread", ["equal", "doubling", "one is wild"])
def test_independent_methods_are_flagged_once_in_twenty_whatever_their_variances(seeds, methods, spread):
    scale = {"equal": [1] * methods, "doubling": 2.0 ** np.arange(methods), "one is wild": [1] * (methods - 1) + [4]}
    draws = np.random.default_rng(0).normal(0.3, scale[spread], (10_000, seeds, methods))
    spreads = draws.std(1, ddof=1, keepdims=True)  # independence() on all draws at once
    ratios = methods * (draws / spreads).mean(2).var(1, ddof=1)
    point = independence(draws[0])["ratio_5_percent"]
    assert 0.04 < (ratios < point).mean() < 0.06  # the simulation has a standard error of 0.2 %
    for draw, ratio in zip(draws[:20], ratios):
        found = independence(draw)
        assert found["variance_ratio"] == pytest.approx(ratio) and found["flagged"] == (ratio < point)


def test_of_two_methods_the_share_is_one_plus_their_correlation_and_its_point_that_of_r():
    draw = np.random.default_rng(1).normal(0, [1, 3], (12, 2))
    found, r = independence(draw), np.corrcoef(draw.T)[0, 1]
    assert found["variance_ratio"] == pytest.approx(1 + r)
    t = stats.t.ppf(0.05, 10)  # the exact test of a correlation
    assert found["ratio_5_percent"] == pytest.approx(1 + t / math.sqrt(10 + t**2))
    together = compare(draw.ravel())
    assert [found[f"independent_{name}"] for name in ("low", "high", "p")] == [
        together[n] for n in ("low", "high", "p")
    ]


def test_two_way_analysis_of_variance_has_these_degrees_of_freedom_where_variances_are_equal():
    """The docstring of independence(): m (n − 1) in the denominator would flag half as often."""
    n, m = 10, 3
    draws = np.random.default_rng(2).normal(size=(10_000, n, m))
    share = m * draws.mean(2).var(1, ddof=1) / draws.var(1, ddof=1).mean(1)
    f = (m - 1) * share / (m - share)
    assert 0.044 < (f < stats.f.ppf(0.05, n - 1, (m - 1) * (n - 1))).mean() < 0.056
    assert (share < stats.f.ppf(0.05, n - 1, m * (n - 1))).mean() < 0.03


@pytest.mark.parametrize("draw", [np.zeros((0, 2)), [[1, 2]], [[1, 2], [2, 1]], [[1, 0], [1, 3], [1, 1]]])
def test_where_nothing_varies_or_seeds_are_few_nothing_is_flagged(draw):
    found = independence(draw)
    assert math.isnan(found["variance_ratio"]) and math.isnan(found["ratio_5_percent"]) and not found["flagged"]


def test_the_record_of_vgg16_is_flagged_and_that_of_vgg5_is_not():
    first = {f: gl.summary(gl.results(RESULTS / f"{f}.json")).iloc[0] for f in ("cifar10_vgg16", "cifar10_methods")}
    deep, small = first.values()
    assert deep["flagged"] and not small["flagged"]
    assert deep["variance_ratio"] < 0.2 and 0.5 < small["variance_ratio"] < 1
    assert (
        deep["p"] == pytest.approx(0.0036, abs=1e-4) and deep["verdict"] == "higher, within ±0.3"
    )  # as fixed beforehand
    assert deep["independent_p"] == pytest.approx(0.076, abs=5e-4) and deep["independent_low"] < 0
    for name in ("random+penalty +0.26 [-0.14, +0.66]", "splitting+penalty +0.11 [-0.18, +0.41]"):
        assert name in deep["components"]
    assert "random+penalty: nothing to push: |mu| was 0.013 before the steps" in small["pushed"]
    assert "splitting+penalty: |mu| 0.144 to 0.074" in small["pushed"] and small["placebo"] == ""


def test_an_average_is_compared_with_the_average_of_its_placebos():
    table = gl.results(RESULTS / "cifar10_copies.json")
    both = ["splitting", "net2net"]
    row = gl.summary(table, [([f"{method}+mean_absolute" for method in both], both)]).iloc[0]
    assert row["placebo"] == "splitting+placebo, net2net+placebo"
    assert row["moved"] == pytest.approx(row["moved_placebo"], rel=0.05) and math.isnan(row["moved_against"])
    by_hand = 100 * paired(table, [f"{method}+placebo" for method in both], both).mean(axis=1)
    assert row["placebo_difference"] == pytest.approx(by_hand.mean()) and len(by_hand) == 10
    assert (row["placebo_low"], row["placebo_high"]) == tuple(compare(by_hand)[name] for name in ("low", "high"))
    assert row["near_zero_before"] < 0.45 < 0.6 < row["near_zero_after"]
    assert row["pushed"].startswith("splitting+mean_absolute: mean |cos| 0.332 to 0.280; net2net+mean_absolute: mean")


def test_the_placebo_of_a_treatment_is_the_one_that_gets_as_far():
    found = gl.summary(gl.results(RESULTS / "cifar10_methods.json")).set_index(["arm", "against"])
    row = found.loc["random+penalty", "random"]
    assert row["placebo"] == "random+short placebo" and row["moved_placebo"] == pytest.approx(row["moved"], rel=0.01)
    assert row["placebo_difference"] == found.loc[("random+short placebo", "random"), "difference"]
    assert found.loc[("random+placebo", "random"), "placebo"] == ""  # a placebo has none


@pytest.mark.parametrize(
    ("penalty", "z", "before", "after", "words"),
    [
        ("absolute", 1.9, 0.3, 0.0, "nothing to push: |mu| was 0.300 before the steps"),
        ("absolute", 2.1, 0.3, 0.0, "|mu| 0.300 to 0.000"),
        ("absolute", 9, 0.019, 0.0, "hardly moved: |mu| 0.019 to 0.000"),
        ("mean_absolute", 0.1, 0.3, 0.2, "mean |cos| 0.300 to 0.200"),
        ("square", 0.1, 0.3, 0.29, "hardly moved: mean |cos| 0.300 to 0.290"),
        ("energy", 9, 0.3, 0.2, ""),
        ("absolute", 9, math.nan, math.nan, ""),
    ],
)
def test_words_for_what_a_treatment_pushed(penalty, z, before, after, words):
    column = "mu" if penalty == "absolute" else "mean_absolute_cosine"
    row = {"k": 20, "penalty": penalty, "penalty_strength": 1.0, "null_z_before": z}
    row |= {f"{column}_before": before, f"{column}_after": after}
    assert pushed(pd.DataFrame([row, row])) == words
    assert pushed(pd.DataFrame([row | {"k": 0}])) == pushed(pd.DataFrame([row | {"penalty_strength": 0}])) == ""


def test_differences_of_any_figure_are_paired_by_seed():
    table = runs_of({"a": [50, 60, 70], "b": [40, 45], "c": [41, 43, 40]})
    assert paired(table, ["a"], ["b"], "100 * test_accuracy")["a"].tolist() == pytest.approx([10, 15])
    assert paired(table, ["a", "b"], ["c", "c"]).shape == (2, 2)
    assert paired(table, ["a"], ["b", "c"])["a"].tolist() == pytest.approx([0.095, 0.16])
    assert paired(table, ["a"], [])["a"].tolist() == [0.5, 0.6, 0.7]
