"""HPatches is a matrix: rows are points, columns are the 16 patch types. Reading, writing, splits.

On disk a sequence is a folder with one grey PNG per type, in which the patches of all points stand
on top of each other: width w (65 in the official release, 32 in small copies), height w times the
number of points. A noisy twin of `e1.png` is `e1_noise.png`.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import platformdirs
from PIL import Image, UnidentifiedImageError

from hpkit.noise import add_noise

PATCH_TYPES = ("ref", *(f"{level}{i}" for level in "eht" for i in range(1, 6)))
LEVELS = {"easy": slice(1, 6), "hard": slice(6, 11), "tough": slice(11, 16)}
SIZE = 32  # pixels, the side of a patch in memory
COLOUR_MODES = ("RGB", "RGBA", "P")  # of Pillow: 8 bits a channel, and palettes


@dataclass(frozen=True)
class PatchSet:
    """Patches of some sequences: one array per source, the rows of a sequence together.

    sources: {"clean": uint8 (points, 16, 32, 32), "noisy": ..., ...}; sequence: int (points,),
    an index into names. Raises ValueError where the shapes do not agree.
    """

    sources: dict[str, np.ndarray]
    sequence: np.ndarray
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        expected = (len(self.sequence), len(PATCH_TYPES), SIZE, SIZE)
        for source, patches in self.sources.items():
            if patches.shape != expected or patches.dtype != np.uint8:
                raise ValueError(f"source {source!r} is {patches.dtype} {patches.shape}, "
                                 f"expected uint8 {expected}")

    def __len__(self) -> int:
        return len(self.sequence)

    def __repr__(self) -> str:
        return (f"PatchSet({len(self)} points × {len(PATCH_TYPES)} types, "
                f"{len(self.names)} sequences, sources: {', '.join(self.sources)})")

    def __getitem__(self, source: str) -> np.ndarray:
        if source not in self.sources:
            raise ValueError(f"unknown source {source!r}: this set has {', '.join(self.sources)}")
        return self.sources[source]

    def with_source(self, source: str, patches: np.ndarray) -> "PatchSet":
        """A set that also has these patches, e.g. "denoised"; uint8 (points, 16, 32, 32)."""
        return replace(self, sources={**self.sources, source: patches})

    def select(self, names: Iterable[str]) -> "PatchSet":
        """Only these sequences, in this order. Raises ValueError for one that is not here."""
        names = tuple(names)
        missing = [name for name in names if name not in self.names]
        if missing:
            raise ValueError(f"no sequence {missing[0]!r} here: there are {', '.join(self.names)}")
        rows = [np.flatnonzero(self.sequence == self.names.index(name)) for name in names]
        return self._rows(rows, names)

    def head(self, points: int) -> "PatchSet":
        """The first `points` points of each sequence (all, where it has fewer)."""
        rows = [np.flatnonzero(self.sequence == i)[:points] for i in range(len(self.names))]
        return self._rows(rows, self.names)

    def _rows(self, rows: list[np.ndarray], names: tuple[str, ...]) -> "PatchSet":
        index = np.concatenate(rows) if rows else np.empty(0, int)
        sources = {source: patches[index] for source, patches in self.sources.items()}
        return PatchSet(sources, np.repeat(np.arange(len(rows)), [len(r) for r in rows]), names)


@dataclass(frozen=True)
class PatchData:
    """The three sides of a data set. No sequence (for photos: no photo) is on two of them."""

    train: PatchSet
    validation: PatchSet
    test: PatchSet


def cache_folder() -> Path:
    """Where data is kept: the environment's HPKIT_CACHE, or the user's cache folder."""
    return Path(os.environ.get("HPKIT_CACHE") or platformdirs.user_cache_dir("hpkit"))


def load(data: str | Path = "photos", *, split: str | None = None, points: int | None = None,
         colour: bool = False) -> PatchData:
    """Train, validation and test patches of "photos" (built once) or of a folder like HPatches.

    split: a name in the folder's splits.json ("a" by default for a folder). points: keep only
    the first points of each sequence. colour: accept colour PNGs and turn them grey.
    Raises ValueError or FileNotFoundError with one sentence for what is missing or malformed.
    """
    if str(data) == "photos":
        from hpkit.photos import photos_folder

        folder, split = photos_folder(), split or "photos"
    else:
        folder, split = Path(data), split or "a"
        if not folder.is_dir():
            raise FileNotFoundError(f"{data}: expected \"photos\" or an existing folder with one "
                                    "folder per sequence")
    sides = read_split(folder, split)
    sets = {side: read_sequences(folder, names, colour=colour) for side, names in sides.items()}
    return PatchData(**{side: s if points is None else s.head(points) for side, s in sets.items()})


def read_split(folder: Path, split: str) -> dict[str, list[str]]:
    """Names of the train, validation and test sequences of a split in `folder/splits.json`.

    The official splits have no validation side: every eighth training sequence (sorted by name)
    becomes one, because a choice made on test sequences is a result that cannot be trusted.
    """
    path = folder / "splits.json"
    path = path if path.is_file() else folder / "splits" / "splits.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder / 'splits.json'}: not found; the official file is "
                                "tasks/splits/splits.json of the hpatches-benchmark repository")
    splits = _parse_splits(path)
    if split not in splits:
        raise ValueError(f"{path}: unknown split {split!r}, expected one of {', '.join(splits)}")
    test, train = splits[split].get("test", []), sorted(splits[split].get("train", []))
    validation = splits[split].get("validation", train[::8])
    shared = sorted((set(train) | set(validation)) & set(test))
    if shared:
        raise ValueError(f"{path}: split {split!r} has {shared[0]!r} in both train and test")
    train = [name for name in train if name not in set(validation)]
    return {"train": train, "validation": validation, "test": test}


def _parse_splits(path: Path) -> dict[str, dict[str, list[str]]]:
    try:
        splits = json.loads(path.read_text())
        lists = [names for sides in splits.values() for key, names in sides.items()
                 if key != "name"]
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path}: expected JSON like {{split: {{test: [names], ...}}}} ({error})"
                         ) from error
    for names in lists:
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError(f"{path}: expected JSON like {{split: {{test: [names], ...}}}}, "
                             f"found {str(names)[:40]} for a list of names")
    return splits


def read_sequences(folder: Path, names: Iterable[str], *, colour: bool = False) -> PatchSet:
    """The PatchSet of these sequences of a folder in the HPatches layout.

    Where a folder has an `arrays` folder beside its sequences (the embedded photos do), patches
    are mapped from there; otherwise the PNGs are read and missing noisy twins are made.
    """
    names = tuple(names)
    absent = [name for name in names if not (folder / name).is_dir()]
    if absent:
        raise FileNotFoundError(f"{folder}: no folder for sequence {absent[0]!r} "
                                f"({len(absent)} of {len(names)} sequences are not on disk)")
    arrays = folder / "arrays"
    if arrays.is_dir():
        parts = [{s: np.load(arrays / f"{name}_{s}.npy", mmap_mode="r") for s in ("clean", "noisy")}
                 for name in names]
    else:
        parts = [read_sequence(folder / name, colour=colour) for name in names]
    empty = np.empty((0, len(PATCH_TYPES), SIZE, SIZE), np.uint8)
    sources = {s: np.concatenate([empty, *(p[s] for p in parts)]) for s in ("clean", "noisy")}
    sequence = np.repeat(np.arange(len(names)), [len(p["clean"]) for p in parts])
    return PatchSet(sources, sequence, names)


def read_sequence(folder: Path, *, colour: bool = False) -> dict[str, np.ndarray]:
    """Clean and noisy patches of one sequence, each uint8 (points, 16, 32, 32)."""
    clean = [read_strip(folder / f"{t}.png", colour=colour) for t in PATCH_TYPES]
    for patch_type, strip in zip(PATCH_TYPES, clean, strict=True):
        if len(strip) != len(clean[0]):
            raise ValueError(f"{folder / patch_type}.png: {len(strip)} patches, expected "
                             f"{len(clean[0])} as in ref.png")
    twins = [folder / f"{t}_noise.png" for t in PATCH_TYPES]
    if not any(twin.exists() for twin in twins):
        noisy = [add_noise(strip, folder.name, t)
                 for t, strip in zip(PATCH_TYPES, clean, strict=True)]
    else:
        noisy = [read_strip(twin, colour=colour) for twin in twins]
        for twin, strip in zip(twins, noisy, strict=True):
            if len(strip) != len(clean[0]):
                raise ValueError(f"{twin}: {len(strip)} patches, expected {len(clean[0])} "
                                 "as in ref.png")
    return {"clean": np.stack(clean, 1), "noisy": np.stack(noisy, 1)}


def read_strip(path: Path, *, colour: bool = False) -> np.ndarray:
    """Patches of one PNG: uint8 (points, 32, 32); 65-pixel patches are averaged down to 32."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not found; a sequence needs the 16 files "
                                f"{', '.join(PATCH_TYPES)} (.png)")
    try:
        with Image.open(path) as image:
            mode, strip = image.mode, np.asarray(image.convert("L"))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"{path}: not a whole PNG file ({error})") from error
    if mode != "L" and not (colour and mode in COLOUR_MODES):
        hint = "; colour is converted only with colour=True" if mode in COLOUR_MODES else ""
        raise ValueError(f"{path}: a PNG of mode {mode!r}, expected 8-bit grey ('L'){hint}")
    height, width = strip.shape
    if width not in (SIZE, 65):
        raise ValueError(f"{path}: {width} pixels wide, expected 65 or 32")
    if height % width:
        raise ValueError(f"{path}: {height} pixels high, expected a multiple of its width {width}")
    return shrink(strip).reshape(-1, SIZE, SIZE)


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
