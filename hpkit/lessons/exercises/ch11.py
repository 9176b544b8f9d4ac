"""The checks behind chapter 11; see `checks`."""

from collections.abc import Callable

import numpy as np

from hpkit.lessons.exercises.checks import number, of_a_function


@of_a_function("semi_hard(distances)")
def semi_hard(answer: Callable) -> str:
    """Must choose, per row, the nearest negative that is farther than the positive."""
    for seed in range(3):
        distances = np.random.RandomState(seed).permutation(36).reshape(6, 6) / 10
        distances[0, 0] = 9.0  # no negative is farther than this positive
        mine = np.asarray(answer(distances.copy()))
        if mine.shape != (6,):
            return (
                f"6 rows gave the shape {mine.shape}, expected (6,): a column for "
                "each row"
            )
        positive = np.diag(distances)[:, None]
        others = np.where(np.eye(6, dtype=bool), np.inf, distances)
        beyond = np.where(others > positive, others, np.inf)
        farthest = np.where(np.isinf(others), -np.inf, others).argmax(1)
        expected = np.where(np.isfinite(beyond).any(1), beyond.argmin(1), farthest)
        if np.array_equal(mine, expected):
            continue
        if np.array_equal(mine, others.argmin(1)):
            return (
                "these are the hardest negatives: take the nearest *beyond* the "
                "positive"
            )
        if np.array_equal(mine, distances.argmin(1)) or (mine == np.arange(6)).any():
            return "a patch is not its own negative: leave the diagonal out"
        some = np.isfinite(beyond).any(1)
        if np.array_equal(mine[some], expected[some]):
            return "where no negative is beyond the positive, take the farthest one"
        return f"chosen columns {mine.tolist()}, expected {expected.tolist()}"
    return ""


EXERCISES: dict[str, Callable[[object], str]] = {
    "largest_mean": number(
        4 / 128,
        1.3e-3,
        "opposite unit vectors: what is |a - b|² / 128?",
        {
            4.0: "that is the sum of the squares: divide by the number of dimensions",
            2.0: "that is the Euclidean distance, not the mean of the squares",
            2 / 128: "that is for vectors at a right angle: opposite ones are farther "
            "apart",
            1 / 128: "the difference of opposite unit vectors has length 2, not 1",
        },
    ),
    "candidates": number(
        4 * 255,
        0,
        "per pair: a row and a column of one matrix, and two more",
        {
            255: "that is one row of the matrix: the column counts, too",
            510: "that is HardNet's row and column; now add anchor-anchor and "
            "positive-positive",
            4 * 256: "a point is not its own negative: 255 others",
            765: "three of the four: row, column, anchors, positives",
        },
    ),
    "semi_hard": semi_hard,
}
