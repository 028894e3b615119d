"""Where pictures come from: drawn critters, scikit-learn's digits, CIFAR with its checksums, a folder of your own.

Behind ``load_data``, at the very beginning of the flow. Downloads and caches appear finished or not at all.
A new data set is a function here and a line in ``SOURCES``.
"""

import hashlib
import json
import os
import socket
import tempfile
import warnings
import zipfile
from http.client import HTTPException
from pathlib import Path

import numpy as np
import torch

from growlab.checks import whole
from growlab.data.batches import Data, Split
from growlab.seeds import random_stream


# ------------------------------------------------------------------------------------------------- loading
def load_data(name, root=None, device="cpu", limit=None, seed=0, **options):
    """Load "critters", "digits", "cifar10", "cifar100" or "folder:PATH" onto ``device``, as Data.

    root: where downloads and caches lie; without it $GROWLAB_DATA, else data/downloads of a cloned project,
    else ~/.cache/growlab. limit: at most so many training pictures, drawn at random by the seed. A tenth of
    them becomes ``val``, also by the seed; the test pictures are neither limited nor touched.
    options: critters take n (training pictures, 6,000), reliability (0.6) and shortcut (0); folder takes size (32).

    Raises ValueError for an unknown name or unusable pictures, TypeError for an unknown option, FileNotFoundError
    for a missing folder, ConnectionError for a failed download, RuntimeError for a damaged one. Notebook 00.
    """
    from growlab.data.sources import SOURCES

    kind, _, path = name.partition(":")
    if kind not in SOURCES or bool(path) != (kind == "folder"):
        raise ValueError(
            f'unknown data set {name!r}: take "critters", "digits", "cifar10", "cifar100" or "folder:PATH"'
        )
    takes = SOURCES[kind].__kwdefaults__ or {}
    for option in options:
        if option not in takes:
            raise TypeError(f"{kind} has no option {option!r}: it takes {', '.join(takes) or 'none'}")
    if limit is not None:
        whole("limit", limit, 2, "at least one picture to train on and one to validate")

    root = root or os.environ.get("GROWLAB_DATA") or default_root()
    classes, parts, augment = SOURCES[kind](path, Path(root).expanduser().absolute(), seed, **options)
    parts = {split: {key: torch.from_numpy(array) for key, array in part.items()} for split, part in parts.items()}
    everything = parts.pop("train")
    order = torch.randperm(len(everything["labels"]), generator=random_stream(seed, "split"))[:limit]
    val, train = order.tensor_split([max(1, round(0.1 * len(order)))])
    parts = {
        split: {key: value[rows] for key, value in everything.items()}
        for split, rows in {"train": train, "val": val}.items()
    } | parts

    mean, std = _moments(parts["train"]["images"])
    classes = tuple(map(str, classes))
    common = {"classes": classes, "mean": mean.to(device), "std": std.to(device), **augment}
    name = f"{kind}:{Path(path).resolve().name}" if path else name  # a record needs no path of this machine
    return Data(
        name,
        classes,
        {
            split: Split(**{key: value.to(device) for key, value in part.items()}, **common)
            for split, part in parts.items()
        },
    )


def default_root():
    clone = Path(__file__).resolve().parents[2] / "data"
    return clone / "downloads" if (clone / "README.md").exists() else "~/.cache/growlab"


def _moments(images):
    """Mean and standard deviation, (C,) each, of uint8 (N, C, H, W): exact, from how often each grey level occurs."""
    counts = torch.stack([torch.bincount(channel.flatten(), minlength=256) for channel in images.unbind(1)]).double()
    shares, levels = counts / counts.sum(1, keepdim=True), torch.arange(256, dtype=torch.float64)
    mean = shares @ levels
    variance = (shares * (levels - mean[:, None]) ** 2).sum(1)
    return mean.float(), torch.where(variance > 0, variance, 1.0).sqrt().float()  # a constant channel gives 0, not NaN


STALL_SECONDS = 30  # a download is given up when the host has been silent for so long
SUFFIXES = (".jpeg", ".jpg", ".png")


