"""The book's site: what is on its pages; they are whole and need no network."""

import contextlib
import io
import re
from pathlib import Path

import nbformat
import pytest
from browser import chromium, needs_chromium, screenshot
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from pages import complaints

from hpkit.book import executed, site
from hpkit.commands import site as command

TEXT = """# One?

[![Colab](https://example.org/b.svg)](https://example.org/01_one.ipynb) [![B](//b)](//b)

Inline $\\frac{a}{b}$, on [the second](02_lost.ipynb) and [the third](03_two.ipynb)
chapter, and

$$
L = \\max(0, d_+ - d_- + m)
$$

\\begin{align}
a &= b \\\\
c &= d
\\end{align}
"""
LINKS = "[first](01_one.ipynb), [lost](02_lost.ipynb)"
PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAA"
    "CklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def picture_of(data: dict[str, object]) -> nbformat.NotebookNode:
    cell = new_code_cell("1", metadata={"mystnb": {"image": {"alt": "a dot"}}})
    cell.outputs = [new_output("display_data", data=data)]
    return cell


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, str]:
    """HTML of two chapters that ran and one that failed; "said": Sphinx's warnings."""
    out = tmp_path_factory.mktemp("out")
    (out / "notebooks").mkdir()
    panel = picture_of(
        {"image/png": PNG, site.WIDGET: {"model_id": "a"}, "text/plain": "panel"}
    )
    bar = picture_of({site.WIDGET: {"model_id": "b"}, "text/plain": "0%|   |"})
    one = new_notebook(cells=[new_markdown_cell(TEXT), panel, bar])
    table = new_code_cell(
        "1", outputs=[new_output("display_data", data={"text/markdown": LINKS})]
    )
    two = new_notebook(cells=[new_markdown_cell("# Two?"), table])
    for name, notebook in (("01_one", one), ("03_two", two)):
        notebook.metadata.kernelspec = KERNEL
        notebook.metadata.widgets = {"state": {}}
        nbformat.write(notebook, out / "notebooks" / f"{name}.ipynb")
    results = [
        executed.Result("01_one", 61.2, "ran"),
        executed.Result("03_two", 0.4, "kept"),
    ]
    failed = executed.Result(
        "02_lost", 9.9, "failed", "cell 2 (1 / 0): ZeroDivisionError"
    )
    with contextlib.redirect_stderr(io.StringIO()) as said:
        index = site.build([results[0], failed, results[1]], out)
    html = {path.stem: path.read_text() for path in index.parent.rglob("*.html")}
    css = "".join(path.read_text() for path in index.parent.rglob("*.css"))
    return html | {"said": said.getvalue(), "css": css}


@pytest.mark.slow
def test_site_builds_without_a_warning(pages):
    assert pages["said"] == ""


@pytest.mark.slow
def test_links_in_outputs_lead_to_pages_or_are_words(pages):
    assert re.search(r'href="01_one.html">first</a>, lost<', pages["03_two"])


@pytest.mark.slow
def test_first_page_has_a_line_for_each_chapter(pages):
    lines = re.sub(r"<[^>]+>", "", pages["index"])
    assert "One? · 61 s" in lines and "Two? · 0 s" in lines
    assert "02_lost failed after 10 s: cell 2 (1 / 0): ZeroDivisionError" in lines


@pytest.mark.slow
def test_site_needs_no_network(pages):
    for name in ("index", "01_one", "03_two"):
        tags = re.findall(r"<(?:script|link|img|iframe)\b[^>]*>", pages[name])
        assert tags and not [
            tag for tag in tags if re.search(r"(src|href)=.(https?:)?//", tag)
        ]
        assert "example.org" not in pages[name]
        assert not re.search(r"import[( ][\"']https?://|cdn\.", pages[name])
    assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", pages["css"])


