"""What an exercise is, what is said about an answer, and when two answers are the same."""

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

import numpy as np
import torch

from growlab.checks import one_of
from growlab.course.chapters import CHAPTERS
from growlab.course.exercises.fence import attempt
from growlab.course.figures.style import BLUE, GREEN, PAGE, RED, Figure
from growlab.text import PLAIN, markup, printable

LONG = 200  # characters, of what was got or said: the rest is cut off


@dataclass(frozen=True)
class Exercise:
    """One exercise. ``solution`` is a plain function; its source is what readers see.

    ``cases()`` yields the arguments of one call after the other, smallest first, the same at every call; floating
    tensors are float64. The answer must equal the solution on all of them by ``same(got, expected)``, unless that is
    None: then many answers are right, and the ``properties`` decide alone. A property is a function (answer,
    *arguments) that returns None, or a sentence on what is wrong. ``mistakes``: {hint: function that makes it}; an
    answer that agrees with one on all cases gets its hint.
    """

    id: str
    solution: Callable
    cases: Callable
    mistakes: dict[str, Callable]
    properties: tuple[Callable, ...] = ()
    same: Callable | None = lambda got, expected: equal(got, expected)

    @property
    def hints(self) -> list[str]:
        """They lead to the solution, a step each: the lines of its section in hints.md."""
        section = Path(__file__).with_name("hints.md").read_text(encoding="utf-8").split(f"\n## {self.id}\n")[1]
        return [line[2:] for line in section.partition("\n## ")[0].splitlines() if line.startswith("- ")]


@dataclass(frozen=True)
class Note:
    """What readers get back: a headline, details, perhaps code or a picture. HTML in Jupyter, text elsewhere."""

    good: bool | None  # None: neither right nor wrong
    title: str
    lines: tuple[str, ...] = ()
    code: str = ""
    picture: Figure | None = field(default=None, repr=False, compare=False)

    def __bool__(self):
        return bool(self.good)

    def __repr__(self):
        return printable("\n".join([self.title, *(f"  {line}" for line in self.lines), *self.code.splitlines()]))

    def _repr_html_(self):
        color = {True: GREEN, False: RED, None: BLUE}[self.good]
        parts = [f"<b>{markup(self.title)}</b>", *map(markup, self.lines)]
        if self.code:
            parts.append(f"<details><summary>show the code</summary><pre>{markup(self.code)}</pre></details>")
        if self.picture:
            source = base64.b64encode(self.picture.png()).decode()
            alt, width = markup(self.picture.alt), round(self.picture.get_figwidth() * PAGE)
            parts.append(f'<img alt="{alt}" width="{width}" src="data:image/png;base64,{source}">')
        how = f'class="{PLAIN}" style="border-left: 4px solid {color}; padding: 2px 10px"'
        return f"<div {how}>{'<br>'.join(parts)}</div>"


def exercises_of(subject: str) -> tuple[Exercise, ...]:
    """The exercises of a chapter, in the order of its notebook."""
    return import_module(f"growlab.course.exercises.{subject}").EXERCISES


def find(id: str) -> Exercise:
    """The exercise of this name; a ``ValueError`` that lists all names if there is none."""
    known = {exercise.id: exercise for chapter in CHAPTERS for exercise in exercises_of(chapter.subject)}
    return known[one_of("exercise", id, known)]


def equal(got, expected, relative=1e-8, absolute=1e-10) -> bool:
    """Whether two answers are the same up to rounding: numbers, tensors, arrays, models, or lists and dicts of them.

    Rounding in float64; in float32, if that is what was got where float64 was expected.
    """
    if isinstance(expected, dict):
        alike = isinstance(got, dict) and got.keys() == expected.keys()
        return alike and all(equal(got[key], expected[key]) for key in expected)
    if isinstance(expected, (list, tuple)):
        pairs, error = attempt(lambda: list(zip(got, expected, strict=True)))  # not so many, or not several at all
        return error is None and all(equal(*pair) for pair in pairs)
    if isinstance(expected, torch.nn.Module):
        return isinstance(got, torch.nn.Module) and equal(got.state_dict(), expected.state_dict())
    if isinstance(expected, str) or expected is None:
        return got is expected or (isinstance(got, str) and str.__eq__(got, expected))
    if "float32" in str(getattr(got, "dtype", "")) and "float32" not in str(getattr(expected, "dtype", "")):
        relative, absolute = max(relative, 1e-5), max(absolute, 1e-6)
    arrays, error = attempt(lambda: (_array(got), _array(expected)))
    alike = error is None and arrays[0].shape == arrays[1].shape
    return alike and bool(np.allclose(*arrays, relative, absolute, equal_nan=True))


def normal(*shape, seed=0):
    """Standard normal numbers in float64, the same at every call."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def show(value, deep=3) -> str:
    """Small things in full, large tensors by their shape; what cannot be written at all by its type."""
    text, error = attempt(_written, value, deep)
    return f"a {type(value).__name__} that cannot be shown" if error is not None else text


def _written(value, deep):
    if isinstance(value, (torch.Tensor, np.ndarray)):
        shape = tuple(value.shape)
        if value.ndim == 0:
            return f"{value.item():.6g}"
        values = np.asarray(value.detach() if isinstance(value, torch.Tensor) else value)
        full = np.array2string(values, precision=4, suppress_small=True, separator=", ").replace("\n", "")
        return f"shape {shape}" + (f": {full}" if 0 < np.prod(shape) <= 12 else "")
    if isinstance(value, float):
        return f"{0.0 if abs(value) < 1e-12 else value:.6g}"
    if isinstance(value, (list, tuple)) and len(value) <= 8 and deep:
        return f"[{', '.join(show(part, deep - 1) for part in value)}]"
    text = repr(value)
    return text if len(text) <= LONG else text[:LONG] + " …"


def _array(value):
    return np.asarray(value.detach() if isinstance(value, torch.Tensor) else value, float)
