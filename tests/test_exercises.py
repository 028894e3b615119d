"""Every exercise: its solution passes, its stub stops nothing, its typical mistakes fail with the hint that fits."""

import json

import pytest
import torch

import growlab as gl
from growlab import exercises
from growlab.exercises import NOTEBOOKS, Exercise, _load

ALL = [exercise for name in NOTEBOOKS.values() for exercise in _load(name)]
MISTAKES = [(e, words) for e in ALL for words in e.mistakes]


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GROWLAB_PROGRESS", str(tmp_path))
    exercises._shown.clear()
    return tmp_path


@pytest.fixture(params=ALL, ids=[e.id for e in ALL])
def exercise(request):
    return request.param


# ------------------------------------------------------------------------------------------- all exercises

def test_names_are_unique():
    assert len({e.id for e in ALL}) == len(ALL)


def test_the_solution_passes(exercise):
    note = gl.check(exercise.id, exercise.solution)
    assert note.good is True, note


def test_a_stub_is_not_attempted_and_the_course_goes_on(exercise, capsys):
    assert gl.check(exercise.id, lambda *_: ...).good is None
    assert gl.answer(exercise.id, lambda *_: ...) is exercise.solution
    assert "not attempted" in capsys.readouterr().out


def test_an_answer_that_raises_is_told_and_stops_nothing(exercise):
    def broken(*_):
        raise RuntimeError("oh dear")

    note = gl.check(exercise.id, broken)
    assert note.good is False and "RuntimeError: oh dear" in str(note) and "line" in str(note)


def test_it_has_mistakes_and_hints(exercise):
    assert len(exercise.mistakes) >= 3 and len(exercise.hints) >= 2


@pytest.mark.parametrize(("exercise", "words"), MISTAKES, ids=[f"{e.id}-{i}" for i, (e, _) in enumerate(MISTAKES)])
def test_a_typical_mistake_fails_with_the_hint_that_fits(exercise, words):
    note = gl.check(exercise.id, exercise.mistakes[words])
    assert note.good is False
    others = [hint for hint in exercise.mistakes if hint != words and hint in str(note)]
    assert words in str(note) and not others, note


def test_the_cases_are_the_same_at_every_call_and_no_solution_changes_its_input(exercise):
    first, second = list(exercise.cases()), list(exercise.cases())
    assert len(first) == len(second) and all(exercises.equal(a, b) for a, b in zip(first, second))
