"""What runs have left, as a table and as one file."""

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from lab_runs import TINY, execute

import growlab as gl
from growlab.lab.results import collect


def test_results_read_a_folder_live_and_one_file_alike(controls, tmp_path):
    folder, arms, _ = controls
    table = gl.results(folder)
    assert len(table) == len(arms) and set(table["state"]) == {"finished"}
    (tmp_path / "there").mkdir()
    collect(folder, tmp_path / "there" / "runs.json")
    again = gl.results(tmp_path / "there" / "runs.json")
    assert set(again) == set(table)
    pd.testing.assert_frame_equal(again[table.columns], table, rtol=1e-4, check_dtype=False)
    labelled = gl.results(
        tmp_path / "there" / "runs.json", [replace(arms["random"], arm="ours"), replace(TINY, seed=9)]
    )
    assert labelled["arm"].tolist() == ["ours", ""] and labelled["state"].tolist() == ["finished", "open"]
    with pytest.raises(FileNotFoundError, match="neither a folder of gl.execute nor a file"):
        gl.results(tmp_path / "nowhere")
    assert gl.results(tmp_path / "there").empty and gl.summary(gl.results(tmp_path / "there")).empty


def test_a_row_says_what_a_record_says(controls):
    folder, arms, histories = controls
    table = gl.results(folder, arms.values()).set_index("arm")
    for arm in ("never", "random+penalty", "net2net"):
        row, history = table.loc[arm], histories[arm]
        assert (
            row["test_accuracy"] == history.result["test_accuracy"]
            and row["parameters"] == history.epochs[-1]["parameters"]
        )
        assert row["val_accuracy"] == history.epochs[-1]["val_accuracy"]
        phases = ["training_seconds", "evaluation_seconds", "growth_seconds", "penalty_seconds"]
        assert row["seconds"] == pytest.approx(sum(row[phases])) and (row["penalty_seconds"] > 0) == ("penalty" in arm)
        assert row["growth_seconds"] == pytest.approx(sum(event["seconds"] for event in history.growths))
        pictures, (first, *others) = history.settings["pictures"], [list(e["widths"].values()) for e in history.epochs]
        assert row["compute"] == 3 * pictures * sum(64 * a + a * b + b * 10 for a, b in [first, *others])
    layers = histories["random+penalty"].similarity
    for column, when in (("before", "after growth"), ("after", "after decorrelation"), ("end", "end")):
        last = [note for note in layers if note["when"] == when][-1]["layers"].values()
        expected = np.mean([layer["mean_absolute_cosine"] for layer in last])
        assert table.loc["random+penalty", f"mean_absolute_cosine_{column}"] == pytest.approx(expected)
    assert abs(table.loc["random+penalty", "mean_cosine_after"]) < abs(
        table.loc["random+penalty", "mean_cosine_before"]
    )
    assert pd.isna(table.loc["random", "mean_cosine_after"]) and pd.isna(table.loc["never", "moved"])
    assert table.loc["net2net", "twin_angle_before"] > 0


def test_a_collected_file_is_small_has_provenance_and_no_place_of_this_machine(tmp_path):
    run = replace(
        TINY, width=(4, 4, 4, 4), at=(1, 2, 3, 4), epochs=12, k=2
    )  # as many layers, events and epochs as there
    execute([run, replace(run, seed=1)], tmp_path)
    moved = replace(run, data="folder:/some/where/else/digits")
    (tmp_path / run.name / "run.json").write_text(moved.to_json())
    (tmp_path / run.name).rename(tmp_path / moved.name)
    collect(tmp_path, tmp_path / "runs.json")
    text = (tmp_path / "runs.json").read_text()
    assert "/some" not in text and str(tmp_path) not in text
    content = json.loads(text)
    sizes = [len(line) for line in text.splitlines()[2:4]]
    assert 140 * max(sizes) < 1_000_000  # ten seeds of the 14 arms of "methods"
    assert content["environments"][0]["torch"] == torch.__version__ and len(text.splitlines()) == 5
    first = content["runs"][0]
    kept = [note["layers"]["3"] for note in first["similarity"]]
    assert [note["when"] for note in first["similarity"]] == ["after growth", "after decorrelation", "end"]
    assert all(sum(layer["histogram"]) == math.comb(layer["neurons"], 2) for layer in kept)
    assert "histogram" not in first["similarity"][0]["layers"]["1"] and [
        row["epoch"] for row in first["epochs"]
    ] == list(range(1, 13))
    assert first["growths"][0]["new"] == {"copy": 6}
    assert gl.results(tmp_path / "runs.json")["data"].tolist() == [row["run"]["data"] for row in content["runs"]]


