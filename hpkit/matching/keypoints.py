"""From a photo to descriptors of its keypoints.

Patches are cut in the same way as those for training.
"""

from collections.abc import Callable, Sequence
from functools import cache

import cv2
import numpy as np
import torch
from torch import nn

from hpkit.data.geometry import MAGNIFICATION, PATCH, cut, rotation
from hpkit.data.strips import shrink
from hpkit.evaluation.baselines import hellinger
from hpkit.evaluation.describe import describe
from hpkit.evaluation.distances import as_array
from hpkit.networks.pretrained import pretrained

LARGEST = 32_766  # pixels a side that OpenCV's remap takes
FARTHEST = 100  # times the photo's longer side: no detector's region is as wide

ROWS = 400  # patches cut at once: OpenCV's remap takes at most 32,767 rows of pixels


def detect(image: np.ndarray, number: int = 500) -> list[cv2.KeyPoint]:
    """The strongest SIFT keypoints of a photo, strongest first.

    image: uint8 (h, w) or (h, w, 3). number: at most so many. A blank photo has none.
    Lowe, IJCV 2004, sections 3 to 5.
    """
    found = cv2.SIFT_create(nfeatures=number).detect(_grey(image), None)
    return sorted(found, key=lambda point: -point.response)[:number]


def describe_keypoints(
    image: np.ndarray,
    keypoints: Sequence[cv2.KeyPoint] | np.ndarray,
    descriptor: nn.Module | Callable | None = None,
    *,
    magnification: float = MAGNIFICATION,
    device: str = "auto",
    precision: str = "float32",
) -> np.ndarray:
    """Descriptors of keypoints, a row each in their order, as of `cv2.SIFT.compute`.

    image: uint8, grey (h, w) or colour (h, w, 3), its channels in OpenCV's order (BGR).
    keypoints: of any detector, see `keypoint_frames`. descriptor: a network, or a
    function of uint8 (n, 32, 32) such as `baselines.rootsift`; None: the shipped one.
    magnification: a region's width in sizes of its keypoint; 5 fits SIFT's, whose size
    is a blob's diameter. -> float32 (n, d); (0, 128) where there are no keypoints.
    Beyond the border the photo is mirrored. Raises ValueError for another image, or a
    keypoint without a place or a size.
    """
    patches = keypoint_patches(image, keypoints, magnification)
    if not len(patches):
        return np.empty((0, 128), np.float32)
    return describe(
        _shipped() if descriptor is None else descriptor,
        patches,
        device=device,
        precision=precision,
    )


@cache
def _shipped() -> nn.Module:
    """The shipped descriptor, read once per process.

    Only `describe_keypoints` has this copy.
    """
    return pretrained()


def keypoint_patches(
    image: np.ndarray,
    keypoints: Sequence[cv2.KeyPoint] | np.ndarray,
    magnification: float = MAGNIFICATION,
) -> np.ndarray:
    """The patches that are described: uint8 (n, 32, 32), upright.

    They are cut as `hpkit.data.photos` cuts its own. A region is `magnification` sizes
    wide. One that is wider than twice the 65 pixels it is sampled at is cut from a
    smaller, smoothed copy of the photo (half, a quarter ...), so that nothing aliases.
    Raises ValueError for a region far outside the photo.
    """
    image, points = _grey(image), keypoint_frames(keypoints)
    _check_regions(points, image.shape, magnification)
    patches = np.empty((len(points), 32, 32), np.uint8)
    # Pixels of the photo per pixel of the patch.
    step = magnification * points[:, 2] / PATCH
    most = int(np.log2(min(image.shape)))
    levels = np.clip(np.floor(np.log2(np.maximum(step, 1))), 0, most).astype(int)
    for level in range(most + 1):
        rows = np.flatnonzero(levels == level)
        for some in np.split(rows, range(ROWS, len(rows), ROWS)) if len(rows) else []:
            x, y, size, angle = points[some].T
            turn = (
                rotation(np.radians(angle)) * (magnification * size / 2)[:, None, None]
            )
            smaller = np.diag([0.5**level, 0.5**level, 1])
            strip = cut(image, turn, np.stack([x, y], 1), smaller)
            patches[some] = shrink(strip).reshape(-1, 32, 32)
        image = cv2.pyrDown(image)  # its pixel (i, j) lies on (2i, 2j)
    return patches


def _check_regions(
    points: np.ndarray, shape: tuple[int, int], magnification: float
) -> None:
    """Refuse regions that see mirrors of mirrors of the photo, and take minutes."""
    if not (np.isreal(magnification) and 0 < magnification < np.inf):
        raise ValueError(
            f"magnification is {magnification!r}, expected a finite number over 0"
        )
    height, width = shape
    sides = np.array([width, height])
    far = ((points[:, :2] < -sides) | (points[:, :2] > 2 * sides)).any(1)
    large = magnification * points[:, 2] > FARTHEST * max(shape)
    for bad, what in (
        (far, "more than a photo's size outside it"),
        (large, f"a region over {FARTHEST} times as wide as the photo"),
    ):
        if bad.any():
            number = int(np.argmax(bad))
            x, y, size, _ = points[number]
            raise ValueError(
                f"keypoint {number} is at {x:g}, {y:g} with size {size:g} and "
                f"magnification {magnification:g}: {what}, which has {width} × "
                f"{height} pixels"
            )


