"""Distances between descriptors, exact where an order depends on them.

Distances are Euclidean. They are summed in float64 over the differences themselves, so
that equal descriptors are exactly equally far. `chunk` is how many numbers of 8 bytes
may be held at once. Where only an order is asked for, a matrix product in float32
settles nearly all of it, many times faster; what lies within its rounding errors is
left to the differences.
"""

import warnings

import numpy as np
import torch
from torch import Tensor

from hpkit.data.patches import LEVELS

EPS = np.finfo(np.float64).eps


def as_array(values: object) -> np.ndarray:
    """An array of numbers, made of one, of a tensor (of any kind, anywhere), or a list.

    Raises ValueError in one sentence for what holds anything but real numbers.
    """
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        if values.dtype in (torch.bfloat16, torch.float16):  # numpy has no bfloat16
            values = values.float()
        return values.numpy()
    try:
        array = np.asarray(values)
    except ValueError as error:  # rows of several lengths
        raise ValueError(f"these are no numbers in an array ({error})") from error
    if array.dtype.kind not in "fiub":
        raise ValueError(
            f"a {type(values).__name__} of {array.dtype}, expected real numbers"
        )
    return array


def pair_distances(
    points: Tensor, pairs: np.ndarray, chunk: int
) -> dict[str, np.ndarray]:
    """Distances of pairs (m, 4), as in `Tasks`, at each level: float32 (m,).

    Difference and result are float32, as officially, so rounding makes the same ties.
    """
    # The pairs are taken in the order of memory.
    patches, order = points.flatten(0, 1), np.argsort(pairs[:, 0])
    found = {level: np.empty(len(pairs), np.float32) for level in LEVELS}
    size = max(1, chunk // (2 * points.shape[2]))
    for part in np.split(order, range(size, len(order), size)):
        first, image1, second, image2 = pairs[part].T
        for level, columns in LEVELS.items():
            column = np.array([0, *range(columns.start, columns.stop)])  # of image 0..5
            far = row_distances(
                patches,
                patches,
                points.shape[1] * first + column[image1],
                points.shape[1] * second + column[image2],
                chunk,
                torch.float32,
            )
            found[level][part] = far
    return found


def nearest_neighbours(
    queries: Tensor, others: Tensor, chunk: int
) -> tuple[np.ndarray, np.ndarray]:
    """For each query, the distance to the nearest of `others`, and its index.

    Of equally near ones, the first is taken.
    """
    sizes = squares(others)
    found, indices = [], []
    for part in queries.split(max(1, chunk // len(others))):
        near, error = approximate_squares(part, others, sizes)
        limit = near.min(1, keepdims=True) + 2 * error
        row, other = _where(near <= limit.astype(near.dtype))
        far = row_distances(part, others, row, other, chunk)
        least = np.minimum.reduceat(far, np.searchsorted(row, np.arange(len(part))))
        nearest = np.flatnonzero(far == least[row])
        found.append(least)
        indices.append(other[nearest[np.unique(row[nearest], return_index=True)[1]]])
    return np.concatenate(found), np.concatenate(indices)


def count_nearer(
    queries: Tensor, others: Tensor, sizes: Tensor, limits: np.ndarray, chunk: int
) -> np.ndarray:
    """How many of `others` are nearer to a query than each of its limits: int (n, k).

    queries: (n, d); limits: distances (n, k); sizes: see `approximate_squares`. There
    may be up to 65,535 others.
    """
    near, error = approximate_squares(queries, others, sizes)
    squared = limits**2 - squares(queries).cpu().numpy()[:, None]
    low, high = (
        (squared - error).astype(near.dtype),
        (squared + error).astype(near.dtype),
    )
    found, doubt = np.empty(limits.shape, int), np.zeros(near.shape, bool)
    for i in range(limits.shape[1]):
        surely = near < low[:, i, None]
        doubt |= surely != (near <= high[:, i, None])
        # Quicker than in wider numbers.
        found[:, i] = surely.view(np.uint8).sum(1, np.uint16)
    row, other = _where(doubt)
    nearer = row_distances(queries, others, row, other, chunk)[:, None] < limits[row]
    np.add.at(found, row, nearer & (near[row, other, None] >= low[row]))
    return found


def _where(chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of a matrix, ten times as quickly as `np.nonzero`."""
    return np.divmod(np.flatnonzero(chosen), chosen.shape[1])


def squares(descriptors: Tensor) -> Tensor:
    """Squared lengths of descriptors (n, d): float64 (n,)."""
    return torch.linalg.vector_norm(descriptors, dim=1, dtype=torch.float64).square()


def approximate_squares(
    queries: Tensor, others: Tensor, sizes: Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """|b|² - 2ab by a matrix product, (n, m), and its error, (n, 1).

    This is a squared distance less |a|². sizes: `squares` of the others. The error is a
    bound. It covers d products added in any order with each sum rounded, and what the
    differences themselves may be wrong by.
    """
    largest = squares(queries)[:, None] + sizes.max()
    # No square overflows in float32.
    safe = largest.min() > 1e-30 and largest.max() < 1e30
    plain = (
        queries.device.type == "cpu"
        and torch.get_float32_matmul_precision() == "highest"
    )
    kind = torch.float32 if safe and plain else torch.float64
    near = torch.addmm(sizes.to(kind), queries.to(kind), others.to(kind).T, alpha=-2)
    rounding = (queries.shape[1] / 2 + 4) * (torch.finfo(kind).eps + 3 * EPS)
    return near.cpu().numpy(), (rounding * largest).cpu().numpy()


def row_distances(
    first: Tensor,
    second: Tensor,
    row: np.ndarray,
    other: np.ndarray,
    chunk: int,
    kind: torch.dtype = torch.float64,
) -> np.ndarray:
    """Distances of rows of the first from rows of the second: float64.

    Their differences are taken in `kind`.
    """

    def taken(rows: Tensor, numbers: Tensor) -> Tensor:
        return rows.index_select(0, numbers.to(rows.device)).to(kind)

    size = max(1, chunk // (8 * first.shape[1]))  # in the inner cache
    numbers = zip(
        torch.from_numpy(row).split(size),
        torch.from_numpy(other).split(size),
        strict=True,
    )
    parts = [
        torch.linalg.vector_norm(
            taken(first, a) - taken(second, b), dim=1, dtype=torch.float64
        )
        .cpu()
        .numpy()
        for a, b in numbers
    ]
    return np.concatenate(parts)


def distances(queries: Tensor, others: Tensor) -> Tensor:
    """All distances, (..., n, d) and (..., m, d) to (..., n, m), in the input's type.

    They are not taken by a matrix product: |a|² + |b|² - 2ab cancels, which would order
    near ties by chance.
    """
    return torch.cdist(queries, others, compute_mode="donot_use_mm_for_euclid_dist")


def tied(points: Tensor, pairs: np.ndarray) -> bool:
    """Whether most distances of such pairs are equal, with a warning: a known trap.

    A network that gives one answer to all patches would score 1 in retrieval.
    """
    some = pair_distances(points, pairs[:2000], chunk=1_000_000)["easy"]
    largest_tie = np.unique(some, return_counts=True)[1].max()
    if largest_tie > len(some) / 2:
        warnings.warn(
            f"{largest_tie / len(some):.0%} of the distances between different points "
            "are equal: these descriptors hardly tell patches apart (has the network "
            "collapsed?). Officially ties go to the positives in retrieval, which "
            "rewards that; here they go to the distractors",
            stacklevel=3,
        )
    return largest_tie > len(some) / 2
