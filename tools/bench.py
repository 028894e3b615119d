"""``make bench``: how long things take, side by side in one run, medians. No test: times depend on the machine.

``python tools/bench.py NAME …`` runs some of them. Ratios carry over to other machines better than times do.
"""

import copy
import statistics
import subprocess
import sys
import time

import torch
import torch.nn.functional as F

import growlab as gl
from growlab import critters
from growlab.data.batches import Data, Split
from growlab.machine import environment
from growlab.penalties import PENALTIES


def median(function, repeats=7, setup=tuple):
    """Median seconds of a call; ``setup`` makes its arguments outside the clock."""
    seconds = []
    for _ in range(repeats):
        arguments = setup()
        started = time.perf_counter()
        function(*arguments)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def random_pictures(n):
    images = torch.randint(256, (n, 3, 32, 32), dtype=torch.uint8)
    labels, mean, std = torch.randint(10, (n,)), torch.full((3,), 127.0), torch.full((3,), 60.0)
    split = Split(images, labels, tuple("0123456789"), mean, std, shift=4, flip=True)
    return Data("random", split.classes, {"train": split})


def training_step(model, optimizer, images, labels, precision=torch.float32):
    with torch.autocast("cpu", precision, enabled=precision is not torch.float32):
        loss = F.cross_entropy(model(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


class OneByOne(torch.utils.data.Dataset):
    """The usual way: a picture at a time, by PIL and torchvision's transforms."""

    def __init__(self, split):
        from torchvision import transforms as T

        self.images, self.labels = split.images.permute(0, 2, 3, 1).numpy(), split.labels
        self.transform = T.Compose([
            T.ToPILImage(), T.RandomCrop(32, 4), T.RandomHorizontalFlip(), T.ToTensor(),
            T.Normalize([0.5] * 3, [0.24] * 3),
        ])  # fmt: skip

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.transform(self.images[i]), self.labels[i]


def training():
    """Images per second of VGG16(16) at batch 128, by loader and precision, taken in turns."""
    data = random_pictures(128 * 30)
    loader = torch.utils.data.DataLoader(OneByOne(data.train), 128, shuffle=True, num_workers=2)
    ours = data.batches("train", 128, augment=True, seed=0)
    ways = {
        "DataLoader (2 workers), torchvision transforms": (loader, torch.contiguous_format, torch.float32),
        "growlab": (ours, torch.channels_last, torch.float32),
        "growlab, precision=\"bfloat16\"": (ours, torch.channels_last, torch.bfloat16),
    }  # fmt: skip
    seconds = {way: [] for way in ways}
    for _ in range(6):
        for way, (batches, layout, precision) in ways.items():
            model = gl.vgg16(16).to(memory_format=layout)
            optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
            started = time.perf_counter()
            for images, labels in batches:
                training_step(model, optimizer, images, labels, precision)
            seconds[way].append(time.perf_counter() - started)
    speed = {
        way: len(data.train) / statistics.median(times[1:]) for way, times in seconds.items()
    }  # the first warms up
    base = next(iter(speed.values()))
    return [(f"training VGG16(16), {way}", f"{v:,.0f} pictures/s", f"{v / base:.1f}×") for way, v in speed.items()]


def surgery():
    """Widening by 35 % in every unit; for other people's models also finding the units, against a deepcopy."""
    import torchvision.models as zoo

    rows = []
    for name, make in {"VGG16(53)": lambda: gl.vgg16(53), "resnet18": zoo.resnet18, "vit_b_16": zoo.vit_b_16}.items():
        model = make()
        plan = gl.propose("net2net", model, coupled=True).within(rate=0.35, per_unit=True)
        copied, grown = [], []
        for _ in range(9):  # in turns
            copied.append(median(copy.deepcopy, 1, lambda: (model,)))
            grown.append(median(gl.apply, 1, lambda: (copy.deepcopy(model), plan)))
        unit = statistics.median(copied)
        for what, took in (
            (f"finding the units of {name}", median(lambda: gl.units(model))),
            (f"finding them and growing all by 35 %, {name}", statistics.median(grown)),
        ):
            rows.append((what, f"{took * 1e3:.0f} ms", f"{took / unit:.1f} deepcopies"))
    return rows


def vgg16_steps(width):
    """VGG16 of a width, a batch of 128, and a function that makes one training step of it: the unit of rows below."""
    (batch,) = random_pictures(128).batches("train", 128, seed=0)
    model = gl.vgg16(width).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)  # at 0.1 a single batch diverges
    return model, batch, lambda: training_step(model, optimizer, *batch)


def in_steps(function, step, rounds=6):
    """Median seconds of a call, and its median in training steps, taken in turns; the first round warms up."""
    seconds, ratios = [], []
    for _ in range(rounds):
        unit = median(step, 3)
        seconds.append(median(function, 1))
        ratios.append(seconds[-1] / unit)
    return statistics.median(seconds[1:]), statistics.median(ratios[1:])


def splitting():
    rows = []
    for width, path in ((16, "dense"), (16, "matrix-free"), (32, "matrix-free"), (64, "matrix-free")):
        model, batch, step = vgg16_steps(width)
        took, steps = in_steps(lambda: gl.propose("splitting", model, [batch], require_negative=False, path=path), step)
        rows.append((f"splitting, VGG16({width}), {path}, one batch", f"{took:.2f} s", f"{steps:.1f} training steps"))
    return rows


def firefly():
    """A pass is one step of all perturbations; 70 fresh candidates per layer as published, beside the 208 splits."""
    model, batch, step = vgg16_steps(16)
    rows = []
    for fresh in (8, 70):
        one, three = (
            in_steps(lambda: gl.propose("firefly", model, [batch], fresh=fresh, steps=n, scoring=1), step, 4)[1]
            for n in (1, 3)
        )
        what = f"Firefly, VGG16(16), one pass, {fresh} fresh candidates per layer"
        rows.append((what, "", f"{(three - one) / 2:.1f} training steps"))
    took, steps = in_steps(lambda: gl.propose("firefly", model, [batch]), step, 3)
    epochs = f"{steps * 128 / 50_000:.2f} epochs of 50,000 pictures"
    return [*rows, ("Firefly, VGG16(16), a whole proposal", f"{took:.1f} s", epochs)]


def gradmax():
    rows = []
    for width in (16, 32):
        model, batch, step = vgg16_steps(width)
        took, steps = in_steps(lambda: gl.propose("gradmax", model, [batch]), step, 4)
        rows.append((f"GradMax, VGG16({width}), a whole proposal", f"{took:.2f} s", f"{steps:.1f} training steps"))
    return rows


def decorrelation():
    """K = 20 steps of every penalty over all 13 layers; at most 0.5 % of an epoch is promised."""
    rows = []
    for width, rounds in ((16, 5), (64, 3), (256, 2)):
        model, _, step = vgg16_steps(width)
        for kind in PENALTIES:
            took, steps = in_steps(lambda: gl.decorrelate(model, 20, penalty=kind, movement=0.1), step, rounds)
            share = f"{steps * 128 / 50_000:.3%} of an epoch"
            rows.append((f"20 steps of {kind}, VGG16({width})", f"{took * 1e3:.0f} ms", share))
    return rows


def imports():
    def process(code):
        return median(lambda: subprocess.run([sys.executable, "-c", code], check=True), 5)

    plain = process("import torch")
    more = max(process("import growlab") - plain, 0)
    return [("import growlab, on top of torch", f"{more:.2f} s", f"torch {plain:.1f} s")]


def drawing():
    return [("drawing 6,000 critters with masks", f"{median(lambda: critters.draw(6000, 0), 3):.1f} s", "")]


BENCHES = {
    "training": training, "surgery": surgery, "splitting": splitting, "firefly": firefly,
    "gradmax": gradmax, "decorrelation": decorrelation, "imports": imports, "drawing": drawing,
}  # fmt: skip


if __name__ == "__main__":
    machine = environment()
    print(f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} threads, torch {machine['torch']}\n")
    print("| what | median | compared |\n|---|---|---|")
    for name in sys.argv[1:] or BENCHES:
        for row in BENCHES[name]():
            print("| " + " | ".join(row) + " |", flush=True)
