"""The splitting matrix is the Hessian of the split, predictions scale as theory says, the model stays as it is."""

import copy
import math
import warnings

import pytest
import torch
import torch.nn.functional as F
from oracles import outputs, split_hessian, split_loss, unsettle
from scipy.stats import spearmanr
from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet

import growlab as gl
from growlab.methods.curvature import gram, lanczos, product, quadratic_form, smallest_eigenpairs
from growlab.methods.splitting import SMOOTH, Observer, second_derivative
from growlab.plans import GrowthPlan
from growlab.structure.units import growable

ACTIVATIONS = {name.lower(): getattr(nn, name) for name in ("GELU", "Mish", "Sigmoid", "SiLU", "Softplus", "Tanh")}


def batch(*shape, classes=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(*shape, generator=generator, dtype=torch.float64)
    return images, torch.randint(classes, shape[:1], generator=generator)


def conv_net(activation=nn.Tanh, pool=nn.MaxPool2d):
    """Strides, paddings, dilation, biases, with and without batch norm, a pooling, a linear unit with batch norm."""
    torch.manual_seed(0)
    return unsettle(nn.Sequential(
        nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.BatchNorm2d(3), activation(), pool(2),
        nn.Conv2d(3, 2, (2, 3), padding=(1, 2), dilation=(1, 2), padding_mode="circular"), activation(),
        nn.Dropout(0.5),
        nn.Conv2d(2, 2, (3, 1), padding="same", bias=False), nn.BatchNorm2d(2, affine=False), nn.Identity(),
        activation(),
        nn.Flatten(), nn.Linear(24, 3, bias=False), nn.BatchNorm1d(3), activation(), nn.Linear(3, 3),
    ), batch(16, 2, 14, 14)[0])  # fmt: skip


def tanh_net():
    torch.manual_seed(0)
    return gl.mlp([6, 5, 4, 3], activation=nn.Tanh).double()


def trained(labels="true", epochs=5, activation=nn.ReLU):
    """A small network on the first 768 digits; the other pictures, which it has not seen, are its test set."""
    data = gl.load_data("digits")
    images, labels_ = (torch.cat(parts) for parts in zip(*data.batches("train", 128, seed=0)))
    if labels == "noise":
        labels_ = torch.randint(10, labels_.shape, generator=torch.Generator().manual_seed(0))
    pairs = list(zip(images.double().split(128), labels_.split(128)))
    torch.manual_seed(0)
    model = gl.mlp([64, 24, 16, 10], activation=activation).double()
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    for _ in range(epochs):
        for x, y in pairs[:6]:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    return model, pairs[:6], tuple(torch.cat(part) for part in zip(*pairs[6:]))


def loss_of(model, images, labels):
    with torch.no_grad():
        return F.cross_entropy(copy.deepcopy(model).eval()(images), labels).item()


def built(model, plan, scale=1.0, only=None):
    """A copy of the model with the plan applied, every offset times ``scale``."""
    chosen = plan.candidates if only is None else [plan.candidates[i] for i in only]
    scaled = tuple(type(c)(c.unit, c.parent, c.score, {e: v * scale for e, v in c.values.items()}) for c in chosen)
    grown = copy.deepcopy(model)
    gl.apply(grown, GrowthPlan("scaled", plan.widths, scaled))
    return grown


def slope(x, y):
    x, y = torch.tensor(x).log(), torch.tensor(y).log()
    return ((x - x.mean()) * (y - y.mean())).sum().item() / (x - x.mean()).square().sum().item()


# The matrix


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_splitting_matrix_is_the_hessian_of_the_split(name):
    model, (images, labels) = conv_net(ACTIVATIONS[name]), batch(12, 2, 14, 14, seed=1)
    matrices = gl.splitting_matrices(model, [(images, labels)])
    assert {unit: tuple(s.shape) for unit, s in matrices.items()} == {
        "0": (3, 18, 18), "4": (2, 18, 18), "7": (2, 6, 6), "12": (3, 24, 24),
    }  # fmt: skip
    for unit in gl.units(model):
        for neuron in range(unit.neurons):
            hessian = split_hessian(model, unit, neuron, images, labels)
            assert (matrices[unit.name][neuron] - hessian).abs().max() < 1e-10 * hessian.abs().max()
            assert torch.equal(matrices[unit.name][neuron], matrices[unit.name][neuron].T)


class Residual(nn.Module):
    """In-place activations, a functional one, a layer that is called twice, and a map that has several users."""

    def __init__(self):
        super().__init__()
        self.stem, self.twice = nn.Conv1d(2, 4, 3, padding=1), nn.Conv1d(4, 4, 3, padding=1)
        self.norm, self.act, self.head = nn.BatchNorm1d(4), nn.SiLU(inplace=True), nn.Linear(4, 3)

    def forward(self, x):
        x = self.act(self.stem(x))
        x = F.dropout(x, 0.5, self.training, inplace=True)
        x *= 2.0  # the gradient must be that of what the activation put out
        y, z = self.twice(x), self.norm(self.twice(F.max_pool1d(x, 2)))
        return self.head(torch.tanh(y).mean(-1) + F.silu(z, inplace=True).mean(-1))


def test_in_place_activations_and_layers_that_are_called_twice():
    torch.manual_seed(0)
    images, labels = batch(10, 2, 8)
    model = unsettle(Residual(), images)
    matrices = gl.splitting_matrices(model, [(images, labels)])
    assert list(matrices) == ["stem", "twice"]
    for unit in gl.units(model):
        for neuron in range(unit.neurons):
            hessian = split_hessian(model, unit, neuron, images, labels)
            assert (matrices[unit.name][neuron] - hessian).abs().max() < 1e-10 * hessian.abs().max()


@pytest.mark.parametrize("layer, shape", [
    (nn.Linear(3, 4), (6, 5, 3)), (nn.Conv3d(2, 3, 2, stride=(1, 2, 1), padding=1), (6, 2, 3, 4, 3)),
])  # fmt: skip
def test_other_ranks(layer, shape):
    torch.manual_seed(0)
    linear = (nn.Linear(4, 5), nn.Tanh(), nn.Flatten(), nn.Linear(25, 3))
    rest = linear if len(shape) == 3 else (nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(3, 3))
    model, (images, labels) = nn.Sequential(layer, nn.Tanh(), *rest).double(), batch(*shape)
    unit = gl.units(model)[0]
    hessian = split_hessian(model, unit, 1, images, labels)
    assert (
        gl.splitting_matrices(model, [(images, labels)])["0"][1] - hessian
    ).abs().max() < 1e-10 * hessian.abs().max()


def test_it_scales_with_the_square_of_the_slope_of_batch_norm():
    """Twice γ, and the mean moved so that z = γ(wx − μ)/s + b stays what the activation saw: only a² changes in S/g."""
    images, labels = batch(12, 2, 14, 14)
    model, steeper = conv_net(), conv_net()
    with torch.no_grad():  # γ ×2 with W and μ and b halved so: the same z from half the filter, so the same g and σ''
        steeper[1].weight *= 2
        for tensor in (steeper[0].weight, steeper[0].bias, steeper[1].running_mean):
            tensor /= 2
    before, after = (gl.splitting_matrices(m, [(images, labels)])["0"] for m in (model, steeper))
    torch.testing.assert_close(after, 4 * before)


def test_it_vanishes_without_activation():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(4, 3), nn.Identity(), nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 3)
    ).double()
    matrices = gl.splitting_matrices(model, [batch(8, 4)])
    assert matrices["1"].shape == (3, 4, 4) and not matrices["1"].any() and matrices["3"].any()
    plan = gl.propose("splitting", model, [batch(8, 4)], require_negative=False)
    assert {c.unit for c in plan.candidates} == {"3"} and plan.widths == {"1": 3, "3": 2}


