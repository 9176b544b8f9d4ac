"""Losses worked out by hand."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hpkit.losses import mae, squared_distance, triplet_loss


def test_mae_by_hand() -> None:
    output, target = torch.tensor([[1.0, 5.0], [0.0, -2.0]]), torch.tensor([[0.0, 7.0], [0.0, 1.0]])
    assert mae(output, target).item() == (1 + 2 + 0 + 3) / 4


def test_mae_refuses_shapes_that_would_broadcast() -> None:
    with pytest.raises(ValueError, match=r"\(2, 1, 4, 4\).*\(2, 4, 4\)"):
        mae(torch.zeros(2, 1, 4, 4), torch.zeros(2, 4, 4))


ANCHOR = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
POSITIVE = torch.tensor([[1.0, 1.0], [1.0, 1.0], [3.0, 0.0]])  # squared distances (sum) 2, 0, 9
NEGATIVE = torch.tensor([[0.0, 2.0], [4.0, 1.0], [0.0, 1.0]])  # 4, 9, 1


def test_triplet_loss_by_hand() -> None:
    # mean: 1 - 2 + 1 = 0, 0 - 4.5 + 1 -> 0, 4.5 - 0.5 + 1 = 5; sum: 2 - 4 + 1 -> 0, 0, 9 - 1 + 1
    assert triplet_loss(ANCHOR, POSITIVE, NEGATIVE).item() == pytest.approx(5 / 3)
    assert triplet_loss(ANCHOR, POSITIVE, NEGATIVE, reduce="sum").item() == pytest.approx(9 / 3)
    assert triplet_loss(ANCHOR, POSITIVE, NEGATIVE, margin=2).item() == pytest.approx((1 + 6) / 3)


def test_equal_descriptors_cost_the_margin() -> None:
    same = torch.ones(4, 128)
    assert triplet_loss(same, same, same).item() == 1
    assert triplet_loss(same, same, same, margin=0.25).item() == 0.25


def test_squared_distance_by_hand() -> None:
    assert squared_distance(ANCHOR, NEGATIVE, "sum").tolist() == [4, 9, 1]
    assert squared_distance(ANCHOR, NEGATIVE).tolist() == [2, 4.5, 0.5]


@given(seed=st.integers(0, 2**31), n=st.integers(1, 6), d=st.integers(1, 130),
       margin=st.floats(0.125, 8))
def test_sum_with_d_times_the_margin_is_d_times_the_mean(seed: int, n: int, d: int,
                                                        margin: float) -> None:
    triplet = torch.randn(3, n, d, generator=torch.Generator().manual_seed(seed))
    mean = triplet_loss(*triplet, margin=margin)
    torch.testing.assert_close(triplet_loss(*triplet, margin=d * margin, reduce="sum"), d * mean)


def test_gradient_pulls_the_positive_and_pushes_the_negative() -> None:
    anchor = torch.zeros(1, 2)
    positive, negative = torch.ones(1, 2).requires_grad_(), torch.ones(1, 2).requires_grad_()
    triplet_loss(anchor, positive, negative).backward()
    assert positive.grad.tolist() == [[1, 1]]  # d of mean((p - a)**2)
    assert negative.grad.tolist() == [[-1, -1]]


def test_unknown_reduce_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'max'.*mean, sum"):
        triplet_loss(ANCHOR, POSITIVE, NEGATIVE, reduce="max")
