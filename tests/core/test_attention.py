"""Interventions and heat maps, on networks whose attention is known because it was built in."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn

import growlab as gl
from growlab import attention, critters
from growlab.seeds import random_stream
from growlab.watching import logits_of


@pytest.fixture(scope="module")
def data():
    return gl.load_data("critters", n=100)


@pytest.fixture(scope="module")
def pictures(data):
    split = attention.changed(data, 12, seed=3)
    return split.normalise(split.images), split


class Templates(nn.Module):
    """Looks for the forms of some parts, dark on light or light on dark, anywhere; what it finds adds up to logits."""

    def __init__(self, parts):
        super().__init__()
        room = torch.from_numpy(critters.ROOM)
        forms = torch.from_numpy(critters.FORMS[list(parts)]).float() * room
        forms -= forms.sum((2, 3), keepdim=True) / room.sum() * room
        self.forms = nn.Parameter(forms.flatten(0, 1)[:, None])
        self.eyes = nn.Identity()  # a layer to hook

    def forward(self, images):
        found = self.eyes(F.conv2d(images.mean(1, keepdim=True), self.forms).abs())
        return found.amax((2, 3)).view(len(images), -1, 10).pow(4).sum(1)


class Hue(nn.Module):
    """The class of the background's hue, from the border of the picture."""

    def __init__(self, data):
        super().__init__()
        hues = torch.from_numpy(critters.HUES).float()
        self.hues = nn.Parameter((hues - data.test.mean) / data.test.std)

    def forward(self, images):
        border = torch.cat([images[:, :, :, 0], images[:, :, :, -1], images[:, :, 0], images[:, :, -1]], 2)
        return -torch.cdist(border.median(2).values, self.hues)


def net(widths=(4, 5, 6, 5), seed=0):
    torch.manual_seed(seed)
    return gl.vgg5(list(widths))


# ------------------------------------------------------------------------------------------- interventions


def test_changed_pictures_are_the_same_but_for_the_change(data):
    plain, hidden = attention.changed(data, 20, 1), attention.changed(data, 20, 1, hide="wing")
    differ = (plain.images != hidden.images).any(1)
    assert differ.any() and not differ[~plain.masks[:, 1]].any()
    assert torch.equal(plain.mean, data.train.mean) and len(plain) == 20
    assert not torch.equal(plain.images, attention.changed(data, 20, 2).images)


def test_changed_pictures_can_be_written_on_and_a_seed_is_a_whole_number(data):
    first = attention.changed(data, 5, seed=(4, 1))
    kept = first.images.clone()
    first.images.zero_()
    assert torch.equal(attention.changed(data, 5, seed=(4, 1)).images, kept)
    for wrong in (7.0, True):  # whatever there is in the cache
        attention.changed(data, 5, seed=int(wrong))
        with pytest.raises(ValueError, match=f"seed must be .* got {wrong}"):
            attention.changed(data, 5, seed=wrong)
    drawn = critters.draw(5, random_stream(7, "interventions").initial_seed())
    assert np.array_equal(attention.changed(data, 5, seed=7).images, drawn.images)


@pytest.mark.parametrize("votes", [gl.part_votes, gl.background_votes, gl.accuracy_by_hidden_parts])
def test_interventions_are_for_critters_and_for_networks_that_know_them(votes, data):
    with pytest.raises(ValueError, match="only critters can be changed"):
        votes(gl.mlp([64, 4, 10]), gl.load_data("digits"), 5)
    with pytest.raises(ValueError, match="knows 5 classes, the pictures have 10"):
        votes(gl.vgg5(2, classes=5), data, 5)


def test_votes_of_a_reader_of_one_part_and_of_a_counter_of_all():
    labels, donors = torch.tensor([0, 1, 2]), torch.tensor([5, 6, 7])
    forms = labels[:, None].repeat(1, 5)
    swapped = []
    for part in range(5):
        swapped.append(forms.clone())
        swapped[-1][:, part] = donors
    for read, followed, parts in (([2], [0, 0, 1, 0, 0], 1), ([0, 1, 2, 3, 4], [0, 0, 0, 0, 0], 5), ([1, 4], None, 2)):

        def count(shown, read=read):
            return F.one_hot(shown[:, read], 10).sum(1).float()

        one = attention.votes(count(forms), [count(shown) for shown in swapped], labels, donors)
        assert torch.allclose(gl.effective_parts(one.falls), torch.full((3,), float(parts), dtype=torch.float64))
        assert followed is None or one.followed.float().mean(0).tolist() == followed


