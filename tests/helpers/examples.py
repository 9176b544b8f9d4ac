"""The examples in README, CONTRIBUTING and pages: Python to run, commands to check."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.M | re.S)


def pages() -> list[Path]:
    """Whatever is plain Markdown, by its place in the repository."""
    own = [Path("README.md"), Path("CONTRIBUTING.md")]
    return own + sorted(
        p.relative_to(ROOT) for p in (ROOT / "notebooks" / "pages").glob("*.md")
    )


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """Language and content of each fenced block."""
    for indent, language, content in FENCED.findall(
        (ROOT / page).read_text(encoding="utf-8")
    ):
        lines = [line.removeprefix(indent) for line in content.splitlines()]
        yield language, "\n".join(lines) + "\n"


def python_examples() -> list[tuple[str, str]]:
    """(page:number, code)."""
    return [
        (f"{page.stem}:{number}", code)
        for page in pages()
        for number, (language, code) in enumerate(blocks(page))
        if language == "python"
    ]


def commands() -> set[tuple[str, ...]]:
    """The words of each command line: lines of plain blocks, and code in the text."""
    found = set()
    for page in pages():
        text = (ROOT / page).read_text(encoding="utf-8")
        lines = [
            line
            for language, block in blocks(page)
            if not language
            for line in block.splitlines()
        ]
        lines += re.findall(r"`([^`\n]+)`", FENCED.sub("", text).replace("\n", " "))
        for line in lines:
            words = words_of(line)
            if words[:1] in (["make"], ["hpkit"], ["papermill"]) or words[1:2] == [
                "-m"
            ]:
                found.add(tuple(words))
    return found


def words_of(line: str) -> list[str]:
    """As a shell would see them, without a comment; [] where it is no shell's line."""
    try:
        return shlex.split(line, comments=True)
    except ValueError:
        return []
