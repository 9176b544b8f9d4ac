"""Training: one epoch after the other, and that a run can be cut and resumed anywhere.

Sets have a few points and epochs a few batches: what is tested here does not depend on the scale.
"""

import dataclasses
import pickle
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import torch
from tiny import (
    CPU,
    PATCHES,
    PRECISIONS,
    TASKS,
    committed,
    numbers,
    patch_set,
    same_weights,
)

from hpkit.data.patches import PatchSet
from hpkit.evaluation.describe import describe
from hpkit.experiments.store import load_state, save_state
from hpkit.networks.l2net import L2Net
from hpkit.networks.unet import UNet
from hpkit.training.fit import fit
from hpkit.training.losses import mae, triplet_loss
from hpkit.training.optimizers import OPTIMIZERS, make_optimizer
from hpkit.training.samplers import Pairs, Triplets


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(("optimizer", "momentum"), [("sgd", 0.9), ("adam", 0), ("adadelta", 0)])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_resumed_run_is_bit_identical(task, optimizer, momentum, precision, tmp_path) -> None:
    build, sampler = TASKS[task]
    loss = {"unet": mae, "l2net": partial(triplet_loss, margin=100)}[task]  # never down to 0
    options = {"optimizer": optimizer, "momentum": momentum, "lr": 1e-4, "batch_size": 4,
               "device": "cpu", "precision": precision, "seed": 3, "loss": loss}
    whole, resumed = build(), build()
    epochs = list(fit(whole, sampler, sampler, epochs=3, **options))
    save_state(epochs[0].state, tmp_path / "state.pt")
    state = load_state(tmp_path / "state.pt")
    rest = list(fit(resumed, sampler, sampler, epochs=3, state=state, **options))
    assert numbers(rest) == numbers(epochs[1:])
    assert epochs[1].loss > 0 and epochs[2].loss > 0  # there was something to learn
    assert same_weights(whole, resumed)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_resumes_and_learns(optimizer: str) -> None:
    pairs, options = Pairs(PATCHES, samples=16), {"optimizer": optimizer, "batch_size": 8, **CPU}
    options["lr"] = 1e-4 if optimizer == "sgd" else None
    epochs = list(fit(UNet(seed=0), pairs, epochs=4, **options))
    rest = list(fit(UNet(seed=1), pairs, epochs=4, state=epochs[1].state, **options))
    assert numbers(rest) == numbers(epochs[2:])
    assert epochs[-1].loss < epochs[0].loss


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_global_random_state_neither_matters_nor_changes(task: str) -> None:
    build, sampler = TASKS[task]
    options = {"epochs": 2, "lr": 1e-4, "batch_size": 4, **CPU}
    quiet = numbers(fit(build(), sampler, **options))
    noisy, states = [], []
    for epoch in fit(build(), sampler, **options):
        noisy.append(epoch)
        torch.manual_seed(epoch.epoch)
        states.append(torch.get_rng_state())
        np.random.seed(epoch.epoch)
    assert numbers(noisy) == quiet
    assert torch.equal(states[-1], torch.get_rng_state())
    before = torch.get_rng_state()
    list(fit(build(), sampler, **options))
    assert torch.equal(before, torch.get_rng_state())


def test_seeds_and_epochs_draw_differently() -> None:
    pairs = Pairs(PATCHES, samples=10)
    seen = []

    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        seen.append(target.sum().item())
        return mae(output, target)

    for seed in (0, 1):
        list(fit(UNet(seed=0), pairs, loss=loss, epochs=2, lr=1e-5, seed=seed, **CPU))
    assert len(set(seen)) == 4


def test_dropout_differs_between_epochs_and_seeds() -> None:
    masks = []

    def first_drop(model: L2Net) -> L2Net:
        drop = next(m for m in model.modules() if isinstance(m, torch.nn.Dropout))
        drop.register_forward_hook(
            lambda m, _, out: masks.append(out[:1].detach() == 0) if m.training else None)
        return model

    for seed in (0, 1):
        list(fit(first_drop(L2Net(seed=0)), Triplets(PATCHES, samples=2), epochs=2, lr=1e-9,
                 seed=seed, **CPU))
    anchors = [masks[i].flatten().tolist() for i in (0, 3, 6, 9)]
    assert len({tuple(mask) for mask in anchors}) == 4


