"""Marks for a class: each hand-in runs at a desk of its own, each exercise gets a mark.

A chapter as it was given out runs first: it shows that the chapter runs here, how long
it takes, and what it trains. Hand-ins begin with a copy of what it trained.
"""

import asyncio
import re
import shutil
import sys
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from itertools import count
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from hpkit.book import fence
from hpkit.book.executed import NOTEBOOKS, find_notebooks
from hpkit.book.hand_ins import Student, collect
from hpkit.book.invigilate import Limits, Seen, Sitting, sit
from hpkit.book.stamps import PACKAGE
from hpkit.files import (
    Damaged,
    file_digests,
    read_json,
    sha256,
    short_digest,
    write_json,
)
from hpkit.lessons.progress import chapters as checks_by_chapter
from hpkit.lessons.progress import checks

TAKEN_OUT = "taken out"  # no cell of the hand-in checks it
NOT_REACHED = "not reached"  # a cell checks it, and no check took place
NOT_HANDED_IN = "not handed in"
RECORD = {"key", "outcome"}  # what is kept of a hand-in
LEAST = 60  # seconds for a cell, however quick the chapter is
TIMES = 3  # as long as the chapter as given
UNKNOWN = 300  # seconds for a cell where there is no chapter to compare with
# What a hand-in needs to read or write its own marks: a person should look at it.
SUSPECT = re.compile(
    r"HPKIT_CHECKED|lessons\.exercises|\bEXERCISES\b|_note_result"
    r"|progress\.check\s*=|progress\.(?:checks|chapters)\b"
    r"|progress import[^\n]*\b(?:checks|chapters)\b"
)


class Chapter(NamedTuple):
    """A notebook that was given out; none where only its checks are here."""

    name: str
    exercises: tuple[str, ...]
    notebook: Path | None


class HandIn(NamedTuple):
    """One notebook that counts: whose, of which chapter, and its place and cells."""

    student: Student
    chapter: Chapter
    place: str
    notebook: nbformat.NotebookNode


@dataclass
class Outcome:
    """What came out of a hand-in. problems: what went wrong, a sentence each."""

    marks: dict[str, str]
    hints: dict[str, str]
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0
    memory: float = 0.0  # gigabytes at most
    kept: bool = False  # from an earlier call


@dataclass
class Class:
    """Everyone's outcomes, by student and chapter; and what belongs to no student."""

    students: list[Student]
    chapters: list[Chapter]
    outcomes: dict[tuple[str, str, str], Outcome]  # name, number, chapter
    lost: list[str]
    unfenced: str  # why there was no fence; "" where there was one


def chapters_given(names: list[str]) -> list[Chapter]:
    """The chapters by name or path as `hpkit book` finds them, or all that there are.

    Raises ValueError for a notebook without exercises or with one that hpkit lacks.
    """
    if not names and not NOTEBOOKS.is_dir():
        found = checks_by_chapter().items()
        return [Chapter(name, tuple(asked), None) for name, asked in found]
    known, found = checks(), []
    for path in find_notebooks(names):
        asked = tuple(_asked(nbformat.read(path, 4)))
        if names and not asked:
            raise ValueError(f"{path}: holds no exercise, so there is nothing to mark")
        if unknown := set(asked) - set(known):
            raise ValueError(f"{path}: hpkit has no exercise {sorted(unknown)[0]!r}")
        if asked:
            found.append(Chapter(path.stem, asked, path))
    return found


def mark(source: Path, out: Path, names: list[str], given: Limits, jobs: int) -> Class:
    """Mark what is in a folder or zip, but for what is marked already in `out`.

    names: the chapters that were given out; all that come back where none is named.
    given: the limits that are asked for; 0 for those that follow from the chapter.
    """
    if not source.exists():
        raise ValueError(f"{source}: no folder, expected one of STUDENT/*.ipynb")
    every = chapters_given(names)
    _check_places(source.resolve(), out)
    with tempfile.TemporaryDirectory(prefix="hpkit-marks-") as work:
        unpacked, desks = Path(work) / "unpacked", Path(work) / "desks"
        desks.mkdir()
        stems = [chapter.name for chapter in every]
        students, lost = collect(source, unpacked, stems)
        found = [each for one in students for each in hand_ins(one, every)]
        if not students:
            raise ValueError(f"{source}: no hand-ins, expected STUDENT/*.ipynb in it")
        taken = {each.chapter.name for each in found}
        chapters = [chapter for chapter in every if names or chapter.name in taken]
        out.mkdir(parents=True, exist_ok=True)
        hidden = [source.resolve(), Path(work).resolve(), out]
        room = Room(out, desks, hidden, given, jobs)
        outcomes = asyncio.run(room.mark_all(chapters, found))
        _prune(out / "executed", stems, found)
    return Class(students, chapters, outcomes, lost, fence.missing())


