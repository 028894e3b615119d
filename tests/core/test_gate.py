"""Similarity-gated growth: what gets in, what does not, and why."""

import copy

import pytest
import torch
from torch import nn

import growlab as gl
from growlab.plans import Candidate, GrowthPlan, apply
from growlab.structure.graph import named_tensors


def unit(model, name):
    return next(unit for unit in gl.units(model) if unit.name == name)


def edit(model, name):
    return next(e for e in unit(model, name).edits if e.tensor == f"{name}.weight" and e.kind == "copy")


def fresh(model, name, *filters, scores=None):
    """A plan of fresh neurons with these incoming weights, best first."""
    where, scores = edit(model, name), scores or range(len(filters), 0, -1)
    new = tuple(Candidate(name, None, float(score), {where: row}) for row, score in zip(filters, scores))
    return GrowthPlan("mine", {u.name: u.neurons for u in gl.units(model)}, new)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return gl.mlp([64, 6, 5, 3]).double()


def pictures(model, n=64):
    return [(torch.randn(n, 64, dtype=torch.float64), torch.zeros(n, dtype=torch.long)) for _ in range(2)]


def near(row, cosine):
    """A filter at this cosine to ``row``."""
    other = torch.randn_like(row)
    other -= other @ row / (row @ row) * row
    return cosine * row / row.norm() + (1 - cosine**2) ** 0.5 * other / other.norm()


def test_near_duplicates_are_refused_with_the_reason_and_others_get_in(model):
    row = model[1].weight[4].detach()
    plan = fresh(model, "1", near(row, 0.97), near(row, 0.85), -row, torch.randn(64, dtype=torch.float64))
    kept = plan.gate(model, 0.9)
    assert (
        kept.candidates == plan.candidates[1:]
    )  # an opposite filter is another one: under ReLU it sees other pictures
    [(candidate, reason)] = kept.refused
    assert candidate is plan.candidates[0] and reason == "cosine 0.970 with neuron 4: more than 0.900"
    assert kept.within(neurons=2).refused == kept.refused and plan.refused == ()


def test_accepted_candidates_count_for_the_next_and_the_best_come_first(model):
    row = torch.randn(64, dtype=torch.float64)
    plan = fresh(model, "1", near(row, 0.99), row, scores=[1, 2])
    kept = plan.gate(model, 0.9)
    assert kept.candidates == (plan.candidates[1],)
    assert kept.refused[0][1] == "cosine 0.990 with accepted candidate, neuron 6: more than 0.900"


@pytest.mark.parametrize("on", ["weights", "activations", "both"])
@pytest.mark.parametrize("soft", [False, True])
def test_net2net_copies_are_all_refused_below_one_and_kept_at_one(on, soft):
    model = gl.vgg5([4, 5, 6, 7])
    batches = [(torch.randn(8, 3, 16, 16), torch.zeros(8))]
    plan = gl.propose("net2net", model)
    assert plan.gate(model, 0.999, on=on, batches=batches, soft=soft).neurons == 0
    assert plan.gate(model, 1, on=on, batches=batches, soft=soft).neurons == plan.neurons
    assert len(plan.gate(model, 0.5, on=on, batches=batches, soft=soft).refused) == plan.neurons


def test_fresh_neurons_in_many_dimensions_get_in_and_in_few_they_do_not_all():
    torch.manual_seed(0)
    wide, narrow = gl.mlp([400, 20, 3]), gl.mlp([3, 20, 3])
    assert gl.propose("random", wide).gate(wide, 0.5).neurons == 20  # 0.5 is ten deviations (1/√400) away
    assert gl.propose("random", narrow).gate(narrow, 0.9).neurons < 15


def test_splits_are_compared_as_they_would_be_built(model):
    """The child moves one way and its parent the other; other splits of the same parent move it on."""
    plan = gl.propose("net2net", model, step=0.3)
    for limit in (0.3, 0.6, 0.8, 0.95):
        kept = plan.gate(model, limit)
        grown = copy.deepcopy(model)
        apply(grown, kept)
        accepted = {name: [r for r in kept.table().itertuples() if r.unit == name] for name in plan.widths}
        for name, rows in accepted.items():
            cosines = gl.cosine_map(unit(grown, name).weight).fill_diagonal_(-1)
            for row in rows:  # a child against its own parent
                assert cosines[row.parent, row.neuron] <= limit + 1e-9
    assert plan.gate(model, 0.95).neurons > plan.gate(model, 0.3).neurons


def test_repeated_splits_of_one_neuron_move_it_on(model):
    v = [0.02 * torch.randn(64, dtype=torch.float64) for _ in range(2)]
    where = edit(model, "1")
    new = tuple(Candidate("1", 0, score, {where: step}) for score, step in zip((2.0, 1.0), v))
    plan = GrowthPlan("mine", {u.name: u.neurons for u in gl.units(model)}, new)
    row = model[1].weight[0].detach()
    alone = torch.cosine_similarity(row + v[0], row - v[0], dim=0).item()
    assert f"cosine {alone:.3f} with neuron 0" in plan.gate(model, 0.5).refused[0][1]
    grown = copy.deepcopy(model)
    apply(grown, plan)
    built = gl.cosine_map(grown[1].weight.detach())
    parent, sister = built[7, 0].item(), built[7, 6].item()  # of the second child; the parent has moved twice by now
    assert parent < alone < sister
    kept = plan.gate(model, (alone + sister) / 2)
    assert kept.candidates == new[:1]
    assert kept.refused[0][1].startswith(f"cosine {sister:.3f} with accepted candidate, neuron 6")
    assert plan.gate(model, sister + 1e-9).candidates == new


