"""A real JupyterLab in a headless Chromium, for test_browser.py and its other half: whole files go to one process."""

import os
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SETTINGS = {  # of JupyterLab: nothing is fetched, and all cells are in the page
    "apputils-extension/notification": '{"fetchNews": "false", "checkForUpdates": false}',
    "notebook-extension/tracker": '{"windowingMode": "none"}',
}
SEEN = """explorer => {
    // When the last key was pressed, and when picture and caption had changed after it.
    const seen = window.seen = {pressed: 0, shown: 0, pictures: 0};
    const shown = () => { seen.shown = performance.now(); };
    explorer.addEventListener('keydown', () => { seen.pressed = performance.now(); seen.shown = 0; }, true);
    explorer.querySelector('img').addEventListener('load', () => { shown(); seen.pictures += 1; });
    new MutationObserver(shown).observe(explorer.querySelector('[role=status]').closest('.widget-html'), {subtree: true, childList: true, characterData: true});
}"""


@contextmanager
def jupyter(folder):
    """JupyterLab on a copy of the notebooks, since it saves by itself; yields a function from a notebook's name to its address."""
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    (folder / "data").symlink_to(ROOT / "data")
    for name, text in SETTINGS.items():
        file = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}", "--LabApp.expose_app_in_browser=True",
        f"--LabApp.user_settings_dir={folder / 'settings'}", f"--LabApp.workspaces_dir={folder / 'workspaces'}",
    ]  # fmt: skip
    with open(folder / "log", "w") as log:
        server = subprocess.Popen(
            command,
            cwd=folder,
            stdout=log,
            stderr=log,
            env=os.environ | {"JUPYTER_RUNTIME_DIR": str(folder / "runtime")},
        )
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api?token={token}", timeout=2).close()
                break
            except OSError:
                assert server.poll() is None, (folder / "log").read_text()
                sleep(0.5)
        yield lambda name: f"http://127.0.0.1:{port}/lab/tree/notebooks/{name}?token={token}&reset"
    finally:
        server.terminate()
        server.wait(20)


@contextmanager
def chromium():
    """A page 1200 pixels wide."""
    if CHROMIUM is None:
        pytest.skip("no chromium here: install it (Debian: apt install chromium fonts-dejavu-core)")
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install -e '.[test]'"
    )
    with playwright.sync_playwright() as machinery:
        browser = machinery.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser.new_page(viewport={"width": 1200, "height": 900})
        browser.close()


def run_all(page, address, seconds=400):
    """Open a notebook, run all cells, and return the errors in its outputs."""
    page.goto(address, timeout=240_000)
    page.wait_for_function("window.jupyterapp?.shell?.currentWidget?.sessionContext?.isReady", timeout=240_000)
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]", timeout=120_000)
    page.evaluate("void jupyterapp.commands.execute('notebook:run-all-cells').then(() => { window.done = true; })")
    page.wait_for_function("window.done", timeout=1000 * seconds)
    return page.evaluate("""() => [...jupyterapp.shell.currentWidget.content.model.cells].flatMap(cell =>
        (cell.toJSON().outputs || []).filter(output => output.output_type === 'error').map(output => output.evalue))""")


def check(path, folder):
    """Run all cells of a notebook and play with what it has; prints the median times of moves."""
    with chromium() as page, jupyter(folder) as address:
        assert run_all(page, address(path.name)) == []
        explorers = page.query_selector_all(".growlab-explorer")
        for element in explorers:
            explorer = Shown(page, element)
            for width in (800, 1200):
                page.set_viewport_size({"width": width, "height": 900})
                sleep(0.5)
                assert explorer.overlaps() == [], width
            times = explorer.play()
            for name, milliseconds in times.items():
                print(f"{path.stem}, {name}: {milliseconds:.0f} ms")
            explorer.drag(next(iter(times.values())))
            if element.query_selector(".growlab-start"):
                explorer.train()
        if not explorers:
            plain(page)
        page.evaluate("() => jupyterapp.shell.currentWidget.sessionContext.shutdown()")


def plain(page):
    """The slider of a notebook without explorers."""
    handle = page.query_selector(".jp-OutputArea-output .noUi-handle")
    picture = page.query_selector(".widget-image")
    before = picture.get_attribute("src")
    handle.focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_function("([picture, before]) => picture.src !== before", arg=[picture, before], timeout=20_000)


