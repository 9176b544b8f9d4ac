"""Notebooks run without a browser: each in a process of its own.

Each of its cells has a time limit, so that a slow machine needs no other than a fast
one, and what takes long is told now and then. A finished run is kept, and a failed one
stops nothing. A stopped book goes on where it was.
"""

import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from itertools import count
from pathlib import Path

import nbformat
import yaml

from hpkit.book.executed import ADDED, Result, kept, record
from hpkit.book.stamps import stamp
from hpkit.files import named_folder

# Two kernels that start at the same moment can take the same port (known to papermill).
PORT_RACE = "Kernel died before replying to kernel_info"
PATIENCE = 20  # seconds that papermill has to end its kernel
TELL = 30  # seconds between two lines on a notebook that runs

FOLDERS = ("HPKIT_CACHE", "HPKIT_DATA", "HPKIT_RUNS", "HPKIT_PROGRESS")
# A backend for matplotlib that shows nothing in a notebook, and Python without asserts.
TAKES = ("MPLBACKEND", "PYTHONOPTIMIZE")


async def papermill(
    source: Path,
    target: Path,
    parameters: dict[str, object],
    timeout: float,
    limits: dict[str, str],
) -> str:
    """Run a notebook, each cell within `timeout` seconds; "" or what went wrong.

    limits: environment variables, used where the environment does not set them already.
    """
    command = [sys.executable, "-m", "papermill", str(source), str(target)]
    command += ["-k", "python3", "--no-progress-bar", "--cwd", str(source.parent)]
    command += ["-y", yaml.safe_dump(parameters)]
    # A file, for kernels keep a pipe open.
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        child = await asyncio.create_subprocess_exec(
            *command, stderr=said, env=limits | environment()
        )
        try:
            await watch(child, target, timeout)
        except TimeoutError:
            return f"stopped after {timeout:g} s"
        finally:  # also where the book is stopped
            if child.returncode is None:
                await end(child)
        said.seek(0)
        return (said.read().strip() or "papermill failed") if child.returncode else ""


async def watch(
    child: asyncio.subprocess.Process, notebook: Path, timeout: float
) -> None:
    """Wait until papermill ends; tell now and then which cell it is at.

    Raises TimeoutError where a cell takes longer than `timeout` seconds.
    """
    ended = asyncio.ensure_future(child.wait())
    cell, start = None, time.monotonic()
    began, tell = start, start + TELL
    while True:
        done, _ = await asyncio.wait([ended], timeout=min(1, timeout))
        if done:
            return
        now, before = time.monotonic(), cell
        cell = cell_of(notebook)
        if cell != before:
            began = now
        if now - began >= timeout:
            raise TimeoutError
        if now >= tell and cell:
            name = notebook.name.partition(".")[0]
            print(f"{name}: cell {cell}, {now - start:.0f} s", flush=True)
            tell = now + TELL


def cell_of(notebook: Path) -> str:
    """Which cell of a notebook began last, "3 of 40"; "" while there is none."""
    try:
        cells = json.loads(notebook.read_bytes())["cells"]
    except (OSError, ValueError):  # not there yet, or being written
        return ""
    begun = [
        number
        for number, cell in enumerate(cells, 1)
        if cell["metadata"].get("papermill", {}).get("start_time")
    ]
    return f"{begun[-1]} of {len(cells)}" if begun else ""


def environment() -> dict[str, str]:
    """This process's environment, as a kernel in another folder needs it.

    Folders of hpkit that are named from here become absolute. What would silently take
    away the figures, or the asserts, is left out.
    """
    there = {name: value for name, value in os.environ.items() if name not in TAKES}
    folders = {name: named_folder(name) for name in FOLDERS}
    return there | {name: str(path) for name, path in folders.items() if path}


def cut_short(executed: Path) -> str:
    """What ended a notebook early though papermill saw no failure; else "".

    papermill takes `sys.exit()` for success, and runs no further cell.
    """
    for cell in nbformat.read(executed, 4).cells:
        for output in cell.get("outputs", []):
            if output.output_type == "error" and output.ename == "SystemExit":
                return "SystemExit: the rest did not run"
    return ""


async def end(process: asyncio.subprocess.Process) -> None:
    """Have papermill end its kernel; kill it after a while, or at a second Ctrl-C."""
    # SIGTERM ends papermill before it has ended its kernel. Windows has nothing else.
    gently = signal.SIGINT if os.name == "posix" else signal.SIGTERM
    try:
        process.send_signal(gently)
        await asyncio.wait([asyncio.create_task(process.wait())], timeout=PATIENCE)
    finally:
        if process.returncode is None:
            # Its kernel ends within a second, unless a cell is busy outside Python.
            process.kill()
            await process.wait()


