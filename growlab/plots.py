"""One figure per function, one style: data go in, a matplotlib Figure comes out, with a text for those who cannot see it.

Pictures of every station of the flow; notebook 00 begins with them. The colours are Okabe and Ito's, which
colour-blind readers tell apart; line styles, markers and words say the same once more.
"""

import io
from itertools import cycle

import matplotlib.figure
import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.ticker import MaxNLocator, PercentFormatter, StrMethodFormatter
from PIL import Image

BLUE, RED, BLACK, GREEN, PINK = "#0072B2", "#D55E00", "#000000", "#009E73", "#CC79A7"
LINES = ((BLUE, "-", "o"), (RED, "--", "s"), (BLACK, ":", "^"), (GREEN, "-.", "D"), (PINK, (0, (5, 1, 1, 1, 1, 1)), "v"))
STYLE = {
    "font.size": 12, "axes.titlesize": 12, "axes.titleweight": "bold", "axes.labelsize": 12, "lines.linewidth": 2.2,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": "#DDDDDD", "axes.axisbelow": True,
    "legend.frameon": False, "figure.facecolor": "white", "figure.constrained_layout.use": True,
    # in the dark styles these are others
    "text.color": "black", "axes.labelcolor": "black", "axes.edgecolor": "black", "axes.facecolor": "white", "xtick.color": "black", "ytick.color": "black",
}  # fmt: skip
styled = rc_context(STYLE)  # a decorator: matplotlib's settings are ours inside, and the reader's outside
PAGE, FILE = 100, 135  # pixels per inch: on the page, and in the file, for projectors and sharp screens


class Figure(matplotlib.figure.Figure):
    """A matplotlib Figure that a notebook shows as PNG, with its ``alt`` text below: JupyterLab and GitHub have no other place for it."""

    alt = ""

    def png(self) -> bytes:
        """The picture as a file, in 256 colours: a third of the size, and nobody sees it."""
        full, small = io.BytesIO(), io.BytesIO()
        self.savefig(full, format="png", dpi=FILE, facecolor="auto")
        colours = Image.open(full).convert("RGB").quantize(256, dither=Image.Dither.NONE)
        colours.save(small, "png", optimize=True)
        return small.getvalue()

    def _ipython_display_(self):
        from IPython import display

        picture = display.Image(self.png(), alt=self.alt, width=round(self.get_figwidth() * PAGE))
        display.display(picture, display.Markdown(f"*{self.alt}*"))


@styled
def panels(rows=1, columns=1, size=(9, 4), alt="", **how):
    """An empty (Figure, axes) in this style, for figures of your own; ``how`` goes to ``Figure.subplots``."""
    figure = Figure(figsize=size)
    figure.alt = alt
    return figure, figure.subplots(rows, columns, **how)


def show_picture(axes, image, title=""):
    """Draw uint8 (C, H, W) with one or three channels, every pixel a square."""
    pixels = np.asarray(image).transpose(1, 2, 0)
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_axis_off()
    axes.set_title(title, loc="center")


def outline(axes, mask, color, style="-", width=2.5, fine=8):
    """Draw a line along the edge of a mask, bool (H, W)."""
    tall, wide = mask.shape
    pixels = np.kron(np.asarray(mask, float), np.ones((fine, fine)))  # so fine that the line keeps to the pixels' edges
    box = (-0.5, wide - 0.5, -0.5, tall - 0.5)
    for shade, line, points in (("white", "-", 1.8 * width), (color, style, width)):  # white below, to be seen on every colour
        axes.contour(pixels, levels=[0.5], colors=[shade], linestyles=[line], linewidths=points, extent=box)


def first_of_each(labels, classes, count):
    """(classes, count): where in labels (N,) the first ``count`` pictures of every class are."""
    return np.stack([np.flatnonzero(np.asarray(labels) == label)[:count] for label in range(classes)])


@styled
def contact_sheet(split, rows=4):
    """Pictures of a Split, one column per class."""
    figure, axes = panels(rows, len(split.classes), size=(len(split.classes), rows * 1.02 + 0.3), squeeze=False)
    for label, column in enumerate(first_of_each(split.labels, len(split.classes), rows)):
        for row, index in enumerate(column):
            show_picture(axes[row, label], split.images[index], split.classes[label] if row == 0 else "")
    figure.alt = f"{rows} pictures of each class, side by side: {', '.join(split.classes)}."
    return figure


