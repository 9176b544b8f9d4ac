"""The checks behind chapter 05; see `checks`."""

from collections.abc import Callable

import numpy as np

from hpkit.lessons.exercises.checks import number, of_a_function


@of_a_function("rmsprop(gradients, lr)")
def rmsprop(answer: Callable) -> str:
    """Must give RMSProp's weights for a few gradients."""
    gradients, weight, v, expected = [3.0, -1.0, 0.5, 2.0], 0.0, 0.0, []
    for g in gradients:
        v = 0.9 * v + 0.1 * g**2
        weight -= 0.01 * g / (v**0.5 + 1e-7)
        expected.append(weight)
    mine = np.asarray(answer(gradients, 0.01), float)
    if mine.shape != (4,):
        return (
            f"4 gradients gave the shape {mine.shape}, expected a weight after "
            "each step"
        )
    if np.allclose(mine, expected):
        return ""
    if np.isclose(mine[0], -0.01, atol=1e-6):
        return (
            "the average is not corrected here: the first step is about three times lr"
        )
    return (
        f"after {gradients} it is {mine.round(5).tolist()}, expected "
        f"{np.round(expected, 5)}"
    )


EXERCISES: dict[str, Callable[[object], str]] = {
    "first_adam_step": number(
        0.001,
        1e-9,
        "both corrected averages are those of one gradient",
        {
            -0.001: "downhill: against the sign of the gradient",
            0.042: "the gradient is divided by its own size",
            0.0042: "the average is corrected for its youth",
        },
    ),
    "momentum_factor": number(
        10,
        0.05,
        "add up 1 + 0.9 + 0.9² + ...",
        {
            1.9: "that is the second step; the third keeps 0.9 of it, and so on",
            0.9: "that is what is kept of one step; add them all up",
        },
    ),
    "rmsprop": rmsprop,
}
