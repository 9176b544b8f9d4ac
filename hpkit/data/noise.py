"""The image-noise model: independent Gaussian noise, by level and contrast.

The noise grows with both.
"""

import zlib
from collections.abc import Sequence

import numpy as np

# The noise's standard deviation as a fraction of the patch's own range (brightest minus
# darkest pixel). Published pairs of N-HPatches patches fit independent Gaussian noise
# of 0.25 to 0.36 of the range; how the levels differ was never published. These three
# are graded and scaled so that the mean absolute error over the embedded set is near 15
# grey levels.
NOISE_FRACTION = {"ref": 0.08, "easy": 0.08, "hard": 0.16, "tough": 0.25}


def level_of(patch_type: str) -> str:
    """Level of a patch type: "ref", "easy", "hard" or "tough" ("e3" is "easy")."""
    return {"e": "easy", "h": "hard", "t": "tough"}.get(patch_type[0], "ref")


def add_noise(
    patches: np.ndarray, sequence: str, patch_type: str, times: float = 1.0
) -> np.ndarray:
    """Noise that is the same for everyone.

    It is drawn from a frozen generator, seeded by the sequence and the type. patches:
    uint8 (n, height, width) -> uint8 of the same shape, clipped to 0..255. The noise of
    a pixel does not depend on its neighbours, so it is not smooth. times: how many
    times as strong as in the set.
    """
    random = np.random.RandomState(zlib.crc32(f"{sequence}/{patch_type}".encode()))
    span = np.ptp(patches, axis=(1, 2)).astype(np.float32)
    sigma = times * NOISE_FRACTION[level_of(patch_type)] * span[:, None, None]
    noise = random.standard_normal(patches.shape).astype(np.float32) * sigma
    return np.clip(np.rint(patches + noise), 0, 255).astype(np.uint8)


def twins_of(clean: np.ndarray, sequence: str, types: Sequence[str]) -> np.ndarray:
    """The noisy twins of a sequence's patches, uint8 (points, types, height, width)."""
    return np.stack(
        [
            add_noise(clean[:, column], sequence, patch_type)
            for column, patch_type in enumerate(types)
        ],
        1,
    )