@pytest.mark.slow
def test_validation_draw_is_fixed_and_changes_nothing() -> None:
    triplets = Triplets(PATCHES, samples=10)
    seen = []

    def loss(a: torch.Tensor, p: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
        if not a.requires_grad:
            seen.append((len(a), a.sum().item()))
        return triplets.natural_loss(a, p, n)

    options = {"lr": 1e-30, "batch_size": 4, "loss": loss, **CPU}
    with_norm_frozen = L2Net(seed=0)
    for layer in with_norm_frozen.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 0.0
    epochs = list(fit(with_norm_frozen, triplets, triplets, epochs=3, **options))
    assert [n for n, _ in seen] == [4, 4, 2] * 3
    assert seen[:3] == seen[3:6] == seen[6:]
    assert len({epoch.val_loss for epoch in epochs}) == 1
    trained, validated = L2Net(seed=0), L2Net(seed=0)
    list(fit(trained, triplets, epochs=2, lr=0.01, **CPU))
    list(fit(validated, triplets, Triplets(patch_set(3, 9), samples=7), epochs=2, lr=0.01, **CPU))
    assert same_weights(trained, validated)


def test_validation_draw_is_the_same_for_every_seed() -> None:
    triplets, losses = Triplets(PATCHES, samples=6), []
    for seed in (0, 1):
        pixels = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.PReLU())  # weights must be there
        epoch, = fit(pixels, triplets, triplets, loss=partial(triplet_loss, margin=1e4), epochs=1,
                     lr=1e-30, seed=seed, **CPU)
        losses.append(epoch.val_loss)
    assert losses[0] == losses[1] > 0


def test_losses_are_means_over_samples_not_batches() -> None:
    pairs, model = Pairs(PATCHES, samples=10), UNet(seed=0)
    with torch.no_grad():
        noisy, clean = pairs.on(torch.device("cpu"))
        errors = [mae(model(noisy[i:i + 1].float()), clean[i:i + 1].float()) for i in range(64)]
    all_patches = Pairs(PATCHES)  # 64 patches: six batches of 10 and one of 4
    epoch, = fit(model, all_patches, all_patches, epochs=1, lr=1e-30, batch_size=10, **CPU)
    expected = torch.stack(errors).mean().item()
    assert epoch.loss == pytest.approx(expected, rel=1e-5)
    assert epoch.val_loss == pytest.approx(expected, rel=1e-5)


def test_record_of_an_epoch() -> None:
    model = UNet(seed=0)
    first, second = fit(model, Pairs(PATCHES, samples=10), epochs=2, lr=1e-5, **CPU)
    assert (first.epoch, second.epoch, first.lr, first.samples) == (1, 2, 1e-5, 10)
    assert first.val_loss is None
    assert first.samples_per_second == first.samples / first.seconds
    assert "state" not in repr(first)
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.loss = 0.0


def test_state_is_a_copy() -> None:
    build, triplets = TASKS["l2net"]
    options = {"optimizer": "adam", "batch_size": 4, **CPU}
    first, _ = fit(build(), triplets, epochs=2, **options)
    frozen = pickle.dumps(first.state)
    one, two = (list(fit(build(), triplets, epochs=3, state=first.state, **options)) for _ in "ab")
    assert numbers(one) == numbers(two)
    assert pickle.dumps(first.state) == frozen


def test_finished_state_has_nothing_left_to_train() -> None:
    model, trained = UNet(seed=1), UNet(seed=0)
    last, = fit(trained, Pairs(PATCHES, samples=10), epochs=1, lr=1e-4, **CPU)
    options = {"state": last.state, "lr": 1e-4, **CPU}
    assert list(fit(model, Pairs(PATCHES), epochs=1, **options)) == []
    assert same_weights(model, trained)
    options["state"] = {**last.state, "epoch": 5}
    with pytest.raises(ValueError, match="epochs is 2: expected at least 5"):
        fit(model, Pairs(PATCHES), epochs=2, **options)
    with pytest.raises(ValueError, match=r"state is of optimizer 'sgd': expected 'adam'"):
        fit(model, Pairs(PATCHES), epochs=9, **{**options, "optimizer": "adam"})


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_a_tiny_set_can_be_learned_by_heart(task: str) -> None:
    build, sampler = TASKS[task]
    sampler = dataclasses.replace(sampler, samples=24)
    epochs = list(fit(build(), sampler, epochs=5, optimizer="adam", batch_size=8, **CPU))
    assert epochs[-1].loss < 0.7 * epochs[0].loss


def test_nesterov_momentum_by_hand() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    optimizer = make_optimizer("sgd", model, lr=0.1, momentum=0.9)
    weight, velocity, expected = model.weight, 0.0, model.weight.item()
    for gradient in (1.0, -2.0, 0.5):
        weight.grad = torch.full((1, 1), gradient)
        optimizer.step()
        velocity = 0.9 * velocity - 0.1 * gradient  # as Keras writes it
        expected += 0.9 * velocity - 0.1 * gradient
    assert weight.item() == pytest.approx(expected, rel=1e-5)


