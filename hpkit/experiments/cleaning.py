"""Deleting what hpkit keeps, and nothing else.

The folders that HPKIT_CACHE and HPKIT_RUNS name may hold files of the user's, too. So a
file is deleted only by a name that hpkit gives, in a place where hpkit puts it.
"""

import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from filelock import Timeout

from hpkit.evaluation.peers import PEERS, kept_as
from hpkit.experiments.store import AVERAGED, LAST, store_folder
from hpkit.files import cache_folder
from hpkit.waiting import file_lock

KEY = "[0-9a-f]{12}"  # what `files.short_digest` gives

# Patterns of paths below a folder. A made data set is a folder that goes as a whole.
FOLDER = rf"{KEY}(\.damaged-\d+)?"
NAMES = ("config.json", "run.json", "history.csv", "checkpoint.pt", LAST, AVERAGED)
RUNS = (
    rf"{KEY}\.lock",
    *(rf"{FOLDER}/{re.escape(name)}" for name in NAMES),
    rf"{FOLDER}/scores-{KEY}\.json",
    rf"{FOLDER}/.*\.[0-9a-f]{{8}}\.part",
)
CACHE = (
    r"(photos|scenes)-v\d+\.lock",
    r"npm/[\w.-]+-[\d.]+\.tgz",
    rf"digests/{KEY}\.json",
    *(
        rf"peers/{re.escape(kept_as(file))}"
        for one in PEERS.values()
        for file in one.files
    ),
    rf"converted/{KEY}/(lock|.*\.(stamp|sums|npy|part))",
)
MADE = r"(photos|scenes)-v\d+(\.partial)?"


def kept() -> list[Path]:
    """Files and made data sets that hpkit keeps here; neither HPatches nor progress.

    A run that a process trains now is left alone.
    """
    cache, store = cache_folder(), store_folder()
    locks = [path for path in _matching(store, RUNS) if path.suffix == ".lock"]
    busy = {lock.stem for lock in locks if _held(lock)}
    # Asked again: to try a lock deletes its file, with some releases of filelock.
    runs = _matching(store, RUNS)
    found = [path for path in runs if _run_of(path, store) not in busy]
    found += _matching(cache, CACHE)
    if cache.is_dir():
        found += [
            path
            for path in cache.iterdir()
            if re.fullmatch(MADE, path.name) and (path / "arrays").is_dir()
        ]
    return sorted(set(found))


def _held(lock: Path) -> bool:
    """Whether a process holds this lock now."""
    try:
        with file_lock(lock, timeout=0):
            return False
    except (Timeout, OSError):
        return True


def _run_of(path: Path, store: Path) -> str:
    """The run that a file in the store belongs to, by its folder or as its lock."""
    return path.relative_to(store).parts[0].removesuffix(".lock")


def _matching(folder: Path, patterns: tuple[str, ...]) -> Iterator[Path]:
    """Files below a folder, at most two folders down, whose path fits a pattern."""
    for depth in ("*", "*/*", "*/*/*"):
        for path in folder.glob(depth):
            place = path.relative_to(folder).as_posix()
            if any(re.fullmatch(p, place) for p in patterns) and path.is_file():
                yield path


def size(path: Path) -> int:
    """Bytes of a file, or of all in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if not file.is_dir())


def delete(paths: list[Path]) -> None:
    """Delete these, and folders that are empty then; what links lead to stays."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    own = {folder for path in paths for folder in (path.parent, path.parent.parent)}
    for folder in sorted(own, key=lambda path: -len(path.parts)):
        if re.fullmatch(rf"{FOLDER}|converted|digests|peers", folder.name):
            with suppress(OSError):  # something of the user's is in it
                folder.rmdir()
