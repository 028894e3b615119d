"""growlab/data: the same batches for the same seed, honest splits, and loaders that leave nothing half-done."""

import hashlib
import io
import os
import pickle
import socket
import socketserver
import tarfile
import threading
import warnings
from http.server import BaseHTTPRequestHandler

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from growlab.data import sources
from growlab.data.batches import Split, crop_and_flip
from growlab.data.sources import load_data
from growlab.decorrelation import refresh_statistics
from growlab.seeds import random_stream


def random_images(*shape, seed=0):
    return torch.randint(
        1, 256, shape, dtype=torch.uint8, generator=random_stream(seed, "images")
    )  # 1..255: 0 is padding


def make_split(n=50, channels=3, height=12, width=10, shift=2, flip=True):
    """Picture i has label i, so that a batch tells which pictures it holds."""
    images = random_images(n, channels, height, width)
    mean, std = sources._moments(images)
    return Split(images, torch.arange(n), tuple(map(str, range(n))), mean, std, shift=shift, flip=flip)


def grey_levels(split, images):
    """Undo the normalisation."""
    levels = images * split.std[:, None, None] + split.mean[:, None, None]
    assert (levels - levels.round()).abs().max() < 1e-3
    return levels.round().to(torch.uint8)


# ------------------------------------------------------------------------------------------ random streams


def test_streams_repeat_and_differ_by_purpose():
    def first(*key):
        return torch.randint(2**60, (), generator=random_stream(*key)).item()

    keys = [
        (0,),
        (1,),
        (0, "data"),
        (0, "data", 0),
        (0, "data", 1),
        (0, "init"),
        ("0", "data"),
        (0, "da", "ta"),
        ((0, "data"), 2),
    ]
    assert len({first(*key) for key in keys}) == len(keys)
    assert [first(*key) for key in keys] == [first(*key) for key in keys]
    assert first(np.int64(0), "data", np.int32(1)) == first(0, "data", 1)
    with pytest.raises(TypeError):
        random_stream(0, object())


def test_streams_leave_the_global_generator_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    for _ in make_split().batches(8, augment=True, seed=3):
        pass
    assert torch.equal(torch.rand(3), expected)


# ------------------------------------------------------------------------------------------------- batches


@pytest.mark.parametrize("augment", [False, True])
def test_same_seed_gives_the_same_batches_on_every_pass(augment):
    split = make_split()
    batches = split.batches(16, augment, seed=4)
    first, second, other = list(batches), list(batches), list(split.batches(16, augment, seed=4))
    assert len(batches) == len(first) == 4
    for (x, y), (x2, y2), (x3, y3) in zip(first, second, other, strict=True):
        assert torch.equal(x, x2) and torch.equal(y, y2) and torch.equal(x, x3) and torch.equal(y, y3)


def test_another_epoch_has_another_order_and_other_crops():
    split = make_split()
    (x, y), (x2, y2) = (next(iter(split.batches(50, True, seed=(0, "data", epoch)))) for epoch in (0, 1))
    assert not torch.equal(y, y2)
    assert not torch.equal(x[y.argsort()], x2[y2.argsort()])


@pytest.mark.parametrize("augment, seed", [(False, None), (False, 0), (True, 0)])
@pytest.mark.parametrize("size", [1, 7, 50, 999])
def test_every_picture_appears_exactly_once_in_a_pass(augment, seed, size):
    split = make_split()
    seen = torch.cat([labels for _, labels in split.batches(size, augment, seed)])
    assert sorted(seen.tolist()) == list(range(50))
    assert (seen.tolist() == list(range(50))) == (seed is None)  # no seed: the stored order


@pytest.mark.parametrize("augment, seed", [(False, None), (False, 0), (True, 0)])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 9, 16, 17, 50])
def test_a_rest_of_one_picture_joins_the_batch_before_it_and_nothing_else_moves(n, augment, seed):
    split = make_split(n)
    ((whole, labels),) = split.batches(n, augment, seed)
    for size in (1, 2, 3, 4, 7, 8, 16, 49, 50, 999):
        batches = split.batches(size, augment, seed)
        cut = [size] * (n // size) + [n % size] * (n % size > 0)
        if size > 1 and n % size == 1 and n > 1:
            cut[-2:] = [size + 1]
        found = list(batches)
        assert [len(given) for _, given in found] == cut and len(batches) == len(cut)
        assert torch.equal(torch.cat([x for x, _ in found]), whole) and torch.equal(
            torch.cat([y for _, y in found]), labels
        )


def test_a_batch_norm_trains_on_every_batch_of_a_pass():
    split = make_split(50)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(360, 4), torch.nn.BatchNorm1d(4))
    assert 50 % 7 == 50 % 49 == 1
    for size in (7, 49):
        for images, _ in split.batches(size, augment=True, seed=0):
            model(images)
        refresh_statistics(model, split.batches(size))


def test_batches_without_augmentation_are_the_normalised_pictures():
    split = make_split()
    for images, labels in split.batches(16, seed=0):
        expected = (split.images[labels].double() - split.mean[:, None, None]) / split.std[:, None, None]
        assert images.dtype == torch.float32 and torch.allclose(images.double(), expected, atol=1e-5)


def test_colour_batches_are_channels_last():
    for augment in (False, True):
        for images, _ in make_split().batches(16, augment, seed=0):
            assert images.is_contiguous(memory_format=torch.channels_last) and images.stride(1) == 1


