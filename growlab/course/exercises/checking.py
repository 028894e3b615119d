"""Exercises that check themselves: ``check``, ``hint``, ``solution``, ``answer``, ``predict`` and ``progress``.

Beside the flow: each notebook has a file here, named after it, with its exercises as data. A check tries an answer on
small cases, smallest first, and on properties that every right answer has; where it is wrong it says how, and if the
answer is a known mistake, which one. Nothing here ever stops a notebook.
"""

import base64
import copy
import html
import inspect
import itertools
import json
import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import platformdirs
import torch

from growlab.checks import one_of
from growlab.course import figures as plots
from growlab.files import write_atomically

NOTEBOOKS = {
    "00": "start_here",
    "01": "neuron_splitting",
    "02": "random_growth",
    "03": "firefly",
    "04": "cosine_map",
    "05": "cifar_experiments",
    "06": "grad_cam",
}


@dataclass(frozen=True)
class Exercise:
    """One exercise. ``solution`` is a plain function; its source is what readers see.

    ``cases()`` yields the arguments of one call after the other, smallest first, the same at every call; floating
    tensors are float64. The answer must equal the solution on all of them by ``same(got, expected)``, unless that is
    None: then many answers are right, and the ``properties`` decide alone. A property is a function (answer,
    *arguments) that returns None, or a sentence on what is wrong. ``mistakes``: {hint: function that makes it}; an
    answer that agrees with one on all cases gets its hint. ``hints`` lead to the solution, a step each.
    """

    id: str
    solution: Callable
    cases: Callable
    hints: tuple[str, ...]
    mistakes: dict[str, Callable]
    properties: tuple[Callable, ...] = ()
    same: Callable | None = lambda got, expected: equal(got, expected)


@dataclass(frozen=True)
class Note:
    """What the functions here return: a headline, details, perhaps code or a picture; HTML in Jupyter, text elsewhere."""

    good: bool | None  # None: neither right nor wrong
    title: str
    lines: tuple[str, ...] = ()
    code: str = ""
    picture: plots.Figure | None = field(default=None, repr=False, compare=False)

    def __bool__(self):
        return bool(self.good)

    def __repr__(self):
        return "\n".join([self.title, *(f"  {line}" for line in self.lines), *self.code.splitlines()])

    def _repr_html_(self):
        color = {True: plots.GREEN, False: plots.RED, None: plots.BLUE}[self.good]
        parts = [f"<b>{html.escape(self.title)}</b>", *map(html.escape, self.lines)]
        if self.code:
            parts.append(f"<details><summary>show the code</summary><pre>{html.escape(self.code)}</pre></details>")
        if self.picture:
            source = base64.b64encode(self.picture.png()).decode()
            width = round(self.picture.get_figwidth() * plots.PAGE)
            parts.append(
                f'<img alt="{html.escape(self.picture.alt)}" width="{width}" src="data:image/png;base64,{source}">'
            )
        return f'<div style="border-left: 4px solid {color}; padding: 2px 10px">{"<br>".join(parts)}</div>'


def check(id: str, answer) -> Note:
    """Try an answer, a function or (where one is asked for) a value; says what is right or wrong, and never raises.

    A stub that returns ``...`` counts as not attempted. The outcome is kept for ``progress``.
    """
    exercise = _find(id)
    note = _examine(exercise, answer)
    if note.good is not None:
        _keep("exercises", id, bool(note) or _kept("exercises").get(id, False))
    return note


def answer(id: str, answer):
    """The reader's answer if it passes its check, else the solution, so that all that follows works either way."""
    exercise = _find(id)
    note = _examine(exercise, answer)
    if note:
        print(f"{id}: your own is used from here on")
        return answer
    print(f"{id}: {'not solved' if note.good is False else 'not attempted'} yet, the course's own is used from here on")
    takes_arguments = inspect.signature(exercise.solution).parameters
    return exercise.solution if takes_arguments or callable(answer) else exercise.solution()


