"""HPatches from where it is published: a few sequences, or the whole archive.

Sequences are read one after the other by HTTP ranges, and kept as arrays of 32 × 32
patches. What was fetched is kept, whatever happens: the next call goes on.
"""

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Iterable
from pathlib import Path

from tqdm.auto import tqdm

from hpkit.data.archives import DAMAGED, read_pins, root_of, zip_listing, zip_root
from hpkit.data.arrays import convert, is_whole
from hpkit.data.strips import Read, read_bytes
from hpkit.data.tasks import blob_id, official_ids
from hpkit.files import data_folder, write_whole, writing
from hpkit.waiting import file_lock

ARCHIVE = (
    "https://huggingface.co/datasets/vbalnt/hpatches/resolve/main/hpatches-release.zip"
)

TASKS = "https://raw.githubusercontent.com/hpatches/hpatches-benchmark/master/tasks/"

NAME = "hpatches-release.zip"

ARRAYS_PER_PNG = 1.5  # bytes kept for each of the release, at most; 1.3 were seen


def address(name: str) -> str:
    """Where "hpatches" or "tasks" come from.

    HPKIT_HPATCHES_URL and HPKIT_TASKS_URL name a mirror.
    """
    usual = {"hpatches": ARCHIVE, "tasks": TASKS}[name]
    return os.environ.get(f"HPKIT_{name.upper()}_URL") or usual


def own_folder() -> Path:
    """Where HPatches is, or will be."""
    return data_folder() / "hpatches"


def hpatches_folder(folder: Path | None = None) -> Path:
    """The folder of HPatches, with the official splits.json in it."""
    folder = folder or own_folder()
    if not (folder / "splits.json").is_file():
        fetch_official("splits/splits.json", folder / "splits.json")
    return folder


def archive_version(folder: Path | None = None) -> str:
    """Eight hexadecimal digits that name the content of the archive in use."""
    folder = folder or own_folder()
    if not (folder / "source.json").is_file():
        _source(folder)
    return read_pins(folder / "source.json")["directory"][:8]


def fetch(
    names: Iterable[str], folder: Path | None = None, *, whole: bool = False
) -> Path:
    """The folder with the arrays of these sequences; missing ones are fetched.

    whole: fetch the whole archive first, which then stays in the folder. Raises
    ConnectionError where the server does not answer as it should, ValueError for an
    archive that is not the one it was, and OSError for a full disk. Each is one
    sentence, and the next call goes on where this one stopped.
    """
    folder = folder or own_folder()
    arrays, archive = folder / "arrays", folder / NAME
    absent = [name for name in names if not is_whole(arrays, name)]
    if absent:
        if whole and not archive.is_file():
            fetch_archive(archive)
        root, read = _source(folder)
        _convert(root, read, absent, arrays)
    return arrays


def _source(folder: Path) -> tuple[zipfile.Path, Read]:
    """The archive, once it is known to be what it was, and how its files are read."""
    if (folder / NAME).is_file():
        root, read = root_of(folder / NAME), read_bytes
    else:
        from hpkit.data.http import RemoteArchive  # slow to import, seldom needed

        remote = RemoteArchive(address("hpatches"))
        root, read = zip_root(remote.zip, remote.url), remote.read
    _pin(folder, root.root)
    return root, read


def _convert(root: zipfile.Path, read: Read, names: list[str], arrays: Path) -> None:
    """Say what is to come, then read one sequence after the other."""
    unknown = [name for name in names if not (root / name).is_dir()]
    if unknown:
        raise ValueError(f"{root}: has no sequence {unknown[0]!r}")
    chosen = set(names)
    size = sum(
        info.file_size
        for info in root.root.infolist()
        if info.filename.removeprefix(root.at).split("/")[0] in chosen
    )
    _announce(
        f"{len(names)} sequences from {root}", size, ARRAYS_PER_PNG * size, arrays
    )
    with tqdm(total=size, unit="B", unit_scale=True, desc="hpatches") as bar:

        def counted(path: zipfile.Path) -> bytes:
            data = read(path)
            bar.update(len(data))
            return data

        convert(root, names, arrays, read=counted)


def _announce(what: str, size: int, needed: float, folder: Path) -> None:
    """Say how much is to come. Raises OSError where it does not fit on the disk."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    print(
        f"{what}: {size / 1e9:.2f} GB to read, at most {needed / 1e9:.2f} GB to keep "
        f"in {folder} ({free / 1e9:.1f} GB free)",
        flush=True,
    )
    if free < needed:
        raise OSError(
            f"{folder}: {free / 1e9:.2f} GB free, expected {needed / 1e9:.2f} GB for "
            f"{what}; HPKIT_DATA names another folder"
        )


def _pin(folder: Path, archive: zipfile.ZipFile, **more: str) -> None:
    """Note what the archive holds; refuse one that holds something else later.

    No checksum of the archive is published. Its directory has one of each file, which
    is verified as the file is read.
    """
    path = folder / "source.json"
    listing = hashlib.sha256(repr(zip_listing(archive)).encode()).hexdigest()
    found = {"directory": listing, **more}
    pinned = read_pins(path) if path.is_file() else {}
    for key, value in found.items():
        if pinned.get(key, value) != value:
            raise ValueError(
                f"{archive.filename}: {key} {value[:12]}..., expected "
                f"{pinned[key][:12]}... as when it was first used ({path}); if you "
                "trust the new archive, delete that folder"
            )
    if not found.items() <= pinned.items():
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(path, json.dumps(pinned | found, indent=1).encode())


def fetch_archive(path: Path) -> None:
    """Fetch the whole archive into one file.

    The file gets its name only once its checksums are right.
    """
    from hpkit.data.http import fetch_file, probe

    url, part = address("hpatches"), path.with_name(f"{path.name}.part")
    published = probe(url)
    if published.ranges:
        _source(path.parent)  # another archive than before is refused before it travels
    there = part.stat().st_size if part.exists() else 0
    needed = published.size * (1 + ARRAYS_PER_PNG) - there
    _announce(url, published.size - there, needed, path.parent)
    with file_lock(path.with_suffix(".lock")):
        if not path.is_file():
            fetch_file(url, part, published.size)
            _verify(url, part, published.sha256)
            part.replace(path)


def _verify(url: str, part: Path, sha256: str | None) -> None:
    """Refuse and delete a file whose checksums, its own or the published, are wrong."""
    with part.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        if sha256 not in (None, found):
            raise ValueError(
                f"{url}: sha256 {found[:12]}..., expected {sha256[:12]}..."
            )
        with zipfile.ZipFile(part) as archive:
            if damaged := archive.testzip():
                raise ValueError(f"{url}: {damaged} is damaged")
            zip_root(archive, url)
            _pin(part.parent, archive, sha256=found)
    except (ValueError, *DAMAGED) as error:
        part.unlink()  # the next call fetches it anew
        if isinstance(error, ValueError):
            raise
        raise ValueError(
            f"{url}: not a whole zip, or a damaged one ({error})"
        ) from error


def fetch_official(file: str, path: Path) -> None:
    """Fetch a file of the benchmark's `tasks` folder.

    It is refused unless it is what was published, byte for byte.
    """
    if file not in official_ids():
        raise ValueError(
            f"{file}: not a file of the benchmark, expected one of "
            f"{', '.join(official_ids())}"
        )
    url = f"{address('tasks').rstrip('/')}/{file}"
    from hpkit.data.http import get

    content = get(url)
    if blob_id(content) != official_ids()[file]:
        raise ValueError(
            f"{url}: git blob {blob_id(content)[:12]}..., expected the published "
            f"{official_ids()[file][:12]}..."
        )
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
