"""The table of modules in `notebooks/pages/package.md`, from their docstrings.

python tests/helpers/modules.py
"""

import ast
import re
from pathlib import Path

import readme

PACKAGE = Path(__file__).parents[2] / "hpkit"
COMMAND = "tests/helpers/modules.py"
LAYERS = (
    "data",
    "networks",
    "training",
    "evaluation",
    "experiments",
    "matching",
    "lessons",
    "book",
    "record",
    "commands",
)  # upwards; the modules beside them come first


def modules() -> list[Path]:
    """Lower layers first; but empty ones, and the checks of single chapters."""
    found = [
        path
        for path in PACKAGE.rglob("*.py")
        if path.read_text(encoding="utf-8").strip()
        and not re.match(r"ch\d\d", path.stem)
    ]
    return sorted(found, key=lambda path: (layer(path), path))


def layer(path: Path) -> int:
    """0 for the modules that are in no layer's folder, then one more for each layer."""
    name = path.relative_to(PACKAGE).parts[0]
    return LAYERS.index(name) + 1 if name in LAYERS else 0


def name_of(path: Path) -> str:
    """As it is imported: "hpkit.data.sets"."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def summary(path: Path) -> str:
    """The first paragraph of its docstring, on one line."""
    told = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(told.split("\n\n")[0].split()).replace("|", "\\|")


def table() -> str:
    """A row for each module."""
    rows = [(f"`{name_of(path)}`", summary(path)) for path in modules()]
    return readme.markdown(["module", "what it is"], rows)


if __name__ == "__main__":
    readme.put(COMMAND, table())
