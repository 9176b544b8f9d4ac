"""The checks behind the exercises of chapters 11 and 12; see `hpkit.exercises`."""

from collections.abc import Callable

import numpy as np

from hpkit.exercises import number

TURN = np.array([[0.9, -0.2, 30], [0.1, 1.1, -12], [3e-4, -2e-4, 1]])
SQUARE = np.array([(0.0, 0), (300, 0), (300, 200), (0, 200)])
MORE = np.vstack([SQUARE, [(120, 50), (33, 170), (250, 90)]])


def semi_hard(answer: Callable) -> str:
    """Must choose, per row, the nearest negative that is farther than the positive."""
    if not callable(answer):
        return "this is not a function: define semi_hard(distances) and pass it by its name"
    for seed in range(3):
        distances = np.random.RandomState(seed).permutation(36).reshape(6, 6) / 10
        distances[0, 0] = 9.0  # no negative is farther than this positive
        mine = np.asarray(answer(distances.copy()))
        if mine.shape != (6,):
            return f"6 rows gave the shape {mine.shape}, expected (6,): a column for each row"
        positive = np.diag(distances)[:, None]
        others = np.where(np.eye(6, dtype=bool), np.inf, distances)
        beyond = np.where(others > positive, others, np.inf)
        farthest = np.where(np.isinf(others), -np.inf, others).argmax(1)
        expected = np.where(np.isfinite(beyond).any(1), beyond.argmin(1), farthest)
        if np.array_equal(mine, expected):
            continue
        if np.array_equal(mine, others.argmin(1)):
            return "these are the hardest negatives: take the nearest *beyond* the positive"
        if np.array_equal(mine, distances.argmin(1)) or (mine == np.arange(6)).any():
            return "a patch is not its own negative: leave the diagonal out"
        some = np.isfinite(beyond).any(1)
        if np.array_equal(mine[some], expected[some]):
            return "where no negative is beyond the positive, take the farthest one"
        return f"chosen columns {mine.tolist()}, expected {expected.tolist()}"
    return ""


def seen(points: np.ndarray, homography: np.ndarray) -> np.ndarray:
    """Where a homography takes (n, 2) points; written out, so that a check needs no torch."""
    mapped = np.column_stack([points, np.ones(len(points))]) @ homography.T
    return mapped[:, :2] / mapped[:, 2:]


def four_points(answer: Callable) -> str:
    """Must find a homography from 4 and from 7 exact pairs of points, at any scale."""
    if not callable(answer):
        return "this is not a function: define four_points(first, second) and pass it by its name"
    for points in (SQUARE, MORE):
        there = seen(points, TURN)
        found = np.asarray(answer(points.copy(), there.copy()), float)
        if found.shape != (3, 3):
            return f"{len(points)} pairs gave the shape {found.shape}, expected (3, 3)"
        if not np.isfinite(found).all() or np.allclose(found, 0, atol=1e-12):
            return "the matrix is all zeros or not finite: take a vector of length 1"
        off = [np.abs(seen(MORE, matrix) - seen(MORE, TURN)).max()
               for matrix in (found, np.linalg.pinv(found), found.T)]
        if off[0] < 0.01:
            continue
        known = {1: "this goes from the second photo to the first: the other way round",
                 2: "this is the transpose: reshape row by row"}
        hints = [text for place, text in known.items() if off[place] < 0.01]
        return hints[0] if hints else (f"from {len(points)} exact pairs, points land up to "
                                       f"{off[0]:.1f} pixels off: is it the vector with the "
                                       "smallest singular value, the last row of Vᵀ?")
    return ""


EXERCISES: dict[str, Callable[[object], str]] = {
    "clean_draw": number(0.6**4, 5e-4, "four matches, each right with 0.6, all at once: multiply", {
        0.6: "that is one match; a homography needs four",
        0.4**4: "that is the chance that all four are wrong",
        1 - 0.6**4: "that is the chance that at least one of the four is wrong",
        0.6 * 4: "chances of events that all must happen are multiplied, and stay under 1"}),
    "draws_needed": number(72, 0, "how often may (1 - 0.5⁴) fail before that is under 1 %?", {
        71: "71 draws are a little less than 99 % sure: round up",
        16: "after 16 draws one is clean on average; that is not 99 % sure",
        7: "that is for one right match; a draw needs four at once",
        34: "that is for the 0.6 of the first exercise: now it is one half"}),
    "four_points": four_points,
    "largest_mean": number(4 / 128, 1.3e-3, "opposite unit vectors: what is |a - b|² / 128?", {
        4.0: "that is the sum of the squares: divide by the number of dimensions",
        2.0: "that is the Euclidean distance, not the mean of the squares",
        2 / 128: "that is for vectors at a right angle: opposite ones are farther apart",
        1 / 128: "the difference of opposite unit vectors has length 2, not 1"}),
    "candidates": number(4 * 255, 0, "per pair: a row and a column of one matrix, and two more", {
        255: "that is one row of the matrix: the column counts, too",
        510: "that is HardNet's row and column; now add anchor-anchor and positive-positive",
        4 * 256: "a point is not its own negative: 255 others",
        765: "three of the four: row, column, anchors, positives"}),
    "semi_hard": semi_hard,
}
