"""Whatever is random draws from a stream of its own, so that drawing more of one thing moves no other."""

import hashlib
import json
import operator
from contextlib import contextmanager

import torch


def random_stream(seed, *purpose) -> torch.Generator:
    """A CPU generator for one purpose: ``random_stream(seed, "data", epoch)``.

    Every purpose has a stream of its own, so that drawing more of one (another proposal, say) moves no other.
    ``seed`` and ``purpose`` are whole numbers, strings, or tuples of them.
    """
    key = json.dumps([seed, *purpose], default=operator.index)  # a numpy integer counts as its value
    return torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big"))


@contextmanager
def seeded(seed, *purpose):
    """PyTorch's global generator begins at ``random_stream(seed, …)`` within the block, and goes on as before after it."""
    with torch.random.fork_rng():
        torch.manual_seed(random_stream(seed, *purpose).initial_seed())
        yield
