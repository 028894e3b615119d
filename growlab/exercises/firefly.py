"""The exercises of this notebook."""

EXERCISES = ()
