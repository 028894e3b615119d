"""The figure of a check: what was expected, what was got, and where the two differ."""

import numpy as np

from growlab.course.figures.style import panels, styled

WRITTEN = 4  # columns at most, for numbers in the cells: more would run into each other


@styled
def difference(expected, got):
    """Two tensors (…, h, w) of one shape and their difference, with numbers in the cells if there are few of them.

    Of tensors with more dimensions it shows the slice where they differ most. NaN is grey; where only one of the two is
    NaN, nothing differs more.
    """
    import seaborn as sns  # with the first wrong answer, not with the course

    expected, got = (np.asarray(tensor, float) for tensor in (expected, got))
    one_nan = np.isnan(expected) != np.isnan(got)
    apart = np.where(one_nan, np.inf, np.nan_to_num(np.abs(got - expected), posinf=np.inf))
    while expected.ndim > 2:
        most = apart.reshape(len(apart), -1).max(1).argmax()
        expected, got, apart = expected[most], got[most], apart[most]
    rows, columns = expected.shape
    figure, axes = panels(1, 3, size=(9, np.clip(0.45 * rows + 0.6, 2.4, 3.6)))
    limit = max(np.max(np.abs(values[np.isfinite(values)]), initial=1e-12) for values in (expected, got))
    look = {"cmap": "RdBu", "vmin": -limit, "vmax": limit, "cbar": False, "xticklabels": False, "yticklabels": False}
    written = columns <= WRITTEN and rows <= 2 * WRITTEN
    for cell, values, title in zip(axes, (expected, got, got - expected), ("expected", "got", "got − expected")):
        sns.heatmap(values, ax=cell, annot=written, fmt=".2g", **look)
        cell.set(title=title, facecolor="#BBBBBB")
    figure.colorbar(axes[0].collections[0], ax=axes)
    largest = np.max(apart[np.isfinite(apart)], initial=0)
    figure.alt = f"Expected, got and their difference as maps; the largest difference is {largest:.2g}."
    if count := np.sum(np.isinf(apart)):
        figure.alt += f" In {count} of {apart.size} cells only one of the two is a finite number; NaN is grey."
    return figure
