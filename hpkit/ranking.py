"""Distances between descriptors, and how good the ranking is that they give.

Distances are Euclidean, summed in float64 over the differences themselves, so that equal
descriptors are exactly equally far; `chunk` is how many numbers of 8 bytes may be held at once.
"""

import numpy as np
import torch
from torch import Tensor

EPSILON = 1e-10  # of the official code: the precision of 0 hits among k is EPSILON / k


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
    total = labels.sum() if total is None else total
    hits, ranks = _hits(scores, labels), np.arange(1 + (scores > -np.inf).sum())
    return hits / max(total, EPSILON), np.maximum(hits, EPSILON) / np.maximum(ranks, EPSILON)


def _hits(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Number of hits among the first 0, 1, 2, ... items by descending score."""
    kept = scores > -np.inf  # False for NaN
    order = np.argsort(-scores[kept], kind="stable")
    return np.concatenate([[0], np.cumsum(labels[kept][order], dtype=np.int64)])


def average_precision(scores: np.ndarray, labels: np.ndarray, total: int | None = None) -> float:
    """Area under precision over recall by trapezoids: never more than the usual sum of steps."""
    recall, precision = precision_recall(scores, labels, total)
    return float(np.sum(np.diff(recall) * (precision[1:] + precision[:-1]) / 2))


def roc_auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """The share of (hit, miss) pairs in which the hit is ranked first; ties go by input order."""
    hits = _hits(np.asarray(scores, float), np.asarray(labels))
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


def pair_distances(points: Tensor, pairs: np.ndarray, columns: slice, chunk: int) -> np.ndarray:
    """Distances of pairs (m, 4), as in `Tasks`, at the level of these columns: float32 (m,).

    Difference and result are float32, as officially: the ties that rounding makes are the same.
    """
    column = torch.tensor([0, *range(columns.start, columns.stop)])  # of image 0..5
    parts = []
    for part in torch.tensor(pairs).split(max(1, chunk // (2 * points.shape[2]))):
        first, second = (points[part[:, i], column[part[:, i + 1]]] for i in (0, 2))
        norms = torch.linalg.vector_norm(first - second, dim=1, dtype=torch.float64)
        parts.append(norms.float().cpu().numpy())
    return np.concatenate(parts)


def nearest_neighbours(queries: Tensor, others: Tensor,
                       chunk: int) -> tuple[np.ndarray, np.ndarray]:
    """Distance to the nearest of `others` for each query, and its index, the first of equals.

    A matrix product finds it; where its rounding leaves a doubt, the differences decide.
    """
    others = others.double()
    norms = others.square().sum(1)
    rounding = 4 * (others.shape[1] + 2) * torch.finfo(torch.float64).eps
    found, indices = [], []
    for part in queries.split(max(1, chunk // len(others))):
        part = part.double()
        best = torch.addmm(norms, part, others.T, alpha=-2).topk(min(2, len(others)), largest=False)
        gap, nearest = best.values[:, -1] - best.values[:, 0], best.indices[:, 0]
        unsure = gap <= rounding * (part.square().sum(1) + norms.max())
        nearest[unsure] = distances(part[unsure], others).argmin(1)
        found.append(torch.linalg.vector_norm(part - others[nearest], dim=1).cpu().numpy())
        indices.append(nearest.cpu().numpy())
    return np.concatenate(found), np.concatenate(indices)


def distances(queries: Tensor, others: Tensor) -> Tensor:
    """All distances, (..., n, d) and (..., m, d) to (..., n, m), in the type of the input.

    Not by a matrix product: |a|² + |b|² - 2ab cancels, which would order near ties by chance.
    """
    return torch.cdist(queries, others, compute_mode="donot_use_mm_for_euclid_dist")
