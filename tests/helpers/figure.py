"""Draw the figure of the README, `notebooks/figures/match.png`: two noisy photos and their matches.

The photo is one that nothing was trained or chosen on; its other view and the noise are the kit's
own, seeded; the network is the shipped one.
"""

import hashlib
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from hpkit.data.photos import move, read_photo
from hpkit.lessons import plots
from hpkit.matching.keypoints import (
    describe_keypoints,
    detect,
    keypoint_patches,
    opencv_rootsift,
)
from hpkit.matching.photos import PhotoMatch, match_photos, project
from hpkit.networks.pretrained import WEIGHTS, pretrained

FIGURE = Path(__file__).parents[2] / "notebooks" / "figures" / "match.png"
PHOTO, STRENGTH, NOISE, NUMBER, SHOWN = "china", 0.8, 8, 400, 14


def views() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The photo, the same from another viewpoint, both with Gaussian noise; the true homography."""
    random = np.random.RandomState(0)
    first = read_photo(PHOTO)
    second, truth = move(first, STRENGTH, random)
    noisy = [np.clip(np.rint(image + NOISE * random.standard_normal(image.shape)), 0, 255)
             for image in (first, second)]
    return *(image.astype(np.uint8) for image in noisy), truth


def draw() -> Figure:
    """Above: the matches of the shipped descriptor. Below: some of the patches that it saw."""
    first, second, truth = views()
    ways = partial(describe_keypoints, descriptor=pretrained()), opencv_rootsift
    made, theirs = (match_photos(first, second, compute, number=NUMBER) for compute in ways)
    right, others = (near(match, truth) for match in (made, theirs))
    plots.use_style()
    fig = plt.figure(figsize=(9, 5.3), layout="constrained")
    above, below = fig.subplots(2, 1, height_ratios=(3.6, 1.2))
    plots.show_matches(above, first, second, np.hstack(made.pairs()), right,
                       title=f"A network that a laptop trained: {right.sum()} of {len(right)} "
                             f"matches are right (RootSIFT: {others.sum()} of {len(others)})")
    chosen = np.flatnonzero(right)[np.linspace(0, right.sum() - 1, SHOWN).astype(int)]
    seen = [keypoint_patches(image, detect(image, NUMBER))[made.matches[chosen, side]]
            for side, image in enumerate((first, second))]
    plots.show_patches(below, np.stack(seen), rows=["left", "right"],
                       title="What it saw: the same points in both photos")
    return fig


def near(made: PhotoMatch, truth: np.ndarray) -> np.ndarray:
    """Which matches are right: at most 3 pixels off."""
    here, there = made.pairs()
    return np.linalg.norm(project(here, truth) - there, axis=1) < 3


def origin() -> str:
    """What the figure was made of: this file and the network; kept in the PNG."""
    made_of = Path(__file__).read_bytes() + (WEIGHTS / "descriptor.safetensors").read_bytes()
    return hashlib.sha256(made_of).hexdigest()


def main() -> None:
    FIGURE.parent.mkdir(exist_ok=True)
    draw().savefig(FIGURE, dpi=100)
    told = PngInfo()
    told.add_text("origin", origin())
    picture = Image.open(FIGURE).convert("RGB").quantize(64)
    picture.save(FIGURE, optimize=True, pnginfo=told)
    print(f"{FIGURE}: {FIGURE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
