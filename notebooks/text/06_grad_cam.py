# %% [markdown]
# # 06 · Grad-CAM: does it look at the whole animal?
#
# The paper shows heat maps, and concludes that its penalty makes networks look at the whole object. You will turn
# that into a question with numbers: which parts of an animal does a decision rest on? And you will test the rulers
# before you believe what they say.

# %% [markdown]
# ## What you will learn
#
# After this notebook you can
# - find out what a network looks at by changing pictures and watching its decisions,
# - write Grad-CAM in six lines, and say at which layer its maps can be read,
# - test a measure on networks whose answer you know, before you use it on others,
# - say what the similarity penalty does to attention and to shortcuts, with an effect size and an interval.

# %% [markdown]
# ## Before you start
#
# - **You know** what growing is (notebook 00), the similarity penalty and its K steps (notebook 04), and paired
#   intervals over seeds (notebook 05).
# - **Time**: 60 minutes to work through. To run all cells: about 60 seconds on two CPU cores. You need no GPU.
# - Previous: [05 · CIFAR experiments](05_cifar_experiments.ipynb)

# %%
import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from IPython.display import Image, Markdown, display
from ipywidgets import Dropdown, IntSlider, VBox
from ipywidgets import Image as Picture

import growlab as gl
from growlab import attention, critters, evidence, plots

torch.set_num_threads(1)
results = Path("../data/results")

# %% [markdown]
# ## A claim, and four networks · core
#
# New neurons that behave like old ones look at the same spot again, say the authors: at the eyes of a cat. Neurons that
# differ see its ears and mouth as well. So the penalty should spread attention over the animal, and keep a network from
# taking a *shortcut*, such as the background. Their evidence is a few pictures with heat maps.
#
# It is a good question, and critters were made for it: five parts, each of which shows a form, and each of which may lie.
# We load four small networks. Two were **grown** from the same start, one of them with the penalty. The other two are
# **calibration networks**: we know what they look at, since nothing else would have helped them in training.
#
# | network | trained on critters in which … | so it must read |
# |---|---|---|
# | `head` | the head shows the class, all other parts any class | the head |
# | `all five` | three parts show the class, and two another one | all five |
# | `grown`, `+ penalty` | each part shows the class with probability 0.6 | as many as it can |

# %% tags=["nbval-check-output"]
data = gl.load_data("critters")
files = {"head": "one-head", "all five": "all-0"}
files |= {"grown": "random-0", "+ penalty": "random+penalty-0"}
models = {name: gl.load(results / f"06_{file}.pt") for name, file in files.items()}
for name, model in models.items():
    print(f"{name:10}{[unit.neurons for unit in gl.units(model)]}")

# %% [markdown]
# Why must the second one read all five? With three parts against two, who reads four of them may see two against two.
# Then it must guess, and is right in 70 % of all pictures at best. Three parts also give 70 %, fewer 60 %.

# %%
three_to_two = attention.changed(data, 1000, seed=1, reliability=1, swap=2)
right = gl.evaluate(models["all five"], three_to_two)
Markdown(f"""On new pictures of this kind `all five` is right in **{right:.0%}**. No reader of four
parts gets beyond 70 %, so it does read all five.""")

# %% [markdown]
# ## Swap a part, and watch · core
#
# To find out what a decision rests on, change one thing and look whether the decision changes. This is an
# **intervention**. Here five parts show the true class. Then one part after the other gets the form of another class,
# the *donor*, and nothing else changes.

# %%
honest = attention.changed(data, 500, seed=0, reliability=1)
swapped = {
    part: attention.changed(data, 500, seed=0, reliability=1, swap=part) for part in critters.PARTS
}

figure, axes = plots.panels(1, 6, size=(11, 2.3))
plots.show_picture(axes[0], honest.images[0], "honest")
for number, (part, split) in enumerate(swapped.items()):
    plots.show_picture(axes[number + 1], split.images[0], f"{part} swapped")
    plots.outline(axes[number + 1], split.masks[0, number], plots.RED, width=3)
figure.alt = "One critter six times: as it is, and with each of its five parts swapped in turn."
figure

# %% tags=["nbval-check-output"]
donors = swapped["head"].forms[:, 0]  # the same class for every part
changes = (honest.images != swapped["head"].images).any(1)
print("pixels that change lie on the head:", not changes[~honest.masks[:, 0]].any())
print("the donor is never the true class: ", not (donors == honest.labels).any())

