"""Small patch sets and runs that the tests of training share."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from speed import NO_BFLOAT16, OTHER_TORCH
from torch.torch_version import TorchVersion

from hpkit.data.patches import PatchSet
from hpkit.data.strips import write_sequence
from hpkit.devices import resolve_precision
from hpkit.networks.l2net import L2Net
from hpkit.networks.unet import UNet
from hpkit.training.fit import Epoch
from hpkit.training.samplers import Pairs, Triplets

torch.set_num_threads(1)  # sums depend on the number of threads, and losses are compared exactly
CPU = {"device": "cpu", "precision": "float32"}
# A processor that only emulates bfloat16 takes many times as long for the same.
EMULATED = resolve_precision("auto", torch.device("cpu")) != "bfloat16"
committed = pytest.mark.skipif(torch.__version__ < TorchVersion("2.13"), reason=OTHER_TORCH)
native_bfloat16 = pytest.mark.skipif(EMULATED, reason=NO_BFLOAT16)
# What AVX2 computes is then what this processor computes anyway.
OLDER = torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "AVX2")
PRECISIONS = ["float32", pytest.param("bfloat16", marks=native_bfloat16)]
NAMES = {"train": [f"{kind}_{photo}" for photo in ("ant", "bee", "cat") for kind in "iv"],
         "validation": ["i_dog"], "test": ["i_eel", "v_fox"]}
QUICK = {"folds": 3, "epochs": 2, "batch_size": 4, "validation_samples": 4, "test_points": 4}


def patch_set(points: int = 4, seed: int = 0) -> PatchSet:
    """A wave per point, a little moved per column; noisy twins; the clean ones as "denoised"."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:32, :32] / 32
    a, b = 4 * rng.normal(size=(2, points, 1, 1, 1)) + 0.2 * rng.normal(size=(2, points, 16, 1, 1))
    clean = 128 + 100 * np.sin(a * x + b * y)
    noisy = np.clip(clean + rng.normal(size=clean.shape) * 20, 0, 255)
    clean, noisy = clean.astype(np.uint8), noisy.astype(np.uint8)
    sources = {"clean": clean, "noisy": noisy, "denoised": clean}
    return PatchSet({s: [p] for s, p in sources.items()}, ("i_test",))


def write_data(path: Path, train: tuple[str, ...] = ()) -> str:
    """Nine sequences of four points in the HPatches layout; with more to train on."""
    sides = NAMES | {"train": [*NAMES["train"], *train]}
    for seed, name in enumerate(name for names in sides.values() for name in names):
        patches = patch_set(seed=seed)
        write_sequence(path / name, patches["clean"], patches["noisy"])
    (path / "splits.json").write_text(json.dumps({"a": sides}))
    return str(path)


PATCHES = patch_set()
TASKS = {  # a fresh network and its sampler, whose second batch is smaller when the first has 4
    "unet": (lambda: UNet(seed=0), Pairs(PATCHES, samples=6)),
    "l2net": (lambda: L2Net(seed=0), Triplets(PATCHES, samples=6)),
}


def same_weights(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(first, second) for first, second in pairs)


def numbers(epochs: list[Epoch]) -> list[tuple]:
    """What must not change when a run is repeated: all but the seconds and the state."""
    return [(e.epoch, e.loss, e.val_loss, e.lr, e.samples) for e in epochs]
