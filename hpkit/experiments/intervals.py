"""Intervals and verdicts: pure functions of numbers, by a rule written in advance."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import t

HOLDS, FAILS, OPEN = "holds", "does not hold", "undecided"
BETTER, WORSE, SAME = "better", "worse", "no difference that matters"
NOT_WORSE, UNANSWERED = "not worse", "open"

# How fresh seeds decide: they are looked at three times, and nobody decides in between.
# At 98 % a look, 5 % of all contrasts without an effect get one by chance (a test
# simulates that).
LOOKS = (8, 16, 32)
LOOK_CONFIDENCE = 0.98


def interval(
    values: Sequence[float], confidence: float = 0.95
) -> tuple[float, float, float]:
    """Mean, low and high end of Student's t interval; NaN ends for fewer than 3 values.

    With two values t is 12.7: such an interval says that nothing is known, and looks
    like a mistake.
    """
    values = np.asarray(values, float)
    mean = values.mean() if len(values) else np.nan
    if len(values) < 3:
        return mean, np.nan, np.nan
    error = values.std(ddof=1) / len(values) ** 0.5
    half = t.ppf((1 + confidence) / 2, len(values) - 1) * error
    return mean, mean - half, mean + half


def widest(values: Sequence[float], contrasts: int) -> float:
    """The high end that refutes one of a claim's contrasts (Bonferroni)."""
    return interval(values, 1 - 0.05 / contrasts)[2]


def decide(values: Sequence[float], smallest: float, contrasts: int = 1) -> str:
    """One contrast's verdict: is its whole interval above `smallest`, or below?

    contrasts: how many the claim has. A claim needs all of them to hold, which is
    strict by itself. One that fails refutes the claim, so to fail each has to miss at a
    level of 0.05 / contrasts (Bonferroni).
    """
    low, high = interval(values)[1], widest(values, contrasts)
    return HOLDS if low > smallest else FAILS if high < smallest else OPEN


def verdict(judged: pd.DataFrame) -> str:
    """A claim's verdict from its contrasts: all hold, one fails, or neither."""
    found = set(judged.verdict)
    return FAILS if FAILS in found else HOLDS if found == {HOLDS} else OPEN


def answer(values: Sequence[float], least: float, confidence: float = 0.95) -> str:
    """What a contrast found, by itself: BETTER, WORSE, SAME or UNANSWERED.

    least: the smallest effect that matters. BETTER and WORSE take an interval that lies
    wholly beyond it, and SAME one that lies wholly within it on both sides. A negative
    `least` asks whether it is not worse by that much, which NOT_WORSE answers.
    """
    low, high = interval(values, confidence)[1:]
    size = abs(least)
    if low > size:
        return BETTER
    if high < -size:
        return WORSE
    if low > -size:
        return SAME if high < size else NOT_WORSE if least < 0 else UNANSWERED
    return UNANSWERED


def first_answer(values: Sequence[float], least: float) -> tuple[str, int]:
    """The answer at the first of the LOOKS that gives one, and the seeds that it took.

    values: a difference per seed, in the order of the seeds. UNANSWERED comes with the
    seeds of the last look that there was, 0 before the first.
    """
    seen = 0
    for seen in [look for look in LOOKS if look <= len(values)]:
        found = answer(values[:seen], least, LOOK_CONFIDENCE)
        if found != UNANSWERED:
            return found, seen
    return UNANSWERED, seen


def seeds_to_tell(
    values: Sequence[float], least: float, power: float = 0.9, most: int = 10_000
) -> int | None:
    """How many seeds, in all, tell an effect of twice `least` from none.

    values: a difference per seed; only their scatter counts, as if it were the true
    one, because the mean of an open question is hardly known. So many seeds answer
    "no difference that matters" with this chance where there is none, and "better"
    more often still where the effect is twice `least`: in one look at LOOK_CONFIDENCE.
    None where more than `most` would be needed, or with fewer than two values.
    """
    if len(values) < 2:
        return None
    seeds = np.arange(3, most + 1)
    error = np.std(values, ddof=1) / seeds**0.5
    critical = t.ppf((1 + LOOK_CONFIDENCE) / 2, seeds - 1)
    clears_one_end = t.cdf(least / np.maximum(error, 1e-12) - critical, seeds - 1)
    enough = 2 * clears_one_end - 1 >= power
    return int(seeds[enough.argmax()]) if enough.any() else None


def gain_of_seeing(table: pd.DataFrame, over: str = "seed") -> np.ndarray:
    """How much lower the error is on what a network has seen: a value per group.

    table: seed (of the network), sequence, seen, error. Sequences differ and networks
    differ, so each has a level of its own, and the gain is what is left (least
    squares). The values are a jackknife's: for `interval`, `answer`. over: the column
    of the groups that it leaves out, of about the same size: "seed", each network by
    itself, or one whose networks share their luck.
    Raises ValueError where it cannot be told: all networks saw the same sequences.
    """
    groups = table[over].unique()
    whole = _gain(table)
    without = np.array([_gain(table[table[over] != group]) for group in groups])
    return len(groups) * whole - (len(groups) - 1) * without


def _gain(table: pd.DataFrame) -> float:
    levels = pd.get_dummies(table[["seed", "sequence"]].astype(str))
    effects = np.column_stack([table.seen, levels]).astype(float)
    rank = np.linalg.matrix_rank
    if rank(effects) == rank(effects[:, 1:]):
        raise ValueError(
            f"{table.seed.nunique()} networks saw the same sequences: expected some to "
            "have seen a sequence that others have not"
        )
    return -float(np.linalg.lstsq(effects, table.error.to_numpy(), rcond=None)[0][0])
