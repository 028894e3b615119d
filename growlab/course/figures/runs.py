"""Figures of training runs: curves, comparisons of arms, differences seed by seed. Notebooks 00, 02, 05."""

from itertools import cycle

import numpy as np
from matplotlib.ticker import MaxNLocator, PercentFormatter, StrMethodFormatter

from growlab.course.figures.style import BLACK, LINES, panels, styled
from growlab.text import label


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
        axes[0].plot(table["epoch"], table[metric], color=color, ls=style, marker=marker, ms=5, label=label(name))
        for cell, sizes in zip(axes[1:], (table["parameters"], count)):
            cell.step([0, *table["epoch"]], [sizes[0], *sizes], where="pre", color=color, ls=style, label=label(name))
        widths = list(table["widths"].iloc[-1].values())
        if len(widths) <= 6:  # more would run across the curves
            below = {"xytext": (0, -5), "textcoords": "offset points", "ha": "right", "va": "top", "color": color}
            axes[2].annotate(f"layers of {', '.join(map(str, widths))}", (len(table), count[-1]), **below)
        for event in history.growths:
            for cell in axes:
                cell.axvline(event["epoch"], color=color, ls=":", lw=1.5, zorder=0)
            at_top = {"xycoords": ("data", "axes fraction"), "xytext": (4, -4), "textcoords": "offset points"}
            axes[0].annotate(f"+{event['neurons']} neurons", (event["epoch"], 1), va="top", color=color, **at_top)
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
    axes.set(yticks=range(len(results)), yticklabels=[*map(label, results)], ylim=(len(results) - 0.5, -0.5))
    axes.set(xlim=(0, 1), xlabel="test accuracy")
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    listed = (f"{name} {', '.join(f'{value:.1%}' for value in values)}" for name, values in results.items())
    figure.alt = f"Test accuracy, a marker for each seed and a line at the mean: {'; '.join(listed)}."
    return figure


@styled
def curves(series, x, y, title="", alt="", size=(9, 4), **scales):
    """Lines {name: (x values, y values)} with the labels ``x`` and ``y``.

    y values (seeds, points) give a thin line for each seed and a thick one for their mean. ``scales`` go to
    ``Axes.set`` (xscale="log", …).
    """
    figure, axes = panels(1, 1, size=size, alt=alt)
    for (name, (across, up)), (color, style, marker) in zip(series.items(), cycle(LINES)):
        up = np.atleast_2d(np.asarray(up, float))
        for seed in up if len(up) > 1 else ():
            axes.plot(across, seed, color=color, ls=style, lw=0.8, alpha=0.6)
        marker = marker if up.shape[1] <= 25 else ""
        axes.plot(across, up.mean(0), color=color, ls=style, marker=marker, ms=5, label=label(name))
    axes.set(xlabel=label(x), ylabel=label(y), title=label(title), **scales)
    axes.legend()
    return figure


@styled
def differences(found, unit, size=(9, 4), marks=None):
    """{name: (differences of the seeds, low, high)}: a marker for each seed, their mean and its interval.

    ``marks``: {name: index of its colour and marker}, 0 for the others.
    """
    figure, axes = panels(1, 1, size)
    axes.axvline(0, color=BLACK, lw=1)
    for row, (name, (values, low, high)) in enumerate(found.items()):
        color, _, marker = LINES[(marks or {}).get(name, 0)]
        axes.plot(values, [row + 0.18] * len(values), marker, color=color, ms=6, alpha=0.5, mew=0)
        axes.plot([low, high], [row - 0.18] * 2, color=color, lw=3, solid_capstyle="butt")
        axes.plot(np.mean(values), row - 0.18, "d", color=color, ms=9, mec="white")
    axes.set(yticks=range(len(found)), yticklabels=[*map(label, found)])
    axes.set(ylim=(len(found) - 0.5, -0.5), xlabel=label(unit))
    axes.grid(False, axis="y")
    listed = "; ".join(
        f"{name} {np.mean(values):+.2f}, from {low:+.2f} to {high:+.2f}" for name, (values, low, high) in found.items()
    )
    told = f"{unit}: a marker for each seed, and above them their mean with its 95 % interval. {listed}."
    figure.alt = told.replace(" -", " −")
    return figure


@styled
def scatter(across, y, size=(10, 4.2)):
    """{label of x: {name: (x values, y values)}}: a panel for each x, in it a small marker for each run.

    A large marker is at the means.
    """
    figure, axes = panels(1, len(across), size, sharey=True, squeeze=False)
    for cell, (x, arms) in zip(axes[0], across.items()):
        for index, (name, (xs, ys)) in enumerate(arms.items()):
            color, _, marker = LINES[index % len(LINES)]
            hollow = {"mfc": "white"} if index >= len(LINES) else {}  # so that ten names can be told apart
            cell.plot(xs, ys, marker, color=color, ms=5, alpha=0.35, **hollow)
            cell.plot(np.mean(xs), np.mean(ys), marker, color=color, ms=11, label=label(name), **hollow)
        cell.set(xlabel=label(x), xlim=(0, None))
        cell.xaxis.set_major_locator(MaxNLocator(4))
        cell.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes[0, 0].set_ylabel(label(y))
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    means = "; ".join(
        f"{name} {np.mean(ys):.1f} at {np.mean(xs):,.0f}" for name, (xs, ys) in next(iter(across.values())).items()
    )
    figure.alt = (
        f"{y} against {' and against '.join(across)}, a marker for each run and a large one at the means. "
        f"By {next(iter(across))}: {means}."
    )
    return figure
