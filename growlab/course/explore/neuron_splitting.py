"""``split``: one neuron of a small network becomes two that part along a direction. Notebook 01."""

import copy
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import nn

from growlab.course.explore.shell import Explorer, choice, frame, given_or, legend, panels, slider
from growlab.course.figures.style import BLACK, BLUE, GREEN, RED
from growlab.data.sources import load_data
from growlab.methods.splitting import KINKS, SMOOTH, splitting_matrices
from growlab.models import mlp, parameter_count
from growlab.plans import Candidate, GrowthPlan, apply
from growlab.seeds import random_stream
from growlab.structure.units import units
from growlab.training import train

DIRECTIONS = {"best (v)": "best", "worst": "worst", "random": "random"}
STEPS, RATE = 30, 0.1  # of plain gradient descent after the split


def split(model=None, batch=None, **start) -> Explorer:
    """A neuron of the first hidden layer, how far its twins part, and which way: the loss, its outputs, the gap later.

    For an ``mlp`` with Tanh and a batch of (pictures, labels); without them one learns the digits in a second.
    """
    look = Look(*given_or(trained, model=model, batch=batch))
    knobs = {
        "neuron": slider("neuron", range(len(look.matrices)), look.curvatures.argmin().item()),
        "epsilon": slider("ε", (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5), 0.1),
        "direction": choice("direction", DIRECTIONS),
    }
    return Explorer(look, knobs, **start)


@lru_cache(1)
def trained():
    """A network that has learned digits for some epochs, and half of the training pictures: (model, batch)."""
    digits = load_data("digits")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = mlp([64, 16, 16, 10], activation=nn.Tanh)
        train(model, digits, 5, lr=0.1, batch_size=64, schedule="constant_then_cosine", augment=False, progress=False)
    images, labels = next(iter(digits.train.batches(640)))
    return model.double(), (images.double(), labels)


def first_layer(model) -> int:
    """The place of the first hidden layer in an mlp: a linear layer, its activation, the rest."""
    layers = list(model) if isinstance(model, nn.Sequential) else []
    linear = [place for place, layer in enumerate(layers) if isinstance(layer, nn.Linear)]
    other = [layer for layer in layers if not isinstance(layer, nn.Linear)]
    if len(linear) < 2 or any(map(parameter_count, other)):
        raise ValueError(
            "split is for an mlp with a hidden layer, linear layers with activations in an nn.Sequential, "
            f"got {type(model).__name__}: see gl.mlp"
        )
    if (after := type(layers[linear[0] + 1]).__name__.lower()) not in SMOOTH | KINKS.keys():
        hint = "take nn.Tanh, say"
        raise ValueError(f"no activation that splitting knows follows the first linear layer, but {after}: {hint}")
    return linear[0]