def slow_crop_and_flip(image, top, left, flip, shift):
    """The obvious version: pixel by pixel over an explicitly padded picture (C, H, W)."""
    channels, height, width = image.shape
    padded = np.zeros((channels, height + 2 * shift, width + 2 * shift), np.uint8)
    padded[:, shift:-shift, shift:-shift] = image
    result = np.zeros_like(image)
    for y in range(height):
        for x in range(width):
            from_x = width - 1 - x if flip else x
            result[:, y, x] = padded[:, y + top, from_x + left]
    return result


def test_crop_and_flip_equals_the_obvious_loop():
    split = make_split()
    draw = random_stream(0, "oracle")
    rows = torch.randint(0, 50, (40,), generator=draw)  # pictures may repeat
    top, left = torch.randint(0, 5, (2, 40), generator=draw)
    flip = torch.randint(0, 2, (40,), generator=draw)
    fast = crop_and_flip(split.padded, rows, top, left, flip, shift=2)
    slow = np.stack(
        [slow_crop_and_flip(split.images[row].numpy(), *move, 2) for row, *move in zip(rows, top, left, flip)]
    )
    assert np.array_equal(fast.numpy(), slow)
    assert not np.array_equal(fast.numpy(), split.images[rows].numpy())  # something moved


def test_augmented_pictures_are_windows_of_their_own_padded_picture_and_use_all_of_them():
    split = make_split(n=20)
    found = {}
    for seed in range(60):
        for images, labels in split.batches(20, augment=True, seed=seed):
            for image, label in zip(grey_levels(split, images).numpy(), labels.tolist()):
                move = next(move for move in windows(split.images[label].numpy()) if np.array_equal(move[1], image))[0]
                found[move] = found.get(move, 0) + 1
    assert sum(found.values()) == 1200 and len(found) == 50  # 5 tops, 5 lefts, 2 flips, each expected 24 times
    assert 5 <= min(found.values()) and max(found.values()) <= 50
    flipped = sum(count for (_, _, flip), count in found.items() if flip)
    assert 520 < flipped < 680  # 600 ± 4.6 standard deviations


def windows(image):
    padded = np.pad(image, ((0, 0), (2, 2), (2, 2)))
    _, height, width = image.shape
    for top in range(5):
        for left in range(5):
            window = padded[:, top : top + height, left : left + width]
            yield (top, left, False), window
            yield (top, left, True), window[:, :, ::-1]


def test_augmentation_invents_no_values():
    images = torch.full((30, 3, 8, 8), 77, dtype=torch.uint8)
    images[:, 1] = 200
    split = Split(
        images,
        torch.zeros(30, dtype=torch.int64),
        ("a",),
        torch.full((3,), 100.0),
        torch.full((3,), 50.0),
        shift=3,
        flip=True,
    )
    values = torch.cat([x.permute(0, 2, 3, 1).reshape(-1, 3) for x, _ in split.batches(8, True, seed=0)]).unique(dim=0)
    assert sorted(map(tuple, (values * 50 + 100).round().int().tolist())) == [(0, 0, 0), (77, 200, 77)]


def test_normalised_training_pictures_have_mean_0_and_standard_deviation_1():
    images = (random_images(200, 3, 8, 8).double() * torch.tensor([1.0, 0.5, 0.1])[:, None, None] + 20).to(torch.uint8)
    mean, std = sources._moments(images)
    split = Split(images, torch.zeros(200, dtype=torch.int64), ("a",), mean, std)
    whole = torch.cat([x for x, _ in split.batches(64, seed=1)]).double()
    assert whole.mean((0, 2, 3)).abs().max() < 1e-5
    assert (whole.std((0, 2, 3), correction=0) - 1).abs().max() < 1e-5
    assert (mean - images.double().mean((0, 2, 3))).abs().max() < 1e-4
    assert mean[0] - mean[2] > 50  # the channels do differ: one constant for all would fail above


def test_a_channel_without_contrast_gives_zeros_not_nan():
    mean, std = sources._moments(torch.full((4, 1, 8, 8), 9, dtype=torch.uint8))
    split = Split(torch.full((4, 1, 8, 8), 9, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64), ("a",), mean, std)
    assert torch.equal(next(iter(split.batches()))[0], torch.zeros(4, 1, 8, 8))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gets_the_same_batches_without_waiting_within_a_pass():
    splits = {device: load_data("digits", device=device).train for device in ("cpu", "cuda")}
    batches = iter(splits["cuda"].batches(64, augment=True, seed=2))
    on_gpu = [next(batches)]
    torch.cuda.set_sync_debug_mode("error")
    try:
        on_gpu += list(batches)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for (x, y), (x2, y2) in zip(splits["cpu"].batches(64, augment=True, seed=2), on_gpu, strict=True):
        assert torch.equal(x, x2.cpu()) and torch.equal(y, y2.cpu())


@pytest.mark.parametrize("size", [0, -1, 2.5, "128", None])
def test_a_wrong_batch_size_is_named(size):
    with pytest.raises(ValueError, match="batch size must be a whole number of at least 1"):
        make_split().batches(size)


def test_augmentation_without_a_seed_is_refused():
    with pytest.raises(ValueError, match="augment=True needs a seed"):
        make_split().batches(16, augment=True)


