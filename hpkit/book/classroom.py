"""For a class: notebooks without solutions, and a table of what students hand in.

In the notebooks that students get, an exercise still checks its answer and gives hints.
"""

import asyncio
import os
import re
from pathlib import Path

import nbformat
import pandas as pd

from hpkit.book.colab import pack
from hpkit.book.run import run, summary

FOLDED = re.compile(r"<details>.*?</details>\s*", re.S)
SEEN = re.compile(r"^(### What we see[^\n]*)\n.*?(?=^#|\Z)", re.S | re.M)
ASK = (
    "What do you see? Which of the bets are won? Write it down here, with the numbers."
)
NAME = "hpkit-class"
LIMIT = 600  # seconds for each notebook that is handed in
README = """hpkit: how machines learn to see when two photos show the same thing

You need Python 3.11 to 3.14. Do this once, in this folder:

    python3 -m venv .venv
    .venv/bin/pip install .[lab]

Then, each time you work on it:

    .venv/bin/jupyter lab notebooks

On Windows, write .venv\\Scripts\\ instead of .venv/bin/.

On Linux, torch brings gigabytes of software for NVIDIA GPUs. If you have none, add

    --extra-index-url https://download.pytorch.org/whl/cpu

to the line with pip install. On Colab, upload a notebook, put hpkit-class.zip beside
it, and run: its first cell installs hpkit from the zip.
"""


def pack_for_students(root: Path, to: Path) -> Path:
    """`to/hpkit-class.zip`: the notebooks without solutions and outputs, and hpkit."""
    return pack(root, to, NAME, for_students, README=README)


def for_students(notebook: nbformat.NotebookNode) -> None:
    """Take out folded solutions, outputs, and what is told under "What we see"."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
            cell.execution_count = None
        else:
            text = FOLDED.sub("", cell.source)
            cell.source = SEEN.sub(rf"\1\n\n{ASK}\n\n", text).strip()
    notebook.cells = [cell for cell in notebook.cells if cell.source]
    notebook.metadata.pop("hpkit", None)  # a stamp is of outputs


def marks(executed: Path) -> dict[str, str]:
    """The exercises that a notebook checked: ✓ right, ✗ wrong, – not attempted."""
    cells = nbformat.read(executed, 4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    said = "".join(output.get("text", "") for output in outputs)
    return {name: sign for sign, name in re.findall(r"^([✓✗–]) (\w+):", said, re.M)}


def hand_in(folder: Path) -> pd.DataFrame:
    """Run what each student handed in, FOLDER/STUDENT/*.ipynb; a row per exercise.

    Bets and tries are kept apart for each student. Raises ValueError where there are no
    notebooks.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no folder, expected one of STUDENT/*.ipynb")
    rows = []
    for student in sorted(path for path in folder.iterdir() if path.is_dir()):
        notebooks = sorted(student.glob("*.ipynb"))
        if not notebooks:
            continue
        out = (folder / "run" / student.name).resolve()
        os.environ["HPKIT_PROGRESS"] = str(out)
        given = [{} for _ in notebooks]
        summary(asyncio.run(run(notebooks, given, out, LIMIT)))
        rows += _rows(student.name, out)
    if not rows:
        raise ValueError(f"{folder}: no notebooks, expected {folder}/STUDENT/*.ipynb")
    return pd.DataFrame(rows)


def _rows(student: str, out: Path) -> list[dict[str, str]]:
    rows = []
    for path in sorted(out.glob("*/*.ipynb")):
        found = marks(path)
        if path.parent.name == "unfinished":
            found["runs to its end"] = "✗"
        same = {"student": student, "notebook": path.stem}
        rows += [same | {"exercise": e, "mark": mark} for e, mark in found.items()]
    return rows
