"""What several files need of the lab."""

import pytest
from lab_runs import SMALL, execute

import growlab as gl
from growlab.lab import statistics


@pytest.fixture(scope="session")
def controls(tmp_path_factory):
    """The controls and placebos in miniature: (folder, {arm: run}, {arm: history})."""
    folder = tmp_path_factory.mktemp("controls")
    everything = gl.grid("controls", 1, **SMALL | {"epochs": 3, "precision": "float32"})
    runs = [
        run
        for run in everything
        if run.method not in ("splitting", "firefly") or not run.arm.endswith(statistics.PLACEBOS)
    ]
    table = execute(runs, folder)
    assert set(table["state"]) == {"finished"}
    arms = {run.arm: run for run in runs}
    return folder, arms, {arm: gl.History.load(folder / run.name / "record.json") for arm, run in arms.items()}
