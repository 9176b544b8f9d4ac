"""`hpkit download`: fetch HPatches, or its official task files.

What was fetched is kept, whatever happens: the same command goes on.

examples:
  hpkit download hpatches                      the sequences of split a, 4.2 GB
  hpkit download hpatches --sequences i_ajuntament v_bird
  hpkit download tasks --split b --to tasks
"""

import argparse
import sys
from pathlib import Path

from hpkit.commands import parser
from hpkit.data.hpatches import NAME, fetch, fetch_official, hpatches_folder
from hpkit.data.sets import read_sequences
from hpkit.data.splits import read_split
from hpkit.data.tasks import FILES, OFFICIAL, tasks_for, warn_unofficial


def main(argv: list[str]) -> int:
    """0 where everything is there."""
    made = parser(__doc__)
    add = made.add_argument
    add("what", choices=("hpatches", "tasks"))
    add("--to", type=Path, metavar="DIR", help="default: hpatches in HPKIT_DATA")
    add("--split", default="a", help="a, b, c, illum, view, full (default: a)")
    add("--sequences", nargs="+", metavar="NAME", help="only these")
    add("--whole", action="store_true", help="the archive in one piece, which is kept")
    delete = "once its sequences are converted"
    add("--delete-archive", action="store_true", help=delete)
    given = made.parse_args(argv)
    try:
        {"hpatches": _fetch_hpatches, "tasks": _fetch_tasks}[given.what](given)
    except KeyboardInterrupt:
        print("\nstopped: the same command goes on", file=sys.stderr)
        return 130
    return 0


def _fetch_hpatches(given: argparse.Namespace) -> None:
    folder = hpatches_folder(given.to)
    sides = read_split(folder, given.split)
    names = given.sequences or [name for names in sides.values() for name in names]
    fetch(names, folder, whole=given.whole)
    if given.delete_archive:
        (folder / NAME).unlink(missing_ok=True)
    print(f"{folder}: {len(names)} sequences are there")
    if set(sides["test"]) <= set(names):
        print(f"making the official tasks of split {given.split} (a minute or two)")
        tasks = tasks_for(read_sequences(folder, sides["test"]), **OFFICIAL)
        if not warn_unofficial(tasks, given.split):
            print("they are the published ones, byte for byte")


def _fetch_tasks(given: argparse.Namespace) -> None:
    if given.to is None:
        raise ValueError("tasks: expected --to FOLDER")
    fetch_official("splits/splits.json", given.to / "splits.json")
    for stem in FILES.values():
        name = f"{stem}_split-{given.split}.csv"
        fetch_official(name, given.to / name)
    print(f"{given.to}: the official tasks of split {given.split} are there")
