"""What the built-in pictures promise: the same everywhere, fair to all parts, and nothing to learn but shape."""

import hashlib
from dataclasses import fields

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from growlab.data.critters import CLASSES, FORMS, HUES, PARTS, ROOM, best_accuracy, draw

CENTRED = FORMS[..., ROOM] - FORMS[..., ROOM].mean(-1, keepdims=True)  # (5, 10, 45)


@pytest.fixture(scope="module")
def plain():
    return draw(6000, seed=1)


def same(a, b):
    return all(np.array_equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))


def crops(critters):
    """(n, 5, 45) grey values of each part's form. A form is symmetric, so facing left or right does not matter."""
    grey = critters.images.astype(float).mean(1)
    return np.repeat(grey[:, None], 5, 1)[critters.masks].reshape(len(grey), 5, 45)


def read(critters):
    """(n, 5): the class whose form is most like what a part shows, as it is or as a negative."""
    seen = crops(critters)
    seen = seen - seen.mean(-1, keepdims=True)
    return abs(np.einsum("npk,pck->npc", seen, CENTRED)).argmax(-1)


def centres(critters):
    """(n, 5, 2): y, x of each part's middle."""
    return np.argwhere(critters.masks)[:, 2:].reshape(-1, 5, 45, 2).mean(2)


def probe(features, labels, strength=0.001):
    """Accuracy of a logistic regression on the last third, after fitting on the first two thirds."""
    cut = len(labels) * 2 // 3
    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))
    return model.fit(features[:cut], labels[:cut]).score(features[cut:], labels[cut:])


def colour_histogram(critters):
    coarse = critters.images.astype(int) // 64
    bins = (coarse[:, 0] * 16 + coarse[:, 1] * 4 + coarse[:, 2]).reshape(len(coarse), -1)
    return (bins[:, :, None] == np.arange(64)).sum(1)


def amplitudes(images):
    return abs(np.fft.rfft2(images.astype(float).mean(1))).reshape(len(images), -1)


# The same on every machine


@pytest.mark.parametrize("expected, options", [
    ("42291f964eb6a2691b561dc3d3e069b41c13f028d41063eb31ba59cdcfae8310", {"shortcut": 0.5}),
    ("dd9a85cb86ea7a6521a2bd1406c036d7b62562697994d9e6abf573089db7d25d", {"hide": 1, "swap": 2}),
    ("24e44b8a0bf63377abb1ea1ffb5e27760a6b53b664b0fc49a6ef181727ac9aa0", {"new_backgrounds": True}),
])  # fmt: skip
def test_golden_bytes(options, expected):
    """The pictures may never change unnoticed: recorded runs stand on them."""
    critters, digest = draw(32, seed=2024, **options), hashlib.sha256()
    for field in fields(critters):
        digest.update(np.ascontiguousarray(getattr(critters, field.name)).tobytes())
    assert digest.hexdigest() == expected


def test_types_and_shapes():
    critters = draw(3, seed=0)
    expected = {
        "images": ("uint8", (3, 3, 32, 32)),
        "labels": ("int64", (3,)),
        "masks": ("bool", (3, 5, 32, 32)),
        "objects": ("bool", (3, 32, 32)),
        "forms": ("int64", (3, 5)),
        "touched": ("bool", (3, 5)),
        "backgrounds": ("int64", (3,)),
    }
    assert {f.name: (str(a.dtype), a.shape) for f in fields(critters) for a in [getattr(critters, f.name)]} == expected
    assert len(CLASSES) == len(set(CLASSES)) == len(HUES) == 10 and len(PARTS) == 5


def test_same_seed_same_pictures_other_seed_others():
    assert same(draw(50, seed=3), draw(50, seed=3))
    assert not np.array_equal(draw(50, seed=3).images, draw(50, seed=4).images)


def test_a_longer_draw_begins_with_the_shorter_one():
    short, long = draw(520, seed=5, hide=1), draw(1100, seed=5, hide=1)
    assert same(short, type(long)(*(getattr(long, f.name)[:520] for f in fields(long))))


# Forms


