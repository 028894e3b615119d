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

from growlab.course.exercises.exercise import Exercise, Note, equal, find
from growlab.course.exercises.keeping import keep, kept
from growlab.course.figures.answers import difference

hints_shown = Counter()  # of each exercise, since the notebook was started


def check(id: str, answer) -> Note:
    """Try an answer, a function or (where one is asked for) a value; says what is right or wrong, and never raises.

    A stub that returns ``...`` counts as not attempted. The outcome is kept for ``progress``.
    """
    exercise = find(id)
    note = examine(exercise, answer)
    if note.good is not None:
        keep("exercises", id, bool(note) or kept("exercises").get(id, False))
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
    return exercise.solution if takes_arguments or callable(answer) else exercise.solution()


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
    """What there is to say about an answer. Nothing is kept of it."""
    function = answer if callable(answer) else lambda *_: answer
    count = 0
    for arguments in exercise.cases():
        mine = copy.deepcopy(arguments)
        try:
            got = _call(function, mine)
        except Exception as error:  # whatever the reader wrote
            return _raised(exercise, function, error, arguments)
        if got is ... or (isinstance(got, (list, tuple)) and any(part is ... for part in got)):
            return Note(None, f"{exercise.id}: not attempted yet", (f'gl.hint("{exercise.id}") helps',))
        if got is None:
            return _wrong(exercise, "Your function returned None: does it end with a return?", arguments)
        if not equal(mine, arguments):
            words = "Your function changed its input: compute a new tensor, or clone first."
            return _wrong(exercise, words, arguments)
        if exercise.same:
            expected = _call(exercise.solution, copy.deepcopy(arguments))
            if not exercise.same(got, expected):
                return _wrong(exercise, _diagnosis(exercise, function, arguments), arguments, got, expected)
        try:
            complaint = _complaint(exercise, function, arguments)
        except Exception as error:  # a property calls it in other ways
            return _raised(exercise, function, error, arguments)
        if complaint:
            return _wrong(exercise, complaint, arguments, got)
        count += 1
    return Note(True, f"{exercise.id}: right" + (f", on all {count} cases" if count > 1 else ""))


def _call(function, arguments):
    """With the same random numbers for everybody."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return function(*arguments)


def _complaint(exercise, function, arguments) -> str | None:
    """What the first property that does not hold says. Properties see float64, whatever the answer's type."""

    def in_double(*given):
        got = function(*given)
        if isinstance(got, np.ndarray) or (isinstance(got, torch.Tensor) and got.dtype == torch.float32):
            got = torch.as_tensor(got, dtype=torch.float64)
        return got

    return next(filter(None, (holds(in_double, *copy.deepcopy(arguments)) for holds in exercise.properties)), None)


def _diagnosis(exercise, function, arguments) -> str:
    """The hint of the mistake that agrees with the answer wherever both give anything; else, what a property says.

    ``arguments`` are those of the case that is shown: a property speaks about this one.
    """
    for words, mistake in exercise.mistakes.items():
        agree = []
        for case in itertools.islice(exercise.cases(), 20):
            try:
                got = _call(function, copy.deepcopy(case))
            except Exception:
                got = None
            try:
                agree.append(exercise.same(got, _call(mistake, copy.deepcopy(case))))
            except Exception:  # the mistake does not even run here
                agree.append(got is None)
        if all(agree):
            return words
    try:
        return _complaint(exercise, function, arguments) or ""
    except Exception:  # a wrong answer may have any form
        return ""


def _raised(exercise, function, error, arguments):
    line = traceback.extract_tb(error.__traceback__)[-1]
    where = f" (line {line.lineno} of {line.name}: {line.line})" if line.line else ""
    told = f"Your function raised {type(error).__name__}: {error}{where}"
    known = _diagnosis(exercise, function, arguments) if exercise.same else ""
    return _wrong(exercise, f"{told} {known}".rstrip(), arguments)


def _wrong(exercise, words, arguments, got=..., expected=...) -> Note:
    names = inspect.signature(exercise.solution).parameters
    lines = [words] if words else []
    lines += [f"{name} = {_show(value)}" for name, value in zip(names, arguments)]
    lines += [f"{name} {_show(value)}" for name, value in (("expected", expected), ("got", got)) if value is not ...]
    picture, tensors = None, isinstance(expected, torch.Tensor) and isinstance(got, torch.Tensor)
    if tensors and got.shape == expected.shape and expected.dim() >= 2:
        picture = difference(expected.detach(), got.detach())
    return Note(False, f"{exercise.id}: not yet", tuple(lines), picture=picture)


def _show(value):
    """Small things in full, large tensors by their shape."""
    if isinstance(value, (torch.Tensor, np.ndarray)):
        shape = tuple(value.shape)
        if value.ndim == 0:
            return f"{value.item():.6g}"
        values = np.asarray(value.detach() if isinstance(value, torch.Tensor) else value)
        full = np.array2string(values, precision=4, suppress_small=True, separator=", ").replace("\n", "")
        return f"shape {shape}" + (f": {full}" if 0 < np.prod(shape) <= 12 else "")
    if isinstance(value, float):
        return f"{0.0 if abs(value) < 1e-12 else value:.6g}"
    if isinstance(value, (list, tuple)) and len(value) <= 8:
        return f"[{', '.join(map(_show, value))}]"
    text = repr(value)
    return text if len(text) <= 200 else text[:200] + " …"
