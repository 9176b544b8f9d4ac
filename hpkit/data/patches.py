"""HPatches as a matrix: a row is a physical point, a column one of 16 patch types."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

PATCH_TYPES = ("ref", *(f"{level}{i}" for level in "eht" for i in range(1, 6)))
COLUMNS = len(PATCH_TYPES)
LEVELS = {"easy": slice(1, 6), "hard": slice(6, 11), "tough": slice(11, 16)}
SIZE = 32  # pixels, the side of a patch in memory


def photo_of(sequence: str) -> str:
    """The photo that a sequence is from: "i_moon" and "v_moon" are both from "moon".

    A name without an underscore is its own photo.
    """
    return sequence.partition("_")[2] or sequence


@dataclass(frozen=True, eq=False)
class PatchSet:
    """Patches of some sequences: `patches[source]` is uint8 (points, 16, 32, 32).

    parts: for each source one array per sequence, in the order of names. They may lie
    in files (`arrays.ArrayFile`): then choosing sequences and points costs nothing, and
    a source is read only when it is asked for. contrasts: one array (points,) per
    sequence, see `strips.read_sequence`, or None where it is unknown. Arrays that are
    handed out are read-only, because everyone gets the same ones. Raises ValueError
    where the shapes do not agree.
    """

    parts: dict[str, Sequence[np.ndarray]]
    names: tuple[str, ...]
    contrasts: Sequence[np.ndarray] | None = None
    _joined: dict[str, np.ndarray] = field(init=False, default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        first = next(iter(self.parts.values()))
        for contrast in self.contrasts or ():
            if isinstance(contrast, np.ndarray):
                contrast.flags.writeable = False
        for source, parts in self.parts.items():
            for part, other, name in zip(parts, first, self.names, strict=True):
                expected = (len(other), COLUMNS, SIZE, SIZE)
                if part.shape != expected or part.dtype != np.uint8:
                    raise ValueError(
                        f"source {source!r} of {name} is {part.dtype} {part.shape}, "
                        f"expected uint8 {expected}"
                    )

    def __len__(self) -> int:
        return sum(self.lengths)

    def __repr__(self) -> str:
        return (
            f"PatchSet({len(self)} points × {COLUMNS} types, "
            f"{len(self.names)} sequences, sources: {', '.join(self.sources)})"
        )

    def __getitem__(self, source: str) -> np.ndarray:
        if source not in self._joined:
            parts = list(self.each(source))
            joined = parts[0] if len(parts) == 1 else self._copied(source)
            self._joined[source] = joined
        return self._joined[source]

    def each(self, source: str) -> Iterator[np.ndarray]:
        """A source sequence by sequence, uint8 (points, 16, 32, 32) each, read-only.

        Raises ValueError for a source that is not here.
        """
        if source not in self.parts:
            raise ValueError(
                f"unknown source {source!r}: this set has {', '.join(self.sources)}"
            )
        return (_read_only(np.asarray(part)) for part in self.parts[source])

    def _copied(self, source: str) -> np.ndarray:
        """All sequences of a source in one array; only one file is open at a time."""
        joined = np.empty((len(self), COLUMNS, SIZE, SIZE), np.uint8)
        start = 0
        for part in self.each(source):
            joined[start : start + len(part)] = part
            start += len(part)
        return _read_only(joined)

    @property
    def sources(self) -> tuple[str, ...]:
        """The names to choose from: "clean", "noisy", perhaps "denoised"."""
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
        """float (points,), grey levels: the standard deviation of each reference patch.

        It is taken at the patch's full size where that was measured, else from its 32 ×
        32 pixels.
        """
        if self.contrasts is None:
            return np.array([patch.std() for patch in self["clean"][:, 0]])
        return np.concatenate([np.empty(0), *self.contrasts])

    def with_source(self, source: str, patches: np.ndarray) -> "PatchSet":
        """A set that has these patches as one more source.

        patches: uint8 (points, 16, 32, 32).
        """
        if len(patches) != len(self):
            raise ValueError(
                f"source {source!r} has {len(patches)} rows, expected {len(self)}"
            )
        parts = np.split(_read_only(patches), np.cumsum(self.lengths)[:-1])
        extended = replace(self, parts={**self.parts, source: parts})
        extended._joined.update(self._joined, **{source: _read_only(patches)})
        return extended

    def select(self, names: Iterable[str]) -> "PatchSet":
        """Only these sequences, in this order. Raises ValueError for an unknown one."""
        names = tuple(names)
        missing = [name for name in names if name not in self.names]
        if missing:
            raise ValueError(
                f"no sequence {missing[0]!r} here: there are {', '.join(self.names)}"
            )
        numbers = [self.names.index(name) for name in names]
        return PatchSet(
            {s: [parts[i] for i in numbers] for s, parts in self.parts.items()},
            names,
            self.contrasts and [self.contrasts[i] for i in numbers],
        )

    def head(self, points: int | None) -> "PatchSet":
        """The first `points` points of each sequence; all of them for None.

        Raises ValueError for fewer than one.
        """
        if points is not None and points < 1:
            raise ValueError(
                f"points is {points}, expected at least 1, or None for all"
            )
        return PatchSet(
            {s: [part[:points] for part in parts] for s, parts in self.parts.items()},
            self.names,
            self.contrasts and [contrast[:points] for contrast in self.contrasts],
        )


def _read_only(array: np.ndarray) -> np.ndarray:
    """A view that cannot be written to.

    A reader's in-place filter must not spoil the array for others.
    """
    view = array.view()
    view.flags.writeable = False
    return view
