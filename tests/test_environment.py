"""What a fresh machine is told to install, the public names, the command line, and the README's example."""

import ast
import json
import os
import re
import socket
import subprocess
import sys
import tomllib
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from pytest_socket import SocketConnectBlockedError
from waiting import PATIENCE

import growlab
from growlab.__main__ import main

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = SETTINGS["project"]
REQUIREMENTS = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]
HABITS = [line for line in PROJECT["optional-dependencies"]["dev"] if line != "growlab[test]"]
CONSTRAINTS = (ROOT / "constraints.txt").read_text().splitlines()
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())


# ------------------------------------------------------------------------------------------ requirements


def test_conda_users_get_the_same_requirements():
    *conda, pip = CONDA["dependencies"]
    listed = [line for line in pip["pip"] if not line.startswith("-")]
    assert sorted(listed) == sorted(REQUIREMENTS)
    assert pip["pip"][len(listed) :] == ["--constraint=constraints.txt", "--editable=."]
    assert CONDA["channels"] == ["conda-forge"]


def test_conda_takes_python_and_pip_only_and_reads_their_versions():
    from rattler import MatchSpec

    *conda, pip = CONDA["dependencies"]
    specs = [MatchSpec(spec) for spec in conda]
    assert [spec.name.normalized for spec in specs] == ["python", "pip"]
    lowest = PROJECT["requires-python"].removeprefix(">=")
    assert str(specs[0].version).startswith(f">={lowest}")


def test_constraints_are_names_and_exact_versions_only():
    assert CONSTRAINTS == sorted(CONSTRAINTS, key=str.lower)
    for line in CONSTRAINTS:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.]*", line), line
        name = canonicalize_name(line.partition("==")[0])
        assert not re.match("(nvidia|cuda|triton)", name), f"{name} is for one platform: torch asks for its own"


def test_constraints_cover_every_requirement_within_its_bounds():
    exact = {
        canonicalize_name(name): Version(version) for name, _, version in (line.partition("==") for line in CONSTRAINTS)
    }
    assert len(exact) == len(CONSTRAINTS)
    for requirement in map(Requirement, REQUIREMENTS + HABITS):
        assert exact[canonicalize_name(requirement.name)] in requirement.specifier, requirement


def test_the_pytorch_that_torchvision_does_not_fit_is_never_installed():
    torch = next(requirement for requirement in map(Requirement, REQUIREMENTS) if requirement.name == "torch")
    assert "2.13.0" not in torch.specifier and "2.13.0+cpu" not in torch.specifier
    assert not [line for line in CONSTRAINTS if line.startswith("torch==2.13.0")]


# ----------------------------------------------------------------------------------------- files of the tree