def _check_places(source: Path, out: Path) -> None:
    """Hand-ins must not see the folder of hand-ins; but hpkit and Python they need."""
    if out.is_relative_to(source):
        raise ValueError(f"{out}: lies among the hand-ins, expected a place outside")
    for needed in (PACKAGE, Path(sys.prefix), Path(tempfile.gettempdir())):
        for hidden in (source, out):
            if needed.resolve().is_relative_to(hidden):
                raise ValueError(
                    f"{hidden}: holds {needed}, expected a folder of hand-ins alone"
                )


def hand_ins(student: Student, chapters: list[Chapter]) -> list[HandIn]:
    """A student's notebooks, one a chapter; problems are noted with the student."""
    found: dict[str, list[HandIn]] = {}
    for place in student.notebooks():
        try:
            notebook = read_cells(student.files[place])
        except ValueError as error:
            student.problems.append(f"{place}: {error}")
            continue
        chapter = chapter_of(notebook, place, chapters)
        if chapter is None:
            student.problems.append(f"{place}: holds no exercise of these chapters")
            continue
        one = HandIn(student, chapter, place, notebook)
        found.setdefault(chapter.name, []).append(one)
    if not student.notebooks() and not student.problems:
        held = ", ".join(sorted(student.files)[:5]) or "nothing"
        student.problems.append(f"no notebook, but {held}")
    return [_newest(copies) for copies in found.values()]


def _newest(copies: list[HandIn]) -> HandIn:
    """The copy with the highest number behind its name, then the last one changed."""

    def rank(one: HandIn) -> tuple[int, float]:
        numbered = re.search(r"(?:\((\d+)\)|-(\d+))$", PurePosixPath(one.place).stem)
        number = int(numbered[1] or numbered[2]) if numbered else 0
        return number, one.student.files[one.place].stat().st_mtime

    *others, newest = sorted(copies, key=rank)
    for other in others:
        said = f"{other.place}: not marked, {newest.place} is the newer one"
        newest.student.problems.append(said)
    return newest


def read_cells(path: Path) -> nbformat.NotebookNode:
    """A notebook's cells without outputs and tags; ValueError for what is none."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
        cells = nbformat.reads(text, 4).cells
        clean = new_notebook()
        for cell in cells:
            new = new_code_cell if cell.cell_type == "code" else new_markdown_cell
            name = cell.get("metadata", {}).get("exercise")
            kept = {"exercise": name} if isinstance(name, str) else {}
            clean.cells.append(new(str(cell.source), metadata=kept))
    except Exception as error:  # what is no notebook fails in many ways
        said = " ".join(f"{type(error).__name__}: {error}".split())[:120]
        raise ValueError(f"not a notebook ({said})") from None
    return clean


def cells_of(chapter: Chapter) -> list[list[str]]:
    """The kinds and texts of a chapter's cells; nothing where it is not here.

    A cell's id is drawn anew each time that it is read.
    """
    if chapter.notebook is None:
        return []
    cells = read_cells(chapter.notebook).cells
    return [[cell.cell_type, cell.source] for cell in cells]


def chapter_of(
    notebook: nbformat.NotebookNode, place: str, chapters: list[Chapter]
) -> Chapter | None:
    """The chapter that most of a notebook's exercises belong to, or by its name."""
    asked = set(_asked(notebook))
    shared = [len(asked & set(chapter.exercises)) for chapter in chapters]
    if any(shared):
        return chapters[shared.index(max(shared))]
    return next((c for c in chapters if c.name in PurePosixPath(place).name), None)


def _asked(notebook: nbformat.NotebookNode) -> list[str]:
    """The exercises of a notebook: named by a cell, or checked by its code."""
    named = [c.metadata["exercise"] for c in notebook.cells if "exercise" in c.metadata]
    return list(dict.fromkeys([*named, *checked_in(notebook)]))