def test_batches_are_averaged_and_not_accumulated():
    """The published codes never cleared their gradients between batches."""
    model, first, second = conv_net(), batch(12, 2, 14, 14, seed=1), batch(4, 2, 14, 14, seed=2)
    a, b, both = (gl.splitting_matrices(model, batches) for batches in ([first], [second], [first, second]))
    for name in both:
        torch.testing.assert_close(both[name], (12 * a[name] + 4 * b[name]) / 16)


@pytest.mark.parametrize("name", sorted(SMOOTH))
def test_second_derivatives_of_smooth_activations(name):
    """Against formulas: sigmoid'' is s(1−s)(1−2s); one published code has another. Against differences for the rest."""
    z = torch.linspace(-4, 4, 81, dtype=torch.float64)
    activation, s, t = ACTIVATIONS[name](), torch.sigmoid(z), torch.tanh(z)
    found = second_derivative(activation, name, z)
    formulas = {
        "sigmoid": s * (1 - s) * (1 - 2 * s), "tanh": -2 * t * (1 - t**2), "softplus": s * (1 - s),
        "silu": s * (1 - s) * (2 + z * (1 - 2 * s)),
        "gelu": (2 - z**2) * torch.exp(-(z**2) / 2) / math.sqrt(2 * math.pi),
    }  # fmt: skip
    h = 1e-4  # the error of the central difference is h²/12 times the fourth derivative, plus rounding/h²
    difference = (activation(z + h) - 2 * activation(z) + activation(z - h)) / h**2
    torch.testing.assert_close(found, formulas.get(name, difference), atol=1e-12 if name in formulas else 1e-7, rtol=0)
    torch.testing.assert_close(found, difference, atol=1e-6, rtol=0)


