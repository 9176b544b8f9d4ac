"""The checks behind chapter 00; see `checks`."""

from collections.abc import Callable

import numpy as np

from hpkit.lessons.exercises.checks import number, of_a_function


def the_disaster(answer: str) -> str:
    """Must be "mirrored": no turning undoes a mirror."""
    said = str(answer).strip().lower()
    if said == "mirrored":
        return ""
    if said == "upside down":
        return (
            "try it: each square is turned upright by the angle of its spot, so the "
            "network gets the same squares as before"
        )
    return f'this is {answer!r}: answer "upside down" or "mirrored"'


@of_a_function("one_of_a_kind(numbers)")
def one_of_a_kind(answer: Callable[[np.ndarray], int]) -> str:
    """Must find the row whose nearest other row is furthest away."""
    numbers = np.random.RandomState(0).standard_normal((30, 8))
    numbers[11] += 9  # far from all others ...
    numbers[23:25] -= 20  # ... and two that are further away, but near each other
    distance = np.linalg.norm(numbers[:, None] - numbers, axis=2)
    loneliest = distance + np.diag(np.full(len(numbers), np.inf))
    known = {
        int(distance.sum(axis=1).argmax()): "this is furthest from all others "
        "together: only the nearest other one counts",
        int(loneliest.min(axis=1).argmin()): "this one is the easiest to mistake: you "
        "want the largest of the nearest distances",
        int(distance.min(axis=1).argmax()): "every spot is at distance 0 from itself: "
        "put infinity on the diagonal first",
    }
    found = answer(numbers.copy())
    if np.shape(found) != ():
        return f"this gave the shape {np.shape(found)}, expected one number of a row"
    if int(found) == 11:
        return ""
    return known.get(
        int(found),
        f"on 30 made-up spots it gave {int(found)}, expected 11: for each the distance "
        "to its nearest other, and of these the largest",
    )


EXERCISES: dict[str, Callable[[object], str]] = {
    "how_many_distances": number(
        40_000,
        0,
        "each spot on the left is compared with each spot on the right",
        {
            400: "that is how many spots there are; each pair of them has a distance",
            200: "each spot on the left is compared with all 200 on the right",
            20_000: "left and right are different photos, so no pair was counted twice",
            19_900: "that is for pairs within one photo; here left meets right",
        },
    ),
    "the_disaster": the_disaster,
    "one_of_a_kind": one_of_a_kind,
}
