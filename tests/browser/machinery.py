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

import pytest
from waiting import PATIENCE, until

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SETTINGS = {  # of JupyterLab: nothing is fetched, and all cells are in the page
    "apputils-extension/notification": '{"fetchNews": "false", "checkForUpdates": false}',
    "notebook-extension/tracker": '{"windowingMode": "none"}',
}
SENT = """() => {
    // How many messages of knobs the kernel has yet to answer, and the most there have been at a time.
    const sent = window.sent = {open: new Set(), most: 0};
    jupyterapp.shell.currentWidget.sessionContext.session.kernel.anyMessage.connect((_, {msg, direction}) => {
        if (direction === 'send' && msg.header.msg_type === 'comm_msg') sent.open.add(msg.header.msg_id);
        if (msg.content.execution_state === 'idle') sent.open.delete(msg.parent_header.msg_id);
        sent.most = Math.max(sent.most, sent.open.size);
    });
}"""
STILL = """async ([element, width]) => {
    // The page has this width, and the element's parts have not moved for ten frames.
    const places = () => JSON.stringify([...element.querySelectorAll('*')].map(part => part.getBoundingClientRect()));
    for (let before, frames = 0; frames < 10 || innerWidth !== width; ) {
        await new Promise(requestAnimationFrame);
        const now = places();
        frames = now === before ? frames + 1 : 0;
        before = now;
    }
}"""
SAID = """status => {
    // All that the status has said.
    window.said = [];
    const all = {subtree: true, childList: true, characterData: true};
    new MutationObserver(() => said.push(status.innerText)).observe(status, all);
}"""
OVERLAPS = """explorer => {
    const inside = explorer.closest('.jp-OutputArea-output').getBoundingClientRect(), bad = [];
    const parts = [...explorer.querySelectorAll('.widget-box > :not(.widget-box)')];
    const places = parts.map(part => [part, part.getBoundingClientRect()]);
    const wide = (part, by) => part.scrollWidth > part.clientWidth + by;
    for (const [p, r] of places)
        if (!p.matches('img') && (r.right > inside.right + 1 || wide(p, 2))) bad.push('clipped: ' + p.className);
    for (const p of explorer.querySelectorAll('.widget-readout, .widget-label'))
        if (wide(p, 1)) bad.push('cut short: ' + p.textContent);
    const across = (r, s) => r.left < s.right - 1 && s.left < r.right - 1;
    const along = (r, s) => r.top < s.bottom - 1 && s.top < r.bottom - 1;
    for (const [p, r] of places) for (const [q, s] of places)
        if (p !== q && !p.contains(q) && !q.contains(p) && across(r, s) && along(r, s))
            bad.push('overlap: ' + p.className + ' and ' + q.className);
    return bad;
}"""
SEEN = """explorer => {
    // When the last key was pressed, and when picture and caption had changed after it.
    const seen = window.seen = {pressed: 0, shown: 0, pictures: 0};
    const shown = () => { seen.shown = performance.now(); };
    explorer.addEventListener('keydown', () => { seen.pressed = performance.now(); seen.shown = 0; }, true);
    explorer.querySelector('img').addEventListener('load', () => { shown(); seen.pictures += 1; });
    const caption = explorer.querySelector('[role=status]').closest('.widget-html');
    new MutationObserver(shown).observe(caption, {subtree: true, childList: true, characterData: true});
}"""


@contextmanager
def jupyter(folder):
    """JupyterLab on a copy of the notebooks, since it saves by itself; yields {name} → address, as a function."""
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
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}",
        "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}", "--LabApp.expose_app_in_browser=True",
        f"--LabApp.user_settings_dir={folder / 'settings'}", f"--LabApp.workspaces_dir={folder / 'workspaces'}",
        f"--MappingKernelManager.kernel_info_timeout={PATIENCE}",
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
        until(lambda: answers(f"http://127.0.0.1:{port}/api?token={token}") or server.poll() is not None)
        assert server.poll() is None, (folder / "log").read_text()
        yield lambda name: f"http://127.0.0.1:{port}/lab/tree/notebooks/{name}?token={token}&reset"
    finally:
        server.terminate()
        try:
            server.wait(PATIENCE / 10)
        except subprocess.TimeoutExpired:  # it can stand still in its own shutdown, whatever the notebook did
            server.kill()
            server.wait()


def answers(address):
    try:
        urllib.request.urlopen(address, timeout=PATIENCE).close()
        return True
    except OSError:
        return False


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
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.set_default_timeout(1000 * PATIENCE)
        yield page
        browser.close()


