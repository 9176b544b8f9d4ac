"""What an evaluation asks: pairs, queries, distractors; the official files, and ours.

The official benchmark writes a patch as sequence, image number 0..5 and index in its
sequence. Here it is a row of the point matrix and the image number: 0 is the reference
at every level, i > 0 is column e<i>, h<i> or t<i>. So one list of pairs serves the
three levels.
"""

import hashlib
import json
import tempfile
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from hpkit.data.patches import PatchSet

FILES = {
    "positives": "verif_pos",
    "intra": "verif_neg_intra",
    "inter": "verif_neg_inter",
    "queries": "retr_queries",
    "distractors": "retr_distractors",
}

PAIR_COLUMNS = ("s1", "t1", "idx1", "s2", "t2", "idx2")

# Rows asked for.
OFFICIAL = {"pairs": 1_000_000, "queries": 10_000, "distractors": 20_000}

SEED = 42  # of the official generators

# Grey levels: the standard deviation that a query's reference patch must exceed.
CONTRAST = 10


@dataclass(frozen=True, eq=False)
class Tasks:
    """Pairs, queries and distractors of one split.

    Raises ValueError where the counts disagree.
    """

    names: tuple[str, ...]  # sequences, in the split's order
    sequence: np.ndarray  # int (points,): index into names, ascending
    # int (pairs, 4): row, image, row, image; both rows are the same point
    positives: np.ndarray
    intra: np.ndarray  # int (pairs, 4): two points of one sequence
    inter: np.ndarray  # int (pairs, 4): two points of any two sequences
    queries: np.ndarray  # int (queries,): rows, meant is their reference patch
    distractors: np.ndarray  # int (distractors,): rows, meant is their reference patch

    def __post_init__(self) -> None:
        for field in (*FILES, "sequence"):
            rows = np.asarray(getattr(self, field)).view()
            rows.flags.writeable = False  # they are shared by all who ask
            object.__setattr__(self, field, rows)
        counts = {field: len(getattr(self, field)) for field in FILES}
        if len({counts["positives"], counts["intra"], counts["inter"]}) > 1:
            raise ValueError(
                f"{counts['positives']} positive, {counts['intra']} intra and "
                f"{counts['inter']} inter pairs: expected equally many of each"
            )
        if counts["positives"] < 5:
            raise ValueError(
                f"{counts['positives']} pairs of each kind, expected at least 5"
            )
        for field in ("queries", "distractors"):
            if not counts[field]:
                raise ValueError(
                    f"no {field}: expected at least one reference patch whose "
                    f"standard deviation exceeds {CONTRAST} grey levels"
                )


