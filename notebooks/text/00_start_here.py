# %% [markdown]
# # 00 · Start here
#
# A network usually keeps the size it was born with. In this course, networks **grow while they learn**.
# In this notebook you check your machine, meet the pictures, and grow your first network.

# %% [markdown]
# ## What you will learn
#
# After this notebook you can
# - say whether your machine is ready for the course,
# - say what tells one critter from another, and how well anybody could do,
# - list what can grow in a PyTorch model, and make it grow,
# - compare a network that grew with one that never grew, and with one that was born large.

# %% [markdown]
# ## Before you start
#
# - **You know** the basics of PyTorch: tensors, `nn.Module`, a training loop. The self-test below tells you more.
# - **Time**: 45 minutes to work through. To run all cells: about 40 seconds on two CPU cores. You need no GPU.
# - **How to work**: each part asks you to *predict*, then you *run* a cell, then we *explain*. Double-click a cell with
#   "Your prediction", write your guess, and only then run the next cell. A guess that turns out wrong teaches you most.
# - **Exercises** check themselves. Replace the `...` of a stub and run its cell. `gl.hint("its-name")` gives a hint, a
#   step further at each call, and `gl.solution("its-name")` shows a solution. Unsolved, everything below still runs.
# - Sections marked **core** build on each other. You can skip those marked **extra**.

# %%
import json
from pathlib import Path

import pandas as pd
import torch
from IPython.display import Markdown
from ipywidgets import FloatSlider, Image, VBox

import growlab as gl
from growlab import critters, doctor, plots

torch.set_num_threads(1)  # enough for small networks; and the number of cores changes no result

# %% [markdown]
# ## Is this machine ready? · core
#
# The doctor looks at Python, PyTorch, device, memory, disk, data folder and sliders, and tries a tiny growth.
# In a terminal, `growlab doctor` prints a line for each.

# %%
checks = doctor.examine()
print(f"{sum(good for good, _ in checks)} of {len(checks)} checks are fine")
for good, text in checks:
    if not good:
        print("TO DO:", text)

# %% [markdown]
# A line with `TO DO` says what to do next. You may go on all the same: this notebook needs little.

# %% [markdown]
# ## Do you know enough? · core
#
# Five one-liners. Answer each in your head, or on paper, before you unfold it.
#
# 1. $L = \ell(f(w \cdot x))$. What is $\partial L / \partial w$?
# 2. $A = \mathrm{diag}(2, -1)$. For which unit vector $v$ is $v^\top A v$ smallest?
# 3. `F.conv2d(images, weight, padding=1)` with images (8, 3, 32, 32) and weight (16, 3, 3, 3): which shape comes out?
# 4. A batch norm layer: what does it use in `train()` mode, and what in `eval()` mode?
# 5. A network is right on 80 % of 2,000 test pictures. What is the standard error of that number?
#
# <details><summary>Answers, and what to read if one was new</summary>
#
# 1. $\ell'(f(w \cdot x)) \, f'(w \cdot x) \, x$: the chain rule.
#    [Backpropagation](https://d2l.ai/chapter_multilayer-perceptrons/backprop.html)
# 2. $v = (0, 1)$ or $(0, -1)$, the eigenvector of the smallest eigenvalue; the value is $-1$. Notebook 01 needs this.
#    [Eigendecompositions](https://d2l.ai/chapter_appendix-mathematics-for-deep-learning/eigendecomposition.html)
# 3. (8, 16, 32, 32): one map for each of the 16 filters, and padding keeps the size.
#    [conv2d](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.conv2d.html)
# 4. In `train()` the mean and variance of this batch (it also updates its running ones), in `eval()` the running ones.
#    [BatchNorm2d](https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html)
# 5. $\sqrt{0.8 \cdot 0.2 / 2000} \approx 0.9$ points. So two numbers that differ by half a point may well be equal.
#    [Statistics](https://d2l.ai/chapter_appendix-mathematics-for-deep-learning/statistics.html)
#
# </details>
#
# The next cell checks three of them.

# %% tags=["nbval-check-output"]
values, vectors = torch.linalg.eigh(torch.diag(torch.tensor([2.0, -1.0])))
print("2. smallest eigenvalue", values[0].item(), "in direction", vectors[:, 0].abs().tolist())