# %% [markdown]
# How often does the network `head` follow a swapped head? How often does it follow a swapped tail? And how often does
# `all five` follow a single part, against four others?
#
# **Your prediction:** `head` follows the head in … %, the tail in … %; `all five` follows one part in … %

# %%
gl.predict("grown-follows-one-part", ...)  # the network `grown`, mean over the parts, from 0 to 1

# %% [markdown]
# **Exercise (●●): who votes?** `scores` (parts, N, classes) are what the network says of the N pictures after each swap,
# `donors` (N,) the donor classes. Return for each part the share of decisions that follow it. `gl.hint("who-votes")` gives
# a hint, `gl.solution("who-votes")` a solution, in all exercises.


# %%
def who_votes(scores, donors):
    return ...


gl.check("who-votes", who_votes)

# %%
who_votes = gl.answer("who-votes", who_votes)

# %%
scores = {
    name: torch.stack([attention.logits(model, split) for split in swapped.values()])
    for name, model in models.items()
}  # fmt: skip
follows = {name: who_votes(after, donors).tolist() for name, after in scores.items()}
pd.DataFrame(follows, index=critters.PARTS).T.round(2)

# %%
gl.predict("grown-follows-one-part", measured=float(np.mean(follows["grown"])))

# %% [markdown]
# `head` follows the head always, and no other part ever: the ruler reads what we built in. `all five` follows no part,
# since four honest parts outvote one that lies. And the grown ones? A single part seldom wins against four.
# So they count votes as well. But how many?

# %% [markdown]
# ## How many parts carry a decision? · core
#
# Decisions are coarse: a lead can shrink a lot before it is lost. So look at the **lead** itself, the score of the true
# class less that of the donor. By how much does it fall when a part is swapped? If $f_p$ is the fall for part $p$, the
# **effective number of parts** is
#
# $$ m = \frac{\left(\sum_p f_p\right)^2}{\sum_p f_p^2}, \qquad \text{a negative } f_p \text{ counting as } 0. $$
#
# If one part carries everything, $m = 1$. If all five carry as much, $m = 5$.
#
# **Exercise (●): effective parts.** `falls` is (N, parts). Return one number for each picture.


# %%
def effective_parts(falls):
    return ...


gl.check("effective-parts", effective_parts)

# %% [markdown]
# **Your prediction:** `head` …, `all five` …, `grown` …, `+ penalty` … parts

# %%
gl.predict("effective-parts-of-grown", ...)  # from 1 to 5

# %%
effective_parts = gl.answer("effective-parts", effective_parts)
falls = {name: gl.part_votes(model, data, 500, seed=0).falls for name, model in models.items()}
parts = {name: effective_parts(fall.double()) for name, fall in falls.items()}
figure, axes = plots.panels(1, 1, size=(9, 3))
for (name, values), (color, style, _) in zip(parts.items(), plots.LINES):
    axes.hist(values.numpy(), np.linspace(1, 5, 41), histtype="step", color=color, ls=style, lw=2)
    axes.plot([], [], color=color, ls=style, label=f"{name}: mean {values.nanmean():.2f}")
axes.set(xlabel="effective number of parts", ylabel="pictures")
axes.legend(loc="upper center")
figure.alt = "Distributions over pictures of the effective number of parts, for the four networks."
figure

# %%
gl.predict("effective-parts-of-grown", measured=parts["grown"].nanmean().item())

# %%
straight = gl.auc(parts["all five"], parts["head"])
Markdown(f"""Draw a picture for `all five` and one for `head`: the first has the larger number
with probability {straight:.2f}: this ruler tells our two calibration networks apart.
The grown networks are near the upper end, with or without the penalty.""")

# %% [markdown]
# ## Hide parts · core
#
# The second intervention: **hide** parts. A hidden part gets its dark and light pixels shuffled. So its texture, mean and
# contrast stay, and only the form goes. (A black patch would be a new thing that no network has ever seen. Then you measure
# surprise, not attention.)
#
# From here on we need more than one run. We trained ten seeds with random growth from width 4, with and without the
# penalty (K = 20, 10 % relative movement), and kept what we measured. Before any of it was measured, we fixed the main
# question: *penalty less no penalty, in the effective number of parts*.
#
# **Your prediction:** with two of five parts hidden, the accuracy falls from about 77 % to … %

# %%
record = json.loads((results / "06_attention.json").read_text())
measured = {entry["model"]: entry for entry in record["models"]}