def test_the_kernel_of_relu_has_the_area_of_its_jump():
    z = torch.linspace(-30, 30, 60001, dtype=torch.float64)
    for beta in (1.0, 3.0):
        kernel = second_derivative(F.relu, "relu", z, beta)
        assert torch.trapezoid(kernel, z).item() == pytest.approx(1, abs=1e-6) and z[kernel.argmax()].abs() < 1e-9
        assert torch.trapezoid(second_derivative(F.relu6, "relu6", z, beta), z).item() == pytest.approx(0, abs=1e-6)
        torch.testing.assert_close(kernel, second_derivative(nn.Softplus(beta, 1e9), "softplus", z))


# The prediction


@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
def test_the_output_moves_with_the_square_of_the_step(train):
    model, images = conv_net(pool=nn.AvgPool2d), batch(12, 2, 14, 14)[0]  # maximum pooling has kinks of its own
    plan = gl.propose("splitting", model, [batch(12, 2, 14, 14)], require_negative=False, step=1.0)
    steps = [0.001, 0.002, 0.004]
    before = outputs(model, images, train)
    moved = [(outputs(built(model, plan, e), images, train) - before).abs().mean().item() for e in steps]
    assert slope(steps, moved) == pytest.approx(2, abs=0.1)


def test_a_one_sided_split_moves_it_with_the_step_itself():
    model, (images, labels) = tanh_net(), batch(12, 6)
    plan = gl.propose("splitting", model, [(images, labels)], require_negative=False, step=1.0).within(neurons=1)
    ((edit, v),) = plan.candidates[0].values.items()
    steps, before, moved = [0.01, 0.02, 0.04], outputs(model, images, False), []
    for e in steps:
        grown = built(model, plan, e / 2)
        with torch.no_grad():  # (w + e/2 v, w − e/2 v) -> (w + e v, w)
            for neuron in (plan.candidates[0].parent, -1):
                grown.get_parameter(edit.tensor)[neuron] += e / 2 * v
        moved.append((outputs(grown, images, False) - before).abs().mean().item())
    assert slope(steps, moved) == pytest.approx(1, abs=0.1)


def test_the_error_of_the_predicted_loss_falls_with_the_fourth_power():
    model, (images, labels) = conv_net(pool=nn.AvgPool2d), batch(12, 2, 14, 14)
    plan = gl.propose("splitting", model, [(images, labels)], require_negative=False, step=1.0)
    steps, before = [0.02, 0.04, 0.08], loss_of(model, images, labels)
    gains = torch.tensor([c.score for c in plan.candidates], dtype=torch.float64)
    errors = []
    for e in steps:
        actual = [before - loss_of(built(model, plan, e, [i]), images, labels) for i in range(plan.neurons)]
        errors.append((e**2 * gains - torch.tensor(actual)).abs())
    assert slope(steps, [error.mean().item() for error in errors]) == pytest.approx(4, abs=0.2)
    assert (errors[0] < 0.1 * steps[0] ** 2 * gains).all()


