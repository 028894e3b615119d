"""The exercises of the course under their first name."""

from growlab.course.exercises import *
