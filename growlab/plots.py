"""The figures of the course under a short name: ``from growlab import plots``."""

from growlab.course.figures import *
