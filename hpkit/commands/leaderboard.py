"""`hpkit leaderboard`: score the descriptors of a class on patches they do not have.

FOLDER holds a folder or a zip of each student, also as Moodle and Canvas name them. In
it lies one of two things: weights of an L2Net as .safetensors (with the config.json of
a kept run beside them, if it is not the plain one), or descriptor.py with a function
describe(patches), uint8 (n, 32, 32) to float (n, d). The function runs behind the fence
that `hpkit marks` uses. FOLDER-board gets leaderboard.csv and leaderboard.md.

examples:
  hpkit leaderboard handed_in                    on the embedded test photos
  hpkit leaderboard all.zip --data my_patches    on patches that nobody has
"""

from pathlib import Path

import pandas as pd

from hpkit.book import fence
from hpkit.book.invigilate import Limits
from hpkit.book.leaderboard import Exam, board, score_class
from hpkit.book.marksheet import csv
from hpkit.commands import parser
from hpkit.data.sets import load
from hpkit.files import write_whole


def main(argv: list[str]) -> int:
    """0 where there is a board, whatever is on it."""
    made = parser(__doc__)
    add = made.add_argument
    add("folder", type=Path, metavar="FOLDER", help="a folder or zip of hand-ins")
    data = "whose test patches are described (default: photos, which students have)"
    add("--data", default="photos", help=data)
    add("--points", type=int, default=50, help="of each test sequence (default: 50)")
    sources = {"choices": ("noisy", "clean"), "default": "noisy"}
    add("--source", help="which patches (default: noisy)", **sources)
    add("--out", type=Path, metavar="DIR", help="default: FOLDER-board, beside it")
    seconds = "for each hand-in (default: 300)"
    add("--timeout", type=float, default=300, metavar="SECONDS", help=seconds)
    gigabytes = "for each hand-in, on Linux (default: 4)"
    add("--memory", type=float, default=4, metavar="GB", help=gigabytes)
    given = made.parse_args(argv)
    folder = given.folder.resolve()
    if not folder.exists():
        raise ValueError(f"{given.folder}: not found, expected a folder of hand-ins")
    out = given.out or folder.parent / f"{folder.name.removesuffix('.zip')}-board"
    exam = Exam(load(given.data, points=given.points).test, given.source)
    limits = Limits(given.timeout, given.timeout, given.memory)
    table = board(score_class(folder, exam, limits, [out.resolve()]))
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / "leaderboard.csv", csv(table))
    write_whole(out / "leaderboard.md", _page(table).encode("utf-8", "replace"))
    scored = _shown(table).dropna(subset="rank").drop(columns=["what", "problem"])
    print(f"\n{scored.to_string(index=False)}")
    if missing := fence.missing():
        print(f"Functions ran without a fence: {missing}.")
    print(out / "leaderboard.md")
    return 0


def _shown(table: pd.DataFrame) -> pd.DataFrame:
    """The table as people read it."""
    numbers = ["matching", "low", "high", "verification", "retrieval"]
    return table.assign(
        **{name: table[name].round(3) for name in numbers if name in table}
    )


def _page(table: pd.DataFrame) -> str:
    """The table as Markdown; a bar in a student's text would end its cell."""
    shown = _shown(table).astype(object).where(table.notna(), "")
    lines = [
        "# Leaderboard",
        "",
        f"| {' | '.join(shown)} |",
        "|---" * shown.shape[1] + "|",
    ]
    for row in shown.itertuples(index=False):
        cells = (str(value).replace("|", "¦").replace("\n", " ") for value in row)
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "*low* and *high* are the ends of the 95 % interval over the test sequences. "
        "*level*: the lead of the first over this one may be nothing.",
    ]
    return "\n".join(lines) + "\n"
