"""Exercises answer: right, wrong in the usual ways, broken, not attempted; predictions are kept."""

import json

import cv2
import numpy as np
import pytest
import torch

from hpkit import exercises, lessons
from hpkit.baselines import raw_pixels


def said(capsys, exercise, answer):
    lessons.check(exercise, answer)
    return capsys.readouterr().out


@pytest.mark.parametrize("exercise", exercises.EXERCISES)
def test_an_exercise_left_alone_is_neutral(exercise, capsys):
    assert said(capsys, exercise, ...).startswith(f"– {exercise}")


@pytest.mark.parametrize("exercise", exercises.EXERCISES)
@pytest.mark.parametrize("answer", [None, "seven", -123.0, lambda *_: 1 / 0])
def test_nonsense_is_wrong_and_never_a_traceback(exercise, answer, capsys):
    assert said(capsys, exercise, answer).startswith(f"✗ {exercise}: ")


@pytest.mark.parametrize("exercise, answer, hint", [
    ("positive_pairs", 240, "counted twice"),
    ("positive_pairs", 15, "the other columns"),
    ("overlap_of_larger", 0.8, "ratio of the radii"),
    ("overlap_of_larger", 1.5625, "at most 1"),
    ("my_descriptor", raw_pixels, "average over blocks"),
    ("my_descriptor", lambda p: p.mean(), "expected (3, d)"),
    ("parameters_without_skip", (9 * 80 + 1) * 64, "layer with the skip"),
    ("parameters_without_skip", 9 * 64 * 64, "bias"),
    ("halfway_factor", 0.25, "squared"),
    ("my_denoiser", lambda p: p, "100% of the error is left"),
    ("my_denoiser", lambda p: p[:, :16], "expected the same shape"),
    ("loss_of_triplet", 0, "a whole margin"),
    ("loss_of_triplet", 1.6, "wrong way round"),
    ("collapsed_loss", 0, "margin is still owed"),
    ("swapped_loss", lambda a, p, n, m: plain(a, p, n, m), "plain triplet loss"),
    ("swapped_loss", lambda a, p, n, m: plain(p, a, n, m), "always uses d(p, n)"),
    ("swapped_loss", lambda a, p, n, m: 128 * plain(a, p, n, m), "mean over dimensions"),
    ("step_ap", 1 / 3, "two hits alone"),
    ("trapezoid_ap", 0.5, "the step rule"),
    ("mutual", lambda d: d.argmin(1) == np.arange(len(d)), "whether they point back"),
    ("mutual", lambda d: d.argmin(1), "row 1 goes to column 1"),
    ("mutual", lambda d: [True], "gave the shape (1,)"),
])
def test_a_typical_mistake_gets_its_hint(exercise, answer, hint, capsys):
    out = said(capsys, exercise, answer)
    assert out.startswith(f"✗ {exercise}: ") and hint in out


@pytest.mark.parametrize("exercise, answer", [
    ("positive_pairs", 120), ("overlap_of_larger", 0.64), ("step_ap", 0.5),
    ("mutual", lambda d: d.argmin(0)[d.argmin(1)] == np.arange(len(d))),
    ("my_denoiser", lambda p: np.stack([cv2.medianBlur(patch, 5) for patch in p])),
])
def test_a_right_answer_is_right(exercise, answer, capsys):
    assert said(capsys, exercise, answer) == f"✓ {exercise}: right\n"


def plain(a, p, n, margin):
    near, far = (((a - other) ** 2).mean(1) for other in (p, n))
    return torch.clamp(near - far + margin, min=0).mean()


def test_an_unknown_exercise_is_named():
    with pytest.raises(ValueError, match="no exercise 'pairs': there are positive_pairs"):
        lessons.check("pairs", 3)


def test_predictions_are_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HPKIT_CACHE", str(tmp_path / "new"))
    lessons.predict("C1", "it rains", ...)
    assert not (tmp_path / "new").exists() and capsys.readouterr().out.startswith("– C1")
    lessons.predict("C1", "it rains", 0.6)
    lessons.predict("C2", "it pours", 0.9)
    lessons.predict("C1", "it snows", 0.7)
    kept = json.loads((tmp_path / "new" / "predictions.json").read_text())
    assert kept == {"C1": {"statement": "it snows", "confidence": 0.7},
                    "C2": {"statement": "it pours", "confidence": 0.9}}
    with pytest.raises(ValueError, match=r"confidence 70: expected 0.5"):
        lessons.predict("C1", "it rains", 70)


def test_source_is_shown_as_it_runs():
    shown = lessons.show_source(raw_pixels, plain).data
    assert shown.startswith("```python\ndef raw_pixels(") and "def plain(a, p" in shown


def test_recorded_results_are_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "matching" in lessons.recorded("baseline")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "mine.csv").write_text("matching\n0.5\n")
    assert lessons.recorded("mine").matching.tolist() == [0.5]
    with pytest.raises(FileNotFoundError, match=r"results/none.csv: not found"):
        lessons.recorded("none")
