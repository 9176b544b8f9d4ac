"""`hpkit`: one command, whose help fits a screen and whose refusals are a sentence."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pandas as pd
import pytest

import hpkit
from hpkit.__main__ import COMMANDS, main
from hpkit.book.colab import pack
from hpkit.commands.record import KINDS
from hpkit.experiments.configs import DenoiserConfig
from hpkit.record import reference

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
RECORDING = [f"record {kind}" for kind in KINDS]


def test_the_help_fits_a_screen_and_names_every_command(capsys):
    for asked in ([], ["-h"], ["--help"]):
        assert main(asked) == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) <= 24 and max(map(len, lines)) <= 80
        assert all(any(f"  {name} " in line for line in lines) for name in COMMANDS)


@pytest.mark.parametrize("command", [*COMMANDS, *RECORDING])
def test_every_command_has_a_help_with_an_example(command, capsys):
    assert main([*command.split(), "--help"]) == 0
    told = capsys.readouterr().out
    assert "example" in told and f"\n  hpkit {command}" in told
    assert told.startswith(f"usage: hpkit {command} ")
    assert len(told.splitlines()) <= 34 and max(map(len, told.splitlines())) <= 88


def test_the_record_command_names_everything_that_can_be_recorded(capsys):
    assert main(["record"]) == 0
    told = capsys.readouterr().out
    assert all(f"\n  {kind} " in told for kind in KINDS)


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        ("bok", "hpkit: no command 'bok', expected one of match, book, site, "),
        ("match a.jpg", "hpkit match: the following arguments are required: B"),
        ("match a.jpg b.jpg", "hpkit match: a.jpg: not found"),
        ("match a.jpg b.jpg --number 4", "--number is 4, expected at least 5"),
        ("match a.jpg b.jpg --number x", "argument --number: invalid int value: 'x'"),
        ("match a.jpg b.jpg --ratio 1.5", "--ratio is 1.5, expected over 0 and at most"),
        ("match a.jpg b.jpg --ratio nan", "--ratio is nan, expected over 0 and at most"),
        ("match a.jpg b.jpg --out m.gif2", "--out is m.gif2, expected it to end in .png,"),
        ("match a.jpg b.jpg --out no/m.png", "--out is no/m.png: no is no folder"),
        ("--hlep", "hpkit: no command '--hlep', expected one of "),
        ("book --jobs 0", "hpkit book: argument --jobs: invalid choice: 0 "),
        ("book 99_none", "99_none.ipynb: no such notebook"),
        ("site 99_none", "99_none.ipynb: no such notebook"),
        ("download photos", "hpkit download: argument what: invalid choice: photos"),
        ("export", "hpkit export: the following arguments are required: FILE"),
        ("export a.onnx --network x", "hpkit export: argument --network: invalid choi"),
        ("evaluate d.npz", "hpkit evaluate: the following arguments are required: --t"),
        ("class one two", "hpkit class: unrecognized arguments: two"),
        ("marks", "hpkit marks: the following arguments are required: FOLDER"),
        ("marks nowhere", "hpkit marks: nowhere: no folder, expected one of STUDENT/"),
        ("colab --repo hpkit", "hpkit colab: 'hpkit': expected OWNER/NAME, as on Git"),
        ("record photos", "hpkit record: nothing recorded is called 'photos': expect"),
        ("record reference --stages 11", "argument --stages: invalid choice: 11"),
        ("record clinic 13", "hpkit record: argument PATIENT: invalid choice: 13"),
        ("record graf nowhere", "nowhere: expected graf1.png, graf3.png and H1to3p.xm"),
        ("record keypoints", "the following arguments are required: data"),
    ],
)
def test_a_request_that_makes_no_sense_is_one_sentence(request_, sentence, capsys):
    assert main(request_.split()) == 2
    out, said = capsys.readouterr()
    # Newer Pythons put a number in quotes, too.
    said = re.sub(r"invalid choice: '(.*?)' ", r"invalid choice: \1 ", said)
    assert sentence in said and said.count("\n") == 1 and not out


def test_the_version_is_that_of_the_project(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"{hpkit.__version__}\n"
    assert PROJECT["project"]["version"] == hpkit.__version__


def test_python_says_the_same_and_gives_the_exit_status():
    status = []
    for request in (["--version"], ["nothing"]):
        command = [sys.executable, "-m", "hpkit", *request]
        status.append(subprocess.run(command, cwd=ROOT, capture_output=True).returncode)
    assert status == [0, 2]
    assert PROJECT["project"]["scripts"] == {"hpkit": "hpkit.__main__:main"}


# --- what is installed ----------------------------------------------------------------


def test_every_folder_with_code_is_a_package_that_is_installed():
    folders = {path.parent for path in ROOT.glob("hpkit/**/*.py")}
    names = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    listed = PROJECT["tool"]["setuptools"]["packages"]
    assert set(listed) == names | {"hpkit.results"} and listed == sorted(listed)


def test_every_file_beside_the_code_is_installed():
    patterns = PROJECT["tool"]["setuptools"]["package-data"]
    found = set()
    for package, names in patterns.items():
        for pattern in names:
            found |= set(ROOT.joinpath(*package.split(".")).glob(pattern))
    files = {path for path in ROOT.glob("hpkit/**/*") if path.is_file()}
    assert found == {path for path in files if path.suffix not in (".py", ".pyc")}


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_wheel_has_everything_and_says_where_it_needs_the_repository(tmp_path):
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", str(pack(ROOT, tmp_path))]
    command += ["--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(tmp_path)]
    subprocess.run(command, check=True)
    (wheel,) = tmp_path.glob("hpkit-*.whl")
    code = (
        "import importlib, pkgutil, hpkit\n"
        "for module in pkgutil.walk_packages(hpkit.__path__, 'hpkit.'):\n"
        "    if module.name != 'hpkit.__main__':\n"
        "        importlib.import_module(module.name)\n"
        "from hpkit.experiments.arms import recorded\n"
        "from hpkit.__main__ import main\n"
        "assert len(recorded('denoisers')) and hpkit.pretrained()\n"
        "print(hpkit.__file__, main(['record', 'matching']), main(['class']))"
    )
    (tmp_path / "site").mkdir()
    (tmp_path / "empty").mkdir()
    unpack = [sys.executable, "-m", "zipfile", "-e", str(wheel), str(tmp_path / "site")]
    subprocess.run(unpack, check=True)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path / "empty",
        env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
    )
    assert done.stdout == f"{tmp_path / 'site' / 'hpkit' / '__init__.py'} 2 2\n"
    said = done.stderr.splitlines()
    assert len(said) == 2 and all("this needs hpkit's repository" in s for s in said)
    assert not list((tmp_path / "empty").iterdir())


# --- what is recorded -----------------------------------------------------------------


def test_a_run_that_only_scores_differently_adds_a_row_but_no_second_history(tmp_path):
    config = DenoiserConfig(device="cpu", precision="float32", threads=1).resolved()
    curve = {"key": "abc", "epoch": [1, 2], "loss": [2.0, 1.0], "val_loss": 1.5}
    history = pd.DataFrame({**curve, "seconds": [3.0, 4.0]})
    for test_mae in (6.5, 7.5):
        row = {**config.row(), "test_mae": test_mae, "key": "abc"}
        reference.add(tmp_path, config, row, history.assign(seconds=test_mae))
    rows = pd.read_csv(tmp_path / "denoisers.csv")
    assert rows.test_mae.tolist() == [6.5, 7.5]
    assert reference.done(tmp_path, DenoiserConfig) == {reference.identity(config)}
    kept = pd.read_csv(tmp_path / "histories.csv")
    assert kept.epoch.tolist() == [1, 2] and (kept.seconds == 6.5).all()


@pytest.mark.parametrize(("options", "stages", "questions"), [
    ([], reference.USUAL, reference.QUESTIONS),
    (["--stages", "1", "2"], [1, 2], reference.QUESTIONS),
    (["--questions", "depth", "batch size"], [9], ["depth", "batch size"])])
def test_what_is_recorded_is_what_was_asked_for(options, stages, questions, monkeypatch):
    made = []
    monkeypatch.setattr(reference, "record", lambda **given: made.append(given))
    assert main(["record", "reference", "--device", "cpu", "--workers", "3", *options]) == 0
    assert made == [{"stages": stages, "questions": questions, "device": "cpu", "workers": 3,
                     "threads": 1}]


def test_the_runs_of_a_question_have_one_precision_on_any_machine(tmp_path):
    todo = reference.missing(tmp_path, reference.configs([9], ["depth"]), "cpu", 1)
    assert {config.depth for config in todo} == {4, 8} and len(todo) == 16
    assert {config.precision for config in todo} == {"float32"}
    with pytest.raises(ValueError, match="no question 'width': expected one of optimizers, depth"):
        list(reference.configs([9], ["width"]))


def test_a_run_on_another_machine_is_not_made_again(tmp_path):
    todo = reference.missing(tmp_path, reference.configs([3]), "cpu", 1)
    assert len(set(map(reference.identity, todo))) == len(todo) > 30
    rows = [config.row() | {"precision": "bfloat16", "threads": 2} for config in todo]
    for kind, (name, *_) in reference.FILES.items():
        table = [
            r for r, config in zip(rows, todo, strict=True) if type(config) is kind
        ]
        pd.DataFrame(table).to_csv(tmp_path / f"{name}.csv", index=False)
    assert reference.missing(tmp_path, reference.configs([3]), "cpu", 1) == []
