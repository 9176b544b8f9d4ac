"""Slides hold a chapter's question, figures, answers and exercises, and ask no network."""

import base64
import hashlib
import io
import re
import tarfile

import nbformat
import pytest
import web
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from hpkit.__main__ import main
from hpkit.book import npm, slides
from hpkit.book.executed import NOTEBOOKS, find_notebooks

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()


def figure(alt):
    output = new_output("display_data", {"image/png": PNG})
    metadata = {"mystnb": {"image": {"alt": alt}}}
    return new_code_cell("draw()", outputs=[output], metadata=metadata)


CHAPTER = new_notebook(cells=[
    new_markdown_cell("# Does it *work*?\n\nA first paragraph.\n\n**You will**\n\n- **see** it;\n\n## Setup"),
    new_code_cell("import hpkit"),
    new_markdown_cell("## The loss: $a < b$\n\nIt is [here](03_descriptor.ipynb)."),
    figure('a "loss"'),
    new_markdown_cell("### What we see\n\n**It works.** By 0.3 [0.1, 0.5]. More follows here.\n\nPlain."),
    new_markdown_cell("### ★ Predict\n\nHow many?"),
    new_markdown_cell("<details><summary>Solution</summary>\n\nforty-two\n</details>"),
    new_markdown_cell("## Next\n\nElsewhere."),
])


@pytest.fixture
def reveal(monkeypatch):
    monkeypatch.setattr(slides, "parts", lambda package, *paths: [b"/* %d */" % len(p) for p in paths])


def test_a_chapter_becomes_its_question_figures_answers_and_exercises(tmp_path, reveal):
    nbformat.write(CHAPTER, tmp_path / "x.ipynb")
    assert slides.write_slides(tmp_path / "x.ipynb", tmp_path / "out" / "x.html") == 5
    page = (tmp_path / "out" / "x.html").read_text()
    opening, will, loss, seen, exercise = re.findall("<section>.*?</section>", page, re.S)
    assert "<h1>Does it <em>work</em>?</h1><p>A first paragraph." in opening
    assert "<strong>see</strong>" in will and "Setup" not in page
    assert "<h2>The loss: <math" in loss and 'alt="a &quot;loss&quot;"' in loss
    assert '<aside class="notes"><p>It is here.' in loss
    assert "<strong>It works.</strong> By 0.3 [0.1, 0.5]." in seen.split("<aside")[0]
    assert "More follows" not in seen.split("<aside")[0]
    assert "How many?" in exercise and "forty-two" not in page and "Elsewhere" not in page


def test_a_cell_can_be_kept_from_the_slides(tmp_path, reveal):
    chapter = nbformat.from_dict(CHAPTER)
    chapter.cells[4].metadata["tags"] = ["no-slide"]
    nbformat.write(chapter, tmp_path / "x.ipynb")
    assert slides.write_slides(tmp_path / "x.ipynb", tmp_path / "x.html") == 4


@pytest.mark.parametrize("path", find_notebooks([]), ids=lambda path: path.stem)
def test_every_chapter_has_slides_without_solutions_or_addresses(path, tmp_path, reveal):
    number = slides.write_slides(path, tmp_path / "x.html")
    page = (tmp_path / "x.html").read_text()
    assert 8 <= number <= 70 and number == page.count("<section>") and "$$" not in page
    addresses = re.findall(r"(?:src|href)=\"([^\"]{,20})", page)
    assert all(address.startswith("data:image/png;") for address in addresses)
    assert "<details>" not in page and "Solution" not in re.sub("<aside.*?</aside>", "", page)


def test_a_notebook_that_was_not_executed_is_refused(tmp_path, reveal):
    nbformat.write(new_notebook(cells=CHAPTER.cells[:3]), tmp_path / "x.ipynb")
    with pytest.raises(ValueError, match="has no figures, expected an executed notebook"):
        slides.write_slides(tmp_path / "x.ipynb", tmp_path / "x.html")


def test_a_chapter_is_named_by_its_number(tmp_path, reveal, capsys):
    assert main(["slides", "03", "--out", str(tmp_path)]) == 0
    name = next(NOTEBOOKS.glob("03_*.ipynb")).stem
    assert (tmp_path / f"{name}.html").is_file() and f"{name}.html: " in capsys.readouterr().out


# --- packages of npm ------------------------------------------------------------------

def archive(**files):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        for name, content in files.items():
            told = tarfile.TarInfo(f"package/{name}")
            told.size = len(content)
            tar.addfile(told, io.BytesIO(content))
    return made.getvalue()


def sha512(data):
    return base64.b64encode(hashlib.sha512(data).digest()).decode()


def test_a_package_is_fetched_once_and_checked(tmp_path, monkeypatch):
    monkeypatch.setenv("HPKIT_CACHE", str(tmp_path / "cache"))
    data = archive(a=b"first", b=b"second")
    package = npm.Package("made", "1.2.3", sha512(data))
    with web.serve({"/made/-/made-1.2.3.tgz": data}) as site:
        monkeypatch.setenv("npm_config_registry", site.url)
        assert npm.parts(package, "package/b", "package/a") == [b"second", b"first"]
        other = npm.Package("made", "1.2.3", sha512(b"other"))
        with pytest.raises(ValueError, match="not the package that was tried"):
            npm.parts(other, "package/a")
    assert npm.parts(package, "package/a") == [b"first"]  # the server is gone


def test_without_a_registry_it_says_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HPKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9")
    assert main(["slides", "03", "--out", str(tmp_path)]) == 2
    assert "reveal.js is needed once, and http://127.0.0.1:9 does not answer" in capsys.readouterr().err
