"""The checks behind chapter 08; see `checks`."""

from collections.abc import Callable

import numpy as np

from hpkit.lessons.exercises.checks import number, of_a_function

SAMPLES = np.arange(10.0) ** 2


def mean_and_square(part: np.ndarray) -> np.ndarray:
    """Stands in for a gradient: a vector, the mean over the samples of their terms."""
    return np.array([np.mean(part), np.mean(np.asarray(part) ** 2)])


@of_a_function("accumulate(gradient, samples, size)")
def accumulate(answer: Callable) -> str:
    """Must give the gradient of 10 samples from parts of at most 5, 4 or 3 of them."""
    for size in (5, 4, 3):
        parts = []

        def gradient(part: np.ndarray, parts: list = parts) -> np.ndarray:
            parts.append(np.array(part, float).ravel())
            return mean_and_square(part)

        mine = np.asarray(answer(gradient, SAMPLES.copy(), size), float)
        hint = about_parts(parts, size) or about_gradient(mine, parts, size)
        if hint:
            return hint
    return ""


def about_parts(parts: list[np.ndarray], size: int) -> str:
    """Whether the gradient saw each sample once, and never too many at once."""
    most = max(map(len, parts), default=0)
    if not 0 < most <= size:
        return (
            f"gradient was given {most} samples at once, expected 1 to {size} "
            "(the size)"
        )
    if not np.array_equal(np.sort(np.concatenate(parts)), SAMPLES):
        return (
            f"gradient saw {sum(map(len, parts))} samples in parts of {size}, expected "
            "each of the 10 exactly once: what of the last part?"
        )
    return ""


def about_gradient(mine: np.ndarray, parts: list[np.ndarray], size: int) -> str:
    """Whether the parts were put together as their mean over the samples."""
    if mine.shape != (2,):
        return f"gradients of shape (2,) gave the shape {mine.shape}"
    expected = mean_and_square(SAMPLES)
    if np.allclose(mine, expected):
        return ""
    found = np.array([mean_and_square(part) for part in parts])
    sizes = np.array([len(part) for part in parts])[:, None]
    known = {
        "these are added up; the gradient is a mean": found.sum(0),
        "divide the sum by the number of samples": (sizes * found).sum(0),
        "the last part is smaller, so it must weigh less": found.mean(0),
    }
    hints = [f": {text}" for text, value in known.items() if np.allclose(mine, value)]
    return (
        f"10 samples in parts of {size}: it is {mine.round(2).tolist()}, expected "
        f"{expected.tolist()}" + "".join(hints[:1])
    )


EXERCISES: dict[str, Callable[[object], str]] = {
    "updates_in_all": number(
        20,
        0,
        "count the batches of one epoch, the last small one too",
        {
            16: "the last batch of an epoch has 352 patches: it is a step as well",
            19: "each epoch ends with a small batch of its own: round up before you "
            "multiply",
            18: "an epoch has 4.69 batches of 512: the started one is a step too",
            5: "that is one epoch; there are 4",
        },
    ),
    "noise_ratio": number(
        1 / 3,
        0.01,
        "σ / √b: the root of the ratio of the batch sizes",
        {
            1 / 9: "that is the ratio of the variances: take its root",
            3: "give new divided by old: a larger batch is less noisy",
            9: "the batch is 9 times as large; the noise goes with the root, and it "
            "falls",
        },
    ),
    "accumulate": accumulate,
}
