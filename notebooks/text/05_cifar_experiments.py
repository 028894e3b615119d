# %% [markdown]
# # 05 · CIFAR experiments
#
# The paper says that its penalty makes growing networks better. It prints one number for each of them. In this notebook you
# ask the question again, on real pictures: with controls, placebos and ten seeds. And you learn what an answer is worth.

# %% [markdown]
# ## What you will learn
#
# After this notebook you can
# - plan a comparison that could come out either way: controls, placebos, and one question fixed beforehand,
# - compare arms seed by seed, give an interval, and say what it supports and what it does not,
# - write experiments as plain values, run many at a time, stop them and go on,
# - tell what the best of thirty tries is worth, and choose K without fooling yourself,
# - say how many seeds a difference of 0.3 points needs.

# %% [markdown]
# ## Before you start
#
# - **You know** three ways to grow ([01](01_neuron_splitting.ipynb), [02](02_random_growth.ipynb), [03](03_firefly.ipynb))
#   and the penalty with its K steps ([04](04_cosine_map.ipynb)). Of statistics: mean, standard deviation, standard error,
#   and what a t test is.
# - **Time**: 60 minutes for the core sections, 20 more for the extra ones.
#   To run all cells: about 20 seconds on two CPU cores. You need no GPU; only the paper's full tables do, at the end.
# - **Exercises**: write your answer in place of the dots. `gl.hint("paired-interval")` helps, a step further at each call,
#   and `gl.solution("paired-interval")` shows a solution. Everything runs on if you skip them.

# %%
import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown, display
from scipy import stats

import growlab as gl
from growlab import plots
from growlab.lab.paper import PAPER_SECONDS
from growlab.lab.run import multiply_adds_by_epoch

torch.set_num_threads(1)
RESULTS = Path("../data/results")

# %% [markdown]
# One switch for the whole notebook. `"quick"` trains a few small networks on critters and shows recorded results for the
# rest. `"recorded"` trains nothing. `"full"` trains our main grid anew: 140 runs, a quarter to half a minute of one free core each, and it
# needs the pictures ([data/README.md](../data/README.md) says where to get them).

# %%
mode = "quick"

# %% [markdown]
# ## One number for each cell · core
#
# The paper's tables 1 and 2 have twelve cells each: three methods, two networks, with and without the penalty. A cell is
# one accuracy. No spread is given, and no number of seeds. (In our text of the paper the accuracies are lost altogether, so
# you will see none of them here.)
#
# We trained such cells ten times. Each row below is a **seed**: it decides which pictures of CIFAR-10 are used, and which of
# them for validation, their order, the initial weights, and the random numbers of growth. Everything else is alike. Four
# growths of 35 %, K steps after each of them. How far apart will two numbers in the same column be?
#
# **Your prediction:** … points

# %%
record = gl.results(RESULTS / "cifar10_methods.json")
accuracy = 100 * record.pivot(index="seed", columns="arm", values="test_accuracy")
both = accuracy[["random", "random+penalty"]]
both.round(1)

# %%
spread = both["random"].std()
widest = both["random"].max() - both["random"].min()
Markdown(f"""Between the best and the worst seed of `random` lie **{widest:.1f} points**; the
standard deviation is {spread:.1f}. If you print one number for each column, you have drawn one row
of this table, and any row would do.""")


# %% [markdown]
# Look along the rows now. All arms of a seed share its random numbers, so a lucky seed may be lucky in both columns. Then
# the luck cancels in the **difference** of a row, and its mean $\bar d$ over $n$ seeds is known better than the columns
# tell. A 95 % interval for it is
#
# $$\bar d \;\pm\; t_{n-1}\,\frac{s_d}{\sqrt n},$$
#
# with the standard deviation $s_d$ of the differences and the 97.5 % point of Student's $t$ for $n - 1$ degrees of freedom.
#
# **Exercise ●● `paired-interval`.** Given the accuracies of both arms, (n,) each, return `(low, high)` for what the penalty
# adds: penalty less base.

# %%
def paired_interval(penalty, base):
    return ...


gl.check("paired-interval", paired_interval)

# %%
paired_interval = gl.answer("paired-interval", paired_interval)
pair = [torch.tensor(both[arm].values) for arm in ("random+penalty", "random")]
low, high = (float(end) for end in paired_interval(*pair))
unpaired = stats.ttest_ind(*pair).confidence_interval()
Markdown(f"""Penalty less no penalty, after random growth: from **{low:+.2f} to {high:+.2f}
points**. Taken as two unrelated columns, the interval would be from {unpaired.low:+.2f} to
{unpaired.high:+.2f}.""")

# %% [markdown]
# ## Could the experiment have shown anything? · core
#
# Before you ask whether a treatment helps, ask whether your setup could notice. A scale that shows 70 kg whatever stands on
# it proves nothing. Here the weight is size: train the *final* widths from the start (**scratch**), and the small network
# that **never** grows. If they end alike, the schedule cannot show what neurons are worth, however they come. This is called
# **assay sensitivity**. We ask for 5 points, over three seeds.
#
# Five schedules:
# - **early growth**: in the first third of 12 epochs, with a constant learning rate that decays afterwards,
# - **early growth, one cosine**: the same growth, while the learning rate decays from the start,
# - **the paper's** growth, all along one cosine (our reading of its schedule), shortened to **10 epochs**, and to **5**,
# - the last one with a tiny **learning rate**.
#
# Which ones will pass?
#
# **Your prediction:** …

# %%
assay = gl.results(RESULTS / "cifar10_assay.json", gl.grid("assay", seeds=3))
arm = assay["arm"].str.partition(", ")
assay = assay.assign(network=arm[0], schedule=arm[2])
means = assay.pivot_table(index="schedule", columns="network", values="test_accuracy", sort=False)
means = (100 * means)[["never", "scratch", "random"]]
means["scratch − never"] = means["scratch"] - means["never"]
means["usable"] = means["scratch − never"] >= 5
means.round(1)

