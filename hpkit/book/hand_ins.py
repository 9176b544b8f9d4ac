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
from collections import Counter
from collections.abc import Container, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from hpkit.data.archives import DAMAGED

MOST_FILES = 2_000  # of one student; more is a copied environment, not a hand-in
MOST_BYTES = 500_000_000  # of one student, unpacked
CLASS = 100  # times as much in all hand-ins together
PLATFORM_DEPTH = 2  # folders: a platform names what it gives, or what is in that
EVERYONE = ()  # whose a zip of all hand-ins is
DRIVE = re.compile(r"[A-Za-z]:")  # on Windows, it begins a path of its own
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
    students, lost, known = {}, [], tuple(chapters)
    found = list(_walk(source, (), Unpacker(into)))
    own = students_own(parts for parts, _, _ in found)
    for parts, path, problem in found:
        owner = owner_of(parts, known, own)
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


def students_own(places: Iterable[tuple[str, ...]]) -> set[str]:
    """The outermost folders that are a student's own, and no download of a class.

    In a download, each notebook and each folder is named by the platform.
    """
    own = set()
    for outermost, *inside in places:
        work = len(inside) > 1 or (inside and inside[0].lower().endswith(".ipynb"))
        if work and not _platform(inside[0]):
            own.add(outermost)
    return own


def owner_of(
    parts: tuple[str, ...],
    chapters: tuple[str, ...] = (),
    own: Container[str] = (),
) -> Owner | None:
    """Whose file this is, by the names of the folders and zips around it, and its own.

    own: the outermost folders that are a student's own. None for a file that lies in no
    folder and whose name is only a chapter's.
    """
    for depth, part in enumerate(parts[: 1 if parts[0] in own else PLATFORM_DEPTH]):
        if platform := _platform(part):
            name, found = platform
            place = "/".join(filter(None, [found["rest"], *parts[depth + 1 :]]))
            return Owner(_tidy(found["name"]), found["number"], name, place)
    if len(parts) > 1:
        return Owner(_tidy(parts[0]), "", "", "/".join(parts[1:]))
    name, _, ending = parts[0].rpartition(".")
    for chapter in chapters:
        name = re.sub(rf"{re.escape(chapter)}{COPY}", "", name)
    name = name.strip(" _-.()")
    if not name or ending.lower() != "ipynb":
        return None
    return Owner(_tidy(name), "", "", parts[0])


def _platform(name: str) -> tuple[str, re.Match[str]] | None:
    """The platform that gave a file or a folder its name, and the parts of the name."""
    for platform, pattern in (("Moodle", MOODLE), ("Canvas", CANVAS)):
        if found := pattern.fullmatch(name):
            return platform, found
    return None


def _nobodys(place: str) -> str:
    if place.lower().endswith(".ipynb"):
        return f"{place}: says no student's name; put it into a folder of that name"
    return f"{place}: left aside, expected a folder, a .zip or a notebook"


def _tidy(name: str) -> str:
    """One spelling of a name, fit for UTF-8: macOS writes é as two characters."""
    plain = name.encode("utf-8", "backslashreplace").decode()
    return unicodedata.normalize("NFC", " ".join(plain.split())) or "_"


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
    source: Path,
    parts: tuple[str, ...],
    unpacker: "Unpacker",
    depth: int = 0,
    hand_in: tuple[str, ...] = EVERYONE,
) -> Iterator[tuple[tuple[str, ...], Path | None, str]]:
    """(names around it and its own, file, problem) of each file below a folder or zip.

    An empty folder comes without a file, and a zip under its name without the ".zip".
    hand_in: the names that say whose the zip around it is.
    """
    name = "/".join(parts)
    if source.is_symlink() and parts:
        yield parts, None, f"{name}: a link, which is not followed"
    elif source.is_dir():
        try:
            inside = _inside(source)
        except OSError as error:
            if not parts:
                raise
            yield parts, None, f"{name}: cannot be read ({error.strerror})"
            return
        if parts and not inside:
            yield (*parts, ""), None, ""
        for path in inside:
            yield from _walk(path, (*parts, path.name), unpacker, depth, hand_in)
    elif not source.is_file():  # to open a pipe would wait for ever
        yield parts or (source.name,), None, f"{name}: no plain file, and not read"
    elif source.suffix.lower() == ".zip":
        yield from _walk_zip(source, parts, unpacker, depth, hand_in)
    else:
        yield parts or (source.name,), source, ""