def test_part_votes_find_out_what_a_network_reads(data):
    belly, all_parts = (gl.part_votes(Templates(parts), data, 60) for parts in ([2], range(5)))
    shares = belly.followed.float().mean(0)
    assert shares[2] > 0.9 and shares[[0, 1, 3, 4]].max() < 0.1
    assert gl.effective_parts(belly.falls).nanmedian() < 1.3 and all_parts.followed.float().mean() < 0.1
    assert gl.effective_parts(all_parts.falls).mean() > 3
    assert belly.falls.shape == belly.followed.shape == (60, 5)


def test_effective_parts_counts_from_one_to_all_and_nothing_as_nan():
    weights = torch.tensor([[3.0, 0, 0], [1, 1, 1], [2, 2, -1], [0, -1, 0]])
    assert gl.effective_parts(weights)[:3].tolist() == [1, 3, 2] and gl.effective_parts(weights)[3].isnan()
    assert torch.allclose(gl.effective_parts(weights[:3] * 7), gl.effective_parts(weights[:3]))


def test_accuracy_falls_with_the_parts_that_are_hidden(data):
    accuracy = gl.accuracy_by_hidden_parts(Templates(range(5)), data, 200, reliability=1)
    assert len(accuracy) == 6 and accuracy[0] > 0.9 and accuracy[5] < 0.25
    assert all(more > less - 0.05 for more, less in zip(accuracy, accuracy[1:]))


def test_background_votes_see_the_cheat_and_nothing_where_there_is_none(data):
    cheat, honest = gl.background_votes(Hue(data), data, 100), gl.background_votes(Templates(range(5)), data, 100)
    assert cheat["helped"] > 0.9 and cheat["misled"] < 0.05 and cheat["followed"] > 0.9
    assert abs(honest["helped"] - honest["misled"]) < 0.1 and honest["followed"] < 0.1


# -------------------------------------------------------------------------------------------------- heat maps


def by_hand(model, images, targets, layer):
    seen = []
    handle = model.get_submodule(layer).register_forward_hook(lambda module, given, output: seen.append(output))
    scores = model(images)
    handle.remove()
    (gradient,) = torch.autograd.grad(scores.gather(1, targets[:, None]).sum(), seen[-1])
    maps = (gradient.mean((2, 3), keepdim=True) * seen[-1]).sum(1, keepdim=True).relu()
    return F.interpolate(maps, images.shape[-2:], mode="bilinear")[:, 0].detach()


def test_gradcam_is_the_six_lines_by_hand(pictures):
    images, split = pictures
    model = net().eval()
    cams = gl.heatmaps(model, images, split.labels)
    assert cams.layer == "10" and cams.method == "gradcam" and cams.maps.shape == (12, 32, 32)
    assert torch.allclose(cams.maps, by_hand(model, images, split.labels, "10"), atol=1e-7)
    assert not torch.allclose(cams.maps, gl.heatmaps(model, images, (split.labels + 1) % 10).maps, atol=1e-4)


def test_scaled_by_minimum_and_maximum_it_is_the_librarys_map(pictures):
    images, split = pictures
    model = net().eval()
    maps = gl.heatmaps(model, images, split.labels, layer=model[4]).maps
    low = maps.amin((1, 2), keepdim=True)
    maps = (maps - low) / (maps - low).amax((1, 2), keepdim=True)
    with GradCAM(model, [model[4]]) as library:
        expected = library(images, [ClassifierOutputTarget(label) for label in split.labels.tolist()])
    assert np.abs(maps.numpy() - expected).max() < 1e-5


@pytest.mark.parametrize("method", ["gradcam++", "layercam", "hirescam", "xgradcam", "eigencam", "gradcamelementwise"])
def test_other_methods_of_the_library_by_name(method, pictures):
    images, split = pictures
    cams = gl.heatmaps(net(), images, split.labels, method=method)
    assert cams.maps.shape == (12, 32, 32) and cams.method == method and (cams.maps >= 0).all() and cams.maps.any()


