"""Where pictures come from: drawn critters, scikit-learn's digits, CIFAR with its checksums, a folder of your own.

Behind ``load_data``, at the very beginning of the flow. Downloads and caches appear finished or not at all.
A new data set is a function here and a line in ``SOURCES``.
"""

import hashlib
import json
import os
import socket
import warnings
import zipfile
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

import numpy as np
import torch

from growlab.checks import one_of, whole
from growlab.data import critters
from growlab.data.batches import Data, Split
from growlab.files import appearing
from growlab.seeds import random_stream

STALL_SECONDS = 30  # a download is given up when the host has been silent for so long
USUAL, RARER = (".jpeg", ".jpg", ".png"), (".bmp", ".gif", ".jfif", ".pgm", ".ppm", ".tif", ".tiff", ".webp")
NOTES = (".csv", ".db", ".ini", ".json", ".md", ".txt", ".xml")  # what often lies beside pictures, and is none
TWO = "at least one picture to train on and one to validate"


# ------------------------------------------------------------------------------------------------- loading
def load_data(name, root=None, device="cpu", limit=None, seed=0, **options):
    """Load "critters", "digits", "cifar10", "cifar100" or "folder:PATH" onto ``device``, as Data.

    root: where downloads and caches lie; without it $GROWLAB_DATA, else data/downloads of a cloned project,
    else ~/.cache/growlab. limit: at most so many training pictures, drawn at random by the seed. A tenth of
    them becomes ``val``, also by the seed; the test pictures are neither limited nor touched.
    options: critters take n (training pictures, 6,000), reliability (0.6), and for training pictures shortcut (0) and
    hide (0: so many hidden parts in each); folder takes size (32).
    A folder holds train/CLASS/ and test/CLASS/, and pictures in these, as deep as you like; what else is there is
    named in a warning. Of a moving picture the first frame is taken.

    Raises ValueError for an unknown name or unusable pictures, TypeError for an unknown option, FileNotFoundError
    for a missing folder, ConnectionError for a failed download, RuntimeError for a damaged one. Notebook 00.
    """
    kind, path = source_of(name)
    takes = SOURCES[kind].__kwdefaults__ or {}
    if unknown := [option for option in options if option not in takes]:
        raise TypeError(f"{kind} has no option {unknown[0]!r}: it takes {', '.join(takes) or 'none'}")
    if limit is not None:
        whole("limit", limit, 2, TWO)

    root = root or os.environ.get("GROWLAB_DATA") or default_root()
    classes, arrays, augment = SOURCES[kind](path, Path(root).expanduser().absolute(), seed, **options)

    order = torch.randperm(len(arrays["train"]["labels"]), generator=random_stream(seed, "split"))[:limit]
    val, train = order.tensor_split([max(1, round(0.1 * len(order)))])
    mean, std = _moments(torch.from_numpy(arrays["train"]["images"])[train])
    common = {"classes": tuple(map(str, classes)), "mean": mean.to(device), "std": std.to(device), **augment}

    def split(of, rows=slice(None)):
        columns = {field: torch.from_numpy(array)[rows].to(device) for field, array in arrays[of].items()}
        return Split(**columns, **common)

    splits = {"train": split("train", train), "val": split("train", val)}
    splits |= {of: split(of) for of in arrays if of != "train"}
    name = f"{kind}:{Path(path).resolve().name}" if path else kind  # a record needs no path of this machine
    return Data(name, common["classes"], splits)


def source_of(name):
    """("folder", PATH) of "folder:PATH", ("critters", "") of "critters"; ValueError for a name that is none."""
    kind, _, path = str(name).partition(":")
    if kind not in SOURCES or bool(path) != (kind == "folder"):
        one_of("data set", name, [f"{known}:PATH" if known == "folder" else known for known in SOURCES])
    return kind, path


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


# A source takes (PATH or "", root, seed), and its options by keyword; it returns the names of the classes,
# {split: {field of Split: array}}, and what augment=True does.
def _critters(path, root, seed, *, n=6000, reliability=0.6, shortcut=0.0, hide=0):
    whole("n", n, 2, TWO)

    def draw(split, count, **how):
        return vars(critters.draw(count, random_stream(seed, "critters", split).initial_seed(), reliability, **how))

    changes = {"test": {}, "hidden": {"hide": 1}, "swapped": {"swap": 1}, "backgrounds": {"new_backgrounds": True}}
    arrays = {split: draw("test", 2000, **change) for split, change in changes.items()}
    arrays["train"] = draw("train", n, shortcut=shortcut, hide=hide)
    return critters.CLASSES, arrays, {"shift": 2, "flip": True}  # two pixels never cut a form