def test_neurons_that_split_together_gain_the_sum():
    """Cross terms are O(ε⁴), also between neurons of one layer and of neighbouring ones: one ranking is right."""
    model, (images, labels) = tanh_net(), batch(12, 6)
    plan = gl.propose("splitting", model, [(images, labels)], require_negative=False, step=1.0)
    steps, before, errors = [0.02, 0.04, 0.08], loss_of(model, images, labels), []
    for e in steps:
        alone = [before - loss_of(built(model, plan, e, [i]), images, labels) for i in range(plan.neurons)]
        together = before - loss_of(built(model, plan, e), images, labels)
        errors.append(abs(together - sum(alone)))
    assert slope(steps, errors) == pytest.approx(4, abs=0.2)
    assert sum(c.score for c in plan.candidates) * steps[0] ** 2 == pytest.approx(sum(
        before - loss_of(built(model, plan, steps[0], [i]), images, labels) for i in range(plan.neurons)
    ), rel=0.01)  # fmt: skip


def test_no_direction_beats_the_eigenvector():
    model, (images, labels) = tanh_net(), batch(12, 6)
    plan = gl.propose("splitting", model, [(images, labels)], require_negative=False, step=0.05)
    generator = torch.Generator().manual_seed(0)
    for unit in gl.units(model):
        for candidate in (c for c in plan.candidates if c.unit == unit.name):
            loss, d = split_loss(model, unit, candidate.parent, images, labels)
            (v,) = candidate.values.values()
            best = loss(v.flatten()).item()
            for _ in range(20):
                other = torch.randn(d, generator=generator, dtype=torch.float64)
                assert loss(0.05 * other / other.norm()).item() > best


# Eigenpairs


def symmetric(n, d, seed=0):
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(n, d, d, generator=generator, dtype=torch.float64)
    return a + a.mT, torch.randn(n, d, generator=generator, dtype=torch.float64)


def check_eigenpairs(matrices, eigenvalues, v, tolerance=1e-6):
    """The smallest eigenvalue, and a unit vector that has it: so that degenerate spaces pass as well."""
    scale = matrices.abs().amax((1, 2)).clamp_min(1e-300)
    exact = torch.linalg.eigvalsh(matrices)[:, 0]
    assert ((eigenvalues - exact).abs() <= tolerance * scale).all()
    torch.testing.assert_close(v.norm(dim=1), torch.ones(len(v), dtype=v.dtype))
    assert (((v[:, None] @ matrices @ v[:, :, None]).flatten() - exact).abs() <= tolerance * scale).all()


@pytest.mark.parametrize("d", [1, 2, 5, 19, 20, 21])
def test_lanczos_is_exact_when_it_has_a_step_for_every_dimension(d):
    matrices, start = symmetric(4, d)
    multiply = lambda v: (matrices @ v[:, :, None])[:, :, 0]
    eigenvalues, v = lanczos(multiply, start, steps=d, tolerance=0)
    check_eigenpairs(matrices, eigenvalues, v, 1e-12)


def test_lanczos_survives_matrices_whose_krylov_space_ends_early():
    _, start = symmetric(6, 12)
    eye, u = torch.eye(12, dtype=torch.float64), F.normalize(start[:1])
    matrices = torch.stack([
        0 * eye, eye, -eye, u.T @ u, -u.T @ u, torch.diag(torch.tensor([-1.0, -1] + [2.0] * 10, dtype=torch.float64)),
    ])  # fmt: skip
    for scale in (1.0, 1e-150):
        multiply = lambda v: scale * (matrices @ v[:, :, None])[:, :, 0]
        eigenvalues, v = lanczos(multiply, start)
        check_eigenpairs(scale * matrices, eigenvalues, v, 1e-12)


@pytest.fixture(scope="module")
def vgg():
    torch.manual_seed(0)
    pairs = [batch(24, 3, 32, 32, classes=10, seed=seed) for seed in range(4)]
    return unsettle(gl.vgg5([4, 5, 6, 7]), pairs[0][0]), pairs


