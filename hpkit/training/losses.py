"""Losses: pure functions of what a network puts out.

`reduce` says which distance is meant.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

REDUCTIONS = ("mean", "sum", "root")

EPSILON = 1e-6  # inside the root, as in the code of HardNet's authors


def mae(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error, in grey levels where both are on 0..255.

    Any two equal shapes.
    """
    return _difference(output, target).abs().mean()


def mse(output: Tensor, target: Tensor) -> Tensor:
    """Mean squared error, in squared grey levels, so its gradient grows with the error.

    Any two equal shapes. An error of e grey levels pulls 2 e times as hard as with
    `mae`, so a learning rate that suits one does not suit the other.
    """
    return (_difference(output, target) ** 2).mean()


def charbonnier(output: Tensor, target: Tensor, epsilon: float = 1.0) -> Tensor:
    """`mae` with its corner at 0 rounded off.

    It is like squares well below `epsilon`, and like `mae` above. Any two equal shapes;
    epsilon in grey levels. sqrt(d**2 + epsilon**2) - epsilon, so that perfect is 0
    (after Charbonnier et al. 1994).
    """
    d = _difference(output, target)
    return ((d**2 + epsilon**2).sqrt() - epsilon).mean()


def ssim_loss(output: Tensor, target: Tensor) -> Tensor:
    """1 - mean SSIM: 0 for equal patches, 1 for unrelated ones, at most 2.

    It is not in grey levels. Both (n, 1, h, w) on 0..255, h and w at least 11. Windows
    are Gaussian, 11x11 with sigma 1.5, and only those that lie inside count. Wang et
    al. 2004, equation 13, K1 0.01, K2 0.03.
    """
    _difference(output, target)
    bell = torch.exp(-(torch.arange(-5, 6, device=output.device) ** 2) / (2 * 1.5**2))
    bell = bell / bell.sum()
    # Small numbers: a float32 E[x x] - E[x]**2 keeps its digits.
    x, y = output - 128, target - 128
    columns = F.conv2d(torch.cat([x, y, x * x, y * y, x * y]), bell.view(1, 1, 11, 1))
    mean_x, mean_y, xx, yy, xy = F.conv2d(columns, bell.view(1, 1, 1, 11)).chunk(5)
    spread, together = xx - mean_x**2 + yy - mean_y**2, xy - mean_x * mean_y
    mean_x, mean_y = mean_x + 128, mean_y + 128
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    brightness = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * together + c2) / (spread + c2)
    return 1 - (brightness * structure).mean()


def triplet_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    reduce: str = "mean",
) -> Tensor:
    """How far the positive falls short of being nearer than the negative by the margin.

    Mean over a batch. anchor, positive, negative: (n, d). max(d(a, p) - d(a, n) +
    margin, 0) (Schroff et al. 2015, section 3.1), where d is the squared distance: its
    "mean" over the d dimensions (the coursework's code) or their "sum" (its report),
    for which margin * d has the same effect; or the Euclidean distance ("root"). Raises
    ValueError for another `reduce`.
    """
    near = distance(anchor, positive, reduce)
    far = distance(anchor, negative, reduce)
    return (near - far + margin).clamp(min=0).mean()


def anchor_swap_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    reduce: str = "mean",
) -> Tensor:
    """`triplet_loss` whose anchor is the one of the pair nearer to the negative.

    That is, d(a, n) becomes min(d(a, n), d(p, n)), for each triplet on its own; d(a, p)
    is the same from both ends (Balntas et al. 2016, "TFeat", section 3).
    """
    near = distance(anchor, positive, reduce)
    far = torch.minimum(
        distance(anchor, negative, reduce), distance(positive, negative, reduce)
    )
    return (near - far + margin).clamp(min=0).mean()


def hardest_loss(
    anchor: Tensor, positive: Tensor, margin: float = 1.0, reduce: str = "root"
) -> Tensor:
    """Triplets without given negatives: each pair takes the hardest one in the batch.

    anchor, positive: (n, d), row i of both from point i, all points different. The
    negative of pair i is at the smallest d(a_i, p_j) or d(a_j, p_i), j != i: off the
    diagonal of the matrix of distances, in row i or column i (Mishchuk et al. 2017,
    "HardNet", section 3, with "root"). Raises ValueError for fewer than two pairs or an
    unknown `reduce`.
    """
    _at_least_two(anchor)
    far = _without_diagonal(distances(anchor, positive, reduce))
    hardest = torch.minimum(far.amin(dim=0), far.amin(dim=1))
    return (distance(anchor, positive, reduce) - hardest + margin).clamp(min=0).mean()


def hardest_all_loss(
    anchor: Tensor, positive: Tensor, margin: float = 1.0, reduce: str = "root"
) -> Tensor:
    """`hardest_loss` with negatives from among the anchors and the positives as well.

    The negative of pair i is at the smallest of d(a_i, p_j), d(a_j, p_i), d(a_i, a_j),
    d(p_i, p_j), j != i: twice the candidates from the same batch (Tian et al. 2019,
    "SOSNet", section 3). Raises ValueError for fewer than two pairs or an unknown
    `reduce`.
    """
    _at_least_two(anchor)
    across, anchors, positives = (
        _without_diagonal(distances(first, second, reduce))
        for first, second in (
            (anchor, positive),
            (anchor, anchor),
            (positive, positive),
        )
    )
    rows = torch.stack([across, across.T, anchors, positives])
    return (
        (distance(anchor, positive, reduce) - rows.amin(dim=(0, 2)) + margin)
        .clamp(min=0)
        .mean()
    )


