"""What arms share, and what each of them does."""

from dataclasses import replace

import pytest
import torch
from lab_runs import SMALL, TINY, execute, record, same, weights
from test_data import cifar  # noqa: F401  a fixture

import growlab as gl
from growlab.lab.run import multiply_adds, widths_by_epoch
from growlab.lab.treatments import kicked_copies, reset_new_neurons, reset_optimizer


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


# ------------------------------------------------------------------------------- what is done after a growth
def grown_with(then):
    """A small network after its first growth by copies: (model, its momentum before and after ``then``, History)."""
    seen = {}

    def note(model, optimizer, history):
        before = {name: optimizer.state[p]["momentum_buffer"].clone() for name, p in model.named_parameters()}
        then(model, optimizer, history)
        after = {
            name: optimizer.state[p]["momentum_buffer"].clone() if p in optimizer.state else None
            for name, p in model.named_parameters()
        }
        seen.update(before=before, after=after)

    data = gl.load_data("critters", n=200, reliability=1.0)
    torch.manual_seed(0)
    model = gl.vgg5(4)
    history = gl.train(model, data, 2, growth=gl.Growth("net2net", at=(1,), then=note), lr=0.02, progress=False)
    return model, seen, history


def test_a_reset_optimiser_has_no_state():
    _, seen, _ = grown_with(reset_optimizer)
    assert all(value is None for value in seen["after"].values()) and len(seen["before"]) == 14


def test_only_new_neurons_are_reset():
    """Rows and columns of the new neurons are zero in every tensor that holds them, and nothing else has changed."""
    model, seen, history = grown_with(reset_new_neurons)
    table = history.growths[0]["new"]
    new = {unit.name: [n for u, n in zip(table["unit"], table["neuron"]) if u == unit.name] for unit in gl.units(model)}
    zeroed = {name: torch.zeros_like(value, dtype=torch.bool) for name, value in seen["after"].items()}
    for unit in gl.units(model):
        for edit in unit.edits:
            for neuron in new[unit.name] if edit.tensor in zeroed else ():
                start = edit.offset + neuron * edit.repeat
                zeroed[edit.tensor].narrow(edit.axis, start, edit.repeat).fill_(True)
    assert sum(map(len, new.values())) == 6
    for name, value in seen["after"].items():
        assert torch.equal(value, seen["before"][name].masked_fill(zeroed[name], 0))
        assert (value != seen["before"][name]).any() == zeroed[name].any()


def test_kicked_copies_are_net2net_s_and_part_along_the_splitting_direction():
    data = gl.load_data("critters", n=300)
    torch.manual_seed(0)
    model, batches = gl.vgg5(4), data.batches("train", 128, seed=0)
    plan, copies = gl.propose(kicked_copies, model, batches, seed=5), gl.propose("net2net", model, seed=5)
    splits = gl.propose("splitting", model, batches, seed=5, step=1.0, require_negative=False)
    directions = {(c.unit, c.parent): c.values for c in splits.candidates}
    assert plan.table()["parent"].tolist() == copies.table()["parent"].tolist()
    assert plan.table()["score"].tolist() == copies.table()["score"].tolist()
    for candidate in plan.candidates:
        ((edit, value),) = candidate.values.items()
        direction = directions[candidate.unit, candidate.parent][edit].flatten()
        assert value.norm().item() == pytest.approx(0.06, rel=1e-5)
        assert abs(value.flatten() @ direction / value.norm()).item() == pytest.approx(1, abs=1e-5)


def test_the_record_says_what_was_done_after_growth_and_the_run_is_another(tmp_path):
    named = "growlab.lab.treatments:reset_optimizer"
    run = replace(TINY, then=named)
    execute([run, TINY], tmp_path)
    history = gl.History.load(tmp_path / run.name / "record.json")
    assert history.settings["growth"]["then"] == named
    assert not same(weights(tmp_path, run), weights(tmp_path, TINY))


@pytest.mark.parametrize("then", ["reset_optimizer", 5])
def test_an_unknown_treatment_is_refused_before_anything_runs(then):
    with pytest.raises(ValueError, match="then must be"):
        gl.Growth(at=(1,), then=then)
