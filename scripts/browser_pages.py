"""A notebook in a real browser: a Jupyter server on loopback, and a page that is used as a person would."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import nbformat
from playwright.sync_api import Browser

# The page itself notes when a person acts and when a picture stands: nothing of the test is in the times.
CLOCK = """
window.clock = {acts: [], pictures: [], ends: []};
for (const kind of ['keydown', 'pointerdown', 'pointermove'])
  document.addEventListener(kind, () => clock.acts.push(performance.now()), true);
document.addEventListener('load', event => {
  if (event.target.matches?.('.efgan-picture img:nth-of-type(2), .efgan-live img'))
    clock.pictures.push(performance.now());
}, true);
"""
CLIPPED = """
() => [...document.querySelectorAll('.efgan, .efgan *')].filter(e => {
  const style = getComputedStyle(e), box = e.getBoundingClientRect();
  if (!box.width || !box.height || style.visibility == 'hidden' || e.closest('.efgan-faces')) return false;
  const cut = e.scrollWidth > e.clientWidth + 2 && ['hidden', 'clip'].includes(style.overflowX) && e.innerText?.trim();
  return cut || box.right > innerWidth + 1;
}).map(e => (e.className || e.tagName) + ': ' + (e.innerText || '').slice(0, 40))
"""


class Server:
    """JupyterLab or Voilà with a folder of its own, on loopback.

    Args:
        folder: temporary; gets the notebooks and all of Jupyter's own files.
        notebook: for Voilà, which shows one.
    """

    def __init__(self, folder: Path, notebook: Path | None = None) -> None:
        places = {name: str(folder / "jupyter" / name) for name in (
            "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "JUPYTERLAB_SETTINGS_DIR",
            "JUPYTERLAB_WORKSPACES_DIR")}  # fmt: skip
        self.settings = Path(places["JUPYTERLAB_SETTINGS_DIR"]) / "@jupyterlab" / "apputils-extension"
        self.set("notification", '{"fetchNews": "false", "checkForUpdates": false}')
        if notebook:
            with socket.socket() as free:  # voila prints ':0' for port 0
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            command = ["voila", str(notebook), "--no-browser", f"--port={port}", "--Voila.ip=127.0.0.1"]
        else:
            command = ["jupyterlab", "--no-browser", "--ip=127.0.0.1", "--port=0", "--allow-root",
                       "--IdentityProvider.token=", "--ServerApp.password=", f"--ServerApp.root_dir={folder}",
                       "--LabApp.extension_manager=readonly"]  # fmt: skip
        self._process = subprocess.Popen(
            [sys.executable, "-m", *command], env={**os.environ, **places}, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self.log: list[str] = []
        self.url = self._wait()

    def set(self, name: str, content: str) -> None:
        """A setting of JupyterLab, e.g. "themes"."""
        self.settings.mkdir(parents=True, exist_ok=True)
        (self.settings / f"{name}.jupyterlab-settings").write_text(content)

    def _wait(self) -> str:
        assert self._process.stdout
        for line in self._process.stdout:
            self.log.append(line)
            if found := re.search(r"http://(?:127\.0\.0\.1|localhost):(\d+)/", line):
                threading.Thread(target=lambda: self.log.extend(self._process.stdout or ()), daemon=True).start()
                return f"http://127.0.0.1:{found[1]}"
        raise SystemExit("the server did not start:\n" + "".join(self.log))

    def close(self) -> None:
        """Ends the server and its kernels."""
        os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)


class NotebookPage:
    """An open notebook; every step says what it did and how long it took.

    Args:
        browser: a running chromium.
        server: see `Server`.
        width: of the window in pixels.
    """

    def __init__(self, browser: Browser, server: Server, *, width: int = 1280) -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 1000})
        self.page.add_init_script(CLOCK)
        self.server = server
        self.failures: list[str] = []
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.picture = self.page.locator(".efgan-picture img").nth(1)

    def open_lab(self, name: str) -> None:
        """Opens a notebook in JupyterLab and runs all its cells."""
        page = self.page
        page.goto(f"{self.server.url}/doc/tree/{name}?reset", wait_until="domcontentloaded", timeout=120_000)
        page.locator(".jp-NotebookPanel").wait_for(timeout=120_000)
        # The dot in the toolbar says idle before the kernel is connected, and a Run All sent then is lost.
        page.get_by_text(re.compile(r"\| Idle$")).wait_for(timeout=120_000)
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name=re.compile(r"^Run All Cells")).click()

    def wait_idle(self, seconds: float = 900) -> None:
        """Until all cells have run, which may have to render the faces: what a slider asks for waits behind them."""
        self.page.wait_for_timeout(500)
        self.page.get_by_text(re.compile(r"\| Idle$")).wait_for(timeout=1000 * seconds)

    def digest(self) -> str:
        """Of the large picture's bytes."""
        return self.page.evaluate(
            """async image => { const bytes = await (await fetch(image.src)).arrayBuffer();
               const sum = await crypto.subtle.digest('SHA-256', bytes);
               return [...new Uint8Array(sum)].map(b => b.toString(16).padStart(2, '0')).join('').slice(0, 16) }""",
            self.picture.element_handle(),
        )

    def check(self, ok: bool, words: str, milliseconds: float | None = None, limit: float | None = None) -> None:
        """Says how a step went and remembers failures."""
        slow = limit is not None and milliseconds is not None and milliseconds > limit
        took = "" if milliseconds is None else f"{milliseconds:8.0f} ms" + (f" (limit {limit:.0f})" if limit else "")
        print(f"  {'ok  ' if ok and not slow else 'FAIL'}  {words:<58}{took}", flush=True)
        if not ok or slow:
            self.failures.append(words)

    @contextmanager
    def changes(self, words: str, *, limit: float | None = None, seconds: float = 10) -> Iterator[None]:
        """The large picture must change by what is done inside."""
        before = self.digest()
        self.page.evaluate("clock.acts = []; clock.pictures = []")
        yield
        until = time.monotonic() + seconds
        while self.digest() == before and time.monotonic() < until:
            self.page.wait_for_timeout(30)
        self.page.wait_for_timeout(150)  # what the same act still changes
        self.check(self.digest() != before, words, self.latency(), limit)

    def becomes(self, digest: str, words: str, *, seconds: float = 10) -> None:
        """The large picture must become the one with this digest; what was asked for before may show on the way."""
        until = time.monotonic() + seconds
        while self.digest() != digest and time.monotonic() < until:
            self.page.wait_for_timeout(30)
        self.check(self.digest() == digest, words)

    def latency(self) -> float | None:
        """From the last act to the picture that followed it."""
        return self.page.evaluate(
            """() => { const done = clock.pictures.at(-1), act = clock.acts.filter(t => t < done).at(-1);
                       return done && act ? done - act : null }"""
        )

    def press(self, name: str) -> None:
        """Presses a button of the panel."""
        self.page.locator(".efgan").get_by_role("button", name=re.compile(rf"^\W*{name}$")).first.click()

    def upload(self, name: str, content: bytes) -> None:
        """Chooses a file in the dialogue that the panel opens."""
        with self.page.expect_file_chooser() as dialogue:
            self.page.locator(".efgan .widget-upload").click()
        dialogue.value.set_files({"name": name, "mimeType": "image/png", "buffer": content})

    def keys(self, handle: str, count: int) -> tuple[int, float]:
        """Moves a slider by the keyboard, one step at a time.

        Returns:
            How many steps changed the picture, and the median time in ms.
        """
        self.page.locator(f"{handle} .noUi-handle").first.focus()
        times, changed, seen = [], 0, self.digest()
        for _ in range(count):
            self.page.evaluate("clock.acts = []; clock.pictures = []")
            self.page.keyboard.press("ArrowRight")
            self.page.wait_for_function("clock.pictures.length > 0", timeout=10_000)
            times.append(self.latency() or 0.0)
            now = self.digest()
            changed, seen = changed + (now != seen), now
        return changed, median(times)

    def drag(self, handle: str, steps: int = 40) -> tuple[int, float]:
        """Drags a slider's handle to the right end, as fast as a hand.

        Returns:
            Pictures shown on the way, and ms from the last movement to the last picture.
        """
        box = self.page.locator(f"{handle} .noUi-handle").first.bounding_box()
        track = self.page.locator(f"{handle} .noUi-base").first.bounding_box()
        assert box and track
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        self.page.evaluate("clock.acts = []; clock.pictures = []")
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        for k in range(1, steps + 1):
            self.page.mouse.move(x + (track["x"] + track["width"] - x) * k / steps, y)
            self.page.wait_for_timeout(25)
        moved = self.page.evaluate("performance.now()")
        self.page.mouse.up()
        self.page.wait_for_timeout(800)
        shown = self.page.evaluate("clock.pictures")
        return len(shown), max(0.0, (shown[-1] if shown else 1e9) - moved)

    def clipped(self) -> list[str]:
        """Texts that are cut off, and parts beyond the window."""
        return self.page.evaluate(CLIPPED)

    def shoot(self, path: Path) -> None:
        """A screenshot of the panel."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.page.locator(".efgan").count():
            self.page.locator(".efgan").first.scroll_into_view_if_needed()
        self.page.screenshot(path=str(path))


def copy_notebook(path: Path, folder: Path, **values: str | int) -> Path:
    """A copy of a notebook whose parameters have other values."""
    notebook = nbformat.read(path, 4)
    cell = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))
    for name, value in values.items():
        cell.source = re.sub(rf"^{name} = .+?(?=  #)", f"{name} = {value!r}", cell.source, flags=re.MULTILINE)
    copied = folder / path.name
    nbformat.write(notebook, copied)
    return copied
