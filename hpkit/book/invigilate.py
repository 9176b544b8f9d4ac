"""One hand-in is run at a desk of its own, and what came out is read with care.

What lies on the desk afterwards was written by the hand-in's own process: none of it is
trusted to be whole, or to be a file at all.
"""

import asyncio
import json
import os
import shutil
import site
import stat
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import nbformat

from hpkit.book import fence
from hpkit.book.run import cores
from hpkit.book.stamps import PACKAGE
from hpkit.files import data_folder
from hpkit.lessons.progress import NOT_ATTEMPTED, RIGHT, WRONG, checks

PATIENCE = 15  # seconds to end by itself
STARTING = 90  # seconds until a kernel is there
MOST_RESULTS = 1_000_000  # bytes of results
MOST_OUTPUT = 100_000_000  # bytes of an executed notebook
MOST_HANDED = 500_000_000  # bytes of a file that is handed in
MOST_ERRORS = 5  # that are told of one hand-in
SEEDS = ("cache", "home")  # what a hand-in begins with a copy of
# Of the caller's environment; whatever else is there may be a secret.
PASSED = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "SYSTEMROOT",
    "SYSTEMDRIVE",
    "COMSPEC",
    "PATHEXT",
    "WINDIR",
    "CUDA_VISIBLE_DEVICES",
    "PYTHONPATH",
    "PYTHONHOME",
)


@dataclass(frozen=True)
class Limits:
    """Seconds for a cell and for all of them, and gigabytes for each process."""

    cell: float
    total: float
    memory: float


class Sitting(NamedTuple):
    """What is put on the desk: files by place, the notebook among them, its cells.

    seed: a folder with a cache and a home to begin with, or None. hands_in: the name of
    a file on the desk that is read afterwards.
    """

    files: dict[str, Path]
    place: str
    notebook: nbformat.NotebookNode
    seed: Path | None
    hands_in: str = ""


