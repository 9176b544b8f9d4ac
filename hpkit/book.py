"""The book: runs the notebooks without a browser and makes a site of them.

`python -m hpkit.book [NOTEBOOK ...] [-f FILE] [-p NAME VALUE] [--out DIR]`. Each notebook runs in
its own process under a time limit, two at a time; a finished run is kept; a failed one stops
nothing. At the end `hpkit.site` makes the pages.
"""

import argparse
import asyncio
import hashlib
import os
import signal
import sys
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import NamedTuple

import nbformat
import yaml

from hpkit.archives import short_digest
from hpkit.parameters import assign, read_values

PACKAGE = Path(__file__).parent
UNUSED = ("book.py", "parameters.py", "site.py")  # no notebook's output depends on them
NOTEBOOKS = PACKAGE.parent / "notebooks"
# Two kernels that start at the same moment can take the same port (known to papermill).
PORT_RACE = "Kernel died before replying to kernel_info"


class Result(NamedTuple):
    """What became of a notebook; `status` is "ran", "kept" (from an earlier run) or "failed"."""

    name: str
    seconds: float
    status: str
    error: str = ""


def find_notebooks(names: list[str]) -> list[Path]:
    """Notebooks by path, or by bare name in `notebooks/`; all that are there if none is named."""
    every = sorted(NOTEBOOKS.glob("*.ipynb")) or [NOTEBOOKS / "*.ipynb"]
    found = [Path(name) for name in names] or every
    found = [p if p.suffix == ".ipynb" else NOTEBOOKS / f"{p.name}.ipynb" for p in found]
    if missing := [path for path in found if not path.is_file()]:
        raise FileNotFoundError(f"{missing[0]}: no such notebook")
    if len({path.stem for path in found}) < len(found):
        raise ValueError("two notebooks of one name: their outputs would overwrite each other")
    return found


def digest(notebook: nbformat.NotebookNode, parameters: dict[str, object] | None = None) -> str:
    """SHA-256 of what decides what a run gives: cells, parameters, package, recorded results."""
    cells = [[c.cell_type, c.source, c.metadata.get("tags")] for c in notebook.cells]
    sha = hashlib.sha256(repr([cells, sorted((parameters or {}).items())]).encode())
    used = PACKAGE.iterdir(), PACKAGE.glob("weights/*"), (NOTEBOOKS / "results").glob("*.csv")
    for path in (path for folder in used for path in sorted(folder)):
        if path.suffix in (".py", ".csv", ".gz", ".json") and path.name not in UNUSED:
            sha.update(path.name.encode() + path.read_bytes().replace(b"\r\n", b"\n"))
    return sha.hexdigest()


async def papermill(source: Path, target: Path, parameters: dict[str, object], timeout: float,
                    limits: dict[str, str]) -> str:
    """Run a notebook in a process of its own, `timeout` in seconds; "" or what went wrong.

    limits: environment variables, where the environment does not set them already.
    """
    command = [sys.executable, "-m", "papermill", str(source), str(target), "-k", "python3"]
    command += ["--no-progress-bar", "--cwd", str(source.parent), "-y", yaml.safe_dump(parameters)]
    with tempfile.TemporaryFile("w+", errors="replace") as said:  # no pipe: kernels keep it open
        child = await asyncio.create_subprocess_exec(*command, stderr=said, env=limits | os.environ)
        try:
            await asyncio.wait_for(child.wait(), timeout)
        except TimeoutError:
            return f"stopped after {timeout:g} s"
        finally:  # also where the book is stopped
            if child.returncode is None:
                await end(child)
        said.seek(0)
        return (said.read().strip() or "papermill failed") if child.returncode else ""


async def end(process: asyncio.subprocess.Process) -> None:
    """Have papermill end its kernel; kill it after 20 s, or at a second Ctrl-C."""
    try:  # SIGTERM ends papermill before it has ended its kernel; Windows has nothing else to send
        process.send_signal(signal.SIGINT if os.name == "posix" else signal.SIGTERM)
        await asyncio.wait([asyncio.create_task(process.wait())], timeout=20)
    finally:
        if process.returncode is None:
            process.kill()  # its kernel ends within a second, unless a cell is busy outside Python
            await process.wait()


def failure(notebook: Path, said: str) -> str:
    """The source's last cell that began, and its error or the last line of what was said."""
    last = said.splitlines()[-1]
    try:
        cells = nbformat.read(notebook, 4).cells
    except Exception:  # not there yet, or cut while it was written
        return last
    added = {"papermill-error-cell-tag", "injected-parameters"}
    own = enumerate((c for c in cells if not added & set(c.metadata.get("tags", []))), 1)
    begun = [(n, c) for n, c in own if c.metadata.get("papermill", {}).get("start_time")]
    for number, cell in begun[-1:]:
        for error in (o for o in cell.get("outputs", []) if o.output_type == "error"):
            if error.ename != "KeyboardInterrupt":  # which comes of `end`
                last = f"{error.ename}: {(error.evalue.splitlines() or [''])[-1]}"
        return f"cell {number} ({(cell.source.splitlines() or [''])[0]}): {last}"
    return last


