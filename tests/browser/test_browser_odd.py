"""Notebooks 01, 03 and 05 in a real JupyterLab: the other half, so that two processes share the work."""

import pytest
from machinery import NOTEBOOKS, check


@pytest.mark.browser
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("path", NOTEBOOKS[1::2], ids=lambda path: path.stem)
def test_all_cells_run_and_every_knob_changes_picture_and_caption(path, tmp_path):
    check(path, tmp_path)
