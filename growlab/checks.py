"""One voice for wrong values: "… must be …, got …", and what to do. NumPy's numbers are as good as Python's."""

from numbers import Integral

import numpy as np


def whole(name, value, least, hint):
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}: {hint}")


def check_name(what: str, name, known) -> None:
    if name not in known:
        raise ValueError(f"unknown {what} {name!r}: choose from {', '.join(known)}")


def plain(value):
    """NumPy's numbers as Python's, also inside dicts and lists: JSON has no others, and a safe checkpoint neither."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    return type(value)(map(plain, value)) if type(value) in (list, tuple) else value
