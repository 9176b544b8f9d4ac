"""Runs that end early leave a usable model, and bad arguments are refused before one starts."""

import math
import pickle
from itertools import islice

import pytest
import torch
from tiny import CPU, PATCHES, same_weights

from hpkit.networks.unet import UNet
from hpkit.training.fit import TrainingDiverged, fit
from hpkit.training.losses import mae
from hpkit.training.samplers import Pairs


def test_divergence_keeps_the_last_good_state() -> None:
    pairs, model, options = Pairs(PATCHES, samples=10), UNet(seed=0), {"lr": 1e-4, **CPU}
    calls = []

    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        calls.append(len(output))
        return mae(output, target) * (math.inf if len(calls) == 8 else 1)  # in the third epoch

    run = fit(model, pairs, epochs=5, batch_size=4, loss=loss, **options)
    epochs = [next(run), next(run)]
    with pytest.raises(TrainingDiverged) as caught:
        next(run)
    assert (caught.value.epoch, caught.value.lr) == (3, 1e-4)
    assert "epoch 3 at lr 0.0001" in str(caught.value) and "1e-05" in caught.value.hint
    for name, weights in epochs[-1].state["model"].items():
        assert torch.equal(model.state_dict()[name], weights)
    assert not model.training
    assert next(run, None) is None


@pytest.mark.parametrize(("check_every", "last_batch"), [(2, 4), (100, 8)])
def test_too_large_a_learning_rate_leaves_the_first_weights(monkeypatch, check_every,
                                                            last_batch) -> None:
    monkeypatch.setattr("hpkit.training.fit.CHECK_EVERY", check_every)
    model, batches = UNet(seed=0), []

    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        batches.append(len(output))
        return mae(output, target)

    with pytest.raises(TrainingDiverged, match="epoch 1 at lr 1e"):
        list(fit(model, Pairs(PATCHES), epochs=3, lr=1e30, batch_size=8, loss=loss, **CPU))
    assert len(batches) <= last_batch  # of 8
    assert same_weights(model, UNet(seed=0))


def test_weights_that_overflow_in_the_last_batch_are_not_a_good_state() -> None:
    model = UNet(seed=0)
    with pytest.raises(TrainingDiverged):
        list(fit(model, Pairs(PATCHES, samples=4), epochs=1, lr=1e38, batch_size=4, **CPU))
    assert same_weights(model, UNet(seed=0))


def test_divergence_travels_between_processes() -> None:
    error = pickle.loads(pickle.dumps(TrainingDiverged(3, 0.1)))
    assert (error.epoch, error.lr, str(error)) == (3, 0.1, str(TrainingDiverged(3, 0.1)))


def test_stop_within_one_batch_discards_the_epoch() -> None:
    pairs, model, asked, batches = Pairs(PATCHES, samples=20), UNet(seed=0), [], []

    def stopped() -> bool:
        asked.append(len(batches))
        return len(batches) == 7  # in the second epoch of five batches

    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        batches.append(len(output))
        return mae(output, target)

    options = {"lr": 1e-4, "momentum": 0.9, "batch_size": 4, **CPU}
    epochs = list(fit(model, pairs, epochs=3, stopped=stopped, loss=loss, **options))
    assert asked == list(range(8)) and len(epochs) == 1
    once = UNet(seed=0)
    list(fit(once, pairs, epochs=1, **options))
    assert same_weights(model, once) and not model.training


def test_interrupt_puts_the_last_finished_epoch_back() -> None:
    pairs, model, batches = Pairs(PATCHES, samples=8), UNet(seed=0), []

    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        batches.append(len(output))
        if len(batches) == 4:
            raise KeyboardInterrupt
        return mae(output, target)

    run = fit(model, pairs, epochs=3, lr=1e-4, batch_size=4, loss=loss, **CPU)
    first = next(run)
    with pytest.raises(KeyboardInterrupt):
        next(run)
    for name, weights in first.state["model"].items():
        assert torch.equal(model.state_dict()[name], weights)


def test_break_leaves_a_usable_model() -> None:
    pairs, model, once = Pairs(PATCHES, samples=8), UNet(seed=0), UNet(seed=0)
    for _ in islice(fit(model, pairs, epochs=9, lr=1e-4, **CPU), 1):
        pass
    list(fit(once, pairs, epochs=1, lr=1e-4, **CPU))
    assert same_weights(model, once) and not model.training
    assert model(torch.zeros(1, 1, 32, 32)).isfinite().all()


@pytest.mark.parametrize(("option", "value", "message"), [
    ("optimizer", "lion", "'lion': expected one of sgd, rmsprop, adam, adamax, nadam, adadelta"),
    ("lr", 0, "lr is 0: expected"), ("lr", math.nan, "lr is nan"), ("lr", -1e-3, "lr is -0.001"),
    ("momentum", 1.0, "momentum is 1.0"), ("momentum", -0.1, "momentum is -0.1"),
    ("batch_size", 0, "batch_size is 0"), ("batch_size", 2.5, "batch_size is 2.5"),
    ("epochs", 0, "epochs is 0"), ("seed", -1, "seed is -1"),
    ("precision", "float16", "'float16': expected one of auto, float32, bfloat16"),
    ("device", "tpu", "no device 'tpu' here: expected one of auto, .*cpu"),
    ("train", PATCHES, "train is a PatchSet: expected Pairs, Triplets, Positives, or an own sampler"),
    ("validation", PATCHES, "validation is a PatchSet: expected Pairs, Triplets, Positives, or an own sampler"),
])
def test_bad_arguments_are_refused_at_once(option: str, value: object, message: str) -> None:
    options = {"train": Pairs(PATCHES), "epochs": 1, option: value}
    with pytest.raises(ValueError, match=message):
        fit(UNet(seed=0), **options)  # not iterated


def test_momentum_belongs_to_sgd() -> None:
    with pytest.raises(ValueError, match=r"momentum is 0.9 for adam"):
        fit(UNet(seed=0), Pairs(PATCHES), epochs=1, optimizer="adam", momentum=0.9)
