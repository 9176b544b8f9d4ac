"""The HPatches layout: PNG strips are read once and kept as arrays, which open in no time.

On disk a sequence is a folder with one grey PNG per type, in which the patches of all points stand
on top of each other: width w (65 in the official release, 32 in small copies), height w times the
number of points. A noisy twin of `e1.png` is `e1_noise.png`. The same inside a zip.
"""

import errno
import io
import json
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from filelock import FileLock
from PIL import Image

from hpkit.archives import DAMAGED, Folder, check_sum, stamp_of, write_sums
from hpkit.noise import add_noise

PATCH_TYPES = ("ref", *(f"{level}{i}" for level in "eht" for i in range(1, 6)))
LEVELS = {"easy": slice(1, 6), "hard": slice(6, 11), "tough": slice(11, 16)}
SIZE = 32  # pixels, the side of a patch in memory
MOST = 20_000  # points of a sequence: no real one has a tenth, and a bomb has more
COLOUR_MODES = ("RGB", "RGBA", "P")  # of Pillow: 8 bits a channel, and palettes
ARRAYS = ("contrast", "clean", "noisy")  # in the order in which they are written
Read = Callable[[Folder], bytes]


def read_bytes(path: Folder) -> bytes:
    """The bytes of a file on disk or in a zip."""
    return path.read_bytes()


def read_sequence(folder: Folder, *, colour: bool = False,
                  read: Read = read_bytes) -> dict[str, np.ndarray]:
    """Clean and noisy patches, each uint8 (points, 16, 32, 32), and contrast, float (points,).

    Missing noisy twins are made. contrast: standard deviation of each reference patch at its full
    size, in grey levels; by it the official retrieval tasks are drawn. read: how a file is read.
    """
    paths = [folder / f"{t}.png" for t in PATCH_TYPES]
    twins = [folder / f"{t}_noise.png" for t in PATCH_TYPES]
    strips = [read_png(path, colour=colour, read=read) for path in paths]
    side = strips[0].shape[1]
    contrast = np.array([patch.std() for patch in strips[0].reshape(-1, side, side)])
    clean = _together(paths, strips, len(contrast))
    if any(twin.exists() for twin in twins):
        noisy = [read_png(twin, colour=colour, read=read) for twin in twins]
        noisy = _together(twins, noisy, len(contrast))
    else:
        noisy = np.stack([add_noise(clean[:, i], folder.name, t)
                          for i, t in enumerate(PATCH_TYPES)], 1)
    return {"clean": clean, "noisy": noisy, "contrast": contrast}


def _together(paths: list[Folder], strips: list[np.ndarray], points: int) -> np.ndarray:
    """The strips of all types, shrunk, as uint8 (points, 16, 32, 32)."""
    patches = [shrink(strip).reshape(-1, SIZE, SIZE) for strip in strips]
    for path, found in zip(paths, patches, strict=True):
        if len(found) != points:
            raise ValueError(f"{path}: {len(found)} patches, expected {points} as in ref.png")
    return np.stack(patches, 1)


def read_png(path: Folder, *, colour: bool = False, read: Read = read_bytes) -> np.ndarray:
    """One strip as it is on disk: uint8 (points * w, w), w 65 or 32.

    Raises FileNotFoundError or ValueError with the file, what was found and what was expected.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not found; a sequence needs the 16 files "
                                f"{', '.join(PATCH_TYPES)} (.png)")
    try:
        data = read(path)
    except DAMAGED as error:
        raise ValueError(f"{path}: damaged ({error})") from error
    try:
        Image.open(io.BytesIO(data), formats=["PNG"]).verify()  # decoding looks at no checksum
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            _check_png(path, image, colour)
            return np.asarray(image.convert("L"))
    except Exception as error:  # Pillow's decoders fail in any way
        if str(error).startswith(str(path)):  # our own sentence
            raise
        raise ValueError(f"{path}: not a whole PNG file ({error})") from error


def _check_png(path: Folder, image: Image.Image, colour: bool) -> None:
    """From the header alone, before a pixel is unpacked."""
    if image.mode != "L" and not (colour and image.mode in COLOUR_MODES):
        hint = "; colour is converted only with colour=True" if image.mode in COLOUR_MODES else ""
        raise ValueError(f"{path}: a PNG of mode {image.mode!r}, expected 8-bit grey ('L'){hint}")
    width, height = image.size
    if width not in (SIZE, 65):
        raise ValueError(f"{path}: {width} pixels wide, expected 65 or 32")
    if height % width or height > width * MOST:
        raise ValueError(f"{path}: {height} pixels high, expected a multiple of its width {width}, "
                         f"at most {MOST} patches")


def shrink(strip: np.ndarray) -> np.ndarray:
    """A strip of w-pixel patches as one of 32-pixel patches: each pixel the mean of its area.

    The patch borders fall on whole pixels before and after, so no patch leaks into the next.
    """
    points = strip.shape[0] // strip.shape[1]
    return cv2.resize(strip, (SIZE, SIZE * points), interpolation=cv2.INTER_AREA)


def write_sequence(folder: Path, clean: np.ndarray, noisy: np.ndarray | None = None) -> None:
    """Write patches, uint8 (points, 16, w, w), as the PNG files of one sequence."""
    folder.mkdir(parents=True, exist_ok=True)
    twins = [("", clean)] + ([] if noisy is None else [("_noise", noisy)])
    for suffix, patches in twins:
        for column, patch_type in enumerate(PATCH_TYPES):
            strip = patches[:, column].reshape(-1, patches.shape[-1])
            Image.fromarray(strip).save(folder / f"{patch_type}{suffix}.png", compress_level=1)


# --- arrays --------------------------------------------------------------------------------------

def is_whole(arrays: Path, name: str) -> bool:
    """Whether a sequence's arrays are all there: with a stamp, or as embedded sets have them."""
    there = {kind: (arrays / f"{name}_{kind}.npy").is_file() for kind in ARRAYS}
    stamped = (arrays / f"{name}.stamp").is_file()
    return there["clean"] and there["noisy"] and there["contrast"] == stamped


