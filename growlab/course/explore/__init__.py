"""What a reader or a lecturer plays with, ``gl.explore.k()`` and the others: one file for each chapter.

An explorer is a pure function, ``settings -> (figure, numbers)``, with a few knobs in front of it (shell.py). What a
setting shows is said in words by ``figure.alt``: above the picture in a widget, below it on a page without a kernel. A
knob has few values, so tests try them all, and shows its unit.
"""

from growlab.course.explore.cosine_map import k
from growlab.course.explore.firefly_choice import firefly
from growlab.course.explore.grad_cam import looks
from growlab.course.explore.live_run import growth_lab
from growlab.course.explore.neuron_splitting import split
from growlab.course.explore.random_growth import rate

__all__ = ["firefly", "growth_lab", "k", "looks", "rate", "split"]
