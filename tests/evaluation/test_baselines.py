"""Classical descriptors and denoising: what they must not care about, and what they must."""

import cv2
import numpy as np
import pytest

from hpkit.evaluation.baselines import (
    noise_level,
    non_local_means,
    raw_pixels,
    rootsift,
    sift,
)
from hpkit.evaluation.describe import denoise, describe

DESCRIPTORS = {"sift": (sift, 128), "rootsift": (rootsift, 128), "raw_pixels": (raw_pixels, 1024)}


@pytest.fixture(scope="module")
def patches():
    """40 smooth random patches, uint8 (40, 32, 32), values 40..140."""
    random = np.random.default_rng(0)
    blurred = [cv2.GaussianBlur(random.normal(size=(64, 64)), (0, 0), 3)[16:48, 16:48]
               for _ in range(40)]
    return np.stack([cv2.normalize(b, None, 40, 140, cv2.NORM_MINMAX) for b in blurred]
                    ).round().astype(np.uint8)


def noisy(patches, sigma):
    noise = np.random.default_rng(1).normal(0, sigma, patches.shape)
    return np.clip(np.rint(patches + noise), 0, 255).astype(np.uint8)


def typical(described):
    """Mean distance between the descriptors of different patches."""
    return np.linalg.norm(described[1:] - described[:-1], axis=1).mean()


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_shape_and_use_with_describe(name, patches):
    function, dim = DESCRIPTORS[name]
    found = function(patches)
    assert found.shape == (40, dim)
    assert found.dtype == np.float32
    assert np.array_equal(describe(function, patches.reshape(4, 10, 32, 32), batch_size=7),
                          found.reshape(4, 10, dim))
    assert function(patches[:0]).shape[0] == 0


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_contrast_and_brightness_hardly_matter(name, patches):
    function, _ = DESCRIPTORS[name]
    brighter = np.rint(patches * 1.5 + 20).astype(np.uint8)
    change = np.linalg.norm(function(brighter) - function(patches), axis=1)
    assert change.max() < 0.1 * typical(function(patches))


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_noise_moves_a_descriptor_less_than_another_patch_does(name, patches):
    function, _ = DESCRIPTORS[name]
    change = np.linalg.norm(function(noisy(patches, 4)) - function(patches), axis=1)
    assert 0 < change.mean() < 0.5 * typical(function(patches))


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_a_turned_patch_is_another_patch(name, patches):
    """Upright descriptors: the patches of the data are turned already."""
    function, _ = DESCRIPTORS[name]
    turned = np.ascontiguousarray(np.rot90(patches, axes=(1, 2)))
    change = np.linalg.norm(function(turned) - function(patches), axis=1)
    assert change.mean() > 0.8 * typical(function(patches))


def test_turning_a_patch_turns_the_cells_and_directions_of_sift(patches):
    cells = sift(patches).reshape(-1, 4, 4, 8)
    turned = sift(np.ascontiguousarray(np.rot90(patches, axes=(1, 2)))).reshape(-1, 4, 4, 8)
    expected = np.roll(np.rot90(cells, axes=(1, 2)), 2, axis=3)  # a quarter is 2 of 8 directions
    assert np.abs(turned - expected).mean() < 0.25 * np.abs(turned - cells).mean()


def test_the_grid_of_sift_covers_the_whole_patch():
    """An edge in each corner is seen by the cell in that corner, and mostly by it."""
    for row, column in ((0, 0), (0, 3), (3, 0), (3, 3)):
        patch = np.full((1, 32, 32), 100, np.uint8)
        y, x = 1 + 8 * row, 1 + 8 * column
        patch[0, y:y + 5, x:x + 5] = 200
        cells = sift(patch).reshape(4, 4, 8).sum(2)
        assert np.unravel_index(cells.argmax(), cells.shape) == (row, column)
        assert cells[row, column] > 0.5 * cells.sum()


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_a_flat_patch_is_zero(name):
    assert not DESCRIPTORS[name][0](np.full((2, 32, 32), 90, np.uint8)).any()


def test_rootsift_by_hand(patches):
    histograms = sift(patches)
    expected = np.sqrt(histograms / histograms.sum(1, keepdims=True))
    assert rootsift(patches) == pytest.approx(expected, abs=1e-6)
    assert np.linalg.norm(rootsift(patches), axis=1) == pytest.approx(np.ones(40), abs=1e-5)


def test_raw_pixels_by_hand():
    patch = np.zeros((1, 2, 2), np.uint8)
    patch[0, 0] = 10
    assert raw_pixels(patch).tolist() == [[0.5, 0.5, -0.5, -0.5]]


@pytest.mark.parametrize("sigma", [5, 15, 30])
def test_non_local_means_removes_most_of_the_noise_on_smooth_patches(patches, sigma):
    dirty = noisy(patches, sigma)
    before = np.abs(dirty.astype(float) - patches).mean()
    after = np.abs(denoise(non_local_means, dirty).astype(float) - patches).mean()
    assert after < 0.6 * before


def test_non_local_means_keeps_clean_and_flat_patches(patches):
    kept = non_local_means(patches)
    assert kept.dtype == np.uint8
    assert np.abs(kept.astype(float) - patches).mean() < 1
    flat = np.full((2, 32, 32), 90, np.uint8)
    assert np.array_equal(non_local_means(flat), flat)
    assert non_local_means(flat[:0]).shape == (0, 32, 32)


@pytest.mark.parametrize("sigma", [3, 10, 30])
def test_noise_level_finds_the_noise(patches, sigma):
    grey = np.full((40, 32, 32), 128, np.uint8)
    assert noise_level(noisy(grey, sigma)).mean() == pytest.approx(sigma, rel=0.05)
    assert noise_level(noisy(patches, sigma)).mean() == pytest.approx(sigma, rel=0.15)


@pytest.mark.parametrize("side", [64, 65, 96, 33])
@pytest.mark.parametrize("name", ["sift", "rootsift"])
def test_sift_of_a_larger_patch_is_that_of_the_same_patch_made_smaller(name, side, patches):
    """The release's patches have 65 pixels: a grid of 32 would look at their middle alone."""
    function, _ = DESCRIPTORS[name]
    large = np.stack([cv2.resize(patch, (side, side), interpolation=cv2.INTER_CUBIC)
                      for patch in patches])
    change = np.linalg.norm(function(large) - function(patches), axis=1)
    assert change.mean() < 0.15 * typical(function(patches))


def test_the_grid_covers_the_whole_of_a_patch_of_any_size():
    for side in (16, 64, 65):
        patch = np.full((1, side, side), 100, np.uint8)
        patch[0, -side // 6:, -side // 6:] = 200  # in the last corner
        cells = sift(patch).reshape(4, 4, 8).sum(2)
        assert np.unravel_index(cells.argmax(), cells.shape) == (3, 3)


@pytest.mark.parametrize("function", [sift, rootsift, raw_pixels, non_local_means])
@pytest.mark.parametrize(("patches", "found"), [
    (np.zeros((32, 32), np.uint8), r"uint8 \(32, 32\)"),  # one patch, not 32 rows of garbage
    (np.zeros((2, 16, 32, 32), np.uint8), r"uint8 \(2, 16, 32, 32\)"),
    (np.zeros((2, 32, 30), np.uint8), r"uint8 \(2, 32, 30\)"),
    (np.zeros((2, 32, 32)), r"float64 \(2, 32, 32\)"),
    ([[1, 2]], r"list \(\)"),
])
def test_other_patches_are_refused_in_one_sentence(function, patches, found):
    with pytest.raises(ValueError, match=f"patches are {found}, expected uint8"):
        function(patches)
