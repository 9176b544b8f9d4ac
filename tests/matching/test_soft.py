"""Soft matches: shares by hand, both photos alike, and the cold and the hot end."""

import numpy as np
import pytest

from hpkit.matching.soft import dual_softmax, mutual_best


def test_of_two_candidates_the_share_is_a_logistic_of_the_gap():
    sure = dual_softmax(np.array([[0.9, 0.8]]), 0.1)
    assert sure[0, 0] == pytest.approx(1 / (1 + np.exp(-1)))       # a column of one has no rival


def test_the_dual_softmax_treats_both_photos_alike_and_never_overflows():
    similarity = np.random.default_rng(0).uniform(-1, 1, (4, 6))
    sure = dual_softmax(similarity, 0.1)
    assert np.allclose(sure.T, dual_softmax(similarity.T, 0.1))
    assert (sure.sum(0) <= 1 + 1e-9).all() and (sure.sum(1) <= 1 + 1e-9).all()
    cold = dual_softmax(similarity, 1e-4)                    # each chooses the other, or not
    assert np.array_equal(np.argwhere(cold > 0.5), mutual_best(similarity))
    hot = dual_softmax(similarity, 1e4)                      # against the mean candidate
    stands_out = 2 * similarity - similarity.mean(0) - similarity.mean(1, keepdims=True)
    assert np.array_equal(hot.ravel().argsort(), stands_out.ravel().argsort())
    with pytest.raises(ValueError, match="temperature is 0, expected a number over 0"):
        dual_softmax(similarity, 0)


def test_only_who_chooses_each_other_is_mutual():
    scores = np.array([[3.0, 1.0], [2.0, 1.5], [1.0, 1.2]])        # row 2 chooses 1, which has row 1
    assert mutual_best(scores).tolist() == [[0, 0]]
