"""Matches that are more or less sure, as in LoFTR and LightGlue."""

import numpy as np


def dual_softmax(similarity: np.ndarray, temperature: float) -> np.ndarray:
    """How sure two points are of each other: (n, k) similarities to (n, k) in 0..1.

    It is the softmax of similarity / temperature along rows times that along columns
    (Sun et al., "LoFTR", CVPR 2021, section 3.3). Raises ValueError for a temperature
    that is not over 0.
    """
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature!r}, expected a number over 0")
    scaled = similarity / temperature
    return _softmax(scaled, axis=1) * _softmax(scaled, axis=0)


def _softmax(values: np.ndarray, axis: int) -> np.ndarray:
    # The largest becomes 0, so that nothing overflows.
    grown = np.exp(values - values.max(axis=axis, keepdims=True))
    return grown / grown.sum(axis=axis, keepdims=True)


def mutual_best(scores: np.ndarray) -> np.ndarray:
    """Pairs whose score is the largest of its row and of its column: indexes (m, 2)."""
    there, back = scores.argmax(axis=1), scores.argmax(axis=0)
    here = np.flatnonzero(back[there] == np.arange(len(scores)))
    return np.stack([here, there[here]], axis=1)
