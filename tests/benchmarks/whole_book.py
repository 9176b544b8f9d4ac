"""Seconds of each chapter, from nothing and again: how long the whole book takes.

python tests/benchmarks/whole_book.py

All notebooks run with data and runs in an empty folder, then once more with the runs in the store,
two at a time as `make run` does it: the seconds of a chapter are those of half the cores. Ten
minutes on two cores, so `make benchmark` leaves it out. No other process should run. A processor
that does not multiply bfloat16 takes longer, and has a file of its own.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import measure
import nbformat
import pandas as pd

PASSES = ("from nothing", "with its runs in the store")
NAMES = {"bfloat16": "whole_book", "float32": "whole_book_float32"}


def book(folder: Path, passes: tuple[str, ...] = PASSES) -> pd.DataFrame:
    """Seconds of each chapter from nothing, and again when its runs are kept; and of all."""
    columns = {}
    kept = {"HPKIT_CACHE": f"{folder}/cache", "HPKIT_DATA": "", "HPKIT_RUNS": f"{folder}/runs"}
    for name in passes:
        command = [sys.executable, "-m", "hpkit", "book", "--out", f"{folder}/{name[:4]}"]
        started = time.perf_counter()
        subprocess.run(command, env=os.environ | kept, check=True)
        spent = {path.stem: nbformat.read(path, 4).metadata.hpkit["seconds"]
                 for path in sorted(Path(command[-1]).glob("notebooks/*.ipynb"))}
        columns[name] = spent | {"the whole book": time.perf_counter() - started}
    return pd.DataFrame(columns)


if __name__ == "__main__":
    once = {"action": "store_true", "help": "only from nothing"}
    keep = {"type": Path, "metavar": "FOLDER", "help": "an empty one, to leave the books in"}
    given = measure.options(__doc__, once=once, keep=keep)
    if given.keep and given.keep.exists() and any(given.keep.iterdir()):
        raise SystemExit(f"{given.keep}: has files in it, expected an empty folder")
    with tempfile.TemporaryDirectory(prefix="hpkit-book-") as scratch:
        found = book((given.keep or Path(scratch)).resolve(), PASSES[:1] if given.once else PASSES)
    measure.report(given.out, NAMES[measure.machine()["precision"]], {"seconds": found})
