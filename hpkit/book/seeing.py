"""The page of the site that runs the shipped descriptor in the reader's browser.

Its own files are in `see/`. What they need beside them is made here: two pairs of
photos, and onnxruntime-web with the network, as text in a script.
"""

import base64
import gzip
import io
import json
from pathlib import Path

import numpy as np
import skimage
from PIL import Image

from hpkit.book.npm import Package, parts
from hpkit.data.photos import move, read_photo
from hpkit.networks.export import shipped_onnx

HERE = Path(__file__).parent / "see"
RUNTIME = Package(
    "onnxruntime-web",
    "1.30.0",
    "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZ"
    "ClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
)
PARTS = {
    "ort": "package/dist/ort.wasm.bundle.min.mjs",
    "wasm": "package/dist/ort-wasm-simd-threaded.wasm",
}

SEEN = (40, 90, 580, 450)  # of the other view: with less black around it

PAGODA = (
    'Pagoda: photo by <a href="https://www.flickr.com/photos/danielbuechele/'
    '6061409035/">'
    "danielbuechele</a>, CC BY 2.0; the second view is computed from it, so the true "
    "place is known."
)
MOTORCYCLE = (
    "Motorcycle: two photos by D. Scharstein and others (Middlebury stereo data, "
    "2014), CC0."
)


def page_files() -> dict[str, bytes]:
    """The page as files by name; the first one to open is index.html.

    The first call downloads 33 MB from the npm registry. Raises ConnectionError where
    that cannot be had, and ValueError where it is not what was expected, or where the
    package onnx is missing.
    """
    model = shipped_onnx("descriptor")
    scripts = {**runtime(), "model": _packed(model)}
    files = {path.name: path.read_bytes() for path in HERE.iterdir()}
    files["runtime.js"] = _script("hpkitRuntime", scripts)
    files["photos.js"] = _script("hpkitPhotos", [pagoda(), motorcycle()])
    return files


def runtime() -> dict[str, str]:
    """onnxruntime-web: its script and its WebAssembly, each compressed, as base64."""
    found = parts(RUNTIME, *PARTS.values())
    return {name: _packed(part) for name, part in zip(PARTS, found, strict=True)}


def pagoda() -> dict[str, object]:
    """The photo of the README's figure in colour, and a view of it from elsewhere."""
    photo = read_photo("china", colour=True)
    views = [
        move(photo[..., channel], 0.8, np.random.RandomState(0)) for channel in range(3)
    ]
    left, top, right, bottom = SEEN
    seen = np.dstack([view for view, _ in views])[top:bottom, left:right]
    shift = np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1]])
    homography = _in_shares(seen) @ shift @ views[0][1]
    homography = homography @ np.linalg.inv(_in_shares(photo))
    return {
        "name": "a pagoda",
        "first": _picture(photo),
        "second": _picture(seen),
        "homography": homography.ravel().tolist(),
        "point": (0.392, 0.438),
        "credit": PAGODA,
    }


def motorcycle() -> dict[str, object]:
    """Two photos by two cameras beside each other."""
    folder = Path(skimage.data.__file__).parent
    sides = ("left", "right")
    photos = [Image.open(folder / f"motorcycle_{side}.png") for side in sides]
    first, second = (_picture(np.asarray(photo.convert("RGB"))) for photo in photos)
    return {
        "name": "a motorcycle",
        "first": first,
        "second": second,
        "homography": None,
        "point": (0.5, 0.4),
        "credit": MOTORCYCLE,
    }


def _in_shares(photo: np.ndarray) -> np.ndarray:
    """The matrix from pixels of a photo to shares of its width and height."""
    height, width = photo.shape[:2]
    return np.diag([1 / width, 1 / height, 1])


def _picture(photo: np.ndarray) -> str:
    """A JPEG as the address of an image, for a page that may not read other files."""
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "jpeg", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def _packed(content: bytes) -> str:
    # Without a time, so that the same content is packed the same.
    return base64.b64encode(gzip.compress(content, mtime=0)).decode()


def _script(name: str, value: object) -> bytes:
    return f"self.{name} = {json.dumps(value)};\n".encode()
