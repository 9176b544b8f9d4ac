"""The richer training set: only training photos, the same patches for everyone, photos' own tests.
"""

import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest

from hpkit.data import geometry, photos, scenes, strips
from hpkit.data.patches import PATCH_TYPES
from hpkit.data.sets import data_set, load
from hpkit.experiments.build import side
from hpkit.experiments.configs import DescriptorConfig
from hpkit.experiments.runs import ablate

TABLE = scenes.scene_table()
PHOTOS = photos.photo_table()
COLOUR, GREY = "s0_rocket", "s0_page"  # two small photos


def points_of(sequence: str, number: int | None = None) -> pd.DataFrame:
    return TABLE[TABLE.sequence == sequence].head(number)


@pytest.fixture(scope="module")
def found():
    """The patches of 40 points of each of two sequences."""
    return {sequence: scenes.scene(sequence, points_of(sequence, 40))
            for sequence in (COLOUR, GREY)}


def test_scenes_are_of_training_photos_alone():
    of = {sequence.partition("_")[2] for sequence in TABLE.sequence.unique()}
    assert of == set(PHOTOS.name[PHOTOS.split == "train"])
    assert not of & set(PHOTOS.name[PHOTOS.split != "train"])


def test_points_are_the_committed_ones_dealt_evenly():
    counts = TABLE.groupby("sequence").size()
    assert len(TABLE) == 12777 and len(counts) == 51
    assert counts.min() >= 200 and counts.max() <= 300
    for _, group in counts.groupby(counts.index.str.partition("_").get_level_values(2)):
        assert group.max() - group.min() <= 1
    ours, theirs = (set(table.sequence) for table in (TABLE, photos.keypoint_table()))
    assert not ours & theirs


def test_no_point_is_in_two_sequences():
    where = TABLE.assign(photo=TABLE.sequence.str.partition("_")[2])
    assert not where.duplicated(["photo", "x", "y", "radius"]).any()


def test_every_region_lies_within_its_photo():
    for sequence in (COLOUR, GREY, "s0_chelsea"):
        height, width = photos.read_photo(sequence[3:]).shape
        points = points_of(sequence)
        x, y = points.x, points.y
        inside = np.minimum.reduce([x, y, width - 1 - x, height - 1 - y])
        assert (inside >= 1.9 * points.radius).all()


def test_a_colour_photo_is_the_grey_one_but_for_rounding():
    for name in ("rocket", "page"):
        colour, grey = photos.read_photo(name, colour=True), photos.read_photo(name)
        assert colour.dtype == np.uint8 and colour.shape == (*grey.shape, 3)
        assert np.abs(colour.astype(float) @ [0.299, 0.587, 0.114] - grey).max() < 1


@pytest.mark.parametrize("sequence", [COLOUR, GREY])
def test_the_reference_is_cut_from_the_plain_photo(sequence, found):
    patches, points = found[sequence], points_of(sequence, 40)
    assert patches.dtype == np.uint8 and patches.shape == (40, 16, 32, 32)
    still = np.tile(np.eye(2), (40, 1, 1)), np.zeros((40, 2))
    strip = geometry.cut(photos.read_photo(sequence[3:]), *geometry.frames(points, *still), np.eye(3))
    plain = strips.shrink(strip).reshape(40, 32, 32)
    assert np.abs(patches[:, 0].astype(int) - plain).max() <= 1


