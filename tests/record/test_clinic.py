"""Chapter 13: the record is whole and of this code, and each patient shows what the text says."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.functional import normalize

from hpkit.experiments import arms
from hpkit.lessons import progress
from hpkit.lessons.exercises import ch13
from hpkit.lessons.exercises.ch13 import ANSWERS, CAUSES, CLOSE, HERE, SHOWS
from hpkit.record import clinic

RUNS, SIGNS = arms.recorded("clinic"), arms.recorded("clinic_signs")
BOTH = {"patient": True, "healthy": False}  # is the symptom there?


def of(patient, sign, run, seed):
    """The values of a sign in their order."""
    rows = SIGNS[(SIGNS.patient == patient) & (SIGNS.sign == sign) & (SIGNS.run == run)
                 & (SIGNS.seed == seed)]
    assert len(rows), (patient, sign, run, seed)
    return rows.value.to_numpy()


def seeds(patient):
    """Those with which it was run."""
    return sorted(set(RUNS[RUNS.patient == patient].seed))


def epochs(patient, run, seed):
    """The batch losses, a row per epoch."""
    return of(patient, "batch loss", run, seed).reshape(5, -1)


NEAREST = [sign for sign in SIGNS.sign.unique() if sign.startswith("nearest of ")]
SYMPTOMS = {  # what the chapter teaches to look for, of (run, seed)
    1: lambda r, s: of(1, "batch loss", r, s)[:10].max() > 20 * of(1, "batch loss", r, s)[0],
    2: lambda r, s: (of(2, "active before", r, s) == 0).all(),
    3: lambda r, s: of(3, "batch loss", r, s).min() > 0.96,
    4: lambda r, s: of(4, "batch loss", r, s).max() > 2.5,
    5: lambda r, s: np.corrcoef(epochs(5, r, s)[-2:])[0, 1] > 0.8,
    6: lambda r, s: (of(6, "worst anchor", r, s) // 16 != of(6, "worst positive", r, s) // 16
                     ).mean() > 0.5,
    7: lambda r, s: (np.median(of(7, "own positive distance", r, s))
                     < 0.8 * np.median(of(7, "positive distance", r, s))),
    8: lambda r, s: of(8, "nearest", r, s)[0] == 0,
    9: lambda r, s: sum(of(9, sign, r, s)[0] == 0 for sign in NEAREST) == 1,
    10: lambda r, s: of(10, "apart from itself", r, s)[0] > 0.05,
    11: lambda r, s: of(11, "negative", r, s)[-1] < 1e-3 and of(11, "reported", r, s)[0] == 1,
    12: lambda r, s: of(12, "negative", r, s)[-1] < 0.02 * of(12, "length", r, s)[-1],
}


@pytest.mark.parametrize("run", BOTH)
@pytest.mark.parametrize("patient", SYMPTOMS)
def test_the_symptom_is_the_patients_alone(patient, run):
    assert {bool(SYMPTOMS[patient](run, seed)) for seed in seeds(patient)} == {BOTH[run]}


@pytest.mark.parametrize(("patient", "sign", "below"), [
    (3, "matched", True), (4, "matched", True), (7, "matched", True),
    (7, "val_loss", True), (8, "reported", False), (9, "score of grass", False),
    (11, "matched", True), (11, "val_loss", True), (12, "negative", True),
])
def test_patients_lie_on_their_side_of_the_healthy(patient, sign, below):
    patients, healthy = ([of(patient, sign, run, seed)[-1] for seed in seeds(patient)]
                         for run in BOTH)
    assert max(patients) < min(healthy) if below else min(patients) > max(healthy)


def test_the_record_is_whole_and_of_this_code():
    _, codes = clinic.cells()
    rows = RUNS.set_index(["patient", "run", "seed"])
    wanted = {(n, run, seed) for n in clinic.PATIENTS for run in (BOTH if n else ["healthy"])
              for seed in seeds(n)}
    assert all(seeds(number) == list(clinic.SEEDS) for number in clinic.PATIENTS)
    assert set(rows.index) == wanted and rows.index.is_unique
    for (number, run, _), row in rows.iterrows():
        assert row.code == clinic.digest(codes[run].get(number, "")), f"patient {number} changed"
    assert RUNS[["torch", "numpy", "python", "data_version", "seconds"]].notna().all(axis=None)
    seen = SIGNS.groupby(["patient", "run", "seed"]).sign.agg(set)
    assert set(seen.index) == wanted and all({"loss", "val_loss"} <= signs for signs in seen)
    assert np.isfinite(SIGNS.value).all()


def test_every_patient_has_another_cause_and_every_cause_a_hint():
    assert sorted(ANSWERS) == sorted(HERE) == list(clinic.PATIENTS)[1:]
    assert len(set(ANSWERS.values())) == 12 and set(ANSWERS.values()) < set(CAUSES) == set(SHOWS)
    assert all(cause in CAUSES and cause != ANSWERS[number] for number, cause in CLOSE)


@pytest.mark.parametrize("number", ANSWERS)
def test_each_wrong_diagnosis_gets_a_hint_of_its_own(number):
    check = progress.checks()[f"patient_{number}"]
    hints = [check(cause) for cause in CAUSES]
    assert hints.count("") == 1 and check(ANSWERS[number]) == ""
    assert len(set(hints)) == len(CAUSES)
    assert "choose one of" in check("lr")


SPACE, CODES = clinic.cells()


@pytest.mark.slow
@pytest.mark.parametrize("number", ANSWERS)
def test_the_code_as_it_was_run_is_not_right_and_the_solution_is(number):
    check = progress.checks()[f"repair_{number}"]
    assert check(clinic.function(SPACE, CODES["patient"][number], number))
    assert check(clinic.function(SPACE, CODES["healthy"][number], number)) == ""


@pytest.mark.slow
@pytest.mark.parametrize(("number", "old", "new", "hint"), [
    (1, '"lr": 0.1', '"lr": 0.00001', "one flat grey has"),
    (2, "-0.3, 0,", "0, 0,", "no unit of the first layer"),
    (2, "-0.3, 0,", "0, 0.3,", "it is alive"),
    (3, "margin=1.0", "margin=1 / 128", "128 times that"),
    (3, "margin=1.0", "margin=0.5", "expected"),
    (4, "(x * y)", "(torch.nn.functional.normalize(x) * y)", "both vectors"),
    (5, "torch.arange(len(self))", "torch.randperm(len(self))", "same generator"),
    (5, "torch.arange(len(self))", "torch.randint(len(self), (len(self),), generator=generator)",
     "missing or twice"),
    (6, "columns = 15 ", "columns = 17 ", "beyond the last patch"),
    (7, "positive + noise", "positive", "without noise"),
    (7, "30 * torch.randn_like(anchor)]", "noise]", "still agrees"),
    (8, "data.train", "data.validation", "honest"),
    (9, "photos[3:]", "photos[5:]", "is on no side"),
    (10, "    with", "    network.requires_grad_(False)\n    with", "two descriptors"),
    (11, '"lr": 0.1', '"lr": 0.3', "still all alike"),
    (11, "Positives", "Triplets", "keep the question"),
    (12, "/ 255", "/ 128", "from 0 to 255"),
    (12, ".float() / 255", ".float() - 128", "not the descriptors"),
    (10, "    with", "    network.layers[13].eval()\n    with", "batch norm"),
])
def test_a_typical_wrong_repair_gets_its_hint(number, old, new, hint):
    code = CODES["patient"][number]
    assert old in code
    repaired = clinic.function(SPACE, code.replace(old, new), number)
    assert hint in progress.checks()[f"repair_{number}"](repaired)


def test_a_repair_of_another_kind_is_right_too():
    """Both lengths divided out in the loss; the Euclidean distance; the other slice moved.

    And the mean with margin and rate to fit it.
    """
    code = CODES["patient"]
    for number, old, new in (
        (4, "(x * y)", "(torch.nn.functional.normalize(x) * torch.nn.functional.normalize(y))"),
        (3, ".mean(1)\n", ".sum(1).sqrt()\n"), (9, "photos[3:]", "photos[4:]"),
    ):
        repaired = clinic.function(SPACE, code[number].replace(old, new), number)
        assert progress.checks()[f"repair_{number}"](repaired) == "", number
    fitted = code[3].replace("margin=1.0", "margin=1 / 128").replace('"lr": 0.1', '"lr": 12.8')
    assert progress.checks()["repair_3"](clinic.function(SPACE, fitted, 3)) == ""


@pytest.mark.parametrize(("answer", "hint"), [
    (lambda a, b: [True], "expected (20,)"),
    (lambda a, b: np.array([(x == b[:20][i]).all() for i, x in enumerate(a)]), "another place"),
    (lambda a, b: np.array([any(np.abs(x.astype(int) - y).max() < 5 for y in b) for x in a]),
     "one pixel"),
    (lambda a, b: np.ones(20, bool), "one pixel"),
    (lambda a, b: np.isin(a.sum((1, 2)), b.sum((1, 2))), "the same sum"),
    (lambda a, b: ~np.array([x.tobytes() in {y.tobytes() for y in b} for x in a]), ""),
])
def test_duplicates_hints(answer, hint):
    found = progress.checks()["duplicates"](answer)
    assert found and hint in found


def test_the_largest_mean_between_unit_vectors_is_as_the_chapter_says():
    x = normalize(torch.randn(50, 128, generator=torch.Generator().manual_seed(0)), dim=1)
    assert ((x + x) ** 2).mean(1).max() == pytest.approx(4 / 128)


def test_rows_are_mixed_as_the_chapter_says():
    """A third of the pairs, over many rows."""
    first = 15 * np.arange(3000)
    a, b = np.meshgrid(np.arange(15), np.arange(15))
    wrong = [(start + a) // 16 != (start + b) // 16 for start in first]
    assert np.mean([w[a != b].mean() for w in wrong]) == pytest.approx(1 / 3, abs=0.03)


def test_the_record_reads_as_one_table():
    assert isinstance(SIGNS, pd.DataFrame) and set(SIGNS.run) == set(BOTH)
    assert ch13.EXERCISES.keys() <= progress.checks().keys()
