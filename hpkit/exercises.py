"""The checks behind the exercises: each takes an answer and gives "" if right, else a hint."""

from collections.abc import Callable, Sequence

import numpy as np

from hpkit.baselines import raw_pixels, rootsift
from hpkit.patches import LEVELS, PatchSet, load


def number(expected: float, tolerance: float, hint: str, mistakes: dict[float, str]
           ) -> Callable[[float], str]:
    """A check for a number. mistakes: the hint for each wrong number that has a known reason."""
    def check(answer: float) -> str:
        answer = float(answer)
        if abs(answer - expected) <= tolerance:
            return ""
        known = [text for value, text in mistakes.items() if abs(answer - value) <= tolerance]
        return known[0] if known else hint
    return check


def few_validation_patches() -> PatchSet:
    """40 points of each validation sequence: small enough for a check, large enough to judge."""
    return load("photos", points=40).validation


def share_matched(descriptor: Callable[[np.ndarray], np.ndarray], patches: PatchSet) -> float:
    """Share of tough noisy patches that are nearest to their own reference patch's descriptor."""
    shares = []
    for number_of in range(len(patches.names)):
        some = patches["noisy"][patches.sequence == number_of]
        reference = np.asarray(descriptor(some[:, 0]), float)
        for column in range(LEVELS["tough"].start, LEVELS["tough"].stop):
            target = np.asarray(descriptor(some[:, column]), float)
            distance = ((reference[:, None] - target[None]) ** 2).sum(2)
            shares.append(np.mean(distance.argmin(1) == np.arange(len(some))))
    return float(np.mean(shares))


def my_descriptor(answer: Callable[[np.ndarray], np.ndarray]) -> str:
    """Must match 5 points more of the tough noisy patches than raw pixels do."""
    if not callable(answer):
        return "this is not a function: define my_descriptor(patches) and pass it by its name"
    patches = few_validation_patches()
    shape = np.shape(answer(patches["noisy"][:3, 0]))
    if len(shape) != 2 or shape[0] != 3:
        return f"three patches gave the shape {shape}, expected (3, d): one row of numbers a patch"
    mine, raw = (share_matched(f, patches) for f in (answer, raw_pixels))
    if mine >= raw + 0.05:
        return ""
    return (f"it matches {mine:.2f} of the tough noisy patches and raw pixels {raw:.2f}: average "
            "over blocks of pixels, so that a small shift changes little")


def my_denoiser(answer: Callable[[np.ndarray], np.ndarray]) -> str:
    """Must remove 40 % of the noise's mean absolute error on validation patches."""
    if not callable(answer):
        return "this is not a function: define my_denoiser(patches) and pass it by its name"
    patches = few_validation_patches()
    noisy, clean = (patches[s].reshape(-1, 32, 32) for s in ("noisy", "clean"))
    guess = np.asarray(answer(noisy.copy()), float)
    if guess.shape != noisy.shape:
        return f"patches of shape {noisy.shape} gave {guess.shape}, expected the same shape"
    left = np.abs(guess - clean).mean() / np.abs(noisy.astype(float) - clean).mean()
    if left <= 0.6:
        return ""
    return (f"{left:.0%} of the error is left, expected at most 60 %: independent noise averages "
            "out, so let each pixel see more of its neighbours")


def swapped_loss(answer: Callable) -> str:
    """Must equal the anchor-swap loss on random triplets, some of which the swap changes."""
    import torch  # here, so that the other checks need no torch

    if not callable(answer):
        return "this is not a function: define swapped_loss(a, p, n, margin) and pass its name"
    a, p, n = torch.randn(3, 200, 128, generator=torch.Generator().manual_seed(0))
    ap, an, pn = (((x - y) ** 2).mean(1) for x, y in ((a, p), (a, n), (p, n)))
    results = {"right": torch.minimum(an, pn), "plain": an, "maximum": torch.maximum(an, pn),
               "positive only": pn}
    losses = {name: float((ap - far + 0.7).clamp(min=0).mean()) for name, far in results.items()}
    mine = float(answer(a, p, n, 0.7))
    hints = {"right": "", "plain": "this is the plain triplet loss: d(p, n) plays no part yet",
             "maximum": "the harder negative is the nearer one: minimum, not maximum",
             "positive only": "this always uses d(p, n): take the smaller of the two, per triplet"}
    known = [hints[name] for name, loss in losses.items() if abs(mine - loss) < 1e-5]
    return known[0] if known else (f"on 200 random triplets it is {mine:.4f}, expected "
                                   f"{losses['right']:.4f}: a mean over dimensions and triplets?")


