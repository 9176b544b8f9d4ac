"""The book's site: executed notebooks as pages that need no network."""

import base64
import io
import re
import shutil
import sys
from collections.abc import Callable
from html import escape
from pathlib import Path

import nbformat
from docutils.nodes import Node, SkipNode
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.console import strip_escape_sequences
from sphinx.util.docutils import docutils_namespace

from hpkit.book import Result

logger = logging.getLogger(__name__)
LINK = r"\[([^]]+)\]\(([\w-]+)\.ipynb\)"
WIDGET = "application/vnd.jupyter.widget-view+json"
INTRODUCTION = """\
# How do machines learn to see when two photos show the same thing?

From raw image patches to a network of your own that finds the same points in two photos. Each
chapter asks a question, has you bet on the answer, runs the experiment on a laptop and says what
came out.
"""
TIMES = "The seconds beside a title are those of the run that made these pages.\n"
STYLE = """\
.chapter { display: flex; flex-wrap: wrap; align-items: center; gap: 0 2rem; margin: 2rem 0; }
.chapter > p { flex: 1 1 18rem; }
.chapter > p:has(img) { flex: 1 1 13rem; }
.formula { overflow: auto hidden; }
"""
CONFIGURATION = {
    "project": "hpkit",
    "author": "the hpkit authors",
    "html_title": "hpkit",
    "html_theme": "sphinx_book_theme",
    "html_theme_options": {"navbar_persistent": []},  # one search field is enough
    "html_math_renderer": "mathml",
    "html_context": {"default_mode": "auto"},  # as the reader's system: light or dark
    "html_copy_source": False,
    "html_static_path": ["static"],
    "html_css_files": ["book.css"],
    "extensions": ["myst_nb", "hpkit.site"],
    "myst_enable_extensions": ["dollarmath", "amsmath"],
    "nb_execution_mode": "off",
    "nb_merge_streams": True,
    "nb_ipywidgets_js": {},  # these scripts would come from the network
}


