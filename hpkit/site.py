"""The book's site: executed notebooks as pages that need no network."""

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
WIDGET = "application/vnd.jupyter.widget-view+json"
FIRST_LINE = "The chapters, with the seconds that each took in the run that made these pages:"
CONFIGURATION = {
    "project": "hpkit",
    "author": "the hpkit authors",
    "html_title": "hpkit",
    "html_theme": "sphinx_book_theme",
    "html_theme_options": {"navbar_persistent": []},  # one search field is enough
    "html_math_renderer": "mathml",
    "html_copy_source": False,
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


def without_links_to_others(notebook: nbformat.NotebookNode, names: list[str]) -> None:
    """Links to chapters that are not in this site become plain words; badges go."""

    def keep_or_unlink(link: re.Match) -> str:
        return link[0] if link[2] in names else link[1]

    for cell in (c for c in notebook.cells if c.cell_type == "markdown"):
        cell.source = re.sub(r"^\[!\[.*\n\n", "", cell.source, flags=re.M)
        cell.source = re.sub(r"\[([^]]+)\]\(([\w-]+)\.ipynb\)", keep_or_unlink, cell.source)


def write_sources(results: list[Result], out: Path) -> Path:
    """The folder that Sphinx reads: the pages, and a first page with a line for each notebook."""
    source, lines = out / "source", ["# hpkit: the book", "", FIRST_LINE, ""]
    names = [result.name for result in results if result.status != "failed"]
    shutil.rmtree(source, ignore_errors=True)
    (source / "notebooks").mkdir(parents=True)
    for name, seconds, _, error in results:
        if name not in names:
            lines.append(f"- {name} failed after {seconds:.0f} s: `{error}`")
            continue
        lines.append(f"- [](notebooks/{name}.ipynb) · {seconds:.0f} s")
        notebook = without_widgets(nbformat.read(out / "notebooks" / f"{name}.ipynb", 4))
        without_links_to_others(notebook, names)
        nbformat.write(notebook, source / "notebooks" / f"{name}.ipynb")
    pages = [f"notebooks/{name}" for name in names]
    lines += ["", "```{toctree}", ":hidden:", "", *pages, "```", ""]
    (source / "index.md").write_text("\n".join(lines), encoding="utf-8")
    return source


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
            translator.body.append(mathml(node.astext(), as_block))
        except Exception as error:  # docutils stumbles over what it does not know in several ways
            logger.warning("formula %s: %s", node.astext(), error, location=node)
            translator.body.append(f"<code>{escape(node.astext())}</code>")
        raise SkipNode

    return visit


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx, for which this module is an extension."""
    app.add_html_math_renderer("mathml", (show_formula(False), None), (show_formula(True), None))
    return {"parallel_read_safe": True}