def test_bfloat16_computes_the_loss_in_float32() -> None:
    seen = []

    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        seen.append((output.dtype, target.dtype))
        return mae(output, target)

    pairs, options = Pairs(PATCHES, samples=16), {"epochs": 1, "lr": 1e-5, "device": "cpu"}
    rough, = fit(UNet(seed=0), pairs, loss=loss, precision="bfloat16", **options)
    exact, = fit(UNet(seed=0), pairs, precision="float32", **options)
    assert set(seen) == {(torch.float32, torch.float32)}
    assert rough.loss != exact.loss and rough.loss == pytest.approx(exact.loss, rel=0.02)


# The committed digest: where it changes, every stored run is stale

DIGEST = {  # loss and validation loss of two epochs of one batch
    "unet": [127.086639, 132.637909, 120.883202, 105.223869],
    "l2net": [1.2459383, 9.3519669, 1.0479037, 3.7782993],
}


def patches_by_formula() -> PatchSet:
    y, x = np.mgrid[:32, :32]
    number = np.arange(4 * 16).reshape(4, 16, 1, 1)
    clean = (7 * number + (number % 5) * x + (number % 3) * y) % 256
    noisy = (clean + (13 * x + 29 * y + number) % 41 - 20).clip(0, 255)
    sources = {"clean": clean, "noisy": noisy, "denoised": clean}
    sources = {name: patches.astype(np.uint8) for name, patches in sources.items()}
    return PatchSet({s: [p] for s, p in sources.items()}, ("i_formula",))


@committed
@pytest.mark.parametrize("task", TASKS)
def test_two_steps_give_the_committed_losses(task: str) -> None:
    build, sampler = TASKS[task]
    sampler = dataclasses.replace(sampler, patches=patches_by_formula(), samples=8)
    options = {"unet": {"lr": 1e-6, "momentum": 0.9}, "l2net": {"lr": 1e-3}}[task]
    epochs = fit(build(), sampler, sampler, epochs=2, **options, **CPU)
    found = [loss for epoch in epochs for loss in (epoch.loss, epoch.val_loss)]
    assert found == pytest.approx(DIGEST[task], rel=1e-5)


def test_fits_and_descriptions_in_threads_are_those_of_a_loop() -> None:
    sampler = Triplets(patch_set(points=12), samples=16)

    def trained(seed):
        network = L2Net(seed=seed)
        epochs = list(fit(network, sampler, epochs=2, lr=1e-3, batch_size=8, seed=seed, **CPU))
        return numbers(epochs), [describe(network, PATCHES["clean"], **CPU) for _ in range(2)]

    alone = [trained(seed) for seed in range(3)]
    with ThreadPoolExecutor(3) as executor:
        together = list(executor.map(trained, range(3)))
    for (losses, found), (expected, right) in zip(together, alone, strict=True):
        assert losses == expected and np.array_equal(found, right)


@pytest.mark.slow
def test_one_network_used_in_threads_is_in_eval_mode_for_all() -> None:
    network = L2Net(seed=0).train()
    expected = describe(network, PATCHES["clean"], batch_size=2, **CPU)
    with ThreadPoolExecutor(4) as executor:
        found = list(executor.map(lambda _: describe(network, PATCHES["clean"], batch_size=2, **CPU),
                                  range(12)))
    assert all(np.array_equal(one, expected) for one in found) and network.training


class Collapsed(torch.nn.Module):
    """Answers everything with one vector, but for a millionth."""

    def __init__(self):
        super().__init__()
        self.answer = torch.nn.Parameter(torch.ones(8))

    def forward(self, patches):
        return self.answer + 1e-6 * patches.mean((1, 2, 3))[:, None]


def test_a_sampler_of_ones_own_may_give_its_loss_anything() -> None:
    class Named(Pairs):
        def outputs(self, model, data, batch):
            return ({"found": model(data[0][batch].float())},)

    sampler = Named(PATCHES, samples=4)
    epochs = fit(UNet(seed=0), sampler, sampler, epochs=1, device="cpu",
                 loss=lambda outputs: outputs["found"].abs().mean())
    assert len(list(epochs)) == 1


def test_a_collapsed_network_is_named_once(recwarn) -> None:
    sampler = TASKS["l2net"][1]
    options = {"epochs": 3, "lr": 1e-6, "batch_size": 4, **CPU}
    list(fit(L2Net(seed=0), sampler, sampler, **options))
    assert not [w for w in recwarn if "collapsed" in str(w.message)]
    list(fit(Collapsed(), sampler, sampler, **options))
    told = [str(w.message) for w in recwarn if "collapsed" in str(w.message)]
    assert len(told) == 1 and told[0].startswith("epoch 1 at lr 1e-06: the network gives nearly")
