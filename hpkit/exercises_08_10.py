"""The checks behind the exercises of chapters 08 to 10; see `hpkit.exercises`."""

from collections.abc import Callable
from itertools import product

import numpy as np

from hpkit.exercises import number

SAMPLES = np.arange(10.0) ** 2


def mean_and_square(part: np.ndarray) -> np.ndarray:
    """Stands in for a gradient: a vector, the mean over the samples of what each of them gives."""
    return np.array([np.mean(part), np.mean(np.asarray(part) ** 2)])


def accumulate(answer: Callable) -> str:
    """Must give the gradient of 10 samples from parts of at most 5, 4 or 3 of them."""
    if not callable(answer):
        return "this is not a function: define accumulate(gradient, samples, size), pass its name"
    for size in (5, 4, 3):
        parts = []

        def gradient(part: np.ndarray, parts: list = parts) -> np.ndarray:
            parts.append(np.array(part, float).ravel())
            return mean_and_square(part)

        mine = np.asarray(answer(gradient, SAMPLES.copy(), size), float)
        if not parts or max(map(len, parts)) > size:
            most = max(map(len, parts), default=0)
            return f"gradient was given {most} samples at once, expected 1 to {size} (the size)"
        if not np.array_equal(np.sort(np.concatenate(parts)), SAMPLES):
            return (f"gradient saw {sum(map(len, parts))} samples in parts of {size}, expected "
                    "each of the 10 exactly once: what of the last part?")
        found = np.array([mean_and_square(part) for part in parts])
        if mine.shape != (2,):
            return f"gradients of shape (2,) gave the shape {mine.shape}"
        if not np.allclose(mine, mean_and_square(SAMPLES)):
            sizes = np.array([len(part) for part in parts])[:, None]
            known = {"these are added up; the gradient is a mean": found.sum(0),
                     "divide the sum by the number of samples": (sizes * found).sum(0),
                     "the last part is smaller, so it must weigh less": found.mean(0)}
            hints = [text for text, value in known.items() if np.allclose(mine, value)]
            return (f"10 samples in parts of {size}: it is {mine.round(2).tolist()}, expected "
                    f"{mean_and_square(SAMPLES).tolist()}" + "".join(f": {h}" for h in hints[:1]))
    return ""


def sign_flip(answer: Callable) -> str:
    """Must give the share of sign patterns as extreme as the observed one."""
    if not callable(answer):
        return "this is not a function: define sign_flip(differences) and pass it by its name"
    for differences in ([0.1, 0.2, 0.3], [0.5, -0.4, 0.1, 0.2]):
        signs = np.array(list(product((-1, 1), repeat=len(differences))))
        means = (signs * differences).mean(1)
        observed = abs(np.mean(differences)) - 1e-12
        expected, one_sided = np.mean(abs(means) >= observed), np.mean(means >= observed)
        mine = float(answer(np.array(differences)))
        if abs(mine - expected) > 1e-9:
            return ("take abs of both means: a pattern can be as far out on the other side"
                    if abs(mine - one_sided) < 1e-9 else
                    f"for {differences} it is {mine:.4g}, expected {expected:.4g}")
    return ""


def verdict_of(answer: Callable) -> str:
    """Must apply the rule: 95 % intervals to hold, the high ends of wider ones to fail."""
    if not callable(answer):
        return "this is not a function: define verdict_of(lows, highs, smallest), pass its name"
    cases = [([0.2, 0.15], [0.5, 0.4], "holds"), ([0.2, 0.0], [0.5, 0.4], "undecided"),
             ([0.2, 0.05], [0.5, 0.4], "undecided"), ([0.2, -0.3], [0.5, 0.05], "does not hold"),
             ([0.0, -0.3], [0.4, 0.05], "does not hold"), ([-0.3], [0.1], "undecided")]
    for lows, highs, expected in cases:
        if (mine := answer(np.array(lows), np.array(highs), 0.1)) != expected:
            return f"for lows {lows}, highs {highs}, smallest 0.1: {mine!r}, expected {expected!r}"
    return ""


EXERCISES: dict[str, Callable[[object], str]] = {
    "updates_in_all": number(20, 0, "count the batches of one epoch, the last small one too", {
        16: "the last batch of an epoch has 352 patches: it is a step as well",
        19: "each epoch ends with a small batch of its own: round up before you multiply",
        18: "an epoch has 4.69 batches of 512: the started one is a step too",
        5: "that is one epoch; there are 4"}),
    "noise_ratio": number(1 / 3, 0.01, "σ / √b: the root of the ratio of the batch sizes", {
        1 / 9: "that is the ratio of the variances: take its root",
        3: "give new divided by old: a larger batch is less noisy",
        9: "the batch is 9 times as large; the noise goes with the root, and it falls"}),
    "accumulate": accumulate,
    "grid_trainings": number(15, 0, "one network per training source and seed", {
        45: "that is the number of scores; the same network is scored on three sources",
        9: "that is one seed's scores", 3: "and the five seeds?"}),
    "paired_deviation": number(0.0134, 5e-4, "2 s² (1 - ρ) is the variance of the difference", {
        0.0424: "that is for independent arms", 0.00018: "that is the variance: take its root",
        0.0569: "the correlation makes it smaller: minus, not plus"}),
    "sign_flip": sign_flip,
    "brier_of_one": number(0.04, 1e-9, "(confidence - outcome)², the outcome is 1", {
        0.64: "that is the penalty had it not held", 0.2: "squared",
        0.8: "that is the confidence"}),
    "chance_of_a_miss": number(0.4867, 0.004, "1 minus the chance that all thirteen are right", {
        0.5133: "that is the chance that all are right",
        0.65: "chances of misses do not simply add: two can happen together",
        0.05: "that is for one interval"}),
    "verdict_of": verdict_of,
}
