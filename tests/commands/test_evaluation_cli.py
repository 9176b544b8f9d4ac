"""`hpkit evaluate`: the official figures, and one sentence for each bad input."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hpkit.__main__ import main
from hpkit.data.patches import PATCH_TYPES

SMALL = Path(__file__).parents[1] / "golden" / "small"
ARGUMENTS = ["--tasks", str(SMALL), "--split", "small"]


def test_command_line_prints_what_the_official_one_prints(capsys):
    assert main(["evaluate", str(SMALL / "descriptors.npz"), *ARGUMENTS]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    figures = [row[-1] for row in rows if "mAP" in row]
    official = (SMALL / "printed_keras.txt").read_text().splitlines()
    assert figures == [line.split()[-1] for line in official if line.startswith("Mean Average")]
    official = [line.split() for line in
                (SMALL / "printed_keras_more_info.txt").read_text().splitlines()]
    tables = [row for row in official if row and row[0] in ("Easy", "Hard", "Tough", "mean")]
    tables = [row for row in tables if row[1][0].isdigit()]
    assert len(tables) == 3 + 4  # verification and retrieval; matching has its levels as columns
    for level, *values in tables:
        assert [level.lower(), *(f"{float(value):.6f}" for value in values)] in rows


@pytest.mark.slow
@pytest.mark.parametrize("delimiter", [",", ";"])
def test_command_line_reads_folders_of_rounded_descriptors(tmp_path, capsys, delimiter):
    """'%10.5f' and ';' is what the coursework's code writes: its scores move by the rounding."""
    with np.load(SMALL / "descriptors.npz") as archive:
        for name in archive:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            np.savetxt(tmp_path / f"{name}.csv", archive[name], "%10.5f", delimiter)
    assert main(["evaluate", str(tmp_path), *ARGUMENTS, "--json", "--device", "cpu"]) == 0
    found = json.loads(capsys.readouterr().out)
    official = json.loads((SMALL / "expected.json").read_text())["printed_by_keras_copy"]
    for task, value in official.items():
        assert found[task] == pytest.approx(float(value), abs=1e-4)


@pytest.mark.slow
def test_command_line_as_a_program():
    command = [sys.executable, "-m", "hpkit", "evaluate", str(SMALL / "descriptors.npz")]
    done = subprocess.run([*command, *ARGUMENTS, "--json", "--splits", str(SMALL / "splits.json")],
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    expected = json.loads((SMALL / "expected.json").read_text())
    assert found["split"] == "small"
    assert found["matching"] == pytest.approx(expected["matching"]["mAP"], abs=1e-9)
    pools = found["tables"]["retrieval, average precision by pool"]["tough"]
    assert pools["100"] == pytest.approx(expected["retrieval"]["level_ap"]["t"]["100"], abs=1e-9)
    failed = subprocess.run([*command, "--tasks", str(SMALL), "--split", "x"],
                            capture_output=True, text=True, timeout=120)
    assert failed.returncode == 2
    assert failed.stdout == ""
    assert len(failed.stderr.splitlines()) == 1 and "unknown split 'x'" in failed.stderr


@pytest.fixture
def small(tmp_path):
    """A copy of the golden set, to be damaged."""
    return shutil.copytree(SMALL, tmp_path / "small")


def rewrite(folder, change):
    with np.load(folder / "descriptors.npz") as archive:
        arrays = {name: archive[name] for name in archive}
    arrays.update(change(arrays))
    arrays = {name: array for name, array in arrays.items() if array is not None}
    np.savez(folder / "descriptors.npz", **arrays)


def not_a_number(arrays):
    array = arrays["v_elm/t2"].copy()
    array[11, 0] = np.nan
    return {"v_elm/t2": array}


DAMAGES = {
    "no array v_elm/e1": lambda f: rewrite(f, lambda a: {"v_elm/e1": None}),
    "v_elm/e1: shape (139, 128), expected (points, values) as ref has: (140, 128)":
        lambda f: rewrite(f, lambda a: {"v_elm/e1": a["v_elm/e1"][1:]}),
    "descriptors of v_elm have 64 values, expected 128 as in i_alder": lambda f: rewrite(
        f, lambda a: {f"v_elm/{t}": a[f"v_elm/{t}"][:, :64] for t in PATCH_TYPES}),
    "the descriptor of v_elm/t2, row 11, is not finite": lambda f: rewrite(f, not_a_number),
    "v_elm/e1 is not an array of numbers": lambda f: rewrite(
        f, lambda a: {"v_elm/e1": np.array([[{}]], dtype=object)}),
    "neither a whole .npz file nor a folder": lambda f: (f / "descriptors.npz").write_text("x"),
    "descriptors.npz: not found": lambda f: (f / "descriptors.npz").unlink(),
    "splits.json: not found": lambda f: (f / "splits.json").unlink(),
    "unknown split 'small', expected one of a": lambda f: (f / "splits.json").write_text(
        '{"a": {"test": ["v_elm"]}}'),
    "splits.json: expected JSON like {split:": lambda f: (f / "splits.json").write_text("{bad"),
    "...}} ('list' object": lambda f: (f / "splits.json").write_text(
        '{"small": ["v_elm"]}'),
    "split 'small' has no test sequences": lambda f: (f / "splits.json").write_text(
        '{"small": {"train": ["v_elm"]}}'),
    "verif_pos_split-small.csv: not found; take the official task files or write your own":
        lambda f: (f / "verif_pos_split-small.csv").unlink(),
    "v_dogwood has 86 points here, and": lambda f: rewrite(
        f, lambda a: {f"v_dogwood/{t}": a[f"v_dogwood/{t}"][:86] for t in PATCH_TYPES}),
}


@pytest.mark.parametrize("sentence", DAMAGES)
def test_command_line_ends_with_one_sentence_and_2(small, capsys, sentence):
    DAMAGES[sentence](small)
    arguments = ["evaluate", str(small / "descriptors.npz"), "--tasks", str(small), "--split", "small"]
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert sentence in err
    assert len(err.splitlines()) == 1
