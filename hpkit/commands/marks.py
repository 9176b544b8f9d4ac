"""`hpkit marks`: run what students hand in, and tell who solved what.

FOLDER/marks.csv gets a row per student, notebook and exercise: right, wrong, or not
attempted. The executed notebooks are in FOLDER/run.

example:
  hpkit marks handed_in          with handed_in/anna/01_patches.ipynb and so on
"""

from pathlib import Path

from hpkit.book.classroom import hand_in
from hpkit.commands import parser


def main(argv: list[str]) -> int:
    """0 where there is a table, whatever the marks."""
    made = parser(__doc__)
    notebooks = "with STUDENT/*.ipynb in it"
    made.add_argument("folder", type=Path, metavar="FOLDER", help=notebooks)
    folder = made.parse_args(argv).folder
    table = hand_in(folder)
    table.to_csv(folder / "marks.csv", index=False)
    signs = table.pivot_table(
        "mark", ["notebook", "exercise"], "student", "last", sort=False
    )
    print(f"{signs.fillna('').to_string()}\n{folder / 'marks.csv'}")
    return 0
