# %% [markdown]
# # 04 · The cosine map
#
# A growing network gets copies, and copies are alike. The paper that this course follows measures how alike the neurons
# of a layer are, and then pushes them apart. Does it measure the right thing? Does the push reach the copies?
# In this notebook you find out.

# %% [markdown]
# ## What you will learn
#
# After this notebook you can
# - draw the map of all cosines of a layer, and say which of them chance alone explains,
# - compute its mean without the map, and build filters that fool this mean,
# - derive the push of the penalty by hand, and tell which twins it parts and which it leaves,
# - compare penalties fairly, at equal movement, and measure what K steps do to the function,
# - say which sentences of the paper can be read in several ways, and which reading you use.

# %% [markdown]
# ## Before you start
#
# - **You know** how a network grows ([00](00_start_here.ipynb)), why a copy learns nothing
#   ([01](01_neuron_splitting.ipynb)), and how Firefly chooses new neurons ([03](03_firefly.ipynb)).
# - **Time**: 60 minutes for the core sections, 30 more for the extra ones.
#   To run all cells: about 30 seconds on two CPU cores. You need no GPU.
# - **Exercises**: write your answer in place of the dots. `gl.hint("cosine-map")` helps, a step further at each call, and
#   `gl.solution("cosine-map")` shows a solution. Everything runs on if you skip them.

# %%
import copy
import json
import math
from itertools import islice
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from IPython.display import Markdown

import growlab as gl
from growlab import plots

torch.set_num_threads(1)  # enough for small networks; and the number of cores changes no result

# %% [markdown]
# ## What the paper does · core
#
# After each growth, and before training goes on, the paper does this to the weights of every layer:

# %%
torch.manual_seed(0)
layer = torch.randn(8, 30)  # eight old neurons
parents = [2, 5, None, 7]  # four new ones: three copies, slightly moved, and a fresh one
new = [torch.randn(30) if p is None else layer[p] + 0.2 * torch.randn(30) for p in parents]
layer = torch.cat([layer, torch.stack(new)])

network = gl.mlp([30, 12, 4])
network[1].weight.data.copy_(layer)
gl.decorrelate(network, k=20, movement=0.3)  # 20 steps on |μ|
maps = [gl.cosine_map(layer), gl.cosine_map(network[1].weight.detach())]
plots.workflow(layer, maps, parents)


# %% [markdown]
# Read it from left to right. (1) The layer grows. (2) Each neuron has a row of weights. (3) The cosine of every pair of
# rows makes a map. (4) The same numbers as a distribution, with a dashed line at their mean. (5) Small steps on the
# weights bring this mean to zero. The paper calls their number K. It tried 1 to 30, and reports 20 for random growth, 10
# for splitting and 15 for Firefly.
#
# Look at the last two pictures once more. The mean moved. Did the bars at the right end, the copies, move as well?
#
# **What we do not have.** Our text of the paper has lost its formulas: only the words around them are left. So the four
# equations in this notebook are *reconstructed*.
#
# | | the words | our reading | what the words leave open |
# |---|---|---|---|
# | Eq. 1 | cosines "using the normalized weight matrix" | $S = \hat W \hat W^\top$ | what a row is |
# | Eq. 2 | the mean of the map, "excluding diagonal elements" | $\mu = \frac{1}{n(n-1)}\sum_{i\ne j} S_{ij}$ | nothing |
# | Eq. 3 | "minimize", "closer to zero", "absolute value" | make $\lvert\mu\rvert$ small (05: also the mean of $\lvert S_{ij}\rvert$) | the absolute value of what? |
# | Eq. 4 | against "unstable changes in the sum of weights" | $(\sum W - \sum W')^2$ | which sum; $W'$ from when? |
#
# The strengths of the two terms and the learning rate of the K steps are missing, too. So are the accuracies of the
# paper's tables: you will see none of them here.

# %% [markdown]
# ## Eq. 1: the map · core
#
# Write the filter of neuron $i$ as a row $w_i$ of $D$ weights, and make it a unit vector: $\hat w_i = w_i / \|w_i\|$.
# The cosine of two neurons is the inner product $\hat w_i \cdot \hat w_j$. All of them at once are one matrix product,
# Eq. 1: $S = \hat W \hat W^\top$.
#
# **Exercise ● `cosine-map`.** Make the map of filters `weight`, of shape (n, D) or (n, C, h, w). A filter of zeros has no
# direction: its row and column are zeros.

# %%
def cosine_map(weight):
    return ...  # (n, n)


gl.check("cosine-map", cosine_map)

# %%
cosine_map = gl.answer("cosine-map", cosine_map)

# %% [markdown]
# Try it on something small: twelve random filters in 40 dimensions. Then put a copy of filter 4 in place of the last one, and
# move it a little. Where in the map will you see this? And how large are the other cosines, roughly?
#
# **Your prediction:** …

# %%
torch.manual_seed(1)
strangers = torch.randn(12, 40, dtype=torch.float64)
weight = strangers.clone()
weight[11] = weight[4] + 0.2 * torch.randn(40, dtype=torch.float64)
plots.cosine_maps({"at random": cosine_map(strangers), "11 is a copy of 4": cosine_map(weight)})


# %% [markdown]
# The diagonal is 1: each filter with itself. On the right, the two dark squares off the diagonal, (4, 11) and (11, 4), are the
# twins. Below, every pair counts once: the twins are the lonely bar at the right end. All other cosines are small, but not
# zero, although these filters have nothing to do with each other. Keep that in mind.

# %% [markdown]
# ## Eq. 2: one number · core
#
# The paper takes the mean of the map without its diagonal. By hand:

# %% tags=["nbval-check-output"]
def mean_off_diagonal(cosines):
    n = len(cosines)
    return (cosines.sum() - cosines.diagonal().sum()) / (n * (n - 1))


print(f"mean of the map:    {mean_off_diagonal(cosine_map(weight)):.6f}")
print(f"growlab's function: {gl.mean_cosine(weight):.6f}")


# %% [markdown]
# Now look at the sum more closely. All entries together are
#
# $$\sum_{i,j} \hat w_i \cdot \hat w_j \;=\; \Big(\sum_i \hat w_i\Big) \cdot \Big(\sum_j \hat w_j\Big) \;=\; \|R\|^2,
# \qquad R = \sum_i \hat w_i .$$
#
# $R$ is the **resultant**: put all unit vectors one after the other, and it leads from the start to the end. Without the
# diagonal,
#
# $$\mu = \frac{\|R\|^2 - \sum_i \|\hat w_i\|^2}{n(n-1)} .$$
#
# So you need no map at all: one sum of n rows, $O(nD)$ instead of $O(n^2 D)$.
#
# **Exercise ● `mean-in-one-vector`.** Compute μ this way, for filters (n, D). Mind filters of zeros, and a layer with a
# single neuron: it has no pairs, and its μ is 0.

# %%
def mean_cosine(weight):
    return ...


gl.check("mean-in-one-vector", mean_cosine)

# %%
mean_cosine = gl.answer("mean-in-one-vector", mean_cosine)