# %% [markdown]
# All five pass: even a short training tells a large network from a small one here. Now compare `random`, the network that
# grows, with its two neighbours.

# %%
behind = (means["scratch"] - means["random"]).round(1)
Markdown(f"""On the first schedule the grown network is {behind.iloc[0]} points behind the final
size from scratch, on the paper's in 10 epochs {behind.iloc[2]} points.""")


# %% [markdown]
# Where growth comes late, a new neuron has little time left at a useful learning rate. So we use the first schedule from here
# on. To be exact: we had chosen it, and the learning rate, from earlier trials of such networks, one seed of which had the
# penalty, too; this table was made later, together with the main grid, and confirms the choice. The paper's own schedule,
# shortened, stands beside it as a warning: it makes growing look worse than it is.

# %% [markdown]
# ## Fair opponents · core
#
# Each opponent answers another question. If one is missing, the answer is open.
#
# | opponent | the question |
# |---|---|
# | never grown | do new neurons help at all? |
# | scratch: final widths from the start, as many epochs | does growing cost accuracy? |
# | scratch at equal compute: fewer epochs | does growing save work? |
# | net2net: plain copies | is a clever choice better than a copy? |
# | **placebo**: K steps of the same length, in a random direction | is it the *penalty*, or any disturbance? |
# | short placebo: the same, only as far as the penalty *gets* | the same, at equal distance |
# | labels: K steps of the same length downhill in the loss | is it the penalty, or K more steps? |
#
# Why two placebos? Random steps go straight on. The penalty's turn about as soon as the mean cosine is zero
# ([04](04_cosine_map.ipynb)), and end nearer to where they began. So steps of the same length are not yet an equal treatment.
#
# For the third one you need the work of a run: the multiply-adds of every epoch, and those of what happens between epochs.
#
# **Exercise ●● `equal-compute`.** `costs` are the multiply-adds of each epoch of a grown run, the last one at the final size.
# `extra` is the work of all proposals and K steps. Which whole number of epochs of the final size comes nearest to
# the same work?

# %%
def equal_compute(costs, extra):
    return ...


gl.check("equal-compute", equal_compute)

# %% tags=["nbval-check-output"]
equal_compute = gl.answer("equal-compute", equal_compute)
grown = next(run for run in gl.grid("methods", 1) if run.arm == "random")
costs = multiply_adds_by_epoch(grown)  # of one picture
print([f"{cost / 1e3:.0f}k" for cost in costs])
print("grown:", grown.epochs, "epochs; final size, for the same work:", equal_compute(costs, 0))

# %% [markdown]
# ## Experiments as values · core
#
# A **Run** is all that a training depends on, as one plain value. Its name comes from its content: the same settings, the
# same name, on every machine. A **grid** is a list of runs: all arms of a table, for each seed.

# %% tags=["nbval-check-output"]
quick = [run for run in gl.grid("quick", seeds=1) if run.method in (None, "random")]
print(len(quick), "runs:", ", ".join(run.arm for run in quick))
print(quick[3].name)
print(gl.Run.from_json(quick[3].to_json()) == quick[3])

# %% [markdown]
# `gl.execute` trains them, as many at a time as there are cores, each in a folder of its name. Press *Stop* in the middle,
# and run the cell again: it goes on where it was. Run it once more: finished runs are not trained again. A run that fails is
# kept with its error, and stops no other.

# %%
runs = {"quick": quick, "recorded": [], "full": gl.grid("methods", seeds=10)}[mode]
if runs:
    live = gl.execute(runs, folder="../runs/lesson-05")
    shown = live.groupby("arm", sort=False)[["test_accuracy", "parameters", "seconds"]].mean()
    display(shown.round(3))

# %% [markdown]
# One seed, a few seconds for each arm. Look at the penalty's rows, and at the placebo's: is there a gain?
# Whatever you see, you would not publish it. You know by now how far two rows of the same arm lie apart.

# %% [markdown]
# ## What ten seeds say · core
#
# Now the recorded grid: vgg5 on 5,120 pictures of CIFAR-10 (as JPEG files, which makes it slightly harder), four growths
# from width 4, ten seeds of fourteen arms. Many arms mean many comparisons, and some will look good by luck: of twenty
# questions without any effect, one has p < 0.05 on average. So we fixed **one primary question beforehand**: the penalty,
# averaged over the paper's three methods. The p values of all others are made larger for being many (**Holm**: the smallest
# one times their number, the next one times one less, and so on). What do you expect?
#
# **Your prediction:** the penalty gains … points

# %%
gl.predict("penalty-gain", ...)

# %%
summary = gl.summary(record)
primary = summary.iloc[0]
gl.predict("penalty-gain", measured=float(primary["difference"]))

# %%
of_penalty = summary[summary["arm"].str.endswith(("penalty", "placebo", "labels"))]
short = [f"{row.arm} − {row.against}" for row in of_penalty.itertuples()]
short[0] = "PRIMARY: penalty, three methods"
found = {name: (row.differences, row.low, row.high)
         for name, row in zip(short, of_penalty.itertuples())}  # fmt: skip
plots.differences(found, "points of test accuracy", size=(9, 0.7 * len(found) + 0.8))

# %% [markdown]
# Above the line of a contrast lies its mean with the interval, below it each seed. The intervals are those of single
# questions. An interval that just misses zero is what many questions bring. So here are the p values, alone and corrected:

# %%
secondary = of_penalty.iloc[1:].set_index(["arm", "against"])
secondary[["difference", "p", "p_holm", "verdict"]].round(2)

# %% [markdown]
# Now all methods against their opponents: the network that never grows, and the final size from scratch, for as many epochs
# and for as much work (as that of random growth; Firefly's runs took 43 % more, since it widens the dear layers).

# %%
against_controls = summary[summary["against"].str.startswith(("never", "scratch"))]
shown = ["difference", "low", "high", "p_holm", "verdict"]
against_controls.set_index(["against", "arm"])[shown].round(2)


