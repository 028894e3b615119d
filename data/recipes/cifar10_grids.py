"""Three experiments of vgg5 on 5,120 pictures of CIFAR-10 (JPEG): momentum, parting copies, GradMax.

    python data/recipes/cifar10_grids.py momentum|parting|gradmax FOLDER

trains in FOLDER, goes on where it was stopped, and writes the record. Contrasts, seeds and margins were fixed before
the first run: they stand in the docstrings of the grids, in ``growlab.lab.grids``.
"""

import sys
from pathlib import Path

import growlab as gl
from growlab.lab.grids import NESTEROV_SEEDS

SEEDS = {"momentum": range(10, 30), "parting": range(10, 20), "gradmax": range(10, 20)}


def runs(name):
    for run in gl.grid(name, SEEDS[name]):
        if not run.nesterov or run.seed < SEEDS[name][NESTEROV_SEEDS]:
            yield run


if __name__ == "__main__":
    name, folder = sys.argv[1:]
    gl.execute(runs(name), folder)
    gl.collect(folder, Path(__file__).parents[1] / "results" / f"cifar10_{name}.json", epochs=1)
