"""The paper on one page: a verdict follows from its number, and its number from a record."""

import json
import math
from pathlib import Path

import pytest

import growlab as gl
from growlab.lab.statistics import COLUMNS
from growlab.lab.verdicts import SAYS, UNTESTED, measured, verdict_of

RESULTS = Path(__file__).resolve().parents[2] / "data" / "results"
ROWS = json.loads((RESULTS / "verdicts.json").read_text())
KEYS = "claim place did number low high unit verdict reading says doubt record find change".split()
TESTED = [row for row in ROWS if row["record"]]


def faults(row, folder=RESULTS):
    """What is wrong with a row: nothing, or one text for each fault."""
    if list(row) != KEYS or not all(row[name] for name in ("claim", "place", "did", "change")):
        return ["a row has these fields, and says what was done and what would change it: " + ", ".join(KEYS)]
    if row["record"] is None:
        empty = all(row[name] is None for name in ("number", "low", "high", "says", "find"))
        return [] if empty and row["verdict"] == UNTESTED else ["a number or a verdict without a record"]
    if not (folder / row["record"]).is_file():
        return [f"no record {row['record']}"]
    found, wrong = measured(row, folder), []
    for name in ("number", "low", "high"):  # rounded
        if row[name] is None or not math.isclose(row[name], found[name], rel_tol=1e-4, abs_tol=6e-4):
            wrong.append(f"{name} is {row[name]}, but the record says {found[name]:.4f}")
    if found["doubt"] and found["doubt"] not in row["doubt"]:
        wrong.append(f"it does not say the doubt: {found['doubt']}")
    if row["verdict"] != (word := verdict_of(found["low"], found["high"], row["says"], row["doubt"])):
        wrong.append(f"the verdict is {row['verdict']}, but the interval says {word}")
    return wrong


@pytest.mark.parametrize("row", ROWS, ids=[f"{i} {row['claim'][:40]}" for i, row in enumerate(ROWS)])
def test_every_verdict_follows_from_its_record(row):
    assert faults(row) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"record": "nowhere.json"}, "no record nowhere.json"),
        ({"record": None}, "without a record"),
        ({"number": 0.25}, "number is 0.25, but the record says -0.2470"),
        ({"high": 0.4}, "high is 0.4, but the record says 0.1869"),
        ({"verdict": "reproduced"}, "the verdict is reproduced, but the interval says not reproduced"),
        ({"says": ["more", 0, 0.1]}, "the interval says undecided"),
        ({"change": ""}, "what would change it"),
    ],
)
def test_a_wrong_row_is_refused(change, fault):
    assert fault in faults(ROWS[0] | change)[0]


def test_a_doubt_that_the_record_raises_must_be_said():
    deep = next(row for row in ROWS if "VGG16" in row["claim"])
    assert "varies less than independent methods" in faults(deep | {"doubt": ""})[0]
    assert len(faults(deep | {"doubt": "", "verdict": "reproduced"})) == 1  # the interval is narrow, above zero
    after_random = next(row for row in ROWS if "for random growth" in row["claim"])
    assert "nothing to push" in faults(after_random | {"doubt": ""})[0]


def test_another_arm_or_figure_is_found_or_refused():
    with pytest.raises(ValueError, match="no finished run is called nobody"):
        measured(ROWS[0] | {"find": ROWS[0]["find"] | {"arms": ["nobody"]}}, RESULTS)
    with pytest.raises(FileNotFoundError):
        measured(ROWS[0] | {"record": "nowhere.json"}, RESULTS)


@pytest.mark.parametrize(
    ("low", "high", "says", "word"),
    [
        (0.1, 2, ["more", 0, 0.3], "reproduced"),
        (-0.1, 2, ["more", 0, 0.3], "undecided"),
        (-0.1, 0.2, ["more", 0, 0.3], "not reproduced"),
        (-0.1, 0.2, ["more", 0, 0], "undecided"),
        (-0.2, -0.1, ["more", 0, 0], "not reproduced"),
        (1, 5, ["less", 5.7, 0], "reproduced"),
        (5, 6, ["less", 5.7, 0], "undecided"),
        (-0.2, 1, ["less", 0, 0.3], "not reproduced"),
        (-0.2, 0.2, ["equal", 0, 0.3], "reproduced"),
        (-0.2, 0.4, ["equal", 0, 0.3], "undecided"),
        (0.31, 0.4, ["equal", 0, 0.3], "not reproduced"),
        (math.nan, math.nan, ["more", 0, 0.3], "undecided"),
    ],
)
def test_words(low, high, says, word):
    assert verdict_of(low, high, says) == word and verdict_of(low, high, says, "no room") == "undecided"


def test_an_unknown_sentence_is_refused():
    with pytest.raises(ValueError, match="says must be one of"):
        verdict_of(0, 1, ["most", 0, 0])
    assert {row["says"][0] for row in TESTED} == {*SAYS}


def test_where_a_row_is_a_contrast_of_accuracy_summary_says_the_same():
    row = ROWS[0]
    found = gl.summary(gl.results(RESULTS / row["record"]), [(row["find"]["arms"], row["find"]["against"])]).iloc[0]
    assert [round(found[name], 3) for name in ("difference", "low", "high")] == pytest.approx(
        [row["number"], row["low"], row["high"]], abs=6e-4
    )
    assert {"flagged", "pushed", "placebo"} <= {*COLUMNS}


def test_the_table_has_a_row_for_each_claim_and_numbers_for_readers():
    table = gl.verdicts(RESULTS / "verdicts.json")
    assert len(table) == len(ROWS) and not table["claim"].isna().any()
    first = table.iloc[0]
    assert first["number [95 %]"] == "−0.25 [−0.68, +0.19] points" and first["verdict"].startswith(
        "not reproduced (|μ|"
    )
    assert table.loc[table["verdict"] == UNTESTED, ["number [95 %]", "record"]].eq("").all(axis=None)
    sizes = table.loc[table["claim"].str.contains("million"), "number [95 %]"].item()
    assert sizes == "324,216 [322,713, 325,718] parameters"


def test_every_claim_of_the_paper_and_of_its_summary_is_there():
    claims = " ".join(f"{row['claim']} {row['place']} {row['did']}" for row in ROWS)
    for word in (
        "CIFAR-10 ", "CIFAR-100", "random growth", "SSD", "Firefly", "VGG16", "MobileNet", "extra time",
        "Eq. 3 and Eq. 4", "Fig. 6", "whole object", "Shortcuts", "best K", "redundancy", "uneven", "Net2Net",
        "0.0288 to 0.325", "gate", "parameter-efficient",
    ):  # fmt: skip
        assert word in claims, word