def test_products_and_quadratic_forms_equal_the_dense_matrix(vgg):
    model, pairs = conv_net(), [batch(8, 2, 14, 14, seed=seed) for seed in (1, 2)]
    observer = Observer(model.eval(), growable(model), 3.0)
    for name, samples in observer.observe(pairs).items():
        layer = observer.layers[name]
        matrices = gram(layer, samples)
        v = torch.randn(len(matrices), matrices.shape[1], dtype=torch.float64)
        expected = (matrices @ v[:, :, None])[:, :, 0]
        torch.testing.assert_close(
            sum(product(layer, *sample, v) for sample in samples), expected, rtol=1e-10, atol=1e-14
        )
        torch.testing.assert_close(quadratic_form(layer, samples, v), (expected * v).sum(1), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("epochs", [0, 1, 5, 15])
def test_both_paths_find_the_same_eigenpairs(epochs):
    model, pairs, _ = trained(epochs=epochs)
    observer = Observer(model.eval(), growable(model), 3.0)
    for name, samples in observer.observe(pairs[:3]).items():
        generator, layer = torch.Generator().manual_seed(0), observer.layers[name]
        dense, iterative = (smallest_eigenpairs(layer, samples, path, generator) for path in ("dense", "matrix-free"))
        torch.testing.assert_close(iterative[0], dense[0], rtol=1e-6, atol=0)
        assert ((iterative[1] * dense[1]).sum(1).abs() > 1 - 1e-6).all()


def test_close_eigenvalues_need_more_steps(vgg):
    """On random labels the ends of the spectrum lie close: after 20 steps one direction of 22 is not quite there."""
    model, pairs = vgg
    observer = Observer(copy.deepcopy(model).eval(), growable(model), 3.0)
    for name, samples in observer.observe(pairs[:2]).items():
        layer = observer.layers[name]
        eigenvalues, v = smallest_eigenpairs(layer, samples, "dense", None)
        start = torch.randn(v.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        multiply = lambda u: sum(product(layer, *sample, u) for sample in samples)
        for steps, tolerance in ((20, 1e-3), (40, 1e-8)):
            found, u = lanczos(multiply, start, steps, min(tolerance, 1e-4))
            torch.testing.assert_close(found, eigenvalues, rtol=tolerance, atol=0)
            assert ((u * v).sum(1).abs() > 1 - tolerance).all()


def test_forced_paths_choose_the_same_neurons_with_the_same_splits():
    model, pairs, _ = trained()
    plans = [
        gl.propose("splitting", model, pairs, fit=3, held_out=3, path=path) for path in ("dense", "matrix-free", None)
    ]
    assert plans[0].neurons > 20
    for plan in plans[1:]:
        kept, expected = plan.within(rate=0.35).candidates, plans[0].within(rate=0.35).candidates
        assert [(c.unit, c.parent) for c in kept] == [(c.unit, c.parent) for c in expected]
        for a, b in zip(kept, expected):
            assert a.score == pytest.approx(b.score, rel=1e-2)
            (v,), (w,) = a.values.values(), b.values.values()
            assert min((v - w).norm(), (v + w).norm()) < 1e-2 * v.norm()


def test_float32_with_dead_inputs_and_dead_neurons():
    """A layer of which nothing gets through, above one that reads constant zeros: no candidates there, and no crash."""
    torch.manual_seed(0)
    model = gl.vgg5([6, 6, 6, 6])
    with torch.no_grad():
        model[1].weight[:4], model[1].bias[:4] = 0, -1.0  # these are 0 behind their ReLU
        model[8].weight.zero_(), model[9].bias.fill_(-100.0)  # nothing gets through: the kernel underflows to 0
    images, labels = batch(16, 3, 32, 32, classes=10)
    for path in ("dense", "matrix-free"):
        plan = gl.propose("splitting", model, [(images.float(), labels)], path=path, require_negative=False)
        assert {c.unit for c in plan.candidates} <= {"4", "12"} | {"0"}
        assert all(
            math.isfinite(c.score) and all(v.isfinite().all() for v in c.values.values()) for c in plan.candidates
        )


# What is proposed


def test_offsets_have_the_length_of_the_step_absolute_or_relative(vgg):
    model, pairs = vgg
    filters = {unit.name: unit.weight for unit in gl.units(model)}
    for c in gl.propose("splitting", model, pairs, step=0.05).candidates:
        assert sum(v.norm().item() for v in c.values.values()) == pytest.approx(0.05) and c.kind == "split"
    for c in gl.propose("splitting", model, pairs, step=0.05, relative=True).candidates:
        length = filters[c.unit][c.parent].norm().item()
        assert sum(v.norm().item() for v in c.values.values()) == pytest.approx(0.05 * length)


def test_every_candidate_has_negative_curvature_on_the_held_out_batches(vgg):
    model, pairs = vgg
    plan = gl.propose("splitting", model, pairs, fit=2, held_out=2, step=0.1)
    matrices = gl.splitting_matrices(model, pairs[2:])
    published = gl.propose("splitting", model, pairs, fit=2, require_negative=False, step=0.1)
    assert 0 < plan.neurons < published.neurons == 22
    for c in plan.candidates:
        (v,) = c.values.values()
        curvature = v.flatten() @ matrices[c.unit][c.parent] @ v.flatten()
        assert curvature < 0 and c.score == pytest.approx(-curvature.item() / 2)


def test_published_scores_are_the_smallest_eigenvalues(vgg):
    model, pairs = vgg
    matrices = gl.splitting_matrices(model, pairs[:2])
    for c in gl.propose("splitting", model, pairs, fit=2, require_negative=False, step=0.1, path="dense").candidates:
        assert c.score == pytest.approx(-0.005 * torch.linalg.eigvalsh(matrices[c.unit][c.parent])[0].item())


def test_the_sign_of_the_eigenvalue_filters_nothing_but_the_held_out_curvature_does():
    """On random labels no split can help with other pictures; all eigenvalues say that it does."""
    model, pairs, _ = trained("noise")
    published = gl.propose("splitting", model, pairs, fit=3, require_negative=False)
    assert published.neurons == 40 and all(c.score > 0 for c in published.candidates)
    assert gl.propose("splitting", model, pairs, fit=3, held_out=3).neurons <= 20
    model, pairs, _ = trained("true", epochs=1)
    assert gl.propose("splitting", model, pairs, fit=3, held_out=3).neurons >= 35


def test_under_relu_the_score_ranks_what_splits_gain_on_unseen_pictures():
    model, pairs, unseen = trained("true", epochs=5)
    plan = gl.propose("splitting", model, pairs, fit=3, held_out=3)
    before = loss_of(model, *unseen)
    gains = [before - loss_of(built(model, plan, 30, [i]), *unseen) for i in range(plan.neurons)]  # ε = 0.3
    correlation, p = spearmanr([c.score for c in plan.candidates], gains)
    assert correlation > 0.4 and p < 0.01 and sum(gain > 0 for gain in gains) > 0.8 * len(gains)


MODELS = {
    "mlp": (lambda: gl.mlp([3 * 32 * 32, 7, 5, 10]), 2),
    "vgg5": (lambda: gl.vgg5([4, 5, 6, 7]), 4),
    "vgg16": (lambda: gl.vgg16([4, 5, 6, 7, 8, 4, 5, 6, 7, 8, 4, 5, 6]), 13),
    "mobilenet": (lambda: gl.mobilenet([6, 5, 4, 7, 8, 5, 6, 7, 4, 5, 6, 7, 8, 5]), 14),
    "resnet": (lambda: ResNet(BasicBlock, [1, 1, 1, 1], num_classes=10), 4),  # half of resnet18
}


@pytest.mark.parametrize("name", MODELS)
def test_any_model_splits_and_is_left_as_it_was(name):
    torch.manual_seed(0)
    make, units = MODELS[name]
    images, labels = batch(8, 3, 64 if name == "vgg16" else 32, 64 if name == "vgg16" else 32, classes=10)
    images = images[:, :, :32, :32] if name == "mlp" else images
    model = unsettle(make(), images).train()
    list(model.modules())[2].eval()  # a part with a mode of its own
    model.zero_grad()
    F.cross_entropy(model(images), labels).backward()
    before, modes = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    grads = [p.grad.clone() for p in model.parameters()]
    plan = gl.propose("splitting", model, [(images, labels)] * 2, fit=1, held_out=1, step=1e-4)
    assert len(plan.widths) == units and 0 < plan.neurons <= sum(plan.widths.values())
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values()))
    assert modes == [m.training for m in model.modules()]
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), grads))
    assert not any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in model.modules())
    function = outputs(model, images, False)
    gl.apply(model, plan)
    assert 0 < (outputs(model, images, False) - function).abs().max() < 0.1 * function.std()