@dataclass
class Seen:
    """What came out.

    checked: the results of `check`, in order. handed: the bytes of the file handed in.
    """

    executed: nbformat.NotebookNode
    checked: list[dict[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0
    slowest: float = 0.0
    memory: float = 0.0
    failed: bool = False  # not the notebook, but the process that runs it
    handed: bytes = b""


async def sit(
    sitting: Sitting,
    desks: Path,
    limits: Limits,
    jobs: int,
    hidden: list[Path] | None = None,
    keep: Path | None = None,
) -> Seen:
    """Run a notebook at a new desk, which is cleared afterwards.

    hidden: what it must not see; None for one of the teacher's own, which is trusted
    and not fenced. keep: where its cache and home go afterwards.
    """
    desk = Path(tempfile.mkdtemp(dir=desks))
    place = Path(tempfile.mkdtemp(prefix="hpkit-desk-"))
    try:
        lay(desk, sitting)
        closed = hidden is not None and not fence.missing()
        at = place if closed else desk
        program = _program(at, sitting.place, limits)
        if closed:
            program = fence.fenced(desk, place, hidden, program)
        told = _environment(at, closed, jobs)
        # The fence does not listen when it is asked to end.
        patience = 0 if closed else PATIENCE
        forced = await _run(program, told, desk, limits, patience)
        seen = look(desk, sitting, limits, forced)
        for name in SEEDS if keep else ():
            shutil.copytree(desk / name, keep / name)
        return seen
    finally:
        shutil.rmtree(desk, ignore_errors=True)
        shutil.rmtree(place, ignore_errors=True)


def lay(desk: Path, sitting: Sitting) -> None:
    """Put copies of a hand-in's files on the desk, and what it begins with."""
    for name in ("work", "progress", "run", "tmp"):
        (desk / name).mkdir()
    for name in SEEDS:
        if sitting.seed and (sitting.seed / name).is_dir():
            shutil.copytree(sitting.seed / name, desk / name)
        else:
            (desk / name).mkdir()
    for place, path in sitting.files.items():
        target = _within(desk / "work", place)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    nbformat.write(sitting.notebook, _within(desk / "work", sitting.place))


def _within(folder: Path, place: str) -> Path:
    """The path of a place in a folder; ValueError for one that leads out of it."""
    path = folder / place
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{place}: leads out of the hand-in")
    return path


def _program(at: Path, place: str, limits: Limits) -> list[str]:
    files = [at / "work" / place, at / "executed.ipynb", at / "ended.json"]
    options = [
        f"--{name}={getattr(limits, name):g}" for name in ("cell", "total", "memory")
    ]
    # Without -P, a json.py in the current folder would be run in place of Python's.
    python = [sys.executable, "-P", "-m", "hpkit.book.desk"]
    return [*python, *map(str, files), *options]


def _environment(at: Path, closed: bool, jobs: int) -> dict[str, str]:
    """What the process is told: its own folders, and nothing secret."""
    told = {name: os.environ[name] for name in PASSED if name in os.environ}
    told["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(PACKAGE.parent), told.get("PYTHONPATH")])
    )
    if site.ENABLE_USER_SITE:
        told["PYTHONUSERBASE"] = site.getuserbase()  # in the home, which is another
    if not closed:  # the fence does it by itself
        told["HOME"] = told["USERPROFILE"] = str(at / "home")
    return told | {
        "HPKIT_CHECKED": str(at / "checked.jsonl"),
        "HPKIT_PROGRESS": str(at / "progress"),
        "HPKIT_CACHE": str(at / "cache"),
        "HPKIT_DATA": str(data_folder()),
        "JUPYTER_RUNTIME_DIR": str(at / "run"),
        "TMPDIR": str(at / "tmp"),
        "TEMP": str(at / "tmp"),
        "OMP_NUM_THREADS": str(max(1, cores() // jobs)),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


async def _run(
    program: list[str],
    environment: dict[str, str],
    desk: Path,
    limits: Limits,
    patience: float,
) -> str:
    """Run the program and end it in time; "" or why it did not end well.

    patience: seconds to end by itself when it is asked to; 0 to end it at once.
    """
    longest = limits.total + STARTING + PATIENCE
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        child = await asyncio.create_subprocess_exec(
            *program,
            env=environment,
            cwd=desk,
            stdout=said,
            stderr=said,
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # away from the teacher's terminal
        )
        try:
            await asyncio.wait_for(child.wait(), longest)
        except TimeoutError:
            return f"ended by force after {longest:.0f} s"
        finally:  # also where all is stopped
            if child.returncode is None:
                await _end(child, patience)
        if child.returncode == 0:
            return ""
        said.seek(0)
        lines = said.read(MOST_RESULTS).strip().splitlines() or ["it ended itself"]
        return f"its process failed: {lines[-1][:200]}"


async def _end(child: asyncio.subprocess.Process, patience: float) -> None:
    """Ask a process to end, and end it if it does not; its kernel ends with it."""
    try:
        if patience:
            child.terminate()
            await asyncio.wait_for(child.wait(), patience)
    except TimeoutError:
        pass
    finally:  # also where somebody presses Ctrl-C again
        if child.returncode is None:
            child.kill()
    await child.wait()


def look(desk: Path, sitting: Sitting, limits: Limits, forced: str) -> Seen:
    """Read what a process left on its desk. forced: why it did not end well, or ""."""
    seen = Seen(sitting.notebook, failed=bool(forced))
    if sitting.hands_in:
        seen.handed = plain_bytes(desk / sitting.hands_in, MOST_HANDED)
    ended = _dictionary(plain_text(desk / "ended.json", MOST_RESULTS))
    for name in ("seconds", "slowest", "memory"):
        value = ended.get(name)
        setattr(seen, name, float(value) if isinstance(value, float) else 0.0)
    seen.checked, odd = results(plain_text(desk / "checked.jsonl", MOST_RESULTS))
    stopped = forced or str(ended.get("stopped", ""))
    try:
        executed = nbformat.reads(plain_text(desk / "executed.ipynb", MOST_OUTPUT), 4)
        seen.problems = _errors(executed, list(ended.get("late", [])), limits)
        if stopped:
            stopped = f"{_last(executed, ended.get('ran'))}: {stopped}"[:300]
        seen.executed = executed
    except Exception:  # not there, cut, or something else
        seen.problems.append("its outputs are lost")
    if stopped:
        seen.problems.append(stopped)
    if odd:
        seen.problems.append(f"{odd} of its results are not as hpkit writes them")
    return seen


def plain_text(path: Path, most: int) -> str:
    """A file's text; "" where `plain_bytes` has nothing."""
    text = plain_bytes(path, most).decode("utf-8", "replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def plain_bytes(path: Path, most: int) -> bytes:
    """A file's bytes; none where it is no plain file, is a link, or is too large."""
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > most:
            return b""
        return path.read_bytes()
    except OSError:
        return b""


def results(text: str) -> tuple[list[dict[str, str]], int]:
    """The lines that `check` wrote, and how many lines are something else."""
    known, found, odd = checks(), [], 0
    for line in filter(None, text.split("\n")):
        told = _dictionary(line)
        texts = [told.get(name) for name in ("exercise", "mark", "hint")]
        if (
            all(isinstance(each, str) for each in texts)
            and texts[0] in known
            and texts[1] in (RIGHT, WRONG, NOT_ATTEMPTED)
        ):
            found.append({**told, "hint": told["hint"][:500]})
        else:
            odd += 1
    return found, odd


def _dictionary(text: str) -> dict:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _errors(
    notebook: nbformat.NotebookNode, late: list[int], limits: Limits
) -> list[str]:
    """The cells that failed, a sentence each."""
    found = []
    for number, cell in enumerate(notebook.cells):
        errors = [o for o in cell.get("outputs", []) if o.output_type == "error"]
        if number in late:
            found.append(
                f"{_name(notebook, number)}: stopped after {limits.cell:.0f} s"
            )
        elif errors:
            value = (str(errors[0].evalue).strip().splitlines() or [""])[-1]
            said = f"{_name(notebook, number)}: {errors[0].ename}: {value}"
            found.append(said[:300].removesuffix(": "))
    more = len(found) - MOST_ERRORS
    return found if more <= 0 else [*found[:MOST_ERRORS], f"and {more} more cells"]


def _name(notebook: nbformat.NotebookNode, number: int) -> str:
    first = (notebook.cells[number].source.strip().splitlines() or [""])[0]
    return f"cell {number + 1} ({first[:60]})"


def _last(notebook: nbformat.NotebookNode, ran: object) -> str:
    """The last cell that ran, as the process told, or as its outputs show."""
    if isinstance(ran, int) and 0 < ran <= len(notebook.cells):
        return _name(notebook, ran - 1)
    shown = [n for n, cell in enumerate(notebook.cells) if cell.get("execution_count")]
    return f"after {_name(notebook, shown[-1])}" if shown else "before the first cell"
