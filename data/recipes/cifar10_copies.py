"""The readings of Eq. 3 where there is something to push: vgg5 on 5,120 pictures of CIFAR-10 (JPEG), grown by copies.

    python data/recipes/cifar10_copies.py FOLDER    trains in FOLDER, goes on where it was stopped, writes the record

260 runs. The contrasts, the seeds, the margin and the length of the placebo were fixed before the first one: they stand
in the docstring of the grid, ``growlab.lab.grids.copies``. ``growlab results cifar10_copies.json`` shows the record.
"""

import sys
from pathlib import Path

import growlab as gl

PRIMARY = [f"{method}{reading}" for method in ("net2net", "splitting") for reading in ("", "+mean_absolute")]


def runs():
    return [run for run in gl.grid("copies", range(10, 50)) if run.seed < 20 or run.arm in PRIMARY]


if __name__ == "__main__":
    gl.execute(runs(), folder := sys.argv[1])
    gl.collect(folder, Path(__file__).parents[1] / "results" / "cifar10_copies.json", epochs=1)
