# %% [markdown]
# # 03 · Firefly
#
# Notebook 01 split neurons, notebook 02 added fresh ones. Firefly offers both, at every place of a network at once,
# tries all of them together, and builds only the best. In this notebook you write it yourself, and then you test it.

# %% [markdown]
# ## What you will learn
#
# After this notebook you can
# - write a layer with all its candidates, and a gate for each of them,
# - score every candidate from one backward pass, and say at which place of the gate that score is the gain,
# - pick from splits and fresh neurons of all layers, and build exactly what was scored,
# - ask what a plan promises and what it does, before anything is built,
# - compare Firefly with splits in random directions, at the moment of growth and after training on.

# %% [markdown]
# ## Before you start
#
# - **You know** [notebook 01](01_neuron_splitting.ipynb): twins, halved outgoing weights, and why a split is a
#   second-order effect. And [notebook 02](02_random_growth.ipynb): fresh neurons, plans and budgets.
# - **Time**: 45 minutes to work through. To run all cells: about 20 seconds on two CPU cores. You need no GPU.
# - **Exercises**: replace the `...` of a stub and run its cell. `gl.hint("its-name")` gives a hint, a step further at
#   each call, and `gl.solution("its-name")` shows a solution. Unsolved, everything below still runs.

# %%
import json
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from IPython.display import Markdown
from scipy.stats import spearmanr
from torch import nn

import growlab as gl
from growlab import plots

torch.set_num_threads(1)


# %% [markdown]
# ## A network that is too small · core
#
# We begin with something tiny: two neurons that shall follow a curve. A place $t$ goes in, and a one for the bias.

# %%
def layer(x, w, out):
    return torch.tanh(x @ w.T) @ out.T  # x (N, D), w (n, D), out (C, n)


def fit(w, out, steps=300):
    w, out = w.clone().requires_grad_(), out.clone().requires_grad_()
    optimizer = torch.optim.Adam([w, out], lr=0.03)
    for _ in range(steps):
        optimizer.zero_grad()
        F.mse_loss(layer(x, w, out), target).backward()
        optimizer.step()
    return w.detach(), out.detach()


# %%
torch.manual_seed(1)
t = torch.linspace(-3, 3, 64, dtype=torch.float64)
x = torch.stack([t, torch.ones_like(t)], 1)  # (64, 2)
target = torch.sin(3 * t[:, None]) + t[:, None] / 2
w, out = fit(torch.randn(2, 2).double(), torch.randn(1, 2).double())
before = F.mse_loss(layer(x, w, out), target).item()
plots.curves(
    {"the target": (t, target[:, 0]), "two neurons": (t, layer(x, w, out)[:, 0])}, "t", "output",
    alt=f"A wavy target and what two tanh neurons make of it; squared error {before:.2f}.",
)  # fmt: skip


# %% [markdown]
# Two neurons can bend twice. The target bends more often, and training has come to its end.
# Where would you add neurons, and of which kind? A split of the first neuron, of the second, or fresh ones?
#
# **Your prediction:** …

# %% [markdown]
# ## Offer everything at once · core
#
# Firefly does not guess. It builds an **enlarged network** that holds every candidate, each behind a **gate** $y$:
#
# - each neuron $i$ is offered a **split**: half of it moves by $+y_i v_i$, the other half by $-y_i v_i$,
# - each layer is offered $m$ **fresh** neurons with incoming weights $u_j$, heard through $y_j o_j$:
#
# $$
# f(x) \;=\; \sum_i a_i \,\tfrac12\big[\sigma\big((w_i + y_i v_i)\cdot x\big) + \sigma\big((w_i - y_i v_i)\cdot x\big)\big]
# \;+\; \sum_j y_j\, o_j\, \sigma(u_j\cdot x) .
# $$
#
# Here $a_i$ is the outgoing weight of neuron $i$: column $i$ of `out`. With all gates at 0 this is the plain layer.
#
# **Exercise ●● `perturbed-layer`.** Write it for tanh. Shapes: `x` (N, D), `w` and `v` (n, D), `out` (C, n),
# `u` (m, D), `o` (C, m), `gates` (n + m,), splits first. It returns (N, C).

# %%
def perturbed_layer(x, w, out, v, u, o, gates):
    return ...


gl.check("perturbed-layer", perturbed_layer)

# %%
perturbed_layer = gl.answer("perturbed-layer", perturbed_layer)

# %% [markdown]
# Let us look at one neuron and one fresh neuron while their gates open. The neuron is $\tanh(t)$, and its twins move
# far apart, so that you can see it. What happens to the sum of the twins? Does it matter if $y$ is $0.5$ or $-0.5$?
#
# **Your prediction:** …

# %%
one = [torch.tensor(rows).double() for rows in ([[1, 0]], [[1]], [[0, 2]], [[1, 1]], [[0.6]])]
figure, axes = plots.panels(1, 2, size=(9, 3.4), sharey=True)
for y, (color, style, _) in zip((0, 0.5, 1), plots.LINES):
    for place, axis in enumerate(axes):
        gates = torch.zeros(2).double()
        gates[place] = y
        heard = perturbed_layer(x, *one, gates) - (layer(x, *one[:2]) if place else 0)
        axis.plot(t, heard[:, 0], color=color, ls=style, label=f"gate {y}")
axes[0].set(title="a split: the twins together", xlabel="t")
axes[1].set(title="a fresh neuron", xlabel="t")
axes[0].legend()
figure.alt = ("Left: two twins together; as their gate opens, one step turns into two. "
              "Right: a fresh neuron fades in, in proportion to its gate.")  # fmt: skip
figure