def test_the_model_is_left_as_it_was(pictures):
    images, split = pictures
    model = net().train()
    model[1].eval()
    model[2].inplace = True
    F.cross_entropy(model(images), split.labels).backward()
    model[0].weight.grad = None
    gradients = {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}
    state, modes = {k: v.clone() for k, v in model.state_dict().items()}, [m.training for m in model.modules()]
    with torch.no_grad():
        gl.heatmaps(model, images, split.labels)
    with pytest.raises(ValueError):
        gl.heatmaps(model, images, split.labels + 10)
    assert [m.training for m in model.modules()] == modes and model[2].inplace
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    for name, p in model.named_parameters():
        assert p.grad is None if gradients[name] is None else torch.equal(p.grad, gradients[name])
    assert not any(m._forward_hooks or m._backward_hooks for m in model.modules())


def test_frozen_parameters_and_batches_and_what_is_computed_in_place_change_nothing(pictures):
    images, split = pictures
    model = net()
    expected = gl.heatmaps(model, images, split.labels, layer="9").maps
    assert torch.allclose(gl.heatmaps(model, images, split.labels, layer="9", batch_size=5).maps, expected, atol=1e-6)
    model.requires_grad_(False)
    model[10].inplace = True  # would overwrite what layer 9 has put out
    assert torch.allclose(gl.heatmaps(model, images, split.labels.tolist(), layer="9").maps, expected, atol=1e-6)


METHODS = [
    "gradcam", "gradcam++", "hirescam", "layercam", "xgradcam", "eigencam", "eigengradcam", "gradcamelementwise", "fem",
    "kpca_cam", "segeigencam", "shapleycam", "scorecam", "ablationcam",
]  # fmt: skip


class Turn(nn.Module):
    def forward(self, x):
        return x.transpose(2, 3)  # a view


class Written(nn.Module):
    """One network, written out of place ("plain") or in place, in several ways."""

    def __init__(self, how):
        super().__init__()
        torch.manual_seed(0)
        self.c1, self.c2, self.head = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1), nn.Linear(6, 10)
        self.pool = nn.MaxPool2d(2)
        self.c3, self.bn, self.turn, self.same = nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6), Turn(), nn.Identity()
        self.a1, self.a2 = nn.ReLU(inplace=how == "module"), nn.ReLU(inplace=how in ("module", "statement"))
        self.how = how

    def act(self, x, module):
        if self.how == "functional":
            return F.relu(x, inplace=True)
        if self.how == "method":
            return x.relu_()
        if self.how == "statement" and module.inplace:
            module(x)
            return x
        return module(x)

    def forward(self, x):
        if self.how == "plain":
            x = self.pool(self.act(self.c1(x * 0.9), self.a1)) * 1.5
            y = self.turn(self.same(self.bn(self.c2(x)))) + 0.1 * x
        else:
            x *= 0.9  # what is given
            x = self.pool(self.act(self.c1(x), self.a1))
            x *= 1.5
            y = self.turn(self.same(self.bn(self.c2(x))))
            y += 0.1 * x
        return self.head(self.act(self.c3(y), self.a2).square().mean((2, 3)))


def close(maps, expected):
    return (maps - expected).abs().max() <= 1e-5 * expected.max() and expected.max() > 0


@pytest.mark.parametrize("layer", ["c1", "a1", "pool", "c2", "bn", "same", "turn", "c3", "a2"])
@pytest.mark.parametrize("how", ["plain", "operator", "functional", "method", "module", "statement"])
def test_what_the_forward_writes_in_place_does_not_change_the_map(how, layer, pictures):
    images, split = pictures
    kept = images.clone()
    if how in ("functional", "method") and layer in ("a1", "a2"):
        with pytest.raises(ValueError, match=f"layer '{layer}' has no maps"):  # it is not called
            gl.heatmaps(Written(how), images, split.labels, layer)
        return
    expected = by_hand(Written("plain").eval(), images, split.labels, layer)
    model = Written(how)
    assert close(gl.heatmaps(model, images, split.labels, layer, batch_size=5).maps, expected)
    assert close(gl.heatmaps(model.requires_grad_(False), images, split.labels, layer).maps, expected)
    assert torch.equal(images, kept)


@pytest.mark.parametrize("method", METHODS)
def test_no_method_is_changed_by_what_is_written_in_place(method, pictures):
    images, split = pictures
    plain, in_place = (
        gl.heatmaps(Written(how), images[:3], split.labels[:3], "pool", method) for how in ("plain", "operator")
    )
    assert close(in_place.maps, plain.maps)