@pytest.mark.parametrize(
    ("page", "link", "expected"),
    [
        ("notebooks/01_one.ipynb", "[a](03_two.ipynb#b)", "[a](03_two.ipynb#b)"),
        ("notebooks/01_one.ipynb", "[a](pages/data.md)", "[a](pages/data.md)"),
        ("notebooks/01_one.ipynb", "[a](../README.md#b)", "[a](../index.md)"),
        ("notebooks/pages/data.md", "[a](../03_two.ipynb)", "[a](../03_two.ipynb)"),
        ("notebooks/pages/data.md", "[a](../../README.md#b)", "[a](../../index.md)"),
        ("notebooks/pages/data.md", "[`a`](../../LICENSE.txt)", "`a`"),
        ("notebooks/pages/data.md", "[a](../02_lost.ipynb)", "a"),
        (
            "notebooks/pages/data.md",
            "[a](https://example.org/a.md)",
            "[a](https://example.org/a.md)",
        ),
        (
            "notebooks/pages/data.md",
            "[a](#b) x[0](y) ![a](a.png)",
            "[a](#b) x[0](y) ![a](a.png)",
        ),
        ("notebooks/pages/data.md", "```\n[a](a.md)\n```", "```\n[a](a.md)\n```"),
    ],
)
def test_links_stay_on_the_site_or_become_words(page, link, expected):
    there = {
        "notebooks/01_one.ipynb",
        "notebooks/03_two.ipynb",
        "notebooks/pages/data.md",
    }
    assert site.with_links(link, page, there) == expected


@pytest.mark.slow
def test_pages_are_part_of_the_site_and_link_to_chapters_and_to_one_another(committed):
    pages = sorted(site.PAGES.glob("*.md"))
    html = {
        path.stem: (committed[0] / f"notebooks/pages/{path.stem}.html").read_text()
        for path in pages
    }
    assert len(html) > 9
    index = (committed[0] / "index.html").read_text()
    assert not [
        name for name in html if f'href="notebooks/pages/{name}.html"' not in index
    ]
    assert 'href="../12_match_photos.html"' in html["data"]
    assert 'href="headless.html#kept-runs"' in html["data"]
    assert 'href="../../index.html"' in html["speed"]
    assert '<span class="caption-text">Pages</span>' in index


@pytest.mark.slow
def test_without_pages_the_site_is_of_notebooks_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(site, "PAGES", tmp_path / "none")
    notebook = new_notebook(cells=[new_markdown_cell("# One?")])
    notebook.metadata.kernelspec = KERNEL
    (tmp_path / "notebooks").mkdir()
    nbformat.write(notebook, tmp_path / "notebooks" / "01_one.ipynb")
    with contextlib.redirect_stderr(io.StringIO()) as said:
        site.build([executed.Result("01_one", 0, "kept")], tmp_path)
    assert said.getvalue() == ""
    assert (tmp_path / "html" / "notebooks" / "01_one.html").is_file()


@pytest.mark.slow
def test_the_book_style_is_part_of_the_package(pages):
    assert ".chapter" in pages["css"] and ".formula" in pages["css"]


@pytest.mark.slow
def test_formulas_are_mathml_and_one_beyond_it_stays_as_tex(pages, caplog):
    assert pages["01_one"].count("<math") == 3
    assert pages["01_one"].count('<div class="formula"><math') == 2
    assert "<mtable" in pages["01_one"]
    with pytest.raises(Exception, match="nosuchcommand"):
        site.mathml(r"\nosuchcommand", False)


@pytest.mark.slow
def test_a_panel_is_shown_as_its_picture_and_a_bar_not_at_all(pages):
    assert pages["01_one"].count('alt="a dot"') == 1
    for trace in ("widget", "0%|", "panel"):
        assert trace not in re.sub(
            r"<(script|link)[^>]*>", "", pages["01_one"].lower()
        ), trace


