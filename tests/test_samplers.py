"""What an epoch is made of: pairs and triplets, drawn and handed to the loss."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import PATCHES, patch_set

from hpkit.patches import PatchSet
from hpkit.training import Pairs, Triplets


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(points=st.integers(2, 30), samples=st.integers(1, 300), seed=st.integers(0, 2**31))
@settings(max_examples=50, deadline=None)
def test_triplets_are_triplets(points: int, samples: int, seed: int) -> None:
    black = np.zeros((points, 16, 32, 32), np.uint8)
    patches = PatchSet({"denoised": [black]}, ("i_black",))
    drawn = Triplets(patches, samples=samples).draw(generator(seed))
    anchor, positive, negative = drawn.unbind(dim=1)
    assert len(anchor) == samples
    assert ((anchor // 16 == positive // 16) & (anchor != positive)).all()
    assert (anchor // 16 != negative // 16).all()
    for numbers in (anchor, positive, negative):
        assert numbers.min() >= 0 and numbers.max() < 16 * points


def test_triplets_reach_every_patch_evenly() -> None:
    draw = Triplets(patch_set(3), samples=48_000).draw(generator(0))
    for numbers in draw.unbind(dim=1):
        counts = torch.bincount(numbers, minlength=48)
        assert counts.min() > 850 and counts.max() < 1150  # 1000 expected, sigma 31
    steps = torch.bincount((draw[:, 1] - draw[:, 0]) % 16, minlength=16)
    assert steps[0] == 0 and steps[1:].min() > 2900  # 3200 expected


@given(points=st.integers(1, 5), samples=st.none() | st.integers(1, 200), seed=st.integers(0, 999))
@settings(max_examples=50, deadline=None)
def test_pairs_take_every_patch_before_any_twice(points, samples, seed) -> None:
    drawn = Pairs(patch_set(points), samples=samples).draw(generator(seed))
    total = points * 16
    assert len(drawn) == (samples or total)
    counts = torch.bincount(drawn, minlength=total)
    assert len(counts) == total and counts.max() - counts.min() <= 1


def test_pairs_are_shuffled_anew_by_each_generator() -> None:
    pairs = Pairs(PATCHES)
    assert torch.equal(pairs.draw(generator(1)), pairs.draw(generator(1)))
    assert not torch.equal(pairs.draw(generator(1)), pairs.draw(generator(2)))
    assert not torch.equal(pairs.draw(generator(1)), torch.arange(64))


def test_samplers_hand_the_loss_the_right_patches() -> None:
    cpu, batch = torch.device("cpu"), torch.tensor([17, 3])
    pairs = Pairs(PATCHES)
    output, target = pairs.outputs(lambda x: x + 1, pairs.on(cpu), batch)
    assert output.dtype == torch.float32 and output.shape == (2, 1, 32, 32)
    assert np.array_equal(output[0, 0].numpy(), PATCHES["noisy"][1, 1] + 1.0)
    assert np.array_equal(target[1, 0].numpy(), PATCHES["clean"][0, 3])
    triplets = Triplets(PATCHES, source="noisy")
    three = triplets.outputs(lambda x: x.flatten(1), triplets.on(cpu), torch.tensor([[17, 18, 3]]))
    for patch, (point, column) in zip(three, [(1, 1), (1, 2), (0, 3)], strict=True):
        assert np.array_equal(patch.numpy(), PATCHES["noisy"][point, column].reshape(1, -1))


def test_read_only_patches_do_not_warn(recwarn) -> None:
    clean = PATCHES["clean"].copy()
    clean.flags.writeable = False
    Triplets(PATCHES.with_source("locked", clean), "locked").on(torch.device("cpu"))
    assert not recwarn.list


def test_bad_samplers_are_refused_when_made() -> None:
    with pytest.raises(ValueError, match=r"blurred.*clean, noisy, denoised"):
        Triplets(PATCHES, source="blurred")
    with pytest.raises(ValueError, match=r"blurred.*clean, noisy, denoised"):
        Pairs(PATCHES, noisy="blurred")
    with pytest.raises(ValueError, match="Pairs of 0 points: expected at least 1"):
        Pairs(PATCHES.head(0))
    with pytest.raises(ValueError, match="Triplets of 1 points: expected at least 2"):
        Triplets(PATCHES.head(1))
    for sampler in (Pairs, Triplets):
        with pytest.raises(ValueError, match="samples is 0"):
            sampler(PATCHES, samples=0)
