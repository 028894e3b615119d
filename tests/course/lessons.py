"""The functions that a notebook builds by hand, for tests that compare them with the package's."""

import ast
from pathlib import Path

import nbformat

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"


def functions_of(name, **given):
    """{name: function} of all ``def`` of notebooks/``name``.ipynb; they see its imports, and what is ``given``."""
    space = dict(given)
    for cell in nbformat.read(FOLDER / f"{name}.ipynb", 4).cells:
        if cell.cell_type == "code":
            kept = [
                node
                for node in ast.parse(cell.source).body
                if isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef))
            ]
            exec(compile(ast.Module(kept, []), f"{name}.ipynb", "exec"), space)
    return {
        key: value
        for key, value in space.items()
        if getattr(value, "__code__", None) and value.__code__.co_filename == f"{name}.ipynb"
    }