# %% tags=["nbval-check-output"]
half, none = torch.tensor([0.5, 0]).double(), torch.zeros(2).double()
plain = layer(x, *one[:2])
same = torch.allclose(perturbed_layer(x, *one, none), plain)
even = torch.allclose(perturbed_layer(x, *one, half), perturbed_layer(x, *one, -half))
up, down = (perturbed_layer(x, *one, y * half.flip(0)) - plain for y in (1, -1))
print("all gates at 0 give the plain layer:", same)
print("a split says the same at y and -y: ", even)
print("a fresh neuron says the opposite:  ", torch.allclose(up, -down))


# %% [markdown]
# A split does not care about the sign of $y$: the twins just change places. So its effect begins with $y^2$. A fresh
# neuron fades in with $y$ itself. One is a second-order effect, the other a first-order one, and they will compete.

# %% [markdown]
# ## Train the directions alone · core
#
# How would each candidate move, if it could? We freeze $w$ and `out`, set all gates to 1, and train $v$, $u$ and $o$ for
# some steps. $v$ starts small and random: at $v = 0$ its gradient is zero. $u$ starts as in a new layer, and $o$ at zero.
#
# Each step has a fixed length, measured against the weights that are there. Otherwise one large gradient would decide
# everything. For $o$ it is a tenth of the others, since $o$ acts in first order.

# %%
def train_directions(v, u, o, loss, steps, sizes):
    """Each filter goes downhill by the same length, and the steps become shorter."""
    directions = [start.clone().requires_grad_() for start in (v, u, o)]
    for step in range(steps):
        gradients = torch.autograd.grad(loss(*directions), directions)
        for moved, gradient, size, axis in zip(directions, gradients, sizes, (1, 1, 0)):
            length = gradient.square().mean(axis, keepdim=True).sqrt()
            moved.data -= size * (1 - step / steps) * gradient / length.clamp_min(1e-300)
    return [moved.detach() for moved in directions]


# %%
def loss(v, u, o, gates):
    return F.mse_loss(perturbed_layer(x, w, out, v, u, o, gates), target)


torch.manual_seed(0)
size_w, size_out = (0.1 * weight.square().mean().sqrt() for weight in (w, out))
start = [size_w * torch.randn(2, 2), torch.rand(3, 2) * 2 - 1, torch.zeros(1, 3)]  # v, u, o
start = [direction.double() for direction in start]
sizes = [size_w, size_w, size_out / 10]
open_gates = torch.ones(5).double()
found = train_directions(*start, lambda *d: loss(*d, open_gates), 10, sizes)
print(f"squared error {before:.3f}, with all five candidates {loss(*found, open_gates):.3f}")


# %% [markdown]
# ## What is each one worth? · core
#
# The gates tell. If a little more of candidate $k$ lowers the loss, it is good, so its score is $-\partial L/\partial y_k$.
# No gate variable is needed for it. The loss sees $y$ and $v$ only through their product $p = y v$, so by the chain rule
#
# $$
# \frac{\partial L}{\partial v} = y\,\frac{\partial L}{\partial p},\qquad
# \frac{\partial L}{\partial y} = \Big\langle v, \frac{\partial L}{\partial p}\Big\rangle
# = \frac1y \Big\langle v, \frac{\partial L}{\partial v}\Big\rangle .
# $$
#
# The gradient of $v$ is there from the backward pass. For a fresh neuron the same holds with $o$ in place of $v$.
#
# **Exercise ● `gate-score`.** Given directions and their gradients, both (candidates, D), read at `gate`, return the
# scores: (candidates,).

# %%
def gate_score(direction, gradient, gate):
    return ...


gl.check("gate-score", gate_score)

# %%
gate_score = gl.answer("gate-score", gate_score)


# %% [markdown]
# Now all five scores of the tiny network from one backward pass. Beside it the slow way: five gates as variables.

# %%
def scores_at(gate, directions):
    v, u, o = [direction.clone().requires_grad_() for direction in directions]
    slope_v, slope_o = torch.autograd.grad(loss(v, u, o, gate * open_gates), (v, o))
    splits, fresh = gate_score(v, slope_v, gate), gate_score(o.T, slope_o.T, gate)
    return torch.cat([splits, fresh]).detach()


# %% tags=["nbval-check-output"]
for gate in (0.25, 0.5, 1.0):
    gates = torch.full((5,), gate, dtype=torch.float64, requires_grad=True)
    (slow,) = torch.autograd.grad(-loss(*found, gates), gates)
    same = torch.allclose(scores_at(gate, found), slow)
    print(f"gates at {gate}: the same as with gates as variables: {same}")


# %% [markdown]
# ## Where to read the meter · core
#
# A score is a slope, and a slope depends on where you stand. What you *want* is the whole gain $L(0) - L(1)$ between a
# closed and an open gate. Suppose the loss along the gate is a parabola,
#
# $$
# L(y) = L_0 + c\,y + \tfrac12 q\,y^2 .
# $$
#
# A fresh neuron has $c \neq 0$. A split has $c = 0$: it is all bend. The published code reads its gates at $y = 1$.
#
# **Exercise ●●● `where-to-read-the-meter`.** At which $y$ is $-L'(y)$ the whole gain, for every $c$ and $q$? Return it.

# %%
def where(c, q):
    return ...


gl.check("where-to-read-the-meter", where)

# %%
where = gl.answer("where-to-read-the-meter", where)


# %% [markdown]
# Here is the tiny network with all five gates opened together, for directions that were trained for 10 steps and for
# 200. Each straight line starts at the plain loss and goes down by the sum of the scores, read at ½ or at 1. So where it
# ends is what the scores promise. Which of the two lines ends where the curve ends?
#
# **Your prediction:** after 10 steps …, after 200 steps …

# %%
def along_the_gate(axis, directions, title):
    ys = torch.linspace(0, 1, 21).double()
    losses = [loss(*directions, y * open_gates).item() for y in ys]
    axis.plot(ys, losses, color=plots.BLACK, label="the loss")
    promised = [losses[0] - scores_at(gate, directions).sum().item() for gate in (0.5, 1.0)]
    for end, name, (color, style, _) in zip(promised, ("½", "1"), plots.LINES):
        axis.plot([0, 1], [losses[0], end], style, color=color, label=f"promise, read at {name}")
    axis.set(title=title, xlabel="all gates at")
    return [(losses[0] - end) / (losses[0] - losses[-1]) for end in promised]


