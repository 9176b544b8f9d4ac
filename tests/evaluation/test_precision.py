"""Average precision, ROC area and nearest neighbours against hand-worked and slower answers."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from hpkit.evaluation.distances import nearest_neighbours, pair_distances
from hpkit.evaluation.precision import average_precision, precision_recall, roc_auc

LABELS = st.lists(st.booleans(), min_size=1, max_size=40)


@st.composite
def rankings(draw):
    """Labels with a hit and a miss, and distinct whole scores."""
    labels = np.array([True, False, *draw(LABELS)])
    scores = draw(st.permutations(range(len(labels))))
    return np.array(scores), labels


@pytest.mark.parametrize(("labels", "expected"), [
    ([1, 1, 0, 0], 1.0),
    ([1, 0, 1, 0], (1 + (1 / 2 + 2 / 3) / 2) / 2),  # second step: from 1 hit of 2 to 2 of 3
    ([0, 1], (0 + 1 / 2) / 2),
    ([0, 0, 1, 1], ((0 + 1 / 3) / 2 + (1 / 3 + 2 / 4) / 2) / 2),
    ([0, 0], 0.0),
    ([], 0.0),
])
def test_average_precision_by_hand(labels, expected):
    assert average_precision(-np.arange(len(labels)), labels) == pytest.approx(expected, abs=1e-9)


def test_curve_starts_at_recall_zero_precision_one():
    recall, precision = precision_recall([3, 2, 1], [0, 1, 1])
    assert recall.tolist() == [0, 0, 0.5, 1]
    assert precision == pytest.approx([1, 0, 1 / 2, 2 / 3], abs=1e-9)


def test_total_counts_hits_that_are_never_retrieved():
    assert average_precision([2, 1], [1, 1], total=4) == 0.5
    recall, _ = precision_recall([2, 1], [1, 1], total=4)
    assert recall[-1] == 0.5


@pytest.mark.parametrize("never", [-np.inf, np.nan])
def test_minus_infinity_and_nan_are_cut_off_but_counted(never):
    recall, _ = precision_recall([never, 1.0, 0.0], [1, 1, 0])
    assert recall.tolist() == [0, 0.5, 0.5]
    assert average_precision([never, 1.0, 0.0], [1, 1, 0]) == 0.5


def test_equal_scores_keep_their_order():
    assert average_precision([1, 1], [1, 0]) == 1
    assert average_precision([1, 1], [0, 1]) == pytest.approx(0.25)
    assert roc_auc([1, 1], [1, 0]) == 1
    assert roc_auc([1, 1], [0, 1]) == 0


@given(rankings())
def test_trapezoid_is_never_more_than_the_usual_steps(ranking):
    scores, labels = ranking
    steps = average_precision_score(labels, scores)
    assert 0 < average_precision(scores, labels) <= steps + 1e-9


@given(rankings())
def test_closed_form(ranking):
    scores, labels = ranking
    ranks = 1 + np.flatnonzero(labels[np.argsort(-scores)])
    j = np.arange(1, len(ranks) + 1)
    before = np.where(ranks == 1, 1, (j - 1) / np.maximum(ranks - 1, 1))
    assert average_precision(scores, labels) == pytest.approx(np.mean(j / ranks + before) / 2)


@given(rankings(), st.floats(0.1, 5), st.floats(-9, 9))
def test_only_the_order_of_scores_matters(ranking, factor, shift):
    scores, labels = ranking
    changed = np.exp(factor * scores / len(scores)) + shift
    assert average_precision(changed, labels) == average_precision(scores, labels)
    assert roc_auc(changed, labels) == roc_auc(scores, labels)


@given(rankings(), st.randoms(use_true_random=False))
def test_order_of_input_does_not_matter_without_ties(ranking, random):
    scores, labels = ranking
    order = random.sample(range(len(scores)), len(scores))
    assert average_precision(scores[order], labels[order]) == average_precision(scores, labels)


@given(rankings())
def test_roc_area_is_the_usual_one_without_ties(ranking):
    scores, labels = ranking
    assert roc_auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores))


@pytest.mark.parametrize(("scores", "labels", "total", "sentence"), [
    ([1, 2], [1], None, r"scores \(2,\) and labels \(1,\): expected two lists of one length"),
    ([[1], [2]], [[1], [0]], None, "expected two lists"),
    ([1, 2], [1, 2], None, "labels 0 or 1"),
    ([1, 2], [1, 1], 1, "total is 1, expected at least the 2 hits"),
])
def test_refused_rankings(scores, labels, total, sentence):
    with pytest.raises(ValueError, match=sentence):
        precision_recall(scores, labels, total)


@pytest.mark.parametrize("labels", [[0, 0], [1, 1]])
def test_roc_needs_both(labels):
    with pytest.raises(ValueError, match="at least one hit and one miss"):
        roc_auc([1, 2], labels)


@pytest.mark.parametrize("chunk", [1, 200, 10**6])
def test_nearest_neighbours_are_exact_and_the_first_of_equals(chunk):
    random = np.random.default_rng(0)
    # far from the origin, where |a|² + |b|² - 2ab has lost its last digits
    others = 1000 + random.normal(size=(30, 8)).astype(np.float32)
    others[20:] = others[10:20]
    others[5] = others[4] + np.float32(1e-4)
    queries = others + random.normal(size=others.shape, scale=1e-3).astype(np.float32)
    exact = np.linalg.norm(queries[:, None].astype(float) - others[None].astype(float), axis=2)
    distance, index = nearest_neighbours(torch.tensor(queries), torch.tensor(others), chunk)
    assert index.tolist() == exact.argmin(1).tolist()
    assert distance == pytest.approx(exact.min(1), rel=1e-12)
    assert (index[20:] < 20).all()


def test_one_candidate_is_the_nearest():
    distance, index = nearest_neighbours(torch.zeros(2, 3), torch.ones(1, 3), chunk=100)
    assert index.tolist() == [0, 0]
    assert distance == pytest.approx([3 ** 0.5] * 2)


def test_image_zero_is_the_reference_at_every_level():
    points = torch.zeros(2, 16, 1)
    points[0, :, 0] = torch.arange(16)  # the descriptor of point 0 is its column
    pairs = np.array([[0, 0, 1, 0], [0, 3, 1, 0], [0, 1, 0, 5]])
    found = {level: far.tolist() for level, far in pair_distances(points, pairs, chunk=1).items()}
    assert found == {"easy": [0, 3, 4], "hard": [0, 8, 4], "tough": [0, 13, 4]}
