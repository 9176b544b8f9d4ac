"""Slides of a chapter, from its own words and figures: one page, without a network.

What becomes a slide: the question; each section that has figures, with a figure a
slide; what was seen, by the sentences in bold; and the exercises, without solutions.
The prose of a section is the speaker's notes. A cell tagged "no-slide" is left out.
"""

import re
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import nbformat
from markdown_it import MarkdownIt

from hpkit.book.npm import Package, parts
from hpkit.book.site import mathml

REVEAL = Package(
    "reveal.js",
    "5.2.1",
    "r7//6mIM5p34hFiDMvYfXgyjXqGRta+/psd9YtytsgRlrpRzFv4RbH76TXd2qD+7ZPZEbpBDhdRhJaFg"
    "fQ7zNQ==",
)
PARTS = ("dist/reset.css", "dist/reveal.css", "dist/theme/white.css")
SCRIPTS = ("dist/reveal.js", "plugin/notes/notes.js")
HEADING = re.compile(r"^(#{1,3}) (.+)$", re.M)
SOLUTION = re.compile(r"<details>.*?</details>", re.S)
ANSWER = re.compile(r"^(?:-\s+)?\*\*.+$", re.M)  # a paragraph that begins in bold
SENTENCE = re.compile(r"(?<=[.?!])(?:\*\*)?\s+(?=[A-Z*(])")
FORMULA = re.compile(
    r"\$\$(.+?)\$\$|(?<![\\$\w])\$(?!\s)([^$\n]+?)(?<!\s)\$(?![\d$])", re.S
)
LINK = re.compile(r"(?<!!)\[([^]]+)\]\([^)]*\)")
CODE = re.compile(r"(```.*?```|`[^`\n]*`)", re.S)
SKIPPED = ("Setup", "Next", "Tweak it", "References")
STYLE = """
.reveal { font-size: 30px; }
.reveal h1 { font-size: 1.9em; text-transform: none; }
.reveal h2, .reveal h3 { font-size: 1.25em; text-transform: none; }
.reveal img { height: 560px; max-height: none; max-width: 100%; margin: 0;
  object-fit: contain; object-position: left top; }
.reveal section { text-align: left; }
.reveal pre { font-size: 0.55em; width: 100%; box-shadow: none; }
.reveal table { font-size: 0.7em; }
"""
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>{style}</style></head>
<body><div class="reveal"><div class="slides">
{slides}
</div></div>
<script>{script}</script>
<script>Reveal.initialize({{hash: true, slideNumber: "c/t", center: false, width: 1100,
height: 700, plugins: [RevealNotes]}});</script>
</body></html>
"""


@dataclass
class Section:
    """A heading with what stands below it. figures: (data URI, alternative text)."""

    level: int
    title: str
    text: str = ""
    figures: list[tuple[str, str]] = field(default_factory=list)


def write_slides(path: Path, out: Path) -> int:
    """Write the slides of an executed notebook to a page; how many there are.

    Raises ValueError where the notebook was not executed, and ConnectionError where
    reveal.js is not in the cache and cannot be had.
    """
    chapter = nbformat.read(path, 4)
    found = sections(chapter)
    if not any(section.figures for section in found):
        raise ValueError(f"{path}: has no figures, expected an executed notebook")
    slides = [*opening(found[0]), *(s for one in found[1:] for s in slides_of(one))]
    files = [f"package/{name}" for name in (*PARTS, *SCRIPTS)]
    *styles, reveal, notes = (part.decode() for part in parts(REVEAL, *files))
    page = PAGE.format(
        title=escape(found[0].title),
        style="\n".join([*styles, STYLE]),
        slides="\n".join(slides),
        script=f"{reveal}\n{notes}",
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page, encoding="utf-8")
    return len(slides)


def sections(chapter: nbformat.NotebookNode) -> list[Section]:
    """The sections of a chapter in order, the first being its title."""
    found = []
    for cell in chapter.cells:
        tags = cell.metadata.get("tags", [])
        if "no-slide" in tags:
            continue
        if cell.cell_type == "markdown":
            _read_text(SOLUTION.sub("", cell.source), found)
        elif found:
            found[-1].figures += _figures(cell)
    return found


def _read_text(text: str, found: list[Section]) -> None:
    """Add a cell's headings and paragraphs to the sections found so far."""
    before, *headed = HEADING.split(text)
    if found:
        found[-1].text += f"\n\n{before.strip()}"
    for marks, title, below in zip(
        headed[::3], headed[1::3], headed[2::3], strict=True
    ):
        found.append(Section(len(marks), title.strip(), below.strip()))


def _figures(cell: nbformat.NotebookNode) -> list[tuple[str, str]]:
    alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
    shown = []
    for output in cell.get("outputs", []):
        if png := output.get("data", {}).get("image/png"):
            data = png if isinstance(png, str) else "".join(png)
            shown.append((f"data:image/png;base64,{data.strip()}", alt))
    return shown


def opening(section: Section) -> list[str]:
    """The chapter's question, and what its readers will do."""
    text, _, will = section.text.partition("**You will**")
    first = text.strip().split("\n\n")[0]
    slides = [_slide(f"<h1>{inline(section.title)}</h1>{markdown(first)}")]
    if will:
        slides.append(_slide(f"<h2>You will</h2>{markdown(will)}"))
    return slides


def slides_of(section: Section) -> list[str]:
    """A section's slides: a figure each, the answer, or the exercise; often none."""
    heading = f"<h2>{inline(section.title)}</h2>"
    if section.title.startswith(SKIPPED):
        return []
    if section.title.startswith("★"):
        return [_slide(heading + markdown(section.text))]
    if section.title.startswith("What we see"):
        said = "\n\n".join(map(_beginning, ANSWER.findall(section.text)))
        return [_slide(heading + markdown(said), notes=section.text)] if said else []
    if "> **" in section.text and not section.figures:  # a hypothesis
        claims = re.findall(r"^> ?.*$", section.text, re.M)
        return [_slide(heading + markdown("\n".join(claims)), notes=section.text)]
    return [
        _slide(f'{heading}<img src="{uri}" alt="{escape(alt)}">', notes=section.text)
        for uri, alt in section.figures
    ]


def _beginning(paragraph: str) -> str:
    """The first two sentences of a paragraph."""
    ends = [found.start() for found in SENTENCE.finditer(paragraph)]
    cut = paragraph[: ends[1]] if len(ends) > 1 else paragraph
    return cut + "**" * (cut.count("**") % 2)


def _slide(html: str, notes: str = "") -> str:
    aside = f'<aside class="notes">{markdown(notes)}</aside>' if notes else ""
    return f"<section>{html}{aside}</section>"


def markdown(text: str) -> str:
    """HTML of a chapter's Markdown; formulas as MathML, and links as their words."""
    return MarkdownIt("commonmark").enable("table").render(_prepared(text))


def inline(text: str) -> str:
    """The same, without a paragraph around it."""
    return MarkdownIt("commonmark").renderInline(_prepared(text))


def _prepared(text: str) -> str:
    """Code stays as it is."""
    pieces = CODE.split(LINK.sub(r"\1", text))
    pieces[::2] = [FORMULA.sub(_formula, piece) for piece in pieces[::2]]
    return "".join(pieces)


def _formula(found: re.Match) -> str:
    block, within = found.groups()
    try:
        return mathml(block or within, bool(block)).replace("\n", "")
    except Exception:  # beyond docutils, which stumbles in several ways
        return f"<code>{escape(block or within)}</code>"
