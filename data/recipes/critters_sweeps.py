"""K, the dose of the K steps and the growth rate, swept on small critters: three seeds of three methods of growth.

    python data/recipes/critters_sweeps.py FOLDER    trains in FOLDER, goes on where it was stopped, writes the record

The grids "k", "dose" and "rate" with the settings of the grid "quick": vgg5 from width 4, growth after epochs 1, 2
and 3 of 8, 1,600 pictures of reliability 0.8. Arms that two grids share are trained once. Notebook 05 shows the record.
"""

import sys
from pathlib import Path

import growlab as gl

QUICK = {
    "data": "critters", "limit": 1600, "reliability": 0.8, "at": (1, 2, 3), "epochs": 8, "lr": 0.02, "batch_size": 32,
    "augment": False,
}  # fmt: skip


def runs(seeds=range(3)):
    return [run for seed in seeds for name in ("k", "dose", "rate") for run in gl.grid(name, [seed], **QUICK)]


if __name__ == "__main__":
    gl.execute(runs(), folder := sys.argv[1])
    gl.collect(folder, Path(__file__).parents[1] / "results" / f"{Path(__file__).stem}.json")
