"""Photos that show different things, matched: results/unrelated.csv.

How often does `match_photos` find a homography where there is none? Each row is a photo
and a kind of second photo, with a number of pairs and what was said of them. Pairs are
pieces of the embedded photos, found and described as a reader's own would be.
"""

import time
import zlib
from collections import Counter
from collections.abc import Iterator

import cv2
import numpy as np
import pandas as pd
import torch

from hpkit.data.photos import photo_table, read_photo
from hpkit.matching.keypoints import describe_keypoints, detect, keypoint_frames
from hpkit.matching.photos import PhotoMatch, match_places
from hpkit.record import results_folder, write_table
from hpkit.record.matching import versions

KINDS = ("another photo", "inverted", "noise", "its mirror image")
FIRST = 4  # pieces of a photo ...
SECOND = 8  # ... each matched with so many others; with its mirror image, only once
SIDES = (200, 400)  # pixels of a piece, at least and at most
BLURS = (0.5, 4.0)  # pixels: noise gets keypoints of several sizes
REASONS = {  # how each begins, and its column
    "too few keypoints": "few_keypoints",
    "too few matches": "few_matches",
    "no 4 of the": "no_fit",
    "no more matches agree": "chance",
    "a mirrored view": "mirrored",
    "": "alarms",
}
Described = tuple[np.ndarray, np.ndarray]  # places (n, 2) and descriptors (n, d)


def piece(photo: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    """A window of a photo, as high and as wide as chance wants it."""
    sides = [min(side, random.randint(*SIDES)) for side in photo.shape]
    top, left = (
        random.randint(whole - side + 1)
        for whole, side in zip(photo.shape, sides, strict=True)
    )
    return photo[top : top + sides[0], left : left + sides[1]]


def noise(random: np.random.RandomState) -> np.ndarray:
    """White noise, blurred, from black to white."""
    height, width = random.randint(*SIDES, 2)
    values = random.standard_normal((height, width))
    blurred = cv2.GaussianBlur(values, (0, 0), random.uniform(*BLURS))
    return cv2.normalize(blurred, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def another(kind: str, name: str, random: np.random.RandomState) -> np.ndarray:
    """A picture that does not show what the photo of this name shows."""
    if kind == "noise":
        return noise(random)
    others = [other for other in photo_table().name if other != name]
    found = piece(read_photo(others[random.randint(len(others))]), random)
    return 255 - found if kind == "inverted" else found


def described(image: np.ndarray) -> Described:
    """As `match_photos` describes a photo, by the shipped network."""
    keypoints = detect(image)
    return keypoint_frames(keypoints)[:, :2], describe_keypoints(image, keypoints)


def pairs(kind: str, name: str, second: int = SECOND) -> Iterator[PhotoMatch]:
    """Pieces of a photo, matched with what shows something else.

    second: how many such pictures; for mirror images, how many pieces.
    """
    random = np.random.RandomState(zlib.crc32(f"{kind}/{name}".encode()))
    photo = read_photo(name)
    if kind == "its mirror image":
        for _ in range(second):
            image = piece(photo, random)
            mirrored = np.ascontiguousarray(image[:, ::-1])
            yield match_places(described(image), described(mirrored))
        return
    firsts = [described(piece(photo, random)) for _ in range(FIRST)]
    for _ in range(second):
        other = described(another(kind, name, random))
        for first in firsts:
            yield match_places(first, other)


def row(kind: str, name: str, second: int = SECOND) -> dict[str, object]:
    """How many pairs of a kind got a homography, and why the others did not."""
    started = time.perf_counter()
    found = list(pairs(kind, name, second))
    begins = [begin for begin in REASONS if begin]
    said = Counter(
        next((begin for begin in begins if pair.reason.startswith(begin)), "")
        for pair in found
    )
    counts = {column: said[begin] for begin, column in REASONS.items()}
    matches = float(np.mean([len(pair.matches) for pair in found]))
    seconds = round(time.perf_counter() - started, 1)
    told = {"kind": kind, "photo": name, "pairs": len(found), **counts}
    return {**told, "matches": round(matches, 1), "seconds": seconds}


def record(second: int = SECOND) -> None:
    """Write results/unrelated.csv; second: other pictures for each photo and kind."""
    path = results_folder() / "unrelated.csv"
    torch.set_num_threads(1)
    rows = []
    for kind in KINDS:
        for name in photo_table().name:
            rows.append(row(kind, name, second))
            print(*rows[-1].values(), flush=True)
    table = pd.DataFrame(rows).assign(**versions())
    write_table(path, table)
    print(table.groupby("kind", sort=False)[["pairs", *REASONS.values()]].sum())
