"""Around the reader's code: what it raises stops nothing, what it sets is as before afterwards, what hangs is ended."""

import random
import signal
import sys
import threading
import warnings
from contextlib import contextmanager

import numpy as np
import torch

SECONDS = 10  # for one case of an exercise; right answers need less than one
GENERATORS = ((random.getstate, random.setstate), (np.random.get_state, np.random.set_state))  # PyTorch's: fork_rng
SETTINGS = (
    (torch.is_grad_enabled, torch.set_grad_enabled), (torch.get_default_dtype, torch.set_default_dtype),
    (torch.get_num_threads, torch.set_num_threads), (sys.getrecursionlimit, sys.setrecursionlimit),
    (torch.get_default_device, lambda old: torch.get_default_device() == old or torch.set_default_device(old)),
    (np.geterr, lambda old: np.seterr(**old)),
)  # fmt: skip


class TooLong(BaseException):
    """An answer hangs. No ``Exception``, which the answer itself might catch."""


def attempt(function, *arguments):
    """(what it returns, None), or (None, what it raises), be it ``SystemExit``. Ctrl-C and ``TooLong`` pass."""
    try:
        return function(*arguments), None
    except BaseException as error:
        if type(error) in (KeyboardInterrupt, TooLong):
            raise
        return None, error


@contextmanager
def as_before(state=GENERATORS + SETTINGS):
    """What the block changes of this, or of the filters of warnings, is set back after it."""
    before = [get() for get, _ in state]
    with torch.random.fork_rng(enabled=state is not SETTINGS), warnings.catch_warnings():
        try:
            yield
        finally:
            for (_, put), old in zip(state, before):
                put(old)


def endable() -> bool:
    """Whether what hangs can be ended here: not on Windows, and only in the main thread, where Jupyter runs cells."""
    return hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()


@contextmanager
def limited():
    """``TooLong`` in the block after SECONDS, where it is ``endable``. An alarm of the reader's own stays."""
    if not endable():
        yield
        return

    def end(*_):
        raise TooLong

    handler = signal.signal(signal.SIGALRM, end)
    timer = signal.setitimer(signal.ITIMER_REAL, SECONDS, 1)  # and every second, if the answer catches it
    try:
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, handler or signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, *timer)
