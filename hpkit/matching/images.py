"""A reader's own photo, read with care: nobody knows what is in the file."""

import io
import re
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM")

# How files begin that are often taken for photos that can be read, and what to do.
OTHERS = {
    r"....ftypavi": "an AVIF image: save it as JPEG or PNG",
    r"%PDF": "a PDF: save its picture as PNG",
    r"\s*(<\?xml[^>]*>\s*)?<svg": "a drawing (SVG): save it as PNG",
    r"\s*<(!doctype|html)": "a web page, not the photo on it: save the photo itself",
    r"version https://git-lfs": "a Git LFS pointer: fetch the file with git lfs pull",
    r"PK\x03\x04": "a zip: unpack it",
}

HEIC = rb"....ftyp(hei|hev|mif1|msf1)"  # how such a file begins

NODATA = 42113  # TIFF's tag of GDAL for the value of pixels without data

SMALLEST = 32  # pixels a side
FEW = 0.01  # of the pixels: more of them are no faults of a camera


def read_image(
    data: bytes | str | Path, limit_megapixels: float = 50, longest: int = 800
) -> np.ndarray:
    """A photo in grey, turned as its camera says, its longest side at most `longest`.

    data: the bytes of a file, or its path -> uint8 (h, w). Keypoints and homographies
    found in it are in its own pixels, not the file's, so `longest` changes them. Raises
    ValueError, before it decodes anything, for what is no image or has more megapixels.
    It also raises ValueError for files that break off, and for sides under 32 pixels.
    Formats: JPEG, PNG, WebP, TIFF, BMP, GIF, PPM, and with the package pillow-heif
    HEIC.
    """
    data, name = _source(data)
    _check_limits(limit_megapixels, longest)
    try:
        if _is_heic(data):
            data = _heic_as_pgm(data, name, limit_megapixels)
        grey, size = _decoded(data, name, limit_megapixels, longest)
    except Image.DecompressionBombError as error:
        most = f"expected at most {limit_megapixels:g} megapixels"
        raise ValueError(f"{name}: far too many pixels, {most}") from error
    except UnidentifiedImageError as error:
        raise ValueError(f"{name}: {_what_it_is(data)}") from error
    except (Refused, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders fail in any way
        if isinstance(error, OSError) and error.errno is not None:
            raise ValueError(f"{name}: cannot be read ({error.strerror})") from error
        raise ValueError(f"{name}: the image is damaged ({error})") from error
    _check_size(name, size, grey.size)
    return np.asarray(grey)


def _is_heic(data: bytes | Path) -> bool:
    """Whether a file begins as a HEIC photo does."""
    return re.match(HEIC, _head(data), re.DOTALL) is not None


def _heic_as_pgm(data: bytes | Path, name: str, limit_megapixels: float) -> bytes:
    """A HEIC photo in grey, upright, as the bytes of a PGM file."""
    try:
        import pillow_heif
    except ImportError as error:
        raise Refused(
            f"{name}: a HEIC photo, as iPhones take them: pip install 'hpkit[heic]', "
            "or export it as JPEG"
        ) from error
    photo = pillow_heif.open_heif(data)  # it decodes nothing yet
    _check_megapixels(name, photo.size, limit_megapixels)
    written = io.BytesIO()
    photo.to_pillow().convert("L").save(written, "PPM")
    return written.getvalue()


def _check_megapixels(name: str, size: tuple[int, int], limit: float) -> None:
    width, height = size
    if width * height > limit * 1e6:
        raise Refused(
            f"{name}: {width} × {height} pixels, expected at most {limit:g} megapixels"
        )


def _head(data: bytes | Path) -> bytes:
    """How a file begins."""
    if isinstance(data, bytes):
        return data[:300]
    with data.open("rb") as file:
        return file.read(300)


def _check_limits(limit_megapixels: float, longest: int) -> None:
    if not longest >= SMALLEST or not limit_megapixels > 0:
        raise ValueError(
            f"longest is {longest!r} and limit_megapixels {limit_megapixels!r}, "
            f"expected at least {SMALLEST} pixels and more than 0 megapixels"
        )


def _check_size(name: str, size: tuple[int, int], small: tuple[int, int]) -> None:
    if min(small) < SMALLEST:
        shrunk = f", shrunk to {' × '.join(map(str, small))}"
        raise ValueError(
            f"{name}: {size[0]} × {size[1]} pixels{shrunk if small != size else ''}"
            f", expected at least {SMALLEST} each"
        )


def _source(data: object) -> tuple[bytes | Path, str]:
    """Bytes or a path, and what to call it in a message."""
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data), "this file"
    if not isinstance(data, str | Path):
        raise ValueError(
            f"data is a {type(data).__name__}, expected the bytes of an image file, or "
            "its path"
        )
    name = str(data) if len(str(data)) <= 200 else f"{str(data)[:100]}..."
    path = Path(data).expanduser()
    try:
        if path.is_dir():
            raise ValueError(f"{name}: a folder, expected an image file")
        if path.exists():
            return path, name
    except OSError:  # too long to be a path
        pass
    raise ValueError(f"{name}: not found")


