"""Sequences as arrays in files: strips are converted once, and then open in no time."""

import io
import json
import os
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from filelock import FileLock

from hpkit.data.archives import Folder, stamp_of
from hpkit.data.strips import Read, read_bytes, read_sequence
from hpkit.files import (
    cache_folder,
    check_sum,
    data_folder,
    write_sums,
    write_whole,
    writing,
)
from hpkit.waiting import file_lock

ARRAYS = ("contrast", "clean", "noisy")  # in the order in which they are written


@dataclass(frozen=True, eq=False)
class ArrayFile:
    """An array in a file that is mapped only while it is used.

    A mapped array keeps a file open, and HPatches has more arrays than some systems let
    a process open files. numpy takes it for an array (`np.asarray`), read-only.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> "ArrayFile":
        """The first rows, `[:stop]`."""
        rows_left = len(range(*slice(rows.stop).indices(len(self))))
        return replace(self, shape=(rows_left, *self.shape[1:]))

    # numpy 2 says what it wants. numpy 1 does not, and False is what it calls None.
    def __array__(self, dtype: object = None, copy: bool | None = False) -> np.ndarray:
        mapped = np.asarray(np.load(self.path, mmap_mode="r", allow_pickle=False))
        return np.array(mapped[: len(self)], dtype=dtype or self.dtype, copy=copy)


def open_array(arrays: Path, name: str, kind: str) -> np.ndarray | ArrayFile:
    """An array of a sequence; patches stay in their file until they are used.

    Raises ValueError for one that is not whole, or not what its checksum says
    (`check_sum`); OSError where the file cannot be opened at all.
    """
    path = arrays / f"{name}_{kind}.npy"
    check_sum(path, arrays / f"{name}.sums")
    try:
        if kind == "contrast":
            return np.load(path, allow_pickle=False)
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        return ArrayFile(path, mapped.shape, mapped.dtype)
    except OSError as error:  # too many open files, a drive that is away
        raise OSError(
            f"{path}: could not be opened ({error.strerror or error})"
        ) from error
    except Exception as error:  # a damaged header fails in many ways
        raise ValueError(
            f"{path}: no whole array ({error}); delete it, it is made anew"
        ) from error


def is_whole(arrays: Path, name: str) -> bool:
    """Whether all arrays of a sequence are there, and a stamp unless it is embedded."""
    there = {kind: (arrays / f"{name}_{kind}.npy").is_file() for kind in ARRAYS}
    stamped = (arrays / f"{name}.stamp").is_file()
    return there["clean"] and there["noisy"] and there["contrast"] == stamped


def missing(root: Folder, names: Iterable[str], arrays: Path) -> list[str]:
    """Those of these sequences whose arrays are missing or whose files have changed."""
    return [
        name
        for name in names
        if not is_whole(arrays, name)
        or (arrays / f"{name}.stamp").read_bytes() != stamp_of(root / name).encode()
    ]


def convert(
    root: Folder,
    names: Iterable[str],
    arrays: Path,
    *,
    colour: bool = False,
    read: Read = read_bytes,
) -> None:
    """Write the missing arrays of these sequences, one sequence after the other.

    A process that is killed loses only the sequence it was working on. A second process
    waits for the first. Raises OSError in one sentence where the folder cannot be
    written to.
    """
    if not missing(root, names, arrays):
        return
    with _locked(arrays / "lock"):
        for name in missing(root, names, arrays):
            # Taken before: files that change from now on are read again.
            stamp = stamp_of(root / name)
            content = read_sequence(root / name, colour=colour, read=read)
            _write(arrays, name, content, stamp)


def _locked(path: Path) -> FileLock:
    """A lock between processes; its folder is made where there is none."""
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        return file_lock(path)


def _write(arrays: Path, name: str, content: dict[str, np.ndarray], stamp: str) -> None:
    """Write a sequence's arrays, and its stamp last.

    Where the stamp is, the arrays are whole.
    """
    with writing(arrays):
        (arrays / f"{name}.stamp").unlink(missing_ok=True)
        for kind in ARRAYS:
            write_whole(arrays / f"{name}_{kind}.npy", array_bytes(content[kind]))
        _sums(arrays, name)
        write_whole(arrays / f"{name}.stamp", stamp.encode())


def array_bytes(array: np.ndarray) -> memoryview:
    """What `np.save` writes.

    `np.save` to a file does not say why it failed on a full disk; writing bytes does.
    """
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getbuffer()


def _sums(arrays: Path, name: str) -> None:
    files = [arrays / f"{name}_{kind}.npy" for kind in ARRAYS]
    write_sums(files, arrays / f"{name}.sums")


# --- a data set that is made here ---------------------------------------------------


def made_folder(
    name: str, is_there: Callable[[Path], bool], build: Callable[[Path], None]
) -> Path:
    """The folder of a data set that is made here: the shared one, or the user's own.

    is_there: whether a folder is whole. build: makes the folder. Only one process
    builds; a second one that wants the folder at the same time waits.
    """
    shared, own = data_folder() / name, cache_folder() / name
    for folder in (shared, own):
        if is_there(folder):
            return folder
    with _locked(own.with_name(f"{own.name}.lock")):
        if not is_there(own):
            shutil.rmtree(own, ignore_errors=True)  # what a half-done deletion left
            build(own)
    return own


def build_folder(
    folder: Path,
    write: Callable[[Path, str], None],
    splits: dict[str, dict[str, list[str]]],
    workers: int = 2,
) -> None:
    """Make a data set: `write(part, name)` for each sequence, then its splits.json.

    It appears under its name only when it is whole; a build that dies leaves a
    `.partial` folder behind, which the next one begins by deleting. Only one process at
    a time may build a folder. Raises OSError in one sentence where the disk is full.
    """
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)

    def write_with_sums(name: str) -> None:
        write(partial, name)
        _sums(partial / "arrays", name)

    names = [
        name for sides in splits.values() for side in sides.values() for name in side
    ]
    named = {split: {"name": split, **sides} for split, sides in splits.items()}
    try:
        with writing(folder, "nothing of it is kept, and the next call begins anew"):
            (partial / "arrays").mkdir(parents=True)
            with ThreadPoolExecutor(workers) as pool:
                list(pool.map(write_with_sums, names))
            (partial / "splits.json").write_text(json.dumps(named))
            os.replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
