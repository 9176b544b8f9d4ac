"""What students handed in: found in folders and zips, and sorted by student.

Learning platforms put the student's name and number into the names of files. Whatever
cannot be read becomes a sentence beside that student, and stops nothing else.
"""

import os
import re
import shutil
import time
import unicodedata
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from hpkit.data.archives import DAMAGED

MOST_FILES = 2_000  # of one student; more is a copied environment, not a hand-in
MOST_BYTES = 500_000_000  # of one student, unpacked
CLASS = 100  # times as much in a zip of all hand-ins
DEEPEST = 5  # zips in zips
LEFTOVER = re.compile(
    r"\.|~\$|(__MACOSX|__pycache__|Thumbs\.db|desktop\.ini)$", re.IGNORECASE
)
# These would stand in for the package itself, and for what Python runs at its start.
STAND_INS = re.compile(r"(hpkit|sitecustomize|usercustomize)(\.py)?$", re.IGNORECASE)
ARCHIVES = (".rar", ".7z", ".tar", ".gz", ".tgz", ".bz2", ".xz")
COPY = r"(\s*\(\d+\)|-\d+|-Copy\d+)?"  # what browsers, Canvas and Jupyter add
# Ada Lovelace_1234567_assignsubmission_file_/x.ipynb, or all of it in a file's name
MOODLE = re.compile(
    r"(?P<name>.+?)_(?P<number>\d+)_assignsubmission_[a-z]+_?(?P<rest>.*)"
)
# lovelaceada_12345_678901_x.ipynb, and lovelaceada_LATE_12345_678901_x.ipynb
CANVAS = re.compile(r"(?P<name>[^_]+)(?:_LATE)?_(?P<number>\d+)_\d{3,}_(?P<rest>.+)")


@dataclass
class Student:
    """One student's files by their place in the hand-in, and what was wrong with it."""

    name: str
    number: str = ""  # in the learning platform, where it says one
    platform: str = ""
    files: dict[str, Path] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    size: int = 0  # bytes of the files

    def notebooks(self) -> list[str]:
        """The places of the notebooks."""
        return [place for place in self.files if place.lower().endswith(".ipynb")]


class Owner(NamedTuple):
    """Whose a file is, and its place among that student's files."""

    name: str
    number: str
    platform: str
    place: str


class Refused(ValueError):
    """A zip that is damaged, or made to harm, or too large."""


def collect(
    source: Path, into: Path, chapters: Iterable[str]
) -> tuple[list[Student], list[str]]:
    """The students in order of their names, and what belongs to none of them.

    source: a folder or a zip. into: an empty folder, for what is unpacked. chapters:
    names of notebooks, which are no part of a student's name.
    """
    students, lost = {}, []
    for parts, path, problem in _walk(source, (), Unpacker(into)):
        owner = owner_of(parts, tuple(chapters))
        if owner is None:
            lost.append(problem or _nobodys("/".join(parts)))
            continue
        key = (owner.name, owner.number)
        student = students.setdefault(key, Student(*owner[:3]))
        if problem:
            student.problems.append(problem)
        elif path is not None:
            _take(student, owner.place, path)
    return [students[key] for key in sorted(students)], lost


def owner_of(parts: tuple[str, ...], chapters: tuple[str, ...] = ()) -> Owner | None:
    """Whose file this is, by the names of the folders and zips around it, and its own.

    None for a file that lies in no folder and whose name is only a chapter's.
    """
    for depth, part in enumerate(parts):
        for platform, pattern in (("Moodle", MOODLE), ("Canvas", CANVAS)):
            found = pattern.fullmatch(part)
            if found:
                inside = [found["rest"], *parts[depth + 1 :]]
                place = "/".join(filter(None, inside))
                return Owner(_tidy(found["name"]), found["number"], platform, place)
    if len(parts) > 1:
        return Owner(_tidy(parts[0]), "", "", "/".join(parts[1:]))
    name, _, ending = parts[0].rpartition(".")
    for chapter in chapters:
        name = re.sub(rf"{re.escape(chapter)}{COPY}", "", name)
    name = name.strip(" _-.()")
    if not name or ending.lower() != "ipynb":
        return None
    return Owner(_tidy(name), "", "", parts[0])


def _nobodys(place: str) -> str:
    if place.lower().endswith(".ipynb"):
        return f"{place}: says no student's name; put it into a folder of that name"
    return f"{place}: left aside, expected a folder, a .zip or a notebook"


def _tidy(name: str) -> str:
    """One spelling of a name: macOS writes é as two characters."""
    return unicodedata.normalize("NFC", " ".join(name.split())) or "_"


