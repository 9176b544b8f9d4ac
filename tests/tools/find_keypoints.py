"""Find the points of the embedded data sets; write photos.csv, keypoints.csv.gz, scenes.csv.gz.

Run once per version of the data: `python tests/tools/find_keypoints.py` (photos) or `... scenes`.
The files are committed, because detectors differ between versions of OpenCV and points must not.
"""

import gzip
import hashlib
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from hpkit.patches import shrink
from hpkit.photos import HERE, MAGNIFICATION, cut, frames, read_photo

PHOTOS = {  # split -> photos; drawings, charts and photos with too few points are left out
    "train": "astronaut brick chelsea grass hubble_deep_field ihc page retina rocket",
    "validation": "coffee flower moon text",
    "test": "camera china coins gravel motorcycle_left",
}
MAX_OVERLAP = 0.5  # of two regions, intersection over union
MAX_POINTS = 400   # per sequence of "photos"
SCENE = 250        # points per sequence of "scenes", about


@dataclass(frozen=True)
class Limits:
    """Which keypoints are taken. The official task wants a contrast of over 10."""

    side: tuple[int, int] = (16, 140)  # pixels, of a region: more would blur or alias the patch
    border: float = 2.5                # radii to the photo's border: room for the strongest jitter
    contrast: float = 10.5             # of a reference patch, standard deviation
    response: float = 0.008            # of the detector
    edge: float = 20                   # of the detector


TEST = Limits()  # of "photos", all sides
TRAINING = Limits(side=(12, 160), border=2, contrast=8, response=0.004, edge=30)  # of "scenes"


def photo_rows() -> pd.DataFrame:
    """One row per photo with the hash of the file that was used."""
    rows = []
    for split, names in PHOTOS.items():
        for name in names.split():
            package = "sklearn" if name in ("china", "flower") else "skimage"
            folder = "datasets/images" if package == "sklearn" else "data"
            root = Path(importlib.util.find_spec(package).origin).parent
            path = next((root / folder).glob(f"{name}.*g"))
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            rows.append((name, package, f"{folder}/{path.name}", split, digest))
    return pd.DataFrame(rows, columns=["name", "package", "file", "split", "sha256"])


def detect(photo: np.ndarray, limits: Limits = TEST) -> pd.DataFrame:
    """SIFT keypoints with one orientation each, strongest first, far enough from the border."""
    sift = cv2.SIFT_create(contrastThreshold=limits.response, edgeThreshold=limits.edge,
                           nOctaveLayers=4)
    found = pd.DataFrame([(*k.pt, k.size * MAGNIFICATION / 2, k.angle, k.response)
                          for k in sift.detect(photo, None)],
                         columns=["x", "y", "radius", "angle", "response"])
    height, width = photo.shape
    inside = np.minimum.reduce([found.x, found.y, width - 1 - found.x, height - 1 - found.y])
    found = found[inside >= limits.border * found.radius]
    found = found[found.radius.between(limits.side[0] / 2, limits.side[1] / 2)]
    found = found.sort_values(["response", "x", "y"], ascending=[False, True, True])
    found = found.round({"x": 1, "y": 1, "radius": 1, "angle": 0}).reset_index(drop=True)
    return found[contrast(photo, found) >= limits.contrast].reset_index(drop=True)


def contrast(photo: np.ndarray, points: pd.DataFrame) -> np.ndarray:
    """Standard deviation of each point's reference patch, grey levels."""
    deviations = []
    for start in range(0, len(points), 400):  # OpenCV's remap takes at most 32,767 rows
        some = points[start:start + 400]
        still = np.tile(np.eye(2), (len(some), 1, 1)), np.zeros((len(some), 2))
        strip = cut(photo, *frames(some, *still), np.eye(3))
        deviations.append(shrink(strip).reshape(len(some), -1).std(1))
    return np.concatenate(deviations)


def circle_overlap(distance: np.ndarray, one: np.ndarray, other: float) -> np.ndarray:
    """Intersection over union of circles at a distance from another circle."""
    large, small = np.maximum(one, other), np.minimum(one, other)
    d = np.clip(distance, large - small + 1e-9, large + small)
    a = np.arccos(np.clip((d**2 + small**2 - large**2) / (2 * d * small), -1, 1))
    b = np.arccos(np.clip((d**2 + large**2 - small**2) / (2 * d * large), -1, 1))
    kite = (large + small - d) * (d + small - large) * (d - small + large) * (d + large + small)
    lens = small**2 * a + large**2 * b - 0.5 * np.sqrt(np.clip(kite, 0, None))
    return lens / (np.pi * (large**2 + small**2) - lens)


def thin(points: pd.DataFrame) -> pd.DataFrame:
    """Greedily keep the strongest point of each group whose regions overlap too much."""
    kept: list[int] = []
    x, y, radius = (points[c].to_numpy() for c in ("x", "y", "radius"))
    for i in range(len(points)):
        distance = np.hypot(x[kept] - x[i], y[kept] - y[i])
        if not kept or circle_overlap(distance, radius[kept], radius[i]).max() <= MAX_OVERLAP:
            kept.append(i)
    return points.loc[kept]


def main() -> None:
    photos = photo_rows()
    photos.to_csv(HERE / "photos.csv", index=False)
    tables = []
    for name in photos.name:
        photo = read_photo(name)
        points = thin(detect(photo))
        left = points.x < photo.shape[1] / 2
        for kind, half in (("i_", points[left]), ("v_", points[~left])):
            # the order on disk must not be the order of strength: `head` takes the first points
            half = half.head(MAX_POINTS).sample(frac=1, random_state=0)
            tables.append(half.drop(columns="response").assign(sequence=kind + name))
            print(kind + name, len(half))
    write(pd.concat(tables), "keypoints.csv.gz")


def find_scenes() -> None:
    """All points of the training photos, dealt into sequences: no point is in two of them."""
    tables = []
    for name in PHOTOS["train"].split():
        points = thin(detect(read_photo(name), TRAINING)).sample(frac=1, random_state=0)
        number = max(1, round(len(points) / SCENE))
        dealt = np.arange(len(points)) * number // len(points)
        tables.append(points.assign(sequence=[f"s{i}_{name}" for i in dealt]))
        print(name, len(points), number)
    write(pd.concat(tables), "scenes.csv.gz")


def write(table: pd.DataFrame, name: str) -> None:
    table = table[["sequence", "x", "y", "radius", "angle"]].round(1)
    text = table.to_csv(index=False, float_format="%g", lineterminator="\n").encode()
    (HERE / name).write_bytes(gzip.compress(text, mtime=0))
    print(f"{name}: {len(table)} points")


if __name__ == "__main__":
    find_scenes() if sys.argv[1:] == ["scenes"] else main()
