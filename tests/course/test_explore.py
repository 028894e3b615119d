"""Explorers: the pure functions over their grids, and the widgets in front of them, moved by ``.value``."""

import copy
import itertools
import math
from collections import OrderedDict
from dataclasses import replace

import pytest
import torch
from torch import nn

import growlab as gl
from growlab import explore
from growlab.course.explore import cosine_map, firefly_choice, neuron_splitting, random_growth, shell
from growlab.course.figures.style import Figure
from growlab.course.figures.style import panels as empty_figure
from growlab.data.batches import COLUMNS
from growlab.decorrelation import decorrelate

NAMES = explore.__all__


@pytest.fixture(scope="module", params=NAMES)
def explorer(request):
    return getattr(explore, request.param)()


def values(knob):
    return [value for _, value in knob.options]


def digits():
    return next(iter(gl.load_data("digits").batches("train", 50)))


def critters():
    return gl.load_data("critters", n=100)


def grid(explorer):
    """Every value of every knob with the others at their start, and corners of the grid, both extremes included."""
    start = explorer.settings
    for name, knob in explorer.knobs.items():
        yield from (start | {name: value} for value in values(knob))
    ends = [dict.fromkeys((values(knob)[0], values(knob)[-1])) for knob in explorer.knobs.values()]
    corners = list(itertools.product(*ends))
    yield from (dict(zip(start, corner)) for corner in [*corners[:: -(-len(corners) // 8)], corners[-1]])


# ------------------------------------------------------------------------------------------- the pure functions


def test_every_setting_gives_a_figure_words_and_finite_numbers_or_an_error_in_words(explorer):
    for settings in grid(explorer):
        try:
            figure, numbers = explorer.show(**settings)
        except ValueError as error:
            assert "recorded for vgg5 only" in str(error) and settings["network"] == "vgg16", settings
            continue
        assert isinstance(figure, Figure) and len(figure.alt) > 80, settings
        assert not any(word in figure.alt for word in ("nan", "inf ")), (settings, figure.alt)
        plain = [value for value in numbers.values() if isinstance(value, int | float)]
        assert (plain and all(math.isfinite(value) for value in plain)) or numbers.get("empty"), (settings, numbers)


def test_a_setting_says_the_same_whenever_it_comes(explorer):
    start, rest = explorer.settings, list(grid(explorer))[3]
    once = explorer.show(**start)
    explorer.show(**rest)
    again = explorer.show(**start)
    assert once[0].alt == again[0].alt and str(once[1]) == str(again[1])


def test_the_words_are_not_the_same_for_every_setting(explorer):
    for name, knob in explorer.knobs.items():
        said = set()
        for value in (values(knob)[0], values(knob)[-1], *values(knob)[1:3]):
            try:
                said.add(explorer.show(**explorer.settings | {name: value})[0].alt)
            except ValueError as error:
                said.add(str(error))
        assert len(said) > 1, name


def test_axis_labels_and_titles_stay_inside_the_figure(explorer):
    figure, _ = explorer.show(**explorer.settings)
    figure.set_dpi(shell.DPI)
    renderer = figure.canvas.get_renderer() if hasattr(figure.canvas, "get_renderer") else None
    figure.draw_without_rendering()
    for axes in figure.axes:
        box = axes.get_tightbbox(renderer)
        assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= figure.bbox.width + 1 and box.y1 <= figure.bbox.height + 1, (
            axes.get_title()
        )


# ------------------------------------------------------------------------------------------------- the widgets


def test_every_knob_has_a_name_works_by_value_and_changes_picture_and_caption(explorer):
    for name, knob in explorer.knobs.items():
        assert knob.description and f"growlab-{name.replace('_', '-')}" in knob._dom_classes
        before = explorer.caption.value
        knob.value = next(value for value in values(knob) if value != knob.value)
        assert explorer.settings[name] == knob.value
        assert explorer.caption.value != before, name
        explorer.reset.click()
    assert explorer.picture.value[:4] == b"\x89PNG" and len(explorer.picture.value) < 120_000
    assert explorer.figure.alt and explorer.numbers


def test_reset_brings_back_the_start_with_one_drawing(explorer):
    start, said = dict(explorer.settings), explorer.caption.value
    drawn, draw = [], explorer.draw
    for knob in explorer.knobs.values():
        knob.value = values(knob)[-1] if knob.value != values(knob)[-1] else values(knob)[0]
    explorer.draw = lambda: (drawn.append(1), draw())
    explorer.reset.click()
    del explorer.draw
    assert explorer.settings == start and explorer.caption.value == said and len(drawn) == 1


def test_an_explorer_starts_where_it_is_told_to():
    explorer = explore.rate(rate=50, network="vgg5", method="firefly")
    assert explorer.settings["rate"] == 50 and "622" in explorer.caption.value
    explorer.knobs["rate"].value = 5
    explorer.reset.click()
    assert explorer.settings["rate"] == 50


@pytest.mark.parametrize("call, words", [
    (lambda: explore.rate(nope=1), "knob must be one of rate, events.*, got 'nope'"),
    (lambda: explore.rate(rate=33), "rate cannot start at 33: choose from 5, 10"),
    (lambda: explore.k(gl.vgg5(2)), "plan and data missing: pass model, plan, data together"),
    (lambda: explore.firefly(gl.vgg5(2)), "batch missing"), (lambda: explore.split(gl.vgg5(2)), "batch missing"),
    (lambda: explore.split(gl.vgg5(2), digits()), "an mlp with a hidden layer"),
    (lambda: explore.split(gl.mlp([64, 10]), digits()), "an mlp with a hidden layer"),
    (lambda: explore.split(nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.Linear(4, 10)), digits()),
     "but linear: take nn.Tanh"),
    (lambda: explore.looks({"a": gl.vgg5(2)}), "data missing"),
    (lambda: explore.looks(data=critters()), "models missing"),
    (lambda: explore.looks(gl.vgg5(2), critters()), "networks by name, at least one, got Sequential"),
    (lambda: explore.looks({}, critters()), "networks by name"),
    (lambda: explore.looks({"a": gl.vgg5(2, channels=1)}, gl.load_data("digits")), "these pictures have none"),
    (lambda: explore.looks({"a": gl.mlp([3072, 4, 10])}, critters()), "there is no nn.ReLU with maps"),
])  # fmt: skip
def test_an_explorer_says_what_it_cannot_work_with(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_looks_has_as_many_pictures_as_there_are_and_the_layers_that_all_networks_have():
    data, (small, deep) = critters(), (gl.vgg5(2), gl.vgg16(2))
    five = replace(data.test, **{name: getattr(data.test, name)[:5] for name in ("images", *COLUMNS)})
    few = replace(data, splits={"test": five})
    explorer = explore.looks({"vgg5": small, "vgg16": deep}, few)
    assert values(explorer.knobs["picture"]) == list(range(5)) and values(explorer.knobs["layer"]) == ["2"]
    explorer.knobs["picture"].value, explorer.knobs["model"].value = 4, "vgg16"
    assert explorer.figure.alt.startswith("Picture 4, gradcam at layer 2 of vgg16")


def test_looks_leaves_no_hook_where_a_network_fails():
    model = gl.vgg5(4, channels=1)
    with pytest.raises(RuntimeError):
        explore.looks({"a": model}, critters())
    assert not any(module._forward_hooks for module in model.modules())


def test_errors_are_said_in_the_widget_and_the_next_setting_works():
    explorer = explore.rate()
    picture = explorer.picture.value
    explorer.knobs["method"].value = "splitting"
    assert "recorded for vgg5 only" in explorer.caption.value and explorer.picture.value == picture
    with pytest.raises(ValueError, match="vgg5 only"):
        explorer.figure
    explorer.knobs["network"].value = "vgg5"
    assert "cannot be shown" not in explorer.caption.value and explorer.numbers["first"] == 622


def test_an_unexpected_error_says_what_it_is_and_markup_in_it_is_harmless():
    def show(x):
        if x:
            raise KeyError("<b>x</b>")
        return empty_figure(alt="fine")[0], {}

    explorer = shell.Explorer(show, {"x": shell.slider("x", (0, 1), 0)})
    explorer.knobs["x"].value = 1
    assert "KeyError" in explorer.caption.value and "<b>" not in explorer.caption.value


def test_sliders_show_their_unit_and_heavy_ones_wait_until_they_are_let_go():
    knob = shell.slider("rate", (5, 10), 5, " %", at_once=False)
    assert [label for label, _ in knob.options] == ["5 %", "10 %"] and not knob.continuous_update
    assert not explore.firefly().knobs["step_size"].continuous_update


# ------------------------------------------------------------------- what they show is what the package computes


def test_the_k_steps_are_those_of_decorrelate():
    model, plan, data = cosine_map.grown_by_copies()
    look = cosine_map.Look(model, plan, data)
    for penalty, dose, k in (("absolute", 1.0, 7), ("square", 2.0, 30), ("random", 0.5, 3), ("logdet", 4.0, 12)):
        net = copy.deepcopy(model)
        decorrelate(net, k, penalty=penalty, movement=k * dose / 100, change_strength=0.5)
        for unit in gl.units(net):
            torch.testing.assert_close(
                look.path(penalty, dose, 1.0, 0.5)[unit.name][k], unit.weight, rtol=1e-4, atol=1e-6
            )
    before = gl.mean_cosine(gl.units(model)[1].weight).item()
    _, numbers = look(0, 1.0, 1.0, 1.0, "absolute", gl.units(model)[1].name)
    assert numbers["mean_before"] == numbers["mean_cosine"] == pytest.approx(before) and numbers["drift"] < 1e-9


def test_the_model_of_an_explorer_is_left_as_it_is():
    model, plan, data = cosine_map.grown_by_copies()
    before = [p.clone() for p in model.parameters()]
    explore.k().knobs["k"].value = 30
    digits, batch = firefly_choice.half_trained()
    weights = [p.clone() for p in digits.parameters()]
    explore.firefly(digits, batch).knobs["budget"].value = 100
    assert all(map(torch.equal, before, model.parameters())) and all(map(torch.equal, weights, digits.parameters()))


@pytest.mark.parametrize("budget", ["neurons", "parameters", "flops"])
def test_the_sizes_of_a_simulated_growth_are_those_of_the_built_network(budget):
    for network, build in (("vgg5", gl.vgg5), ("vgg16", gl.vgg16)):
        for _, widths, parameters, _ in random_growth.simulate(0.35, 3, "early", "random", budget, network):
            assert gl.parameter_count(build(widths)) == parameters


def test_the_paper_s_rate_ends_near_the_paper_s_size():
    _, numbers = random_growth.show(35, 4, "whole run", "shares", "neurons", "vgg16")
    assert numbers["first"] == 28_666 and 300_000 < numbers["parameters"] < 335_000
    assert 0 < numbers["cost_of_large"] < 1 < numbers["cost_of_never"]


def test_the_loss_after_a_split_is_that_of_the_grown_network():
    model, batch = neuron_splitting.trained()
    look = neuron_splitting.Look(model, batch)
    _, numbers = look(3, 0.1, "best")
    edit = next(edit for edit in look.unit.edits if edit.tensor == "1.weight")
    delta = 0.1 * look.direction(3, "best")
    plan = gl.GrowthPlan(
        "mine", {u.name: u.neurons for u in gl.units(model)}, (gl.Candidate("1", 3, values={edit: delta}),)
    )
    assert gl.preview(model, plan, batch)[1] == pytest.approx(numbers["actual"], abs=1e-9)
    assert look(3, 0.02, "best")[1]["actual"] == pytest.approx(look(3, 0.02, "best")[1]["predicted"], rel=0.2)


@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU])
def test_a_split_of_an_mlp_in_float32_with_layers_by_name(activation):
    torch.manual_seed(0)
    layers = gl.mlp([64, 6, 6, 10], activation)
    named = nn.Sequential(OrderedDict((f"part{name}", layer) for name, layer in layers.named_children()))
    numbers = [explore.split(model, digits()).numbers for model in (layers, named)]
    assert numbers[0] == numbers[1] and math.isfinite(numbers[0]["actual"]) and layers[1].weight.dtype == torch.float32


@pytest.mark.parametrize("neurons, predicted, actual, words", [
    (0, 0.0, 0.0, "no neuron gets in"), (1, 0.0, -0.1, "no gain was promised"), (1, 0.1, 0.1, "no gain was promised"),
    (1, -0.1, 0.1, "turns into harm"), (1, -0.1, 0.0, ": 0% of the promise"),
    (2, -0.2, -0.1, ": 50% of the promise is kept"),
])  # fmt: skip
def test_firefly_says_what_became_of_the_promise(neurons, predicted, actual, words):
    told = firefly_choice.told(
        {"won": {"1": [neurons, 0]}, "neurons": neurons, "predicted": predicted, "actual": actual}, "8 fresh ones"
    )
    assert words in told


def test_a_budget_of_less_than_a_neuron_is_told():
    torch.manual_seed(0)
    assert "no neuron gets in" in explore.firefly(gl.mlp([64, 2, 2, 10], nn.Tanh), digits(), budget=10).figure.alt


def test_fireflys_numbers_are_those_of_propose_and_preview():
    model, batch = firefly_choice.half_trained()
    _, numbers = firefly_choice.Look(model, batch)(8, 3, 0.5, 50)
    plan = gl.propose("firefly", model, [batch], fresh=8, step_size=0.03, steps=firefly_choice.STEPS, scoring=1).within(
        rate=0.5
    )
    assert (numbers["predicted"], numbers["actual"]) == pytest.approx(gl.preview(model, plan, batch))
    assert numbers["splits"] + numbers["fresh"] == plan.neurons
