"""Heat maps of networks grown on CIFAR-10 (JPEG), with and without the penalty: a panel as in Fig. 5 of the paper.

    python data/recipes/cifar_attention.py FOLDER PICTURES

FOLDER holds the runs of ``growlab run methods --folder FOLDER``, PICTURES are in the folder ``cifar10-jpeg``. The panel
shows the first eight test pictures in an order drawn by seed 0, and the networks of seed 0; the numbers are of all
seeds that have both arms, on 500 pictures (ROAD: 20) drawn by the seed of the run. Grad-CAM of the true class, in the
same layer, in all arms; differences are paired, with 95 % t intervals. ``attention/`` keeps the networks of the panel.
Notebook 06.
"""

import json
import sys
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

import growlab as gl
from growlab import plots
from growlab.files import write_atomically
from growlab.lab.statistics import compare

METHODS, PICTURES, ROAD_PICTURES = ("random", "splitting", "firefly"), 500, 20
HERE = Path(__file__).parents[1] / "results"
NUMBERS = {"area at half the maximum": "area", "entropy": "entropy", "ROAD": "road", "empty maps": "empty"}


def drawn(split, count, seed):
    rows = torch.randperm(len(split), generator=torch.Generator().manual_seed(seed))[:count]
    return split.images[rows], split.labels[rows]


def load(row):
    """(network, its data)."""
    return gl.load(Path(folder) / row["name"] / "weights.pt"), photographs(int(row["limit"]), row["seed"])


@lru_cache(1)
def photographs(limit, seed):
    return gl.load_data(f"folder:{pictures}", limit=limit, seed=seed)


def measure(row):
    net, data = load(row)
    images, labels = drawn(data.test, PICTURES, row["seed"])
    images = data.test.normalise(images)
    cams = gl.heatmaps(net, images, labels)
    nothing = torch.zeros(len(images), 1, *images.shape[2:], dtype=torch.bool)  # there are no masks
    found = gl.coverage(cams, nothing)[["area", "entropy", "empty"]].mean().to_dict()
    some = slice(ROAD_PICTURES)
    return found | {
        "road": float(np.nanmean(gl.road(net, images[some], labels[some], replace(cams, maps=cams.maps[some]))))
    }


def panel(rows):
    """The figure, and the networks in it."""
    maps, nets = {}, {}
    for row in rows:
        nets[row["arm"]], data = load(row)
        images, labels = drawn(data.test, 8, 0)
        cams = gl.heatmaps(nets[row["arm"]], data.test.normalise(images), labels)
        maps[row["arm"].replace("+", "\n+ ")] = cams.maps
    titles = [data.classes[label] for label in labels]
    alt = (
        f"Eight test pictures of CIFAR-10 (JPEG), drawn by a seed ({', '.join(titles)}), and below each the Grad-CAM "
        f"of its true class, layer {cams.layer}, seed 0: {', '.join(nets)}. All maps share one colour scale."
    )
    return plots.heats(images, titles, maps, alt=alt), nets


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, pictures = sys.argv[1:]
    table = gl.results(folder)
    table = table[table["state"] == "finished"]
    path = HERE / "cifar_attention.json"
    measured = json.loads(path.read_text())["runs"] if path.exists() else {}
    of_arm = {arm: {row["seed"]: row for row in rows.to_dict("records")} for arm, rows in table.groupby("arm")}
    pairs = {method: sorted({*of_arm.get(method, ())} & {*of_arm.get(f"{method}+penalty", ())}) for method in METHODS}
    lines, shown = [], []
    for method, seeds in pairs.items():
        arms = [[of_arm[arm][seed] for seed in seeds] for arm in (method, f"{method}+penalty")] if seeds else []
        for row in (row for rows in arms for row in rows):
            if row["name"] not in measured:
                measured[row["name"]] = {name: float(f"{value:.5g}") for name, value in measure(row).items()}
        for what, column in NUMBERS.items() if seeds else ():
            base, penalty = (np.array([measured[row["name"]][column] for row in rows]) for rows in arms)
            found = compare(penalty - base)
            interval = (
                f"{found['low']:+.3f} to {found['high']:+.3f}".replace("-", "−") if len(seeds) > 1 else "one seed"
            )
            lines.append(
                [
                    method,
                    what,
                    len(seeds),
                    *(f"{v:.3f}" for v in (base.mean(), penalty.mean())),
                    f"{found['difference']:+.3f}".replace("-", "−"),
                    interval,
                ]
            )
        if 0 in seeds:
            shown += [of_arm[method][0], of_arm[f"{method}+penalty"][0]]
    figure, nets = panel(shown)
    (HERE / "cifar_attention.png").write_bytes(figure.png())
    for arm, net in nets.items():
        gl.save(
            HERE / "attention" / f"cifar10-{arm}.pt",
            net,
            run={name: shown[0][name] for name in ("data", "limit", "seed", "epochs")},
        )
    columns = ["growth", "what", "seeds", "without", "with the penalty", "difference", "95 % interval"]
    record = {"alt": figure.alt, "limit": int(shown[0]["limit"]), "columns": columns, "table": lines, "runs": measured}
    write_atomically(path, (json.dumps(record, indent=1) + "\n").encode())
    print(*lines, sep="\n")
