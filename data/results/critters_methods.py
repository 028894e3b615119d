"""Four methods of growth, with and without the similarity penalty, on critters: ten seeds of vgg5, and two controls.

    python data/results/critters_methods.py FOLDER [SEEDS]      runs, one after the other; a stopped one goes on
    python data/results/critters_methods.py FOLDER --collect    writes critters_methods.json beside this file

Width 4, 35 % more neurons after epochs 1, 2, 3 and 4 of 12, constant learning rate for 40 % of training, then a cosine;
learning rate and batches as in notebook 00. K as the paper reports it for each method (Net2Net: as Random), |mean
cosine|, 10 % relative movement; the placebo is as many steps in random directions. The controls are the network that
never grows and the final widths (13 everywhere) from scratch. All arms of a seed share the initial weights (but those
of width 13), the order of the data and the random numbers of growth.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import torch

import growlab as gl
from growlab.data import random_stream

K = {"random": 20, "net2net": 20, "splitting": 10, "firefly": 15}
SEEDS = 10


def arms():
    yield "never", 4, None
    yield "scratch", 13, None
    when = {"rate": 0.35, "at": (1, 2, 3, 4)}
    for method, k in K.items():
        yield method, 4, gl.Growth(method, **when)
        yield f"{method}+penalty", 4, gl.Growth(method, **when, k=k, decorrelate={"movement": 0.1})
    yield "random+placebo", 4, gl.Growth("random", **when, k=20, decorrelate={"movement": 0.1, "penalty": "random"})


def run(folder, seeds):
    torch.set_num_threads(1)
    for seed in seeds:
        data = gl.load_data("critters", seed=seed)
        for name, width, growth in arms():
            place = Path(folder) / f"{name}-{seed}"
            if (place / "record.json").exists():
                continue
            torch.manual_seed(random_stream(seed, "initialisation").initial_seed())
            history = gl.train(
                gl.vgg5(width), data, 12, growth=growth, seed=seed, folder=place, lr=0.02, batch_size=32,
                schedule="constant_then_cosine", augment=False, progress=False,
            )  # fmt: skip
            print(f"{name:18s} seed {seed}: {history.result['test_accuracy']:.1%}, {history.result['parameters']}", flush=True)


def collect(folder):
    rows = []
    for place in sorted(Path(folder).glob("*/record.json")):
        history = asdict(gl.History.load(place))
        for note in history["similarity"]:  # what the table needs; histograms would be nine tenths of the file
            for layer in note["layers"].values():
                del layer["histogram"]
        for event in history["growths"]:
            del event["new"]
        arm, _, seed = place.parent.name.rpartition("-")
        rows.append({"arm": arm, "seed": int(seed), **history})
    lines = ",\n".join(json.dumps(row) for row in rows)
    Path(__file__).with_suffix(".json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    folder, option = sys.argv[1], (sys.argv[2] if len(sys.argv) > 2 else str(SEEDS))
    collect(folder) if option == "--collect" else run(folder, range(int(option)))