def checked_in(notebook: nbformat.NotebookNode) -> list[str]:
    """The exercises that the code checks; a line that is commented out does not."""
    code = "\n".join(c.source for c in notebook.cells if c.cell_type == "code")
    return re.findall(r"^[^#\n]*\bcheck\(\s*[\"'](\w+)[\"']", code, re.MULTILINE)


class Room:
    """Where hand-ins are run: the desks, and what is kept of earlier calls."""

    def __init__(
        self, out: Path, desks: Path, hidden: list[Path], given: Limits, jobs: int
    ) -> None:
        self.out, self.desks, self.hidden = out, desks, hidden
        self.given, self.jobs = given, jobs
        code = file_digests(PACKAGE.rglob("*.py")).values()
        self.code = short_digest(sorted(code))

    async def mark_all(
        self, chapters: list[Chapter], found: list[HandIn]
    ) -> dict[tuple[str, str, str], Outcome]:
        """Everyone's outcomes; prints a line as each is there."""
        limits = {chapter.name: await self.rehearse(chapter) for chapter in chapters}
        free, number = asyncio.Semaphore(self.jobs), count(1)
        folders = _folders([each.student for each in found])

        async def one(hand_in: HandIn) -> Outcome:
            student, chapter = hand_in.student, hand_in.chapter
            target = self.out / "executed" / folders[student.name, student.number]
            async with free:
                outcome = await self.mark_one(hand_in, target, limits[chapter.name])
            right = list(outcome.marks.values()).count("right")
            print(
                f"[{next(number)}/{len(found)}] {student.name}, {chapter.name}: "
                f"{right} of {len(outcome.marks)} right "
                f"({'kept' if outcome.kept else f'{outcome.seconds:.1f} s'})",
                flush=True,
            )
            return outcome

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(each)) for each in found]
        keys = [(h.student.name, h.student.number, h.chapter.name) for h in found]
        return dict(zip(keys, [task.result() for task in tasks], strict=True))

    async def rehearse(self, chapter: Chapter) -> Limits:
        """Run a chapter as it was given; the limits that follow for its hand-ins.

        Raises ValueError where it does not run: then no hand-in could.
        """
        asked = self.given
        if chapter.notebook is None:
            cell = asked.cell or UNKNOWN
            return replace(asked, cell=cell, total=TIMES * cell)
        record = self.seed(chapter) / "record.json"
        notebook = read_cells(chapter.notebook)
        key = short_digest([self.code, cells_of(chapter), asked.memory])
        known = _read(record)
        if known.get("key") != key:
            seen = await self.run_given(chapter, notebook)
            known = {"key": key, "seconds": seen.seconds, "slowest": seen.slowest}
            write_json(record, known)
        cell = asked.cell or max(LEAST, TIMES * known["slowest"])
        total = max(LEAST, TIMES * known["seconds"]) + 2 * cell
        return replace(asked, cell=cell, total=total)

    async def run_given(
        self, chapter: Chapter, notebook: nbformat.NotebookNode
    ) -> Seen:
        """How the chapter went; what it trained is kept for the hand-ins."""
        print(f"{chapter.name} as it was given out runs first", flush=True)
        place = chapter.notebook.name
        sitting = Sitting({place: chapter.notebook}, place, notebook, None)
        limits = replace(self.given, cell=3600, total=7200)
        keep = self.seed(chapter)
        shutil.rmtree(keep, ignore_errors=True)
        seen = await sit(sitting, self.desks, limits, jobs=1, keep=keep)
        if seen.problems:
            raise ValueError(
                f"{chapter.notebook}: does not run here as it was given out, so no "
                f"hand-in is marked ({seen.problems[0][:150]})"
            )
        return seen

    def seed(self, chapter: Chapter) -> Path:
        """The folder with what a chapter as given trained."""
        return self.out / "given" / chapter.name

    async def mark_one(self, hand_in: HandIn, folder: Path, limits: Limits) -> Outcome:
        """What came of one hand-in, from an earlier call where nothing has changed."""
        record = folder / f"{hand_in.chapter.name}.json"
        try:
            key = self.key_of(hand_in)
            known = _read(record)
            if known.get("key") == key:
                return Outcome(**known["outcome"], kept=True)
            seen = await self.run_one(hand_in, limits)
            outcome = outcome_of(hand_in, seen)
            folder.mkdir(parents=True, exist_ok=True)
            nbformat.write(seen.executed, record.with_suffix(".ipynb"))
            told = asdict(outcome)
            del told["kept"]
            if seen.failed:  # that may have been this computer's fault: run it again
                key = ""
            write_json(record, {"key": key, "outcome": told})
            return outcome
        except Exception as error:  # a full disk, say: the other hand-ins go on
            marks, _ = marks_of(hand_in.chapter, hand_in.notebook, [])
            said = f"hpkit could not mark it ({type(error).__name__}: {error})"
            return Outcome(marks, {}, [said[:300]])

    async def run_one(self, hand_in: HandIn, limits: Limits) -> Seen:
        """Run one hand-in."""
        student, chapter, place, notebook = hand_in
        seed = self.seed(chapter) if chapter.notebook else None
        sitting = Sitting(student.files, place, notebook, seed)
        return await sit(sitting, self.desks, limits, self.jobs, hidden=self.hidden)

    def key_of(self, hand_in: HandIn) -> str:
        """Changes with the files, the chapter, hpkit, the limits, and the fence."""
        student, chapter, place, _ = hand_in
        files = sorted([name, sha256(path)] for name, path in student.files.items())
        who = [student.name, student.number, place, chapter.exercises]
        told = [self.code, who, files, cells_of(chapter), asdict(self.given)]
        return short_digest([*told, bool(fence.missing())])