def test_a_generator_is_read_once_and_no_further_than_needed():
    given = (batch(8, 6, seed=seed) for seed in range(3))
    plan = gl.propose("splitting", tanh_net(), given, fit=1, held_out=1)
    again = gl.propose("splitting", tanh_net(), (batch(8, 6, seed=seed) for seed in range(2)), fit=1, held_out=1)
    assert plan.table().equals(again.table()) and plan.neurons > 0


def test_proposals_depend_on_their_seed_alone(vgg):
    first, second = (gl.propose("splitting", *vgg, seed=(1, "proposal", 2)) for _ in range(2))
    assert first.table().equals(second.table())
    assert all(
        torch.equal(v, b.values[e]) for a, b in zip(first.candidates, second.candidates) for e, v in a.values.items()
    )


# Bad input


def test_an_error_half_way_leaves_the_model_as_it_was():
    model = conv_net().train()
    before = copy.deepcopy(model.state_dict())

    def batches():
        yield batch(8, 2, 14, 14)
        raise KeyboardInterrupt

    bad = batch(8, 2, 14, 14)[0], torch.full((8,), 7)  # there are three classes
    nan = batch(8, 2, 14, 14)[0] * math.nan, batch(8)[1]
    good = batch(8, 2, 14, 14)
    for given, error in ((batches(), KeyboardInterrupt), ([good, bad], IndexError), ([good, nan], FloatingPointError)):
        with pytest.raises(error):
            gl.splitting_matrices(model, given)
    for second, error in ((bad, IndexError), (nan, FloatingPointError)):
        with pytest.raises(error):
            gl.propose("splitting", model, [good, second])
    assert all(module.training for module in model.modules())
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values()))
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("options, message", [
    ({"step": 0}, r"step must be in \(0, inf\), got 0"), ({"step": -1e-2}, "step must be in .* got -0.01"),
    ({"step": math.nan}, "step must be in .* got nan"), ({"beta": 0.0}, "beta must be in .* got 0.0"),
    ({"path": "fast"}, "path must be one of None, dense, matrix-free, got 'fast'"),
    ({"fit": 0}, "fit must be a whole number of at least 1, got 0"), ({"held_out": 0}, "held_out must be .* got 0"),
])  # fmt: skip
def test_options_out_of_range_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        gl.propose("splitting", tanh_net(), [batch(8, 6)] * 2, **options)