maps = torch.nn.functional.conv2d(torch.zeros(8, 3, 32, 32), torch.zeros(16, 3, 3, 3), padding=1)
print("3. shape", tuple(maps.shape))
print(f"5. standard error {(0.8 * 0.2 / 2000) ** 0.5:.4f}")

# %% [markdown]
# ## Meet the critters · core
#
# Our pictures are drawn by the package. So there is nothing to download, and we know everything about them:
# for each picture there is a mask of the animal, and one for each of its five parts.

# %% tags=["nbval-check-output"]
data = gl.load_data("critters")
print(data)
print("pictures   ", tuple(data.train.images.shape), data.train.images.dtype)
print("labels     ", tuple(data.train.labels.shape), data.train.labels.dtype)
print("object mask", tuple(data.train.objects.shape), data.train.objects.dtype)
print("part masks ", tuple(data.train.masks.shape), critters.PARTS)

# %% [markdown]
# Below are four pictures of each class, one column per class. What do the pictures of one column have in common:
# the colour, the background, the kind of head, or the dark and light patterns on the body?
#
# **Your prediction:** …

# %%
plots.contact_sheet(data.train)

# %% [markdown]
# Colours, backgrounds, heads and tails differ within each column. Only the **patterns** tell the class, and there is
# one on each part: head, wing, belly, tail and feet. Here is the key.

# %%
plots.forms(critters.FORMS, critters.PARTS, critters.CLASSES)

# %% [markdown]
# On a critter each of these patterns, or **forms**, is drawn dark on light or light on dark, by chance.
# It is the same form either way.

# %% [markdown]
# ## What does one part tell you? · core
#
# There is a catch: parts can lie. Each part shows the form of its own class with a probability, the **reliability**.
# Otherwise it shows the form of another class. Let us look at a critter with two lying parts.

# %%
honest = data.train.forms == data.train.labels[:, None]  # (N, 5)
index = honest.sum(1).tolist().index(3)
plots.anatomy(data.train, index, critters.PARTS)

# %% [markdown]
# On the right, a solid blue line marks a part that shows its own class, a dashed orange line one that shows another.
# The parts vote, and most of them vote for the true class.
#
# Nobody told you which parts lie. The reliability is 0.6. How often can you be right at best, if you look at one part?
# At two parts? At all five?
#
# **Your prediction:** one part …, two parts …, five parts …

# %% tags=["nbval-check-output"]
print("share of parts that show their own class:", round(honest.float().mean().item(), 2))
for parts in range(6):
    best = critters.best_accuracy(parts, 0.6)
    print(f"parts looked at: {parts}, best possible accuracy: {best:.3f}")


# %% [markdown]
# Without any part you guess one of ten classes. One part is as good as its reliability. A second one adds **nothing**:
# where the two agree you already knew, and where they differ you cannot tell which of them lies.
# From the third on, looking at more of the animal pays. So accuracy also tells how much of it a network uses.
# You will need this in notebook 06.
#
# Move the slider. At which reliability are all parts honest? At which do they say nothing at all?
#
# **Your prediction:** …

# %%
def look(reliability):
    drawn = critters.draw(8, seed=1, reliability=reliability)
    best = [critters.best_accuracy(parts, reliability) for parts in range(6)]
    return plots.votes(drawn, critters.CLASSES, best)


slider = FloatSlider(0.6, min=0.1, max=1, step=0.1, description="reliability")
picture = Image(value=look(slider.value).png(), width=1000)
slider.observe(lambda moved: setattr(picture, "value", look(moved.new).png()), "value")
slider.continuous_update = False  # draw when you let go of it
VBox([slider, picture])

# %% [markdown]
# You can move it from a cell, too. Here is the same picture at another place of the slider, for readers of a page on
# which nothing runs:

# %%
slider.value = 0.8
look(slider.value)


# %% [markdown]
# At 1 all parts are honest, and one is enough. At 0.1 the true class is as likely as each of the nine others: the forms
# say nothing, and no network can do better than guess. In between there is something to win by looking at more parts.

# %% [markdown]
# ## Can a network cheat? · extra
#
# Colour does not tell the class in these pictures. But they can be drawn so that it does: with a **shortcut** of 0.9, most
# critters of a class stand before a background of the same colour. Let us build somebody who looks at nothing else.
#
# **Exercise ● `colour-cheat`.** Return the mean colour of each picture's background, (N, 3). `images` is (N, 3, H, W), and
# `objects` (N, H, W) is True where the animal is.

