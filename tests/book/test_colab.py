"""Notebooks away from a clone: the first cell, the badges, a bare environment as on Colab."""

import json
import os
import shutil
import subprocess
import sys
import types
import venv
import zipfile
from pathlib import Path

import ipywidgets
import nbformat
import pytest
from anatomy import complaints

from hpkit.book import colab
from hpkit.book.stamps import is_fresh
from hpkit.lessons import widgets

ROOT = Path(__file__).parents[2]
ARCHIVE = "https://github.com/o/n/archive/HEAD.zip"


@pytest.fixture
def copy(tmp_path) -> Path:
    """What is stamped, in a folder of its own."""
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    return tmp_path


def files(root: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


@pytest.mark.slow
def test_committed_files_are_as_stamped(copy):
    """One first cell in all notebooks, with pyproject.toml's address; without one no badge."""
    before = files(copy)
    colab.prepare(copy)
    changed = [name for name, data in files(copy).items() if data != before[name]]
    assert not changed, "run `make badges`"
    if not colab.address(copy):
        assert not [name for name, data in before.items() if b"badge" in data and name[0].isdigit()]


@pytest.mark.slow
def test_an_address_is_written_everywhere_once(copy):
    notebooks = sorted(copy.glob("notebooks/*.ipynb"))
    fine = {path: complaints(path) for path in notebooks}
    outputs = [[c.get("outputs") for c in nbformat.read(path, 4).cells] for path in notebooks]
    fresh = [path for path in notebooks if is_fresh(nbformat.read(path, 4))]
    colab.set_address(copy, "o/n")
    colab.prepare(copy)
    once = files(copy)
    assert colab.address(copy) == "https://github.com/o/n"
    assert once["README.md"].count(b"github/o/n/blob/HEAD/notebooks/00_first_match.ipynb") == 1
    for path in notebooks:
        cells = nbformat.read(path, 4).cells
        title, _, badges, _, after, *_ = cells[0].source.split("\n")
        assert title.startswith("# ") and after and badges.count("[![") == 2
        assert f"/o/n/blob/HEAD/notebooks/{path.name})" in badges
        assert f"/gh/o/n/HEAD?labpath=notebooks%2F{path.name})" in badges
        first = next(c.source for c in cells if c.cell_type == "code")
        assert first == colab.first_cell(ARCHIVE)
    assert {path: complaints(path) for path in notebooks} == fine
    assert [[c.get("outputs") for c in nbformat.read(p, 4).cells] for p in notebooks] == outputs
    assert [path for path in notebooks if is_fresh(nbformat.read(path, 4))] == fresh
    colab.prepare(copy)
    assert files(copy) == once
    colab.set_address(copy, "other/m.2")
    colab.prepare(copy)
    assert not [name for name, data in files(copy).items() if b"/o/n" in data]
    colab.set_address(copy, "o/n")
    colab.prepare(copy)
    assert files(copy) == once


def test_a_new_notebook_gets_the_first_cell_before_its_other_code(tmp_path):
    cells = [nbformat.v4.new_markdown_cell("# One?"), nbformat.v4.new_code_cell("x = 1", id="x")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "one.ipynb")
    colab.prepare_notebook(tmp_path / "one.ipynb", "")
    cells = nbformat.read(tmp_path / "one.ipynb", 4).cells
    assert [cell.source for cell in cells] == ["# One?", colab.FIRST, "x = 1"]
    assert cells[1].execution_count is None and cells[2].id == "x"


@pytest.mark.parametrize("repo", ["o", "o/n/m", "https://github.com/o/n", "o/n\n"])
def test_an_address_that_is_none_is_refused(repo, copy):
    before = files(copy)
    with pytest.raises(ValueError, match="expected OWNER/NAME"):
        colab.set_address(copy, repo)
    assert files(copy) == before


def test_the_first_cell_does_nothing_where_hpkit_is_installed():
    code = as_python(colab.FIRST).replace("install(source)", "raise AssertionError(source)")
    code += "\nimport sys; assert not {'hpkit', 'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT / "notebooks", check=True)


def as_python(cell: str) -> str:
    """The cell with `install(source)` for IPython's `%pip`."""
    changed = cell.replace("%pip install -q {source}", "install(source)")
    assert changed != cell and "%" not in changed
    return changed


def installed(monkeypatch, folder: Path, archive: str) -> list[str]:
    """What the first cell would have pip install in this folder."""
    asked = []
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.chdir(folder)
    exec(as_python(colab.first_cell(archive)), {"install": asked.append})
    return asked


def test_the_first_cell_installs_the_clone_or_the_zip_or_from_the_address(tmp_path, monkeypatch):
    assert installed(monkeypatch, tmp_path, "hpkit-colab.zip") == ["hpkit-colab.zip"]
    assert installed(monkeypatch, tmp_path, ARCHIVE) == [ARCHIVE]
    assert installed(monkeypatch, ROOT / "notebooks", ARCHIVE) == ["-e .."]


def test_a_folder_of_that_name_is_not_taken_for_the_package(tmp_path):
    """As a clone in Colab's own folder is."""
    (tmp_path / "hpkit").mkdir()
    code = (f"import sys; sys.path[:] = ['.', *sys.path[:3]]; install = print\n"
            f"{as_python(colab.FIRST)}")
    run = subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True,
                         text=True, check=True)
    assert run.stdout == "hpkit-colab.zip\n"