def keypoint_frames(keypoints: Sequence[cv2.KeyPoint] | np.ndarray) -> np.ndarray:
    """Keypoints as rows of x, y, size (pixels), angle (degrees): float (n, 4), checked.

    keypoints: cv2.KeyPoints (size is the diameter; an angle of -1, unknown, counts as
    0), or such rows already. x runs to the right, y down, and the angle from x to y.
    """
    if isinstance(keypoints, np.ndarray) and (
        keypoints.ndim != 2 or keypoints.shape[1] != 4
    ):
        raise ValueError(
            f"keypoints are {keypoints.shape}, expected rows of x, y, size, angle"
        )
    rows = []
    for number, point in enumerate(keypoints):
        if isinstance(point, cv2.KeyPoint):
            rows.append(
                (*point.pt, point.size, 0 if point.angle == -1 else point.angle)
            )
        elif isinstance(keypoints, np.ndarray):
            rows.append(tuple(point))
        else:
            raise ValueError(
                f"keypoint {number} is a {type(point).__name__}, expected a "
                "cv2.KeyPoint, or an array of rows of x, y, size, angle"
            )
        x, y, size, angle = rows[-1]
        if not np.isfinite(rows[-1]).all() or size <= 0:
            raise ValueError(
                f"keypoint {number} is at {(x, y)} with size {size} and angle "
                f"{angle}, expected finite numbers and a size over 0"
            )
    return np.array(rows, float).reshape(-1, 4)


def laf_frames(
    lafs: np.ndarray | torch.Tensor, magnification: float = MAGNIFICATION
) -> np.ndarray:
    """Local affine frames, as kornia has them, as rows for `describe_keypoints`.

    lafs: (1, n, 2, 3) or (n, 2, 3), pixels, an array or a tensor. A frame is [A | c]:
    it takes the patch, the square from -1 to 1, to c + A u in the photo, y down (the
    convention of `kornia.feature.laf_from_center_scale_ori`, kornia 0.9). -> float (n,
    4), rows of x, y, size, angle. Their regions, at the same magnification, are the
    frames' own: they have the same centre and area, and are turned by the rotation
    nearest to A. A stretch or a slant is left out. Angles run as OpenCV's do, against
    kornia's. Raises ValueError for mirrored or flat frames, and for more images.
    """
    values = np.asarray(as_array(lafs), float)
    if values.ndim == 4 and len(values) == 1:
        values = values[0]
    if values.ndim != 3 or values.shape[1:] != (2, 3):
        raise ValueError(
            f"lafs are {values.shape}, expected (1, n, 2, 3), the frames of one image"
        )
    affine, centre = values[:, :, :2], values[:, :, 2]
    with np.errstate(invalid="ignore"):  # of what is not finite, which is refused
        area = np.linalg.det(affine)
    good = np.isfinite(values).all((1, 2)) & (area > 0)
    if not good.all():
        number = int(np.argmin(good))
        raise ValueError(
            f"laf {number} is {values[number].tolist()}, expected finite numbers and a "
            "determinant over 0: it is flat or mirrored"
        )
    size = 2 * np.sqrt(area) / magnification
    across = affine[:, 1, 0] - affine[:, 0, 1]
    angle = np.degrees(np.arctan2(across, affine[:, 0, 0] + affine[:, 1, 1]))
    return np.column_stack([centre, size, angle % 360])


def _grey(image: np.ndarray) -> np.ndarray:
    found = (
        f"{getattr(image, 'dtype', type(image).__name__)} {getattr(image, 'shape', '')}"
    )
    if (
        not isinstance(image, np.ndarray)
        or image.dtype != np.uint8
        or not image.size
        or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3))
    ):
        raise ValueError(f"image is {found}, expected uint8 (h, w) or (h, w, 3)")
    if max(image.shape[:2]) > LARGEST:
        raise ValueError(
            f"image is {found}, expected at most {LARGEST:,} pixels a side, which is "
            "OpenCV's limit: shrink it, as `read_image` does"
        )
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)


def opencv_sift(image: np.ndarray, keypoints: Sequence[cv2.KeyPoint]) -> np.ndarray:
    """OpenCV's own SIFT of keypoints that its SIFT detected.

    float32 (n, 128), values 0..255. It looks at 6 sizes around a point, a little
    further than MAGNIFICATION.
    """
    if not len(keypoints):
        return np.empty((0, 128), np.float32)
    return cv2.SIFT_create().compute(_grey(image), keypoints)[1]


def opencv_rootsift(image: np.ndarray, keypoints: Sequence[cv2.KeyPoint]) -> np.ndarray:
    """The square root of `opencv_sift` divided by its sum.

    float32 (n, 128) of length 1.
    """
    return hellinger(opencv_sift(image, keypoints))