@styled
def forms(patterns, parts, classes):
    """What each part (a row) looks like for each class (a column); patterns: bool (parts, classes, h, w)."""
    figure, axes = panels(len(parts), len(classes), size=(len(classes) * 0.9, len(parts) * 0.8 + 0.2))
    for part, row in enumerate(axes):
        for label, cell in enumerate(row):
            cell.imshow(patterns[part, label], cmap="Greys", vmin=-0.1, vmax=1.4)
            cell.set(xticks=[], yticks=[], frame_on=False)
            cell.set_title(classes[label] if part == 0 else "", loc="center")
        row[0].set_ylabel(parts[part], rotation=0, ha="right", va="center")
    figure.alt = f"A table of small patterns: a row for each part ({', '.join(parts)}), a column for each of {len(classes)} classes."
    return figure


def says(split, index, parts):
    """The class that each part of a critter shows, by name: {part: class}."""
    return {part: split.classes[form] for part, form in zip(parts, split.forms[index])}


@styled
def anatomy(split, index, parts):
    """One critter of a Split: the picture, the animal alone, and the masks of its parts with the class that each shows."""
    image, truth, shows = split.images[index], split.classes[split.labels[index]], says(split, index, parts)
    figure, axes = panels(1, 3, size=(10, 3.7))
    alone = np.where(split.objects[index], image, 255 - (255 - image) // 5)  # the background faded
    for cell, pixels, title in zip(axes, (image, alone, image), (f"a critter, {truth}", "its object mask", "its part masks")):
        show_picture(cell, pixels, title)
    outline(axes[1], split.objects[index], BLACK)
    for (part, form), mask in zip(shows.items(), split.masks[index]):
        color, style = (BLUE, "-") if form == truth else (RED, "--")
        y, x = np.argwhere(np.asarray(mask)).mean(0)
        outline(axes[2], mask, color, style)
        axes[2].text(x, y, f"{part}\n{form}", ha="center", va="center", fontsize=10, weight="bold", color=color,
                     bbox={"facecolor": "white", "alpha": 0.9, "edgecolor": "none", "pad": 1})
    told = ", ".join(f"the {part} shows {form}" for part, form in shows.items())
    figure.alt = f"A critter of class {truth}: the picture, the animal cut out, and the outlines of its parts. {told[0].upper()}{told[1:]}."
    return figure


@styled
def votes(drawn, classes, best):
    """Critters with the parts that tell the truth (solid) and the others (dashed), and the ``best`` accuracy from 0, 1, … parts."""
    figure = Figure(figsize=(10, 3.6))
    grid = figure.add_gridspec(2, 6)
    for index, label in enumerate(drawn.labels[:8]):
        axes = figure.add_subplot(grid[divmod(index, 4)])
        show_picture(axes, drawn.images[index], classes[label])
        for mask, form in zip(drawn.masks[index], drawn.forms[index]):
            outline(axes, mask, *((BLUE, "-") if form == label else (RED, "--")), width=1.7)
    axes = figure.add_subplot(grid[:, 4:])
    bars = axes.bar(range(len(best)), best, color=BLUE)
    axes.bar_label(bars, [f"{value:.0%}" for value in best])
    axes.set(xlabel="parts that you look at", title="best possible accuracy", ylim=(0, 1.1), xticks=range(len(best)))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(False)
    true = (drawn.forms[:8] == drawn.labels[:8, None]).mean()
    figure.alt = (f"Eight critters; {true:.0%} of their parts show their own class, outlined solid, the others dashed. "
                  f"Best possible accuracy from 0 to {len(best) - 1} parts: {', '.join(f'{value:.0%}' for value in best)}.")
    return figure


def neurons(history):
    """The number of neurons in each epoch of a History."""
    return [sum(row["widths"].values()) for row in history.epochs]


@styled
def growth(histories, metric="val_accuracy"):
    """Accuracy, parameters and neurons over the epochs of {name: History}; dotted lines where one of them grew."""
    figure, axes = panels(3, 1, size=(9, 6.6), sharex=True, height_ratios=(2, 1, 1))
    ends = []
    for (name, history), (color, style, marker) in zip(histories.items(), cycle(LINES)):
        table, count = history.table(), neurons(history)
        axes[0].plot(table["epoch"], table[metric], color=color, ls=style, marker=marker, ms=5, label=name)
        for cell, sizes in zip(axes[1:], (table["parameters"], count)):
            cell.step([0, *table["epoch"]], [sizes[0], *sizes], where="pre", color=color, ls=style, label=name)
        widths = list(table["widths"].iloc[-1].values())
        if len(widths) <= 6:  # more would run across the curves
            axes[2].annotate(f"layers of {', '.join(map(str, widths))}", (len(table), count[-1]), xytext=(0, -5), textcoords="offset points",
                             ha="right", va="top", color=color)
        for event in history.growths:
            for cell in axes:
                cell.axvline(event["epoch"], color=color, ls=":", lw=1.5, zorder=0)
            axes[0].annotate(f"+{event['neurons']} neurons", (event["epoch"], 1), xycoords=("data", "axes fraction"),
                             xytext=(4, -4), textcoords="offset points", va="top", color=color)
        ends.append(f"{name}: {table[metric].iloc[-1]:.0%} with {table['parameters'].iloc[-1]:,} parameters")
    axes[0].legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.1)
    axes[0].set(ylabel="validation accuracy", ylim=(0, 1))
    axes[0].yaxis.set_major_formatter(PercentFormatter(1))
    axes[1].set(ylabel="parameters", ylim=(0, None))
    axes[1].yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes[2].set(ylabel="neurons", xlabel="epochs of training", ylim=(0, None), xlim=(0, None))
    axes[2].xaxis.set_major_locator(MaxNLocator(integer=True))
    for cell in axes:
        cell.grid(False, axis="x")
    figure.align_ylabels()
    figure.alt = f"Accuracy, parameters and neurons over the epochs, on one axis. At the end {'; '.join(ends)}."
    return figure


