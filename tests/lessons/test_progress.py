"""Exercises answer: right, wrong in the usual ways, broken, not attempted; predictions are kept."""

import io
from itertools import product

import cv2
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from hpkit.evaluation.baselines import raw_pixels
from hpkit.experiments import arms
from hpkit.experiments.claims import CLAIMS, WOBBLING
from hpkit.experiments.configs import varied
from hpkit.lessons import progress, show
from hpkit.matching.soft import dual_softmax


def said(capsys, exercise, answer):
    progress.check(exercise, answer)
    return capsys.readouterr().out


@pytest.mark.parametrize("exercise", progress.checks())
def test_an_exercise_left_alone_is_neutral(exercise, capsys):
    assert said(capsys, exercise, ...).startswith(f"– {exercise}")


@pytest.mark.parametrize("exercise", progress.checks())
@pytest.mark.parametrize("answer", [None, "seven", -123.0, lambda *_: 1 / 0])
def test_nonsense_is_wrong_and_never_a_traceback(exercise, answer, capsys):
    assert said(capsys, exercise, answer).startswith(f"✗ {exercise}: ")


def apart(numbers):
    """The distances between all rows, (n, n)."""
    return np.linalg.norm(numbers[:, None] - numbers, axis=2)


def beyond(distances):
    """Distances of negatives beyond their positive; all of a row if there are none."""
    others = np.where(np.eye(len(distances), dtype=bool), 99.0, distances)
    farther = np.where(others > np.diag(distances)[:, None], others, 99.0)
    return np.where((farther == 99).all(1)[:, None], others, farther)