# %%
long = train_directions(*start, lambda *d: loss(*d, open_gates), 200, sizes)
figure, axes = plots.panels(1, 2, size=(9, 3.2))
shares = [along_the_gate(axes[0], found, "directions after 10 steps"),
          along_the_gate(axes[1], long, "after 200 steps")]  # fmt: skip
axes[0].set_ylabel("squared error")
axes[1].legend()
listed = [f"{a:.0%} read at ½, {b:.0%} read at 1" for a, b in shares]
figure.alt = ("The loss while all gates open, and two straight lines to what the scores promise: "
              f"after 10 steps {listed[0]}; after 200 {listed[1]} of the gain.")  # fmt: skip
figure

# %%
Markdown(f"""Promised share of the real gain: after 10 steps {listed[0]},
after 200 steps {listed[1]}.

Read at ½, the line ends close to the curve. Read at 1, it depends on how long you trained: the
better the directions, the flatter the end of the curve. At a minimum no slope is left to read.""")


# %% [markdown]
# So the middle is the place. But a sum that is right need not be right for each part. Let us look at the parts: each
# candidate's score, and what it would gain if it were built *alone*.

# %%
def alone(directions):
    plain = loss(*directions, 0 * open_gates)
    return [(plain - loss(*directions, gates)).item() for gates in torch.eye(5).double()]


names = ["split 0", "split 1", "fresh 0", "fresh 1", "fresh 2"]
pd.DataFrame({
    "score, 10 steps": scores_at(0.5, found), "gain alone, 10 steps": alone(found),
    "score, 200 steps": scores_at(0.5, long), "gain alone, 200 steps": alone(long),
}, index=names).round(4)  # fmt: skip

# %%
harmful = sum(gain < 0 < score for gain, score in zip(alone(long), scores_at(0.5, long)))
agree = [spearmanr(scores_at(0.5, one), alone(one)).statistic for one in (found, long)]
Markdown(f"""How alike are the two orders? Read at ½, their rank correlation is {agree[0]:.2f} after
10 steps and {agree[1]:.2f} after 200 (1: the same order, −1: turned around). After 200 steps
{harmful} of the five candidates have a positive score and would do *harm* if built alone.""")


# %% [markdown]
# They were trained as a team, and each counts on the others. The midpoint sees the team. It cannot see what happens when
# you build a part of it. Keep this in mind: **train the directions briefly**.

# %% [markdown]
# ## Pick · core
#
# Splits and fresh neurons of all layers stand in one ranking, and the budget goes to the best.
#
# **Exercise ● `pick-k`.** `scores` is a list with a tensor for each layer. Return the `k` best as pairs
# `(layer, index)`, in any order. Of equal scores, take the earlier one.

# %%
def pick(scores, k):
    return ...


gl.check("pick-k", pick)

# %%
pick = gl.answer("pick-k", pick)


# %% [markdown]
# ## Build what was scored · core
#
# Sounds easy, and goes wrong in published code: there, some neurons are scored with outgoing weights and built without.
#
# **Exercise ●● `built-is-scored`.** `splits` and `fresh` are lists of the picked indices. Return the new `w` and `out`:
# the same function as the gated layer with the picked gates at 1 and *all others at 0*. The order of neurons is free.

# %%
def build(w, out, v, u, o, splits, fresh):
    return ...


gl.check("built-is-scored", build)

# %%
build = gl.answer("built-is-scored", build)

# %% [markdown]
# Three neurons for the tiny network. Will the built layer say what the gated one said? And how much of the way to the
# target will it be, right after the growth?
#
# **Your prediction:** …

# %% tags=["nbval-check-output"]
best = [index for _, index in pick([scores_at(0.5, found)], 3)]
chosen = [i for i in best if i < 2], [i - 2 for i in best if i >= 2]
new_w, new_out = build(w, out, *found, *chosen)
gates = torch.zeros(5).double()
gates[best] = 1
same = torch.allclose(layer(x, new_w, new_out), perturbed_layer(x, w, out, *found, gates))
print("neurons:", len(w), "->", len(new_w))
print("the built layer says what the gated one said:", same)

# %%
trained = fit(new_w, new_out)
steps = {"built": (new_w, new_out), "built, and trained on": trained}
errors = {name: F.mse_loss(layer(x, *weights), target).item() for name, weights in steps.items()}
plots.curves(
    {"the target": (t, target[:, 0]),
     **{name: (t, layer(x, *weights)[:, 0]) for name, weights in steps.items()}}, "t", "output",
    size=(8, 3.2), alt=f"The target, the grown layer (squared error {errors['built']:.2f}, before "
        f"{before:.2f}) and the same after 300 more steps ({errors['built, and trained on']:.2f}).",
)  # fmt: skip

# %%
after, later = errors.values()
Markdown(f"""Picked: {", ".join(names[i] for i in sorted(best))}. The error was {before:.3f}, it is
{after:.3f} after the growth and {later:.3f} after training on. The growth itself does little.
It puts the new neurons where they can go on, and the training does the rest.""")

# %% [markdown]
# That is all of Firefly: perturb, train the directions, score, pick, build. The rest of this notebook uses the package,
# which does the same for every layer of any network, and asks how good it is.

# %% [markdown]
# ## Who wins? · core
#
# Real data now: the handwritten digits, and networks with two narrow hidden layers in the middle of their training.
# We give Firefly all training pictures in one batch. So nothing below depends on which pictures came along.

# %%
data = gl.load_data("digits")
pictures, labels = next(iter(data.batches("train", 2000)))
batch = pictures.double(), labels


