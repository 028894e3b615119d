"""Does the penalty make a network read more parts where two of five suffice? Critters whose parts are all honest.

    python data/recipes/critters_redundancy.py FOLDER    trains in FOLDER, goes on where it was stopped, measures

50 runs. The contrast, the seeds, the margin and the positive control were fixed before the first one: they stand in the
docstring of the grid, ``growlab.lab.grids.redundancy``. A line of the record is a run: effective parts by interventions
on 1,000 new pictures (``attention.part_votes``), the share of decisions that follow each part, test accuracy, and what
the K steps moved. What the record has is not trained again.
"""

import json
import sys
from pathlib import Path

import torch

import growlab as gl
from growlab.files import write_atomically
from growlab.lab.results import rounded

RECORD = Path(__file__).parents[1] / "results" / "critters_redundancy.json"
PICTURES = 1000


def runs():
    return gl.grid("redundancy", range(10, 20))


def measure(run, row, folder):
    model = gl.load(Path(folder) / run.name / "weights.pt")
    data = gl.load_data("critters", seed=run.seed, reliability=run.reliability)  # its test pictures hide nothing
    votes = gl.part_votes(model, data, PICTURES, run.seed)
    parts = gl.effective_parts(votes.falls)
    return {
        "name": run.name, "arm": run.arm, "seed": run.seed, "accuracy": row["test_accuracy"],
        "effective_parts": parts.nanmean().item(), "without_votes": parts.isnan().double().mean().item(),
        "part_followed": votes.followed.double().mean(0).tolist(),
        "accuracy_by_hidden_parts": gl.accuracy_by_hidden_parts(model, data, PICTURES, run.seed, run.reliability),
        **{name: row[name] for name in row.index if name == "moved" or name.startswith(("near_zero", "mean_", "twin"))},
    }  # fmt: skip


if __name__ == "__main__":
    torch.set_num_threads(1)
    lines = {line["name"]: line for line in json.loads(RECORD.read_text())["runs"]} if RECORD.exists() else {}
    todo = [run for run in runs() if run.name not in lines]
    table = gl.execute(todo, sys.argv[1]) if todo else ()
    for run, (_, row) in zip(todo, table.iterrows() if todo else ()):
        if row["state"] == "finished":
            lines[run.name] = rounded(measure(run, row, sys.argv[1]), 5)
    body = ",\n".join(json.dumps(lines[run.name]) for run in runs() if run.name in lines)
    what = "written by critters_redundancy.py, which says what the numbers are"
    write_atomically(RECORD, f'{{"what": "{what}", "pictures": {PICTURES},\n"runs": [\n{body}\n]}}\n'.encode())
    print(len(lines), "of", len(runs()), "runs are measured")