# -------------------------------------------------------------------------------------------------- splits


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"images": torch.zeros(4, 3, 8, 8)}, TypeError, "images must be uint8, .* got torch.float32"),
        ({"labels": torch.zeros(4, dtype=torch.int32)}, TypeError, "labels int64, got torch.uint8 and torch.int32"),
        ({"images": torch.zeros(3, 8, 8, dtype=torch.uint8)}, ValueError, r"\(N, C, H, W\).* got \(3, 8, 8\)"),
        ({"images": torch.zeros(0, 3, 8, 8, dtype=torch.uint8)}, ValueError, "not empty"),
        (
            {"labels": torch.zeros(5, dtype=torch.int64)},
            ValueError,
            "labels must be as many as the images, got 5 for 4",
        ),
        (
            {"masks": torch.zeros(3, 5, 8, 8, dtype=torch.bool)},
            ValueError,
            "masks must be as many as the images, got 3 for 4",
        ),
        ({"labels": torch.tensor([0, 1, 2, 0])}, ValueError, r"labels must be in 0..1 for 2 classes, got 2"),
        ({"labels": torch.tensor([0, -1, 1, 0])}, ValueError, r"labels must be in 0..1 for 2 classes, got -1"),
    ],
)
def test_a_split_refuses_what_it_cannot_mean(change, error, message):
    good = {
        "images": torch.zeros(4, 3, 8, 8, dtype=torch.uint8),
        "labels": torch.tensor([0, 1, 1, 0]),
        "classes": ("a", "b"),
        "mean": torch.zeros(3),
        "std": torch.ones(3),
    }
    assert len(Split(**good)) == 4
    with pytest.raises(error, match=message):
        Split(**good | change)


def pictures(split):
    return {image.numpy().tobytes() for image in split.images}


def test_validation_pictures_are_never_trained_on_and_the_split_belongs_to_the_seed(colours):
    data, again, other = (load_data(f"folder:{colours}", seed=seed) for seed in (0, 0, 1))
    assert (len(data.train), len(data.val), len(data.test)) == (36, 4, 6)
    assert len(pictures(data.train)) == 36  # all pictures differ: an overlap would be seen
    assert not pictures(data.train) & pictures(data.val)
    assert len(pictures(data.train) | pictures(data.val)) == 40
    assert torch.equal(data.train.images, again.train.images) and torch.equal(data.val.labels, again.val.labels)
    assert pictures(data.val) != pictures(other.val)
    assert torch.equal(data.test.images, other.test.images)


def test_all_splits_share_the_constants_of_the_training_pictures(colours):
    data = load_data(f"folder:{colours}")
    exact = data.train.images.double().std((0, 2, 3), correction=0)
    assert torch.allclose(data.train.std.double(), exact, rtol=1e-6)
    assert all(split.mean is data.train.mean and split.std is data.train.std for split in data.splits.values())


def test_limit_keeps_so_many_training_pictures_and_all_test_pictures(colours):
    whole, data = load_data(f"folder:{colours}"), load_data(f"folder:{colours}", limit=20)
    assert (len(data.train), len(data.val), len(data.test)) == (18, 2, 6)
    assert pictures(data.train) | pictures(data.val) < pictures(whole.train) | pictures(whole.val)
    assert len(data.train.labels.unique()) == 2  # drawn from all classes, not the first files
    assert pictures(load_data(f"folder:{colours}", limit=20, seed=1).train) != pictures(data.train)
    assert len(load_data(f"folder:{colours}", limit=999).train) == 36
    smallest = load_data("digits", limit=2)
    assert (len(smallest.train), len(smallest.val), len(smallest.test)) == (1, 1, 359)


@pytest.mark.parametrize("limit", [0, 1, -5, 0.5, "10"])
def test_a_wrong_limit_is_named(limit):
    with pytest.raises(ValueError, match="limit must be a whole number of at least 2, got"):
        load_data("digits", limit=limit)


@pytest.mark.parametrize("name", ["cifar", "", "Digits", "folder", "folder:", "digits:here"])
def test_an_unknown_name_is_answered_with_the_known_ones(name):
    known = "data set must be one of critters, digits, cifar10, cifar100, folder:PATH, got"
    with pytest.raises(ValueError, match=f"{known} {name!r}"):
        load_data(name)


def test_an_unknown_option_is_answered_with_the_known_ones(colours):
    with pytest.raises(TypeError, match="digits has no option 'size': it takes none"):
        load_data("digits", size=16)
    with pytest.raises(TypeError, match="folder has no option 'reliability': it takes size"):
        load_data(f"folder:{colours}", reliability=0.5)


def test_an_unknown_split_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match="split of digits must be one of train, val, test, got 'tset'"):
        load_data("digits").batches("tset")