def half_trained(seed, activation=nn.Tanh):
    torch.manual_seed(seed)
    model = gl.mlp([64, 6, 6, 10], activation)
    recipe = dict(epochs=3, lr=0.05, batch_size=32, augment=False, progress=False)
    gl.train(model, data, seed=seed, **recipe)
    return model.double()


models = {act: [half_trained(seed, act) for seed in range(3)] for act in (nn.Tanh, nn.ReLU)}

# %% tags=["nbval-check-output"]
model = models[nn.Tanh][0]
print("units:", {unit.name: unit.neurons for unit in gl.units(model)})
full = gl.propose("firefly", model, [batch], steps=6, scoring=1)
kinds = [candidate.kind for candidate in full.candidates]
print(f"candidates: {kinds.count('split')} splits, {kinds.count('fresh')} fresh")
plan = full.within(rate=0.5)
print("neurons within the budget:", plan.neurons)

# %% [markdown]
# Twelve neurons can be split, and each layer gets eight fresh candidates. Six of the 28 will be built. The units are
# called "1" and "3", by their place in the model. How many of the six will be splits?

# %%
gl.predict("firefly-splits", ...)  # a number from 0 to 6

# %%
splits = sum(candidate.kind == "split" for candidate in plan.candidates)
gl.predict("firefly-splits", measured=splits)

# %%
plan.table().round(4)

# %% [markdown]
# One network is an anecdote, and the directions moved by very small steps. So here are three networks with tanh and
# three with ReLU, and two lengths of the first step: `step_size`, relative to the weights of the layer.
# A split is a second-order effect, a fresh neuron a first-order one. What will larger steps do to the splits?
#
# **Your prediction:** …

# %%
quick = dict(steps=6, scoring=1)
places = ["1 split", "1 fresh", "3 split", "3 fresh"]


def winners(model, step_size, seed=0):
    plan = gl.propose("firefly", model, [batch], step_size=step_size, seed=seed, **quick)
    won = [f"{c.unit} {c.kind}" for c in plan.within(rate=0.5).candidates]
    return [won.count(place) for place in places]


# %%
def who_wins(step_size):
    figure, axes = plots.panels(1, 2, size=(9, 3.4), sharey=True)
    told = []
    for axis, (activation, some), color in zip(axes, models.items(), (plots.BLUE, plots.RED)):
        counts = torch.tensor([winners(model, step_size, i) for i, model in enumerate(some)])
        mean = counts.float().mean(0).tolist()
        bars = axis.bar(places, mean, color=color, hatch=["", "//"] * 2, edgecolor="white")
        axis.bar_label(bars, [f"{value:.1f}" for value in mean])
        axis.set(title=f"{activation.__name__}, three networks", ylim=(0, 6.6))
        told.append(f"{activation.__name__} {', '.join(f'{a:.1f}' for a in mean)}")
    axes[0].set_ylabel("of six new neurons")
    order = ", ".join(places)
    figure.alt = f"Winners at step size {step_size:.2g} ({order}), on average: {'; '.join(told)}."
    return figure


# %%
who_wins(0.03)

# %% [markdown]
# "3 fresh" are fresh neurons of unit 3. Now with steps ten times as long:

# %%
who_wins(10**-0.5)

# %%
counted = {size: [winners(m, size, i) for some in models.values() for i, m in enumerate(some)]
           for size in (0.003, 0.03, 0.3)}  # fmt: skip
share = {size: sum(row[0] + row[2] for row in rows) / 36 for size, rows in counted.items()}
last = sum(row[3] for rows in counted.values() for row in rows) / 108
Markdown(f"""Share of splits among the winners of all six networks: {share[0.003]:.0%} at a step
size of 0.003, {share[0.03]:.0%} at 0.03, {share[0.3]:.0%} at 0.3. Of all winners,
{last:.0%} are fresh neurons of the last hidden layer: nothing stands between them and the
answer.""")

# %% [markdown]
# So *who wins* is no property of the network alone. With tiny steps the first-order effect must win. Longer steps help the
# splits, but not for ever: a bend has a bottom, and the twins step over it. And the "tenth" for $o$ that we chose above
# weighs fresh neurons against splits, too: whoever doubles it gets other counts. Read a sentence like "fresh neurons are
# better than splits" with care.
#
# Play with one of these networks: candidates, first step, gate and budget are yours. On the right is what the chosen ones
# promise, and what becomes of it. Can you find a setting that promises much more than it keeps? Try without fresh ones.
#
# **Your prediction:** …

# %%
explorer = gl.explore.firefly(model, batch)
explorer

# %% [markdown]
# From a cell, and for readers of a page on which nothing runs: first steps as long as the weights.

# %%
explorer.knobs["step_size"].value = 100
explorer.figure

# %% [markdown]
# Over a whole run, the choice of the layer adds up. Here is where the neurons of vgg5 went on critters, as ten recorded
# seeds had it, and what that costs. Compare Firefly with random growth, which has no opinion.

# %%
over_a_run = gl.explore.rate(network="vgg5", method="firefly")
over_a_run

# %%
over_a_run.knobs["rate"].value = 50
over_a_run.figure

# %% [markdown]
# ## Which reading tells the truth? · core
#
# Back to the meter, now on real networks. First splits only (`fresh=0`), since the parabola of a split has no slope at
# the start. All are built, so what the scores promise can be compared with what `gl.preview` measures.
# For very small steps and a reading at $y = 1$: how many times the real gain will the scores promise?

# %%
gl.predict("split-at-one", ...)


# %%
def promised_share(model, gate, seed=0, **options):
    plan = gl.propose("firefly", model, [batch], scoring=1, gate=gate, seed=seed, **options)
    predicted, actual = gl.preview(model, plan, batch)
    return predicted / actual


def shares(sizes, gate, **options):
    return [[promised_share(model, gate, i, step_size=size, **options) for size in sizes]
            for i, model in enumerate(models[nn.Tanh])]  # fmt: skip


