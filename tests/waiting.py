"""Waiting for what another thread, process or page does: for a condition, never for so many seconds."""

from time import monotonic, sleep

PATIENCE = 1200  # seconds, on a busy machine too; they only end a hang


def until(holds, tell=lambda: "it never came true"):
    """Wait until ``holds()`` is true, and return what it is; ``tell()`` says what there is instead."""
    end = monotonic() + PATIENCE
    while not (found := holds()):
        assert monotonic() < end, tell()
        sleep(0.01)
    return found