def tasks_for(
    patches: PatchSet,
    pairs: int = 20_000,
    queries: int | None = None,
    distractors: int = 2000,
) -> Tasks:
    """Tasks for a PatchSet by the official procedure.

    The contrast of its clean reference patches decides which can be queries and
    distractors. queries: by default a fifth of the points and at most 500, since no
    query is a distractor, and a small set would have none left. 20,000 pairs take half
    a second, the official million half a minute. Raises ValueError as `generate_tasks`
    does.
    """
    if queries is None:
        queries = min(500, len(patches) // 5)
        if not queries:
            raise ValueError(
                f"{len(patches)} points, expected at least 5 to have a query among them"
            )
    return generate_tasks(
        patches.names, patches.lengths, patches.contrast, pairs, queries, distractors
    )


def generate_tasks(
    names: Iterable[str],
    lengths: Sequence[int],
    contrast: Sequence[float],
    pairs: int = OFFICIAL["pairs"],
    queries: int = OFFICIAL["queries"],
    distractors: int = OFFICIAL["distractors"],
) -> Tasks:
    """Tasks as the official generators draw them: one seed, one random stream.

    names: the split's test sequences, in its order. lengths: points of each. contrast:
    standard deviation of each point's reference patch, in grey levels (officially of 65
    × 65 pixels). As officially, image 5 never occurs, an "inter" pair may fall into one
    sequence, and fewer queries or distractors come back where the patches run out.
    Raises ValueError for a sequence of fewer than 2 points, or with nothing to ask.
    """
    names, lengths, contrast = tuple(names), np.asarray(lengths), np.asarray(contrast)
    if not names or lengths.min() < 2:
        found = dict(zip(names, lengths.tolist(), strict=True)) or "no sequence"
        raise ValueError(f"each test sequence needs at least 2 points, found {found}")
    if contrast.shape != (lengths.sum(),):
        raise ValueError(
            f"contrast of {contrast.shape} reference patches, expected "
            f"{lengths.sum()} (one per point)"
        )
    return Tasks(
        names,
        np.repeat(np.arange(len(names)), lengths),
        *_draw_pairs(tuple(lengths.tolist()), pairs),
        *_draw_queries(lengths, contrast, queries, distractors),
    )


# The official million takes most of a minute, and each run asks for it.
@lru_cache(maxsize=1)
def _draw_pairs(lengths: tuple[int, ...], pairs: int) -> list[np.ndarray]:
    """Positive, intra and inter pairs.

    They are drawn one by one: a vectorised draw would give another random stream.
    """
    random, lengths = np.random.RandomState(SEED), np.array(lengths)
    starts = np.cumsum(lengths) - lengths
    s = random.choice(len(lengths), pairs)
    same, other = _two_of(lengths[s], random).T + starts[s]
    first, second = _two_of(np.full(pairs, 5), random).T
    s = random.choice(len(lengths), pairs)
    anywhere = random.randint(lengths[s]) + starts[s]
    return [np.stack([same, first, row, second], 1) for row in (same, other, anywhere)]


def _two_of(sizes: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    """Two different numbers below each size: (n, 2).

    They are those that a choice without replacement draws.
    """
    two = np.empty((len(sizes), 2), int)
    for row, size in zip(two, sizes, strict=True):
        # Copied, or a million whole permutations would be kept.
        row[:] = random.permutation(size)[:2]
    return two


def _draw_queries(
    lengths: np.ndarray, contrast: np.ndarray, queries: int, distractors: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the queries and of the distractors: no row twice, none in both."""
    random = np.random.RandomState(SEED)

    def draw(count: int) -> np.ndarray:
        s = random.choice(len(lengths), count)
        rows = random.randint(lengths[s]) + (np.cumsum(lengths) - lengths)[s]
        return pd.unique(rows[contrast[rows] > CONTRAST])

    asked, others = draw(4 * queries)[:queries], draw(10 * distractors)
    return asked, others[~np.isin(others, asked)][:distractors]


def write_tasks(tasks: Tasks, folder: str | Path, split: str) -> None:
    """Write the five official files, byte for byte the same.

    One of them is `verif_pos_split-a.csv`, for example.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    index = np.arange(len(tasks.sequence)) - np.searchsorted(
        tasks.sequence, tasks.sequence
    )
    names = np.array(tasks.names, dtype=object)[tasks.sequence]
    for field, stem in FILES.items():
        rows = getattr(tasks, field)
        if rows.ndim == 1:
            columns = {"s": names[rows], "idx": index[rows]}
        else:
            first, image1, second, image2 = rows.T
            columns = dict(
                zip(
                    PAIR_COLUMNS,
                    (
                        names[first],
                        image1,
                        index[first],
                        names[second],
                        image2,
                        index[second],
                    ),
                    strict=True,
                )
            )
        path = folder / f"{stem}_split-{split}.csv"
        pd.DataFrame(columns).to_csv(path, index=False, lineterminator="\n")


def blob_id(content: bytes) -> str:
    """The SHA-1 that git gives a file of this content."""
    return hashlib.sha1(
        b"blob %d\0" % len(content) + content, usedforsecurity=False
    ).hexdigest()


def official_ids() -> dict[str, str]:
    """Git blob ids of the files in the benchmark's `tasks` folder, by path."""
    return (
        pd.read_csv(Path(__file__).parent / "official.csv")
        .set_index("file")
        .blob.to_dict()
    )


def unofficial(tasks: Tasks, split: str) -> list[str]:
    """Those of the five task files of these tasks that differ from the published."""
    with tempfile.TemporaryDirectory() as folder:
        write_tasks(tasks, folder, split)
        return [
            path.name
            for path in sorted(Path(folder).iterdir())
            if blob_id(path.read_bytes()) != official_ids().get(path.name)
        ]


def warn_unofficial(tasks: Tasks, split: str) -> list[str]:
    """`unofficial`, with a warning where some files differ.

    The warning says how to get the published files.
    """
    other = unofficial(tasks, split)
    if other:
        warnings.warn(
            f"split {split}: {', '.join(other)} made from these patches are NOT the "
            "official tasks, so scores cannot be compared with published ones; the "
            f"official files come with: hpkit download tasks --split {split} "
            "--to FOLDER",
            stacklevel=2,
        )
    return other


def read_tasks(
    folder: str | Path, split: str, names: Iterable[str], lengths: Sequence[int]
) -> Tasks:
    """Tasks from the five official files, for sequences of these numbers of points.

    Raises FileNotFoundError, or ValueError with the file, the line and what was
    expected there. Warns of a file that has a published name and other content. One
    thing goes unnoticed, in files of your own: a number changed into another valid one.
    """
    names, lengths = tuple(names), np.asarray(lengths)
    tables = {}
    for field, stem in FILES.items():
        path = Path(folder) / f"{stem}_split-{split}.csv"
        if field in ("queries", "distractors"):
            before = tables.get("queries", []) if field == "distractors" else []
            tables[field] = _read_patches(path, names, lengths, before)
        else:
            tables[field] = _read_pairs(path, names, lengths, field)
        found = blob_id(path.read_bytes())
        if official_ids().get(path.name, found) != found:
            warnings.warn(
                f"{path}: NOT the published file of this name, so scores cannot be "
                "compared with published ones",
                stacklevel=2,
            )
    try:
        sequence = np.repeat(np.arange(len(names)), lengths)
        return Tasks(names, sequence, **tables)
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from error


def _read_pairs(
    path: Path, names: tuple[str, ...], lengths: np.ndarray, kind: str
) -> np.ndarray:
    """A file of pairs as rows (n, 4): row, image, row, image."""
    table = _read_table(path, PAIR_COLUMNS)
    first = _rows(table, path, "s1", "idx1", names, lengths)
    second = _rows(table, path, "s2", "idx2", names, lengths)
    images = [_integers(table, path, column, np.array([6])) for column in ("t1", "t2")]
    if kind == "positives":
        same = "the same point as the first"
        _refuse(first != second, table, path, "idx2", same)
    if kind == "intra":
        _refuse(table.s1 != table.s2, table, path, "s2", "the same sequence as s1")
    return np.stack([first, images[0], second, images[1]], 1)


def _read_patches(
    path: Path, names: tuple[str, ...], lengths: np.ndarray, before: Sequence[int]
) -> np.ndarray:
    """A file of reference patches as rows (n,), none twice and none of those before."""
    table = _read_table(path, ("s", "idx"))
    rows = _rows(table, path, "s", "idx", names, lengths)
    twice = pd.Series(rows).duplicated() | np.isin(rows, before)
    once = "each patch once among queries and distractors"
    _refuse(twice, table, path, "idx", once)
    return rows


def _read_table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: not found; take the official task files or write your "
            "own with hpkit.data.tasks.generate_tasks and write_tasks"
        )
    try:
        table = pd.read_csv(path, keep_default_na=False)
    except ValueError as error:
        raise ValueError(
            f"{path}: not a readable CSV file ({str(error).strip()})"
        ) from error
    if tuple(table.columns) != columns:
        # In one line, whatever is in it.
        found = json.dumps(",".join(map(str, table.columns)))
        raise ValueError(f"{path}: header {found}, expected {','.join(columns)}")
    if table.empty:
        raise ValueError(f"{path}: no rows, expected at least one")
    return table


def _rows(
    table: pd.DataFrame,
    path: Path,
    name: str,
    idx: str,
    names: tuple[str, ...],
    lengths: np.ndarray,
) -> np.ndarray:
    """Rows of the point matrix for a column of sequence names and one of indices."""
    sequence = pd.Index(names).get_indexer(table[name])
    _refuse(sequence < 0, table, path, name, f"one of {', '.join(names)}")
    index = _integers(table, path, idx, np.array([np.inf]))
    missing = index >= lengths[sequence]
    if missing.any():
        row = int(np.argmax(missing))
        raise ValueError(
            f"{table[name].iloc[row]} has {lengths[sequence[row]]} points here, and "
            f"{path}, line {row + 2}, asks for {idx} {index[row]} (they count from 0): "
            "some of its descriptors (or patches) are missing, or that line is wrong"
        )
    return index + (np.cumsum(lengths) - lengths)[sequence]


def _integers(
    table: pd.DataFrame, path: Path, column: str, below: np.ndarray
) -> np.ndarray:
    values = pd.to_numeric(table[column], errors="coerce").to_numpy(float)
    # NaN is bad, too.
    bad = ~((values >= 0) & (values < below) & (values == np.floor(values)))
    upwards = "0 upwards" if np.isinf(below[0]) else f"0 to {below[0] - 1}"
    _refuse(bad, table, path, column, f"a whole number from {upwards}")
    return values.astype(np.int64)


def _refuse(
    bad: np.ndarray, table: pd.DataFrame, path: Path, column: str, expected: str
) -> None:
    """Raise ValueError for the first bad row, by its line in the file."""
    if bad.any():
        row = int(np.argmax(bad))
        # In one line, whatever is in it.
        found = json.dumps(str(table[column].iloc[row]))
        raise ValueError(
            f"{path}, line {row + 2}: {column} is {found}, expected {expected}"
        )
