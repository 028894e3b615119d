"""Notebooks 00, 02, 04 and 06 in a real JupyterLab, by keyboard; test_browser_odd.py has the others.

``pytest tests/browser -s`` prints how long moves take.
"""

import pytest
from machinery import NOTEBOOKS, check


@pytest.mark.browser
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("path", NOTEBOOKS[::2], ids=lambda path: path.stem)
def test_all_cells_run_and_every_knob_changes_picture_and_caption(path, tmp_path):
    check(path, tmp_path)
