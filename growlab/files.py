"""Files and folders that appear whole or not at all, and files that carry a checksum of themselves.

A sealed file ends with the SHA-256 of all bytes before it: an archive (.pt) has it as the comment of the zip, JSON as
its last entry. Readers that know nothing of it, such as torch.load, are not disturbed. Files without one are of earlier
versions, and are read; a sealed file never looks like one of these, wherever one part of it is damaged.
"""

import hashlib
import io
import os
import platform
import re
import shutil
import tempfile
import time
import zipfile
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path

ARCHIVE, JSON = (b"\x47\0sha256 ", b"", b"\0\0"), (b',\n "sha256": "', b'"\n}\n', b"\n}\n")  # before, after; without
DIGITS, DAY = 64, 24 * 60 * 60
_SPACE = "/proc/self/ns/pid"  # containers number their processes anew, and may share the name of their machine
HERE = f"{zlib.crc32((platform.node() + (os.readlink(_SPACE) if os.path.islink(_SPACE) else '')).encode()):08x}"
TAG = re.compile(r"[.-](\d{1,9})(?:-([0-9a-f]{8}))?(?:\.part|-\w+)$")  # a process that writes: its number, machine


def write_atomically(path, contents: bytes) -> None:
    """Write a file whole or not at all; on an error the old file stays. Left-overs of dead processes are removed."""
    path = Path(path)
    _sweep(path)
    part = path.with_name(f"{path.name}.{os.getpid()}-{HERE}.part")
    try:
        with open(part, "wb") as file:
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        kept = "; what was there before is untouched" if os.path.exists(path) else ""
        raise OSError(error.errno, f"could not write {path} ({error.strerror}){kept}") from error
    finally:
        with suppress(OSError):  # a read-only folder refuses even this
            part.unlink(missing_ok=True)


def write_sealed(path, contents: bytes) -> None:
    """Write a zip archive, or the text of a JSON object, as ``write_atomically`` does, with a checksum in it."""
    form = JSON if contents.startswith(b"{") else ARCHIVE
    body = contents.rstrip().removesuffix(b"}").rstrip() if form is JSON else contents.removesuffix(form[2])
    write_atomically(path, body + _seal(body, form))


def read_sealed(path, form, parse, complaint: str):
    """What ``parse`` makes of the bytes that were given to ``write_sealed``. ``form``: ARCHIVE or JSON.

    Raises ``ValueError``, "PATH ``complaint`` (reason)", if the file is damaged, or if ``parse`` raises.
    """
    contents = Path(path).read_bytes()
    try:
        return parse(_unsealed(contents, form))
    except MemoryError:
        raise
    except Exception as error:  # whatever damaged or foreign bytes lead to
        reason = error if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise ValueError(f"{path} {complaint} ({reason})") from error


def _seal(body, form):
    return form[0] + hashlib.sha256(body).hexdigest().encode() + form[1]


def _unsealed(contents, form):
    body, seal = contents[: -len(_seal(b"", form))], contents[-len(_seal(b"", form)) :]
    if seal == _seal(body, form):
        return body + form[2]
    if form is JSON:
        if re.search(rb'"sha256"|"[0-9a-f]{64}"', seal):  # one of both is left, wherever a seal is damaged
            hint = 'if you have changed it on purpose, take its last entry, "sha256", out'
            raise ValueError(f"its checksum does not fit; {hint}")
    elif contents[-22:-18] != b"PK\x05\x06" or contents[-2:] != form[2]:  # an archive without a comment ends like this
        raise ValueError("its checksum does not fit")
    elif (entry := zipfile.ZipFile(io.BytesIO(contents)).testzip()) is not None:
        raise ValueError(f"the checksum of {entry} in it does not fit")
    return contents


@contextmanager
def appearing(target):
    """A folder to write in; what is there by the target's name takes its place, finished or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    _sweep(target)
    with tempfile.TemporaryDirectory(prefix=f".unfinished-{os.getpid()}-{HERE}-", dir=target.parent) as unfinished:
        yield Path(unfinished)
        try:
            os.replace(Path(unfinished, target.name), target)
        except OSError:
            if not target.is_dir():  # else another process was first, and its copy is as good
                raise


def _sweep(path):
    """Remove what dead processes have left half-written beside a path; of other machines, what is a day old."""
    for left in [*path.parent.glob("*.part"), *path.parent.glob(".unfinished-*")]:
        tag = TAG.search(left.name)
        ours = left.name.startswith((".unfinished-", f"{path.name}.")) or (tag and tag[2])  # and no other program's
        with suppress(OSError):
            dead = tag and tag[2] in (HERE, None) and not _alive(int(tag[1]))  # earlier versions gave no machine
            if ours and (dead or left.stat().st_mtime < time.time() - DAY):
                shutil.rmtree(left) if left.is_dir() else left.unlink()


def _alive(process):
    if os.name == "nt":
        return False  # signal 0 is Ctrl-C there; and a file that is open cannot be removed
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        pass
    return True
