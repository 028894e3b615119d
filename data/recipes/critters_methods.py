"""Four methods of growth, with and without the similarity penalty, on critters: ten seeds of vgg5, and three controls.

    python data/recipes/critters_methods.py FOLDER    trains in FOLDER, goes on where it was stopped, writes the record

Width 4, 35 % more neurons after epochs 1, 2, 3 and 4 of 12, constant learning rate for 40 % of training, then a cosine;
learning rate and batches as in notebook 00. K as the paper reports it for each method (Net2Net: as Random), |mean
cosine|, 10 % relative movement; the placebo is as many steps in random directions. The controls are the network that
never grows and the final widths (13 everywhere) from scratch. All arms of a seed share the initial weights (but those
of width 13), the order of the data and the random numbers of growth.
``growlab results critters_methods.json`` shows it.
"""

import sys
from dataclasses import replace
from pathlib import Path

import growlab as gl

BASE = gl.Run(at=(1, 2, 3, 4), movement=0.1, schedule="constant_then_cosine", lr=0.02, batch_size=32, augment=False)
K = {"random": 20, "net2net": 20, "splitting": 10, "firefly": 15}


def runs(seeds=range(10)):
    for base in (replace(BASE, seed=seed) for seed in seeds):
        yield replace(base, arm="never")
        yield replace(base, width=13, arm="scratch")
        for method, k in K.items():
            yield replace(base, method=method, arm=method)
            yield replace(base, method=method, k=k, arm=f"{method}+penalty")
        yield replace(base, method="random", k=20, penalty="random", arm="random+placebo")


if __name__ == "__main__":
    gl.execute(runs(), folder := sys.argv[1])
    gl.collect(folder, Path(__file__).parents[1] / "results" / f"{Path(__file__).stem}.json")