def second_order(anchor: Tensor, positive: Tensor, neighbours: int = 8) -> Tensor:
    """How differently the anchors and the positives are spread.

    It is 0 if one set is the other, rotated. anchor, positive: (n, d), row i of both
    from point i, all points different. Mean over i of sqrt(sum over j of (d(a_i, a_j) -
    d(p_i, p_j))**2), d Euclidean, where j is one of the nearest `neighbours` (or all n
    - 1, if fewer) of i among the anchors or among the positives (Tian et al. 2019,
    "SOSNet", section 3). Raises ValueError for fewer than two pairs.
    """
    _at_least_two(anchor)
    a, p = distances(anchor, anchor, "root"), distances(positive, positive, "root")
    near = _nearest(a, neighbours) | _nearest(p, neighbours)
    # At 0 vector_norm is exactly 0, and torch makes its gradient 0 and not infinity.
    return torch.linalg.vector_norm((a - p) * near, dim=1).mean()


def hardest_sos_loss(
    anchor: Tensor, positive: Tensor, margin: float = 1.0, reduce: str = "root"
) -> Tensor:
    """`hardest_loss` plus `second_order`, unweighted, as SOSNet adds its two terms.

    SOSNet squares the first term and also looks for negatives among d(a_i, a_j) and
    d(p_i, p_j). Here neither is done, so that the second term alone is new against
    `hardest_loss`.
    """
    return hardest_loss(anchor, positive, margin, reduce) + second_order(
        anchor, positive
    )


def distance(first: Tensor, second: Tensor, reduce: str = "mean") -> Tensor:
    """How far apart row i of one is from row i of the other: (n, d), (n, d) -> (n,).

    "mean" or "sum" of the squared differences, or the "root" of their sum, which is the
    Euclidean distance. Raises ValueError for another `reduce`.
    """
    return _reduced(((first - second) ** 2).sum(dim=1), first.shape[1], reduce)


def distances(first: Tensor, second: Tensor, reduce: str = "mean") -> Tensor:
    """`distance` of each row of one from each of the other: (n, d), (m, d) -> (n, m).

    By |x - y|**2 = |x|**2 + |y|**2 - 2 x y: one matrix product, no (n, m, d)
    differences.
    """
    # Centring everything changes no distance, but leaves less to cancel in float32.
    middle = first.mean(dim=0).detach()
    first, second = first - middle, second - middle
    lengths = (first**2).sum(dim=1)[:, None] + (second**2).sum(dim=1)
    squares = (lengths - 2 * first @ second.T).clamp(min=0)  # rounding can go below 0
    return _reduced(squares, first.shape[1], reduce)


def _reduced(squares: Tensor, size: int, reduce: str) -> Tensor:
    if reduce not in REDUCTIONS:
        raise ValueError(
            f"unknown reduce {reduce!r}: expected one of {', '.join(REDUCTIONS)}"
        )
    # A root's slope at 0 is infinite, and infinity times 0 is not a number.
    if reduce == "root":
        return (squares + EPSILON).sqrt()
    return squares / size if reduce == "mean" else squares


def _nearest(square: Tensor, neighbours: int) -> Tensor:
    """(n, n) distances -> (n, n): True in row i where j is one of the nearest of i."""
    count = min(neighbours, len(square) - 1)
    numbers = _without_diagonal(square).topk(count, largest=False).indices
    return torch.zeros_like(square, dtype=torch.bool).scatter(1, numbers, True)


def _without_diagonal(square: Tensor) -> Tensor:
    """The diagonal made infinite: no point is its own neighbour or negative."""
    diagonal = torch.eye(len(square), dtype=torch.bool, device=square.device)
    return square.masked_fill(diagonal, torch.inf)


def _at_least_two(descriptors: Tensor) -> None:
    if len(descriptors) < 2:
        raise ValueError(
            f"{len(descriptors)} pairs: expected at least 2, to find negatives"
        )


def _difference(output: Tensor, target: Tensor) -> Tensor:
    if output.shape != target.shape:
        raise ValueError(
            f"output is {tuple(output.shape)}, target {tuple(target.shape)}: "
            "expected equal shapes"
        )
    return output - target


DENOISER_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mae": mae,
    "mse": mse,
    "charbonnier": charbonnier,
    "ssim": ssim_loss,
}


@dataclass(frozen=True)
class DescriptorLoss:
    """A loss for descriptors, which takes `margin` and `reduce` by name.

    function: takes (anchor, positive, negative) or, where it is pairwise and finds the
    negatives among the other pairs of the batch, (anchor, positive).
    """

    function: Callable[..., Tensor]
    pairwise: bool = False


DESCRIPTOR_LOSSES: dict[str, DescriptorLoss] = {
    "triplet": DescriptorLoss(triplet_loss),
    "anchor_swap": DescriptorLoss(anchor_swap_loss),
    "hardest": DescriptorLoss(hardest_loss, pairwise=True),
    "hardest_all": DescriptorLoss(hardest_all_loss, pairwise=True),
    "hardest_sos": DescriptorLoss(hardest_sos_loss, pairwise=True),
}
