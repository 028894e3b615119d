"""Exercises that check themselves: ``check``, ``hint``, ``solution`` and ``answer``.

Each chapter has a file here with its exercises as data. A check tries an answer on small cases, smallest first, and on
properties that every right answer has. A wrong answer gets the first thing that is wrong with it, and if it is a known
mistake, which one. Nothing here ever stops a notebook.
"""

import copy
import inspect
import itertools
import traceback
from collections import Counter

import numpy as np
import torch

from growlab.course.exercises import fence
from growlab.course.exercises.exercise import LONG, Exercise, Note, equal, find, show
from growlab.course.exercises.fence import SETTINGS, TooLong, as_before, attempt, endable, limited
from growlab.course.exercises.keeping import keep
from growlab.course.figures.answers import difference

hints_shown = Counter()  # of each exercise, since the notebook was started


def check(id: str, answer) -> Note:
    """Try an answer, a function or (where one is asked for) a value; says what is right or wrong, and never raises.

    A stub that returns ``...`` counts as not attempted. The outcome is kept for ``progress``.
    """
    exercise = find(id)
    note = examine(exercise, answer)
    if note.good is not None:
        keep("exercises", id, bool(note))
    return note


def answer(id: str, answer):
    """The reader's answer if it passes its check, else the solution, so that all that follows works either way."""
    exercise = find(id)
    note = examine(exercise, answer)
    if note:
        print(f"{id}: your own is used from here on")
        return answer
    state = "not solved" if note.good is False else "not attempted"
    print(f"{id}: {state} yet, the course's own is used from here on")
    takes_arguments = inspect.signature(exercise.solution).parameters
    return exercise.solution if takes_arguments or callable(answer) else _call(exercise.solution, ())


def hint(id: str) -> Note:
    """A step further at each call."""
    hints = find(id).hints
    hints_shown[id] = shown = min(hints_shown[id] + 1, len(hints))
    after = f'gl.hint("{id}") again goes a step further'
    if shown == len(hints):
        after = f'gl.solution("{id}") shows a solution'
    return Note(None, f"Hint {shown} of {len(hints)}", (hints[shown - 1], after))


def solution(id: str) -> Note:
    """The code of a solution, folded in Jupyter."""
    code = inspect.getsource(find(id).solution).strip()
    return Note(None, f"A solution of {id}; yours may look different", code=code)


def examine(exercise: Exercise, answer) -> Note:
    """What there is to say about an answer. Nothing is kept of it, and nothing that it sets stays."""
    if not endable():
        print("an answer that hangs cannot be ended here: interrupt the kernel if nothing comes")
    function, count = answer if callable(answer) else lambda *_: answer, 0
    with as_before():
        for arguments in exercise.cases():
            try:
                note = _fault(exercise, function, arguments)
            except TooLong:
                words = f"Your function was ended after {fence.SECONDS} seconds: does a loop in it never end?"
                note = _wrong(exercise, words, arguments)
            if note is not None:
                return note
            count += 1
    return Note(True, f"{exercise.id}: right" + (f", on all {count} cases" if count > 1 else ""))


@limited()
def _fault(exercise, function, arguments) -> Note | None:
    """What is wrong with an answer in one case. What is got may be anything, and raise wherever it is touched."""
    mine = copy.deepcopy(arguments)
    got, error = attempt(_call, function, mine)
    if error is not None:
        return _raised(exercise, function, error, arguments)
    if got is ... or attempt(lambda: isinstance(got, (list, tuple)) and any(part is ... for part in got))[0]:
        return Note(None, f"{exercise.id}: not attempted yet", (f'gl.hint("{exercise.id}") helps',))
    if got is None:
        return _wrong(exercise, "Your function returned None: does it end with a return?", arguments)
    if not attempt(equal, mine, arguments)[0]:
        words = "Your function changed its input: compute a new tensor, or clone first."
        return _wrong(exercise, words, arguments)
    if exercise.same:
        expected = _call(exercise.solution, copy.deepcopy(arguments))
        if not attempt(lambda: bool(exercise.same(got, expected)))[0]:
            return _wrong(exercise, _diagnosis(exercise, function, arguments), arguments, got, expected)
    complaint, error = attempt(_complaint, exercise, function, arguments)
    if error is not None:  # a property calls it in other ways
        return _raised(exercise, function, error, arguments)
    return _wrong(exercise, complaint, arguments, got) if complaint else None


def _call(function, arguments):
    """With the same random numbers for everybody."""
    with as_before():
        torch.manual_seed(0)
        return function(*arguments)


def _complaint(exercise, function, arguments) -> str | None:
    """What the first property that does not hold says. Properties see float64, whatever the answer's type."""

    def in_double(*given):
        with as_before(SETTINGS):  # the generators go on: an answer that is left to chance must be seen to be
            got = function(*given)
        if isinstance(got, np.ndarray) or (isinstance(got, torch.Tensor) and got.dtype == torch.float32):
            got = torch.as_tensor(got, dtype=torch.float64)
        return got

    return next(filter(None, (holds(in_double, *copy.deepcopy(arguments)) for holds in exercise.properties)), None)


@limited()  # anew: it calls the answer many times
def _diagnosis(exercise, function, arguments) -> str:
    """The hint of the mistake that agrees with the answer wherever both give anything; else, what a property says.

    ``arguments`` are those of the case that is shown: a property speaks about this one.
    """
    for words, mistake in exercise.mistakes.items():
        agree = []
        for case in itertools.islice(exercise.cases(), 20):
            got, _ = attempt(_call, function, copy.deepcopy(case))
            made, error = attempt(_call, mistake, copy.deepcopy(case))
            same = attempt(lambda: bool(exercise.same(got, made)))[0]  # noqa: B023
            agree.append(got is None if error else same)  # the mistake may not even run here
        if all(agree):
            return words
    return attempt(_complaint, exercise, function, arguments)[0] or ""  # a wrong answer may have any form


def _raised(exercise, function, error, arguments):
    told = attempt(_told, error)[0] or f"Your function raised {type(error).__name__}, which has no words."
    known = _diagnosis(exercise, function, arguments) if exercise.same else ""
    return _wrong(exercise, f"{told} {known}".rstrip(), arguments)


def _told(error):
    line = traceback.extract_tb(error.__traceback__)[-1]
    where = f" (line {line.lineno} of {line.name}: {line.line})" if line.line else ""
    return f"Your function raised {type(error).__name__}: {f'{error}'[:LONG]}{where}"


def _wrong(exercise, words, arguments, got=..., expected=...) -> Note:
    names = inspect.signature(exercise.solution).parameters
    lines = [words] if words else []
    lines += [f"{name} = {show(value)}" for name, value in zip(names, arguments)]
    lines += [f"{name} {show(value)}" for name, value in (("expected", expected), ("got", got)) if value is not ...]
    picture, _ = attempt(_picture, got, expected)
    return Note(False, f"{exercise.id}: not yet", tuple(lines), picture=picture)


def _picture(got, expected):
    if isinstance(expected, torch.Tensor) and got.shape == expected.shape and expected.dim() >= 2:
        return difference(expected.detach(), got.detach())
