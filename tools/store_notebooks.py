"""Run notebooks and store them as the course keeps them, with their twins.

``python tools/store_notebooks.py [NOTEBOOK …]``; without names, all of them.

Edit a notebook in JupyterLab, save it, and run this. A twin is for reading changes; ``--from-text`` takes the cells
from the twin instead. What a page without a kernel cannot show (sliders, progress bars) is not stored.

``--times`` (``make times``) stores nothing but how long all cells took: in the notebook, in the table of chapters, and
in that of the README.
"""

import math
import re
import sys
import time
from base64 import b64decode
from pathlib import Path

import jupytext
import nbformat

from growlab.course import chapters

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
WIDGET = "application/vnd.jupyter.widget-view+json"
RESULTS = FOLDER.parent / "data" / "results"
KEPT = {  # pictures for the README: {notebook: {call that draws it: file}}
    "00_start_here": {"plots.growth(": RESULTS / "first_growth.png"},
    "05_cifar_experiments": {"plots.differences(": RESULTS / "penalty.png"},
}
SAID = re.compile(r"(?<=To run all cells: )about \d+ (?:seconds|minutes?)")  # in a notebook
LINE = r'(Chapter\("{}",[^)]*) \d+\)'  # of the table of chapters
ROW = r"(?m)^(\| {} \|.*\|)[^|]*\|$"  # of the table in the README: number, title, question, time
METADATA = {
    "jupytext": {"cell_metadata_filter": "tags,-all", "notebook_metadata_filter": "-all"},
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "pygments_lexer": "ipython3",
    },
}


def clean(notebook):
    """The notebook without what differs from run to run or needs a kernel: widgets, times, machine's metadata."""
    notebook = nbformat.from_dict(notebook)
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        cell.metadata = {key: value for key, value in cell.metadata.items() if key == "tags"}
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if WIDGET not in output.get("data", {})]
            for output in cell.outputs:
                if "image/png" in output.get("data", {}):  # the other reading of a picture is an address in memory
                    output.data["text/plain"] = output.metadata.get("image/png", {}).get("alt", "")
    return notebook


def twin_of(path):
    return path.parent / "text" / f"{path.stem}.py"


def as_text(notebook):
    return jupytext.writes(notebook, "py:percent")


def first_picture(notebook, call):
    """The bytes of the first PNG below a cell that contains this call."""
    cell = next(cell for cell in notebook.cells if cell.cell_type == "code" and call in cell.source)
    return b64decode(next(output.data["image/png"] for output in cell.outputs if "image/png" in output.data))


def execute(notebook, folder):
    """Run all cells as JupyterLab does; returns the seconds, with those of the kernel's start."""
    from nbclient import NotebookClient

    started = time.perf_counter()
    NotebookClient(
        notebook, timeout=600, kernel_name="python3", record_timing=False, resources={"metadata": {"path": str(folder)}}
    ).execute()
    return time.perf_counter() - started


def write_time(path, seconds, table=Path(chapters.__file__), readme=FOLDER.parent / "README.md"):
    """Put a measured time, rounded up to 10 seconds, into the table of chapters and where readers look for it."""
    number, rounded = path.name[:2], 10 * math.ceil(seconds / 10)
    words = f"{rounded} seconds"
    notebook = nbformat.read(path, 4)
    (cell,) = (cell for cell in notebook.cells if cell.cell_type == "markdown" and SAID.search(cell.source))
    cell.source = SAID.sub(f"about {words}", cell.source)
    nbformat.write(notebook, path)
    twin_of(path).write_text(as_text(notebook))
    table.write_text(re.sub(LINE.format(number), rf"\g<1> {rounded})", table.read_text()))
    readme.write_text(re.sub(ROW.format(number), rf"\g<1> {words} |", readme.read_text()))


def main(arguments):
    given = [Path(name).resolve() for name in arguments if not name.startswith("--")]
    for path in given or [FOLDER / f"{chapter.notebook}.ipynb" for chapter in chapters.CHAPTERS]:
        if "--times" in arguments:
            seconds = execute(nbformat.read(path, 4), path.parent)
            write_time(path, seconds)
            print(f"{path.name}: {seconds:.0f} s")
            continue
        if "--from-text" in arguments:
            cells = jupytext.read(twin_of(path)).cells
            old = nbformat.read(path, 4).cells if path.exists() else []
            for cell, before in zip(cells, old):
                cell["id"] = before["id"]
            notebook = nbformat.v4.new_notebook(cells=cells)
        else:
            notebook = nbformat.read(path, 4)
        seconds = execute(notebook, path.parent)
        notebook = clean(notebook)
        nbformat.validate(notebook)
        nbformat.write(notebook, path)
        for call, picture in KEPT.get(path.stem, {}).items():
            picture.write_bytes(first_picture(notebook, call))
        twin_of(path).write_text(as_text(notebook))
        print(f"{path.name}: {seconds:.0f} s, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