@styled
def compare(results):
    """Test accuracies of several seeds, {name: [accuracy, …]}: a marker for each seed, a line at the mean."""
    figure, axes = panels(1, 1, size=(9, 1 + 0.6 * len(results)))
    for row, (values, (color, _, marker)) in enumerate(zip(results.values(), cycle(LINES))):
        axes.plot(values, [row] * len(values), marker, color=color, ms=9, alpha=0.8)
        axes.plot([np.mean(values)] * 2, [row - 0.3, row + 0.3], color=color)
    axes.set(yticks=range(len(results)), yticklabels=results, ylim=(len(results) - 0.5, -0.5), xlim=(0, 1), xlabel="test accuracy")
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    listed = (f"{name} {', '.join(f'{value:.1%}' for value in values)}" for name, values in results.items())
    figure.alt = f"Test accuracy, a marker for each seed and a line at the mean: {'; '.join(listed)}."
    return figure


@styled
def difference(expected, got):
    """Two tensors (…, h, w) of one shape and their difference; of more dimensions, the slice where they differ most."""
    expected, got = (np.asarray(tensor, float) for tensor in (expected, got))
    while expected.ndim > 2:
        apart = np.nan_to_num(np.abs(got - expected)).reshape(len(expected), -1).max(1)
        expected, got = expected[apart.argmax()], got[apart.argmax()]
    figure, axes = panels(1, 3, size=(7, 2.4))
    limit = max(np.nanmax(np.abs(values), initial=1e-12) for values in (expected, got))
    for cell, values, title in zip(axes, (expected, got, got - expected), ("expected", "got", "got − expected")):
        image = cell.imshow(values, cmap="RdBu", vmin=-limit, vmax=limit, interpolation="nearest")
        cell.set(xticks=[], yticks=[], title=title)
    figure.colorbar(image, ax=axes)
    figure.alt = f"Expected, got and their difference as maps; the largest difference is {np.nanmax(np.abs(got - expected), initial=0):.2g}."
    return figure


@styled
def curves(series, x, y, title="", alt="", size=(9, 4), **scales):
    """Lines {name: (x values, y values)} with the labels ``x`` and ``y``; ``scales`` go to ``Axes.set`` (xscale="log", …).

    y values (seeds, points) give a thin line for each seed and a thick one for their mean.
    """
    figure, axes = panels(1, 1, size=size, alt=alt)
    for (name, (across, up)), (color, style, marker) in zip(series.items(), cycle(LINES)):
        up = np.atleast_2d(np.asarray(up, float))
        for seed in up if len(up) > 1 else ():
            axes.plot(across, seed, color=color, ls=style, lw=0.8, alpha=0.6)
        axes.plot(across, up.mean(0), color=color, ls=style, marker=marker if up.shape[1] <= 25 else "", ms=5, label=name)
    axes.set(xlabel=x, ylabel=y, title=title, **scales)
    axes.legend()
    return figure


def draw_cosines(axes, values, band=None):
    """The distribution of the n(n − 1)/2 cosines in a map ``values`` (n, n), a line at their mean, and ± one ``band`` shaded."""
    values = np.asarray(values, float)
    values = values[np.triu_indices(len(values), 1)]
    if band:
        axes.axvspan(-band, band, color="#DDDDDD", zorder=0)
    axes.hist(values, np.linspace(-1, 1, 41), color=BLUE)
    axes.axvline(values.mean(), color=RED, ls="--")
    axes.set(xlim=(-1, 1), xlabel="cosine", title=f"mean {values.mean():+.3f}".replace("-", "−"))
    axes.grid(False)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))


