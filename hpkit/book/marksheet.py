"""Marks as tables that a spreadsheet opens, and as a report to read."""

from pathlib import Path

import pandas as pd

from hpkit.book.hand_ins import Student
from hpkit.book.marking import NOT_HANDED_IN, NOT_REACHED, TAKEN_OUT, Class, Outcome
from hpkit.files import write_whole
from hpkit.lessons.progress import NOT_ATTEMPTED, RIGHT, WRONG

SIGNS = {
    RIGHT: "✓",
    WRONG: "✗",
    NOT_ATTEMPTED: "–",
    NOT_REACHED: "?",
    TAKEN_OUT: "0",
    NOT_HANDED_IN: "",
}
UNFIT = "backslashreplace"  # half a character in one hint costs nobody the marks
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a cell begins that Excel would execute


def write(made: Class, out: Path) -> list[Path]:
    """Write the tables and the report; their paths.

    marks.csv has a row for each student and exercise, grades.csv one for each student.
    moodle.csv is there where names of files say that they come from Moodle.
    """
    rows, totals = marks_table(made), grades_table(made)
    files = {
        "marks.csv": csv(rows),
        "grades.csv": csv(totals),
        "report.md": report(made, totals).encode("utf-8", UNFIT),
    }
    if any(student.platform == "Moodle" for student in made.students):
        files["moodle.csv"] = csv(moodle_table(made, totals))
    for name in ("marks.csv", "grades.csv", "moodle.csv", "report.md"):
        if name in files:
            write_whole(out / name, files[name])
        else:
            (out / name).unlink(missing_ok=True)
    return [out / name for name in files]


def csv(table: pd.DataFrame) -> bytes:
    """A table as Excel opens it: UTF-8 that says so, and no text that is a formula."""
    text = table.map(harmless).to_csv(index=False)
    return text.encode("utf-8-sig", UNFIT)


def harmless(value: object) -> object:
    """A text that begins as a formula does gets an apostrophe before it."""
    if isinstance(value, str) and value.lstrip(" ").startswith(FORMULA):
        return f"'{value}"
    return value


def marks_table(made: Class) -> pd.DataFrame:
    """A row for each student and each exercise of each chapter."""
    rows = []
    for student in made.students:
        for chapter in made.chapters:
            outcome = _outcome(made, student, chapter.name)
            for exercise in chapter.exercises:
                rows.append(
                    {
                        "student": student.name,
                        "number": student.number,
                        "notebook": chapter.name,
                        "exercise": exercise,
                        "mark": outcome.marks.get(exercise, NOT_HANDED_IN),
                        "hint": outcome.hints.get(exercise, ""),
                    }
                )
    columns = ["student", "number", "notebook", "exercise", "mark", "hint"]
    return pd.DataFrame(rows, columns=columns)


def grades_table(made: Class) -> pd.DataFrame:
    """A row for each student: what is right of all exercises of the chapters."""
    asked = sum(len(chapter.exercises) for chapter in made.chapters)
    rows = []
    for student in made.students:
        row = {"student": student.name, "number": student.number}
        for chapter in made.chapters:
            marks = _outcome(made, student, chapter.name).marks
            row[chapter.name] = list(marks.values()).count(RIGHT)
        right = sum(row[chapter.name] for chapter in made.chapters)
        row |= {"right": right, "exercises": asked}
        row["percent"] = round(100 * right / max(asked, 1), 1)
        row["problems"] = len(problems(made, student))
        rows.append(row)
    return pd.DataFrame(rows)


def moodle_table(made: Class, grades: pd.DataFrame) -> pd.DataFrame:
    """The columns of Moodle's grading worksheet; 100 where all is right.

    Without its column of comments: an empty one would delete those that are there.
    """
    rows = []
    for student, percent in zip(made.students, grades.percent, strict=True):
        if student.platform == "Moodle":
            row = {"Identifier": f"Participant {student.number}"}
            row |= {"Full name": student.name, "Grade": percent}
            row |= {"Maximum Grade": 100, "Last modified (grade)": ""}
            rows.append(row)
    return pd.DataFrame(rows)


def problems(made: Class, student: Student) -> list[str]:
    """What went wrong with a student's files, then with each chapter."""
    found = list(student.problems)
    for chapter in made.chapters:
        outcome = _outcome(made, student, chapter.name)
        gone = [name for name, mark in outcome.marks.items() if mark == TAKEN_OUT]
        said = [*outcome.problems, *(f"{name} was taken out" for name in gone)]
        found += [f"{chapter.name}, {problem}" for problem in said]
    return found


def signs(made: Class) -> str:
    """A line of signs for each student, and what they mean."""
    table = marks_table(made)
    if table.empty:
        return "no notebook could be read; report.md says why"
    table["mark"] = table.mark.map(SIGNS)
    table["student"] = table.student + (" " + table.number).str.rstrip()
    order = list(dict.fromkeys(zip(table.notebook, table.exercise, strict=True)))
    wide = table.pivot_table("mark", "student", ["notebook", "exercise"], "last")
    means = [f"{sign} {mark}" for mark, sign in SIGNS.items() if sign]
    shown = wide[order].fillna("").to_string(index_names=False)
    return f"{shown}\n\n{', '.join(means)}"


def report(made: Class, grades: pd.DataFrame) -> str:
    """What went wrong for each student, in Markdown."""
    chapters = ", ".join(chapter.name for chapter in made.chapters) or "no chapter"
    lines = ["# Marks", "", f"{len(made.students)} students, {chapters}.", ""]
    lines += [fence_told(made), "", "## What went wrong", ""]
    smooth = []
    for student, row in zip(made.students, grades.itertuples(), strict=True):
        found = problems(made, student)
        if not found:
            smooth.append(_called(student))
            continue
        share = f"{row.right} of {row.exercises} right"
        lines += [f"### {_called(student)}: {share}", ""]
        lines += [*(f"- {_one_line(problem)}" for problem in found), ""]
    lines += [f"Nothing for: {', '.join(smooth) or 'nobody'}.", ""]
    if made.lost:
        lines += ["## Files that belong to no student", ""]
        lines += [*(f"- {_one_line(each)}" for each in made.lost), ""]
    return "\n".join(lines)


def fence_told(made: Class) -> str:
    """Whether hand-ins were kept apart, in a sentence."""
    if made.unfenced:
        return (
            "The hand-ins ran with network and could read this computer's files, each "
            f"other's included: {made.unfenced}."
        )
    return (
        "The hand-ins ran without network, could write to their own copies alone, and "
        "saw none of the others."
    )


def _outcome(made: Class, student: Student, chapter: str) -> Outcome:
    key = (student.name, student.number, chapter)
    return made.outcomes.get(key, Outcome({}, {}))


def _called(student: Student) -> str:
    return f"{student.name} ({student.number})" if student.number else student.name


def _one_line(text: str) -> str:
    return " ".join(text.split())
