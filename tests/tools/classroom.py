"""For a class: what students get (`make class`), and a table of what they hand in (`make marks`).

`python tests/tools/classroom.py DIR` writes DIR/hpkit-class.zip: the notebooks without solutions,
outputs and the texts that tell what came out, and hpkit. An exercise still checks its answer and
gives hints. `python tests/tools/classroom.py --marks FOLDER` runs FOLDER/STUDENT/*.ipynb and writes
FOLDER/marks.csv, a row per student and exercise.
"""

import argparse
import os
import re
from pathlib import Path

import nbformat
import pandas as pd
from colab import ROOT, pack

from hpkit import book

FOLDED = re.compile(r"<details>.*?</details>\s*", re.S)
SEEN = re.compile(r"^(### What we see[^\n]*)\n.*?(?=^#|\Z)", re.S | re.M)  # to the next heading
ASK = "What do you see? Which of the bets are won? Write it down here, with the numbers."
NAME = "hpkit-class"
README = """hpkit: how machines learn to see when two photos show the same thing

You need Python 3.11 to 3.14. In this folder, once:

    python3 -m venv .venv
    .venv/bin/pip install --extra-index-url https://download.pytorch.org/whl/cpu hpkit-*.whl
    .venv/bin/pip install jupyterlab

and each time

    .venv/bin/jupyter lab

On Windows write .venv\\Scripts\\ for .venv/bin/, and the name of the .whl file in full.

Without the option torch comes with what an NVIDIA GPU needs: gigabytes more. On Colab upload
a notebook, put the file hpkit-....whl beside it, and run: its first cell installs it.
"""


def for_students(notebook: nbformat.NotebookNode) -> None:
    """Take out the folded solutions, all outputs and what is told under "What we see"."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        else:
            cell.source = SEEN.sub(rf"\1\n\n{ASK}\n\n", FOLDED.sub("", cell.source)).strip()
    notebook.cells = [cell for cell in notebook.cells if cell.source]
    notebook.metadata.pop("hpkit", None)  # a stamp is of outputs


def marks(executed: Path) -> dict[str, str]:
    """The exercises that a run notebook checked: ✓ right, ✗ wrong, – not attempted."""
    said = "".join(output.get("text", "") for cell in nbformat.read(executed, 4).cells
                   for output in cell.get("outputs", []))
    return {name: sign for sign, name in re.findall(r"^([✓✗–]) (\w+):", said, re.M)}


def hand_in(folder: Path) -> pd.DataFrame:
    """Run what each student handed in, with bets and tries of their own; a row per exercise."""
    rows = []
    for student in sorted(path for path in folder.iterdir() if [*path.glob("*.ipynb")]):
        out = folder / "run" / student.name
        os.environ["HPKIT_PROGRESS"] = str(out)
        book.main([*map(str, sorted(student.glob("*.ipynb"))), "--out", str(out), "--no-site"])
        for path in sorted(out.glob("*/*.ipynb")):
            broken = {"runs to its end": "✗"} if path.parent.name == "unfinished" else {}
            rows += [{"student": student.name, "notebook": path.stem, "exercise": name,
                      "mark": sign} for name, sign in (marks(path) | broken).items()]
    if not rows:
        raise SystemExit(f"{folder}: no notebooks there, expected {folder}/STUDENT/*.ipynb")
    return pd.DataFrame(rows)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("to", type=Path, nargs="?", default=Path("dist"))
    parser.add_argument("--marks", type=Path, metavar="FOLDER", help="run what is in it")
    given = parser.parse_args(argv)
    if given.marks:
        table = hand_in(given.marks)
        table.to_csv(given.marks / "marks.csv", index=False)
        signs = table.pivot_table("mark", ["notebook", "exercise"], "student", "last", sort=False)
        print(f"{signs.fillna('').to_string()}\n{given.marks / 'marks.csv'}")
        return
    made = pack(ROOT, given.to, NAME, for_students, README=README)
    print(f"{made}: unpack it and open a notebook in Jupyter; its first cell installs hpkit")


if __name__ == "__main__":
    main()