# %% tags=["nbval-check-output"]
many = torch.randn(200_000, 10, generator=torch.Generator().manual_seed(0))
print(f"200,000 filters: |mean| {abs(mean_cosine(many)):.4f}")
print(f"their map would take {4 * len(many) ** 2 / 1e9:.0f} GB")


# %% [markdown]
# ## Eq. 3: bring it to zero · core
#
# The paper wants to "minimize" the mean (§3.1), to bring it "closer to zero" (§3), and speaks of the "average absolute
# value" (§4.2, "of the cosine similarity distribution") and of "minimizing absolute value" (§4.3). These are different things:

# %%
def readings(weight):
    cosines = cosine_map(weight)
    off = cosines[~torch.eye(len(cosines), dtype=torch.bool)]
    return {"signed": off.mean(), "absolute": off.mean().abs(),
            "mean_absolute": off.abs().mean(), "square": off.square().mean()}  # fmt: skip


pd.Series({name: value.item() for name, value in readings(weight).items()}).round(4)


# %% [markdown]
# - `signed`: as small as possible. That is *below* zero, down to $-1/(n-1)$.
# - `absolute`: $|\mu|$, zero is the goal. It fits "closer to zero" and the absolute value, and it is the default here.
# - `mean_absolute`: each single cosine counts, whatever its sign. It fits "average absolute value", word by word.
# - `square`: likewise, and large cosines count most.
#
# The words decide nothing between `absolute` and `mean_absolute`. The figures may: see "Does it last?" below. Notebook 05
# tests both, and the square, on the accuracy.
#
# Think about $|\mu|$. With the identity, $\mu = 0$ says only: the resultant has the length $\sqrt n$. That is one condition
# on one vector. Can a layer that is full of twins satisfy it?
#
# **Your prediction:** …
#
# **Exercise ●●● `fool-the-mean`.** Build at least four filters (any D) with $\mu = 0$, in which *every* filter has an exact
# twin, or an exact opposite. Take pen and paper first.

# %%
def fool_the_mean():
    return ...  # (n, D), n ≥ 4


gl.check("fool-the-mean", fool_the_mean)

# %%
fool_the_mean = gl.answer("fool-the-mean", fool_the_mean)

# %%
fooled = fool_the_mean()
print(cosine_map(fooled).round(decimals=2))
print({name: round(value.item(), 3) for name, value in readings(fooled).items()})


# %% [markdown]
# The first two readings are zero, as for a perfect layer. The last two are not: they see the twins.
# **A mean of zero does not mean that there are no duplicates.** In our solution, $a, a, b, -b$, the resultant is $2a$ for
# *every* $b$, and $\|2a\|^2 = 4 = n$. The twins are paid for by a pair of opposites.

# %% [markdown]
# ## Where does it push? · core
#
# Now the gradient, in two steps. First pretend that the unit rows are free. Each pair is in the sum twice, as
# $(i, j)$ and as $(j, i)$, so
#
# $$\frac{\partial \mu}{\partial \hat w_i} = \frac{2}{n(n-1)} \sum_{j \ne i} \hat w_j .$$
#
# Then the step from $w_i$ to $\hat w_i = w_i / \|w_i\|$. Longer filters have the same direction, so whatever lies along
# $\hat w_i$ drops out, and a long filter turns less than a short one:
#
# $$\frac{\partial \mu}{\partial w_i} = \frac{2}{n(n-1)\,\|w_i\|}\,
# \big(I - \hat w_i \hat w_i^\top\big) \sum_{j \ne i} \hat w_j .$$
#
# **Exercise ●● `push`.** Write this for all filters (n, D) at once. No filter is zero here.

# %%
def push(weight):
    return ...  # (n, D)


gl.check("push", push)

# %%
push = gl.answer("push", push)

# %% tags=["nbval-check-output"]
by_autograd = torch.autograd.functional.jacobian(gl.mean_cosine, weight)
print("as autograd has it:", torch.allclose(push(weight), by_autograd))
sideways = (push(weight) * weight).sum(1).abs().max()
print(f"largest part along a filter itself: {sideways:.6f}")
apart = F.cosine_similarity(push(weight)[4], push(weight)[11], dim=0)
print(f"cosine of the pushes on the twins: {apart:.1f}")

# %% [markdown]
# The last line is the important one. Every filter is pushed away from *the same vector*, the resultant $R$ of all: whether
# the filter itself is in the sum makes no difference, since what lies along it drops out. Twins stand at nearly the same
# place, so they are pushed the same way. **The mean moves them together, not apart.**

# %% [markdown]
# ## How large is small? · core
#
# The random filters above had cosines that were not zero. How large are they by chance? Take $n$ filters whose weights are
# independent and Gaussian, in $D$ dimensions. One cosine is a sum of $D$ small terms; its mean is 0, its standard deviation
# $1/\sqrt D$. For $\mu$, average $n(n-1)/2$ pairs, which are uncorrelated:
#
# $$\text{one cosine: } \frac{1}{\sqrt D}, \qquad \text{the mean } \mu\text{: } \sqrt{\frac{2}{n(n-1)D}} .$$
#
# We call these the **null bands**. The layers of the paper's VGG16 begin with 16 neurons each. $D$ is 27 in the first
# layer (3 colours, 3 × 3 pixels) and 144 in the second. In a large VGG16, layer 13 has 512 inputs, so $D$ = 4608. How large
# is a typical cosine there, by chance?

# %%
gl.predict("null-band", ...)  # put your number in place of the dots


# %% tags=["nbval-check-output"]
def null(n, d):
    return 1 / math.sqrt(d), math.sqrt(2 / (n * (n - 1) * d))


for name, n, d in (("layer 1", 16, 27), ("layer 2", 16, 144), ("large layer 13", 512, 4608)):
    cosine, mean = null(n, d)
    print(f"{name:15} n = {n:3}  D = {d:4}  one cosine ±{cosine:.3f}   mean ±{mean:.5f}")

# %%
gl.predict("null-band", measured=null(512, 4608)[0])

# %% [markdown]
# Is it true? Draw 2,000 random layers, and look at the deviations of one cosine and of the mean:

# %% tags=["nbval-check-output"]
stream = torch.Generator().manual_seed(0)
layers = [torch.randn(12, 40, generator=stream) for _ in range(2000)]
one = torch.stack([cosine_map(rows)[0, 1] for rows in layers]).std()
mean = torch.stack([gl.mean_cosine(rows) for rows in layers]).std()
print(f"measured: {one:.2f} and {mean:.2f}")
print("by the formula: {:.2f} and {:.2f}".format(*null(12, 40)))

# %% [markdown]
# So **deep layers look better for free**: the same randomness gives smaller cosines where $D$ is large. And a layer of
# random filters has a mean of almost zero without any penalty. Look at a real layer with its band. We train a small
# network on critters, and let it grow by half: copies of random neurons, moved a little.

# %%
critters = gl.load_data("critters")
recipe = dict(lr=0.02, batch_size=32, schedule="constant_then_cosine", augment=False,
              progress=False)  # fmt: skip
