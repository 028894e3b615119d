"""Networks whose attention is known, to test rulers on: five that must read one part, and some that must read all.

    python data/recipes/attention_calibration.py FOLDER    trains in FOLDER, or goes on there, and writes the record

Readers of one part: no part knows about any other (reliability 0.1), and the class of a picture is what its head (wing,
…) shows. Readers of all: critters as they are, and a network that is right on more of them than any four parts allow.
Both are vgg5 of the same width; ``attention/`` keeps the reader of the head and the first reader of all.

The record: their accuracy on 20,000 new critters, their effective parts by part votes, and for each method and layer
the AUC of every measure of ``coverage``: how often a reader of all gets more than a reader of one part, over all pairs
of networks and pictures (300, all parts honest); the same with masks of other pictures; and the lowest AUC of two
networks.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

import growlab as gl
from growlab import attention, critters
from growlab.files import write_atomically

WIDTH = 24
RECIPE = {"lr": 0.02, "batch_size": 32, "schedule": "constant_then_cosine", "augment": False, "progress": False}
READERS_OF_ALL = 3


def train_reader_of_one(part, folder):
    data = gl.load_data("critters", n=10_000, reliability=0.1, seed=part)
    shown = {
        name: replace(split, labels=split.forms[:, part])
        for name, split in data.splits.items()
        if name in ("train", "val", "test")
    }
    return train(replace(data, splits=shown), 6, part, folder)


def train_reader_of_all(seed, folder):
    return train(gl.load_data("critters", n=20_000, seed=seed), 12, seed, folder)


def train(data, epochs, seed, folder):
    torch.manual_seed(seed)
    return gl.train(gl.vgg5(width=WIDTH), data, epochs, seed=seed, folder=folder, **RECIPE)


METHODS = {  # name: (layer, method)
    "gradcam": (None, "gradcam"), "gradcam 16x16": ("6", "gradcam"), "gradcam 4x4": ("14", "gradcam"),
    **{method: (None, method) for method in ("gradcam++", "layercam", "hirescam", "eigencam")},
}  # fmt: skip


def rulers(ones, alls, split):
    """{name of METHODS: {"own masks", "other masks", "lowest of two networks": {measure: AUC}}}."""
    images, found = split.normalise(split.images), {}
    for name, (layer, method) in METHODS.items():
        tables = {}
        for net in ones + alls:
            cams = gl.heatmaps(net, images, split.labels, layer, method)
            tables[net] = [
                gl.coverage(cams, split.masks.roll(n, 0), split.objects.roll(n, 0)).drop(columns="empty")
                for n in (0, 1)
            ]
        own, other = ([pd.concat([tables[net][n] for net in nets]) for nets in (alls, ones)] for n in (0, 1))
        found[name] = {
            which: {column: gl.auc(larger[column], smaller[column]) for column in larger}
            for which, (larger, smaller) in (("own masks", own), ("other masks", other))
        }
        found[name]["lowest of two networks"] = {
            column: min(gl.auc(tables[a][0][column], tables[b][0][column]) for a in alls for b in ones)
            for column in own[0]
        }
    return found


def rounded(value):
    return {name: rounded(inner) for name, inner in value.items()} if isinstance(value, dict) else round(value, 4)


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    jobs = {part: (train_reader_of_one, number) for number, part in enumerate(critters.PARTS)}
    jobs |= {f"all-{seed}": (train_reader_of_all, seed) for seed in range(READERS_OF_ALL)}
    for name, (work, number) in jobs.items():
        print(name, work(number, folder / name).result["test_accuracy"], flush=True)

    data, nets = gl.load_data("critters"), {name: gl.load(folder / name / "checkpoint.pt").eval() for name in jobs}
    many = attention.changed(data, 20_000, "calibration")
    votes = {name: gl.part_votes(net, data, 300).falls for name, net in nets.items()}
    record = {
        "readers of one": len(critters.PARTS), "readers of all": READERS_OF_ALL,
        "best accuracy from four parts": critters.best_accuracy(4, 0.6),
        "accuracy": {name: gl.evaluate(net, many) for name, net in nets.items()},
        "effective parts by votes": {name: gl.effective_parts(falls).nanmean().item() for name, falls in votes.items()},
        "auc": rulers([nets[part] for part in critters.PARTS], [net for name, net in nets.items() if "all" in name],
                      attention.changed(data, 300, "calibration", reliability=1)),
    }  # fmt: skip
    write_atomically(
        Path(__file__).parents[1] / "results" / f"{Path(__file__).stem}.json",
        (json.dumps(rounded(record), indent=1) + "\n").encode(),
    )
    for name, kept in (("head", "head"), ("all-0", "all")):
        gl.save(Path(__file__).parents[1] / "results" / "attention" / f"{kept}.pt", nets[name])
