"""Does decorrelating neurons spread attention over the animal, and does it cure shortcuts? Ten seeds of vgg5 on critters.

    python data/results/critters_attention.py train FOLDER             trains what critters_methods.py has not
    python data/results/critters_attention.py measure FOLDER METHODS   measures that, and what critters_methods.py has
    python data/results/critters_attention.py collect FOLDER METHODS   writes 06_attention.json and 06_*.pt beside this file

Runs go one after the other, as in critters_methods.py and by its recipe; a stopped call goes on when given again.

Fixed before anything was measured. The contrast: random+penalty minus random, paired by seed, ten seeds, t interval.
The primary measure: the effective number of parts in a decision (`part_votes`), trained at shortcut 0. Secondary, by
Holm: the same for the other pairs and for the placebo; the accuracy with parts hidden; at each shortcut the share of
decisions that follow a misleading background; and those measures of Grad-CAM that tell the calibration models apart:
AUC over pictures of at least 0.9 in the mean of all 15 pairs of a reader of one part and one of all.

The calibration models have the final size of those they calibrate for, width 13, and are trained on critters of which
the right answer is known to need one part, or all five:
one-PART  every part shows any class, and the label is what PART shows: no other part says anything;
all-SEED  three parts show the label, two another class: five parts tell it for sure, four or three only in 70 % of the
          pictures, fewer in 60 %. A network that is right more often has read all five.
"""

import json
import sys
from dataclasses import replace
from functools import lru_cache, partial
from itertools import product
from pathlib import Path

import torch
from scipy.stats import spearmanr

import growlab as gl
from growlab import attention, critters
from growlab.data import Data, random_stream

SEEDS = 10
SHORTCUTS = (0.5, 0.75, 1.0)
RECIPE = {"lr": 0.02, "batch_size": 32, "schedule": "constant_then_cosine", "augment": False, "progress": False}
RULERS = (  # method, layer, by how many pictures the masks are shifted
    ("gradcam", "10", 0), ("gradcam", "10", 1), ("gradcam", "9", 0), ("gradcam", "6", 0), ("gradcam", "14", 0),
    ("hirescam", "10", 0), ("layercam", "10", 0), ("gradcam++", "10", 0), ("eigencam", "10", 0),
)  # fmt: skip
PENALTY = {"k": 20, "decorrelate": {"movement": 0.1}}


def reader_of_one(part):
    data = gl.load_data("critters", reliability=0.1)
    splits = {name: replace(data.splits[name], labels=data.splits[name].forms[:, part]) for name in ("train", "val", "test")}
    return Data(f"what the {critters.PARTS[part]} shows", data.classes, splits), 5


def reader_of_all(seed):
    data = gl.load_data("critters", seed=seed, reliability=1)
    for split, n in (("train", 12_000), ("val", 1000), ("test", 2000)):
        drawn = critters.draw(n, random_stream(seed, "three to two", split).initial_seed(), reliability=1, swap=2)
        columns = {name: torch.from_numpy(column) for name, column in vars(drawn).items()}
        data.splits[split] = replace(data.splits[split], **columns)
    return Data("three parts against two", data.classes, {name: data.splits[name] for name in ("train", "val", "test")}), 10


def jobs():
    """Name, seed, what makes (data, epochs), width, growth."""
    for part, name in enumerate(critters.PARTS):
        yield f"one-{name}", 0, partial(reader_of_one, part), 13, None
    for seed in range(3):
        yield f"all-{seed}", seed, partial(reader_of_all, seed), 13, None
    for shortcut, seed, (arm, more) in product(SHORTCUTS, range(SEEDS), (("random", {}), ("random+penalty", PENALTY))):
        growth = gl.Growth("random", rate=0.35, at=(1, 2, 3, 4), **more)
        yield f"{arm}-shortcut{shortcut}-{seed}", seed, partial(with_shortcut, shortcut, seed), 4, growth


def with_shortcut(shortcut, seed):
    return gl.load_data("critters", seed=seed, shortcut=shortcut), 12


def train(folder):
    torch.set_num_threads(1)
    for name, seed, make, width, growth in jobs():
        place = Path(folder) / name
        if (place / "record.json").exists():
            continue
        data, epochs = make()
        torch.manual_seed(random_stream(seed, "initialisation").initial_seed())
        history = gl.train(gl.vgg5(width), data, epochs, growth=growth, seed=seed, folder=place, **RECIPE)
        print(f"{name:30s} {history.result['test_accuracy']:.1%}, {history.result['parameters']}", flush=True)


def measure(*folders):
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    for place in sorted((p.parent for f in folders for p in Path(f).glob("*/record.json")), key=lambda p: p.name.rpartition("-")[2]):
        kind, _, seed = place.name.rpartition("-")  # sorted by seed: the pictures of a seed are drawn once
        target = Path(folders[0], "measured", f"{place.name}.json")
        if target.exists() or "cifar" in kind:
            continue
        seed = int(seed) if seed.isdigit() else 0
        model, data = gl.load(place / "checkpoint.pt"), data_of(place.name, seed)
        found = {"background": gl.background_votes(model, data, 1000, seed)}
        if "shortcut" not in kind:
            found |= interventions(model, data, seed) | {"maps": maps(model, data, seed)}
        if kind in ("random", "random+penalty"):
            found |= {"checks": checks(model, data, seed), "neurons": neurons(model, data, seed)}
        target.parent.mkdir(exist_ok=True)
        target.write_text(json.dumps({"model": place.name, **rounded(found)}))
        print(place.name, rounded(found["background"]), flush=True)