# %% [markdown]
# Back to the primary question. An interval tells which effects fit the runs. To claim that there is *none to speak of*, name
# a margin first, here 0.3 points, and test two things: is the effect below +0.3, and is it above −0.3? Only if both tests
# reject is it shown to lie between (**equivalence**). The larger of the two p values counts.

# %%
def in_words(row):
    words = "{difference:+.2f} points, 95 % interval from {low:+.2f} to {high:+.2f}"
    return words.format(**row).replace("-", "−")


can = {"higher": "shows a gain", "lower": "shows a loss"}
can = can.get(primary["verdict"].partition(",")[0], "shows no difference")
bound = max(abs(primary["low"]), abs(primary["high"]))
equal = "shown" if primary["p_equal"] < 0.05 else "**not** shown either"
Markdown(f"""The primary contrast is **{in_words(primary)}**. It {can}, and an effect
of more than {bound:.1f} points, in either direction, does not fit these runs.
Does it lie within ±0.3 points? p = {primary["p_equal"]:.2f}: {equal}.""")

# %% [markdown]
# Mind the difference between *no difference is shown* and *there is none*. The first is what a wide interval says, the
# second needs a narrow one around zero. And mind what was tested: the reading $|\mu|$ of the penalty, at a strength of our
# choice (the paper gives none), on this network.

# %% [markdown]
# ## Did the penalty do its work? · core
#
# A treatment that never arrived cannot help. So every record holds the cosines of each layer before the K steps, after
# them, and at the end of training: a **manipulation check**.

# %%
treated = record[record["arm"].str.contains("penalty|placebo")].groupby("arm", sort=False)
check = {}
for moment in ("before", "after", "end"):
    check["mean cosine", moment] = treated[f"mean_cosine_{moment}"].mean().round(3)
for moment in ("before", "after", "end"):
    angle = np.degrees(treated[f"twin_angle_{moment}"].mean())
    check["angle of twins", moment] = angle.map("{:.0f}°".format).replace("nan°", "–")
check["moved", "by the K steps"] = treated["moved"].mean().map("{:.1%}".format)
pd.DataFrame(check)

# %% [markdown]
# `before` and `after` are of the last growth, averaged over layers and seeds; `end` is after eight more epochs. Fresh
# neurons have no twins. `moved` is how far the weights were from where the K steps began, relative to their length: all
# steps together are 10 % long. The placebo goes all the way. After random growth the penalty gets a quarter as far, and for
# this distance there is the short placebo. Here are the pairs of the second layer, after splitting.

# %%
kept = json.loads((RESULTS / "cifar10_methods.json").read_text())["runs"]
kept = [row for row in kept if row["state"] == "finished"]


def pairs_of(arm, moment):  # of the second layer, in 40 bins: one list for each seed
    notes = [note for row in kept if row["run"]["arm"] == arm for note in row["similarity"]]
    layers = [list(note["layers"].values())[1] for note in notes if note["when"] == moment]
    return [layer["histogram"] for layer in layers]


after = {"with the penalty": pairs_of("splitting+penalty", "after decorrelation"),
         "without": pairs_of("splitting", "after growth")}  # fmt: skip
end = {"with the penalty": pairs_of("splitting+penalty", "end"),
       "without": pairs_of("splitting", "end")}  # fmt: skip

# %%
moments = {"right after the last K steps": after, "at the end of training": end}
chance = 1 / np.sqrt(9 * np.mean([list(row.values())[0] for row in record["widths"]]))
plots.distributions(moments, band=chance, edges=np.linspace(-1, 1, 41))

# %%
ends = record.groupby("arm")[["mean_cosine_end", "twin_angle_end"]].mean()
ends["twin_angle_end"] = np.degrees(ends["twin_angle_end"])
given, plain = ends.loc["splitting+penalty"], ends.loc["splitting"]
Markdown(f"""At the end of training the mean cosine is {given["mean_cosine_end"]:.2f} with the
penalty and {plain["mean_cosine_end"]:.2f} without it. Twins are {given["twin_angle_end"]:.0f}°
apart with it, and {plain["twin_angle_end"]:.0f}° without.""")

# %% [markdown]
# So after splits and copies the treatment arrived, and a part of it lasted: the mean is lower to the very end. But the peak at
# the right end, the twins, hardly moves. The steps push the *other* pairs to the left instead, as notebook 04 found. After
# random growth and Firefly there is nothing to push: the mean is close to zero before the first step. And net2net, where
# there was something, is not in the primary contrast.

# %% [markdown]
# ## Where there is something to push · core
#
# So the primary question had two weaknesses. In two of its three methods the penalty had next to nothing to do. And it asked
# about $|\mu|$ only. The paper also speaks of the "average absolute value of the cosine similarity distribution", and its
# Fig. 6 shows more *pairs* near zero. $|\mu|$ does not make those, the mean of $|\cos|$ does ([04](04_cosine_map.ipynb)).
#
# A second experiment asks again: growth by copies (net2net and splitting), and the **mean of $|\cos|$** less no penalty,
# averaged over the two. Contrast, margin (±0.3 points) and seeds were fixed before its first run. These two arms of each
# method have seeds 10 to 49, the others 10 to 19: three more readings, random steps as far as the mean of $|\cos|$ gets
# (placebo), and steps by labels.
#
# **Your prediction:** the mean of $|\cos|$ gains … points

# %%
copies = gl.results(RESULTS / "cifar10_copies.json")
both_ways, readings = ["net2net", "splitting"], ("absolute", "mean_absolute", "square", "energy")
wanted = [([f"{method}+mean_absolute" for method in both_ways], both_ways)]
wanted += [(f"{method}+{treatment}", method)
           for method in both_ways for treatment in (*readings, "placebo", "labels")]  # fmt: skip
wanted += [(f"{method}+{reading}", f"{method}+placebo")
           for method in both_ways for reading in readings]  # fmt: skip