def of(arm, name):
    """Ten seeds of one arm: (10,) numbers, or (10, …) lists of them."""
    return np.array([measured[f"{arm}-{seed}"][name] for seed in range(10)])


hidden = {"best possible": [critters.best_accuracy(5 - gone, 0.6) for gone in range(6)]}
hidden |= {"grown": of("random", "hidden"), "+ penalty": of("random+penalty", "hidden")}
lines = {name: (range(6), values) for name, values in hidden.items()}
plots.curves(
    lines, "parts hidden", "accuracy", ylim=(0, 1),
    alt="Accuracy by the number of hidden parts: the best possible, and ten seeds of each arm.",
)  # fmt: skip

# %%
fall = 100 * (hidden["grown"][:, 0] - hidden["grown"][:, 2]).mean()
apart = 100 * np.abs(hidden["grown"].mean(0) - hidden["+ penalty"].mean(0)).max()
Markdown(f"""Two hidden parts cost the grown networks {fall:.0f} points. The two arms are nowhere
more than {apart:.1f} points apart, in the mean over ten seeds.""")

# %% [markdown]
# A network that read one part only would fall along a straight line: each hidden part is the one it reads with
# probability 1/5. These fall more slowly at first, as the best possible vote does. They have spare parts to fall back on.

# %% [markdown]
# ## Grad-CAM in six lines · core
#
# Interventions need pictures that you can change part by part. With photographs you cannot, and so people draw **heat
# maps**. Grad-CAM (Selvaraju et al. 2017) takes the maps $A^k$ of one layer, and asks how much each channel $k$ speaks for the
# class $c$: the gradient of the class's score $s_c$, averaged over all places.
#
# $$ w_k = \frac{1}{hw} \sum_{ij} \frac{\partial s_c}{\partial A^k_{ij}}, \qquad
#    M_{ij} = \max\Big(0, \sum_k w_k A^k_{ij}\Big). $$
#
# **Exercise (●●): six lines.** Given the maps and the gradients, both (N, K, h, w), return $M$, (N, h, w).


# %%
def grad_cam(maps, gradients):
    return ...


gl.check("six-lines", grad_cam)

# %% [markdown]
# The rest is plumbing: a hook catches the maps, `autograd` gives the gradients, and bilinear interpolation brings the map
# to the size of the picture.

# %%
grad_cam = gl.answer("six-lines", grad_cam)


def heat(model, images, targets, layer):
    caught = []
    hook = model.get_submodule(layer).register_forward_hook(lambda *call: caught.append(call[2]))
    scores = model.eval()(images)
    hook.remove()
    chosen = scores.gather(1, targets[:, None]).sum()  # the logit of the target, before any softmax
    (gradients,) = torch.autograd.grad(chosen, caught)
    maps = grad_cam(caught[0], gradients)
    return F.interpolate(maps[:, None], images.shape[-2:], mode="bilinear")[:, 0].detach()


# %% tags=["nbval-check-output"]
images, labels = honest.normalise(honest.images[:100]), honest.labels[:100]
cams = gl.heatmaps(models["head"], images, labels)
print(cams)
mine = heat(models["head"], images, labels, layer=cams.layer)
print("yours is the library's:", torch.allclose(mine, cams.maps, atol=1e-5))

# %% [markdown]
# `gl.heatmaps` asks the library pytorch-grad-cam, and leaves the model as it was: mode, gradients, hooks. It does *not*
# scale each map to its own maximum, as the library does, so that shares of it mean something.
#
# Both networks see the same pictures, and the map is asked for the *true* class. Where will they be hot?
#
# **Your prediction:** …

# %%
first = slice(0, 7)
maps = {name: gl.heatmaps(models[name], images[first], labels[first]).maps for name in models}
titles = [data.classes[label] for label in labels[first]]
alt = "Seven critters, and below each the Grad-CAM of four networks, with the parts outlined."
plots.heats(honest.images[first], titles, maps, honest.masks[first], alt=alt)

# %% [markdown]
# The maps of `head` have one hot spot, mostly on the head, and those of `all five` several. So far, so good: to the eye,
# Grad-CAM sees the difference. The two grown networks look alike. But seven pictures are an anecdote, and an eye finds
# what it looks for. We need numbers, and a test of the numbers.

# %% [markdown]
# ## Which layer, which method · core
#
# A map is as fine as its layer. Move the sliders. At which layer can you still tell the parts of an animal apart?
#
# **Your prediction:** the first / the third / the last layer

