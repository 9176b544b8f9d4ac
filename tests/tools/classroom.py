"""What students get (`make class`): the notebooks without solutions and outputs, and hpkit.

`python tests/tools/classroom.py DIR` writes DIR/hpkit-class.zip. An exercise still checks its
answer and gives hints. Notebooks without outputs keep no answer to what is to be predicted.
"""

import re
import sys
from pathlib import Path

import nbformat
from colab import ROOT, pack

FOLDED = re.compile(r"<details>.*?</details>\s*", re.S)
NAME = "hpkit-class"


def for_students(notebook: nbformat.NotebookNode) -> None:
    """Take the folded solutions and all outputs out of a notebook."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        elif FOLDED.search(cell.source):
            cell.source = FOLDED.sub("", cell.source).strip()
    notebook.cells = [cell for cell in notebook.cells if cell.source]
    notebook.metadata.pop("hpkit", None)  # a stamp is of outputs


def main(argv: list[str]) -> None:
    made = pack(ROOT, Path(argv[0] if argv else "dist"), NAME, for_students)
    print(f"{made}: unpack it and open a notebook in Jupyter; its first cell installs hpkit")


if __name__ == "__main__":
    main(sys.argv[1:])
