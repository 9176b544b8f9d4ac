"""The committed notebooks: their anatomy, their stamp; and that these tests can fail."""

import base64
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from anatomy import BYTES, complaints, solutions
from execute_notebooks import main as execute_notebooks
from execute_notebooks import normalise
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from speed import NO_NEWER
from tiny import OLDER
from trained import NEAR, NOTEBOOK, mean_error

from hpkit.book.parameters import assign, read_values
from hpkit.book.stamps import is_fresh, stamp

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@each_notebook
def test_anatomy(path):
    found = complaints(path)
    assert not found, "\n".join(found)


@each_notebook
def test_outputs_belong_to_the_cells_and_the_package(path):
    notebook = nbformat.read(path, 4)
    assert is_fresh(notebook), "cells or package changed since: run `make notebooks`"


@each_notebook
def test_it_is_exported_as_python(path):
    """Without these, Jupyter saves "Executable Script" as a .txt file."""
    language = nbformat.read(path, 4).metadata.language_info
    assert (language.file_extension, language.nbconvert_exporter) == (".py", "python")


@each_notebook
def test_a_hypothesis_is_bet_on(path):
    """Left open for the reader, whose verdict and confidence take the place of the dots."""
    code = [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    bets = re.findall(r'\bpredict\("\w+", (.+?)\)', "\n".join(code))
    assert bets and set(bets) == {"..., ..."}


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.yaml")), ids=lambda p: p.name)
def test_files_of_parameters_fit_the_notebooks(path):
    values = read_values([], str(path))
    given = assign(NOTEBOOKS, values)
    assert values and set(values) == {name for one in given for name in one}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.repeats
@pytest.mark.skipif(OLDER, reason=NO_NEWER)
def test_trained_numbers_hold_on_an_older_processor(tmp_path, monkeypatch):
    """The newer instructions off, and so in float32: the error of a U-Net barely moves.

    Of the processor as it is, nbval's run of the chapter is compared so (see conftest.py).
    """
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    committed = ROOT / "notebooks" / f"{NOTEBOOK}.ipynb"
    again = shutil.copy(committed, tmp_path)
    shutil.copytree(ROOT / "notebooks" / "results", tmp_path / "results")
    assert execute_notebooks([str(again)]) == 0
    before, after = (mean_error(path.read_text()) for path in (committed, Path(again)))
    assert abs(after - before) < NEAR


PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
ANSWER = "answer = ...\nprint('–' if answer is ... else '✓' if answer == {n} else '✗')"
SOLUTION = "<details><summary>Solution</summary>\n\n```python\n{code}\n```\n\n</details>"


def exercise(n: int) -> list[nbformat.NotebookNode]:
    cell = new_code_cell(ANSWER.format(n=n), metadata={"tags": ["exercise"], "exercise": f"e{n}"})
    return [cell, new_markdown_cell(SOLUTION.format(code=f"answer = {n}\nprint('✓')"))]


@pytest.fixture
def toy() -> nbformat.NotebookNode:
    """A notebook without a fault, as if executed."""
    picture = new_code_cell("x = 1", metadata={"mystnb": {"image": {"alt": "a dot"}}})
    picture.outputs = [new_output("display_data", data={"image/png": PNG})]
    cells = [
        new_markdown_cell("# Is one equal to one?\n\n**You will** see."),
        new_code_cell("epochs = 3  # passes\nseeds = [0]  # n", metadata={"tags": ["parameters"]}),
        new_markdown_cell("## By hand"),
        picture,
        new_markdown_cell("## What we see\n## Exercises"),
        *[cell for n in (1, 2, 3) for cell in exercise(n)],
        new_markdown_cell("## Tweak it\n## Next"),
    ]
    for number, cell in enumerate((c for c in cells if c.cell_type == "code"), 1):
        cell.execution_count = number
    return normalise(new_notebook(cells=cells))


def edit(index: int, **changes: object):
    def change(notebook):
        notebook.cells[index].update(nbformat.from_dict(changes))

    return change


def wide_picture(notebook):
    png = bytearray(base64.b64decode(PNG))
    png[16:20] = (1001).to_bytes(4, "big")
    notebook.cells[3].outputs[0].data["image/png"] = base64.b64encode(png).decode()


def add_cells(notebook):
    notebook.cells += [new_markdown_cell("more") for _ in range(31)]


def add_bytes(notebook):
    notebook.cells[3].outputs.append(new_output("stream", text="x" * BYTES))


ERROR = new_output("error", ename="ValueError", evalue="", traceback=[])
SVG = new_output("display_data", data={"image/svg+xml": "<svg/>"})
MISTAKES = {
    "no '# ' title with a '?'": edit(0, source="# One is one\n\nYou will"),
    "has no 'You will'": edit(0, source="# One?"),
    "has no 'Tweak it'": edit(-1, source="Next"),
    "links to 99.ipynb": edit(2, source="By hand: [see](99.ipynb)"),
    "is not in the order": edit(-1, source="Next, Tweak it"),
    "0 cells tagged 'parameters'": edit(1, metadata={}),
    "epochs is no flat": edit(1, source="epochs = {}  # passes"),
    "its unit in a comment": edit(1, source="epochs = 3"),
    "hidden from papermill": edit(1, source="epochs = 3  # 1 = one pass"),
    "has 16 lines": edit(3, source="x = 1\n" * 16),
    "uses clear_output": edit(3, source="clear_output()"),
    "uses Output(": edit(3, source="with Output():\n    x = 1"),
    "uses interact(": edit(3, source="interact(print, x=3)"),
    "assigns ast, which is imported": edit(3, source="import ast\nast = ast.parse('')"),
    "ends with ';'": edit(3, source="x = 1;"),
    "not all run once": edit(3, execution_count=None),
    "has error output": edit(3, outputs=[ERROR]),
    "has stream output": edit(3, outputs=[new_output("stream", name="stderr", text="W")]),
    "not PNG": edit(3, outputs=[SVG]),
    "1001 pixels wide": wide_picture,
    "without alternative text": edit(3, metadata={}),
    "has 37 cells": add_cells,
    "bytes, at most": add_bytes,
    "has 2 exercises": edit(5, metadata={}),
    "each its own": edit(5, metadata={"tags": ["exercise"], "exercise": "e2"}),
    "e1 has no fenced solution": edit(6, source="Find it yourself."),
}


def test_a_faultless_toy_gives_no_complaint(toy, tmp_path):
    nbformat.write(toy, tmp_path / "toy.ipynb")
    assert complaints(tmp_path / "toy.ipynb") == []


@pytest.mark.parametrize("mistake", MISTAKES)
def test_anatomy_complains_of(mistake, toy, tmp_path):
    MISTAKES[mistake](toy)
    nbformat.write(toy, tmp_path / "toy.ipynb")
    assert mistake in "; ".join(complaints(tmp_path / "toy.ipynb"))


def test_solutions_are_the_fenced_code_below_the_answer_cell(toy):
    assert solutions(toy) == {f"e{n}": f"answer = {n}\nprint('✓')\n" for n in (1, 2, 3)}


def test_stamp_changes_with_cells_and_tags_but_not_with_outputs(toy):
    before = toy.metadata.hpkit.stamp
    toy.cells[3].outputs = []
    assert is_fresh(toy)
    toy.cells[3].source += "  # one"
    changed = stamp(toy)["stamp"]
    assert not is_fresh(toy) and changed != before
    toy.cells[1].metadata.tags.append("setup")
    assert stamp(toy)["stamp"] not in (before, changed)


def test_normalising_removes_what_changes_from_run_to_run(toy):
    before = nbformat.writes(toy)
    toy.metadata.update(widgets={"state": {}}, papermill={"duration": 1.5})
    toy.metadata.language_info.version = "3.11.7"
    bar = {"text/plain": "0%", "application/vnd.jupyter.widget-view+json": {"model_id": "a"}}
    toy.cells[3].outputs.append(new_output("display_data", data=bar))
    toy.cells[3].metadata.execution = {"iopub.status.busy": "2026-11-23"}
    toy.cells[0].id = "another"
    assert nbformat.writes(normalise(toy)) == before


def test_a_panel_keeps_the_picture_of_its_first_state(toy):
    both = {"image/png": PNG, "application/vnd.jupyter.widget-view+json": {"model_id": "a"}}
    toy.cells[3].outputs = [new_output("display_data", data=both)]
    assert list(normalise(toy).cells[3].outputs[0].data) == ["image/png"]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_execution_in_place_writes_whole_runs_only(toy, tmp_path, capsys):
    good, bad, slow = (tmp_path / f"{name}.ipynb" for name in ("good", "bad", "slow"))
    nbformat.write(toy, good)
    for path, source in ((bad, "1 / 0"), (slow, "import time; time.sleep(60)")):
        nbformat.write(new_notebook(cells=[new_code_cell(source)]), path)
    before = bad.read_bytes(), slow.read_bytes()
    assert execute_notebooks([str(good), str(bad), str(slow), "--timeout", "15"]) == 1
    assert (bad.read_bytes(), slow.read_bytes()) == before
    assert sorted(tmp_path.iterdir()) == sorted([good, bad, slow])
    assert "ZeroDivisionError" in capsys.readouterr().out
    written = nbformat.read(good, 4)
    assert is_fresh(written)
    assert [c.outputs[0].text for c in written.cells if "exercise" in c.metadata] == ["–\n"] * 3
    first = good.read_bytes()
    assert execute_notebooks([str(good)]) == 0
    assert good.read_bytes() == first  # the same bytes, run after run


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize(("code", "outcome"), [("print('✓')", "8 pas"), ("print('✗')", "1 fa")])
def test_nbval_pastes_solutions_into_answer_cells(code, outcome, toy, tmp_path):
    toy.cells[6].source = SOLUTION.format(code=code)
    nbformat.write(toy, tmp_path / "toy.ipynb")
    options = ["--nbval-lax", "--nbval-current-env", "-p", "no:cacheprovider", "-m", "not slow"]
    tests = [f"--confcutdir={ROOT}", "tests/conftest.py", str(tmp_path / "toy.ipynb")]
    command = [sys.executable, "-m", "pytest", *options, *tests]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert re.search(outcome, run.stdout), run.stdout + run.stderr
