"""Intervals cover what they promise, verdicts follow the rule, and every claim can be decided."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from hpkit.data.tasks import tasks_for
from hpkit.evaluation.scores import evaluate
from hpkit.experiments.arms import (
    NOTHING,
    Claim,
    Contrast,
    _by_fold,
    answers,
    arm,
    at_scale,
    changes_with_scale,
    conclude,
    differences,
    judge,
)
from hpkit.experiments.build import side
from hpkit.experiments.claims import (
    CLAIMS,
    DENOISER,
    DESCRIPTOR,
    FINAL,
    QUESTIONS,
    SINGLE,
    TASKS,
    by_weights,
)
from hpkit.experiments.configs import REVISION, DenoiserConfig, varied
from hpkit.experiments.intervals import (
    BETTER,
    LOOK_CONFIDENCE,
    NOT_WORSE,
    SAME,
    UNANSWERED,
    WORSE,
    answer,
    decide,
    first_answer,
    gain_of_seeing,
    interval,
    seeds_to_tell,
    verdict,
)
from hpkit.record import reference

HOLDS, FAILS, OPEN = "holds", "does not hold", "undecided"
numbers = st.lists(st.floats(-1, 1), min_size=2, max_size=20)


def table(errors, **changes):
    """Recorded denoiser rows: {seed: test_mae} of one arm."""
    return pd.DataFrame([{**varied(DENOISER, seed=seed, **changes).resolved().__dict__,
                          "test_mae": error, "val_loss": error, "loss": error,
                          "status": "finished"}
                         for seed, error in errors.items()])


@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1)), min_size=3, max_size=9))
def test_the_interval_is_that_of_the_paired_t_test(pairs):
    first, second = np.array(pairs).T
    gain = first - second
    if np.ptp(gain) < 1e-6:
        return
    low, high = ttest_rel(first, second).confidence_interval(0.95)
    np.testing.assert_allclose(interval(gain), (gain.mean(), low, high), atol=1e-9)


def test_intervals_over_five_seeds_cover_19_times_in_20():
    chance = np.random.default_rng(0)
    draws = chance.normal(0.3, 1, (4000, 5))
    covered = [low < 0.3 < high for _, low, high in map(interval, draws)]
    assert 0.94 < np.mean(covered) < 0.96


def test_too_few_values_have_no_interval():
    for values in ([0.5], [0.4, 0.6]):
        assert interval(values)[0] == 0.5 and np.isnan(interval(values)[1:]).all()
    assert np.isnan(interval([])).all() and decide([], 0.1) == decide([5.0], 0.1) == OPEN


@pytest.mark.parametrize(("values", "smallest", "expected"), [
    ([0.30, 0.31, 0.32], 0.1, HOLDS),
    ([0.01, 0.02, 0.03], 0.1, FAILS),  # there is an effect, too small to matter
    ([-0.3, -0.31, -0.32], 0.1, FAILS),
    ([0.0, 0.1, 0.2], 0.1, OPEN),
    ([-0.01, 0.0, 0.01], -0.1, HOLDS),  # not worse by a tenth
])
def test_a_verdict_is_where_the_whole_interval_lies(values, smallest, expected):
    assert decide(values, smallest) == expected


@given(numbers, st.floats(-1, 1), st.integers(1, 20))
def test_a_contrast_never_holds_and_fails(values, smallest, contrasts):
    if decide(values, smallest) == HOLDS:
        assert decide([-v for v in values], -smallest, contrasts) != HOLDS
    if decide(values, smallest, contrasts) == FAILS:  # stricter among several contrasts
        assert decide(values, smallest) == FAILS


@pytest.mark.parametrize(("verdicts", "expected"), [
    ([HOLDS, HOLDS], HOLDS), ([HOLDS, OPEN], OPEN), ([HOLDS, FAILS], FAILS), ([OPEN, FAILS], FAILS),
])
def test_a_claim_holds_if_all_contrasts_do_and_fails_if_one_does(verdicts, expected):
    assert verdict(pd.DataFrame({"verdict": verdicts})) == expected


def test_arms_are_paired_by_seed_and_lower_may_be_better():
    rows = pd.concat([table({0: 5.0, 1: 6.0, 2: 9.0}),
                      table({1: 5.5, 2: 8.0, 3: 1.0}, optimizer="adam")])
    contrast = Contrast("adam beats sgd", DENOISER, a={"optimizer": "adam"}, score="test_mae")
    assert list(differences(rows, contrast)) == [0.5, 1.0]


@pytest.mark.parametrize(("score", "expected"), [
    ("test_mae", True), ("loss", True), ("val_loss", True),
    ("verification", False), ("matching", False), ("retrieval", False)])
def test_errors_and_losses_are_better_when_lower(score, expected):
    assert Contrast("one", DENOISER, score=score).lower_is_better == expected


@pytest.mark.parametrize(("base", "score", "unit"), [
    (DENOISER, "test_mae", "grey levels"), (DENOISER, "val_loss", "grey levels"),
    (DESCRIPTOR, "val_loss", "triplet loss"), (DESCRIPTOR, "matching", "mAP")])
def test_a_contrast_has_a_unit(base, score, unit):
    assert Contrast("one", base, score=score).unit == unit


def test_an_arm_is_its_configuration_whatever_the_machine():
    rows = pd.concat([table({0: 5.0}), table({1: 6.0}, device="cpu", threads=2),
                      table({0: 7.0}, depth=6), table({2: 8.0}, draw=0), table({0: 4.0})])
    assert list(arm(rows, DENOISER).test_mae) == [5.0, 6.0]  # no copy, no arranged chance
    assert list(arm(rows, DENOISER, depth=6).test_mae) == [7.0]
    assert arm(rows, DENOISER, depth=8).empty
    with pytest.raises(ValueError, match="no field 'width'"):
        arm(rows, DENOISER, width=3)


def test_an_arm_has_no_run_of_other_code():
    rows = pd.concat([table({0: 9.0, 1: 9.0}, revision=REVISION + 1), table({1: 6.0}),
                      table({2: 9.0}, revision=REVISION + 1), table({0: 5.0})])
    assert list(arm(rows, DENOISER).test_mae) == [5.0, 6.0]
    rows = pd.concat([rows, table({0: 1.0}, revision=REVISION + 1, lr=1e-3),
                      table({0: 7.0}, lr=1e-4)])
    assert set(arm(rows, DENOISER, lr="best").lr) == {1e-5}  # 1e-3 has the least error
    assert arm(rows, varied(DENOISER, revision=REVISION + 2)).empty


def test_the_best_rate_is_chosen_on_validation_data():
    rows = pd.concat([table({0: 5.0, 1: 5.0}), table({0: 4.0, 1: 4.0}, lr=1e-4),
                      table({0: 3.0}, lr=1e-3, depth=6)])
    rows.test_mae = -rows.test_mae  # the test would choose otherwise
    assert set(arm(rows, DENOISER, lr="best").lr) == {1e-4}


def test_rates_are_compared_on_the_seeds_that_all_have():
    """Seeds differ by more than rates do: the default's own seeds must not decide."""
    rows = pd.concat([table({0: 5.0, 1: 5.0, 2: 1.0, 3: 1.0}), table({0: 4.0, 1: 4.0}, lr=1e-4)])
    assert set(arm(rows, DENOISER, lr="best").lr) == {1e-4}
    assert arm(table({0: 5.0}), DENOISER, lr="best").empty  # one rate is no choice


