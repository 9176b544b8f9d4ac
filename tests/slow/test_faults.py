"""The notebooks guard what they teach: with a mistake in the package, re-running one fails."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

ROOT = Path(__file__).parents[2]
# Which mistakes each notebook has to notice; tests/faults/faults.py says what they are.
FAULTS = {
    "00_first_match": ["mutual_forgotten"],
    "01_patches": ["columns_swapped", "leaked_photo", "source_ignored"],
    "02_denoiser": ["noise_twice"],
    "03_descriptor": ["sum_for_mean"],
    "04_evaluation": ["step_average_precision"],
    "05_optimizers": ["torch_epsilon"],
    "06_depth": ["padded_before"],
    "07_initializers": ["truncation_forgotten"],
    "08_batch_size": ["summed_over_batch"],
    "09_clean_vs_denoised": ["normal_for_t"],
    "10_final_model": ["base_forgotten"],
    "11_modifications": ["rows_alone"],
    "12_match_photos": ["mutual_forgotten", "angles_mirrored"],
    "13_clinic": ["eval_forgotten"],
    "14_inside": ["eval_forgotten"],
    "15_today": ["mutual_forgotten"],
}
LONG = {"sum_for_mean", "normal_for_t"}  # minutes of training go before the red cell
CASES = [
    pytest.param(notebook, fault, marks=[pytest.mark.repeats] if fault in LONG else [])
    for notebook, faults in FAULTS.items() for fault in faults
]


def rerun(notebook: Path, fault: str) -> subprocess.CompletedProcess:
    """nbval's run of a notebook with this mistake ("" for none), ended at its first red cell.

    With a run store of its own: what was trained without the mistake must not hide it.
    """
    options = ["--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=300", "-x"]
    options += [f"--nbval-sanitize-with={ROOT / 'tests' / 'nbval_sanitize.cfg'}"]
    options += ["-p", "no:cacheprovider", "--color=no"]
    command = [sys.executable, "-m", "pytest", *options, str(notebook)]
    with tempfile.TemporaryDirectory() as store:
        search = os.pathsep.join(map(str, (ROOT / "tests" / "faults", ROOT)))
        environment = os.environ | {"HPKIT_FAULT": fault, "HPKIT_RUNS": store,
                                    "PYTHONPATH": search}
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def check_turns_red(notebook: Path, fault: str) -> None:
    """Red because a cell failed (pytest ends with 1), not because nothing could run."""
    run = rerun(notebook, fault)
    assert run.returncode == 1, f"{notebook.name} did not notice {fault}:\n{run.stdout[-2000:]}"
    assert "Notebook cell execution failed" in run.stdout, run.stdout[-2000:]
    assert "has no attribute" not in run.stdout, f"{fault} could not be put in"


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("notebook", "fault"), CASES)
def test_notebook_notices(notebook, fault):
    check_turns_red(ROOT / "notebooks" / f"{notebook}.ipynb", fault)


def test_every_notebook_has_a_fault():
    committed = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert committed == {notebook for notebook, faults in FAULTS.items() if faults}


@pytest.mark.timeout(120)
def test_a_fault_turns_a_toy_notebook_red_and_only_the_fault_does(tmp_path):
    cell = new_code_cell(
        "from hpkit.evaluation.precision import average_precision\n"
        "assert abs(average_precision([3, 2, 1], [1, 0, 1]) - 0.7917) < 1e-4"
    )
    nbformat.write(new_notebook(cells=[cell]), tmp_path / "toy.ipynb")
    assert rerun(tmp_path / "toy.ipynb", "").returncode == 0
    check_turns_red(tmp_path / "toy.ipynb", "step_average_precision")
    with pytest.raises(AssertionError, match="did not notice columns_swapped"):
        check_turns_red(tmp_path / "toy.ipynb", "columns_swapped")
