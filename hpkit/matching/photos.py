"""From two photos to the same points in both: match descriptors, fit a homography.

This is the whole way for a reader's own pair: `read_image`, `detect`,
`describe_keypoints` with a shipped network (`pretrained`) or one's own, `match`,
`fit_homography`. `match_photos` does all but the reading.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from hpkit.evaluation.distances import as_array, distances
from hpkit.matching.keypoints import detect, keypoint_frames

CHUNK = 2**24  # distances held at once

# Expected by chance: of a hundred pairs of unrelated photos, at most one gets a
# homography.
FALSE_ALARMS = 0.01


def match(
    first: np.ndarray,
    second: np.ndarray,
    ratio: float | None = 0.9,
    mutual: bool = True,
) -> np.ndarray:
    """Which rows of two sets of descriptors belong together.

    first: (n, d), second: (k, d) -> indexes (m, 2), in the first's order. A row goes to
    its nearest neighbour. ratio (0..1]: only if that is nearer than ratio times the
    second nearest (Lowe, IJCV 2004, section 7.1); None: always. mutual: only if the
    neighbour points back. Raises ValueError for NaN and for shapes that do not fit.
    """
    first, second = (
        torch.as_tensor(as_array(part).astype(np.float64)) for part in (first, second)
    )
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise ValueError(
            f"descriptors are {tuple(first.shape)} and {tuple(second.shape)}, "
            "expected (n, d) and (k, d)"
        )
    if not (first.isfinite().all() and second.isfinite().all()):
        raise ValueError(
            "descriptors hold NaN or infinite values, expected finite ones"
        )
    if ratio is not None and not 0 < ratio <= 1:
        raise ValueError(f"ratio is {ratio}, expected a number in (0, 1] or None")
    if not len(first) or not len(second):
        return np.empty((0, 2), int)
    there, nearest, runner_up = _two_nearest(first, second)
    kept = np.ones(len(first), bool) if ratio is None else nearest < ratio * runner_up
    if mutual:
        kept &= _two_nearest(second, first)[0][there] == np.arange(len(first))
    return np.stack([np.flatnonzero(kept), there[kept]], 1)


def _two_nearest(queries: torch.Tensor, others: torch.Tensor) -> tuple[np.ndarray, ...]:
    """Index of the nearest, its distance, and the distance of the second nearest.

    Of equally near ones, the first is the nearest.
    """
    parts = []
    for part in queries.split(max(1, CHUNK // len(others))):
        far = distances(part, others)
        nearest = far.argmin(1, keepdim=True)
        least = far.gather(1, nearest)
        # inf where there is no second.
        runner_up = far.scatter(1, nearest, torch.inf).amin(1)
        parts.append((nearest[:, 0].numpy(), least[:, 0].numpy(), runner_up.numpy()))
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def fit_homography(
    first: np.ndarray, second: np.ndarray, threshold: float = 3.0, seed: int = 0
) -> tuple[np.ndarray | None, np.ndarray]:
    """The homography from first to second that most pairs agree with, and who agrees.

    first, second: (m, 2) pixels, with wrong pairs among them. threshold: pixels in the
    second photo. -> (3, 3) and bool (m,); None and no inliers where chance alone gives
    as many that agree, see `false_alarms`, or the view is mirrored. RANSAC (Fischler
    and Bolles 1981) as OpenCV's USAC has it, with the score of MAGSAC++ (Barath,
    Noskova, Ivashechkin and Matas, CVPR 2020). The same seed gives the same answer.
    """
    homography, inliers, _ = homography_or_reason(first, second, threshold, seed)
    return homography, inliers


def homography_or_reason(
    first: np.ndarray, second: np.ndarray, threshold: float = 3.0, seed: int = 0
) -> tuple[np.ndarray | None, np.ndarray, str]:
    """As `fit_homography`, and why there is no homography: "" where there is one."""
    first, second = (as_array(part).astype(np.float64) for part in (first, second))
    if first.shape != second.shape or first.ndim != 2 or first.shape[1] != 2:
        raise ValueError(
            f"points are {first.shape} and {second.shape}, expected (m, 2) twice"
        )
    homography, inliers = _most_agreed(first, second, threshold, seed)
    reason = _why_not(homography, inliers, first, second, threshold)
    # OpenCV tries no four pairs that see a mirror image. In one, pairs along a line may
    # still agree on an ordinary view, so compare it with a fit to the mirrored photo.
    flipped = first * [-1, 1]
    found, agree = _most_agreed(flipped, second, threshold, seed)
    better = bool(reason) or agree.sum() > inliers.sum()
    if better and not _why_not(found, agree, flipped, second, threshold):
        reason = (
            f"a mirrored view: {agree.sum()} of {len(first)} matches agree once one of "
            "the photos is mirrored"
        )
    if reason:
        return None, np.zeros(len(first), bool), reason
    return homography, inliers, ""


def _most_agreed(
    first: np.ndarray, second: np.ndarray, threshold: float, seed: int
) -> tuple[np.ndarray | None, np.ndarray]:
    """RANSAC's homography, however few agree with it, and who agrees."""
    nobody = None, np.zeros(len(first), bool)
    if len(first) < 4:
        return nobody
    options = cv2.UsacParams()
    options.threshold, options.randomGeneratorState = threshold, seed
    options.maxIterations, options.confidence = 5000, 0.999
    options.score, options.loMethod = cv2.SCORE_METHOD_MAGSAC, cv2.LOCAL_OPTIM_SIGMA
    try:
        homography, mask = cv2.findHomography(first, second, options)
    except cv2.error:  # all in one place or on one line
        return nobody
    if homography is None or not np.isfinite(homography).all():
        return nobody
    return homography, mask.ravel().astype(bool)


