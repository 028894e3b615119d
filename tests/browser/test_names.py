"""A notebook full of hostile names in a real JupyterLab: nothing runs, neither at once nor when it is opened again."""

import nbformat
import pytest
from machinery import chromium, jupyter

CODE = """
import torch, growlab as gl
from growlab import plots
from growlab.data import Split
names = '<img src=x onerror="window.ran = 1">', r'$\\href{javascript:window.ran=1}{x}$ [a](javascript:a) <b>c</b>'
pictures = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
split = Split(pictures, torch.tensor([0, 1, 0, 1]), names, torch.zeros(3), torch.ones(3))
for shown in (plots.contact_sheet(split, 1), plots.compare({name: [0.5, 0.6] for name in names}),
              *(gl.predict(name, name) for name in names), gl.check("fool-the-mean", lambda: names)):
    display(shown)
"""
FOUND = """() => {
    const outputs = [...document.querySelectorAll('.jp-OutputArea-output')];
    const count = what => outputs.reduce((n, output) => n + output.querySelectorAll(what).length, 0);
    return {ran: window.ran ?? null, links: count('a'), bold: count('em b'), formulas: count('mjx-container'),
            pictures: count('img'), seen: outputs.map(o => o.innerText).join('').split('onerror=').length - 1};
}"""


@pytest.mark.browser
def test_no_name_runs_or_is_typeset(tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CODE)])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    with chromium() as page, jupyter(tmp_path) as address:
        nbformat.write(notebook, tmp_path / "notebooks" / "names.ipynb")
        page.goto(address("names.ipynb"))
        page.wait_for_function("window.jupyterapp?.shell?.currentWidget?.sessionContext?.isReady")
        page.evaluate("jupyterapp.commands.execute('notebook:run-all-cells')")
        first = page.evaluate(FOUND)
        page.evaluate("jupyterapp.commands.execute('docmanager:save')")
        page.goto(address("names.ipynb"))  # as it is stored
        page.wait_for_function("document.querySelectorAll('.jp-OutputArea-output em').length === 2")
        page.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
        again = page.evaluate(FOUND)
        page.evaluate("() => jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    expected = {"ran": None, "links": 0, "bold": 0, "formulas": 0, "pictures": 2}
    for found in (first, again):
        assert found.pop("seen") >= 4 and found == expected
