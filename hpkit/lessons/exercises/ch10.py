"""The checks behind chapter 10; see `checks`."""

from collections.abc import Callable

import numpy as np

from hpkit.lessons.exercises.checks import number, of_a_function


@of_a_function("verdict_of(lows, highs, smallest)")
def verdict_of(answer: Callable) -> str:
    """Must apply the rule for verdicts.

    A claim holds by 95 % intervals, and fails by the high ends of wider ones.
    """
    cases = [
        ([0.2, 0.15], [0.5, 0.4], "holds"),
        ([0.2, 0.0], [0.5, 0.4], "undecided"),
        ([0.2, 0.05], [0.5, 0.4], "undecided"),
        ([0.2, -0.3], [0.5, 0.05], "does not hold"),
        ([0.0, -0.3], [0.4, 0.05], "does not hold"),
        ([-0.3], [0.1], "undecided"),
    ]
    for lows, highs, expected in cases:
        if (mine := answer(np.array(lows), np.array(highs), 0.1)) != expected:
            return (
                f"for lows {lows}, highs {highs}, smallest 0.1: {mine!r}, expected "
                f"{expected!r}"
            )
    return ""


EXERCISES: dict[str, Callable[[object], str]] = {
    "brier_of_one": number(
        0.03,
        1e-9,
        "half of (0.8 - 1)² + 2 (0.1 - 0)²: the two others share what is left",
        {
            0.06: "and half of that",
            0.04: "the two other verdicts have probabilities, too: 0.1 each",
            0.02: "the two other verdicts have probabilities, too: 0.1 each",
            0.73: "that is the cost had it come out otherwise",
            0.8: "that is the confidence",
        },
    ),
    "chance_of_a_miss": number(
        0.4867,
        0.004,
        "1 minus the chance that all thirteen are right",
        {
            0.5133: "that is the chance that all are right",
            0.65: "chances of misses do not simply add: two can happen together",
            0.05: "that is for one interval",
        },
    ),
    "verdict_of": verdict_of,
}