@pytest.mark.slow
def test_chapters_link_to_their_neighbours_and_not_to_what_is_missing(pages):
    assert re.search(r'class="right-next"\s+href="03_two.html"', pages["01_one"])
    assert re.search(r'class="left-prev"\s+href="01_one.html"', pages["03_two"])
    assert 'href="03_two.html"' in pages["01_one"] and "02_lost" not in pages["01_one"]


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        ("<img src='data:x'>", "has a picture without alternative text"),
        (
            "<script src='https://example.org/a.js'></script>",
            "loads https://example.org/a.js",
        ),
        ("<link href='//example.org/a.css'>", "loads //example.org/a.css"),
        ("<a href='none.html'>", "links to none.html, which is not there"),
        ("<a href='#none'>", "links to #none: no such place"),
        ("<p>", "says nothing of a phone's width"),
    ],
)
def test_a_fault_of_a_page_is_told(page, complaint, tmp_path):
    faultless = (
        "<meta name='viewport'><a href='#a' id='a'><a href='https://example.org'>"
    )
    (tmp_path / "index.html").write_text(faultless)
    assert complaints(tmp_path) == []
    (tmp_path / "index.html").write_text(faultless * (page != "<p>") + page)
    (told,) = complaints(tmp_path)
    assert complaint in told


@pytest.fixture(scope="module")
def committed(tmp_path_factory) -> tuple[Path, str]:
    """The site of the committed notebooks as they are, and Sphinx's warnings."""
    out = tmp_path_factory.mktemp("committed")
    with contextlib.redirect_stderr(io.StringIO()) as said:
        assert command.main(["--out", str(out)]) == 0
    return out / "html", said.getvalue()


@pytest.mark.slow
def test_site_of_the_committed_notebooks_has_no_fault(committed):
    assert committed[1] == ""
    assert complaints(committed[0]) == []
    pages = [path.read_text() for path in (committed[0] / "notebooks").glob("*.html")]
    assert not [
        page for page in pages if "hpkit-colab.zip" in page
    ]  # the first cell is no lesson


@pytest.mark.slow
def test_first_page_shows_each_chapter_with_figure_question_sentence_and_needs(
    committed,
):
    html = (committed[0] / "index.html").read_text()
    entries = re.findall(r'<div class="chapter [^>]*>(.*?)</div>', html, re.S)
    for path, entry in zip(executed.find_notebooks([]), entries, strict=True):
        assert '<img alt="' in entry and f'href="notebooks/{path.stem}.html"' in entry
        question, sentence, needs = re.sub("<.*?>", "", entry).strip().splitlines()
        assert f"# {question}" == nbformat.read(path, 4).cells[0].source.split("\n")[0]
        assert 20 < len(sentence) < 250
        assert needs.startswith("About ") and "Builds on" in needs


def test_every_chapter_has_a_chosen_cover():
    for path in executed.find_notebooks([]):
        tagged = [
            cell
            for cell in nbformat.read(path, 4).cells
            if "cover" in cell.metadata.get("tags", [])
        ]
        assert len(tagged) == 1 and site.cover(
            nbformat.v4.new_notebook(cells=tagged)
        ), path.name


@pytest.mark.slow
@needs_chromium
@pytest.mark.timeout(300)
@pytest.mark.parametrize("width", [1366, 390])
def test_pages_fit_a_laptop_and_a_phone_and_ask_the_network_for_nothing(
    width, committed, tmp_path
):
    asked, errors = [], []
    with chromium() as browser:
        page = browser.new_page(viewport={"width": width, "height": 800})
        page.on("request", lambda request: asked.append(request.url))
        page.on(
            "console", lambda m: errors.append(m.text) if m.type == "error" else None
        )
        for path in [
            committed[0] / "index.html",
            *sorted((committed[0] / "notebooks").rglob("*.html")),
        ]:
            page.goto(path.as_uri())
            screenshot(page, tmp_path, f"site_{width}_{path.stem}")
            assert page.evaluate("document.scrollingElement.scrollWidth") <= width, (
                path.name
            )
    assert errors == [] and len(asked) > 20
    assert not [url for url in asked if not url.startswith(("file:", "data:", "blob:"))]