def test_forms_are_symmetric_equally_dark_and_far_apart():
    assert np.array_equal(FORMS, FORMS[..., ::-1])
    assert not FORMS[..., ~ROOM].any() and (FORMS.sum((2, 3)) == 22).all()
    flat = FORMS[..., ROOM].reshape(50, 45)
    differ = (flat[:, None] != flat).sum(-1)[np.triu_indices(50, 1)]
    assert differ.min() >= 9 and differ.max() <= 36  # 36 of 45: from its negative, too, a form differs in 9


def test_a_part_shows_its_class_with_probability_reliability():
    for reliability in (0.3, 0.6, 1.0):
        critters = draw(4000, seed=6, reliability=reliability)
        own = critters.forms == critters.labels[:, None]
        error = np.sqrt(reliability * (1 - reliability) / 4000)
        assert (abs(own.mean(0) - reliability) <= 4 * error).all()  # 4 standard errors: by chance 1 in 16,000
    critters = draw(4000, seed=6)
    away = (critters.forms - critters.labels[:, None]) % 10
    share = np.bincount(away[away > 0], minlength=10)[1:] / (away > 0).sum()  # about 8,000 forms of other classes
    assert (abs(share - 1 / 9) < 4 * np.sqrt(1 / 9 * 8 / 9 / 8000)).all()


def test_parts_are_independent(plain):
    own = (plain.forms == plain.labels[:, None]).astype(float)
    apart = np.corrcoef(own.T)[np.triu_indices(5, 1)]
    assert (abs(apart) < 4 / np.sqrt(6000)).all()  # the standard error of a zero correlation is 1/sqrt(n)


def test_classes_are_equally_frequent(plain):
    assert (abs(np.bincount(plain.labels) / 6000 - 0.1) < 4 * np.sqrt(0.1 * 0.9 / 6000)).all()


def test_every_form_can_be_read_from_the_picture(plain):
    assert np.array_equal(read(plain), plain.forms)


def test_parts_are_equally_informative():
    critters = draw(12000, seed=7)  # standard error of one accuracy 0.45 points, so 2 points are out of chance's reach
    accuracy = (read(critters) == critters.labels[:, None]).mean(0)
    assert np.ptp(accuracy) < 0.02 and abs(accuracy.mean() - 0.6) < 0.01


def test_parts_are_equally_easy_to_learn():
    """A learned probe, too, reads all parts: as dark on light, 22 dark pixels of 45."""
    critters = draw(1500, seed=8, reliability=1)
    seen = crops(critters)
    dark = seen < seen.mean(-1, keepdims=True)
    dark ^= dark.sum(-1, keepdims=True) == 23
    accuracy = [probe(dark[:, part], critters.labels, strength=1) for part in range(5)]
    assert min(accuracy) > 0.98


# Where the parts are, and how large


def test_parts_have_equal_areas_and_contrast(plain):
    assert (plain.masks.sum((2, 3)) == 45).all()
    seen = crops(plain)
    low, high = seen.min(-1), seen.max(-1)
    assert ((seen == low[..., None]) | (seen == high[..., None])).all()  # two greys only ...
    assert (np.ptp(low, 1) == 0).all() and (np.ptp(high, 1) == 0).all()  # ... the same in all parts
    assert (high - low > 40).all()


def test_parts_are_seven_pixels_wide_apart_and_on_the_animal(plain):
    assert (plain.masks.sum(1) <= plain.objects).all()  # disjoint, and inside the animal
    assert (plain.masks.any(2).sum(-1) == 7).all() and (plain.masks.any(3).sum(-1) == 7).all()
    where = centres(plain)
    distance = abs(where[:, :, None] - where[:, None]).max(-1)[:, *np.triu_indices(5, 1)]
    assert distance.min() >= 8


def test_positions_vary_and_a_mirrored_picture_could_have_been_drawn(plain):
    where = centres(plain)
    assert (np.ptp(where, axis=0).min(1) >= 1).all() and (where.std(0)[:, 1] > 0.9).all()
    left = where[:, 0, 1] < 16
    assert abs(left.mean() - 0.5) < 4 * 0.5 / np.sqrt(6000)
    there, mirrored = where[left], where[~left] * (1, -1) + (0, 31)
    for part in range(5):  # the same places, whichever way it looks
        assert np.array_equal(np.unique(there[:, part], axis=0), np.unique(mirrored[:, part], axis=0))


