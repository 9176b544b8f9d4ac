"""A panorama of two or three photos: matched here, put together by OpenCV.

The steps are those of Brown and Lowe, "Automatic panoramic image stitching using
invariant features", IJCV 2007: homographies, exposure, seams, and bands that are
blended.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from hpkit.matching.keypoints import describe_keypoints
from hpkit.matching.photos import match_photos, project

WIDEST = 4  # times the photos' pixels together: a wider view is a wrong homography


def panorama(
    photos: Sequence[np.ndarray],
    compute: Callable = describe_keypoints,
    *,
    blend: bool = True,
) -> np.ndarray:
    """All photos in one, as the middle one's camera would have seen them.

    photos: two or three that overlap, from left to right, uint8 grey (h, w) or colour
    (h, w, 3): taken from one place, or of one flat thing. compute: as in
    `match_photos`. blend: False leaves light and seams as they are. -> uint8 (H, W),
    or (H, W, 3) if one is in colour, black where no photo looks. Raises ValueError
    where a photo does not match the middle one, with the reason.
    """
    if not 2 <= len(photos) <= 3:
        raise ValueError(f"{len(photos)} photos, expected two or three")
    homographies = to_the_middle(photos, compute)
    homographies, size = _on_one_canvas(homographies, [p.shape for p in photos])
    images, masks = [], []
    for photo, homography in zip(photos, homographies, strict=True):
        everywhere = np.full(photo.shape[:2], 255, np.uint8)
        if photo.ndim == 2:
            photo = cv2.cvtColor(photo, cv2.COLOR_GRAY2BGR)
        # Mirrored at its border: wide bands are blended, and look beyond it.
        mirrored = {"borderMode": cv2.BORDER_REFLECT}
        images.append(cv2.warpPerspective(photo, homography, size, **mirrored))
        nearest = {"flags": cv2.INTER_NEAREST}
        masks.append(cv2.warpPerspective(everywhere, homography, size, **nearest))
    whole = _blended(images, masks) if blend else _laid_over(images, masks)
    if any(photo.ndim == 3 for photo in photos):
        return whole
    return cv2.cvtColor(whole, cv2.COLOR_BGR2GRAY)


def to_the_middle(
    photos: Sequence[np.ndarray], compute: Callable = describe_keypoints
) -> list[np.ndarray]:
    """The homography (3, 3) from each photo to the middle one, the second."""
    found = []
    for number, photo in enumerate(photos):
        if number == 1:
            found.append(np.eye(3))
            continue
        matched = match_photos(photo, photos[1], compute)
        if matched.homography is None:
            raise ValueError(
                f"photo {number + 1} does not match photo 2: {matched.reason}"
            )
        found.append(matched.homography)
    return found


def _on_one_canvas(
    homographies: list[np.ndarray], shapes: list[tuple[int, ...]]
) -> tuple[list[np.ndarray], tuple[int, int]]:
    """The homographies to a canvas that holds all of them, and its width and height."""
    corners = []
    for homography, (height, width, *_) in zip(homographies, shapes, strict=True):
        own = np.array([(0, 0), (width, 0), (width, height), (0, height)], float)
        corners.append(project(own, homography))
    low, high = np.min(corners, (0, 1)), np.max(corners, (0, 1))
    pixels = sum(height * width for height, width, *_ in shapes)
    if not np.prod(high - low) <= WIDEST * pixels:
        raise ValueError(
            f"the panorama would have over {WIDEST} times the photos' pixels: they "
            "look in too different directions, or a homography is wrong"
        )
    shift = np.array([[1, 0, -low[0]], [0, 1, -low[1]], [0, 0, 1]])
    width, height = np.ceil(high - low).astype(int)
    return [shift @ homography for homography in homographies], (
        int(width),
        int(height),
    )


def _laid_over(images: list[np.ndarray], masks: list[np.ndarray]) -> np.ndarray:
    """Each image over those before it, where its mask is over 0."""
    whole = np.zeros_like(images[0])
    for image, mask in zip(images, masks, strict=True):
        whole[mask > 0] = image[mask > 0]
    return whole


def _blended(images: list[np.ndarray], masks: list[np.ndarray]) -> np.ndarray:
    """Images (H, W, 3) of one size, each where its mask is over 0, as one image."""
    corners = [(0, 0)] * len(images)
    exposure = cv2.detail.ExposureCompensator_createDefault(
        cv2.detail.ExposureCompensator_GAIN
    )
    exposure.feed(corners, [*map(cv2.UMat, images)], [*map(cv2.UMat, masks)])
    even = [
        exposure.apply(number, (0, 0), image, mask)
        for number, (image, mask) in enumerate(zip(images, masks, strict=True))
    ]
    seams = cv2.detail.DpSeamFinder("COLOR").find(
        [cv2.UMat(image.astype(np.float32)) for image in even],
        corners,
        [*map(cv2.UMat, masks)],
    )
    blender = cv2.detail.MultiBandBlender()
    height, width = masks[0].shape
    blender.prepare((0, 0, width, height))
    for image, seam in zip(even, seams, strict=True):
        blender.feed(cv2.UMat(image.astype(np.int16)), seam, (0, 0))
    whole, _ = blender.blend(None, None)
    return np.clip(whole, 0, 255).astype(np.uint8)
