"""Files: written whole or not at all, checked when read, and kept in known folders.

Here are checksums, JSON with a checksum, and where hpkit keeps things. Nothing here
knows what a patch or a run is.
"""

import hashlib
import json
import os
import time
import uuid
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import platformdirs

# Nanoseconds: no file system's clock is coarser on a local disk.
CLOCK_TICK = 50_000_000

GOES_ON = "what is there is whole, and the next call goes on"


def cache_folder() -> Path:
    """Where hpkit keeps what it makes: HPKIT_CACHE, or the user's cache folder."""
    return named_folder("HPKIT_CACHE") or Path(platformdirs.user_cache_dir("hpkit"))


def data_folder() -> Path:
    """Where data sets are kept: HPKIT_DATA, or the cache folder.

    A data set that is whole is only ever read. So many users can share a folder that
    they cannot write to.
    """
    return named_folder("HPKIT_DATA") or cache_folder()


def named_folder(variable: str) -> Path | None:
    """The absolute folder that an environment variable names; None where it is not set.

    A "~" becomes the user's home, as in a shell: notebooks, containers and YAML files
    leave it as it is.
    """
    value = os.environ.get(variable)
    return Path(value).expanduser().absolute() if value else None


def repository_folder() -> Path:
    """The repository that this hpkit lies in; ValueError where it lies in none.

    An installed hpkit has no notebooks beside it, and nothing recorded to write to.
    """
    root = Path(__file__).parents[1]
    if not (root / "pyproject.toml").is_file() or not (root / "notebooks").is_dir():
        raise ValueError(
            f"this needs hpkit's repository, and {root} is not it: clone it, and run "
            "`python -m hpkit` in its folder"
        )
    return root


@contextmanager
def writing(folder: Path, then: str = GOES_ON) -> Iterator[None]:
    """Turn a disk's OSError into one sentence, around code that writes to a folder.

    then: what becomes of it, at the sentence's end.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None or isinstance(error, ConnectionError):  # a server's
            raise
        raise OSError(
            f"{folder}: could not be written ({error.strerror or error}); {then}"
        ) from error


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, even if others write it too.

    Raises OSError in one sentence where it cannot be written.
    """
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.part")
    with writing(path):
        try:
            with part.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def digest(content: object) -> str:
    """The sha256 of what JSON can hold, in hexadecimal digits."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def short_digest(content: object) -> str:
    """The first twelve digits of `digest`, used as a name."""
    return digest(content)[:12]


def sha256(path: Path) -> str:
    """The sha256 of the file's bytes, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_digests(files: Iterable[Path]) -> dict[Path, str]:
    """The sha256 of each file; one that is unchanged since the last look is not read.

    Unchanged means the same size and time of change, with a time older than the last
    look: two writes in one tick of the file system's clock look alike. What was seen is
    noted in the cache folder, one note per folder.
    """
    found = {}
    by_folder = {}
    for path in files:
        by_folder.setdefault(path.parent, []).append(path)
    for folder, members in by_folder.items():
        found |= _digests_in(folder, members)
    return found


def _digests_in(folder: Path, files: list[Path]) -> dict[Path, str]:
    note = cache_folder() / "digests" / f"{short_digest(str(folder.absolute()))}.json"
    looked, known = time.time_ns(), {}
    with suppress(Damaged, OSError):
        known = read_json(note)
    seen = {}
    for path in files:
        status = path.stat()
        size, changed, digested, when = known.get(path.name, (-1, -1, "", 0))
        same = (status.st_size, status.st_mtime_ns) == (size, changed)
        if not same or changed > when - CLOCK_TICK:
            size, changed, digested = status.st_size, status.st_mtime_ns, sha256(path)
            when = looked
        seen[path.name] = [size, changed, digested, when]
    if any(known.get(name) != value for name, value in seen.items()):
        with suppress(OSError):  # a cache that is only read: looked at again next time
            note.parent.mkdir(parents=True, exist_ok=True)
            write_json(note, known | seen)
    return {path: seen[path.name][2] for path in files}


class Damaged(ValueError):
    """A file is provably not what was written."""


def write_json(path: Path, content: dict) -> None:
    """Write the content with its checksum beside it."""
    whole = {"content": content, "sha256": digest(content)}
    write_whole(path, json.dumps(whole, indent=1).encode())


def read_json(path: Path) -> dict:
    """What `write_json` wrote; raises Damaged for anything else."""
    try:
        whole = json.loads(path.read_text())
        if digest(whole["content"]) == whole["sha256"]:
            return whole["content"]
    except (ValueError, KeyError, TypeError, RecursionError, FileNotFoundError):
        pass
    raise Damaged(f"{path}: missing or changed since it was written")


def write_sums(files: Iterable[Path], sums: Path) -> None:
    """Note the size, CRC-32 and time of those files that are there, for `check_sum`."""
    sums.write_text(
        json.dumps({path.name: _note(path) for path in files if path.is_file()})
    )


def check_sum(path: Path, sums: Path) -> None:
    """Raise ValueError for a file that is not the one that was noted in `sums`.

    A file of the noted size and time, older than `sums`, counts as unchanged and is not
    read. Any other file is read, and if it is right its new time is noted. Three things
    go unnoticed: bits that turn on the disk itself, a time that was set back by hand,
    and any change where there are no `sums`, as beside the arrays of an older hpkit.
    """
    if not sums.is_file():
        return
    try:
        noted = json.loads(sums.read_bytes())
        size, crc, changed = noted[path.name]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{sums}: damaged ({error!r}); delete it and {path.name}, which is then "
            "made anew"
        ) from error
    found = path.stat()
    if [found.st_size, found.st_mtime_ns] == [size, changed] and (
        changed < sums.stat().st_mtime_ns
    ):
        return
    if found.st_size != size or _note(path)[1] != crc:
        raise ValueError(
            f"{path}: changed since it was written; delete it, and it is made anew"
        )
    with suppress(OSError):  # a folder that is only read
        part = sums.with_name(f"{sums.name}.{os.getpid()}.part")
        part.write_text(json.dumps(noted | {path.name: [size, crc, found.st_mtime_ns]}))
        part.replace(sums)


def _note(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_size, zlib.crc32(path.read_bytes()), found.st_mtime_ns]
