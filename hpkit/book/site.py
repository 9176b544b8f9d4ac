"""The book's site: executed notebooks as pages that need no network."""

import base64
import io
import posixpath
import re
import shutil
import sys
from collections.abc import Callable
from html import escape
from pathlib import Path, PurePosixPath

import nbformat
from docutils.nodes import Node, SkipNode
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.console import strip_escape_sequences
from sphinx.util.docutils import docutils_namespace

from hpkit.book.executed import NOTEBOOKS, Result

logger = logging.getLogger(__name__)

HERE = Path(__file__).parent  # conf.py, index.md and static/ are here
PAGES = NOTEBOOKS / "pages"
WIDGET = "application/vnd.jupyter.widget-view+json"
BADGES = re.compile(r"^\[!\[.*\n\n", re.M)
FENCED = re.compile(r"(^```.*?^```)", re.M | re.S)
LINK = re.compile(r"(?<!!)\[([^]]+)\]\(([\w./-]*[./][\w./-]*)(#[\w-]+)?\)")
SEE = "see"  # the folder of the page that runs the network
SEE_LINK = f'''
<p class="see"><a href="{SEE}/index.html"><strong>See for yourself</strong>: point at
something in one photo, and the network finds it in another one, here in your
browser.</a></p>
'''
TIMES = "The seconds beside a title are those of the run that made these pages.\n"


