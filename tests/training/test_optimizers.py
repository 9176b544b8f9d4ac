"""Learning rates that change, and patches that are drawn anew: resumed as if undisturbed."""

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from tiny import CPU, PATCHES, numbers, patch_set, same_weights
from torch import nn

from hpkit.data.patches import PatchSet
from hpkit.experiments.store import load_state, save_state
from hpkit.networks.l2net import L2Net
from hpkit.networks.unet import UNet
from hpkit.training.fit import TrainingDiverged, fit
from hpkit.training.losses import hardest_all_loss, triplet_loss
from hpkit.training.optimizers import (
    COURSEWORK,
    OPTIMIZERS,
    SCHEDULES,
    make_optimizer,
    make_schedule,
)
from hpkit.training.samplers import Pairs, Positives, Triplets

PAIRS = Pairs(PATCHES, samples=20)


class Falling(nn.Module):
    """One weight with the gradient 1: every step of sgd takes the learning rate from it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        return self.weight.expand(len(patches))


def rates(schedule: str, epochs: int = 4, **options) -> tuple[list[float], list[float]]:
    """What each of the steps (5 an epoch) took from the weight, and the rates on record."""
    model, weights = Falling(), []

    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        weights.append(model.weight.item())
        return output.mean()

    records = fit(model, PAIRS, epochs=epochs, loss=loss, batch_size=4, lr=0.5, schedule=schedule,
                  **options, **CPU)
    recorded = [record.lr for record in records]
    weights.append(model.weight.item())
    return [a - b for a, b in pairwise(weights)], recorded


SHARES = {"constant": [1, 1, 1, 1], "decay": [1, 0.75, 0.5, 0.25], "warmup": [0, 1, 1, 1],
          "warmup_decay": [0, 0.75, 0.5, 0.25]}


def test_schedules_at_their_ends() -> None:
    assert set(SHARES) == set(SCHEDULES)
    for name, schedule in SCHEDULES.items():
        shares = [schedule(i / 1000) for i in range(1001)]
        assert min(shares) >= 0 and max(shares) <= 1
        assert shares[0] == (0 if "warmup" in name else 1)
        assert shares[25] == pytest.approx(0.5 if "warmup" in name else shares[25])
        assert shares[-1] == (0 if "decay" in name else 1)


@pytest.mark.parametrize("schedule", SHARES)
def test_every_step_takes_the_rate_of_the_middle_of_its_batch(schedule: str) -> None:
    steps, recorded = rates(schedule)
    expected = [0.5 * make_schedule(schedule)((i + 0.5) / 20) for i in range(20)]
    assert steps == pytest.approx(expected, rel=1e-5)
    assert min(steps) > 0  # no batch is for nothing
    assert recorded == pytest.approx([0.5 * share for share in SHARES[schedule]])


@pytest.mark.parametrize("schedule", SHARES)
def test_a_resumed_run_takes_the_same_rates(schedule: str) -> None:
    whole, recorded = rates(schedule)
    first = list(fit(Falling(), PAIRS, epochs=4, loss=lambda output, _: output.mean(), lr=0.5,
                     batch_size=4, schedule=schedule, **CPU))[1]
    steps, later = rates(schedule, state=first.state)
    assert steps == pytest.approx(whole[10:]) and later == recorded[2:]


def test_an_unknown_schedule_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match=r"'sawtooth': expected one of .*decay, warmup"):
        fit(UNet(seed=0), PAIRS, epochs=1, schedule="sawtooth")  # not iterated


@pytest.mark.parametrize("schedule", SHARES)
def test_divergence_under_a_schedule_names_the_rate_that_was_asked_for(schedule: str) -> None:
    model = UNet(seed=0)
    with pytest.raises(TrainingDiverged) as caught:
        list(fit(model, PAIRS, epochs=3, lr=1e30, batch_size=4, schedule=schedule, **CPU))
    assert caught.value.lr == 1e30 and same_weights(model, UNet(seed=0))


def test_an_epoch_that_was_stopped_leaves_no_trace_on_the_rates() -> None:
    options = {"epochs": 3, "lr": 1e-4, "batch_size": 4, "schedule": "warmup_decay", **CPU}
    whole, asked = UNet(seed=0), []

    def stopped() -> bool:
        asked.append(0)
        return len(asked) == 8  # in the second epoch

    undisturbed = list(fit(whole, PAIRS, **options))
    model = UNet(seed=0)
    first, = fit(model, PAIRS, stopped=stopped, **options)
    rest = list(fit(model, PAIRS, state=first.state, **options))
    assert numbers([first, *rest]) == numbers(undisturbed) and same_weights(model, whole)


def test_adamw_decays_weights_and_is_not_the_courseworks() -> None:
    model = Falling()
    with torch.no_grad():
        model.weight.fill_(10)
    optimizer = make_optimizer("adamw", model, lr=0.5)
    model.weight.grad = torch.zeros(1, dtype=torch.float64)
    optimizer.step()
    assert model.weight.item() == pytest.approx(10 * (1 - 0.5 * 1e-4))
    assert "adamw" not in COURSEWORK and set(OPTIMIZERS) >= {*COURSEWORK, "adamw"}


# ---- Noise, turns and negatives that are drawn for each batch

PATCHES_9 = patch_set(9)
DRAWN = {
    "triplets": (Triplets, partial(triplet_loss, margin=100)),
    "positives": (Positives, partial(hardest_all_loss, margin=100)),
}


def drawn(kind: str, augment: str = "flips_invert", **options) -> tuple:
    """A fresh network, and how to train it: everything that is random at once."""
    sampler, loss = DRAWN[kind]
    mixed = sampler(PATCHES_9, source="mixed", samples=10, augment=augment)
    usual = {"epochs": 3, "loss": loss, "optimizer": "adamw", "batch_size": 4, "seed": 3,
             "schedule": "warmup_decay", **CPU}
    model = L2Net(seed=0, half=True, standardize=True, affine=False, final_norm=True)
    return model, partial(fit, model, mixed, mixed, **{**usual, **options})


@pytest.mark.slow
@pytest.mark.parametrize("kind", DRAWN)
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("after", [1, 2])
def test_a_run_on_drawn_noise_resumes_bit_for_bit(kind, optimizer, after, tmp_path) -> None:
    options = {"optimizer": optimizer, "lr": 1e-3}
    whole, train = drawn(kind, **options)
    epochs = list(train())
    save_state(epochs[after - 1].state, tmp_path / "state.pt")
    resumed, train = drawn(kind, **options)
    torch.manual_seed(after)  # of no matter
    rest = list(train(state=load_state(tmp_path / "state.pt")))
    assert numbers(rest) == numbers(epochs[after:])
    assert epochs[1].loss > 0 and epochs[2].loss > 0
    assert same_weights(whole, resumed)


@pytest.mark.slow
@pytest.mark.parametrize("kind", DRAWN)
def test_the_global_random_state_neither_matters_nor_changes(kind: str) -> None:
    runs = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        model, train = drawn(kind)
        runs.append((numbers(train()), model))
        assert torch.equal(before, torch.get_rng_state())
    assert runs[0][0] == runs[1][0] and same_weights(runs[0][1], runs[1][1])


def test_seeds_and_epochs_draw_other_noise_and_the_validation_always_the_same() -> None:
    class Pixels(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, patches: torch.Tensor) -> torch.Tensor:
            return patches.flatten(1) * self.weight

    one = np.broadcast_to(patch_set(1)["clean"][0, 0], (4, 16, 32, 32)).copy()
    black = PatchSet({"clean": [one]}, ("i_one",))  # one patch: what differs was drawn
    mixed = Positives(black, source="mixed", samples=4, augment="flips_invert")
    loss, seen = partial(triplet_loss, negative=torch.zeros(4, 1024), margin=1e9), []
    for seed in (0, 1):
        seen += fit(Pixels(), mixed, mixed, epochs=2, loss=loss, lr=1e-30, seed=seed, **CPU)
    assert len({epoch.loss for epoch in seen}) == 4
    assert len({epoch.val_loss for epoch in seen}) == 1
