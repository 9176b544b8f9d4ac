"""Descriptors of OpenCV contrib, as another process that describes patches when told.

`python contrib_arm.py` reads orders, a line of JSON each, and answers in JSON. An order names a
descriptor, a file of patches, uint8 (n, 32, 32), and the file to write, float32 (n, d). This file
needs OpenCV contrib, and nothing of hpkit: see contrib.txt.

Each patch is an image with one upright keypoint in its centre, and each descriptor looks at the
whole of it and at nothing else:

- VGG samples 64 x 64 pixels, as its authors' training patches had them. The patch is brought to
  that size; a scale factor of 1 and a keypoint of size 64 take each pixel once.
- BoostDesc, BEBLID and TEBLID learned their boxes on 32 x 32 pixels. At a scale factor of 1 and
  size 32 they lie on the patch's own pixels. (With the factor for SIFT's keypoints, 6.25 or 6.75,
  the same region of a photo belongs to a keypoint of 5 pixels.)
- LATCH knows no size. It compares windows of 7 x 7 pixels up to 24 pixels from the keypoint, 55
  pixels in all, so the patch is brought to 55 x 55.
- DAISY knows no size either. At OpenCV's own radius of 15 pixels the outer circles have their
  centres on the patch's edge. Among radii 8, 11, 13 and 15 and two ways to normalise, 15 and
  SIFT's way had the best matching on the validation patches. Two pixels of the edge are repeated
  around the patch, because DAISY leaves out circles within two pixels of an image's end.

Bits become numbers, 0 or 1: their squared Euclidean distance is Hamming's.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

# Numbers that OpenCV gives no names in Python. Both are its defaults or its longest.
VGG_120, BINBOOST_256 = 100, 302


@dataclass(frozen=True)
class Way:
    """How a descriptor is made, its keypoint, and the patch's side and margin, in pixels.

    The middle of 32 pixels is 15.5 where a pixel's number is its centre, and 16 where it is its
    upper left corner, as BoostDesc and BEBLID count.
    """

    make: Callable[[], cv2.Feature2D]
    centre: float
    size: float
    side: int = 32
    margin: int = 0


def ways() -> dict[str, Way]:
    """All of them by name; AttributeError where this OpenCV has no contrib."""
    x = cv2.xfeatures2d
    return {
        "DAISY": Way(lambda: x.DAISY_create(15, 3, 8, 8, x.DAISY_NRM_SIFT), 17.5, 32, margin=2),
        # It blurs the patch by 1.4 pixels, as its authors did.
        "VGG": Way(lambda: x.VGG_create(VGG_120, 1.4, True, True, 1.0), 31.5, 64, side=64),
        "BoostDesc": Way(lambda: x.BoostDesc_create(BINBOOST_256, True, 1.0), 16, 32),
        "LATCH": Way(lambda: x.LATCH_create(32, False), 27, 55, side=55),
        "BEBLID": Way(lambda: x.BEBLID_create(1.0, x.BEBLID_SIZE_512_BITS), 16, 32),
        "TEBLID": Way(lambda: x.TEBLID_create(1.0, x.TEBLID_SIZE_512_BITS), 16, 32),
    }


def described(way: Way, patches: np.ndarray) -> np.ndarray:
    """uint8 (n, side, side) -> float32 (n, d); ValueError where a patch got no descriptor."""
    feature = way.make()
    keypoint = cv2.KeyPoint(way.centre, way.centre, way.size, 0)  # upright
    rows = []
    for patch in patches:
        if patch.shape != (way.side, way.side):
            patch = cv2.resize(patch, (way.side, way.side), interpolation=cv2.INTER_LINEAR)
        if way.margin:
            patch = cv2.copyMakeBorder(patch, *[way.margin] * 4, cv2.BORDER_REPLICATE)
        kept, found = feature.compute(patch, [keypoint])
        if len(kept) != 1:
            raise ValueError(f"{feature.getDefaultName()}: the keypoint was left out")
        rows.append(found[0])
    table = np.stack(rows)
    if feature.defaultNorm() == cv2.NORM_HAMMING:
        table = np.unpackbits(table, axis=1)
    return table.astype(np.float32)


def main() -> None:
    cv2.setNumThreads(1)
    known = ways()
    for line in sys.stdin:
        order, started = json.loads(line), time.perf_counter()
        np.save(order["out"], described(known[order["descriptor"]], np.load(order["patches"])))
        seconds = time.perf_counter() - started
        print(json.dumps({"seconds": seconds, "opencv": cv2.__version__}), flush=True)


if __name__ == "__main__":
    main()