torch.manual_seed(0)
model = gl.vgg5(width=8)
gl.train(model, critters, 5, seed=0, **recipe)
trained = {unit.name: gl.similarity_figures(unit.weight) for unit in gl.units(model)}

grown = copy.deepcopy(model)
split = gl.propose("net2net", grown, step=0.05).within(rate=0.5)
gl.apply(grown, split)
after_growth = {unit.name: gl.similarity_figures(unit.weight) for unit in gl.units(grown)}

# %%
rows = {
    ("trained", "grown by copies")[i]: {
        f"layer {number}": f"{layer['mean_cosine']:+.3f}  ({layer['null_z']:+.1f} deviations)"
        for number, layer in enumerate(moment.values(), 1)
    }
    for i, moment in enumerate((trained, after_growth))
}
pd.DataFrame(rows)

# %%
inside = sum(abs(layer["null_z"]) < 2 for layer in trained.values())
Markdown(f"""The mean cosine of each layer, and in brackets how many null deviations that is.
After training, {inside} of {len(trained)} layers lie within two deviations: their mean is what
chance gives, and there is nothing for Eq. 3 to repair. Copies lift it where they come: each
pair of twins adds a cosine near 1.""")


# %% [markdown]
# ## Do twins part? · core
#
# Copies are what the method is made for. So measure *them*: the angle between twins. It may be tiny, and the obvious ruler,
# the arccosine, cannot read tiny angles: the cosine of an angle of $10^{-9}$ is 1 for a computer. Use
#
# $$\theta = 2\,\mathrm{atan2}\big(\|\hat a - \hat b\|,\ \|\hat a + \hat b\|\big) .$$
#
# Why this is the angle: the two vectors in the formula are at a right angle, and have lengths $2\sin(\theta/2)$ and
# $2\cos(\theta/2)$.
#
# **Exercise ●● `see-the-angle`.** The angles in radians between the rows of `a` and of `b`, both (m, D).

# %%
def see_the_angle(a, b):
    return ...  # (m,)


gl.check("see-the-angle", see_the_angle)

# %%
see_the_angle = gl.answer("see-the-angle", see_the_angle)

# %% tags=["nbval-check-output"]
a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1e-4]])
print(f"your ruler: {see_the_angle(a, b).item():.6f}")
print(f"arccosine:  {F.cosine_similarity(a, b).clamp(-1, 1).arccos().item():.6f}")

# %% [markdown]
# Now the experiment. Five small networks (five seeds) learn the digits. Each one then gets a copy of all its 16 neurons, and
# twins are moved apart by a small step. Then 30 steps of a penalty, on the weights alone.
#
# **Compare at equal movement, not at equal learning rate.** The gradients of two penalties have different sizes, so at one
# learning rate the larger one moves the weights further, and wins for that. `movement=0.3` makes every step the same
# length: 30 steps of 1 % of the weights' length each. And there is a **placebo**: steps of the same length in a random
# direction, a fixed one for each filter. It knows nothing about similarity.

# %%
digits = gl.load_data("digits")
pictures = list(digits.batches("train", 256))


def with_twins(seed):
    torch.manual_seed(seed)
    net = gl.mlp([64, 16, 10])
    gl.train(net, digits, 10, seed=seed, **recipe | {"lr": 0.05})
    return net, gl.apply(net, gl.propose("net2net", net, step=0.05, seed=seed))


def steps(seed, penalty):
    net, twins = copy.deepcopy(nets[seed])
    return gl.decorrelate(net, 30, penalty=penalty, movement=0.3, change_strength=0,
                          twins=twins, batches=pictures, seed=seed)  # fmt: skip


# %%
nets = [with_twins(seed) for seed in range(5)]
kinds = {"|μ|": "absolute", "mean square": "square", "random (placebo)": "random",
         "energy": "energy", "log det": "logdet"}  # fmt: skip
traces = {name: [steps(seed, kind) for seed in range(5)]
          for name, kind in kinds.items()}  # fmt: skip
start = math.degrees(sum(trace["twin_angle"][0] for trace in traces["energy"]) / 5)
Markdown(f"The twins start {start:.1f}° apart. Random filters are at 90°, more or less.")

# %% [markdown]
# `energy` and `log det` are two penalties from other papers; you will meet them in an extra section below. After all 30
# steps: which angle will the twins have under $|\mu|$, and which under the placebo?
#
# **Your prediction:** $|\mu|$ … °, placebo … °

# %%
gl.predict("twins", ...)  # the angle under |μ| after 30 steps, in degrees

# %%
path = range(31)  # each step is 1 % of the weights long
degrees = {name: [trace["twin_angle"] * 180 / math.pi for trace in runs]
           for name, runs in traces.items()}  # fmt: skip
plots.curves(
    {name: (path, values) for name, values in degrees.items()},
    "length of all steps together, in % of the weights", "angle of twins in degrees",
    alt="Angle between twins against the length of all penalty steps, for five penalties, a thin "
        "line for each of five seeds: |μ| stays flat, log det and energy rise most.",
    size=(7.5, 3.6))  # fmt: skip


# %%
def at_the_end(runs, column, step=30):
    return sum(trace[column][step] for trace in runs) / len(runs)


gl.predict("twins", measured=math.degrees(at_the_end(traces["|μ|"], "twin_angle")))

# %%
pd.DataFrame({
    name: {"moved, in %": 100 * at_the_end(runs, "movement", 10),
           "twins' angle in degrees": math.degrees(at_the_end(runs, "twin_angle", 10)),
           "drift of the outputs, in %": 100 * at_the_end(runs, "drift", 10)}
    for name, runs in traces.items()
}).T.round(2)  # fmt: skip

# %% [markdown]
# The curves go to 30 % of the weights; the table is read after ten steps, at 10 %. "Moved" is the distance from the start,
# "drift" the mean square change of the outputs, relative to their variance. What you see:
#
# - **$|\mu|$ leaves the twins where they are.** It needs a few steps to bring the mean to zero. Then there is nothing left
#   to do, and it hovers: it has moved less than the others, since there is no force any more.
# - **The placebo parts them.** Two independent random directions are at a right angle to each other. So what parts twins best
#   is not necessarily what knows about them. Keep this opponent in mind when you read that a penalty "makes neurons
#   differ".
# - The **mean square** parts them, but slowly at first: near angle 0 its force vanishes, as that of every smooth
#   function of the cosine does.
# - Energy and log det go straight for the closest pairs. Of those that moved as far they change the outputs least: what twins
#   do that move apart symmetrically cancels in the sum.
#
# One more thing: *exact* twins, at angle 0, feel no force from each other under any of these penalties. Somebody has to give
# them a kick first.

# %% [markdown]
# ## K and the function · core
#
# The K steps move weights, and nothing else knows about it: not the next layer, and not the running statistics of batch
# norm. Take the network from above that has learned critters and has grown by copies. For every K: make the steps, measure
# the validation accuracy; then estimate the statistics anew on training pictures, and measure again.
# Each step is again 1 % of the weights.

# %%
some = list(islice(critters.batches("train", 200, seed=1), 8))