# %%
layers = {"2": "32×32", "6": "16×16", "10": "8×8", "14": "4×4"}


def compare(picture, layer, method):
    rows = slice(picture, picture + 5)
    maps = {
        name: gl.heatmaps(models[name], images[rows], labels[rows], layer, method).maps
        for name in ("head", "all five")
    }  # fmt: skip
    alt = f"Five critters and maps of two networks, {method} at layer {layer}, {layers[layer]}."
    titles = [data.classes[label] for label in labels[rows]]
    return plots.heats(honest.images[rows], titles, maps, honest.masks[rows], alt=alt)


# %%
pictures = IntSlider(0, 0, 90, 5, description="pictures", continuous_update=False)
layer = Dropdown(options=[(f"{name}: {size}", name) for name, size in layers.items()], value="10")
method = Dropdown(options=["gradcam", "hirescam", "layercam", "gradcam++", "eigencam"])
shown = Picture(value=compare(0, "10", "gradcam").png(), width=750)


def redraw(_):
    shown.value = compare(pictures.value, layer.value, method.value).png()


for widget in (pictures, layer, method):
    widget.observe(redraw, "value")
VBox([pictures, layer, method, shown])

# %% [markdown]
# The same from a cell, at the last layer, for readers of a page on which nothing runs:

# %%
pictures.value, layer.value = 5, "14"
compare(5, "14", "gradcam")

# %% [markdown]
# At 4×4 a cell is eight pixels wide, as wide as a whole part with its margin: everything runs together. The first layers are
# fine, but show edges of everything. `gl.heatmaps` takes the last layer whose maps are at least a quarter as wide as the picture.

# %% [markdown]
# ## What does a map cover? · core
#
# Now numbers. The first one that comes to mind: which share of the heat lies on the animal?
#
# **Exercise (●): energy inside.** `maps` and `masks` are (N, H, W). Return the share for each picture.


# %%
def energy_inside(maps, masks):
    return ...


gl.check("energy-inside", energy_inside)

# %% [markdown]
# `gl.coverage` has six measures. A number says nothing by itself, so each gets two neighbours: **chance**, the same maps on the masks
# of *other* pictures, and maps that know **no network**: a bump in the middle of the picture, and its edges.

# %%
masks, objects = honest.masks[:100], honest.objects[:100]
other_masks, other_objects = masks.roll(1, 0), objects.roll(1, 0)
table = {}
everybody = {name: gl.heatmaps(model, images, labels) for name, model in models.items()}
for name, cams in (everybody | attention.baselines(images)).items():
    table[name] = gl.coverage(cams, masks, objects).mean()
    if name in ("head", "all five"):
        table[f"{name}, other masks"] = gl.coverage(cams, other_masks, other_objects).mean()
pd.DataFrame(table).T.round(2)

# %%
energy = {name: row["energy"] for name, row in table.items()}
Markdown(f"""The share of heat on the animal, `energy`, is {energy["all five"]:.2f} for the network
that looks at the whole animal, and {energy["head"]:.2f} for the one that looks at its head.
A bump that has seen no picture gets {energy["centre prior"]:.2f}, and edges get
{energy["edge map"]:.2f}.""")

# %% [markdown]
# ## Is the ruler straight? · core
#
# A measure of *how much of the animal a network looks at* must tell `head` from `all five`. If it cannot, it measures
# something else. The test is the **AUC**: draw one picture of each; how often does the measure put them in the right
# order? 1 is perfect, 0.5 a coin. We fixed in advance that we would believe no measure below **0.9**.
#
# **Exercise (●●●): is the ruler straight?** `larger` (n,) and `smaller` (m,) are readings of two networks. Return the AUC.


# %%
def auc(larger, smaller):
    return ...


gl.check("is-the-ruler-straight", auc)

# %% [markdown]
# Six measures: the share of heat on the animal (`energy`), whether the hottest pixel is on it (`pointing`), the share of `parts` that reach
# half the maximum, the effective number of parts by heat (`effective_parts`), the `area` above half the maximum, and the `entropy` of the heat.
# Which of them pass?
#
# **Your prediction:** …

# %%
gl.predict("auc-of-energy", ...)  # from 0 to 1

# %%
auc = gl.answer("is-the-ruler-straight", auc)
both = {name: gl.coverage(everybody[name], masks, objects) for name in ("all five", "head")}
measures = [column for column in both["head"] if column != "empty"]
mine = {
    column: float(auc(*(torch.tensor(both[name][column].values) for name in both)))
    for column in measures
}  # fmt: skip
pd.DataFrame({"AUC": mine}).T.round(2)

