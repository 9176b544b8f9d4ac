"""The notebooks away from a clone: first cell, badges, and a zip for Colab."""

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

from hpkit.book.stamps import is_fresh, stamp

TAG = "install-hpkit"
FIRST = """\
import sys
from glob import glob
from importlib.util import find_spec
from subprocess import run as call

if getattr(find_spec("hpkit"), "origin", None) is None:  # as on Colab; else nothing happens
    address = ""
    call([sys.executable, "-m", "zipfile", "-e", "hpkit-colab.zip", "."], capture_output=True)
    wheels = sorted(glob("hpkit-*.whl") + glob("hpkit-colab/hpkit-*.whl"))[-1:]
    found = ["-e", ".."] if glob("../hpkit/__init__.py") else wheels or [address]
    assert found[0], "hpkit is not here: put its .whl or hpkit-colab.zip beside this notebook"
    call([sys.executable, "-m", "pip", "install", "-q", *found], check=True)
    sys.path += [".."] * ("-e" in found)
if "google.colab" in sys.modules:
    sys.modules["google.colab"].output.enable_custom_widget_manager()"""  # noqa: E501
BADGES = (
    "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
    "(https://colab.research.google.com/github/{repo}/blob/HEAD/notebooks/{name}.ipynb)"
    " [![Open on Binder](https://mybinder.org/badge_logo.svg)]"
    "(https://mybinder.org/v2/gh/{repo}/HEAD?labpath=notebooks%2F{name}.ipynb)"
)
GITHUB = "https://github.com/"
Change = Callable[[nbformat.NotebookNode], object]


def address(root: Path) -> str:
    """The project's address in pyproject.toml, "" while it has none."""
    text = (root / "pyproject.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)["project"].get("urls", {}).get("Repository", "")


def set_address(root: Path, repo: str) -> None:
    """Write the address into pyproject.toml; ValueError unless repo is OWNER/NAME."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo):
        raise ValueError(f"{repo!r}: expected OWNER/NAME, as on GitHub")
    path = root / "pyproject.toml"
    text = re.sub(r"\[project\.urls\]\n.*\n\n", "", path.read_text(encoding="utf-8"))
    urls = f'[project.urls]\nRepository = "{GITHUB}{repo}"\n\n'
    before, table, after = text.partition("[project.optional-dependencies]")
    path.write_text(before + urls + table + after, encoding="utf-8")


def with_badges(text: str, repo: str, name: str) -> str:
    """Markdown with the badges under its title, none where repo is ""."""
    text = re.sub(r"^\[!\[Open in Colab\].*\n\n", "", text, flags=re.M)
    if not repo:
        return text
    title, end, rest = text.partition("\n\n")
    return f"{title}{end}{BADGES.format(repo=repo, name=name)}{end}{rest}"


def prepare_notebook(path: Path, url: str) -> None:
    """Renew its first code cell and its badges; fresh outputs stay fresh."""
    notebook = nbformat.read(path, 4)
    before = nbformat.writes(notebook)
    fresh = is_fresh(notebook)
    code = [n for n, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    first = code[0]
    if TAG not in notebook.cells[first].metadata.get("tags", []):
        cell = new_code_cell(metadata={"tags": [TAG, "remove-cell"]}, id=TAG)
        cell.metadata.jupyter = {"source_hidden": True}
        notebook.cells.insert(first, cell)
        fresh = False  # until they are all run again, in order
    archive = f"{url}/archive/HEAD.zip" if url else ""
    source = FIRST.replace('address = ""', f'address = "{archive}"')
    notebook.cells[first].source = source
    title = notebook.cells[0]
    title.source = with_badges(title.source, url.removeprefix(GITHUB), path.stem)
    if fresh:
        notebook.metadata.hpkit = nbformat.from_dict(stamp(notebook))
    if nbformat.writes(notebook) != before:
        nbformat.write(notebook, path)


def prepare(root: Path) -> None:
    """Renew all under root that names the project's address or installs from it."""
    url, notebooks = address(root), sorted(root.glob("notebooks/*.ipynb"))
    for path in notebooks:
        prepare_notebook(path, url)
    readme = root / "README.md"
    text = readme.read_text(encoding="utf-8")
    text = with_badges(text, url.removeprefix(GITHUB), notebooks[0].stem)
    readme.write_text(text, encoding="utf-8")


def build_wheel(root: Path, to: Path) -> None:
    """Build a wheel of hpkit, with its recorded results, into a folder.

    This needs no network.
    """
    with tempfile.TemporaryDirectory() as folder:
        unwanted = shutil.ignore_patterns("__pycache__", "*.ipynb", ".*")
        for name in ("hpkit", "notebooks"):
            shutil.copytree(root / name, Path(folder) / name, ignore=unwanted)
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(root / name, folder)
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", folder]
        command += ["--disable-pip-version-check", "--no-deps", "--no-index"]
        command += ["--no-build-isolation", "--wheel-dir", str(to)]
        subprocess.run(command, check=True)


def pack(
    root: Path,
    to: Path,
    name: str = "hpkit-colab",
    change: Change = lambda notebook: None,
    **texts: str,
) -> Path:
    """`to/NAME.zip`: a wheel of hpkit, the notebooks after `change`, and texts."""
    to.mkdir(parents=True, exist_ok=True)
    target = to / f"{name}.zip"
    with (
        tempfile.TemporaryDirectory() as folder,
        zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        build_wheel(root, Path(folder))
        for path in Path(folder).iterdir():
            archive.write(path, f"{name}/{path.name}")
        for path in sorted(root.glob("notebooks/*.ipynb")):
            notebook = nbformat.read(path, 4)
            change(notebook)
            archive.writestr(f"{name}/{path.name}", nbformat.writes(notebook) + "\n")
        for title, text in texts.items():
            archive.writestr(f"{name}/{title}.txt", text)
    return target
