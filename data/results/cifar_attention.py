"""Side-by-side heat maps on CIFAR-10 (JPEG), as in the paper's figures: picture, base, +penalty; and their numbers.

    python data/results/cifar_attention.py FOLDER PICTURES [SEEDS]      trains what is missing, writes 06_cifar.json and .png

Descriptive: vgg5 from width 8 on 10,000 pictures, 35 % more neurons after epochs 1 to 4 of 12, with and without the
penalty (K = 20), three seeds. Pictures of the figure are drawn by seed DRAWN, one of each class, and nobody chose.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

import growlab as gl
from growlab import attention, plots
from growlab.data import random_stream

DRAWN = 2024
ARMS = {"random": {}, "random+penalty": {"k": 20, "decorrelate": {"movement": 0.1}}}


def train(folder, pictures, seeds):
    for seed in seeds:
        data = gl.load_data(f"folder:{pictures}", seed=seed, limit=10_000)
        for arm, more in ARMS.items():
            place = Path(folder) / f"{arm}-cifar-{seed}"
            if not (place / "record.json").exists():
                growth = gl.Growth("random", rate=0.35, at=(1, 2, 3, 4), **more)
                torch.manual_seed(random_stream(seed, "initialisation").initial_seed())
                history = gl.train(gl.vgg5(8), data, 12, growth=growth, seed=seed, folder=place, lr=0.05,
                                   schedule="constant_then_cosine", progress=False)  # fmt: skip
                print(f"{place.name:20s} {history.result['test_accuracy']:.1%}, {history.result['parameters']}", flush=True)
        yield seed, data


def measure(model, data, n=500, n_road=100):
    rows = torch.randperm(len(data.test), generator=random_stream(DRAWN, "test pictures"))[:n]
    images, labels = data.test.normalise(data.test.images[rows]), data.test.labels[rows]
    cams = gl.heatmaps(model, images, labels)
    whole = torch.ones_like(cams.maps[:, None], dtype=torch.bool)
    table = gl.coverage(cams, whole)[["area", "entropy", "empty"]].mean().to_dict()
    few = attention.Heatmaps(cams.maps[:n_road], cams.layer, cams.method)
    other = gl.heatmaps(attention.randomised(model), images[:n_road], labels[:n_road]).maps
    baselines = attention.baselines(images[:n_road])
    roads = {"gradcam": few, "random weights": other, **baselines}
    return {
        "test_accuracy": gl.evaluate(model, data.test), "layer": cams.layer, **table,
        "road": {name: float(np.nanmean(gl.road(model, images[:n_road], labels[:n_road], maps))) for name, maps in roads.items()},
    }  # fmt: skip


def panels(models, data):
    """A column for each picture: the picture, and the heat of each arm, over its mean, on one colour scale."""
    order = torch.randperm(len(data.test), generator=random_stream(DRAWN, "panels"))
    rows = [next(row for row in order.tolist() if data.test.labels[row] == label) for label in range(len(data.classes))]
    images, labels = data.test.normalise(data.test.images[rows]), data.test.labels[rows]
    maps = {arm.replace("random+", "+ ").replace("random", "base"): gl.heatmaps(m, images, labels).maps for arm, m in models.items()}
    return plots.heats(data.test.images[rows], [data.classes[label] for label in labels], maps)


if __name__ == "__main__":
    folder, pictures, seeds = sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 3
    torch.set_num_threads(1)
    runs = []
    for seed, data in train(folder, pictures, range(seeds)):
        models = {arm: gl.load(Path(folder, f"{arm}-cifar-{seed}", "checkpoint.pt")) for arm in ARMS}
        runs += [{"arm": arm, "seed": seed, "parameters": gl.parameter_count(m), **measure(m, data)} for arm, m in models.items()]
        if seed == 0:
            here = Path(__file__).parent
            (here / "06_cifar.png").write_bytes(panels(models, data).png())
            for arm, model in models.items():
                gl.save(here / f"06_cifar_{arm}.pt", model)
    (here / "06_cifar.json").write_text(json.dumps({"pictures": data.name, "drawn": DRAWN, "runs": runs}, indent=1) + "\n")
