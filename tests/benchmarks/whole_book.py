"""Seconds of each chapter, from nothing and again: how long the whole book takes.

python tests/benchmarks/whole_book.py

All notebooks run with data and runs in an empty folder, then once more with the runs in the store,
two at a time as `make run` does it: the seconds of a chapter are those of half the cores. Ten
minutes on two cores, so `make benchmark` leaves it out. No other process should run.
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


def book() -> pd.DataFrame:
    """Seconds of each chapter from nothing, and again when its runs are kept; and of all."""
    columns = {}
    with tempfile.TemporaryDirectory(prefix="hpkit-book-") as folder:
        kept = {"HPKIT_CACHE": f"{folder}/cache", "HPKIT_DATA": "", "HPKIT_RUNS": f"{folder}/runs"}
        for name in ("from nothing", "with its runs in the store"):
            command = [sys.executable, "-m", "hpkit", "book", "--out", f"{folder}/{name[:4]}"]
            started = time.perf_counter()
            subprocess.run(command, cwd=measure.HERE.parents[1], env=os.environ | kept, check=True)
            spent = {path.stem: nbformat.read(path, 4).metadata.hpkit["seconds"]
                     for path in sorted(Path(command[-1]).glob("notebooks/*.ipynb"))}
            columns[name] = spent | {"the whole book": time.perf_counter() - started}
    return pd.DataFrame(columns)


if __name__ == "__main__":
    measure.report(measure.options(__doc__).out, "whole_book", {"seconds": book()})
