"""Damage to files: flipped bits, replaced bytes, spoilt sectors, truncations; and what readers make of it.

``python tests/core/damage.py`` prints the table of the whole series, ``test_files.py`` takes a part of it.
"""

import io
import os
import random
import shutil
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from pathlib import Path

import torch

import growlab as gl
from growlab.course.exercises import keeping

SECTOR = 512
SERIES = {"flipped bit": 200, "replaced byte": 50, "spoilt sector": 100, "truncated": 100}
RUN = gl.Run("digits", 200, model="mlp", width=6, method="net2net", at=(1, 2), epochs=3, lr=0.05, batch_size=32)
COURSE = {"exercises": {"cosine-map": True, "twins": True}, "predictions": {"angle": 0.5, "winner": "net2net"}}


def damaged(contents: bytes, kind: str, draw: random.Random) -> bytes:
    """Other contents than these."""
    new, at = bytearray(contents), draw.randrange(len(contents))
    if kind == "flipped bit":
        new[at] ^= 1 << draw.randrange(8)
    elif kind == "replaced byte":
        new[at] = draw.choice([byte for byte in range(256) if byte != new[at]])
    elif kind == "spoilt sector":
        start = at // SECTOR * SECTOR
        size = len(new[start : start + SECTOR])
        new[start : start + SECTOR] = draw.choice([bytes(size), b"\xff" * size, b" " * size, draw.randbytes(size)])
    else:
        del new[draw.choice([0, 1, at, len(new) - 1, len(new) - 2, len(new) - draw.randrange(1, min(99, len(new)))]) :]
    return bytes(new) if new != contents else damaged(contents, kind, draw)


def make(folder):
    """One file of each kind: {name: (path, reader)}; a reader raises, or takes what is there.

    $GROWLAB_PROGRESS must be the folder.
    """
    place = Path(folder) / "lab" / RUN.name
    with ThreadPoolExecutor(1) as executor:
        gl.execute([RUN], place.parent, executor, progress=False)
    run = {"growth": gl.Growth("net2net", at=(1, 2)), "lr": 0.05, "progress": False, "folder": Path(folder) / "run"}
    data = gl.load_data("digits", limit=200)

    def mlp(seed=0):
        torch.manual_seed(seed)
        return gl.mlp([64, 6, 6, 10])

    gl.train(mlp(), data, 3, **run)
    gl.save(Path(folder) / "weights.pt", mlp(), note="a test")
    for kind, rows in COURSE.items():
        for name, value in rows.items():
            keeping.keep(kind, name, value)
    return {
        "checkpoint.pt": (Path(folder) / "run" / "checkpoint.pt", lambda: gl.train(mlp(), data, 3, **run).epochs),
        "weights.pt": (Path(folder) / "weights.pt", lambda: gl.load(Path(folder) / "weights.pt")),
        "record.json": (Path(folder) / "run" / "record.json", lambda: gl.History.load(run["folder"] / "record.json")),
        "record.json in results": (place / "record.json", lambda: gl.results(place.parent)),
        "run.json": (place / "run.json", lambda: gl.results(place.parent)),
        "progress.json": (Path(folder) / "progress.json", lambda: _progress(Path(folder))),
    }


def _progress(folder):
    found = {kind: keeping.kept(kind) for kind in COURSE}
    for aside in folder.glob("progress.json.damaged*"):
        aside.unlink()
        raise ValueError(f"{folder / 'progress.json'} is set aside")
    return found


def outcome(path, reader, contents):
    """What a reader makes of other contents: "refused" in words, "raised …" from inside, or "taken" for whole."""
    path.write_bytes(contents)
    try:
        with redirect_stdout(io.StringIO()):
            reader()
    except ValueError as error:
        return "refused" if str(path) in str(error) else f"raised {type(error).__name__}"
    except Exception as error:
        return f"raised {type(error).__name__}"
    return "taken"


def series(files, counts, seed=0):
    """{(name, kind of damage): Counter of outcomes}."""
    draw, found = random.Random(seed), {}
    for name, (path, reader) in files.items():
        whole = path.read_bytes()
        for kind, count in counts.items():
            found[name, kind] = Counter(outcome(path, reader, damaged(whole, kind, draw)) for _ in range(count))
        path.write_bytes(whole)
        assert outcome(path, reader, whole) == "taken"
    return found


if __name__ == "__main__":
    os.environ["GROWLAB_PROGRESS"] = folder = tempfile.mkdtemp()
    try:
        for (name, kind), found in series(make(folder), SERIES).items():
            print(f"{name:24} {kind:14} {dict(found)}", flush=True)
    finally:
        shutil.rmtree(folder)