def test_runs_of_two_precisions_are_never_paired():
    asked = Contrast("x", DENOISER, a={"depth": 6}, score="test_mae")
    half, single = {"precision": "bfloat16"}, {"precision": "float32"}
    rows = pd.concat([table({0: 5.0, 1: 5.0, 2: 5.0}, **half), table({3: 9.0}, **single),
                      table({0: 4.0, 1: 4.0, 3: 4.0}, **single, depth=6),
                      table({2: 1.0}, **half, depth=6)])
    assert len(differences(rows, asked)) == 0
    mixed = pd.concat([table({0: 5.0}, **half), table({0: 6.0, 1: 6.0}, **single)])
    assert list(arm(mixed, DENOISER).test_mae) == [6.0, 6.0]  # the larger block


def test_a_field_that_came_later_is_at_its_default_in_older_rows():
    rows = table({0: 5.0}).drop(columns=["residual", "schedule"])
    assert len(arm(rows, DENOISER)) == 1
    assert arm(rows, DENOISER, residual=True).empty


def test_a_larger_scale_can_take_a_verdict_back():
    small = pd.DataFrame({"contrast": list("abcd"), "mean": [0.3, -0.3, 0.3, 0.3],
                          "smallest": 0.1, "verdict": [HOLDS, FAILS, HOLDS, OPEN]})
    large = pd.DataFrame({"contrast": list("abcd"), "mean": [0.0, 0.2, 0.2, 0.0]})
    assert changes_with_scale(small, large) == ["a", "b"]
    assert changes_with_scale(small, large.assign(mean=np.nan)) == []


