"""`hpkit colab`: pack the notebooks for Colab, or renew their first cells and badges.

Without --zip it renews the first cell and the badges of all notebooks, and the README's
badges.

examples:
  hpkit colab --zip dist                       dist/hpkit-colab.zip
  hpkit colab --repo owner/name                write the project's address everywhere
"""

from pathlib import Path

from hpkit.book.colab import pack, prepare, set_address
from hpkit.commands import parser
from hpkit.files import repository_folder


def main(argv: list[str]) -> int:
    """0 where all of it was written."""
    made = parser(__doc__)
    add = made.add_argument
    add("--repo", metavar="OWNER/NAME", help="the project's address on GitHub")
    add("--zip", type=Path, metavar="DIR", help="pack hpkit-colab.zip there")
    given = made.parse_args(argv)
    root = repository_folder()
    if given.repo:
        set_address(root, given.repo)
    if given.repo or not given.zip:
        prepare(root)
    if given.zip:
        packed = pack(root, given.zip)
        print(f"{packed}: upload it to Colab, and one of the notebooks in it")
    return 0
