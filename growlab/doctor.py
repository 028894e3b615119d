"""Is this machine ready for the course? ``growlab doctor`` prints a line per check, with the next step where one fails.

It stands before the flow: Python, PyTorch, device, memory, disk, data folder, sliders, and a first growth.
Notebook 00 begins with it.
"""

import os
import platform
import shutil
import sys
from pathlib import Path

MEMORY = 4e9  # bytes: one notebook takes about 1 GB, a browser and JupyterLab the rest
DISK = 2e9  # bytes: CIFAR-10 and CIFAR-100 with their archives, and checkpoints
PYTHON = (3, 11)
REINSTALL = "run `make lab` again, or `pip install -c constraints.txt -e .` in a new environment"
DOWNLOADS = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}  # the folders that torchvision makes


def examine() -> list[tuple[bool, str]]:
    """All checks in order, as (good, text); a text is one line in plain words.

    A check never raises: what goes wrong in it becomes a failed check with the error in its text.
    """
    return [_examine(check) for check in CHECKS]


def _examine(check):
    try:
        return check()
    except Exception as error:  # anything at all: a broken installation fails in many ways
        name = check.__name__.replace("_", " ")
        return False, f"{name}: {_reason(error)}; if nothing above explains it, {REINSTALL}"


def _reason(error):
    return " ".join(f"{type(error).__name__}: {error}".split())  # in one line


def python():
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < PYTHON:
        needed = ".".join(map(str, PYTHON))
        return False, f"Python {found} is too old: install {needed} or newer, and run `make lab PYTHON=python{needed}`"
    return True, f"Python {found} on {platform.system() or 'an unknown system'}"


def pytorch():
    try:
        import torch
        import torchvision

        # A torchvision for another PyTorch may import and yet lack its compiled operators.
        torchvision.ops.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([1.0]), 0.5)
    except Exception as error:
        return False, f"PyTorch and torchvision do not work together ({_reason(error)}): {REINSTALL}"
    return True, f"PyTorch {torch.__version__} with torchvision {torchvision.__version__}"


def device():
    import torch

    cores, threads = os.cpu_count() or 1, torch.get_num_threads()
    text = f"{cores} CPU cores, {threads} used by PyTorch"
    if torch.cuda.is_available():
        try:
            torch.ones(2, device="cuda").sum().item()
        except RuntimeError as error:
            found = f"{text}; the GPU does not answer ({_reason(error)})"
            return False, f'{found}: update its driver, or stay with device="cpu"'
        return True, f'{text}; GPU: {torch.cuda.get_device_name()}, use it with device="cuda"'
    if torch.backends.mps.is_available():
        return True, f'{text}; Apple GPU, use it with device="mps"'
    return True, f"{text}; no GPU, and the course needs none"


def memory():
    free = free_memory()
    if free is None:
        return True, f"memory: unknown on this system; {MEMORY / 1e9:.0f} GB free are recommended"
    text = f"memory: {free / 1e9:.1f} GB free"
    if free < MEMORY:
        text += f", {MEMORY / 1e9:.0f} GB recommended"
        return False, f"{text}: close other programs, and keep one notebook open at a time"
    return True, text


def free_memory() -> int | None:
    """Bytes that programs can still take; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()  # Linux; counts what caches would give back
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf, macOS not this name
        return None


def disk():
    free = shutil.disk_usage(Path.cwd()).free
    text = f"disk: {free / 1e9:.1f} GB free in {Path.cwd()}"
    if free < DISK:
        return False, f"{text}, {DISK / 1e9:.0f} GB recommended: make room, or work in a folder on another disk"
    return True, text


def data_folder():
    from growlab.data.sources import default_root

    root = Path(os.environ.get("GROWLAB_DATA") or default_root()).expanduser().absolute()
    existing = next(folder for folder in (root, *root.parents) if folder.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return False, f"data: {existing} cannot be written to: set GROWLAB_DATA to a folder of yours"
    there = [name for name, folder in DOWNLOADS.items() if (root / folder).is_dir()]
    missing = [name for name in DOWNLOADS if name not in there]
    text = f"data: critters and digits are built in; {', '.join(there) or 'nothing else'} in {root}"
    return True, text + (f"; {' and '.join(missing)} will be downloaded there when you ask for it" if missing else "")


def sliders():
    import ipywidgets
    from jupyter_core.paths import jupyter_path

    # ipywidgets draws nothing by itself: JupyterLab needs its own half, which lies in share/jupyter.
    folders = [Path(folder, "@jupyter-widgets", "jupyterlab-manager") for folder in jupyter_path("labextensions")]
    if not any((folder / "package.json").exists() for folder in folders):
        return False, (
            f"sliders: ipywidgets {ipywidgets.__version__} is here, but not its part for JupyterLab: "
            "run `pip install --force-reinstall jupyterlab_widgets` in this environment, and restart JupyterLab"
        )
    return True, f"sliders: ipywidgets {ipywidgets.__version__} with its part for JupyterLab"


def first_growth():
    """Grow a tiny network by copies: its output must stay, to rounding, and every parameter must get a gradient."""
    import torch

    import growlab as gl

    with torch.random.fork_rng(devices=[]):  # not ``seeded``, which asks the GPUs: one may not answer
        torch.manual_seed(0)
        model, inputs = gl.mlp([8, 6, 6, 4]), torch.randn(5, 8)
    before = model(inputs)
    gl.apply(model, gl.propose("net2net", model).within(rate=0.5))
    after = model(inputs)
    after.square().sum().backward()
    error = (after - before).abs().max().item()
    learns = all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    if error > 1e-5 or not learns:
        found = f"its output moved by {error:.1g}" if error > 1e-5 else "a parameter got no gradient"
        return False, f"first growth: a network grew from 12 to 18 neurons, but {found}: {REINSTALL}"
    return True, f"first growth: a network grew from 12 to 18 neurons and kept its output to {error:.1g}"


CHECKS = (python, pytorch, device, memory, disk, data_folder, sliders, first_growth)
