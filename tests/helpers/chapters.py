"""What the tables of chapters say of one, from the notebook itself: question, minutes, needs."""

import math
import re
from pathlib import Path

import nbformat
from anatomy import without_imports

from hpkit.book.colab import TAG

WORDS, LINES, STAR = 150, 15, 5  # words and lines of code a minute; minutes a star


def row(path: Path) -> tuple[str, str, str]:
    """(question, "minutes to read + exercises", chapters that it builds on)."""
    notebook = nbformat.read(path, 4)
    text = [cell.source for cell in notebook.cells
            if cell.cell_type == "markdown" and "<details>" not in cell.source]
    code = [cell.source for cell in notebook.cells
            if cell.cell_type == "code" and TAG not in cell.metadata.get("tags", [])]
    minutes = (sum(len(one.split()) for one in text) / WORDS
               + sum(len(without_imports(one)) for one in code) / LINES)
    stars = sum(title.count("★") for one in text for title in re.findall(r"^#.*", one, re.M))
    needs = re.search(r"Builds on (.*?)\.\*$", text[0], re.M)[1]
    needs = re.sub(r"\[(\d\d)\]\([\w.]+\)", r"\1", needs)
    needs = re.split(r"[.;]|,? and on |, on ", needs)[0].replace(" and ", ", ")  # no mathematics
    question = text[0].split("\n")[0].removeprefix("# ")
    read = 5 * math.ceil(minutes / 5)
    return question, f"{read} + {STAR * stars}", needs if needs[0].isdigit() else "–"
