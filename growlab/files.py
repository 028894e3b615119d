"""Files and folders that appear whole or not at all."""

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path


def write_atomically(path, contents: bytes) -> None:
    """Write a file whole or not at all; on an error the old file stays."""
    path = Path(path)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as file:
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        kept = "; what was there before is untouched" if path.exists() else ""
        raise OSError(error.errno, f"could not write {path} ({error.strerror}){kept}") from error


@contextmanager
def appearing(target):
    """A folder to write in; what is there by the target's name takes its place, finished or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=target.parent) as unfinished:
        yield Path(unfinished)
        try:
            os.replace(Path(unfinished, target.name), target)
        except OSError:
            if not target.is_dir():  # else another process was first, and its copy is as good
                raise
