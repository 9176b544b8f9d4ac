"""The embedded data set: patches like HPatches' from photos that ship in packages.

Each photo gives two sequences of one reference and five target images: `i_` (the light
changes) from the keypoints in its left half, `v_` (the viewpoint changes) from those in
its right half.
"""

import hashlib
import importlib.util
import io
import zlib
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image

from hpkit.data.arrays import array_bytes, build_folder, made_folder
from hpkit.data.geometry import JITTER, cut, draw_jitter, frames, look_from
from hpkit.data.noise import level_of, twins_of
from hpkit.data.patches import PATCH_TYPES, photo_of
from hpkit.data.strips import shrink, write_sequence

VERSION = 1  # of the data: a new number builds a new folder
HERE = Path(__file__).parent


def photos_folder() -> Path:
    """The folder of the embedded set, built on the first call.

    That takes half a minute, offline.
    """
    return made_folder(photos_version(), _is_there, build)


def photos_version() -> str:
    """The name of what this code builds; each array is held against its checksum."""
    return f"photos-v{VERSION}"


def _is_there(folder: Path) -> bool:
    arrays = 4 * len(photo_table())  # two sequences a photo, clean and noisy
    return len(list(folder.glob("arrays/*.npy"))) >= arrays


def photo_table() -> pd.DataFrame:
    """One row per photo, with its file and its side of the split.

    Columns: name, package, file, sha256, split (train, validation, test).
    """
    return pd.read_csv(HERE / "photos.csv")


def keypoint_table() -> pd.DataFrame:
    """One row per point: sequence, x, y, radius (half the region's side), angle.

    Pixels and degrees. The points were found once by `hpkit record keypoints` and are
    shipped, so that everyone has the same ones.
    """
    return pd.read_csv(HERE / "keypoints.csv.gz")


def split_names() -> dict[str, list[str]]:
    """The sequences of each side, "train", "validation" and "test"."""
    return {
        side: [f"{kind}_{name}" for name in rows.name for kind in "iv"]
        for side, rows in photo_table().groupby("split")
    }


def read_photo(name: str, colour: bool = False) -> np.ndarray:
    """The embedded photo in grey, uint8 (height, width), or in colour.

    In colour it is (height, width, 3). Raises ValueError where the installed file is
    not the one that the keypoints belong to.
    """
    row = photo_table().set_index("name").loc[name]
    path = Path(importlib.util.find_spec(row.package).origin).parent / row.file
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != row.sha256:
        raise ValueError(
            f"{path}: sha256 {found[:12]}..., expected {row.sha256[:12]}...: "
            f"this version of {row.package} ships another photo"
        )
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB" if colour else "L"))


def relight(
    photo: np.ndarray, strength: float, random: np.random.RandomState
) -> np.ndarray:
    """The photo under other light: gamma, gain, offset, a gradient, and blur.

    strength: 0..1.
    """
    gamma, gain, offset, slope = random.uniform(-1, 1, 4) * strength
    light = gradient(photo.shape, slope, random.uniform(0, 2 * np.pi))
    image = (photo / 255.0) ** np.exp(0.6 * gamma) * np.exp(
        0.4 * gain
    ) * light + 0.12 * offset
    blurred = cv2.GaussianBlur(
        255 * image, (0, 0), 0.3 + random.uniform(0, 1) * strength
    )
    return np.clip(np.rint(blurred), 0, 255).astype(np.uint8)


def gradient(shape: tuple[int, int], slope: float, direction: float) -> np.ndarray:
    """Light that grows across an image and is 1 in its middle: float (h, w).

    direction: in radians.
    """
    height, width = shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return 1 + 0.5 * slope * (x * np.cos(direction) + y * np.sin(direction))


def move(
    photo: np.ndarray, strength: float, random: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """The photo from another viewpoint, whole in its frame, and the homography to it.

    strength: 0..1. The change is a turn, a zoom, a foreshortening of up to one half
    along a random axis, and perspective.
    """
    turn, zoom, slant, tip = random.uniform(-1, 1, 4) * strength
    smooth = cv2.GaussianBlur(photo, (0, 0), 0.3 + 0.5 * strength)  # against aliasing
    return look_from(
        smooth, 0.5 * turn, 0.25 * zoom, 0.5 * strength, slant * np.pi, 0.3 * tip
    )


def images_of(sequence: str, photo: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """The reference and five targets of growing change.

    Gives [(image, homography from the photo)].
    """
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


def jitter_of(
    sequence: str, patch_type: str, points: int, times: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """The jitter of a sequence's points in one column, as `draw_jitter` gives it.

    times: how many times as strong as in the set.
    """
    random = np.random.RandomState(
        zlib.crc32(f"{sequence}/{patch_type}/jitter".encode())
    )
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


def build(folder: Path, photos: Iterable[str] | None = None, workers: int = 2) -> None:
    """Write the set, or that of some photos, in the HPatches layout and as arrays."""
    sides = {
        side: [name for name in names if photos is None or photo_of(name) in photos]
        for side, names in split_names().items()
    }
    build_folder(folder, _write_sequence, {"photos": sides}, workers)


def _write_sequence(folder: Path, sequence: str) -> None:
    points = keypoint_table()
    clean = cut_sequence(
        sequence, read_photo(photo_of(sequence)), points[points.sequence == sequence]
    )
    noisy = twins_of(clean, sequence, PATCH_TYPES)
    write_sequence(folder / sequence, clean, noisy)
    for kind, array in (("clean", clean), ("noisy", noisy)):
        path = folder / "arrays" / f"{sequence}_{kind}.npy"
        path.write_bytes(array_bytes(array))