def _what_it_is(data: bytes | Path) -> str:
    """What a file is that is no image in one of the formats, and what to do."""
    head = _head(data)
    expected = f"expected {', '.join(FORMATS)}"
    if not head:
        return f"not an image but an empty file, {expected}"
    for begin, what in OTHERS.items():
        if re.match(begin.encode(), head, re.DOTALL | re.IGNORECASE):
            return f"not an image that can be read here but {what}"
    return f"not an image, {expected}"


class Refused(ValueError):
    """An image that is not damaged, and yet cannot be read here: its text says why."""


def _decoded(
    data: bytes | Path, name: str, limit_megapixels: float, longest: int
) -> tuple[Image.Image, tuple[int, int]]:
    """The image in grey, shrunk, and its size before."""
    file = io.BytesIO(data) if isinstance(data, bytes) else data
    with (
        warnings.catch_warnings(action="ignore"),
        Image.open(file, formats=FORMATS) as image,
    ):
        _check_megapixels(name, image.size, limit_megapixels)
        grey = _as_grey(ImageOps.exif_transpose(image), _nodata(image))
        size = grey.size
        grey.thumbnail((longest, longest), Image.Resampling.LANCZOS)
        return grey, size


def _nodata(image: Image.Image) -> float:
    """The value of pixels without data in a TIFF that names one, else NaN."""
    with suppress(AttributeError, KeyError, TypeError, ValueError):
        return float(str(image.tag_v2[NODATA]).strip(" \0"))
    return np.nan


def _as_grey(image: Image.Image, nodata: float) -> Image.Image:
    """Grey of 8 bits.

    Deeper greys are scaled to their own range, because `convert` would cut them off.
    """
    if not image.mode.startswith(("I", "F")):
        return image.convert("L")
    values = np.asarray(image, np.float64)
    known = np.isfinite(values) & (values != nodata)
    low, high = _range(values[known])
    values = np.where(known, np.clip(values, low, high), low)
    return Image.fromarray((255 * (values - low) / max(high - low, 1e-9)).astype("u1"))


def _range(values: np.ndarray) -> tuple[float, float]:
    """From dark to bright, whatever a few broken pixels say.

    A hot pixel, or a value such as -9999 for no data, lies far beyond the middle half:
    ten times as far as that is wide (Tukey's fence, there with 1.5 to 3). Of the rest
    a thousandth at each end may be cut off.
    """
    if not len(values):
        return 0.0, 0.0
    first, third = np.percentile(values, (25, 75))
    reach = 10 * (third - first)
    far = (values < first - reach) | (values > third + reach)
    # More than a few, of many values: these are bright objects, and no broken pixels.
    broken = far.mean() <= FEW or len(np.unique(values[far])) == 1
    chosen = values[~far] if reach > 0 and broken else values
    low, high = np.percentile(chosen, (0.1, 99.9))
    return float(low), float(high)
