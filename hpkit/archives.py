"""Folders and zips of sequences: where they are, whether they are harmless, or changed."""

import hashlib
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

VERSION = 1  # of the conversion to arrays: with another one they are made anew
LARGEST = 65 * 65 * 20_000  # bytes: a strip of so many patches, which no sequence has
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError,
           struct.error)  # what a damaged zip can end in
Folder = Path | zipfile.Path


def root_of(source: Path) -> Folder:
    """The folder that holds the sequences: `source` itself or, of a zip, the one inside it.

    Raises ValueError for a file that is no zip of sequences, or not a harmless one.
    """
    if source.is_dir():
        return source
    try:
        archive = zipfile.ZipFile(source)
    except (*DAMAGED, OSError, ValueError) as error:
        raise ValueError(f"{source}: neither a folder nor a whole zip file ({error})") from error
    return zip_root(archive, str(source))


def zip_root(archive: zipfile.ZipFile, name: str) -> zipfile.Path:
    """The folder inside an archive whose folders hold a ref.png; refuses what is not harmless.

    Nothing is ever unpacked by its name, yet an archive with a path that leads outside, a link or
    a file too large to be a strip was made to harm, or is not what it seems.
    """
    for info in archive.infolist():
        parts = info.filename.replace("\\", "/").split("/")
        if ".." in parts or parts[0] == "" or ":" in parts[0]:
            raise ValueError(f"{name}: holds the path {info.filename!r}, which leads out of it")
        if (info.external_attr >> 16) & 0o170000 == 0o120000:
            raise ValueError(f"{name}: holds the link {info.filename!r}, expected files")
        if info.filename.endswith((".png", ".json")) and info.file_size > LARGEST:
            raise ValueError(f"{name}: {info.filename!r} unpacks to {info.file_size:,} bytes, "
                             f"expected at most {LARGEST:,}")
    found = [path.split("/") for path in archive.namelist() if path.endswith("/ref.png")]
    if not found:
        raise ValueError(f"{name}: no folder with a ref.png in it, expected one per sequence")
    return zipfile.Path(archive, "".join(part + "/" for part in min(found, key=len)[:-2]))


def zip_listing(archive: zipfile.ZipFile | Path) -> list[tuple[str, int, int]]:
    """Name, size and checksum of each file in a zip."""
    if isinstance(archive, Path):
        with zipfile.ZipFile(archive) as opened:
            return zip_listing(opened)
    return sorted((info.filename, info.file_size, info.CRC) for info in archive.infolist())


def stamp_of(folder: Folder) -> str:
    """What tells that a sequence's files changed: their names, sizes, and times or checksums."""
    if isinstance(folder, Path):
        files = [(path.name, path.stat().st_size, path.stat().st_mtime_ns)
                 for path in sorted(folder.glob("*.png"))]
    else:
        files = [file for file in zip_listing(folder.root)
                 if file[0].startswith(f"{folder.at.rstrip('/')}/")]
    return hashlib.sha256(repr((VERSION, files)).encode()).hexdigest()


def read_pins(path: Path) -> dict[str, str]:
    """The sha256 of an archive's directory and, of a whole one, of itself, noted at its first use.
    """
    with suppress(ValueError, AttributeError, TypeError):
        pins = json.loads(path.read_bytes())
        if "directory" in pins and all(len(bytes.fromhex(pin)) == 32 for pin in pins.values()):
            return pins
    raise ValueError(f"{path}: damaged; delete it, and the archive is trusted as at its first use")


def write_sums(files: Iterable[Path], sums: Path) -> None:
    """Note the size, CRC-32 and time of those files that are there, for `check_sum`."""
    sums.write_text(json.dumps({path.name: _note(path) for path in files if path.is_file()}))


def check_sum(path: Path, sums: Path) -> None:
    """Raise ValueError for a file that is not the one that was noted in `sums`.

    A file of the noted size and time, older than `sums`, counts as unchanged, and nothing is read;
    any other is read, and if it is right its time is noted. Not noticed: bits that turn on the disk
    itself, a time set back by hand, and anything where there are no `sums`, as beside arrays of an
    older hpkit.
    """
    if not sums.is_file():
        return
    try:
        noted = json.loads(sums.read_bytes())
        size, crc, changed = noted[path.name]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{sums}: damaged ({error!r}); delete it and {path.name}, which is then "
                         "made anew") from error
    found = path.stat()
    if [found.st_size, found.st_mtime_ns] == [size, changed] and (
            changed < sums.stat().st_mtime_ns):
        return
    if found.st_size != size or _note(path)[1] != crc:
        raise ValueError(f"{path}: changed since it was written; delete it, and it is made anew")
    with suppress(OSError):  # a folder that is only read
        part = sums.with_name(f"{sums.name}.{os.getpid()}.part")
        part.write_text(json.dumps(noted | {path.name: [size, crc, found.st_mtime_ns]}))
        part.replace(sums)


def _note(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_size, zlib.crc32(path.read_bytes()), found.st_mtime_ns]


def digest(content: object) -> str:
    """The sha256 of what JSON can hold, in hexadecimal digits."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def short_digest(content: object) -> str:
    """The first twelve digits of `digest`: a name."""
    return digest(content)[:12]