def files():
    """Every file of the project: what git tracks or would track; without git, what is not a build output."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True
    )
    if listing.returncode == 0 and listing.stdout:
        found = [ROOT / name for name in listing.stdout.decode().split("\0") if name]
    else:
        left_out = {
            ".git", ".venv", "__pycache__", ".pytest_cache", ".ruff_cache", ".hypothesis", ".ipynb_checkpoints",
            "downloads", "runs", "build", "dist",
        }  # fmt: skip
        found = [
            path
            for path in ROOT.rglob("*")
            if not left_out & set(path.relative_to(ROOT).parts) and ".egg-info" not in str(path)
        ]
    return [path for path in found if path.is_file()]


# Put together from parts, or this file would find itself.
PLACES = "|".join(["wo" + "rk/", "ro" + "ot/", "ho" + "me/[a-z]", "Us" + "ers/[A-Za-z]", "tm" + "p/ipykernel"])
MACHINE_PATH = re.compile(rf"(?<![\w.~*/$}}-])/({PLACES})".encode())
INDEX = re.compile(
    "|".join(
        [
            "--(extra-)?" + "index-url",
            "--find" + "-links",
            "py" + r"pi\.org/simple",
            "files.python" + "hosted",
            r"download\.py" + r"torch\.org/whl",
        ]
    ).encode()
)


def test_no_file_names_a_place_on_somebody_s_machine():
    found = {
        str(path.relative_to(ROOT)): hit.group() for path in files() if (hit := MACHINE_PATH.search(path.read_bytes()))
    }
    assert found == {}


def test_no_file_names_a_package_index():
    found = {str(path.relative_to(ROOT)): hit.group() for path in files() if (hit := INDEX.search(path.read_bytes()))}
    assert found == {}


def test_the_paths_and_addresses_would_be_found():
    for text in [
        "open('/wo" + "rk/x')",
        "/ro" + "ot/.cache",
        " /ho" + "me/ann/x",
        "/tm" + "p/ipykernel_12/3.py:1: UserWarning",
    ]:
        assert MACHINE_PATH.search(text.encode()), text
    for text in ["https://github.com/a/wo" + "rk/", "~/wo" + "rk/", "$HOME/ro" + "ot/"]:
        assert not MACHINE_PATH.search(text.encode()), text
    assert INDEX.search(b"pip install --extra-" + b"index-url x")


def test_the_citation_names_the_paper_and_the_last_release():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert PROJECT["dynamic"] == ["version"]  # tags make it
    assert citation["version"] == SETTINGS["tool"]["setuptools_scm"]["fallback_version"]
    tags = subprocess.run(["git", "tag", "--merged", "HEAD", "--list", "v*"], cwd=ROOT, capture_output=True, text=True)
    if tags.stdout:
        assert Version(citation["version"]) == max(map(Version, tags.stdout.split()))
    assert citation["authors"] == [{"name": "The Growlab authors"}]
    (paper,) = citation["references"]
    assert [author["family-names"] for author in paper["authors"]] == ["Sakai", "Hotta"]
    assert "2408.13291" in paper["url"]


def test_make_says_what_it_can_do():
    said = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert [line.split()[1] for line in said.splitlines() if line.startswith("make ")] == [
        "lab",
        "test",
        "quick",
        "bench",
        "times",
        "clean",
    ]


@pytest.mark.skipif(find_spec("ruff") is None, reason="ruff is not installed: pip install -e .[test] brings it")
@pytest.mark.parametrize("habit", ["check", "format --check"])
def test_ruff_has_nothing_to_say(habit):
    said = python("-m", "ruff", *habit.split(), "--no-cache", ".", cwd=ROOT)
    assert said.returncode == 0, said.stdout + said.stderr


def test_hooks_need_no_network_and_leave_the_notebooks_to_learners():
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    assert {hook["id"]: hook["language"] for hook in repository["hooks"]} == {
        "ruff-check": "system", "ruff-format": "system", "twins": "system",
    }  # fmt: skip


# ---------------------------------------------------------------------------------------------- these tests


@pytest.mark.filterwarnings("ignore:A test tried to use socket")
def test_tests_reach_this_machine_only():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=PATIENCE).close()
    with pytest.raises(SocketConnectBlockedError):
        socket.create_connection(("192.0.2.1", 80), timeout=5)  # an address for documentation: nobody has it


def test_tests_and_kernels_leave_nothing_in_the_tree_and_keep_their_figures():
    assert not Path(os.environ["GROWLAB_DATA"]).is_relative_to(ROOT)
    assert not {"MPLBACKEND", "PYTHONDONTWRITEBYTECODE"} & set(os.environ)


# ---------------------------------------------------------------------------------------------- the package


def python(*arguments, cwd, **options):
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, timeout=PATIENCE, **options
    )


def test_every_public_name_is_there():
    for name in growlab.__all__:
        assert getattr(growlab, name) is not None
    assert set(growlab.__all__) <= set(dir(growlab))


def test_the_stub_names_what_the_package_has():
    """Editors read __init__.pyi, Python reads __init__.py: the same names, and each the same object."""
    named = {}
    for node in ast.parse((ROOT / "growlab" / "__init__.pyi").read_text()).body:
        for alias in node.names if isinstance(node, ast.ImportFrom) else []:
            assert alias.asname == alias.name, f"{alias.name} as {alias.name}, or it is no public name of a stub"
            try:
                named[alias.name] = import_module(f"{node.module}.{alias.name}")
            except ModuleNotFoundError:
                named[alias.name] = getattr(import_module(node.module), alias.name)
    assert sorted(named) == growlab.__all__
    assert [name for name, there in named.items() if getattr(growlab, name) is not there] == []


def test_what_is_no_module_is_installed_with_the_package():
    package = ROOT / "growlab"
    installed = {
        path for kind in SETTINGS["tool"]["setuptools"]["package-data"]["growlab"] for path in package.glob(kind)
    }
    assert {package / "__init__.pyi", package / "py.typed"} <= installed
    assert {path for path in files() if path.is_relative_to(package) and path.suffix != ".py"} <= installed


def test_the_public_names_need_no_metadata_of_pip(tmp_path):
    hidden = """
import importlib.metadata as metadata

def hide(name, find=metadata.distribution):
    if name == "growlab":
        raise metadata.PackageNotFoundError(name)
    return find(name)

