"""Marks of a class: whose a hand-in is, what it may do, and what comes of it."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import thirty
from nbformat.v4 import new_code_cell, new_notebook

from hpkit.__main__ import main
from hpkit.book import fence, hand_ins, invigilate, marking, marksheet
from hpkit.book.hand_ins import Student, collect, owner_of
from hpkit.book.invigilate import Limits, Seen, Sitting
from hpkit.book.marking import Chapter, Class, Outcome
from hpkit.lessons import progress

CHAPTERS = ("01_patches", "02_denoiser")
WINDOWS = sys.platform == "win32"


# --- whose it is ----------------------------------------------------------------------


@pytest.mark.parametrize(("place", "name", "number", "inside"), [
    ("anna/01_patches.ipynb", "anna", "", "01_patches.ipynb"),
    ("anna/week 1/x.ipynb", "anna", "", "week 1/x.ipynb"),
    ("Ada Lovelace_1234567_assignsubmission_file_/x.ipynb", "Ada Lovelace", "1234567", "x.ipynb"),
    ("Ada Lovelace_1234567_assignsubmission_file/x.ipynb", "Ada Lovelace", "1234567", "x.ipynb"),
    ("Ada_Lovelace_12_assignsubmission_file_x.ipynb", "Ada_Lovelace", "12", "x.ipynb"),
    ("CV-Homework 1-99/Ada O'Neil_12_assignsubmission_file_/a/x.ipynb", "Ada O'Neil", "12", "a/x.ipynb"),
    ("lovelaceada_12345_678901_01_patches.ipynb", "lovelaceada", "12345", "01_patches.ipynb"),
    ("lovelaceada_LATE_12345_678901_01_patches-1.ipynb", "lovelaceada", "12345", "01_patches-1.ipynb"),
    ("submissions/lovelaceada_1_678901_x.ipynb", "lovelaceada", "1", "x.ipynb"),
    ("anna_2024_01_patches.ipynb", "anna_2024", "", "anna_2024_01_patches.ipynb"),
    ("anna_01_patches.ipynb", "anna", "", "anna_01_patches.ipynb"),
    ("01_patches-anna.ipynb", "anna", "", "01_patches-anna.ipynb"),
    ("01_patches (2) Anna Li.ipynb", "Anna Li", "", "01_patches (2) Anna Li.ipynb"),
    ("02_denoiser (Anna Li).ipynb", "Anna Li", "", "02_denoiser (Anna Li).ipynb"),
    ("group-2.ipynb", "group-2", "", "group-2.ipynb"),
    ("Rene\u0301  B/x.ipynb", "René B", "", "x.ipynb"),
])  # fmt: skip
def test_a_students_name_is_told_rightly(place, name, number, inside):
    owner = owner_of(tuple(place.split("/")), CHAPTERS)
    assert (owner.name, owner.number, owner.place) == (name, number, inside)


@pytest.mark.parametrize("place", [
    "01_patches.ipynb", "01_patches-1.ipynb", "01_patches (1).ipynb", "01_patches-Copy1.ipynb",
    "list of students.xlsx", "README.md",
])  # fmt: skip
def test_what_says_no_name_is_nobodys(place):
    assert owner_of((place,), CHAPTERS) is None


def test_leftovers_are_no_hand_ins_and_what_is_nobodys_is_told(tmp_path):
    folder = tmp_path / "in"
    for name in (*thirty.JUNK, "~$x.docx", "a/.git/config", "a/x.ipynb", "x.txt", "01_patches.ipynb"):
        thirty.file(name, "{}")(folder)
    (folder / "empty").mkdir()
    students, lost = collect(folder, tmp_path / "out", CHAPTERS)
    assert [(one.name, list(one.files)) for one in students] == [("a", ["x.ipynb"]), ("empty", [])]
    assert lost == [
        "01_patches.ipynb: says no student's name; put it into a folder of that name",
        "x.txt: left aside, expected a folder, a .zip or a notebook",
    ]


def test_a_zip_of_the_whole_class_is_as_good_as_its_folder(tmp_path):
    for name in ("anna/x.ipynb", "Ben Bo_7_assignsubmission_file_/x.ipynb", "anna/helper.py"):
        thirty.file(name, name)(tmp_path / "in")
    thirty.zipped("in/carla.zip", **{"x.ipynb": "carla"})(tmp_path)
    made = shutil.make_archive(tmp_path / "all", "zip", tmp_path / "in")
    told = []
    for source in (tmp_path / "in", Path(made)):
        students, lost = collect(source, tmp_path / source.stem / "un", CHAPTERS)
        assert lost == []
        told.append([[s.name, s.number, {k: p.read_text() for k, p in s.files.items()}] for s in students])
    assert told[0] == told[1]
    assert [name for name, *_ in told[0]] == ["Ben Bo", "anna", "carla"]


def link(archive: zipfile.ZipFile) -> None:
    info = zipfile.ZipInfo("link.ipynb")
    info.external_attr = 0o120777 << 16
    archive.writestr(info, "/etc/passwd")


HARMFUL = {
    "which leads out of it": lambda archive: archive.writestr("../../x.ipynb", "{}"),
    "'/etc/x', which leads out": lambda archive: archive.writestr("/etc/x", "{}"),
    "which leads out of it'": lambda archive: archive.writestr("..\\x.ipynb", "{}"),
    "'C:/x', which leads out": lambda archive: archive.writestr("C:/x", "{}"),
    "the link 'link.ipynb'": link,
    "in 2,001 files, expected at most 500,000,000 in 2,000": lambda archive: [
        archive.writestr(f"{number}.txt", "") for number in range(2001)],
}  # fmt: skip


@pytest.mark.parametrize("sentence", HARMFUL)
def test_a_zip_made_to_harm_is_refused_and_nothing_else(sentence, tmp_path):
    (tmp_path / "in").mkdir()
    with zipfile.ZipFile(tmp_path / "in" / "eve.zip", "w") as archive:
        HARMFUL[sentence](archive)
    thirty.file("in/anna/x.ipynb", "{}")(tmp_path)
    (anna, eve), lost = collect(tmp_path / "in", tmp_path / "deep" / "un", CHAPTERS)
    assert (list(anna.files), anna.problems, lost) == (["x.ipynb"], [], [])
    assert eve.files == {} and sentence.strip("'") in eve.problems[0]
    assert not list(tmp_path.rglob("deep/**/*.ipynb")) and not (tmp_path / "x.ipynb").exists()


def test_bombs_cut_zips_and_zips_in_zips_without_end_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(hand_ins, "MOST_BYTES", 100_000)
    thirty.zipped("in/bomb.zip", zeros=bytes(100_001))(tmp_path)
    thirty.zipped("in/liar.zip", zeros=bytes(90_000))(tmp_path)
    liar = tmp_path / "in" / "liar.zip"
    said = (90_000).to_bytes(4, "little")
    liar.write_bytes(liar.read_bytes().replace(said, (90).to_bytes(4, "little")))
    thirty.file("in/cut.zip", b"PK\3\4 and no more")(tmp_path)
    inner = b""
    for number in range(7):
        thirty.zipped(f"{number}.zip", **{"a.zip": inner})(tmp_path)
        inner = (tmp_path / f"{number}.zip").read_bytes()
    thirty.file("in/deep.zip", inner)(tmp_path)
    students, _ = collect(tmp_path / "in", tmp_path / "un", CHAPTERS)
    told = {one.name: one.problems[0] for one in students}
    assert [one.files for one in students] == [{}] * 4
    assert "unpacks to 100,001 bytes" in told["bomb"] and "not a whole zip" in told["cut"]
    assert "a zip in 5 zips" in told["deep"] and "zip" in told["liar"]
    assert sum(path.stat().st_size for path in (tmp_path / "un").rglob("*")) < 100_000


def zip_of_zips(names: list[str], tmp_path: Path) -> dict[str, bytes]:
    """Members of a zip: for each name a zip with 60,000 bytes."""
    thirty.zipped("small.zip", **{"x.ipynb": "{}", "zeros": bytes(60_000)})(tmp_path)
    return dict.fromkeys(names, (tmp_path / "small.zip").read_bytes())


@pytest.mark.parametrize("name", ["{}.zip", "Student{0} X_{0}_assignsubmission_file_/x.zip"])
def test_the_zips_in_one_hand_in_are_one_bomb_together(name, tmp_path, monkeypatch):
    """Fifty zips, each of which is small enough; also where they bear others' names."""
    monkeypatch.setattr(hand_ins, "MOST_BYTES", 200_000)
    names = [name.format(number) for number in range(50)]
    thirty.zipped("in/eve.zip", **zip_of_zips(names, tmp_path))(tmp_path)
    for folder in ("ben/a.zip", "carla/a.zip", "dan/a.zip", "anna/a.zip", "anna/b.zip", "anna/c.zip", "anna/d.zip"):
        thirty.zipped(f"in/{folder}", zeros=bytes(60_000))(tmp_path)
    students, _ = collect(tmp_path / "in", tmp_path / "un", CHAPTERS)
    assert sum(path.stat().st_size for path in (tmp_path / "un").rglob("zeros")) <= (3 + 3 + 3) * 60_000
    told = {one.name: one.problems for one in students}
    assert [told[name] for name in ("ben", "carla", "dan")] == [[]] * 3
    assert len(told["anna"]) == 1 and "d.zip: unpacks to 240,000 bytes" in told["anna"][0]
    refused = [each for name in told if name not in ("ben", "carla", "dan", "anna") for each in told[name]]
    assert len(refused) >= 47 and all("expected at most 200,000 in" in each for each in refused)


