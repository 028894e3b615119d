"""What a reader has predicted and solved, and the file that keeps it: ``predict`` and ``progress``."""

import json
import os
from itertools import count
from pathlib import Path

import pandas as pd
import platformdirs
from filelock import FileLock

from growlab.course.chapters import CHAPTERS
from growlab.course.exercises.exercise import Note, exercises_of, show
from growlab.course.exercises.fence import attempt
from growlab.files import JSON, read_sealed, write_sealed

KINDS = "exercises", "predictions"
SECONDS = 10  # to wait for another kernel that writes; it takes a few milliseconds


def predict(id: str, value=..., *, measured=None) -> Note:
    """Keep a prediction made before a run; ``measured=`` shows it beside the measurement after it.

    With neither, or with ``...``, says that there is none: it never blocks.
    """
    id = _told(id)
    if measured is None:
        if value is ...:
            return Note(None, f"{id}: no prediction yet", ("Put yours in place of the dots, then run on.",))
        told = _told(value)
        plain = type(value) in (int, float, bool) and attempt(json.dumps, value)[1] is None  # not 10**5000
        keep("predictions", id, value if plain else told)
        return Note(None, f"{id}: you predict {told}")
    measured = _told(measured, ".3g" if issubclass(type(measured), float) else "")
    before = kept("predictions").get(id)
    said = f"You predicted {before}." if before is not None else "You made no prediction."
    return Note(None, f"{id}: measured {measured}", (said,))


def _told(value, form=""):
    text, error = attempt(format, value, form)
    return show(value) if error is not None else text


def progress() -> pd.DataFrame:
    """What is solved, a row for each notebook. It is kept in your own data folder, or in $GROWLAB_PROGRESS."""
    solved, rows = kept("exercises"), []
    for chapter in CHAPTERS:
        ids = [exercise.id for exercise in exercises_of(chapter.subject)]
        done = [id for id in ids if solved.get(id)]
        name, still = f"{chapter.number} {chapter.subject}", ", ".join(id for id in ids if id not in done)
        rows.append({"notebook": name, "solved": len(done), "of": len(ids), "still open": still})
    return pd.DataFrame(rows)


def _file() -> Path:
    return Path(os.environ.get("GROWLAB_PROGRESS") or platformdirs.user_data_path("growlab")) / "progress.json"


def kept(kind: str) -> dict:
    """{name of an exercise or prediction: what is known of it}, for the kind "exercises" or "predictions"."""
    try:
        try:
            return _read()[kind]
        except ValueError:
            with _locked():
                return _read_or_set_aside()[kind]
    except (OSError, NotImplementedError):  # nothing there yet, or nothing that can be read
        return {}


def keep(kind: str, id: str, value):
    """Write one thing more into the file; where that cannot be, say so and go on. What is solved remains so."""
    try:
        _file().parent.mkdir(parents=True, exist_ok=True)
        with _locked():
            contents = _read_or_set_aside()
            solved = kind == "exercises" and contents[kind].get(id)
            contents[kind][id] = solved or value
            write_sealed(_file(), (json.dumps(contents, indent=1) + "\n").encode())
    except (OSError, NotImplementedError) as error:  # the latter where a folder knows no locks
        print(f"progress is not kept ({error}): set GROWLAB_PROGRESS to a folder that you can write to")


def _locked():
    """One kernel at a time reads, changes and writes."""
    return FileLock(_file().with_suffix(".lock"), timeout=SECONDS)


def _read():
    return read_sealed(_file(), JSON, _parse, "is damaged, or holds no progress")


def _parse(text):
    contents = json.loads(text)
    found = {kind: contents.pop(kind, {}) for kind in KINDS}
    if contents or not all(isinstance(value, dict) for value in found.values()):
        raise ValueError(f"it must hold {' and '.join(KINDS)}")
    return found


def _read_or_set_aside():
    """What is kept, under the lock: whatever cannot be read makes room for a new file, and stays beside it."""
    file = _file()
    try:
        return _read()
    except FileNotFoundError:
        pass
    except ValueError as error:
        names = (file.with_name(f"{file.name}.damaged{i or ''}") for i in count())
        aside = next(name for name in names if not name.exists())
        os.replace(file, aside)
        print(f"{error}: it is set aside as {aside.name}, and what you solve from now on is kept in a new file")
    return {kind: {} for kind in KINDS}
