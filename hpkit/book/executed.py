"""The notebooks of the book, and which of their executed copies are still good."""

import shutil
from pathlib import Path
from typing import NamedTuple

import nbformat

from hpkit.book.stamps import PACKAGE, stamp
from hpkit.files import short_digest

NOTEBOOKS = PACKAGE.parent / "notebooks"
ADDED = "injected-parameters"  # papermill's tag on the cell that it adds


class Result(NamedTuple):
    """What became of a notebook: "ran", "kept" (from an earlier run) or "failed"."""

    name: str
    seconds: float
    status: str
    error: str = ""


def find_notebooks(names: list[str]) -> list[Path]:
    """Notebooks by path, or by name in `notebooks/`; all of them if none is named."""
    if not names:
        every = sorted(NOTEBOOKS.glob("*.ipynb"))
        if not every:
            raise FileNotFoundError(f"{NOTEBOOKS}: no notebooks, expected *.ipynb")
        return every
    paths = [Path(name) for name in names]
    found = [
        p if p.suffix == ".ipynb" else NOTEBOOKS / f"{p.name}.ipynb" for p in paths
    ]
    missing = [path for path in found if not path.is_file()]
    if missing:
        raise FileNotFoundError(f"{missing[0]}: no such notebook")
    if len({path.stem for path in found}) < len(found):
        raise ValueError(
            "two notebooks of one name: their outputs would overwrite each other"
        )
    return found


def record(
    notebook: nbformat.NotebookNode,
    stamped: dict[str, object],
    parameters: dict[str, object],
    seconds: float,
) -> dict[str, object]:
    """What an executed notebook says of its run.

    It includes a checksum of that and of the cells. stamped: `stamps.stamp` of its
    source with these parameters.
    """
    cells = [{key: c[key] for key in c if key != "id"} for c in notebook.cells]
    told = {**stamped, "parameters": parameters, "seconds": seconds}
    return {**told, "sum": short_digest([told, cells])}


def kept(
    target: Path, source: nbformat.NotebookNode, parameters: dict[str, object] | None
) -> float | None:
    """How long the same run took; None where there is no such run.

    target: an executed notebook. source: the notebook as it is now. parameters: those
    that are asked for; None: whatever it was executed with.
    """
    try:
        notebook = nbformat.read(target, 4)
        made = notebook.metadata.hpkit
        given = dict(made.parameters) if parameters is None else parameters
        now = stamp(source, given, made.entries)
        same = made == record(notebook, now, given, made.seconds)
        return made.seconds if same else None
    except Exception:  # none there, or a damaged one: it is run again
        return None


def collect(notebooks: list[Path], out: Path) -> list[Result]:
    """The notebooks for a site, unrun: as executed in `out`, else as given.

    A notebook whose cells or code were changed since it was executed is shown as given.
    """
    (out / "notebooks").mkdir(parents=True, exist_ok=True)
    results = []
    for path in notebooks:
        target = out / "notebooks" / path.name
        seconds = kept(target, nbformat.read(path, 4), None)
        if seconds is None:
            shutil.copy(path, target)
        results.append(Result(path.stem, seconds or 0, "kept"))
    return results


def beside(results: list[Result], notebooks: list[Path], out: Path) -> list[Result]:
    """These results, and those that `out` has from before of the other notebooks."""
    names = {result.name for result in results}
    found = list(results)
    for path in notebooks:
        target = out / "notebooks" / path.name
        if path.stem not in names and target.is_file():
            seconds = kept(target, nbformat.read(path, 4), None)
            if seconds is not None:
                found.append(Result(path.stem, seconds, "kept"))
    return sorted(found, key=lambda result: result.name)