of_copies = gl.summary(copies, wanted)
again = of_copies.iloc[0]
Markdown(f"""The mean of |cos|, averaged over net2net and splitting: **{in_words(again)}**, over
{again["seeds"]} seeds. p for not lying within ±0.3 points: {again["p_equal"]:.2f}.""")

# %%
shown = of_copies.iloc[1:].set_index(["arm", "against"])
shown[["seeds", "difference", "low", "high", "p_holm", "verdict"]].round(2)

# %%
groups, check = copies.groupby("arm", sort=False), {}
for moment in ("before", "after", "end"):
    near = groups[f"near_zero_{moment}"].mean()
    check["pairs within ±0.1", moment] = near.map("{:.0%}".format).replace("nan%", "–")
for moment in ("before", "after", "end"):
    angle = np.degrees(groups[f"twin_angle_{moment}"].mean())
    check["angle of twins", moment] = angle.map("{:.0f}°".format).replace("nan°", "–")
pd.DataFrame(check)

# %% [markdown]
# Read it with care.
#
# - **On average over both methods, the mean of $|\cos|$ changes the accuracy by less than 0.3 points**: the test for
#   equivalence rejects, and the interval is narrow on both sides. Neither method shows this by itself.
# - **The treatment arrived**: with it 65 and 64 % of the pairs are near zero after the steps, and 39 and 38 % still at the end,
#   against 28 % without: more pairs near zero, as in the paper's Fig. 6. The twins stayed where they were, since the force
#   between them vanishes near angle 0.
# - **Three arms gain**: the energy and the mean square after splitting, and *random steps* after net2net. In these three the
#   twins end further apart than without. That does not suffice: after splitting random steps part them as well, and no gain
#   is shown.
# - After net2net every reading lies *below* the placebo, by two to three points. So there it was the disturbance that helped,
#   and no reading adds to it. After splitting the energy is above the placebo.
#
# The other contrasts are undecided. All this holds for small networks with half a minute of training.

# %% [markdown]
# ## Why do copies part at all? · extra
#
# net2net makes exact copies, and exact copies with equal shares get equal gradients. Yet the tables show them 12° to 15° apart
# at the end. [Notebook 01](01_neuron_splitting.ipynb) found the reason on critters: after several growths some twins have
# unequal shares of the outgoing weight. Is it the same here, with four growths? We sorted the pairs of five more runs
# (`python data/recipes/twins.py`).
#
# **Your prediction:** pairs with equal shares … °, with unequal ones … °

# %%
path = RESULTS / "twins.json"
rows = [{"shares": run["shares"], "precision": run["precision"], "pairs whose shares": kind} | end
        for run in json.loads(path.read_text())["cifar10"]
        for kind, end in run["epochs"][-1].items() if kind != "epoch"]  # fmt: skip
ends = pd.DataFrame(rows).replace({"equal": "always equal", "unequal": "unequal once"})
ends["shares"] = ends["shares"].replace({"always equal": "made equal", "plain": "as they grow"})
ends = ends.groupby(["shares", "precision", "pairs whose shares"], sort=False)
angles = {"smallest": ends["smallest"].min(), "mean": ends["mean"].mean(),
          "largest": ends["largest"].max()}  # fmt: skip
words = lambda angle: f"{angle:.0f}°" if angle >= 0.5 or angle == 0 else f"{angle:.1g}°"
pd.DataFrame(angles).map(words).assign(pairs=ends["pairs"].sum())

# %% [markdown]
# The same reason. Pairs whose shares were unequal once have all parted, by some 30° on average. Pairs with equal shares are
# still together on average, but for a few that rounding has parted in single precision; in double precision there is none.
# So the angle of net2net's twins in the tables above says mostly *how many* families have unequal shares. It does not say
# that copies learn to differ by themselves.
#
# And does it matter whether they part? The grid `parting` compares seven arms, with ten seeds: plain copies; copies that are
# kept together by equal shares; copies that are parted by a kick, or by momentum that begins anew for the new neurons only;
# and the K steps. Its contrast, equal shares less plain, was fixed before the first run.
#
# **Your prediction:** copies that are kept together lose … points

# %%
parting = gl.results(RESULTS / "cifar10_parting.json")
kinds = ("equal shares", "new neurons reset", "kick", "absolute", "mean_absolute", "energy")
apart = gl.summary(parting, [(f"net2net+{kind}", "net2net") for kind in kinds])
ends = np.degrees(parting.groupby("arm")["twin_angle_end"].mean())
apart["twins at the end"] = apart["arm"].map(ends).map("{:.0f}°".format)
print(f"plain copies end {ends['net2net']:.0f}° apart")
apart[["arm", "difference", "low", "high", "p_holm", "twins at the end"]].round(2)

# %% [markdown]
# It matters more than anything else in this notebook. **Copies that stay alike cost 3.4 points; copies that are parted gain
# 3.7.** So what the paper fears is real: neurons that say the same hold a growing network back. But its remedy does not reach
# them: with $|\mu|$, the mean of $|\cos|$ or the energy the twins end about as near as without, and no gain is shown. A kick
# does it, or an optimiser that forgets what the new neurons never lived through.

# %% [markdown]
# ## What do neurons cost, and where do they go? · core
#
# The same runs once more: accuracy against parameters, against the work of training, and against seconds. Which method gives
# most for its size? For its time?
#
# **Your prediction:** …

# %%
arms = ["never", "net2net", "splitting", "firefly", "random", "scratch", "scratch at equal compute"]
of = {arm: record[record["arm"] == arm] for arm in arms}
across = {"parameters": ("parameters", 1), "work (10⁹ multiply-adds)": ("compute", 1e9),
          "seconds": ("seconds", 1)}  # fmt: skip
plots.scatter({
    label: {arm: (rows[name] / unit, 100 * rows["test_accuracy"]) for arm, rows in of.items()}
    for label, (name, unit) in across.items()
}, "test accuracy (%)")  # fmt: skip

