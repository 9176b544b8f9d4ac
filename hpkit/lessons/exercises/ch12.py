"""The checks behind chapter 12; see `checks`."""

from collections.abc import Callable

import numpy as np

from hpkit.lessons.exercises.checks import number, of_a_function

TURN = np.array([[0.9, -0.2, 30], [0.1, 1.1, -12], [3e-4, -2e-4, 1]])

SQUARE = np.array([(0.0, 0), (300, 0), (300, 200), (0, 200)])

MORE = np.vstack([SQUARE, [(120, 50), (33, 170), (250, 90)]])


def seen(points: np.ndarray, homography: np.ndarray) -> np.ndarray:
    """Where a homography takes (n, 2) points.

    It is written out, so that a check needs no torch.
    """
    mapped = np.column_stack([points, np.ones(len(points))]) @ homography.T
    return mapped[:, :2] / mapped[:, 2:]


@of_a_function("four_points(first, second)")
def four_points(answer: Callable) -> str:
    """Must find a homography from 4 and from 7 exact pairs of points, at any scale."""
    for points in (SQUARE, MORE):
        there = seen(points, TURN)
        found = np.asarray(answer(points.copy(), there.copy()), float)
        if found.shape != (3, 3):
            return f"{len(points)} pairs gave the shape {found.shape}, expected (3, 3)"
        if not np.isfinite(found).all() or np.allclose(found, 0, atol=1e-12):
            return "the matrix is all zeros or not finite: take a vector of length 1"
        off = [
            np.abs(seen(MORE, matrix) - seen(MORE, TURN)).max()
            for matrix in (found, np.linalg.pinv(found), found.T)
        ]
        if off[0] < 0.01:
            continue
        known = {
            1: "this goes from the second photo to the first: the other way round",
            2: "this is the transpose: reshape row by row",
        }
        hints = [text for place, text in known.items() if off[place] < 0.01]
        return (
            hints[0]
            if hints
            else (
                f"from {len(points)} exact pairs, points land up to "
                f"{off[0]:.1f} pixels off: is it the vector with the "
                "smallest singular value, the last row of Vᵀ?"
            )
        )
    return ""


EXERCISES: dict[str, Callable[[object], str]] = {
    "clean_draw": number(
        0.6**4,
        5e-4,
        "four matches, each right with 0.6, all at once: multiply",
        {
            0.6: "that is one match; a homography needs four",
            0.4**4: "that is the chance that all four are wrong",
            1 - 0.6**4: "that is the chance that at least one of the four is wrong",
            0.6 * 4: "chances of events that all must happen are multiplied, and stay "
            "under 1",
        },
    ),
    "draws_needed": number(
        72,
        0,
        "how often may (1 - 0.5⁴) fail before that is under 1 %?",
        {
            71: "71 draws are a little less than 99 % sure: round up",
            16: "after 16 draws one is clean on average; that is not 99 % sure",
            7: "that is for one right match; a draw needs four at once",
            34: "that is for the 0.6 of the first exercise: now it is one half",
        },
    ),
    "four_points": four_points,
}
