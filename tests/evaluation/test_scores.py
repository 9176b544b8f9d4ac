"""The three tasks against the official benchmark's figures, and properties they must have."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from hpkit.data.tasks import Tasks, generate_tasks, read_tasks
from hpkit.evaluation.descriptor_files import read_descriptors
from hpkit.evaluation.scores import (
    POOLS,
    evaluate,
    matching,
    retrieval,
    retrieval_by_query,
    verification,
)

GOLDEN = Path(__file__).parents[1] / "golden"
LETTERS = {"easy": "e", "hard": "h", "tough": "t"}
EXACT = 1e-12


@pytest.fixture(scope="module", params=["small", "ties", "ranks"])
def golden(request):
    """(expected, descriptors, tasks) of one golden set."""
    folder = GOLDEN / request.param
    expected = json.loads((folder / "expected.json").read_text())
    names = json.loads((folder / "splits.json").read_text())[request.param]["test"]
    descriptors, lengths = read_descriptors(folder / "descriptors.npz", names)
    tasks = read_tasks(folder, request.param, names, lengths)
    return expected, descriptors, tasks


def test_verification_is_the_official_one(golden):
    expected, descriptors, tasks = golden
    for row in verification(descriptors, tasks, device="cpu").itertuples():
        level = LETTERS[row.level]
        imbalanced = expected["verification"]["imbalanced_ap"][level][row.negatives]
        balanced = expected["verification"]["balanced_roc_auc"][level][row.negatives]
        assert row.ap == pytest.approx(imbalanced, abs=EXACT)
        assert row.auc == pytest.approx(balanced, abs=EXACT)


def test_matching_is_the_official_one(golden):
    expected, descriptors, tasks = golden
    table = matching(descriptors, tasks, device="cpu")
    assert len(table) == len(tasks.names) * 15
    for row in table.itertuples():
        official = expected["matching"]["per_sequence"][row.sequence][LETTERS[row.level]]
        assert row.ap == pytest.approx(official[str(row.image)]["ap"], abs=EXACT)
        assert row.success_rate == pytest.approx(official[str(row.image)]["sr"], abs=EXACT)


def test_retrieval_is_the_official_one_query_by_query(golden):
    expected, descriptors, tasks = golden
    found = retrieval_by_query(descriptors, tasks, device="cpu")
    official = expected["retrieval"]["per_query_ap"]
    official = np.array([[official[level][str(pool)] for pool in POOLS] for level in "eht"])
    assert np.abs(found - official).max() <= EXACT


def test_scores_are_the_official_means(golden):
    expected, descriptors, tasks = golden
    scores = evaluate(descriptors, tasks, device="cpu")
    assert scores.verification == pytest.approx(expected["verification"]["mAP"], abs=EXACT)
    assert scores.matching == pytest.approx(expected["matching"]["mAP"], abs=EXACT)
    assert scores.retrieval == pytest.approx(expected["retrieval"]["mAP_float64"], abs=EXACT)


@pytest.mark.parametrize("task", [verification, matching, retrieval])
def test_one_number_at_a_time_gives_the_same(task):
    descriptors, tasks = synthetic(noise=0.6, points=40, pairs=200)
    tables = [task(descriptors, tasks, device="cpu", chunk=chunk) for chunk in (1, 999, 10**7)]
    pd.testing.assert_frame_equal(tables[0], tables[2], rtol=0, atol=0)
    pd.testing.assert_frame_equal(tables[1], tables[2], rtol=0, atol=0)


def synthetic(noise, points=200, dim=32, pairs=2000, seed=0):
    """Descriptors of 3 sequences: a random one per point, plus noise per column; and tasks."""
    random = np.random.default_rng(seed)
    descriptors = random.normal(size=(3 * points, 1, dim)) + noise * random.normal(
        size=(3 * points, 16, dim))
    contrast = np.full(3 * points, 70.0)
    tasks = generate_tasks("abc", [points] * 3, contrast, pairs, points // 2, 2 * points)
    return descriptors.astype(np.float32), tasks


def without_accidental_positives(tasks):
    """Tasks whose inter pairs never are one point: row by row replaced by the intra pair."""
    same = tasks.inter[:, 0] == tasks.inter[:, 2]
    inter = np.where(same[:, None], tasks.intra, tasks.inter)
    return Tasks(tasks.names, tasks.sequence, tasks.positives, tasks.intra, inter, tasks.queries,
                 tasks.distractors)


def test_perfect_descriptors_score_one():
    descriptors, tasks = synthetic(noise=0)
    scores = evaluate(descriptors, without_accidental_positives(tasks))
    assert scores.verification == pytest.approx(1, abs=1e-12)
    assert scores.matching == 1
    assert scores.retrieval == 1


def test_random_descriptors_are_at_chance():
    random = np.random.default_rng(0)
    _, tasks = synthetic(noise=0)
    scores = evaluate(random.normal(size=(600, 16, 32)).astype(np.float32), tasks)
    auc = scores.table[scores.table.task == "verification"].auc
    assert np.abs(auc - 0.5).max() < 0.04
    assert scores.verification == pytest.approx(1 / 6, abs=0.03)  # 1 positive to 5 negatives
    assert scores.matching < 0.01
    success = scores.table[scores.table.task == "matching"].success_rate
    assert success.mean() == pytest.approx(1 / 200, abs=0.003)
    assert scores.retrieval < 0.05


def test_more_noise_scores_less():
    scores = [evaluate(*synthetic(noise)) for noise in (0.3, 0.8, 1.5)]
    for task in ("verification", "matching", "retrieval"):
        values = [getattr(s, task) for s in scores]
        assert values == sorted(values, reverse=True)
        assert values[0] - values[-1] > 0.2


@pytest.mark.parametrize("change", ["scaled", "moved", "turned"])
def test_only_distances_matter(change):
    descriptors, tasks = synthetic(noise=0.8, points=60, pairs=500)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(32, 32)))[0]
    other = {"scaled": descriptors * 4, "moved": descriptors + 8,
             "turned": (descriptors @ turn).astype(np.float32)}[change]
    one, two = evaluate(descriptors, tasks), evaluate(other, tasks)
    for task in ("verification", "matching", "retrieval"):
        assert getattr(one, task) == pytest.approx(getattr(two, task), abs=1e-4)


def test_identical_descriptors_show_who_wins_ties():
    _, tasks = synthetic(noise=0, points=50, pairs=500)
    scores = evaluate(np.ones((150, 16, 4), np.float32), tasks)
    auc = scores.table[scores.table.task == "verification"].auc
    assert (auc == 0).all()  # negatives go first
    assert retrieval(np.ones((150, 16, 4)), tasks).ap.mean() == 1  # positives go first
    assert scores.retrieval < 0.1  # but not where all is alike
    success = scores.table[scores.table.task == "matching"].success_rate
    assert (success == 1 / 50).all()  # the first patch is everyone's nearest


def test_a_positive_beats_a_distractor_of_the_same_descriptor():
    descriptors, tasks = synthetic(noise=0.7, points=50, pairs=100)
    tied = descriptors.copy()
    rivals = np.setdiff1d(tasks.distractors, np.flatnonzero(tasks.sequence == 0))[:5]
    query = tasks.queries[tasks.sequence[tasks.queries] == 0][0]
    tied[query, 1:6] = descriptors[query, 0] + 1e-3 * descriptors[rivals, 0]
    tied[rivals, 0] = tied[query, 1:6]  # the five distractors nearest to the query
    ap = retrieval_by_query(tied, tasks)[0, -1, np.flatnonzero(tasks.queries == query)]
    # each of the five is at rank 1, 3, 5, 7, 9: a distractor of equal distance comes after it
    hits = np.array([1, 0] * 5)
    ranks = np.flatnonzero(hits) + 1
    j = np.arange(1, 6)
    expected = np.mean(j / ranks + np.array([1, *(j[1:] - 1) / (ranks[1:] - 1)])) / 2
    assert ap == pytest.approx(expected)


def test_pool_is_not_a_rank():
    """300 distractors: pool 100 takes the first 95 that are not of the query's sequence."""
    descriptors, tasks = synthetic(noise=1.0, points=200, pairs=10)
    table = retrieval(descriptors, tasks).pivot(index="level", columns="pool", values="ap")
    assert (table[100] > table[500]).all()
    assert (table[500] == table[20000]).all()
    own = tasks.sequence[tasks.distractors]
    first = {s: set(tasks.distractors[own != s][:95]) for s in range(3)}
    kept = [row for row in tasks.distractors if any(row in rows for rows in first.values())]
    fewer = Tasks(tasks.names, tasks.sequence, tasks.positives, tasks.intra, tasks.inter,
                  tasks.queries, np.array(kept))
    again = retrieval(descriptors, fewer).pivot(index="level", columns="pool", values="ap")
    assert np.array_equal(again[100], table[100])


