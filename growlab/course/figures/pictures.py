"""Figures of pictures: critters, their parts and forms, heat maps over them. Notebooks 00 and 06."""

import numpy as np
from matplotlib import colormaps
from matplotlib.ticker import PercentFormatter

from growlab.course.figures.style import BLACK, BLUE, RED, Figure, outline, panels, show_picture, styled
from growlab.text import label


def first_of_each(labels, classes, count):
    """(classes, count): where in labels (N,) the first ``count`` pictures of every class are."""
    return np.stack([np.flatnonzero(np.asarray(labels) == one)[:count] for one in range(classes)])


@styled
def contact_sheet(split, rows=4):
    """Pictures of a Split, one column per class."""
    figure, axes = panels(rows, len(split.classes), size=(len(split.classes), rows * 1.02 + 0.3), squeeze=False)
    for column, places in enumerate(first_of_each(split.labels, len(split.classes), rows)):
        for row, index in enumerate(places):
            show_picture(axes[row, column], split.images[index], split.classes[column] if row == 0 else "")
    figure.alt = f"{rows} pictures of each class, side by side: {', '.join(split.classes)}."
    return figure


@styled
def forms(patterns, parts, classes):
    """What each part (a row) looks like for each class (a column); patterns: bool (parts, classes, h, w)."""
    figure, axes = panels(len(parts), len(classes), size=(len(classes) * 0.9, len(parts) * 0.8 + 0.2))
    for part, row in enumerate(axes):
        for column, cell in enumerate(row):
            cell.imshow(patterns[part, column], cmap="Greys", vmin=-0.1, vmax=1.4)
            cell.set(xticks=[], yticks=[], frame_on=False)
            cell.set_title(label(classes[column]) if part == 0 else "", loc="center")
        row[0].set_ylabel(label(parts[part]), rotation=0, ha="right", va="center")
    figure.alt = (
        f"A table of small patterns: a row for each part ({', '.join(parts)}), "
        f"a column for each of {len(classes)} classes."
    )
    return figure


def says(split, index, parts):
    """The class that each part of a critter shows, by name: {part: class}."""
    return {part: split.classes[form] for part, form in zip(parts, split.forms[index])}


@styled
def anatomy(split, index, parts):
    """One critter of a Split: the picture, the animal alone, and its parts with the class that each shows."""
    image, truth, shows = split.images[index], split.classes[split.labels[index]], says(split, index, parts)
    figure, axes = panels(1, 3, size=(10, 3.7))
    alone = np.where(split.objects[index], image, 255 - (255 - image) // 5)  # the background faded
    titles = (f"a critter, {truth}", "its object mask", "its part masks")
    for cell, pixels, title in zip(axes, (image, alone, image), titles):
        show_picture(cell, pixels, title)
    outline(axes[1], split.objects[index], BLACK)
    box = {"facecolor": "white", "alpha": 0.9, "edgecolor": "none", "pad": 1}
    words = {"ha": "center", "va": "center", "fontsize": 10, "weight": "bold", "bbox": box}
    for (part, form), mask in zip(shows.items(), split.masks[index]):
        color, style = (BLUE, "-") if form == truth else (RED, "--")
        y, x = np.argwhere(np.asarray(mask)).mean(0)
        outline(axes[2], mask, color, style)
        axes[2].text(x, y, label(f"{part}\n{form}"), color=color, **words)
    told = ", ".join(f"the {part} shows {form}" for part, form in shows.items())
    figure.alt = (
        f"A critter of class {truth}: the picture, the animal cut out, and the outlines of its parts. "
        f"{told[0].upper()}{told[1:]}."
    )
    return figure


@styled
def votes(drawn, classes, best):
    """Critters with the parts that tell the truth (solid) and the others (dashed).

    Beside them, the ``best`` possible accuracy from 0, 1, … parts.
    """
    figure = Figure(figsize=(10, 3.6))
    grid = figure.add_gridspec(2, 6)
    for index, truth in enumerate(drawn.labels[:8]):
        axes = figure.add_subplot(grid[divmod(index, 4)])
        show_picture(axes, drawn.images[index], classes[truth])
        for mask, form in zip(drawn.masks[index], drawn.forms[index]):
            outline(axes, mask, *((BLUE, "-") if form == truth else (RED, "--")), width=1.7)
    axes = figure.add_subplot(grid[:, 4:])
    bars = axes.bar(range(len(best)), best, color=BLUE)
    axes.bar_label(bars, [f"{value:.0%}" for value in best])
    axes.set(xlabel="parts that you look at", title="best possible accuracy", ylim=(0, 1.1), xticks=range(len(best)))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(False)
    true = (drawn.forms[:8] == drawn.labels[:8, None]).mean()
    figure.alt = (
        f"Eight critters; {true:.0%} of their parts show their own class, outlined solid, the others dashed. "
        f"Best possible accuracy from 0 to {len(best) - 1} parts: {', '.join(f'{value:.0%}' for value in best)}."
    )
    return figure


@styled
def heats(images, titles, maps, masks=None, most=5, alt=""):
    """Pictures (N, C, H, W), and below each its heat in {name: (N, H, W)}, over the map's mean, on one colour scale.

    With ``masks`` (N, parts, H, W) the parts are outlined. 1 is as much heat as a map has that is the same everywhere.
    """
    size = (1.3 * len(images) + 1, 1.35 * (1 + len(maps)) + 0.3)
    figure, axes = panels(1 + len(maps), len(images), size, alt, squeeze=False)
    steps = colormaps["magma"].resampled(20)  # easier to compare than a continuous scale, and a smaller file
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
        row[0].set_ylabel(label(name))
    figure.colorbar(shown, ax=axes, label="heat over its mean", shrink=0.8, extend="max")
    return figure
