"""The three tasks of HPatches, scored as the official benchmark scores them.

Balntas et al., "HPatches", CVPR 2017, section 5. Where the paper is silent (ties, the
trapezoid, the pools) the published Python benchmark decides.
"""

from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from hpkit.data.patches import LEVELS, PATCH_TYPES
from hpkit.data.tasks import Tasks
from hpkit.devices import keep_memory, resolve_device
from hpkit.evaluation.distances import (
    as_array,
    count_nearer,
    nearest_neighbours,
    pair_distances,
    row_distances,
    squares,
    tied,
)
from hpkit.evaluation.precision import EPSILON, ap_and_auc, average_precision

POOLS = (100, 500, 1000, 5000, 10000, 15000, 20000)  # sizes K of the retrieval pools

CHUNK = 1_000_000  # numbers held at once: more would not stay in a processor's cache


@dataclass(frozen=True)
class _Checked:
    """Descriptors (points, 16, d) on the device that have been through `_points`."""

    points: Tensor


def verification(
    descriptors: np.ndarray, tasks: Tasks, *, device: str = "auto", chunk: int = CHUNK
) -> pd.DataFrame:
    """Which pairs show one point? Rows: level, negatives ("inter", "intra"), ap, auc.

    descriptors: float32 (points, 16, d). auc is over all pairs; ap is over all
    negatives and the first fifth of the positives. At equal distance the negative goes
    first, which is pessimistic.
    """
    points = _points(descriptors, tasks, device)
    found = {
        kind: pair_distances(points, getattr(tasks, kind), chunk)
        for kind in ("positives", "inter", "intra")
    }
    fifth = int(0.2 * len(tasks.positives))
    rows = []
    for level in LEVELS:
        positives = found["positives"][level]
        some, positives = np.sort(positives[:fifth]), np.sort(positives)
        for kind in ("inter", "intra"):
            ap, auc = ap_and_auc(some, positives, np.sort(found[kind][level]))
            rows.append(
                {
                    "task": "verification",
                    "level": level,
                    "negatives": kind,
                    "ap": ap,
                    "auc": auc,
                }
            )
    return pd.DataFrame(rows)


def matching(
    descriptors: np.ndarray, tasks: Tasks, *, device: str = "auto", chunk: int = CHUNK
) -> pd.DataFrame:
    """Does a reference patch's nearest neighbour in a target image show the same point?

    Rows: level, sequence, image (1..5), ap, success_rate (the share that does). A wrong
    neighbour counts twice, as found and as missed. Of equally near ones the first is
    taken.
    """
    points = _points(descriptors, tasks, device)
    rows = []
    for number, name in enumerate(tasks.names):
        start, stop = np.searchsorted(tasks.sequence, (number, number + 1))
        for level, columns in LEVELS.items():
            for image, column in enumerate(range(columns.start, columns.stop), 1):
                distance, nearest = nearest_neighbours(
                    points[start:stop, 0], points[start:stop, column], chunk
                )
                correct = nearest == np.arange(stop - start)
                rows.append(
                    {
                        "task": "matching",
                        "level": level,
                        "sequence": name,
                        "image": image,
                        "ap": average_precision(-distance, correct, total=stop - start),
                        "success_rate": correct.mean(),
                    }
                )
    return pd.DataFrame(rows)


def retrieval(
    descriptors: np.ndarray,
    tasks: Tasks,
    *,
    device: str = "auto",
    chunk: int = CHUNK,
    ties_win: bool = True,
) -> pd.DataFrame:
    """Do a query's five positives come before the rest of a pool?

    Rows: level, pool, ap. pool is no rank cut-off: the 5 positives and the first pool -
    5 distractors that are not of the query's own sequence are all ranked. ap: the mean
    over the queries. ties_win: at equal distance the positive goes first, as
    officially, else the distractor.
    """
    options = {"device": device, "chunk": chunk, "ties_win": ties_win}
    ap = retrieval_by_query(descriptors, tasks, **options).mean(2)
    return pd.DataFrame(
        [
            {"task": "retrieval", "level": level, "pool": pool, "ap": ap[i, j]}
            for i, level in enumerate(LEVELS)
            for j, pool in enumerate(POOLS)
        ]
    )