def test_queries_whose_distractors_are_all_their_own_score_one():
    descriptors, tasks = synthetic(noise=1.0, points=50, pairs=10)
    mine = np.flatnonzero(tasks.sequence == 1)
    alone = Tasks(tasks.names, tasks.sequence, tasks.positives, tasks.intra, tasks.inter,
                  mine[:3], mine[3:])
    assert (retrieval(descriptors, alone).ap == 1).all()


def test_the_table_is_tidy_and_prints():
    scores = evaluate(*synthetic(noise=0.5, points=30, pairs=100))
    counts = scores.table.task.value_counts()
    assert counts.to_dict() == {"verification": 6, "matching": 3 * 15, "retrieval": 21}
    assert scores.table.ap.between(0, 1).all()
    assert repr(scores).startswith("Scores(verification=0.")
    tables = scores.tables()
    assert [list(table.index) for table in tables.values()] == [["easy", "hard", "tough",
                                                                 "mean"]] * 4
    assert list(tables["retrieval, average precision by pool"]) == list(POOLS)
    assert f"matching mAP     {scores.matching:.6f}" in str(scores)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("task", [verification, matching, retrieval, evaluate])
def test_descriptors_that_are_not_finite_are_refused(task, value):
    descriptors, tasks = synthetic(noise=0.5, points=30, pairs=10)
    descriptors[30 + 7, 8, 3] = value
    with pytest.raises(ValueError, match="the descriptor of b/h3, row 7, is not finite"):
        task(descriptors, tasks)