def flipped(differences):
    means = (np.array(list(product((-1, 1), repeat=len(differences)))) * differences).mean(1)
    return (abs(means) >= abs(differences.mean()) - 1e-12).mean()


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
    ("my_denoiser", lambda p: p, "100 % of the error is left"),
    ("my_denoiser", lambda p: p[:, :16], "expected the same shape"),
    ("loss_of_triplet", 0, "a whole margin"),
    ("loss_of_triplet", 1.6, "wrong way round"),
    ("collapsed_loss", 0, "margin is still owed"),
    ("swapped_loss", lambda a, p, n, m: plain(a, p, n, m), "plain triplet loss"),
    ("swapped_loss", lambda a, p, n, m: plain(p, a, n, m), "always uses d(p, n)"),
    ("swapped_loss", lambda a, p, n, m: 128 * plain(a, p, n, m), "mean over dimensions"),
    ("step_ap", 1 / 3, "two hits alone"),
    pytest.param("shrunken_tasks", [0.75, 0.86], "distractors=5", marks=pytest.mark.slow),
    pytest.param("shrunken_tasks", [0.98, 0.65], "still among 60 points", marks=pytest.mark.slow),
    pytest.param("shrunken_tasks", [0.98, 0.5], "test.head(5)", marks=pytest.mark.slow),
    ("ap", lambda h, total: (precision(h) * h).sum() / total, "step rule"),
    ("ap", lambda h, total: strips(h, h.sum()), "divided by `total`"),
    ("ap", lambda h, total: float("nan"), "it gives nan, expected"),
    ("ap", lambda h, total: round(strips(h, total), 4), "expected 0.38"),
    ("ap", lambda h, total: strips(h, total) - h[0] / total, "strip before the first item"),
    ("ap", lambda h, total: strips(h, total) - h[0] / 2 / total, "1, not 0"),
    ("ap", lambda h, total: precision(h), "expected one number"),
    ("ap", lambda h, total: 0.5, "expected 0.3819"),
    ("first_adam_step", -0.001, "downhill"),
    ("first_adam_step", 0.042, "its own size"),
    ("momentum_factor", 1.9, "the second step"),
    ("rmsprop", lambda g, lr: [-lr, 0, 0, 0], "about three times lr"),
    ("rmsprop", lambda g, lr: 0.0, "expected a weight after each step"),
    ("updates_in_all", 19, "small batch of its own"),
    ("noise_ratio", 1 / 9, "variances"),
    ("accumulate", lambda gradient, samples, size: gradient(samples), "samples at once"),
    ("receptive_field", lambda layers: 1 + sum(k - 1 for k, _ in layers), "strides are missing"),
    ("pooled_view", 5, "without the pooling"),
    ("grid_trainings", 45, "number of scores"),
    ("paired_deviation", 0.0424, "independent"),
    ("sign_flip", lambda d: 0.5, "expected 0.25"),
    ("sign_flip", lambda d: 1 / 8, "as far out on the other side"),
    ("brier_of_one", 0.04, "two other verdicts"),
    ("chance_of_a_miss", 0.65, "do not simply add"),
    ("verdict_of", lambda lows, highs, s: "holds", "expected 'undecided'"),
    ("verdict_of", lambda lows, highs, s: "does not hold" if (highs < s).any() else
     "holds" if (lows > 0).all() else "undecided", "lows [0.2, 0.05]"),
    ("how_many_distances", 400, "how many spots"),
    ("the_disaster", "upside down", "turned upright"),
    ("the_disaster", "both", "answer"),
    ("one_of_a_kind", lambda n: apart(n).min(1).argmax(), "itself"),
    ("one_of_a_kind", lambda n: apart(n).sum(1).argmax(), "together"),
    ("one_of_a_kind", lambda n: (apart(n) + 99 * np.eye(len(n))).min(1).argmin(), "mistake"),
    ("one_of_a_kind", apart, "one number of a row"),
    ("one_of_a_kind", lambda n: 7, "expected 11"),
    ("clean_draw", 0.0256, "all four are wrong"),
    ("draws_needed", 71, "round up"),
    ("four_points", lambda a, b: dlt(b, a), "the other way round"),
    ("four_points", lambda a, b: dlt(a, b).T, "row by row"),
    ("four_points", lambda a, b: dlt(a, b).ravel(), "expected (3, 3)"),
    ("four_points", lambda a, b: np.eye(3), "smallest singular value"),
    ("four_points", lambda a, b: np.zeros((3, 3)), "all zeros"),
    ("largest_mean", 4, "number of dimensions"),
    ("candidates", 510, "anchor-anchor"),
    ("semi_hard", lambda d: d.argmin(1), "leave the diagonal out"),
    ("semi_hard", lambda d: (d + 99 * np.eye(6)).argmin(1), "*beyond* the positive"),
    ("semi_hard", lambda d: beyond(d).argmin(1), "take the farthest one"),
    ("semi_hard", lambda d: d, "expected (6,)"),
    ("share_of_better", 0.269, "the other one"),
    ("share_of_better", 0.534, "squared"),
    ("coarse_pairs", 4800, "places in one photo"),
    ("coarse_pairs", 307_200 ** 2, "each pixel with each"),
    ("rotated_cost", 0.5, "measure it"),
    ("with_dustbin", lambda s, t, b: dual_softmax(s, t), "nobody has a dustbin"),
    ("with_dustbin", lambda s, t, b: dual_softmax(np.pad(s, ((0, 1), (0, 1)), constant_values=b), t),
     "still there"),
    ("with_dustbin", lambda s, t, b: dustbin(s, t, b, (1, 0)), "add a column"),
    ("with_dustbin", lambda s, t, b: dustbin(s, t, b, (0, 1)), "add a row"),
    ("with_dustbin", lambda s, t, b: dustbin(s, t, b * t), "divided by the temperature"),
    ("with_dustbin", lambda s, t, b: s, "expected 0.603"),
])
def test_a_typical_mistake_gets_its_hint(exercise, answer, hint, capsys):
    out = said(capsys, exercise, answer)
    assert out.startswith(f"✗ {exercise}: ") and hint in out


