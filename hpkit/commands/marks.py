"""`hpkit marks`: run what students hand in, and tell who solved what.

FOLDER holds a folder, a zip or a notebook of each student, also as Moodle and Canvas
name them; it may be a zip itself. Each notebook runs on a copy, behind a fence where
the system has one. FOLDER-marks gets marks.csv, grades.csv, report.md and the executed
notebooks. A second call runs only what is new or changed.

examples:
  hpkit marks handed_in                  with handed_in/anna/01_patches.ipynb and so on
  hpkit marks all.zip 01_patches         of chapter 01 alone
"""

import signal
import sys
from pathlib import Path

from hpkit.book import marksheet
from hpkit.book.invigilate import Limits
from hpkit.book.marking import mark
from hpkit.book.run import cores
from hpkit.commands import parser


def main(argv: list[str]) -> int:
    """0 where there are marks, whatever they are."""
    made = parser(__doc__)
    add = made.add_argument
    add("folder", type=Path, metavar="FOLDER", help="a folder or zip of hand-ins")
    chapters = "what was given out, by name or path (default: all that comes back)"
    add("notebooks", nargs="*", metavar="NOTEBOOK", help=chapters)
    add("--out", type=Path, metavar="DIR", help="default: FOLDER-marks, beside it")
    seconds = "for a cell (default: 3 times the chapter's slowest, 60 at least)"
    add("--timeout", type=float, default=0, metavar="SECONDS", help=seconds)
    gigabytes = "for each process, on Linux (default: 4)"
    add("--memory", type=float, default=4, metavar="GB", help=gigabytes)
    jobs = {"type": int, "default": max(1, cores() // 2), "choices": range(1, 65)}
    add(
        "--jobs", metavar="N", help="how many at once (default: half the cores)", **jobs
    )
    given = made.parse_args(argv)
    folder = given.folder.resolve()
    out = given.out or folder.parent / f"{folder.name.removesuffix('.zip')}-marks"
    limits = Limits(given.timeout, 0, given.memory)
    stop_alike()
    try:
        found = mark(given.folder, out.resolve(), given.notebooks, limits, given.jobs)
    except KeyboardInterrupt:
        print("\nstopped: the same command goes on with the rest", file=sys.stderr)
        return 130
    files = marksheet.write(found, out.resolve())
    print(f"\n{marksheet.signs(found)}\n{marksheet.fence_told(found)}")
    print("\n".join(str(path) for path in files))
    return 0


def stop_alike() -> None:
    """Let SIGTERM and a closed terminal stop it as Ctrl-C does.

    Jobs in the background would ignore Ctrl-C's signal.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("SIGTERM", "SIGHUP"):  # Windows has no SIGHUP, and nohup ignores it
        number = getattr(signal, name, None)
        if number and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))
