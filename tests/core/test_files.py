"""Files that appear whole, carry a checksum, and leave nothing behind."""

import errno
import io
import json
import os
import random
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import damage
import pytest
import torch

import growlab as gl
from growlab import files, records
from growlab.files import ARCHIVE, JSON, appearing, read_sealed, write_atomically, write_sealed

ROOT = Path(gl.__file__).parents[1]
PART = {"flipped bit": 60, "replaced byte": 15, "spoilt sector": 30, "truncated": 30}
TEXT = b'{\n "a": [1, 2],\n "b": {"checksum": 3}\n}\n'


def archive(**contents):
    torch.save(contents, buffer := io.BytesIO())
    return buffer.getvalue()


# ----------------------------------------------------------------------------------------------- the checksum


@pytest.fixture(scope="module")
def every_kind(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GROWLAB_PROGRESS", str(folder))
        yield damage.make(folder)


LONG = pytest.mark.skipif("GROWLAB_LONG" not in os.environ, reason="takes minutes: GROWLAB_LONG=1 runs it")


@pytest.mark.parametrize("counts", [PART, pytest.param(damage.SERIES, marks=LONG)], ids=["short", "long"])
def test_no_damage_is_taken_silently_and_none_raises_from_inside(every_kind, counts):
    found = damage.series(every_kind, counts, seed=len(counts))
    assert len(found) == 24 and all(set(outcomes) == {"refused"} for outcomes in found.values()), found


@pytest.mark.parametrize("form, contents", [(JSON, TEXT), (ARCHIVE, archive(a=torch.ones(3)))], ids=["json", "zip"])
def test_every_bit_of_a_small_file_and_every_length_of_it_counts(form, contents, tmp_path):
    path = tmp_path / "file"
    write_sealed(path, contents)
    whole = path.read_bytes()
    assert read_sealed(path, form, bytes, "…") == contents and len(whole) < len(contents) + 90

    def refuses(other):
        path.write_bytes(other)
        with pytest.raises(ValueError, match=r"file is odd: do this \("):
            read_sealed(path, form, records._parse if form is ARCHIVE else json.loads, "is odd: do this")

    at = range(8 * len(whole)) if form is JSON else random.Random(0).sample(range(8 * len(whole) - 8 * 73), 300)
    for i in [*at, *range(8 * len(whole) - 8 * 73, 8 * len(whole))]:  # each of the seal
        refuses(whole[: i // 8] + bytes([whole[i // 8] ^ 1 << i % 8]) + whole[i // 8 + 1 :])
    for length in [*range(0, len(whole), 7), *range(len(whole) - 99, len(whole))]:
        refuses(whole[: max(0, length)])
    refuses(whole[:-80] + bytes(80))
    refuses(whole.replace(b"sha256", b"sha255"))


def test_readers_that_know_nothing_of_the_checksum_are_not_disturbed(tmp_path):
    write_sealed(tmp_path / "a.json", TEXT)
    found = json.loads((tmp_path / "a.json").read_text())
    assert list(found) == ["a", "b", "sha256"] and found["b"] == {"checksum": 3}
    write_sealed(tmp_path / "a.pt", archive(a=torch.ones(3)))
    assert torch.equal(torch.load(tmp_path / "a.pt", weights_only=True)["a"], torch.ones(3))
    assert torch.equal(torch.load(tmp_path / "a.pt", weights_only=True, mmap=True)["a"], torch.ones(3))
    assert zipfile.ZipFile(tmp_path / "a.pt").comment.startswith(b"sha256 ")


def test_files_of_earlier_versions_are_read_and_the_archive_s_own_checksums_looked_at(tmp_path):
    (tmp_path / "a.json").write_bytes(TEXT)
    assert read_sealed(tmp_path / "a.json", JSON, bytes, "…") == TEXT
    weights = torch.linspace(0, 1, 300)
    (tmp_path / "a.pt").write_bytes(whole := archive(a=weights))
    assert read_sealed(tmp_path / "a.pt", ARCHIVE, bytes, "…") == whole
    (tmp_path / "a.pt").write_bytes(whole.replace(weights[7:9].numpy().tobytes(), bytes(8)))
    with pytest.raises(ValueError, match=r"a.pt is odd \(the checksum of .*data/0 in it does not fit\)"):
        read_sealed(tmp_path / "a.pt", ARCHIVE, bytes, "is odd")


def test_all_that_comes_with_the_course_is_read():
    for path in (ROOT / "data" / "results").rglob("*.pt"):
        assert gl.load(path)
    assert len(gl.results(ROOT / "data" / "results" / "critters_methods.json")) > 100


def test_what_was_changed_by_hand_is_read_without_its_last_entry(tmp_path):
    write_sealed(tmp_path / "a.json", TEXT)
    changed = (tmp_path / "a.json").read_bytes().replace(b"[1, 2]", b"[1, 3]")
    (tmp_path / "a.json").write_bytes(changed)
    with pytest.raises(ValueError, match='changed it on purpose, take its last entry, "sha256", out'):
        read_sealed(tmp_path / "a.json", JSON, bytes, "…")
    (tmp_path / "a.json").write_bytes(changed[: changed.index(b',\n "sha256"')] + b"}")
    assert b"[1, 3]" in read_sealed(tmp_path / "a.json", JSON, bytes, "…")


# ------------------------------------------------------------------------------------------------- left-overs


def dies(code, folder):
    """A process that runs this code in a folder, and is killed in it."""
    begin = "import os, signal\nfrom pathlib import Path\nfrom growlab import files\n"
    stop = "die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
    done = subprocess.run(
        [sys.executable, "-c", begin + stop + code], cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode < 0


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
@pytest.mark.processes
def test_the_next_writer_removes_what_dead_processes_have_left(tmp_path):
    dies("os.replace = die\nfiles.write_atomically('a', b'1')", tmp_path)
    assert len(list(tmp_path.glob("a.*.part"))) == 1
    dies("with files.appearing(Path('b')) as folder:\n    (folder / 'b').write_bytes(b'1')\n    die()", tmp_path)
    kept = ["movie.2024.part", "x.part", f"c.{os.getpid()}-{files.HERE}.part", "c.999999999-00000000.part"]
    for name in kept:  # another program's, a living process', another machine's
        (tmp_path / name).write_bytes(b"2")
    (left,) = {*os.listdir(tmp_path)} - {*kept}
    assert left.startswith(".unfinished-")  # and that of the first is gone
    write_atomically(tmp_path / "d", b"3")
    assert sorted(os.listdir(tmp_path)) == sorted([*kept, "d"])
    os.utime(tmp_path / kept[3], (0, time.time() - 2 * files.DAY))
    (tmp_path / "e.999999999.part").write_bytes(b"an earlier version's")
    (tmp_path / ".unfinished-abcd1234").mkdir()
    os.utime(tmp_path / ".unfinished-abcd1234", (0, time.time() - 2 * files.DAY))
    with appearing(tmp_path / "e") as unfinished:
        (unfinished / "e").write_bytes(b"4")
    assert sorted(os.listdir(tmp_path)) == sorted([*kept[:3], "d", "e"])


def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "a", b"1")
    assert os.listdir(tmp_path) == []


# ------------------------------------------------------------------------------------------ read-only folders


@pytest.fixture
def read_only(monkeypatch):
    """A disk that refuses every change, as the system puts it; for root, too."""

    def refuse(path, *_, **__):
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    def only_read(path, mode="r", *rest):
        return open(path, mode, *rest) if mode in ("r", "rb") else refuse(path)

    def begin():
        monkeypatch.setattr(files, "open", only_read, raising=False)
        for name in ("unlink", "mkdir", "touch", "rename", "replace"):
            monkeypatch.setattr(Path, name, refuse)
        monkeypatch.setattr(os, "replace", refuse)

    return begin


def test_the_message_arrives_where_nothing_can_be_written(tmp_path, read_only):
    write_atomically(tmp_path / "a", b"1")
    read_only()
    with pytest.raises(OSError, match=r"could not write .*a \(Read-only file system\); what was there .* is untouched"):
        write_atomically(tmp_path / "a", b"2")
    with pytest.raises(OSError, match=r"could not write .*b.pt \(Read-only file system\)$"):
        gl.save(tmp_path / "b.pt", gl.mlp([4, 3, 2]))


@pytest.mark.parametrize("version", ["this", "an earlier"])
def test_a_finished_run_can_be_looked_at_where_nothing_can_be_written(version, tmp_path, read_only):
    data = gl.load_data("digits", limit=100)
    run = {"folder": tmp_path, "growth": gl.Growth("random", at=(1,)), "lr": 0.05, "progress": False}
    expected = gl.train(gl.mlp([64, 6, 6, 10]), data, 2, **run)
    if version != "this":
        for name, form in (("record.json", JSON), ("checkpoint.pt", ARCHIVE)):
            (tmp_path / name).write_bytes(read_sealed(tmp_path / name, form, bytes, "…"))
    read_only()
    model = gl.mlp([64, 6, 6, 10])
    assert gl.train(model, data, 2, **run) == expected == gl.History.load(tmp_path / "record.json")
    assert gl.evaluate(model, data.test) == expected.result["test_accuracy"]
