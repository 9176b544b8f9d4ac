"""Notebooks in a real JupyterLab, used by keyboard as a person would, in a Chromium.

Skipped where no Chromium is installed (`apt-get install chromium`). HPKIT_SCREENSHOTS names a
folder to keep the pictures in. The chapters run with small parameters here: at their own they run
under nbval, and it is the page that is tried.
"""

import os
import re
import shutil

import nbformat
import papermill
import pytest
from browser import (
    CHROMIUM,
    OUTPUT,
    SOON,
    changes,
    choose_next,
    chromium,
    lab,
    needs_chromium,
    opened,
    screenshot,
    step,
)
from nbformat.v4 import new_code_cell, new_notebook
from PIL import Image
from test_protocol import VALUES, replica  # noqa: F401, a fixture of ours too
from tiny import write_data

from hpkit.book.executed import NOTEBOOKS
from hpkit.book.parameters import defaults
from hpkit.data.photos import read_photo

pytestmark = [pytest.mark.timeout(600), needs_chromium]
if CHROMIUM:
    from playwright.sync_api import expect
ALL = os.environ.get("HPKIT_BROWSER") == "all"  # as `make browser` asks: a minute a chapter
NAMES = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))[:None if ALL else 1]
# A chapter for each kind of panel: to look at, to train, and to climb with.
# What is in the others runs without a page too, under nbval and in test_protocol.py.
ALWAYS = {"00_first_match", "02_denoiser", "10_final_model"}
CHAPTERS = [pytest.param(name, marks=[] if name in ALWAYS else [pytest.mark.repeats])
            for name in NAMES]
CELLS = ["""
import threading, numpy as np
from matplotlib.figure import Figure
from hpkit.lessons import live, plots, widgets
from hpkit.evaluation.describe import denoise
from hpkit.data.sets import load
from hpkit.experiments.configs import DenoiserConfig
plots.use_style()
noisy = load({data!r}).validation["noisy"][:4, [1, 6, 11]].reshape(-1, 32, 32)

def look(part, network):
    rows = {{"noisy": noisy[:6], "denoised": denoise(network, noisy[:6])}}
    plots.show_patches(part.subplots(), np.stack(list(rows.values())), rows=list(rows))
""", """
base = DenoiserConfig(data={data!r}, folds=0, epochs=20, samples=200, batch_size=5, threads=1,
                      validation_samples=40)
live.train(base, look, "optimizer", "lr", "batch_size", "depth", "init", "objective", "epochs")
"""]


@pytest.fixture(scope="module")
def book(replica, tmp_path_factory):  # noqa: F811
    """(browser, address): a JupyterLab with every chapter, and a small notebook with a panel."""
    root, own = tmp_path_factory.mktemp("book") / "notebooks", tmp_path_factory.mktemp("own")
    shutil.copytree(NOTEBOOKS, root)
    for path in root.glob("*.ipynb"):
        names = defaults(path)
        values = {name: value for name, value in VALUES.items() if name in names}
        papermill.execute_notebook(path, path, values, prepare_only=True)
    data = write_data(own / "data")
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [new_code_cell(cell.strip().format(data=data)) for cell in CELLS]
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), root / "panel.ipynb")
    with lab(root, own) as address, chromium() as browser:
        yield browser, address


def train_and_stop(panel, train, stop, picture):
    """Train, see the curve grow, perhaps its denoiser's; Stop, see it stop."""
    changes(picture, lambda: train.press("Enter"))
    grown = re.compile("s per epoch|first its denoiser: [1-9]|its denoiser is ready")
    expect(panel).to_contain_text(grown, timeout=SOON)
    expect(train).to_be_disabled()
    stop.press("Enter")
    expect(panel).to_contain_text("Train goes on from there", timeout=SOON)
    expect(panel).to_contain_text("stopped after")
    expect(stop).to_be_disabled()


def parts(panel):
    """The buttons Train, Stop and Reset of a panel, and its picture."""
    buttons = [panel.get_by_role("button", name=name) for name in ("Train", "Stop", "Reset")]
    return *buttons, panel.locator("img.widget-image")