def _why_not(
    homography: np.ndarray | None,
    inliers: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    threshold: float,
) -> str:
    """Why a homography is worth nothing, or "" where it is worth something."""
    if len(first) <= 4:
        return f"too few matches: {len(first)}, and any 4 have a homography"
    if homography is None:
        return f"no 4 of the {len(first)} matches fit a possible view"
    expected = false_alarms(first, second, inliers, threshold)
    if expected > FALSE_ALARMS:
        by_chance = f"{expected:.2g}" if expected < 1000 else "over 1000"
        return (
            f"no more matches agree than by chance: {inliers.sum()} of {len(first)}, "
            f"and chance alone would give {by_chance} such homographies, at most "
            f"{FALSE_ALARMS:g} are allowed"
        )
    if mirrors(homography, first[inliers]):
        return "a mirrored view: some of the matches that agree are seen from behind"
    return ""


def false_alarms(
    first: np.ndarray, second: np.ndarray, inliers: np.ndarray, threshold: float
) -> float:
    """How many homographies with as many inliers are expected by chance: 0 to infinity.

    Chance means that a pair's points lie anywhere in the regions that all points span.
    Points nearer to each other than the threshold count once: a detector finds a corner
    at several sizes and angles. Moisan, Moulon and Monasse, "Automatic homographic
    registration of a pair of images, with a contrario elimination of outliers", Image
    Processing On Line 2012, section 3.
    """
    pairs = min(_places(points, threshold) for points in (first, second))
    agree = min(_places(points[inliers], threshold) for points in (first, second))
    if agree <= 4:  # any four pairs have a homography
        return np.inf
    area = min(np.ptp(points, axis=0).prod() for points in (first, second))
    near = min(1.0, np.pi * threshold**2 / max(area, 1e-9))  # by chance
    logarithm = (
        math.log10(pairs - 4)
        + math.log10(math.comb(pairs, agree))
        + math.log10(math.comb(agree, 4))
        + (agree - 4) * math.log10(near)
    )
    return 10.0 ** min(logarithm, 300)


def _places(points: np.ndarray, apart: float) -> int:
    """How many cells of a grid, `apart` pixels wide, have points in them."""
    return len(np.unique(np.floor(points / apart), axis=0))


