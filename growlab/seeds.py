"""Whatever is random draws from a stream of its own, so that drawing more of one thing moves no other."""

import hashlib
import json
import operator
from contextlib import contextmanager

import torch


def random_stream(seed, *purpose) -> torch.Generator:
    """A CPU generator for one purpose: ``random_stream(seed, "data", epoch)``.

    Every purpose has a stream of its own, so that drawing more of one (another proposal, say) moves no other.
    ``seed`` and ``purpose`` are whole numbers, strings, or tuples of them. Raises ``ValueError`` for 2.5 and for True.
    """
    key = json.dumps(_plain((seed, *purpose)))
    return torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big"))


def _plain(key):
    if isinstance(key, tuple | list):
        return [*map(_plain, key)]
    if isinstance(key, bool | float):
        raise ValueError(f"seed must be a whole number, a string, or a tuple of them, got {key!r}: 0 is usual")
    return key if key is None or isinstance(key, str) else operator.index(key)


@contextmanager
def seeded(seed, *purpose):
    """PyTorch's global generator draws from ``random_stream(seed, …)`` within the block, and is as before after it."""
    with torch.random.fork_rng():
        torch.manual_seed(random_stream(seed, *purpose).initial_seed())
        yield