def failure(notebook: Path, said: str) -> str:
    """The last cell of the source that began, and what went wrong there.

    That is the cell's error, or else the last line that papermill said.
    """
    last = said.splitlines()[-1]
    try:
        cells = nbformat.read(notebook, 4).cells
    except Exception:  # not there yet, or cut while it was written
        return last
    added = {"papermill-error-cell-tag", ADDED}
    own = [c for c in cells if not added & set(c.metadata.get("tags", []))]
    begun = [
        number
        for number, cell in enumerate(own)
        if cell.metadata.get("papermill", {}).get("start_time")
    ]
    if not begun:
        return last
    cell = own[begun[-1]]
    for output in cell.get("outputs", []):
        # A KeyboardInterrupt comes from `end`.
        if output.output_type == "error" and output.ename != "KeyboardInterrupt":
            last = f"{output.ename}: {(output.evalue.splitlines() or [''])[-1]}"
    first_line = (cell.source.splitlines() or [""])[0]
    return f"cell {begun[-1] + 1} ({first_line}): {last}"


async def execute(
    source: Path,
    out: Path,
    parameters: dict[str, object],
    timeout: float,
    limits: dict[str, str],
) -> Result:
    """Run one notebook into `out/notebooks`, unless the same run is there already."""
    target, lost = out / "notebooks" / source.name, out / "unfinished" / source.name
    part = lost.with_name(f"{source.stem}.{os.getpid()}.ipynb")  # of this process alone
    notebook = nbformat.read(source, 4)
    seconds = kept(target, notebook, parameters)
    if seconds is not None:
        return Result(source.stem, seconds, "kept")
    for path in (target, lost):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
    stamped, start = stamp(notebook, parameters), time.perf_counter()
    try:
        said = await papermill(source, part, parameters, timeout, limits)
        if PORT_RACE in said:
            said = await papermill(source, part, parameters, timeout, limits)
        seconds = round(time.perf_counter() - start, 1)
        if said := said or cut_short(part):
            if part.exists():
                os.replace(part, lost)  # to look at
            return Result(source.stem, seconds, "failed", failure(lost, said))
        made = nbformat.read(part, 4)
        made.metadata.hpkit = record(made, stamped, parameters, seconds)
        nbformat.write(made, part)
        os.replace(part, target)  # only whole runs are ever found there
        return Result(source.stem, seconds, "ran")
    finally:  # what a stopped book leaves is no use to anyone
        part.unlink(missing_ok=True)


async def run(
    notebooks: list[Path],
    parameters: list[dict[str, object]],
    out: Path,
    timeout: float,
    jobs: int = 2,
) -> list[Result]:
    """Execute the notebooks, `jobs` at a time, in order; prints a line as each ends."""
    jobs = min(jobs, len(notebooks))
    print(f"notebooks: {len(notebooks)}, {jobs} at a time", flush=True)
    free, number = asyncio.Semaphore(jobs), count(1)
    # With a thread per core each, two notebooks took over ten times as long as one.
    limits = {"OMP_NUM_THREADS": str(max(1, cores() // jobs))} if jobs > 1 else {}

    async def one(notebook: Path, values: dict[str, object]) -> Result:
        async with free:
            try:
                result = await execute(notebook, out, values, timeout, limits)
            except Exception as error:  # a full disk, say: the other notebooks go on
                said = f"{type(error).__name__}: {error}"
                result = Result(notebook.stem, 0.0, "failed", said)
        print(
            f"[{next(number)}/{len(notebooks)}] {result.name} ... "
            f"{result.seconds:.1f} s, {result.status}",
            flush=True,
        )
        return result

    # If it is stopped, it waits until all have ended their kernels.
    async with asyncio.TaskGroup() as group:
        pairs = zip(notebooks, parameters, strict=True)
        tasks = [group.create_task(one(*pair)) for pair in pairs]
    return [task.result() for task in tasks]


def cores() -> int:
    """How many cores this process may use.

    They are fewer than there are where a scheduler says so.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def summary(results: list[Result]) -> None:
    """Print the run times, the longest first, and what failed."""
    print("\nrun times")
    for result in sorted(results, key=lambda result: -result.seconds):
        print(f"{result.seconds:8.1f} s  {result.name}  ({result.status})")
    for result in results:
        if result.status == "failed":
            print(f"{result.name} failed: {result.error}", file=sys.stderr)
