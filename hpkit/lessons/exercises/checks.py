"""What the checks of several chapters share.

A check takes an answer and gives "" if it is right, else a hint that fits the mistake.
"""

from collections.abc import Callable
from functools import wraps

import numpy as np

from hpkit.data.patches import LEVELS, PatchSet
from hpkit.data.sets import load

Check = Callable[[object], str]


def number(
    expected: float, tolerance: float, hint: str, mistakes: dict[float, str]
) -> Check:
    """A check for a number; mistakes: the hints for wrong ones with a known reason."""

    def check(answer: float) -> str:
        answer = float(answer)
        if abs(answer - expected) <= tolerance:
            return ""
        known = [
            text for value, text in mistakes.items() if abs(answer - value) <= tolerance
        ]
        return known[0] if known else hint

    return check


def of_a_function(form: str, told: str = "define") -> Callable[[Check], Check]:
    """A decorator for checks of functions, which turns any other answer away.

    form: how the function begins, say "ap(hits, total)". told: what to do with it.
    """

    def decorate(check: Check) -> Check:
        @wraps(check)
        def checked(answer: object) -> str:
            if callable(answer):
                return check(answer)
            return f"this is not a function: {told} {form} and pass it by its name"

        return checked

    return decorate


def few_validation_patches() -> PatchSet:
    """40 points of each validation sequence: small for a check, enough to judge by."""
    return load("photos", points=40).validation


def share_matched(
    descriptor: Callable[[np.ndarray], np.ndarray], patches: PatchSet
) -> float:
    """Share of tough noisy patches that are nearest to their own reference patch."""
    shares = []
    for number_of in range(len(patches.names)):
        some = patches["noisy"][patches.sequence == number_of]
        reference = np.asarray(descriptor(some[:, 0]), float)
        for column in range(LEVELS["tough"].start, LEVELS["tough"].stop):
            target = np.asarray(descriptor(some[:, column]), float)
            distance = ((reference[:, None] - target[None]) ** 2).sum(2)
            shares.append(np.mean(distance.argmin(1) == np.arange(len(some))))
    return float(np.mean(shares))
