"""An exported network gives what torch gives, wherever it runs, and the file tells of itself."""

import sys
from functools import cache

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

import hpkit
from hpkit.__main__ import main
from hpkit.networks.denoisers import Joint, Residual
from hpkit.networks.export import is_onnx, shipped_onnx, to_onnx
from hpkit.networks.l2net import L2Net
from hpkit.networks.pretrained import card
from hpkit.networks.registry import DENOISERS, make_denoiser

LARGEST = {"descriptor": 3e6, "denoiser": 2e5}  # bytes
shipped = cache(shipped_onnx)


def patches(number: int) -> np.ndarray:
    pixels = np.random.RandomState(number).randint(0, 256, (number, 1, 32, 32))
    return pixels.astype(np.float32)


def trained(network: nn.Module) -> nn.Module:
    """With statistics in its batch norms, as after a training."""
    random = torch.Generator().manual_seed(0)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(generator=random)
            layer.running_var.uniform_(0.5, 2, generator=random)
    return network


NETWORKS = {
    "the coursework's descriptor": lambda: L2Net(0),
    "half, standardised, unit": lambda: L2Net(
        1, half=True, standardize=True, affine=False, final_norm=True, unit=True
    ),
    "a joint one": lambda: Joint(make_denoiser("unet", 4, 0), L2Net(2, standardize=True)),
    "a residual denoiser": lambda: Residual(make_denoiser("unet", 4, 0)),
} | {
    f"{name} {depth}": lambda name=name, depth=depth: make_denoiser(name, depth, 0)
    for name, entry in DENOISERS.items()
    for depth in entry.depths
}


def by_onnxruntime(content: bytes, batch: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(content)
    (output,) = session.run(None, {"patches": batch})
    return output


def by_opencv(content: bytes, batch: np.ndarray) -> np.ndarray:
    network = cv2.dnn.readNetFromONNX(np.frombuffer(content, np.uint8))
    network.setInput(batch)
    return network.forward()


@pytest.mark.parametrize("name", LARGEST)
@pytest.mark.parametrize("run", [by_onnxruntime, by_opencv])
@pytest.mark.parametrize("number", [1, 5])
def test_a_shipped_network_gives_the_same_without_torch(name, run, number):
    batch = patches(number)
    expected = hpkit.pretrained(name)(torch.tensor(batch)).detach().numpy()
    found = run(shipped(name), batch)
    assert found.shape == expected.shape and found.dtype == np.float32
    scale = 1 if name == "descriptor" else 255
    np.testing.assert_allclose(found / scale, expected / scale, rtol=0, atol=1e-5)


def test_exported_descriptors_are_of_length_one_even_of_a_flat_patch():
    flat = np.concatenate([patches(3), np.full((2, 1, 32, 32), [[[[0]]], [[[255]]]], np.float32)])
    lengths = np.linalg.norm(by_onnxruntime(shipped("descriptor"), flat), axis=1)
    np.testing.assert_allclose(lengths, 1, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("run", [by_onnxruntime, by_opencv])
def test_a_network_of_ones_own_is_exported_as_it_is(name, run):
    network = trained(NETWORKS[name]())
    content = to_onnx(network.train(), {"name": "mine"})
    assert network.training and all(layer.training for layer in network.modules())
    network.eval()
    for number in (1, 3):
        expected = network(torch.tensor(patches(number))).detach().numpy()
        found = run(content, patches(number))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", LARGEST)
def test_the_file_is_small_and_names_its_card(name):
    content = shipped(name)
    assert len(content) < LARGEST[name]
    model = onnx.load_from_string(content)
    told = {entry.key: entry.value for entry in model.metadata_props}
    for key in ("sha256", "data", "limits"):
        assert told[key] == card(name)[key]
    assert told["name"] == f"hpkit {name}" and told["licence"] == "MIT"
    assert "0 to 255" in told["pixels"]
    (batch,) = model.graph.input
    sizes = [size.dim_param or size.dim_value for size in batch.type.tensor_type.shape.dim]
    assert batch.name == "patches" and sizes == ["n", 1, 32, 32]
    assert model.opset_import[0].version <= 13


def test_weights_are_halved_only_where_nothing_is_lost():
    halves = [len(to_onnx(L2Net(0, half=True))), len(shipped("descriptor"))]
    assert halves[0] > 1.9 * halves[1]
    kept = [w for w in onnx.load_from_string(shipped("descriptor")).graph.initializer
            if len(w.dims) == 4]
    weights = {name: values for name, values in hpkit.pretrained().state_dict().items()
               if values.ndim == 4}
    assert len(kept) == len(weights) == 5
    for weight in kept:
        name = weight.name.removeprefix("network.").removesuffix(".half")
        found = onnx.numpy_helper.to_array(weight)
        assert found.dtype == np.float16
        np.testing.assert_array_equal(found.astype(np.float32), weights[name])


@pytest.mark.filterwarnings("error")
def test_an_export_is_silent_and_the_same_twice(capfd):
    assert to_onnx(hpkit.pretrained("denoiser")) == to_onnx(hpkit.pretrained("denoiser"))
    out, said = capfd.readouterr()
    assert not out + said


# --- the command ------------------------------------------------------------------------


@pytest.mark.parametrize("name", LARGEST)
def test_the_command_writes_the_file_and_says_where_it_replaced_one(name, tmp_path, capsys):
    path = tmp_path / "network.onnx"
    for end in ("MB\n", "MB, replaced\n"):
        assert main(["export", str(path), "--network", name]) == 0
        told = capsys.readouterr().out
        assert told.startswith(f"{path}: the {name}, ") and told.endswith(end)
    assert path.read_bytes() == shipped(name) and list(tmp_path.iterdir()) == [path]
    assert is_onnx(path)


@pytest.mark.parametrize("content", [b"", b"my notes", bytes(1000), b"\x08\x07"])
def test_another_file_stays(content, tmp_path, capsys):
    path = tmp_path / "notes.onnx"
    path.write_bytes(content)
    for asked in (path, tmp_path):
        assert main(["export", str(asked)]) == 2
        said = capsys.readouterr().err
        assert f"{asked}: something else than an ONNX file is there" in said
        assert said.count("\n") == 1 and len(said) < 300
    assert path.read_bytes() == content


def test_a_folder_that_is_not_there_is_named(tmp_path, capsys):
    assert main(["export", str(tmp_path / "none" / "d.onnx")]) == 2
    assert "none: no such folder" in capsys.readouterr().err


def test_without_the_package_onnx_a_sentence_says_how_to_get_it(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert main(["export", str(tmp_path / "d.onnx")]) == 2
    said = capsys.readouterr().err
    assert "needs the package onnx: pip install 'hpkit[export]'" in said
    assert said.count("\n") == 1 and not list(tmp_path.iterdir())
