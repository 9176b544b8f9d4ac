"""The patch matrix and the reader: what goes in comes out, and each bad file gets its sentence."""

import json
import mmap
import os
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from tiny import write_data

from hpkit.data import sets
from hpkit.data.noise import NOISE_FRACTION, add_noise, level_of
from hpkit.data.patches import LEVELS, PATCH_TYPES, PatchSet, photo_of
from hpkit.data.sets import load, read_sequences
from hpkit.data.splits import read_split
from hpkit.data.strips import read_png, read_sequence, shrink, write_sequence
from hpkit.evaluation.describe import denoise


def patches(points=3, seed=0, width=32):
    return np.random.RandomState(seed).randint(0, 256, (points, 16, width, width), np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Four sequences in the HPatches layout, of 2 to 5 points, and a split."""
    for number, name in enumerate(("i_one", "i_two", "v_one", "v_two")):
        write_sequence(tmp_path / name, patches(2 + number, number))
    split = {"a": {"name": "a", "train": ["i_one", "v_one", "v_two"], "test": ["i_two"]}}
    (tmp_path / "splits.json").write_text(json.dumps(split))
    return tmp_path


def test_the_sixteen_types():
    assert len(PATCH_TYPES) == 16 and PATCH_TYPES[0] == "ref"
    assert [PATCH_TYPES[LEVELS[level]] for level in ("easy", "hard", "tough")] == [
        tuple(f"{letter}{i}" for i in range(1, 6)) for letter in "eht"]


def test_what_is_written_is_read(tmp_path):
    clean, noisy = patches(seed=1), patches(seed=2)
    write_sequence(tmp_path / "i_x", clean, noisy)
    read = read_sequence(tmp_path / "i_x")
    assert np.array_equal(read["clean"], clean) and np.array_equal(read["noisy"], noisy)


def test_missing_twins_are_made_by_the_noise_model(folder):
    read = read_sequence(folder / "i_one")
    assert np.array_equal(read["noisy"][:, 3], add_noise(read["clean"][:, 3], "i_one", "e3"))


def test_65_pixels_are_averaged_to_32(tmp_path):
    clean = patches(width=65)
    write_sequence(tmp_path / "i_x", clean)
    read = read_sequence(tmp_path / "i_x")["clean"]
    alone = cv2.resize(clean[1, 4], (32, 32), interpolation=cv2.INTER_AREA)
    assert np.abs(read[1, 4].astype(int) - alone).max() <= 1


@settings(max_examples=25, deadline=None)
@given(hnp.arrays(np.uint8, (3, 65, 65)), st.integers(0, 2))
def test_shrinking_never_mixes_patches(strip, number):
    other = strip.copy()
    other[np.arange(3) != number] = 255 - other[np.arange(3) != number]
    one, two = (shrink(s.reshape(-1, 65)).reshape(3, 32, 32)[number] for s in (strip, other))
    assert np.array_equal(one, two)


def test_sides_do_not_share_a_sequence(folder):
    data = load(folder)
    names = [set(side.names) for side in (data.train, data.validation, data.test)]
    assert names == [{"v_one", "v_two"}, {"i_one"}, {"i_two"}]
    assert len(data.test) == 3 and len(load(folder, points=1).train) == 2


def test_select_keeps_rows_with_their_sequence(folder):
    every = read_sequences(folder, ["i_one", "i_two", "v_one"])
    some = every.select(["v_one", "i_one"])
    assert some.names == ("v_one", "i_one") and some.sequence.tolist() == [0] * 4 + [1] * 2
    assert np.array_equal(some["clean"][:4], patches(4, 2))


def test_choosing_reads_nothing(folder):
    every = read_sequences(folder, ["i_one", "i_two", "v_one"])
    some = every.select(["i_two"]).head(1)
    assert len(some["clean"]) == 1 and isinstance(memory_of(some["clean"]), mmap.mmap)
    assert not every._joined and every["clean"] is every["clean"]


def memory_of(array):
    """What an array is a view of in the end."""
    while isinstance(array, np.ndarray):
        array = array.base
    return array


def test_no_file_stays_open(folder):
    """HPatches has more arrays than some systems let a process open files."""
    every = read_sequences(folder, ["i_one", "i_two", "v_one"])
    assert len(every["clean"]) == sum(map(len, every.each("noisy"))) == len(every)
    held = [os.readlink(f) for f in Path("/proc/self/fd").iterdir() if f.is_symlink()]
    assert not [path for path in held if path.endswith(".npy")]


def test_what_is_handed_out_cannot_be_changed(folder):
    """A filter that works in place must not spoil the patches for the rest of a session."""
    patches = read_sequences(folder, ["i_one", "i_two"])
    of_one = read_sequences(folder, ["i_one"])
    denoised = patches.with_source("denoised", patches["clean"].copy())
    for array in (patches["clean"], of_one["noisy"], denoised["denoised"]):
        with pytest.raises(ValueError, match="read-only"):
            array[:] = 7
    assert not (denoise(in_place, patches["noisy"]) == patches["noisy"]).all()


def in_place(batch):
    batch //= 2
    return batch


@pytest.mark.parametrize("points", [0, -1])
def test_points_are_at_least_one(folder, points):
    with pytest.raises(ValueError, match=f"points is {points}, expected at least 1, or None"):
        load(folder, points=points)


@pytest.mark.parametrize("name, photo", [("i_moon", "moon"), ("v_moon", "moon"), ("ant", "ant"),
                                         ("s3_a_b", "a_b")])
def test_the_photo_of_a_sequence(name, photo):
    assert photo_of(name) == photo


def test_a_damaged_array_is_named(folder):
    arrays = sets.data_set(folder).arrays(("i_one",), False)
    cut(arrays / "i_one_clean.npy", 0.7)
    with pytest.raises(ValueError, match=r"i_one_clean.npy: changed since .*made anew"):
        load(folder)


def test_with_source_leaves_the_set_as_it_was(folder):
    one = read_sequences(folder, ["i_one"])
    two = one.with_source("denoised", one["clean"])
    assert "denoised" in two.sources and "denoised" not in one.sources
    with pytest.raises(ValueError, match="unknown source 'denoised': this set has clean, noisy"):
        one["denoised"]
    with pytest.raises(ValueError, match=r"expected uint8 \(2, 16, 32, 32\)"):
        one.with_source("denoised", one["clean"][:, :15])


@pytest.mark.parametrize("spoil, sentence", [
    (lambda f: (f / "e3.png").unlink(), r"e3.png: not found; a sequence needs the 16 files ref"),
    (lambda f: save(f / "h2.png", np.zeros((70, 32), np.uint8)), r"h2.png: 70 pixels high, .* 32"),
    (lambda f: save(f / "h2.png", np.zeros((80, 40), np.uint8)), r"h2.png: 40 pixels wide, .* 65"),
    (lambda f: save(f / "t5.png", np.zeros((96, 32), np.uint8)), r"t5.png: 3 patches, expected 2"),
    (lambda f: save(f / "t1.png", np.zeros((64, 32, 3), np.uint8)), r"t1.png: a PNG of mode 'RGB'"),
    (lambda f: save(f / "t1.png", np.zeros((64, 32), np.uint16)), r"t1.png: a PNG of mode 'I"),
    (lambda f: Image.new("LA", (32, 64)).save(f / "e1.png"), r"mode 'LA', expected 8-bit grey"),
    (lambda f: Image.new("P", (32, 64)).save(f / "e1.png"), r"e1.png: a PNG of mode 'P', exp"),
    (lambda f: (f / "e1.png").write_bytes(b""), r"e1.png: not a whole PNG file"),
    (lambda f: cut(f / "e1.png", 0.6), r"e1.png: not a whole PNG file"),
    (lambda f: save(f / "e1_noise.png", np.zeros((64, 32), np.uint8)), r"no _noise.png files, and 1 of 4"),
])
def test_bad_input_gets_one_sentence(folder, spoil, sentence):
    spoil(folder / "i_one")
    with pytest.raises((ValueError, FileNotFoundError), match=sentence):
        load(folder)


def save(path, pixels):
    Image.fromarray(pixels).save(path)


def cut(path, share):
    data = path.read_bytes()
    path.write_bytes(data[:int(len(data) * share)])


def test_a_sequence_cut_anywhere_is_refused(folder):
    path = folder / "i_one" / "e1.png"
    whole = path.read_bytes()
    for size in range(0, len(whole) - 12, 97):  # the last 12 bytes are an empty end marker
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match="not a whole PNG file"):
            read_png(path)


def test_colour_is_converted_only_if_asked(folder):
    grey = patches(2)[:, 0].reshape(64, 32)
    save(folder / "i_one" / "t1.png", np.stack([grey] * 3, -1))
    assert np.array_equal(read_png(folder / "i_one" / "t1.png", colour=True), grey)


def test_what_is_not_there_is_named(folder, tmp_path):
    with pytest.raises(ValueError, match="unknown split 'b', expected one of a"):
        load(folder, split="b")
    with pytest.raises(FileNotFoundError, match=r'expected .*"photos", .*"hpatches", or an'):
        load(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="no folder for sequence 'v_x'"):
        read_sequences(folder, ["i_one", "v_x"])
    with pytest.raises(ValueError, match="no sequence 'v_x' here"):
        read_sequences(folder, ["i_one"]).select(["v_x"])
    (folder / "splits.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"splits.json: not found; the official file comes"):
        load(folder)


def test_a_split_that_leaks_is_refused(folder):
    split = {"a": {"train": ["i_one", "i_two"], "test": ["i_two"]}}
    (folder / "splits.json").write_text(json.dumps(split))
    with pytest.raises(ValueError, match="'i_two' in both train and test"):
        read_split(folder, "a")
    split = {"a": {"train": ["i_one"], "validation": ["i_two"], "test": ["i_two"]}}
    (folder / "splits.json").write_text(json.dumps(split))
    with pytest.raises(ValueError, match="'i_two' in both train and test"):
        read_split(folder, "a")


def test_splits_are_found_where_the_official_repository_has_them(folder):
    (folder / "splits").mkdir()
    (folder / "splits.json").rename(folder / "splits" / "splits.json")
    assert read_split(folder, "a")["test"] == ["i_two"]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": []}', '{"a": ["i_one"]}',
                                  '{"a": {"test": null}}', '{"a": {"train": 5}}',
                                  '{"a": {"test": "i_one"}}', '{"a": {"test": [1]}}'])
def test_a_damaged_splits_file_is_named(folder, text):
    (folder / "splits.json").write_text(text)
    with pytest.raises(ValueError, match=r"splits.json: expected JSON like"):
        load(folder)


def test_noise_is_the_same_for_everyone_and_grows_with_the_level():
    flat = np.tile(np.linspace(60, 200, 32).astype(np.uint8), (40, 32, 1))
    noise = {t: add_noise(flat, "i_x", t).astype(int) - flat for t in ("e1", "h1", "t1")}
    for patch_type, values in noise.items():
        assert values.std() == pytest.approx(140 * NOISE_FRACTION[level_of(patch_type)], rel=0.05)
    neighbours = np.corrcoef(noise["h1"][:, :, 1:].ravel(), noise["h1"][:, :, :-1].ravel())[0, 1]
    assert abs(neighbours) < 0.02
    assert not np.array_equal(add_noise(flat, "i_x", "e2"), add_noise(flat, "i_x", "e1"))
    frozen = np.random.RandomState(zlib.crc32(b"i_x/e1")).standard_normal(3)
    assert frozen == pytest.approx(FROZEN)


FROZEN = [-0.46897036180077145, -0.7154054017698793, -1.668366899530008]


def test_a_patch_without_contrast_gets_no_noise():
    flat = np.full((2, 32, 32), 90, np.uint8)
    assert np.array_equal(add_noise(flat, "i_x", "t1"), flat)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"source 'noisy' of i_x is uint8 \(3, 16, 32, 32\), exp"):
        PatchSet({"clean": [patches(2)], "noisy": [patches(3)]}, ("i_x",))


@pytest.mark.parametrize(("levels", "beside"), [(1, False), (2, False), (1, True), (2, True)])
def test_a_folder_is_searched_for_its_sequences_like_a_zip(tmp_path, levels, beside):
    inner = tmp_path.joinpath("outer", *["data"] * levels)
    write_data(inner)
    (tmp_path / "outer" / "__MACOSX" / "data").mkdir(parents=True)
    if beside:
        (inner / "splits.json").rename(inner.parent / "splits.json")
    expected = load(inner)
    found = load(tmp_path / "outer")
    assert np.array_equal(found.test["clean"], expected.test["clean"])
    assert found.train.names == expected.train.names
    version = sets.data_set(inner).version()
    assert sets.data_set(tmp_path / "outer").version() == version
    (inner.parent if beside else inner).joinpath("splits.json").write_text("{}")
    assert sets.data_set(tmp_path / "outer").version() != version


def test_one_sequence_is_no_data_set(tmp_path):
    write_data(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"i_ant: one sequence, with a ref.png in it, expected"):
        load(tmp_path / "i_ant")


def test_two_data_sets_in_one_folder_are_not_guessed_between(tmp_path):
    for name in ("one", "other"):
        write_data(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"splits.json: not found"):
        load(tmp_path)