def test_too_few_batches():
    with pytest.raises(ValueError, match="splitting needs batches: gl.propose"):
        gl.propose("splitting", tanh_net())
    one = [batch(8, 6)]
    for batches, require in (([], True), ([], False), (one, True)):
        with pytest.raises(ValueError, match=f"got {len(batches)} batches: pass at least one"):
            gl.propose("splitting", tanh_net(), batches, require_negative=require)
    with pytest.raises(ValueError, match="batches is empty"):
        gl.splitting_matrices(tanh_net(), [])
    with pytest.raises(FloatingPointError, match="the loss is nan"):
        gl.splitting_matrices(tanh_net(), [(one[0][0] * math.nan, one[0][1])])


def test_units_with_another_activation_are_left_out_with_the_reason():
    layers = [nn.Linear(4, 3), nn.Hardswish(), nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3)]
    model = nn.Sequential(*layers).double()
    with pytest.warns(
        UserWarning, match="splitting leaves out 0: no second derivative is known for Hardswish behind it"
    ):
        plan = gl.propose("splitting", model, [batch(8, 4)] * 2)
    assert plan.widths == {"0": 3, "2": 3} and {c.unit for c in plan.candidates} <= {"2"}
    with pytest.raises(ValueError, match="try another method: 0: no second derivative.*Hardswish"):
        gl.propose("splitting", nn.Sequential(*layers[:2], nn.Linear(3, 3)).double(), [batch(8, 4)] * 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gl.propose("splitting", tanh_net(), [batch(8, 6)] * 2)