sizes = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3]
by_size = {gate: torch.tensor(shares(sizes, gate, fresh=0, steps=6)) for gate in (0.5, 1.0)}
gl.predict("split-at-one", measured=by_size[1.0][:, 0].mean().item())

# %%
ends = {gate: [f"{value:.2f}" for value in rows.mean(0)[[0, -1]]] for gate, rows in by_size.items()}
plots.curves(
    {f"read at {gate:g}": (sizes, rows) for gate, rows in by_size.items()},
    "step size", "promised / real gain", "splits only, tanh, three networks",
    alt="Promised over real gain of all splits, from the smallest step to the largest: read at ½ "
        f"{' to '.join(ends[0.5])}, read at 1 {' to '.join(ends[1.0])}. 1 would be right.",
    xscale="log", ylim=(0, 2.2), size=(8, 3.4),
)  # fmt: skip


# %% [markdown]
# Thin lines are single networks. For small steps the parabola is right: read at ½ the splits keep what they promise,
# read at 1 they promise twice as much. With longer steps the curve is no parabola any more. Then ½ promises somewhat
# too much, and what you read at 1 falls, through the right value and below it. So a reading at 1 is right once, by
# chance.
#
# And the order? Does the better meter also put the candidates into a better order? We build each candidate *alone* on a
# copy, measure its gain, and compare the two orders: a rank correlation of 1 means the same order. Directions are trained
# for 3 to 100 steps. Remember the tiny network. What do you expect after 100 steps, for ½ and for 1?
#
# **Your prediction:** read at ½ …, read at 1 …

# %%
def in_place(plan):
    """The candidates, by their place in the network instead of by their score."""
    size = {id(c): sum(value.sum().item() for value in c.values.values()) for c in plan.candidates}
    return sorted(plan.candidates, key=lambda c: (c.unit, c.kind, c.parent or 0, size[id(c)]))


def ranks(model, seed, steps):
    options = dict(fresh=4, scoring=1, step_size=0.1, seed=seed, steps=steps)
    plans = [gl.propose("firefly", model, [batch], gate=gate, **options) for gate in (0.5, 1.0)]
    real = []
    for candidate in in_place(plans[0]):
        one = gl.GrowthPlan("one", plans[0].widths, (candidate,))
        real.append(-gl.preview(model, one, batch)[1])
    return [spearmanr([c.score for c in in_place(plan)], real).statistic for plan in plans]


# %%
lengths = [3, 10, 30, 100]
found_ranks = {act: torch.tensor([[ranks(model, i, steps) for steps in lengths]
                                  for i, model in enumerate(some)])  # (networks, lengths, gates)
               for act, some in models.items()}  # fmt: skip

# %%
figure, axes = plots.panels(1, 2, size=(9, 3.3), sharey=True)
told = []
for axis, (act, found_here) in zip(axes, found_ranks.items()):
    for gate, (color, style, marker) in enumerate(plots.LINES[:2]):
        name, rows = ("½", "1")[gate], found_here[..., gate]
        axis.plot(lengths, rows.T, color=color, ls=style, lw=0.8)
        axis.plot(lengths, rows.mean(0), style, color=color, marker=marker, label=f"read at {name}")
        told.append(f"{act.__name__} at {name} {rows[:, 0].mean():.2f} to {rows[:, -1].mean():.2f}")
    axis.set(title=act.__name__, xlabel="steps of training", ylim=(-1, 1.05))
    axis.set(xscale="log", xticks=lengths, xticklabels=lengths)
axes[0].set_ylabel("rank correlation")
axes[0].legend(loc="lower left")
figure.alt = f"Rank correlation of scores and single gains, from 3 to 100 steps: {'; '.join(told)}."
figure

# %%
middle = {act: rows.mean(0) for act, rows in found_ranks.items()}  # (lengths, gates)
first = min(rows[0].min().item() for rows in middle.values())
tanh, relu = middle[nn.Tanh][-1], middle[nn.ReLU][-1]
Markdown(f"""After 3 steps both readings order the candidates almost perfectly: {first:.2f} or more.
After 100 steps the mean is {tanh[0]:.2f} read at ½ and {tanh[1]:.2f} read at 1 with tanh,
and {relu[0]:.2f} and {relu[1]:.2f} with ReLU.""")


# %% [markdown]
# Two things follow, and only the first one is about the meter.
#
# - **The sum**: read in the middle, it stays near the gain as long as the steps are short. Read at the end, it does not.
# - **The order**: after few steps the reading hardly matters. After many steps no reading is good, because a member of
#   a team is not worth what it is worth alone. With ReLU a reading at 1 suffers more, with tanh there is little between
#   them. Three networks each are few: take the direction from this figure, not the digits.

# %% [markdown]
# ## Promise and delivery · core
#
# A plan promises the sum of its scores, and that leaves out how candidates meet each other. Twins in one layer change
# what the next layer reads, and the candidates there were scored with *all* others in place, not with the few that were
# picked. `gl.preview` builds a copy and measures, so you know before you commit.
#
# Does that matter? It depends on the length of the steps, and on the depth. We compare the small networks with one of
# five convolutions and batch norm. It is plain PyTorch, and only four filters wide.

# %%
def conv_net(seed):
    torch.manual_seed(seed)
    layers = []
    for inputs in (1, 4, 4, 4, 4):
        convolution = nn.Conv2d(inputs, 4, 3, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(4), nn.ReLU()]
    model = nn.Sequential(*layers, nn.MaxPool2d(4), nn.Flatten(), nn.Linear(16, 10))
    gl.train(model, data, 3, lr=0.05, batch_size=32, augment=False, seed=seed, progress=False)
    return model


deep, few = [conv_net(seed) for seed in range(3)], (pictures[:200], labels[:200])


# %% [markdown]
# How far can you trust the promise of the six or seven picked neurons, when the first step is 3 %, 10 %, 30 % of the
# weights, or as long as the weights themselves?
#
# **Your prediction:** tanh, two layers, up to … %; ReLU, five convolutions, up to … %

