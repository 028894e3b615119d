"""Exercises that check themselves, a file for each chapter; ``gl.check``, ``hint``, ``solution``, ``answer``, ``predict``, ``progress``."""

from growlab.course.exercises.checking import (
    NOTEBOOKS,
    Exercise,
    Note,
    answer,
    check,
    equal,
    hint,
    normal,
    predict,
    progress,
    solution,
)

__all__ = [
    "NOTEBOOKS", "Exercise", "Note", "answer", "check", "equal", "hint", "normal", "predict", "progress", "solution",
]  # fmt: skip
