"""How good a ranking is: precision, recall, average precision, area under the ROC."""

import numpy as np

EPSILON = 1e-10  # of the official code: the precision of 0 hits among k is EPSILON / k


def precision_recall(
    scores: np.ndarray, labels: np.ndarray, total: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision after 0, 1, 2, ... items, best score first.

    They start at (0, 1). labels: 1 for a hit, 0 for a miss; total: all hits there are
    (default: those in labels). Equal scores keep their order; items scored -inf or NaN
    are never retrieved.
    """
    scores, labels = np.asarray(scores, float), np.asarray(labels)
    if (
        scores.shape != labels.shape
        or scores.ndim != 1
        or not np.isin(labels, (0, 1)).all()
    ):
        raise ValueError(
            f"scores {scores.shape} and labels {labels.shape}: expected two lists of "
            "one length, labels 0 or 1"
        )
    if total is not None and total < labels.sum():
        raise ValueError(
            f"total is {total}, expected at least the {labels.sum()} hits in labels"
        )
    return _curve(_hits(scores, labels), labels.sum() if total is None else total)


def _curve(hits: np.ndarray, total: int) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision from the hits among the first 0, 1, 2, ... items."""
    ranks = np.arange(len(hits))
    return hits / max(total, EPSILON), np.maximum(hits, EPSILON) / np.maximum(
        ranks, EPSILON
    )


def _hits(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Number of hits among the first 0, 1, 2, ... items by descending score."""
    kept = scores > -np.inf  # False for NaN
    order = np.argsort(-scores[kept], kind="stable")
    return np.concatenate([[0], np.cumsum(labels[kept][order], dtype=np.int64)])


def average_precision(
    scores: np.ndarray, labels: np.ndarray, total: int | None = None
) -> float:
    """Area under precision over recall, by trapezoids.

    It is never more than the usual sum of steps.
    """
    return _trapezoids(*precision_recall(scores, labels, total))


def _trapezoids(recall: np.ndarray, precision: np.ndarray) -> float:
    return float(np.sum(np.diff(recall) * (precision[1:] + precision[:-1]) / 2))


def roc_auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """The share of (hit, miss) pairs in which the hit is ranked first.

    Ties go by input order.
    """
    return _roc_area(_hits(np.asarray(scores, float), np.asarray(labels)))


def _roc_area(hits: np.ndarray) -> float:
    misses = np.diff(hits) == 0
    if not hits[-1] or not misses.any():
        raise ValueError("the area under the ROC needs at least one hit and one miss")
    return float(hits[:-1][misses].sum() / (hits[-1] * misses.sum()))


def confusion(
    distance: np.ndarray, labels: np.ndarray, threshold: float
) -> dict[str, float]:
    """What comes out where every pair up to this distance is called the same point.

    labels: 1 for the same point, 0 for another. Gives the counts TP, FP, FN and TN, and
    precision and recall. Precision is 1 where nothing is accepted, as where the curve
    begins.
    """
    accepted, same = np.asarray(distance) <= threshold, np.asarray(labels) == 1
    counts = {
        "TP": accepted & same,
        "FP": accepted & ~same,
        "FN": ~accepted & same,
        "TN": ~accepted & ~same,
    }
    found = {name: int(one.sum()) for name, one in counts.items()}
    tp, taken, wanted = found["TP"], int(accepted.sum()), int(same.sum())
    return found | {
        "precision": tp / taken if taken else 1.0,
        "recall": tp / max(wanted, EPSILON),
    }


def ap_and_auc(
    few: np.ndarray, hits: np.ndarray, misses: np.ndarray
) -> tuple[float, float]:
    """`average_precision` of few hits and `roc_auc` of all, from ascending distances.

    At equal distance a miss goes first. Searching one sorted list in the other is
    several times faster than ranking them as one.
    """
    return _trapezoids(*_curve(_merged(few, misses), len(few))), _roc_area(
        _merged(hits, misses)
    )


def _merged(hits: np.ndarray, misses: np.ndarray) -> np.ndarray:
    """As `_hits`, from two ascending lists of distances."""
    labels = np.zeros(1 + len(hits) + len(misses), np.int64)
    labels[1 + np.arange(len(hits)) + np.searchsorted(misses, hits, side="right")] = 1
    return labels.cumsum()