@pytest.mark.parametrize(("values", "found"), [
    ([1.0, 1.1, 0.9], BETTER),
    ([-1.0, -1.1, -0.9], WORSE),
    ([0.1, -0.1, 0.0, 0.05], SAME),
    ([1.0, 0.2, -0.4], UNANSWERED),
    ([0.3, 0.35, 0.28], UNANSWERED),  # better, but perhaps by less than matters
    ([9.0, 9.0], UNANSWERED),  # two values have no interval
    ([], UNANSWERED),
])
def test_an_answer_says_whether_an_effect_is_there_and_matters(values, found):
    assert answer(values, least=0.3) == found
    mirrored = {BETTER: WORSE, WORSE: BETTER}.get(found, found)
    assert answer([-value for value in values], least=0.3) == mirrored


@pytest.mark.parametrize(("values", "found"), [
    ([0.1, 0.9, 0.5], NOT_WORSE),  # perhaps better, and certainly no worse by 0.6
    ([1.0, 1.1, 0.9], BETTER),
    ([0.1, -0.1, 0.0, 0.05], SAME),
    ([-1.0, -1.1, -0.9], WORSE),
    ([-0.9, -0.1, -0.5], UNANSWERED),
])
def test_a_negative_least_effect_asks_whether_it_is_not_worse(values, found):
    assert answer(values, least=-0.6) == found


def test_a_higher_confidence_answers_less():
    values = [0.5, 0.9, 0.6, 0.8]
    assert answer(values, 0.3, 0.95) == BETTER and answer(values, 0.3, 0.999) == UNANSWERED


def test_the_first_look_that_answers_decides():
    rng = np.random.default_rng(0)
    clear, faint = rng.normal(5, 1, 40), rng.normal(0, 9, 40)
    assert first_answer(clear, 0.3) == (BETTER, 8) and first_answer(-clear, 0.3) == (WORSE, 8)
    assert first_answer(clear[:7], 0.3) == (UNANSWERED, 0)
    assert first_answer(faint[:20], 0.3) == (UNANSWERED, 16)
    turned = np.concatenate([clear[:8], -100 * np.ones(24)])
    assert first_answer(turned, 0.3) == (BETTER, 8)  # what came later is not looked at
    assert first_answer(np.full(8, 0.1) + 1e-3 * faint[:8], 0.3) == (SAME, 8)


def test_three_looks_together_err_one_time_in_twenty():
    """No effect, and a thousand claims that there is one."""
    rng = np.random.default_rng(0)
    found = [first_answer(rng.normal(size=32), 0)[0] for _ in range(1000)]
    wrong = sum(name in (BETTER, WORSE) for name in found) / len(found)
    assert 0.03 < wrong < 0.065


