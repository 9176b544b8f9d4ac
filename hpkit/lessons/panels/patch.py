"""Chapter 1's panel and figures: where a patch comes from, its jitter and its noise.

And its quiz: which of two patches shows the anchor's point?
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hpkit.data import geometry, photos
from hpkit.data.noise import add_noise
from hpkit.data.patches import photo_of
from hpkit.data.strips import shrink
from hpkit.lessons import plots

# Corners of a patch, in its own coordinates.
SQUARE = np.array([[-1, 1, 1, -1], [-1, -1, 1, 1.0]])


@lru_cache(maxsize=2)
def _images(sequence: str) -> list[tuple[np.ndarray, np.ndarray]]:
    return photos.images_of(sequence, photos.read_photo(photo_of(sequence)))


def one_patch(
    sequence: str, patch_type: str, row: int, jitter: float = 1.0, noise: float = 1.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """A noisy patch of the embedded set, with its region.

    jitter, noise: how many times as strong as in the set. Gives the patch (32, 32), the
    image that it is cut from, two regions in it (2, 4, 2), the true one and the one
    that was cut, and their overlap.
    """
    points = photos.keypoint_table().query("sequence == @sequence")
    image, homography = _images(sequence)[photos.image_of(patch_type)]
    affine, shift = photos.jitter_of(sequence, patch_type, len(points), jitter)
    found, true = (
        geometry.frames(points, affine, shift),
        geometry.frames(points, np.eye(2), 0 * shift),
    )
    clean = shrink(geometry.cut(image, *found, homography)).reshape(-1, 32, 32)
    corners = np.stack(
        [(matrix[row] @ SQUARE).T + centre[row] for matrix, centre in (true, found)]
    )
    regions = cv2.perspectiveTransform(corners.reshape(1, -1, 2), homography).reshape(
        2, 4, 2
    )
    noisy = add_noise(clean, sequence, patch_type, noise)[row]
    return (
        noisy,
        image,
        regions,
        geometry.overlap(affine[row : row + 1], shift[row : row + 1])[0],
    )


def show_found(
    ax: Axes,
    sequence: str,
    patch_type: str,
    rows: Sequence[int],
    point: int,
    *,
    title: str = "",
) -> Axes:
    """The true regions of some points in an image, those a detector finds, and ours.

    rows: which points of the sequence; point: the one of them that is ours.
    """
    seen = [one_patch(sequence, patch_type, row) for row in rows]
    image = seen[0][1]
    true, found = np.stack([regions for _, _, regions, _ in seen], axis=1)
    kinds = [("C0", "true region", true)]
    if patch_type != "ref":
        kinds.append(("C1", "as a detector might find it", found))
    kinds.append(("magenta", "our point", found[[list(rows).index(point)]]))
    for colour, label, regions in kinds:
        plots.show_regions(ax, image, regions, colour=colour, label=label, title=title)
    return ax


def show_point(
    image: np.ndarray, regions: np.ndarray, patches: dict[str, np.ndarray], title: str
) -> Figure:
    """A point in its photo, the true region and the one as found, and two patches.

    Made without pyplot, so it is safe in a callback. regions: (2, 4, 2); patches: the
    two by name, (32, 32) each.
    """
    fig = Figure(figsize=(6.4, 4.2), layout="constrained")
    names = list(patches)
    places = [["photo", names[0]], ["photo", names[1]]]
    parts = fig.subplot_mosaic(places, width_ratios=[2.7, 1])
    looks = (("C0", "--", "true region"), ("C1", "-", "as found"))
    for region, (colour, line, label) in zip(regions, looks, strict=True):
        style = {"colour": colour, "line": line, "label": label, "title": title}
        plots.show_regions(parts["photo"], image, region[None], **style)
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, 0)}
    parts["photo"].legend(ncols=2, frameon=False, **below)
    for name, patch in patches.items():
        plots.show_patches(parts[name], patch[None, None], title=name)
    return fig


class Quiz(NamedTuple):
    """Which of A and B shows the anchor's point? Patches (n, 32, 32), a letter each."""

    anchor: np.ndarray
    a: np.ndarray
    b: np.ndarray
    truth: str

    def marked(self, letters: str) -> str:
        """These letters, and how many of them are correct."""
        said = str(letters).strip().upper()
        if len(said) != len(self.truth) or set(said) - set("AB"):
            return f"{letters!r}: expected {len(self.truth)} letters, each A or B"
        correct = sum(map(str.__eq__, said, self.truth))
        return f"{said}  {correct} of {len(said)} correct"


def draw_quiz(patches: np.ndarray, seed: int = 0, questions: int = 8) -> Quiz:
    """Triplets drawn from patches (points, 16, 32, 32), with A and B shuffled.

    Anchor and positive are two columns of one row; the negative is of another row.
    """
    random = np.random.RandomState(seed)
    own, other = random.randint(0, len(patches), (2, questions))
    other = np.where(other == own, (other + 1) % len(patches), other)
    columns = random.rand(16, questions).argsort(0)  # a shuffle for each question
    swapped = random.rand(questions) < 0.5
    anchor, positive = patches[own, columns[0]], patches[own, columns[1]]
    negative = patches[other, columns[2]]
    a, b = (
        np.where((swapped == is_b)[:, None, None], positive, negative)
        for is_b in (False, True)
    )
    return Quiz(anchor, a, b, "".join(np.where(swapped, "B", "A")))
