"""The notebooks away from a clone: their first cell, their badges, a zip of them for Colab.

Without an option: make the first cell and the badges of all notebooks, and the README's, what they
have to be. `--repo OWNER/NAME` first writes the project's address into pyproject.toml, where they
take it from. `--zip` packs the notebooks and a wheel of hpkit.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell

from hpkit.book import digest

ROOT = Path(__file__).parents[2]
TAG = "install-hpkit"
FIRST = '''\
import sys
from glob import glob
from importlib.util import find_spec
from subprocess import run as call

if getattr(find_spec("hpkit"), "origin", None) is None:  # as on Colab; else nothing happens
    address = ""
    call([sys.executable, "-m", "zipfile", "-e", "hpkit-colab.zip", "."], capture_output=True)
    wheels = sorted(glob("hpkit-*.whl") + glob("hpkit-colab/hpkit-*.whl"))[-1:]
    found = ["-e", ".."] if glob("../hpkit/lessons.py") else wheels or [address]
    assert found[0], "hpkit is not here: put its .whl or hpkit-colab.zip beside this notebook"
    call([sys.executable, "-m", "pip", "install", "-q", *found], check=True)
    sys.path += [".."] * ("-e" in found)
if "google.colab" in sys.modules:
    sys.modules["google.colab"].output.enable_custom_widget_manager()'''
BADGES = (
    "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
    "(https://colab.research.google.com/github/{repo}/blob/HEAD/notebooks/{name}.ipynb) "
    "[![Open on Binder](https://mybinder.org/badge_logo.svg)]"
    "(https://mybinder.org/v2/gh/{repo}/HEAD?labpath=notebooks%2F{name}.ipynb)"
)


def address(root: Path) -> str:
    """The project's address in pyproject.toml, "" while it has none."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project.get("urls", {}).get("Repository", "")


def set_address(root: Path, repo: str) -> None:
    """Write it into pyproject.toml; ValueError unless repo is OWNER/NAME."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo):
        raise ValueError(f"{repo!r}: expected OWNER/NAME, as on GitHub")
    path = root / "pyproject.toml"
    text = re.sub(r"\[project\.urls\]\n.*\n\n", "", path.read_text(encoding="utf-8"))
    urls = f'[project.urls]\nRepository = "https://github.com/{repo}"\n\n'
    before, table, after = text.partition("[project.optional-dependencies]")
    path.write_text(before + urls + table + after, encoding="utf-8")


def with_badges(text: str, repo: str, name: str) -> str:
    """Markdown with the badges under its title, none where repo is ""."""
    text = re.sub(r"^\[!\[Open in Colab\].*\n\n", "", text, flags=re.M)
    title, end, rest = text.partition("\n\n")
    return f"{title}{end}{BADGES.format(repo=repo, name=name)}{end}{rest}" if repo else text


def stamp_notebook(path: Path, url: str) -> None:
    """Its first code cell and its badges; outputs that were of these cells still are."""
    notebook = nbformat.read(path, 4)
    before = nbformat.writes(notebook)
    fresh = notebook.metadata.get("hpkit", {}).get("stamp") == digest(notebook)
    first = next(n for n, cell in enumerate(notebook.cells) if cell.cell_type == "code")
    if TAG not in notebook.cells[first].metadata.get("tags", []):
        cell = new_code_cell(metadata={"tags": [TAG, "remove-cell"]}, id=TAG)
        cell.metadata.jupyter = {"source_hidden": True}
        notebook.cells.insert(first, cell)
        fresh = False  # until they are all run again, in order
    archive = f"{url}/archive/HEAD.zip" if url else ""
    notebook.cells[first].source = FIRST.replace('address = ""', f'address = "{archive}"')
    repo = url.removeprefix("https://github.com/")
    notebook.cells[0].source = with_badges(notebook.cells[0].source, repo, path.stem)
    if fresh:
        notebook.metadata.hpkit.stamp = digest(notebook)
    if nbformat.writes(notebook) != before:
        nbformat.write(notebook, path)


def stamp(root: Path) -> None:
    """Everything under root that names the project's address or installs from it."""
    url, notebooks = address(root), sorted(root.glob("notebooks/*.ipynb"))
    for path in notebooks:
        stamp_notebook(path, url)
    readme, repo = root / "README.md", url.removeprefix("https://github.com/")
    text = readme.read_text(encoding="utf-8")
    readme.write_text(with_badges(text, repo, notebooks[0].stem), encoding="utf-8")


def build_wheel(root: Path, to: Path) -> None:
    """A wheel of hpkit with its recorded results into a folder; needs no network."""
    with tempfile.TemporaryDirectory() as folder:
        unwanted = shutil.ignore_patterns("__pycache__", "*.ipynb", ".*")
        for name in ("hpkit", "notebooks"):
            shutil.copytree(root / name, Path(folder) / name, ignore=unwanted)
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(root / name, folder)
        pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
        options = ["--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", to]
        subprocess.run([*pip, *options, folder], check=True)


def pack(root: Path, to: Path, name: str = "hpkit-colab",
         change: Callable[[nbformat.NotebookNode], object] = lambda notebook: None,
         **texts: str) -> Path:
    """`to/NAME.zip`: a wheel of hpkit, the notebooks, each after `change(notebook)`, and texts."""
    to.mkdir(parents=True, exist_ok=True)
    with (tempfile.TemporaryDirectory() as folder,
          zipfile.ZipFile(to / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive):
        build_wheel(root, Path(folder))
        for path in Path(folder).iterdir():
            archive.write(path, f"{name}/{path.name}")
        for path in sorted(root.glob("notebooks/*.ipynb")):
            notebook = nbformat.read(path, 4)
            change(notebook)
            archive.writestr(f"{name}/{path.name}", nbformat.writes(notebook) + "\n")
        for title, text in texts.items():
            archive.writestr(f"{name}/{title}.txt", text)
    return to / f"{name}.zip"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repo", metavar="OWNER/NAME", help="of the project, on GitHub")
    parser.add_argument("--zip", type=Path, metavar="DIR", help="pack hpkit-colab.zip there")
    given = parser.parse_args(argv)
    if given.repo:
        set_address(ROOT, given.repo)
    if given.zip:
        print(f"{pack(ROOT, given.zip)}: upload it to Colab, and one of the notebooks in it")
    else:
        stamp(ROOT)


if __name__ == "__main__":
    main()
