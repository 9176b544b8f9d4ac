"""Chapter 1's panel: where a patch comes from, its jitter and its noise."""

from functools import lru_cache

import cv2
import numpy as np

from hpkit.data import geometry, photos
from hpkit.data.noise import add_noise
from hpkit.data.patches import photo_of
from hpkit.data.strips import shrink

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
