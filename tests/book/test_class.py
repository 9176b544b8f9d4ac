"""What students get: notebooks without solutions that are still whole."""

import zipfile
from pathlib import Path

import nbformat
import pytest
from anatomy import complaints

from hpkit.__main__ import main
from hpkit.book import classroom, parameters
from hpkit.book.colab import first_cell
from hpkit.book.executed import find_notebooks
from hpkit.lessons.solutions import is_exercise

NOTEBOOKS = find_notebooks([])


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> Path:
    """The folder that a student unpacks."""
    folder = tmp_path_factory.mktemp("class")
    assert main(["class", str(folder)]) == 0
    with zipfile.ZipFile(folder / f"{classroom.NAME}.zip") as archive:
        archive.extractall(folder)
    return folder / classroom.NAME


@pytest.mark.slow
def test_students_get_every_notebook_and_what_pip_installs(given):
    names = sorted(path.name for path in given.glob("notebooks/*.ipynb"))
    assert names == [path.name for path in NOTEBOOKS]
    assert (given / "pyproject.toml").exists() and (given / "hpkit/__init__.py").exists()
    assert "pip install" in (given / "README.txt").read_text(encoding="utf-8")


def untold(text: str) -> str:
    """A text with a question in the place of what is said under "What we see"."""
    lines, telling = [], False
    for line in text.splitlines():
        telling = line.startswith("### What we see") or (telling and not line.startswith("#"))
        if not telling or line.startswith("#"):
            lines += [line, classroom.ASK] if telling else [line]
    return "\n".join(lines)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_solutions_and_outputs_are_gone_and_nothing_else(path, given):
    before, after = nbformat.read(path, 4), nbformat.read(given / "notebooks" / path.name, 4)
    nbformat.validate(after)
    assert parameters.defaults(given / "notebooks" / path.name) == parameters.defaults(path)
    code = [[cell for cell in notebook.cells if cell.cell_type == "code"]
            for notebook in (before, after)]
    assert code[1][0].source == first_cell(f"{classroom.NAME}.zip")
    assert [(c.id, c.source, c.metadata) for c in code[1][1:]] == [
        (c.id, c.source, c.metadata) for c in code[0][1:]]
    assert not [cell for cell in code[1] if cell.outputs or cell.execution_count]
    texts = [cell.source for cell in after.cells if cell.cell_type == "markdown"]
    whole = [classroom.FOLDED.sub("", cell.source) for cell in before.cells
             if cell.cell_type == "markdown"]
    assert "".join("".join(texts).split()) == "".join("".join(map(untold, whole)).split())
    exercises = [c.metadata.exercise for c in after.cells if c.cell_type == "code"
                 and is_exercise(c)]
    missed = [f"exercise {name} has no fenced solution in <details> below it"
              for name in exercises]
    known = complaints(path)
    new = [said for said in complaints(given / "notebooks" / path.name) if said not in known]
    assert new == [*missed, "its cells were not all run once, in order"]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_book_runs_from_it(given, tmp_path):
    """Chapter 1, with the exercises open."""
    options = ["--out", str(tmp_path), "--no-site"]
    assert main(["book", str(given / "notebooks" / "01_patches.ipynb"), *options]) == 0
    ran = nbformat.read(tmp_path / "notebooks" / "01_patches.ipynb", 4)
    printed = [o.text for c in ran.cells if "exercise" in c.metadata for o in c.outputs]
    assert len(printed) == 3 and all("not attempted yet" in text for text in printed)
