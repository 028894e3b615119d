"""One style for all figures, and what they are made of: a Figure with an alt text, panels, pictures, outlines.

The colours are Okabe and Ito's, which colour-blind readers tell apart; line styles, markers and words say the same.
"""

import io

import matplotlib.figure
import numpy as np
from matplotlib import rc_context
from PIL import Image

from growlab.text import PLAIN, label, markup

BLUE, RED, BLACK, GREEN, PINK = "#0072B2", "#D55E00", "#000000", "#009E73", "#CC79A7"
LINES = (
    (BLUE, "-", "o"), (RED, "--", "s"), (BLACK, ":", "^"), (GREEN, "-.", "D"), (PINK, (0, (5, 1, 1, 1, 1, 1)), "v"),
)  # fmt: skip
STYLE = {
    "font.size": 12, "axes.titlesize": 12, "axes.titleweight": "bold", "axes.labelsize": 12, "lines.linewidth": 2.2,
    "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "grid.color": "#DDDDDD", "axes.axisbelow": True,
    "legend.frameon": False, "figure.facecolor": "white", "figure.constrained_layout.use": True,
    # in the dark styles these are others
    "text.color": "black", "axes.labelcolor": "black", "axes.edgecolor": "black", "axes.facecolor": "white",
    "xtick.color": "black", "ytick.color": "black",
}  # fmt: skip
styled = rc_context(STYLE)  # a decorator: matplotlib's settings are ours inside, and the reader's outside
PAGE, FILE = 100, 135  # pixels per inch: on the page, and in the file, for projectors and sharp screens


class Figure(matplotlib.figure.Figure):
    """A matplotlib Figure that a notebook shows as PNG, with its ``alt`` text below.

    JupyterLab and GitHub have no other place for the text.
    """

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
        display.display(picture, display.Markdown(f'<em class="{PLAIN}">{markup(self.alt)}</em>'))


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
    axes.set_title(label(title), loc="center")


def outline(axes, mask, color, style="-", width=2.5, fine=8):
    """Draw a line along the edge of a mask, bool (H, W)."""
    tall, wide = mask.shape
    pixels = np.kron(np.asarray(mask, float), np.ones((fine, fine)))  # so fine that the line keeps to the pixels' edges
    box = (-0.5, wide - 0.5, -0.5, tall - 0.5)
    for shade, line, points in (("white", "-", 1.8 * width), (color, style, width)):  # white is seen on every colour
        axes.contour(pixels, levels=[0.5], colors=[shade], linestyles=[line], linewidths=points, extent=box)