def accuracies(k, penalty):
    net = copy.deepcopy(grown)
    gl.decorrelate(net, k, penalty=penalty, movement=0.01 * k, change_strength=0)
    stale = gl.evaluate(net, critters.val)
    gl.refresh_statistics(net, some)
    return stale, gl.evaluate(net, critters.val)


start = accuracies(0, "absolute")
Markdown(f"Before any step: {start[0]:.1%}, and {start[1]:.1%} with new statistics.")

# %% [markdown]
# What is left after 30 steps of $|\mu|$, before the statistics are estimated anew?

# %%
gl.predict("k-accuracy", ...)  # an accuracy, between 0 and 1

# %%
ks = (0, 5, 10, 20, 30)
some_kinds = {name: kind for name, kind in kinds.items() if kind != "logdet"}
kept = {name: [accuracies(k, kind) for k in ks] for name, kind in some_kinds.items()}
gl.predict("k-accuracy", measured=kept["|μ|"][-1][0])

# %%
figure, axes = plots.panels(1, 2, size=(9, 3.3), sharey=True)
titles = ("right after the steps", "with new statistics")
for (name, values), (color, style, marker) in zip(kept.items(), plots.LINES):
    for cell, title, accuracy in zip(axes, titles, zip(*values)):
        cell.plot(ks, accuracy, color=color, ls=style, marker=marker, label=name)
        cell.set(xlabel="K, steps of 1 % each", xticks=ks)
        cell.set_title(title, weight="bold")
axes[0].set(ylabel="validation accuracy", ylim=(0, 0.8))
axes[0].legend(loc="lower left", frameon=False)
figure.alt = ("Validation accuracy of one network against K, for four penalties: right after "
              "the steps, and after batch norm's statistics were estimated anew.")  # fmt: skip
figure

# %%
lost, rest = (100 * (start[0] - value) for value in kept["|μ|"][-1])
Markdown(f"""After 30 steps of |μ| the network has lost {lost:.0f} points. With new statistics the
loss is {rest:.0f}. The standard error of one accuracy, on {len(critters.val)} pictures, is about
2 points; but all curves use the same network and the same pictures.""")

# %% [markdown]
# What $|\mu|$ costs is mostly staleness. It pushes all filters along one common direction, so the means of all channels
# shift together, and batch norm subtracts the wrong numbers. The other penalties also change what the filters
# look for, and a larger part of the loss remains.
#
# So: **re-estimate before you judge.** Otherwise you blame the wrong thing. (Training itself uses the statistics of each batch,
# and repairs the running ones by the way.)

# %% [markdown]
# ## Turn the knob · core
#
# `gl.explore.k` has all knobs in one place: K, the length of a step, both terms, the penalty, and the layer that you look at.
# The network is the grown one from above. Grey is one deviation by chance, dotted the distribution before the steps. Begin
# with $|\mu|$, and move K. Which bars move, and which do not? What if you take the mean square?
#
# **Your prediction:** …

# %%
explorer = gl.explore.k(grown, split, critters, dose=2.0)
explorer

# %% [markdown]
# From a cell, and for readers of a page on which nothing runs: 20 steps of $|\mu|$.

# %%
explorer.knobs["k"].value = 20
explorer.figure

# %% [markdown]
# The dashed line has come to zero, and the bars at the right end are where they were. To pay for the twins, **the other
# pairs moved to the left**: many are more opposite now than chance would make them. And the mean square?

# %%
explorer.knobs["penalty"].value = "square"
explorer.figure


# %% [markdown]
# The pairs gather around zero, and the twins have begun to part. The words below the picture say what became of the function:
# how far the outputs drifted, and the accuracy before the steps, right after them, and with new statistics. (On
# 150 pictures, so that a move is quick: the standard error is 4 points.)

# %% [markdown]
# ## Eq. 4: keep the sum · core
#
# The paper adds a loss term against "unstable changes in the sum of weights". One reading, relative to the size of the
# weights so that it has no unit, with $N$ weights in a layer:
#
# $$L_4 = \frac{\big(\sum W - \sum W'\big)^2}{N\,\|W'\|^2}, \qquad W' \text{: the weights before the steps.}$$
#
# It begins at its minimum. What does it do in the first step? And what if it is used alone, without Eq. 3, as in one row of
# the paper's ablation?
#
# **Your prediction:** …

# %% tags=["nbval-check-output"]
def sum_change(now, before):
    return (now.sum() - before.sum()) ** 2 / (now.numel() * before.square().sum())


now = weight.clone().requires_grad_()
sum_change(now, weight).backward()
print("largest gradient in the first step:", now.grad.abs().max().item())

alone = gl.decorrelate(copy.deepcopy(grown), 20, penalty_strength=0)
print("moved by 20 steps of Eq. 4 alone:", alone["movement"].iloc[-1].item())


# %% [markdown]
# Nothing, and nothing. At its minimum a square has no slope, so with K = 1 Eq. 4 does nothing at all, and alone it does
# nothing for any K, if the K steps see only the penalty. The paper's ablation calls Eq. 4 alone "comparable to the
# conventional method". Under this reading it would be exactly the conventional method.
#
# Is a sum of weights worth keeping? The inputs of a layer come out of a ReLU: none is negative. So a filter with a larger sum of
# weights lifts the mean of its channel, and this is the number that batch norm has stored. Take 30 steps on $|\mu|$ and let
# Eq. 4 grow stronger. What will happen to the accuracy right after the steps? And with new statistics?
#
# **Your prediction:** …

# %%
def with_eq4(strength, seed):
    net = copy.deepcopy(model)
    gl.apply(net, gl.propose("net2net", net, step=0.05, seed=seed).within(rate=0.5))
    last = gl.decorrelate(net, 30, change_strength=strength).iloc[-1]
    stale = gl.evaluate(net, critters.test)
    gl.refresh_statistics(net, some)
    return [last["penalty"], last["movement"], last["weight_change"],
            stale, gl.evaluate(net, critters.test)]  # fmt: skip


# %%
eq4 = {s: torch.tensor([with_eq4(s, seed) for seed in range(3)]).mean(0) for s in (0, 1, 10)}
names = ("|μ|", "moved", "change of the sum", "accuracy", "with new statistics")
formats = ("{:.4f}", "{:.1%}", "{:.1e}", "{:.1%}", "{:.1%}")
pd.DataFrame({
    f"strength {strength}": [how.format(value.item()) for how, value in zip(formats, row)]
    for strength, row in eq4.items()
}, index=names).T  # fmt: skip

# %% [markdown]
# Means over three growths of one trained network. $|\mu|$ falls to the same value, by the same movement: the sum is one number
# of hundreds, and keeping it costs Eq. 3 nothing. But the stronger Eq. 4 is, the less accuracy is lost right after the
# steps. With new statistics the rows are equal again. So here Eq. 4 does have a job, and it is the one that you just saw:
# **it keeps batch norm from going stale.** The paper says much the same in other words: Eq. 3 alone helped little "due to
# altering the sum of weights".

