"""The checks behind chapter 01; see `checks`."""

from collections.abc import Callable

import numpy as np

from hpkit.evaluation.baselines import raw_pixels
from hpkit.lessons.exercises.checks import (
    few_validation_patches,
    number,
    of_a_function,
    share_matched,
)


@of_a_function("my_descriptor(patches)")
def my_descriptor(answer: Callable[[np.ndarray], np.ndarray]) -> str:
    """Must match 5 points more of the tough noisy patches than raw pixels do."""
    patches = few_validation_patches()
    shape = np.shape(answer(patches["noisy"][:3, 0]))
    if len(shape) != 2 or shape[0] != 3:
        return (
            f"three patches gave the shape {shape}, expected (3, d): one row of "
            "numbers a patch"
        )
    mine, raw = (share_matched(f, patches) for f in (answer, raw_pixels))
    if mine >= raw + 0.05:
        return ""
    return (
        f"it matches {mine:.2f} of the tough noisy patches and raw pixels {raw:.2f}: "
        "average over blocks of pixels, so that a small shift changes little"
    )


EXERCISES: dict[str, Callable[[object], str]] = {
    "positive_pairs": number(
        120,
        0,
        "each of 16 patches pairs with 15 others: count pairs once",
        {
            240: "each pair was counted twice, once from either side",
            15: "these are the pairs with the reference; the other columns pair with "
            "each other too",
            256: "a patch does not pair with itself, and each pair was counted twice",
        },
    ),
    "overlap_of_larger": number(
        0.64,
        0.015,
        "the smaller circle is shared: divide the areas",
        {
            0.8: "this is the ratio of the radii; the overlap compares areas",
            1.5625: "an overlap is at most 1: divide the smaller area by the larger",
            0.36: "this is the part that is not shared",
        },
    ),
    "my_descriptor": my_descriptor,
}
