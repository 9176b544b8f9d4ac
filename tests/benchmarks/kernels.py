"""Many kernels at once, as on a JupyterHub: memory of each, seconds to the first figure, fairness.

python tests/benchmarks/kernels.py [--kernels 6] [--chapter 00_first_match]

First a kernel alone, then all at the same moment, with a thread each. Each runs a chapter's cells
up to its first figure, then trains a small network of its own. They share the data, and nothing
else. A kernel's own memory is what no other process can share with it; the libraries, which it
shares, are in the rest. Seconds are only worth something where nothing else runs: the load before
the start is noted.
"""

import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import measure
import nbformat
import pandas as pd
from jupyter_client import BlockingKernelClient, KernelManager

from hpkit.data.photos import photos_folder

LONGEST = 1800  # seconds for a step of one kernel
TRAINING = """
from hpkit import run
from hpkit.experiments.configs import DenoiserConfig
run(DenoiserConfig(epochs=1, samples=1000, validation_samples=100, test_points=10))
"""
NOTE = "\nprint(open('/proc/self/smaps_rollup').read(), open('/proc/self/status').read())"


def first_cells(chapter: str) -> list[str]:
    """The code of a chapter up to the cell that drew its first figure."""
    notebook = nbformat.read(measure.HERE.parents[1] / "notebooks" / f"{chapter}.ipynb", 4)
    cells = []
    for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
        cells.append(cell.source)
        if any("image/png" in output.get("data", {}) for output in cell.outputs):
            return cells
    raise SystemExit(f"{chapter}: has no figure; execute it first")


def said_by(client: BlockingKernelClient, code: str) -> str:
    """What a cell prints; RuntimeError where it fails."""
    said = []

    def listen(message: dict) -> None:
        said.append(message["content"].get("text", ""))

    reply = client.execute_interactive(code, timeout=LONGEST, output_hook=listen)
    if reply["content"]["status"] != "ok":
        raise RuntimeError(f"{reply['content'].get('evalue')}, in {code[:200]}")
    return "".join(said)


def megabytes(said: str) -> dict[str, float]:
    """What a process has for itself, all that it holds, and its peak, as Linux says it."""
    names = {"Pss_Anon": "own", "Rss": "all", "VmHWM": "peak"}
    rows = (line.split() for line in said.splitlines() if line.rstrip().endswith("kB"))
    return {names[row[0][:-1]]: int(row[1]) / 1e3 for row in rows if row[0][:-1] in names}


def one_kernel(number: int, cells: list[str], folder: Path, threads: int) -> dict[str, float]:
    """Start a kernel, see its first figure, train; seconds are since the start."""
    own = {"HPKIT_CACHE": str(folder / str(number)), "HPKIT_RUNS": "",
           "HPKIT_DATA": str(photos_folder().parent), "OMP_NUM_THREADS": str(threads)}
    manager, started = KernelManager(), time.perf_counter()
    manager.start_kernel(env=os.environ | own, cwd=str(measure.HERE.parents[1] / "notebooks"))
    client = manager.blocking_client()
    try:
        client.start_channels()
        client.wait_for_ready(timeout=LONGEST)
        for cell in cells:
            said_by(client, cell)
        figure = time.perf_counter() - started
        seen = megabytes(said_by(client, NOTE))
        said_by(client, TRAINING)
        ended = time.perf_counter() - started
        trained = megabytes(said_by(client, NOTE))
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    return {"first figure, s": figure, "training, s": ended - figure,
            "own at the figure, MB": seen["own"], "own after training, MB": trained["own"],
            "with libraries, MB": trained["all"], "peak, MB": trained["peak"]}


def at_once(kernels: int, chapter: str, threads: int) -> pd.DataFrame:
    """A row for each kernel."""
    cells = first_cells(chapter)
    with tempfile.TemporaryDirectory(prefix="hpkit-kernels-") as folder:
        one = partial(one_kernel, cells=cells, folder=Path(folder), threads=threads)
        with ThreadPoolExecutor(kernels) as pool:
            return pd.DataFrame(pool.map(one, range(kernels)))


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Of each column the median, the ends, and how unequal the kernels are."""
    ends = rows.agg(["median", "min", "max"]).T
    return ends.assign(**{"max over min": ends["max"] / ends["min"]})


def main() -> None:
    if sys.platform != "linux":
        raise SystemExit("kernels.py: only Linux tells a process's share of memory")
    chosen = measure.options(__doc__, kernels={"type": int, "default": 6},
                             chapter={"default": "00_first_match"})
    load = pd.DataFrame({"load average": [os.getloadavg()[0]]}, ["before the start"])
    alone = at_once(1, chosen.chapter, 1)
    rows = at_once(chosen.kernels, chosen.chapter, 1)
    measure.report(chosen.out, "kernels", {
        "load": load, "one kernel alone": summary(alone),
        f"{chosen.kernels} kernels at once": summary(rows), "kernels": rows})


if __name__ == "__main__":
    main()
