"""What there was before learning: SIFT, RootSIFT, raw pixels, and non-local means.

The last one is a denoiser. Each takes uint8 (n, 32, 32) patches, so each goes into
`describe` or `denoise` like a network.
"""

from collections.abc import Callable

import cv2
import numpy as np

from hpkit.data.patches import SIZE

# OpenCV lays 4 × 4 cells of 1.5 sizes each: 6 sizes are the patch's 32 pixels.
SIFT_SIZE = SIZE / 6


def sift(patches: np.ndarray) -> np.ndarray:
    """SIFT of each whole patch, upright.

    uint8 (n, 32, 32) -> float32 (n, 128), values 0..255. Patches of another size, such
    as the release's 65 × 65, are first brought to this one. There is one keypoint at
    the centre, its grid of 4 × 4 cells as wide as the patch, at angle 0: the patches
    are already turned and scaled. Lowe, "Distinctive image features", IJCV 2004,
    section 6. Raises ValueError for other patches.
    """
    _check(patches)
    extractor = cv2.SIFT_create()
    keypoint = cv2.KeyPoint((SIZE - 1) / 2, (SIZE - 1) / 2, SIFT_SIZE, 0)
    described = [extractor.compute(_resized(patch), [keypoint])[1] for patch in patches]
    return np.concatenate([np.empty((0, 128), np.float32), *described])


def _resized(patch: np.ndarray) -> np.ndarray:
    """The patch with 32 × 32 pixels."""
    if patch.shape == (SIZE, SIZE):
        return patch
    smaller = patch.shape[0] > SIZE
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return cv2.resize(patch, (SIZE, SIZE), interpolation=how)


def _check(patches: np.ndarray) -> None:
    found = f"{getattr(patches, 'dtype', type(patches).__name__)}"
    shape = tuple(getattr(patches, "shape", ()))
    if found == "uint8" and len(shape) == 3 and shape[1] == shape[2]:
        return
    raise ValueError(
        f"patches are {found} {shape}, expected uint8 (n, side, side); one patch alone "
        "is patch[None], and `describe` takes any number of dimensions before these two"
    )


def rootsift(patches: np.ndarray) -> np.ndarray:
    """The square root of SIFT divided by its sum: float32 (n, 128) of length 1.

    A flat patch is 0. Euclidean distance is then Hellinger distance. Arandjelović and
    Zisserman, CVPR 2012, section 2.
    """
    return hellinger(sift(patches))


def hellinger(histograms: np.ndarray) -> np.ndarray:
    """The square root of each row (n, d) of counts divided by its sum.

    A row of zeros stays as it is.
    """
    return np.sqrt(histograms / np.maximum(histograms.sum(1, keepdims=True), 1e-7))


def raw_pixels(patches: np.ndarray) -> np.ndarray:
    """Pixels minus their mean, divided by their length: float32 (n, pixels).

    A flat patch is 0. Raises ValueError for other than uint8 (n, side, side).
    """
    _check(patches)
    pixels = patches.reshape(len(patches), patches.shape[1] ** 2).astype(np.float32)
    pixels -= pixels.mean(1, keepdims=True)
    return pixels / np.maximum(np.linalg.norm(pixels, axis=1, keepdims=True), 1e-7)


def non_local_means(patches: np.ndarray) -> np.ndarray:
    """Each pixel becomes a mean of pixels with similar surroundings.

    uint8 (n, 32, 32) to the same. It filters as strongly as the noise that
    `noise_level` finds in each patch. Buades, Coll and Morel, "A non-local algorithm
    for image denoising", CVPR 2005. Raises ValueError for other patches.
    """
    _check(patches)
    # OpenCV's: as good as scikit-image's here (mean absolute error within 6 %), in a
    # third of the time. 1.2, 3 and 11 had the lowest error of a small grid on photos
    # with this kit's noise.
    strengths = 1.2 * noise_level(patches)
    denoised = [
        cv2.fastNlMeansDenoising(patch, None, max(float(strength), 0.1), 3, 11)
        for patch, strength in zip(patches, strengths, strict=True)
    ]
    return np.stack(denoised) if denoised else patches.copy()


def noise_level(patches: np.ndarray) -> np.ndarray:
    """Standard deviation of each patch's noise, in grey levels.

    (n, height, width) -> (n,). Second differences along rows and columns leave little
    but noise. Immerkær, "Fast noise variance estimation", Computer Vision and Image
    Understanding 1996.
    """
    second = np.diff(np.diff(patches.astype(np.float32), 2, axis=-1), 2, axis=-2)
    return np.sqrt(np.pi / 2) / 6 * np.abs(second).mean((-2, -1))


# Descriptors, uint8 (n, 32, 32) to (n, d), and denoisers, to the same.
BASELINES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "raw pixels": raw_pixels,
    "SIFT": sift,
    "RootSIFT": rootsift,
}
FILTERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "non-local means": non_local_means,
}