class Shown:
    """One explorer in a page."""

    def __init__(self, page, element):
        self.page, self.element = page, element
        element.scroll_into_view_if_needed()
        element.evaluate(SEEN)

    @property
    def caption(self):
        return self.element.query_selector("[role=status]").inner_text()

    @property
    def picture(self):
        return self.element.query_selector("img").get_attribute("src")

    def knobs(self):
        """{name: what takes the keys}."""
        found = {}
        for name in self.element.evaluate(
            "e => [...e.querySelectorAll('[class*=growlab-]')].map(x => [...x.classList].find(c => c.startsWith('growlab-')))"
        ):
            handle = self.element.query_selector(f".{name} .noUi-handle")
            if handle:
                found[name.removeprefix("growlab-")] = handle
        return found

    def move(self, handle, key):
        """Press a key; milliseconds until picture and caption show the new setting."""
        handle.focus()
        before = self.caption
        self.page.keyboard.press(key)
        limit = monotonic() + 20
        while self.caption == before:
            assert monotonic() < limit, f"nothing changes: {before}"
            sleep(0.01)
        sleep(0.05)  # the picture is decoded
        return self.page.evaluate("seen.shown - seen.pressed")

    def play(self, times=4):
        """Move every knob to and fro: {name: median milliseconds}."""
        found = {}
        for name, handle in self.knobs().items():
            at_start = handle.evaluate("e => e.ariaValueNow === e.ariaValueMin")
            keys = ("ArrowLeft", "ArrowRight")
            found[name] = statistics.median(self.move(handle, keys[(i + at_start) % 2]) for i in range(times))
        assert self.page.evaluate("seen.pictures")  # not by every knob: the growth lab's seed is only told
        return found

    def drag(self, milliseconds):
        """Twenty moves of the first knob in a moment end after the time of a few: they do not pile up."""
        self.element.query_selector(".noUi-handle").focus()
        for key in ["ArrowLeft"] * 10 + ["ArrowRight"] * 10:
            self.page.keyboard.press(key)
        began = last = monotonic()
        caption = self.caption
        while monotonic() - last < 1 + 3 * milliseconds / 1000:  # until nothing changes any more
            sleep(0.02)
            if self.caption != caption:
                caption, last = self.caption, monotonic()
        assert last - began < 1 + 6 * milliseconds / 1000

    def train(self):
        """Start and Stop of the growth lab; other knobs work meanwhile."""
        click = lambda name: self.element.query_selector(f".growlab-{name}").click()
        status = lambda: self.element.query_selector(".growlab-status").inner_text()

        def until(word, seconds):
            limit = monotonic() + seconds
            while word not in status():
                assert monotonic() < limit, status()
                sleep(0.01)

        before = self.picture
        click("start")
        limit = monotonic() + 60
        while "after epoch" not in self.caption:
            assert monotonic() < limit, status()
            sleep(0.05)
        assert self.picture != before and ("left" in status() or "finished" in status())
        self.move(self.knobs()["seed"], "ArrowRight")
        until("finished", 60)
        click("start")
        until("starting", 5)
        click("stop")
        until("stopped", 2)
        click("start")
        sleep(1)
        click("reset")
        limit = monotonic() + 20
        while "No run yet" not in self.caption:
            assert monotonic() < limit, status()
            sleep(0.05)

    def overlaps(self):
        """Parts that leave the notebook, or lie on one another, as words."""
        return self.element.evaluate("""e => {
            const inside = e.closest('.jp-OutputArea-output').getBoundingClientRect(), bad = [];
            const parts = [...e.querySelectorAll('.widget-box > :not(.widget-box)')].map(p => [p, p.getBoundingClientRect()]);
            for (const [p, r] of parts) if (!p.matches('img') && (r.right > inside.right + 1 || p.scrollWidth > p.clientWidth + 2)) bad.push('clipped: ' + p.className);
            for (const p of e.querySelectorAll('.widget-readout, .widget-label')) if (p.scrollWidth > p.clientWidth + 1) bad.push('cut short: ' + p.textContent);
            for (const [p, r] of parts) for (const [q, s] of parts)
                if (p !== q && !p.contains(q) && !q.contains(p) && r.left < s.right - 1 && s.left < r.right - 1 && r.top < s.bottom - 1 && s.top < r.bottom - 1)
                    bad.push('overlap: ' + p.className + ' and ' + q.className);
            return bad; }""")
