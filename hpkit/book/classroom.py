"""For a class: the notebooks without solutions.

In the notebooks that students get, an exercise still checks its answer and gives hints.
"""

import re
from pathlib import Path

import nbformat

from hpkit.book.colab import pack

FOLDED = re.compile(r"<details>.*?</details>\s*", re.S)
SEEN = re.compile(r"^(### What we see[^\n]*)\n.*?(?=^#|\Z)", re.S | re.M)
ASK = (
    "What do you see? Which of the bets are won? Write it down here, with the numbers."
)
NAME = "hpkit-class"
README = """hpkit: how machines learn to see when two photos show the same thing

You need Python 3.11 to 3.14. Do this once, in this folder:

    python3 -m venv .venv
    .venv/bin/pip install ".[lab]"

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
