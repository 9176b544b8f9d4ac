"""describe, denoise and the descriptor files."""

import zipfile

import numpy as np
import pandas as pd
import pytest
import torch
from tiny import patch_set
from torch import nn

from hpkit.data.patches import PATCH_TYPES, PatchSet
from hpkit.evaluation.describe import denoise, describe
from hpkit.evaluation.descriptor_files import read_descriptors, write_descriptors
from hpkit.networks.l2net import L2Net
from hpkit.networks.unet import UNet

CPU = {"device": "cpu", "precision": "float32"}


@pytest.fixture
def patches():
    return np.random.default_rng(0).integers(0, 256, (3, 16, 32, 32), np.uint8)


class Recorder(nn.Module):
    """Remembers what it was given; its output is the mean of each patch, and their number."""

    def __init__(self):
        super().__init__()
        self.dropout = nn.Dropout(0.5)
        self.frozen = nn.BatchNorm2d(1).eval()
        self.batches = []

    def forward(self, images):
        self.batches.append((tuple(images.shape), images.dtype, self.training,
                             torch.is_inference_mode_enabled()))
        means = self.dropout(images).mean((1, 2, 3))
        return torch.stack([means, torch.full_like(means, len(images))], 1)


class Times(nn.Module):
    """A denoiser that multiplies and adds."""

    def __init__(self, factor, shift=0.0):
        super().__init__()
        self.factor, self.shift = factor, shift

    def forward(self, images):
        return images * self.factor + self.shift


def test_a_network_is_given_float_batches_in_eval_mode_and_its_modes_are_put_back(patches):
    network = Recorder()
    found = describe(network, patches, batch_size=20, **CPU)
    assert network.batches == [((20, 1, 32, 32), torch.float32, False, True)] * 2 + [
        ((8, 1, 32, 32), torch.float32, False, True)]
    assert network.training and network.dropout.training and not network.frozen.training
    assert found.shape == (3, 16, 2)
    assert found.dtype == np.float32
    assert found[..., 0] == pytest.approx(patches.mean((2, 3)), rel=1e-5)


def test_modes_are_put_back_after_an_error(patches):
    network = Recorder()
    network.register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        describe(network, patches, **CPU)
    assert network.training


def test_a_batch_on_the_cpu_has_at_most_128_patches():
    network = Recorder()
    describe(network, np.zeros((200, 32, 32), np.uint8), batch_size=1000, **CPU)
    assert [batch[0][0] for batch in network.batches] == [128, 72]


@pytest.mark.parametrize("shape", [(5, 32, 32), (2, 16, 32, 32), (2, 3, 4, 32, 32)])
def test_leading_shape_is_kept(shape):
    many = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    means = describe(lambda batch: batch.mean((1, 2))[:, None], many, batch_size=7)
    assert means.shape == (*shape[:-2], 1)
    assert means[..., 0] == pytest.approx(many.mean((-2, -1)), rel=1e-6)
    assert np.array_equal(denoise(lambda batch: 255 - batch, many, batch_size=7), 255 - many)


def test_the_descriptor_network_does_not_depend_on_the_batch(patches):
    network = L2Net(seed=0)
    one = describe(network, patches[:1], batch_size=1, **CPU)
    assert one.shape == (1, 16, 128)
    assert one == pytest.approx(describe(network, patches[:1], **CPU), rel=1e-4, abs=1e-2)


def test_bfloat16_is_near_float32(patches):
    network = L2Net(seed=0)
    near = describe(network, patches[:1], device="cpu", precision="bfloat16")
    exact = describe(network, patches[:1], **CPU)
    assert near.dtype == np.float32
    assert 0 < np.abs(near - exact).mean() < 0.05 * np.abs(exact).mean()


def test_denoised_patches_are_rounded_and_clipped():
    row = np.zeros((1, 32, 32), np.uint8)
    row[0, 0, :4] = 0, 100, 101, 255
    found = denoise(Times(1.5, -0.6), row, **CPU)
    assert found.dtype == np.uint8
    assert found[0, 0, :4].tolist() == [0, 149, 151, 255]  # -0.6, 149.4, 150.9, 381.9


def test_unet_gives_patches(patches):
    found = denoise(UNet(seed=0), patches[:1], **CPU)
    assert found.shape == (1, 16, 32, 32)
    assert found.dtype == np.uint8


