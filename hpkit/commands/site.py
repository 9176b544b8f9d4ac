"""`hpkit site`: make the site of the notebooks as they are, without running them.

For its page that runs the network, onnxruntime-web is downloaded once, 33 MB. Without a
network, the site is made without that page.

example:
  hpkit site --out build/book            its first page: build/book/html/index.html
"""

from pathlib import Path

from hpkit.book.executed import collect, find_notebooks
from hpkit.commands import parser


def main(argv: list[str]) -> int:
    """0 where the site was made."""
    made = parser(__doc__)
    add = made.add_argument
    add("notebooks", nargs="*", metavar="NOTEBOOK", help="path or name (default: all)")
    add("--out", type=Path, default=Path("_book"), metavar="DIR", help="default: _book")
    given = made.parse_args(argv)
    from hpkit.book.site import build  # Sphinx takes seconds to import

    out = given.out.resolve()
    print(f"open {build(collect(find_notebooks(given.notebooks), out), out)}")
    return 0