# %% [markdown]
# ## Does it last? Figure 6 · core
#
# The paper's Fig. 6 shows the cosines in the second layer of a VGG16, grown by Firefly, at the end of training. With the
# method there are more pairs near zero. We ask two more questions. Is it so right after the K steps, and **still** at the
# end? And would steps in a random direction do the same?
#
# Ours: a vgg5 on critters, 8 neurons a layer, 8 epochs, grown by Firefly after epochs 2 and 4. K = 15, movement 10 %, new
# statistics after the steps. Five seeds (0 to 4) of each arm; within a seed all arms are the same network until the first
# K steps. Twenty trainings take long, so this is a record. Set `rerun = True` to make it anew (about 15 minutes).

# %%
rerun = False
record = json.loads(Path("../data/results/04_cosine_map.json").read_text())
arms = {"|μ|": "absolute", "mean square": "square", "random": "random", "no penalty": None}


def grow_with(penalty, seed):
    steps = {"penalty": penalty, "movement": 0.1, "refresh": True}
    how = {"k": 15, "decorrelate": steps} if penalty else {}
    growth = gl.Growth("firefly", rate=0.5, at=(2, 4), **how)
    torch.manual_seed(seed)
    history = gl.train(gl.vgg5(width=8), critters, 8, growth=growth, seed=seed, **recipe)
    layer = [{"epoch": note["epoch"], **note["layers"]["4"]} for note in history.similarity]
    return {"test_accuracy": history.result["test_accuracy"], "layer": layer}


# %%
runs = record["runs"]
if rerun:
    runs = {name: [grow_with(penalty, seed) for seed in record["seeds"]]
            for name, penalty in arms.items()}  # fmt: skip


def last_of(epoch, run):
    return [note for note in run["layer"] if note["epoch"] == epoch][-1]


# %% [markdown]
# Before you look: which of the two penalties will make the distribution narrower right after the steps? And what will be
# left of it four epochs later?
#
# **Your prediction:** …

# %%
moments = {"right after the last K steps": 4, "at the end of training": 8}
drawn = ("|μ|", "mean square", "no penalty")  # random looks like no penalty: see the table
shown = {title: {name: [last_of(epoch, run)["histogram"] for run in runs[name]] for name in drawn}
         for title, epoch in moments.items()}  # fmt: skip
plots.distributions(shown, band=record["band"], edges=[i / 20 - 1 for i in range(41)])


# %%
def mean_of(name, epoch, value):
    return sum(value(last_of(epoch, run)) for run in runs[name]) / len(runs[name])


def near_zero(note):
    return sum(note["histogram"][18:22]) / sum(note["histogram"])  # bins from -0.1 to 0.1


numbers = {
    "μ": lambda note: note["mean_cosine"], "μ, in null deviations": lambda note: note["null_z"],
    "share within ±0.1": near_zero, "mean |cosine|": lambda note: note["mean_absolute_cosine"],
    "twins' angle, degrees": lambda note: math.degrees(note["twin_angle"]),
}  # fmt: skip
table = {(when, name): {what: mean_of(name, epoch, value) for what, value in numbers.items()}
         for when, epoch in (("after K", 4), ("end", 8)) for name in arms}  # fmt: skip
pd.DataFrame(table).T.round(3)


# %%
def more_near_zero(name, epoch):
    """Against the arm without penalty, seed by seed, in points."""
    pairs = zip(runs[name], runs["no penalty"])
    gains = (near_zero(last_of(epoch, a)) - near_zero(last_of(epoch, b)) for a, b in pairs)
    return ", ".join(f"{100 * gain:+.0f}" for gain in gains)


pd.DataFrame({
    moment: {name: more_near_zero(name, epoch) for name in arms if arms[name]}
    for moment, epoch in (("after the last K steps", 4), ("at the end", 8))
})  # fmt: skip

# %% [markdown]
# Pairs within ±0.1, in points more than without penalty, a number for each seed. Three things to read from this:
#
# - **$|\mu|$ does what it says, and no more.** The mean goes to zero and stays there until the end. But the distribution is as
#   wide as without it: there are no more pairs near zero, neither after the steps nor at the end. In our runs this reading
#   does not give what the paper's Fig. 6 shows. And the mean was small before. (The mean of $|\cos|$ was not among these
#   arms. In the runs of notebook 05 it does give more pairs near zero, at the end as well.)
# - **The mean square makes it narrower, and it lasts in part.** Right after the steps far more pairs are near zero. Four epochs
#   later about half of the difference is left. So if you see a figure like the paper's Fig. 6, ask *when* it was taken, and
#   which reading made it.
# - **The placebo makes no clear difference**: random steps of this length make filters neither more alike nor less. The twins
#   part by training anyway, in all four arms.
#
# And the test accuracy?

# %%
differences = {
    name: [100 * (run["test_accuracy"] - other["test_accuracy"])
           for run, other in zip(runs[name], runs["no penalty"])]
    for name in ("|μ|", "mean square", "random")
}
differences["no penalty, in %"] = [100 * run["test_accuracy"] for run in runs["no penalty"]]
pd.DataFrame(differences, index=[f"seed {seed}" for seed in record["seeds"]]).round(1)


# %% [markdown]
# Points of test accuracy more than the same seed without penalty. In every column the signs differ between seeds, so five seeds
# of this small network say nothing about a gain. They say something about the distribution, and that is what they were
# for. Other networks, other pictures, more epochs and another dose may behave differently: our text of the paper does not
# tell its dose. Notebook 05 asks about the accuracy, with more seeds, and for four of the readings.

# %% [markdown]
# ## The penalty without growth · extra
#
# If filters that are less alike are better, then a network that never grows should gain from the penalty as well.
# `Growth(until=1, when="every_epoch", k=10)` is a schedule that never grows (it has enough with one parameter), but takes K
# steps after every epoch. Small networks on the digits, four seeds. The second number tells how much larger the mean
# square cosine of layer 2 is at the end than that of random filters: 1 is chance, 0 is a right angle everywhere.

# %%
def never_grown(penalty, seed):
    steps = {"penalty": penalty or "absolute", "movement": 0.05}
    growth = gl.Growth(until=1, every=1, when="every_epoch", k=10, decorrelate=steps)
    torch.manual_seed(seed)
    how = {"growth": growth if penalty else None, "seed": seed} | recipe | {"lr": 0.05}
    done = gl.train(gl.mlp([64, 32, 32, 10]), digits, 10, **how)
    spread = done.similarity[-1]["layers"]["3"]["mean_square_cosine"] * 32  # by chance 1/D
    return done.result["test_accuracy"], spread


# %%
rows = {}
for name, kind in arms.items():
    ends = [never_grown(kind, seed) for seed in range(4)]
    rows[name] = {"test accuracy, a number per seed": ", ".join(f"{a:.1%}" for a, _ in ends),
                  "mean square / chance": f"{sum(s for _, s in ends) / 4:.2f}"}  # fmt: skip
pd.DataFrame(rows).T


# %% [markdown]
# The mean square penalty makes the filters of layer 2 less alike than random ones. The accuracies do not care: the differences
# between the rows are no larger than those between seeds within a row. One easy task and four seeds prove nothing, but they
# warn you: *less alike* is not the same as *better*. Whether it helps a growing network is the question of notebook 05.