def _digits(path, root, seed):
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.round(digits.images[:, None] * (255 / 16)).astype(np.uint8)  # ink comes as 0..16
    order = torch.randperm(len(images), generator=random_stream("digits", "test")).numpy()  # one test set for all seeds
    rows = zip(("test", "train"), np.split(order, [len(order) // 5]))
    arrays = {split: {"images": images[of], "labels": digits.target[of].astype(np.int64)} for split, of in rows}
    return digits.target_names, arrays, {}  # no augmentation: a mirrored digit is none, and 8 pixels leave no room


# ---------------------------------------------------------------------------------------------------- CIFAR
def _cifar(name, root):
    from torchvision import datasets

    kind = getattr(datasets, name)
    folder, arrays = root / kind.base_folder, {}
    if not folder.exists():
        _fetch(kind, root)
    for split in ("train", "test"):
        try:
            loaded = kind(root, train=split == "train")
        except RuntimeError as error:  # torchvision's checksums
            raise RuntimeError(f"{folder} is incomplete or damaged: delete or rename it, and load again") from error
        images = np.ascontiguousarray(loaded.data.transpose(0, 3, 1, 2))
        arrays[split] = {"images": images, "labels": np.array(loaded.targets, np.int64)}
    return loaded.classes, arrays, {"shift": 4, "flip": True}


def _fetch(kind, root):
    """Unpack the archive in root, or download it. root/base_folder appears finished, or not at all."""
    from torchvision.datasets.utils import check_integrity, extract_archive

    archive, timeout = root / kind.filename, socket.getdefaulttimeout()
    by_hand = archive.exists()
    if by_hand and not check_integrity(archive, kind.tgz_md5):
        found = f"its {archive.stat().st_size:,} bytes have not the md5 {kind.tgz_md5}"
        hint = "Put a whole copy in its place, or delete it to have it downloaded"
        raise RuntimeError(f"{archive} is truncated or damaged: {found}. {hint}")
    try:
        with appearing(root / kind.base_folder) as unfinished:
            if by_hand:
                extract_archive(archive, unfinished)
            else:
                socket.setdefaulttimeout(STALL_SECONDS)  # torchvision sets none, and would wait for ever
                kind(unfinished, download=True)
    except (OSError, RuntimeError, HTTPException) as error:
        getattr(error, "close", bool)()  # an answer such as 404 holds a socket
        if by_hand:
            hint = "make room and allow writing, or move it to another folder and name that by root= or GROWLAB_DATA"
            raise RuntimeError(f"{archive} could not be unpacked there ({error}): {hint}") from error
        raise ConnectionError(
            f"{kind.filename} could not be downloaded from {kind.url} into {root} ({error}). Nothing was left there. "
            f"Try again later; or put the file (md5 {kind.tgz_md5}) there by hand; or load pictures that you have with "
            f'"folder:PATH"; or use "critters", which needs no download'
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)


# --------------------------------------------------------------------------------------- a folder of pictures
def _folder(path, root, seed, *, size=32):
    size = whole("size", size, 1, "32 pixels are CIFAR's")
    path = Path(path).expanduser().resolve()
    train, test = _listing(path, "train"), _listing(path, "test")
    if len(train) < 2:
        raise ValueError(f"{path / 'train'} has one class only, {', '.join(train)}: add a folder for a second")
    if extra := sorted(test.keys() - train.keys()):
        raise ValueError(f"{path / 'test'} has classes that train/ lacks, {', '.join(extra)}: add or remove them")
    named = [(label, split.get(name, [])) for split in (train, test) for label, name in enumerate(train)]
    images = _cached(path, [file for _, files in named for file in files], size, root / "cache")
    labels = np.array([label for label, files in named for _ in files], np.int64)
    cut = sum(map(len, train.values()))
    arrays = {"train": {"images": images[:cut], "labels": labels[:cut]}}
    arrays["test"] = {"images": images[cut:].copy(), "labels": labels[cut:]}  # a copy, to let go of the rest
    return list(train), arrays, {"shift": size // 8, "flip": True}


def _listing(path, split):
    """{class: [picture]} of PATH/split, sorted by name, with those in folders within; without what is hidden.

    Whatever else is there is never opened, and named in a warning, but for notes.
    """
    folder, listing = path / split, {}
    if not folder.is_dir():
        missing = folder if path.is_dir() else path
        raise FileNotFoundError(f"{missing} is no folder: pictures must be in {path}/train/CLASS/ and test/CLASS/")
    rooms = sorted(folder.glob("[!.]*"), key=str)
    left = [file for file in rooms if not file.is_dir()]
    for room in filter(Path.is_dir, rooms):
        found = {file for file in room.rglob("*") if "/." not in file.as_posix()[len(room.as_posix()) :]}
        pictures = {file for file in found if file.suffix.lower() in USUAL + RARER and file.is_file()}
        left += [file for file in found - pictures if file.is_symlink() or not file.is_dir()]
        listing[room.name] = sorted(map(str, pictures))
    if not all(listing.values()) or not listing:
        empty = ", ".join(str(folder / name) for name, files in listing.items() if not files) or folder
        kinds = f"({', '.join(USUAL)}), and none of the rarer kinds ({', '.join(RARER)})"
        raise ValueError(f"{empty} has no pictures {kinds}: put them into {folder}/CLASS/, and remove empty folders")
    if left := sorted(str(file.relative_to(folder)) for file in left if file.suffix.lower() not in NOTES):
        taken = f"files ({', '.join(USUAL + RARER)}) in the folder of a class are taken, no links to folders"
        warnings.warn(f"{len(left)} left out of {folder}, such as {left[:9]}: {taken}", stacklevel=2)
    return listing


def _cached(path, files, size, cache):
    """The pictures as uint8 (N, 3, size, size): from the cache if no file has changed since, else decoded."""
    digest = lambda *facts: hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
    store = cache / f"{path.name}-{digest(str(path), size)}.npz"  # one for each folder and size: none pile up
    fingerprint = digest(size, [(file, stat.st_size, stat.st_mtime_ns) for file in files for stat in [os.stat(file)]])
    with suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # none, or unreadable: written anew
        with open(store, "rb") as file, np.load(file) as stored:  # which would leave a damaged file open
            if str(stored["fingerprint"]) == fingerprint:
                return stored["images"]
    images = _decode(files, size)
    try:
        with appearing(store) as unfinished:
            np.savez(unfinished / store.name, fingerprint=fingerprint, images=images)
    except OSError as error:
        warnings.warn(f"{cache} cannot keep the decoded pictures ({error}): the next load does it again", stacklevel=2)
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
                upright = ImageOps.fit(ImageOps.exif_transpose(picture).convert("RGB"), (size, size))
            image[:] = np.asarray(upright).transpose(2, 0, 1)  # the shorter side fits, the longer one is cut
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