async def execute(source: Path, out: Path, parameters: dict[str, object], timeout: float,
                  limits: dict[str, str]) -> Result:
    """Run one notebook into `out/notebooks`, unless the same run is finished there already."""
    target, lost = out / "notebooks" / source.name, out / "unfinished" / source.name
    part = lost.with_name(f"{source.stem}.{os.getpid()}.ipynb")  # of this process alone
    stamp = digest(nbformat.read(source, 4), parameters)
    if (seconds := kept(target, stamp)) is not None:
        return Result(source.stem, seconds, "kept")
    for path in (target, lost):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
    start = time.perf_counter()
    try:
        said = await papermill(source, part, parameters, timeout, limits)
        if PORT_RACE in said:
            said = await papermill(source, part, parameters, timeout, limits)
        seconds = round(time.perf_counter() - start, 1)
        if said:
            if part.exists():
                os.replace(part, lost)  # to look at
            return Result(source.stem, seconds, "failed", failure(lost, said))
        notebook = nbformat.read(part, 4)
        notebook.metadata.hpkit = record(notebook, stamp, seconds)
        nbformat.write(notebook, part)
        os.replace(part, target)  # only whole runs are ever found there
        return Result(source.stem, seconds, "ran")
    finally:  # what a stopped book leaves is no use to anyone
        part.unlink(missing_ok=True)


def kept(target: Path, stamp: str) -> float | None:
    """How long the same run took, where it is there and nothing in its cells has changed."""
    try:
        notebook = nbformat.read(target, 4)
        found = notebook.metadata.hpkit
        return found.seconds if found == record(notebook, stamp, found.seconds) else None
    except Exception:  # none there, or a damaged one: it is run again
        return None


def record(notebook: nbformat.NotebookNode, stamp: str, seconds: float) -> dict[str, object]:
    """What an executed notebook says of its run, with a checksum of it and of the cells."""
    cells = [{key: value for key, value in cell.items() if key != "id"} for cell in notebook.cells]
    return {"digest": stamp, "seconds": seconds, "sum": short_digest([stamp, seconds, cells])}


async def run(notebooks: list[Path], parameters: list[dict[str, object]], out: Path,
              timeout: float, jobs: int = 2) -> list[Result]:
    """Execute the notebooks, `jobs` at a time, begun in order; a printed line as each ends."""
    jobs = min(jobs, len(notebooks))
    print(f"notebooks: {len(notebooks)}, {jobs} at a time", flush=True)
    free, number = asyncio.Semaphore(jobs), count(1)
    # Two notebooks with a thread per core each took over ten times as long as one alone.
    limits = {"OMP_NUM_THREADS": str(max(1, cores() // jobs))} if jobs > 1 else {}

    async def one(notebook: Path, values: dict[str, object]) -> Result:
        async with free:
            try:
                result = await execute(notebook, out, values, timeout, limits)
            except Exception as error:  # a full disk, say: the other notebooks go on
                result = Result(notebook.stem, 0.0, "failed", f"{type(error).__name__}: {error}")
        print(f"[{next(number)}/{len(notebooks)}] {result.name} ... {result.seconds:.1f} s, "
              f"{result.status}", flush=True)
        return result

    async with asyncio.TaskGroup() as group:  # stopped, it waits until all have ended their kernel
        tasks = [group.create_task(one(*each)) for each in zip(notebooks, parameters, strict=True)]
    return [task.result() for task in tasks]


def cores() -> int:
    """How many this process may use: fewer than there are, where a scheduler says so."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def summary(results: list[Result]) -> None:
    """Print the run times, the longest first, and what failed."""
    print("\nrun times")
    for result in sorted(results, key=lambda result: -result.seconds):
        print(f"{result.seconds:8.1f} s  {result.name}  ({result.status})")
    for result in (result for result in results if result.status == "failed"):
        print(f"{result.name} failed: {result.error}", file=sys.stderr)


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(prog="python -m hpkit.book", description="Run the book.")
    add = parser.add_argument
    add("notebooks", nargs="*", metavar="NOTEBOOK", help="path or name (default: all)")
    add("-f", metavar="FILE", help="YAML file with parameters, name: value")
    add("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="a parameter")
    add("--out", type=Path, default=Path("_book"), metavar="DIR", help="default: _book")
    add("--jobs", type=int, default=2, choices=range(1, 17), metavar="N", help="how many at once")
    add("--timeout", type=float, default=600, metavar="SECONDS", help="per notebook (default: 600)")
    only = parser.add_mutually_exclusive_group().add_argument
    only("--no-run", action="store_true", help="only make the site, of notebooks as they are")
    only("--no-site", action="store_true", help="only run the notebooks")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the book: 0 if all went well, 1 if a notebook failed, 2 if the request makes no sense."""
    given = arguments(argv)
    try:
        notebooks = find_notebooks(given.notebooks)
        values = read_values(given.p, given.f)
        of_file = set(values) - {name for name, _ in given.p}
        parameters = assign(notebooks, values, of_file, sorted(NOTEBOOKS.glob("*.ipynb")))
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    out, results = given.out.resolve(), []
    try:
        if not given.no_run:
            results = asyncio.run(run(notebooks, parameters, out, given.timeout, given.jobs))
            summary(results)
        if not given.no_site:
            from hpkit.site import build, collect  # Sphinx takes seconds to import

            print(f"open {build(results or collect(notebooks, out), out)}")
    except KeyboardInterrupt:
        print("\nstopped: the same command goes on with what is not finished", file=sys.stderr)
        return 130
    return int(any(result.status == "failed" for result in results))


if __name__ == "__main__":
    # SIGTERM stops it as Ctrl-C does, which jobs in the background would ignore without this.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    sys.exit(main())
