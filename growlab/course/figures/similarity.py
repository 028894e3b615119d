"""Figures of neurons: cosine maps, distributions of cosines, the paper's workflow. Notebooks 00, 01 and 04."""

from itertools import cycle

import numpy as np
from matplotlib.ticker import MaxNLocator, PercentFormatter

from growlab.course.figures.style import BLUE, LINES, RED, panels, styled
from growlab.text import label


def draw_cosines(axes, values, band=None):
    """Draw how the n(n − 1)/2 cosines in a map ``values`` (n, n) are spread: a line at their mean, ± ``band`` grey."""
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
    """{title: cosine map (n, n)}: each as a picture, and below it the distribution of its pairs.

    ``band`` is one deviation by chance.
    """
    figure, axes = panels(2, len(maps), size=(3.1 * len(maps) + 0.7, 5.4), squeeze=False, height_ratios=(3, 2))
    for (title, values), top, bottom in zip(maps.items(), *axes):
        image = top.imshow(np.asarray(values), cmap="RdBu", vmin=-1, vmax=1, interpolation="nearest")
        top.set(title=label(title), xlabel="neuron")
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
    figure.alt = (
        f"Cosine maps, and below each the distribution of its pairs with a dashed line at the mean. {means}.{shaded}"
    )
    return figure


@styled
def workflow(weight, maps, parents):
    """A growth as the paper draws it (its Fig. 2 and 3), in five panels.

    ``weight`` (n, D) is that of a layer that has grown, with a new row at its end for each of ``parents`` (None:
    fresh); ``maps`` are its cosine maps (n, n) before and after the K steps.
    """
    figure, axes = panels(1, 5, size=(10, 3.5), width_ratios=(3, 4, 4, 4, 4))
    old, rows = len(weight) - len(parents), 2 * np.arange(len(parents)) + 0.5
    axes[0].plot([0] * old, range(old), "o", color=BLUE, ms=10)
    axes[0].plot([1] * len(rows), rows, "s", color=RED, ms=10)
    copied = {"arrowstyle": "->", "color": RED, "ls": "--", "lw": 1.5}
    for row, parent in zip(rows, parents):
        if parent is not None:
            axes[0].annotate("", (0.87, row), (0.13, parent), arrowprops=copied)
    for cell, values, limit in ((axes[1], weight, np.abs(np.asarray(weight)).max()), (axes[2], maps[0], 1)):
        cell.imshow(np.asarray(values), cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
    for cell, values in zip(axes[3:], maps):
        draw_cosines(cell, values)
    titles = (
        "1 copy, or add\nat random",
        "2 weights:\na row per neuron",
        "3 cosines\nof all pairs",
        "4 the same, as\na distribution",
        "5 after K steps:\nmean near zero",
    )
    labels, ticks = ("old ●      ■ new", "D weights", "n × n", "cosine", "cosine"), ([], [], [], [0, 1], [0, 1])
    for cell, title, below, marks in zip(axes, titles, labels, ticks):
        cell.set(xticks=marks, yticks=[], title=title, xlabel=below, frame_on=False)
        cell.grid(False)
    axes[0].set(xlim=(-0.5, 1.5), ylim=(old, -1))
    figure.supxlabel("steps 2 to 5, K times; then train on, until the next growth", fontsize=12)
    figure.alt = (
        f"Five steps from left to right: {old} old neurons and {len(parents)} new ones, some of them copies; "
        "their weights; the map of their cosines; its distribution; and the distribution after K steps, "
        "with the mean moved to zero."
    )
    return figure


@styled
def distributions(moments, band, edges):
    """{title: {name: counts (seeds, bins)}}: how pairs of neurons spread over the cosines, a panel for each title.

    ``edges`` (bins + 1) are those of the bins; ± one ``band`` is shaded.
    """
    figure, axes = panels(1, len(moments), size=(10, 3.6), sharey=True, squeeze=False)
    lowest = min(edges[np.flatnonzero(np.sum(counts, 0))[0]] for arms in moments.values() for counts in arms.values())
    for cell, (title, arms) in zip(axes[0], moments.items()):
        cell.axvspan(-band, band, color="#EEEEEE", zorder=0, label="by chance, ±1 sd")
        for (name, counts), (color, style, _) in zip(arms.items(), cycle(LINES)):
            shares = np.asarray(counts, float) / np.sum(counts, 1, keepdims=True)
            for seed in shares:
                cell.stairs(seed, edges, color=color, ls=style, lw=0.6, alpha=0.5)
            cell.stairs(shares.mean(0), edges, color=color, ls=style, lw=2.2, label=label(name))
        cell.set(title=label(title), xlabel="cosine of a pair", xlim=(min(-0.6, lowest), 1), xticks=(-0.5, 0, 0.5, 1))
        cell.yaxis.set_major_formatter(PercentFormatter(1, 0))
    axes[0, 0].set_ylabel("share of all pairs")
    axes[0, -1].legend(loc="upper right", fontsize=11)
    figure.alt = (
        f"Distributions of the cosines of all pairs ({'; '.join(moments)}) for {', '.join(arms)}: "
        f"thin lines for each seed, thick ones for their mean. Shaded: ±{band:.2f}, one deviation by chance."
    )
    return figure
