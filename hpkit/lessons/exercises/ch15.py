"""The checks behind chapter 15; see `checks`."""

from collections.abc import Callable

import numpy as np

from hpkit.lessons.exercises.checks import number, of_a_function
from hpkit.matching.soft import dual_softmax

SIMILARITY = np.array([[0.9, 0.2], [0.3, 0.4], [0.85, 0.1]])
TEMPERATURE, BIN = 0.1, 0.5


def binned(bins: tuple[int, int], score: float = BIN) -> np.ndarray:
    """SIMILARITY's dual softmax with a dustbin row and column, or with one of them."""
    rows, columns = bins
    larger = np.pad(SIMILARITY, ((0, rows), (0, columns)), constant_values=score)
    return dual_softmax(larger, TEMPERATURE)[:3, :2]


@of_a_function("with_dustbin(similarity, temperature, bin)")
def with_dustbin(answer: Callable) -> str:
    """Must give each point of both photos one more place to go to."""
    found = np.asarray(answer(SIMILARITY.copy(), TEMPERATURE, BIN), float)
    if found.shape == (4, 3):
        return "the dustbins are still there: take the last row and column off at last"
    if found.shape != (3, 2):
        return f"this gave the shape {found.shape}, expected (3, 2), as it went in"
    known = {
        "nobody has a dustbin yet: this is the plain dual softmax": binned((0, 0)),
        "only the left points have a dustbin: add a row as well": binned((0, 1)),
        "only the right points have a dustbin: add a column as well": binned((1, 0)),
        "the dustbins have to be divided by the temperature, too": binned(
            (1, 1), BIN * TEMPERATURE
        ),
    }
    for hint, mistaken in known.items():
        if np.allclose(found, mistaken, atol=1e-6):
            return hint
    if np.allclose(found, binned((1, 1)), atol=1e-6):
        return ""
    sure, expected = found[0, 0], binned((1, 1))[0, 0]
    return (
        f"with similarities 0.9 and 0.2 in the first row it is {sure:.3f} sure of the "
        f"first pair, expected {expected:.3f}: pad the matrix with `bin`, then take "
        "the dual softmax"
    )


EXERCISES: dict[str, Callable[[object], str]] = {
    "share_of_better": number(
        0.7311,
        0.002,
        "divide both similarities by the temperature, take exp of each, and then the "
        "first one's share of their sum",
        {
            0.269: "that is the share of the other one",
            0.529: "shares of the similarities themselves: take exp first",
            0.525: "the temperature is missing: divide by 0.1 before exp",
            0.534: "that is squared: here is one softmax, along the row",
        },
    ),
    "coarse_pairs": number(
        23_040_000,
        0.5,
        "the grid has 80 times 60 places in each photo, and each is compared with each",
        {
            4_800: "that is the places in one photo; each is compared with each",
            9_600: "that is the places in both photos; each is compared with each",
            307_200: "that is the pixels of one photo, not the places of the grid",
            94_371_840_000: "that is each pixel with each; the grid has one place for "
            "8 × 8 pixels",
        },
    ),
    "rotated_cost": number(
        0,
        0.01,
        "measure it: second_order(a, p @ turn) - second_order(a, p)",
        {},
    ),
    "with_dustbin": with_dustbin,
}