def hint(id: str) -> Note:
    """A step further at each call."""
    hints = _find(id).hints
    shown = min(_shown.get(id, 0) + 1, len(hints))
    _shown[id] = shown
    after = (
        f'gl.hint("{id}") again goes a step further' if shown < len(hints) else f'gl.solution("{id}") shows a solution'
    )
    return Note(None, f"Hint {shown} of {len(hints)}", (hints[shown - 1], after))


def solution(id: str) -> Note:
    """The code of a solution, folded in Jupyter."""
    return Note(
        None, f"A solution of {id}; yours may look different", code=inspect.getsource(_find(id).solution).strip()
    )


def predict(id: str, value=..., *, measured=None) -> Note:
    """Keep a prediction made before a run; ``measured=`` shows it beside the measurement after it.

    With neither, or with ``...``, says that there is none: it never blocks.
    """
    if measured is None:
        if value is ...:
            return Note(None, f"{id}: no prediction yet", ("Put yours in place of the dots, then run on.",))
        _keep("predictions", id, value if isinstance(value, (int, float, str, bool)) else str(value))
        return Note(None, f"{id}: you predict {value}")
    measured = f"{measured:.3g}" if isinstance(measured, float) else str(measured)
    before = _kept("predictions").get(id)
    return Note(
        None,
        f"{id}: measured {measured}",
        (f"You predicted {before}." if before is not None else "You made no prediction.",),
    )


def progress() -> pd.DataFrame:
    """What is solved, a row for each notebook. It is kept in your own data folder, or in $GROWLAB_PROGRESS."""
    solved, rows = _kept("exercises"), []
    for number, name in NOTEBOOKS.items():
        ids = [exercise.id for exercise in exercises_of(name)]
        done = [id for id in ids if solved.get(id)]
        still = ", ".join(id for id in ids if id not in done)
        rows.append({"notebook": f"{number} {name}", "solved": len(done), "of": len(ids), "still open": still})
    return pd.DataFrame(rows)


def equal(got, expected, relative=1e-8, absolute=1e-10) -> bool:
    """Whether two answers are the same up to rounding: numbers, tensors, arrays, models, or lists and dicts of them.

    Rounding in float64; in float32, if that is what was got where float64 was expected.
    """
    if isinstance(expected, dict):
        return (
            isinstance(got, dict)
            and got.keys() == expected.keys()
            and all(equal(got[k], expected[k]) for k in expected)
        )
    if isinstance(expected, (list, tuple)):
        try:
            pairs = list(zip(got, expected, strict=True))
        except (TypeError, ValueError):  # not so many, or not several at all
            return False
        return all(equal(*pair) for pair in pairs)
    if isinstance(expected, torch.nn.Module):
        return isinstance(got, torch.nn.Module) and equal(got.state_dict(), expected.state_dict())
    if isinstance(expected, str) or expected is None:
        return got == expected
    if "float32" in str(getattr(got, "dtype", "")) and "float32" not in str(getattr(expected, "dtype", "")):
        relative, absolute = max(relative, 1e-5), max(absolute, 1e-6)
    try:
        got, expected = _array(got), _array(expected)
    except (TypeError, ValueError, RuntimeError):
        return False
    return got.shape == expected.shape and bool(np.allclose(got, expected, relative, absolute, equal_nan=True))


def normal(*shape, seed=0):
    """Standard normal numbers in float64, the same at every call."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# The parts
_shown: dict[str, int] = {}  # how many hints of each exercise, since the notebook was started


def exercises_of(name) -> tuple[Exercise, ...]:
    return import_module(f"growlab.course.exercises.{name}").EXERCISES


def _find(id) -> Exercise:
    known = {exercise.id: exercise for name in NOTEBOOKS.values() for exercise in exercises_of(name)}
    one_of("exercise", id, known)
    return known[id]


def _examine(exercise, answer) -> Note:
    function = answer if callable(answer) else lambda *_: answer
    count = 0
    for count, arguments in enumerate(exercise.cases(), 1):
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
            return _wrong(exercise, "Your function changed its input: compute a new tensor, or clone first.", arguments)
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
    return Note(True, f"{exercise.id}: right" + (f", on all {count} cases" if count > 1 else ""))


def _call(function, arguments):
    """With the same random numbers for everybody."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return function(*arguments)


