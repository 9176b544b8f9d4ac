"""`hpkit class`: pack the notebooks for students, without solutions and outputs.

DIR/hpkit-class.zip holds the notebooks, hpkit and a README. An exercise still checks
its answer and gives hints; the texts that tell what came out are gone.

example:
  hpkit class dist
"""

from pathlib import Path

from hpkit.book.classroom import pack_for_students
from hpkit.commands import parser
from hpkit.files import repository_folder


def main(argv: list[str]) -> int:
    """0 where the zip was written."""
    made = parser(__doc__)
    into = {"nargs": "?", "default": Path("dist"), "metavar": "DIR"}
    made.add_argument("to", type=Path, help="where to write it (default: dist)", **into)
    given = made.parse_args(argv)
    packed = pack_for_students(repository_folder(), given.to)
    print(
        f"{packed}: its README says how to install it; on Colab, the first cell of a "
        "notebook does"
    )
    return 0