def mirrors(homography: np.ndarray, points: np.ndarray) -> bool:
    """Whether some of the points (n, 2) are seen mirrored, or from behind.

    The sign of the map's determinant there says it: Hartley and Zisserman, "Multiple
    View Geometry in Computer Vision", 2004, chapter 21.
    """
    depth = np.column_stack([points, np.ones(len(points))]) @ homography[2]
    return bool((np.linalg.det(homography) * depth <= 0).any())


def project(points: np.ndarray, homography: np.ndarray) -> np.ndarray:
    """Where a homography takes points: (n, 2) to (n, 2) pixels.

    Points beyond its horizon become infinite.
    """
    mapped = np.column_stack([points, np.ones(len(points))]) @ np.asarray(homography).T
    depth = np.where(
        mapped[:, 2:] * np.sign(homography[2][2] or 1) > 1e-12, mapped[:, 2:], np.nan
    )
    places = mapped[:, :2] / depth
    return np.where(np.isnan(places), np.inf, places)


def corner_error(
    homography: np.ndarray | None, truth: np.ndarray, shape: tuple[int, ...]
) -> float:
    """How far from their true places the first photo's four corners land.

    The mean distance in pixels. shape: (h, w) of the first photo; truth: the true (3,
    3). Infinite where there is no homography.
    """
    if homography is None:
        return np.inf
    height, width = shape[:2]
    corners = np.array(
        [(0, 0), (width - 1, 0), (width - 1, height - 1), (0, height - 1)], float
    )
    found, right = project(corners, homography), project(corners, truth)
    if not np.isfinite([found, right]).all():  # a corner is beyond the horizon
        return np.inf
    return float(np.linalg.norm(found - right, axis=1).mean())


@dataclass(frozen=True, eq=False)
class PhotoMatch:
    """Two photos matched.

    first, second: all their keypoints, (n, 2) and (k, 2) pixels. matches: (m, 2)
    indexes into them. inliers: bool (m,), which matches agree with homography, (3, 3)
    or None. reason: why there is none, "" where there is one.
    """

    first: np.ndarray
    second: np.ndarray
    matches: np.ndarray
    inliers: np.ndarray
    homography: np.ndarray | None
    reason: str = ""

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """The matched points, (m, 2) pixels in the first photo and in the second."""
        return self.first[self.matches[:, 0]], self.second[self.matches[:, 1]]


def match_photos(
    first: np.ndarray,
    second: np.ndarray,
    compute: Callable,
    *,
    number: int = 500,
    ratio: float | None = 0.9,
    threshold: float = 3.0,
) -> PhotoMatch:
    """Everything at once: keypoints, descriptors, matches, and their homography.

    compute: a function of (image, keypoints) to descriptors (n, d), such as
    `partial(describe_keypoints, descriptor=pretrained())` or `opencv_rootsift`.
    Keypoints and homography are in pixels of these images: for a photo that
    `read_image` shrank, those of the small one.
    """
    keypoints = [detect(image, number) for image in (first, second)]
    described = [
        (keypoint_frames(points)[:, :2], compute(image, points))
        for image, points in zip((first, second), keypoints, strict=True)
    ]
    return match_places(*described, ratio=ratio, threshold=threshold)


def match_places(
    first: tuple[np.ndarray, np.ndarray],
    second: tuple[np.ndarray, np.ndarray],
    *,
    ratio: float | None = 0.9,
    threshold: float = 3.0,
) -> PhotoMatch:
    """The second half of `match_photos`, for keypoints that are described already.

    first, second: places (n, 2) in pixels, and their descriptors (n, d).
    """
    matches = match(first[1], second[1], ratio=ratio)
    homography, inliers, reason = homography_or_reason(
        first[0][matches[:, 0]], second[0][matches[:, 1]], threshold
    )
    here, there = len(first[0]), len(second[0])
    if min(here, there) <= 4:
        reason = f"too few keypoints: {here} in the first photo, {there} in the second"
    return PhotoMatch(first[0], second[0], matches, inliers, homography, reason)