# Nothing but shape tells the class (chance is 10 %; 2,000 held-out pictures have a standard error of 0.7 points)


def test_colours_do_not_tell_the_class(plain):
    assert probe(colour_histogram(plain), plain.labels) <= 0.15
    cheat = draw(3000, seed=9, shortcut=0.9)  # control: the same probe finds a colour that does tell
    assert probe(colour_histogram(cheat), cheat.labels) > 0.5


def test_positions_and_areas_do_not_tell_the_class(plain):
    areas = np.hstack([plain.masks.sum((2, 3)), plain.objects.sum((1, 2))[:, None]])
    features = np.hstack([centres(plain).reshape(6000, -1), areas])
    assert probe(features, plain.labels, strength=1) <= 0.15
    moved = features + 2 * (plain.labels % 2)[:, None]  # control
    assert probe(moved, plain.labels, strength=1) > 0.15


@pytest.mark.parametrize("scale", [np.asarray, np.log1p])
def test_spectra_do_not_tell_the_class(plain, scale):
    assert probe(scale(amplitudes(plain.images)), plain.labels) <= 0.15


def test_the_spectrum_probe_finds_a_planted_texture(plain):
    wave = np.cos(np.arange(32) * np.pi / 8 * np.arange(10)[:, None])  # (10, 32): class i has i waves in 16 pixels
    planted = plain.images + 12 * wave[plain.labels][:, None, None, :]
    assert probe(amplitudes(planted), plain.labels) > 0.5


def test_the_shortcut_is_in_the_background_and_only_in_training():
    def colour(critters):  # mean of the background, without its brightness
        behind = ~critters.objects[:, None]
        mean = (critters.images * behind).sum((2, 3)) / behind.sum((2, 3))
        return mean - mean.mean(1, keepdims=True)

    train = draw(4000, seed=10, shortcut=0.9)
    anchors = np.array([colour(train)[train.labels == c].mean(0) for c in range(10)])

    def accuracy(critters):
        return (((colour(critters)[:, None] - anchors) ** 2).sum(-1).argmin(1) == critters.labels).mean()

    assert abs(accuracy(train) - 0.91) < 0.02  # s + (1 - s) / 10; standard error 0.5 points
    assert abs((train.backgrounds == train.labels).mean() - 0.91) < 0.02
    assert abs(accuracy(draw(4000, seed=11)) - 0.1) < 0.02
    assert accuracy(draw(4000, seed=11, new_backgrounds=True)) < 0.02


# Interventions


def test_hidden_parts_are_shuffled_and_nothing_else_changes():
    before, after = draw(3000, seed=12), draw(3000, seed=12, hide=1)
    assert (after.touched.sum(1) == 1).all() and np.array_equal(after.forms == -1, after.touched)
    assert np.array_equal(before.forms[~after.touched], after.forms[~after.touched])
    touched = (after.masks & after.touched[..., None, None]).any(1)[:, None]
    assert np.array_equal(np.where(touched, 0, before.images), np.where(touched, 0, after.images))
    assert np.array_equal(np.sort(crops(before)), np.sort(crops(after)))  # equal values, so equal mean and variance
    for name in ("labels", "masks", "objects", "backgrounds"):
        assert np.array_equal(getattr(before, name), getattr(after, name))
    right = read(after) == after.labels[:, None]
    assert right[after.touched].mean() <= 0.15 and right[~after.touched].mean() > 0.55
    assert (abs(after.touched.mean(0) - 0.2) < 4 * np.sqrt(0.2 * 0.8 / 3000)).all()


@pytest.mark.parametrize("choice, parts", [("tail", [3]), (["head", "feet"], [0, 4]), (PARTS, range(5)), ((), [])])
def test_parts_can_be_named(choice, parts):
    for intervention in ("hide", "swap"):
        assert (draw(20, seed=13, **{intervention: choice}).touched == np.isin(np.arange(5), list(parts))).all()


def test_hiding_more_hides_the_same_and_others():
    touched = [draw(50, seed=14, hide=number).touched for number in range(6)]
    for number in range(1, 6):
        assert (touched[number].sum(1) == number).all() and (touched[number - 1] <= touched[number]).all()