def test_the_zips_of_a_class_are_one_bomb_together(tmp_path, monkeypatch):
    monkeypatch.setattr(hand_ins, "MOST_BYTES", 60_000)
    monkeypatch.setattr(hand_ins, "CLASS", 3)
    names = [f"{number}.zip" for number in range(5)]
    thirty.zipped("all.zip", **{name: b"" for name in names})(tmp_path)
    for name in names:
        thirty.zipped(f"in/{name}", zeros=bytes(50_000))(tmp_path)
    students, _ = collect(tmp_path / "in", tmp_path / "un", CHAPTERS)
    assert [bool(one.files) for one in students] == [True] * 3 + [False] * 2


def test_a_zip_whose_names_begin_with_a_dot_is_read(tmp_path):
    """As `zip -r anna.zip ./x` and some file managers write them."""
    members = {"./x.ipynb": "{}", "./a/./helper.py": "", "./.git/config": "", "./": ""}
    thirty.zipped("in/anna.zip", **members)(tmp_path)
    ((anna,), _) = collect(tmp_path / "in", tmp_path / "un", CHAPTERS)
    assert sorted(anna.files) == ["a/helper.py", "x.ipynb"] and anna.problems == []


@pytest.mark.parametrize("place", ["C:/x", "a/C:/x", "./D:x"])
def test_no_path_in_a_zip_names_a_drive(place, tmp_path):
    thirty.zipped("in/eve.zip", **{place: "{}"})(tmp_path)
    ((eve,), _) = collect(tmp_path / "in", tmp_path / "un", CHAPTERS)
    assert eve.files == {} and "which leads out of it" in eve.problems[0]