# %%
def background_colour(images, objects):
    return ...


gl.check("colour-cheat", background_colour)

# %%
background_colour = gl.answer("colour-cheat", background_colour)

# %% [markdown]
# The cheat learns the mean colour of each class in 500 pictures with the shortcut. Then it names, for any picture, the
# class whose colour is nearest. How often is it right there, on pictures without a shortcut, and on pictures in which
# each background has the colour of *another* class?
#
# **Your prediction:** … %, … %, … %

# %%
sets = {"with the shortcut": critters.draw(500, seed=1, shortcut=0.9),
        "without": critters.draw(500, seed=2),
        "another class's colour": critters.draw(500, seed=2, new_backgrounds=True)}  # fmt: skip
seen = {name: background_colour(torch.tensor(drawn.images), torch.tensor(drawn.objects))
        for name, drawn in sets.items()}  # fmt: skip
labels_seen = torch.tensor(sets["with the shortcut"].labels)
centres = [seen["with the shortcut"][labels_seen == label].mean(0) for label in range(10)]
for name, drawn in sets.items():
    guess = torch.cdist(seen[name], torch.stack(centres)).argmin(1)
    right = (guess == torch.tensor(drawn.labels)).float().mean()
    print(f"{name:24}{right:.0%} right")

# %% [markdown]
# Where it learned, it looks like an expert. Without the shortcut it guesses, and with other backgrounds it is *below*
# guessing: that gives a cheat away. A network may find such a cheat by itself, and its accuracy on pictures of the same
# kind will not tell. Notebook 06 looks for it.

# %% [markdown]
# ## What can grow · core
#
# A small network: four times convolution, batch norm, ReLU and pooling, then a linear layer. It is plain PyTorch.
# Its convolutions have four filters each, and we call a filter a **neuron**.

# %%
torch.manual_seed(0)
model = gl.vgg5(width=4)
pd.DataFrame([
    {"unit": unit.name, "neurons": unit.neurons,
     "weights of each": unit.weight.shape[1], "tensors that follow": len(unit.edits)}
    for unit in gl.units(model)
])  # fmt: skip


# %% [markdown]
# A **unit** is a set of neurons that can grow, named after the layer that makes them. If a convolution gets one more
# filter, other tensors must follow: its batch norm gets one more entry in each of four tensors, and the next layer one
# more input. Growlab reads all this from the model. The output of the last layer is no unit: ten classes stay ten.
#
# Why do we call a filter a neuron, and why does it have "weights of each"? A convolution is a matrix product: a row for each
# neuron, a column for each patch of the picture. The whole course looks at layers in this way.
#
# **Exercise ● `rows-are-neurons`.** Write `F.conv2d(images, weight, padding=padding)` without it: `F.unfold` cuts out the
# patches, (N, D, places), `weight.flatten(1)` has the rows. Kernels are square, pictures need not be.

# %%
def convolve(images, weight, padding):
    return ...


gl.check("rows-are-neurons", convolve)


# %% [markdown]
# **Exercise ● `count-by-hand`.** How many parameters has such a network? `widths` are the filters of its convolutions, one
# after the other. Each is 3×3, reads what the one before made (the first one three colours), has no bias, and has a batch
# norm behind it. The linear layer at the end reads as many numbers as the last one has filters.

# %%
def count(widths, classes):
    return ...


gl.check("count-by-hand", count)

# %% [markdown]
# Growing goes in steps: **propose** candidates, keep those **within** a budget, look, then **apply**.
# We ask for 35 % more neurons. How many is that, and will the number of parameters also grow by 35 %?
#
# **Your prediction:** … neurons, … % more parameters

# %% tags=["nbval-check-output"]
plan = gl.propose("random", model).within(rate=0.35)
before = gl.parameter_count(model)
print(f"neurons: {sum(plan.widths.values())} + {plan.neurons}")
share = plan.parameters / before - 1
print(f"parameters: {before} -> {plan.parameters}, {share:+.0%}")

# %%
plan.table()

