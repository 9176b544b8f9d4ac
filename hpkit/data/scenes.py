"""The data set "scenes": more and richer training data from the same photos.

It is made for the best recipe. It has the training photos of "photos" with three times
as many points. Every patch type is seen in an image of its own: from elsewhere, under
other light, through another lens. Validation and test are those of "photos", patch for
patch.
"""

import os
import shutil
import zlib
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from hpkit.data.arrays import array_bytes, build_folder, is_whole, made_folder
from hpkit.data.geometry import JITTER, cut, draw_jitter, frames, look_from
from hpkit.data.noise import level_of, twins_of
from hpkit.data.patches import PATCH_TYPES, photo_of
from hpkit.data.photos import HERE, gradient, photos_folder, read_photo, split_names
from hpkit.data.strips import shrink

VERSION = 1  # of the data: a new number builds a new folder
GREY = np.float32([0.299, 0.587, 0.114])  # of red, green, blue, as Pillow weighs them


def scenes_folder() -> Path:
    """The folder of the set, built on the first call: about a minute, offline."""
    return made_folder(scenes_version(), _is_there, _build)


def scenes_version() -> str:
    """The name of what this code builds; each array is held against its checksum."""
    return f"scenes-v{VERSION}"


def _is_there(folder: Path) -> bool:
    names = [name for side in _sides().values() for name in side]
    return all(is_whole(folder / "arrays", name) for name in names)


def _build(folder: Path) -> None:
    photos_folder()  # built first: the threads below would each wait for it
    build_folder(folder, _write, {"photos": _sides()})


def scene_table() -> pd.DataFrame:
    """One row per point, as `photos.keypoint_table`, found in the same way."""
    return pd.read_csv(HERE / "scenes.csv.gz")


def scene(sequence: str, points: pd.DataFrame) -> np.ndarray:
    """All 16 types of a sequence such as "s3_astronaut": uint8 (points, 16, 32, 32)."""
    colour = read_photo(photo_of(sequence), colour=True).astype(np.float32)
    random = np.random.RandomState(zlib.crc32(sequence.encode()))
    columns = []
    for patch_type in PATCH_TYPES:
        level = level_of(patch_type)
        image, homography = (colour @ GREY, np.eye(3))
        if level != "ref":
            image, homography = view(colour, random.uniform(), random)
        image = np.clip(np.rint(image), 0, 255).astype(np.uint8)
        jitter = draw_jitter(len(points), JITTER[level], random)
        columns.append(shrink(cut(image, *frames(points, *jitter), homography)))
    return np.stack([column.reshape(len(points), 32, 32) for column in columns], 1)


def view(
    colour: np.ndarray, strength: float, random: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """The photo as another camera sees it, grey and float, and the homography to it.

    Other colours weigh more, the viewpoint moves, the light changes and the lens blurs.
    Now and then the picture is sharpened or went through JPEG. colour: float32 (height,
    width, 3). strength: 0..1.
    """
    weights = random.dirichlet([1, 1, 1]) if random.uniform() < 0.5 * strength else GREY
    image, homography = colour @ weights.astype(np.float32), np.eye(3)
    if random.uniform() < 0.6:
        image, homography = move(image, random.uniform(), random)
    image = through_a_lens(relight(image, strength, random), strength, random)
    if random.uniform() < 0.2 * strength:
        pixels = np.clip(np.rint(image), 0, 255).astype(np.uint8)
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(random.uniform(20, 80))]
        image = cv2.imdecode(
            cv2.imencode(".jpg", pixels, quality)[1], cv2.IMREAD_GRAYSCALE
        )
    return image, homography


def move(
    photo: np.ndarray, strength: float, random: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """The photo from another viewpoint, as in `photos.move`, and the homography to it.

    Here turn, zoom, slant and perspective vary independently.
    """
    turn, zoom, tip = random.uniform(-1, 1, 3) * strength
    slant, axis = 0.55 * strength * random.uniform(), random.uniform(0, np.pi)
    smooth = cv2.GaussianBlur(photo, (0, 0), 0.3 + 0.5 * strength)  # against aliasing
    return look_from(smooth, 0.5 * turn, 0.35 * zoom, slant, axis, 0.3 * tip)


def relight(
    photo: np.ndarray, strength: float, random: np.random.RandomState
) -> np.ndarray:
    """The photo under other light, with shadows and a film's curve.

    The light changes by gamma, gain, offset and a gradient. The shadows are soft or
    hard.
    """
    gamma, gain, offset, slope = random.uniform(-1, 1, 4) * strength
    light = gradient(photo.shape, slope, random.uniform(0, 2 * np.pi))
    if random.uniform() < 0.5:
        coarse = random.uniform(-1, 1, 2 * (random.randint(3, 9),))
        shadow = cv2.resize(coarse, photo.shape[::-1], interpolation=cv2.INTER_CUBIC)
        if random.uniform() < 0.5:
            shadow = np.tanh(random.uniform(2, 12) * shadow)  # with an edge
        light = light * np.exp(0.5 * strength * shadow)
    image = (photo / 255) ** np.exp(0.7 * gamma) * np.exp(
        0.45 * gain
    ) * light + 0.12 * offset
    if random.uniform() < 0.3 * strength:
        image = 0.5 + 0.5 * np.tanh((image - 0.5) * random.uniform(1, 3)) / np.tanh(1)
    return 255 * image


def through_a_lens(
    image: np.ndarray, strength: float, random: np.random.RandomState
) -> np.ndarray:
    """The image blurred by motion and by focus, and now and then sharpened again."""
    if random.uniform() < 0.3 * strength:
        size = 2 * random.randint(1, 4) + 1
        line = np.zeros((size, size))
        line[size // 2] = 1
        turn = cv2.getRotationMatrix2D(
            (size // 2, size // 2), random.uniform(0, 180), 1
        )
        line = cv2.warpAffine(line, turn, (size, size))
        image = cv2.filter2D(image, -1, line / line.sum())
    image = cv2.GaussianBlur(image, (0, 0), 0.3 + 1.3 * strength * random.uniform())
    if random.uniform() < 0.3 * strength:
        image = image + random.uniform(0.2, 1) * (
            image - cv2.GaussianBlur(image, (0, 0), 1.5)
        )
    return image


def _sides() -> dict[str, list[str]]:
    """Our own training sequences, and the others' names in "photos"."""
    sides = split_names()
    return {
        "train": list(scene_table().sequence.unique()),
        "validation": sides["validation"],
        "test": sides["test"],
    }


def _write(folder: Path, sequence: str) -> None:
    """One sequence's arrays; those of "photos" are the same files."""
    if not sequence.startswith("s"):
        for kind in ("clean", "noisy"):
            file = photos_folder() / "arrays" / f"{sequence}_{kind}.npy"
            _same_file(file, folder / "arrays")
        return
    points = scene_table().query("sequence == @sequence")
    clean = scene(sequence, points)
    noisy = twins_of(clean, sequence, PATCH_TYPES)
    for kind, array in (("clean", clean), ("noisy", noisy)):
        path = folder / "arrays" / f"{sequence}_{kind}.npy"
        path.write_bytes(array_bytes(array))


def _same_file(file: Path, folder: Path) -> None:
    try:
        os.link(file, folder / file.name)
    except OSError:  # another disk, or one without links
        shutil.copy(file, folder)
