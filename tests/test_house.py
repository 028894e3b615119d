"""The house holds: no import goes up or in circles, and files, functions and the flow stay short.

``faults(root, …)`` reads a package by ``ast`` and says what is wrong, one line for each fault. It is tried on made-up
packages with one fault each, before the real one.
"""

import ast
import io
import tokenize
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from itertools import count
from pathlib import Path
from types import ModuleType

import pytest

import growlab as gl
from growlab.course.chapters import CHAPTERS

ROOT = Path(gl.__file__).parent
# A line is a floor, lowest first; modules of one floor may import each other. A room stands for what is in it.
FLOORS = """
checks seeds files text machine momentum tracing watching
norms
data.batches data.critters
data.sources
data
models
structure.graph
structure.channels
structure.units
structure
surgery
costs
gating
plans
methods
similarity penalties
history
decorrelation
records
growth
training
attention
lab.run
lab.published lab.treatments
lab.grids
lab.folder
lab.paper
lab.statistics
lab.results
lab.execute
lab
course.chapters
course.figures
course.exercises
course.explore
course
plots exercises
doctor __init__
__main__
"""
FLOW = """
data models structure surgery costs gating plans methods similarity penalties decorrelation growth training
"""  # from pictures to a trained network; the ground floor and the records are beside it
CONTENTS = " ".join(chapter.subject for chapter in CHAPTERS)  # the exercises: their length is the course's
FILE, FUNCTION, FLOW_CODE, PACKAGE = 300, 60, 2300, 11_000  # lines at most


# ------------------------------------------------------------------------------------------------- the reader