# %% [markdown]
# The work leaves out proposals and K steps. The seconds have them, but they are of one core of a machine that did other work
# as well: single ones are far too long, so do not compare means. All methods get equally many
# neurons, but not equally many parameters. A neuron in the first layer is cheap, one between two wide layers is dear.
# So where does each method put them?

# %%
widths = {method: np.array([list(row.values()) for row in of[method]["widths"]])
          for method in ("random", "splitting", "firefly", "net2net")}  # fmt: skip
told = "; ".join(f"{name} {grid.mean(0).round(1).tolist()}" for name, grid in widths.items())
plots.curves({method: (range(1, 5), grid.mean(0)) for method, grid in widths.items()},
             "layer", "neurons at the end", size=(9, 3.2), xticks=range(1, 5), ylim=(0, 20),
             alt=f"Neurons of each layer at the end, means of ten seeds: {told}.")  # fmt: skip


# %% [markdown]
# These are means of ten seeds. Random growth and copies give every layer its share, on average. Splitting ranks by curvature,
# and ends with much the same. Only Firefly has a taste of its own: it widens the first two layers.

# %% [markdown]
# ## The best of thirty · core
#
# The paper tries K from 1 to 30 and reports, for each method, the K that "yielded the highest accuracy". It does not mention
# validation pictures. Suppose that K had *no effect at all*. How much better than the mean would the best of thirty be?
# And how often would it beat one run without the penalty?
#
# **Your prediction:** … standard deviations, … %
#
# **Exercise ● `best-of-thirty`.** Return `(gain, chance)` for the best of `k` runs that are all alike but for the seed: its
# expected lead over their mean, in standard deviations, and the chance (from 0 to 1) that it beats one more such run.

# %%
def best_of(k):
    return ...


gl.check("best-of-thirty", best_of)

# %% tags=["nbval-check-output"]
best_of = gl.answer("best-of-thirty", best_of)
for k in (1, 8, 30):
    gain, chance = best_of(k)
    print(f"best of {k:2}: {gain:.2f} deviations above the mean, beats a base run in {chance:.0%}")

# %%
spread = accuracy["random"].std()
within = (both["random+penalty"] - both["random"]).std() / 2**0.5  # without what seeds share
gain, same_seed = (best_of(30)[0] * deviation for deviation in (spread, within))
Markdown(f"""From nothing, the best of thirty gains **{gain:.1f} points** with the spread of our
seeds, if every K has a seed of its own, and still **{same_seed:.1f} points** if all share one.""")

# %% [markdown]
# It is not only K. The published program of the Firefly study, which the paper may have used
# ([02](02_random_growth.ipynb)), gives its *random* baseline eight children at each growth. It trains each for 17 epochs,
# tests each on the **test** pictures, and means to go on with the best: the best of eight, by the test. (As it stands, the
# variable that holds the best accuracy is never updated, so the last child wins.) The child then is 17 epochs ahead of a
# network that grew by another method. Whether the paper's table was made so, we do not know.
#
# Here is a sweep over K, on small critters, for the three methods and three seeds. For every K all steps together are 10 %
# long: one large step, or many small ones. Is there a best K?

# %%
TINY = dict(data="critters", limit=1600, reliability=0.8, at=(1, 2, 3), epochs=8, lr=0.02,
            batch_size=32, augment=False)  # fmt: skip
METHODS = ("random", "splitting", "firefly")
k_sweep = gl.results(RESULTS / "critters_sweeps.json", gl.grid("k", 3, **TINY))


def by_seed(table, setting, column="test_accuracy"):
    rows = table.pivot(index="seed", columns=setting, values=column)
    return list(rows.columns), 100 * rows.values  # (settings), (seeds, settings)


def draw(curves, x):
    told = [f"{name} {ys.mean(0).round(1).tolist()}" for name, (_, ys) in curves.items()]
    alt = f"Test accuracy against {x}, a thin line for each seed, means: {'; '.join(told)}."
    figure = plots.curves(curves, x, "test accuracy (%)", size=(9, 3), ylim=(0, 90), alt=alt)
    figure.axes[0].legend(loc="upper left", bbox_to_anchor=(1, 1))  # beside the curves
    return figure


# %%
draw({method: by_seed(k_sweep[k_sweep["method"] == method], "k") for method in METHODS}, "K")


# %% [markdown]
# Firefly seems to gain ten points at K = 20. But look at its three seeds: they lie further apart than that, and on CIFAR,
# with ten seeds, the sign was the other one. The thin lines are seeds. They zigzag, and each has its own best K. Choose the
# best K for each method on *test* pictures, and you report the zigzag. The first half of the cure is cheap: choose on
# **validation** pictures, then look at the test pictures once.
#
# **Exercise ●● `choose-honestly`.** `validation` and `test` are accuracies, (number of K, seeds). Return the index of the K
# that you choose, and the accuracy that you report.

# %%
def choose(validation, test):
    return ...


gl.check("choose-honestly", choose)

# %%
choose = gl.answer("choose-honestly", choose)
lines = []
for method, rows in k_sweep.groupby("method", sort=False):
    ks, test = by_seed(rows, "k")
    validation = by_seed(rows, "k", "val_accuracy")[1]
    index, reported = choose(torch.tensor(validation.T), torch.tensor(test.T))
    best = test.mean(0).argmax()
    chosen = ks[int(index)], float(reported)
    lines.append([method, test.mean(0)[0], ks[best], test.mean(0)[best], *chosen])
columns = ["without K steps", "best K on test", "accuracy", "honest K", "honest accuracy"]
pd.DataFrame(lines, columns=["method", *columns]).set_index("method").round(1)


# %% [markdown]
# Did it matter? Hardly. In two of the three rows validation and test choose the same K, and in the third the two accuracies
# differ by a tenth of a point. The reason: validation and test accuracy are of the *same trained networks*, so a network that
# was lucky in training looks good on both. Choosing on validation pictures takes away the luck of the *pictures*, and not
# that of the *training*. When is which of them large? We simulate sweeps as ours, eight K, three seeds, 160 pictures for
# validation and 2,000 for the test, in which **no K does anything**. The luck of the training is 0.3, 1.3 (as on CIFAR) or 9
# points (as in this sweep of Firefly).
#
# **Your prediction:** …

