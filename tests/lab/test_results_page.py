"""docs/results.md says what the records say."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tool():
    return runpy.run_path(str(ROOT / "tools" / "results_page.py"))


def test_the_page_is_what_the_records_say_today(tool):
    assert (ROOT / "docs" / "results.md").read_text() == tool["page"](), "run python tools/results_page.py"


def test_every_claim_and_every_experiment_with_a_record_is_on_it(tool):
    text = (ROOT / "docs" / "results.md").read_text()
    experiments = [e for e in tool["EXPERIMENTS"] if (ROOT / "data" / "results" / e.record).exists()]
    assert len(experiments) >= 3 and all(f"## {e.title}\n" in text and e.command in text for e in experiments)
    assert text.count("What would change it:") == len(
        tool["json"].loads((tool["RESULTS"] / "verdicts.json").read_text())
    )


def test_another_number_in_a_record_is_another_page(tool, tmp_path):
    """The page has no number of its own: it changes with its record."""
    experiment = next(e for e in tool["EXPERIMENTS"] if e.record == "cifar10_vgg16.json")
    table = tool["runs_of"](tool["RESULTS"] / experiment.record)
    before = tool["rows_of"](experiment, table)[0]["difference"]
    changed = table.assign(test_accuracy=table["test_accuracy"] + 0.01 * table["arm"].str.endswith("+penalty"))
    assert tool["rows_of"](experiment, changed)[0]["difference"] == pytest.approx(before + 1)