def retrieval_by_query(
    descriptors: np.ndarray,
    tasks: Tasks,
    *,
    device: str = "auto",
    chunk: int = CHUNK,
    ties_win: bool = True,
) -> np.ndarray:
    """Average precision of each query: float64 (3 levels, 7 pools, queries)."""
    points = _points(descriptors, tasks, device)
    result = np.empty((len(LEVELS), len(POOLS), len(tasks.queries)))
    query_sequence = tasks.sequence[tasks.queries]
    # The queries of a sequence share one list of distractors.
    for sequence in np.unique(query_sequence):
        others = tasks.distractors[tasks.sequence[tasks.distractors] != sequence]
        others = points[torch.tensor(others[: POOLS[-1] - 5]), 0]
        sizes = squares(others)
        mine = torch.tensor(np.flatnonzero(query_sequence == sequence))
        for part in mine.split(max(1, chunk // 5000)):  # a pool adds at most 5000
            queries = points[torch.tensor(tasks.queries)[part]]
            result[:, :, part.numpy()] = _query_precision(
                queries, others, sizes, chunk, ties_win
            )
    return result


def _query_precision(
    queries: Tensor, others: Tensor, sizes: Tensor, chunk: int, ties_win: bool
) -> np.ndarray:
    """Average precision of some queries of one sequence: (3, 7, n).

    queries: their points (n, 16, d); others: the distractors (m, d) in file order. The
    j-th nearest positive has rank j + (distractors nearer, or as near unless ties_win).
    """
    own = np.arange(15 * len(queries))
    positives = row_distances(
        queries[:, 0], queries[:, 1:].flatten(0, 1), own // 15, own, chunk
    )
    positives = np.sort(positives.reshape(-1, len(LEVELS), 5)).reshape(-1, 15)
    if not ties_win:  # what is as near is nearer than the next larger number
        positives = np.nextafter(positives, np.inf)
    nearer = np.zeros((len(POOLS), *positives.shape), int)
    for found, (a, b) in zip(
        nearer, pairwise([0, *(pool - 5 for pool in POOLS)]), strict=True
    ):
        if a < len(others):
            found[:] = count_nearer(
                queries[:, 0], others[a:b], sizes[a:b], positives, chunk
            )
    nearer = np.cumsum(nearer, axis=0)  # (pools, n, levels * 5)
    j = np.arange(1, 6)
    nearer = nearer.reshape(len(POOLS), -1, len(LEVELS), 5).transpose(2, 0, 1, 3)
    # The rank just before the hit, EPSILON for none.
    before = np.maximum(nearer + j - 1, EPSILON)
    step = j / (nearer + j) + np.maximum(j - 1, EPSILON) / before
    return step.mean(-1) / 2


def _points(
    descriptors: np.ndarray | Tensor | _Checked, tasks: Tasks, device: str
) -> Tensor:
    """Descriptors (points, 16, d) on the device, checked unless they were already."""
    if isinstance(descriptors, _Checked):
        return descriptors.points
    descriptors = as_array(descriptors)
    shape = np.shape(descriptors)
    if (
        len(shape) != 3
        or shape[:2] != (len(tasks.sequence), len(PATCH_TYPES))
        or not shape[2]
    ):
        raise ValueError(
            f"descriptors {shape}, expected ({len(tasks.sequence)}, "
            f"{len(PATCH_TYPES)}, d): points, types, values"
        )
    descriptors = np.require(descriptors, np.float32, ["C", "W"])
    if not np.isfinite([descriptors.min(), descriptors.max()]).all():
        row, column, _ = np.argwhere(~np.isfinite(descriptors))[0]
        number = tasks.sequence[row]
        raise ValueError(
            f"the descriptor of {tasks.names[number]}/{PATCH_TYPES[column]}, row "
            f"{row - np.searchsorted(tasks.sequence, number)}, is not finite"
        )
    keep_memory()  # each matrix of distances takes the place of the last one
    chosen = resolve_device(device)
    where = "cpu" if chosen.type == "mps" else chosen  # MPS has no float64
    return torch.from_numpy(descriptors).to(where)


@dataclass(frozen=True)
class Scores:
    """The three mean average precisions, 0..1; print it for the official tables."""

    verification: float
    matching: float
    retrieval: float
    # One row per average precision.
    table: pd.DataFrame = field(repr=False, compare=False)

    def tables(self) -> dict[str, pd.DataFrame]:
        """The official tables, levels as rows and then their mean."""
        rows = dict(list(self.table.groupby("task")))
        tables = {
            "verification, average precision": _pivot(
                rows["verification"], "negatives", "ap"
            ),
            "verification, area under ROC": _pivot(
                rows["verification"], "negatives", "auc"
            ),
            "matching": rows["matching"]
            .groupby("level", sort=False)
            .mean(numeric_only=True)[["ap", "success_rate"]],
            "retrieval, average precision by pool": _pivot(
                rows["retrieval"].astype({"pool": int}), "pool", "ap"
            ),
        }
        for table in tables.values():
            table.loc["mean"] = table.mean()
        return tables

    def __str__(self) -> str:
        parts = [
            f"{title}\n{table.rename_axis(index=None, columns=None).to_string()}"
            for title, table in self.tables().items()
        ]
        return "\n\n".join(
            [
                *parts,
                f"verification mAP {self.verification:.6f}\n"
                f"matching mAP     {self.matching:.6f}\n"
                f"retrieval mAP    {self.retrieval:.6f}",
            ]
        )


def _pivot(rows: pd.DataFrame, columns: str, values: str) -> pd.DataFrame:
    return rows.pivot_table(values, "level", columns, sort=False)


def evaluate(
    descriptors: np.ndarray, tasks: Tasks, *, device: str = "auto", chunk: int = CHUNK
) -> Scores:
    """All three tasks; a score is the plain mean of its average precisions.

    descriptors: float32 (points, 16, d), in the rows of `tasks`. Where most distances
    are equal, it warns, and ties no longer go to the positives in retrieval. Raises
    ValueError for another shape, and for a descriptor that is not finite, with its
    sequence, type and row.
    """
    checked = _Checked(_points(descriptors, tasks, device))  # once for all
    ranked = partial(retrieval, ties_win=not tied(checked.points, tasks.inter))
    tables = [
        task(checked, tasks, device=device, chunk=chunk)
        for task in (verification, matching, ranked)
    ]
    return Scores(
        *(float(table.ap.mean()) for table in tables),
        pd.concat(tables, ignore_index=True),
    )
