"""`hpkit clean`: delete what hpkit keeps: runs, made and converted patches.

It tells what it would delete, and how much that is, and asks. Files of your own in the
same folders stay, and so do HPatches and your progress.

example:
  hpkit clean --yes                      without a question
"""

from collections import Counter

from hpkit.commands import parser
from hpkit.experiments.cleaning import delete, kept, size
from hpkit.experiments.store import store_folder
from hpkit.files import cache_folder


def main(argv: list[str]) -> int:
    """0 where all is deleted, or nothing was there; 1 where the answer was no."""
    made = parser(__doc__)
    made.add_argument("--yes", action="store_true", help="do not ask")
    given = made.parse_args(argv)
    found = kept()
    folders = dict.fromkeys([cache_folder(), store_folder()])
    if not found:
        print(f"nothing of hpkit's in {' or '.join(map(str, folders))}")
        return 0
    print(f"hpkit made these, {sum(map(size, found)) / 1e6:.1f} MB:")
    for folder, number in Counter(path.parent for path in found).items():
        print(f"  {number} in {folder}")
    if not given.yes and not agreed():
        print("nothing was deleted")
        return 1
    delete(found)
    print("deleted; what is needed is made anew")
    return 0


def agreed() -> bool:
    """Whether the reader says yes; no answer at all is a no."""
    try:
        return input("Delete them? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False