def _inside(folder: Path) -> list[Path]:
    """What is in a folder, in order, but for leftovers."""
    return sorted(path for path in folder.iterdir() if not LEFTOVER.match(path.name))


def _walk_zip(
    source: Path,
    parts: tuple[str, ...],
    unpacker: "Unpacker",
    depth: int,
    hand_in: tuple[str, ...],
) -> Iterator[tuple[tuple[str, ...], Path | None, str]]:
    """As `_walk`, for what is in a zip."""
    around = (*parts[:-1], source.stem) if parts else ()
    # What a zip holds is its owner's, whatever names are in it.
    hand_in = hand_in or _named(around)
    try:
        folder = unpacker.unpack(source, depth, hand_in)
    except Refused as error:
        if not parts:
            raise
        yield (*around, ""), None, f"{'/'.join(parts)}: {error}"
        return
    yield from _walk(folder, around, unpacker, depth + 1, hand_in)


def _named(parts: tuple[str, ...]) -> tuple[str, ...]:
    """The names that say whose a zip is: the first ones, up to one of a platform."""
    for depth in range(min(len(parts), PLATFORM_DEPTH)):
        if _platform(parts[depth]):
            return parts[: depth + 1]
    return parts[:1]


class Unpacker:
    """Unpacks zips, each into a numbered folder of its own, and counts what is in them.

    It counts for each hand-in and for all: zips in zips add up.
    """

    def __init__(self, into: Path) -> None:
        self.into, self.number = into, 0
        self.size: Counter[tuple[str, ...]] = Counter()
        self.files: Counter[tuple[str, ...]] = Counter()

    def unpack(self, path: Path, depth: int, hand_in: tuple[str, ...]) -> Path:
        """The folder with the zip's files; Refused where it is not harmless.

        hand_in: the names that tell whose it is; EVERYONE for a zip of all hand-ins.
        """
        if depth >= DEEPEST:
            raise Refused(f"a zip in {DEEPEST} zips, which is not opened")
        self.number += 1
        folder = self.into / str(self.number)
        folder.mkdir(parents=True)
        try:
            with zipfile.ZipFile(path) as archive:
                members = _members(archive)
                self.count(members, hand_in)
                for info in members:
                    _extract(archive, info, folder)
        except (*DAMAGED, OSError, UnicodeError, ValueError) as error:
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, Refused):
                raise
            raise Refused(f"not a whole zip file ({error})"[:200]) from error
        return folder

    def count(self, members: list[zipfile.ZipInfo], hand_in: tuple[str, ...]) -> None:
        """Count a zip's files; Refused where its hand-in, or all, become too large."""
        limits = {hand_in: 1, EVERYONE: CLASS}
        size = sum(info.file_size for info in members)
        for whose, times in limits.items():
            most, files = MOST_BYTES * times, MOST_FILES * times
            now, number = self.size[whose] + size, self.files[whose] + len(members)
            if now > most or number > files:
                raise Refused(
                    f"unpacks to {now:,} bytes in {number:,} files, expected at most "
                    f"{most:,} in {files:,}, the zips before it included"
                )
        for whose in limits:
            self.size[whose] += size
            self.files[whose] += len(members)


def _members(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The files to unpack; Refused for paths that lead out, and for links."""
    members = []
    for info in archive.infolist():
        parts = info.filename.replace("\\", "/").split("/")
        if ".." in parts or parts[0] == "" or any(DRIVE.match(part) for part in parts):
            raise Refused(
                f"holds the path {info.filename[:80]!r}, which leads out of it"
            )
        if (info.external_attr >> 16) & 0o170000 == 0o120000:
            raise Refused(f"holds the link {info.filename[:80]!r}, expected files")
        if info.flag_bits & 1:
            raise Refused("needs a password")
        named = [part for part in parts if part not in ("", ".")]
        if named and not any(LEFTOVER.match(part) for part in named):
            members.append(info)
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
