"""Folders and zips of sequences: where they are, what they hold, and their safety."""

import json
import os
import struct
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

from hpkit.files import digest, file_digests

VERSION = 2  # of the conversion to arrays: with another one they are made anew

LARGEST = 65 * 65 * 20_000  # bytes: a strip of so many patches, which no sequence has

# What a damaged zip can end in.
DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    struct.error,
)

Folder = Path | zipfile.Path


def root_of(source: Path) -> Folder:
    """The folder that holds the sequences: itself, or the one inside it.

    Raises ValueError for a file that is no zip of sequences, or one that is not
    harmless.
    """
    if source.is_dir():
        return inner_folder(source)
    try:
        archive = zipfile.ZipFile(source)
    except (*DAMAGED, OSError, ValueError) as error:
        raise ValueError(
            f"{source}: neither a folder nor a whole zip file ({error})"
        ) from error
    return zip_root(archive, str(source))


def inner_folder(folder: Path) -> Path:
    """The folder that holds the sequences: this one, or the only one below that does.

    A zip is often unpacked into a folder of its name, which holds one of its name.
    """
    arrays = any((folder / name).exists() for name in ("source.json", "arrays"))
    if arrays or any(folder.glob("*/ref.png")):
        return folder
    for below in ("*/*/ref.png", "*/*/*/ref.png"):
        found = {path.parents[1] for path in folder.glob(below) if _counts(str(path))}
        if found:
            return found.pop() if len(found) == 1 else folder
    return folder


def zip_root(archive: zipfile.ZipFile, name: str) -> zipfile.Path:
    """The folder inside an archive whose folders hold a ref.png.

    Nothing is ever unpacked under its own name. Even so, an archive is refused with a
    ValueError if it holds a path that leads outside, a link, or a file too large to be
    a strip: it was made to harm, or is not what it seems.
    """
    for info in archive.infolist():
        parts = info.filename.replace("\\", "/").split("/")
        if ".." in parts or parts[0] == "" or ":" in parts[0]:
            raise ValueError(
                f"{name}: holds the path {info.filename!r}, which leads out of it"
            )
        if (info.external_attr >> 16) & 0o170000 == 0o120000:
            raise ValueError(
                f"{name}: holds the link {info.filename!r}, expected files"
            )
        if info.filename.endswith((".png", ".json")) and info.file_size > LARGEST:
            raise ValueError(
                f"{name}: {info.filename!r} unpacks to {info.file_size:,} bytes, "
                f"expected at most {LARGEST:,}"
            )
    found = [
        path.split("/") for path in archive.namelist() if path.endswith("/ref.png")
    ]
    if not found:
        raise ValueError(
            f"{name}: no folder with a ref.png in it, expected one per sequence"
        )
    return zipfile.Path(
        archive, "".join(part + "/" for part in min(found, key=len)[:-2])
    )


def zip_listing(archive: zipfile.ZipFile | Path) -> list[tuple[str, int, int]]:
    """Name, size and checksum of each file in a zip."""
    if isinstance(archive, Path):
        with zipfile.ZipFile(archive) as opened:
            return zip_listing(opened)
    return sorted(
        (info.filename, info.file_size, info.CRC) for info in archive.infolist()
    )


def content_of(data: Path) -> list[tuple]:
    """What a folder or zip of sequences holds: names and checksums, in order.

    Only patches and splits.json count. Other files there, and those that macOS and
    Windows leave behind, change nothing.
    """
    names = ("splits.json", "splits/splits.json")
    beside = [data / name for name in names]
    if data.is_dir() and not any(path.is_file() for path in beside):
        beside = [data.parent / name for name in names]
    if data.is_file():
        listed = [tuple(entry) for entry in zip_listing(data) if _counts(entry[0])]
        beside = [data.parent / "splits.json"]
        files, top = [], data.parent
    else:
        listed, top = [], data
        files = [*data.glob("*/*.png"), *data.glob("arrays/*.npy")]
    files = [
        path for path in [*files, *beside] if path.is_file() and _counts(path.name)
    ]
    digests = file_digests(files)
    named = [(os.path.relpath(path, top), digests[path]) for path in files]
    return listed + sorted(named)


def stamp_of(folder: Folder) -> str:
    """A digest of a sequence's file names and checksums, to tell that they changed."""
    if isinstance(folder, Path):
        digests = file_digests(p for p in folder.glob("*.png") if _counts(p.name))
        files = sorted((path.name, found) for path, found in digests.items())
    else:
        start = f"{folder.at.rstrip('/')}/"
        listed = zip_listing(folder.root)
        files = [f for f in listed if f[0].startswith(start) and _counts(f[0])]
    return digest([VERSION, files])


def _counts(name: str) -> bool:
    """Whether a file belongs to the data: macOS puts a `._ref.png` beside a ref.png."""
    parts = name.split("/")
    return not parts[-1].startswith("._") and "__MACOSX" not in parts


def read_pins(path: Path) -> dict[str, str]:
    """The checksums of an archive that were noted when it was first used.

    "directory": sha256 of its directory; "sha256": of a whole archive itself.
    """
    with suppress(ValueError, AttributeError, TypeError):
        pins = json.loads(path.read_bytes())
        if "directory" in pins and all(
            len(bytes.fromhex(pin)) == 32 for pin in pins.values()
        ):
            return pins
    raise ValueError(
        f"{path}: damaged; delete it, and the archive is trusted as at its first use"
    )
