"""The tables of README.md that a command writes, each between two marks."""

import re
from collections.abc import Iterable
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def marks(command: str) -> tuple[str, str]:
    return f"<!-- written by `{command}` -->", f"<!-- end of `{command}` -->"


def markdown(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of texts."""
    columns = list(columns)
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def table(command: str) -> str:
    """What stands between the marks of a command."""
    begin, end = marks(command)
    return README.read_text(encoding="utf-8").partition(f"{begin}\n")[2].partition(f"\n{end}")[0]


def put(command: str, text: str) -> None:
    """Between its marks; ValueError where they are missing."""
    begin, end = marks(command)
    old = README.read_text(encoding="utf-8")
    new, found = re.subn(f"{begin}\n.*{end}", lambda _: f"{begin}\n{text}\n{end}", old, flags=re.S)
    if found != 1:
        raise ValueError(f"{README}: expected {begin} and {end}, once")
    README.write_text(new, encoding="utf-8")