@pytest.mark.parametrize("exercise, answer", [
    ("how_many_distances", 40_000), ("the_disaster", "Mirrored"),
    ("one_of_a_kind", lambda n: (apart(n) + 99 * np.eye(len(n))).min(1).argmax()),
    ("positive_pairs", 120), ("overlap_of_larger", 0.64), ("step_ap", 0.5),
    pytest.param("shrunken_tasks", [0.978, 0.864], marks=pytest.mark.slow),
    ("ap", lambda h, total: strips(h, total)),
    ("my_denoiser", lambda p: np.stack([cv2.medianBlur(patch, 5) for patch in p])),
    ("four_points", lambda a, b: -3 * dlt(a, b)), ("draws_needed", 72),
    ("clean_draw", 0.13), ("largest_mean", 0.0312), ("largest_mean", 0.03),
    ("paired_deviation", 0.013), ("chance_of_a_miss", 0.49), ("sign_flip", flipped),
    ("verdict_of", lambda lows, highs, s: "does not hold" if (highs < s).any() else
     "holds" if (lows > s).all() else "undecided"),
    ("share_of_better", 0.73), ("coarse_pairs", 4800 ** 2), ("rotated_cost", -1e-6),
    ("with_dustbin", lambda s, t, b: dustbin(s, t, b)),
])
def test_a_right_answer_is_right(exercise, answer, capsys):
    assert said(capsys, exercise, answer) == f"✓ {exercise}: right\n"


def dustbin(similarity, temperature, height, bins=(1, 1)):
    rows, columns = ((0, some) for some in bins)
    larger = np.pad(similarity, (rows, columns), constant_values=height)
    return dual_softmax(larger, temperature)[:len(similarity), :similarity.shape[1]]


def precision(hits):
    return np.cumsum(hits) / np.arange(1, len(hits) + 1)


def strips(hits, total):
    """The area under precision over recall, by trapezoids."""
    heights = np.insert(precision(hits), 0, 1)
    widths = np.diff(np.insert(np.cumsum(hits) / total, 0, 0))
    return (widths * (heights[1:] + heights[:-1]) / 2).sum()


def dlt(first, second):
    rows = []
    for (x, y), (u, v) in zip(first, second, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y, -u], [0, 0, 0, x, y, 1, -v * x, -v * y, -v]]
    return np.linalg.svd(np.array(rows))[2][-1].reshape(3, 3)


def plain(a, p, n, margin):
    near, far = (((a - other) ** 2).mean(1) for other in (p, n))
    return torch.clamp(near - far + margin, min=0).mean()


def test_an_unknown_exercise_is_named():
    with pytest.raises(ValueError, match="no exercise 'pairs': there are how_many_distances"):
        progress.check("pairs", 3)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HPKIT_CACHE", str(tmp_path / "new"))
    return tmp_path / "new"


def test_the_last_bet_on_a_claim_is_kept_for_this_user(cache, capsys, monkeypatch):
    progress.predict("C1", ..., ...)
    progress.predict("C1", "holds", ...)
    assert not cache.exists() and capsys.readouterr().out.startswith("– C1")
    progress.predict("C1", "holds", 0.6)
    progress.predict("C2", "undecided", 0.9)
    progress.predict("C1", "does not hold", 0.7)
    found = progress.calibration({"C1": "holds", "C2": "holds", "C3": "holds"})[0]
    assert found.set_index("claim").predicted.to_dict() == {"C1": "does not hold",
                                                            "C2": "undecided"}
    monkeypatch.setattr("getpass.getuser", lambda: "somebody else")
    assert progress.calibration({"C1": "holds"})[0].empty


def test_a_bet_is_on_a_verdict_with_a_confidence(cache):
    with pytest.raises(ValueError, match=r"confidence 70: expected 0.33"):
        progress.predict("C1", "holds", 70)
    with pytest.raises(ValueError, match="C1: no verdict 'it rains', expected one of holds, does"):
        progress.predict("C1", "it rains", ...)
    with pytest.raises(ValueError, match=r"confidence '0.7': expected 0.33"):
        progress.predict("C1", "holds", "0.7")
    with pytest.raises(ValueError, match="no claim 'c33': there are C1, C2"):
        progress.predict("c33", "holds", 0.7)
    assert not cache.exists()


