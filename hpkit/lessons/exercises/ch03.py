"""The checks behind chapter 03; see `checks`."""

from collections.abc import Callable

from hpkit.lessons.exercises.checks import number, of_a_function


@of_a_function("swapped_loss(a, p, n, margin)")
def swapped_loss(answer: Callable) -> str:
    """Must equal the anchor-swap loss on triplets, some of which the swap changes."""
    import torch  # here, so that the other checks need no torch

    a, p, n = torch.randn(3, 200, 128, generator=torch.Generator().manual_seed(0))
    ap, an, pn = (((x - y) ** 2).mean(1) for x, y in ((a, p), (a, n), (p, n)))
    results = {
        "right": torch.minimum(an, pn),
        "plain": an,
        "maximum": torch.maximum(an, pn),
        "positive only": pn,
    }
    losses = {
        name: float((ap - far + 0.7).clamp(min=0).mean())
        for name, far in results.items()
    }
    mine = float(answer(a, p, n, 0.7))
    hints = {
        "right": "",
        "plain": "this is the plain triplet loss: d(p, n) plays no part yet",
        "maximum": "the harder negative is the nearer one: minimum, not maximum",
        "positive only": "this always uses d(p, n): take the smaller of the two, per "
        "triplet",
    }
    known = [hints[name] for name, loss in losses.items() if abs(mine - loss) < 1e-5]
    return (
        known[0]
        if known
        else (
            f"on 200 random triplets it is {mine:.4f}, expected "
            f"{losses['right']:.4f}: a mean over dimensions and triplets?"
        )
    )


EXERCISES: dict[str, Callable[[object], str]] = {
    "loss_of_triplet": number(
        0.4,
        1e-6,
        "d(a, p) - d(a, n) + margin, or 0 if that is negative",
        {
            0: "the order is right, but the negative is only 0.6 further away, not a "
            "whole margin",
            1.6: "the sign is the wrong way round: d(a, p) - d(a, n)",
            -0.6: "the margin is missing",
            0.6: "that is how much further it is; what is still owed?",
        },
    ),
    "collapsed_loss": number(
        0.5,
        1e-6,
        "all distances are 0: what is left of the formula?",
        {
            0: "the distances are 0, but the margin is still owed",
            1: "the margin is 0.5 here",
        },
    ),
    "swapped_loss": swapped_loss,
}