# %% tags=["nbval-check-output"]
def from_nothing(luck, kinds=8, seeds=3, sweeps=20_000, share=0.5):
    """What the chosen K gains on average, in points: chosen on test, and on validation pictures."""
    stream = np.random.default_rng(0)
    trained = stream.normal(0, luck, (sweeps, kinds, seeds))
    errors = [100 * (share * (1 - share) / pictures) ** 0.5 for pictures in (160, 2000)]
    validation, test = ((trained + stream.normal(0, e, trained.shape)).mean(2) for e in errors)
    return test.max(1).mean(), test[np.arange(sweeps), validation.argmax(1)].mean()


for luck in (0.3, 1.3, 9):
    on_test, on_validation = from_nothing(luck)
    print(f"luck of training {luck:3}: chosen on test {on_test:+.1f},"
          f" on validation {on_validation:+.1f}")  # fmt: skip

# %% [markdown]
# Where pictures are few and trainings alike, validation saves you. Where trainings differ a lot, as here, it takes away little.
# The second half of the cure is dearer: **train the chosen K again with fresh seeds**, and report those. Then nothing is left
# to gain from nothing.

# %% [markdown]
# ## Dose and rate · extra
#
# The paper gives no strength for the penalty. So the **dose**, how long the K steps are together, is an axis of its own. An
# effect that is real should change with the dose. How far do the weights get?

# %%
dose = gl.results(RESULTS / "critters_sweeps.json", gl.grid("dose", 3, **TINY))
dose["dose"] = np.where(dose["k"] > 0, dose["movement"] * 100, 0)
got = dose[dose["k"] > 0].pivot_table(index="method", columns="dose", values="moved", sort=False)
got.map("{:.1%}".format).rename_axis(columns="all K steps, % of the weights")

# %%
draw({method: by_seed(dose[dose["method"] == method], "dose") for method in METHODS},
     "dose: length of all K steps (% of the weights)")  # fmt: skip

# %% [markdown]
# Where the mean cosine is zero the penalty has nothing more to do, and longer steps only go to and fro. So this sweep asks
# its question of splitting, whose weights move five times as far at the highest dose. Its accuracy stays where it was.

# %% [markdown]
# And the growth rate: the share of new neurons at each growth.

# %%
rate = gl.results(RESULTS / "critters_sweeps.json", gl.grid("rate", 3, **TINY))
curves = {}
for method in ("random", "splitting"):
    for name, chosen in ((method, rate["k"] == 0), (f"{method} + penalty", rate["k"] > 0)):
        curves[name] = by_seed(rate[chosen & (rate["method"] == method)], "rate")
draw(curves, "growth rate")

# %% [markdown]
# For random growth, size is worth many points, with the penalty or without. For splitting it is worth little: its neurons
# are still twins when this short training ends. At rates of 0.5 and 0.75 its mean with the penalty is 6 and 8 points lower.
# These are three seeds. What would you do before you believe it?

# %% [markdown]
# ## The growth lab · core
#
# Now train networks of your own, one at a time, on small critters. The grey band holds ten recorded seeds of the method that
# you choose. Set K to 0, press *Start*, and watch where your curve runs in the band. Then set K to 20, and press again:
# the last two runs stay side by side. Is the difference larger than the band is wide?
#
# **Your prediction:** …

# %%
lab = gl.explore.growth_lab("../runs/lab")
lab

# %% [markdown]
# From a cell, and for readers of a page on which nothing runs: the recorded seeds of splitting with K = 10.

# %%
lab.knobs["method"].value = "splitting"
lab.knobs["k"].value = 10
lab.figure


# %% [markdown]
# ## How many seeds? · core
#
# Suppose the penalty gains 0.3 points. How many seeds would you need to notice? A test at 5 % should find it with a
# probability, its **power**, of 80 %. What counts is the effect in units of the standard deviation of the differences.
#
# **Your prediction:** … seeds
#
# **Exercise ●● `seeds-needed`.** Return the smallest number of seeds with which a paired t test at 5 % has a power of at
# least 0.8, for a true difference `effect` and differences with standard deviation `sd`. You may simulate: an answer that is
# one off will do.

# %%
def seeds_needed(effect, sd):
    return ...


gl.check("seeds-needed", seeds_needed)

# %%
seeds_needed = gl.answer("seeds-needed", seeds_needed)
sd = float(np.std(primary["differences"], ddof=1))
needed = {f"{effect} points": seeds_needed(effect, sd) for effect in (0.1, 0.3, 0.5, 1.0, 2.0)}
pd.Series(needed, name="seeds needed").rename_axis("true difference").to_frame()

# %%
Markdown(f"""The differences of our primary contrast have a standard deviation of {sd:.2f} points.
To see a gain of 0.3 points, **{seeds_needed(0.3, sd)} seeds** of every arm would be needed.
There are {int(primary["seeds"])}.""")

# %% [markdown]
# ## A deeper network · extra
#
# The paper's VGG16 from width 16, on all 50,000 pictures (45,000 to train on). We cannot train it for the paper's 250 epochs,
# only for three, with two growths of 35 %. So this is not the paper's experiment either. Ten seeds of each method, with
# the penalty and without, and of the networks that never grow. Will the larger network make a difference?
#
# **Your prediction:** …

# %%
deep = gl.results(RESULTS / "cifar10_vgg16.json")
table = deep.groupby("arm", sort=False).agg(
    seeds=("seed", "count"), accuracy=("test_accuracy", "mean"), sd=("test_accuracy", "std"),
    parameters=("parameters", "mean"), minutes=("seconds", lambda s: s.median() / 60))  # fmt: skip
table.assign(accuracy=100 * table["accuracy"], sd=100 * table["sd"]).round(1)

