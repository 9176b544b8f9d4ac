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
import warnings
import zipfile
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from tqdm.auto import tqdm

from hpkit import layout
from hpkit.patches import data_folder, read_sequences, read_split
from hpkit.tasks import FILES, OFFICIAL, blob_id, official_ids, tasks_for, unofficial
from hpkit.transfer import LocalArchive, RemoteArchive, fetch_file, get, probe

ARCHIVE = "https://huggingface.co/datasets/vbalnt/hpatches/resolve/main/hpatches-release.zip"
TASKS = "https://raw.githubusercontent.com/hpatches/hpatches-benchmark/master/tasks/"


def address(name: str) -> str:
    """Where "hpatches" or "tasks" come from; HPKIT_HPATCHES_URL and HPKIT_TASKS_URL: a mirror."""
    usual = {"hpatches": ARCHIVE, "tasks": TASKS}[name]
    return os.environ.get(f"HPKIT_{name.upper()}_URL") or usual


def hpatches_folder() -> Path:
    """The folder of HPatches in the data folder, with the official splits.json in it."""
    folder = data_folder() / "hpatches"
    if not (folder / "splits.json").is_file():
        fetch_official("splits/splits.json", folder / "splits.json")
    return folder


def archive_version() -> str:
    """Eight hexadecimal digits for what the archive holds that the patches are from."""
    path = data_folder() / "hpatches" / "source.json"
    if not path.is_file():
        _pin(path.parent, RemoteArchive(address("hpatches")).zip)
    return json.loads(path.read_text())["directory"][:8]


def fetch(names: Iterable[str], folder: Path | None = None, *, whole: bool = False) -> Path:
    """The folder with the arrays of these sequences; those that are not there are fetched.

    whole: by way of the whole archive, which stays in the folder. Raises ConnectionError where the
    server does not answer as it should, ValueError for an archive that is not the one it was,
    OSError for a full disk: each in one sentence, and the next call goes on where this one was.
    """
    folder = folder or data_folder() / "hpatches"
    arrays, archive = folder / "arrays", folder / "hpatches-release.zip"
    absent = [name for name in names if not (arrays / f"{name}.stamp").is_file()]
    if absent:
        if whole and not archive.is_file():
            fetch_archive(archive)
        source = LocalArchive(archive) if archive.is_file() else RemoteArchive(address("hpatches"))
        _pin(folder, source.zip)
        _convert(source, absent, arrays)
    return arrays


def _convert(source: LocalArchive | RemoteArchive, names: list[str], arrays: Path) -> None:
    """Say what is to come, then read one sequence after the other."""
    root = layout.zip_root(source.zip, source.name)
    unknown = [name for name in names if not (root / name).is_dir()]
    if unknown:
        raise ValueError(f"{source.name}: has no sequence {unknown[0]!r}")
    size = sum(info.file_size for info in source.zip.infolist()
               if info.filename.removeprefix(root.at).split("/")[0] in set(names))
    _announce(f"{len(names)} sequences from {source.name}", size, arrays)
    with tqdm(total=size, unit="B", unit_scale=True, desc="hpatches") as bar:
        def read(path: zipfile.Path) -> bytes:
            data = source.read(path.at)
            bar.update(len(data))
            return data

        layout.convert(root, names, arrays, read=read)


def _announce(what: str, size: int, folder: Path) -> None:
    """Say how much is to come. Raises OSError where it does not fit on the disk."""
    with layout.writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    print(f"{what}: {size / 1e9:.2f} GB, to {folder} ({free / 1e9:.1f} GB free)", flush=True)
    if free < size:
        raise OSError(f"{folder}: {free / 1e9:.2f} GB free, expected {size / 1e9:.2f} GB for "
                      f"{what}; HPKIT_DATA names another folder")


def _pin(folder: Path, archive: zipfile.ZipFile, **more: str) -> None:
    """Note what the archive holds the first time; refuse one that holds something else later.

    No checksum of it is published. Its directory has one of each file, which is verified as the
    file is read.
    """
    path = folder / "source.json"
    listing = sorted((info.filename, info.file_size, info.CRC) for info in archive.infolist())
    found = {"directory": hashlib.sha256(repr(listing).encode()).hexdigest(), **more}
    pinned = json.loads(path.read_text()) if path.is_file() else {}
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
    there = part.stat().st_size if part.exists() else 0
    _announce(url, published.size - there, path.parent)
    fetch_file(url, part, published.size)
    with part.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        if published.sha256 not in (None, found):
            raise ValueError(f"{url}: sha256 {found[:12]}..., expected {published.sha256[:12]}...")
        archive = LocalArchive(part).zip
        if damaged := archive.testzip():
            raise ValueError(f"{url}: {damaged} is damaged")
        _pin(path.parent, archive, sha256=found)
    except ValueError:
        part.unlink()  # the next call fetches it anew
        raise
    part.replace(path)


# --- official files ------------------------------------------------------------------------------

def fetch_official(file: str, path: Path) -> None:
    """A file of the benchmark's `tasks` folder; refused unless it is, byte for byte, as published.
    """
    url = address("tasks") + file
    content = get(url)
    if blob_id(content) != official_ids()[file]:
        raise ValueError(f"{url}: git blob {blob_id(content)[:12]}..., expected the published "
                         f"{official_ids()[file][:12]}...")
    with layout.writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        layout.write_whole(path, content)


@lru_cache
def verify_tasks(split: str, folder: Path | None = None) -> bool:
    """Whether the tasks made from these patches are the official ones; a warning where not.

    About two minutes for the million pairs, once: what was found is kept beside the data.
    """
    folder = folder or hpatches_folder()
    path = folder / f"tasks_split-{split}.json"
    if not path.is_file():
        test = read_sequences(folder, read_split(folder, split)["test"])
        other = unofficial(tasks_for(test, **OFFICIAL), split)
        if os.access(folder, os.W_OK):
            layout.write_whole(path, json.dumps({"unofficial": other}).encode())
    else:
        other = json.loads(path.read_text())["unofficial"]
    if other:
        warnings.warn(f"split {split}: {', '.join(other)} made from these patches are NOT the "
                      "official tasks, so scores cannot be compared with published ones; the "
                      f"official files come with: python -m hpkit.download tasks --split {split} "
                      "--to FOLDER", stacklevel=2)
    return not other


# --- command line --------------------------------------------------------------------------------

def _fetch_hpatches(options: argparse.Namespace) -> None:
    folder = options.to or hpatches_folder()
    if not (folder / "splits.json").is_file():
        fetch_official("splits/splits.json", folder / "splits.json")
    sides = read_split(folder, options.split)
    names = options.sequences or [name for names in sides.values() for name in names]
    fetch(names, folder, whole=options.whole)
    if options.delete_archive:
        (folder / "hpatches-release.zip").unlink(missing_ok=True)
    print(f"{folder}: {len(names)} sequences are there")
    if set(sides["test"]) <= set(names) and verify_tasks(options.split, folder):
        print(f"split {options.split}: the tasks made from them are the official ones")


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
