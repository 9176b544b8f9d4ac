"""The notebooks away from a clone: first cell, badges, and a zip for Colab."""

import re
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell

from hpkit.book.stamps import is_fresh, stamp

TAG = "install-hpkit"
FIRST = """\
import site
from importlib.util import find_spec
from pathlib import Path

if not getattr(find_spec("hpkit"), "origin", None):  # not installed yet, as on Colab
    source = "-e .." if Path("../hpkit").is_dir() else "hpkit-colab.zip"
    %pip install -q {source}
    site.main()  # finds at once what was installed"""
ZIP = "hpkit-colab"
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


def first_cell(archive: str) -> str:
    """The cell that installs hpkit where it is missing.

    It installs the clone that the notebook stands in, or else the archive: a zip beside
    the notebook, or an address.
    """
    return FIRST.replace(f"{ZIP}.zip", archive)


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
    archive = f"{url}/archive/HEAD.zip" if url else f"{ZIP}.zip"
    notebook.cells[first].source = first_cell(archive)
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


def pack(
    root: Path,
    to: Path,
    name: str = ZIP,
    change: Change = lambda notebook: None,
    **texts: str,
) -> Path:
    """`to/NAME.zip`: hpkit to install, the notebooks after `change`, and texts.

    It is a small clone: `pip install NAME.zip` works, and so does a notebook in the
    unpacked folder.
    """
    to.mkdir(parents=True, exist_ok=True)
    target = to / f"{name}.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in _sources(root):
            archive.write(path, f"{name}/{path.relative_to(root)}")
        for path in sorted(root.glob("notebooks/*.ipynb")):
            notebook = nbformat.read(path, 4)
            _install_from(notebook, f"{name}.zip")
            change(notebook)
            text = nbformat.writes(notebook) + "\n"
            archive.writestr(f"{name}/notebooks/{path.name}", text)
        for title, text in texts.items():
            archive.writestr(f"{name}/{title}.txt", text)
    return target


def _sources(root: Path) -> list[Path]:
    """What pip needs to install hpkit with its recorded results."""
    files = [root / name for name in ("pyproject.toml", "README.md", "LICENSE")]
    files += root.glob("notebooks/results/*.csv")
    package = [path for path in root.glob("hpkit/**/*") if path.is_file()]
    files += [path for path in package if "__pycache__" not in path.parts]
    return sorted(files)


def _install_from(notebook: nbformat.NotebookNode, archive: str) -> None:
    """Let the first cell install this archive; fresh outputs stay fresh."""
    fresh = is_fresh(notebook)
    for cell in notebook.cells:
        if TAG in cell.metadata.get("tags", []):
            cell.source = first_cell(archive)
    if fresh:
        notebook.metadata.hpkit = nbformat.from_dict(stamp(notebook))
