"""The page that runs the shipped network, in a Chromium: what it computes and how it is used.

Opened from a folder, as a reader opens the book. Skipped without a Chromium, and where the runtime
is neither kept from before nor to be had from the npm registry. HPKIT_SCREENSHOTS names a folder
to keep the pictures in.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from browser import CHROMIUM, SOON, chromium, needs_chromium, screenshot
from PIL import Image

import hpkit
from hpkit.book import seeing
from hpkit.data.photos import read_photo
from hpkit.evaluation.baselines import raw_pixels
from hpkit.evaluation.describe import describe
from hpkit.matching.keypoints import keypoint_patches

pytestmark = [pytest.mark.timeout(600), needs_chromium]
if CHROMIUM:
    from playwright.sync_api import expect

LAPTOP, PHONE = {"width": 1366, "height": 900}, {"width": 390, "height": 844}
DONE = "() => document.body.dataset.answered"
FOCUSED = "document.activeElement.id || document.activeElement.name"


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> str:
    """The page as the site has it; its runtime is the user's, as the embedded photos are."""
    folder = tmp_path_factory.mktemp("see")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HPKIT_CACHE", os.environ["HPKIT_DATA"])
        patch.setenv("npm_config_registry", os.environ["HPKIT_TESTS_NPM"])
        try:
            files = seeing.page_files()
        except ConnectionError as error:
            pytest.skip(f"no onnxruntime-web: {error}")
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return (folder / "index.html").as_uri()


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> dict[str, Path]:
    """Two views of a pagoda's roof, a few pixels apart: quick to look at."""
    folder, photo = tmp_path_factory.mktemp("photos"), Image.fromarray(read_photo("china"))
    boxes = {"first": (150, 60, 310, 180), "second": (162, 68, 322, 188)}
    for side, box in boxes.items():
        photo.crop(box).save(folder / f"{side}.png")
    return {side: folder / f"{side}.png" for side in boxes}


@contextmanager
def opened(browser, address, width: dict[str, int], touch: bool = False) -> Iterator[object]:
    """The page with the network loaded; nothing came from outside, nor was there an error."""
    asked, errors = [], []
    page = browser.new_page(viewport=width, has_touch=touch)
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    page.wait_for_function("() => document.body.dataset.ready", timeout=SOON)
    yield page
    page.close()
    assert errors == []
    assert not [url for url in asked if not url.startswith(("file:", "data:", "blob:"))]


def show(page, small: dict[str, Path]) -> None:
    """Both small photos, by the network."""
    page.get_by_text("network", exact=True).click()
    for side, path in small.items():
        page.set_input_files(f"#file-{side}", [])
        page.set_input_files(f"#file-{side}", path)
    page.wait_for_function("() => photos.second.width === 160", timeout=SOON)
    page.wait_for_function("() => grid.known === grid.points.length", timeout=SOON)
    page.wait_for_function(DONE, timeout=SOON)


@pytest.fixture(scope="module")
def laptop(browser, address):
    """Opened once: loading the network takes seconds."""
    with opened(browser, address, LAPTOP) as page:
        yield page


@pytest.fixture
def page(laptop, small):
    show(laptop, small)
    return laptop


def answered(page, act) -> str:
    """What the page says after the reader did this."""
    page.evaluate("delete document.body.dataset.answered")
    act()
    page.wait_for_function(DONE, timeout=3 * SOON)  # a large photo, on a busy machine
    return page.inner_text("#said")


def point(page) -> list[int]:
    return page.evaluate("point")


def patches() -> np.ndarray:
    """Patches of a photo, at its border too, noise, and flat ones."""
    photo, random = read_photo("camera"), np.random.RandomState(0)
    places = [[x, y, 13, 0] for x in (0, 5, 200, 511) for y in (0, 31, 300, 511)]
    noise = random.randint(0, 256, (4, 32, 32)).astype(np.uint8)
    flat = np.stack([np.full((32, 32), grey, np.uint8) for grey in (0, 200)])
    return np.concatenate([keypoint_patches(photo, np.array(places, float)), noise, flat])


def test_descriptors_in_the_browser_are_those_of_python(page):
    given = patches()
    found = page.evaluate(
        "async given => [...await network.describe(Uint8Array.from(given))]",
        given.ravel().tolist(),
    )
    expected = describe(hpkit.pretrained(), given, device="cpu", precision="float32")
    np.testing.assert_allclose(np.reshape(found, (-1, 128)), expected, atol=1e-3)
    raw = page.evaluate("given => [...rawPixels(Uint8Array.from(given))]", given.ravel().tolist())
    np.testing.assert_allclose(np.reshape(raw, (-1, 1024)), raw_pixels(given), atol=1e-5)