def owners(tmp_path: Path, *places: str) -> dict[str, list[str]]:
    for place in places:
        thirty.file(f"in/{place}", "{}")(tmp_path)
    students, _ = collect(tmp_path / "in", tmp_path / "un", CHAPTERS)
    return {one.name: sorted(one.files) for one in students}


def test_a_students_own_folder_may_be_named_as_canvas_names_files(tmp_path):
    """Only a folder in which all is named so is a download of the whole class."""
    assert owners(tmp_path, "anna/data_2024_100_a/x.csv", "anna/01_patches.ipynb",
                  "ben/week 1/data_2024_100_a/x.ipynb", "carla/week 1/x.ipynb", "carla/b_1_100_x.ipynb",
                  "submissions/lovelaceada_1_678901_x.ipynb", "submissions/a list.csv",
                  "submissions/hopper_2_678902_hw/x.ipynb") == {
        "anna": ["01_patches.ipynb", "data_2024_100_a/x.csv"], "ben": ["week 1/data_2024_100_a/x.ipynb"],
        "carla": ["b_1_100_x.ipynb", "week 1/x.ipynb"], "submissions": ["a list.csv"],
        "lovelaceada": ["x.ipynb"], "hopper": ["hw/x.ipynb"]}


def test_a_platforms_name_counts_only_near_the_top():
    assert owner_of(("a", "b", "c_1_100_x", "y.ipynb")).name == "a"
    assert owner_of(("a", "b", "C D_1_assignsubmission_file_", "y.ipynb")).name == "a"


@pytest.mark.skipif(WINDOWS, reason="Windows has no named pipes among files")
def test_a_pipe_in_a_hand_in_is_told_and_not_opened(tmp_path):
    thirty.file("in/anna/x.ipynb", "{}")(tmp_path)
    os.mkfifo(tmp_path / "in" / "anna" / "pipe")
    ((anna,), _) = collect(tmp_path / "in", tmp_path / "un", CHAPTERS)
    assert list(anna.files) == ["x.ipynb"] and "pipe: no plain file" in anna.problems[0]


def test_one_notebook_may_be_all_that_was_handed_in(tmp_path):
    thirty.file("anna_01_patches.ipynb", "{}")(tmp_path)
    ((anna,), _) = collect(tmp_path / "anna_01_patches.ipynb", tmp_path / "un", CHAPTERS)
    assert anna.name == "anna"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux takes any bytes for a name")
def test_names_that_are_not_utf_8_stay_two_students(tmp_path):
    for name in (b"Ren\xe9", b"Ren\xe8"):
        os.makedirs(os.fsencode(tmp_path) + b"/in/" + name)
    students, _ = collect(tmp_path / "in", tmp_path / "un", CHAPTERS)
    assert [one.name.encode() for one in students] == [b"Ren\\udce8", b"Ren\\udce9"]


def test_a_hand_in_does_not_bring_its_own_hpkit(tmp_path):
    for name in ("hpkit/__init__.py", "hpkit.py", "sitecustomize.py", "x.ipynb", "a.rar"):
        thirty.file(f"in/anna/{name}", "")(tmp_path)
    ((anna,), _) = collect(tmp_path / "in", tmp_path / "un", CHAPTERS)
    assert list(anna.files) == ["x.ipynb"] and len(anna.problems) == 4


# In Moodle's names, what follows "file_" is a place: here "../checked.jsonl", where
# the results of a hand-in are read.
OUT_OF_IT = "B_1_assignsubmission_file_.."


@pytest.mark.parametrize("around", ["", "anna/"])
def test_a_name_does_not_lead_out_of_a_hand_in(around, tmp_path):
    thirty.file(f"in/{around}{OUT_OF_IT}/checked.jsonl", "forged")(tmp_path)
    students, _ = collect(tmp_path / "in", tmp_path / "un", CHAPTERS)
    assert [one.files for one in students] == [{}]
    assert "left out, for it leads out of the hand-in" in students[0].problems[0]


