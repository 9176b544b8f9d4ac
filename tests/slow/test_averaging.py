"""The mean of the last steps' weights: beside the training, and never in its way."""

import copy

import pytest
import torch
from tiny import PATCHES, same_weights
from torch import nn

from hpkit.networks.l2net import L2Net
from hpkit.networks.unet import UNet
from hpkit.training.averaging import BATCH_NORM, recalibrate
from hpkit.training.fit import fit
from hpkit.training.samplers import Pairs, Triplets

OPTIONS = {"optimizer": "adam", "batch_size": 4, "device": "cpu", "precision": "float32"}
EPOCHS, STEPS = 2, 5  # in an epoch: the last batch is smaller
PAIRS = Pairs(PATCHES, samples=18)


def trained(share: float, build=UNet, sampler=PAIRS, **options):
    """The model, its last state, and its weights after each step."""
    model, after = build(seed=0), []

    def note():
        after.append(copy.deepcopy(model.state_dict()))
        return False

    *_, last = fit(model, sampler, epochs=EPOCHS, averaged=share, stopped=note, **OPTIONS,
                   **options)
    return model, last.state, [*after[1:], copy.deepcopy(model.state_dict())]


@pytest.mark.parametrize(("share", "steps"), [(0.2, 2), (0.5, 5), (0.7, 7), (1, 10), (0.01, 1)])
def test_it_is_the_mean_of_so_many_last_steps(share, steps):
    _, state, after = trained(share)
    assert len(after) == EPOCHS * STEPS and state["steps_averaged"] == steps
    for name, found in state["averaged"].items():
        expected = torch.stack([weights[name] for weights in after[-steps:]]).double().mean(dim=0)
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("build", "sampler"), [
    (UNet, PAIRS), (L2Net, Triplets(PATCHES, samples=10))])
def test_the_training_itself_stays_as_it_is(build, sampler):
    plain, averaged = (trained(share, build, sampler) for share in (0, 0.4))
    assert same_weights(plain[0], averaged[0])
    assert "averaged" not in plain[1] and averaged[1].keys() > plain[1].keys()


@pytest.mark.parametrize("share", [0.2, 0.8])
def test_it_goes_on_from_the_state_bit_for_bit(share):
    sampler = Triplets(PATCHES, samples=10)
    options = {"epochs": 3, "averaged": share, **OPTIONS}
    *_, whole = fit(L2Net(seed=0), sampler, **options)
    first = next(fit(L2Net(seed=0), sampler, **options))
    *_, resumed = fit(L2Net(seed=1), sampler, state=first.state, **options)
    for name, expected in whole.state["averaged"].items():
        assert torch.equal(resumed.state["averaged"][name], expected)
    assert resumed.state["steps_averaged"] == whole.state["steps_averaged"]


def test_a_stopped_epoch_leaves_no_trace_in_it():
    asked = iter([False] * 7 + [True])
    kept = list(fit(UNet(seed=0), PAIRS, epochs=2, averaged=0.9, stopped=lambda: next(asked),
                    **OPTIONS))
    *_, resumed = fit(UNet(seed=0), PAIRS, epochs=2, averaged=0.9, state=kept[-1].state, **OPTIONS)
    *_, whole = fit(UNet(seed=0), PAIRS, epochs=2, averaged=0.9, **OPTIONS)
    assert len(kept) == 1
    assert all(torch.equal(resumed.state["averaged"][name], value)
               for name, value in whole.state["averaged"].items())


def test_batch_norm_is_measured_anew_and_nothing_else_changes():
    network = nn.Sequential(nn.BatchNorm1d(3, momentum=0.01), nn.Linear(3, 2))
    batches = [torch.randn(8, 3) * 5 + 2, torch.randn(8, 3) - 4]
    before = copy.deepcopy(network.state_dict())
    recalibrate(network, lambda model: [model(batch) for batch in batches])
    layer = network[0]
    expected = torch.stack([batch.mean(dim=0) for batch in batches]).mean(dim=0)
    torch.testing.assert_close(layer.running_mean, expected)
    expected = torch.stack([batch.var(dim=0) for batch in batches]).mean(dim=0)
    torch.testing.assert_close(layer.running_var, expected)
    assert layer.momentum == 0.01 and not network.training
    same = [name for name in before if "running" not in name and "tracked" not in name]
    assert all(torch.equal(before[name], network.state_dict()[name]) for name in same)


def test_the_averaged_descriptor_has_forgotten_its_first_statistics():
    _, state, _ = trained(0.1, L2Net, Triplets(PATCHES, samples=10))
    network = L2Net(seed=0)
    network.load_state_dict(state["averaged"])
    layers = [layer for layer in network.modules() if isinstance(layer, BATCH_NORM)]
    assert layers and all(int(layer.num_batches_tracked) > 0 for layer in layers)
    # At a momentum of 0.01 a few steps leave nearly all of the initial variance, 1.
    assert all((layer.running_var - 1).abs().median() > 0.2 for layer in layers[:-1])


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match="expected a share from 0 to 1"):
        fit(UNet(seed=0), PAIRS, epochs=1, averaged=share, **OPTIONS)


def test_a_state_without_it_is_refused():
    first = next(fit(UNet(seed=0), PAIRS, epochs=2, **OPTIONS))
    with pytest.raises(ValueError, match="without averaged weights"):
        fit(UNet(seed=0), PAIRS, epochs=2, averaged=0.2, state=first.state, **OPTIONS)
