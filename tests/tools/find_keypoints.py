"""Find the points of the embedded data set and write hpkit/photos.csv and hpkit/keypoints.csv.gz.

Run once per version of the data: `python tests/tools/find_keypoints.py`. The two files are
committed, because detectors differ between versions of OpenCV and points must not.
"""

import gzip
import hashlib
import importlib.util
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
SIDE = (16, 140)     # pixels, the smallest and largest region: more would blur or alias the patch
BORDER = 2.5         # radii between a point and the photo's border: room for the strongest jitter
MAX_OVERLAP = 0.5    # of two regions, intersection over union
MIN_CONTRAST = 10.5  # of a reference patch (standard deviation); the official task wants over 10
MAX_POINTS = 400     # per sequence


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


def detect(photo: np.ndarray) -> pd.DataFrame:
    """SIFT keypoints with one orientation each, strongest first, far enough from the border."""
    sift = cv2.SIFT_create(contrastThreshold=0.008, edgeThreshold=20, nOctaveLayers=4)
    found = pd.DataFrame([(*k.pt, k.size * MAGNIFICATION / 2, k.angle, k.response)
                          for k in sift.detect(photo, None)],
                         columns=["x", "y", "radius", "angle", "response"])
    height, width = photo.shape
    inside = np.minimum.reduce([found.x, found.y, width - 1 - found.x, height - 1 - found.y])
    found = found[inside >= BORDER * found.radius]
    found = found[found.radius.between(SIDE[0] / 2, SIDE[1] / 2)]
    found = found.sort_values(["response", "x", "y"], ascending=[False, True, True])
    found = found.round({"x": 1, "y": 1, "radius": 1, "angle": 0}).reset_index(drop=True)
    return found[contrast(photo, found) >= MIN_CONTRAST].reset_index(drop=True)


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
    table = pd.concat(tables)[["sequence", "x", "y", "radius", "angle"]].round(1)
    text = table.to_csv(index=False, float_format="%g", lineterminator="\n").encode()
    (HERE / "keypoints.csv.gz").write_bytes(gzip.compress(text, mtime=0))
    print(f"{len(table)} points of {len(photos)} photos")


if __name__ == "__main__":
    main()