def without_widgets(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook with each widget as the picture of its first state.

    A progress bar, which has no picture, is left out.
    """
    notebook.metadata.pop("widgets", None)
    for cell in (c for c in notebook.cells if c.cell_type == "code"):
        for output in (o for o in cell.outputs if WIDGET in o.get("data", {})):
            del output.data[WIDGET]
            if "image/png" not in output.data:
                output.data.clear()
        cell.outputs = [o for o in cell.outputs if o.get("data", True)]
    return notebook


def with_links(text: str, page: str, there: set[str], ending: str = "") -> str:
    """Markdown whose links stay on the site: others become words, and badges go.

    page: the page whose text this is. there: the pages of the site. Both are named by
    their place in the repository, whose README is the site's first page. ending: the
    new ending of the names in links, where they need another one.
    """
    folder = posixpath.dirname(page)

    def led(link: re.Match) -> str:
        words, target, place = link.groups(default="")
        found = posixpath.normpath(posixpath.join(folder, target))
        if found == "README.md":
            target, place = posixpath.relpath("index.md", folder), ""
        elif found not in there:
            return words
        if ending:
            target = PurePosixPath(target).with_suffix(ending)
        return f"[{words}]({target}{place})"

    parts = FENCED.split(BADGES.sub("", text))
    parts[::2] = [LINK.sub(led, part) for part in parts[::2]]
    return "".join(parts)


def relink(notebook: nbformat.NotebookNode, page: str, there: set[str]) -> None:
    """`with_links`, for the text of a notebook and for its outputs."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = with_links(cell.source, page, there)
        for output in cell.get("outputs", []):
            if text := output.get("data", {}).get("text/markdown"):
                html = with_links(text, page, there, ".html")
                output.data["text/markdown"] = html


def cover(notebook: nbformat.NotebookNode) -> tuple[bytes, str] | None:
    """A chapter's picture as PNG, and its alternative text; None where it has none.

    The cell tagged "cover" decides, else the first picture.
    """
    shown = [
        (cell.metadata, output.data["image/png"])
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    if not shown:
        return None
    chosen = [one for one in shown if "cover" in one[0].get("tags", [])]
    metadata, png = (chosen or shown)[0]
    alt = metadata.get("mystnb", {}).get("image", {}).get("alt", "")
    return base64.b64decode(png), alt


def entry(
    name: str, seconds: float, notebook: nbformat.NotebookNode, source: Path
) -> str:
    """A chapter on the first page: cover, question, first sentence, needs.

    The cover is written into `source`. seconds: of this run; 0 where there was none.
    """
    text = notebook.cells[0].source
    text = re.sub(r"\]\(([\w./-]+\.(?:ipynb|md))", r"](notebooks/\1", text)
    first = re.match(r"# .*\n\n((?:.|\n)*?[.?!])\s", text)
    about = re.search(r"^(\*About .*\*)$", text, re.M)
    title = f"**[](notebooks/{name}.ipynb)**"
    if seconds:
        title += f" · {seconds:.0f} s"
    told = [title, *(found[1] for found in (first, about) if found)]
    lines = ["```{container} chapter", "", "\\\n".join(told), "```"]
    if shown := cover(notebook):
        (source / "covers" / f"{name}.png").write_bytes(shown[0])
        alt = re.sub(r"([][\\])", r"\\\1", shown[1])
        lines.insert(1, f"[![{alt}](covers/{name}.png)](notebooks/{name}.ipynb)")
    return "\n".join(["", *lines, ""])


def page_that_sees() -> dict[str, bytes]:
    """The files of `seeing.page_files`; none, and a line that says why, if it fails."""
    from hpkit.book.seeing import page_files

    try:
        return page_files()
    except (OSError, ValueError) as error:
        print(f"without the page that runs the network: {error}")
        return {}


def write_pages(pages: list[Path], source: Path, there: set[str]) -> None:
    """The pages and the figures that they show; there: the pages of the site."""
    for path in pages:
        page = f"notebooks/pages/{path.name}"
        text = with_links(path.read_text(encoding="utf-8"), page, there)
        (source / page).write_text(text, encoding="utf-8")
    if pages:
        shutil.copytree(PAGES.parent / "figures", source / "notebooks" / "figures")


def write_sources(results: list[Result], out: Path, sees: bool = False) -> Path:
    """The folder that Sphinx reads: notebooks, pages and a first page.

    sees: whether the first page leads to the one that runs the network.
    """
    source = out / "source"
    shutil.rmtree(source, ignore_errors=True)
    for folder in ("notebooks/pages", "covers"):
        (source / folder).mkdir(parents=True)
    names = [result.name for result in results if result.status != "failed"]
    pages = sorted(PAGES.glob("*.md"))
    there = {f"notebooks/{name}.ipynb" for name in names}
    there |= {f"notebooks/pages/{path.name}" for path in pages}
    write_pages(pages, source, there)
    parts = [TIMES if any(result.seconds for result in results) else ""]
    for name, seconds, status, error in results:
        if status == "failed":
            parts.append(f"\n{name} failed after {seconds:.0f} s: `{error}`\n")
            continue
        page = f"notebooks/{name}.ipynb"
        notebook = without_widgets(nbformat.read(out / page, 4))
        relink(notebook, page, there)
        nbformat.write(notebook, source / page)
        parts.append(entry(name, seconds, notebook, source))
    toctree = [f"notebooks/{name}" for name in names]
    parts += ["\n".join(["", "```{toctree}", ":hidden:", "", *toctree, "```", ""])]
    index = (HERE / "index.md").read_text(encoding="utf-8")
    index = index.replace("<!-- chapters -->\n", "".join(parts))
    index = index.replace("<!-- see -->\n", SEE_LINK if sees else "")
    (source / "index.md").write_text(index, encoding="utf-8")
    return source


def build(results: list[Result], out: Path) -> Path:
    """Make `out/html` of the notebooks in `out/notebooks` and of the pages.

    Gives the path of its first page. Sphinx's warnings are printed. The page that runs
    the network is left out, with a line, where its runtime cannot be had.
    """
    seen = page_that_sees()
    source = write_sources(results, out, bool(seen))
    html, warnings = out / "html", io.StringIO()
    shutil.rmtree(html, ignore_errors=True)
    folders = source, HERE, html, source / ".doctrees"
    with docutils_namespace():  # a second build in one process is as clean as the first
        Sphinx(*folders, "html", status=None, warning=warnings).build()
    print(strip_escape_sequences(warnings.getvalue()), end="", file=sys.stderr)
    for name, content in seen.items():
        target = html / SEE / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return html / "index.html"


def mathml(tex: str, as_block: bool) -> str:
    """A formula as MathML, which browsers show without any script."""
    if as_block and re.search(r"\\\\|&", tex) and "\\begin" not in tex:
        tex = rf"\begin{{aligned}}{tex}\end{{aligned}}"
    return tex2mathml(re.sub(r"{align\*?}", "{aligned}", tex), as_block)


def show_formula(as_block: bool) -> Callable[[object, Node], None]:
    """A visitor for Sphinx that writes a formula.

    A formula that is beyond docutils is shown as its TeX, with a warning.
    """

    def visit(translator: object, node: Node) -> None:
        try:
            shown = mathml(node.astext(), as_block)
            if as_block:
                shown = f'<div class="formula">{shown}</div>'
        except Exception as error:  # docutils stumbles in several ways
            logger.warning("formula %s: %s", node.astext(), error, location=node)
            shown = f"<code>{escape(node.astext())}</code>"
        translator.body.append(shown)
        raise SkipNode

    return visit


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx, for which this module is an extension."""
    visitors = [(show_formula(as_block), None) for as_block in (False, True)]
    app.add_html_math_renderer("mathml", *visitors)
    return {"parallel_read_safe": True}
