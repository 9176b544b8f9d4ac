"""HPatches from where it is published: the sequences that are asked for, or the whole archive.

`python -m hpkit.download hpatches [--split a] [--to DIR] [--whole]` fetches a split, one sequence
at a time by HTTP ranges, and keeps it as arrays of 32 × 32 patches; `... tasks --to DIR` fetches
the official task files. What was fetched is kept, whatever happens: the same command goes on.
"""

import argparse
import hashlib
import json
import os
import shutil
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

from filelock import FileLock
from tqdm.auto import tqdm

from hpkit import layout
from hpkit.archives import DAMAGED, read_pins, root_of, zip_listing, zip_root
from hpkit.patches import data_folder, read_sequences, read_split
from hpkit.tasks import FILES, OFFICIAL, blob_id, official_ids, tasks_for, warn_unofficial
from hpkit.transfer import RemoteArchive, fetch_file, get, probe

ARCHIVE = "https://huggingface.co/datasets/vbalnt/hpatches/resolve/main/hpatches-release.zip"
TASKS = "https://raw.githubusercontent.com/hpatches/hpatches-benchmark/master/tasks/"
NAME = "hpatches-release.zip"
ARRAYS_PER_PNG = 1.5  # bytes kept for each of the release, at most; a replica's were 1.3


def address(name: str) -> str:
    """Where "hpatches" or "tasks" come from; HPKIT_HPATCHES_URL and HPKIT_TASKS_URL: a mirror."""
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
    """Eight hexadecimal digits for what the archive holds that the patches are from."""
    folder = folder or own_folder()
    if not (folder / "source.json").is_file():
        _source(folder)
    return read_pins(folder / "source.json")["directory"][:8]


def fetch(names: Iterable[str], folder: Path | None = None, *, whole: bool = False) -> Path:
    """The folder with the arrays of these sequences; those that are not there are fetched.

    whole: by way of the whole archive, which stays in the folder. Raises ConnectionError where the
    server does not answer as it should, ValueError for an archive that is not the one it was,
    OSError for a full disk: each in one sentence, and the next call goes on where this one was.
    """
    folder = folder or own_folder()
    arrays, archive = folder / "arrays", folder / NAME
    absent = [name for name in names if not layout.is_whole(arrays, name)]
    if absent:
        if whole and not archive.is_file():
            fetch_archive(archive)
        root, read = _source(folder)
        _convert(root, read, absent, arrays)
    return arrays


def _source(folder: Path) -> tuple[zipfile.Path, layout.Read]:
    """The archive, where it is known to be what it was, and how its files are read."""
    if (folder / NAME).is_file():
        root, read = root_of(folder / NAME), layout.read_bytes
    else:
        remote = RemoteArchive(address("hpatches"))
        root, read = zip_root(remote.zip, remote.url), remote.read
    _pin(folder, root.root)
    return root, read


def _convert(root: zipfile.Path, read: layout.Read, names: list[str], arrays: Path) -> None:
    """Say what is to come, then read one sequence after the other."""
    unknown = [name for name in names if not (root / name).is_dir()]
    if unknown:
        raise ValueError(f"{root}: has no sequence {unknown[0]!r}")
    chosen = set(names)
    size = sum(info.file_size for info in root.root.infolist()
               if info.filename.removeprefix(root.at).split("/")[0] in chosen)
    _announce(f"{len(names)} sequences from {root}", size, ARRAYS_PER_PNG * size, arrays)
    with tqdm(total=size, unit="B", unit_scale=True, desc="hpatches") as bar:
        def counted(path: zipfile.Path) -> bytes:
            data = read(path)
            bar.update(len(data))
            return data

        layout.convert(root, names, arrays, read=counted)


def _announce(what: str, size: int, needed: float, folder: Path) -> None:
    """Say how much is to come. Raises OSError where what will be kept does not fit on the disk."""
    with layout.writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    print(f"{what}: {size / 1e9:.2f} GB to read, at most {needed / 1e9:.2f} GB to keep in {folder} "
          f"({free / 1e9:.1f} GB free)", flush=True)
    if free < needed:
        raise OSError(f"{folder}: {free / 1e9:.2f} GB free, expected {needed / 1e9:.2f} GB for "
                      f"{what}; HPKIT_DATA names another folder")


def _pin(folder: Path, archive: zipfile.ZipFile, **more: str) -> None:
    """Note what the archive holds the first time; refuse one that holds something else later.

    No checksum of it is published. Its directory has one of each file, which is verified as the
    file is read.
    """
    path = folder / "source.json"
    listing = hashlib.sha256(repr(zip_listing(archive)).encode()).hexdigest()
    found = {"directory": listing, **more}
    pinned = read_pins(path) if path.is_file() else {}
    for key, value in found.items():
        if pinned.get(key, value) != value:
            raise ValueError(f"{archive.filename}: {key} {value[:12]}..., expected "
                             f"{pinned[key][:12]}... as when it was first used ({path}); if you "
                             "trust the new archive, delete that folder")
    if not found.items() <= pinned.items():
        with layout.writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            layout.write_whole(path, json.dumps(pinned | found, indent=1).encode())