def test_root_is_the_argument_then_the_environment_then_the_clone_then_the_home(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setitem(
        sources.SOURCES, "digits", lambda path, root, seed: seen.append(root) or sources._digits(path, root, seed)
    )
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GROWLAB_DATA", str(tmp_path / "environment"))
    load_data("digits", root=tmp_path / "argument")
    load_data("digits")
    monkeypatch.delenv("GROWLAB_DATA")
    monkeypatch.setattr(sources, "__file__", str(tmp_path / "clone" / "growlab" / "data" / "sources.py"))
    load_data("digits")
    (tmp_path / "clone" / "data").mkdir(parents=True)
    (tmp_path / "clone" / "data" / "README.md").touch()
    load_data("digits")
    home = tmp_path / "home" / ".cache" / "growlab"
    assert seen == [tmp_path / "argument", tmp_path / "environment", home, tmp_path / "clone" / "data" / "downloads"]


# ------------------------------------------------------------------------------------------------ critters


@pytest.fixture(scope="module")
def drawn():
    return load_data("critters", n=300, shortcut=1.0)


def test_critters_come_with_everything_known_about_them(drawn):
    from growlab import critters

    assert drawn.classes == critters.CLASSES
    assert {name: len(split) for name, split in drawn.splits.items()} == {
        "train": 270,
        "val": 30,
        "test": 2000,
        "hidden": 2000,
        "swapped": 2000,
        "backgrounds": 2000,
    }
    raw = critters.draw(300, random_stream(0, "critters", "train").initial_seed(), 0.6, 1.0)
    row_of = {image.tobytes(): row for row, image in enumerate(raw.images)}
    for split in (drawn.train, drawn.val):
        rows = [row_of.pop(image.numpy().tobytes()) for image in split.images]
        for field in ("labels", "masks", "objects", "forms", "touched", "backgrounds"):
            assert np.array_equal(getattr(split, field).numpy(), getattr(raw, field)[rows]), field
    assert not row_of
    assert drawn.train.masks.shape == (270, 5, 32, 32) and drawn.train.objects.dtype == torch.bool


def test_critters_cheat_with_the_background_in_training_only(drawn):
    shares = {
        "train": 1,
        "val": 1,
        "test": 0.1,
        "hidden": 0.1,
        "swapped": 0.1,
        "backgrounds": 0,
    }  # of hues that are the class's
    for split, share in shares.items():
        same = (drawn.splits[split].backgrounds == drawn.splits[split].labels).float().mean()
        assert abs(same - share) < (0.04 if share == 0.1 else 1e-9), split


def test_critters_variants_are_the_test_pictures_with_one_change(drawn):
    test = drawn.test
    assert not test.touched.any()
    for name in ("hidden", "swapped", "backgrounds"):
        split = drawn.splits[name]
        assert torch.equal(split.labels, test.labels) and torch.equal(split.masks, test.masks)
        changed = (split.images != test.images).any(1)  # (N, H, W)
        assert changed.any((1, 2)).float().mean() > 0.8  # it is not the test set once more
        if name == "backgrounds":
            assert torch.equal(split.forms, test.forms) and not (changed & test.objects).any()
            assert (split.backgrounds != test.labels).all()
        else:
            assert (split.touched.sum(1) == 1).all() and torch.equal(split.backgrounds, test.backgrounds)
            touched = (test.masks & split.touched[:, :, None, None]).any(1)
            assert not (changed & ~touched).any()
            assert torch.equal(split.forms[~split.touched], test.forms[~split.touched])
            assert ((split.forms == -1) == (split.touched & (name == "hidden"))).all()
    assert (drawn.splits["swapped"].forms[drawn.splits["swapped"].touched] != test.labels).all()


def test_critters_lose_no_part_by_augmentation(drawn):
    shift = drawn.train.shift
    assert shift == 2 and drawn.train.flip
    for split in drawn.splits.values():
        reach = split.masks.any(1).any(0)
        assert reach[shift:-shift, shift:-shift].sum() == reach.sum()


def test_critters_repeat_for_a_seed_and_never_test_on_a_training_picture(drawn):
    again, other = load_data("critters", n=300, shortcut=1.0), load_data("critters", n=300, shortcut=1.0, seed=1)
    for name, split in drawn.splits.items():
        assert torch.equal(split.images, again.splits[name].images)
    assert not pictures(drawn.test) & pictures(other.test)
    assert not pictures(drawn.test) & (pictures(drawn.train) | pictures(drawn.val))


def test_critters_options_reach_the_drawing_and_are_checked():
    sure = load_data("critters", n=50, reliability=1.0, limit=20)
    assert len(sure.train) == 18 and len(sure.val) == 2
    assert all((sure.splits[name].forms == sure.splits[name].labels[:, None]).all() for name in ("train", "test"))
    with pytest.raises(ValueError, match="n must be a whole number of at least 2, got 1"):
        load_data("critters", n=1)
    with pytest.raises(ValueError, match="reliability must be"):
        load_data("critters", n=50, reliability=2)
    with pytest.raises(TypeError, match="critters has no option 'size': it takes n, reliability, shortcut"):
        load_data("critters", size=16)


# -------------------------------------------------------------------------------------------------- digits


def test_digits_are_the_1797_pictures_of_8_by_8_and_are_not_augmented():
    data = load_data("digits")
    assert [len(data.train), len(data.val), len(data.test)] == [1294, 144, 359]
    assert data.train.images.shape == (1294, 1, 8, 8) and data.classes == tuple("0123456789")
    assert data.train.images.min() == 0 and data.train.images.max() == 255
    assert data.train.masks is None and data.train.objects is None
    for (x, _), (x2, _) in zip(data.batches("train", augment=True, seed=0), data.batches("train", seed=0), strict=True):
        assert torch.equal(x, x2)


def test_digits_have_one_test_set_for_all_seeds_that_no_training_picture_is_in():
    from sklearn.datasets import load_digits

    data, other = load_data("digits", seed=0), load_data("digits", seed=1)
    assert torch.equal(data.test.images, other.test.images)
    counts = {image.astype(np.uint8).tobytes(): 0 for image in load_digits().images}
    for split in data.splits.values():
        for image in split.images:
            counts[(image[0].double() * 16 / 255).round().to(torch.uint8).numpy().tobytes()] += 1
    assert sum(counts.values()) == 1797 and set(counts.values()) == {1}  # each picture in one split, once


# --------------------------------------------------------------------------------------------------- CIFAR


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """A function that writes a small archive in the original format and teaches torchvision its checksums."""
    from torchvision.datasets import CIFAR10, CIFAR100

    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("GROWLAB_DATA", str(tmp_path / "root"))
    (tmp_path / "root").mkdir()

    def write(name="cifar10"):
        kind = {"cifar10": CIFAR10, "cifar100": CIFAR100}[name]
        draw = np.random.default_rng(0)
        classes = int(name[5:])
        label_key = "labels" if classes == 10 else "fine_labels"
        names = [f"class {i}" for i in range(classes)]
        archive = tmp_path / kind.filename
        written, tables = {}, {}
        with tarfile.open(archive, "w:gz") as tar:

            def add(file, content):
                raw = pickle.dumps(content, protocol=2)
                info = tarfile.TarInfo(f"{kind.base_folder}/{file}")
                info.size = len(raw)
                tar.addfile(info, io.BytesIO(raw))
                return hashlib.md5(raw).hexdigest()

            for table in ("train_list", "test_list"):
                tables[table] = []
                for file, _ in getattr(kind, table):
                    batch = {
                        "data": draw.integers(0, 256, (20, 3072), np.uint8),
                        label_key: draw.integers(0, classes, 20).tolist(),
                    }
                    if classes == 100:
                        batch["coarse_labels"] = [0] * 20
                    written[file] = batch["data"], batch[label_key]
                    tables[table].append([file, add(file, batch)])
            meta = kind.meta | {"md5": add(kind.meta["filename"], {kind.meta["key"]: names})}
        # CIFAR100 is a CIFAR10: set on each class itself, so that neither sees the other's tables
        for attribute, value in {
            **tables,
            "meta": meta,
            "tgz_md5": hashlib.md5(archive.read_bytes()).hexdigest(),
            "url": "http://127.0.0.1:9/never",
        }.items():
            monkeypatch.setattr(kind, attribute, value)
        return kind, archive, written, names

    return write


def serve(answer):
    """A server on 127.0.0.1 whose GET is ``answer(handler)``; returns (server, address)."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            try:
                answer(self)
            except OSError:
                pass  # the client has gone

        def log_message(self, *_):
            pass

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_address[1]}/archive.tar.gz"


def send(handler, content, announced):
    handler.send_response(200)
    handler.send_header("Content-Length", str(announced))
    handler.end_headers()
    handler.wfile.write(content)
    handler.wfile.flush()


def everything_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_is_downloaded_checked_and_read(name, cifar, tmp_path):
    kind, archive, written, names = cifar(name)
    raw = archive.read_bytes()
    server, kind.url = serve(lambda handler: send(handler, raw, len(raw)))  # undone by the fixture's monkeypatch
    data = load_data(name)
    server.shutdown()
    server.server_close()

    train_files = [file for file, _ in kind.train_list]
    assert data.classes == tuple(names)
    assert len(data.train) + len(data.val) == 20 * len(train_files) and len(data.test) == 20
    ((test_pixels, test_labels),) = [written[file] for file, _ in kind.test_list]
    assert torch.equal(data.test.images, torch.from_numpy(test_pixels.reshape(-1, 3, 32, 32)))
    assert data.test.labels.tolist() == test_labels
    label_of = {pixels.tobytes(): label for file in train_files for pixels, label in zip(*written[file])}
    for split in (data.train, data.val):
        assert [label_of.pop(image.numpy().tobytes()) for image in split.images] == split.labels.tolist()
    assert not label_of  # each training picture came, once, with its own label
    assert os.listdir(tmp_path / "root") == [kind.base_folder]
    assert (data.train.shift, data.train.flip) == (4, True)

    again = load_data(name)  # the server has gone: the unpacked folder is used
    assert torch.equal(again.train.images, data.train.images)


def test_cifar_archive_put_there_by_hand_is_unpacked_and_kept(cifar, tmp_path):
    kind, archive, written, _ = cifar()
    root = tmp_path / "elsewhere"
    root.mkdir()
    archive.rename(root / kind.filename)
    data = load_data("cifar10", root=root)
    assert np.array_equal(data.test.images.numpy().reshape(20, -1), written["test_batch"][0])
    assert sorted(os.listdir(root)) == sorted([kind.base_folder, kind.filename])


def test_cifar_truncated_archive_is_named_and_not_deleted(cifar, tmp_path):
    kind, archive, *_ = cifar()
    raw = archive.read_bytes()
    placed = tmp_path / "root" / kind.filename
    placed.write_bytes(raw[: len(raw) // 2])
    with pytest.raises(RuntimeError, match="truncated or damaged") as caught:
        load_data("cifar10")
    message = str(caught.value)
    assert str(placed) in message and kind.tgz_md5 in message and "Put a whole copy in its place" in message
    assert everything_in(tmp_path / "root") == [kind.filename] and placed.read_bytes() == raw[: len(raw) // 2]


def test_cifar_damaged_folder_is_named_and_not_deleted(cifar, tmp_path):
    kind, archive, *_ = cifar()
    archive.rename(tmp_path / "root" / kind.filename)
    load_data("cifar10")
    folder = tmp_path / "root" / kind.base_folder
    for damaged in ("data_batch_3", "batches.meta"):
        whole = (folder / damaged).read_bytes()
        (folder / damaged).write_bytes(whole[:-10])
        with pytest.raises(RuntimeError, match="incomplete or damaged: delete or rename it") as caught:
            load_data("cifar10")
        assert str(folder) in str(caught.value) and (folder / damaged).exists()
        (folder / damaged).write_bytes(whole)
    load_data("cifar10")


TROUBLE = {
    "cut off half-way": lambda handler, raw, gone: send(handler, raw[: len(raw) // 2], len(raw)),
    "stalled half-way": lambda handler, raw, gone: (send(handler, raw[: len(raw) // 2], len(raw)), gone.wait()),
    "silent": lambda handler, raw, gone: gone.wait(),
    "404": lambda handler, raw, gone: handler.send_error(404),
    "another file": lambda handler, raw, gone: send(handler, b"<html>please log in</html>", 26),
    "no answer in HTTP": lambda handler, raw, gone: handler.wfile.write(b"\x00\x01\x02\n\n"),
}


@pytest.mark.parametrize("trouble", TROUBLE)
def test_cifar_failed_download_leaves_no_trace_and_says_what_to_do(trouble, cifar, tmp_path, monkeypatch):
    """A server that is silent stays so until the client has given up: else this would never end."""
    kind, archive, *_ = cifar()
    raw, gone = archive.read_bytes(), threading.Event()
    server, address = serve(lambda handler: TROUBLE[trouble](handler, raw, gone))
    monkeypatch.setattr(kind, "url", address)
    monkeypatch.setattr(sources, "STALL_SECONDS", 0.3)
    with pytest.raises(ConnectionError) as caught:
        load_data("cifar10")  # while the server is still silent
    gone.set()
    server.shutdown()
    server.server_close()
    assert everything_in(tmp_path / "root") == []
    assert socket.getdefaulttimeout() is None
    assert caught.value.__cause__ is not None
    for part in (address, str(tmp_path / "root"), kind.filename, kind.tgz_md5, "by hand", "folder:PATH", "critters"):
        assert part in str(caught.value)


def test_cifar_interrupted_download_leaves_no_trace(cifar, tmp_path, monkeypatch):
    kind, *_ = cifar()

    def stop(self):
        (tmp_path / "root" / os.listdir(tmp_path / "root")[0] / "half").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(kind, "download", stop)
    with pytest.raises(KeyboardInterrupt):
        load_data("cifar10")
    assert everything_in(tmp_path / "root") == [] and socket.getdefaulttimeout() is None


def test_cifar_folder_that_another_process_finished_first_is_used(cifar, tmp_path, monkeypatch):
    kind, archive, *_ = cifar()
    archive.rename(tmp_path / "root" / kind.filename)
    load_data("cifar10")
    finished = tmp_path / "root" / kind.base_folder
    aside = finished.rename(tmp_path / "aside")
    replace = os.replace

    def too_late(source, target):
        aside.rename(finished)
        replace(source, target)

    monkeypatch.setattr(os, "replace", too_late)
    assert len(load_data("cifar10").test) == 20
    assert sorted(os.listdir(tmp_path / "root")) == sorted([kind.base_folder, kind.filename])


def test_cifar_root_that_cannot_be_written_is_named(cifar, tmp_path):
    kind, archive, *_ = cifar()
    (tmp_path / "file").touch()
    with pytest.raises(ConnectionError, match=str(tmp_path / "file")):
        load_data("cifar10", root=tmp_path / "file" / "root")


# ------------------------------------------------------------------------------------ a folder of pictures


def write_picture(file, array):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(file)


@pytest.fixture
def colours(tmp_path, monkeypatch):
    """20 training and 3 test pictures each of blue and red, 32x32 PNG."""
    monkeypatch.setenv("GROWLAB_DATA", str(tmp_path / "root"))
    draw = np.random.default_rng(0)
    for split, count in (("train", 20), ("test", 3)):
        for name, channel in (("red", 0), ("blue", 2)):
            for i in range(count):
                array = draw.integers(0, 100, (32, 32, 3), np.uint8)
                array[..., channel] += 150
                write_picture(tmp_path / "pictures" / split / name / f"{i:02}.png", array)
    return tmp_path / "pictures"


def test_folder_reads_every_picture_with_its_class(colours):
    data = load_data(f"folder:{colours}")
    assert data.name == "folder:pictures"  # without the rest of the path: records are read elsewhere
    assert data.classes == ("blue", "red") and data.train.images.shape == (36, 3, 32, 32)
    for split in data.splits.values():
        assert ((split.images[:, 0] > split.images[:, 2]).all((1, 2)) == (split.labels == 1)).all()
    expected = np.asarray(Image.open(colours / "test" / "blue" / "01.png")).transpose(2, 0, 1)
    assert np.array_equal(data.test.images[1].numpy(), expected)


def test_folder_takes_any_case_of_the_endings_and_no_hidden_files(colours):
    (colours / "test" / "red" / "00.png").rename(colours / "test" / "red" / "00.PNG")
    array = np.zeros((32, 32, 3), np.uint8)
    write_picture(colours / "test" / "red" / "a.JPG", array)
    write_picture(colours / "test" / "red" / "b.jpeg", array)
    for junk in ("test/red/._00.png", "test/red/Thumbs.db", "test/.DS_Store", "train/notes.txt"):
        (colours / junk).write_bytes(b"junk")
    (colours / "train" / ".ipynb_checkpoints").mkdir()
    assert len(load_data(f"folder:{colours}").test) == 8


def test_folder_takes_all_that_imagefolder_takes_and_folders_in_folders(colours):
    array, cat = np.full((40, 40, 3), 90, np.uint8), colours / "train" / "red"
    deep = cat / "2024" / "May"
    for name in (
        "a.webp",
        "b.bmp",
        "c.tif",
        "d.tiff",
        "e.ppm",
        "f.JPG",
        "2024/a.WEBP",
        "2024/May/a.jpeg",
        "2024/May/b.png",
    ):
        write_picture(cat / name, array)
    write_picture(deep / "grey.pgm", array[..., 0])
    write_picture(colours / "test" / "blue" / "more" / "x.png", array)
    (cat / "folder.png").mkdir()
    write_picture(cat / "folder.png" / "y.png", array)
    for split, kept in (("train", ("train", "val")), ("test", ("test",))):
        expected = torchvision.datasets.ImageFolder(colours / split)
        data = load_data(f"folder:{colours}")
        labels = torch.cat([data.splits[name].labels for name in kept])
        assert data.classes == tuple(expected.classes)
        assert labels.bincount().tolist() == np.bincount(expected.targets).tolist()
    for name in ("deep.gif", "deep.jfif"):  # ImageFolder leaves these out
        Image.fromarray(array).save(deep / name, format={"gif": "GIF", "fif": "JPEG"}[name[-3:]])
    for hidden in (".hidden/a.png", "2024/.hidden/a.png", "2024/May/.a.png"):
        write_picture(cat / hidden, array)
    data = load_data(f"folder:{colours}")
    labels = torch.cat([data.train.labels, data.val.labels])
    assert labels.bincount().tolist() == [20, 20 + 9 + 1 + 1 + 2]
    kept = torch.cat([data.train.images, data.val.images])
    assert ((kept.int() - 90).abs() <= 1).flatten(1).all(1).sum() == 13  # decoded, whatever the kind


def test_folder_names_what_it_leaves_out_and_opens_none_of_it(colours):
    red, array = colours / "train" / "red", np.zeros((32, 32, 3), np.uint8)
    before = load_data(f"folder:{colours}")
    (red / "more").mkdir()
    os.mkfifo(red / "more" / "pipe.png")  # would be waited for, for ever
    (red / "null.png").symlink_to("/dev/null")
    (red / "gone.jpg").symlink_to(red / "nowhere.jpg")
    (red / "loop").symlink_to(red)
    (red / "elsewhere").symlink_to(colours / "test")
    (red / "phone.heic").write_bytes(b"a picture that Pillow does not read")
    write_picture(colours / "train" / "beside.png", array)
    for notes in ("labels.csv", "more/README.md", "more/Thumbs.db"):  # lose no picture, and are not named
        (red / notes).write_bytes(b"notes")
    with pytest.warns(UserWarning) as caught:
        data = load_data(f"folder:{colours}")
    (message,) = (str(warning.message) for warning in caught)
    assert f"7 left out of {colours / 'train'}, such as [" in message
    for name in (
        "beside.png", "red/elsewhere", "red/gone.jpg", "red/loop", "red/more/pipe.png", "red/null.png", "red/phone.heic"
    ):  # fmt: skip
        assert repr(name) in message
    for name, split in before.splits.items():
        assert torch.equal(split.images, data.splits[name].images)
    for number in range(20):
        (red / f"{number}.heic").touch()
    with pytest.warns(UserWarning, match="27 left out"):
        load_data(f"folder:{colours}")


def test_folder_takes_classes_and_pictures_behind_links(colours):
    (colours / "train" / "red").rename(colours / "elsewhere")
    (colours / "train" / "red").symlink_to(colours / "elsewhere")
    (colours / "train" / "blue" / "link.png").symlink_to(colours / "elsewhere" / "00.png")
    assert len(load_data(f"folder:{colours}").train) == 37


def test_folder_scales_the_shorter_side_and_crops_the_centre(colours):
    stripes = np.zeros((64, 160, 3), np.uint8)
    stripes[:, :40, 0] = stripes[:, 40:120, 1] = stripes[:, 120:, 2] = 255  # red, green, blue
    write_picture(colours / "test" / "red" / "99.png", stripes)
    write_picture(colours / "test" / "red" / "98.png", stripes.transpose(1, 0, 2))
    test = load_data(f"folder:{colours}", size=16).test
    assert test.images.shape == (8, 3, 16, 16) and test.shift == 2
    for image in test.images[-2:]:
        assert (image[1] > 250).all() and (image[0] < 5).all() and (image[2] < 5).all()  # only the middle is left


def test_folder_turns_photographs_as_the_camera_was_held(colours):
    array = np.zeros((32, 32, 3), np.uint8)
    array[:16] = 255  # bright above; stored with "turn right by 90 degrees"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(array).save(colours / "test" / "red" / "99.jpg", exif=exif)
    image = load_data(f"folder:{colours}").test.images[-1].float()
    assert image[:, :, 20:].mean() > 240 and image[:, :, :12].mean() < 15


def test_folder_grey_and_palette_pictures_become_rgb_and_16_bits_are_refused(colours):
    write_picture(colours / "test" / "red" / "97.png", np.full((32, 32), 70, np.uint8))
    Image.fromarray(np.full((32, 32), 70, np.uint8)).convert("P").save(colours / "test" / "red" / "98.png")
    assert (load_data(f"folder:{colours}").test.images[-2:] == 70).all()
    write_picture(colours / "test" / "red" / "99.png", np.full((32, 32), 70 * 256, np.uint16))
    with pytest.raises(ValueError, match=r"99.png is not a readable picture \(more than 8 bits a channel\)"):
        load_data(f"folder:{colours}")


def never(*_):
    raise AssertionError("decoded again")


def test_folder_is_decoded_once_and_then_read_from_the_cache(colours, monkeypatch):
    first = load_data(f"folder:{colours}")
    monkeypatch.setattr(sources, "_decode", never)
    second = load_data(f"folder:{colours}")
    for name in first.splits:
        assert torch.equal(first.splits[name].images, second.splits[name].images)
        assert torch.equal(first.splits[name].labels, second.splits[name].labels)
    with pytest.raises(AssertionError, match="decoded again"):  # another size is another cache
        load_data(f"folder:{colours}", size=16)


@pytest.mark.parametrize("change", ["content", "time", "name", "new file", "fewer files"])
def test_folder_is_decoded_again_after_a_change(change, colours, monkeypatch):
    load_data(f"folder:{colours}")
    file = colours / "test" / "red" / "01.png"
    stat = file.stat()
    if change == "content":
        write_picture(file, np.zeros((32, 32, 3), np.uint8))
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # a copy that keeps the old time
    elif change == "time":
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1000))
    elif change == "name":
        file.rename(file.with_name("01b.png"))
    elif change == "new file":
        write_picture(file.with_name("99.png"), np.zeros((32, 32, 3), np.uint8))
    else:
        file.unlink()
    with monkeypatch.context() as patch, pytest.raises(AssertionError, match="decoded again"):
        patch.setattr(sources, "_decode", never)
        load_data(f"folder:{colours}")
    images = load_data(f"folder:{colours}").test.images
    assert len(images) == {"new file": 7, "fewer files": 5}.get(change, 6)
    assert (images[4] == 0).all() == (change == "content")
    assert len(list((colours.parent / "root" / "cache").iterdir())) == 1  # the old cache was replaced


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: b"",
        lambda raw: raw[:1000],
        lambda raw: b"x" * len(raw),
        lambda raw: raw[: len(raw) // 2] + b"xxxx" + raw[len(raw) // 2 + 4 :],
    ],
)
def test_folder_rebuilds_an_unreadable_cache(damage, colours):
    first = load_data(f"folder:{colours}")
    (cache,) = (colours.parent / "root" / "cache").iterdir()
    whole = cache.read_bytes()
    cache.write_bytes(damage(whole))
    assert torch.equal(load_data(f"folder:{colours}").train.images, first.train.images)
    with np.load(cache) as stored:
        assert len(stored["images"]) == 46


def test_folder_loads_without_a_place_for_the_cache(colours):
    (colours.parent / "root").write_text("a file where the folder should be")
    with pytest.warns(UserWarning, match="cannot keep the decoded pictures"):
        assert len(load_data(f"folder:{colours}").train) == 36


def test_folder_leaves_no_half_written_cache(colours, monkeypatch):
    def full(file, **arrays):
        file.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.warns(UserWarning, match="No space left"):
        load_data(f"folder:{colours}")
    assert everything_in(colours.parent / "root") == ["cache"]


def remove_all(folder):
    for file in folder.iterdir():
        file.unlink()


@pytest.mark.parametrize(
    "break_it, error, message",
    [
        (
            lambda p: p.rename(p.with_name("moved")),
            FileNotFoundError,
            r"/pictures is no folder: pictures must be in .*/train/CLASS/",
        ),
        (lambda p: (p / "train").rename(p / "learn"), FileNotFoundError, r"/pictures/train is no folder"),
        (lambda p: (p / "test").rename(p / "exam"), FileNotFoundError, r"/pictures/test is no folder"),
        (lambda p: remove_all(p / "train" / "red"), ValueError, r"/train/red has no pictures \(.jpeg, .jpg, .png\)"),
        (lambda p: remove_all(p / "test" / "blue"), ValueError, r"/test/blue has no pictures"),
        (
            lambda p: [(p / "test" / name).rename(p / name) for name in ("red", "blue")],
            ValueError,
            r"/pictures/test has no pictures",
        ),
        (lambda p: (p / "train" / "red").rename(p / "red"), ValueError, r"/train has one class only, blue"),
        (
            lambda p: (p / "test" / "red").rename(p / "test" / "green"),
            ValueError,
            r"/test has classes that train/ lacks, green",
        ),
        (
            lambda p: (p / "train" / "red" / "03.png").write_bytes(b"no picture"),
            ValueError,
            r"/train/red/03.png is not a readable picture",
        ),
    ],
)
def test_folder_errors_name_the_place_and_the_remedy(break_it, error, message, colours):
    break_it(colours)
    with warnings.catch_warnings(), pytest.raises(error, match=message):
        warnings.simplefilter("error")
        load_data(f"folder:{colours}")
    assert not (colours.parent / "root").exists()  # nothing was cached


def test_folder_names_a_truncated_picture(colours):
    file = colours / "train" / "blue" / "07.png"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(ValueError, match="/train/blue/07.png is not a readable picture .*: repair it or remove it"):
        load_data(f"folder:{colours}")


@pytest.mark.parametrize("size", [0, -1, 31.5])
def test_folder_size_must_be_whole(size, colours):
    with pytest.raises(ValueError, match="size must be a whole number of at least 1"):
        load_data(f"folder:{colours}", size=size)
