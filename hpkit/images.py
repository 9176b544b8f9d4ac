"""A reader's own photo: read with care, for nobody knows what is in the file."""

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM")


def read_image(data: bytes | str | Path, limit_megapixels: float = 50,
               longest: int = 800) -> np.ndarray:
    """A photo in grey, its longest side at most so many pixels, turned as its camera says.

    data: the bytes of a file, or its path -> uint8 (h, w). Keypoints and homographies found in it
    are in its pixels, not the file's, and `longest` changes them. Raises ValueError, before it
    decodes anything, for what is no image or has more megapixels; and for files that break off,
    and for sides under 32 pixels. Formats: JPEG, PNG, WebP, TIFF, BMP, GIF, PPM.
    """
    name = "this file" if isinstance(data, bytes) else str(data)
    try:
        file = io.BytesIO(data) if isinstance(data, bytes) else Path(data)
        with warnings.catch_warnings(action="ignore"), Image.open(file, formats=FORMATS) as image:
            width, height = image.size
            if width * height > limit_megapixels * 1e6:
                raise ValueError(f"{name}: {width} × {height} pixels, expected at most "
                                 f"{limit_megapixels:g} megapixels")
            grey = _as_grey(ImageOps.exif_transpose(image))
            grey.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    except FileNotFoundError as error:
        raise ValueError(f"{name}: not found") from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"{name}: far too many pixels, expected at most {limit_megapixels:g} "
                         "megapixels") from error
    except UnidentifiedImageError as error:
        raise ValueError(f"{name}: not an image, expected {', '.join(FORMATS)}") from error
    except Exception as error:  # Pillow's decoders fail in any way
        if str(error).startswith(name):  # our own sentence
            raise
        raise ValueError(f"{name}: the image is damaged ({error})") from error
    if min(grey.size) < 32:
        raise ValueError(f"{name}: {grey.width} × {grey.height} pixels, expected at least 32 each")
    return np.asarray(grey)


def _as_grey(image: Image.Image) -> Image.Image:
    """Grey of 8 bits; deeper greys are scaled to their own range, for `convert` would cut them."""
    if not image.mode.startswith(("I", "F")):
        return image.convert("L")
    values = np.nan_to_num(np.asarray(image, np.float64))
    return Image.fromarray((255 * (values - values.min()) / max(np.ptp(values), 1e-9)).astype("u1"))
