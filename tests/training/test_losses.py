"""Losses worked out by hand, against slow loops and other libraries, and by their properties."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

from hpkit.training.losses import (
    DENOISER_LOSSES,
    DESCRIPTOR_LOSSES,
    REDUCTIONS,
    anchor_swap_loss,
    charbonnier,
    distance,
    distances,
    hardest_all_loss,
    hardest_loss,
    hardest_sos_loss,
    mae,
    mse,
    second_order,
    ssim_loss,
    triplet_loss,
)


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


def test_distance_by_hand() -> None:
    assert distance(ANCHOR, NEGATIVE, "sum").tolist() == [4, 9, 1]
    assert distance(ANCHOR, NEGATIVE).tolist() == [2, 4.5, 0.5]
    assert distance(ANCHOR, NEGATIVE, "root").tolist() == pytest.approx([2, 3, 1], abs=1e-5)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31), n=st.integers(1, 6), d=st.integers(1, 130),
       margin=st.floats(0.125, 8))
def test_sum_with_d_times_the_margin_is_d_times_the_mean(seed: int, n: int, d: int,
                                                        margin: float) -> None:
    chance = torch.Generator().manual_seed(seed)
    triplet = torch.randn(3, n, d, generator=chance, dtype=torch.float64)
    mean = triplet_loss(*triplet, margin=margin)
    torch.testing.assert_close(triplet_loss(*triplet, margin=d * margin, reduce="sum"), d * mean)


def test_gradient_pulls_the_positive_and_pushes_the_negative() -> None:
    anchor = torch.zeros(1, 2)
    positive, negative = torch.ones(1, 2).requires_grad_(), torch.ones(1, 2).requires_grad_()
    triplet_loss(anchor, positive, negative).backward()
    assert positive.grad.tolist() == [[1, 1]]  # d of mean((p - a)**2)
    assert negative.grad.tolist() == [[-1, -1]]


def test_unknown_reduce_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'max'.*mean, sum, root"):
        triplet_loss(ANCHOR, POSITIVE, NEGATIVE, reduce="max")
    with pytest.raises(ValueError, match=r"'max'.*mean, sum, root"):
        hardest_loss(ANCHOR, POSITIVE, reduce="max")


# ---- The other losses of a denoiser


def pixels(n: int, seed: int, side: int = 32) -> torch.Tensor:
    return torch.rand(n, 1, side, side, generator=torch.Generator().manual_seed(seed)) * 255


def test_mse_and_charbonnier_by_hand() -> None:
    output, target = torch.tensor([3.0, 0.0, -4.0]), torch.tensor([0.0, 0.0, 0.0])
    assert mse(output, target).item() == pytest.approx(25 / 3)
    assert charbonnier(output, target, epsilon=4).item() == pytest.approx((1 + 32**0.5 - 4) / 3)


@settings(max_examples=50, deadline=None)
@given(error=st.floats(-255, 255), epsilon=st.floats(0.125, 4))
def test_charbonnier_is_under_mae_by_at_most_epsilon(error: float, epsilon: float) -> None:
    output, zero = torch.tensor([error], dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    assert -1e-9 <= mae(output, zero) - charbonnier(output, zero, epsilon) <= epsilon


@pytest.mark.parametrize("noise", [0.0, 5.0, 60.0])
@pytest.mark.parametrize("level", [0.0, 200.0])  # bright flat patches are where digits get lost
def test_ssim_loss_equals_scikit_image(noise: float, level: float) -> None:
    generator = torch.Generator().manual_seed(1)
    target = level + pixels(3, seed=2) * 0.2
    output = target + noise * torch.randn(target.shape, generator=generator)
    maps = [structural_similarity(o, t, gaussian_weights=True, sigma=1.5, data_range=255, full=True,
                                  use_sample_covariance=False)[1][5:-5, 5:-5]
            for o, t in zip(output.double().numpy()[:, 0], target.double().numpy()[:, 0],
                            strict=True)]
    assert ssim_loss(output, target).item() == pytest.approx(1 - np.mean(maps), abs=1e-4)


def test_ssim_loss_forgives_brightness_but_not_shape() -> None:
    patch = pixels(1, seed=0)
    assert ssim_loss(255 - patch, patch) > 1  # the negative: structure with the wrong sign
    assert ssim_loss(patch + 10, patch) < 0.05 < ssim_loss(patch.flip(2), patch)


@pytest.mark.parametrize("name", DENOISER_LOSSES)
def test_denoiser_losses_are_0_at_best_symmetric_and_pull_the_right_way(name: str) -> None:
    loss, target = DENOISER_LOSSES[name], pixels(2, seed=3)
    noisy = (target + 20 * torch.randn(target.shape, generator=torch.Generator().manual_seed(4)))
    assert loss(target, target).item() == pytest.approx(0, abs=1e-6)
    assert loss(noisy, target).item() == pytest.approx(loss(target, noisy).item(), rel=1e-5)
    for output in (noisy.clone().requires_grad_(), target.clone().requires_grad_()):
        loss(output, target).backward()
        assert output.grad.isfinite().all()
    noisy.requires_grad_()
    before = loss(noisy, target)
    step, = torch.autograd.grad(before, noisy)
    assert loss(noisy - step / step.abs().max(), target) < before
    with pytest.raises(ValueError, match="expected equal shapes"):
        loss(target, target[:, 0])


# ---- The other losses of a descriptor


def descriptors(n: int, seed: int, size: int = 128, parts: int = 2) -> torch.Tensor:
    """Anchors and near them positives; a third part is unrelated."""
    generator = torch.Generator().manual_seed(seed)
    anchor, noise, other = torch.randn(3, n, size, generator=generator)
    return torch.stack([anchor, anchor + 0.7 * noise, other])[:parts]


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31), n=st.integers(1, 6), m=st.integers(1, 6),
       reduce=st.sampled_from(REDUCTIONS), shift=st.sampled_from([0, 100]))
def test_the_matrix_holds_the_distances_of_all_rows(seed: int, n: int, m: int, reduce: str,
                                                    shift: float) -> None:
    first, second = descriptors(n, seed)[0] + shift, descriptors(m, seed + 1)[1] + shift
    expected = torch.stack([distance(row.expand(m, -1), second, reduce) for row in first])
    torch.testing.assert_close(distances(first, second, reduce), expected, rtol=1e-4, atol=1e-4)


def test_anchor_swap_by_hand() -> None:
    # d(p, n) sums to 2, 9, 10: only the first triplet has a nearer end, 2 - min(4, 2) + 1 = 1
    swapped = anchor_swap_loss(ANCHOR, POSITIVE, NEGATIVE, reduce="sum")
    assert swapped.item() == pytest.approx((1 + 9) / 3)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31), n=st.integers(1, 6), margin=st.floats(0, 8),
       reduce=st.sampled_from(REDUCTIONS))
def test_anchor_swap_never_costs_less_and_the_ends_are_alike(seed: int, n: int, margin: float,
                                                            reduce: str) -> None:
    a, p, n = descriptors(n, seed, size=3, parts=3)
    swapped = anchor_swap_loss(a, p, n, margin, reduce)
    assert swapped >= triplet_loss(a, p, n, margin, reduce)
    torch.testing.assert_close(swapped, anchor_swap_loss(p, a, n, margin, reduce))


def hardest_by_loop(a: np.ndarray, p: np.ndarray, margin: float, reduce: str) -> float:
    def d(x: np.ndarray, y: np.ndarray) -> float:
        total = ((x - y) ** 2).sum()
        return {"mean": total / len(x), "sum": total, "root": total**0.5}[reduce]

    costs = []
    for i in range(len(a)):
        others = [j for j in range(len(a)) if j != i]
        hardest = min([d(a[i], p[j]) for j in others] + [d(a[j], p[i]) for j in others])
        costs.append(max(0, margin + d(a[i], p[i]) - hardest))
    return float(np.mean(costs))


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31), n=st.integers(2, 7), margin=st.floats(0, 40),
       reduce=st.sampled_from(REDUCTIONS))
def test_hardest_loss_equals_a_loop(seed: int, n: int, margin: float, reduce: str) -> None:
    a, p = descriptors(n, seed, size=16)
    expected = hardest_by_loop(a.double().numpy(), p.double().numpy(), margin, reduce)
    assert hardest_loss(a, p, margin, reduce).item() == pytest.approx(expected, rel=1e-4, abs=1e-4)


def hardest_of_all_by_loop(a: np.ndarray, p: np.ndarray, margin: float, reduce: str) -> float:
    def d(x: np.ndarray, y: np.ndarray) -> float:
        total = ((x - y) ** 2).sum()
        return {"mean": total / len(x), "sum": total, "root": total**0.5}[reduce]

    costs = []
    for i in range(len(a)):
        hardest = min(min(d(a[i], p[j]), d(a[j], p[i]), d(a[i], a[j]), d(p[i], p[j]))
                      for j in range(len(a)) if j != i)
        costs.append(max(0, margin + d(a[i], p[i]) - hardest))
    return float(np.mean(costs))


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31), n=st.integers(2, 7), margin=st.floats(0, 40),
       reduce=st.sampled_from(REDUCTIONS))
def test_hardest_of_all_equals_a_loop_and_is_never_easier(seed: int, n: int, margin: float,
                                                          reduce: str) -> None:
    a, p = descriptors(n, seed, size=16)
    expected = hardest_of_all_by_loop(a.double().numpy(), p.double().numpy(), margin, reduce)
    found = hardest_all_loss(a, p, margin, reduce)
    assert found.item() == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert found >= hardest_loss(a, p, margin, reduce)
    torch.testing.assert_close(found, hardest_all_loss(p, a, margin, reduce))  # the ends are alike


def test_hardest_of_all_by_hand() -> None:
    """Anchors 0, 10 and positives 1, 7: the nearest others are 6 apart, p and p."""
    a, p = torch.tensor([[0.0], [10.0]]), torch.tensor([[1.0], [7.0]])
    assert hardest_loss(a, p, 10, "root").item() == pytest.approx(((1 - 7 + 10) + (3 - 7 + 10)) / 2)
    assert hardest_all_loss(a, p, 10, "root").item() == pytest.approx(
        ((1 - 6 + 10) + (3 - 6 + 10)) / 2)


def second_order_by_loop(a: np.ndarray, p: np.ndarray, neighbours: int) -> float:
    def nearest(x: np.ndarray, i: int) -> set:
        others = [j for j in range(len(x)) if j != i]
        return set(sorted(others, key=lambda j: np.linalg.norm(x[i] - x[j]))[:neighbours])

    return float(np.mean([sum(
        (np.linalg.norm(a[i] - a[j]) - np.linalg.norm(p[i] - p[j])) ** 2
        for j in nearest(a, i) | nearest(p, i)) ** 0.5 for i in range(len(a))]))


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31), n=st.integers(2, 8), neighbours=st.integers(1, 9))
def test_second_order_equals_a_loop(seed: int, n: int, neighbours: int) -> None:
    a, p = descriptors(n, seed, size=16)
    expected = second_order_by_loop(a.double().numpy(), p.double().numpy(), neighbours)
    assert second_order(a, p, neighbours).item() == pytest.approx(expected, rel=1e-4, abs=1e-4)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31), n=st.integers(2, 12))
def test_second_order_sees_no_rotation_and_no_shift(seed: int, n: int) -> None:
    anchor = descriptors(n, seed, size=16)[0]
    draws = torch.randn(16, 16, generator=torch.Generator().manual_seed(seed + 1))
    rotation = torch.linalg.qr(draws).Q
    assert second_order(anchor, anchor @ rotation + 3) < 1e-4
    assert second_order(anchor, 2 * anchor) > 0.1  # but it sees another scale


@pytest.mark.parametrize("loss", [hardest_loss, hardest_all_loss, hardest_sos_loss,
                                  second_order])
def test_one_pair_has_no_negatives(loss) -> None:
    with pytest.raises(ValueError, match="1 pairs: expected at least 2"):
        loss(torch.zeros(1, 4), torch.zeros(1, 4))


@pytest.mark.parametrize("reduce", REDUCTIONS)
@pytest.mark.parametrize("name", DESCRIPTOR_LOSSES)
@pytest.mark.parametrize("case", ["pairs equal", "all equal"])
def test_equal_descriptors_give_finite_losses_and_gradients(name: str, reduce: str,
                                                            case: str) -> None:
    start = descriptors(6, seed=0)[0] if case == "pairs equal" else torch.ones(6, 128)
    parts = [start.clone().requires_grad_() for _ in range(2 if "hardest" in name else 3)]
    loss = DESCRIPTOR_LOSSES[name].function(*parts, margin=1000, reduce=reduce)
    loss.backward()
    assert loss.isfinite() and all(part.grad.isfinite().all() for part in parts)
    if case == "all equal":
        assert loss.item() == pytest.approx(1000)


@pytest.mark.parametrize("reduce", REDUCTIONS)
@pytest.mark.parametrize("name", DESCRIPTOR_LOSSES)
def test_descending_lowers_each_descriptor_loss(name: str, reduce: str) -> None:
    parts = descriptors(8, seed=5, parts=2 if "hardest" in name else 3)
    x, costs = parts.clone().requires_grad_(), []
    for _ in range(5):
        costs.append(DESCRIPTOR_LOSSES[name].function(*x, margin=300, reduce=reduce))
        step, = torch.autograd.grad(costs[-1], x)
        x = (x - 0.1 * step / step.norm()).detach().requires_grad_()
    assert all(after < before for before, after in pairwise(costs))
