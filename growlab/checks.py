"""One voice for wrong values: "… must be …, got …: what to do". NumPy's numbers are as good as Python's.

Each check returns the value as Python has it: ``lr = number("lr", lr, "(0, inf)", "0.1 is usual")``. True, False and
NaN are no numbers.
"""

from difflib import get_close_matches
from numbers import Integral, Real
from pkgutil import resolve_name

import numpy as np


def whole(name: str, value, least: int, hint: str) -> int:
    """A whole number of at least ``least``."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}: {hint}")
    return int(value)


def number(name: str, value, interval: str, hint: str) -> int | float:
    """A number within an interval as mathematics writes it: ``"(0, 1]"`` is 0 < value ≤ 1, ``"[0, inf)"`` is finite."""
    low, high = map(float, interval[1:-1].split(","))
    inside = isinstance(value, Real) and not isinstance(value, bool) and low <= value <= high  # NaN is not
    if not inside or (value == low and interval[0] == "(") or (value == high and interval[-1] == ")"):
        raise ValueError(f"{name} must be in {interval}, got {value!r}: {hint}")
    return plain(value)


def one_of(name: str, value, known):
    """One of the ``known`` values."""
    if value in [*known]:
        return value
    near = get_close_matches(str(value), [str(other) for other in known], 1)
    hint = f"did you mean {near[0]!r}?" if near else "choose one of these"
    raise ValueError(f"{name} must be one of {', '.join(map(str, known))}, got {value!r}: {hint}")


def resolved(name: str, value, known: dict[str, str]):
    """A function; given by itself, by one of the ``known`` names, or as one of your own, "package.module:function"."""
    if callable(value):
        return value
    if ":" not in str(value):
        return resolve_name(known[one_of(name, value, known)])
    try:
        return resolve_name(value)
    except Exception as error:  # whatever happens when it is imported
        what = f"{type(error).__name__}: {error}"
        hint = "can it be imported from here?"
        raise ValueError(f"{name} must be package.module:function, got {value!r} ({what}): {hint}") from error


def flag(name: str, value, hint: str) -> bool:
    """True or False."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False, got {value!r}: {hint}")
    return bool(value)


def plain(value):
    """NumPy's numbers as Python's, also inside dicts and lists: JSON has no others, and a safe checkpoint neither."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    return type(value)(map(plain, value)) if type(value) in (list, tuple) else value
