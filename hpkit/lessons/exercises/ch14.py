"""The checks behind chapter 14; see `checks`."""

from collections.abc import Callable

import numpy as np

from hpkit.lessons.exercises.checks import number, of_a_function


def column_sums(patches: np.ndarray) -> np.ndarray:
    """A descriptor that looks at one place only: rows 20 to 23, columns 5 to 8."""
    return patches[:, 20:24, 5:9].reshape(len(patches), -1).astype(np.float32)


@of_a_function("worst_place(descriptor, patch, side)")
def worst_place(answer: Callable) -> str:
    """Must find the one 4 × 4 square that such a descriptor looks at."""
    patch = np.full((32, 32), 40, np.uint8)
    patch[:, 16:] = 200  # so the mean is 120, and every square changes something
    found = np.asarray(answer(column_sums, patch.copy(), 4))
    if found.shape != (2,):
        return f"this gave the shape {found.shape}, expected two numbers: top, left"
    known = {
        (20, 5): "",
        (5, 20): "this is left, top: the row comes first",
        (0, 0): "this is the first place of all: look for the largest distance, "
        "not for the smallest",
        (20, 4): "the step is too long: try every place, pixel by pixel",
    }
    top, left = (int(value) for value in found)
    return known.get(
        (top, left),
        f"for a descriptor that looks at 4 × 4 pixels it gave {top}, {left}, expected "
        "20, 5: cover each place with the patch's mean, and keep the furthest move",
    )


EXERCISES: dict[str, Callable[[object], str]] = {
    "seen_by_one": number(
        10,
        0,
        "a number of the first layer sees 6 pixels; one of the second sees three such "
        "places in a row, each two pixels on",
        {
            5: "that is in pixels of the halved image; each is two pixels wide",
            6: "that is what the first layer sees; the second looks at three of these",
            8: "neighbouring places are two pixels apart, and there are three of them",
            18: "neighbouring places overlap: they are two pixels apart, not six",
        },
    ),
    "another_exposure": number(
        0,
        0.05,
        "measure it: the network takes float patches of shape (n, 1, 32, 32), and the "
        "distance is the length of the difference",
        {},
    ),
    "worst_place": worst_place,
}