@pytest.mark.slow
def test_the_zip_is_a_small_clone_whose_notebooks_install_it(tmp_path):
    with zipfile.ZipFile(colab.pack(ROOT, tmp_path, "mine")) as archive:
        names = archive.namelist()
        text = archive.read("mine/notebooks/01_patches.ipynb").decode()
    assert {"mine/pyproject.toml", "mine/hpkit/__init__.py", "mine/LICENSE"} <= set(names)
    assert "mine/notebooks/results/denoisers.csv" in names
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]
    notebook = nbformat.reads(text, 4)
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    assert first.source == colab.first_cell("mine.zip")
    assert is_fresh(notebook) == is_fresh(nbformat.read(ROOT / "notebooks/01_patches.ipynb", 4))


def test_colab_shows_widgets_with_its_custom_manager(monkeypatch):
    called = []
    output = types.SimpleNamespace(enable_custom_widget_manager=lambda: called.append(True))
    monkeypatch.setitem(sys.modules, "google.colab", types.SimpleNamespace(output=output))
    widgets.show(ipywidgets.Label("a panel"), b"\x89PNG", "a panel")
    assert called == [True]


def environment(folder: Path) -> dict[str, str]:
    """A shell's, in which this virtual environment is active and nothing of ours is in the way."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "JUPYTER", "IPY"))}
    return kept | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "VIRTUAL_ENV": str(folder)}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_notebook_alone_runs_in_a_bare_environment_like_colabs(tmp_path):
    """From the first cell to the last, with the zip beside it; nothing that was there changes."""
    bare, alone = tmp_path / "bare", tmp_path / "alone"
    venv.create(bare, with_pip=True)
    pip = [bare / "bin" / "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "-q", "--no-compile", "-r", ROOT / "tests/colab.txt"],
                   check=True)
    alone.mkdir()
    shutil.copy(ROOT / "notebooks" / "01_patches.ipynb", alone)
    colab.pack(ROOT, alone)
    listed = [*pip, "list", "--format", "json"]
    before, after = [], []
    for packages in (before, after):
        shown = subprocess.run(listed, capture_output=True, text=True, check=True).stdout
        packages += [(p["name"], p["version"]) for p in json.loads(shown)]
        if packages is before:
            run = [bare / "bin" / "jupyter-execute", "--inplace", "01_patches.ipynb"]
            subprocess.run(run, cwd=alone, env=environment(bare), check=True)
    assert set(before) < set(after)
    assert {name for name, _ in set(after) - set(before)} == {"hpkit", "remotezip"}
    code = [c for c in nbformat.read(alone / "01_patches.ipynb", 4).cells if c.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not [o for cell in code[1:] for o in cell.outputs if o.get("name") == "stderr"]
    assert "torch" not in code[0].source and sum(bool(c.outputs) for c in code) > 10
    results = "from hpkit.experiments.arms import recorded; print(len(recorded('denoisers')) > 100)"
    said = subprocess.run([bare / "bin" / "python", "-c", results], cwd=tmp_path, check=True,
                          env=environment(bare), capture_output=True, text=True).stdout
    assert said == "True\n"
