"""A reader's own photo, read with care: nobody knows what is in the file."""

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM")


def read_image(
    data: bytes | str | Path, limit_megapixels: float = 50, longest: int = 800
) -> np.ndarray:
    """A photo in grey, turned as its camera says, its longest side at most `longest`.

    data: the bytes of a file, or its path -> uint8 (h, w). Keypoints and homographies
    found in it are in its own pixels, not the file's, so `longest` changes them. Raises
    ValueError, before it decodes anything, for what is no image or has more megapixels.
    It also raises ValueError for files that break off, and for sides under 32 pixels.
    Formats: JPEG, PNG, WebP, TIFF, BMP, GIF, PPM.
    """
    name = "this file" if isinstance(data, bytes) else str(data)
    try:
        grey = _decoded(data, name, limit_megapixels, longest)
    except FileNotFoundError as error:
        raise ValueError(f"{name}: not found") from error
    except Image.DecompressionBombError as error:
        most = f"expected at most {limit_megapixels:g} megapixels"
        raise ValueError(f"{name}: far too many pixels, {most}") from error
    except UnidentifiedImageError as error:
        expected = ", ".join(FORMATS)
        raise ValueError(f"{name}: not an image, expected {expected}") from error
    except TooLarge:
        raise
    except Exception as error:  # Pillow's decoders fail in any way
        raise ValueError(f"{name}: the image is damaged ({error})") from error
    if min(grey.size) < 32:
        size = f"{grey.width} × {grey.height} pixels"
        raise ValueError(f"{name}: {size}, expected at least 32 each")
    return np.asarray(grey)


class TooLarge(ValueError):
    """An image has more pixels than the limit."""


def _decoded(
    data: bytes | str | Path, name: str, limit_megapixels: float, longest: int
) -> Image.Image:
    file = io.BytesIO(data) if isinstance(data, bytes) else Path(data)
    with (
        warnings.catch_warnings(action="ignore"),
        Image.open(file, formats=FORMATS) as image,
    ):
        width, height = image.size
        if width * height > limit_megapixels * 1e6:
            raise TooLarge(
                f"{name}: {width} × {height} pixels, expected at most "
                f"{limit_megapixels:g} megapixels"
            )
        grey = _as_grey(ImageOps.exif_transpose(image))
        grey.thumbnail((longest, longest), Image.Resampling.LANCZOS)
        return grey


def _as_grey(image: Image.Image) -> Image.Image:
    """Grey of 8 bits.

    Deeper greys are scaled to their own range, because `convert` would cut them off.
    """
    if not image.mode.startswith(("I", "F")):
        return image.convert("L")
    values = np.nan_to_num(np.asarray(image, np.float64))
    return Image.fromarray(
        (255 * (values - values.min()) / max(np.ptp(values), 1e-9)).astype("u1")
    )