@styled
def cosine_maps(maps, band=None):
    """{title: cosine map (n, n)}: each as a picture, and below it the distribution of its pairs; ``band``: one deviation by chance."""
    figure, axes = panels(2, len(maps), size=(3.1 * len(maps) + 0.7, 5.4), squeeze=False, height_ratios=(3, 2))
    for (title, values), top, bottom in zip(maps.items(), *axes):
        image = top.imshow(np.asarray(values), cmap="RdBu", vmin=-1, vmax=1, interpolation="nearest")
        top.set(title=title, xlabel="neuron")
        top.grid(False)
        for axis in (top.xaxis, top.yaxis):
            axis.set_major_locator(MaxNLocator(6, integer=True))
        draw_cosines(bottom, values, band)
    tallest = max(cell.get_ylim()[1] for cell in axes[1])
    for cell in axes[1]:
        cell.set_ylim(0, tallest)
    axes[0, 0].set_ylabel("neuron")
    axes[1, 0].set_ylabel("pairs")
    figure.colorbar(image, ax=axes[0, -1], label="cosine")
    means = ", ".join(f"{title}: {cell.get_title()}" for title, cell in zip(maps, axes[1]))
    shaded = f" Shaded: one deviation by chance, ±{band:.2f}." if band else ""
    figure.alt = f"Cosine maps, and below each the distribution of its pairs with a dashed line at the mean. {means}.{shaded}"
    return figure