def test_patches_in_the_browser_are_cut_as_python_cuts_them(page):
    photo = read_photo("camera")[:150, :200]
    places = [[x, y] for x in (0, 7, 100, 199) for y in (0, 40, 149)]
    found = page.evaluate(
        """([grey, width, height, places]) =>
            [...cutPatches({grey: Uint8Array.from(grey), width, height}, places)]""",
        [photo.ravel().tolist(), 200, 150, places],
    )
    keypoints = np.array([[x, y, 13, 0] for x, y in places], float)  # 13 · 5 = 65 pixels
    expected = keypoint_patches(np.ascontiguousarray(photo), keypoints).astype(int)
    off = np.abs(np.reshape(found, expected.shape) - expected)
    assert off.max() <= 1 and off.mean() < 0.05


def test_the_grey_of_the_browser_is_pillows(page):
    colours = np.random.RandomState(0).randint(0, 256, (40, 25, 3)).astype(np.uint8)
    rgba = np.dstack([colours, np.full((40, 25), 255, np.uint8)])
    grey = page.evaluate("rgba => [...toGrey(Uint8Array.from(rgba))]", rgba.ravel().tolist())
    expected = np.asarray(Image.fromarray(colours).convert("L"))
    np.testing.assert_array_equal(np.reshape(grey, (40, 25)), expected)


def test_a_click_finds_the_same_point_in_the_other_photo(page):
    """Both photos are crops of one, (12, 8) pixels apart."""
    box = page.locator("#first").bounding_box()
    at = {"x": 0.5 * box["width"], "y": 0.5 * box["height"]}
    said = answered(page, lambda: page.click("#first", position=at))
    assert point(page) == [80, 60]
    best = page.evaluate("answer.best")
    assert np.hypot(best[0] - 68, best[1] - 52) <= 2
    assert "so the network is sure." in said and "Right" not in said  # no truth is known
    distance = float(page.inner_text("#distance"))
    assert 0 <= distance < 0.5 and f"distance {distance:.2f}" in said
    print(f"\nanswered after {page.evaluate('document.body.dataset.answered')} ms")


def test_raw_pixels_answer_otherwise(page):
    before = page.inner_text("#said")
    raw = answered(page, lambda: page.get_by_text("raw pixels", exact=True).click())
    assert "raw pixels are" in raw and raw != before
    again = answered(page, lambda: page.get_by_text("network", exact=True).click())
    assert again == before


def test_everything_is_in_reach_of_the_keyboard(page):
    page.evaluate("document.querySelector('.home a').focus()")
    order = []
    for _ in range(5):
        page.keyboard.press("Tab")
        order.append(page.evaluate(FOCUSED))
    assert order == ["pair", "method", "first", "file-first", "file-second"]
    page.focus("#first")
    before = point(page)
    answered(page, lambda: page.keyboard.press("ArrowRight"))
    answered(page, lambda: page.keyboard.press("Shift+ArrowUp"))
    assert point(page) == [before[0] + 4, before[1] - 24]
    for _ in range(6):  # not beyond the border
        page.keyboard.press("Shift+ArrowUp")
    assert point(page) == [before[0] + 4, 0]
    page.focus("[name=method]:checked")
    assert "raw pixels" in answered(page, lambda: page.keyboard.press("ArrowRight"))
    assert page.locator("#said").get_attribute("aria-live") == "polite"
    for name in ("first", "second", "here", "there"):
        assert page.locator(f"#{name}").get_attribute("aria-label")


def test_a_phone_shows_it_all_without_scrolling_sideways(browser, address, small, tmp_path):
    with opened(browser, address, PHONE, touch=True) as page:
        show(page, small)
        assert page.evaluate("document.scrollingElement.scrollWidth") <= PHONE["width"]
        answered(page, lambda: page.tap("#first", position={"x": 100, "y": 100}))
        first, second = (page.locator(f"#{name}").bounding_box() for name in ("first", "second"))
        assert first["y"] + first["height"] <= second["y"]
        assert point(page) == [round(100 * 160 / first["width"])] * 2
        screenshot(page, tmp_path, "see_390")


def test_a_file_that_is_no_photo_is_a_sentence(page, tmp_path):
    for name, content, sentence in [
        ("notes.png", b"hello", "notes.png cannot be shown"),
        ("tiny.png", None, "which is too small"),
    ]:
        path = tmp_path / name
        path.write_bytes(content or b"")
        if content is None:
            Image.new("L", (40, 400)).save(path)
        page.set_input_files("#file-second", path)
        expect(page.locator("#said")).to_contain_text(sentence, timeout=SOON)
    answered(page, lambda: page.click("#first"))  # and all goes on


def test_the_pagoda_is_found_and_its_truth_is_told(page, tmp_path):
    said = answered(page, lambda: page.get_by_text("a pagoda", exact=True).click())
    screenshot(page, tmp_path, "see_1366")
    assert said.startswith("Right, to within ") and "the network is sure" in said
    raw = answered(page, lambda: page.get_by_text("raw pixels", exact=True).click())
    assert raw.startswith("Wrong: ")
    assert "danielbuechele" in page.inner_text("#credits")