def _take(student: Student, place: str, path: Path) -> None:
    """Add a file, unless it is one that is not read or too much."""
    parts = PurePosixPath(place).parts
    if ".." in parts:
        student.problems.append(f"{place}: left out, for it leads out of the hand-in")
        return
    if any(STAND_INS.match(part) for part in parts):
        said = f"{place}: left out, for it would stand in for hpkit or Python's start"
        student.problems.append(said)
        return
    if path.suffix.lower() in ARCHIVES:
        said = f"{place}: not read, expected a notebook, a folder or a .zip"
        student.problems.append(said)
        return
    size = student.size + path.stat().st_size
    if len(student.files) >= MOST_FILES or size > MOST_BYTES:
        said = (
            f"more than {MOST_FILES:,} files or {MOST_BYTES:,} bytes: the rest is left"
        )
        if said not in student.problems:
            student.problems.append(said)
        return
    student.files[place] = path
    student.size = size


def _walk(
    source: Path, parts: tuple[str, ...], unpacker: "Unpacker", depth: int = 0
) -> Iterator[tuple[tuple[str, ...], Path | None, str]]:
    """(names around it and its own, file, problem) of each file below a folder or zip.

    An empty folder comes without a file, and a zip under its name without the ".zip".
    """
    name = "/".join(parts)
    if source.is_symlink() and parts:
        yield parts, None, f"{name}: a link, which is not followed"
    elif source.is_dir():
        inside = [path for path in source.iterdir() if not LEFTOVER.match(path.name)]
        if parts and not inside:
            yield (*parts, ""), None, ""
        for path in sorted(inside):
            yield from _walk(path, (*parts, path.name), unpacker, depth)
    elif source.suffix.lower() == ".zip":
        around = (*parts[:-1], source.stem) if parts else ()
        try:
            folder = unpacker.unpack(source, depth, 1 if parts else CLASS)
        except Refused as error:
            if not parts:
                raise
            yield (*around, ""), None, f"{name}: {error}"
            return
        yield from _walk(folder, around, unpacker, depth + 1)
    else:
        yield parts, source, ""


class Unpacker:
    """Unpacks zips, each into a numbered folder of its own."""

    def __init__(self, into: Path) -> None:
        self.into, self.number = into, 0

    def unpack(self, path: Path, depth: int, times: int) -> Path:
        """The folder with the zip's files; Refused where it is not harmless.

        times: how many times what one student may hand in.
        """
        if depth >= DEEPEST:
            raise Refused(f"a zip in {DEEPEST} zips, which is not opened")
        self.number += 1
        folder = self.into / str(self.number)
        folder.mkdir(parents=True)
        try:
            with zipfile.ZipFile(path) as archive:
                for info in _members(archive, times):
                    _extract(archive, info, folder)
        except (*DAMAGED, OSError, UnicodeError, ValueError) as error:
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, Refused):
                raise
            raise Refused(f"not a whole zip file ({error})"[:200]) from error
        return folder


def _members(archive: zipfile.ZipFile, times: int) -> list[zipfile.ZipInfo]:
    """The files to unpack; Refused for paths that lead out, links, and bombs."""
    members, size = [], 0
    for info in archive.infolist():
        parts = info.filename.replace("\\", "/").split("/")
        if ".." in parts or parts[0] == "" or ":" in parts[0]:
            raise Refused(
                f"holds the path {info.filename[:80]!r}, which leads out of it"
            )
        if (info.external_attr >> 16) & 0o170000 == 0o120000:
            raise Refused(f"holds the link {info.filename[:80]!r}, expected files")
        if info.flag_bits & 1:
            raise Refused("needs a password")
        if not any(LEFTOVER.match(part) for part in parts if part):
            members.append(info)
            size += info.file_size
    most, files = MOST_BYTES * times, MOST_FILES * times
    if size > most or len(members) > files:
        raise Refused(
            f"unpacks to {size:,} bytes in {len(members):,} files, expected at most "
            f"{most:,} in {files:,}"
        )
    return members


def _extract(archive: zipfile.ZipFile, info: zipfile.ZipInfo, folder: Path) -> None:
    """Write one member, and no more bytes than the zip's directory says."""
    target = folder.joinpath(*filter(None, info.filename.replace("\\", "/").split("/")))
    if info.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    left = info.file_size
    with archive.open(info) as packed, target.open("wb") as file:
        while block := packed.read(1 << 20):
            left -= len(block)
            if left < 0:
                raise Refused(f"{info.filename[:80]!r} unpacks to more than it says")
            file.write(block)
    with suppress(ValueError, OverflowError, OSError):  # a date that never was
        changed = time.mktime((*info.date_time, 0, 0, -1))
        os.utime(target, (changed, changed))