class Look:
    """The pure function behind ``split``, with the splitting matrices of the first layer."""

    def __init__(self, model, batch):
        place = first_layer(model)
        self.model, (images, self.labels) = copy.deepcopy(model).double().eval(), batch
        images, self.unit = images.double(), units(self.model)[0]
        self.activation, self.rest = self.model[place + 1], self.model[place + 2 :]
        with torch.no_grad():
            self.inputs = self.model[:place](images)  # (N, D)
            self.z = self.model[place](self.inputs)  # (N, n)
        self.images = images
        self.matrices = splitting_matrices(self.model, [(images, self.labels)])[self.unit.name]  # (n, D, D)
        self.curvatures, self.vectors = (part[..., [0, -1]] for part in torch.linalg.eigh(self.matrices))
        self.curvatures = self.curvatures[:, 0]

    def __call__(self, neuron, epsilon, direction):
        v = self.direction(neuron, direction)
        curvature = (v @ self.matrices[neuron] @ v).item()
        sizes = torch.linspace(-1.5, 1.5, 25, dtype=v.dtype) * max(epsilon, 0.1)
        actual = [self.loss(neuron, size * v) for size in sizes]
        now, start = self.loss(neuron, epsilon * v), actual[12]
        gaps = self.train_on(neuron, epsilon * v)
        foretold = [2 * epsilon * (1 - RATE * curvature / 2) ** step for step in range(STEPS + 1)]
        numbers = {
            "curvature": curvature, "loss_before": start,
            "predicted": epsilon**2 / 2 * curvature, "actual": now - start,
            "gap_before": gaps[0], "gap_after": gaps[-1], "gap_foretold": foretold[-1],
        }  # fmt: skip
        parabola = start + sizes**2 / 2 * curvature
        figure = self.draw(neuron, epsilon * v, sizes, actual, parabola, epsilon, now, gaps, foretold)
        figure.alt = told(numbers, neuron, epsilon, direction)
        return figure, numbers

    def direction(self, neuron, kind):
        """(D,), of length one."""
        if kind == "random":
            stream, dtype = random_stream(neuron, "explore"), self.inputs.dtype
            return F.normalize(torch.randn(self.inputs.shape[1], generator=stream, dtype=dtype), dim=0)
        return self.vectors[neuron, :, 0 if kind == "best" else 1].to(self.inputs)

    def twins_say(self, neuron, delta):
        """What parent and child say together, half each, (N,)."""
        move, z = self.inputs @ delta, self.z[:, neuron]
        return (self.activation(z + move) + self.activation(z - move)) / 2

    @torch.no_grad()
    def loss(self, neuron, delta):
        h = self.activation(self.z)
        h[:, neuron] = self.twins_say(neuron, delta)
        return F.cross_entropy(self.rest(h), self.labels).item()

    def train_on(self, neuron, delta):
        """The gap between the twins over steps of gradient descent on the whole batch."""
        model = copy.deepcopy(self.model)
        edit = next(edit for edit in self.unit.edits if edit.tensor == f"{self.unit.name}.weight")
        widths, child = (
            {u.name: u.neurons for u in units(model)},
            Candidate(self.unit.name, neuron, values={edit: delta}),
        )
        apply(model, GrowthPlan("explore", widths, (child,)))
        weight, gaps = model.get_submodule(self.unit.name).weight, []
        for step in range(STEPS + 1):
            gaps.append((weight[neuron] - weight[-1]).norm().item())
            if step < STEPS:
                gradients = torch.autograd.grad(F.cross_entropy(model(self.images), self.labels), [*model.parameters()])
                with torch.no_grad():
                    torch._foreach_add_([*model.parameters()], gradients, alpha=-RATE)
        return gaps

    def draw(self, neuron, delta, sizes, actual, predicted, epsilon, now, gaps, foretold):
        """The loss along the direction; what the neuron says before and after; the gap over the next steps."""
        figure, (left, middle, right) = panels((3.4, 3.3, 3.3), (10, 3.1), left=0.06)
        left.plot(sizes.numpy(), actual, color=BLUE, lw=2.2, label="loss")
        left.plot(sizes.numpy(), predicted.numpy(), color=RED, ls="--", lw=2, label="foretold")
        left.plot([-epsilon, epsilon], [now, now], "o", color=BLUE, ms=8)
        room = max(max(actual) - min(actual), 0.02 * actual[12])
        across, up = (sizes[0].item(), sizes[-1].item()), (min(actual) - 0.5 * room, max(actual) + 0.8 * room)
        frame(left, "loss after the split", "ε along the direction", across, up)
        legend(left, loc="upper center", ncols=2)
        z, said = self.z[:, neuron], self.twins_say(neuron, delta)
        middle.plot(z.numpy(), said.numpy(), ".", color=GREEN, ms=4, label="twins, a picture each")
        line = torch.linspace(z.min(), z.max(), 50, dtype=z.dtype)
        middle.plot(line.numpy(), self.activation(line).numpy(), color=BLACK, lw=1.8, label="before")
        across, ticks = (z.min().item(), z.max().item()), (-1, 0, 1)
        frame(middle, f"what neuron {neuron} says", "pre-activation z", across, (-1.15, 1.75), yticks=ticks)
        legend(middle, loc="upper left")
        right.plot(gaps, color=BLUE, lw=2.2, label="trained on")
        right.plot(foretold, color=RED, ls="--", lw=2, label="foretold")
        top = max(*gaps, min(max(foretold), 3 * max(gaps)))
        frame(right, "gap between the twins", "steps of training", (0, STEPS), (0, 1.4 * top))
        legend(right, loc="upper left", ncols=2)
        return figure


def told(n, neuron, epsilon, direction):
    """What the setting shows, in words."""
    change = n["actual"] / n["loss_before"]
    kept = "the parabola foretells the opposite"
    if n["predicted"] * n["actual"] > 0:
        kept = f"{n['actual'] / n['predicted']:.0%} of what the parabola foretells"
    return (
        f"Neuron {neuron}, twins parted by ±{epsilon:g} along its {direction} direction "
        f"(curvature {n['curvature']:+.3f}): the loss changes by {change:+.1%} ({kept}). In {STEPS} steps of training "
        f"the gap goes from {n['gap_before']:.2f} to {n['gap_after']:.2f}; "
        f"the eigenvalue at the start foretells {n['gap_foretold']:.2f}."
    )
