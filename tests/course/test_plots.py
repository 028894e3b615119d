"""Figures: what they say in words, what they draw, what a notebook shows; matplotlib's settings are left alone."""

import inspect
import io

import matplotlib
import matplotlib.figure
import matplotlib.style
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

import growlab as gl
from growlab import critters, plots
from growlab.training import History


@pytest.fixture(scope="module")
def split():
    return gl.load_data("critters", n=300).train


def history(accuracies, widths, grew=()):
    rows = [
        {"epoch": epoch + 1, "val_accuracy": accuracy, "parameters": 10 * width, "widths": {"0": width, "4": 1}}
        for epoch, (accuracy, width) in enumerate(zip(accuracies, widths))
    ]
    return History({}, {}, rows, [{"epoch": epoch, "neurons": neurons} for epoch, neurons in grew])


@pytest.fixture(scope="module")
def runs():
    return {
        "grown": history([0.1, 0.5, 0.75], [4, 4, 9], [(2, 5)]),
        "never grown": history([0.1, 0.2, 0.25], [4, 4, 4]),
    }


@pytest.fixture(scope="module")
def figures(split, runs):
    return {
        "contact_sheet": plots.contact_sheet(split, rows=2),
        "forms": plots.forms(critters.FORMS, critters.PARTS, critters.CLASSES),
        "anatomy": plots.anatomy(split, 0, critters.PARTS),
        "votes": plots.votes(critters.draw(8, 1), critters.CLASSES, [0.1, 0.6, 0.6]),
        "growth": plots.growth(runs),
        "compare": plots.compare({"a": [0.1, 0.2], "b": [0.5, 0.75]}),
        "curves": plots.curves(
            {"a": ([1, 2], [[0, 1], [2, 3]]), "b": ([1, 2], [5, 6])},
            "epoch",
            "loss",
            alt="Two lines that rise from the first epoch to the second.",
            yscale="log",
        ),
        "cosine_maps": plots.cosine_maps({"a": np.eye(4), "b": np.ones((4, 4))}, band=0.1),
        "workflow": plots.workflow(np.eye(6, 20), [np.eye(6), np.eye(6)], [1, None]),
        "distributions": plots.distributions(
            {"now": {"a": np.ones((2, 4))}, "later": {"a": np.ones((2, 4))}}, 0.1, np.linspace(-1, 1, 5)
        ),
        "heats": plots.heats(
            split.images[:7],
            ["a"] * 7,
            {"base": np.ones((7, 32, 32))},
            split.masks[:7],
            alt="Seven pictures, and below each where its heat is.",
        ),
        "differences": plots.differences({"a": ([-1, 2, 1], -0.5, 1.5), "b": ([0, 1, 1], 0.2, 1)}, "points"),
        "scatter": plots.scatter(
            {"parameters": {name: ([100, 120], [50, 52]) for name in "abcdefg"}, "seconds": {"a": ([1, 2], [50, 52])}},
            "test accuracy (%)",
        ),
        "difference": plots.difference(np.zeros((2, 3, 4, 4)), np.eye(4) * np.arange(6).reshape(2, 3, 1, 1)),
    }


def test_every_figure_is_tested(figures):
    drawing = {
        name for name, function in inspect.getmembers(plots, inspect.isfunction) if hasattr(function, "__wrapped__")
    }
    assert drawing == set(figures) | {"panels"}


def test_every_figure_is_a_matplotlib_figure_that_says_in_words_what_it_shows(figures):
    for name, figure in figures.items():
        assert isinstance(figure, matplotlib.figure.Figure), name
        assert 40 <= len(figure.alt) <= 700 and figure.alt.endswith("."), name
        assert not set(figure.alt) & set("*_<>|`"), "it is shown as Markdown, too"


def test_every_figure_fits_a_page_and_stays_small(figures):
    for name, figure in figures.items():
        picture = Image.open(io.BytesIO(png := figure.png()))
        assert picture.format == "PNG" and 900 <= picture.width <= 1600, name
        assert len(png) < 150_000, name


def test_nothing_is_cut_off_and_no_text_is_smaller_than_ten_points(figures):
    for name, figure in figures.items():
        FigureCanvasAgg(figure).draw()
        box, size = figure.get_tightbbox(), figure.get_size_inches()
        assert (box.min > -0.02).all() and (box.max < size + 0.02).all(), (name, box)
        assert all(text.get_fontsize() >= 10 for text in figure.findobj(matplotlib.text.Text)), name


def test_axes_with_numbers_are_labelled(figures):
    for name in ("growth", "compare", "votes"):
        shown = [axes for axes in figures[name].axes if axes.axison]
        assert shown and all(axes.get_ylabel() or axes.get_xlabel() for axes in shown), name


def test_the_same_data_give_the_same_bytes(runs):
    assert plots.growth(runs).png() == plots.growth(runs).png()


def test_settings_of_matplotlib_stay_the_reader_s(figures):
    assert matplotlib.rcParams["font.size"] == matplotlib.rcParamsDefault["font.size"]
    assert matplotlib.rcParams["axes.grid"] == matplotlib.rcParamsDefault["axes.grid"]


def test_lines_differ_in_colour_style_and_marker():
    for values in zip(*plots.LINES):
        assert len(set(values)) == len(plots.LINES)


def test_a_notebook_shows_the_png_with_its_text_and_the_text_below(runs, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda *what: shown.extend(what))
    figure = plots.growth(runs)
    figure._ipython_display_()
    picture, words = shown
    _, about = picture._repr_mimebundle_()
    assert about["image/png"] == {"alt": figure.alt, "width": 900}
    assert figure.alt in words.data