# A source takes (PATH or "", root, seed), and its options by keyword; it returns the names of the classes,
# {split: {field of Split: array}}, and what augment=True does.
def _critters(path, root, seed, *, n=6000, reliability=0.6, shortcut=0.0):
    from growlab.data import critters

    whole("n", n, 2, "at least one picture to train on and one to validate")

    def draw(split, count, **how):
        return vars(critters.draw(count, random_stream(seed, "critters", split).initial_seed(), reliability, **how))

    parts = {
        "train": draw("train", n, shortcut=shortcut),
        "test": draw("test", 2000),
        "hidden": draw("test", 2000, hide=1),
        "swapped": draw("test", 2000, swap=1),
        "backgrounds": draw("test", 2000, new_backgrounds=True),
    }
    return critters.CLASSES, parts, {"shift": 2, "flip": True}  # two pixels never cut a form


def _digits(path, root, seed):
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.round(digits.images[:, None] * (255 / 16)).astype(np.uint8)  # ink comes as 0..16
    order = torch.randperm(len(images), generator=random_stream("digits", "test")).numpy()  # one test set for all seeds
    test, train = np.split(order, [len(order) // 5])
    parts = {
        split: {"images": images[rows], "labels": digits.target[rows].astype(np.int64)}
        for split, rows in {"train": train, "test": test}.items()
    }
    return digits.target_names, parts, {}  # no augmentation: a mirrored digit is none, and 8 pixels leave no room


# ---------------------------------------------------------------------------------------------------- CIFAR
def _cifar(name, root):
    from torchvision import datasets

    kind = getattr(datasets, name)
    folder = root / kind.base_folder
    if not folder.exists():
        _fetch(kind, root)
    try:
        loaded = {split: kind(root, train=split == "train") for split in ("train", "test")}
    except RuntimeError as error:  # torchvision's checksums
        raise RuntimeError(
            f"{folder} is incomplete or damaged: delete or rename it, and load {name} again, which "
            f"unpacks {kind.filename} if it is in {root}, and downloads it if not"
        ) from error
    parts = {
        split: {
            "images": np.ascontiguousarray(part.data.transpose(0, 3, 1, 2)),
            "labels": np.array(part.targets, np.int64),
        }
        for split, part in loaded.items()
    }
    return loaded["train"].classes, parts, {"shift": 4, "flip": True}


def _fetch(kind, root):
    """Unpack the archive in root, or download it. root/base_folder appears finished, or not at all."""
    from torchvision.datasets.utils import check_integrity, extract_archive

    archive, folder = root / kind.filename, root / kind.base_folder
    by_hand = archive.exists()
    if by_hand and not check_integrity(archive, kind.tgz_md5):
        raise RuntimeError(
            f"{archive} is truncated or damaged: its {archive.stat().st_size:,} bytes have not the md5 "
            f"{kind.tgz_md5}. Put a whole copy in its place, or delete it to have it downloaded"
        )
    timeout = socket.getdefaulttimeout()
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=root) as unfinished:
            if by_hand:
                extract_archive(archive, unfinished)
            else:
                socket.setdefaulttimeout(STALL_SECONDS)  # torchvision sets none, and would wait for ever
                kind(unfinished, download=True)
            try:
                os.replace(Path(unfinished, kind.base_folder), folder)
            except OSError:
                if not folder.exists():  # else another process was first, and its copy is as good
                    raise
    except (OSError, RuntimeError, HTTPException) as error:
        if by_hand:
            raise RuntimeError(
                f"{archive} could not be unpacked there ({error}): make room and allow writing, or move it "
                "to another folder and name that by root= or GROWLAB_DATA"
            ) from error
        raise ConnectionError(
            f"{kind.filename} could not be downloaded from {kind.url} into {root} ({error}). Nothing was left there. "
            f"Try again later; or put the file (md5 {kind.tgz_md5}) there by hand; or load pictures that you have with "
            f'"folder:PATH"; or use "critters", which needs no download'
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)


# --------------------------------------------------------------------------------------- a folder of pictures
def _folder(path, root, seed, *, size=32):
    whole("size", size, 1, "32 pixels are CIFAR's")
    path = Path(path).expanduser().resolve()
    train, test = _listing(path, "train"), _listing(path, "test")
    if len(train) < 2:
        raise ValueError(f"{path / 'train'} has one class only, {', '.join(train)}: add a folder for a second")
    if extra := sorted(test.keys() - train.keys()):
        raise ValueError(f"{path / 'test'} has classes that train/ lacks, {', '.join(extra)}: add or remove them")
    number = {name: label for label, name in enumerate(train)}
    rows = [(number[name], file) for listing in (train, test) for name, files in listing.items() for file in files]
    images = _cached(path, [file for _, file in rows], size, root / "cache")
    labels = np.array([label for label, _ in rows], np.int64)
    cut = sum(map(len, train.values()))
    parts = {
        "train": {"images": images[:cut], "labels": labels[:cut]},
        "test": {"images": images[cut:].copy(), "labels": labels[cut:]},
    }  # a copy, to let go of the rest
    return list(train), parts, {"shift": size // 8, "flip": True}


def _listing(path, split):
    """{class: [(file, bytes, time of its last change)]} of PATH/split, sorted by name, without hidden files."""
    folder = path / split
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder if path.is_dir() else path} is no folder: pictures must be in "
            f"{path}/train/CLASS/ and {path}/test/CLASS/"
        )
    classes = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and entry.name[0] != ".")
    listing = {
        name: sorted(
            (entry.path, entry.stat().st_size, entry.stat().st_mtime_ns)
            for entry in os.scandir(folder / name)
            if entry.name.lower().endswith(SUFFIXES) and entry.name[0] != "."
        )
        for name in classes
    }
    empty = [str(folder / name) for name, files in listing.items() if not files]
    if empty or not classes:
        raise ValueError(
            f"{', '.join(empty) or folder} has no pictures ({', '.join(SUFFIXES)}): "
            f"put them into {folder}/CLASS/, and remove folders without any"
        )
    return listing


