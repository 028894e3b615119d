"""The paper on one page: what each of its claims says, what we found, and what would change it. Notebook 05.

``data/results/verdicts.json`` is a list, a claim in each line. ``number``, ``low``, ``high`` (95 % t interval, paired
by seed) are found again in ``record`` by ``find``; ``says`` is the claim as a sentence about that number:

- ``["more", at, margin]``: it is above ``at``; ``["less", at, margin]``: below; ``["equal", at, margin]``: within
  ±``margin`` of it. The margin, of what would matter, is that of the experiment, or 0 if none was fixed beforehand.
- ``doubt``: why the number cannot decide, such as a treatment that had nothing to push. "" if there is none.
"""

import json
from pathlib import Path

import pandas as pd

from growlab.checks import one_of
from growlab.lab.results import results
from growlab.lab.statistics import compare, independence, paired, pushed

UNTESTED = "cannot be tested here"
SAYS = ("more", "less", "equal")


def verdicts(file) -> pd.DataFrame:
    """The table of a file such as ``data/results/verdicts.json``: a row for each claim, in words, to be looked at."""
    rows = []
    for row in json.loads(Path(file).read_text()):
        reading = f" ({row['reading']})" if row["reading"] else ""
        sign = ",.0f" if abs(row["number"] or 0) >= 1000 else "+.2f"
        number, low, high = (format(row[name] or 0, sign) for name in ("number", "low", "high"))
        number = "" if row["record"] is None else f"{number} [{low}, {high}] {row['unit']}"
        rows.append({
            "claim": row["claim"], "place": row["place"], "what we did": row["did"],
            "number [95 %]": number.replace("-", "−"), "verdict": row["verdict"] + reading, "doubt": row["doubt"],
            "what would change it": row["change"], "record": row["record"] or "",
        })  # fmt: skip
    return pd.DataFrame(rows)


def verdict_of(low: float, high: float, says: list, doubt: str = "") -> str:
    """The word for a claim: never stronger than the interval of its number.

    "reproduced" if all of the interval agrees with the claim. "not reproduced" if none of it does, or if it excludes
    an effect as large as the margin. Else, or in doubt, "undecided". Raises ``ValueError`` for an unknown claim.
    """
    what, at, margin = says
    one_of("says", what, SAYS)
    if doubt:
        return "undecided"
    if what == "equal":
        agrees, fails = at - margin <= low and high <= at + margin, high < at - margin or low > at + margin
    elif what == "more":
        agrees, fails = low > at, high < at + margin
    else:
        agrees, fails = high < at, low > at - margin
    return "reproduced" if agrees else "not reproduced" if fails else "undecided"


def measured(row: dict, folder) -> dict:
    """What the record of a row, in ``folder``, says: ``number``, ``low``, ``high``, and a ``doubt`` that it raises.

    ``find``: ``arms`` and ``against`` (see ``paired``), ``what`` (a column or an expression), and perhaps ``where``, a
    query that selects runs, and ``runs``, another record that holds their settings. An average that varies less
    than independent methods would, or arms that all had nothing to push, raise a doubt. Raises ``ValueError`` if
    there is no such arm, and ``FileNotFoundError`` without the record.
    """
    find = row["find"]
    table = runs_of(Path(folder) / row["record"], find.get("runs"))
    table = table.query(find["where"]) if "where" in find else table
    each = paired(table, find["arms"], find["against"], find["what"])
    found, doubts = compare(each.mean(axis=1)), []
    if find["against"] and each.shape[1] > 1 and independence(each)["flagged"]:
        doubts.append("varies less than independent methods")
    if find["against"] and "penalty" in table:
        words = [pushed(runs) for arm, runs in table.groupby("arm") if arm in find["arms"]]
        doubts += ["nothing to push"] * all(text.startswith("nothing") for text in words)
    return {"number": found["difference"], "low": found["low"], "high": found["high"], "doubt": "; ".join(doubts)}


def runs_of(file, names=None):
    """The finished runs of a file of ``collect``, or of one that lists its runs in another way."""
    runs = json.loads(file.read_text())["runs"]
    if isinstance(runs, list) and "run" in runs[0]:
        table = results(file)
        return table[table["state"] == "finished"]
    if names is None:
        return pd.DataFrame(runs)
    return pd.DataFrame(runs).T.join(results(file.with_name(names)).set_index("name"))