# %% [markdown]
# ## How far apart can they be? · extra
#
# In $D$ dimensions at most $D$ filters can be at right angles to each other. If $n > D$, some of them must be alike. How
# much, says Welch's bound. Both $\hat W \hat W^\top$ (n × n) and $\hat W^\top \hat W$ (D × D) have the same sum of squares.
# The second one has trace $n$ and at most $D$ eigenvalues, so this sum is at least $n^2 / D$. Take away the diagonal:
#
# $$\frac{1}{n(n-1)} \sum_{i \ne j} S_{ij}^2 \;\ge\; \frac{n^2/D - n}{n(n-1)} = \frac{n - D}{D(n - 1)} .$$

# %%
def lowest(n, d):
    return max((n - d) / (d * (n - 1)), 0)


def descend(rows, kind, steps=300):
    """Unit rows that go downhill, in steps that get smaller."""
    for step in range(steps):
        rows = rows.detach().requires_grad_()
        gl.similarity_penalty(rows, kind).backward()
        length = len(rows) / 8 * 0.985**step
        rows = F.normalize(rows.detach() - length * rows.grad, dim=1)
    return rows


# %%
counts, d = (8, 16, 20, 24, 32, 64), 16
torch.manual_seed(0)
rows = {n: [torch.randn(n, d) for _ in range(3)] for n in counts}


def mean_square(starts):
    return sum(readings(weight)["square"].item() for weight in starts) / len(starts)


pd.DataFrame({
    f"n = {n}": {"random filters": mean_square(starts),
                 "after descent": mean_square([descend(start, "square") for start in starts]),
                 "Welch's bound": lowest(n, d)}
    for n, starts in rows.items()
}).round(4)  # fmt: skip

# %% [markdown]
# The mean square cosine of n filters in 16 dimensions, means over three random starts. Descent comes down to the bound (at
# $n = D$ it takes longest). There no
# layer can have a smaller mean square, although its cosines are not zero. In the first layer of a VGG16, $D = 27$: from 28
# neurons on, some likeness is unavoidable. But the bound does not exclude duplicates. $D$ filters at right angles, each of
# them twice, lie exactly on it. The next section makes such a layer.

# %% [markdown]
# ## Where the mean of |cosine| makes duplicates · extra
#
# "Average absolute value of the cosine similarity": read literally, that is the mean of $|S_{ij}|$. Take four filters in two
# dimensions ($n = 2D$) and minimise it. Will they spread evenly, like the spokes of a wheel?
#
# **Your prediction:** …

# %%
torch.manual_seed(4)
four = {"start": F.normalize(torch.randn(4, 2), dim=1)}
four["mean of |cosine|"] = descend(four["start"], "mean_absolute")
four["mean square"] = descend(four["start"], "square")

# %%
figure, axes = plots.panels(1, 3, size=(9, 3.3))
for cell, (title, rows) in zip(axes, four.items()):
    for (x, y), (color, style, _) in zip(rows.tolist(), plots.LINES):
        cell.plot([-x, x], [-y, y], color=color, ls=style, lw=1, alpha=0.5)
        cell.arrow(0, 0, x, y, color=color, width=0.02, head_width=0.12, length_includes_head=True)
    cell.set(xlim=(-1.1, 1.1), ylim=(-1.1, 1.1), aspect="equal")
    cell.set_axis_off()
    cell.set_title(title, weight="bold")
figure.alt = ("Four unit vectors in the plane: at random; after descent on the mean of |cosine|, "
              "on two lines at a right angle; after descent on the mean square, spread.")
figure


# %%
def duplicates(rows):
    """How many filters have a twin or an opposite."""
    return (cosine_map(rows).abs().fill_diagonal_(0).amax(1) > 0.99).sum().item()


ends = pd.DataFrame({name: readings(rows) for name, rows in four.items()}).map(float)
ends.loc["twins or opposites"] = {name: duplicates(rows) for name, rows in four.items()}
ends.round(3)

# %% [markdown]
# With the mean of $|\cos|$ they fall onto two lines at a right angle: **every filter gets an exact twin or an exact
# opposite**. A cosine of 0 counts nothing and one of 1 counts 1, and two zeros with a one in between are cheaper than three
# cosines in the middle. The square spreads them: both have the same mean square, that of Welch's bound, but only one of them
# consists of duplicates.
#
# Does the most literal reading of one sentence of the paper produce what the method should remove, then? It depends on $n$
# and $D$, **layer by layer**:
# - $n \le D$: the minimum is 0, all filters at right angles. There the mean of $|\cos|$ parts twins, in the end.
# - $D < n \le 2D$: the sum over all pairs is at least $n - D$. It is reached only by filters at right angles of which $n - D$
#   are there twice, as twins or as opposites.
#
# The proof takes three lines. The map $S$ has rank $D$ at most, so there is a projection $P$ of rank $n - D$ with $PS = 0$.
# From the trace, $0 = n - D + \sum_{i \ne j} P_{ij} S_{ij}$. And an entry of a projection off its diagonal is at most
# $\tfrac12$ in size, so $\sum_{i \ne j} |S_{ij}| \ge 2(n - D)$, each pair counted twice. (Where it is reached, a filter with a
# cosine that is not 0 has $P_{ij} = \pm\tfrac12$ with *one* other, and $\hat w_i = \mp \hat w_j$.)
#
# On which side are the layers of growing networks? We let three of them grow four times by 35 %, at random.
#
# **Your prediction:** layers with $n > D$: vgg5 …, VGG16 …, MobileNet …

# %%
rows = {}
for name, net in {"vgg5, width 4 (05)": gl.vgg5(width=4), "VGG16, width 16": gl.vgg16(width=16),
                  "MobileNet, width 32": gl.mobilenet(width=32)}.items():  # fmt: skip
    for growth in range(4):
        gl.apply(net, gl.propose("random", net, seed=growth).within(rate=0.35))
    shapes = [tuple(unit.weight.shape) for unit in gl.units(net)]  # (n, D)
    beyond = [f"{n} of {d}" for n, d in shapes if n > d]
    rows[name] = {"layers": len(shapes), "with n > D": len(beyond),
                  "n of D in the first": "{} of {}".format(*shapes[0]),
                  "largest n/D of the others": max(n / d for n, d in shapes[1:])}  # fmt: skip
pd.DataFrame(rows).T


# %% [markdown]
# In vgg5 no layer has more filters than dimensions: there, and in the runs of notebook 05, the mean of $|\cos|$ pulls towards
# right angles. In VGG16 it is the first layer only, with its $D = 27$; from the second one on, $D$ is at least 144.
# MobileNet's first layer is across the line from the beginning (32 filters). A pointwise layer has as many dimensions as it
# has channels coming in, so growth carries about every second one across. Some twenty short steps do not reach a minimum.
# But this is where they lead.
#
# **To go on** ●●● Do the same with six filters in three dimensions, from several starts. The lowest value is
# $1/(2D - 1)$. Is it always reached? What do the filters look like where it is not?