def _cached(path, files, size, cache):
    """The pictures as uint8 (N, 3, size, size): from the cache if no file has changed since, else decoded."""

    def digest(*facts):
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]

    store = cache / f"{path.name}-{digest(str(path), size)}.npz"  # one for each folder and size: none pile up
    fingerprint = digest(size, files)
    try:
        with np.load(store) as stored:
            if str(stored["fingerprint"]) == fingerprint:
                return stored["images"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        pass  # none yet, or an unreadable one: it is written anew
    images = _decode([file for file, *_ in files], size)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=cache) as unfinished:
            np.savez(Path(unfinished, store.name), fingerprint=fingerprint, images=images)
            os.replace(Path(unfinished, store.name), store)
    except OSError as error:
        warnings.warn(
            f"{cache} cannot keep the decoded pictures ({error}): the next load decodes them again", stacklevel=2
        )
    return images


def _decode(files, size):
    from PIL import Image, ImageOps
    from tqdm.auto import tqdm

    images = np.empty((len(files), 3, size, size), np.uint8)
    for image, file in zip(images, tqdm(files, desc="decoding", unit=" pictures")):
        try:
            with Image.open(file) as picture:
                if picture.mode[0] in "IF":  # Pillow would turn them white without a word
                    raise ValueError("more than 8 bits a channel")
                upright = ImageOps.exif_transpose(picture).convert("RGB")
                image[:] = np.asarray(ImageOps.fit(upright, (size, size))).transpose(
                    2, 0, 1
                )  # shorter side, then centre
        except Exception as error:  # Pillow raises many kinds, SyntaxError among them
            raise ValueError(f"{file} is not a readable picture ({error}): repair it or remove it") from error
    return images


SOURCES = {
    "critters": _critters,
    "digits": _digits,
    "cifar10": lambda path, root, seed: _cifar("CIFAR10", root),
    "cifar100": lambda path, root, seed: _cifar("CIFAR100", root),
    "folder": _folder,
}