def test_a_memory_map_is_read_and_the_progress_bar_is_optional(patches, tmp_path, capsys):
    np.save(tmp_path / "p.npy", patches)
    mapped = np.load(tmp_path / "p.npy", mmap_mode="r")
    expected = describe(Recorder(), patches, **CPU)
    assert np.array_equal(describe(Recorder(), mapped, **CPU), expected)
    assert capsys.readouterr().err == ""
    describe(Recorder(), mapped, progress=True, **CPU)
    assert "batch" in capsys.readouterr().err


@pytest.mark.parametrize(("bad", "sentence"), [
    (np.zeros((2, 32, 32)), r"patches are float64 \(2, 32, 32\), expected uint8"),
    (np.zeros((32, 32), np.uint8), r"patches are uint8 \(32, 32\), expected .*at least one patch"),
    (np.zeros((0, 16, 32, 32), np.uint8), "with at least one patch"),
    ([1, 2], "patches are a list, expected an array"),
])
def test_other_patches_are_refused(bad, sentence):
    with pytest.raises(ValueError, match=sentence):
        describe(Recorder(), bad, **CPU)


def test_an_empty_batch_is_refused(patches):
    with pytest.raises(ValueError, match="batch_size is 0, expected at least 1"):
        describe(Recorder(), patches, batch_size=0, **CPU)


def test_outputs_must_be_as_many_as_patches(patches):
    with pytest.raises(ValueError, match="1 outputs for 48 patches"):
        describe(lambda batch: batch[:1].reshape(1, -1), patches)


def test_a_diverged_denoiser_is_refused(patches):
    with pytest.raises(ValueError, match="the denoiser's output is not finite"):
        denoise(Times(float("nan")), patches, **CPU)


# Descriptor files

@pytest.fixture
def arrays():
    random = np.random.default_rng(0)
    return {f"{name}/{t}": random.normal(size=(points, 4)).astype(np.float32)
            for name, points in (("i_a", 3), ("v_b", 2)) for t in PATCH_TYPES}


def write_folder(folder, arrays, delimiter):
    for name, array in arrays.items():
        path = folder / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savetxt(path, array, delimiter=delimiter, fmt="%10.5f")


def test_archive_is_read_in_the_order_of_names(arrays, tmp_path):
    np.savez(tmp_path / "d.npz", **arrays)
    found, lengths = read_descriptors(tmp_path / "d.npz", ["v_b", "i_a"])
    assert lengths == [2, 3]
    assert found.dtype == np.float32
    assert np.array_equal(found[:2, 7], arrays["v_b/h2"])
    assert np.array_equal(found[2:, 0], arrays["i_a/ref"])


def test_what_is_exported_is_read_back(tmp_path):
    patches = patch_set(points=6)
    patches = PatchSet({"clean": [patches["clean"][:2], patches["clean"][2:]]}, ("i_x", "v_y"))
    descriptors = np.random.default_rng(0).normal(size=(6, 16, 5)).astype(np.float32)
    write_descriptors(tmp_path, descriptors, patches)
    read, lengths = read_descriptors(tmp_path, ["i_x", "v_y"])
    assert np.array_equal(read, descriptors) and lengths == [2, 4]
    with pytest.raises(ValueError, match="descriptors of 5 points, expected 6"):
        write_descriptors(tmp_path, descriptors[:5], patches)


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_folder_of_either_delimiter(arrays, tmp_path, delimiter):
    write_folder(tmp_path, arrays, delimiter)
    found, lengths = read_descriptors(tmp_path, ["i_a", "v_b"])
    assert lengths == [3, 2]
    assert found[3:, 15] == pytest.approx(arrays["v_b/t5"], abs=5.1e-6)


