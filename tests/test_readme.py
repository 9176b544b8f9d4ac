"""The README: what it says of chapters, files, commands and modules is so; its figure is fresh."""

import re
from pathlib import Path

import figure
import pytest
from chapters import row
from PIL import Image

from hpkit.book import find_notebooks

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
OUTSIDE = re.sub(r"```.*?```", "", TEXT, flags=re.S)


@pytest.mark.parametrize("path", find_notebooks([]), ids=lambda path: path.stem)
def test_table_of_chapters(path):
    question, minutes, needs = row(path)
    start = f"| [{path.stem}](notebooks/{path.name}) | {question} | "
    (line,) = [line for line in TEXT.splitlines() if line.startswith(f"| [{path.stem}]")]
    assert line.startswith(start) and line.endswith(f" s | {minutes} | {needs} |"), (
        f"{start}... s | {minutes} | {needs} |")


def anchors() -> set[str]:
    """Of the headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", OUTSIDE, re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)\s]+)\)", OUTSIDE)
    inside = [link for link in links if not link.startswith("https://")]
    assert len(inside) > 15
    assert not [link for link in inside if link.startswith("#") and link[1:] not in anchors()]
    assert not [link for link in inside if link[0] != "#" and not (ROOT / link).exists()]


def test_named_files_commands_and_modules_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    commands = re.findall(r"(?:`|^)make ([a-z-]+)", TEXT, re.M)
    assert len(commands) > 10
    assert not [name for name in commands if not re.search(rf"^{name}:", makefile, re.M)]
    files = re.findall(r"\b(?:tests|notebooks|hpkit)/[\w./-]+\.\w+", OUTSIDE)
    assert len(files) > 10 and not [name for name in files if not (ROOT / name).exists()]
    table = OUTSIDE.partition("## The package")[2].partition("##")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    modules = set(re.findall(r"`(\w+)`", "".join(cells)))
    there = {path.stem for path in (ROOT / "hpkit").glob("*.py")} - {"__init__"}
    assert {re.sub(r"_\d.*", "", name) for name in there} == modules  # exercises_05_07


def test_folded_parts_are_closed_and_shown_as_markdown():
    assert TEXT.count("<details><summary>") == TEXT.count("\n\n</details>\n") == 7
    assert not re.search(r"</summary>[^\n]|</summary>\n[^\n]", TEXT)


def test_figure_is_small_and_of_the_shipped_network():
    image = Image.open(figure.FIGURE)
    assert image.text["origin"] == figure.origin(), "run `make figure`"
    assert figure.FIGURE.stat().st_size <= 150_000 and image.width <= 1000
    assert f"]({figure.FIGURE.relative_to(ROOT)})" in TEXT