def test_a_verdict_is_revealed_with_what_the_bet_cost(cache, capsys):
    progress.reveal("H2", "holds")
    assert capsys.readouterr().out == "H2 holds. (You made no bet.)\n" and not cache.exists()
    progress.predict("H1", "undecided", 0.7)
    progress.predict("C1", "holds", 0.9)  # never revealed, so no part of the mean
    for _ in range(2):  # run again, it counts once
        capsys.readouterr()
        progress.reveal("H1", "undecided beyond this scale")
        assert capsys.readouterr().out == (
            "H1 undecided beyond this scale. You said: undecided, 70% sure. It cost you 0.07 "
            "(0 is best, 1 worst).\n")
    progress.predict("H2", "holds", 0.6)
    progress.reveal("H2", "does not hold")
    assert capsys.readouterr().out.endswith(
        "It cost you 0.52 (0 is best, 1 worst); your mean over 2 bets is 0.29.\n")
    progress.predict("H1", "holds", 1)  # another bet waits for its verdict
    progress.reveal("H2", "holds")
    assert capsys.readouterr().out.endswith("It cost you 0.12 (0 is best, 1 worst).\n")


def test_tries_are_counted_until_an_exercise_is_right(cache):
    assert progress.report().empty
    for answer in (..., 7, 120, 7):
        progress.check("positive_pairs", answer)
    progress.check("overlap_of_larger", "what?")
    found = progress.report().set_index("exercise")
    assert list(found.tries) == [2, 1] and list(found.right) == [True, False]
    assert found["last"].str.endswith("+00:00").all()


def test_source_is_shown_as_it_runs():
    shown = show.show_source(raw_pixels, plain).data
    assert shown.startswith("```python\ndef raw_pixels(") and "def plain(a, p" in shown


def test_recorded_results_are_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "matching" in arms.recorded("baseline")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "mine.csv").write_text("matching\n0.5\n")
    assert arms.recorded("mine").matching.tolist() == [0.5]
    with pytest.raises(FileNotFoundError, match=r"results/none.csv: not found"):
        arms.recorded("none")


def test_a_bet_is_found_however_its_claim_was_written(cache):
    for written in ("c3", " C4B", "h1", "M1"):
        progress.predict(written, "holds", 0.6)
    names = ("C3", "C4b", "H1", "M1")
    assert set(progress.calibration(dict.fromkeys(names, "holds"))[0].claim) == set(names)
    progress.reveal("c3", "holds")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_a_terminal_without_a_check_mark_ends_nothing(cache, monkeypatch, encoding):
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding, write_through=True))
    progress.predict("C1", "holds", 0.6)
    progress.check(next(iter(progress.checks())), ...)
    told = written.getvalue().decode(encoding)
    assert ("\u270e" if encoding == "utf-8" else "\\u270e") in told


def test_the_brier_score_counts_claims_that_were_predicted(cache):
    assert np.isnan(progress.calibration({"C1": "holds"})[1])
    for claim, verdict, confidence in (("C1", "holds", 0.8), ("C2", "holds", 0.9),
                                       ("C3", "undecided", 0.5)):
        progress.predict(claim, verdict, confidence)
    verdicts = {"C1": "holds", "C2": "does not hold", "C3": "undecided", "C4a": "holds"}
    table, score = progress.calibration(verdicts)
    assert list(table.claim) == ["C1", "C2", "C3"]
    assert score == pytest.approx((0.03 + 0.8575 + 0.1875) / 3)


def test_the_cheapest_bet_is_the_honest_one():
    """On average, for whoever knows the chances; and a surely wrong verdict is dear."""
    chances = {"holds": 0.7, "does not hold": 0.15, "undecided": 0.15}

    def expected(verdict, confidence):
        return sum(chance * progress.penalty(verdict, confidence, came)
                   for came, chance in chances.items())

    costs = {(v, c): expected(v, c) for v in chances for c in np.linspace(1 / 3, 1, 201)}
    verdict, confidence = min(costs, key=costs.get)
    assert verdict == "holds" and confidence == pytest.approx(0.7, abs=0.01)
    knows = progress.penalty("holds", 0.8, "holds")
    assert progress.penalty("undecided", 1 / 3, "holds") > 10 * knows
    assert progress.penalty("holds", 1, "holds") == 0
    assert progress.penalty("holds", 1, "undecided") == 1


