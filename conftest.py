"""Settings for all tests; what stands in the environment is inherited by the notebooks' kernels.

Sockets, timeouts and the notebooks are set in pyproject.toml.
"""

import os
import random
import tempfile

import hypothesis
import matplotlib
import numpy as np
import pytest

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: two workers share two cores, and sums keep their order
for name in ("MPLBACKEND", "PYTHONDONTWRITEBYTECODE"):  # Agg takes the figures out of notebooks; kernels start slowly
    os.environ.pop(name, None)
matplotlib.use("agg")  # in this process only

# The same examples every time, on slow machines too, and no .hypothesis folder. HYPOTHESIS_PROFILE=nightly draws new
# ones, ten times as many.
hypothesis.settings.register_profile("growlab", max_examples=50, derandomize=True, deadline=None, database=None)
hypothesis.settings.register_profile("nightly", max_examples=500, deadline=None, database=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "growlab"))


def pytest_configure(config):
    """Data go to a folder of the test run; kernels, which pytest-socket does not reach, find no way out."""
    folder = tempfile.TemporaryDirectory(prefix="growlab-tests-", ignore_cleanup_errors=True)
    config.add_cleanup(folder.cleanup)
    os.environ["GROWLAB_DATA"] = folder.name
    os.environ["GROWLAB_PROGRESS"] = os.path.join(folder.name, "progress")  # the notebooks' predictions and exercises
    os.environ["GROWLAB_LIVE_SECONDS"] = "inf"  # the growth lab ends no run by the clock, in kernels neither
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        os.environ[name] = os.environ[name.upper()] = "http://127.0.0.1:9"  # nobody listens there
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = "127.0.0.1,::1,localhost"


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.suffix == ".ipynb":
            item.add_marker("notebooks")


@pytest.fixture(autouse=True)
def fixed_seeds():
    import torch

    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
