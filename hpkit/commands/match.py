"""`hpkit match`: find the same points in two photos, and say whether they match.

A and B are photos of any camera or phone: JPEG, PNG, WebP, TIFF, and HEIC, which needs
pip install 'hpkit[heic]'. They are made small, to 800 pixels. The shipped network
describes them. The exit status is 0 where they match and 1 where they do not.

examples:
  hpkit match door.jpg door2.jpg
  hpkit match door.jpg door2.jpg --out matches.png
  hpkit match dusk.jpg noon.jpg --denoise --json
"""

import argparse
import io
import json
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from hpkit.commands import parser
from hpkit.evaluation.describe import denoise, describe
from hpkit.files import write_whole
from hpkit.lessons.plots import show_matches
from hpkit.matching.images import read_image
from hpkit.matching.keypoints import describe_keypoints
from hpkit.matching.photos import PhotoMatch, match_photos
from hpkit.networks.pretrained import pretrained

PICTURES = (".png", ".jpg", ".pdf", ".svg")
FEWEST = 5  # keypoints: any 4 matches have a homography


def main(argv: list[str]) -> int:
    """0 where the photos match, 1 where they do not."""
    made = parser(__doc__)
    add = made.add_argument
    add("first", type=Path, metavar="A")
    add("second", type=Path, metavar="B")
    add("--out", type=Path, metavar="FILE", help="draw the matches, as .png, .svg ...")
    add("--json", action="store_true", help="print one JSON object, no sentence")
    number = "of keypoints in each photo, at most (default: 500)"
    add("--number", type=int, default=500, metavar="N", help=number)
    ratio = "of Lowe's test, over 0 to 1; lower is stricter (default: 0.9)"
    add("--ratio", type=float, default=0.9, metavar="R", help=ratio)
    add("--denoise", action="store_true", help="clean the patches first")
    given = made.parse_args(argv)
    _check(given)
    images = [read_image(path) for path in (given.first, given.second)]
    descriptor = _cleaned_and_described if given.denoise else None
    compute = partial(describe_keypoints, descriptor=descriptor)
    found = match_photos(*images, compute, number=given.number, ratio=given.ratio)
    if given.out:
        _draw(given.out, images, found)
    print(_as_json(given, images, found) if given.json else _sentence(given, found))
    return 0 if found.homography is not None else 1


def _check(given: argparse.Namespace) -> None:
    """Refuse what makes no sense before anything takes time."""
    if given.number < FEWEST:
        raise ValueError(f"--number is {given.number}, expected at least {FEWEST}")
    if not 0 < given.ratio <= 1:
        raise ValueError(f"--ratio is {given.ratio}, expected over 0 and at most 1")
    if given.out is None:
        return
    if given.out.suffix.lower() not in PICTURES:
        expected = ", ".join(PICTURES)
        raise ValueError(f"--out is {given.out}, expected it to end in {expected}")
    if not given.out.parent.is_dir():
        raise ValueError(f"--out is {given.out}: {given.out.parent} is no folder")


def _cleaned_and_described(patches: np.ndarray) -> np.ndarray:
    """Patches, cleaned by the shipped denoiser, then described: (n, 128)."""
    cleaned = denoise(pretrained("denoiser"), patches, precision="float32")
    return describe(pretrained(), cleaned, precision="float32")


def _sentence(given: argparse.Namespace, found: PhotoMatch) -> str:
    names = f"{given.first} and {given.second}"
    if found.homography is None:
        return f"{names} do not match: {found.reason}."
    agree = f"{found.inliers.sum()} of {len(found.matches)} matches"
    return f"{names} match: {agree} agree on one homography."


def _as_json(
    given: argparse.Namespace, images: list[np.ndarray], found: PhotoMatch
) -> str:
    """All in pixels of the photos as they were read, whose sizes are told."""
    here, there = found.pairs()
    homography = found.homography
    told = {
        "photos": [str(given.first), str(given.second)],
        "sizes": [image.shape[::-1] for image in images],
        "keypoints": [len(found.first), len(found.second)],
        "matches": np.hstack([here, there]).round(2).tolist(),
        "agree": found.inliers.tolist(),
        "homography": None if homography is None else homography.tolist(),
        "reason": found.reason,
    }
    return json.dumps(told)


def _draw(path: Path, images: list[np.ndarray], found: PhotoMatch) -> None:
    height = 9 * max(map(len, images)) / sum(image.shape[1] for image in images)
    figure = Figure(figsize=(9, height + 0.4), layout="constrained")
    agree = f"{found.inliers.sum()} of {len(found.matches)} matches agree"
    show_matches(
        figure.subplots(), *images, np.hstack(found.pairs()), found.inliers, title=agree
    )
    drawn = io.BytesIO()
    figure.savefig(drawn, format=path.suffix[1:].lower(), dpi=150)
    write_whole(path, drawn.getvalue())