def test_a_user_without_an_account_has_a_file_too(cache, monkeypatch):
    def nobody():
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr("getpass.getuser", nobody)
    progress.predict("C1", "holds", 0.6)
    monkeypatch.setattr("getpass.getuser", lambda: "school/anna")
    progress.predict("C1", "holds", 0.6)
    names = sorted(path.name for path in cache.glob("predictions-*.json"))
    assert len(names) == 2 and names[0] == "predictions-school_anna.json"


def test_a_cut_file_of_progress_is_set_aside(cache, capsys):
    progress.check("positive_pairs", 7)
    (path,) = cache.glob("exercises-*.json")
    path.write_bytes(path.read_bytes()[:20])
    with pytest.warns(UserWarning, match="set aside as .*damaged, and a new one begins"):
        progress.check("positive_pairs", 120)
    assert capsys.readouterr().out.endswith("✓ positive_pairs: right\n")
    assert list(progress.report().tries) == [1]


def test_a_claim_is_shown_with_its_verdict(capsys, monkeypatch):
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: None)
    show.show_claim(arms.recorded("descriptors"), "C2")
    title = plt.gca().get_title("left") or plt.gca().get_title()
    words = capsys.readouterr().out
    assert title == "C2 holds: 2 of 2 questions answered"
    assert words.startswith("C2 holds; 2 of 2 questions answered.\n  verification above retrieval  +")
    labels = [label.get_text() for label in plt.gca().get_yticklabels()]
    assert labels == ["verification above retrieval", "retrieval above matching"]
    assert plt.gca().get_xlabel() == "lead, in mAP (grey: too small to matter)"
    assert words.count(" mAP: better (ahead in ") == 2
    assert plt.gca().get_ylim() == (1.5, -0.5)  # no line on the axis
    plt.close()


def test_a_claim_says_what_was_run_at_a_larger_budget(capsys, monkeypatch):
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: None)
    table = arms.recorded("descriptors")
    show.show_claim(table[table.samples == 1500], "C2")
    show.show_claim(arms.recorded("denoisers"), "C8")
    small, large = capsys.readouterr().out.split("C8", 1)
    assert "No larger budget was run." in small
    assert large.endswith("At 16 times the budget 1 of 4 contrasts was run (one seed); none "
                          "contradicts a verdict above.\n")
    plt.close("all")


@pytest.mark.parametrize("seeds, verdicts, turned, said", [
    ([1, 1, 0], ["holds"] * 3, "", "2 of 3 contrasts were run (one seed each); none contradicts a"),
    ([1, 3, 0], ["holds"] * 3, "", "were run (1 to 3 seeds each); none contradicts"),
    ([0, 3, 3], ["holds", "undecided", "undecided"], "",
     "were run (3 seeds each); none of them is decided above."),
    ([0, 0, 2], ["holds"] * 3, "x beats y",
     "1 of 3 contrasts was run (2 seeds); contradicted at a larger budget: x beats y."),
])
def test_a_larger_budget_contradicts_only_what_is_decided(seeds, verdicts, turned, said):
    judged, large = pd.DataFrame({"verdict": verdicts}), pd.DataFrame({"seeds": seeds})
    assert said in show._beyond(judged, large, {"largest": 4, "turned": turned})


def test_a_claim_in_several_units_has_an_axis_for_each(monkeypatch):
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: None)
    show.show_claim(pd.concat(map(arms.recorded, ("denoisers", "descriptors"))), "C1")
    grey, triplet = plt.gcf().axes
    assert [len(ax.get_yticklabels()) for ax in (grey, triplet)] == [2, 1]
    assert "in grey levels" in grey.get_xlabel() and "in triplet loss" in triplet.get_xlabel()
    titles = [ax.get_title("left") or ax.get_title() for ax in (grey, triplet)]
    assert titles[0].startswith("C1 ") and titles[1] == ""
    plt.close()


