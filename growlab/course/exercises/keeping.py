"""What a reader has predicted and solved, and the file that keeps it: ``predict`` and ``progress``."""

import json
import os
from pathlib import Path

import pandas as pd
import platformdirs

from growlab.course.chapters import CHAPTERS
from growlab.course.exercises.exercise import Note, exercises_of
from growlab.files import write_atomically


def predict(id: str, value=..., *, measured=None) -> Note:
    """Keep a prediction made before a run; ``measured=`` shows it beside the measurement after it.

    With neither, or with ``...``, says that there is none: it never blocks.
    """
    if measured is None:
        if value is ...:
            return Note(None, f"{id}: no prediction yet", ("Put yours in place of the dots, then run on.",))
        keep("predictions", id, value if isinstance(value, (int, float, str, bool)) else str(value))
        return Note(None, f"{id}: you predict {value}")
    measured = f"{measured:.3g}" if isinstance(measured, float) else str(measured)
    before = kept("predictions").get(id)
    said = f"You predicted {before}." if before is not None else "You made no prediction."
    return Note(None, f"{id}: measured {measured}", (said,))


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
        return json.loads(_file().read_text()).get(kind, {})
    except (OSError, ValueError):  # nothing there yet, or not ours: start again
        return {}


def keep(kind: str, id: str, value):
    """Write one thing more into the file; where that cannot be, say so and go on."""
    contents = {name: kept(name) for name in ("exercises", "predictions")}
    contents[kind][id] = value
    try:
        _file().parent.mkdir(parents=True, exist_ok=True)
        write_atomically(_file(), (json.dumps(contents, indent=1) + "\n").encode())
    except OSError as error:
        print(f"progress is not kept ({error}): set GROWLAB_PROGRESS to a folder that you can write to")
