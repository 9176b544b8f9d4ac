"""Chapter 14's pictures of what a descriptor has learned, and its panel."""

from collections.abc import Callable, Sequence
from itertools import product

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from torch import nn

from hpkit.data.geometry import MAGNIFICATION
from hpkit.evaluation.describe import describe
from hpkit.lessons import plots
from hpkit.matching.keypoints import describe_keypoints
from hpkit.matching.photos import project

# A map of patches as a PNG is half as large with few greys.
FEW_GREYS, LEVELS = plt.get_cmap("gray", 12), Normalize(0, 255)

SIZE = 10.0  # pixels, of the keypoints that the panel puts into a photo


def oriented_gradients(directions: int = 8, side: int = 6) -> np.ndarray:
    """What SIFT measures at a pixel, as filters: float (directions, side, side).

    A filter is a slope in its direction under a soft window, and has length 1. The
    first direction runs to the right, the next ones turn from there to the bottom.
    """
    axis = np.arange(side) - (side - 1) / 2
    x, y = np.meshgrid(axis, axis)
    window = np.exp(-(x**2 + y**2) / (side / 2) ** 2)
    angles = 2 * np.pi * np.arange(directions)[:, None, None] / directions
    filters = window * (x * np.cos(angles) + y * np.sin(angles))
    return filters / np.linalg.norm(filters, axis=(1, 2), keepdims=True)


def show_filters(ax: Axes, filters: np.ndarray, columns: int, title: str = "") -> Axes:
    """Filters as small pictures, row by row: blue takes away, red adds, white is 0.

    filters: (n, h, w). Each is drawn in its own full strength.
    """
    scaled = filters / np.abs(filters).max(axis=(1, 2), keepdims=True)
    n, height, width = scaled.shape
    rows = -(-n // columns)  # rounded up
    sheet = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), np.nan)
    for number, one in enumerate(scaled):
        row, column = divmod(number, columns)
        top, left = row * (height + 1), column * (width + 1)
        sheet[top : top + height, left : left + width] = one
    ax.imshow(sheet, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    ax.set(xticks=[], yticks=[], title=title)
    ax.spines[:].set_visible(False)
    return ax


def show_map(
    ax: Axes,
    places: np.ndarray,
    patches: np.ndarray,
    kinds: Sequence[int],
    *,
    zoom: float = 0.6,
    names: Sequence[str] = (),
    title: str = "",
) -> Axes:
    """Patches drawn at their places, each in a frame of its kind's colour.

    places: (n, 2). patches: uint8 (n, 32, 32). kinds: (n,) whole numbers from 0. zoom:
    screen dots per pixel. names: of the kinds, for a legend.
    """
    for place, patch, kind in zip(places, patches, kinds, strict=True):
        picture = OffsetImage(patch, zoom=zoom, cmap=FEW_GREYS, norm=LEVELS)
        frame = {"edgecolor": f"C{kind}", "linewidth": 2}
        ax.add_artist(AnnotationBbox(picture, place, pad=0.05, bboxprops=frame))
    for kind, name in enumerate(names):
        ax.plot([], [], "s", ms=9, mfc="none", mew=2, color=f"C{kind}", label=name)
    low, high = places.min(axis=0), places.max(axis=0)
    (left, bottom), (right, top) = low - 0.06 * (high - low), high + 0.06 * (high - low)
    ax.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[], title=title)
    ax.spines[:].set_visible(False)
    if len(names):
        ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


def occlusion(
    descriptor: nn.Module | Callable, patch: np.ndarray, side: int = 8, step: int = 2
) -> np.ndarray:
    """How far the descriptor moves when a square of the patch is covered.

    The square has the patch's mean grey. patch: uint8 (32, 32). side, step: of the
    square and between its places, pixels. -> float (k, k), a row for each top edge and
    a column for each left edge. Zeiler and Fergus, ECCV 2014, section 4.2.
    """
    starts = range(0, len(patch) - side + 1, step)
    covered = np.stack([patch] * len(starts) ** 2)
    for one, (top, left) in zip(covered, product(starts, starts), strict=True):
        one[top : top + side, left : left + side] = patch.mean()
    numbers = describe(descriptor, np.stack([patch, *covered]), precision="float32")
    moved = np.linalg.norm(numbers[1:] - numbers[0], axis=1)
    return moved.reshape(len(starts), len(starts))


def sensitivity(network: nn.Module, patches: np.ndarray) -> np.ndarray:
    """How far the descriptor moves per grey level of each pixel: float (n, 32, 32).

    patches: uint8 (n, 32, 32). It is the length of the gradient of all its numbers by
    that pixel. The network is used as it is, so it should be in eval mode.
    """
    pixels = torch.tensor(patches).float()[:, None].requires_grad_()
    numbers = network(pixels)
    total = torch.zeros_like(pixels)
    for number in numbers.sum(dim=0):  # patches do not see each other
        total += torch.autograd.grad(number, pixels, retain_graph=True)[0] ** 2
    return total.sqrt()[:, 0].detach().numpy()


