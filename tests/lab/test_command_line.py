"""``growlab run GRID`` and ``growlab results``; the single run is in test_environment.py."""

import json
from pathlib import Path

import pytest
from lab_runs import TINY, Here

import growlab as gl
from growlab.__main__ import main
from growlab.lab import execute, grids, treatments

RESULTS = Path(__file__).resolve().parents[2] / "data" / "results"


@pytest.fixture
def grid(monkeypatch):
    """A grid of two arms, executed in this process."""

    class Pool(Here):
        class lifeline:
            close = staticmethod(lambda: None)

    def arms(base):
        return [treatments.grown(base, "random"), treatments.treated(treatments.grown(base, "random"))]

    monkeypatch.setitem(grids.GRIDS, "quick", (TINY, arms))
    monkeypatch.setattr(execute, "_process", lambda pools: Pool())


def test_a_grid_is_run_shown_and_shown_again(grid, tmp_path, capsys):
    command = ["run", "quick", "--seeds", "2", "--folder", str(tmp_path), "--epochs", "3", "--jobs", "1"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert said.count("finished") == 4 and "random+penalty" in said and "p_holm" in said
    assert {run.epochs for run in gl.grid("quick", 2, epochs=3)} == {3} and len(
        list(tmp_path.glob("*/record.json"))
    ) == 4
    assert main(command) == 0  # trains nothing, and says the same
    assert capsys.readouterr().out == said

    assert main(["results", str(tmp_path), "--json", str(tmp_path / "runs.json")]) == 0
    from_folder = capsys.readouterr().out
    assert main(["results", str(tmp_path / "runs.json")]) == 0
    assert sorted(from_folder.split()) != [] and capsys.readouterr().out.count("finished") == 4
    assert len(json.loads((tmp_path / "runs.json").read_text())["runs"]) == 4


def test_a_failed_run_of_a_grid_is_shown_and_ends_with_status_1(grid, tmp_path, capsys):
    assert main(["run", "quick", "--seeds", "1", "--folder", str(tmp_path), "--lr", "1e30"]) == 1
    assert "FloatingPointError" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("run quack", "grid must be one of table1.*, got 'quack'"),
        ("run quick --epochs 0", "epochs must be .* got 0"),
        ("run quick --seeds 0", "seeds must be a whole number of at least 1, got 0"),
        ("run quick --seeds 1 --jobs -1", "jobs must be a whole number of at least 1, got -1"),
        (f"results {RESULTS / 'first_growth.json'}", "no file of gl.collect"),
        ("run quick --device nowhere", "nowhere"),
        ("run quick --data digits", "vgg5 takes pictures of 16×16 pixels or more, and these have 8: take mlp"),
        ("run --data digits --out here", "vgg5 takes pictures of 16×16 pixels or more, and these have 8: take mlp"),
        ("run --out here --threads 0", "threads must be a whole number of at least 1, got 0"),
        ("run --out here --seed -1", "seed must be a whole number of at least 0, got -1"),
        ("results nowhere", "nowhere is neither"),
    ],
)
def test_bad_input_ends_with_status_2_and_one_clear_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments.split()) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("growlab: ") and "\n" not in error
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(error)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("run", "needs --out"),
        ("run --out=", "needs --out"),
        ("run quick --out x", "--out is for a single run"),
        ("run quick --seed 1", "--seed is for a single run"),
        ("run --out x --jobs 2", "--jobs is for a grid"),
        ("run --out x --folder y", "--folder is for a grid"),
        ("results", "FOLDER"),
    ],
)
def test_options_of_a_grid_and_of_one_network_are_not_mixed(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments.split())
    said = capsys.readouterr().err
    assert stopped.value.code == 2 and said.startswith("usage: growlab") and message in said


def test_a_loss_that_explodes_is_told(tmp_path, capsys):
    run = f"run --data digits --model mlp --width 8 --epochs 2 --method none --lr 1e30 --out {tmp_path / 'run'}"
    assert main(run.split()) == 2 and "growlab: the loss became nan in epoch 1: lower lr" in capsys.readouterr().err


def test_a_model_of_your_own_must_be_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd_models.py").write_text(
        "def text():\n    return 'no model'\n\n\ndef key():\n    return {}['width']\n"
    )
    for name, said in (
        ("text", "'odd_models:text' must return a model, and returned str"),
        ("key", "(KeyError: 'width'): it must be"),
    ):
        assert main(f"run --data digits --model odd_models:{name} --out here".split()) == 2
        assert said in capsys.readouterr().err


def test_a_record_is_never_written_over_by_itself_nor_an_empty_one_left(tmp_path, capsys):
    file = tmp_path / "record.json"
    file.write_bytes((RESULTS / "growth_lab.json").read_bytes())
    before = file.read_bytes()
    assert main(["results", str(file), "--json", str(file)]) == 2
    assert file.read_bytes() == before and "is no folder of runs" in capsys.readouterr().err
    assert main(["results", str(tmp_path / "nowhere"), "--json", str(tmp_path / "new.json")]) == 2
    assert not (tmp_path / "new.json").exists()
