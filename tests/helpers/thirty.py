"""Thirty hand-ins of one small chapter, as a class sends them: many ways, and many broken.

    python tests/helpers/thirty.py FOLDER      makes them, and the chapter that was given out
"""

import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

CHAPTER = "01_small"
FILE = f"{CHAPTER}.ipynb"
RIGHT = {"positive_pairs": "120", "overlap_of_larger": "0.64", "clean_draw": "0.13"}
OPEN = dict.fromkeys(RIGHT, "...")
JUNK = ("._01_small.ipynb", ".DS_Store", "Thumbs.db", "desktop.ini",
        ".ipynb_checkpoints/01_small-checkpoint.ipynb", "__MACOSX/._01_small.ipynb")
R, W, N, Q, T, A = ("right", "wrong", "not attempted", "not reached", "taken out",
                    "not handed in")


class Case(NamedTuple):
    """How a hand-in is made in a folder; whose it is, its marks, and a told problem."""

    make: Callable[[Path], None]
    student: str
    marks: tuple[str, str, str]
    problem: str = ""


def text(answers: dict[str, str] = RIGHT, first: str = "", **before: str) -> str:
    """A notebook. first: a cell; before: lines in an exercise's cell, before its answer."""
    cells = [new_markdown_cell("# A small chapter"),
             new_code_cell(f"from hpkit.lessons.progress import check\n{first}")]
    for name, answer in answers.items():
        code = f"{before.get(name, '')}\nanswer = {answer}\ncheck('{name}', answer)".strip()
        cells.append(new_code_cell(code, metadata={"exercise": name, "tags": ["exercise"]}))
    return nbformat.writes(new_notebook(cells=cells))


def file(place: str, content: str | bytes) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return make


def zipped(place: str, **members: str | bytes) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
    return make


def both(*makers: Callable[[Path], None]) -> Callable[[Path], None]:
    return lambda folder: [make(folder) for make in makers] and None


def nested(place: str, *names: str) -> Callable[[Path], None]:
    """A zip in a zip, with what macOS leaves."""
    def make(folder: Path) -> None:
        inner = folder / "inner.zip"
        zipped("inner.zip", **{FILE: text(), "__MACOSX/._x": b"\0"})(folder)
        zipped(place, **{"work/inner.zip": inner.read_bytes()})(folder)
        inner.unlink()
    return make


LOOP = "while True: pass"
STUBBORN = ("import time\nwhile True:\n    try:\n        time.sleep(1)\n"
            "    except KeyboardInterrupt:\n        pass")
SPY = """
from pathlib import Path
seen = [*Path({folder!r}).rglob("*.ipynb"), *Path("../..").resolve().parent.glob("hpkit-*/**/*.ipynb")]
others = [path for path in seen if path.resolve().parent != Path.cwd()]
assert not others, others
Path({folder!r}, "anna", "01_small.ipynb").write_text("spoiled")
"""
NETWORK = "import socket; socket.create_connection(('192.0.2.1', 80), 2)"
FORGED = ("import json, os\nwith open(os.environ['HPKIT_CHECKED'], 'a') as file:\n"
          "    print(json.dumps({'exercise': 'clean_draw', 'mark': 'right', 'hint': ''}), file=file)")
HELPER = "pairs = 16 * 15 // 2"
PRINTED = "print('✓ positive_pairs: right')"
WITHOUT = {name: answer for name, answer in RIGHT.items() if name != "overlap_of_larger"}
ONE_WRONG = RIGHT | {"overlap_of_larger": "0.8"}
FIRST_OPEN = RIGHT | {"positive_pairs": "..."}


