"""The page that runs the network: its runtime comes from npm, once, and the site does without."""

import base64
import contextlib
import hashlib
import io
import json
import re
import sys
import tarfile
from dataclasses import replace

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_markdown_cell, new_notebook
from pages import complaints
from PIL import Image
from web import cut, flipped, serve

from hpkit.book import executed, npm, seeing, site
from hpkit.data import http

FILE = f"/onnxruntime-web/-/{seeing.RUNTIME.file}"
PARTS = {"ort": b"export const env = {};", "wasm": np.random.RandomState(0).bytes(100_000)}


def package() -> bytes:
    """A package of npm with the two files that are used, and one that is not."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for path, content in [("package/README.md", b"hello")] + [
            (seeing.PARTS[name], content) for name, content in PARTS.items()
        ]:
            member = tarfile.TarInfo(path)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def unpacked(parts: dict[str, str]) -> dict[str, bytes]:
    return {name: seeing.gzip.decompress(base64.b64decode(text)) for name, text in parts.items()}


@pytest.fixture
def registry(monkeypatch, tmp_path):
    """A registry on loopback with such a package, and an empty cache."""
    content = package()
    sum_ = base64.b64encode(hashlib.sha512(content).digest()).decode()
    monkeypatch.setattr(seeing, "RUNTIME", replace(seeing.RUNTIME, sha512=sum_))
    monkeypatch.setattr(http, "PAUSE", 0.0)
    monkeypatch.setenv("HPKIT_CACHE", str(tmp_path / "cache"))
    with serve({FILE: content}) as served:
        monkeypatch.setenv("npm_config_registry", f"{served.url}/")
        yield served


def test_the_runtime_is_fetched_once(registry, tmp_path):
    assert unpacked(seeing.runtime()) == PARTS
    asked = len(registry.requests)
    assert set(registry.requests) == {FILE} and asked
    assert unpacked(seeing.runtime()) == PARTS and len(registry.requests) == asked
    (kept,) = (tmp_path / "cache" / "npm").iterdir()
    kept.write_bytes(kept.read_bytes()[:-100])  # damaged: fetched again
    assert unpacked(seeing.runtime()) == PARTS and len(registry.requests) > asked


def test_a_broken_download_goes_on(registry):
    registry.faults = [None, None, cut(70_000)]
    assert unpacked(seeing.runtime()) == PARTS


def test_another_package_under_the_same_name_is_refused(registry, tmp_path):
    registry.always = lambda answer: len(answer.body) > 1000 and flipped(0.5)(answer)
    with pytest.raises(ValueError, match=r"sha512 .*, expected .*: it is not the package") as told:
        seeing.runtime()
    assert len(str(told.value)) < 300
    assert not list((tmp_path / "cache" / "npm").iterdir())


def test_a_package_that_is_gone_is_told_at_once(registry):
    registry.files.clear()
    with pytest.raises(ConnectionError, match="404"):
        seeing.runtime()
    assert len(registry.requests) == 2


def test_the_public_registry_is_the_usual_one(monkeypatch):
    monkeypatch.setenv("npm_config_registry", "")
    asked = []

    def refuse(url, **options):
        asked.append(url)
        raise npm.requests.ConnectionError

    monkeypatch.setattr(npm.requests, "get", refuse)
    with pytest.raises(ConnectionError, match=r"^https://registry.npmjs.org does not answer$"):
        seeing.runtime()
    assert asked == [f"https://registry.npmjs.org{FILE}"]


def test_photos_are_whole_and_the_known_view_is_where_it_is_said_to_be():
    pairs = [seeing.pagoda(), seeing.motorcycle()]
    for pair in pairs:
        assert pair["name"] and "CC" in pair["credit"]
        for side in ("first", "second"):
            assert min(opened(pair[side]).size) > 300
    first, second = (np.asarray(opened(pairs[0][side])) for side in ("first", "second"))
    u, v, w = np.reshape(pairs[0]["homography"], (3, 3)) @ [*pairs[0]["point"], 1]
    here = place(first, *pairs[0]["point"])
    there = place(second, u / w, v / w)
    np.testing.assert_allclose(here, there, atol=25)  # the colour of the same point


def opened(address: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))


def place(photo: np.ndarray, x: float, y: float) -> np.ndarray:
    """The mean colour around a place that is given in shares of width and height."""
    row, column = round(y * photo.shape[0]), round(x * photo.shape[1])
    return photo[row - 6 : row + 7, column - 6 : column + 7].mean((0, 1))


# --- the site -------------------------------------------------------------------------


def built(folder) -> tuple[str, str]:
    """A site of one notebook: its first page, and what was printed."""
    (folder / "notebooks").mkdir()
    notebook = new_notebook(cells=[new_markdown_cell("# One?")])
    nbformat.write(notebook, folder / "notebooks" / "01_one.ipynb")
    with contextlib.redirect_stdout(io.StringIO()) as said:
        index = site.build([executed.Result("01_one", 0, "kept")], folder)
    return index.read_text(), said.getvalue()


@pytest.mark.slow
def test_the_page_is_part_of_the_site_and_the_first_page_leads_to_it(registry, tmp_path):
    index, said = built(tmp_path)
    assert said == "" and 'href="see/index.html"' in index
    page = tmp_path / "html" / "see"
    scripts = re.findall(r'src="([\w.]+)"', (page / "index.html").read_text())
    assert scripts == ["photos.js", "patches.js", "network.js", "page.js"]
    assert {path.name for path in page.iterdir()} == {
        *scripts, "runtime.js", "index.html", "see.css"
    }
    name, _, value = (page / "runtime.js").read_text().partition(" = ")
    parts = unpacked(json.loads(value.rstrip(";\n")))
    assert name == "self.hpkitRuntime" and parts.pop("model")[:1] == b"\x08"
    assert parts == PARTS
    assert [fault for fault in complaints(tmp_path / "html") if "see" in fault] == []


def test_the_page_loads_nothing_from_outside():
    for path in seeing.HERE.iterdir():
        assert not re.search(r"https?://|[\"'(]//", path.read_text()), path.name


@pytest.mark.slow
def test_without_a_registry_the_site_is_made_without_the_page(registry, tmp_path, monkeypatch):
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9")
    index, said = built(tmp_path)
    expected = "without the page that runs the network: http://127.0.0.1:9 does not answer\n"
    assert said == expected and "see/index.html" not in index
    assert not (tmp_path / "html" / "see").exists()


@pytest.mark.slow
def test_without_the_package_onnx_the_site_is_made_without_the_page(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    index, said = built(tmp_path)
    assert "pip install 'hpkit[export]'" in said and said.count("\n") == 1
    assert "see/index.html" not in index