def test_activations_see_two_filters_that_do_the_same(model):
    """The last 32 pixels are always dark: a filter may look there or not."""
    batches = [(images * (torch.arange(64) < 32), labels) for images, labels in pictures(model)]
    row = model[1].weight[2].detach().clone()
    row[32:] = 5 * torch.randn(32, dtype=torch.float64)
    plan = fresh(model, "1", row)
    assert plan.gate(model, 0.9).neurons == 1 and plan.gate(model, 0.9, on="both", batches=batches).neurons == 1
    [(_, reason)] = plan.gate(model, 0.9, on="activations", batches=batches).refused
    assert reason == "cosine of activations 1.000 with neuron 2: more than 0.900"


@pytest.mark.parametrize("make, side", [
    (lambda: nn.Sequential(
            nn.Conv2d(3, 5, 3, 2, 1), nn.ReLU(), nn.Conv2d(5, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 2)), 16),
    (lambda: nn.Sequential(nn.ConvTranspose2d(3, 5, 2, 2), nn.ReLU(), nn.Conv2d(5, 2, 1)), 8),
])  # fmt: skip
def test_cosines_of_activations_are_correlations_of_what_the_layers_put_out(make, side):
    torch.manual_seed(1)
    model = make().double()
    batches = [(torch.randn(6, 3, side, side, dtype=torch.float64) + 1, None) for _ in range(3)]
    plan = gl.propose("random", model)
    candidate = plan.candidates[0]
    assert candidate.unit == "0"
    grown = copy.deepcopy(model)
    apply(grown, GrowthPlan("one", plan.widths, (candidate,)))
    with torch.no_grad():
        responses = torch.cat([grown[0](images).movedim(1, 0).flatten(1) for images, _ in batches], 1)
    expected = torch.corrcoef(responses)[-1, :-1].max().item()
    alone = GrowthPlan("one", plan.widths, (candidate,))
    assert alone.gate(model, min(expected + 1e-9, 1), on="activations", batches=batches).neurons == 1
    assert alone.gate(model, max(expected - 1e-9, 0), on="activations", batches=batches).neurons == 0


def test_a_filter_without_direction_or_with_constant_output_gets_in(model):
    plan = fresh(model, "1", torch.zeros(64, dtype=torch.float64))
    assert plan.gate(model, 0.1).neurons == 1
    flat = [(torch.ones(8, 64, dtype=torch.float64) * 3, None)]
    random = fresh(model, "1", torch.randn(64, dtype=torch.float64))
    assert random.gate(model, 0.1, on="activations", batches=flat).neurons == 1


def test_the_soft_gate_lets_in_less_the_more_alike_by_seed():
    model, frequency = gl.mlp([400, 150, 3]).double(), {}
    for cosine in (0.4, 0.6, 0.75, 0.9):  # to one neuron each; the others are at 0 ± 1/√400
        plan = fresh(model, "1", *(near(row.detach(), cosine) for row in model[1].weight))
        kept = plan.gate(model, 0.5, soft=True, seed=3)
        frequency[cosine] = kept.neurons / 150
    assert kept.candidates == plan.gate(model, 0.5, soft=True, seed=3).candidates
    assert kept.candidates != plan.gate(model, 0.5, soft=True, seed=4).candidates
    assert frequency[0.4] == 1 > frequency[0.6] > frequency[0.75] > frequency[0.9] > 0
    for cosine in (0.6, 0.75, 0.9):  # four standard errors of 150 draws: 0.16
        assert frequency[cosine] == pytest.approx((1 - cosine) / 0.5, abs=0.16)


def test_the_model_stays_as_it_is(model):
    model.train()
    model[2].eval()
    before = {name: tensor.clone() for name, tensor in named_tensors(model).items()}
    modes = [m.training for m in model.modules()]
    gl.propose("random", model).gate(model, 0.5, on="both", batches=pictures(model))

    def broken():
        yield pictures(model)[0]
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        gl.propose("random", model).gate(model, 0.5, on="both", batches=broken())
    assert all(torch.equal(tensor, before[name]) for name, tensor in named_tensors(model).items())
    assert [m.training for m in model.modules()] == modes and not any(m._forward_hooks for m in model.modules())


@pytest.mark.parametrize("options, message", [
    ({"max_cosine": 1.5}, r"max_cosine must be in \[0, 1\], got 1.5"), ({"max_cosine": -0.1}, "got -0.1"),
    ({"max_cosine": float("nan")}, "got nan"), ({"max_cosine": "0.9"}, "got '0.9'"),
    ({"on": "outputs"}, "on must be one of weights, activations, both.*, got 'outputs'"),
    ({"soft": 0.3}, "soft must be"),
    ({"on": "activations"}, "pass batches="),
    ({"on": "both", "batches": []}, "no batches: pass an iterable of at least one"),
])  # fmt: skip
def test_wrong_input_is_named(model, options, message):
    with pytest.raises(ValueError, match=message):
        gl.propose("random", model).gate(model, **{"max_cosine": 0.9} | options)


def test_a_plan_for_other_widths_is_refused(model):
    with pytest.raises(ValueError, match="made for other widths"):
        gl.propose("random", model).gate(gl.mlp([64, 7, 5, 3]), 0.9)