@pytest.mark.parametrize("place", ["../checked.jsonl", "a/../../x", "/tmp/x"])
def test_a_desk_takes_no_file_beside_the_hand_in(place, tmp_path):
    sitting = Sitting({place: tmp_path / "x"}, "x.ipynb", notebook("1"), None)
    (tmp_path / "x").write_text("forged")
    (tmp_path / "desk").mkdir()
    with pytest.raises(ValueError, match="leads out of the hand-in"):
        invigilate.lay(tmp_path / "desk", sitting)
    assert not (tmp_path / "desk" / "checked.jsonl").exists()


def test_a_student_with_a_whole_environment_is_told_so(tmp_path, monkeypatch):
    monkeypatch.setattr(hand_ins, "MOST_FILES", 3)
    for number in range(5):
        thirty.file(f"in/anna/{number}.txt", "")(tmp_path)
    ((anna,), _) = collect(tmp_path / "in", tmp_path / "un", CHAPTERS)
    assert len(anna.files) == 3 and anna.problems[0].startswith("more than 3 files")


# --- what an exercise's mark is -------------------------------------------------------


ONE = Chapter("01_small", tuple(thirty.RIGHT), None)


def notebook(*cells: str) -> nbformat.NotebookNode:
    return new_notebook(cells=[new_code_cell(cell) for cell in cells])


def line(exercise: str, mark: str, hint: str = "") -> dict[str, str]:
    return {"exercise": exercise, "mark": mark, "hint": hint}


def test_every_exercise_has_a_mark_and_the_last_check_counts():
    cells = notebook("check('positive_pairs', 1)", "x = 1\ncheck( \"overlap_of_larger\", x)",
                     "# check('clean_draw', 1)")
    checked = [line("positive_pairs", "right"), line("positive_pairs", "wrong", "look again")]
    marks, hints = marking.marks_of(ONE, cells, checked)
    assert marks == {"positive_pairs": "wrong", "overlap_of_larger": "not reached",
                     "clean_draw": "taken out"}
    assert hints == {"positive_pairs": "look again"}


@pytest.mark.parametrize("junk", [
    "", "✓ positive_pairs: right", "[]", "null", "[" * 100_000,
    '{"exercise": "positive_pairs"}', '{"exercise": ["x"], "mark": "right", "hint": ""}',
    '{"exercise": "no_such", "mark": "right", "hint": ""}',
    '{"exercise": "positive_pairs", "mark": "best", "hint": ""}',
    '{"exercise": "positive_pairs", "mark": "right", "hint": 3}',
])  # fmt: skip
def test_results_that_check_did_not_write_count_for_nothing(junk):
    good = line("clean_draw", "right")
    found, odd = invigilate.results(f"{json.dumps(good)}\n{junk}\n")
    assert found == [good] and odd == bool(junk)