# %%
contrasts = gl.summary(deep)
first = contrasts.iloc[0]
contrasts.set_index(["arm", "against"])[["seeds", "difference", "low", "high", "p_holm"]].round(2)

# %%
Markdown(f"""The penalty, averaged over the three methods: **{in_words(first)}**,
over {first["seeds"]} seeds (p = {first["p"]:.3f}; for not lying within ±0.3 points, p =
{first["p_equal"]:.3f}).""")

# %% [markdown]
# An interval without zero, and a small p. Before you celebrate, look at the thirty differences behind it. They are averaged
# over three methods in each seed. How do the methods' differences go together?

# %%
deep_accuracy = 100 * deep.pivot(index="seed", columns="arm", values="test_accuracy")
each = pd.DataFrame({m: deep_accuracy[f"{m}+penalty"] - deep_accuracy[m] for m in METHODS})
display(each.corr().round(2))
Markdown(f"""Taken as thirty independent differences: **p = {first["independent_p"]:.3f}**, interval
{first["independent_low"]:+.2f} to {first["independent_high"]:+.2f}. The variance of the average is
{first["variance_ratio"]:.2f} of what independent methods would give. In only 5 % of such
experiments it would be below {first["ratio_5_percent"]:.2f}. So the summary flags this contrast.

Each method alone: {first["components"]}.""")

# %% [markdown]
# All three correlations are negative: in a seed in which one method gains, another loses. So the average hardly varies, its
# standard error is small, and its t is large. We know of nothing that would make methods take turns: it looks like luck, and
# the small p lives on it. Without it the same numbers give p = 0.076, and zero is inside. The contrast that was fixed
# beforehand stays as it is; we do not build on it. **Undecided.** And there is more:
# - **Is it the penalty?** There is no placebo of this network. Any small disturbance might do the same.
# - **Could the schedule show something?** The final size from scratch is 4 points better than never growing, with an interval
#   from 1 to 7. But the network is far from trained, at 60 %, and early differences may vanish.
# - **How many such questions were asked?** This is the same contrast as above, on a second network. On vgg5 it was −0.25
#   (−0.68 to +0.19). The two intervals overlap.
#
# More seeds and a placebo would decide. `growlab run vgg16 --seeds 10` makes these runs again, about two minutes each on a
# core. The paper's own tables need a GPU. Until one has run them, undecided is the word for VGG16.

# %% [markdown]
# ## What it costs · extra
#
# The paper reports seconds on a GTX 1080 Ti. The penalty adds 0.5 to 5.7 % there, and splitting takes 2.0 to 2.7 times as
# long as random growth. Here are the shares of our own runs.

# %%
phases = ["training", "growth", "penalty"]
columns = ["seconds", *(f"{phase}_seconds" for phase in phases)]
seconds = deep.groupby("arm", sort=False)[columns].mean()
share = 100 * seconds.iloc[:, 1:].div(seconds["seconds"], axis=0)
share.set_axis([f"{phase} (%)" for phase in phases], axis=1).round(2)

# %%
paper = pd.DataFrame(PAPER_SECONDS, index=["base", "eq. 3", "eq. 4", "both"]).T
paper.index.names = ["data", "network", "method"]
paper["penalty adds (%)"] = 100 * (paper["both"] / paper["base"] - 1)
paper[["base", "both", "penalty adds (%)"]].round(1)

# %% [markdown]
# The K steps work on weights, not on pictures, so they cost next to nothing. A proposal costs about as much as ten training
# steps (splitting) to sixty (Firefly). What makes the paper's times differ so much, 2.0 to 2.7 times, we cannot tell: its
# implementation is not described. On the small network above, whose epochs take two seconds, the four proposals of a
# splitting or Firefly run are together a tenth of its time.

# %% [markdown]
# ## The paper's own tables · extra
#
# `table1`, `table2` and `table3` are the paper's grids: 250 epochs, K as reported, CIFAR-10, CIFAR-100 and the ablation.
# They are written down and tested in miniature, but **we have not run them**: each needs a GPU for hours.

# %% tags=["nbval-check-output"]
for name in ("table1", "table2", "table3"):
    runs = gl.grid(name, seeds=3)
    print(f"{name}: {len(runs)} runs of {runs[0].epochs} epochs on {runs[0].data}")

# %% [markdown]
# On one machine with a GPU, several at a time, since these networks are far too small to fill it:
#
# ```
# growlab run table1 --seeds 5 --device cuda --jobs 8 --folder runs/table1
# growlab results runs/table1 --json table1.json
# ```
#
# On many machines that share a folder, with `dask.distributed`, or any other `concurrent.futures.Executor`:
#
# ```python
# from dask.distributed import Client
#
# gl.execute(gl.grid("table2", seeds=5), "runs/table2", Client("scheduler:8786").get_executor())
# ```
#
# A run that was killed goes on where it was, and no run is done twice.

# %% [markdown]
# ## What our records support · core
#
# - **Growing works, if the new neurons are new.** On vgg5 all methods beat the network that never grows. Fresh random neurons
#   gain most, then Firefly's; splits and copies gain little in this time: twins say the same for long. On VGG16, early in its
#   training, random growth and Firefly beat it, and splitting does not: it lies 0.3 points below (−0.6 to −0.1).
# - **On vgg5 no method reaches the final size from scratch** at equal epochs. At equal work random growth comes close, and
#   which of the two is better is not decided. On VGG16 random growth ends level with it at equal epochs (+0.1, but from −2.3
#   to +2.5), which decides nothing.
# - **The penalty as $|\mu|$**: on vgg5 ten seeds show no gain, and exclude one of more than a quarter of a point on average.
#   But in two of the three methods there was nothing to push.
# - **The penalty as the mean of $|\cos|$**, where there is something to push: no difference, within ±0.3 points on average,
#   with forty seeds. Random steps gain more after net2net than any reading.
# - **Copies must part**: kept together they lose 3.4 points, parted by a kick or by new momentum they gain 3.7. No reading of
#   the penalty parts them.
# - **On VGG16 it is undecided**: the primary contrast stands on a lucky correlation, and there is no placebo.
# - **It was not for want of a dose.** Where the neurons were alike, the mean cosine went down and stayed lower.
# - **Not tested**: the paper's 250 epochs, CIFAR-100, MobileNet, other strengths of the penalty on CIFAR. Our reading of the
#   equations may not be the authors'. A small network that is trained for a minute is not theirs.

