"""Execute the committed notebooks in place (`make notebooks`), all or those that are named.

A notebook is written only if all its cells ran, without what changes from run to run, and with
a stamp of the cells and the package's files that its outputs belong to.
"""

import argparse
import hashlib
import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from hpkit.book.executed import find_notebooks
from hpkit.book.site import without_widgets
from hpkit.book.stamps import stamp as stamp_of

NOISE = ("collapsed", "execution", "ExecuteTime", "papermill", "scrolled", "widgets")


def normalise(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook without timings, widget state and kernel details; a cell's id is its hash."""
    python = {"display_name": "Python 3", "language": "python", "name": "python3"}
    stamp = {"hpkit": stamp_of(notebook)}
    language = {"name": "python", "file_extension": ".py", "mimetype": "text/x-python"}
    language |= {"nbconvert_exporter": "python", "pygments_lexer": "ipython3"}
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": python, "language_info": language, **stamp}
    )
    used = set()
    for cell in notebook.cells:
        cell.metadata = {k: v for k, v in cell.metadata.items() if k not in NOISE}
        text = cell.cell_type + cell.source
        while (name := hashlib.sha256(text.encode()).hexdigest()[:8]) in used:
            text += "again"
        used.add(name)
        cell.id = name
    return without_widgets(notebook)


def execute(path: Path, seconds: float) -> None:
    """Run all cells within so many seconds, then replace the file at once."""
    notebook = nbformat.read(path, 4)
    for cell in (c for c in notebook.cells if c.cell_type == "code"):
        cell.outputs, cell.execution_count = [], None
    deadline = time.monotonic() + seconds
    NotebookClient(
        notebook,
        timeout_func=lambda cell: max(1, deadline - time.monotonic()),
        kernel_name="python3",
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(path.parent)}},
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
    ).execute()
    part = path.with_suffix(".part")
    nbformat.write(normalise(notebook), part)
    os.replace(part, path)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", metavar="NOTEBOOK")
    parser.add_argument("--timeout", type=float, default=600, help="seconds for each notebook")
    given, failed = parser.parse_args(argv), False
    for path in find_notebooks(given.notebooks):
        print(f"{path.name} ... ", end="", flush=True)
        start = time.monotonic()
        try:
            execute(path.resolve(), given.timeout)
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            failed = True
            print(f"failed, left as it was\n{error}", flush=True)
        else:
            print(f"{time.monotonic() - start:.1f} s", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
