"""What arms share, and what each of them does."""

from dataclasses import replace

import pytest
from lab_runs import SMALL, TINY, execute, record, same, weights
from test_data import cifar  # noqa: F401  a fixture

import growlab as gl
from growlab.lab.run import multiply_adds, widths_by_epoch


def test_the_control_born_large_has_the_neurons_that_growth_gives_and_the_other_one_its_compute():
    grown = next(run for run in gl.grid("methods", 1) if run.arm == "random")
    arms = {run.arm: run for run in gl.grid("methods", 1)}
    assert widths_by_epoch(grown)[-1] == (14, 14, 13, 13) == arms["scratch"].width and arms["scratch"].method is None
    compute = sum(multiply_adds("vgg5", widths) for widths in widths_by_epoch(grown))
    each = multiply_adds("vgg5", arms["scratch"].width)
    assert abs(arms["scratch at equal compute"].epochs * each - compute) <= each / 2
    assert widths_by_epoch(gl.grid("table1", 1)[0])[-1] == (54,) * 2 + (53,) * 11  # 691 neurons


def test_arms_share_initial_weights_order_of_data_and_randomness_of_growth(controls):
    _, arms, histories = controls
    small = {arm: history.epochs[0]["loss"] for arm, history in histories.items() if "scratch" not in arm}
    assert len(small) == 13 and len(set(small.values())) == 1  # trained alike until the first growth
    for method in ("random", "splitting", "firefly"):
        of_method = [h.growths[0]["new"] for arm, h in histories.items() if arm.partition("+")[0] == method]
        assert len(of_method) == (5 if method == "random" else 2) and all(new == of_method[0] for new in of_method)


def test_another_seed_is_another_run(tmp_path):
    runs = [TINY, replace(TINY, seed=1)]
    execute(runs, tmp_path)
    first, second = (gl.History.load(tmp_path / run.name / "record.json") for run in runs)
    assert first.epochs[0]["loss"] != second.epochs[0]["loss"] and first.growths[0]["new"] != second.growths[0]["new"]


def test_no_steps_are_bit_equal_to_base_whatever_the_penalty(tmp_path):
    other = replace(TINY, k=0, penalty="energy", movement=0.7, when="every_epoch", weight_change="frobenius")
    execute([TINY, other], tmp_path)
    assert other.name != TINY.name and same(weights(tmp_path, TINY), weights(tmp_path, other))
    assert record(tmp_path, TINY) == record(tmp_path, other)


def test_controls_and_placebos_do_what_they_are_called(controls):
    folder, arms, histories = controls
    moved = {
        arm: [round(step["last"]["movement"], 6) for step in history.decorrelations]
        for arm, history in histories.items()
    }
    for arm, history in histories.items():
        assert [step["epoch"] for step in history.decorrelations] == ([1, 2] if "+" in arm else []), arm
        widths = [sum(row["widths"].values()) for row in history.epochs]
        expected = (
            [16] * 3 if arm.startswith("never") else [30] * len(widths) if arm.startswith("scratch") else [16, 22, 30]
        )
        assert widths == expected or (arm.startswith("splitting") and widths[0] < widths[1]), (
            arm
        )  # splitting finds fewer
        assert len(history.epochs) == (2 if arm == "scratch at equal compute" else 3)
    assert moved["random+placebo"] == pytest.approx([0.1, 0.1], rel=0.01)  # one direction: the whole way
    assert all(
        0 < movement < 0.1001
        for movement in moved["random+labels"] + moved["random+penalty"] + moved["firefly+penalty"]
    )
    assert moved["random+refresh"] == [0, 0]
    assert moved["never+penalty"][0] > 0 and moved["scratch+penalty"][0] > 0
    assert same(
        weights(folder, arms["random+refresh"]), weights(folder, arms["random"])
    )  # no batch norm: nothing to refresh
    assert all(step["last"]["loss"] < step["first"]["loss"] for step in histories["random+labels"].decorrelations)
    angles = {
        arm: history.similarity[1]["layers"]["1"].get("twin_angle")
        for arm, history in histories.items()
        if arm.startswith("net2net")
    }
    assert angles["net2net"] < 1e-6 < angles["net2net with step"]


def test_eq4_alone_moves_nothing_since_it_starts_at_its_minimum(tmp_path):
    base, eq3, eq4, both = runs = gl.grid("table3", 1, every=None, **SMALL)[:4]
    execute(runs, tmp_path)
    assert same(weights(tmp_path, base), weights(tmp_path, eq4)) and not same(
        weights(tmp_path, base), weights(tmp_path, eq3)
    )


@pytest.mark.parametrize("budget", ["parameters", "flops"])
def test_budgets_by_parameters_and_by_multiply_adds_bound_each_growth(budget, tmp_path):
    run = replace(TINY, budget=budget, rate=0.4)
    execute([run], tmp_path)
    rows = gl.History.load(tmp_path / run.name / "record.json").epochs
    sizes = [
        row["parameters"]
        if budget == "parameters"
        else multiply_adds("mlp", tuple(row["widths"].values()), 10, (1, 8, 8))
        for row in rows
    ]
    for before, after in zip(sizes[:2], sizes[1:]):
        assert 1.25 * before < after <= 1.4 * before


def test_table2_runs_on_a_small_cifar100_in_the_original_format(cifar, tmp_path):  # noqa: F811
    cifar("cifar100")
    (tmp_path / "cifar-100-python.tar.gz").rename(tmp_path / "root" / "cifar-100-python.tar.gz")
    few = {"firefly": {"fresh": 2, "steps": 1, "scoring": 1}, "splitting": {"fit": 1, "held_out": 1}}
    runs = [
        replace(run, width=2, options=few.get(run.method, {}))
        for run in gl.grid("table2", 1, epochs=2, every=1, batch_size=6)
    ]
    table = execute(runs, tmp_path / "runs")
    assert set(table["state"]) == {"finished"} and len(table) == 12
    assert set(table["model"]) == {"vgg16", "mobilenet"}
    found = gl.summary(table)
    assert list(found["paper_seconds"][found["arm"] == "splitting+penalty"]) == [13790, 7250]
    for run in runs:
        history = gl.History.load(tmp_path / "runs" / run.name / "record.json")
        assert history.settings["data"] == "cifar100" and history.settings["model"]["classes"] == 100
        assert (
            sum(history.epochs[1]["widths"].values()) > sum(history.epochs[0]["widths"].values())
            or run.method == "splitting"
        )