@pytest.mark.parametrize("effect, found, least_often", [(0, SAME, 0.87), (0.6, BETTER, 0.92),
                                                        (-0.6, WORSE, 0.92)])
def test_so_many_seeds_tell_twice_the_least_effect_from_none(effect, found, least_often):
    """Simulated. The mean of the first seeds does not matter, their scatter does."""
    first = np.array([-1, -0.5, 0, 0.5, 1]) / np.std([-1, -0.5, 0, 0.5, 1], ddof=1)
    seeds = seeds_to_tell(first, 0.3)
    assert seeds == seeds_to_tell(first + 5, 0.3) < seeds_to_tell(2 * first, 0.3)
    values = np.random.default_rng(0).normal(effect, 1, (2000, seeds))
    share = np.mean([answer(row, 0.3, LOOK_CONFIDENCE) == found for row in values])
    assert least_often < share < 0.98


def test_how_many_seeds_tell_has_ends():
    assert seeds_to_tell([1.0, 1.0, 1.0], 0.1) == 3
    assert seeds_to_tell([-100.0, 0.0, 100.0], 0.1) is None


def test_an_effect_that_only_just_matters_is_seldom_said_to_be_more():
    rng = np.random.default_rng(1)
    found = [first_answer(rng.normal(0.25, 1, size=32), 0.25)[0] for _ in range(500)]
    assert sum(name == BETTER for name in found) / len(found) < 0.04


# --- the claims ---------------------------------------------------------------------------------

def test_all_claims_of_the_coursework_are_there_once():
    expected = [f"C{n}" for n in range(1, 13)]
    expected = [*expected[:3], "C4a", "C4b", *expected[4:]]
    assert [name for name in CLAIMS if name in expected] == expected
    for claim in CLAIMS.values():
        names = [contrast.name for contrast in claim.contrasts]
        assert names and len(set(names)) == len(names) and claim.coursework


def arms_of(claim: Claim):
    for contrast in claim.contrasts:
        for changes in (contrast.a, contrast.b):
            lr = {"lr": None} if changes.get("lr") == "best" else {}
            yield varied(contrast.base, **changes | lr)


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=lambda claim: claim.name)
def test_every_arm_of_a_claim_is_made_by_the_reference(claim):
    made = {config.resolved() for config in reference.configs([1, 2])}
    for seed in range(3):
        assert {varied(one, seed=seed).resolved() for one in arms_of(claim)} <= made


def test_every_row_of_the_courseworks_tables_is_made_with_five_seeds():
    made = {config.resolved() for config in reference.configs([1])}
    rows = [varied(DENOISER, **{factor: value}) for factor, values in {
        "optimizer": ("sgd", "rmsprop", "adamax", "adadelta", "adam", "nadam"),  # table 3
        "depth": (6, 8), "batch_size": (32, 50, 128, 512, 2048),  # tables 5 and 8
        "init": ("he_normal", "lecun_uniform", "xavier_normal", "orthogonal")}.items()  # table 6
        for value in values]
    rows += [varied(DESCRIPTOR, **{factor: value}) for factor, values in {
        "optimizer": ("sgd", "rmsprop", "adamax", "adadelta", "adam", "nadam"),  # table 4
        "init": ("he_normal", "lecun_uniform", "xavier_normal", "orthogonal"),  # table 7
        "source": ("denoised", "clean")}.items() for value in values]  # table 9
    rows.append(varied(DESCRIPTOR, **FINAL))  # table 10
    for seed in range(5):
        assert {varied(row, seed=seed).resolved() for row in rows} <= made


def test_the_final_model_unites_the_single_changes():
    assert all(FINAL[name] == value for change in SINGLE.values() for name, value in change.items())
    final = varied(DESCRIPTOR, **FINAL).resolved().denoiser()
    assert (final.optimizer, final.lr, final.depth, final.init, final.batch_size) == (
        "nadam", 2e-3, 8, "lecun_uniform", 32)


