"""The checks behind chapter 09; see `checks`."""

from collections.abc import Callable
from itertools import product

import numpy as np

from hpkit.lessons.exercises.checks import number, of_a_function


@of_a_function("sign_flip(differences)")
def sign_flip(answer: Callable) -> str:
    """Must give the share of sign patterns as extreme as the observed one."""
    for differences in ([0.1, 0.2, 0.3], [0.5, -0.4, 0.1, 0.2]):
        signs = np.array(list(product((-1, 1), repeat=len(differences))))
        means = (signs * differences).mean(1)
        observed = abs(np.mean(differences)) - 1e-12
        expected, one_sided = (
            np.mean(abs(means) >= observed),
            np.mean(means >= observed),
        )
        mine = float(answer(np.array(differences)))
        if not abs(mine - expected) <= 1e-9:  # NaN is wrong, too
            return (
                "take abs of both means: a pattern can be as far out on the other side"
                if abs(mine - one_sided) < 1e-9
                else f"for {differences} it is {mine:.4g}, expected {expected:.4g}"
            )
    return ""


EXERCISES: dict[str, Callable[[object], str]] = {
    "grid_trainings": number(
        15,
        0,
        "one network per training source and seed",
        {
            45: "that is the number of scores; the same network is scored on three "
            "sources",
            9: "that is one seed's scores",
            3: "and the five seeds?",
        },
    ),
    "paired_deviation": number(
        0.0134,
        5e-4,
        "2 s² (1 - ρ) is the variance of the difference",
        {
            0.0424: "that is for independent arms",
            0.00018: "that is the variance: take its root",
            0.0569: "the correlation makes it smaller: minus, not plus",
        },
    ),
    "sign_flip": sign_flip,
}