# %%
gl.predict("auc-of-energy", measured=mine["energy"])

# %% [markdown]
# One pair of networks is not enough, and the head is not the only part. Here is the record of fifteen pairs: a reader of each
# part against three readers of all.

# %%
pairs = record["calibration"]["gradcam 10"]
figure, axes = plots.panels(1, 1, size=(9, 3.2))
for row, column in enumerate(measures):
    color, _, marker = plots.LINES[0 if np.mean(pairs[column]) >= 0.9 else 1]
    axes.plot(pairs[column], [row] * len(pairs[column]), marker, color=color, alpha=0.6)
    axes.plot(np.mean(pairs[column]), row, "|", color=color, ms=22, mew=3)
axes.axvline(0.5, color="grey", ls=":")
axes.axvline(0.9, color="black", ls="--")
axes.set(yticks=range(6), yticklabels=measures, xlabel="AUC, Grad-CAM at 8×8", xlim=(0, 1.02))
axes.invert_yaxis()
told = ", ".join(f"{name} {np.mean(pairs[name]):.2f}" for name in measures)
figure.alt = f"AUC of six measures, fifteen pairs each; dotted: chance, dashed: 0.9. Means: {told}."
figure

# %%
straight = {
    setting: [column for column in measures if np.mean(found[column]) >= 0.9]
    for setting, found in record["calibration"].items()
}  # fmt: skip
for setting, columns in straight.items():
    print(f"{setting:13}", ", ".join(columns) or "none")

# %% [markdown]
# The list says which measures pass, by method and layer. (`14` is the last convolution, where most tutorials put their maps.)
# Look at what fails. The share of heat on the animal and the pointing game are the two that papers report most often. They ask
# whether heat is on the *animal*, and a network that reads a single part puts its heat on the animal as well. They do not
# ask *how much* of it.
#
# From here on we use only Grad-CAM at the default layer, and only the measures that pass. The others stay on the page as failed.

# %% [markdown]
# ## Does the map follow the network? · extra
#
# Two more tests. **Random weights** (Adebayo et al. 2018): a map that stays the same when the network knows nothing shows the
# picture, not the network. **ROAD** (Rong et al. 2022): blur away the hottest pixels, and the coldest; if the map is
# faithful, the first hurts and the second does not. The score is half the difference of the class's probability.

# %%
few, targets = images[:20], labels[:20]
unknowing = attention.randomised(models["grown"])
candidates = {"Grad-CAM": gl.heatmaps(models["grown"], few, targets).maps}
candidates["of random weights"] = gl.heatmaps(unknowing, few, targets).maps
candidates |= attention.baselines(few) | {"noise": torch.rand(few.shape[0], 32, 32)}
road = {
    name: np.nanmean(gl.road(models["grown"], few, targets, maps))
    for name, maps in candidates.items()
}  # fmt: skip
pd.DataFrame({"ROAD": road}).T.round(2)

# %%
checked = [*of("random", "checks"), *of("random+penalty", "checks")]
like = np.mean([check["rank_correlation_with_random_weights"] for check in checked])
over = {name: np.mean([check["road"][name] for check in checked]) for name in checked[0]["road"]}
listed = ", ".join(f"{name} {value:.2f}" for name, value in over.items())
Markdown(f"""Over all twenty grown networks: the rank correlation with the map of random weights is
{like:.2f} (0: nothing in common, 1: the same map). ROAD: {listed}.""")

# %% [markdown]
# Grad-CAM does follow the network. Yet see how well the mere edges of the picture do: on critters the forms *are* edges. A map can be
# faithful and tell you nothing about this network in particular.

# %% [markdown]
# ## Does the penalty spread attention? · core
#
# Now the question of the chapter. Ten seeds, each once with and once without the penalty, from the same initial
# weights, with the same order of pictures and the same random growth. So each seed gives one difference.
#
# **Your prediction:** the effective number of parts changes by …, and the 95 % interval is … zero

# %%
gl.predict("penalty-and-parts", ...)  # change of the effective number of parts, from −4 to 4

# %%
def change(name, pick=lambda value: value, treated="random+penalty", base="random"):
    """Ten differences: what ``pick`` takes from a measurement, with the treatment less without."""
    return np.subtract(*([pick(value) for value in of(arm, name)] for arm in (treated, base)))