class Reused(nn.Module):
    """One ReLU, one pool and one convolution, called three times; or the same with a module for each call."""

    def __init__(self, times=1):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.head = nn.Conv2d(3, 6, 3, padding=1), nn.Linear(6, 10)
        self.conv = nn.Conv2d(6, 6, 3, padding=1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(6) for _ in range(3))
        self.relus = nn.ModuleList(nn.ReLU() for _ in range(times))
        self.pools = nn.ModuleList(nn.MaxPool2d(2) for _ in range(times))
        self.times = times

    def forward(self, x):
        x = self.stem(x)
        for step in range(3):
            x = self.norms[step](self.conv(x))
            x = self.pools[step % self.times](self.relus[step % self.times](x))
        return self.head(x.square().mean((2, 3)))


@pytest.mark.parametrize("layer", [None, "relus.0", "pools.0", "conv"])
def test_the_map_of_a_layer_that_is_called_several_times_is_that_of_its_last_call(layer, pictures):
    images, split = pictures
    model = Reused().eval()
    cams = gl.heatmaps(model, images, split.labels, layer, batch_size=5)
    assert cams.layer == (layer or "relus.0")  # its last call is the last that is 8 pixels wide
    assert close(cams.maps, by_hand(model, images, split.labels, cams.layer))


@pytest.mark.parametrize("method", METHODS)
def test_of_a_reused_layer_every_method_takes_the_last_call(method, pictures):
    images, split = pictures
    if method == "ablationcam":
        with pytest.raises(ValueError, match="method 'ablationcam' replaces all 3 calls of 'relus.0'"):
            gl.heatmaps(Reused(), images, split.labels, "relus.0", method)
        return
    cams = gl.heatmaps(Reused(), images[:3], split.labels[:3], "relus.0", method)
    assert close(cams.maps, gl.heatmaps(Reused(3), images[:3], split.labels[:3], "relus.2", method).maps)


