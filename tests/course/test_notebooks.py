"""Every notebook as it is stored: executed, small, readable without a kernel, and built after one template.

That its cells run is tested by nbval (pyproject.toml); here nothing is executed.
"""

import ast
import base64
import re
from pathlib import Path

import nbformat
import pytest
from store_notebooks import KEPT, SAID, WIDGET, as_text, clean, first_picture, main, twin_of, write_time

import growlab as gl
from growlab.course.chapters import CHAPTERS

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
PATHS = sorted(FOLDER.glob("*.ipynb"))
LARGEST = 500_000  # bytes
NO_PICTURE = {"text/plain", "text/markdown", "text/html", "text/latex"}


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, 4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def prose(notebook):
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def outputs(notebook):
    return [output for cell in code(notebook) for output in cell.outputs]


def sections(notebook):
    """{heading: text below it, to the next heading of the same level}, of all headings of level 2."""
    parts = re.split(r"^## +(.*)$", prose(notebook), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


def section(notebook, words):
    found = [text for heading, text in sections(notebook).items() if re.search(words, heading, re.I)]
    assert len(found) == 1, (
        f"one section called {words!r} is wanted, found {len(found)} among {list(sections(notebook))}"
    )
    return found[0]


# ------------------------------------------------------------------------------------------------ as a file


def test_there_is_a_notebook():
    assert PATHS and [path.name[:2] for path in PATHS] == [f"{number:02}" for number in range(len(PATHS))]
    assert [path.stem for path in PATHS] == [chapter.notebook for chapter in CHAPTERS]


def test_the_twin_is_the_notebook_as_text(path, notebook):
    assert twin_of(path).read_text() == as_text(notebook), f"run: python tools/store_notebooks.py notebooks/{path.name}"


def test_every_twin_has_a_notebook():
    assert sorted(FOLDER.glob("text/*.py")) == [twin_of(path) for path in PATHS]


def test_it_is_small_valid_and_stored_without_what_needs_a_kernel_or_differs_from_run_to_run(path, notebook):
    assert path.stat().st_size <= LARGEST
    nbformat.validate(notebook)
    assert clean(notebook) == notebook
    assert "widgets" not in notebook.metadata


def test_every_cell_was_run_in_order_and_none_is_empty(notebook):
    assert [cell.execution_count for cell in code(notebook)] == list(range(1, len(code(notebook)) + 1))
    assert all(cell.source.strip() for cell in notebook.cells)


def test_no_errors_no_stderr_and_no_widgets_in_the_outputs(notebook):
    for output in outputs(notebook):
        assert output.output_type != "error" and output.get("name") != "stderr", output
        assert set(output.get("data", {})) <= NO_PICTURE | {"image/png"}, set(output.data)


def test_nothing_in_the_outputs_is_of_one_machine_or_one_moment(notebook):
    for output in outputs(notebook):
        text = output.get("text", "") + str(output.get("data", {}).get("text/plain", ""))
        assert not re.search(r"0x[0-9a-f]{6,}|object at|Warning", text), text


def test_every_figure_is_a_png_with_its_text_below_it(notebook):
    for cell in code(notebook):
        for output, *following in (cell.outputs[i:] for i in range(len(cell.outputs))):
            if "image/png" in output.get("data", {}):
                assert base64.b64decode(output.data["image/png"])[:4] == b"\x89PNG"
                alt = output.metadata["image/png"]["alt"]
                assert len(alt) >= 40 and output.data["text/plain"] == alt
                assert following and alt in following[0].data["text/markdown"]


def test_at_least_five_cells_are_compared_with_what_is_stored(notebook):
    compared = [cell for cell in code(notebook) if "nbval-check-output" in cell.metadata.get("tags", ())]
    assert len(compared) >= 5
    for cell in compared:
        assert cell.outputs, f"nothing to compare:\n{cell.source}"
        assert all(set(output.get("data", {})) <= {"text/plain"} for output in cell.outputs), (
            "only text is the same everywhere"
        )
    tags = {tag for cell in notebook.cells for tag in cell.metadata.get("tags", ())}
    assert tags <= {"nbval-check-output", "nbval-ignore-output", "hide-input"}, "a misspelled tag compares nothing"


def test_the_pictures_of_readme_and_docs_are_those_of_the_notebook():
    root = FOLDER.parent
    shown = "".join(page.read_text() for page in (root / "README.md", root / "docs" / "results.md"))
    for stem, pictures in KEPT.items():
        notebook = nbformat.read(FOLDER / f"{stem}.ipynb", 4)
        for call, picture in pictures.items():
            assert picture.read_bytes() == first_picture(notebook, call)
            assert picture.stat().st_size <= 150_000 and f"results/{picture.name})" in shown


# ---------------------------------------------------------------------------------------------- the template


def test_it_has_one_title_with_its_number(path, notebook):
    titles = re.findall(r"^# +(.*)$", prose(notebook), re.M)
    (chapter,) = (chapter for chapter in CHAPTERS if chapter.notebook == path.stem)
    assert titles == [f"{chapter.number} · {chapter.title}"]
    assert notebook.cells[0].source.startswith("# ")


def test_it_says_what_you_will_learn_in_three_to_five_points(notebook):
    assert 3 <= len(re.findall(r"^- ", section(notebook, "^What you will learn"), re.M)) <= 5


def test_it_says_what_to_know_before_and_how_long_it_takes(notebook):
    before = section(notebook, "^Before you start")
    assert SAID.search(before) and "CPU" in before and "GPU" in before


def test_titles_questions_and_times_are_those_of_the_readme_and_within_the_promise():
    rows = [line for line in (FOLDER.parent / "README.md").read_text().splitlines() if re.match(r"\| \d\d \|", line)]
    assert rows == [f"| {c.number} | {c.title} | {c.question} | {c.seconds} seconds |" for c in CHAPTERS]
    for chapter in CHAPTERS:
        (said,) = SAID.findall(prose(nbformat.read(FOLDER / f"{chapter.notebook}.ipynb", 4)))
        assert said == f"about {chapter.seconds} seconds" and chapter.seconds <= 90, (chapter.notebook, said)
    assert sum(chapter.seconds for chapter in CHAPTERS) <= 360


def test_every_section_is_core_or_extra(notebook):
    frame = re.compile("What you will learn|Before you start|Summary|Terms|References|Quiz|What can go wrong", re.I)
    for heading in sections(notebook):
        if not frame.match(heading):
            assert re.search(r" · (core|extra)$", heading), f"{heading}: end it with ' · core' or ' · extra'"


def test_it_asks_for_predictions_before_running(notebook):
    assert len(re.findall(r"\*\*Your prediction:\*\*", prose(notebook))) >= 3


def test_five_quiz_questions_answer_every_option(notebook):
    questions = re.split(r"^\*\*\d\. ", section(notebook, "^Quiz"), flags=re.M)[1:]
    assert len(questions) == 5
    for question in questions:
        options, answers = question.split("<details>")
        letters = re.findall(r"^- \((\w)\)", options, re.M)
        assert len(letters) >= 3 and re.findall(r"^- \((\w)\)", answers, re.M) == letters


def test_it_ends_with_what_can_go_wrong_summary_terms_and_references(notebook):
    for words in ("^What can go wrong", "^Summary", "^Terms", "^References"):
        assert len(section(notebook, words).split()) >= 20


def test_it_has_a_slider_and_moves_it(notebook):
    source = "\n".join(cell.source for cell in code(notebook))
    assert re.search(r"interactive|Slider|gl\.explore", source) and re.search(r"\.value = ", source)


def test_cells_are_short(notebook):
    for cell in code(notebook):
        assert len([line for line in cell.source.splitlines() if line.strip()]) <= 14, cell.source
        assert max(map(len, cell.source.splitlines())) <= 100, cell.source
        ast.parse(cell.source)


def test_it_takes_only_public_names_from_the_package(notebook):
    names = {
        node.attr
        for cell in code(notebook)
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "gl"
    }
    assert names and not names - set(gl.__all__)


def test_links_between_files_lead_somewhere_and_the_neighbours_are_linked(path, notebook):
    links = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", prose(notebook)) if "://" not in link]
    assert all((FOLDER / link).exists() for link in links), links
    place = PATHS.index(path)
    for neighbour in PATHS[max(place - 1, 0) : place] + PATHS[place + 1 : place + 2]:
        assert neighbour.name in links, f"link to {neighbour.name}"


def test_markup_of_folded_answers_is_closed(notebook):
    text = prose(notebook)
    assert text.count("<details>") == text.count("</details>") == text.count("<summary>") == text.count("</summary>")
    for cell in notebook.cells:
        assert cell.source.count("<details>") == cell.source.count("</details>")


# ---------------------------------------------------------------------------------------------- storing them


def test_times_are_rounded_up_and_written_into_notebook_twin_chapters_and_readme(tmp_path):
    (tmp_path / "text").mkdir()
    path, table, readme = tmp_path / "07_more.ipynb", tmp_path / "chapters.py", tmp_path / "README.md"
    cell = nbformat.v4.new_markdown_cell("To run all cells: about 5 minutes on two CPU cores.")
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    readme.write_text("| 06 | a | b | |\n| 07 | more | why? | 10 seconds |\n")
    lines = '    Chapter("06", "a", "b", "c?", 10),\n    Chapter("07", "more", "More",\n            "why?", {}),\n'
    table.write_text(lines.format(10))
    write_time(path, 31.2, table, readme)
    assert table.read_text() == lines.format(40)
    assert nbformat.read(path, 4).cells[0].source == "To run all cells: about 40 seconds on two CPU cores."
    assert "about 40 seconds" in twin_of(path).read_text()
    assert readme.read_text() == "| 06 | a | b | |\n| 07 | more | why? | 40 seconds |\n"


def test_storing_runs_a_notebook_and_drops_widgets_and_times(tmp_path):
    (tmp_path / "text").mkdir()
    path = tmp_path / "a.ipynb"
    source = "import ipywidgets\nfrom IPython.display import display\nprint(2 + 2)\ndisplay(ipywidgets.IntSlider(3))"
    cell = nbformat.v4.new_code_cell(source, metadata={"tags": ["nbval-check-output"], "collapsed": True})
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata={"mine": "/somewhere"}), path)
    main([str(path)])
    stored = nbformat.read(path, 4)
    (cell,) = stored.cells
    assert [output.text for output in cell.outputs] == ["4\n"] and cell.execution_count == 1
    assert cell.metadata == {"tags": ["nbval-check-output"]} and "mine" not in stored.metadata
    assert WIDGET not in path.read_text() and twin_of(path).read_text() == as_text(stored)
    twin_of(path).write_text('# %% tags=["nbval-check-output"]\nprint(5)\n')
    main([str(path), "--from-text"])
    assert nbformat.read(path, 4).cells[0].outputs[0].text == "5\n"
    assert nbformat.read(path, 4).cells[0].id == cell.id
