"""The checks behind chapter 02; see `checks`."""

from collections.abc import Callable

import numpy as np

from hpkit.lessons.exercises.checks import few_validation_patches, number, of_a_function


@of_a_function("my_denoiser(patches)")
def my_denoiser(answer: Callable[[np.ndarray], np.ndarray]) -> str:
    """Must remove 40 % of the noise's mean absolute error on validation patches."""
    patches = few_validation_patches()
    noisy, clean = (patches[s].reshape(-1, 32, 32) for s in ("noisy", "clean"))
    guess = np.asarray(answer(noisy.copy()), float)
    if guess.shape != noisy.shape:
        return (
            f"patches of shape {noisy.shape} gave {guess.shape}, expected the same "
            "shape"
        )
    left = np.abs(guess - clean).mean() / np.abs(noisy.astype(float) - clean).mean()
    if left <= 0.6:
        return ""
    return (
        f"{100 * left:.0f} % of the error is left, expected at most 60 %: independent "
        "noise averages out, so let each pixel see more of its neighbours"
    )


EXERCISES: dict[str, Callable[[object], str]] = {
    "parameters_without_skip": number(
        (9 * 64 + 1) * 64,
        0,
        "count (k² c + 1) f, c is now 64",
        {
            59_777: "this is the whole network; the question is about one layer",
            9 * 64 * 64: "each of the 64 filters also has a bias",
            (9 * 80 + 1) * 64: "this is the layer with the skip: c falls from 80 to 64",
            (9 * 16 + 1) * 64: "the 16 channels are the ones that are cut: 64 remain",
        },
    ),
    "halfway_factor": number(
        0.5,
        0.01,
        "halfway to the truth each pixel is off by half as much",
        {
            0.25: "a squared error would fall to a quarter; this one is absolute",
            2: "give new divided by old",
        },
    ),
    "my_denoiser": my_denoiser,
}
