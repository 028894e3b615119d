"""The machine: what numbers depend on besides settings and seeds."""

import os
import platform
import subprocess
from contextlib import contextmanager, suppress
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch


def environment(device="cpu") -> dict:
    """What the numbers of a run may depend on besides its settings."""
    processor = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        processor = names[0].partition(":")[2].strip() if names else processor
    cuda = torch.device(device).type == "cuda"
    return {
        **_code(), "torch": str(torch.__version__), "python": platform.python_version(), "system": platform.system(),
        "processor": processor, "cores": os.cpu_count(), "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(device) if cuda else None, "cuda": torch.version.cuda if cuda else None,
        "cudnn": torch.backends.cudnn.version() if cuda else None,
    }  # fmt: skip


@lru_cache
def _code():
    """Version and commit of growlab, "…-dirty" for files that were changed since; None where nothing tells."""
    found, home = {"growlab": None, "commit": None}, Path(__file__).resolve().parents[1]
    with suppress(PackageNotFoundError):  # not installed by pip, but found on the path
        found["growlab"] = version("growlab")
    if (home / ".git").exists():
        with suppress(OSError, subprocess.SubprocessError):
            said = ["git", "-C", str(home), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
            found["commit"] = subprocess.run(said, capture_output=True, text=True, check=True).stdout.strip()
    return found


@contextmanager
def threads(count):
    """The number of threads changes the order of sums, so it belongs to a run."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def in_double(tensor: torch.Tensor) -> torch.Tensor:
    """In float64, for sums and eigenvalues; on the CPU where the device has none (Apple's GPU)."""
    return (tensor.cpu() if tensor.device.type == "mps" else tensor).double()


def precise(device: torch.device) -> torch.dtype:
    """float64 on the CPU; float32 on a GPU: Apple's has no other, and fused SGD takes no other rate."""
    return torch.float64 if device.type == "cpu" else torch.float32


def like(tensor: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """In the precision and on the device of the other one: first the precision, since a device may lack float64."""
    return tensor.to(other.dtype).to(other.device)