@pytest.mark.parametrize("times", [4, 16])
def test_a_larger_scale_multiplies_the_budget(times):
    large = varied(DESCRIPTOR, **at_scale(DESCRIPTOR, times))
    assert large.samples == times * DESCRIPTOR.samples
    assert large.denoiser_samples == times * DESCRIPTOR.denoiser_samples
    assert varied(DENOISER, **at_scale(DENOISER, times)).samples == times * DENOISER.samples


def test_judging_gives_a_row_per_contrast():
    claim = CLAIMS["C5"]
    rows = pd.concat([table({s: 9.0 + 0.01 * s for s in range(5)}),
                      table(dict.fromkeys(range(5), 8.0), depth=6),
                      table(dict.fromkeys(range(5), 8.3), depth=8)])
    judged = judge(rows, claim)
    assert list(judged.verdict) == [HOLDS, FAILS] and list(judged.seeds) == [5, 5]
    assert verdict(judged) == FAILS
    assert list(judge(rows, claim, times=4).seeds) == [0, 0]
    assert isinstance(claim.contrasts[0].base, DenoiserConfig)


def test_the_scorecard_takes_back_what_a_larger_scale_refutes():
    """At scale 1 depth helps by 1.0 and 0.5; at 4 times the budget no more."""
    rows = [table({s: 9.0 - 0.5 * depth / 2 + 0.01 * s for s in range(5)}, depth=depth)
            for depth in (4, 6, 8)]
    line = conclude(pd.concat(rows), CLAIMS["C5"])
    assert (line["verdict"], line["largest"], line["turned"]) == (HOLDS, 1, "")
    assert line["mean"] == pytest.approx(0.5) and line["seeds"] == 5
    rows += [table({0: 5.0}, depth=depth, samples=4 * DENOISER.samples) for depth in (4, 6)]
    line = conclude(pd.concat(rows), CLAIMS["C5"])
    assert (line["verdict"], line["largest"]) == ("undecided beyond this scale", 4)
    assert line["turned"] == "depth 6 over 4"


# --- what is asked of fresh seeds ---------------------------------------------------------------

def fresh(scores, **changes):
    return table(dict(enumerate(scores, 100)), averaged=0.2, **changes)


def test_answers_come_from_the_look_that_decides():
    noise = np.random.default_rng(0).normal(0, 0.1, 17)
    rows = pd.concat([fresh(9 + 0 * noise), fresh(8 + noise, depth=8)])
    (asked,) = answers(rows, QUESTIONS["depth"]).itertuples()
    assert (asked.contrast, asked.answer, asked.unit) == ("depth 8 over depth 4", BETTER, "grey levels")
    assert (asked.seeds, asked.recorded) == (8, 17)
    assert asked.low < asked.mean < asked.high and asked.mean == pytest.approx(1 - noise[:8].mean())


def test_seeds_that_left_out_the_same_photos_may_count_as_one():
    """Three pairs of eight seeds share a fold: with five values the answer may be open."""
    gains = np.array([1.5, 1.5, 0.6, 0.6, 0.6, 1.5, 1.5, 0.6])
    rows = pd.concat([fresh(9 + 0 * gains), fresh(9 - gains, depth=8)])
    (asked,) = answers(rows, QUESTIONS["depth"]).itertuples()
    assert (asked.answer, asked.by_fold) == (BETTER, UNANSWERED)
    steady = pd.concat([fresh(9 + 0 * gains), fresh(8 - gains / 10, depth=8)])
    (asked,) = answers(steady, QUESTIONS["depth"]).itertuples()
    assert (asked.answer, asked.by_fold) == (BETTER, BETTER)


def test_without_folds_each_seed_is_a_value_of_its_own():
    gains = pd.Series([1.0, 2.0, 3.0], index=[100, 105, 110])
    assert list(_by_fold(gains, DENOISER)) == [2.0]
    assert list(_by_fold(gains, varied(DENOISER, folds=0))) == [1.0, 2.0, 3.0]


