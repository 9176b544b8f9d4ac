"""`hpkit slides`: slides of a chapter, from its own figures and words.

They are one page that needs no network: open it in a browser, press S for the notes of
the speaker and F for the full screen. reveal.js comes from npm the first time.

examples:
  hpkit slides 03                the chapter as it was executed last
  hpkit slides 03 04 --out talk  two of them, in another folder
"""

from pathlib import Path

from hpkit.book.executed import find_notebooks
from hpkit.book.slides import write_slides
from hpkit.commands import parser


def main(argv: list[str]) -> int:
    """0 where all slides were written."""
    made = parser(__doc__)
    add = made.add_argument
    chapters = "its number, name or path"
    add("chapters", nargs="+", metavar="CHAPTER", help=chapters)
    folder = "default: build/slides"
    add("--out", type=Path, default=Path("build/slides"), metavar="DIR", help=folder)
    given = made.parse_args(argv)
    for path in _paths(given.chapters):
        page = given.out / f"{path.stem}.html"
        try:
            number = write_slides(path, page)
        except ConnectionError as error:
            raise ValueError(
                f"reveal.js is needed once, and {error}: try again with a network"
            ) from error
        print(f"{page}: {number} slides")
    return 0


def _paths(chapters: list[str]) -> list[Path]:
    """The notebooks, where two digits stand for the chapter that begins with them."""
    numbered = {path.stem[:2]: path.stem for path in find_notebooks([])}
    return find_notebooks([numbered.get(name, name) for name in chapters])
