"""Grids follow their protocols."""

import pytest

import growlab as gl
from growlab.lab.grids import GRIDS
from growlab.lab.run import Run


@pytest.mark.parametrize("name", GRIDS)
def test_the_runs_of_every_grid_survive_json_and_are_told_apart(name):
    runs = gl.grid(name, 2)
    assert [Run.from_json(run.to_json()) for run in runs] == runs
    assert len({run.name for run in runs}) == len({(run.model, run.arm, run.seed) for run in runs}) == len(runs)
    assert all(set(run.name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") for run in runs)


def test_tables_follow_the_papers_protocol():
    for name, data in (("table1", "cifar10"), ("table2", "cifar100")):
        runs = gl.grid(name, 1)
        assert {(run.model, run.width) for run in runs} == {("vgg16", 16), ("mobilenet", 32)} and len(runs) == 12
        assert {(run.method, run.k) for run in runs if run.k} == {("random", 20), ("splitting", 10), ("firefly", 15)}
        for run in runs:
            assert run.growth().epochs(run.epochs) == (50, 100, 150, 200) and run.rate == 0.35
            assert (run.data, run.epochs, run.schedule, run.batch_size) == (data, 250, "cosine", 128)
    rows = [
        (run.method, run.k > 0 and run.penalty_strength, run.k > 0 and run.change_strength)
        for run in gl.grid("table3", 1)
    ]
    assert rows == [
        (method, *row) for method in ("random", "splitting", "firefly") for row in ((0, 0), (1, 0), (0, 1), (1, 1))
    ]


def test_seeds_changes_and_unknown_grids():
    assert [run.seed for run in gl.grid("dose", [7, 9])][::12] == [7, 9]
    assert {(run.epochs, run.limit) for run in gl.grid("k", 1, epochs=6, limit=500)} == {(6, 500)}
    assert {run.method for run in gl.grid("readings", 1, method="firefly")} == {"firefly"}
    with pytest.raises(ValueError, match="grid must be one of table1, table2.*, got 'table4'"):
        gl.grid("table4")


def test_grids_take_another_schedule_and_other_data():
    assert {run.every for run in gl.grid("quick", 1, every=2)} == {2} and {
        run.at for run in gl.grid("table1", 1, at=(3,))
    } == {(3,)}
    assert {run.reliability for run in gl.grid("quick", 1, data="digits", model="mlp")} == {None}
