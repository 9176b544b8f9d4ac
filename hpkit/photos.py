"""The embedded data set: photos that ship in Python packages, turned into HPatches-like patches.

Each photo gives two sequences of one reference and five target images: `i_` (the light changes)
from the keypoints in its left half, `v_` (the viewpoint changes) from those in its right half.
"""

import hashlib
import importlib.util
import io
import shutil
import zlib
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image

from hpkit.layout import build_folder
from hpkit.noise import level_of, twins_of
from hpkit.patches import PATCH_TYPES, cache_folder, data_folder, shrink, write_sequence

VERSION = 1       # of the data: a new number builds a new folder
PATCH = 65        # pixels, the side of a patch as it is cut out
MAGNIFICATION = 5  # region side / diameter of the detected keypoint, as in HPatches
# Strength of the detector noise per level. The first two are tuned until the median overlap of
# the jittered region with the true one is 0.85 and 0.72, the figures that HPatches documents.
JITTER = {"ref": 0.0, "easy": 0.90, "hard": 1.80, "tough": 2.80}
HERE = Path(__file__).parent


def photos_folder() -> Path:
    """The folder of the embedded set; built on the first call (about half a minute, no network)."""
    shared, own = (folder / f"photos-v{VERSION}" for folder in (data_folder(), cache_folder()))
    whole = 4 * len(photo_table())  # arrays: two sequences a photo, clean and noisy
    for folder in (shared, own):
        if len(list(folder.glob("arrays/*.npy"))) >= whole:
            return folder
    shutil.rmtree(own, ignore_errors=True)  # what a half-done deletion left
    build(own)
    return own


def photo_table() -> pd.DataFrame:
    """One row per photo: name, package, file, split (train, validation, test), sha256."""
    return pd.read_csv(HERE / "photos.csv")


def keypoint_table() -> pd.DataFrame:
    """One row per point: sequence, x, y and radius (pixels; half the region's side), angle (deg).

    Found once by `tests/tools/find_keypoints.py` and shipped, so that everyone has the same points.
    """
    return pd.read_csv(HERE / "keypoints.csv.gz")


def split_names() -> dict[str, list[str]]:
    """The sequences of each side, "train", "validation" and "test"."""
    return {side: [f"{kind}_{name}" for name in rows.name for kind in "iv"]
            for side, rows in photo_table().groupby("split")}


def read_photo(name: str, colour: bool = False) -> np.ndarray:
    """The embedded photo in grey, uint8 (height, width), or in colour, (height, width, 3).

    Raises ValueError where the installed file is not the one that the keypoints belong to.
    """
    row = photo_table().set_index("name").loc[name]
    path = Path(importlib.util.find_spec(row.package).origin).parent / row.file
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != row.sha256:
        raise ValueError(f"{path}: sha256 {found[:12]}..., expected {row.sha256[:12]}...: "
                         f"this version of {row.package} ships another photo")
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB" if colour else "L"))


# --- geometry ------------------------------------------------------------------------------------

def rotation(angle: np.ndarray) -> np.ndarray:
    """Rotation matrices (n, 2, 2) of angles in radians (n,)."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)


def draw_jitter(n: int, strength: float, random: np.random.RandomState
                ) -> tuple[np.ndarray, np.ndarray]:
    """Detector noise: affine maps (n, 2, 2) and shifts (n, 2) of a region of half-side 1.

    Shift, size, angle and stretch along a random axis are normal, bent smoothly so as to stay
    under two standard deviations, and scaled by the strength (see JITTER).
    """
    z = strength * 2 * np.tanh(random.standard_normal((n, 5)) / 2)
    axis = rotation(random.uniform(0, np.pi, n))
    size, stretch = np.exp(0.10 * z[:, 2]), np.exp(0.08 * z[:, 4])
    scale = np.stack([size * stretch, size / stretch], -1)
    stretched = (axis * scale[:, None]) @ axis.transpose(0, 2, 1)
    return rotation(np.radians(8) * z[:, 3]) @ stretched, 0.08 * z[:, :2]


def overlap(affine: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Intersection over union of the unit circle and its jittered image, measured on a grid: (n,).

    The measure of HPatches (Balntas et al. 2017, section 4) for the levels' difficulty.
    """
    axis = np.linspace(-2.5, 2.5, 101)
    grid = np.stack(np.meshgrid(axis, axis)).reshape(2, -1)
    circle = (grid**2).sum(0) <= 1
    ellipse = ((np.linalg.inv(affine) @ (grid - shift[:, :, None])) ** 2).sum(1) <= 1
    return (circle & ellipse).sum(1) / (circle | ellipse).sum(1)


