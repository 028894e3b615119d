"""The shell that all explorers share: knobs, Reset, a caption, an error in words, and panels that are drawn fast."""

import io
import re
from collections.abc import Callable

from ipywidgets import HTML, Box, Button, HBox, Image, Layout, SelectionSlider, VBox
from matplotlib.ticker import MaxNLocator

from growlab.checks import one_of
from growlab.course.figures.style import Figure
from growlab.text import PLAIN, label, markup

DPI = 90  # of the picture in a widget: small enough to be drawn and sent while a slider moves


class Explorer(VBox):
    """Knobs, what their setting shows in words, and the picture. ``knobs["k"].value = 20`` turns one.

    ``figure`` and ``numbers`` are those of the present setting; if it cannot be shown they raise what the widget says.
    """

    def __init__(self, show: Callable, knobs: dict, **start):
        super().__init__()
        self.show, self.knobs = show, knobs
        for name, value in start.items():
            one_of("knob", name, knobs)
            if value not in (allowed := [option for _, option in knobs[name].options]):
                raise ValueError(f"{name} cannot start at {value!r}: choose from {', '.join(map(str, allowed))}")
            knobs[name].value = value
        self._start, self._shown, self._still = self.settings, None, False
        tip, layout = "all knobs as they were at the start", Layout(margin="2px 2px 2px 14px")
        self.reset = Button(description="Reset", tooltip=tip, layout=layout)
        self.reset.on_click(lambda _: self._reset())
        self.reset.add_class("growlab-reset")
        self.caption, self.picture = HTML(), Image(layout=Layout(max_width="100%", min_width="560px"))
        longest = max(len(knob.description) for knob in knobs.values())
        for name, knob in knobs.items():
            knob.style.description_width = f"{8 + 7 * longest}px"  # the rest is for the slider and what it is at
            knob.add_class(f"growlab-{name.replace('_', '-')}")  # for tests in a browser
            knob.observe(lambda _: self._still or self.draw(), "value")
        above = HBox([*knobs.values(), self.reset], layout=Layout(flex_flow="row wrap", align_items="center"))
        self.children = above, self.caption, Box([self.picture], layout=Layout(overflow="auto"))  # narrow pages scroll
        self.add_class("growlab-explorer")
        self.draw()

    @property
    def settings(self) -> dict:
        return {name: knob.value for name, knob in self.knobs.items()}

    @property
    def figure(self) -> Figure:
        return self._result()[0]

    @property
    def numbers(self) -> dict:
        return self._result()[1]

    def draw(self):
        """Show the present setting. What goes wrong is said in the widget, and the last picture stays."""
        try:
            self._shown = figure, _ = self.show(**self.settings)
            figure.alt = re.sub(r"(?<!\w)-(?=\d)", "−", figure.alt)
            self.picture.value = png(figure)
            self.say(figure.alt)
        except Exception as error:  # which a widget would lose
            self._shown = error
            words = str(error) if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: {error}"
            self.say(f"This setting cannot be shown: {words}. The picture is that of the setting before.", "#C0392B")

    def say(self, words, colour="inherit"):
        how = f'class="{PLAIN}" role="status" aria-live="polite" style="line-height:1.4;color:{colour}"'
        self.caption.value = f"<div {how}>{markup(words)}</div>"

    def _result(self):
        if isinstance(self._shown, Exception):
            raise self._shown
        return self._shown

    def _reset(self):
        self._still = True  # one picture, not one for each knob
        for name, value in self._start.items():
            self.knobs[name].value = value
        self._still = False
        self.draw()


def given_or(example: Callable, **given) -> tuple:
    """What the reader gave an explorer to work with, or if that is nothing, what ``example()`` returns.

    Raises ``ValueError`` if only a part was given.
    """
    missing = [name for name, value in given.items() if value is None]
    if len(missing) == len(given):
        return example()
    if missing:
        hint = f"pass {', '.join(given)} together, or none of them for a small example"
        raise ValueError(f"{' and '.join(missing)} missing: {hint}")
    return tuple(given.values())


def slider(label, values, start, unit="", at_once=True):
    """A knob with these values in order, shown with their unit; if not ``at_once`` it acts when it is let go."""
    return choice(label, {f"{value:g}{unit}": value for value in values}, start, at_once)


def choice(label, options: dict, start=None, at_once=True):
    """A knob with names, {what is shown: value}. A slider as well: in JupyterLab menus lose their arrow keys."""
    start = next(iter(options.values())) if start is None else start
    look = {"description": label, "tooltip": f"{label}: arrow keys", "layout": Layout(width="370px", max_width="100%")}
    return SelectionSlider(options=list(options.items()), value=start, continuous_update=at_once, **look)


def png(figure) -> bytes:
    """The picture for a widget, coarser than in a file and faster."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=DPI, pil_kwargs={"compress_level": 1})
    return picture.getvalue()


def panels(widths, size, left=0.06, right=0.99, gap=0.24, bottom=0.18, top=0.9):
    """(figure, axes) in a row. The room for titles and labels is given: to measure it would take as long as to draw.

    matplotlib's global settings are left alone, since the growth lab draws in a thread.
    """
    figure = Figure(figsize=size, facecolor="white", layout="none")
    axes = figure.subplots(1, len(widths), width_ratios=widths, squeeze=False)[0]
    figure.subplots_adjust(left, bottom, right, top, wspace=gap)
    return figure, axes


def frame(axes, title, x, across, up, xticks=None, yticks=None, names=None):
    """Title (of what is shown upwards, with its unit), label, limits, and two to four ticks: each takes its time."""
    axes.set_axisbelow(True)
    axes.grid(color="#DDDDDD", lw=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_label_coords(0.5, -0.36 / (axes.get_position().height * axes.figure.get_figheight()))  # inches
    axes.set_title(label(title), fontsize=11, weight="bold", y=1.0)
    axes.set_xlabel(label(x), fontsize=11)
    for axis, (low, high), ticks in ((axes.xaxis, across, xticks), (axes.yaxis, up, yticks)):
        if ticks is None:
            found = MaxNLocator(3, integer=high - low >= 4).tick_values(low, high)
            ticks = [tick for tick in found if low <= tick <= high]
        axis.set_ticks(ticks, names if axis is axes.xaxis else None)
    axes.set(xlim=across, ylim=up)


def legend(axes, **where):
    axes.legend(frameon=False, fontsize=10, **where)