def test_before_the_first_look_there_is_no_number():
    rows = pd.concat([fresh([9.0] * 7), fresh([8.0, 8.1, 8.2, 8.1, 8.3, 8.2, 8.0], depth=8)])
    (asked,) = answers(rows, QUESTIONS["depth"]).itertuples()
    assert asked.answer == UNANSWERED and asked.seeds == 0 and asked.recorded == 7
    assert np.isnan([asked.mean, asked.low, asked.high]).all()
    assert asked.by_fold == UNANSWERED and asked.needed is None


def test_a_run_that_diverged_counts_as_one_that_did_nothing():
    rows = pd.concat([fresh([9.0 + 0.1 * n for n in range(8)]), fresh([np.nan] * 8, depth=8)])
    rows["status"] = np.where(rows.test_mae.isna(), "diverged", "finished")
    (asked,) = answers(rows, QUESTIONS["depth"]).itertuples()
    assert asked.answer == WORSE and asked.mean == pytest.approx(9.35 - NOTHING["test_mae"])
    assert rows.test_mae.isna().sum() == 8  # the table itself is as it was


def test_each_question_can_be_put_to_both_weights():
    for contrasts in QUESTIONS.values():
        for contrast in contrasts:
            assert by_weights(contrast, "last step") == contrast and contrast.base.averaged
            assert by_weights(contrast, "averaged").score == f"{contrast.score}_averaged"
            assert by_weights(contrast, "averaged").unit == contrast.unit


def scored_sequences(gain, noise=0.0):
    """Errors of 8 networks on 6 sequences, the harder of which more of them have seen."""
    random, rows = np.random.default_rng(0), []
    for seed in range(8):
        seen = {4, 5} if seed % 2 else {seed % 6}
        for sequence in range(6):
            error = 3.0 * sequence + 0.5 * seed - gain * (sequence in seen)
            rows.append({"seed": seed, "sequence": f"v_{sequence}", "seen": sequence in seen,
                         "error": error + noise * random.normal()})
    return pd.DataFrame(rows)


def test_what_seeing_a_photo_gains_is_found_beside_hard_photos_and_good_networks():
    table = scored_sequences(0.7)
    assert gain_of_seeing(table) == pytest.approx([0.7] * 8)
    pairs = table.assign(pair=table.seed // 2)
    assert gain_of_seeing(pairs, over="pair") == pytest.approx([0.7] * 4)
    means = table.groupby("seen").error.mean()
    assert means[True] > means[False]  # by itself, what was seen looks harder


def test_what_seeing_gains_needs_networks_that_saw_different_photos():
    table = scored_sequences(1.0)
    alike = table[table.seed % 2 == 1]  # these four have seen the same two
    with pytest.raises(ValueError, match="4 networks saw the same sequences: expected some to"):
        gain_of_seeing(alike)


def test_noise_widens_the_interval_of_what_seeing_gains():
    values = gain_of_seeing(scored_sequences(0.0, noise=0.5))
    mean, low, high = interval(values)
    assert low < 0 < high and abs(mean) < 0.5 and len(values) == 8


@pytest.mark.slow
def test_what_doing_nothing_scores():
    """Measured on the test photos: what NOTHING says of a run that diverged."""
    patches = side(DENOISER.resolved(), "test")
    noisy = np.abs(patches["noisy"].astype(float) - patches["clean"]).mean()
    assert noisy == pytest.approx(NOTHING["test_mae"], abs=1e-3)
    patches = side(DESCRIPTOR.resolved(), "test")
    drawn = np.random.default_rng(0).normal(size=(len(patches), 16, 128)).astype(np.float32)
    tasks = tasks_for(patches, DESCRIPTOR.pairs, DESCRIPTOR.queries, DESCRIPTOR.distractors)
    found = evaluate(drawn, tasks)
    for task in TASKS:
        assert getattr(found, task) == pytest.approx(NOTHING[task], abs=0.01)
