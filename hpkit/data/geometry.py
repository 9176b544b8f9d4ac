"""How a patch is cut from a photo: region, jitter, and a view from elsewhere."""

import cv2
import numpy as np
import pandas as pd

PATCH = 65  # pixels, the side of a patch as it is cut out

MAGNIFICATION = 5  # region side / diameter of the detected keypoint, as in HPatches

# Strength of the detector noise per level. The first two are tuned until the median
# overlap of the jittered region with the true one is 0.85 and 0.72, the figures that
# HPatches documents.
JITTER = {"ref": 0.0, "easy": 0.90, "hard": 1.80, "tough": 2.80}


def rotation(angle: np.ndarray) -> np.ndarray:
    """Rotation matrices (n, 2, 2) of angles in radians (n,)."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)


def draw_jitter(
    n: int, strength: float, random: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """Detector noise: affine maps (n, 2, 2) and shifts (n, 2).

    The regions have a half-side of 1. Shift, size, angle and stretch along a random
    axis are normal, bent smoothly so as to stay under two standard deviations, and
    scaled by the strength (see JITTER).
    """
    z = strength * 2 * np.tanh(random.standard_normal((n, 5)) / 2)
    axis = rotation(random.uniform(0, np.pi, n))
    size, stretch = np.exp(0.10 * z[:, 2]), np.exp(0.08 * z[:, 4])
    scale = np.stack([size * stretch, size / stretch], -1)
    stretched = (axis * scale[:, None]) @ axis.transpose(0, 2, 1)
    return rotation(np.radians(8) * z[:, 3]) @ stretched, 0.08 * z[:, :2]


def overlap(affine: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Intersection over union of the unit circle and its jittered image: (n,).

    It is measured on a grid. This is the measure of HPatches (Balntas et al. 2017,
    section 4) for the levels' difficulty.
    """
    axis = np.linspace(-2.5, 2.5, 101)
    grid = np.stack(np.meshgrid(axis, axis)).reshape(2, -1)
    circle = (grid**2).sum(0) <= 1
    ellipse = ((np.linalg.inv(affine) @ (grid - shift[:, :, None])) ** 2).sum(1) <= 1
    return (circle & ellipse).sum(1) / (circle | ellipse).sum(1)


def frames(
    points: pd.DataFrame, affine: np.ndarray, shift: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """From patch coordinates (-1..1) to photo pixels.

    Gives matrices (n, 2, 2) and centres (n, 2).
    """
    turn = (
        rotation(np.radians(points.angle.to_numpy()))
        * points.radius.to_numpy()[:, None, None]
    )
    centre = points[["x", "y"]].to_numpy() + (turn @ shift[:, :, None])[:, :, 0]
    return turn @ affine, centre


def cut(
    image: np.ndarray, matrix: np.ndarray, centre: np.ndarray, homography: np.ndarray
) -> np.ndarray:
    """Patches seen through frames of a photo, cut from an image of it.

    Gives uint8 (65·n, 65). homography: (3, 3), from photo pixels to pixels of `image`.
    """
    axis = (np.arange(PATCH) + 0.5) * 2 / PATCH - 1
    grid = np.stack(np.meshgrid(axis, axis)).reshape(2, -1)
    x, y = np.moveaxis(matrix @ grid + centre[:, :, None], 1, 0)
    u, v, w = (row[0] * x + row[1] * y + row[2] for row in homography)
    u, v = ((c / w).astype(np.float32).reshape(-1, PATCH) for c in (u, v))
    return cv2.remap(image, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def look_from(
    photo: np.ndarray, turn: float, zoom: float, slant: float, axis: float, tip: float
) -> tuple[np.ndarray, np.ndarray]:
    """The photo from a viewpoint, whole in its frame, and the homography (3, 3) to it.

    turn, axis: radians. zoom: logarithm of the scale. slant: how much shorter things
    are along the axis, 0..1. tip: perspective, the change of scale along the axis over
    the photo's longer side.
    """
    height, width = photo.shape
    centre = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1.0]])
    axes = rotation(np.array(axis))
    view = np.eye(3)
    view[:2, :2] = (
        rotation(np.array(turn))
        @ (axes @ np.diag([1 - slant, 1.0]) @ axes.T)
        * np.exp(zoom)
    )
    view[2, :2] = tip * axes[:, 0] / max(height, width)
    corners = np.array([[[0, 0], [width, 0], [width, height], [0, height]]], float)
    seen = cv2.perspectiveTransform(corners, view @ centre)[0]
    low, high = seen.min(0), np.ceil(seen.max(0) - seen.min(0)).astype(int)
    homography = (
        np.array([[1, 0, -low[0]], [0, 1, -low[1]], [0, 0, 1.0]]) @ view @ centre
    )
    image = cv2.warpPerspective(
        photo, homography, (int(high[0]), int(high[1])), flags=cv2.INTER_LINEAR
    )
    return image, homography
