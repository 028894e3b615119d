"""Nothing of what a reader has solved is lost: not by other kernels, not by a damaged file."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

import growlab as gl
from growlab.course.exercises import keeping

ROOT = Path(gl.__file__).parents[1]


@pytest.fixture(autouse=True)
def own_file(tmp_path, monkeypatch):
    monkeypatch.setenv("GROWLAB_PROGRESS", str(tmp_path))
    return tmp_path / "progress.json"


@pytest.mark.processes
def test_four_kernels_that_keep_twenty_exercises_each_keep_eighty():
    code = "import sys\nfrom growlab.course.exercises.keeping import keep\ninput()\n"
    code += "for i in range(20):\n    keep('exercises', f'{sys.argv[1]}-{i}', True)"
    how = {"stdin": subprocess.PIPE, "text": True, "env": {**os.environ, "PYTHONPATH": str(ROOT)}}
    kernels = [subprocess.Popen([sys.executable, "-c", code, f"{i}"], **how) for i in range(4)]
    for kernel in kernels:
        kernel.stdin.write("\n")
        kernel.stdin.flush()
    for kernel in kernels:
        kernel.communicate()
        assert kernel.returncode == 0
    assert len(keeping.kept("exercises")) == 80


@pytest.mark.parametrize("contents", [
    b"", b"no json", b"[]", b"null", b"5", b'{"exercises": []}', b'{"exercises": {}, "other": {}}', b"\0" * 40,
    b"\xff\xfe", b'{"predictions": 1}',
], ids=str)  # fmt: skip
@pytest.mark.parametrize("do", [
    lambda: gl.progress(), lambda: gl.check("cosine-map", gl.cosine_map), lambda: gl.predict("angle", 1),
    lambda: gl.predict("angle", measured=2),
], ids=["progress", "check", "predict", "measured"])  # fmt: skip
def test_a_file_of_another_form_is_set_aside_and_a_note_says_so(contents, do, own_file, capsys):
    own_file.write_bytes(contents)
    do()
    assert own_file.with_name("progress.json.damaged").read_bytes() == contents
    assert "it is set aside as progress.json.damaged, and what you solve" in capsys.readouterr().out
    do()
    assert "set aside" not in capsys.readouterr().out
    assert gl.check("cosine-map", gl.cosine_map) and gl.progress()["solved"].sum() == 1
    own_file.write_bytes(contents)
    gl.progress()
    assert own_file.with_name("progress.json.damaged1").read_bytes() == contents  # the first one stays


def test_a_changed_file_is_set_aside_and_one_of_an_earlier_version_is_read(own_file):
    gl.predict("angle", 0.5)
    contents = json.loads(own_file.read_text())
    assert len(contents.pop("sha256")) == 64
    own_file.write_text(json.dumps(contents))
    assert keeping.kept("predictions") == {"angle": 0.5}
    gl.check("cosine-map", gl.cosine_map)
    own_file.write_bytes(own_file.read_bytes().replace(b"0.5", b"0.7"))
    assert keeping.kept("predictions") == {} and own_file.with_name("progress.json.damaged").exists()


def test_a_mistake_in_another_kernel_takes_nothing_away(own_file):
    keeping.keep("exercises", "twins", True)
    keeping.keep("exercises", "twins", False)
    keeping.keep("predictions", "angle", 5)
    keeping.keep("predictions", "angle", 0)
    assert keeping.kept("exercises") == {"twins": True} and keeping.kept("predictions") == {"angle": 0}


def test_a_kernel_that_holds_the_file_for_ever_stops_no_other(own_file, monkeypatch, capsys):
    gl.predict("angle", 1)
    monkeypatch.setattr(keeping, "SECONDS", 0)
    with FileLock(own_file.with_suffix(".lock")):
        gl.predict("angle", 2)
        assert "progress is not kept" in capsys.readouterr().out and keeping.kept("predictions") == {"angle": 1}
