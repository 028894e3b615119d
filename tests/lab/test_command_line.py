"""``growlab run GRID`` and ``growlab results``; the single run is in test_environment.py."""

import json
import math
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
        ("run quick --seed 1", "--seed is for a single run"),
        ("run --out x --jobs 2", "--jobs is for a grid"),
        ("results", "FOLDER"),
    ],
)
def test_options_of_a_grid_and_of_one_network_are_not_mixed(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments.split())
    said = capsys.readouterr().err
    assert stopped.value.code == 2 and said.startswith("usage: growlab") and message in said


@pytest.mark.processes
def test_a_loss_that_explodes_is_told(tmp_path, capsys):
    run = f"run --data digits --model mlp --width 8 --epochs 2 --method none --lr 1e30 --out {tmp_path / 'run'}"
    assert main(run.split()) == 1 and "the loss became nan in epoch 1: lower lr" in capsys.readouterr().out


def test_a_model_of_your_own_must_be_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd_models.py").write_text(
        "def text():\n    return 'no model'\n\n\ndef key():\n    return {}['width']\n"
    )
    for name, said in (
        ("text", "'odd_models:text' must return a model, and returned str"),
        ("nothing", "(AttributeError"),
    ):
        assert main(f"run --data digits --method none --model odd_models:{name} --out here".split()) == 2
        assert said in capsys.readouterr().err


def test_a_record_is_never_written_over_by_itself_nor_an_empty_one_left(tmp_path, capsys):
    file = tmp_path / "record.json"
    file.write_bytes((RESULTS / "growth_lab.json").read_bytes())
    before = file.read_bytes()
    assert main(["results", str(file), "--json", str(file)]) == 2
    assert file.read_bytes() == before and "is no folder of runs" in capsys.readouterr().err
    assert main(["results", str(tmp_path / "nowhere"), "--json", str(tmp_path / "new.json")]) == 2
    assert not (tmp_path / "new.json").exists()


MINE = """
import torch
from growlab.plans import Candidate, GrowthPlan
from growlab.structure.units import growable


def doubled(model, batches=None, *, seed, size=1.0):
    \"\"\"Copies of all neurons, in an order drawn by the seed.\"\"\"
    found = growable(model)
    stream = torch.Generator().manual_seed(len(str(seed)))
    drawn = torch.rand(sum(unit.neurons for unit in found), generator=stream).tolist()
    parents = [(unit.name, i) for unit in found for i in range(unit.neurons)]
    candidates = [Candidate(name, i, size * score) for (name, i), score in zip(parents, drawn)]
    widths = {unit.name: unit.neurons for unit in found}
    return GrowthPlan("doubled", widths, tuple(candidates), nats=False)
"""


@pytest.mark.processes
def test_a_method_in_a_file_of_your_own_trains_by_train_execute_and_the_command_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "my_methods.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    data = gl.load_data("digits", limit=100)
    growth = gl.Growth("my_methods:doubled", 0.5, at=(1,), options={"size": 2.0})
    history = gl.train(gl.mlp([64, 8, 8, 10]), data, 2, growth=growth, progress=False)
    assert history.growths[0]["neurons"] == 8 and history.settings["growth"]["method"] == "my_methods:doubled"

    gated = gl.Growth("my_methods:doubled", 0.5, at=(1,), gate=0.9)  # exact copies have a cosine of 1
    history = gl.train(gl.mlp([64, 8, 8, 10]), data, 2, growth=gated, progress=False)
    assert (history.growths[0]["neurons"], history.growths[0]["refused"]) == (0, 16)
    model, batch = gl.mlp([64, 8, 8, 10]), next(iter(data.batches("train", 50)))
    predicted, actual = gl.preview(model, gl.propose("my_methods:doubled", model, seed=0), batch)
    assert math.isnan(predicted) and abs(actual) < 1e-5  # the scores are no nats, and copies keep the function

    run = gl.Run("digits", 100, model="mlp", width=8, method="my_methods:doubled", rate=0.5, at=(1,), epochs=2)
    assert gl.Run.from_json(run.to_json()) == run and ":" not in run.name
    table = gl.execute([run], tmp_path / "runs", jobs=1, progress=False)
    assert table["state"].tolist() == ["finished"] and sum(table["widths"][0].values()) == 24

    command = (
        "run --data digits --limit 100 --model mlp --width 8 --method my_methods:doubled --rate 0.5 --at 1 --epochs 2"
    )
    assert main([*command.split(), "--threads", "1", "--out", "runs"]) == 0  # the same run: it is there
    assert capsys.readouterr().out.count("finished") == 1 and len(list((tmp_path / "runs").iterdir())) == 1
    assert main([*command.split(), "--options", '{"size": 2.0}', "--out", "runs"]) == 0
    assert len(list((tmp_path / "runs").iterdir())) == 2

    for name in ("my_methods:tripled", "no_methods:doubled"):
        assert main([*command.replace("my_methods:doubled", name).split(), "--out", "others"]) == 2
        assert f"method must be package.module:function, got '{name}'" in capsys.readouterr().err
    assert not (tmp_path / "others").exists()


def test_every_setting_of_a_run_is_an_option(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(execute, "execute", lambda runs, folder, **how: seen.extend(runs) or gl.results(tmp_path, runs))
    command = "run --data critters --method firefly --k 15 --penalty mean_absolute --movement 0.1 --gate 0.9 --at 1 2"
    more = '--no-augment --momentum 0.8 --until 5000 --per-unit --options {"fresh":3} --width 4 5 6 7 --threads 1'
    assert main(f"{command} {more} --out {tmp_path}".split()) == 0
    expected = {"method": "firefly", "k": 15, "penalty": "mean_absolute", "movement": 0.1, "gate": 0.9, "at": (1, 2)}
    expected |= {"augment": False, "momentum": 0.8, "until": 5000, "per_unit": True, "options": {"fresh": 3}}
    assert seen == [gl.Run(**expected, width=(4, 5, 6, 7))]


def test_a_folder_without_runs_says_so(tmp_path, capsys):
    assert main(["results", str(tmp_path)]) == 2
    assert "holds no runs: growlab run … --out FOLDER trains some" in capsys.readouterr().err
    (tmp_path / "record.json").write_text("{}")
    assert main(["results", str(tmp_path)]) == 2
    assert "gl.History.load reads its record.json" in capsys.readouterr().err
    (tmp_path / "run.json").write_text(gl.Run().to_json())
    assert main(["results", str(tmp_path)]) == 2
    assert "it is one run, name the folder around it" in capsys.readouterr().err


def test_an_average_is_shown_with_its_parts_and_with_what_was_pushed(capsys):
    assert main(["results", str(RESULTS / "cifar10_vgg16.json")]) == 0
    shown = capsys.readouterr().out
    assert "random+penalty: nothing to push: |mu| was 0.005 before the steps; splitting+penalty: |mu| 0.036 to" in shown
    assert "is an average of random+penalty +0.26 [-0.14, +0.66]; splitting+penalty +0.11 [-0.18, +0.41]" in shown
    assert "All these differences as independent: -0.02 to +0.33, p = 0.076\n" in shown
    assert "independent methods: 0.17 (5 % point 0.42): FLAGGED" in shown and "nan" not in shown.lower()
