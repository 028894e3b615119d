"""What the similarity penalty does to attention: which parts decide, and whether the background does, on critters.

    python data/recipes/critters_attention.py FOLDER    trains in FOLDER, or goes on there, measures, writes the record

vgg5 from width 4, as in ``critters_methods.py``: 35 % more neurons after epochs 1, 2, 3 and 4 of 12, the paper's K,
10 % relative movement. Random growth and splitting, each with and without the penalty, on critters whose backgrounds
say nothing (shortcut 0) or go with the class nine times of ten. Random growth at 0.5 and 1, too. Ten seeds of all: 120
runs. Both arms of a seed share the initial weights, the order of the data, and the 1,000 new pictures to measure them.

The primary contrast, fixed beforehand: effective parts by part votes, random + penalty less random, shortcut 0.
``elsewhere`` has it for the same seeds on another processor, which rounds otherwise.
A line of the record is a run: interventions, then Grad-CAM for the true class on the pictures whose parts are all
honest (means over pictures; ``chance``: masks of other pictures; ``road_centre``: of a spot in the middle), then its
layers. ``attention/`` keeps some networks, ``attention.png`` shows what Grad-CAM says of them.
What the record has is not trained again; without the file everything is. Notebook 06.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import growlab as gl
from growlab import attention, plots
from growlab.files import write_atomically
from growlab.lab.folder import state
from growlab.lab.results import rounded

BASE = gl.Run(at=(1, 2, 3, 4), movement=0.1, schedule="constant_then_cosine", lr=0.02, batch_size=32, augment=False)
K = {"random": 20, "splitting": 10}
PICTURES, ROAD_PICTURES = 1000, 20
RESULTS = Path(__file__).parents[1] / "results"
RECORD, KEPT = RESULTS / "critters_attention.json", RESULTS / "attention"
ELSEWHERE = json.loads(RECORD.read_text())["elsewhere"]  # the primary contrast on another processor, seeds 0 … 9


def runs():
    for shortcut, methods in ((None, K), (0.9, K), (0.5, ["random"]), (1.0, ["random"])):
        for seed in range(10):
            for method in methods:
                run = replace(BASE, shortcut=shortcut, seed=seed, method=method, arm=method)
                yield from (run, replace(run, k=K[method], arm=f"{method}+penalty"))


def measure(run, place):
    model = gl.load(place / "weights.pt")
    data = gl.load_data("critters", seed=run.seed, **run.drawing)
    line = {"name": run.name, "arm": run.arm, "shortcut": run.shortcut or 0.0, "seed": run.seed}
    line["accuracy"] = json.loads((place / "record.json").read_text())["result"]["test_accuracy"]
    found = gl.part_votes(model, data, PICTURES, run.seed)
    parts = gl.effective_parts(found.falls)
    line |= {"effective_parts": parts.nanmean().item(), "without_votes": parts.isnan().double().mean().item()}
    line["part_followed"] = found.followed.double().mean(0).tolist()
    line["hidden"] = gl.accuracy_by_hidden_parts(model, data, PICTURES, run.seed)
    line |= gl.background_votes(model, data, PICTURES, run.seed)

    split = attention.changed(data, PICTURES, run.seed, reliability=1)
    images = split.normalise(split.images)
    cams = gl.heatmaps(model, images, split.labels)
    line["gradcam"] = gl.coverage(cams, split.masks, split.objects).mean().to_dict()
    others = gl.coverage(cams, split.masks.roll(1, 0), split.objects.roll(1, 0))
    line["chance"] = others[["energy", "pointing", "parts", "effective_parts"]].mean().to_dict()
    some = slice(ROAD_PICTURES)
    maps = {
        "road": replace(cams, maps=cams.maps[some]),
        "road_centre": attention.baselines(images[some])["centre prior"],
    }
    for name, some_maps in maps.items():
        line[name] = float(np.nanmean(gl.road(model, images[some], split.labels[some], some_maps, seed=run.seed)))
    line["layers"] = [of_layer(model, unit, images[:200]) for unit in gl.units(model)]
    return line


def of_layer(model, unit, images):
    """How alike neurons are by their weights, and by what they put out behind batch norm and ReLU."""
    after = str(int(unit.name) + 2)
    both = {"weights": unit.weight.detach().flatten(1), "activations": attention.activations(model, images, after)}
    off = ~torch.eye(unit.neurons, dtype=torch.bool)
    return {"neurons": unit.neurons} | {
        what: {"effective_rank": gl.effective_rank(rows), "mean_absolute": gl.cosine_map(rows)[off].abs().mean().item()}
        for what, rows in both.items()
    }


def figure():
    """Grad-CAM of two networks whose attention is known, and of two that were grown, on the same critters."""
    files = {"reads the head": "head", "reads all": "all", "grown": "random", "grown\n+ penalty": "random+penalty"}
    split = attention.changed(gl.load_data("critters"), 6, reliability=1)
    images = split.normalise(split.images)
    maps = {name: gl.heatmaps(gl.load(KEPT / f"{file}.pt"), images, split.labels).maps for name, file in files.items()}
    return plots.heats(split.images, [split.classes[label] for label in split.labels], maps, split.masks)


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, lines = Path(sys.argv[1]), {}
    if RECORD.exists():
        lines = {line["name"]: line for line in json.loads(RECORD.read_text())["runs"]}
    gl.execute([run for run in runs() if run.name not in lines], folder)
    for run in runs():
        place = folder / run.name
        if run.name not in lines and state(place) == "finished":
            lines[run.name] = rounded(measure(run, place), 5)
        if run.seed == 0 and run.method == "random" and run.shortcut in (None, 0.9) and state(place) == "finished":
            KEPT.mkdir(exist_ok=True)
            file = KEPT / f"{run.arm}{'-shortcut' if run.shortcut else ''}.pt"
            gl.save(file, gl.load(place / "weights.pt"), run=run.to_json())
    order = [run.name for run in runs() if run.name in lines]
    what = "written by critters_attention.py, which says what the numbers are"
    head = json.dumps({"what": what, "pictures": PICTURES, "elsewhere": ELSEWHERE})[:-1]
    body = ",\n".join(json.dumps(lines[name], separators=(",", ":")) for name in order)
    write_atomically(RECORD, (head + ',\n"runs": [\n' + body + "\n]}\n").encode())
    (RECORD.parent / "attention.png").write_bytes(figure().png())
    print(len(order), "of", len(list(runs())), "runs are measured")
