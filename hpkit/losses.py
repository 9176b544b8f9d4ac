"""Losses: pure functions of what a network puts out. All distances are squared."""

from torch import Tensor

REDUCTIONS = ("mean", "sum")


def mae(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error, in grey levels where both are on 0..255; any two equal shapes."""
    if output.shape != target.shape:
        raise ValueError(f"output is {tuple(output.shape)}, target {tuple(target.shape)}: "
                         "expected equal shapes")
    return (output - target).abs().mean()


def triplet_loss(anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 1.0,
                 reduce: str = "mean") -> Tensor:
    """How much nearer than the negative the positive is, short of the margin; mean over a batch.

    anchor, positive, negative: (n, d). max(d(a, p) - d(a, n) + margin, 0) (Schroff et al. 2015,
    section 3.1), where d is the squared distance: its "mean" over the d dimensions (the
    coursework's code) or their "sum" (its report), for which margin * d has the same effect.
    Raises ValueError for another `reduce`.
    """
    near = squared_distance(anchor, positive, reduce)
    far = squared_distance(anchor, negative, reduce)
    return (near - far + margin).clamp(min=0).mean()


def squared_distance(first: Tensor, second: Tensor, reduce: str = "mean") -> Tensor:
    """(n, d) and (n, d) -> (n,): the mean or the sum of the squared differences of each row."""
    if reduce not in REDUCTIONS:
        raise ValueError(f"unknown reduce {reduce!r}: expected one of {', '.join(REDUCTIONS)}")
    squares = (first - second) ** 2
    return squares.mean(dim=1) if reduce == "mean" else squares.sum(dim=1)