# %%
def promise_and_delivery(model, step_size, seed, batch, rate):
    plan = gl.propose("firefly", model, [batch], step_size=step_size, seed=seed, fresh=4, **quick)
    return gl.preview(model, plan.within(rate=rate), batch)


lengths = [0.01, 0.03, 0.1, 0.3, 1.0]
cases = {"tanh, two hidden layers": (models[nn.Tanh], batch, 0.5),
         "ReLU, two hidden layers": (models[nn.ReLU], batch, 0.5),
         "ReLU, five convolutions": (deep, few, 0.35)}  # fmt: skip
previews = {name: torch.tensor([[promise_and_delivery(m, size, i, *rest) for size in lengths]
                                for i, m in enumerate(some)])  # (networks, lengths, 2)
            for name, (some, *rest) in cases.items()}  # fmt: skip

# %%
figure, axes = plots.panels(1, 3, size=(10, 3.4), sharey=True)
for axis, (name, found_here) in zip(axes, previews.items()):
    for column, label in enumerate(("promised", "what really happens")):
        color, style, marker = plots.LINES[column]
        rows = found_here[..., column]
        axis.plot(lengths, rows.T, color=color, ls=style, lw=0.8)
        axis.plot(lengths, rows.mean(0), color=color, ls=style, marker=marker, label=label)
    axis.set(title=name, xscale="log", xlabel="step size")
    axis.set_yscale("symlog", linthresh=0.01)  # linear within ±0.01
axes[0].set_ylabel("change of the loss"), axes[0].legend(loc="lower left")
ends = {name: rows[:, -1].mean(0) for name, rows in previews.items()}
worst = [f"{name} {promised:+.2f} and {real:+.2f}" for name, (promised, real) in ends.items()]
figure.alt = f"Promised and real change of the loss against step size; at 1: {'; '.join(worst)}."
figure

# %%
means = {name: rows.mean(0).T for name, rows in previews.items()}  # (promised and real, lengths)
kept = {name: (real / promised).tolist() for name, (promised, real) in means.items()}
lines = [f"| {name} | {' | '.join(f'{v:.0%}' for v in row)} |" for name, row in kept.items()]
head = f"| step size | {' | '.join(f'{size:g}' for size in lengths)} |"
Markdown("Kept, as a share of what was promised:\n\n" + "\n".join([head, "|---" * 6 + "|", *lines]))


# %% [markdown]
# Thin lines are single networks, as before. The scale is logarithmic, but linear between −0.01 and 0.01. A negative
# share is a promise of gain that turned into harm. Where the steps are short, promises are kept. With long steps, and
# with ReLU and depth most of all, they are not, and the scores themselves give no warning. So the default is 3 %, and
# `gl.preview` is there for everything else.

# %% [markdown]
# ## Against random splits of the same length · core
#
# Does it matter *where* twins are moved, or is it enough to move them? The fair opponent gets splits of the same length,
# but random parents and random directions. In Growlab that is `"net2net"` with a `step`. Who lowers the loss at once?
#
# **Your prediction:** Firefly … , random splits …

# %%
def split_length(plan):
    moves = [v for c in plan.candidates if c.kind == "split" for v in c.values.values()]
    return torch.stack([v.norm() for v in moves]).square().mean().sqrt().item()


def at_once(model, seed, step_size=0.1):
    options = dict(step_size=step_size, seed=seed, **quick)
    firefly = gl.propose("firefly", model, [batch], **options)
    splits = gl.propose("firefly", model, [batch], fresh=0, **options)
    random = gl.propose("net2net", model, step=split_length(splits), seed=seed)
    plans = {"Firefly": firefly, "its splits only": splits, "random splits": random}
    return {n: gl.preview(model, plan.within(rate=0.5), batch)[1] for n, plan in plans.items()}


# %%
changes = [at_once(model, i) for some in models.values() for i, model in enumerate(some)]
figure, axes = plots.panels(1, 1, size=(9, 2.8))
for row, (name, (color, _, marker)) in enumerate(zip(changes[0], plots.LINES)):
    values = [change[name] for change in changes]
    axes.plot(values, [row] * len(values), marker, color=color, ms=9, alpha=0.8)
axes.axvline(0, color=plots.BLACK, lw=1)
axes.set(yticks=range(3), yticklabels=changes[0], ylim=(2.5, -0.5), xlabel="change of the loss")
means = {name: sum(change[name] for change in changes) / len(changes) for name in changes[0]}
listed = ", ".join(f"{name} {value:+.4f}" for name, value in means.items())
figure.alt = f"Change of the loss at the growth, a marker for each of six networks; mean {listed}."
figure


# %% [markdown]
# Firefly's six neurons lower the loss at once, its splits alone do so too, and random splits of the same length do not.
# The direction matters, then, at this moment. But this is the moment for which Firefly was made. A network is not used
# at this moment: it is trained on.
#
# So we let networks of two layers with four neurons train for 12 epochs and grow by half after epoch 3: in five ways,
# with tanh and with ReLU, ten seeds each. This takes some minutes, so we kept the record: seeds 0 to 9, the same first
# weights and the same order of pictures in all arms. Set `rerun = True` to make it anew.

# %%
def equal_step(model, batches):
    plan = gl.propose("firefly", model, batches, steps=6, scoring=3, step_size=0.1)
    seed = torch.randint(2**31, ()).item()  # the growth's own stream: another one in each run
    return gl.propose("net2net", model, step=split_length(plan), seed=seed)


recipe = dict(lr=0.05, batch_size=32, schedule="constant_then_cosine", augment=False)
arms = {
    "never grown": None, "exact copies": dict(method="net2net"),
    "random splits": dict(method=equal_step), "fresh, silent": dict(method="random"),
    "Firefly": dict(method="firefly", options=dict(steps=6, scoring=3, step_size=0.1)),
}  # fmt: skip

