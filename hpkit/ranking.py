"""Distances between descriptors, and how good the ranking is that they give.

Distances are Euclidean, summed in float64 over the differences themselves, so that equal
descriptors are exactly equally far; `chunk` is how many numbers of 8 bytes may be held at once.
Where only an order is asked for, a matrix product in float32 settles nearly all of it, many times
faster; what lies within its rounding errors is left to the differences.
"""

import numpy as np
import torch
from torch import Tensor

from hpkit.patches import LEVELS

EPSILON = 1e-10  # of the official code: the precision of 0 hits among k is EPSILON / k
EPS = np.finfo(np.float64).eps


def precision_recall(scores: np.ndarray, labels: np.ndarray,
                     total: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision after 0, 1, 2, ... items, best score first; they start at (0, 1).

    labels: 1 for a hit, 0 for a miss; total: all hits there are (default: those in labels). Equal
    scores keep their order; items scored -inf or NaN are never retrieved.
    """
    scores, labels = np.asarray(scores, float), np.asarray(labels)
    if scores.shape != labels.shape or scores.ndim != 1 or not np.isin(labels, (0, 1)).all():
        raise ValueError(f"scores {scores.shape} and labels {labels.shape}: expected two lists of "
                         "one length, labels 0 or 1")
    if total is not None and total < labels.sum():
        raise ValueError(f"total is {total}, expected at least the {labels.sum()} hits in labels")
    return _curve(_hits(scores, labels), labels.sum() if total is None else total)


def _curve(hits: np.ndarray, total: int) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision from the number of hits among the first 0, 1, 2, ... items."""
    ranks = np.arange(len(hits))
    return hits / max(total, EPSILON), np.maximum(hits, EPSILON) / np.maximum(ranks, EPSILON)


def _hits(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Number of hits among the first 0, 1, 2, ... items by descending score."""
    kept = scores > -np.inf  # False for NaN
    order = np.argsort(-scores[kept], kind="stable")
    return np.concatenate([[0], np.cumsum(labels[kept][order], dtype=np.int64)])


def average_precision(scores: np.ndarray, labels: np.ndarray, total: int | None = None) -> float:
    """Area under precision over recall by trapezoids: never more than the usual sum of steps."""
    return _trapezoids(*precision_recall(scores, labels, total))


def _trapezoids(recall: np.ndarray, precision: np.ndarray) -> float:
    return float(np.sum(np.diff(recall) * (precision[1:] + precision[:-1]) / 2))


def roc_auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """The share of (hit, miss) pairs in which the hit is ranked first; ties go by input order."""
    return _roc_area(_hits(np.asarray(scores, float), np.asarray(labels)))


def _roc_area(hits: np.ndarray) -> float:
    misses = np.diff(hits) == 0
    if not hits[-1] or not misses.any():
        raise ValueError("the area under the ROC needs at least one hit and one miss")
    return float(hits[:-1][misses].sum() / (hits[-1] * misses.sum()))


def confusion(distance: np.ndarray, labels: np.ndarray, threshold: float) -> dict[str, float]:
    """What comes out where every pair up to this distance is called the same point.

    labels: 1 for the same point, 0 for another. Gives the counts TP, FP, FN, TN, and precision (1
    where nothing is accepted, as the curve begins) and recall.
    """
    accepted, same = np.asarray(distance) <= threshold, np.asarray(labels) == 1
    counts = {"TP": accepted & same, "FP": accepted & ~same,
              "FN": ~accepted & same, "TN": ~accepted & ~same}
    found = {name: int(one.sum()) for name, one in counts.items()}
    tp, taken, wanted = found["TP"], int(accepted.sum()), int(same.sum())
    return found | {"precision": tp / taken if taken else 1.0, "recall": tp / max(wanted, EPSILON)}


def areas(few: np.ndarray, hits: np.ndarray, misses: np.ndarray) -> tuple[float, float]:
    """`average_precision` of few hits and `roc_auc` of all, from distances in ascending order.

    At equal distance a miss goes first. Searching one sorted list in the other is several times
    faster than ranking them as one.
    """
    return _trapezoids(*_curve(_merged(few, misses), len(few))), _roc_area(_merged(hits, misses))


def _merged(hits: np.ndarray, misses: np.ndarray) -> np.ndarray:
    """As `_hits`, of two ascending lists of distances."""
    labels = np.zeros(1 + len(hits) + len(misses), np.int64)
    labels[1 + np.arange(len(hits)) + np.searchsorted(misses, hits, side="right")] = 1
    return labels.cumsum()


def pair_distances(points: Tensor, pairs: np.ndarray, chunk: int) -> dict[str, np.ndarray]:
    """Distances of pairs (m, 4), as in `Tasks`, at each level: float32 (m,).

    Difference and result are float32, as officially: the ties that rounding makes are the same.
    """
    patches, order = points.flatten(0, 1), np.argsort(pairs[:, 0])  # in the order of memory
    found = {level: np.empty(len(pairs), np.float32) for level in LEVELS}
    size = max(1, chunk // (2 * points.shape[2]))
    for part in np.split(order, range(size, len(order), size)):
        first, image1, second, image2 = pairs[part].T
        for level, columns in LEVELS.items():
            column = np.array([0, *range(columns.start, columns.stop)])  # of image 0..5
            far = apart(patches, patches, points.shape[1] * first + column[image1],
                        points.shape[1] * second + column[image2], chunk, torch.float32)
            found[level][part] = far
    return found


def nearest_neighbours(queries: Tensor, others: Tensor,
                       chunk: int) -> tuple[np.ndarray, np.ndarray]:
    """Distance to the nearest of `others` for each query, and its index, the first of equals."""
    sizes = squares(others)
    found, indices = [], []
    for part in queries.split(max(1, chunk // len(others))):
        near, error = rough(part, others, sizes)
        limit = near.min(1, keepdims=True) + 2 * error
        row, other = _where(near <= limit.astype(near.dtype))
        far = apart(part, others, row, other, chunk)
        least = np.minimum.reduceat(far, np.searchsorted(row, np.arange(len(part))))
        nearest = np.flatnonzero(far == least[row])
        found.append(least)
        indices.append(other[nearest[np.unique(row[nearest], return_index=True)[1]]])
    return np.concatenate(found), np.concatenate(indices)


def count_nearer(queries: Tensor, others: Tensor, sizes: Tensor, limits: np.ndarray,
                 chunk: int) -> np.ndarray:
    """How many of `others` are nearer to a query (n, d) than each of its limits: int (n, k).

    limits: distances (n, k); sizes: see `rough`. There may be up to 65,535 others.
    """
    near, error = rough(queries, others, sizes)
    squared = limits ** 2 - squares(queries).cpu().numpy()[:, None]
    low, high = (squared - error).astype(near.dtype), (squared + error).astype(near.dtype)
    found, doubt = np.empty(limits.shape, int), np.zeros(near.shape, bool)
    for i in range(limits.shape[1]):
        surely = near < low[:, i, None]
        doubt |= surely != (near <= high[:, i, None])
        found[:, i] = surely.view(np.uint8).sum(1, np.uint16)  # quicker than in wider numbers
    row, other = _where(doubt)
    nearer = apart(queries, others, row, other, chunk)[:, None] < limits[row]
    np.add.at(found, row, nearer & (near[row, other, None] >= low[row]))
    return found


def _where(chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of a matrix, as `np.nonzero`, which takes ten times as long."""
    return np.divmod(np.flatnonzero(chosen), chosen.shape[1])


def squares(descriptors: Tensor) -> Tensor:
    """Squared lengths of descriptors (n, d): float64 (n,)."""
    return torch.linalg.vector_norm(descriptors, dim=1, dtype=torch.float64).square()


def rough(queries: Tensor, others: Tensor, sizes: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """|b|² - 2ab by a matrix product, (n, m): a squared distance less |a|²; and its error, (n, 1).

    sizes: `squares` of the others. The error is a bound: d products added in any order, each sum
    rounded; and what the differences themselves may be wrong by.
    """
    largest = squares(queries)[:, None] + sizes.max()
    safe = largest.min() > 1e-30 and largest.max() < 1e30  # no square overflows in float32
    plain = queries.device.type == "cpu" and torch.get_float32_matmul_precision() == "highest"
    kind = torch.float32 if safe and plain else torch.float64
    near = torch.addmm(sizes.to(kind), queries.to(kind), others.to(kind).T, alpha=-2)
    rounding = (queries.shape[1] / 2 + 4) * (torch.finfo(kind).eps + 3 * EPS)
    return near.cpu().numpy(), (rounding * largest).cpu().numpy()


def apart(first: Tensor, second: Tensor, row: np.ndarray, other: np.ndarray, chunk: int,
          kind: torch.dtype = torch.float64) -> np.ndarray:
    """Distances of rows of the first from rows of the second: float64, their differences of a kind.
    """
    def taken(rows: Tensor, numbers: Tensor) -> Tensor:
        return rows.index_select(0, numbers.to(rows.device)).to(kind)

    size = max(1, chunk // (8 * first.shape[1]))  # in the inner cache
    numbers = zip(torch.from_numpy(row).split(size), torch.from_numpy(other).split(size),
                  strict=True)
    parts = [torch.linalg.vector_norm(taken(first, a) - taken(second, b), dim=1,
                                      dtype=torch.float64).cpu().numpy() for a, b in numbers]
    return np.concatenate(parts)


def distances(queries: Tensor, others: Tensor) -> Tensor:
    """All distances, (..., n, d) and (..., m, d) to (..., n, m), in the type of the input.

    Not by a matrix product: |a|² + |b|² - 2ab cancels, which would order near ties by chance.
    """
    return torch.cdist(queries, others, compute_mode="donot_use_mm_for_euclid_dist")