def run_all(page, address):
    """Open a notebook, run all cells, and return the errors in its outputs."""
    page.goto(address)
    page.wait_for_function("window.jupyterapp?.shell?.currentWidget?.sessionContext?.isReady")
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]")
    page.evaluate("void jupyterapp.commands.execute('notebook:run-all-cells').then(() => { window.done = true; })")
    page.wait_for_function("window.done")
    page.evaluate(SENT)
    return page.evaluate("""() => [...jupyterapp.shell.currentWidget.content.model.cells].flatMap(cell =>
        (cell.toJSON().outputs || []).filter(output => output.output_type === 'error').map(output => output.evalue))""")


def check(path, folder):
    """Run all cells of a notebook and play with what it has; prints the median times of moves."""
    with chromium() as page, jupyter(folder) as address:
        errors = run_all(page, address(path.name))
        assert not errors, errors
        explorers = page.query_selector_all(".growlab-explorer")
        for element in explorers:
            explorer = Shown(page, element)
            for width in (800, 1200):
                page.set_viewport_size({"width": width, "height": 900})
                page.evaluate(STILL, [element, width])
                assert explorer.overlaps() == [], width
            for name, milliseconds in explorer.play().items():
                print(f"{path.stem}, {name}: {milliseconds:.0f} ms")
            explorer.drag()
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
    page.wait_for_function("([picture, before]) => picture.src !== before", arg=[picture, before])


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
        named = "parts => parts.map(part => [...part.classList].find(name => name.startsWith('growlab-')))"
        for name in self.element.eval_on_selector_all("[class*=growlab-]", named):
            handle = self.element.query_selector(f".{name} .noUi-handle")
            if handle:
                found[name.removeprefix("growlab-")] = handle
        return found

    def move(self, handle, key):
        """Press a key; milliseconds until picture and caption show the new setting."""
        handle.focus()
        before = self.caption
        self.page.keyboard.press(key)
        until(lambda: self.caption != before, lambda: f"nothing changes: {before}")
        self.settle()
        return self.page.evaluate("seen.shown - seen.pressed")

    def settle(self):
        """Wait until the kernel has answered all knobs, and the picture is there."""
        picture = self.element.query_selector("img")
        until(lambda: self.page.evaluate("!sent.open.size") and picture.evaluate("img => img.complete"))

    def play(self, times=4):
        """Move every knob to and fro: {name: median milliseconds}."""
        found = {}
        for name, handle in self.knobs().items():
            at_start = handle.evaluate("e => e.ariaValueNow === e.ariaValueMin")
            keys = ("ArrowLeft", "ArrowRight")
            found[name] = statistics.median(self.move(handle, keys[(i + at_start) % 2]) for i in range(times))
        assert self.page.evaluate("seen.pictures")  # not by every knob: the growth lab's seed is only told
        return found

    def drag(self):
        """Quick moves of the first knob to and fro: it sends one when the last is answered, and the end is right."""
        handle, before = self.element.query_selector(".noUi-handle"), self.caption
        below, above = handle.evaluate("e => [e.ariaValueNow - e.ariaValueMin, e.ariaValueMax - e.ariaValueNow]")
        keys = ["ArrowLeft", "ArrowRight"] if below else ["ArrowRight", "ArrowLeft"]
        handle.focus()
        self.page.evaluate("void (sent.most = 0)")
        for key in keys:
            for _ in range(min(10, int(below or above))):
                self.page.keyboard.press(key)
        until(lambda: self.caption == before, lambda: f"it ends with {self.caption}")
        self.settle()
        assert self.caption == before and self.page.evaluate("sent.most") == 1

    def train(self):
        """Start and Stop of the growth lab; other knobs work meanwhile."""
        button = lambda name: self.element.query_selector(f".growlab-{name}")
        self.element.query_selector(".growlab-status").evaluate(SAID)
        said = lambda *words: self.page.evaluate("words => said.find(text => words.some(w => text.includes(w)))", words)

        def start():
            self.page.evaluate("void (said.length = 0)")
            button("start").click()
            until(lambda: said("starting"))

        before = self.picture
        start()
        until(lambda: "after epoch" in self.caption and self.picture != before)
        assert said("left", "finished")
        self.move(self.knobs()["seed"], "ArrowRight")
        until(lambda: said("finished"))
        while not said("stopped"):  # a run may end before it can be stopped
            start()
            button("stop").click(force=True)
            until(lambda: said("stopped", "finished"))
        start()
        button("reset").click()
        until(lambda: "No run yet" in self.caption)

    def overlaps(self):
        """Parts that leave the notebook, or lie on one another, as words."""
        return self.element.evaluate(OVERLAPS)
