"""HPatches is a matrix: rows are points, columns are the 16 patch types. Sets, splits, `load`."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import platformdirs

from hpkit import layout
from hpkit.archives import root_of
from hpkit.layout import (
    LEVELS,
    PATCH_TYPES,
    SIZE,
    read_sequence,
    shrink,
    write_sequence,
)
from hpkit.splits import EMBEDDED, read_split, splits_folder, usual_split

__all__ = ["LEVELS", "PATCH_TYPES", "SIZE", "PatchData", "PatchSet", "cache_folder", "data_folder",
           "load", "read_sequence", "read_sequences", "read_split", "shrink", "splits_folder",
           "usual_split", "write_sequence"]


@dataclass(frozen=True, eq=False)
class PatchSet:
    """Patches of some sequences; `patches[source]` is uint8 (points, 16, 32, 32), all together.

    parts: for each source one array per sequence, in the order of names. They may be mapped from
    files: choosing sequences and points costs nothing, and a source is read when it is asked for
    (copied, unless it is one sequence).
    contrasts: one array (points,) per sequence, see `layout.read_sequence`; or unknown.
    Raises ValueError where the shapes do not agree.
    """

    parts: dict[str, Sequence[np.ndarray]]
    names: tuple[str, ...]
    contrasts: Sequence[np.ndarray] | None = None
    _joined: dict[str, np.ndarray] = field(init=False, default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        first = next(iter(self.parts.values()))
        for source, parts in self.parts.items():
            for part, other, name in zip(parts, first, self.names, strict=True):
                expected = (len(other), len(PATCH_TYPES), SIZE, SIZE)
                if part.shape != expected or part.dtype != np.uint8:
                    raise ValueError(f"source {source!r} of {name} is {part.dtype} {part.shape}, "
                                     f"expected uint8 {expected}")

    def __len__(self) -> int:
        return sum(self.lengths)

    def __repr__(self) -> str:
        return (f"PatchSet({len(self)} points × {len(PATCH_TYPES)} types, "
                f"{len(self.names)} sequences, sources: {', '.join(self.sources)})")

    def __getitem__(self, source: str) -> np.ndarray:
        if source not in self.parts:
            raise ValueError(f"unknown source {source!r}: this set has {', '.join(self.sources)}")
        if source not in self._joined:
            parts = self.parts[source]
            empty = np.empty((0, len(PATCH_TYPES), SIZE, SIZE), np.uint8)
            joined = parts[0] if len(parts) == 1 else np.concatenate([empty, *parts])
            self._joined[source] = joined
        return self._joined[source]

    @property
    def sources(self) -> tuple[str, ...]:
        """What there is to choose from: "clean", "noisy", perhaps "denoised"."""
        return tuple(self.parts)

    @property
    def lengths(self) -> list[int]:
        """How many points each sequence has."""
        return [len(part) for part in next(iter(self.parts.values()))]

    @property
    def sequence(self) -> np.ndarray:
        """int (points,): for each row an index into names, ascending."""
        return np.repeat(np.arange(len(self.names)), self.lengths)

    @property
    def contrast(self) -> np.ndarray:
        """float (points,), grey levels: of each reference patch, where unknown of its 32 pixels."""
        if self.contrasts is None:
            return np.array([patch.std() for patch in self["clean"][:, 0]])
        return np.concatenate([np.empty(0), *self.contrasts])

    def with_source(self, source: str, patches: np.ndarray) -> "PatchSet":
        """A set that also has these patches, e.g. "denoised"; uint8 (points, 16, 32, 32)."""
        if len(patches) != len(self):
            raise ValueError(f"source {source!r} has {len(patches)} rows, expected {len(self)}")
        ends = np.cumsum(self.lengths)
        parts = [patches[end - n:end] for n, end in zip(self.lengths, ends, strict=True)]
        extended = replace(self, parts={**self.parts, source: parts})
        extended._joined.update(self._joined, **{source: patches})
        return extended

    def select(self, names: Iterable[str]) -> "PatchSet":
        """Only these sequences, in this order. Raises ValueError for one that is not here."""
        names = tuple(names)
        missing = [name for name in names if name not in self.names]
        if missing:
            raise ValueError(f"no sequence {missing[0]!r} here: there are {', '.join(self.names)}")
        numbers = [self.names.index(name) for name in names]
        return PatchSet({s: [p[i] for i in numbers] for s, p in self.parts.items()}, names,
                        self.contrasts and [self.contrasts[i] for i in numbers])

    def head(self, points: int | None) -> "PatchSet":
        """The first `points` points of each sequence (all, where it has fewer; None: all)."""
        return PatchSet({s: [p[:points] for p in parts] for s, parts in self.parts.items()},
                        self.names, self.contrasts and [c[:points] for c in self.contrasts])


@dataclass(frozen=True)
class PatchData:
    """The three sides of a data set. No sequence (for photos: no photo) is on two of them."""

    train: PatchSet
    validation: PatchSet
    test: PatchSet


def cache_folder() -> Path:
    """Where hpkit keeps what it makes: the environment's HPKIT_CACHE, or the user's cache folder.
    """
    return Path(os.environ.get("HPKIT_CACHE") or platformdirs.user_cache_dir("hpkit"))


def data_folder() -> Path:
    """Where data sets are kept: the environment's HPKIT_DATA, or the cache folder.

    One that is whole is only ever read, so many users can share a folder that they cannot write to.
    """
    return Path(os.environ.get("HPKIT_DATA") or cache_folder())


def load(data: str | Path = "photos", *, split: str | None = None, points: int | None = None,
         colour: bool = False) -> PatchData:
    """Train, validation and test patches of "photos", of "hpatches", or of a folder like HPatches.

    "photos" and "scenes" (see `hpkit.scenes`) are built on the first call; "hpatches" fetches the
    sequences that are not there yet, after it has said how much that is. A folder (or zip) of PNGs
    is converted once. split: a name in splits.json ("a" by default). points: keep only the first
    points of each sequence. colour: accept colour PNGs and turn them grey. Raises ValueError or
    OSError with one sentence for what is missing or malformed.
    """
    sides = read_split(splits_folder(data), split or usual_split(data))
    everything = read_sequences(data, [n for names in sides.values() for n in names], colour=colour)
    return PatchData(**{side: everything.select(names).head(points)
                        for side, names in sides.items()})


def read_sequences(data: str | Path, names: Iterable[str], *, colour: bool = False) -> PatchSet:
    """The PatchSet of these sequences of a data set, see `load`; only they are fetched or made."""
    names = tuple(names)
    arrays = _arrays(data, names, colour)
    absent = [name for name in names if not layout.is_whole(arrays, name)]
    if absent:
        raise FileNotFoundError(f"{arrays}: not all of sequence {absent[0]!r} is there "
                                f"({len(absent)} of {len(names)} sequences are missing)")
    found = {kind: [layout.open_array(arrays, name, kind) for name in names]
             for kind in ("clean", "noisy")}
    measured = all((arrays / f"{name}_contrast.npy").is_file() for name in names)
    return PatchSet(found, names, [layout.open_array(arrays, name, "contrast") for name in names]
                    if measured else None)


def _arrays(data: str | Path, names: tuple[str, ...], colour: bool) -> Path:
    """The folder of a data set's arrays, in which as many of these sequences are as there can be.

    A folder that has arrays already is read as it is; PNGs are converted, into the cache folder.
    """
    if str(data) == "hpatches":
        from hpkit.download import fetch

        return fetch(names)
    source = splits_folder(data) if str(data) in EMBEDDED else Path(data)
    if not source.exists():
        raise FileNotFoundError(f"{data}: not found")
    if (source / "arrays").is_dir():
        return source / "arrays"
    root = root_of(source)
    absent = [name for name in names if not (root / name).is_dir()]
    if absent:
        raise FileNotFoundError(f"{data}: no folder for sequence {absent[0]!r} "
                                f"({len(absent)} of {len(names)} sequences are not on disk)")
    place = hashlib.sha256(f"{source.resolve()} {colour}".encode()).hexdigest()[:12]
    arrays = cache_folder() / "converted" / place
    layout.convert(root, names, arrays, colour=colour)
    return arrays
