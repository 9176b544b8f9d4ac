"""A notebook is stale by what it uses, and by nothing else."""

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from hpkit.book.executed import NOTEBOOKS
from hpkit.book.stamps import is_fresh, stamp

FILES = {
    "__init__.py": """
from importlib import import_module
FACE = {"train": "toy.training.fit"}
def __getattr__(name):
    return getattr(import_module(FACE[name]), name)
""",
    "training/__init__.py": "",
    "training/fit.py": """
from toy.training.losses import LOSSES
from toy import plots
def train(loss):
    \"\"\"How.\"\"\"
    return LOSSES[loss]()
def show():
    return plots.curve()
""",
    "training/losses.py": """
def mae():
    return helper()
def mse():
    return 2
def helper():
    return 1
LOSSES = {"mae": mae, "mse": mse}
""",
    "plots.py": """
def curve():
    return 1
def bars():
    return 2
""",
    "exercises.py": """
def right(answer):
    return ""
EXERCISES = {"one": right}
""",
    "reader.py": """
def read():
    return open("numbers.csv")
""",
    "numbers.csv": "1,2",
}
CODE = {
    "train": "from toy.training.fit import train\ntrain('mae')",
    "face": "import toy\n%matplotlib inline\ntoy.train('mae')",
    "module": "from toy.training import fit\nfit.show()",
    "bars": "from toy import plots\nplots.bars()",
    "read": "from toy.reader import read\nread()",
    "recorded": "recorded('best')",
    "listed": "from toy.training.losses import LOSSES\nprint(list(LOSSES))",
    "by_key": "from toy.training.losses import LOSSES\nprint(LOSSES['mse'])",
    "broken": "def (",
}


@pytest.fixture
def package(tmp_path):
    """Gives a new copy of a small package with each call: nothing read stays in memory."""
    versions = iter(range(100))

    def write(**changes: tuple[str, str]) -> Path:
        root = tmp_path / str(next(versions)) / "toy"
        for name, text in FILES.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            key = path.stem
            old, new = changes.get(key, ("", ""))
            assert old in text
            path.write_text(text.replace(old, new, 1) if old else text)
        results = root.parent / "notebooks" / "results"
        results.mkdir(parents=True)
        for name in ("best", "other"):
            (results / f"{name}.csv").write_text(changes.get(name, "a"))
        return root

    return write


def executed(code: str, package: Path, exercise: str = "") -> nbformat.NotebookNode:
    metadata = {"exercise": exercise} if exercise else {}
    notebook = new_notebook(cells=[new_code_cell(CODE[code], metadata=metadata)])
    notebook.metadata.hpkit = stamp(notebook, package=package)
    return notebook


@pytest.mark.parametrize(("changes", "stale"), [
    ({"fit": ('"""How."""', '"""How it is."""  # a comment')}, ()),
    ({"fit": ("return LOSSES", "return 1 + LOSSES")}, ("train", "face")),
    ({"losses": ("return 1", "return 0")}, ("train", "face", "listed", "by_key")),
    ({"losses": ("LOSSES = {", "LOSSES = {'new': mae, ")}, ("listed",)),
    ({"losses": (', "mse": mse', "")}, ("train", "face", "listed", "by_key")),
    ({"plots": ("return 1", "return 3")}, ("module",)),
    ({"plots": ("return 2", "return 3")}, ("bars",)),
    ({"numbers": ("1,2", "1,3")}, ("read",)),
    ({"best": "b"}, ("recorded",)),
    ({"other": "b"}, ()),
], ids=str)
def test_a_change_makes_stale_what_uses_it(changes, stale, package):
    before, after = package(), package(**changes)
    found = [code for code in CODE if code != "broken"
             and not is_fresh(executed(code, before), after)]
    assert tuple(found) == stale


def test_an_exercise_depends_on_its_check(package):
    before, after = package(), package(exercises=('return ""', "return answer"))
    assert is_fresh(executed("bars", before), after)
    assert not is_fresh(executed("bars", before, exercise="one"), after)


def test_code_that_cannot_be_read_depends_on_everything(package):
    before = package()
    assert is_fresh(executed("broken", before), package())
    assert not is_fresh(executed("broken", before), package(plots=("return 2", "return 3")))


def test_parameters_count(package):
    notebook = executed("bars", package())
    made = dict(notebook.metadata.hpkit)
    assert stamp(notebook, {"epochs": 3}, package=package())["stamp"] != made["stamp"]


@pytest.mark.slow
def test_a_chapter_does_not_use_the_panels_of_another():
    """The first chapter knows nothing of training; none knows of the book or of records."""
    from hpkit.book.stamps import PACKAGE, Used, chapter_of, plain

    used = {}
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        notebook = nbformat.read(path, 4)
        code = "\n".join(plain(c.source) for c in notebook.cells if c.cell_type == "code")
        found = Used(PACKAGE, None)
        found.by_code(code, chapter_of(notebook))
        used[path.stem] = {name.rpartition(".")[0] for name in found.definitions}
    assert not [n for n in used["01_patches"] if n.startswith("hpkit.training")]
    assert "hpkit.lessons.panels.climb" in used["10_final_model"]
    assert "hpkit.lessons.panels.climb" not in used["05_optimizers"]
    assert not [name for names in used.values() for name in names
                if name.startswith(("hpkit.book", "hpkit.record", "hpkit.commands"))]
