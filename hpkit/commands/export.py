"""`hpkit export`: write a shipped network as an ONNX file, for use without Python.

It takes float32 patches, (n, 1, 32, 32) grey levels from 0 to 255, for any n, and gives
descriptors, (n, 128), or denoised patches. onnxruntime reads it in many languages, and
cv2.dnn in OpenCV. An older ONNX file is replaced, and any other file stays.

examples:
  hpkit export descriptor.onnx
  hpkit export denoiser.onnx --network denoiser
"""

from pathlib import Path

from hpkit.commands import parser
from hpkit.files import write_whole


def main(argv: list[str]) -> int:
    """0 where the file was written."""
    made = parser(__doc__)
    add = made.add_argument
    add("file", type=Path, metavar="FILE", help="where to write it, *.onnx")
    networks = {"choices": ["descriptor", "denoiser"], "default": "descriptor"}
    add("--network", **networks, help="which one (default: descriptor)")
    given = made.parse_args(argv)
    from hpkit.networks.export import is_onnx, shipped_onnx  # torch takes seconds

    there = given.file.exists()
    if there and not is_onnx(given.file):
        raise ValueError(
            f"{given.file}: something else than an ONNX file is there; choose another "
            "name, or move it away"
        )
    if not given.file.parent.is_dir():
        raise ValueError(f"{given.file.parent}: no such folder, expected one")
    content = shipped_onnx(given.network)
    write_whole(given.file, content)
    size = f"{len(content) / 1e6:.2f} MB"
    print(f"{given.file}: the {given.network}, {size}{', replaced' * there}")
    return 0
