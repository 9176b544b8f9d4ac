"""Panels in a real JupyterLab: buttons and sliders by keyboard, in a Chromium without a window.

Skipped where no Chromium is installed (`apt-get install chromium`). HPKIT_SCREENSHOTS names a
folder to keep the pictures in.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from nbformat import write
from nbformat.v4 import new_code_cell, new_notebook
from tiny import write_data

sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300),
              pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium")]
SIZE = {"width": 1366, "height": 768}  # a laptop
SOON = 60_000  # milliseconds
READY = """() => { const w = window.jupyterapp?.shell?.currentWidget;
    const k = w?.sessionContext?.session?.kernel;
    return !!(w?.context?.isReady && w.sessionContext.isReady && k &&
              k.connectionStatus === 'connected' && k.status === 'idle'); }"""
CELLS = ["""
import threading, numpy as np
from matplotlib.figure import Figure
from hpkit import live, plots, widgets
from hpkit.evaluation import denoise
from hpkit.patches import load
from hpkit.runs import DenoiserConfig
plots.use_style()
noisy = load({data!r}).validation["noisy"][:4, [1, 6, 11]].reshape(-1, 32, 32)

def look(part, network):
    rows = {{"noisy": noisy[:6], "denoised": denoise(network, noisy[:6])}}
    plots.show_patches(part.subplots(), np.stack(list(rows.values())), rows=list(rows))
""", """
base = DenoiserConfig(data={data!r}, folds=0, epochs=20, samples=200, batch_size=5, threads=1,
                      validation_samples=40)
live.train(base, look, "optimizer", "lr", "batch_size", "depth", "init", "objective", "epochs")
""", """
def wave(periods):
    figure = Figure(figsize=(4, 2), layout="constrained")
    figure.subplots().plot(np.sin(np.linspace(0, 6.28 * periods, 200)))
    return figure

widgets.explore(wave, periods=(1, 9, 1, 3))
"""]


@contextmanager
def lab(root: Path, own: Path):
    """A JupyterLab of `root` on loopback, with settings, workspaces and runs in `own`; its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = own / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(
        {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}))
    places = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_RUNTIME_DIR": "runtime", "HPKIT_RUNS":
              "runs", "JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "spaces"}
    search = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
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
    for _ in range(240):
        try:
            urllib.request.urlopen(f"{address}/api/status?token=t", timeout=2)
            return address
        except OSError:
            time.sleep(0.25)
    raise TimeoutError(f"no JupyterLab at {address}")


@pytest.fixture
def page(tmp_path):
    """The notebook, all of its cells run, and at the end no error in the browser's console."""
    root, errors = tmp_path / "book", []
    root.mkdir()
    data = write_data(tmp_path / "data")
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    write(new_notebook(cells=[new_code_cell(cell.strip().format(data=data)) for cell in CELLS],
                       metadata={"kernelspec": kernel}), root / "panel.ipynb")
    with lab(root, tmp_path / "own") as address, sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[
            "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        page = browser.new_page(viewport=SIZE)
        page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
        page.goto(f"{address}/doc/tree/panel.ipynb?token=t&reset", timeout=2 * SOON)
        page.wait_for_selector(".jp-Notebook", timeout=2 * SOON)
        page.wait_for_function(READY, timeout=SOON)
        # The promise is not returned: evaluate would wait for it.
        page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
        yield page
        browser.close()
    assert errors == []


def test_panels_in_jupyterlab(page, tmp_path):
    pictures = Path(os.environ.get("HPKIT_SCREENSHOTS") or tmp_path)
    pictures.mkdir(parents=True, exist_ok=True)
    expect, keys = sync_api.expect, page.keyboard
    output = page.locator(".jp-Cell-outputWrapper")
    panel = output.filter(has=page.get_by_role("button", name="Train"))
    train, stop, reset = (panel.get_by_role("button", name=name)
                          for name in ("Train", "Stop", "Reset"))
    picture = panel.locator("img.widget-image")

    def changes(image, act):
        before = image.get_attribute("src")
        act()
        expect(image).not_to_have_attribute("src", before, timeout=SOON)

    def shot(name):
        panel.scroll_into_view_if_needed()
        page.screenshot(path=pictures / f"{name}.png")

    expect(train).to_be_enabled(timeout=SOON)
    expect(stop).to_be_disabled()
    shot("live_1_first")
    train.focus()
    changes(picture, lambda: keys.press("Enter"))
    expect(panel).to_contain_text("s per epoch", timeout=SOON)
    expect(train).to_be_disabled()
    changes(picture, lambda: shot("live_2_training"))
    stop.focus()
    keys.press("Enter")
    expect(panel).to_contain_text("Train goes on from there", timeout=SOON)
    expect(panel).to_contain_text("stopped after")
    shot("live_3_stopped")
    changes(picture, lambda: train.press("Enter"))
    expect(panel).to_contain_text("s per epoch", timeout=SOON)
    stop.press("Enter")
    expect(panel).to_contain_text("stopped after", timeout=SOON)

    panel.get_by_label("optimizer").select_option("adam")
    expect(panel).to_contain_text("1.0e-3", timeout=SOON)  # its own learning rate
    panel.locator(".noUi-handle").last.press("Home")  # one epoch
    train.press("Enter")
    expect(panel).to_contain_text("finished after 1 of 1", timeout=SOON)
    shot("live_4_compared")
    changes(picture, lambda: reset.press("Enter"))

    waves = output.filter(has=page.locator(".noUi-handle")).last
    handle = waves.locator(".noUi-handle")
    handle.scroll_into_view_if_needed()
    handle.focus()
    changes(waves.locator("img.widget-image"), lambda: keys.press("ArrowRight"))
    page.screenshot(path=pictures / "explore.png")
    expect(page.locator("[data-mime-type='application/vnd.jupyter.error']")).to_have_count(0)