@pytest.mark.parametrize(("change", "sentence"), [
    ({"v_b/h3": None}, "d.npz: no array v_b/h3, expected one for each"),
    ({"v_b/h3": np.zeros((3, 4))}, r"v_b/h3: shape \(3, 4\), .* as ref has: \(2, 4\)"),
    ({"v_b/h3": np.zeros((2, 5))}, r"v_b/h3: shape \(2, 5\)"),
    ({"v_b/ref": np.zeros(2)}, r"v_b/ref: shape \(2,\)"),
    ({f"v_b/{t}": np.zeros((2, 5)) for t in PATCH_TYPES},
     "descriptors of v_b have 5 values, expected 4 as in i_a"),
    ({f"v_b/{t}": np.zeros((0, 4)) for t in PATCH_TYPES}, r"shape \(0, 4\)"),
    ({"v_b/h3": np.array([[1, {}]], dtype=object)}, "v_b/h3 is not an array of numbers .*pickle"),
    ({"v_b/h3": np.array([["x"]])}, "v_b/h3 is not an array of numbers"),
])
def test_damaged_archives_are_refused(arrays, tmp_path, change, sentence):
    changed = {name: array for name, array in {**arrays, **change}.items() if array is not None}
    np.savez(tmp_path / "d.npz", **changed)
    with pytest.raises(ValueError, match=sentence):
        read_descriptors(tmp_path / "d.npz", ["i_a", "v_b"])


def test_a_broken_member_is_refused(arrays, tmp_path):
    path = tmp_path / "d.npz"
    np.savez(path, **arrays)
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("v_b/t5.npy").header_offset
    data = bytearray(path.read_bytes())
    data[start + 180] ^= 255
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"v_b/t5 is not an array of numbers .*CRC"):
        read_descriptors(path, ["i_a", "v_b"])


@pytest.mark.parametrize(("options", "sentence"), [
    ({}, "value 1 of row 1 is empty or NaN.*header=False, index=False"),
    ({"index": False}, r"ref: the first row counts 0, 1 ... 3, as pandas .*header=False"),
    ({"header": False}, r"ref: the first column counts 0, 1 ... 2, as pandas"),
    ({"index": False, "sep": ";"}, "the first row counts 0, 1"),
    ({"index": False, "header": ["a", "b", "c", "d"]}, "not a table of numbers .*a header or an in"),
    ({"header": False, "index": False}, None),
])
def test_what_pandas_adds_to_a_table_is_refused(arrays, tmp_path, options, sentence):
    write_folder(tmp_path, arrays, ",")
    for patch_type in PATCH_TYPES:
        table = pd.DataFrame(arrays[f"i_a/{patch_type}"])
        table.to_csv(tmp_path / "i_a" / f"{patch_type}.csv", **options)
    if sentence is None:
        assert read_descriptors(tmp_path, ["i_a"])[1] == [3]
        return
    with pytest.raises(ValueError, match=sentence) as error:
        read_descriptors(tmp_path, ["i_a"])
    assert len(str(error.value).replace(str(tmp_path), "")) < 300


def test_an_index_among_the_values_of_an_archive_is_refused(arrays, tmp_path):
    counted = {name: np.insert(array, 0, np.arange(len(array)), 1)
               for name, array in arrays.items()}
    np.savez(tmp_path / "d.npz", **counted)
    with pytest.raises(ValueError, match="i_a/ref: the first column counts"):
        read_descriptors(tmp_path / "d.npz", ["i_a", "v_b"])


@pytest.mark.parametrize(("text", "sentence"), [
    ("1,2,\n3,4,\n", "value 3 of row 1 is empty"),
    ("", "ref.csv: not a table of numbers"),
    ("1,2\n3,4,5\n", "ref.csv: not a table of numbers"),
    ("1,x\n", "ref.csv: not a table of numbers"),
])
def test_damaged_csv_files_are_refused(arrays, tmp_path, text, sentence):
    write_folder(tmp_path, arrays, ",")
    (tmp_path / "i_a" / "ref.csv").write_text(text)
    with pytest.raises(ValueError, match=sentence):
        read_descriptors(tmp_path, ["i_a"])


def test_missing_files_are_refused(arrays, tmp_path):
    write_folder(tmp_path, arrays, ",")
    (tmp_path / "v_b" / "e4.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"e4\.csv: not found"):
        read_descriptors(tmp_path, ["i_a", "v_b"])
    with pytest.raises(FileNotFoundError, match=r"expected an \.npz file or a folder"):
        read_descriptors(tmp_path / "no.npz", ["i_a"])
    (tmp_path / "other").write_text("1,2")
    with pytest.raises(ValueError, match=r"neither a whole \.npz file nor a folder"):
        read_descriptors(tmp_path / "other", ["i_a"])
