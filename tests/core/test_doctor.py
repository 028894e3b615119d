"""growlab/doctor.py: all is well here; and every failure says in one line what is wrong and what to do next."""

import shutil
import sys

import pytest
import torch
import torchvision

import growlab as gl
from growlab import doctor
from growlab.__main__ import main


@pytest.fixture
def room(monkeypatch):
    """Memory and disk of the moment are no matter of the installation."""
    monkeypatch.setattr(doctor, "free_memory", lambda: 8 * 10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**12, 0, 10**12))


def failure(check):
    """The text of a check that must fail: one line, with a next step."""
    good, text = doctor._examine(check)
    assert not good and "\n" not in text
    assert any(step in text for step in ("run `", "install ", "close ", "make room", "set GROWLAB_DATA", "update ")), (
        text
    )
    return text


def test_all_is_well_here(room):
    checks = doctor.examine()
    assert [text for good, text in checks if not good] == []
    assert len(checks) == len(doctor.CHECKS) and not any("\n" in text for _, text in checks)


def test_an_old_python_is_named(monkeypatch):
    monkeypatch.setattr(doctor, "PYTHON", (99, 1))
    assert "too old" in failure(doctor.python) and "99.1" in failure(doctor.python)


def test_a_missing_pytorch_is_a_failed_check(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "torch" in failure(doctor.pytorch)
    assert "torch" in failure(doctor.first_growth)


def test_a_torchvision_for_another_pytorch_is_found(monkeypatch):
    def nms(*arguments):
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(torchvision.ops, "nms", nms)
    assert "torchvision::nms" in failure(doctor.pytorch)


def test_the_device_is_described_with_and_without_a_gpu(monkeypatch):
    assert "CPU cores" in doctor.device()[1]
    cuda = torch.cuda
    monkeypatch.setattr(cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert doctor.device()[0] and "no GPU" in doctor.device()[1]
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert doctor.device()[0] and '"mps"' in doctor.device()[1]
    monkeypatch.setattr(cuda, "is_available", lambda: True)
    monkeypatch.setattr(cuda, "get_device_name", lambda: "Test GPU 1")
    monkeypatch.setattr(torch, "ones", lambda *shape, device: torch.full(shape, 1.0))
    assert doctor.device()[0] and "Test GPU 1" in doctor.device()[1]


def test_a_gpu_that_does_not_answer_is_found(monkeypatch):
    def ones(*shape, device):
        raise RuntimeError("CUDA error: no kernel image\nis available")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "ones", ones)
    assert "no kernel image is available" in failure(doctor.device)


def test_little_memory_fails_and_unknown_memory_is_called_unknown(monkeypatch):
    monkeypatch.setattr(doctor, "free_memory", lambda: 10**9)
    assert "1.0 GB free, 4 GB recommended" in failure(doctor.memory)
    monkeypatch.setattr(doctor, "free_memory", lambda: None)
    good, text = doctor.memory()
    assert good and "unknown" in text


def test_free_memory_is_measured_or_none(monkeypatch):
    free = doctor.free_memory()
    assert free is None or 10**7 < free < 10**14

    def refuse(*arguments, **options):
        raise OSError

    monkeypatch.setattr(doctor.Path, "read_text", refuse)
    monkeypatch.setattr(doctor.os, "sysconf", refuse, raising=False)
    assert doctor.free_memory() is None


def test_a_full_disk_fails(monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**12, 10**12 - 10**9, 10**9))
    assert "1.0 GB free" in failure(doctor.disk)


def test_the_data_folder_is_named_with_what_is_in_it(monkeypatch, tmp_path):
    monkeypatch.setenv("GROWLAB_DATA", str(tmp_path / "not" / "yet" / "there"))
    good, text = doctor.data_folder()
    assert good and "cifar10 and cifar100 will be downloaded" in text
    assert list(tmp_path.iterdir()) == []  # looking makes nothing

    monkeypatch.setenv("GROWLAB_DATA", str(tmp_path))
    (tmp_path / "cifar-10-batches-py").mkdir()
    good, text = doctor.data_folder()
    assert good and f"cifar10 in {tmp_path}; cifar100 will be" in text
    (tmp_path / "cifar-100-python").mkdir()
    assert "downloaded" not in doctor.data_folder()[1]


def test_a_data_folder_that_cannot_be_written_fails(monkeypatch, tmp_path):
    monkeypatch.setenv("GROWLAB_DATA", str(tmp_path / "file" / "data"))
    (tmp_path / "file").write_text("in the way")
    assert str(tmp_path / "file") in failure(doctor.data_folder)
    monkeypatch.setenv("GROWLAB_DATA", str(tmp_path))
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: False)
    assert str(tmp_path) in failure(doctor.data_folder)


def test_sliders_need_their_half_in_jupyterlab(monkeypatch, tmp_path):
    monkeypatch.setattr("jupyter_core.paths.jupyter_path", lambda *parts: [str(tmp_path)])
    assert "jupyterlab_widgets" in failure(doctor.sliders)
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    assert "ipywidgets" in failure(doctor.sliders)


def test_a_growth_that_changes_the_output_fails(monkeypatch):
    apply = gl.apply

    def careless(model, plan):
        apply(model, plan)
        torch.nn.init.normal_(model[-1].weight)

    monkeypatch.setattr(gl, "apply", careless)
    assert "its output moved by" in failure(doctor.first_growth)


def test_a_growth_that_stops_learning_fails(monkeypatch):
    apply = gl.apply

    def frozen(model, plan):
        apply(model, plan)
        model[1].requires_grad_(False)

    monkeypatch.setattr(gl, "apply", frozen)
    assert "no gradient" in failure(doctor.first_growth)


def test_the_self_test_leaves_the_random_numbers_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    doctor.first_growth()
    assert torch.equal(torch.rand(3), expected)


def test_the_command_prints_a_line_for_each_check_and_fails_with_any(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "examine", lambda: [(True, "Python"), (True, "disk")])
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out.splitlines() == ["[OK] Python", "[OK] disk"]
    monkeypatch.setattr(doctor, "examine", lambda: [(True, "Python"), (False, "disk: make room")])
    assert main(["doctor"]) == 1
    assert capsys.readouterr().out.splitlines() == ["[OK] Python", "[FAIL] disk: make room"]
