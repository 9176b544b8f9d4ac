"""The checks behind chapter 13, the clinic: what a patient has; see `checks`."""

from collections.abc import Callable

import numpy as np

from hpkit.data.sets import load
from hpkit.lessons.exercises.ch13_repairs import REPAIRS
from hpkit.lessons.exercises.checks import of_a_function

CAUSES = {
    "learning rate": "the learning rate is 100 times too large",
    "too slow": "the learning rate is 100 times too small",
    "dead start": "every ReLU is off before the first step",
    "mean for sum": "the mean of 128 squares where their sum belongs",
    "length": "a margin between angles, for descriptors of any length",
    "no shuffle": "the batches come in the order of the photos",
    "rows": "patch numbers count one column too few, so rows are mixed up",
    "shared noise": "the same noise is added to both patches of a pair",
    "training score": "scored on the patches that it was trained on",
    "leaked photo": "one photo is in training and in test",
    "training mode": "described without `eval()`",
    "collapse": "all patches get one and the same descriptor",
    "pixel scale": "pixels on 0 to 1, for a network trained on 0 to 255",
    "by heart": "too few points: the network learns them by heart",
    "unlucky": "nothing, only an unlucky seed",
}

SHOWS = {  # how each cause would show, for a hint
    "learning rate": "steps that are too long throw the loss far above where it began",
    "too slow": "steps that are too short show as a loss that still falls, smoothly, "
    "at the end",
    "dead start": "units that are off give one output for all patches, from the start",
    "mean for sum": "a mean of 128 squares is tiny beside the margin, so the loss "
    "stays just below",
    "length": "where length counts, the loss takes values that no angle can give",
    "no shuffle": "sorted batches show as the same pattern of batch losses in each "
    "epoch",
    "rows": "mixed rows show as pairs of two different points",
    "shared noise": "a cue that both patches share makes its own pairs easier than "
    "others",
    "training score": "then every patch that was scored is a training patch",
    "leaked photo": "then one photo stands out from the others",
    "training mode": "then a patch has another descriptor each time",
    "collapse": "then all distances are 0, and the loss is the margin exactly",
    "pixel scale": "then the distances shrink together, and the lengths do not",
    "by heart": "then the training loss falls and the validation loss stays behind",
    "unlucky": "a seed moves a run by about as much as the healthy twins differ",
}

HERE = {  # what of the evidence speaks against a wrong answer
    1: "look at the batch losses: when does it happen, and how far up do they go?",
    2: "look at the numbers before the first step: what can training have to do with "
    "it?",
    3: "hold the loss beside the margin, and the size of the distances beside both",
    4: "the dashed line is the largest loss that two angles and this margin can give",
    5: "compare the batch losses of one epoch with those of the next",
    6: "look at the pairs: do they show one point?",
    7: "compare its own pairs with those of the field",
    8: "compare the reported score with the validation loss, and look at the nearest "
    "patches",
    9: "go through the photos one by one",
    10: "nothing is wrong with the training curves; what changes the score?",
    11: "what are the distances at the end, and what does a triplet cost then?",
    12: "the weights are the same: compare the distances and the lengths in the two "
    "programs",
}

ANSWERS = {
    1: "learning rate",
    2: "dead start",
    3: "mean for sum",
    4: "length",
    5: "no shuffle",
    6: "rows",
    7: "shared noise",
    8: "training score",
    9: "leaked photo",
    10: "training mode",
    11: "collapse",
    12: "pixel scale",
}

# Wrong answers that are nearly right, or that the evidence rules out in its own way
CLOSE = {
    (
        1,
        "dead start",
    ): "dead they may be now, but the first batch was in order: what killed them?",
    (
        2,
        "learning rate",
    ): "before the first step there was no step that could be too long",
    (2, "too slow"): "not even slowly: units that are off pass no gradient on",
    (
        3,
        "too slow",
    ): "the steps are too short, yes; but why does the loss begin at the margin?",
    (
        3,
        "dead start",
    ): "the distances are small, but they are not 0 and they are in order",
    (
        4,
        "learning rate",
    ): "long steps throw a loss up; here it falls, but from where no angle is",
    (6, "no shuffle"): "the order of batches does not change what a pair shows",
    (
        7,
        "leaked photo",
    ): "the validation photos are others, and yet the loss on them is low, too",
    (
        7,
        "by heart",
    ): "then the validation loss would be high: here it is as low as the other",
    (
        8,
        "leaked photo",
    ): "for one photo some patches would be known: here all of them are",
    (
        8,
        "by heart",
    ): "so it does, but that lowers the score on new patches: what was scored here?",
    (9, "training score"): "then all photos would be known: here all but one are new",
    (
        9,
        "by heart",
    ): "it does, and so one photo has a high score: why does it know that one?",
    (
        11,
        "learning rate",
    ): "long steps brought it there, but what holds the loss at exactly 1.000 now?",
    (
        11,
        "mean for sum",
    ): "a mean would leave the loss just below the margin: here it is the margin",
    (
        12,
        "collapse",
    ): "the distances are small, but not 0, and the points still match",
    (
        12,
        "training mode",
    ): "then the score would change with the batch: here it is steady",
    (
        10,
        "unlucky",
    ): "the same network, the same patches: only the size of the batch differs",
}


def diagnosis(number: int) -> Callable[[str], str]:
    """A check for the name of a cause, with the reason why another cause is wrong."""

    def check(answer: str) -> str:
        if answer not in CAUSES:
            return f"choose one of {', '.join(repr(cause) for cause in sorted(CAUSES))}"
        if answer == ANSWERS[number]:
            return ""
        return CLOSE.get((number, answer)) or f"{SHOWS[answer]}. Here: {HERE[number]}"

    return check


@of_a_function("duplicates(first, second)")
def duplicates(answer: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> str:
    """Must mark the patches of the first array that are anywhere in the second."""
    patches = load("photos", points=4).validation["clean"][:, 0]
    first, second = patches[:20], patches[12:][::-1].copy()
    second[-1, 5, 5] ^= 1  # first[12] comes with one other pixel: not the same patch
    # Mirrored: another patch, with the same sum.
    second = np.concatenate([second, first[3:4, :, ::-1]])
    found = np.asarray(answer(first.copy(), second.copy()))
    if found.shape != (20,):
        return (
            f"20 patches gave the shape {found.shape}, expected (20,): one answer "
            "for each"
        )
    expected = np.arange(20) > 12
    if np.array_equal(found, expected):
        return ""
    if found[12]:
        return "a patch that differs in one pixel is another patch"
    if found[3]:
        return (
            "a mirrored patch is another patch, though it has the same sum: "
            "compare the pixels"
        )
    if not found.any():
        return (
            "none is found: the same patch may stand in another place of the "
            "second array"
        )
    return (
        f"marked {np.flatnonzero(found).tolist()}, expected "
        f"{np.flatnonzero(expected).tolist()}"
    )


EXERCISES: dict[str, Callable[[object], str]] = {
    **{f"patient_{number}": diagnosis(number) for number in ANSWERS},
    **REPAIRS,
    "duplicates": duplicates,
}