def test_a_panel_that_trains(book, tmp_path):
    with opened(*book, "panel.ipynb", 60) as page:
        panel = page.locator(OUTPUT).filter(has=page.get_by_role("button", name="Train"))
        train, stop, reset, picture = parts(panel)
        expect(train).to_be_enabled(timeout=SOON)
        expect(stop).to_be_disabled()
        screenshot(page, tmp_path, "live_1_first")
        train_and_stop(panel, train, stop, picture)
        screenshot(page, tmp_path, "live_2_stopped")
        train_and_stop(panel, train, stop, picture)
        panel.get_by_label("optimizer").select_option("adam")
        expect(panel).to_contain_text("1.0e-3", timeout=SOON)  # its own learning rate
        panel.locator(".noUi-handle").last.press("Home")  # one epoch
        train.press("Enter")
        expect(panel).to_contain_text("finished after 1 of 1", timeout=SOON)
        screenshot(page, tmp_path, "live_3_compared")
        changes(picture, lambda: reset.press("Enter"))


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter(name, book, tmp_path):
    """All cells run; each control of each panel moves its picture; Train, Stop and Train again."""
    with opened(*book, f"{name}.ipynb", 420) as page:
        outputs = page.locator(OUTPUT).count()
        panels = page.locator(OUTPUT).filter(has=page.locator("img.widget-image"))
        assert panels.count() >= 1
        for number, panel in enumerate(panels.all(), 1):
            panel.scroll_into_view_if_needed()
            screenshot(page, tmp_path, f"{name}_{number}_first")
            if panel.get_by_role("button", name="Train").count():
                train, stop, reset, picture = parts(panel)
                panel.locator(".noUi-handle").last.press("End")  # epochs: long enough to stop it
                train_and_stop(panel, train, stop, picture)
                train_and_stop(panel, train, stop, picture)
                screenshot(page, tmp_path, f"{name}_{number}_trained")
                reset.press("Enter")
            else:
                explore(panel)
                screenshot(page, tmp_path, f"{name}_{number}_moved")
        assert page.locator(OUTPUT).count() == outputs  # what a panel says, it says in its place


def explore(panel) -> None:
    """Every slider and every list changes the picture, and none makes a panel complain."""
    picture = panel.locator("img.widget-image")
    sliders, choices = panel.locator(".noUi-handle").all(), panel.locator("select").all()
    assert sliders or choices
    for slider in sliders:
        changes(picture, lambda slider=slider: step(slider))
    for choice in choices:
        there_and_back(picture, choice)
    expect(panel).not_to_contain_text("Error:")


def there_and_back(picture, choice) -> None:
    """Back, because what one list chooses may leave another without effect."""
    before = []
    changes(picture, lambda: before.append(choose_next(choice)))
    changes(picture, lambda: choice.select_option(index=before[0]))


@pytest.mark.skipif(not ALL, reason="opens chapter 12: `make browser`")
def test_a_photo_of_ones_own(book, tmp_path):
    """Chapter 12's panel: another photo is matched; what is no photo is told, the picture stays."""
    Image.fromarray(read_photo("coins")).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"\x89PNG, or so it says")
    with opened(*book, "12_match_photos.ipynb", 420) as page:
        uploads = page.locator(OUTPUT).filter(has=page.locator(".widget-upload"))
        panel = uploads.filter(has_text="descriptor").last  # there is a panorama, too
        picture, button = panel.locator("img.widget-image"), panel.locator(".widget-upload").first

        def upload(name):
            with page.expect_file_chooser() as chooser:
                button.press("Enter")
            chooser.value.set_files(tmp_path / name)

        changes(picture, lambda: upload("good.png"))
        expect(panel).not_to_contain_text("Error:")
        before = picture.get_attribute("src")
        upload("bad.png")
        expect(panel).to_contain_text("Error:", timeout=SOON)
        assert picture.get_attribute("src") == before
        screenshot(page, tmp_path, "upload_bad")
        upload("good.png")
        expect(panel).not_to_contain_text("Error:", timeout=SOON)
