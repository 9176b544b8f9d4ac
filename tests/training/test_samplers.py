"""What an epoch is made of: pairs, triplets and positives, drawn and handed to the loss."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import PATCHES, patch_set

from hpkit.data.noise import NOISE_FRACTION
from hpkit.data.patches import PatchSet
from hpkit.networks.l2net import L2Net
from hpkit.training.augment import inverted, turned, with_noise
from hpkit.training.fit import fit
from hpkit.training.samplers import Pairs, Positives, Triplets


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
        Pairs(PATCHES.select([]))
    with pytest.raises(ValueError, match="Triplets of 1 points: expected at least 2"):
        Triplets(PATCHES.head(1))
    for sampler in (Pairs, Triplets):
        with pytest.raises(ValueError, match="samples is 0"):
            sampler(PATCHES, samples=0)


# ---- Positives, and what is done to the patches of a batch


@contextmanager
def seeded(seed: int):
    """torch's random state from a seed, and afterwards as before."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        yield


@given(points=st.integers(2, 31), samples=st.integers(1, 300), seed=st.integers(0, 2**31))
@settings(max_examples=50, deadline=None)
def test_positives_are_two_columns_of_a_point_that_does_not_come_again_soon(points, samples,
                                                                           seed) -> None:
    black = np.zeros((points, 16, 32, 32), np.uint8)
    positives = Positives(PatchSet({"denoised": [black]}, ("i_black",)), samples=samples)
    window = points // 2 + 1
    drawn = positives.draw(generator(seed), batch_size=window)
    assert drawn.shape == (samples, 2) and drawn.min() >= 0 and drawn.max() < 16 * points
    point, column = drawn // 16, drawn % 16
    assert (point[:, 0] == point[:, 1]).all() and (column[:, 0] != column[:, 1]).all()
    for start in range(max(1, samples - window + 1)):
        seen = point[start:start + window, 0].tolist()
        assert len(set(seen)) == len(seen)
    counts = torch.bincount(point[:, 0], minlength=points)
    assert counts.max() - counts.min() <= 1
    assert torch.equal(drawn, positives.draw(generator(seed), batch_size=1))


def test_a_batch_with_a_point_twice_is_refused() -> None:
    positives = Positives(patch_set(20), samples=100)
    assert len(positives.draw(generator(0), batch_size=11)) == 100
    with pytest.raises(ValueError, match="must not have one twice: expected at most 11"):
        positives.draw(generator(0), batch_size=12)
    with pytest.raises(ValueError, match="expected at most 11"):  # before anything is trained
        fit(L2Net(seed=0), positives, epochs=1, batch_size=50, device="cpu")
    once = Positives(patch_set(20), samples=20)  # none comes again
    assert len(once.draw(generator(0), batch_size=50)) == 20