def outcome_of(hand_in: HandIn, seen: Seen) -> Outcome:
    """A hand-in's marks, and what a person should know of it."""
    marks, hints = marks_of(hand_in.chapter, hand_in.notebook, seen.checked)
    problems = [*seen.problems, *suspicions(hand_in.notebook)]
    return Outcome(marks, hints, problems, seen.seconds, seen.memory)


def marks_of(
    chapter: Chapter, notebook: nbformat.NotebookNode, checked: list[dict[str, str]]
) -> tuple[dict[str, str], dict[str, str]]:
    """A mark for each exercise of the chapter, and the hints; the last check counts."""
    asked, marks, hints = set(checked_in(notebook)), {}, {}
    last = {line["exercise"]: line for line in checked}
    for name in chapter.exercises:
        if name in last:
            marks[name], hints[name] = last[name]["mark"], last[name]["hint"]
        else:
            marks[name] = NOT_REACHED if name in asked else TAKEN_OUT
    return marks, hints


def suspicions(notebook: nbformat.NotebookNode) -> list[str]:
    """Cells that name what marks are made of."""
    found = []
    for number, cell in enumerate(notebook.cells, 1):
        named = SUSPECT.search(cell.source) if cell.cell_type == "code" else None
        if named:
            found.append(f"cell {number} mentions {named[0]}: look at it yourself")
    return found


def _folders(students: list[Student]) -> dict[tuple[str, str], str]:
    """A folder's name for each student, fit for any system."""
    names, used = {}, set()
    for student in students:
        key = (student.name, student.number)
        if key in names:
            continue
        plain = re.sub(r"[^\w .,()-]", "_", " ".join(filter(None, key)))[:80]
        plain = plain.strip(" .") or "_"
        free = (plain if n == 1 else f"{plain} ({n})" for n in count(1))
        names[key] = next(name for name in free if name.casefold() not in used)
        used.add(names[key].casefold())
    return names


def _prune(executed: Path, chapters: list[str], found: list[HandIn]) -> None:
    """Delete what hpkit kept of these chapters and what is no longer handed in.

    Other chapters' results stay, and so does whatever else lies in these folders.
    """
    folders = _folders([each.student for each in found])
    current = {
        (folders[each.student.name, each.student.number], each.chapter.name)
        for each in found
    }
    for record in executed.glob("*/*.json"):
        gone = (record.parent.name, record.stem) not in current
        if gone and record.stem in chapters and _read(record).keys() >= RECORD:
            record.unlink()
            record.with_suffix(".ipynb").unlink(missing_ok=True)
            with suppress(OSError):  # it holds more
                record.parent.rmdir()


def _read(record: Path) -> dict:
    """A record of an earlier call; empty where there is none, or a damaged one."""
    try:
        return read_json(record)
    except (Damaged, OSError):
        return {}