def without_widgets(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook with each widget as the picture of its first state; a bar is left out."""
    notebook.metadata.pop("widgets", None)
    for cell in (c for c in notebook.cells if c.cell_type == "code"):
        for output in (o for o in cell.outputs if WIDGET in o.get("data", {})):
            del output.data[WIDGET]
            if "image/png" not in output.data:
                output.data.clear()
        cell.outputs = [o for o in cell.outputs if o.get("data", True)]
    return notebook


def with_links_to_pages(notebook: nbformat.NotebookNode, names: list[str]) -> None:
    """Links go to pages; to chapters that are not in this site they become words; badges go."""

    def to(ending: str) -> Callable[[re.Match], str]:
        return lambda it: f"[{it[1]}]({it[2]}{ending})" if it[2] in names else it[1]

    for cell in (c for c in notebook.cells if c.cell_type == "markdown"):
        cell.source = re.sub(r"^\[!\[.*\n\n", "", cell.source, flags=re.M)
        cell.source = re.sub(LINK, to(".ipynb"), cell.source)
    for output in (o for cell in notebook.cells for o in cell.get("outputs", [])):
        if text := output.get("data", {}).get("text/markdown"):
            output.data["text/markdown"] = re.sub(LINK, to(".html"), text)


def cover(notebook: nbformat.NotebookNode) -> tuple[bytes, str] | None:
    """The PNG of the cell tagged "cover", else the first, and its alternative text; None: none."""
    shown = [(cell.metadata, output.data["image/png"]) for cell in notebook.cells
             for output in cell.get("outputs", []) if "image/png" in output.get("data", {})]
    for metadata, png in sorted(shown, key=lambda one: "cover" not in one[0].get("tags", [])):
        return base64.b64decode(png), metadata.get("mystnb", {}).get("image", {}).get("alt", "")
    return None


def entry(name: str, seconds: float, notebook: nbformat.NotebookNode, source: Path) -> str:
    """A chapter on the first page: cover, question, first sentence, what it takes and needs.

    The cover is written into `source`. seconds: of this run; 0 where there was none.
    """
    text = re.sub(r"\]\(([\w-]+\.ipynb)\)", r"](notebooks/\1)", notebook.cells[0].source)
    first = re.match(r"# .*\n\n((?:.|\n)*?[.?!])\s", text)
    about = re.search(r"^(\*About .*\*)$", text, re.M)
    title = f"**[](notebooks/{name}.ipynb)**" + (f" · {seconds:.0f} s" if seconds else "")
    told = [title, *(found[1] for found in (first, about) if found)]
    lines = ["```{container} chapter", "", "\\\n".join(told), "```"]
    if shown := cover(notebook):
        (source / "covers" / f"{name}.png").write_bytes(shown[0])
        alt = re.sub(r"([][\\])", r"\\\1", shown[1])
        lines.insert(1, f"[![{alt}](covers/{name}.png)](notebooks/{name}.ipynb)")
    return "\n".join(["", *lines, ""])


def write_sources(results: list[Result], out: Path) -> Path:
    """The folder that Sphinx reads: the pages, and a first page with an entry for each notebook."""
    source = out / "source"
    parts = [INTRODUCTION, TIMES if any(result.seconds for result in results) else ""]
    names = [result.name for result in results if result.status != "failed"]
    shutil.rmtree(source, ignore_errors=True)
    for folder in ("notebooks", "covers", "static"):
        (source / folder).mkdir(parents=True)
    for name, seconds, _, error in results:
        if name not in names:
            parts.append(f"\n{name} failed after {seconds:.0f} s: `{error}`\n")
            continue
        notebook = without_widgets(nbformat.read(out / "notebooks" / f"{name}.ipynb", 4))
        with_links_to_pages(notebook, names)
        nbformat.write(notebook, source / "notebooks" / f"{name}.ipynb")
        parts.append(entry(name, seconds, notebook, source))
    pages = [f"notebooks/{name}" for name in names]
    parts.append("\n".join(["", "```{toctree}", ":hidden:", "", *pages, "```", ""]))
    (source / "index.md").write_text("".join(parts), encoding="utf-8")
    (source / "static" / "book.css").write_text(STYLE, encoding="utf-8")
    return source


def collect(notebooks: list[Path], out: Path) -> list[Result]:
    """The notebooks as they are, for `build`: as `hpkit.book` left them in `out`, else as given."""
    (out / "notebooks").mkdir(parents=True, exist_ok=True)
    results = []
    for path in notebooks:
        kept = out / "notebooks" / path.name
        made = nbformat.read(kept, 4).metadata.get("hpkit", {}) if kept.exists() else {}
        if "seconds" not in made:
            shutil.copy(path, kept)
        results.append(Result(path.stem, made.get("seconds", 0), "kept"))
    return results


def build(results: list[Result], out: Path) -> Path:
    """Make `out/html` of the notebooks in `out/notebooks`; its first page. Warnings are printed."""
    source, html, warnings = write_sources(results, out), out / "html", io.StringIO()
    shutil.rmtree(html, ignore_errors=True)
    folders = source, None, html, source / ".doctrees"
    with docutils_namespace():  # a second build in one process is as clean as the first
        Sphinx(*folders, "html", CONFIGURATION, status=None, warning=warnings).build()
    print(strip_escape_sequences(warnings.getvalue()), end="", file=sys.stderr)
    return html / "index.html"


def mathml(tex: str, as_block: bool) -> str:
    """A formula as MathML, which browsers show without any script."""
    if as_block and re.search(r"\\\\|&", tex) and "\\begin" not in tex:
        tex = rf"\begin{{aligned}}{tex}\end{{aligned}}"
    return tex2mathml(re.sub(r"{align\*?}", "{aligned}", tex), as_block)


def show_formula(as_block: bool) -> Callable[[object, Node], None]:
    """A visitor for Sphinx that writes a formula; its TeX, with a warning, if that is beyond us."""

    def visit(translator: object, node: Node) -> None:
        try:
            shown = mathml(node.astext(), as_block)
            translator.body.append(f'<div class="formula">{shown}</div>' if as_block else shown)
        except Exception as error:  # docutils stumbles over what it does not know in several ways
            logger.warning("formula %s: %s", node.astext(), error, location=node)
            translator.body.append(f"<code>{escape(node.astext())}</code>")
        raise SkipNode

    return visit


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx, for which this module is an extension."""
    app.add_html_math_renderer("mathml", (show_formula(False), None), (show_formula(True), None))
    return {"parallel_read_safe": True}
