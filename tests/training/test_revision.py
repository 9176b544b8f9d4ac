"""What a training gives is guarded by name: a new loss is allowed, a changed one is not.

If this fails because training is meant to change, raise REVISION in hpkit/experiments/configs.py.
`python tests/training/test_revision.py` writes the numbers of entries that are new (all of them, after
REVISION was raised) into golden/revision.json.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import PATCHES, TASKS, committed, patch_set

from hpkit.data.patches import PatchSet
from hpkit.experiments.configs import REVISION
from hpkit.networks.denoisers import Residual
from hpkit.networks.layers import INITIALIZERS, conv
from hpkit.networks.registry import DENOISERS, DESCRIPTORS, make_denoiser
from hpkit.training.augment import AUGMENTATIONS, NOISE_MODELS, with_noise
from hpkit.training.fit import fit
from hpkit.training.losses import DENOISER_LOSSES, DESCRIPTOR_LOSSES, REDUCTIONS
from hpkit.training.optimizers import OPTIMIZERS, SCHEDULES, make_optimizer
from hpkit.training.samplers import Pairs, Positives, Triplets

GOLDEN = Path(__file__).parents[1] / "golden" / "revision.json"
CPU = torch.device("cpu")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def summary(*tensors: torch.Tensor) -> list[float]:
    """Numbers that another order, sign or scale of the values changes."""
    found = []
    for tensor in tensors:
        flat = tensor.detach().double().flatten()
        found += [flat.sum().item(), flat.abs().sum().item(),
                  (flat * torch.arange(1, len(flat) + 1)).sum().item() / len(flat)]
    return found


def of_losses() -> Iterator[tuple[str, list[float]]]:
    output, target = 255 * torch.rand(2, 3, 1, 16, 16, generator=seeded())
    for name, loss in DENOISER_LOSSES.items():
        yield f"loss {name}", summary(loss(output, target))
    parts = torch.nn.functional.normalize(torch.randn(3, 12, 8, generator=seeded(1)), dim=2)
    for name, loss in DESCRIPTOR_LOSSES.items():
        given = parts[:2] if loss.pairwise else parts
        values = [loss.function(*given, margin=0.7, reduce=kind) for kind in REDUCTIONS]
        yield f"loss {name}", summary(*values)


def of_samplers() -> Iterator[tuple[str, list[float]]]:
    photos = PatchSet({"clean": [patch_set(8, seed)["clean"] for seed in range(3)]},
                      ("i_ant", "v_ant", "i_bee"))
    samplers = {
        "pairs": Pairs(PATCHES, samples=100),
        "triplets": Triplets(PATCHES, samples=100),
        "positives": Positives(patch_set(20), samples=100),
        "positives from 2 photos": Positives(photos, "clean", samples=100, batch_photos=2),
    }
    for name, sampler in samplers.items():
        yield f"sampler {name}", summary(sampler.draw(seeded(), 8))
    batch = torch.arange(24).reshape(12, 2)
    for name in AUGMENTATIONS:
        sampler = Positives(patch_set(20), "mixed", augment=name, noisy_share=0.5)
        torch.manual_seed(0)
        yield f"augment {name}", summary(*sampler.ready(sampler.on(CPU), batch))
    patches = torch.from_numpy(PATCHES["clean"][0]).float()[:, None]
    for name in NOISE_MODELS:
        torch.manual_seed(0)
        yield f"noise {name}", summary(with_noise(patches, torch.arange(16), 0.8, name))


def of_steps() -> Iterator[tuple[str, list[float]]]:
    for name in OPTIMIZERS:
        model = torch.nn.Linear(3, 2, bias=False)
        model.weight.data = torch.arange(6.0).view(2, 3)
        optimizer = make_optimizer(name, model, momentum=0.9 if name == "sgd" else 0.0)
        for step in range(3):
            model.weight.grad = torch.tensor([[1.0, -2, 0.5], [3, 0.1, -1]]) / (1 + step)
            optimizer.step()
        yield f"optimizer {name}", summary(model.weight)
    for name, schedule in SCHEDULES.items():
        yield f"schedule {name}", [schedule(done) for done in (0.0, 0.02, 0.3, 0.99)]


def of_networks() -> Iterator[tuple[str, list[float]]]:
    noisy = 255 * torch.rand(2, 1, 32, 32, generator=seeded(2))
    for name, draw in INITIALIZERS.items():
        layer = conv(3, 4)
        draw(layer.weight, seeded())
        yield f"init {name}", summary(layer.weight)
    for name, kind in DENOISERS.items():
        made = [make_denoiser(name, depth, seed=0) for depth in kind.depths]
        yield f"denoiser {name}", summary(*(network(noisy) for network in made))
    yield "denoiser residual", summary(Residual(made[0])(noisy))
    options = {"standardize": True, "affine": False, "final_norm": True, "unit": True, "half": True}
    for name, kind in DESCRIPTORS.items():
        made = [kind.build(0, "he_normal"), kind.build(0, "he_normal", **options)]
        yield f"descriptor {name}", summary(*(network.eval()(noisy) for network in made))


def of_trainings() -> Iterator[tuple[str, list[float]]]:
    """A tiny epoch of each optimizer, on both kinds of network."""
    for kind, (build, sampler) in TASKS.items():
        for name in OPTIMIZERS:
            momentum = 0.9 if name == "sgd" else 0.0
            record, = fit(build(), sampler, sampler, epochs=1, optimizer=name, lr=1e-5,
                          momentum=momentum, batch_size=3, device="cpu", precision="float32")
            weights = [w.double().abs().sum() for w in record.state["model"].values()]
            total = float(torch.stack(weights).sum())
            yield f"training {kind}, {name}", [record.loss, record.val_loss, total]


PARTS = (of_losses, of_samplers, of_steps, of_networks, of_trainings)


@committed
@pytest.mark.parametrize(
    "part",
    [*PARTS[:-1], pytest.param(of_trainings, marks=pytest.mark.slow)],
    ids=lambda part: part.__name__,
)
def test_what_a_training_gives_is_as_it_was(part):
    kept = json.loads(GOLDEN.read_text())
    assert kept["revision"] == REVISION, "python tests/training/test_revision.py"
    for name, numbers in part():
        if name in kept["numbers"]:  # else it is new
            np.testing.assert_allclose(numbers, kept["numbers"][name], rtol=1e-5, atol=1e-6,
                                       err_msg=f"{name} has changed: see the top of this file")


@pytest.mark.slow
def test_nothing_that_runs_were_made_with_is_gone():
    kept = json.loads(GOLDEN.read_text())["numbers"]
    assert not set(kept) - {name for part in PARTS for name, _ in part()}


@pytest.mark.slow
@pytest.mark.parametrize("name, broken", [
    ("loss hardest", lambda patch: patch.setitem(
        DESCRIPTOR_LOSSES, "hardest", replace(DESCRIPTOR_LOSSES["hardest"],
                                              function=lambda a, p, **_: ((a - p)**2).mean()))),
    ("noise gaussian", lambda patch: patch.setitem(
        NOISE_MODELS, "gaussian", lambda patches, fraction: 2 * fraction)),
    ("schedule warmup_decay", lambda patch: patch.setitem(
        SCHEDULES, "warmup_decay", lambda done: 1.0)),
    ("denoiser residual", lambda patch: patch.setattr(
        Residual, "forward", lambda self, noisy: noisy - self.network(noisy) / 2)),
])
def test_a_change_is_noticed_by_name(name, broken, monkeypatch):
    broken(monkeypatch)
    now = dict(found for part in PARTS[:-1] for found in part())
    kept = json.loads(GOLDEN.read_text())["numbers"]
    assert not np.allclose(now[name], kept[name], rtol=1e-5)


def write() -> None:
    """Keep what is there unless the revision is another one; add what is new."""
    kept = json.loads(GOLDEN.read_text())
    before = kept["numbers"] if kept["revision"] == REVISION else {}
    now = {name: numbers for part in PARTS for name, numbers in part()}
    whole = {"revision": REVISION, "numbers": now | before}
    GOLDEN.write_text(json.dumps(whole, indent=1) + "\n")


if __name__ == "__main__":
    write()