def test_runs_stay_what_they_were_when_a_default_changes(tmp_path):
    """Names and collected files leave out what is a default, so both must remember which one it was."""
    execute([TINY], tmp_path)
    (tmp_path / TINY.name).rename(tmp_path / "as it was called with another default")
    collect(tmp_path, tmp_path / "runs.json")
    for source in (tmp_path, tmp_path / "runs.json"):
        assert gl.results(source)["state"].tolist() == ["finished"]
    content = json.loads((tmp_path / "runs.json").read_text())
    assert "augment" not in content["runs"][0]["run"] and content["defaults"]["augment"] is True
    content["defaults"]["augment"] = False  # as if it had been so when the file was written
    (tmp_path / "runs.json").write_text(json.dumps(content))
    assert gl.results(tmp_path / "runs.json")["augment"].tolist() == [False]
    (found,) = gl.results(tmp_path / "runs.json", [TINY])["state"]
    assert found == "open"  # another run than that of the file


def test_long_runs_keep_thirty_epochs_and_the_last(controls, tmp_path):
    folder, arms, histories = controls
    place = tmp_path / arms["never"].name
    place.mkdir()
    long = asdict(histories["never"])
    long["epochs"] = [long["epochs"][0] | {"epoch": epoch + 1} for epoch in range(250)]
    (place / "record.json").write_text(json.dumps(long))
    (place / "run.json").write_text(arms["never"].to_json())
    collect(tmp_path, tmp_path / "runs.json")
    epochs = [row["epoch"] for row in json.loads((tmp_path / "runs.json").read_text())["runs"][0]["epochs"]]
    assert len(epochs) <= 30 and epochs[-1] == 250 and len(set(np.diff(epochs))) == 1


@pytest.mark.parametrize("name, text", [
    ("run.json", ""), ("record.json", '{"settings": {}, "env'), ("record.json", "{}"), ("record.json", "[]"),
    ("record.json", '{"settings": {}, "environment": {}}'),
    ("record.json", '{"settings": {}, "environment": {}, "epochs": [{}]}'), ("error.json", "{"),
])  # fmt: skip
def test_a_damaged_file_is_named(name, text, tmp_path):
    place = tmp_path / TINY.name
    place.mkdir()
    (place / "run.json").write_text(TINY.to_json())
    (place / name).write_text(text)
    with pytest.raises(ValueError, match=f"{TINY.name}/{name}.* move its folder away"):
        gl.results(tmp_path)


def test_figures_that_an_older_file_lacks_come_from_its_notes():
    """|μ| of each layer, since signed means of layers cancel; the second layer's pairs near zero, as in Fig. 6."""
    file = Path(__file__).resolve().parents[2] / "data" / "results" / "cifar10_methods.json"
    table = gl.results(file).set_index("name")
    for line in json.loads(file.read_text())["runs"][::20]:
        row = table[(table["arm"] == line["run"]["arm"]) & (table["seed"] == line["run"].get("seed", 0))].iloc[0]
        assert "mu_end" not in line["figures"]
        layers = list(line["similarity"][-1]["layers"].values())
        assert row["mu_end"] == pytest.approx(np.mean([abs(layer["mean_cosine"]) for layer in layers]))
        assert row["mu_end"] >= abs(row["mean_cosine_end"]) - 1e-3
        assert row["null_z_end"] == pytest.approx(np.mean([abs(layer["null_z"]) for layer in layers]))
        histogram = layers[1]["histogram"]
        assert row["near_zero_second_end"] == pytest.approx(sum(histogram[18:22]) / sum(histogram))