# %% [markdown]
# A row for each new neuron: where it goes, and its parent if it is a copy (−1: it has none, it is *fresh*).
# The parameters grow faster than the neurons, since a weight belongs to a pair of neurons, one at each end.
#
# So far the model is unchanged: the plan is only a plan. Now we build it. The new neurons get random incoming weights,
# and outgoing weights of zero. Will the network give other answers?
#
# **Your prediction:** …

# %% tags=["nbval-check-output"]
pictures, labels = next(iter(data.batches("test", 200)))
model.eval()
answers = model(pictures)
gl.apply(model, plan)
print("parameters:", gl.parameter_count(model))
print("widths:", [unit.neurons for unit in gl.units(model)])
same = torch.allclose(model(pictures), answers, atol=1e-5)
print("same answers, to rounding:", same)

# %% [markdown]
# The answers stay, since nobody listens to the new neurons yet. Their outgoing weights get a gradient at the next step,
# and then they take part. Notebook 02 shows why *one* side may start at zero and never both.

# %% [markdown]
# ## Grow while it learns · core
#
# Now for real. Two networks start from the same weights and see the same pictures in the same order.
# One stays as it is. The other one gets new neurons twice: after epoch 2 and after epoch 4 of 10. The learning rate
# stays high for the first 40 % of training and falls after that, so new neurons have time to learn.

# %%
recipe = dict(epochs=10, lr=0.02, batch_size=32, schedule="constant_then_cosine", augment=False)


def run(seed, width=4, growth=None):
    torch.manual_seed(seed)
    return gl.train(gl.vgg5(width=width), data, growth=growth, seed=seed, **recipe)


growth = gl.Growth("random", rate=0.8, at=(2, 4))

# %% [markdown]
# The small network has 16 neurons in four layers. Can it learn the critters? How much better will the other one be?
# To compare: guessing gives 10 %, and the best vote over all five parts 88 %.
#
# **Your prediction:** never grown … %, grown … %

# %%
never = run(seed=0)

# %%
grown = run(seed=0, growth=growth)

# %%
plots.growth({"grown": grown, "never grown": never})

# %%
small, large = never.result, grown.result
gain = 100 * (large["test_accuracy"] - small["test_accuracy"])
p, pictures = large["test_accuracy"], len(data.test)
error = (p * (1 - p) / pictures) ** 0.5  # the standard error of this accuracy
parts = sum(critters.best_accuracy(k, 0.6) < p - 2 * error for k in range(6))
Markdown(f"""On the test pictures, which played no part in training, the network that never
grew is right on {small["test_accuracy"]:.1%}, and the one that grew on
{large["test_accuracy"]:.1%}: **{gain:.0f} points** more. It has {large["parameters"]:,}
parameters instead of {small["parameters"]:,}. On {pictures:,} pictures the standard error of an
accuracy is {100 * error:.1f} points. Even two of them below, nobody can be right so often with
fewer than {parts} parts: the grown network looks at {parts} parts, at least.""")


# %% [markdown]
# Read the figure from below. The dotted lines mark the two growths. The number of neurons jumps there, and so does the
# number of parameters. The accuracy does *not* jump: the new neurons are silent at first. But then the curves part.
# Until the first growth they are one curve, since both runs are the same until then.
#
# **Exercise ● `find-the-growth`.** Given the number of neurons in each epoch, when did a network grow, and by how many?
# Return a list of pairs `(epoch, new neurons)`. A growth that shows in epoch 3 came *after epoch 2*: that is its epoch.

# %%
def find_growth(neurons):
    return ...


gl.check("find-the-growth", find_growth)

# %%
find_growth = gl.answer("find-the-growth", find_growth)
print("found from the sizes:", find_growth(plots.neurons(grown)))
print("kept in the history: ", [(event["epoch"], event["neurons"]) for event in grown.growths])

# %% [markdown]
# ## Growing, or just being larger? · core
#
# A larger network is better on these pictures: no surprise. So here is a fairer opponent: a network **born** with the
# widths at which the other one ended. It has its full size from the first epoch on. Which one will be better?
#
# **Your prediction:** …

# %%
widths = list(grown.result["widths"].values())
born_large = run(seed=0, width=widths)

# %%
three = {"born large": born_large, "grown": grown, "never grown": never}
for name, history in three.items():
    result = history.result
    print(f"{name:12}{result['parameters']:6,} parameters   test {result['test_accuracy']:.1%}")

