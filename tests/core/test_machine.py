"""What numbers depend on besides settings and seeds: the record says it, and float64 stays off devices without it."""

import subprocess
import sys
from importlib.metadata import PackageNotFoundError

import numpy as np
import pytest
import torch

import growlab as gl
from growlab import machine
from growlab.machine import environment, in_double, like, threads
from growlab.plans import GrowthPlan
from growlab.seeds import random_stream, seeded


class Apple(torch.Tensor):
    """Says that it lies on Apple's GPU, and has no float64 there, until it is moved to the CPU."""

    device = torch.device("mps")

    def cpu(self):
        return self.as_subclass(torch.Tensor)

    def double(self):
        raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64")


def test_a_device_without_float64_hands_its_tensors_to_the_cpu_first():
    weight = torch.randn(6, 20)
    with pytest.raises(TypeError, match="float64"):
        weight.as_subclass(Apple).double()  # the negative control
    assert torch.equal(in_double(weight.as_subclass(Apple)), weight.double())
    plain, apple = (gl.similarity_figures(w, [(0, 1)]) for w in (weight, weight.as_subclass(Apple)))
    assert plain == apple
    assert gl.effective_rank(weight.as_subclass(Apple)) == gl.effective_rank(weight)
    assert torch.equal(gl.twin_angle(*weight.as_subclass(Apple)[:2, None]), gl.twin_angle(*weight[:2, None]))


def test_like_takes_precision_and_device():
    one = like(torch.ones(2, dtype=torch.float64), torch.zeros(1, dtype=torch.bfloat16))
    assert one.dtype == torch.bfloat16 and one.device.type == "cpu"


def test_the_environment_names_the_commit_and_whether_files_were_changed_since(tmp_path, monkeypatch):
    (tmp_path / "growlab").mkdir()
    (tmp_path / "growlab" / "machine.py").write_text("")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        subprocess.run(git + command, check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    monkeypatch.setattr(machine, "__file__", str(tmp_path / "growlab" / "machine.py"))

    def commit():
        machine._code.cache_clear()
        return environment()["commit"]

    try:
        assert commit() == head
        (tmp_path / "growlab" / "machine.py").write_text("# changed")
        assert commit() == f"{head}-dirty"
        monkeypatch.setattr(machine, "__file__", str(tmp_path / "elsewhere" / "growlab" / "machine.py"))
        assert commit() is None  # no checkout
    finally:
        machine._code.cache_clear()


def test_training_needs_no_metadata_of_pip(monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(machine, "version", missing)
    machine._code.cache_clear()
    try:
        data = gl.load_data("digits", limit=60)
        history = gl.train(gl.mlp([64, 4, 10]), data, 1, progress=False)
    finally:
        machine._code.cache_clear()
    assert history.environment["growlab"] is None
    assert {"commit", "cuda", "cudnn", "gpu", "torch"} <= history.environment.keys()


def test_threads_are_as_before_after_the_block():
    before = torch.get_num_threads()
    with pytest.raises(KeyError), threads(before + 1):
        assert torch.get_num_threads() == before + 1
        raise KeyError
    assert torch.get_num_threads() == before


def test_seeded_draws_from_its_stream_and_leaves_the_global_one_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    with seeded(5, "dropout", 1):
        first = torch.rand(4)
    with seeded(np.int64(5), "dropout", 1):
        assert torch.equal(torch.rand(4), first)
    assert torch.equal(torch.rand(2), expected)
    torch.manual_seed(random_stream(5, "dropout", 1).initial_seed())
    assert torch.equal(torch.rand(4), first)


def test_a_method_of_your_own_gets_the_run_s_seed_if_it_takes_one():
    seen = []

    def mine(model, batches, *, seed, size=1.0):
        seen.append((seed, size))
        return gl.propose("random", model, seed=seed)

    def plain(model, batches) -> GrowthPlan:
        return gl.propose("net2net", model)

    data = gl.load_data("digits", limit=60)
    for method, options in ((mine, {"size": 2.0}), (plain, {})):
        growth = gl.Growth(method, 0.5, at=(1,), options=options)
        history = gl.train(gl.mlp([64, 4, 10]), data, 2, growth=growth, seed=7, progress=False)
        assert history.growths[0]["neurons"] == 2
    assert seen == [((7, "proposal", 1), 2.0)]


def test_the_ground_floor_is_imported_without_the_rest():
    code = "import sys, growlab.machine; print([m for m in sys.modules if m.startswith('growlab')])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "['growlab', 'growlab.machine']"
