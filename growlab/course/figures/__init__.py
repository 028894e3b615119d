"""A function for each figure, in one style: data go in, a matplotlib Figure comes out.

Each figure has an ``alt`` text, for those who cannot see it.
"""

from growlab.course.figures.answers import difference  # noqa: I001
from growlab.course.figures.pictures import anatomy, contact_sheet, first_of_each, forms, heats, says, votes
from growlab.course.figures.runs import compare, curves, differences, growth, neurons, scatter
from growlab.course.figures.similarity import cosine_maps, distributions, draw_cosines, workflow
from growlab.course.figures.style import (
    BLACK, BLUE, FILE, GREEN, LINES, PAGE, PINK, RED, STYLE, Figure, outline, panels, show_picture, styled,
)  # fmt: skip

__all__ = [
    "BLACK", "BLUE", "FILE", "GREEN", "LINES", "PAGE", "PINK", "RED", "STYLE", "Figure", "anatomy", "compare",
    "contact_sheet", "cosine_maps", "curves", "difference", "differences", "distributions", "draw_cosines",
    "first_of_each", "forms", "growth", "heats", "neurons", "outline", "panels", "says", "scatter", "show_picture",
    "styled", "votes", "workflow",
]  # fmt: skip