metadata.distribution = hide
import growlab
assert [getattr(growlab, name) for name in growlab.__all__]
"""
    done = python("-c", hidden, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_doctor_still_speaks_where_pytorch_is_broken(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('libtorch is missing')")
    asked = python("-m", "growlab", "doctor", cwd=tmp_path)  # -m looks into this folder first
    assert asked.returncode == 1 and asked.stderr == ""
    assert "[OK] Python" in asked.stdout and "libtorch is missing" in asked.stdout


def test_an_unknown_name_is_an_error_that_lists_the_known_ones():
    with pytest.raises(AttributeError, match="no 'grow'.*load_data"):
        growlab.grow


def test_import_is_light(tmp_path):
    heavy = {
        "torchvision", "matplotlib", "pandas", "sklearn", "scipy", "seaborn", "IPython", "ipywidgets",
        "pytorch_grad_cam",
    }  # fmt: skip
    loaded = python("-c", "import growlab, sys; print(*sys.modules)", cwd=tmp_path, check=True).stdout.split()
    assert "growlab" in loaded and heavy & set(loaded) == set()


# ---------------------------------------------------------------------------------------------- command line

RUN = "run --data critters --limit 300 --model vgg5 --width 4 --method random --every 1 --epochs 2 --threads 1".split()


@pytest.mark.processes
def test_run_trains_grows_and_leaves_a_record(tmp_path):
    first = python("-m", "growlab", *RUN, "--out", "run", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    (place,) = (tmp_path / "run").iterdir()
    record = json.loads((place / "record.json").read_text())
    assert len(record["epochs"]) == 2 and len(record["growths"]) == 1
    assert record["result"]["parameters"] > record["epochs"][0]["parameters"]
    assert str(record["result"]["parameters"]) in first.stdout.splitlines()[-1]

    # The same command again trains nothing, and says the same.
    again = python("-m", "growlab", *RUN, "--out", "run", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert again.stdout == first.stdout
    assert json.loads((place / "record.json").read_text()) == record
    assert sorted(path.name for path in place.iterdir()) == ["record.json", "run.json", "weights.pt"]
    shown = python("-m", "growlab", "results", "run", cwd=tmp_path)
    assert shown.stdout == first.stdout


@pytest.mark.processes
def test_run_grows_a_model_of_your_own(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import growlab as gl\ndef small(): return gl.vgg5(3)[:-1].append(gl.mlp([3, 5, 10])[1:])\n"
    )
    done = python("-m", "growlab", *RUN, "--model", "mine:small", "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (record,) = (tmp_path / "run").glob("*/record.json")
    widths = [row["widths"] for row in json.loads(record.read_text())["epochs"]]
    # Four of three and one of five, and 35 % more.
    assert sum(widths[0].values()) == 17 and sum(widths[1].values()) == 23


@pytest.mark.parametrize(
    "change, named",
    [
        ("--data cats", "data set must be one of .*, got 'cats'"),
        ("--data folder:missing", "missing"),
        ("--limit 1", "limit"),
        ("--model resnet", "model must be one of .*, got 'resnet'"),
        ("--model nowhere:make", "model must be package.module:function, got 'nowhere:make' (ModuleNotFoundError"),
        ("--width 0", "width"),
        ("--method sprout", "method must be one of .*, got 'sprout'"),
        ("--rate 3.5", "3.5"),
        ("--every 0", "every"),
        ("--epochs 0", "epochs must be a whole number of at least 1"),
        ("--lr -1", "lr must be in (0, inf), got -1"),
        ("--batch-size 0", "batch_size must be a whole number of at least 1, got 0"),
        ("--device nowhere", "nowhere"),
        ("--threads -1", "threads"),
        ("--out record.json", "record.json"),
    ],
)
def test_bad_input_ends_with_status_2_and_one_clear_line(change, named, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("record.json").write_text("a file where a folder should be")
    assert main([*RUN, "--out", "run", *change.split()]) == 2
    error = capsys.readouterr().err.rpartition("\r")[2].strip()
    assert error.startswith("growlab: ") and "\n" not in error
    assert re.search(".*".join(map(re.escape, named.split(".*"))), error)


@pytest.mark.parametrize("arguments", ["", "walk", "run", "run --out x --every 1 --at 2", "run --out x --epochs many"])
def test_a_misspelt_command_shows_how_it_is_used(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments.split())
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("usage: growlab")


# ------------------------------------------------------------------------------------------------- README

README = (ROOT / "README.md").read_text()


def test_readme_opens_with_the_picture_and_the_two_commands():
    opening = README[: README.index("\n## ")]
    assert opening.startswith("# Growlab\n")
    assert 0 < opening.index("![") < opening.index("make lab") < opening.index("make test")


def test_readme_shows_pictures_and_files_that_are_there():
    if "<!-- lead:" in README:
        pytest.skip("the README has open places")
    for target in re.findall(r"\]\(([^)#]+)", README):
        assert "://" in target or (ROOT / target).exists(), target


@pytest.mark.processes
@pytest.mark.parametrize(
    "code", re.findall(r"```python\n(.*?)```", README, re.S), ids=lambda code: code.split("\n")[-2][:30]
)
def test_readme_examples_run_and_print_what_they_say(code, tmp_path):
    promised = re.findall(r"^print\(.*\)  # (.*)", code, re.M)
    done = python("-c", code, cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert len(promised) >= 2
    assert [line for line in done.stdout.splitlines() if line in promised] == promised