# %% [markdown]
# By how many points of test accuracy will Firefly beat the random splits, in the mean over all twenty runs?

# %%
gl.predict("firefly-gain", ...)  # in points


# %%
def run(seed, arm, activation):
    torch.manual_seed(seed)
    model = gl.mlp([64, 4, 4, 10], activation)
    growth = gl.Growth(rate=0.5, at=(3,), **arm) if arm else None
    history = gl.train(model, data, 12, growth=growth, seed=seed, progress=False, **recipe)
    return history.result["test_accuracy"]


rerun = False
path = Path("../data/results/03_firefly.json")
if rerun:
    made = {act.__name__: {name: [run(seed, arm, act) for seed in range(10)]
                           for name, arm in arms.items()} for act in models}  # fmt: skip
    path.write_text(json.dumps({"seeds": [*range(10)], "test_accuracy": made}, indent=1) + "\n")
record = json.loads(path.read_text())["test_accuracy"]  # {activation: {arm: [of each seed]}}

# %%
others = [name for name in arms if name != "Firefly"]


def points(row, name):
    return 100 * (torch.tensor(row["Firefly"]) - torch.tensor(row[name]))


gaps = {act: {name: points(row, name) for name in others} for act, row in record.items()}

# %%
figure, axes = plots.panels(1, 2, size=(10, 3.2), sharex=True, sharey=True)
for axis, (act, some) in zip(axes, gaps.items()):
    for row, (gap, (color, _, marker)) in enumerate(zip(some.values(), plots.LINES)):
        axis.plot(gap, [row] * 10, marker, color=color, ms=8, alpha=0.6)
        axis.plot([gap.mean()] * 2, [row - 0.35, row + 0.35], color=color)
    axis.axvline(0, color=plots.BLACK, lw=1)
    axis.set(title=act, yticks=range(4), yticklabels=others, ylim=(3.6, -0.6),
             xlabel="points of test accuracy")  # fmt: skip
figure.alt = "Test accuracy of Firefly less each other arm: ten seeds, a line at the mean."
figure

# %%
together = torch.cat([some["random splits"] for some in gaps.values()]).mean().item()
gl.predict("firefly-gain", measured=together)

# %%
lines = ["| Firefly less | " + " | ".join(gaps) + " |", "|---|---|---|"]
for name in others:
    cells = [gaps[act][name] for act in gaps]
    told = [f"{p.mean():+.1f} ± {2.262 * p.std() / 10**0.5:.1f}" for p in cells]  # 95 %, ten pairs
    lines.append(f"| {name} | {' | '.join(told)} |")
Markdown("Points of test accuracy, mean and 95 % interval:\n\n" + "\n".join(lines))

# %% [markdown]
# Left of zero Firefly is worse, right of zero better. In this record it is clearly better than no growth and than exact
# copies. Against random splits of the same length, and against fresh neurons that start silent, the intervals reach
# across zero in both columns: ten seeds cannot tell them apart. That does not say that they are equal. With ReLU
# Firefly's mean is ahead by some points, and the seeds differ by far more than that.
#
# So Firefly keeps its promise at the moment of growth, and nine epochs later what is left of its lead is within the noise.
# Is this a matter of small networks and easy data? Notebook 05 asks again, with larger ones.

# %% [markdown]
# ## The published settings · extra
#
# Growlab's Firefly is not the published code. If you want to compare, here is what that code does by default.
#
# | | published code | Growlab |
# |---|---|---|
# | fresh candidates in a layer | 70 | 8, `fresh=` |
# | gate read at | 1 | ½, `gate=` |
# | training of the directions | an epoch, RMSprop with steps of 0.001 | 10 batches, fixed lengths, `steps=` |
# | scoring | an epoch | 5 batches, `scoring=` |
# | penalty on $\lVert v \rVert^2$ | 0.01 | 0.01, `penalty=` |
# | start of $v$ and of $o$ | uniform in ±0.1 and ±0.01 | $v$ 3 % of the weights, $o$ zero |
# | start of $u$ | normal, 0.1 | as in a new layer |
#
# With 70 candidates in each layer there are more to choose from. Are six of 152 better than six of 28?
#
# **Your prediction:** …

# %%
lines = ["| fresh | gate | splits of six | promised | real |", "|---|---|---|---|---|"]
for fresh in (8, 70):
    for gate in (0.5, 1.0):
        options = dict(fresh=fresh, gate=gate, step_size=0.1, seed=0, **quick)
        six = gl.propose("firefly", model, [batch], **options).within(rate=0.5)
        splits = sum(c.kind == "split" for c in six.candidates)
        promised, real = gl.preview(model, six, batch)
        lines.append(f"| {fresh} | {gate} | {splits} | {promised:+.4f} | {real:+.4f} |")
Markdown("\n".join(lines))

# %% [markdown]
# One network, one seed: an example, not a result. But it is worth a thought: 140 fresh neurons that are trained together
# share one gain among them. So six of them do not promise more than six of a small team, although there are more of them
# to choose from.

# %% [markdown]
# ## What can go wrong
#
# - **You train the directions for long.** They become a team. Then you build a third of the team.
# - **You make long steps in a deep network.** The scores still promise. `gl.preview` tells.
# - **You score what you do not build.** In published code, fresh neurons of the last hidden layer get outgoing weights of
#   zero, and depthwise filters are scored as dense ones. The plan below lost its outgoing weights on the way:

# %% tags=["nbval-check-output"]
fresh = tuple(c for c in full.candidates if c.kind == "fresh")[:4]
plan = gl.GrowthPlan("firefly", full.widths, fresh)
incoming = [{e: value for e, value in c.values.items() if e.kind == "copy"} for c in fresh]
silent = [gl.Candidate(c.unit, None, c.score, kept) for c, kept in zip(fresh, incoming)]
broken = gl.GrowthPlan("without outgoing", full.widths, tuple(silent))
promise, real = gl.preview(model, plan, batch)
print("as scored: the loss falls as promised, within 10 %:", abs(real / promise - 1) < 0.1)
promise_again, real = gl.preview(model, broken, batch)
print("without outgoing weights: same promise:", promise_again == promise)
print("without outgoing weights: change of the loss:", round(abs(real), 9))