# %% [markdown]
# ## What can go wrong
#
# - **You look at the test pictures to choose.** Learning rate, schedule, K, the epoch to stop: whatever is chosen on them
#   makes them training data.
# - **You stop when it looks good.** Fix the number of seeds beforehand. Adding seeds until p < 0.05 finds effects in noise.
# - **You compare arms that differ in more than one thing.** A penalty that also refreshes batch norm is two treatments.
# - **You use the interval of single runs for a difference.** Pair the seeds first.
# - **You give two different runs one label.** Growlab refuses to average them:

# %% tags=["nbval-check-output"]
try:
    gl.summary(pd.concat([record, record]))
except ValueError as error:
    print(str(error).split(":")[-1].strip())

# %% [markdown]
# ## Quiz

# %% [markdown]
# **1. With the penalty 54.1 %, without it 53.8 %, one run each; between seeds, the standard deviation is 1 point. What follows?**
# - (a) The penalty gains 0.3 points.
# - (b) Next to nothing: two runs of the same arm differ by more.
# - (c) The penalty has no effect.
#
# <details><summary>Answer</summary>
#
# - (a) No. *One number is the number*: it is one draw, and another seed gives another one.
# - (b) **Yes.** The difference of two runs has a standard deviation of about 1.4 points, if they are not paired.
# - (c) No. *No significant difference is no difference* turns missing knowledge into knowledge.
#
# </details>

# %% [markdown]
# **2. The best of thirty K beats the base run. How surprising is that if K does nothing?**
# - (a) Very: p < 0.05.
# - (b) It happens about half of the time.
# - (c) It happens 97 % of the time.
#
# <details><summary>Answer</summary>
#
# - (a) No. *p from 30 tries is p from one* forgets the 29 others.
# - (b) No. *No effect is fifty-fifty* is true for one try.
# - (c) **Yes.** The base run is the best of all 31 in only one case of 31.
#
# </details>

# %% [markdown]
# **3. Scratch and never grown end alike on your schedule. What about your comparison of growth methods?**
# - (a) It is fine: both controls are there.
# - (b) It cannot show anything: not even many more neurons made a difference.
# - (c) Growth is useless.
#
# <details><summary>Answer</summary>
#
# - (a) No. *Controls make it fair* is not enough, if nothing can move.
# - (b) **Yes.** Train longer, decay later, or take harder data, and test the assay again.
# - (c) No. *The scale shows nothing, so there is no weight*: the scale may be broken.
#
# </details>

# %% [markdown]
# **4. A grown network beats one that never grew, after equally many epochs. Fair?**
# - (a) Yes, equal epochs are equal chances.
# - (b) Only for the question whether more neurons help; for growth itself, compare with the final size from scratch.
# - (c) No comparison of different sizes is ever fair.
#
# <details><summary>Answer</summary>
#
# - (a) No. *More parameters at equal epochs is fair* compares sizes, not ways to get there.
# - (b) **Yes.** Each opponent has its question.
# - (c) No. *Different is incomparable*: say what is held equal, parameters, epochs or work, and compare.
#
# </details>

# %% [markdown]
# **5. The interval of the difference is from −0.4 to +0.5 points. What may you write?**
# - (a) The penalty has no effect.
# - (b) No effect is shown, and one of more than half a point does not fit the data.
# - (c) The penalty gains 0.05 points.
#
# <details><summary>Answer</summary>
#
# - (a) No. *No significant difference is no difference*: 0.3 points would fit as well.
# - (b) **Yes.** Say what is excluded, and what is not.
# - (c) No. *The middle of the interval is the truth*: all of it fits.
#
# </details>

# %% [markdown]
# ## Summary
#
# - One run is one draw. Compare arms seed by seed, and show all differences with their interval.
# - First show that the experiment could have shown something. Then ask one question that you fixed beforehand.
# - A placebo tells a treatment from a disturbance, a manipulation check tells whether it arrived and whether it lasted.
# - The best of thirty gains two standard deviations from nothing. Choose on validation pictures, and report fresh seeds.
# - An average over methods may vary little by luck. Look at the differences behind it.
# - Small differences need many seeds: compute how many before you begin.

# %% [markdown]
# ## Terms
#
# | term | meaning |
# |---|---|
# | arm | one way of training in a comparison |
# | seed | the random numbers of a run; arms of a seed share them |
# | assay sensitivity | whether an experiment could show an effect if there is one |
# | placebo | the same disturbance without the active part |
# | manipulation check | did the treatment do to the network what it should? |
# | primary contrast | the one question, fixed beforehand |
# | Holm's correction | larger p values for being one of many |
# | equivalence | shown to be smaller than a margin, here 0.3 points |
# | power | the probability to find an effect that is there |

# %% [markdown]
# ## References
#
# - T. Sakai and K. Hotta, *Growing Deep Neural Network Considering with Similarity between Neurons*, 2024:
#   [arXiv 2408.13291](https://arxiv.org/abs/2408.13291). The paper; §4 are its experiments.
# - S. Holm, *A Simple Sequentially Rejective Multiple Test Procedure*, Scandinavian Journal of Statistics 6, 1979.
# - D. J. Schuirmann, *A comparison of the two one-sided tests procedure and the power approach for assessing the equivalence
#   of average bioavailability*, Journal of Pharmacokinetics and Biopharmaceutics 15, 1987.
# - A. Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009. CIFAR.
#
# Previous: [04 · The cosine map](04_cosine_map.ipynb). Next: [06 · Grad-CAM](06_grad_cam.ipynb).
