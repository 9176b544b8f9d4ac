"""The package stays thin, light to import, and documented."""

import ast
import io
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "hpkit"
FILES = sorted(PACKAGE.glob("*.py"))
LAYOUT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
          tokenize.ENDMARKER}


def definitions(path):
    return [node for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module)]


def lines_of_code(path):
    """Numbers of the lines that hold code: no comment, blank line or docstring."""
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
    lines = {line for t in tokens if t.type not in LAYOUT
             for line in range(t.start[0], t.end[0] + 1)}
    for node in definitions(path):
        if ast.get_docstring(node):
            lines -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return lines


def test_the_package_is_thin():
    """What is not counted are the checks of the exercises: they are lessons, not machinery."""
    machinery = [path for path in FILES if not path.stem.startswith("exercises")]
    assert sum(len(lines_of_code(path)) for path in machinery) <= 4500
    assert max(path.read_text().count("\n") for path in FILES) <= 250


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_functions_fit_on_a_screen_and_public_ones_are_documented(path):
    for node in definitions(path):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 35, f"{node.name} is over 35 lines"
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node) or node.name == "main", f"{node.name}: no docstring"


def test_importing_hpkit_loads_no_torch():
    code = ("import sys, hpkit, hpkit.patches, hpkit.photos, hpkit.widgets; "
            "assert 'torch' not in sys.modules")
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_nothing_may_import():
    """plots, widgets, live, panels, climb, lessons are leaves; two of them import ipywidgets.

    But a lesson and a panel draw, live is a panel of buttons that draws learning curves, and climb
    is a live panel.
    """
    allowed = {"lessons": {"hpkit.plots"}, "panels": {"hpkit.plots"},
               "live": {"hpkit.plots", "hpkit.widgets"},
               "climb": {"hpkit.plots", "hpkit.widgets", "hpkit.live"}}
    for path in FILES:
        imported = {alias.name for node in ast.walk(ast.parse(path.read_text()))
                    if isinstance(node, ast.Import) for alias in node.names}
        imported |= {node.module for node in ast.walk(ast.parse(path.read_text()))
                     if isinstance(node, ast.ImportFrom)}
        imported |= {f"{node.module}.{alias.name}" for node in ast.walk(ast.parse(path.read_text()))
                     if isinstance(node, ast.ImportFrom) for alias in node.names}
        leaves = {f"hpkit.{name}" for name in (*allowed, "plots", "widgets")}
        leaves -= allowed.get(path.stem, set())
        assert not imported & leaves, f"{path.name} imports {imported & leaves}"
        assert ("ipywidgets" in imported) == (path.stem in ("widgets", "live"))