asked = {"swapping (primary)": change("effective_parts")}
for other in ("net2net", "splitting", "firefly"):
    asked[f"swapping, {other}"] = change("effective_parts", treated=f"{other}+penalty", base=other)
asked["swapping, placebo"] = change("effective_parts", treated="random+placebo")
for column in straight["gradcam 10"]:
    asked[f"Grad-CAM, {column}"] = change("maps", lambda maps: maps["gradcam"][column])

# %% [markdown]
# Other methods of growth, the placebo (as many steps in random directions), and the heat maps are *secondary* questions. So are
# two more that we ask at once: the accuracy with parts hidden, and the shortcuts of the next section. Whoever asks many questions
# finds something by chance. So all secondary p values are corrected together (Holm, notebook 05).

# %%
asked["accuracy, 1 to 4 hidden"] = change("hidden", lambda accuracy: np.mean(accuracy[1:5]))
levels = {"shortcut 0": ""} | {f"shortcut {s}": f"-shortcut{s}" for s in (0.5, 0.75, 1.0)}
for level, suffix in levels.items():
    arms = {"treated": "random+penalty" + suffix, "base": "random" + suffix}
    asked[f"misled, {level}"] = change("background", lambda votes: votes["followed"], **arms)

judged = pd.DataFrame({name: evidence.compare(values) for name, values in asked.items()}).T
judged["p (Holm)"] = [np.nan, *evidence.holm(judged["p"].tolist()[1:])]
judged[["difference", "low", "high", "p", "p (Holm)"]].round(3)

# %%
shown = {
    name: (asked[name], *judged.loc[name, ["low", "high"]])
    for name in asked if "swapping" in name or "effective" in name
}  # fmt: skip
plots.differences(shown, "change of the effective number of parts (of 5)", size=(10, 4.2))

# %%
main = judged.loc["swapping (primary)"]
gl.predict("penalty-and-parts", measured=main["difference"])

# %%
before, spread = of("random", "effective_parts").mean(), np.std(asked["swapping (primary)"], ddof=1)
side = "above zero" if main["low"] > 0 else "below zero" if main["high"] < 0 else "around zero"
Markdown(f"""**The answer.** Without the penalty {before:.2f} of five parts carry a decision.
With it, {main["difference"]:+.3f}, and the 95 % interval over ten seeds goes from
{main["low"]:+.3f} to {main["high"]:+.3f}: it lies {side}. In standard deviations of the differences, the effect is
{main["difference"] / spread:+.1f}. The two calibration networks are further apart than that:
{parts["head"].nanmean():.1f} and {parts["all five"].nanmean():.1f} parts.""")

# %% [markdown]
# Read the figure from above: small markers are seeds, the large one is the mean, the bar its 95 % interval. PLACEHOLDER-ATTENTION

# %% [markdown]
# ## Does it cure shortcuts? · core
#
# With `shortcut=` the background of the training pictures gives the class away, with the probability you ask for. In the test
# pictures it never does. A network that falls for it follows the hue of the background instead of the forms. Does the penalty help?
#
# We measure the share of decisions that **follow a misleading background**: the same animals, before the hue of another class.
#
# **Your prediction:** at shortcut 1, … % of the decisions follow the background, and with the penalty … %

# %%
def followed(arm):
    """(seeds, levels): the share of decisions for the class of the misleading hue, in %."""
    rows = [of(arm + suffix, "background") for suffix in levels.values()]
    return 100 * np.array([[votes["followed"] for votes in row] for row in rows]).T


cheats = {"grown": followed("random"), "+ penalty": followed("random+penalty")}
plots.curves(
    {name: ([0, 0.5, 0.75, 1], values) for name, values in cheats.items()},
    "shortcut in the training pictures", "decisions that follow the background, %", ylim=(0, 101),
    alt="Share of decisions that follow a misleading background, by the strength of the shortcut.",
)  # fmt: skip

# %%
shown = {}
for level in levels:
    ends = 100 * judged.loc[f"misled, {level}", ["low", "high"]]
    shown[level] = (100 * asked[f"misled, {level}"], *ends)
plots.differences(shown, "change by the penalty, in points", size=(9, 2.8))

# %% [markdown]
# PLACEHOLDER-SHORTCUT

# %% [markdown]
# ## Different weights, different answers? · extra
#
# The penalty makes the *weights* of neurons differ. What it should change is what they *answer*. So put the two side by side:
# the cosines of the filters of a layer, and the correlations of their outputs on pictures.
#
# **Your prediction:** the outputs are more / less alike than the filters