def frames(points: pd.DataFrame, affine: np.ndarray, shift: np.ndarray
           ) -> tuple[np.ndarray, np.ndarray]:
    """From patch coordinates (-1..1) to photo pixels: matrices (n, 2, 2) and centres (n, 2)."""
    turn = rotation(np.radians(points.angle.to_numpy())) * points.radius.to_numpy()[:, None, None]
    centre = points[["x", "y"]].to_numpy() + (turn @ shift[:, :, None])[:, :, 0]
    return turn @ affine, centre


def cut(image: np.ndarray, matrix: np.ndarray, centre: np.ndarray, homography: np.ndarray
        ) -> np.ndarray:
    """Patches seen through frames of the photo, cut from an image of it: uint8 (65·n, 65).

    homography: (3, 3), from photo pixels to pixels of `image`.
    """
    axis = (np.arange(PATCH) + 0.5) * 2 / PATCH - 1
    grid = np.stack(np.meshgrid(axis, axis)).reshape(2, -1)
    x, y = np.moveaxis(matrix @ grid + centre[:, :, None], 1, 0)
    u, v, w = (row[0] * x + row[1] * y + row[2] for row in homography)
    u, v = ((c / w).astype(np.float32).reshape(-1, PATCH) for c in (u, v))
    return cv2.remap(image, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


# --- images --------------------------------------------------------------------------------------

def relight(photo: np.ndarray, strength: float, random: np.random.RandomState) -> np.ndarray:
    """The photo under other light (strength 0..1): gamma, gain, offset, a gradient, and blur."""
    gamma, gain, offset, slope = random.uniform(-1, 1, 4) * strength
    light = gradient(photo.shape, slope, random.uniform(0, 2 * np.pi))
    image = (photo / 255.0) ** np.exp(0.6 * gamma) * np.exp(0.4 * gain) * light + 0.12 * offset
    blurred = cv2.GaussianBlur(255 * image, (0, 0), 0.3 + random.uniform(0, 1) * strength)
    return np.clip(np.rint(blurred), 0, 255).astype(np.uint8)


def gradient(shape: tuple[int, int], slope: float, direction: float) -> np.ndarray:
    """Light that grows across an image, 1 in its middle; direction in radians: float (h, w)."""
    height, width = shape
    y, x = np.mgrid[-1:1:height * 1j, -1:1:width * 1j]
    return 1 + 0.5 * slope * (x * np.cos(direction) + y * np.sin(direction))


def move(photo: np.ndarray, strength: float, random: np.random.RandomState
         ) -> tuple[np.ndarray, np.ndarray]:
    """The photo from another viewpoint (strength 0..1), whole in its frame, and the homography.

    A turn, a zoom, a foreshortening of up to one half along a random axis, and perspective.
    """
    turn, zoom, slant, tip = random.uniform(-1, 1, 4) * strength
    smooth = cv2.GaussianBlur(photo, (0, 0), 0.3 + 0.5 * strength)  # against aliasing
    return look_from(smooth, 0.5 * turn, 0.25 * zoom, 0.5 * strength, slant * np.pi, 0.3 * tip)


def look_from(photo: np.ndarray, turn: float, zoom: float, slant: float, axis: float, tip: float
              ) -> tuple[np.ndarray, np.ndarray]:
    """The photo from a viewpoint, whole in its frame, and the homography (3, 3) to it.

    turn, axis: radians. zoom: logarithm of the scale. slant: how much shorter things are along the
    axis, 0..1. tip: perspective, the change of scale along the axis over the photo's longer side.
    """
    height, width = photo.shape
    centre = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1.0]])
    axes = rotation(np.array(axis))
    view = np.eye(3)
    view[:2, :2] = (rotation(np.array(turn)) @ (axes @ np.diag([1 - slant, 1.0]) @ axes.T)
                    * np.exp(zoom))
    view[2, :2] = tip * axes[:, 0] / max(height, width)
    corners = np.array([[[0, 0], [width, 0], [width, height], [0, height]]], float)
    seen = cv2.perspectiveTransform(corners, view @ centre)[0]
    low, high = seen.min(0), np.ceil(seen.max(0) - seen.min(0)).astype(int)
    homography = np.array([[1, 0, -low[0]], [0, 1, -low[1]], [0, 0, 1.0]]) @ view @ centre
    image = cv2.warpPerspective(photo, homography, (int(high[0]), int(high[1])),
                                flags=cv2.INTER_LINEAR)
    return image, homography