def fetch_archive(path: Path) -> None:
    """The whole archive as one file; it has its name only once each of its checksums is right."""
    url, part = address("hpatches"), path.with_name(f"{path.name}.part")
    published = probe(url)
    if published.ranges:
        _source(path.parent)  # another archive than before is refused before it travels
    there = part.stat().st_size if part.exists() else 0
    needed = published.size * (1 + ARRAYS_PER_PNG) - there
    _announce(url, published.size - there, needed, path.parent)
    with FileLock(path.with_suffix(".lock")):
        if not path.is_file():
            fetch_file(url, part, published.size)
            _verify(url, part, published.sha256)
            part.replace(path)


def _verify(url: str, part: Path, sha256: str | None) -> None:
    """Refuse and delete a file whose checksums, its own or the published one, are not right."""
    with part.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        if sha256 not in (None, found):
            raise ValueError(f"{url}: sha256 {found[:12]}..., expected {sha256[:12]}...")
        with zipfile.ZipFile(part) as archive:
            if damaged := archive.testzip():
                raise ValueError(f"{url}: {damaged} is damaged")
            zip_root(archive, url)
            _pin(part.parent, archive, sha256=found)
    except (ValueError, *DAMAGED) as error:
        part.unlink()  # the next call fetches it anew
        if isinstance(error, ValueError):
            raise
        raise ValueError(f"{url}: not a whole zip, or a damaged one ({error})") from error


# --- official files ------------------------------------------------------------------------------

def fetch_official(file: str, path: Path) -> None:
    """A file of the benchmark's `tasks` folder; refused unless it is, byte for byte, as published.
    """
    if file not in official_ids():
        raise ValueError(f"{file}: not a file of the benchmark, expected one of "
                         f"{', '.join(official_ids())}")
    url = f"{address('tasks').rstrip('/')}/{file}"
    content = get(url)
    if blob_id(content) != official_ids()[file]:
        raise ValueError(f"{url}: git blob {blob_id(content)[:12]}..., expected the published "
                         f"{official_ids()[file][:12]}...")
    with layout.writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        layout.write_whole(path, content)


# --- command line --------------------------------------------------------------------------------

def _fetch_hpatches(options: argparse.Namespace) -> None:
    folder = hpatches_folder(options.to)
    sides = read_split(folder, options.split)
    names = options.sequences or [name for names in sides.values() for name in names]
    fetch(names, folder, whole=options.whole)
    if options.delete_archive:
        (folder / NAME).unlink(missing_ok=True)
    print(f"{folder}: {len(names)} sequences are there")
    if set(sides["test"]) <= set(names):
        print(f"making the official tasks of split {options.split} (a minute or two)", flush=True)
        tasks = tasks_for(read_sequences(folder, sides["test"]), **OFFICIAL)
        if not warn_unofficial(tasks, options.split):
            print("they are the published ones, byte for byte")


def _fetch_tasks(options: argparse.Namespace) -> None:
    if options.to is None:
        raise ValueError("tasks: expected --to FOLDER")
    fetch_official("splits/splits.json", options.to / "splits.json")
    for stem in FILES.values():
        fetch_official(f"{stem}_split-{options.split}.csv",
                       options.to / f"{stem}_split-{options.split}.csv")
    print(f"{options.to}: the official tasks of split {options.split} are there")


def main(arguments: list[str] | None = None) -> int:
    """0, or 2 with one sentence where it could not be done."""
    parser = argparse.ArgumentParser(prog="python -m hpkit.download", description=(
        "Fetch HPatches, or its official task files; goes on where the last call stopped."))
    add = parser.add_argument
    add("what", choices=("hpatches", "tasks"))
    add("--to", type=Path, metavar="DIR", help="default: hpatches in HPKIT_DATA or the cache")
    add("--split", default="a", help="whose sequences, or tasks: a, b, c, illum, view, full")
    add("--sequences", nargs="+", metavar="NAME", help="only these")
    add("--whole", action="store_true", help="the whole archive in one piece, which is kept")
    add("--delete-archive", action="store_true", help="once its sequences are converted")
    options = parser.parse_args(arguments)
    try:
        {"hpatches": _fetch_hpatches, "tasks": _fetch_tasks}[options.what](options)
    except (ValueError, OSError) as error:
        print(f"hpkit.download: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped: the same command goes on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