# %%
units = {unit.name: unit.weight for unit in gl.units(models["grown"])}
outputs = attention.activations(models["grown"], images, "12")
pair = {"filters": gl.cosine_map(units["12"]), "outputs": gl.cosine_map(outputs)}
plots.cosine_maps(pair)

# %%
names = {
    "cosine": "filters: mean |cosine|", "correlation": "outputs: mean |correlation|",
    "rank_of_weights": "filters: effective rank", "rank_of_activations": "outputs: effective rank",
    "neurons": "neurons", "together": "filters and outputs, rank correlation",
}  # fmt: skip


def mean_over_layers(arm, figure):
    return [np.mean([layer[figure] for layer in layers.values()]) for layers in of(arm, "neurons")]


rows = {}
for figure, title in names.items():
    base, treated = mean_over_layers("random", figure), mean_over_layers("random+penalty", figure)
    found = evidence.compare(np.subtract(treated, base))
    interval = {"from": found["low"], "to": found["high"]}
    rows[title] = {"grown": np.mean(base), "change": found["difference"], **interval}
pd.DataFrame(rows).T.round(3)

# %% [markdown]
# PLACEHOLDER-NEURONS

# %% [markdown]
# ## Photographs · extra
#
# Here are panels as in the paper, on CIFAR-10 (JPEG): the picture, the grown network, and the one with the penalty. The pictures were drawn
# by seed 2024, one of each class. Nobody chose. Both rows show the true class, on one colour scale. The networks are
# small, vgg5 from width 8 on 10,000 pictures, and the figure is a recording: the pictures are not ours to hand out.

# %%
cifar = json.loads((results / "06_cifar.json").read_text())
runs = pd.json_normalize(cifar["runs"]).set_index(["arm", "seed"])
alt = "Ten photographs, one of each class of CIFAR-10, and below each the heat of both networks."
display(Image(results / "06_cifar.png", alt=alt, width=1000), Markdown(f"*{alt}*"))

# %%
runs[["test_accuracy", "area", "entropy", "empty", "road.gradcam", "road.edge map"]].round(3)

# %%
spread = runs["entropy"].unstack("arm")
found = evidence.compare((spread["random+penalty"] - spread["random"]).tolist())
Markdown(f"""Entropy of the heat, penalty less none: {found["difference"]:+.4f}, 95 % interval
{found["low"]:+.4f} to {found["high"]:+.4f} over {found["seeds"]} seeds: a description.""")

# %% [markdown]
# From ten panels you could tell any story: find a photograph where the lower map is wider, and one where it is narrower. That
# is why pictures are drawn by a seed, and why the numbers stand beside them. And on photographs nobody can calibrate a ruler: no
# network is known to look at the whole cat.

# %% [markdown]
# ## What can go wrong
#
# - **You believe heat.** A hot spot says that a channel which speaks for the class is active there. It does not say that the decision would
#   change without it. Only an intervention says that.
# - **You take the last layer because it is the last.** At 4×4 or 2×2 cells every map covers half the animal.
# - **You compare maps for what each network predicts.** Then two networks answer two questions. Use the true class for both.
# - **You leave out pictures that one network gets wrong.** Then each network is measured on other pictures.
# - **You forget empty maps.** They have no share of anything. `gl.coverage` counts them, and gives NaN.
# - **You ask the library for another list of targets than pictures.** It would say nothing. `gl.heatmaps` does:

# %% tags=["nbval-check-output"]
try:
    gl.heatmaps(models["grown"], images, labels[:3])
except ValueError as error:
    print(error)

# %% [markdown]
# ## Quiz

# %% [markdown]
# **1. A heat map is hot on the ears of a cat. What follows?**
# - (a) The network decides by the ears.
# - (b) A channel that speaks for "cat" is active there. Whether the decision needs it, an intervention must say.
# - (c) The network has understood cats.
#
# <details><summary>Answer</summary>
#
# - (a) Not yet. *Heat is not cause*: take the ears away, and watch.
# - (b) **Yes.** A map is a guess at a cause.
# - (c) No. *A plausible picture* is what we wanted to see; that is why it convinces.
#
# </details>

