"""Exercises that check themselves: the machinery, and a file of exercises for each chapter."""

from growlab.course.exercises.checking import answer, check, hint, solution
from growlab.course.exercises.exercise import Exercise, Note, equal, normal
from growlab.course.exercises.keeping import predict, progress

__all__ = ["Exercise", "Note", "answer", "check", "equal", "hint", "normal", "predict", "progress", "solution"]
