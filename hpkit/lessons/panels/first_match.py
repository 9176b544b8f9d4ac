"""Chapter 0's panels: two views of a photo, and the matches between them."""

from collections.abc import Callable
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from torch import nn

from hpkit.data.photos import move
from hpkit.lessons import plots
from hpkit.matching.keypoints import describe_keypoints, detect
from hpkit.matching.photos import PhotoMatch, match_photos, project

CLOSE = 3.0  # pixels between a match and the truth: nearer is right


def second_view(
    photo: np.ndarray, strength: float, noise: float = 0.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """The photo from elsewhere, with noise, and the true homography to it.

    strength: of the change of viewpoint, 0 for none. noise: its standard deviation in
    grey levels.
    """
    random = np.random.RandomState(seed)
    seen, truth = move(photo, strength, random)
    noisy = seen + noise * random.standard_normal(seen.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8), truth


def match_by(
    descriptor: nn.Module | Callable,
    first: np.ndarray,
    second: np.ndarray,
    number: int = 200,
) -> PhotoMatch:
    """`match_photos` by what a descriptor makes of the patches around keypoints.

    descriptor: a network, or a function of uint8 (n, 32, 32). number: of keypoints in
    each photo.
    """
    compute = partial(describe_keypoints, descriptor=descriptor)
    return match_photos(first, second, compute, number=number)


def right_matches(found: PhotoMatch, truth: np.ndarray) -> np.ndarray:
    """Which matches lie within CLOSE of where the true homography says: bool (m,)."""
    here, there = found.pairs()
    return np.linalg.norm(project(here, truth) - there, axis=1) < CLOSE


def found_again(
    first: np.ndarray, second: np.ndarray, truth: np.ndarray, number: int = 200
) -> float:
    """The share of the first photo's keypoints that the second has, too, within CLOSE.

    truth: the homography from the first to the second. number: of keypoints in each.
    """
    here, there = (
        np.array([spot.pt for spot in detect(photo, number)])
        for photo in (first, second)
    )
    gaps = np.linalg.norm(project(here, truth)[:, None] - there, axis=2)
    return float((gaps.min(axis=1) < CLOSE).mean())


def show_pair(
    ax: Axes,
    first: np.ndarray,
    second: np.ndarray,
    found: PhotoMatch,
    truth: np.ndarray | None = None,
    title: str = "",
) -> Axes:
    """Both photos with their matches; the title counts the good ones, which are green.

    Good is right, by the true homography. Where nobody knows the truth, good is to
    agree with most of the others on one camera. title: what stands before the count.
    """
    good = found.inliers if truth is None else right_matches(found, truth)
    told = "agree on one camera" if truth is None else "are right"
    title += f"{good.sum()} of {len(good)} matches {told}"
    return plots.show_matches(
        ax, first, second, np.hstack(found.pairs()), good, title=title
    )
