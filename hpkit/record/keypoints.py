"""The points of the embedded data sets: photos.csv, keypoints.csv.gz, scenes.csv.gz.

They are made once per version of the data, and kept in the repository: detectors differ
between versions of OpenCV, and points must not.
"""

import gzip
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from hpkit.data.geometry import MAGNIFICATION, cut, frames
from hpkit.data.photos import HERE, read_photo
from hpkit.data.strips import shrink
from hpkit.files import repository_folder, sha256, write_whole
from hpkit.record import write_table

# Side -> photos. Drawings, charts and photos with too few points are left out.
PHOTOS = {
    "train": "astronaut brick chelsea grass hubble_deep_field ihc page retina rocket",
    "validation": "coffee flower moon text",
    "test": "camera china coins gravel motorcycle_left",
}
MAX_OVERLAP = 0.5  # of two regions, intersection over union
MAX_POINTS = 400  # per sequence of "photos"
SCENE = 250  # points per sequence of "scenes", about
ROWS = 400  # patches cut at once: OpenCV's remap takes at most 32,767 rows of pixels


@dataclass(frozen=True)
class Limits:
    """Which keypoints are taken.

    side: of a region, in pixels; a larger one would blur or alias the patch. border:
    distance to the photo's border in radii, room for the strongest jitter. contrast:
    standard deviation of a reference patch; the official task wants over 10. response,
    edge: of the detector.
    """

    side: tuple[int, int] = (16, 140)
    border: float = 2.5
    contrast: float = 10.5
    response: float = 0.008
    edge: float = 20


TEST = Limits()  # of "photos", all sides
TRAINING = Limits(  # of "scenes"
    side=(12, 160), border=2, contrast=8, response=0.004, edge=30
)


def photo_rows() -> pd.DataFrame:
    """One row per photo with the hash of the file that was used."""
    rows = []
    for split, names in PHOTOS.items():
        for name in names.split():
            package = "sklearn" if name in ("china", "flower") else "skimage"
            folder = "datasets/images" if package == "sklearn" else "data"
            root = Path(importlib.util.find_spec(package).origin).parent
            path = next((root / folder).glob(f"{name}.*g"))
            file = f"{folder}/{path.name}"
            rows.append((name, package, file, split, sha256(path)))
    return pd.DataFrame(rows, columns=["name", "package", "file", "split", "sha256"])


def detect(photo: np.ndarray, limits: Limits = TEST) -> pd.DataFrame:
    """SIFT keypoints, strongest first, far enough from the border."""
    sift = cv2.SIFT_create(
        contrastThreshold=limits.response, edgeThreshold=limits.edge, nOctaveLayers=4
    )
    points = [
        (*point.pt, point.size * MAGNIFICATION / 2, point.angle, point.response)
        for point in sift.detect(photo, None)
    ]
    columns = ["x", "y", "radius", "angle", "response"]
    found = pd.DataFrame(points, columns=columns)
    height, width = photo.shape
    right, below = width - 1 - found.x, height - 1 - found.y
    inside = np.minimum.reduce([found.x, found.y, right, below])
    found = found[inside >= limits.border * found.radius]
    found = found[found.radius.between(limits.side[0] / 2, limits.side[1] / 2)]
    order = {"response": False, "x": True, "y": True}  # ascending?
    found = found.sort_values(list(order), ascending=list(order.values()))
    found = found.round({"x": 1, "y": 1, "radius": 1, "angle": 0})
    found = found.reset_index(drop=True)
    return found[contrast(photo, found) >= limits.contrast].reset_index(drop=True)


def contrast(photo: np.ndarray, points: pd.DataFrame) -> np.ndarray:
    """Standard deviation of each point's reference patch, grey levels."""
    deviations = []
    for start in range(0, len(points), ROWS):
        some = points[start : start + ROWS]
        unmoved = np.tile(np.eye(2), (len(some), 1, 1)), np.zeros((len(some), 2))
        strip = cut(photo, *frames(some, *unmoved), np.eye(3))
        deviations.append(shrink(strip).reshape(len(some), -1).std(1))
    return np.concatenate(deviations)


def circle_overlap(distance: np.ndarray, one: np.ndarray, other: float) -> np.ndarray:
    """Intersection over union of circles at a distance from another circle."""
    large, small = np.maximum(one, other), np.minimum(one, other)
    d = np.clip(distance, large - small + 1e-9, large + small)
    near = (d**2 + small**2 - large**2) / (2 * d * small)
    far = (d**2 + large**2 - small**2) / (2 * d * large)
    a, b = np.arccos(np.clip(near, -1, 1)), np.arccos(np.clip(far, -1, 1))
    kite = (large + small - d) * (d + small - large)
    kite = kite * (d - small + large) * (d + large + small)
    lens = small**2 * a + large**2 * b - 0.5 * np.sqrt(np.clip(kite, 0, None))
    return lens / (np.pi * (large**2 + small**2) - lens)


def thin(points: pd.DataFrame) -> pd.DataFrame:
    """Greedily keep the strongest point of each group that overlaps too much."""
    kept: list[int] = []
    x, y, radius = (points[name].to_numpy() for name in ("x", "y", "radius"))
    for i in range(len(points)):
        distance = np.hypot(x[kept] - x[i], y[kept] - y[i])
        overlaps = circle_overlap(distance, radius[kept], radius[i])
        if not kept or overlaps.max() <= MAX_OVERLAP:
            kept.append(i)
    return points.loc[kept]


def record_photos() -> None:
    """The points of "photos": half of each photo is its i_ sequence, half its v_."""
    repository_folder()
    photos = photo_rows()
    write_table(HERE / "photos.csv", photos)
    tables = []
    for name in photos.name:
        photo = read_photo(name)
        points = thin(detect(photo))
        left = points.x < photo.shape[1] / 2
        for kind, half in (("i_", points[left]), ("v_", points[~left])):
            # Not in the order of strength on disk: `head` takes the first points.
            half = half.head(MAX_POINTS).sample(frac=1, random_state=0)
            tables.append(half.drop(columns="response").assign(sequence=kind + name))
            print(kind + name, len(half))
    _write(pd.concat(tables), "keypoints.csv.gz")


def record_scenes() -> None:
    """The points of the training photos, each in one of several sequences."""
    repository_folder()
    tables = []
    for name in PHOTOS["train"].split():
        points = thin(detect(read_photo(name), TRAINING))
        points = points.sample(frac=1, random_state=0)
        number = max(1, round(len(points) / SCENE))
        dealt = np.arange(len(points)) * number // len(points)
        tables.append(points.assign(sequence=[f"s{i}_{name}" for i in dealt]))
        print(name, len(points), number)
    _write(pd.concat(tables), "scenes.csv.gz")


def _write(table: pd.DataFrame, name: str) -> None:
    table = table[["sequence", "x", "y", "radius", "angle"]].round(1)
    text = table.to_csv(index=False, float_format="%g", lineterminator="\n")
    write_whole(HERE / name, gzip.compress(text.encode(), mtime=0))
    print(f"{name}: {len(table)} points")