def test_torchvisions_blocks_call_their_relu_twice_and_add_in_place(pictures):
    images, split = pictures
    torch.manual_seed(0)
    model = torchvision.models.resnet18(num_classes=10)
    relu, block = (gl.heatmaps(model, images, split.labels, layer) for layer in ("layer1.1.relu", "layer1.1"))
    assert close(relu.maps, block.maps)
    added = gl.heatmaps(model, images, split.labels, "layer2.1.bn2").maps  # out += identity comes next
    model.eval()
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    x = model.layer2[0](model.layer1(model.maxpool(model.relu(model.bn1(model.conv1(images))))))
    first, second = model.layer2[1], nn.Sequential(model.layer3, model.layer4, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    out = first.bn2(first.conv2(torch.relu(first.bn1(first.conv1(x)))))
    scores = model.fc(second(torch.relu(out + x)))
    (gradient,) = torch.autograd.grad(scores.gather(1, split.labels[:, None]).sum(), out)
    maps = (gradient.mean((2, 3), keepdim=True) * out).sum(1, keepdim=True).relu().detach()
    assert close(added, F.interpolate(maps, (32, 32), mode="bilinear")[:, 0])


class Branches(nn.Module):
    """A layer that is called for both halves of the picture, and once more for nothing."""

    def __init__(self, aside=False):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.head, self.aside = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(8, 10), aside

    def forward(self, x):
        left, right = (self.stem(half) for half in (x[..., :16], x[..., 16:]))
        scores = self.head(torch.cat([left.amax((2, 3)), right.square().mean((2, 3))], 1))
        if self.aside:
            self.stem(x)
        return scores


def test_of_two_branches_the_map_is_that_of_the_second_and_of_a_call_for_nothing_there_is_none(pictures):
    images, split = pictures
    assert close(
        gl.heatmaps(Branches(), images, split.labels, "stem").maps,
        by_hand(Branches().eval(), images, split.labels, "stem"),
    )
    with pytest.raises(ValueError, match="no gradient at what layer 'stem' returns last"):
        gl.heatmaps(Branches(aside=True), images, split.labels, "stem")


def test_what_is_read_of_a_layer_is_its_last_call_before_anything_is_written_into_it(pictures):
    images, split = pictures
    kept = images.clone()
    expected, rows = (attention.activations(Written(how), images, "c1") for how in ("plain", "method"))
    assert torch.allclose(rows, expected) and torch.equal(images, kept) and (rows < rows.mean(1, True)).any()
    model, seen = Reused().eval(), []
    handle = model.conv.register_forward_hook(lambda module, given, output: seen.append(output.detach().double()))
    model(images)
    handle.remove()
    last = seen[2].movedim(1, 0).flatten(1)
    assert torch.allclose(attention.activations(model, images, "conv"), last - last.mean(1, keepdim=True))
    maps = torch.rand(12, 32, 32, generator=torch.Generator().manual_seed(0))
    plain, in_place = (gl.road(Written(how), images, split.labels, maps) for how in ("plain", "method"))
    assert np.allclose(plain, in_place, atol=1e-6) and torch.equal(images, kept)


class Returning(nn.Module):
    def __init__(self, what):
        super().__init__()
        self.layer, self.what = nn.Conv2d(3, 10, 3), what

    def forward(self, x):
        return self.what(self.layer(x).mean((2, 3)))


@pytest.mark.parametrize("what, words", [
    (lambda y: (y, y), "got a tuple"), (lambda y: {"logits": y}, "got a dict"), (lambda y: [y], "got a list"),
    (lambda y: y[:, :, None], r"got a tensor \(\d+, 10, 1\)"), (lambda y: y.sum(), r"got a tensor \(\) for"),
    (lambda y: y.repeat(2, 1), r"got a tensor \(\d+, 10\) for \d+ pictures"), (lambda y: None, "got a NoneType"),
])  # fmt: skip
def test_a_model_that_returns_something_else_than_logits_is_told(what, words, pictures, data):
    images, split = pictures
    model, words = Returning(what), r"the model must return logits \(N, classes\), " + words
    for look in (
        lambda: gl.heatmaps(model, images, split.labels, "layer"), lambda: gl.part_votes(model, data, 5),
        lambda: gl.road(model, images, split.labels, torch.ones(12, 32, 32)), lambda: logits_of(model, images),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            look()


def test_logits_are_of_all_classes_and_of_pictures_alone(pictures):
    images, _ = pictures
    model = Returning(lambda y: y)
    assert torch.equal(logits_of(model, images, 10), model(images))
    with pytest.raises(ValueError, match=r"must return logits \(N, classes\), got 10 for 11 classes: it knows 10"):
        logits_of(model, images, 11)
    model.forward = lambda x, mask: x  # a TypeError of another kind comes through, below
    with pytest.raises(TypeError):
        logits_of(model, images)
    with pytest.raises(ValueError, match="pictures alone, got Bilinear.forward.. missing 1 required .*: 'input2'"):
        logits_of(nn.Bilinear(3, 3, 3), images)


@pytest.mark.parametrize(
    "model, layer",
    [
        (lambda: gl.vgg16(2), "22"),
        (lambda: gl.mobilenet(2), None),
        (lambda: torchvision.models.resnet18(num_classes=10), "layer1.1.relu"),
    ],
    ids=["vgg16", "mobilenet", "resnet18"],
)
def test_the_default_layer_has_maps_a_quarter_as_wide_as_the_picture(model, layer, pictures):
    images, split = pictures
    model, sizes = model(), {}
    cams = gl.heatmaps(model, images[:2], split.labels[:2])
    assert layer in (None, cams.layer)
    model.get_submodule(cams.layer).register_forward_hook(
        lambda module, given, output: sizes.update(width=output.shape[-1])
    )
    model.eval()(images[:1])
    assert sizes["width"] >= 8


def test_an_empty_map_is_counted_and_stays_zero(pictures):
    images, split = pictures
    model = net()
    with torch.no_grad():
        model[-1].weight[3] = -1.0  # all that is seen speaks against class 3
        model[-1].weight[4] = 1.0
    cams = gl.heatmaps(model, images[:4], [3, 4, 3, 4], layer="14")
    assert cams.empty.tolist() == [True, False, True, False] and "2 empty" in repr(cams)
    assert cams.scaled.amax((1, 2)).tolist() == [0, 1, 0, 1]


def test_what_cannot_be_drawn_is_told(pictures):
    images, split = pictures
    for wrong, words in (
        ({"targets": split.labels[:3]}, "3 for 12"), ({"targets": split.labels + 10}, r"0\.\.9"),
        ({"method": "magic"}, "gradcam"),
        ({"layer": "99"}, "99"), ({"layer": "17"}, "no maps"), ({"layer": ""}, "layer must be one of 0, 1.*, got ''"),
        ({"targets": 3}, r"got the shape \(\) for 12"),
        ({"targets": split.labels.float()}, "whole numbers, got torch.float32"),
        ({"batch_size": 0}, "batch_size must be"), ({"images": images[:0]}, r"at least one, got \(0, 3, 32, 32\)"),
        ({"method": "randomcam"}, "method must be one of"),  # it draws from NumPy's global stream
    ):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            gl.heatmaps(net(), **{"images": images, "targets": split.labels} | wrong)
    with pytest.raises(ValueError, match="pass layer="):
        gl.heatmaps(gl.mlp([3 * 32 * 32, 4, 10]), images, split.labels)
    with pytest.raises(ValueError, match="layer '0' has no maps"):  # a block of layers
        gl.heatmaps(
            nn.Sequential(nn.Sequential(nn.Flatten(), nn.Linear(3072, 10)), nn.Identity()), images, split.labels, "0"
        )
    with pytest.raises(ValueError, match="no bfloat16"):
        gl.heatmaps(net().bfloat16(), images, split.labels)
    broken = net()
    broken[0].weight.data[0] = math.nan
    with pytest.raises(ValueError, match="became NaN"):
        gl.heatmaps(broken, images, split.labels)


def test_the_default_layer_of_wide_pictures_is_fine_along_both_sides():
    cams = gl.heatmaps(net(), torch.randn(2, 3, 16, 128, generator=torch.Generator().manual_seed(0)), [0, 1])
    assert cams.layer == "10" and cams.maps.shape == (2, 16, 128)  # 4×32


# ------------------------------------------------------------------------------------- what heat maps cover


def test_coverage_of_a_uniform_map_and_of_the_mask_itself(pictures):
    _, split = pictures
    share = split.objects.float().mean((1, 2))
    table = gl.coverage(torch.ones(12, 32, 32), split.masks, split.objects)
    assert np.allclose(table.energy, share) and np.allclose(table.pointing, share)
    assert np.allclose(table[["parts", "area", "entropy"]], 1) and np.allclose(table.effective_parts, 5)
    table = gl.coverage(split.masks[:, 2].float(), split.masks, split.objects)
    assert np.allclose(table.energy, 1) and (table.pointing == 1).all() and np.allclose(table.parts, 0.2)
    assert np.allclose(table.effective_parts, 1) and (table.entropy < 0.7).all() and not table["empty"].any()


def test_coverage_ignores_the_scale_and_leaves_empty_maps_out(pictures):
    _, split = pictures
    maps = torch.rand(12, 32, 32)
    maps[5] = 0
    table, scaled = (gl.coverage(given, split.masks) for given in (maps, 1000 * maps))
    assert np.allclose(table.astype(float), scaled.astype(float), equal_nan=True) and table["empty"].tolist() == [
        row == 5 for row in range(12)
    ]
    assert table.drop(columns="empty").iloc[5].isna().all() and table.drop(5).notna().all(axis=None)


def test_coverage_wants_maps_and_masks_of_the_same_pictures(pictures):
    _, split = pictures
    for maps in (torch.ones(11, 32, 32), torch.ones(12, 16, 16)):
        with pytest.raises(ValueError, match="same pictures"):
            gl.coverage(maps, split.masks)
    with pytest.raises(ValueError, match="not be negative, got -1"):
        gl.coverage(-torch.ones(12, 32, 32), split.masks)


@pytest.mark.parametrize("wrong, words", [
    ({"masks": None}, "masks must be .* got None"),
    ({"masks": torch.ones(2, 5, 4, 4)}, "must be bool, got torch.float32"),
    ({"objects": 255 * torch.ones(2, 4, 4, dtype=torch.uint8)}, "must be bool, got torch.bool and torch.uint8"),
    ({"masks": torch.ones(2, 4, 4, dtype=torch.bool)}, r"masks\[:, None\]"),
    ({"cams": torch.full((2, 4, 4), math.nan)}, "must be finite"),
    ({"cams": torch.ones(2, 1, 1)}, "more than one pixel"), ({"cams": torch.ones(4, 4)}, r"must be \(N, H, W\)"),
])  # fmt: skip
def test_coverage_says_what_it_cannot_measure(wrong, words):
    with pytest.raises(ValueError, match=words):
        gl.coverage(**{"cams": torch.ones(2, 4, 4), "masks": torch.ones(2, 5, 4, 4, dtype=torch.bool)} | wrong)


def test_coverage_takes_arrays_and_maps_with_gradients(pictures):
    _, split = pictures
    maps = torch.rand(12, 32, 32, generator=torch.Generator().manual_seed(0))
    expected = gl.coverage(maps, split.masks)
    assert gl.coverage(maps.numpy(), split.masks.numpy()).equals(expected)
    assert gl.coverage(maps.requires_grad_(), split.masks).equals(expected)


def test_baselines_know_the_middle_and_the_edges(pictures):
    images, split = pictures
    maps = attention.baselines(images)
    assert maps["centre prior"][0].argmax().item() in (15 * 32 + 15, 15 * 32 + 16, 16 * 32 + 15, 16 * 32 + 16)
    energy = gl.coverage(maps["edge map"], split.masks, split.objects).energy
    assert (energy > split.objects.float().mean((1, 2)).numpy()).all()


def test_auc_is_the_chance_that_one_exceeds_the_other():
    assert gl.auc([2, 3], [0, 1]) == 1 and gl.auc([0, 1], [2, 3]) == 0 and gl.auc([1, 1], [1, 1]) == 0.5
    assert gl.auc([2, math.nan], [1, math.nan]) == 1
    generator = np.random.default_rng(0)
    assert abs(gl.auc(generator.normal(size=2000), generator.normal(size=2000)) - 0.5) < 0.03


# ------------------------------------------------------------------------------ do they follow the network?


class LeftHalf(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(3.0))

    def forward(self, images):
        score = self.scale * images[..., :16].mean((1, 2, 3))
        return torch.stack([score, -score], 1)


def test_road_rewards_maps_of_what_counts_and_punishes_maps_of_what_does_not():
    images = torch.zeros(3, 3, 32, 32)
    images[:, :, ::4, 2:14:4] = 8.0  # dots, left
    images[:, :, ::4, 18::4] = 8.0  # dots, right
    dots = (images[:, 0] > 0).float()
    left, right = dots.clone(), dots.clone()
    left[..., 16:], right[..., :16] = 0, 0
    scores = {name: gl.road(LeftHalf(), images, [0, 0, 0], maps) for name, maps in (("left", left), ("right", right))}
    assert (scores["left"] > 0.05).all() and (scores["left"] > scores["right"] + 0.05).all()
    again = gl.road(LeftHalf(), images, [0, 0, 0], left)
    assert np.array_equal(again, scores["left"])
    left[1] = 0
    assert np.isnan(gl.road(LeftHalf(), images, [0, 0, 0], left)).tolist() == [False, True, False]


@pytest.mark.parametrize("wrong, words", [
    ({"targets": [0]}, "got 1 for 4"), ({"targets": [0, 1, -1, 0]}, r"0\.\.1, got -1"),
    ({"targets": [99] * 4}, r"0\.\.1, got 99"), ({"cams": torch.ones(4, 16, 16)}, "as many and as large"),
    ({"cams": torch.ones(3, 32, 32)}, "as many and as large"),
    ({"cams": torch.full((4, 32, 32), math.nan)}, "must be finite"), ({"percentiles": ()}, "at least one"),
    ({"percentiles": (200,)}, r"in \(0, 100\), got 200"),
])  # fmt: skip
def test_road_says_what_it_cannot_measure(wrong, words):
    with pytest.raises(ValueError, match=words):
        gl.road(LeftHalf(), torch.zeros(4, 3, 32, 32), **{"targets": [0] * 4, "cams": torch.ones(4, 32, 32)} | wrong)


def test_randomised_leaves_no_parameter_as_it_was():
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(8, 2, 8)
    assert not torch.equal(attention.randomised(model).self_attn.in_proj_weight, model.self_attn.in_proj_weight)
    with pytest.raises(ValueError, match="how to draw 1.scale anew"):
        attention.randomised(nn.Sequential(net(), LeftHalf()))


def test_randomised_is_another_network_and_the_first_one_stays(pictures):
    model = net().train()
    before = [p.clone() for p in model.parameters()]
    other, same = attention.randomised(model, 1), attention.randomised(model, 1)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before))
    assert not torch.equal(other[0].weight, model[0].weight) and torch.equal(other[0].weight, same[0].weight)


def test_activations_are_rows_whose_cosines_are_correlations(pictures):
    images, _ = pictures
    model = net()
    rows = attention.activations(model, images, "4")
    assert rows.shape == (5, 12 * 16 * 16) and model.training and not model[4]._forward_hooks
    assert np.allclose(gl.cosine_map(rows), np.corrcoef(rows), atol=1e-6)
