"""PNG strips, HPatches on disk: a grey picture per sequence and patch type.

The patches of all points stand on top of each other. A strip's width w is 65 in the
official release and 32 in small copies; its height is w times the number of points. A
noisy twin of `e1.png` is `e1_noise.png`. Inside a zip all is the same.
"""

import io
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from hpkit.data.archives import DAMAGED, Folder
from hpkit.data.noise import add_noise
from hpkit.data.patches import PATCH_TYPES, SIZE

MOST = 20_000  # points of a sequence: no real one has a tenth, and a bomb has more

COLOUR_MODES = ("RGB", "RGBA", "P")  # of Pillow: 8 bits a channel, and palettes

Read = Callable[[Folder], bytes]


def read_bytes(path: Folder) -> bytes:
    """The bytes of a file on disk or in a zip."""
    return path.read_bytes()


def read_sequence(
    folder: Folder, *, colour: bool = False, read: Read = read_bytes
) -> dict[str, np.ndarray]:
    """A sequence's patches as arrays: "clean", "noisy" and "contrast".

    clean, noisy: uint8 (points, 16, 32, 32); missing noisy twins are made. contrast:
    float (points,), the standard deviation of each reference patch at its full size, in
    grey levels. The official retrieval tasks are drawn by it. read: how a file is read.
    """
    paths = [folder / f"{t}.png" for t in PATCH_TYPES]
    twins = [folder / f"{t}_noise.png" for t in PATCH_TYPES]
    strips = [read_png(path, colour=colour, read=read) for path in paths]
    side = strips[0].shape[1]
    contrast = np.array([patch.std() for patch in strips[0].reshape(-1, side, side)])
    clean = _together(paths, strips, len(contrast))
    if any(twin.exists() for twin in twins):
        noisy = [read_png(twin, colour=colour, read=read) for twin in twins]
        noisy = _together(twins, noisy, len(contrast))
    else:
        noisy = np.stack(
            [add_noise(clean[:, i], folder.name, t) for i, t in enumerate(PATCH_TYPES)],
            1,
        )
    return {"clean": clean, "noisy": noisy, "contrast": contrast}


def _together(paths: list[Folder], strips: list[np.ndarray], points: int) -> np.ndarray:
    """The strips of all types, shrunk, as uint8 (points, 16, 32, 32)."""
    patches = [shrink(strip).reshape(-1, SIZE, SIZE) for strip in strips]
    for path, found in zip(paths, patches, strict=True):
        if len(found) != points:
            raise ValueError(
                f"{path}: {len(found)} patches, expected {points} as in ref.png"
            )
    return np.stack(patches, 1)


def check_twins(root: Folder, names: Iterable[str]) -> None:
    """Raise ValueError where some sequences have noisy twins and another has none.

    hpkit would otherwise make the missing ones, and mix its own noise into the data of
    others.
    """
    names = list(names)
    noisy = {
        name
        for name in names
        if any((root / name / f"{t}_noise.png").is_file() for t in PATCH_TYPES)
    }
    without = [name for name in names if name not in noisy]
    if noisy and without:
        raise ValueError(
            f"{root / without[0]}: no _noise.png files, and {len(noisy)} of "
            f"{len(names)} sequences have them: expected them in all or in none"
        )


def read_png(
    path: Folder, *, colour: bool = False, read: Read = read_bytes
) -> np.ndarray:
    """One strip as it is on disk: uint8 (points * w, w), w 65 or 32.

    Raises FileNotFoundError or ValueError with the file, what was found and what was
    expected.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: not found; a sequence needs the 16 files "
            f"{', '.join(PATCH_TYPES)} (.png)"
        )
    try:
        data = read(path)
    except DAMAGED as error:
        raise ValueError(f"{path}: damaged ({error})") from error
    try:
        # Decoding does not look at checksums.
        Image.open(io.BytesIO(data), formats=["PNG"]).verify()
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            _check_png(path, image, colour)
            return np.asarray(image.convert("L"))
    except Exception as error:  # Pillow's decoders fail in any way
        if str(error).startswith(str(path)):  # our own sentence
            raise
        raise ValueError(f"{path}: not a whole PNG file ({error})") from error


def _check_png(path: Folder, image: Image.Image, colour: bool) -> None:
    """Refuse a PNG by its header alone, before a pixel is unpacked."""
    if image.mode != "L" and not (colour and image.mode in COLOUR_MODES):
        hint = (
            "; colour is converted only with colour=True"
            if image.mode in COLOUR_MODES
            else ""
        )
        raise ValueError(
            f"{path}: a PNG of mode {image.mode!r}, expected 8-bit grey ('L'){hint}"
        )
    width, height = image.size
    if width not in (SIZE, 65):
        raise ValueError(f"{path}: {width} pixels wide, expected 65 or 32")
    if height % width or height > width * MOST:
        raise ValueError(
            f"{path}: {height} pixels high, expected a multiple of its width {width}, "
            f"at most {MOST} patches"
        )


def shrink(strip: np.ndarray) -> np.ndarray:
    """A strip of w-pixel patches as one of 32-pixel patches: each pixel an area's mean.

    The borders of patches fall on whole pixels before and after, so no patch leaks into
    the next.
    """
    points = strip.shape[0] // strip.shape[1]
    return cv2.resize(strip, (SIZE, SIZE * points), interpolation=cv2.INTER_AREA)


def write_sequence(
    folder: Path, clean: np.ndarray, noisy: np.ndarray | None = None
) -> None:
    """Write patches, uint8 (points, 16, w, w), as the PNG files of one sequence."""
    folder.mkdir(parents=True, exist_ok=True)
    twins = [("", clean)] + ([] if noisy is None else [("_noise", noisy)])
    for suffix, patches in twins:
        for column, patch_type in enumerate(PATCH_TYPES):
            strip = patches[:, column].reshape(-1, patches.shape[-1])
            Image.fromarray(strip).save(
                folder / f"{patch_type}{suffix}.png", compress_level=1
            )