@pytest.mark.parametrize("shape", [(90, 16), (89, 16, 4), (90, 15, 4), (90, 16, 0)])
def test_descriptors_of_another_shape_are_refused(shape):
    _, tasks = synthetic(noise=0.5, points=30, pairs=10)
    with pytest.raises(ValueError, match=r"expected \(90, 16, d\): points, types, values"):
        evaluate(np.zeros(shape, np.float32), tasks)


@pytest.mark.parametrize("task", [evaluate, verification, matching, retrieval])
def test_a_tensor_is_checked_like_an_array(task):
    descriptors, tasks = synthetic(noise=0.8, points=60, pairs=500)
    array, tensor = task(descriptors, tasks), task(torch.from_numpy(descriptors), tasks)
    assert str(array) == str(tensor)
    with pytest.raises(ValueError, match=r"descriptors \(30, 16, 32\), expected \(180, 16, d\)"):
        task(torch.from_numpy(descriptors)[:30], tasks)
    spoiled = torch.from_numpy(descriptors).clone()
    spoiled[3, 2, 1] = torch.nan
    with pytest.raises(ValueError, match="row 3, is not finite"):
        task(spoiled, tasks)


def test_descriptors_that_are_all_alike_are_told(recwarn):
    descriptors, tasks = synthetic(noise=0.8, points=60, pairs=500)
    evaluate(descriptors, tasks)
    assert not recwarn.list
    for alike in (np.ones_like(descriptors), np.zeros_like(descriptors), 1e4 + 0 * descriptors):
        with pytest.warns(UserWarning, match="100% of the distances .* here they go to the distra"):
            found = evaluate(alike, tasks)
        assert found.retrieval < 0.1 and found.matching < 0.1
        assert retrieval(alike, tasks).ap.mean() > 0.99  # the official rule, which has a trap


def test_unknown_device_is_refused():
    with pytest.raises(ValueError, match="device"):
        matching(*synthetic(noise=0.5, points=30, pairs=10), device="abacus")


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16, torch.float16, torch.int16])
def test_a_tensor_of_any_kind_is_scored(kind):
    descriptors, tasks = synthetic(noise=0.8, points=30, pairs=50)
    tensor = torch.from_numpy(np.round(descriptors * 9)).to(kind)
    expected = evaluate(tensor.float().numpy(), tasks, device="cpu")
    assert evaluate(tensor, tasks, device="cpu") == expected
    if kind.is_floating_point:
        assert evaluate(tensor.requires_grad_(), tasks, device="cpu") == expected


@pytest.mark.parametrize(("descriptors", "sentence"), [
    ("text", "a str of <U4, expected real numbers"),
    ([[1, 2], [3]], "no numbers in an array"),
    (np.ones((2, 16, 3), complex), "ndarray of complex128, expected real numbers"),
    (np.full((2, 16, 3), None), "ndarray of object, expected real numbers"),
    (None, "a NoneType of object"),
])
def test_what_is_no_number_is_refused(descriptors, sentence):
    with pytest.raises(ValueError, match=sentence):
        evaluate(descriptors, synthetic(noise=0.8, points=30, pairs=50)[1])