# ------------------------------------------------------------------------------------------------ what they draw


def test_a_contact_sheet_has_the_first_pictures_of_every_class():
    where = plots.first_of_each(torch.tensor([1, 0, 1, 0, 1]), 2, 2)
    assert where.tolist() == [[1, 3], [0, 2]]


def test_an_outline_runs_along_the_edges_of_the_mask():
    figure, axes = plots.panels()
    mask = np.zeros((6, 8), bool)
    mask[1:4, 2:7] = True
    plots.outline(axes, mask, "black")
    for lines in axes.collections:
        points = np.concatenate([path.vertices for path in lines.get_paths()])
        assert np.allclose(points.min(0), (1.5, 0.5), atol=0.1) and np.allclose(points.max(0), (6.5, 3.5), atol=0.1)


def test_a_mask_that_touches_the_border_is_outlined_too():
    figure, axes = plots.panels()
    mask = np.zeros((6, 8), bool)
    mask[:3] = True
    plots.outline(axes, mask, "black")
    assert all(len(lines.get_paths()) for lines in axes.collections)


def test_parts_say_whose_form_they_show(split):
    said = plots.says(split, 3, critters.PARTS)
    assert list(said) == list(critters.PARTS)
    assert list(said.values()) == [critters.CLASSES[form] for form in split.forms[3]]
    figure = plots.anatomy(split, 3, critters.PARTS)
    assert f"of class {split.classes[split.labels[3]]}" in figure.alt
    assert all(f"the {part} shows {form}" in figure.alt.replace("The ", "the ") for part, form in said.items())


def test_grey_pictures_can_be_shown():
    figure, axes = plots.panels()
    plots.show_picture(axes, torch.zeros(1, 8, 8, dtype=torch.uint8))
    figure.png()


def test_neurons_are_counted_over_all_units(runs):
    assert plots.neurons(runs["grown"]) == [5, 5, 10]


def test_growth_has_three_panels_on_one_axis_of_epochs_with_a_step_where_it_grew(runs):
    figure = plots.growth(runs)
    accuracy, parameters, neurons = figure.axes
    assert [axes.get_ylabel() for axes in figure.axes] == ["validation accuracy", "parameters", "neurons"]
    assert len({axes.get_xlim() for axes in figure.axes}) == 1
    grown = next(line for line in neurons.lines if line.get_label() == "grown")
    x, y = grown.get_xdata(), grown.get_ydata()
    assert grown.get_drawstyle() == "steps-pre"  # the value of epoch 3 holds from 2 to 3
    assert list(zip(x, y)) == [(0, 5), (1, 5), (2, 5), (3, 10)]
    assert [note.get_text() for note in accuracy.texts] == ["+5 neurons"]
    assert "grown: 75% with 90 parameters" in figure.alt and "never grown: 25% with 40 parameters" in figure.alt


def test_compare_has_a_marker_for_each_seed_and_a_line_at_the_mean():
    figure = plots.compare({"a": [0.1, 0.2], "b": [0.5, 0.75]})
    (axes,) = figure.axes
    assert [list(line.get_xdata()) for line in axes.lines] == [
        [0.1, 0.2],
        [pytest.approx(0.15)] * 2,
        [0.5, 0.75],
        [0.625] * 2,
    ]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]


def test_curves_show_every_seed_and_their_mean(figures):
    (axes,) = figures["curves"].axes
    assert [list(line.get_ydata()) for line in axes.lines] == [[0, 1], [2, 3], [1, 2], [5, 6]]
    assert axes.get_xlabel() == "epoch" and axes.get_yscale() == "log"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b"]


def test_difference_finds_the_slice_that_differs_most(figures):
    expected, got, apart, _ = figures["difference"].axes
    assert apart.collections[0].get_array().max() == 5 and "5" in figures["difference"].alt
    numbers = [float(text.get_text()) for text in apart.texts]
    assert numbers == (5 * np.eye(4)).ravel().tolist() == [float(text.get_text()) for text in got.texts]
    assert [text.get_text() for text in expected.texts] == ["0"] * 16


def test_difference_of_large_maps_has_no_numbers():
    figure = plots.difference(np.zeros((5, 5)), np.eye(5))
    assert not any(axes.texts for axes in figure.axes) and "difference is 1." in figure.alt


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_difference_finds_what_is_not_finite_and_says_so(wrong):
    expected = np.ones((3, 2, 2))
    got = expected.copy()
    got[0, 0, 0], got[1, 1, 1] = 9, wrong
    figure = plots.difference(expected, got)
    assert "difference is 0. In 1 of 4 cells" in figure.alt
    assert not np.isfinite(figure.axes[1].collections[0].get_array().filled(np.nan)).all()
    figure.png()


def test_a_reader_s_dark_style_changes_nothing():
    curves = {"a": ([1, 2], [0.1, 0.2])}
    expected = plots.curves(curves, "x", "y", "title").png()
    with matplotlib.style.context("dark_background"):
        assert plots.curves(curves, "x", "y", "title").png() == expected


def test_more_names_than_styles_are_all_drawn():
    names = [f"arm {i}" for i in range(8)]
    assert len(plots.curves({name: ([0, 1], [i, i]) for i, name in enumerate(names)}, "x", "y").axes[0].lines) == 8
    assert len(plots.compare({name: [0.5] for name in names}).axes[0].lines) == 16
