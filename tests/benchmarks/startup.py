"""Seconds until one can begin: `import hpkit`, the embedded set, and with --book the whole book.

python tests/benchmarks/startup.py [--rounds 5] [--book]

`import hpkit` is timed inside a fresh Python. The embedded set is opened where it has been built
before. --book runs all notebooks from nothing (data and runs in an empty folder), and again with
the runs in the store: twenty minutes on two cores, so `make benchmark` leaves it out.
"""

import os
import subprocess
import sys
import tempfile
import time

import measure
import pandas as pd

FRESH = "import time; t = time.perf_counter(); {}; print(time.perf_counter() - t)"
STEPS = {"import hpkit": "import hpkit",
         "import hpkit.patches": "import hpkit.patches",
         "import hpkit.training (torch)": "import hpkit.training",
         "open the embedded set": "from hpkit.patches import load; t = time.perf_counter(); "
                                  "load('photos')",
         "and read all of one source": "from hpkit.patches import load; t = time.perf_counter(); "
                                       "load('photos').train['clean']"}


def fresh(code: str) -> float:
    """Seconds of this code in a Python of its own."""
    command = [sys.executable, "-c", FRESH.format(code)]
    return float(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout)


def book() -> pd.DataFrame:
    """Minutes of the whole book from nothing, and again when its runs are kept."""
    minutes = {}
    with tempfile.TemporaryDirectory(prefix="hpkit-book-") as folder:
        kept = {"HPKIT_CACHE": f"{folder}/cache", "HPKIT_DATA": "", "HPKIT_RUNS": f"{folder}/runs"}
        for name in ("from nothing", "with its runs in the store"):
            command = [sys.executable, "-m", "hpkit.book", "--out", f"{folder}/{name[:4]}"]
            started = time.perf_counter()
            subprocess.run(command, cwd=measure.HERE.parents[1], env=os.environ | kept, check=True)
            minutes[name] = (time.perf_counter() - started) / 60
    return pd.DataFrame({"minutes": minutes})


def main() -> None:
    chosen = measure.options(__doc__, rounds={"type": int, "default": 5},
                             book={"action": "store_true", "help": "the whole book, too"})
    arms = {name: lambda code=code: fresh(code) for name, code in STEPS.items()}
    measure.take_turns(arms, 1)  # reads the files
    rounds = measure.take_turns(arms, chosen.rounds)
    tables = {"seconds": measure.compare(rounds)[["median", "least", "most"]]}
    if chosen.book:
        tables["the book"] = book()
    measure.report(chosen.out, "startup", tables)


if __name__ == "__main__":
    main()
