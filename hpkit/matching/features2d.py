"""A descriptor of this package where programs of OpenCV have `cv2.SIFT`.

`cv2.SIFT_create()` becomes `Descriptor2D()`, and nothing else has to change.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from torch import nn

from hpkit.data.geometry import MAGNIFICATION
from hpkit.matching.keypoints import describe_keypoints

Keypoints = tuple[cv2.KeyPoint, ...]


class Descriptor2D:
    """Keypoints of a detector of OpenCV, described by a network: as `cv2.SIFT` is used.

    detector: any `cv2.Feature2D` that detects; None: `cv2.SIFT_create()`. descriptor,
    magnification, device: as in `describe_keypoints`; None: the shipped network.

    Images are uint8: grey (h, w) or (h, w, 1), BGR (h, w, 3) or BGRA (h, w, 4).
    Keypoints come as tuples, and all that were given are described, in their order.
    Another image raises cv2.error, as from OpenCV; a keypoint without a place or a size
    raises ValueError. It takes one image at a time. `cv2.detail` refuses it, for it
    takes only features that are written in C++.
    """

    def __init__(
        self,
        detector: cv2.Feature2D | None = None,
        *,
        descriptor: nn.Module | Callable | None = None,
        magnification: float = MAGNIFICATION,
        device: str = "auto",
    ) -> None:
        self.detector = cv2.SIFT_create() if detector is None else detector
        self._described_by = {
            "descriptor": descriptor,
            "magnification": magnification,
            "device": device,
        }

    def detect(self, image: np.ndarray, mask: np.ndarray | None = None) -> Keypoints:
        """The detector's keypoints; mask: uint8 (h, w), 0 where none are wanted.

        There are none in an image that is None or empty.
        """
        if _is_empty(image):
            return ()
        grey = _grey(image)
        _check_mask(mask, grey)
        return tuple(self.detector.detect(grey, mask))

    def compute(
        self, image: np.ndarray, keypoints: Sequence[cv2.KeyPoint]
    ) -> tuple[Keypoints, np.ndarray | None]:
        """The same keypoints, and float32 (n, d) of length 1, a row for each.

        None in the place of descriptors where there is no keypoint, or no image.
        """
        keypoints = tuple(keypoints)
        if not keypoints or _is_empty(image):
            return keypoints, None
        return keypoints, self._describe(_grey(image), keypoints)

    def detectAndCompute(
        self, image: np.ndarray, mask: np.ndarray | None = None
    ) -> tuple[Keypoints, np.ndarray | None]:
        """`detect`, then `compute`. Unlike these it refuses an empty image."""
        return self.compute(_grey(image), self.detect(image, mask))

    def _describe(self, image: np.ndarray, keypoints: Keypoints) -> np.ndarray:
        return describe_keypoints(image, keypoints, **self._described_by)

    def descriptorSize(self) -> int:
        """Numbers in a descriptor: 128, unless another descriptor was named."""
        middle = cv2.KeyPoint(16, 16, 6)
        grey = np.full((32, 32), 128, np.uint8)
        return self._describe(grey, (middle,)).shape[1]

    def descriptorType(self) -> int:
        """The type of a number: cv2.CV_32F."""
        return cv2.CV_32F

    def defaultNorm(self) -> int:
        """The distance by which descriptors are compared: cv2.NORM_L2."""
        return cv2.NORM_L2

    def getDefaultName(self) -> str:
        """What OpenCV would call it."""
        return "Feature2D.Descriptor2D"

    def empty(self) -> bool:
        """True, as `cv2.SIFT` says: it holds no data of images that it has seen."""
        return True


def _is_empty(image: object) -> bool:
    return image is None or (isinstance(image, np.ndarray) and not image.size)


def _grey(image: object) -> np.ndarray:
    """Grey (h, w), from what OpenCV's SIFT takes."""
    found = (
        f"{getattr(image, 'dtype', type(image).__name__)} {getattr(image, 'shape', '')}"
    )
    channels = 0
    if isinstance(image, np.ndarray) and image.size and image.dtype == np.uint8:
        channels = {2: 1, 3: image.shape[-1]}.get(image.ndim, 0)
    if channels == 1:
        return image.reshape(image.shape[:2])
    if channels not in (3, 4):
        raise cv2.error(
            f"image is {found.strip()}, expected uint8 (h, w), (h, w, 3) or (h, w, 4)"
        )
    code = cv2.COLOR_BGR2GRAY if channels == 3 else cv2.COLOR_BGRA2GRAY
    return cv2.cvtColor(image, code)


def _check_mask(mask: object, image: np.ndarray) -> None:
    """Refuse a mask of another size, which SIFT would read beyond its end."""
    if mask is None:
        return
    found = (getattr(mask, "dtype", type(mask).__name__), getattr(mask, "shape", ""))
    if found != (np.dtype(np.uint8), image.shape):
        raise cv2.error(f"mask is {found[0]} {found[1]}, expected uint8 {image.shape}")