def show_looks(
    axes: np.ndarray, patches: np.ndarray, maps: dict[str, np.ndarray]
) -> None:
    """Patches in the first row of axes, and below each patch its maps, bright is far.

    axes: (1 + maps, n). patches: (n, 32, 32). maps: {name: (n, k, k)}; each map spans
    the patch and has its own scale.
    """
    shown = {"patch": patches, **maps}
    for row, (name, pictures) in zip(axes, shown.items(), strict=True):
        for ax, picture in zip(row, pictures, strict=True):
            grey = plots.GREY if name == "patch" else {"cmap": "inferno", "vmin": 0}
            ax.imshow(picture, **grey)
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
        row[0].set_ylabel(name, rotation=0, ha="right", va="center")


def show_board(ax: Axes, shares: np.ndarray, title: str = "") -> Axes:
    """How far the descriptor moves for each square of a board, with the numbers.

    shares: (k, k), as multiples of their mean; the colours run from 0.5 to 1.5.
    """
    ax.imshow(shares, cmap="cividis", vmin=0.5, vmax=1.5)
    for (row, column), share in np.ndenumerate(shares):
        colour = "black" if share > 1 else "white"
        style = {"ha": "center", "va": "center", "fontsize": "small"}
        ax.text(column, row, f"{share:.2f}", color=colour, **style)
    ax.set(xticks=[], yticks=[], title=title)
    ax.spines[:].set_visible(False)
    return ax


def grid(shape: tuple[int, int], step: int, size: float = SIZE) -> np.ndarray:
    """Upright keypoints all over a photo: float (n, 4), rows of x, y, size, angle.

    shape: of the photo, (h, w). step: pixels between them. size: of each, so that its
    region is five times as wide. The first row lies half a step inside the photo.
    """
    y, x = np.mgrid[step // 2 : shape[0] : step, step // 2 : shape[1] : step]
    same = np.ones(x.size)
    return np.column_stack([x.ravel(), y.ravel(), size * same, 0 * same])


def search(
    network: nn.Module | Callable,
    first: np.ndarray,
    second: np.ndarray,
    truth: np.ndarray,
    described: tuple[np.ndarray, np.ndarray],
    x: int,
    y: int,
) -> tuple[Figure, str]:
    """Where in the second view it sees the point x, y of the first.

    first, second: uint8 (h, w). truth: the homography between them. described: the
    places in the second view, as of `grid`, and their descriptors. -> the figure, and
    how far the best place is from the truth.
    """
    places, numbers = described
    size = places[0, 2]
    here = describe_keypoints(first, np.array([[x, y, size, 0.0]]), network)
    distance = np.linalg.norm(numbers - here, axis=1)
    best, right = places[distance.argmin(), :2], project(np.array([[x, y]]), truth)[0]
    fig = Figure(figsize=(6.4, 2.7), layout="constrained")
    left, ax = fig.subplots(1, 2)
    square = size * MAGNIFICATION / 2 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    region = square + np.array([x, y])
    plots.show_regions(left, first, region[None], title="This point ...")
    ax.imshow(second, **plots.PHOTO)
    look = _show_alike(ax, places, distance)
    ax.figure.colorbar(look, ax=ax, label="how alike (cosine)", shrink=0.8)
    _mark(ax, {"the truth": ("o", right), "most similar": ("x", best)})
    ax.set(xticks=[], yticks=[], xlim=(0, second.shape[1]), ylim=(len(second), 0))
    ax.set_title("... and where it sees it")
    apart = np.linalg.norm(best - right)
    return fig, f"The most similar place is {apart:.0f} pixels from the truth."


def _show_alike(ax: Axes, places: np.ndarray, distance: np.ndarray) -> ScalarMappable:
    """Descriptors of length 1 on a grid of places: the brighter, the more alike.

    It is their cosine, drawn from 0.25 (clear) to 1. Returns what a colour bar needs.
    """
    rows = len(np.unique(places[:, 1]))
    cosine = np.clip(1 - distance**2 / 2, 0, 1).reshape(rows, -1)
    (left, top), (right, bottom) = places[0, :2], places[-1, :2]
    half = (places[1, 0] - left) / 2
    extent = (left - half, right + half, bottom + half, top - half)
    colours = ScalarMappable(Normalize(0, 1), "inferno")
    look = {"cmap": colours.cmap, "norm": colours.norm, "interpolation": "nearest"}
    ax.imshow(
        cosine, alpha=np.clip((cosine - 0.25) / 0.5, 0, 0.9), extent=extent, **look
    )
    return colours


def _mark(ax: Axes, places: dict[str, tuple[str, np.ndarray]]) -> None:
    """Places in white, {name: (marker, (x, y))}, with a dark legend."""
    for name, (marker, place) in places.items():
        style = {"ms": 12, "mfc": "none", "mew": 2, "color": "white", "ls": "none"}
        ax.plot(*place, marker=marker, label=name, **style)
    dark = {"facecolor": "0.2", "labelcolor": "white"}
    ax.legend(fontsize="x-small", loc="lower right", **dark)