# %% [markdown]
# This third network is the yardstick of the whole course. A growth that stays far below it wastes neurons. A growth that
# comes close has done its job, with less work in the first epochs. Whether clever growth can do *better* than chance,
# or than being born large, is the question of notebooks 01 to 05.

# %% [markdown]
# ## Was it luck? · extra
#
# One run of each is an anecdote. We ran all three with three more seeds, and kept the record.
# Set `rerun = True` to make it anew; this takes some minutes.

# %%
rerun = False
record = json.loads(Path("../data/results/first_growth.json").read_text())
others = record["test_accuracy"]  # {arm: [accuracy of each seed]}
if rerun:
    others = {name: [] for name in others}
    for seed in record["seeds"]:
        runs = {"grown": run(seed, growth=growth), "never grown": run(seed)}
        final = list(runs["grown"].result["widths"].values())
        runs["born large"] = run(seed, width=final)
        for name, history in runs.items():
            others[name].append(history.result["test_accuracy"])

# %% [markdown]
# Here is your run with seed 0 from above, first in each row of numbers, and then the recorded ones.

# %%
accuracies = {name: [three[name].result["test_accuracy"], *others[name]] for name in others}
plots.compare(accuracies)

# %%
gains = [100 * (a - b) for a, b in zip(accuracies["grown"], accuracies["never grown"])]
listed = ", ".join(f"{gain:.0f}" for gain in gains)
Markdown(f"""The gains of grown over never grown, seed by seed: {listed} points.
The smallest is {min(gains):.0f}, the largest {max(gains):.0f}.""")

# %% [markdown]
# The gain has the same sign in every seed, and even the smallest one is large. Seed 0 flatters it: we had chosen the
# learning rate, the batch size and the growth rate by looking at seed 0, and ran the other seeds only after that.
# For this question a few seeds are enough. Most questions of this course are about differences of a point or less, and
# need many more.

# %% [markdown]
# ## What can go wrong
#
# - **You grow too late.** When the learning rate has almost vanished, a new neuron cannot learn any more. You then pay for
#   neurons that do nothing. Try `at=(6, 8)` above.
# - **You compare at equal epochs only.** An epoch of a larger network costs more. Notebook 05 also compares at equal work.
# - **You believe one seed.** Other initial weights, another order of the pictures: some points more or less.
# - **Your numbers differ a little from ours.** Sums are rounded in another order on another processor, or with another
#   number of threads, and training enlarges that. On one machine, with one number of threads, a seed gives one run.
# - **You apply a plan to a network that has changed since.** Growlab refuses, and the model stays as it is:

# %% tags=["nbval-check-output"]
try:
    gl.apply(model, plan)  # made before the model grew
except ValueError as error:
    print(error)

# %% [markdown]
# ## Quiz

# %% [markdown]
# **1. New neurons with outgoing weights of zero keep all answers. What about the training that follows?**
# - (a) It goes on as without them.
# - (b) It goes on differently: their outgoing weights get a gradient at once.
# - (c) They never learn anything, since they begin at zero.
#
# <details><summary>Answer</summary>
#
# - (a) No. *Same function* does not mean *same training*: gradients exist for weights that are zero, too.
# - (b) **Yes.** Nothing changes in what the network says, and everything in where it can go.
# - (c) No. That happens only if the incoming weights are zero as well.
#
# </details>

# %% [markdown]
# **2. You copy a neuron and halve the outgoing weights of both twins. What does the copy add at once?**
# - (a) Capacity: the network is larger, so it is better right away.
# - (b) Nothing, as long as the twins stay equal.
# - (c) Harm: half of the signal is lost.
#
# <details><summary>Answer</summary>
#
# - (a) No. A copy does not *add capacity at once*: two equal neurons say what one said.
# - (b) **Yes.** Something must make them differ. Notebook 01 is about what.
# - (c) No. Two halves make a whole: the sum that the next layer sees stays the same.
#
# </details>

