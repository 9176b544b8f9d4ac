"""`hpkit book`: run the notebooks without a browser, and make their site.

Each runs in its own process, two at a time. A cell that takes too long ends its
notebook. A finished run is kept, a failed one stops nothing, and a stopped book goes on
where it was.

examples:
  hpkit book                                   the whole book, into _book
  hpkit book 02_denoiser 03_descriptor -p epochs 10 -p points 200
  hpkit book -f notebooks/reference.yaml --out _reference --timeout 7200
"""

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from hpkit.book.executed import NOTEBOOKS, beside, find_notebooks
from hpkit.book.parameters import assign, placed, read_values
from hpkit.book.run import run, summary
from hpkit.commands import parser


def arguments(argv: list[str]) -> argparse.Namespace:
    """What the command line says."""
    made = parser(__doc__)
    add = made.add_argument
    add("notebooks", nargs="*", metavar="NOTEBOOK", help="path or name (default: all)")
    add("-f", metavar="FILE", help="YAML file with parameters, name: value")
    values = {"nargs": 2, "action": "append", "default": []}
    add("-p", metavar=("NAME", "VALUE"), help="a parameter", **values)
    add("--out", type=Path, default=Path("_book"), metavar="DIR", help="default: _book")
    jobs = {"type": int, "default": 2, "choices": range(1, 17), "metavar": "N"}
    add("--jobs", help="how many at once (default: 2)", **jobs)
    limit = {"type": float, "default": 600, "metavar": "SECONDS"}
    add("--timeout", help="per cell (default: 600)", **limit)
    add("--no-site", action="store_true", help="only run the notebooks")
    return made.parse_args(argv)


def main(argv: list[str]) -> int:
    """0 if all went well, 1 if a notebook failed."""
    given = arguments(argv)
    notebooks = find_notebooks(given.notebooks)
    values = placed(read_values(given.p, given.f))
    of_file = set(values) - {name for name, _ in given.p}
    every = sorted(NOTEBOOKS.glob("*.ipynb"))
    parameters = assign(notebooks, values, of_file, every)
    out = given.out.resolve()
    # SIGTERM stops it as Ctrl-C does, which jobs in the background would ignore.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        results = asyncio.run(
            run(notebooks, parameters, out, given.timeout, given.jobs)
        )
        summary(results)
        if not given.no_site:
            from hpkit.book.site import build  # Sphinx takes seconds to import

            print(f"open {build(beside(results, every, out), out)}")
    except KeyboardInterrupt:
        print(
            "\nstopped: the same command goes on with what is not finished",
            file=sys.stderr,
        )
        return 130
    return int(any(result.status == "failed" for result in results))