def _complaint(exercise, function, arguments) -> str | None:
    """What the first property that does not hold says. Properties see tensors in float64, however the answer is made."""

    def in_double(*given):
        got = function(*given)
        if isinstance(got, np.ndarray) or (isinstance(got, torch.Tensor) and got.dtype == torch.float32):
            got = torch.as_tensor(got, dtype=torch.float64)
        return got

    return next(filter(None, (holds(in_double, *copy.deepcopy(arguments)) for holds in exercise.properties)), None)


def _diagnosis(exercise, function, arguments) -> str:
    """The hint of the mistake that gives the same as the answer wherever both give anything; else, a property's complaint."""
    for words, mistake in exercise.mistakes.items():
        agree = []
        for arguments in itertools.islice(exercise.cases(), 20):
            try:
                got = _call(function, copy.deepcopy(arguments))
            except Exception:
                got = None
            try:
                agree.append(exercise.same(got, _call(mistake, copy.deepcopy(arguments))))
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
    return _wrong(
        exercise, " ".join(filter(None, [told, exercise.same and _diagnosis(exercise, function, arguments)])), arguments
    )


def _wrong(exercise, words, arguments, got=..., expected=...) -> Note:
    names = inspect.signature(exercise.solution).parameters
    lines = [words] if words else []
    lines += [f"{name} = {_show(value)}" for name, value in zip(names, arguments)]
    lines += [f"{name} {_show(value)}" for name, value in (("expected", expected), ("got", got)) if value is not ...]
    picture = None
    if isinstance(expected, torch.Tensor) and isinstance(got, torch.Tensor) and got.shape == expected.shape:
        picture = plots.difference(_array(expected), _array(got)) if expected.dim() >= 2 else None
    return Note(False, f"{exercise.id}: not yet", tuple(lines), picture=picture)


def _show(value):
    """Small things in full, large tensors by their shape."""
    if isinstance(value, (torch.Tensor, np.ndarray)):
        shape = tuple(value.shape)
        if value.ndim == 0:
            return f"{value.item():.6g}"
        full = np.array2string(
            np.asarray(value.detach() if isinstance(value, torch.Tensor) else value),
            precision=4,
            suppress_small=True,
            separator=", ",
        ).replace("\n", "")
        return f"shape {shape}" + (f": {full}" if 0 < np.prod(shape) <= 12 else "")
    if isinstance(value, float):
        return f"{0.0 if abs(value) < 1e-12 else value:.6g}"
    if isinstance(value, (list, tuple)) and len(value) <= 8:
        return f"[{', '.join(map(_show, value))}]"
    text = repr(value)
    return text if len(text) <= 200 else text[:200] + " …"


def _array(value):
    return np.asarray(value.detach() if isinstance(value, torch.Tensor) else value, float)


def _file() -> Path:
    return Path(os.environ.get("GROWLAB_PROGRESS") or platformdirs.user_data_path("growlab")) / "progress.json"


def _kept(kind) -> dict:
    try:
        return json.loads(_file().read_text()).get(kind, {})
    except (OSError, ValueError):  # nothing there yet, or not ours: begin anew
        return {}


def _keep(kind, id, value):
    contents = {name: _kept(name) for name in ("exercises", "predictions")}
    contents[kind][id] = value
    try:
        _file().parent.mkdir(parents=True, exist_ok=True)
        write_atomically(_file(), (json.dumps(contents, indent=1) + "\n").encode())
    except OSError as error:
        print(f"progress is not kept ({error}): set GROWLAB_PROGRESS to a folder that you can write to")