def fresh_runs(seeds, gain=1.0):
    """Rows like the recorded ones of two depths: the deeper better by `gain`."""
    rows = [{**varied(WOBBLING, seed=seed, depth=depth).resolved().__dict__,
             "test_mae": 9 + 0.01 * seed - gain * (depth == 8) * (1 + 0.01 * (seed % 3)),
             "test_mae_averaged": 8.0 + 0.01 * (seed % 3) * depth, "status": "finished"}
            for seed in seeds for depth in (4, 8)]
    return pd.DataFrame(rows)


def test_fresh_seeds_are_shown_beside_the_first_look(capsys, monkeypatch):
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: None)
    show.show_fresh(arms.recorded("denoisers"), fresh_runs(range(100, 108)), "depth", "sequences")
    words, ax = capsys.readouterr().out, plt.gca()
    title = ax.get_title("left") or ax.get_title()
    assert title == "Fresh seeds on depth 8 over depth 4: better"
    assert "8 fresh seeds, by the last step:\n  depth 8 over depth 4  +1." in words
    assert words.count(": better (ahead in 8 of 8)\n") == 1
    assert words.count("no difference that matters (ahead in ") == 1
    assert words.endswith("Too few seeds are recorded yet for: all sequences over 3.\n")
    assert len(ax.get_legend().get_texts()) == 3
    plt.close()


def test_without_fresh_seeds_the_questions_are_named(capsys):
    show.show_fresh(arms.recorded("denoisers"), fresh_runs(range(100, 107)), "depth")
    assert capsys.readouterr().out == "Too few seeds are recorded yet for: depth 8 over depth 4.\n"
    assert not plt.get_fignums()


def test_without_a_first_look_only_fresh_seeds_are_drawn(monkeypatch):
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: None)
    nobody_looked = arms.recorded("denoisers").iloc[:0]
    show.show_fresh(nobody_looked, fresh_runs(range(100, 108)), "depth")
    labels = [text.get_text() for text in plt.gca().get_legend().get_texts()]
    assert labels == ["fresh seeds", "fresh seeds, averaged weights"]
    plt.close()


def replicated(capsys, monkeypatch, first, fresh, *names):
    """What `show_replication` prints, and the title and rows of its figure."""
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: None)
    show.show_replication(first, fresh, *names)
    ax, words = plt.gca(), capsys.readouterr().out.splitlines()
    title = ax.get_title("left") or ax.get_title()
    rows = [label.get_text() for label in ax.get_yticklabels()]
    plt.close()
    return title, rows, words


def test_it_tells_which_of_the_first_answers_come_out_again(capsys, monkeypatch):
    first, again = arms.recorded("denoisers"), fresh_runs(range(100, 108))
    title, rows, words = replicated(capsys, monkeypatch, first, again, "depth", "sequences")
    assert (title, rows) == ("1 of 1 answers come out again", ["depth 8 over depth 4"])
    assert words == [
        "first look (95 % intervals, 5 seeds): 1 answers, 0 open questions",
        "  its answers among fresh seeds (98 %): 1 the same, 0 open, 0 different",
        "  its open questions: 0 answered, 0 open",
        "with one value per left-out fold of photos: 1 of 1 answers of the fresh seeds stay",
        "Too few seeds are recorded yet for: all sequences over 3.",
    ]
    turned = fresh_runs(range(100, 108), gain=-1)
    title, _, words = replicated(capsys, monkeypatch, first, turned, "depth")
    assert title == "0 of 1 answers come out again, 1 turned"
    assert words[1].endswith(": 0 the same, 0 open, 1 different")


def test_an_open_question_says_how_many_seeds_could_answer_it(capsys, monkeypatch):
    fresh = fresh_runs(range(100, 108))
    diverged = (fresh.seed == 103) & (fresh.depth == 8)
    fresh.loc[diverged, "test_mae"], fresh.loc[diverged, "status"] = np.nan, "diverged"
    title, _, words = replicated(capsys, monkeypatch, arms.recorded("denoisers"), fresh, "depth")
    assert title == "0 of 1 answers come out again"
    assert words[1].endswith(": 0 the same, 1 open, 0 different")
    label, seeds = words[-1].rsplit(": ", 1)
    assert label == "  depth 8 over depth 4" and int(seeds.replace(",", "")) > 1000
    assert not any("left-out fold" in line for line in words)