@styled
def workflow(weight, maps, parents):
    """A growth as the paper draws it (its Fig. 2 and 3): the weight (n, D) of a layer that has grown, one new row at its
    end for each of ``parents`` (None: fresh), and its cosine maps (before, after) the K steps."""
    figure, axes = panels(1, 5, size=(10, 3.5), width_ratios=(3, 4, 4, 4, 4))
    old, rows, copied = len(weight) - len(parents), 2 * np.arange(len(parents)) + 0.5, {"arrowstyle": "->", "color": RED, "ls": "--", "lw": 1.5}
    axes[0].plot([0] * old, range(old), "o", color=BLUE, ms=10)
    axes[0].plot([1] * len(rows), rows, "s", color=RED, ms=10)
    for row, parent in ((row, parent) for row, parent in zip(rows, parents) if parent is not None):
        axes[0].annotate("", (0.87, row), (0.13, parent), arrowprops=copied)
    limit = np.abs(np.asarray(weight)).max()
    axes[1].imshow(np.asarray(weight), cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
    axes[2].imshow(np.asarray(maps[0]), cmap="RdBu", vmin=-1, vmax=1, aspect="auto", interpolation="nearest")
    for cell, values in zip(axes[3:], maps):
        draw_cosines(cell, values)
    titles = ("1 copy, or add\nat random", "2 weights:\na row per neuron", "3 cosines\nof all pairs",
              "4 the same, as\na distribution", "5 after K steps:\nmean near zero")
    labels, ticks = ("old ●      ■ new", "D weights", "n × n", "cosine", "cosine"), ([], [], [], [0, 1], [0, 1])
    for cell, title, label, marks in zip(axes, titles, labels, ticks):
        cell.set(xticks=marks, yticks=[], title=title, xlabel=label, frame_on=False)
        cell.grid(False)
    axes[0].set(xlim=(-0.5, 1.5), ylim=(old, -1))
    figure.supxlabel("steps 2 to 5, K times; then train on, until the next growth", fontsize=12)
    figure.alt = (f"Five steps from left to right: {old} old neurons and {len(parents)} new ones, some of them copies; their weights; the map of "
                  "their cosines; its distribution; and the distribution after K steps, with the mean moved to zero.")
    return figure


@styled
def distributions(moments, band, edges):
    """{title: {name: (seeds, bins)}}: how the pairs of neurons spread over the cosines, side by side; ± one ``band`` is shaded."""
    figure, axes = panels(1, len(moments), size=(10, 3.6), sharey=True, squeeze=False)
    for cell, (title, arms) in zip(axes[0], moments.items()):
        cell.axvspan(-band, band, color="#EEEEEE", zorder=0, label="by chance, ±1 sd")
        for (name, counts), (color, style, _) in zip(arms.items(), cycle(LINES)):
            shares = np.asarray(counts, float) / np.sum(counts, 1, keepdims=True)
            for seed in shares:
                cell.stairs(seed, edges, color=color, ls=style, lw=0.6, alpha=0.5)
            cell.stairs(shares.mean(0), edges, color=color, ls=style, lw=2.2, label=name)
        lowest = min(edges[np.flatnonzero(np.sum(counts, 0))[0]] for arms in moments.values() for counts in arms.values())
        cell.set(title=title, xlabel="cosine of a pair", xlim=(min(-0.6, lowest), 1), xticks=(-0.5, 0, 0.5, 1))
        cell.yaxis.set_major_formatter(PercentFormatter(1, 0))
    axes[0, 0].set_ylabel("share of all pairs")
    axes[0, -1].legend(loc="upper right", fontsize=11)
    figure.alt = (f"Distributions of the cosines of all pairs ({'; '.join(moments)}) for {', '.join(arms)}: thin lines for each seed, "
                  f"thick ones for their mean. Shaded: ±{band:.2f}, one deviation by chance.")
    return figure


@styled
def heats(images, titles, maps, masks=None, most=5, alt=""):
    """Pictures (N, C, H, W), and below each its heat in {name: (N, H, W)}, over the map's mean, all on one colour scale.

    With ``masks`` (N, parts, H, W) the parts are outlined. 1 is as much heat as a map would have that is the same everywhere.
    """
    figure, axes = panels(1 + len(maps), len(images), (1.3 * len(images) + 1, 1.35 * (1 + len(maps)) + 0.3), alt, squeeze=False)
    steps = colormaps["magma"].resampled(20)  # each a quarter: easier to compare than a continuous scale, and a smaller file
    for cell, image, title in zip(axes[0], images, titles):
        show_picture(cell, image, title)
    for (name, heat), row in zip(maps.items(), axes[1:]):
        heat = np.asarray(heat, float)
        for index, cell in enumerate(row):
            shown = cell.imshow(heat[index] / max(heat[index].mean(), 1e-12), cmap=steps, vmin=0, vmax=most)
            if masks is not None:
                cell.contour(np.asarray(masks[index]).any(0), levels=[0.5], colors="white", linewidths=0.8)
            cell.set(xticks=[], yticks=[])
            cell.grid(False)
        row[0].set_ylabel(name)
    figure.colorbar(shown, ax=axes, label="heat over its mean", shrink=0.8, extend="max")
    return figure


@styled
def differences(found, label, size=(9, 4), marks=None):
    """{name: (differences of the seeds, low, high)}: a marker for each seed, the mean and its interval, a line at zero."""
    figure, axes = panels(1, 1, size)
    axes.axvline(0, color=BLACK, lw=1)
    for row, (name, (values, low, high)) in enumerate(found.items()):
        color, _, marker = LINES[(marks or {}).get(name, 0)]
        axes.plot(values, [row + 0.18] * len(values), marker, color=color, ms=6, alpha=0.5, mew=0)
        axes.plot([low, high], [row - 0.18] * 2, color=color, lw=3, solid_capstyle="butt")
        axes.plot(np.mean(values), row - 0.18, "d", color=color, ms=9, mec="white")
    axes.set(yticks=range(len(found)), yticklabels=found, ylim=(len(found) - 0.5, -0.5), xlabel=label)
    axes.grid(False, axis="y")
    listed = "; ".join(f"{name} {np.mean(values):+.2f}, from {low:+.2f} to {high:+.2f}" for name, (values, low, high) in found.items())
    figure.alt = f"{label}: a marker for each seed, and above them their mean with its 95 % interval. {listed}.".replace(" -", " −")
    return figure


@styled
def scatter(across, y, size=(10, 4.2)):
    """{label of x: {name: (x values, y values)}}: a panel for each x, a small marker for each run, a large one at the means."""
    figure, axes = panels(1, len(across), size, sharey=True, squeeze=False)
    for cell, (x, arms) in zip(axes[0], across.items()):
        for index, (name, (xs, ys)) in enumerate(arms.items()):
            color, _, marker = LINES[index % len(LINES)]
            hollow = {"mfc": "white"} if index >= len(LINES) else {}  # so that ten names can be told apart
            cell.plot(xs, ys, marker, color=color, ms=5, alpha=0.35, **hollow)
            cell.plot(np.mean(xs), np.mean(ys), marker, color=color, ms=11, label=name, **hollow)
        cell.set(xlabel=x, xlim=(0, None))
        cell.xaxis.set_major_locator(MaxNLocator(4))
        cell.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes[0, 0].set_ylabel(y)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    means = "; ".join(f"{name} {np.mean(ys):.1f} at {np.mean(xs):,.0f}" for name, (xs, ys) in next(iter(across.values())).items())
    figure.alt = f"{y} against {' and against '.join(across)}, a marker for each run and a large one at the means. By {next(iter(across))}: {means}."
    return figure
