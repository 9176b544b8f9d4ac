"""A real JupyterLab on loopback, and notebooks in it through a Chromium without a window."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((found for found in map(shutil.which, NAMES) if found), None)
MISSING = "no Chromium: apt-get install chromium"
SIZE = {"width": 1366, "height": 768}  # a laptop
SOON = 120_000  # milliseconds: CI may be busy
READY = """() => { const w = window.jupyterapp?.shell?.currentWidget;
    const k = w?.sessionContext?.session?.kernel;
    return !!(w?.context?.isReady && w.sessionContext.isReady && k &&
              k.connectionStatus === 'connected' && k.status === 'idle'); }"""
# The promise is not returned: evaluate would wait for it, and break at its own time limit.
RUN_ALL = """() => { window.allRun = ''; const end = what => { window.allRun = String(what); };
    window.jupyterapp.commands.execute('notebook:run-all-cells').then(end, end); }"""
OUTPUT, ERROR = ".jp-OutputArea-output", "[data-mime-type='application/vnd.jupyter.{}']"

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason=MISSING)


@contextmanager
def lab(root: Path, own: Path) -> Iterator[str]:
    """A JupyterLab of `root` on loopback, with settings and workspaces in `own`; its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = own / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(
        {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}))
    places = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_RUNTIME_DIR": "runtime",
              "JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "spaces"}
    search = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root",
               "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0",
               "--IdentityProvider.token=t", f"--ServerApp.root_dir={root}",
               "--LabApp.expose_app_in_browser=True"]
    server = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, **{name: str(own / folder) for name, folder in places.items()},
             "PYTHONPATH": search, "OMP_NUM_THREADS": "1"})
    try:
        yield wait_for(f"http://127.0.0.1:{port}")
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()


def wait_for(address: str) -> str:
    for _ in range(720):
        try:
            ask(address, "status")
            return address
        except OSError:
            time.sleep(0.25)
    raise TimeoutError(f"no JupyterLab at {address}")


def ask(address: str, what: str, method: str = "GET") -> object:
    """The answer of JupyterLab's own interface, `kernels` say; None if it has no words."""
    request = urllib.request.Request(f"{address}/api/{what}", method=method,
                                     headers={"Authorization": "token t"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read() or "null")


@contextmanager
def chromium() -> Iterator[object]:
    """A browser, as Playwright has it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[
            "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


@contextmanager
def opened(browser: object, address: str, name: str, seconds: float) -> Iterator[object]:
    """A page with the notebook, all of its cells run. Checked then and at the end: a living kernel,
    no red output, no error in the browser's console. The kernel is shut down."""
    errors, page = [], browser.new_page(viewport=SIZE)
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    try:
        run_all(page, f"{address}/doc/tree/{name}?token=t&reset", seconds)
        check_outputs(page)
        yield page
        page.wait_for_function(READY, timeout=SOON)  # idle, not dead
        check_outputs(page)
    finally:
        page.close()
        for session in ask(address, "sessions"):
            ask(address, f"sessions/{session['id']}", "DELETE")
    assert ask(address, "kernels") == []
    assert errors == []


def run_all(page: object, address: str, seconds: float) -> None:
    page.goto(address, timeout=2 * SOON)
    page.wait_for_selector(".jp-Notebook", timeout=2 * SOON)
    page.wait_for_function(READY, timeout=SOON)
    page.evaluate(RUN_ALL)
    page.wait_for_function("() => window.allRun", timeout=1000 * seconds)


def check_outputs(page: object) -> None:
    """No cell ended in an error or wrote to stderr."""
    for kind in ("error", "stderr"):
        assert page.locator(ERROR.format(kind)).all_inner_texts() == []


def changes(image: object, act: Callable[[], None]) -> None:
    """The picture becomes another one when a reader does this."""
    from playwright.sync_api import expect

    before = image.get_attribute("src")
    act()
    expect(image).not_to_have_attribute("src", before, timeout=SOON)


def choose_next(choice: object) -> int:
    """Take the next entry of a list; the number of the one before."""
    entries, now = choice.evaluate("choice => [choice.length, choice.selectedIndex]")
    choice.select_option(index=(now + 1) % entries)
    return now


def step(control: object) -> None:
    """Move a slider by one with the keyboard, once: on, or back from its end."""
    value, end = (control.get_attribute(f"aria-value{name}") for name in ("now", "max"))
    control.press("ArrowLeft" if value == end else "ArrowRight")


def screenshot(page: object, otherwise: Path, name: str) -> None:
    """Kept in the folder that HPKIT_SCREENSHOTS names, if it does."""
    folder = Path(os.environ.get("HPKIT_SCREENSHOTS") or otherwise)
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / f"{name}.png")