def test_swapped_parts_show_one_donor_of_another_class():
    before, after = draw(3000, seed=15), draw(3000, seed=15, swap=2)
    donors = after.forms[after.touched].reshape(-1, 2)
    assert (donors[:, 0] == donors[:, 1]).all() and (donors[:, 0] != after.labels).all()
    assert np.bincount((donors[:, 0] - after.labels) % 10, minlength=10)[1:].min() > 200  # 333 expected of each
    assert np.array_equal(read(after), after.forms)
    touched = (after.masks & after.touched[..., None, None]).any(1)[:, None]
    assert np.array_equal(np.where(touched, 0, before.images), np.where(touched, 0, after.images))
    both = draw(100, seed=15, hide=2, swap=2)
    assert np.array_equal(both.forms == -1, draw(100, seed=15, hide=2).touched) and (both.touched.sum(1) == 4).all()


def test_new_backgrounds_belong_to_other_classes_and_spare_the_animal():
    before, after = draw(3000, seed=16, shortcut=0.9), draw(3000, seed=16, shortcut=0.9, new_backgrounds=True)
    assert (after.backgrounds != after.labels).all() and len(np.unique(after.backgrounds)) == 10
    animal = after.objects[:, None]
    assert np.array_equal(before.images * animal, after.images * animal) and np.array_equal(before.forms, after.forms)
    assert not np.array_equal(before.images, after.images)


# The best possible accuracy, and errors


@pytest.mark.parametrize("reliability", [0.1, 0.35, 0.6, 0.8, 1.0])
def test_best_accuracy_agrees_with_a_simulated_vote(reliability):
    forms, random = draw(8000, seed=17, reliability=reliability), np.random.default_rng(0)
    for parts in range(6):
        votes = (forms.forms[:, :parts, None] == np.arange(10)).sum(1) + random.random((8000, 10)) / 2  # ties at random
        accuracy = (votes.argmax(1) == forms.labels).mean()
        assert abs(accuracy - best_accuracy(parts, reliability)) < 4 * 0.5 / np.sqrt(8000)  # 4 standard errors


def test_best_accuracy_has_known_values():
    assert [round(best_accuracy(parts, 0.6), 3) for parts in range(6)] == [0.1, 0.6, 0.6, 0.733, 0.828, 0.883]
    assert best_accuracy(3, 0.1) == pytest.approx(0.1) and best_accuracy(3, 1) == 1
    three = 0.6**3 + 3 * 0.6**2 * 0.4 + 3 * 0.6 * 0.4**2 * (8 / 9) / 3  # all, two, or one and two that disagree
    assert best_accuracy(3, 0.6) == pytest.approx(three)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"n": 0}, "n must be .* at least 1, got 0"),
        ({"n": 2.5}, "n must be .* got 2.5"),
        ({"n": True}, "n must be .* got True"),
        ({"seed": -1}, "seed must be .* got -1"),
        ({"reliability": 0.05}, r"reliability must be .* \[0.1, 1\], got 0.05"),
        ({"reliability": 60}, "reliability must be .* got 60"),
        ({"reliability": float("nan")}, "reliability must be .* got nan"),
        ({"shortcut": 1.5}, r"shortcut must be .* \[0, 1\], got 1.5"),
        ({"shortcut": float("nan")}, "shortcut must be .* got nan"),
        ({"hide": "nose"}, "hide must be .*'head'.* got 'nose'"),
        ({"hide": 6}, "hide must be .* got 6"),
        ({"hide": True}, "hide must be .* got True"),
        ({"hide": 2.5}, "hide must be .* got 2.5"),
        ({"swap": ["head", "ear"]}, "swap must be .*'head'.* got"),
        ({"swap": -1}, "swap must be .* got -1"),
        ({"hide": "head", "swap": "head"}, "same part"),
        ({"hide": 3, "swap": 3}, "same part"),
    ],
)
def test_wrong_values_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        draw(**({"n": 2, "seed": 0} | wrong))


def test_best_accuracy_names_wrong_values():
    for parts, reliability in ((6, 0.6), (-1, 0.6), (2.5, 0.6), (3, float("nan")), (3, 0.0)):
        with pytest.raises(ValueError, match="must be .* got"):
            best_accuracy(parts, reliability)