# %% [markdown]
# ## Stronger medicine · extra
#
# Two penalties that part twins, by hand in a line each:
#
# - **Hyperspherical energy**, the mean of $1 / \|\hat w_i - \hat w_j\|$: unit vectors repel each other like charges. The
#   force *grows* as they get closer.
# - **log det**, $-\frac1n \log\det(S + \delta I)$: minus the logarithm of the volume that the filters span. Twins span none.

# %% tags=["nbval-check-output"]
def energy(weight):
    rows = F.normalize(weight, dim=1)
    distances = torch.pdist(rows)  # each pair once
    return (1 / distances).mean()


print(f"energy by hand {energy(weight):.5f}, growlab {gl.similarity_penalty(weight, 'energy'):.5f}")


# %% [markdown]
# Each has its weakness. Energy first: take plain steps, without a bound on their length, on twins that are 2° apart.

# %%
def twins_after(penalty, d=64, n=32, seed=0, k=30, **how):
    torch.manual_seed(seed)
    net = gl.mlp([d, n // 2, 10])
    pairs = gl.apply(net, gl.propose("net2net", net, step=0.01, seed=seed))
    trace = gl.decorrelate(net, k, penalty=penalty, change_strength=0, twins=pairs, **how)
    return trace["twin_angle"] * 180 / math.pi


# %%
doses = {f"lr = {lr}": {"lr": lr} for lr in (0.01, 0.1, 1.0)}
doses["30 % in equal steps"] = {"movement": 0.3}
thrown = {
    name: sum(twins_after("energy", seed=seed, **dose) for seed in range(3)) / 3
    for name, dose in doses.items()
}
pd.DataFrame({
    f"after step {step}": {name: f"{angles[step]:.0f}°" for name, angles in thrown.items()}
    for step in (0, 1, 5, 30)
})  # fmt: skip

# %% [markdown]
# Angles of twins, means over three seeds. The force between close twins is so large that the first step throws them apart: at
# a learning rate of 1, to nearly opposite directions. There the force is gone, and they stay. Steps of bounded length
# (`movement=`, the last row) avoid it.
#
# Now log det. What if the layer has more and more filters for its $D$? Half of them are twins of the other half.
# From which $n$ on will log det fail to part them: $n > D$, or later?
#
# **Your prediction:** …

# %%
ratios, d = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0), 32
parted = {kind: [[twins_after(kind, d, int(r * d), seed, movement=0.17).iloc[-1] for r in ratios]
                 for seed in range(3)] for kind in ("logdet", "energy", "square")}  # fmt: skip
plots.curves(
    {kind: (ratios, values) for kind, values in parted.items()},
    "filters per dimension, n / D", "angle of twins in degrees", ylim=(0, None), size=(7.5, 3),
    alt="Angle of twins after steps of 17 % in all, against n/D: log det falls to nothing "
        "around n = 2D, energy stays, the mean square is near the start.")  # fmt: skip

# %%
half = {r: sum(seed[i] for seed in parted["logdet"]) / 3 for i, r in enumerate(ratios)}
Markdown(f"""Under log det the twins' angle is {half[0.5]:.0f}° at n = D/2,
{half[1.0]:.0f}° at n = D, {half[1.5]:.0f}° at n = 1.5 D,
{half[2.0]:.0f}° at n = 2D, and {half[3.0]:.1f}° at n = 3D.""")

# %% [markdown]
# It does not fail as soon as $n > D$. It fails gradually, and is lost from about $n = 2D$ on. The reason: a twin adds volume
# only by its *new* direction. With $n = 2D$, the $n/2$ different filters already fill all $D$ dimensions, and no direction is
# new. The $\delta$ in the formula keeps the determinant from being zero, and there the gain is small.

# %% [markdown]
# ## All readings on one page · extra
#
# What the paper leaves open, what it could mean, and what this course does. Notebook 05 compares four readings of row A on
# CIFAR: $|\mu|$, the mean of $|\cos|$, the mean square, and energy, which the paper does not name.
#
# | | open | readings | here |
# |---|---|---|---|
# | A | which mean | signed; absolute; mean of absolutes; mean of squares | absolute; the others as `penalty=` |
# | B | whether twins part | they need not, for the mean to be zero | measured as an angle, at equal movement |
# | C | what a row is | a filter, flattened; its input side; the mean over the kernel; with depthwise layers and the read-out, or without | filters, flattened; without both |
# | D | Eq. 4 | change of $\sum W$, of $\sum \lvert W\rvert$, of all weights; since before the K steps, or since the last one | $\sum W$, since before; the others as `weight_change=`, `previous=` |
# | E | what a step sees, and when | the penalty alone; with the cross-entropy; after growth, or every epoch | the penalty alone, after growth; `target="labels"`, `when="every_epoch"` |
# | F | "35 % of parameter size" | of the neurons; of the parameters | of the neurons, which fits the sizes given ([02](02_random_growth.ipynb)) |
# | G | the learning rate | one cosine over all epochs; a restart after each growth | both, as `schedule=` |
# | H | how K was chosen | the K "that yielded the highest accuracy", of 1 to 30; no validation set is mentioned | validation pictures only |
#
# And one number per cell: neither seeds nor a spread are given, so nobody can tell what a difference of some tenths means.
#
# H matters most. The best of thirty tries is better than one try even if K does *nothing*:

# %% tags=["nbval-check-output"]
luck = torch.randn(20_000, 31, generator=torch.Generator().manual_seed(0))
base, tries = luck[:, 0], luck[:, 1:]  # in standard deviations between seeds
gain = (tries.amax(1) - base).mean().item()
wins = (tries.amax(1) > base).float().mean().item()
print(f"best of 30 without any effect: {gain:.1f} deviations above one base run")
print(f"it beats the base run in {wins:.0%} of all cases")

# %% [markdown]
# ## Another rule under the same name · extra
#
# Much read on the web is not the paper but a summary of it. One such summary describes a different method: measure how alike
# neurons are in weights *and activations*, and make candidates that are too similar to existing neurons **less likely to be
# added**. The paper lets all candidates in, and moves the weights afterwards.
#
# The summary's rule is a good idea of its own. Here it is a **gate** on a plan. What will it let through: fresh neurons, exact
# copies, copies that have moved, Firefly's mix?
#
# **Your prediction:** …

# %%
batches = list(islice(critters.batches("train", 64, seed=2), 8))
plans = {"fresh": gl.propose("random", model), "copies": gl.propose("net2net", model),
         "copies, moved": gl.propose("net2net", model, step=0.3),
         "firefly": gl.propose("firefly", model, batches)}  # fmt: skip
gates = {"weights, 0.9": {"max_cosine": 0.9}, "weights, 0.5": {"max_cosine": 0.5},
         "activations, 0.9": {"max_cosine": 0.9, "on": "activations", "batches": batches},
         "weights, soft": {"max_cosine": 0.5, "soft": True}}  # fmt: skip
let_in = {name: {"candidates": plan.neurons}
          | {gate: plan.gate(model, **how).neurons for gate, how in gates.items()}
          for name, plan in plans.items()}  # fmt: skip
pd.DataFrame(let_in).T

# %%
kinds_in = plans["firefly"].gate(model, 0.9).table()["kind"].value_counts().to_dict()
_, reason = plans["copies"].gate(model, 0.9).refused[0]
Markdown(f"""Of Firefly's candidates these get in at 0.9: {kinds_in}.
A copy is refused with this reason: *{reason}*.""")

# %% [markdown]
# The two rules act on different neurons. The gate keeps copies and small splits out: it parts twins by not having any. What
# it lets in is mostly fresh. The paper's penalty lets the twins in and, read as $|\mu|$, leaves them together. So a result for one
# rule says nothing about the other. "Soft" is the summary's "less likely": the chance falls from 1 at the threshold to 0
# for an exact copy. In training it is `Growth(…, gate=0.9)`.

# %% [markdown]
# ## What can go wrong
#
# - **You compare penalties at one learning rate.** Then the one with the larger gradient wins. Use `movement=`, and look at
#   the trace for what really moved.
# - **You judge right after the steps.** The running statistics of batch norm are stale: `refresh=True`, or
#   `gl.refresh_statistics`.
# - **You look at the mean only.** It can be zero with twins everywhere. Look at the distribution and at the twins' angle.
# - **You compare layers without their bands.** A deep layer has small cosines by chance.
# - **You leave out the placebo.** Random steps part twins, too.
# - **The steps are too large.** Growlab notices weights that are no longer finite, and leaves the model as it was:

# %% tags=["nbval-check-output"]
net = copy.deepcopy(grown)
try:
    gl.decorrelate(net, 8, lr=1e38)
except FloatingPointError as error:
    print(str(error).split(":")[-1].strip())
print("weights as before:", torch.equal(net[4].weight, grown[4].weight))

# %% [markdown]
# ## Quiz

# %% [markdown]
# **1. A layer has $\mu = 0$. What follows?**
# - (a) Its filters are at right angles to each other.
# - (b) The resultant of its unit filters has length $\sqrt n$, and nothing else.
# - (c) It has no duplicates.
#
# <details><summary>Answer</summary>
#
# - (a) No. *μ = 0 means orthogonal* confuses a mean with each of its terms: they may cancel.
# - (b) **Yes.** One condition on one vector.
# - (c) No. *Zero mean means no duplicates* is what `fool-the-mean` refutes: every filter there has a twin or an opposite.
#
# </details>

# %% [markdown]
# **2. Layer 13 has smaller cosines than layer 1. Is it less redundant?**
# - (a) Yes: smaller cosines, less redundancy.
# - (b) Not necessarily: in more dimensions, random filters have smaller cosines. Compare each with its null band.
# - (c) No: deep layers are always redundant.
#
# <details><summary>Answer</summary>
#
# - (a) No. *A cosine means the same in every layer*: 0.1 is ordinary at D = 144, and a lot at D = 4608.
# - (b) **Yes.** One cosine has the deviation $1/\sqrt D$ by chance.
# - (c) No. *Depth decides*: nothing here says so. Measure, and compare with chance.
#
# </details>

# %% [markdown]
# **3. At learning rate 0.1, penalty A parts the twins by 20° and penalty B by 2°. Which one is better at parting twins?**
# - (a) A: the comparison was fair, both had the same learning rate.
# - (b) Nobody knows yet: A may have moved the weights ten times as far. Compare at equal movement, with a placebo.
# - (c) B: it does less harm.
#
# <details><summary>Answer</summary>
#
# - (a) No. *Equal learning rate is an equal dose* is wrong when gradients have different sizes.
# - (b) **Yes.** And measure what both do to the function.
# - (c) No. *Small steps are harmless*: μ moved little above, and cost points until the statistics were new.
#
# </details>

# %% [markdown]
# **4. What does Eq. 4 do at K = 1?**
# - (a) It keeps the sum of the weights as it is.
# - (b) Nothing: value and gradient are zero where nothing has changed yet.
# - (c) It makes the step shorter.
#
# <details><summary>Answer</summary>
#
# - (a) No. *A loss term acts as soon as it is there*: it acts by its gradient, and that is zero at the start.
# - (b) **Yes.** From the second step on it pulls back.
# - (c) No. *A second term always brakes*: adding a gradient of zero changes no step.
#
# </details>

# %% [markdown]
# **5. K is the best of 30 values, judged on the test pictures, and beats the base run by 2 standard deviations between seeds.**
# - (a) So the method works: two deviations are significant.
# - (b) That is about what the best of 30 gains when K has no effect at all.
# - (c) So it does not work.
#
# <details><summary>Answer</summary>
#
# - (a) No. *p from 30 tries is p from one* forgets that you chose the winner.
# - (b) **Yes.** Choose K on validation pictures, then look at the test pictures once.
# - (c) No. *No proof is a disproof*: the numbers fit an effect as well as luck.
#
# </details>

# %% [markdown]
# ## Summary
#
# - The cosine map holds the cosines of all pairs of filters. Its mean needs no map: it is a statement about the resultant,
#   one single vector.
# - So the paper's Eq. 3, read as $|\mu| \to 0$, can be satisfied by a layer full of twins. Twins are pushed the same way, and
#   they stay; the other pairs pay for them. Random steps part them, and so do energy and log det.
# - Read as the mean of $|\cos|$, it leads to right angles where $n \le D$, and to duplicates where $n > D$.
# - Chance alone gives cosines of $1/\sqrt D$ and a mean near zero. Without these bands deep layers look better for free.
# - Right after K steps much of the lost accuracy is stale batch norm. Estimate it anew before you judge. Keeping the sum of
#   the weights (Eq. 4) prevents a part of it.
# - Whether the penalty helps a growing network is still open. Notebook 05 asks it with controls, seeds and a placebo.

# %% [markdown]
# ## Terms
#
# | term | meaning |
# |---|---|
# | cosine map | the cosines of all pairs of filters of a layer, (n, n) |
# | resultant | the sum of the unit filters |
# | $\mu$ | the mean of the map without its diagonal |
# | null band | the standard deviation that random filters have |
# | twins | two neurons that come from one |
# | K | the number of penalty steps after a growth |
# | movement | how far the weights are from where they were, relative to their length |
# | drift | the mean square change of the outputs, relative to their variance |
# | placebo | steps of the same length in a random direction |
# | Welch's bound | the least mean square cosine that n filters in D dimensions can have |

# %% [markdown]
# ## References
#
# - T. Sakai and K. Hotta, *Growing Deep Neural Network Considering with Similarity between Neurons*, 2024:
#   [arXiv 2408.13291](https://arxiv.org/abs/2408.13291). The paper; §3 and §4.3 are what this notebook is about.
# - L. Welch, *Lower bounds on the maximum cross correlation of signals*, IEEE Transactions on Information Theory 20, 1974.
# - W. Liu et al., *Learning towards Minimum Hyperspherical Energy*, 2018:
#   [arXiv 1805.09298](https://arxiv.org/abs/1805.09298). The energy penalty.
# - W. Kahan, *How Futile are Mindless Assessments of Roundoff in Floating-Point Computation?*, 2006. The angle by atan2.
#
# Previous: [03 · Firefly](03_firefly.ipynb). Next: [05 · CIFAR experiments](05_cifar_experiments.ipynb).