def correlations(patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each column with each other of the same point, and with itself of another point."""
    flat = patches.reshape(len(patches), 16, -1).astype(float)
    flat -= flat.mean(2, keepdims=True)
    flat /= np.linalg.norm(flat, axis=2, keepdims=True) + 1e-9
    return flat @ flat.transpose(0, 2, 1), (flat * np.roll(flat, 7, axis=0)).sum(2)


@pytest.mark.parametrize("sequence", [COLOUR, GREY])
def test_positives_look_alike_and_change_grows(sequence, found):
    same, other = correlations(found[sequence])
    assert same[:, ~np.eye(16, dtype=bool)].mean() > other.mean() + 0.2
    assert same[:, ~np.eye(16, dtype=bool)].max() < 0.9999  # no two columns are the same image
    easy, hard, tough = (same[:, 0, columns].mean()
                         for columns in (slice(1, 6), slice(6, 11), slice(11, 16)))
    assert 1 > easy > hard + 0.05 > tough + 0.1 > other.mean() + 0.25


@pytest.mark.parametrize("sequence", [COLOUR, GREY])
def test_without_a_detectors_noise_all_columns_show_the_same_region(sequence, monkeypatch):
    """What differs then is light, lens and viewpoint: a wrong homography would show at once."""
    monkeypatch.setattr(scenes, "JITTER", dict.fromkeys(geometry.JITTER, 0.0))
    same, other = correlations(scenes.scene(sequence, points_of(sequence, 40)))
    assert np.median(same[:, 0], axis=0).min() > 0.6 > other.mean() + 0.3
    assert same[:, 0].mean() > 0.85


def test_a_scene_is_the_same_whenever_it_is_made(found):
    np.random.seed(1)
    assert np.array_equal(scenes.scene(GREY, points_of(GREY, 40)), found[GREY])


def test_a_scene_does_not_change_global_random_state():
    np.random.seed(2)
    expected = np.random.uniform()
    np.random.seed(2)
    scenes.scene(GREY, points_of(GREY, 2))
    assert np.random.uniform() == expected


def test_a_view_without_strength_only_moves():
    """At strength 0 colours, light and lens are as they are: what is left is a slight blur."""
    colour = photos.read_photo("rocket", colour=True).astype(np.float32)
    seen = 0
    for seed in range(6):
        image, homography = scenes.view(colour, 0.0, np.random.RandomState(seed))
        if np.array_equal(homography, np.eye(3)):
            seen += 1
            assert np.abs(image - photos.read_photo("rocket"))[9:-9, 9:-9].mean() < 1.5
    assert 0 < seen < 6


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_a_view_is_finite_and_says_where_the_photo_went(strength):
    colour = photos.read_photo("page", colour=True).astype(np.float32)
    for seed in range(12):
        image, homography = scenes.view(colour, strength, np.random.RandomState(seed))
        assert image.ndim == 2 and np.isfinite(image).all() and np.isfinite(homography).all()
        corners = np.array([[0, 0, 1], [384, 0, 1], [384, 191, 1], [0, 191, 1]]) @ homography.T
        corners = corners[:, :2] / corners[:, 2:]
        assert corners.min() > -1 and (corners.max(0) <= np.array(image.shape[::-1]) + 1).all()


def test_a_look_from_straight_above_changes_nothing():
    photo = photos.read_photo("page")
    image, homography = geometry.look_from(photo, 0, 0, 0, 0.3, 0)
    np.testing.assert_allclose(homography, np.eye(3), atol=1e-9)
    assert np.array_equal(image, photo)
    larger, homography = geometry.look_from(photo, 0, np.log(2), 0, 0, 0)
    assert larger.shape == (382, 768) and homography[0, 0] == pytest.approx(2)


# ---- The built set, of two sequences with four points each

@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """From when it is set up on, "scenes" is small, and is built in a folder of its own."""
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "photos-v1").symlink_to(photos.photos_folder())
    monkeypatch.setenv("HPKIT_DATA", str(tmp_path / "shared"))
    monkeypatch.setenv("HPKIT_CACHE", str(tmp_path / "cache"))
    table = pd.concat([points_of(COLOUR, 4), points_of(GREY, 4)])
    monkeypatch.setattr(scenes, "scene_table", lambda: table)
    return tmp_path / "cache" / "scenes-v1"


@pytest.mark.slow
def test_validation_and_test_are_those_of_photos_patch_for_patch(tiny, monkeypatch):
    data, of_photos = load("scenes"), load("photos")
    assert data.train.names == (GREY, COLOUR) and data.train.lengths == [4, 4]
    for name in ("validation", "test"):
        ours, theirs = getattr(data, name), getattr(of_photos, name)
        assert ours.names == theirs.names
        for source in ("clean", "noisy"):
            assert np.array_equal(ours[source], theirs[source])
    assert sorted(path.name for path in tiny.parent.iterdir()) == ["scenes-v1", "scenes-v1.lock"]
    sides = json.loads((tiny / "splits.json").read_text())["photos"]
    assert set(sides["train"]) == {GREY, COLOUR} and not any(
        name.startswith("s") for side in ("validation", "test") for name in sides[side])
    monkeypatch.setattr(scenes, "build_folder", None)  # built once
    assert len(load("scenes").train) == 8


@pytest.mark.slow
def test_training_patches_are_the_scenes_and_their_noisy_twins(tiny):
    train = load("scenes", points=3).train
    assert np.array_equal(train["clean"][:3], scenes.scene(GREY, points_of(GREY, 4))[:3])
    error = np.abs(train["noisy"].astype(int) - train["clean"]).mean((0, 2, 3))
    easy, hard, tough = error[1:].reshape(3, 5).mean(1)
    assert 0 < easy < hard < tough < 40
    assert len(error) == len(PATCH_TYPES)


@pytest.mark.slow
def test_where_files_cannot_be_linked_they_are_copied(tiny, monkeypatch):
    def refuse(*args: object) -> None:
        raise OSError("Invalid cross-device link")

    linked = scenes.scenes_folder()
    files = {path.name: path.read_bytes() for path in linked.glob("arrays/*_moon_*.npy")}
    shutil.rmtree(linked)
    monkeypatch.setattr(os, "link", refuse)
    copied = scenes.scenes_folder()
    assert len(files) == 4
    assert all((copied / "arrays" / name).read_bytes() == files[name] for name in files)
    assert all((copied / "arrays" / name).stat().st_nlink == 1 for name in files)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["clean", "noisy"])
def test_a_half_deleted_set_is_built_again(kind, tiny):
    folder = scenes.scenes_folder()
    file = folder / "arrays" / f"{GREY}_{kind}.npy"
    content = file.read_bytes()
    file.unlink()
    assert scenes.scenes_folder() == folder == tiny and file.read_bytes() == content
    assert (photos.photos_folder() / "arrays" / "i_moon_clean.npy").is_file()


def test_a_shared_set_that_is_whole_is_only_read(tiny, tmp_path):
    shutil.move(scenes.scenes_folder(), tmp_path / "shared" / "scenes-v1")
    assert scenes.scenes_folder() == tmp_path / "shared" / "scenes-v1" and not tiny.exists()


def test_the_set_has_a_version_and_a_split():
    assert data_set("scenes").version() == "scenes-v1" and data_set("scenes").split == "photos"
    ours, theirs = (DescriptorConfig(data=data, threads=1).resolved() for data in
                    ("scenes", "photos"))
    assert ours.split == theirs.split == "photos" and ours.key() != theirs.key()


@pytest.mark.slow
def test_a_fold_of_scenes_leaves_out_whole_photos(tiny):
    left_out = []
    for draw in range(2):
        names = side(DescriptorConfig(data="scenes", folds=2, draw=draw).resolved(), "train").names
        left_out += sorted({GREY, COLOUR} - set(names))
    assert left_out == [GREY, COLOUR]


@pytest.mark.slow
def test_a_descriptor_trains_on_scenes(tiny, tmp_path):
    base = DescriptorConfig(data="scenes", folds=0, source="mixed", test_source="noisy", epochs=1,
                            objective="hardest_all", samples=8, validation_samples=8, batch_size=4,
                            test_points=4, pairs=20, queries=2, distractors=4, threads=1,
                            device="cpu", precision="float32", optimizer="adamw", half=True)
    table = ablate(base, [0], store=tmp_path / "runs")
    assert list(table.data_version) == ["scenes-v1"] and table.matching.between(0, 1).all()