def test_check_notes_what_it_prints(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HPKIT_CACHE", str(tmp_path))
    path = tmp_path / "checked.jsonl"
    monkeypatch.setenv("HPKIT_CHECKED", str(path))
    for answer in (..., 240, 120):
        progress.check("positive_pairs", answer)
    told, odd = invigilate.results(path.read_text())
    assert odd == 0 and [one["mark"] for one in told] == ["not attempted", "wrong", "right"]
    assert told[1]["hint"] and told[1]["hint"] in capsys.readouterr().out


@pytest.mark.parametrize("left", ["link", "pipe", "folder", "large", "nothing"])
def test_only_plain_files_are_read_from_a_desk(left, tmp_path):
    secret, path = tmp_path / "secret", tmp_path / "executed.ipynb"
    secret.write_text("of another student")
    if left == "link":
        path.symlink_to(secret)
    elif left == "pipe":
        os.mkfifo(path)  # to open it would wait for ever
    elif left == "folder":
        path.mkdir()
    elif left == "large":
        path.write_text("x" * 101)
    assert invigilate.plain_text(path, 100) == ""


def test_the_chapter_is_told_by_its_exercises_or_its_name():
    other = Chapter("02_denoiser", ("halfway_factor", "my_denoiser"), None)
    both = [ONE, other]
    mixed = notebook("check('positive_pairs', 1)", "check('my_denoiser', 1)\ncheck('halfway_factor', 1)")
    assert marking.chapter_of(mixed, "x.ipynb", both) is other
    assert marking.chapter_of(notebook("1"), "a/01_small (1).ipynb", both) is ONE
    assert marking.chapter_of(notebook("1"), "essay.ipynb", both) is None


def test_the_chapters_are_those_of_the_package():
    by_notebook = {c.name: set(c.exercises) for c in marking.chapters_given([])}
    by_module = {name: set(asked) for name, asked in progress.chapters().items()}
    assert {f"ch{name[:2]}": asked for name, asked in by_notebook.items()} == by_module


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe", b"[1, 2]", b'{"cells": 3, "nbformat": 4}'])
def test_what_is_no_notebook_is_one_sentence(content, tmp_path):
    (tmp_path / "x.ipynb").write_bytes(content)
    with pytest.raises(ValueError, match="not a notebook") as raised:
        marking.read_cells(tmp_path / "x.ipynb")
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 200


@pytest.mark.parametrize("cell", [
    "from hpkit.lessons.progress import check, checks", "from hpkit.lessons import progress\nprogress.checks()",
    "import os\nos.environ['HPKIT_CHECKED']", "from hpkit.lessons.exercises.ch01 import EXERCISES",
])  # fmt: skip
def test_a_cell_that_reaches_for_the_marks_is_named(cell):
    assert marking.suspicions(notebook("1", cell))[0].startswith("cell 2 mentions ")


def test_no_chapter_as_it_is_given_out_reaches_for_the_marks():
    for chapter in marking.chapters_given([]):
        assert marking.suspicions(marking.read_cells(chapter.notebook)) == []


# --- the tables -----------------------------------------------------------------------


def test_a_spreadsheet_opens_the_tables_and_executes_nothing(tmp_path):
    students = [Student("=cmd|' /C calc'!A0", "12", "Moodle", problems=["-1+2: odd"]), Student("Zoë")]
    outcome = Outcome({"positive_pairs": "right", "overlap_of_larger": "taken out"},
                      {"positive_pairs": "@SUM(A1)"})
    made = Class(students, [ONE], {("Zoë", "", "01_small"): outcome}, [], "")
    marksheet.write(made, tmp_path)
    for name in ("marks.csv", "grades.csv", "moodle.csv"):
        assert (tmp_path / name).read_bytes().startswith(b"\xef\xbb\xbf")
        table = pd.read_csv(tmp_path / name, encoding="utf-8-sig", dtype=str, keep_default_na=False)
        assert not np.any([[cell.startswith(marksheet.FORMULA) for cell in row] for row in table.to_numpy()])
    marks = pd.read_csv(tmp_path / "marks.csv", keep_default_na=False)
    assert marks.mark.tolist() == ["not handed in"] * 3 + ["right", "taken out", "not handed in"]
    grades = pd.read_csv(tmp_path / "grades.csv")
    assert grades.right.tolist() == [0, 1] and grades.percent.tolist() == [0.0, 33.3]
    moodle = pd.read_csv(tmp_path / "moodle.csv")
    assert moodle.columns.tolist() == ["Identifier", "Full name", "Grade", "Maximum Grade",
                                       "Last modified (grade)"]
    assert moodle.Identifier.tolist() == ["Participant 12"]
    assert "overlap_of_larger was taken out" in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_half_a_character_costs_nobody_the_marks(tmp_path):
    eve = Student("eve", problems=["\udce9.ipynb: not a notebook"])
    outcome = Outcome({"positive_pairs": "right"}, {"positive_pairs": "\ud800"})
    made = Class([eve, Student("anna")], [ONE], {("eve", "", "01_small"): outcome}, [], "")
    marksheet.write(made, tmp_path)
    assert "eve,,01_small,positive_pairs,right,\\ud800" in (tmp_path / "marks.csv").read_text("utf-8-sig")
    assert "\\udce9.ipynb: not a notebook" in (tmp_path / "report.md").read_text("utf-8")


def test_a_class_of_which_nothing_can_be_read_still_gets_its_report(tmp_path, capsys):
    thirty.file("in/anna/x.ipynb", "{")(tmp_path)
    assert main(["marks", str(tmp_path / "in")]) == 0
    assert "no notebook could be read" in capsys.readouterr().out
    assert "x.ipynb: not a notebook" in (tmp_path / "in-marks" / "report.md").read_text()


# --- what a fence keeps in ------------------------------------------------------------


NO_FENCE = pytest.mark.skipif(bool(fence.missing()), reason=f"no fence: {fence.missing()}")


def fenced_python(code: str, tmp_path: Path) -> subprocess.CompletedProcess:
    """What Python code says behind the fence."""
    for name in ("desk", "place"):
        (tmp_path / name).mkdir()
    program = [sys.executable, "-c", code]
    command = fence.fenced(tmp_path / "desk", tmp_path / "place", [], program)
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@NO_FENCE
def test_behind_the_fence_no_server_is_reached_at_its_socket(tmp_path):
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as server:
        server.bind(path := f"{short}/a server")
        server.listen()
        code = f"import socket; socket.socket(socket.AF_UNIX).connect({path!r}); print('reached')"
        done = fenced_python(code, tmp_path)
    assert "reached" not in done.stdout and "Error" in done.stderr


@NO_FENCE
def test_behind_the_fence_no_terminal_is_reached_but_its_own(tmp_path):
    """The device of a pseudo-terminal that is open out here has another number in there."""
    first, second = os.openpty()
    own = [os.stat(name).st_dev for name in ("/dev/pts", "/dev/pts/ptmx")]
    code = ("import os\nprint([os.stat(n).st_dev for n in ('/dev/pts', '/dev/pts/ptmx')])\n"
            "print(os.listdir('/dev/pts'))\nos.openpty()\nprint(os.listdir('/dev/pts'))")
    done = fenced_python(code, tmp_path)
    os.close(first)
    os.close(second)
    devices, before, after = done.stdout.splitlines()
    assert not set(eval(devices)) & set(own), done.stderr
    assert (before, sorted(eval(after))) == ("['ptmx']", ["0", "ptmx"])


def run_code(code: str, desk: Path, patience: float = 0) -> str:
    """Run Python code as a hand-in's process is run; "" or why it did not end well."""
    program = [sys.executable, "-c", code]
    limits = Limits(cell=9, total=9, memory=4)
    return asyncio.run(invigilate._run(program, dict(os.environ), desk, limits, patience))


@pytest.mark.skipif(WINDOWS, reason="Windows has no sessions")
def test_a_hand_in_runs_in_a_session_of_its_own(tmp_path):
    assert run_code("import os; assert os.getsid(0) == os.getpid()", tmp_path) == ""


@pytest.mark.slow
def test_the_desk_runs_no_file_of_the_current_folder(tmp_path):
    """A json.py at the desk is not taken for Python's."""
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong json')")
    program = invigilate._program(tmp_path, "x.ipynb", Limits(9, 9, 4))
    told = invigilate._environment(tmp_path, False, 1)
    done = subprocess.run([*program[:-6], "--help"], env=told, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "the wrong json" not in done.stderr


BEATS = "trap '' TERM; for i in $(seq 300); do date +%N > beat; sleep 0.1; done"


def wait_for(path: Path) -> None:
    until = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < until, f"{path} did not come"
        time.sleep(0.05)


def beats(desk: Path) -> bool:
    """Whether a program at the desk goes on."""
    time.sleep(1)
    (desk / "beat").unlink(missing_ok=True)
    time.sleep(1)
    return (desk / "beat").exists()


async def end_it(program: list[str], desk: Path, patience: float, twice: bool) -> None:
    """Start a program, and end it within a few seconds. twice: that is broken off, too."""
    child = await asyncio.create_subprocess_exec(*program, cwd=desk, start_new_session=True)
    await asyncio.to_thread(wait_for, desk / "beat")
    ending = asyncio.create_task(invigilate._end(child, patience))
    if twice:
        await asyncio.sleep(0.5)
        ending.cancel()
    await asyncio.wait([ending], timeout=8)
    assert ending.done()


@pytest.mark.slow
@NO_FENCE
def test_behind_the_fence_all_ends_at_once(tmp_path):
    for name in ("desk", "place"):
        (tmp_path / name).mkdir()
    desk = tmp_path / "desk"
    program = fence.fenced(desk, tmp_path / "place", [], ["sh", "-c", BEATS])
    asyncio.run(end_it(program, desk, 0, twice=False))
    assert not beats(desk)


@pytest.mark.slow
@pytest.mark.skipif(WINDOWS, reason="Windows has no sh")
def test_a_second_ctrl_c_leaves_nothing_running(tmp_path):
    asyncio.run(end_it(["sh", "-c", BEATS], tmp_path, 60, twice=True))
    assert not beats(tmp_path)


@pytest.mark.slow
@NO_FENCE
def test_what_is_behind_the_fence_ends_where_hpkit_is_killed(tmp_path):
    for name in ("desk", "place"):
        (tmp_path / name).mkdir()
    desk = tmp_path / "desk"
    program = fence.fenced(desk, tmp_path / "place", [], ["sh", "-c", BEATS])
    code = f"import subprocess; subprocess.run({program!r}, start_new_session=True)"
    with subprocess.Popen([sys.executable, "-c", code]) as hpkit:
        wait_for(desk / "beat")
        hpkit.kill()
    assert not beats(desk)


ENDLESS = "open('begun', 'w')\nwhile True: pass"


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(WINDOWS, reason="Windows cannot send Ctrl-C to one process")
@pytest.mark.parametrize("endless", ["the chapter", "a hand-in"])
@pytest.mark.parametrize("how", ["SIGINT", "SIGHUP"])
def test_ctrl_c_and_a_closed_terminal_end_everything(endless, how, tmp_path):
    first = {endless: ENDLESS}
    given = f"given/{thirty.FILE}"
    thirty.file(given, thirty.text(thirty.OPEN, first.get("the chapter", "")))(tmp_path)
    thirty.file(f"in/anna/{thirty.FILE}", thirty.text(first=first.get("a hand-in", "")))(tmp_path)
    command = [sys.executable, "-m", "hpkit", "marks", str(tmp_path / "in"), str(tmp_path / given)]
    with tempfile.TemporaryDirectory() as short:  # a socket's path has 107 bytes at most
        with subprocess.Popen(command, env=os.environ | {"TMPDIR": short},
                              stderr=subprocess.PIPE, text=True) as made:
            until = time.monotonic() + 120
            while not list(Path(short).glob("hpkit-marks-*/desks/*/work/begun")):
                assert time.monotonic() < until and made.poll() is None
                time.sleep(0.1)
            told = "".join(programs_told(short))
            assert "hpkit.book.desk" in told or not sys.platform.startswith("linux")
            made.send_signal(getattr(signal, how))
            _, said = made.communicate(timeout=60)
        assert made.returncode == 130 and "goes on with the rest" in said
        assert list(Path(short).iterdir()) == []
    time.sleep(2)  # a kernel sees within a second that it was left
    assert not programs_told(short)


def programs_told(folder: str) -> list[str]:
    """The programs whose environment names a folder; none on a system without /proc.

    Not those whose command does: another call's fence names every socket that it hides.
    """
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended just now, or is somebody else's
            command = (process / "cmdline").read_bytes()
            if command and folder.encode() in (process / "environ").read_bytes():
                found.append(os.fsdecode(command).replace("\0", " "))
    return found


# --- what is kept of earlier calls ----------------------------------------------------


@pytest.fixture
def room(tmp_path, monkeypatch):
    """Marks a class without running a notebook: (source, *chapters) -> places that ran."""
    ran = []

    async def sit(sitting, *others, keep=None, **options):
        ran.append("given" if keep else sitting.place)
        if keep:
            keep.mkdir(parents=True)
        return Seen(sitting.notebook)

    monkeypatch.setattr(marking, "sit", sit)

    def call(*names: str) -> list[str]:
        ran.clear()
        given = [str(tmp_path / "given" / f"{name}.ipynb") for name in names]
        marking.mark(tmp_path / "in", tmp_path / "out", given, Limits(0, 0, 4), 1)
        return list(ran)

    for name in ("01_small", "02_small"):
        exercise = "positive_pairs" if name == "01_small" else "clean_draw"
        cells = nbformat.writes(notebook(f"check('{exercise}', ...)"))
        for folder in ("given", "in/anna"):
            thirty.file(f"{folder}/{name}.ipynb", cells)(tmp_path)
    return call


def test_only_what_hpkit_keeps_of_these_chapters_is_deleted(room, tmp_path):
    room("01_small", "02_small")
    folder = tmp_path / "out" / "executed" / "anna"
    thirty.file("notes.json", "{}")(folder)
    thirty.file("notes.ipynb", "{}")(folder)
    thirty.file("out/executed/ben/01_small.json", "{}")(tmp_path)  # not hpkit's
    (tmp_path / "out" / "executed" / "of my own").mkdir()
    (tmp_path / "in" / "anna" / "01_small.ipynb").unlink()
    room("02_small")
    notes, both = {"notes.json", "notes.ipynb"}, {"01_small.json", "01_small.ipynb"}
    second = {"02_small.json", "02_small.ipynb"}
    assert {path.name for path in folder.iterdir()} == notes | both | second
    room("01_small", "02_small")
    assert {path.name for path in folder.iterdir()} == notes | second
    assert {path.name for path in folder.parent.iterdir()} == {"anna", "ben", "of my own"}


def test_what_ran_is_kept_until_the_chapter_or_the_fence_is_another(room, tmp_path, monkeypatch):
    assert room("01_small") == ["given", "01_small.ipynb"]
    assert room("01_small") == []
    thirty.file("given/01_small.ipynb", nbformat.writes(
        notebook("an_other = 1", "check('positive_pairs', ...)")))(tmp_path)
    assert room("01_small") == ["given", "01_small.ipynb"]
    there = fence.missing()
    monkeypatch.setattr(fence, "missing", lambda: "" if there else "it is forbidden")
    assert room("01_small") == ["01_small.ipynb"] and room("01_small") == []


def test_what_failed_runs_again(room, monkeypatch):
    async def fails(sitting, *others, keep=None, **options):
        if keep:
            keep.mkdir(parents=True)
        return Seen(sitting.notebook, failed=not keep)

    with monkeypatch.context() as patched:
        patched.setattr(marking, "sit", fails)
        room("01_small")
    assert room("01_small") == ["01_small.ipynb"]


def test_a_file_that_cannot_be_read_costs_only_its_owner_the_marks(room, tmp_path, monkeypatch):
    thirty.file("in/ben/01_small.ipynb", nbformat.writes(notebook("check('positive_pairs', ...)")))(tmp_path)
    sha256 = marking.sha256

    def refuses(path: Path) -> str:
        if "anna" in path.parts:
            raise PermissionError(13, "Permission denied")
        return sha256(path)

    monkeypatch.setattr(marking, "sha256", refuses)
    assert room("01_small") == ["given", "01_small.ipynb"]  # ben's


# --- from the folder to the marks -----------------------------------------------------


def marks_in(out: Path) -> dict[str, list[str]]:
    table = pd.read_csv(out / "marks.csv", dtype=str, keep_default_na=False)
    return table.groupby("student", sort=False).mark.agg(list).to_dict()


TRAINS = ("from hpkit.files import cache_folder\nrun = cache_folder() / 'run'\n"
          "print(run.read_text() if run.exists() else 'trained anew')\nrun.write_text('{}')")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_four_hand_ins_of_which_three_are_broken(tmp_path, capsys):
    """A dead kernel, a file of macOS, a cut one, no file, a fake; then two are taken away."""
    folder, given = tmp_path / "in", tmp_path / "given" / thirty.FILE
    thirty.file(f"given/{thirty.FILE}", thirty.text(thirty.OPEN, TRAINS.format("of the chapter")))(tmp_path)
    odd = {"positive_pairs": "print('x', end='')", "overlap_of_larger": "import os; os._exit(1)"}
    thirty.file(f"=anna/{thirty.FILE}", thirty.text(first=TRAINS.format("of anna"), **odd))(folder)
    thirty.file(f"=anna/._{thirty.FILE}", b"\0\5\x16\7")(folder)
    thirty.file(f"cut/{thirty.FILE}", "{")(folder)
    thirty.zipped("fake.zip", **{thirty.FILE: thirty.text(
        thirty.FIRST_OPEN, TRAINS.format("fake") + ";open('made', 'w')", positive_pairs=thirty.PRINTED)})(folder)
    (folder / "none").mkdir()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    command = ["marks", str(folder), str(given), "--jobs", "2"]
    assert main(command) == 0
    absent = ["not handed in"] * 3
    expected = {"'=anna": ["right", "not reached", "not reached"], "cut": absent,
                "fake": ["not attempted", "right", "right"], "none": absent}
    out = tmp_path / "in-marks"
    assert marks_in(out) == expected
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    for name in ("_anna", "fake"):  # each begins with what the chapter trained
        ran = nbformat.read(out / "executed" / name / thirty.FILE, 4)
        assert ran.cells[1].outputs[0].text.startswith("of the chapter")
    assert (out / "given" / thirty.CHAPTER / "cache" / "run").read_text() == "of the chapter"
    capsys.readouterr()
    shutil.rmtree(folder / "cut")
    (folder / "fake.zip").unlink()
    assert main(command) == 0
    told = capsys.readouterr().out
    assert "[1/1] =anna, 01_small: 1 of 3 right (kept)" in told
    assert marks_in(out) == {name: expected[name] for name in ("'=anna", "none")}
    assert [path.name for path in (out / "executed").iterdir()] == ["_anna"]


@pytest.mark.slow
@pytest.mark.repeats  # the four above, in more kinds
@pytest.mark.timeout(1800)
def test_a_class_of_thirty(tmp_path):
    folder, given, cases = thirty.make(tmp_path)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert main(["marks", str(folder), str(given), "--timeout", "60", "--jobs", "2"]) == 0
    out = tmp_path / "handed_in-marks"
    found = marks_in(out)
    assert {name.lstrip("'"): tuple(marks) for name, marks in found.items()} == {
        case.student: case.marks for case in cases}
    assert len(found) == 30
    report = (out / "report.md").read_text(encoding="utf-8")
    for case in cases:
        _, _, own = report.partition(f"\n### {case.student}")
        assert bool(own) == bool(case.problem), case.student
        assert case.problem in own.partition("\n### ")[0]
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    spied = report.partition("### zz-spy")[2]
    if not fence.missing():
        assert "Network is unreachable" in spied and "AssertionError" not in spied
        assert "FileNotFoundError" in spied or "Read-only file system" in spied
    assert main(["marks", str(folder), str(given), "--timeout", "60", "--jobs", "2"]) == 0
    assert marks_in(out) == found


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_without_a_fence_it_says_so_and_marks_all_the_same(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fence, "missing", lambda: "this system forbids it")
    thirty.file(f"given/{thirty.FILE}", thirty.text(thirty.OPEN))(tmp_path)
    thirty.file(f"in/anna/{thirty.FILE}", thirty.text())(tmp_path)
    given = str(tmp_path / "given" / thirty.FILE)
    assert main(["marks", str(tmp_path / "in"), given]) == 0
    assert "ran with network" in capsys.readouterr().out
    assert marks_in(tmp_path / "in-marks") == {"anna": ["right"] * 3}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_chapter_that_does_not_run_here_marks_nobody(tmp_path, capsys):
    thirty.file(f"given/{thirty.FILE}", thirty.text(thirty.OPEN, "1 / 0"))(tmp_path)
    thirty.file(f"in/anna/{thirty.FILE}", thirty.text())(tmp_path)
    given = str(tmp_path / "given" / thirty.FILE)
    assert main(["marks", str(tmp_path / "in"), given]) == 2
    said = capsys.readouterr().err
    assert "does not run here as it was given out" in said and "ZeroDivisionError" in said
    assert not (tmp_path / "in-marks" / "marks.csv").exists()


@pytest.mark.parametrize(("request_", "sentence"), [
    ("{0}/none", "none: no folder, expected one of STUDENT/"),
    ("{0}/empty", "empty: no hand-ins, expected STUDENT/*.ipynb in it"),
    ("{0}/empty --out {0}/empty/here", "lies among the hand-ins, expected a place outside"),
    (tempfile.gettempdir(), "expected a folder of hand-ins alone"),
    ("{0}/empty {0}/bare.ipynb", "holds no exercise, so there is nothing to mark"),
    ("{0}/empty {0}/odd.ipynb", "odd.ipynb: hpkit has no exercise 'no_such'"),
])  # fmt: skip
def test_a_request_for_marks_that_makes_no_sense_is_one_sentence(request_, sentence, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    nbformat.write(notebook("1"), tmp_path / "bare.ipynb")
    nbformat.write(notebook("check('no_such', 1)"), tmp_path / "odd.ipynb")
    assert main(["marks", *request_.format(tmp_path).split()]) == 2
    out, said = capsys.readouterr()
    assert sentence in said and said.count("\n") == 1 and not out and len(said) <= 320