def test_positives_are_shuffled_anew_in_each_pass_and_by_each_generator() -> None:
    positives = Positives(patch_set(21), samples=63)
    first, other = positives.draw(generator(1), 10), positives.draw(generator(2), 10)
    passes = (first[:, 0] // 16).split(21)
    assert all(sorted(one.tolist()) == list(range(21)) for one in passes)
    assert len({tuple(one.tolist()) for one in passes}) == 3
    assert not torch.equal(first, other)


def test_positives_reach_every_patch_evenly() -> None:
    draw = Positives(patch_set(3), samples=48_000).draw(generator(0), 2)
    for numbers in draw.unbind(dim=1):
        counts = torch.bincount(numbers, minlength=48)
        assert counts.min() > 850 and counts.max() < 1150  # 1000 expected, sigma 31


@pytest.mark.parametrize("source", ["noisy", "clean"])
def test_positives_hand_the_loss_the_models_outputs_on_the_right_patches(source) -> None:
    positives = Positives(PATCHES, source=source)
    data = positives.on(torch.device("cpu"))
    pair = positives.outputs(lambda x: x.flatten(1) + 1, data, torch.tensor([[17, 18], [3, 0]]))
    for output, numbers in zip(pair, [[(1, 1), (0, 3)], [(1, 2), (0, 0)]], strict=True):
        assert output.dtype == torch.float32
        for patch, (point, column) in zip(output, numbers, strict=True):
            assert np.array_equal(patch.numpy(), PATCHES[source][point, column].ravel() + 1.0)


def test_triplets_and_positives_of_mixed_patches_start_from_the_clean_ones() -> None:
    only_clean = PatchSet({"clean": PATCHES.parts["clean"]}, PATCHES.names)
    batch, cpu = torch.tensor([[17, 18], [3, 0]]), torch.device("cpu")
    for kind in (Triplets, Positives):
        plain, never, always = (kind(only_clean, source=source, noisy_share=share) for source, share
                                in (("clean", 0.5), ("mixed", 0), ("mixed", 1)))
        expected = torch.cat(plain.ready(plain.on(cpu), batch))
        assert torch.equal(torch.cat(never.ready(never.on(cpu), batch)), expected)
        changed = torch.cat(always.ready(always.on(cpu), batch)) != expected
        assert changed.flatten(1).any(dim=1).all()
    with pytest.raises(ValueError, match=r"'clean'.*this set has noisy"):
        Positives(PatchSet({"noisy": PATCHES.parts["noisy"]}, PATCHES.names), source="mixed")


def test_all_eight_symmetries_occur_evenly_and_those_of_a_point_are_one() -> None:
    patch = torch.arange(9.0).view(3, 3)
    eight = [torch.rot90(side, turns) for side in (patch, patch.T) for turns in range(4)]
    with seeded(0):
        three = turned([patch.expand(800, 1, 3, 3) + shift for shift in (0, 100, 200)])
    numbers = [[next(i for i, e in enumerate(eight) if torch.equal(one[0] - shift, e))
                for one in patches] for shift, patches in zip((0, 100, 200), three, strict=True)]
    assert numbers[0] == numbers[1] == numbers[2]
    counts = np.bincount(numbers[0], minlength=8)
    assert len(counts) == 8 and counts.min() > 60 and counts.max() < 140  # 100 expected, sigma 9


def test_turning_moves_pixels_and_changes_none() -> None:
    patches = torch.from_numpy(PATCHES["noisy"].reshape(-1, 1, 32, 32)).float()
    with seeded(3):
        found, = turned([patches])
    assert not torch.equal(found, patches)
    assert torch.equal(found.flatten(1).sort().values, patches.flatten(1).sort().values)


def test_half_of_the_points_become_negatives_all_patches_alike() -> None:
    pixels = torch.arange(400.0).view(400, 1, 1, 1) % 100  # never its own negative
    patches = [pixels.expand(400, 1, 2, 2), pixels.expand(400, 1, 2, 2) + 50]
    with seeded(5):
        once = inverted(patches)
    chosen = [(a != b).flatten(1).all(dim=1) for a, b in zip(once, patches, strict=True)]
    assert torch.equal(chosen[0], chosen[1]) and 150 < chosen[0].sum() < 250
    assert torch.equal(once[1][chosen[1]], 255 - patches[1][chosen[1]])
    assert torch.equal(once[1][~chosen[1]], patches[1][~chosen[1]])
    with seeded(5):
        twice = inverted(once)
    assert all(map(torch.equal, twice, patches))


def test_noise_has_the_deviation_of_the_kits_noise_model() -> None:
    numbers = torch.arange(16 * 16)
    patches = torch.full((256, 1, 32, 32), 100.0)
    patches[..., 16:] = 150
    with seeded(0):
        errors = with_noise(patches, numbers, share=1) - patches
    starts = {"ref": 0, "easy": 1, "hard": 6, "tough": 11}
    for (level, start), end in zip(starts.items(), (1, 6, 11, 16), strict=True):
        found = errors[(numbers % 16 >= start) & (numbers % 16 < end)]
        assert found.mean().abs() < 0.3
        assert found.std().item() == pytest.approx(50 * NOISE_FRACTION[level], rel=0.02)
    neighbours = torch.stack([errors[..., 1:].flatten(), errors[..., :-1].flatten()])
    assert torch.corrcoef(neighbours)[0, 1].abs() < 0.01


def test_noise_is_for_a_share_of_the_patches_whole_grey_levels_and_in_range() -> None:
    numbers = torch.arange(400)
    patches = torch.zeros(400, 1, 32, 32)
    patches[..., ::2] = 255
    assert torch.equal(with_noise(patches, numbers, share=0), patches)
    with seeded(1):
        noisy = with_noise(patches, numbers, share=0.75)
    assert 260 < (noisy != patches).flatten(1).any(dim=1).sum() < 340  # 300 expected, sigma 9
    assert noisy.min() == 0 and noisy.max() == 255 and torch.equal(noisy, noisy.round())
    flat = torch.full((3, 1, 32, 32), 7.0)  # no contrast, no noise
    assert torch.equal(with_noise(flat, numbers[:3], share=1), flat)


def test_negatives_are_made_of_noisy_turned_patches() -> None:
    """With one patch for all points, what comes out is one of 16 up to noise."""
    one = np.broadcast_to(PATCHES["clean"][:1, :1], (64, 16, 32, 32)).copy()
    sampler = Positives(PatchSet({"clean": [one]}, ("i_one",)), source="mixed", noisy_share=0,
                        augment="flips_invert")
    with seeded(2):
        found = torch.cat(sampler.ready(sampler.on(torch.device("cpu")),
                                        sampler.draw(generator(0), 8)[:64]))
    patch = torch.from_numpy(one[0, 0]).float()
    upright = [torch.rot90(side, turns) for side in (patch, patch.T) for turns in range(4)]
    sixteen = [tuple(p.flatten().tolist()) for side in upright for p in (side, 255 - side)]
    seen = {tuple(p.flatten().tolist()) for p in found}
    assert seen <= set(sixteen) and len(seen) > 12
    assert torch.equal(found[:64], found[64:])  # the pairs alike


def of_photos(**sizes: int) -> PatchSet:
    """Sequences with so many points each; those of a photo are called alike after the "_"."""
    one = PATCHES["clean"][:1]
    parts = [np.repeat(one, points, axis=0) for points in sizes.values()]
    return PatchSet({"clean": parts}, tuple(sizes))


def test_batches_of_few_photos_have_their_points_from_so_many_and_none_twice() -> None:
    patches = of_photos(i_ant=20, v_ant=20, i_bee=30, v_cat=12, i_dog=15)
    sampler = Positives(patches, source="clean", samples=100, batch_photos=2)
    photo = np.array([name[2:] for name in patches.names])[patches.sequence]
    drawn = sampler.draw(generator(4), 20)
    assert drawn.shape == (100, 2) and torch.equal(drawn, sampler.draw(generator(4), 20))
    for batch in drawn.split(20):
        points = batch[:, 0] // 16
        assert len(set(points.tolist())) == 20 and len(set(photo[points])) == 2
    assert set(photo[drawn[:, 0] // 16]) == {"ant", "bee", "cat", "dog"}


@pytest.mark.parametrize(("photos", "size"), [(5, 20), (2, 30)])
def test_too_few_photos_or_points_for_a_batch_are_refused(photos: int, size: int) -> None:
    patches = of_photos(i_ant=20, i_bee=30, v_cat=12, i_dog=15)
    sampler = Positives(patches, source="clean", samples=60, batch_photos=photos)
    with pytest.raises(ValueError, match=rf"batch_photos is {photos}: there are 4 photos .*cat"):
        sampler.draw(generator(0), size)