@cache
def modules(root: Path) -> dict[str, Path]:
    """{"data.batches": path}; a room's own file is named after the room, that of the package ``__init__``."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)] = path
    return found


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imports(root: Path, name: str):
    """(module of this package, its name there or None, name here, line) of every import, inside functions too."""
    path, package = modules(root)[name], root.name
    here = [package, *path.relative_to(root).parts[:-1]]
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if f"{alias.name}.".startswith(f"{package}."):
                    yield inside(root, alias.name), None, alias.asname or alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = [*here[: len(here) - node.level + 1]] if node.level else []
            base = ".".join([*base, *([node.module] if node.module else [])])
            if f"{base}.".startswith(f"{package}."):
                for alias in node.names:  # ``from growlab.data import critters`` imports a module, not a name in one
                    whole = f"{base}.{alias.name}".removeprefix(f"{package}.")
                    target = (whole, None) if whole in modules(root) else (inside(root, base), alias.name)
                    yield *target, alias.asname or alias.name, node.lineno


def inside(root, dotted):
    return dotted.removeprefix(root.name).lstrip(".") or "__init__"


def floor(name: str, floors: str) -> int | None:
    """The floor of a module, or of the room that it lies in; None if it has none."""
    at = {known: level for level, line in enumerate(floors.split("\n")) for known in line.split()}
    while name and name not in at:
        name = name.rpartition(".")[0]
    return at.get(name)


def private(name: str | None) -> bool:
    return bool(name) and name.startswith("_") and not name.startswith("__")


def circles(root):
    graph = {name: {target for target, *_ in imports(root, name)} for name in modules(root)}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        yield f"a circle of imports: {' → '.join(reversed(error.args[1]))}"


def climbs(root, floors):
    ground = floors.split("\n", 2)[1].split()
    for name in modules(root):
        if floor(name, floors) is None:
            yield f"{name} stands on no floor: give it one"
            continue
        for target, _, _, line in imports(root, name):
            where = f"{name}, line {line}, imports {target}"
            if name in ground:
                yield f"{where}: the ground floor imports nothing of ours"
            elif (level := floor(target, floors)) is not None and level > floor(name, floors):
                yield f"{where}, which is higher up: {floor(name, floors)} < {level}"


def privacies(root):
    for name, path in modules(root).items():
        known = {}
        for target, there, here, line in imports(root, name):
            if private(there) or private(target.rpartition(".")[2]):
                yield f"{name}, line {line}, imports {there or target}, which is private"
            if there is None and target != name:
                known[here] = target
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Attribute) and private(node.attr) and ast.unparse(node.value) in known:
                yield f"{name}, line {node.lineno}, uses {ast.unparse(node)}, which is private"


def lengths(root, contents=""):
    free = {f"course.exercises.{subject}" for subject in contents.split()}
    for name, path in modules(root).items():
        if (lines := len(path.read_text().splitlines())) > FILE and name not in free:
            yield f"{name} has {lines} lines: {FILE} at most"
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                if (lines := node.end_lineno - node.lineno + 1) > FUNCTION:
                    yield f"{name}.{node.name} has {lines} lines: {FUNCTION} at most"


def code_lines(path: Path) -> int:
    """Lines with a token that is neither comment nor docstring."""
    documents, lines = set(), set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if ast.get_docstring(node, clean=False) is not None:
                documents |= {*range(node.body[0].lineno, node.body[0].end_lineno + 1)}
    blank = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type not in blank:
            lines |= {*range(token.start[0], token.end[0] + 1)}
    return len(lines - documents)


def counts(root, flow, flow_code=FLOW_CODE, package=PACKAGE):
    """Nothing, or one text: what is too long, and a table of the files that count (file, lines, lines of code)."""
    rows = {name: (len(path.read_text().splitlines()), code_lines(path)) for name, path in modules(root).items()}
    rooms = flow.split()
    in_flow = {name: row for name, row in rows.items() if name.split(".")[0] in rooms}
    for what, shown, have, most in (
        ("the flow", in_flow, sum(code for _, code in in_flow.values()), flow_code),
        ("the package", rows, sum(lines for lines, _ in rows.values()), package),
    ):
        if have > most:
            unit = "lines of code" if what == "the flow" else "lines"
            table = "".join(f"\n{name:40}{lines:7,}{code:7,}" for name, (lines, code) in shown.items())
            yield f"{what} has {have:,} {unit}: {most:,} at most\n{'file':40}{'lines':>7}{'code':>7}{table}"


def listed(faults):
    return "".join(f"\n- {fault}" for fault in faults)


# ------------------------------------------------------------------------------ the reader, on made-up packages

TOWER = """
checks seeds
data.batches
data
models
plans
__init__
"""
LONG = "def f():\n" + FUNCTION * "    x = 0\n"


@pytest.fixture
def build(tmp_path):
    """A function that makes a new package of {file: text}, and four empty files."""
    numbers = count()

    def make(files):
        root = tmp_path / str(next(numbers)) / "tower"
        for name, text in {"__init__.py": "", "checks.py": "", "models.py": "", "plans.py": "", **files}.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        return root

    return make


GOOD = {
    "__init__.py": '"""Face."""\nfrom tower import plans\nfrom tower.models import mlp\n',
    "checks.py": "import os\nimport os.path\n",
    "models.py": "from tower.checks import whole\n__version__ = 1\ndef _hidden(): ...\nclass A:\n    _x = 0\n",
    "plans.py": "from . import models, data\nfrom tower.data import batches\nimport tower.models as m\nm.A()._x",
    "data/__init__.py": "from tower.data.batches import Data\n",
    "data/batches.py": "from tower import checks\nself._x\n",
}


def test_the_reader_finds_nothing_in_a_good_package(build):
    root = build(GOOD)
    assert not [*circles(root), *climbs(root, TOWER), *privacies(root), *lengths(root), *counts(root, "checks")]
    found = {name: {target for target, *_ in imports(root, name)} for name in modules(root)}
    assert found["plans"] == {"models", "data", "data.batches"} and found["__init__"] == {"plans", "models"}
    assert found["data.batches"] == {"checks"} and not found["checks"]


@pytest.mark.parametrize("text", [
    "import tower.plans", "from tower import plans", "from tower.plans import f", "from . import plans",
    "from .plans import f", "import tower.plans as p", "def f():\n    from tower.plans import g",
    "def f():\n    import tower",
    "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from tower import plans",
])  # fmt: skip
def test_the_reader_finds_an_import_from_higher_up(text, build):
    (fault,) = climbs(build({"models.py": text}), TOWER)
    assert fault.startswith("models, line ") and "higher up" in fault


@pytest.mark.parametrize("text", ["from tower import models", "from ..models import mlp", "from .. import models"])
def test_the_reader_finds_an_import_from_higher_up_within_a_room(text, build):
    (fault,) = climbs(build({"data/__init__.py": "", "data/batches.py": text}), TOWER)
    assert fault == "data.batches, line 1, imports models, which is higher up: 2 < 4"


def test_the_reader_finds_what_the_ground_floor_imports(build):
    assert listed(climbs(build({"checks.py": "from tower import seeds", "seeds.py": ""}), TOWER)) == (
        "\n- checks, line 1, imports seeds: the ground floor imports nothing of ours"
    )


def test_the_reader_finds_a_module_without_a_floor(build):
    assert [*climbs(build({"attic.py": ""}), TOWER)] == ["attic stands on no floor: give it one"]


def test_the_reader_finds_circles_of_any_length(build):
    assert [*circles(build({"models.py": "from tower import models"}))] == ["a circle of imports: models → models"]
    (fault,) = circles(build({"models.py": "def f():\n    import tower.plans", "plans.py": "from . import models"}))
    assert fault in ("a circle of imports: models → plans → models", "a circle of imports: plans → models → plans")
    files = {
        "checks.py": "import tower.models",
        "models.py": "from .plans import f",
        "plans.py": "from .checks import f",
    }
    (fault,) = circles(build(files))
    start = fault.split()[4]
    assert fault.count("→") == 3 and fault.endswith(f"→ {start}") and "plans → checks" in f"{fault} → checks"


@pytest.mark.parametrize("text, found", [
    ("from tower.checks import _f", "imports _f"), ("from tower.checks import a, _f as f", "imports _f"),
    ("from tower import checks\nchecks._f()", "uses checks._f"),
    ("from tower import checks as c\nc._f = 3", "uses c._f"),
    ("import tower.checks\ntower.checks._f", "uses tower.checks._f"),
    ("def f():\n    import tower.checks as c\n    c._f", "uses c._f"),
    ("from tower import _inner", "imports _inner"), ("import tower._inner", "imports _inner"),
])  # fmt: skip
def test_the_reader_finds_private_names(text, found, build):
    (fault,) = privacies(build({"models.py": text, "_inner.py": ""}))
    assert found in fault and "private" in fault


def test_the_reader_finds_what_is_too_long(build):
    method = f"class A:\n    async {LONG.replace('    ', '        ')}"
    assert [*lengths(build({"models.py": (FILE + 1) * "x = 0\n", "plans.py": method}))] == [
        f"models has {FILE + 1} lines: {FILE} at most", f"plans.f has {FUNCTION + 1} lines: {FUNCTION} at most"
    ]  # fmt: skip
    assert not [*lengths(build({"models.py": FILE * "x = 0\n", "plans.py": LONG.removesuffix("    x = 0\n")}))]
    subject = FILE * "x = 0\n" + LONG
    files = ("course/exercises/start_here.py", "course/exercises/checking.py", "start_here.py")
    found = [*lengths(build(dict.fromkeys(files, subject)), CONTENTS)]
    room = "course.exercises"
    expected = [f"{room}.checking", f"{room}.checking.f", f"{room}.start_here.f", "start_here", "start_here.f"]
    assert [fault.split()[0] for fault in found] == expected


CODE = '''"""Docstring,
of two lines."""

import os  # 1

# a comment
TABLE = """one
two
"""  # 2, 3, 4


def f(a,
      b):  # 5, 6
    """Docstring."""
    return (
        a
    )  # 7, 8, 9


class A:  # 10
    """Docstring."""

    x = 0; "not a docstring"  # 11
    "nor this"  # 12
'''


def test_the_reader_counts_lines_of_code(build):
    root = build({"models.py": CODE, "data/batches.py": CODE, "plans.py": CODE})
    assert code_lines(root / "models.py") == 12
    total = 3 * CODE.count("\n")
    assert not [*counts(root, "models data", 24, total)]
    (fault,) = counts(root, "models data", 23, total)
    assert fault.startswith("the flow has 24 lines of code: 23 at most\n") and "plans" not in fault
    assert fault.split("\n")[2:] == [f"{name:40}{CODE.count(chr(10)):7}{12:7}" for name in ("data.batches", "models")]
    (fault,) = counts(root, "models data", 24, total - 1)
    assert fault.startswith(f"the package has {total} lines: {total - 1} at most\n") and "\nplans " in fault


# ------------------------------------------------------------------------------------------------- the house


def test_no_import_goes_in_a_circle():
    assert not (faults := [*circles(ROOT)]), listed(faults)


def test_no_import_goes_up():
    assert not (faults := [*climbs(ROOT, FLOORS)]), listed(faults)


def test_no_module_uses_a_private_name_of_another():
    assert not (faults := [*privacies(ROOT)]), listed(faults)


def test_files_and_functions_are_short():
    assert not (faults := [*lengths(ROOT, CONTENTS)]), listed(faults)


def test_the_flow_and_the_package_are_short():
    assert not (faults := [*counts(ROOT, FLOW)]), listed(faults)


def test_every_floor_and_every_excepted_file_exists():
    names = {name.split(".")[0] for name in modules(ROOT)} | {*modules(ROOT)}
    assert {*FLOORS.split(), *FLOW.split()} <= names
    assert {f"course.exercises.{subject}" for subject in CONTENTS.split()} <= names
    assert {name.split(".")[0] for name in FLOORS.split()} >= {*FLOW.split()}


# ------------------------------------------------------------------------------------------------- its doors


@pytest.mark.parametrize("name", gl.__all__)
def test_every_public_name_loads(name):
    assert getattr(gl, name) is not None


def test_rooms_are_public_modules_and_old_names_stay():
    assert all(isinstance(room, ModuleType) for room in (gl.plots, gl.critters, gl.attention))
    plots, exercises = import_module("growlab.plots"), import_module("growlab.exercises")
    figures = import_module("growlab.course.figures")
    assert all(getattr(plots, name) is getattr(figures, name) is getattr(gl.plots, name) for name in figures.__all__)
    assert exercises.check is gl.check and import_module("growlab.data").Data.__name__ == "Data"