def shrunken_tasks(answer: Sequence[float]) -> str:
    """Must be RootSIFT's retrieval mAP with 5 distractors and its matching mAP with 5 points."""
    from hpkit.evaluation import describe, evaluate  # as above
    from hpkit.tasks import tasks_for

    retrieval, matching = map(float, answer)
    test = load("photos", points=60).test
    few, u = test.head(5), describe(rootsift, test["noisy"])
    small = evaluate(u, tasks_for(test, distractors=5))
    tiny = evaluate(describe(rootsift, few["noisy"]), tasks_for(few))
    if abs(retrieval - small.retrieval) >= 0.02:
        return "the first is evaluate(..., tasks_for(test, distractors=5)).retrieval of RootSIFT"
    if abs(matching - small.matching) < 0.02:
        return "the second is still among 60 points: describe test.head(5), and score it by its own"
    return "" if abs(matching - tiny.matching) < 0.02 else (
        "the second is the matching of test.head(5), which has tasks of its own: tasks_for(few)")


def mutual(answer: Callable[[np.ndarray], np.ndarray]) -> str:
    """Must mark the mutual nearest neighbours of a random and of a hand-made matrix."""
    if not callable(answer):
        return "this is not a function: define mutual(distance) and pass it by its name"
    small = np.array([[5.0, 1, 9], [6, 2, 9], [9, 9, 3]])
    large = np.random.RandomState(0).uniform(size=(50, 50))
    for distance in (small, large):
        there, back = distance.argmin(1), distance.argmin(0)
        found = np.asarray(answer(distance))
        if found.shape != (len(distance),):
            return f"{len(distance)} reference patches gave the shape {found.shape}"
        if np.array_equal(found, there == np.arange(len(distance))):
            return "this marks the correct matches; whether they point back is another question"
        if not np.array_equal(found, back[there] == np.arange(len(distance))):
            return (f"for {small.tolist()} it gives {np.asarray(answer(small)).tolist()}, expected "
                    "[True, False, True]: row 1 goes to column 1, which points to row 0")
    return ""


EXERCISES: dict[str, Callable[[object], str]] = {
    "positive_pairs": number(120, 0, "each of 16 patches pairs with 15 others: count pairs once", {
        240: "each pair was counted twice, once from either side",
        15: "these are the pairs with the reference; the other columns pair with each other too",
        256: "a patch does not pair with itself, and each pair was counted twice"}),
    "overlap_of_larger": number(0.64, 0.015, "the smaller circle is shared: divide the areas", {
        0.8: "this is the ratio of the radii; the overlap compares areas",
        1.5625: "an overlap is at most 1: divide the smaller area by the larger",
        0.36: "this is the part that is not shared"}),
    "my_descriptor": my_descriptor,
    "parameters_without_skip": number((9 * 64 + 1) * 64, 0, "count (k² c + 1) f, c is now 64", {
        59_777: "this is the whole network; the question is about one layer",
        9 * 64 * 64: "each of the 64 filters also has a bias",
        (9 * 80 + 1) * 64: "this is the layer with the skip: c falls from 80 to 64",
        (9 * 16 + 1) * 64: "the 16 channels are the ones that are cut: 64 remain"}),
    "halfway_factor": number(0.5, 0.01, "halfway to the truth each pixel is off by half as much", {
        0.25: "a squared error would fall to a quarter; this one is absolute",
        2: "give new divided by old"}),
    "my_denoiser": my_denoiser,
    "loss_of_triplet": number(0.4, 1e-6, "d(a, p) - d(a, n) + margin, or 0 if that is negative", {
        0: "the order is right, but the negative is only 0.6 further away, not a whole margin",
        1.6: "the sign is the wrong way round: d(a, p) - d(a, n)",
        -0.6: "the margin is missing", 0.6: "that is how much further it is; what is still owed?"}),
    "collapsed_loss": number(0.5, 1e-6, "all distances are 0: what is left of the formula?", {
        0: "the distances are 0, but the margin is still owed", 1: "the margin is 0.5 here"}),
    "swapped_loss": swapped_loss,
    "step_ap": number(0.5, 1e-6, "average the precision at the two hits", {
        1 / 3: "average the precision at the two hits alone (and without trapezoids)",
        0.25: "divide by the number of hits, not by the number of items"}),
    "shrunken_tasks": shrunken_tasks,
    "mutual": mutual,
}
