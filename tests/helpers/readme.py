"""The tables in README and pages that a command writes, each between two marks."""

import re
from collections.abc import Iterable
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def files() -> list[Path]:
    """Where such tables can be."""
    return [README, *sorted((README.parent / "notebooks" / "pages").glob("*.md"))]


def marks(command: str) -> tuple[str, str]:
    return f"<!-- written by `{command}` -->", f"<!-- end of `{command}` -->"


def markdown(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of texts."""
    columns = list(columns)
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def home(command: str) -> Path:
    """The file with the marks of a command; ValueError unless there is just one."""
    begin, end = marks(command)
    pattern = re.compile(f"^{begin}\n.*^{end}$", re.M | re.S)
    found = [
        path for path in files() if pattern.search(path.read_text(encoding="utf-8"))
    ]
    if len(found) != 1:
        raise ValueError(f"{README.parent}: expected {begin} and {end}, in one page")
    return found[0]


def table(command: str) -> str:
    """What stands between the marks of a command."""
    begin, end = marks(command)
    text = home(command).read_text(encoding="utf-8")
    return text.partition(f"{begin}\n")[2].partition(f"\n{end}")[0]


def put(command: str, text: str) -> None:
    """Between its marks; ValueError where they are missing."""
    path, (begin, end) = home(command), marks(command)
    before, _, rest = path.read_text(encoding="utf-8").partition(begin)
    after = rest.partition(end)[2]
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")