# %% [markdown]
# **3. A grown network beats one that never grew, after equally many epochs. Was that a fair fight?**
# - (a) Yes: both saw the same pictures equally often.
# - (b) No: it also had more parameters and more computation. Compare with one born large, and at equal work.
# - (c) No: it should have got fewer epochs, and then all would be fair.
#
# <details><summary>Answer</summary>
#
# - (a) Not quite. *More parameters at equal epochs* is one comparison, and it favours the larger network.
# - (b) **Yes.** Each opponent answers another question.
# - (c) No. Equal work is one more comparison, not the only right one: size would still differ.
#
# </details>

# %% [markdown]
# **4. Why is the best accuracy from two parts the same as from one?**
# - (a) Because two parts always agree.
# - (b) Because you cannot tell who lies when they differ.
# - (c) Because the second part is less reliable than the first.
#
# <details><summary>Answer</summary>
#
# - (a) No. They are drawn *independently of each other*, and often differ.
# - (b) **Yes.** With two witnesses there is no majority.
# - (c) No. All parts are *equally reliable*; it is the vote that fails, not the witness.
#
# </details>

# %% [markdown]
# **5. With one seed, method A is 0.4 points above method B on 2,000 test pictures. What follows?**
# - (a) A is better.
# - (b) Too little is known: the difference is below the noise of one run.
# - (c) A and B are equally good.
#
# <details><summary>Answer</summary>
#
# - (a) No. *One run is no distribution*: another seed may turn it around.
# - (b) **Yes.** Run more seeds, in pairs, and look at all the differences.
# - (c) No. *No visible difference* is not *no difference*: you may have looked too coarsely.
#
# </details>

# %% [markdown]
# ## The map of the course · core
#
# Everything follows one flow. You have just walked along it once.
#
# ```
# data ─► model ─► units ─► propose ─► plan ─► apply ─►
#  00      00       00      01 02 03    02      01
#
#     decorrelate ─► train on ─► record ─► attention
#         04           00 02       05         06
# ```
#
# | | notebook | the question |
# |---|---|---|
# | 00 | start here | Is my machine ready? What does growing look like? |
# | 01 | neuron splitting | What does a copy of a neuron learn, and which neuron is worth copying? |
# | 02 | random growth | What do new neurons do to a network that is already trained? |
# | 03 | Firefly | Can we score new neurons before we build them? |
# | 04 | the cosine map | How alike are the neurons, and what follows from it? |
# | 05 | CIFAR experiments | Does it help, in a fair comparison? |
# | 06 | Grad-CAM | Does the network look at the whole animal? |
#
# Take them in this order. Each one runs from top to bottom before you have solved anything. What you have solved so far is
# kept in a folder of your own, for all notebooks:

# %%
gl.progress()

# %% [markdown]
# ## Summary
#
# - Critters carry their class in five forms, one on each part, and each form may lie. Who wants to be sure looks at all.
# - A model grows in units. A convolution that grows takes its batch norm and the next layer along.
# - A plan says what would be built; `apply` builds it. Fresh neurons with outgoing weights of zero keep all answers.
# - Growing early, with time to learn afterwards, helped the small network a lot. The network born large is the yardstick.

# %% [markdown]
# ## Terms
#
# | term | meaning |
# |---|---|
# | neuron | one filter of a convolution, or one row of a linear layer's weight |
# | unit | a set of neurons that can grow, with all tensors that must follow |
# | width | how many neurons a layer has |
# | growth rate | new neurons, as a share of those in all units |
# | candidate, plan | a neuron that could be built; the candidates that fit a budget |
# | fresh, copy, split | a new neuron with random weights; the same as its parent; moved away from its parent |
# | form, reliability | the pattern on a part; the probability that it is that of the true class |

# %% [markdown]
# ## References
#
# - T. Sakai and K. Hotta, *Growing Deep Neural Network Considering with Similarity between Neurons*, 2024:
#   [arXiv 2408.13291](https://arxiv.org/abs/2408.13291). The paper that this course follows.
# - T. Chen, I. Goodfellow and J. Shlens, *Net2Net: Accelerating Learning via Knowledge Transfer*, 2016:
#   [arXiv 1511.05641](https://arxiv.org/abs/1511.05641). Growing by copies that keep the function.
# - L. Wu, B. Liu, P. Stone and Q. Liu, *Firefly Neural Architecture Descent*, 2020:
#   [arXiv 2102.08574](https://arxiv.org/abs/2102.08574). Where to grow, scored before building.
#
# Next: [01 neuron splitting](01_neuron_splitting.ipynb).