def missing(root: Folder, names: Iterable[str], arrays: Path) -> list[str]:
    """Those of these sequences whose arrays are not there, or are of files that have changed."""
    return [name for name in names if not is_whole(arrays, name)
            or (arrays / f"{name}.stamp").read_bytes() != stamp_of(root / name).encode()]


def convert(root: Folder, names: Iterable[str], arrays: Path, *, colour: bool = False,
            read: Read = read_bytes) -> None:
    """Write the arrays of those sequences that are missing, one after the other.

    A process that is killed loses the sequence it was at; a second one waits for the first. Raises
    OSError in one sentence where the folder cannot be written to.
    """
    if not missing(root, names, arrays):
        return
    with writing(arrays):
        arrays.mkdir(parents=True, exist_ok=True)
        lock = FileLock(arrays / "lock").acquire()
    with lock:
        for name in missing(root, names, arrays):
            stamp = stamp_of(root / name)  # before: files that change now are read again
            _write(arrays, name, read_sequence(root / name, colour=colour, read=read), stamp)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Around what writes to a folder: a disk's OSError becomes one sentence that names it."""
    try:
        yield
    except OSError as error:
        if error.errno is None or isinstance(error, ConnectionError):  # a server's
            raise
        raise OSError(f"{folder}: could not be written ({error.strerror or error}); what is there "
                      "is whole, and the next call goes on") from error


def _write(arrays: Path, name: str, content: dict[str, np.ndarray], stamp: str) -> None:
    """The stamp comes last: where it is, the arrays are whole."""
    with writing(arrays):
        (arrays / f"{name}.stamp").unlink(missing_ok=True)
        for kind in ARRAYS:
            buffer = io.BytesIO()
            np.save(buffer, content[kind])
            write_whole(arrays / f"{name}_{kind}.npy", buffer.getbuffer())
        _sums(arrays, name)
        write_whole(arrays / f"{name}.stamp", stamp.encode())


def _sums(arrays: Path, name: str) -> None:
    write_sums([arrays / f"{name}_{kind}.npy" for kind in ARRAYS], arrays / f"{name}.sums")


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, whoever else writes it. OSError in one sentence if not."""
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


def open_array(arrays: Path, name: str, kind: str) -> np.ndarray:
    """An array, mapped from its file: nothing is read before it is used, no change is written.

    Raises ValueError for one that is not whole, or not what its checksum says (`check_sum`).
    """
    path = arrays / f"{name}_{kind}.npy"
    check_sum(path, arrays / f"{name}.sums")
    try:
        return np.asarray(np.load(path, mmap_mode="c", allow_pickle=False))
    except OSError as error:
        if error.errno != errno.EMFILE:
            raise
        raise OSError(f"{path}: too many files are open; allow more, e.g. by: ulimit -n 4096"
                      ) from error
    except Exception as error:  # a damaged header fails in many ways
        raise ValueError(f"{path}: no whole array ({error}); delete it, it is made anew") from error


# --- a data set that is made here ----------------------------------------------------------------

def build_folder(folder: Path, write: Callable[[Path, str], None],
                 splits: dict[str, dict[str, list[str]]], workers: int = 2) -> None:
    """Make a data set: `write(part, name)` for each sequence in `splits`, then its splits.json.

    It appears under its name only when it is whole. A build that dies leaves only a `.partial`
    folder behind, and of two builds at once the first to finish wins.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in folder.parent.glob(f"{folder.name}.partial-*"):
        if time.time() - left.stat().st_mtime > 3600:  # of a build that was killed
            shutil.rmtree(left, ignore_errors=True)
    partial = Path(tempfile.mkdtemp(prefix=f"{folder.name}.partial-", dir=folder.parent))
    try:
        (partial / "arrays").mkdir()
        names = [name for sides in splits.values() for side in sides.values() for name in side]
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(lambda n: [write(partial, n), _sums(partial / "arrays", n)], names))
        named = {split: {"name": split, **sides} for split, sides in splits.items()}
        (partial / "splits.json").write_text(json.dumps(named))
        partial.chmod(0o755)  # a temporary folder is its owner's alone; a cache may be shared
        try:
            os.replace(partial, folder)
        except OSError:  # another build was faster: its folder is as good as ours
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
