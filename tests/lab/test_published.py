"""Random growth as a public program does it: what it builds, and the sizes that it ends at."""

from collections import Counter

import pytest
import torch

import growlab as gl
from growlab.lab.published import layer_budgets, published_random
from growlab.lab.run import train_run
from growlab.models import for_pictures
from growlab.seeds import random_stream

PAPER = 324_741  # parameters after four growths, the mean of 40,000 draws; the paper has 0.325 M


def vgg16_parameters(widths):
    """Of VGG16 without biases of convolutions, on colours, with ten classes, by hand."""
    inputs = [3, *widths]
    return sum(9 * a * b + 2 * b for a, b in zip(inputs, widths)) + 10 * widths[-1] + 10


def test_parameters_by_hand_are_those_of_the_model():
    assert vgg16_parameters([16] * 13) == gl.parameter_count(gl.vgg16(16)) == 28_666
    widths = [16, 20, 31, 18, 19, 16, 16, 40, 17, 21, 16, 18, 30]
    assert vgg16_parameters(widths) == gl.parameter_count(gl.vgg16(widths))


def test_the_mean_size_after_four_growths_is_the_paper_s():
    """1,000 draws, within three standard errors; one network alone seldom is (about one draw of fifty)."""
    generator, sizes = random_stream(0, "sizes"), []
    for _ in range(1000):
        widths = [16] * 13
        for _ in range(4):
            new = layer_budgets(int(0.35 * sum(widths)), 13, generator)
            widths = [width + more for width, more in zip(widths, reversed(new))]
        sizes.append(vgg16_parameters(widths))
    sizes = torch.tensor(sizes, dtype=torch.float64)
    assert abs(sizes.mean() - PAPER) < 3 * sizes.std() / 1000**0.5
    assert sizes.std() == pytest.approx(23_829, rel=0.1)  # a standard deviation of 1,000 draws is good to 2 %
    assert 0.005 < ((sizes > 324_500) & (sizes < 325_500)).double().mean() < 0.03


def test_budgets_are_differences_of_cut_points():
    for seed in range(200):
        new = layer_budgets(72, 13, random_stream(seed, "budgets"))
        cuts = torch.tensor(new) - torch.tensor([0, 0] + [1] * 11)
        assert len(new) == 13 and new[0] >= 0 and all(difference >= 1 for difference in cuts[1:])
        assert cuts.sum() < 72  # the last cut


def test_the_plan_has_these_budgets_from_the_last_layer_on():
    model = gl.vgg16(16)
    plan = published_random(model, seed=(0, "proposal", 50))
    counts = Counter(candidate.unit for candidate in plan.candidates)
    new = layer_budgets(72, 13, random_stream((0, "proposal", 50), "published random"))
    assert [counts[unit.name] for unit in reversed(gl.units(model))] == new
    grown = gl.propose(published_random, model, seed=3).within(1.0)
    assert gl.parameter_count(gl.vgg16(list(grown.widths_after.values()))) == grown.parameters


@pytest.mark.parametrize("model", ["vgg5", "mlp"])
def test_a_neuron_that_is_drawn_m_times_counts_one_half_more_each_time_but_the_first(model):
    """Seen through what reads it: the sum of the outgoing weights of its family, and the rest stays."""
    torch.manual_seed(1)
    net = for_pictures(model, 6, 10, (3, 16, 16)).double().eval()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    unit = gl.units(net)[-1]  # the last: its consumer's rows are classes, which do not grow
    plan = published_random(net, seed=8, rate=1.0, noise=0.0)
    (share,) = [edit for edit in unit.edits if edit.kind == "share"]
    new = [c for c in plan.candidates if c.unit == unit.name]
    first = {c.parent for c in new if c.parent is not None}
    fresh = [c for c in new if c.parent is None]
    assert fresh and first  # some neuron was drawn twice
    gl.apply(net, plan)
    weight, old = net.state_dict()[share.tensor], before[share.tensor]
    assert torch.equal(weight[:, : unit.neurons], torch.stack([old[:, i] / (1 + (i in first)) for i in range(6)], 1))
    for column, candidate in enumerate(new, unit.neurons):
        if candidate.parent is not None:
            assert torch.equal(weight[:, column], old[:, candidate.parent] / 2)
        else:  # half of one that was copied before
            halves = [(weight[:, column] - old[:, i] / 2).abs().max() for i in first]
            assert min(halves) == 0


def test_a_copy_is_moved_apart_by_the_noise_and_a_further_one_from_its_parent():
    torch.manual_seed(1)
    net = gl.vgg5(6)
    filters = {unit.name: unit.weight.clone() for unit in gl.units(net)}
    plan = published_random(net, seed=8, rate=1.0, noise=0.01)
    for candidate in plan.candidates:
        unit = next(unit for unit in gl.units(net) if unit.name == candidate.unit)
        value = candidate.values[unit.filters].flatten()
        if candidate.parent is None:
            distance = (filters[unit.name] - value).norm(dim=1).min()
        else:
            distance = 2 * value.norm()  # the child moves by it, the parent the other way
        rows = value.numel() / 3
        assert 0 < distance < 2 * 0.01 * rows**0.5  # two noises whose rows are 0.01 long
    assert {"split", "fresh"} == {candidate.kind for candidate in plan.candidates}


def test_it_trains_with_the_settings_around_it():
    run = next(run for run in gl.grid("published", 1, data="critters", limit=200, epochs=3, at=(1, 2)))
    assert (run.then, run.nesterov, run.schedule) == ("growlab.lab.treatments:reset_optimizer", True, "restarts")
    model, history = train_run(run, gl.load_data("critters", limit=200, n=300))
    assert [event["method"] for event in history.growths] == ["published random"] * 2
    assert gl.parameter_count(model) == history.growths[-1]["parameters"] > history.epochs[0]["parameters"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 0}, "growth rate must be in .0, 1., got 0"),
        ({"noise": -1}, "noise must be in .0, inf., got -1"),
        ({"seed": 1.5}, "seed must be a whole number"),
    ],
)
def test_bad_values_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        published_random(gl.vgg5(4), **options)
