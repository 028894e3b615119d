"""A run is a folder: run.json says what it is, checkpoint.pt how far it is, record.json that it is finished.

Who trains a run holds the lock of its folder. The system ends a lock with its process, however that dies.
"""

from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock, SoftFileLock, Timeout

from growlab.files import JSON, read_sealed
from growlab.lab.run import Run

LOCK, EPOCH = "lock", "epoch"  # the latter says how many are done
LEFT = (EPOCH, "error.json", "stop-*", "claim-*", "*.part", LOCK)  # removed at the end; claims are of earlier versions
NO_LOCKS = "{} lies where files cannot be locked, so two processes could train one run: choose another disk ({})"


@contextmanager
def held(place: Path, seconds: float = 0):
    """Hold the lock of a run, and clear up if it is finished. Yields whether it could be had within so many seconds.

    Only a finished run loses its lock file, so whoever gets the lock of a removed file finds nothing to do.
    Raises ``OSError`` where files cannot be locked.
    """
    lock = FileLock(place / LOCK)
    try:
        with suppress(Timeout):
            lock.acquire(seconds, poll_interval=1)
        if isinstance(lock, SoftFileLock):  # filelock's substitute, which outlives its process
            lock.release()
            raise NotImplementedError("this system has no flock")
    except (OSError, NotImplementedError) as error:
        raise OSError(NO_LOCKS.format(place, error)) from error
    try:
        yield lock.is_locked
    finally:
        if lock.is_locked and state(place) == "finished":
            for file in (file for name in LEFT for file in place.glob(name)):
                with suppress(OSError):  # Windows removes a lock file as it is released
                    file.unlink()
        lock.release()


def check_locks(folder: Path) -> None:
    """Raises ``OSError`` where files cannot be locked."""
    with TemporaryDirectory(dir=folder) as place, held(Path(place)) as mine:
        if not mine:  # so old versions of filelock answer
            raise OSError(NO_LOCKS.format(folder, "a new file is locked"))


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
    other = {n: (there[n], now[n]) for n in now if there[n] != now[n] and n not in ("arm", "data")}
    if other:
        raise ValueError(f"{place} holds a run with other settings; name: (there, now) {other}; choose another folder")