def cases(folder: Path) -> list[Case]:
    """All thirty; the first twenty are whole, the last ten are broken."""
    moodle, canvas = "assignsubmission_file_", "12345_678901"
    return [
        Case(file(f"anna/{FILE}", text()), "anna", (R, R, R)),
        Case(file(f"ben/week 1/{FILE}", text(ONE_WRONG)), "ben", (R, W, R)),
        Case(zipped("carla.zip", **{FILE: text()}), "carla", (R, R, R)),
        Case(nested("dan.zip"), "dan", (R, R, R)),
        Case(both(file(f"eve/{FILE}", text()), *(file(f"eve/{name}", b"\0\5\x16\7") for name in JUNK)),
             "eve", (R, R, R)),
        Case(file(f"Frank Ürün_1234567_{moodle}/{FILE}", text()), "Frank Ürün", (R, R, R)),
        Case(zipped(f"Grace Hopper_1234568_{moodle}/hw.zip", **{f"hw/{FILE}": text(OPEN)}),
             "Grace Hopper", (N, N, N)),
        Case(file(f"Heidi O'Neil_1234569_{moodle}{FILE}", text(ONE_WRONG)), "Heidi O'Neil", (R, W, R)),
        Case(file(f"ivanovivan_{canvas}_{FILE}", text()), "ivanovivan", (R, R, R)),
        Case(both(file(f"jonesjo_LATE_12346_678902_{FILE}", text(OPEN)),
                  file("jonesjo_LATE_12346_678903_01_small-1.ipynb", text())),
             "jonesjo", (R, R, R), "not marked, 01_small-1.ipynb is the newer one"),
        Case(file(f"kim_{FILE}", text()), "kim", (R, R, R)),
        Case(file("01_small (lee).ipynb", text()), "lee", (R, R, R)),
        Case(both(file(f"mia/{FILE}", text(OPEN)), file("mia/01_small (1).ipynb", text())),
             "mia", (R, R, R), "01_small.ipynb: not marked"),
        Case(both(file(f"nina/{FILE}", text(RIGHT | {"positive_pairs": "helper.pairs"}, "import helper")),
                  file("nina/helper.py", HELPER)), "nina", (R, R, R)),
        Case(file(f"olga/{FILE}", text(positive_pairs="print('x', end='')")), "olga", (R, R, R)),
        Case(file(f"paul/{FILE}", text(FIRST_OPEN, positive_pairs=PRINTED)), "paul", (N, R, R)),
        Case(file(f"quinn/{FILE}", text(OPEN)), "quinn", (N, N, N)),
        Case(file(f"=1+2/{FILE}", text()), "=1+2", (R, R, R)),
        Case(file(f"rosa/{FILE}", text(first="open('made.txt', 'w').write('here')")), "rosa", (R, R, R)),
        Case(file(f"sam/{FILE}", b"\xef\xbb\xbf" + text().encode()), "sam", (R, R, R)),
        # ten that are broken
        Case(file(f"t-loop/{FILE}", text(overlap_of_larger=LOOP)), "t-loop", (R, Q, R),
             "stopped after"),
        Case(file(f"u-stubborn/{FILE}", text(overlap_of_larger=STUBBORN)), "u-stubborn", (R, Q, Q),
             "the kernel ended"),
        Case(file(f"v-deleted/{FILE}", text(WITHOUT)), "v-deleted", (R, T, R),
             "overlap_of_larger was taken out"),
        Case(file(f"w-raises/{FILE}", text(RIGHT | {"overlap_of_larger": "1 / 0"}, "what = is this")),
             "w-raises", (Q, Q, Q), "SyntaxError"),
        Case(file(f"x-memory/{FILE}", text(clean_draw="hog = b'x' * 10**11")), "x-memory", (R, R, Q),
             "MemoryError"),
        Case(file(f"y-cut/{FILE}", text()[:400]), "y-cut", (A, A, A), "not a notebook"),
        Case(zipped("z-slip.zip", **{"../../anna/01_small.ipynb": text()}), "z-slip", (A, A, A),
             "which leads out of it"),
        Case(zipped("zz-bomb.zip", **{FILE: text(), "zeros": bytes(600_000_000)}), "zz-bomb", (A, A, A),
             "unpacks to 600,"),
        Case(file("zz-essay/essay.pdf", b"%PDF"), "zz-essay", (A, A, A), "no notebook, but essay.pdf"),
        Case(file(f"zz-spy/{FILE}", text(RIGHT | {"clean_draw": "..."}, SPY.format(folder=str(folder)),
             positive_pairs=NETWORK, clean_draw="answer = ...\ncheck('clean_draw', answer)\n" + FORGED
             + "\nraise SystemExit")), "zz-spy", (Q, R, R),
             "mentions HPKIT_CHECKED: look at it"),
    ]


def make(folder: Path) -> tuple[Path, Path, list[Case]]:
    """The folder of hand-ins, the chapter as it was given out, and what is expected."""
    given, handed_in = folder / "given" / FILE, folder / "handed_in"
    file(FILE, text(OPEN))(given.parent)
    handed_in.mkdir()
    every = cases(handed_in)
    for case in every:
        case.make(handed_in)
    return handed_in, given, every


if __name__ == "__main__":
    where = Path(sys.argv[1])
    made = make(where)
    told = {case.student: [case.marks, case.problem] for case in made[2]}
    print(json.dumps(told, indent=1, ensure_ascii=False))