# %% [markdown]
# **2. Measure X is 0.80 for a network without, and 0.85 with the penalty. It has an AUC of 0.5 on the calibration networks.**
# - (a) The penalty works: 0.85 is more than 0.80.
# - (b) X cannot tell one part from all parts, so the difference says nothing about attention.
# - (c) Chance is 0.5, and both are far above it.
#
# <details><summary>Answer</summary>
#
# - (a) No. Something differs, but *a ruler that is not straight* measures something else.
# - (b) **Yes.** First the ruler, then the measurement.
# - (c) No. That mixes *chance of the AUC* with chance of X, which the masks of other pictures tell.
#
# </details>

# %% [markdown]
# **3. You hide a part under a black square, and the accuracy drops to 20 %. Does the network need that part?**
# - (a) Yes: without it, it is lost.
# - (b) Perhaps, or the black square confuses it: it has never seen one.
# - (c) No: 20 % is more than chance.
#
# <details><summary>Answer</summary>
#
# - (a) Not shown. You changed two things: *the part went, and a square came*.
# - (b) **Yes.** Shuffle the pixels instead: the texture stays, and only the form goes.
# - (c) No. *Better than chance* is another question.
#
# </details>

# %% [markdown]
# **4. The 95 % interval of an effect goes from −0.1 to +0.2 parts. What have you shown?**
# - (a) There is no effect.
# - (b) Effects beyond those ends are unlikely; whether there is a small one remains open.
# - (c) Nothing: it is not significant.
#
# <details><summary>Answer</summary>
#
# - (a) No. *No significant difference* is not *no difference*.
# - (b) **Yes.** Of 5 parts, 0.2 is little. That is a finding.
# - (c) No. A narrow interval around zero *says a lot*: a large effect is ruled out.
#
# </details>

# %% [markdown]
# **5. A network reads one part in each picture, but in every picture another one. What does the mean of the votes over pictures say?**
# - (a) That it reads all five parts equally.
# - (b) That it reads one part.
# - (c) Nothing at all.
#
# <details><summary>Answer</summary>
#
# - (a) **Yes, and that is the trap**: *the mean over pictures is not a picture*. So count the parts in each picture, then average.
# - (b) No. In the mean each part has a fifth of the votes.
# - (c) It does say something about the parts: that *none is preferred*.
#
# </details>

# %% [markdown]
# ## Summary
#
# - Interventions change one thing and watch the decision. They say what causes it, and need no heat map.
# - Grad-CAM is six lines. Its layer decides what you can see: at 8×8 it tells a reader of one part from a reader of all.
# - Heat on the animal and the pointing game cannot tell these two apart. Measures must pass such a test before they count.
# - PLACEHOLDER-SUMMARY

# %% [markdown]
# ## Terms
#
# | term | meaning |
# |---|---|
# | intervention | change one thing in the picture, and watch the decision |
# | donor | the class whose form a swapped part shows |
# | lead | the score of the true class less that of the donor |
# | effective number of parts | $(\sum f)^2 / \sum f^2$: from 1, one carries all, to 5, all carry as much |
# | calibration network | one of which we know what it looks at |
# | AUC | probability that a reading of the first kind exceeds one of the second |
# | shortcut | a cue that gives the class away in training, and not in the world |
# | ROAD | faithfulness: blur away what is hot, and what is cold, and compare |

# %% [markdown]
# ## References
#
# - T. Sakai and K. Hotta, *Growing Deep Neural Network Considering with Similarity between Neurons*, 2024:
#   [arXiv 2408.13291](https://arxiv.org/abs/2408.13291). The claim, and its heat maps.
# - R. Selvaraju et al., *Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization*, 2017:
#   [arXiv 1610.02391](https://arxiv.org/abs/1610.02391).
# - J. Adebayo et al., *Sanity Checks for Saliency Maps*, 2018: [arXiv 1810.03292](https://arxiv.org/abs/1810.03292).
# - J. Zhang et al., *Top-down Neural Attention by Excitation Backprop*, 2016: [arXiv 1608.00507](https://arxiv.org/abs/1608.00507). The pointing game.
# - H. Wang et al., *Score-CAM*, 2020: [arXiv 1910.01279](https://arxiv.org/abs/1910.01279). The energy-based pointing game.
# - Y. Rong et al., *A Consistent and Efficient Evaluation Strategy for Attribution Methods*, 2022:
#   [arXiv 2202.00449](https://arxiv.org/abs/2202.00449). ROAD.
# - J. Gildenblat and contributors, [pytorch-grad-cam](https://github.com/jacobgil/pytorch-grad-cam), the library behind `gl.heatmaps`.
#
# Previous: [05 · CIFAR experiments](05_cifar_experiments.ipynb)