# %% [markdown]
# - **You never clear the gradients of the scores.** Then the second batch counts the first one again, and so on. One
#   published code does that. The order may survive it, the promise does not.
# - **You believe the promise for other pictures.** It was measured on those that you scored with. Preview on others.
# - **You forget batch norm.** A fresh neuron's running statistics must be those it was scored with. Otherwise it says
#   something else in the next step of training.

# %% [markdown]
# ## Quiz

# %% [markdown]
# **1. Why does the effect of a split begin with $y^2$?**
# - (a) Because $y$ and $-y$ give the same: the twins change places.
# - (b) Because the loss is squared.
# - (c) Because the neuron has converged, so its gradient is zero.
#
# <details><summary>Answer</summary>
#
# - (a) **Yes.** An even function has no linear term.
# - (b) No. *The loss makes it second order* would hold for fresh neurons, too, and they are first order.
# - (c) No. *Splits are second order only at a minimum* is a mix-up: it holds for every network, trained or not.
#
# </details>

# %% [markdown]
# **2. After long training of the directions, all scores read at $y = 1$ are near zero. What follows?**
# - (a) No candidate is worth building.
# - (b) The directions are near a minimum along the gate. The gain may be large.
# - (c) The network has converged.
#
# <details><summary>Answer</summary>
#
# - (a) No. *Score zero means gain zero* forgets that a score is a slope, and a valley is flat at its bottom.
# - (b) **Yes.** Walk down into a valley, and where you stand the ground is level.
# - (c) No. *The weights were frozen* all the time: only the directions moved.
#
# </details>

# %% [markdown]
# **3. The scores of all candidates add up to the real gain. What do you know about a single one?**
# - (a) Its score is its gain if it is built alone.
# - (b) Little: it was scored together with all others.
# - (c) Its score is at least no harm: positive ones are safe to build.
#
# <details><summary>Answer</summary>
#
# - (a) No. *A right sum has right parts* fails for teams. You have seen it in the tiny network.
# - (b) **Yes.** With short steps the parts are nearly right as well; with long ones build a copy and look.
# - (c) No. *A positive score is a guarantee* was refuted by candidates that did harm alone.
#
# </details>

# %% [markdown]
# **4. Fresh neurons win 90 % of the places. What does that say?**
# - (a) Fresh neurons are better than splits.
# - (b) With these step lengths they are ahead. First and second order depend on the step in different ways.
# - (c) The network has too few layers.
#
# <details><summary>Answer</summary>
#
# - (a) No. *Who wins is a property of the kind* overlooks the ruler: the lengths of the steps were our choice.
# - (b) **Yes.** Move the slider again.
# - (c) No. *Counts tell the right shape* reads too much into a ranking of slopes.
#
# </details>

# %% [markdown]
# **5. Firefly lowers the loss at the growth, random splits do not. After nine more epochs the interval of their difference
# contains zero. What follows?**
# - (a) Firefly is useless.
# - (b) Ten seeds cannot tell them apart after training; at the growth they clearly differ.
# - (c) Firefly is better, since it was better first.
#
# <details><summary>Answer</summary>
#
# - (a) No. *No visible difference is no difference* is too strong: the interval also contains gains of some points.
# - (b) **Yes.** Two moments, two answers.
# - (c) No. *A lead is kept* is a hope. The other network trained as well, and caught up.
#
# </details>

# %% [markdown]
# ## Summary
#
# - Firefly enlarges the network by all candidates at once and trains only their directions. Splits act in second order,
#   fresh neurons in first.
# - The score of a candidate is minus the slope of the loss along its gate: one backward pass for all of them.
# - Read at ½, scores sum to nearly the gain. Read at 1, splits count twice while steps are small, and nothing counts
#   once the directions have converged.
# - A right sum is not a right order: candidates that were trained for long are a team. Short steps, brief training,
#   and a preview before you build.
# - Firefly lowers the loss at once, random splits of the same length do not. After training on, ten seeds on these small
#   networks could not tell the two apart.

# %% [markdown]
# ## Terms
#
# | term | meaning |
# |---|---|
# | candidate | a split or a fresh neuron that could be built |
# | enlarged network | the network with all candidates in it, each behind a gate |
# | gate | a number $y$ that fades a candidate in: 0 not there, 1 as it would be built |
# | score | $-\partial L/\partial y$: how fast the loss falls as the gate opens |
# | midpoint | $y = ½$, where the slope of a parabola is the difference of its ends |
# | preview | what a plan promises and what it does, measured on a copy |

# %% [markdown]
# ## References
#
# - L. Wu, B. Liu, P. Stone and Q. Liu, *Firefly Neural Architecture Descent*, 2020:
#   [arXiv 2102.08574](https://arxiv.org/abs/2102.08574). The method of this notebook.
# - Q. Liu, L. Wu and D. Wang, *Splitting Steepest Descent for Growing Neural Architectures*, 2019:
#   [arXiv 1910.02366](https://arxiv.org/abs/1910.02366). The second-order view of a split.
# - T. Elsken, J.-H. Metzen and F. Hutter, *Simple and Efficient Architecture Search for Convolutional Neural Networks*,
#   2017: [arXiv 1711.04528](https://arxiv.org/abs/1711.04528). Random splits, the opponent above.
# - U. Evci and others, *GradMax: Growing Neural Networks using Gradient Information*, 2022:
#   [arXiv 2201.05125](https://arxiv.org/abs/2201.05125). Another way to choose what a fresh neuron starts with.
#
# Previous: [02 random growth](02_random_growth.ipynb). Next: [04 the cosine map](04_cosine_map.ipynb).