def interventions(model, data, seed, n=1000):
    votes = gl.part_votes(model, data, n, seed)
    return {
        "effective_parts": gl.effective_parts(votes.falls).nanmean().item(), "votes": votes.followed.float().mean(0).tolist(),
        "hidden": gl.accuracy_by_hidden_parts(model, data, n, seed),
    }  # fmt: skip


def honest(data, seed, n=300):
    split = attention.changed(data, n, seed, reliability=1)
    return split, split.normalise(split.images)


def maps(model, data, seed):
    split, images = honest(data, seed)
    found = {}
    for name, cams in {"gradcam": gl.heatmaps(model, images, split.labels), **attention.baselines(images)}.items():
        found[name] = gl.coverage(cams, split.masks, split.objects).mean().to_dict()
        found[f"{name}, other masks"] = gl.coverage(cams, split.masks.roll(1, 0), split.objects.roll(1, 0)).mean().to_dict()
    return found


def checks(model, data, seed, n=40):
    split, images = honest(data, seed)
    images, labels, other = images[:n], split.labels[:n], attention.randomised(model, seed)
    cams, maps = gl.heatmaps(model, images, labels), attention.baselines(images) | {"noise": torch.rand(n, 32, 32)}
    like = [spearmanr(a.flatten(), b.flatten()).statistic for a, b in zip(cams.maps, gl.heatmaps(other, images, labels).maps)]
    scores = {name: float(gl.road(model, images, labels, m, seed=seed).mean()) for name, m in {"gradcam": cams.maps, **maps}.items()}
    return {"rank_correlation_with_random_weights": float(torch.tensor(like).nanmean()), "road": scores}


def neurons(model, data, seed):
    """By unit: the mean |cosine| of its filters, the mean |correlation| of what they put out behind batch norm, both ranks."""
    _, images = honest(data, seed)
    found = {}
    for unit in gl.units(model):
        rows = attention.activations(model, images, unit.name)
        pairs = tuple(torch.triu_indices(unit.neurons, unit.neurons, 1))
        cosines, correlations = gl.cosine_map(unit.weight)[pairs], gl.cosine_map(rows)[pairs]
        found[unit.name] = {
            "neurons": unit.neurons, "cosine": cosines.abs().mean().item(), "correlation": correlations.abs().mean().item(),
            "rank_of_weights": gl.effective_rank(unit.weight), "rank_of_activations": gl.effective_rank(rows),
            "together": float(spearmanr(cosines, correlations).statistic),
        }  # fmt: skip
    return found


def calibration(folder):
    """The AUC of each measure, for all pairs of a reader of one part and one of all, on the same pictures and targets."""
    names = [f"one-{part}" for part in critters.PARTS] + [f"all-{seed}" for seed in range(3)]
    models = {name: (gl.load(Path(folder, name, "checkpoint.pt")), *honest(data_of(name, 0), 0)) for name in names}
    found = {}
    for method, layer, shift in RULERS:
        tables = {}
        for name, (model, split, images) in models.items():
            cams = gl.heatmaps(model, images, split.labels, layer, method)
            tables[name] = gl.coverage(cams, split.masks.roll(shift, 0), split.objects.roll(shift, 0))
        pairs = [(a, b) for a in tables if "all" in a for b in tables if "one" in b]
        found[f"{method} {layer}" + ", other masks" * shift] = {
            column: [gl.auc(tables[a][column], tables[b][column]) for a, b in pairs] for column in tables["all-0"] if column != "empty"
        }  # fmt: skip
    return rounded(found)


@lru_cache(1)
def critters_of(seed):
    return gl.load_data("critters", seed=seed)


def data_of(name, seed):
    """What a run was trained on: its mean and standard deviation normalise whatever it looks at."""
    made = {run: make for run, _, make, *_ in jobs()}
    return made[name]()[0] if name in made else critters_of(seed)


def collect(*folders):
    here, models = Path(__file__).parent, []
    for path in sorted(Path(folders[0], "measured").glob("*.json")):
        models.append(json.loads(path.read_text()))
    for name in ("one-head", "all-0", "random-0", "random+penalty-0"):
        (place,) = (p for f in folders if (p := Path(f, name)).exists())
        gl.save(here / f"06_{name}.pt", gl.load(place / "checkpoint.pt"))
    lines = ",\n  ".join(map(json.dumps, models))
    (here / "06_attention.json").write_text(f'{{"calibration": {json.dumps(calibration(folders[0]))},\n "models": [\n  {lines}\n]}}\n')


def rounded(value):
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    return [rounded(inner) for inner in value] if isinstance(value, list) else round(value, 4) if isinstance(value, float) else value


if __name__ == "__main__":
    {"train": train, "measure": measure, "collect": collect}[sys.argv[1]](*sys.argv[2:])
