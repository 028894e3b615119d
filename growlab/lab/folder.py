"""A run is a folder: run.json says what it is, checkpoint.pt how far it is, record.json that it is finished.

A run belongs to the last of its numbered claims, and a number can be created by one process only. A claim is touched at
every beat. One that has missed six may be followed by the next number; its holder finds out, and stops.
"""

import json
import os
import platform
import tempfile
import threading
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from growlab.files import JSON, read_sealed, write_atomically
from growlab.lab.run import Run

BEATS = 6  # a claim that has missed so many is void
CLAIM = "claim-??????"


class Superseded(Exception):
    """The run has been claimed by somebody else, since this process seemed dead, or was told to stop."""


@contextmanager
def claimed(place, owner, beat):
    """Hold a run: yields what ``train`` calls after each epoch, or None if somebody else holds it."""
    last, over = last_claim(place), threading.Event()
    claim = _next(place)
    if held(place) or not _create(claim):
        yield None
        return
    note = {"owner": owner, "host": platform.node(), "pid": os.getpid(), "beat": beat}
    note["epoch"] = noted(last).get("epoch", 0)

    def each_epoch(history):
        if last_claim(place) != claim:
            raise Superseded
        write_atomically(claim, json.dumps(note | {"epoch": len(history.epochs)}).encode())

    def keep_beating():
        while not over.wait(beat):
            with suppress(FileNotFoundError):
                os.utime(claim)

    write_atomically(claim, json.dumps(note).encode())
    heart = threading.Thread(target=keep_beating, daemon=True)
    heart.start()
    try:
        yield each_epoch
    finally:
        over.set()
        heart.join()
        if state(place) == "finished":
            for file in [*place.glob(CLAIM), *place.glob("*.part")]:
                file.unlink(missing_ok=True)
        else:
            with suppress(FileNotFoundError):
                os.utime(claim, (0, 0))


def revoke(place, owner):
    """End a claim whose process is dead, or is to stop."""
    note = noted(last_claim(place))
    if note.get("owner") == owner and state(place) != "finished":
        claim = _next(place)
        write_atomically(claim, json.dumps(note | {"owner": None}).encode())
        os.utime(claim, (0, 0))


def held(place):
    """Whether somebody works on a run, by the clock of the file system: machines may disagree about the time."""
    claim = last_claim(place)
    if claim is None or state(place) != "open":
        return False
    try:
        with tempfile.TemporaryFile(dir=place) as probe:
            age = os.fstat(probe.fileno()).st_mtime - claim.stat().st_mtime
    except FileNotFoundError:  # just finished
        return False
    return age < BEATS * noted(claim).get("beat", 10)


def last_claim(place):
    return max(place.glob(CLAIM), default=None)


def _next(place):
    last = last_claim(place)
    return place / f"claim-{int(last.name[6:]) + 1 if last else 1:06d}"


def _create(claim):
    try:
        claim.open("x").close()
        return True
    except FileExistsError:  # somebody was faster
        return False


def noted(claim):
    try:
        return json.loads(claim.read_text())
    except (AttributeError, OSError, ValueError):  # no claim, just removed, or just created
        return {}


def state(place: Path) -> str:
    """Of a run's folder: "finished", "failed" or "open"."""
    if (place / "record.json").exists() and not (place / "checkpoint.pt").exists():
        return "finished"
    return "failed" if (place / "error.json").exists() else "open"


def read(path: Path, parse):
    """What ``parse`` makes of a file's text; an error that names a damaged file."""
    return read_sealed(path, JSON, parse, "is damaged: move its folder away, and the others can be read")


def check_same(place: Path, run: Run) -> None:
    """A folder is named after what differs from the defaults, so a changed default must not make it another run's."""
    if not (place / "run.json").exists():
        return
    there, now = (asdict(r) for r in (read(place / "run.json", Run.from_json), run))
    different = {
        name: (there[name], now[name]) for name in now if there[name] != now[name] and name not in ("arm", "data")
    }
    if different:
        raise ValueError(
            f"{place} holds a run with other settings; name: (there, now) {different}; choose another folder"
        )