def test_where_nothing_had_an_answer_the_title_says_so(capsys, monkeypatch):
    first = arms.recorded("denoisers")
    first = pd.concat([first[first.depth == 4], first[first.depth == 8].assign(test_mae=9.5)])
    title, _, words = replicated(
        capsys, monkeypatch, first, fresh_runs(range(100, 108)), "depth")
    assert title == "The first look left all of these open"
    assert words[2] == "  its open questions: 1 answered, 0 open"


def test_what_nobody_asked_twice_is_not_drawn(capsys):
    show.show_replication(arms.recorded("denoisers").iloc[:0], fresh_runs(range(100, 108)), "depth")
    assert capsys.readouterr().out == ""
    assert not plt.get_fignums()


def test_what_the_best_recipe_loses_without_each_part_is_told_and_drawn(capsys, monkeypatch):
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: None)
    show.show_left_out(arms.recorded("averaged_descriptors"))
    words, ax = capsys.readouterr().out, plt.gca()
    rows = [label.get_text() for label in ax.get_yticklabels()]
    assert rows[0] == "the other normalisations" and rows[-1] == "flips, turns, inversion"
    assert words.count(" patches, 8 fresh seeds, lost without:\n") == 2
    first, last = (next(line for line in words.splitlines() if row in line)
                   for row in (rows[0], rows[-1]))
    assert first.endswith(": missed (ahead in 8 of 8)")
    assert last.endswith(": better without (ahead in 0 of 8)")
    assert (ax.get_title("left") or ax.get_title()) == "4 of 9 parts are missed"
    plt.close()


def test_a_recipe_is_not_taken_apart_by_too_few_seeds(capsys):
    table = arms.recorded("averaged_descriptors")
    show.show_left_out(table[(table.seed != 107) | (table.data != "photos")])
    assert capsys.readouterr().out == "Too few seeds are recorded yet for: scenes.\n"
    assert not plt.get_fignums()


def test_what_seeing_gains_is_told_and_drawn_for_both_networks(capsys, monkeypatch):
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: None)
    rows = [{"network": network, "seed": seed, "sequence": f"v_{place}",
             "seen": (seed + place) % 3 == 0,
             "error": 10 + step * place + 0.1 * seed - gain * ((seed + place) % 3 == 0)}
            for network, gain, step in (("unet", 2.0, 1), ("l2net", 1.0, -1))
            for seed in range(6) for place in range(4)]
    show.show_seen(pd.DataFrame(rows))
    unet, l2net = capsys.readouterr().out.splitlines()
    assert unet == "U-Net: lower by 2.000 [2.000, 2.000] on what it has seen"
    assert l2net == "L2-Net: lower by 1.000 [1.000, 1.000] on what it has seen"
    left, right = plt.gcf().axes
    names = [[label.get_text() for label in ax.get_yticklabels()] for ax in (left, right)]
    assert names == [[f"v_{n}" for n in range(4)], [f"v_{n}" for n in (3, 2, 1, 0)]]  # its own order
    assert sum(len(line.get_xdata()) for line in left.lines) == 24
    plt.close()


@pytest.mark.slow
def test_the_scorecard_has_a_row_per_claim_and_names_every_answer():
    everything = pd.concat(map(arms.recorded, ("denoisers", "descriptors")))
    _, _, *rows = show.scorecard(everything).data.splitlines()
    assert [row.split("**")[1] for row in rows] == list(CLAIMS)
    for claim, row in zip(CLAIMS.values(), rows, strict=True):
        judged = arms.judge(everything, claim)
        for contrast, answer in zip(judged.contrast, judged.answer, strict=True):
            named = row.split(" | ")[2]
            assert (contrast in named) == (answer != "open"), (claim.name, contrast)
