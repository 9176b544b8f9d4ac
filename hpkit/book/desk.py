"""One notebook run cell by cell, in a process of its own: `python -m hpkit.book.desk`.

A cell that fails or takes too long stops no other cell. What came out is on disk after
each cell, so that nothing is lost where the process is killed.
"""

import argparse
import asyncio
import json
import signal
import sys
import threading
import time
from pathlib import Path

import nbformat
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning import KernelProvisionerBase
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError

OVER = "the time for the whole notebook was over"
DIED = "the kernel ended, so no later cell ran"
GRACE = 5  # seconds for a cell to end after it was interrupted
LARGEST_FILE = 1 << 30  # bytes that a hand-in may write into one file


def main(argv: list[str]) -> int:
    """0 once `ended` is written, however the notebook went."""
    made = argparse.ArgumentParser()
    made.add_argument("notebook", type=Path, help="is executed in its folder")
    made.add_argument("executed", type=Path, help="where the executed one goes")
    made.add_argument("ended", type=Path, help="where it is told how it ended")
    made.add_argument("--cell", type=float, help="seconds for a cell")
    made.add_argument("--total", type=float, help="seconds to begin cells in")
    made.add_argument("--memory", type=float, help="gigabytes for a process")
    given = made.parse_args(argv)
    # Its kernel ends with it, also where it is asked to end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    limit(given.memory)
    notebook = nbformat.read(given.notebook, 4)
    told = run_cells(given, notebook)
    told["memory"] = largest_memory()
    given.ended.write_text(json.dumps(told), encoding="utf-8")
    return 0


def run_cells(
    given: argparse.Namespace, notebook: nbformat.NotebookNode
) -> dict[str, object]:
    """How it went: cells that ran, why no more, seconds in all and of the slowest.

    late: the cells that took too long.
    """
    client = NotebookClient(
        notebook,
        km=kernel(given.ended.with_name("kernel.json")),
        allow_errors=True,
        resources={"metadata": {"path": str(given.notebook.parent)}},
    )
    told = {"ran": 0, "stopped": "", "slowest": 0.0, "late": []}
    begun = time.monotonic()
    with client.setup_kernel(cleanup_kc=True):
        for number in range(len(notebook.cells)):
            left = begun + given.total - time.monotonic()
            if left <= 0:
                told["stopped"] = OVER
                break
            limit = min(given.cell, left)
            took, told["stopped"] = run_cell(client, number, limit)
            told["ran"] = number + 1
            told["slowest"] = max(told["slowest"], took)
            told["late"] += [number] if took >= limit else []
            nbformat.write(notebook, given.executed)
            if told["stopped"]:
                break
    return told | {"seconds": time.monotonic() - begun}


def run_cell(client: NotebookClient, number: int, limit: float) -> tuple[float, str]:
    """Run one cell; the seconds that it took, and why the kernel is gone, or ""."""
    running = client.km.provisioner
    # A cell that catches the interrupt loses the kernel. nbclient's own limit would
    # wait for as long again before it sees that.
    timers = [
        threading.Timer(limit, interrupt, [running]),
        threading.Timer(limit + GRACE, running.process.kill),
    ]
    started = time.monotonic()
    for timer in timers:
        timer.start()
    try:
        client.execute_cell(client.nb.cells[number], number)
        stopped = ""
    except DeadKernelError:
        stopped = DIED
    finally:
        for timer in timers:
            timer.cancel()
    return time.monotonic() - started, stopped


def interrupt(running: KernelProvisionerBase) -> None:
    """Interrupt a kernel as Ctrl-C does, on any system."""
    asyncio.run(running.send_signal(signal.SIGINT))


def kernel(connection: Path) -> AsyncKernelManager:
    """A Python kernel; on Linux it is spoken to without any network."""
    made = AsyncKernelManager(kernel_name="python3", connection_file=str(connection))
    if sys.platform.startswith("linux"):
        made.transport = "ipc"
    return made


def limit(gigabytes: float) -> None:
    """Limit the memory of each process and the size of each file, where one can.

    What counts is what a program writes to: torch reserves far more addresses.
    """
    if sys.platform == "win32":
        return
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    if most == resource.RLIM_INFINITY or most > LARGEST_FILE:
        resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
    if sys.platform.startswith("linux"):
        size = int(gigabytes * 1e9)
        resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def largest_memory() -> float:
    """Gigabytes that the kernel held at most; 0 where the system does not say."""
    if not sys.platform.startswith("linux"):
        return 0.0
    import resource

    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