def images_of(sequence: str, photo: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Reference and five targets of growing change: [(image, homography from the photo)]."""
    random = np.random.RandomState(zlib.crc32(sequence.encode()))
    images = [(photo, np.eye(3))]
    for target in range(1, 6):
        if sequence.startswith("i_"):
            images.append((relight(photo, target / 5, random), np.eye(3)))
        else:
            image, homography = move(photo, target / 5, random)
            images.append((relight(image, 0.3 * target / 5, random), homography))
    return images


def image_of(patch_type: str) -> int:
    """The image that a type is cut from: 0 is the reference, "h3" is target 3."""
    return 0 if patch_type == "ref" else int(patch_type[1])


def jitter_of(sequence: str, patch_type: str, points: int, times: float = 1.0
              ) -> tuple[np.ndarray, np.ndarray]:
    """The jitter of a sequence's points in one column, so many times as strong as in the set."""
    random = np.random.RandomState(zlib.crc32(f"{sequence}/{patch_type}/jitter".encode()))
    return draw_jitter(points, times * JITTER[level_of(patch_type)], random)


def cut_sequence(sequence: str, photo: np.ndarray, points: pd.DataFrame) -> np.ndarray:
    """All 16 types of a sequence: uint8 (points, 16, 32, 32)."""
    images, patches = images_of(sequence, photo), []
    for patch_type in PATCH_TYPES:
        jitter = jitter_of(sequence, patch_type, len(points))
        image, homography = images[image_of(patch_type)]
        strip = cut(image, *frames(points, *jitter), homography)
        patches.append(shrink(strip).reshape(len(points), 32, 32))
    return np.stack(patches, 1)


# --- building ------------------------------------------------------------------------------------

def build(folder: Path, photos: Iterable[str] | None = None, workers: int = 2) -> None:
    """Write the set in the HPatches layout, with arrays beside it; see `layout.build_folder`."""
    sides = {side: [name for name in names if photos is None or name[2:] in photos]
             for side, names in split_names().items()}
    build_folder(folder, _write_sequence, {"photos": sides}, workers)


def _write_sequence(folder: Path, sequence: str) -> None:
    points = keypoint_table()
    clean = cut_sequence(sequence, read_photo(sequence[2:]), points[points.sequence == sequence])
    noisy = twins_of(clean, sequence, PATCH_TYPES)
    write_sequence(folder / sequence, clean, noisy)
    np.save(folder / "arrays" / f"{sequence}_clean.npy", clean)
    np.save(folder / "arrays" / f"{sequence}_noisy.npy", noisy)
