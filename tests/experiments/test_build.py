"""What a configuration means, for all the kinds of network, patches and losses: each is a run."""

from dataclasses import replace

import pytest
import torch
from tiny import NAMES, patch_set, same_weights

from hpkit.experiments import runs
from hpkit.experiments.build import side
from hpkit.experiments.runs import ablate, builder, run
from hpkit.networks.denoisers import Joint, Residual
from hpkit.training.fit import fit
from hpkit.training.losses import DENOISER_LOSSES, DESCRIPTOR_LOSSES
from hpkit.training.samplers import Positives, Triplets

BEST = {"objective": "hardest_all", "unit": True, "reduce": "root", "source": "mixed",
        "test_source": "noisy", "optimizer": "adamw", "schedule": "warmup_decay",
        "augment": "flips_invert", "standardize": True, "affine": False, "final_norm": True,
        "norm_momentum": 0.1, "dropout": 0.1, "half": True}


@pytest.fixture
def descriptor(descriptor):
    """Of noisy patches: no denoiser is needed."""
    return replace(descriptor, source="noisy", test_source="noisy")


def trained_in(store):
    return sorted(path.parent.name for path in store.glob("*/run.json"))


@pytest.mark.slow
def test_the_best_recipe_is_a_run_that_needs_no_denoiser(descriptor, tmp_path, no_training):
    config = replace(descriptor, **BEST)
    made = run(config, store=tmp_path)
    assert made.info["status"] == "finished" and made.row()["objective"] == "hardest_all"
    assert all(0 < score <= 1 for score in made.scores.values())
    assert list(made.history.lr) == [0, 0.5e-3]
    assert trained_in(tmp_path) == [config.resolved().key()]
    no_training()
    again = run(config, store=tmp_path)
    assert again.scores == made.scores and same_weights(again.model(), made.model())
    lengths = again.model()(torch.rand(4, 1, 32, 32) * 255).norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones(4))


class Interrupted(Exception):
    pass


@pytest.mark.slow
def test_the_best_recipe_goes_on_from_the_last_finished_epoch(descriptor, tmp_path, monkeypatch):
    def ends(*args, **options):
        yield next(runs_fit(*args, **options))
        raise Interrupted

    config, runs_fit = replace(descriptor, **BEST, epochs=3), fit
    monkeypatch.setattr(runs, "fit", ends)
    with pytest.raises(Interrupted):
        run(config, store=tmp_path)
    monkeypatch.undo()
    resumed, whole = (run(config, store=store) for store in (tmp_path, tmp_path / "another"))
    assert same_weights(resumed.model(), whole.model()) and resumed.scores == whole.scores
    assert resumed.history.drop(columns="seconds").equals(whole.history.drop(columns="seconds"))


@pytest.mark.slow
@pytest.mark.parametrize("objective", DESCRIPTOR_LOSSES)
def test_every_objective_of_a_descriptor_is_a_run_of_its_own_numbers(objective, descriptor,
                                                                     tmp_path):
    config = replace(descriptor, objective=objective, reduce="root", margin=50.0, epochs=1)
    made = builder(config.resolved(), tmp_path)
    sampler = made.sampler(made.patches("train"), 8)
    assert type(sampler) is (Positives if DESCRIPTOR_LOSSES[objective].pairwise else Triplets)
    assert made.loss().func is DESCRIPTOR_LOSSES[objective].function
    assert run(config, store=tmp_path).history.loss[0] > 0


def test_only_the_training_is_augmented(descriptor):
    config = replace(descriptor, **BEST, noisy_share=0.5).resolved()
    made = builder(config)
    training, validation = (made.sampler(made.patches("train"), 8, training=training)
                            for training in (True, False))
    assert (training.augment, validation.augment) == ("flips_invert", "none")
    assert training.source == validation.source == "mixed"
    assert training.noisy_share == validation.noisy_share == 0.5


def test_validation_on_few_points_takes_each_once_where_training_is_refused(descriptor):
    config = replace(descriptor, objective="hardest", batch_size=4).resolved()
    made = builder(config)
    patches = made.patches("validation")
    assert len(patches) == 4  # four in a row of forty would meet a point again
    with pytest.raises(ValueError, match="expected at most 3"):
        made.sampler(patches, 40).draw(torch.Generator(), config.batch_size)
    validation = made.sampler(patches, 40, training=False)
    points = validation.draw(torch.Generator(), config.batch_size)[:, 0] // 16
    assert sorted(points.tolist()) == list(range(4))
    assert len(made.sampler(patches, 3, training=False)) == 3  # few enough as they are


@pytest.mark.parametrize("points, batch_size, samples", [
    (9, 5, 40),  # as it always was
    (9, 6, 9),
    (9, 8, 8),  # the ninth would be alone in its batch, without a negative
    (9, 50, 9),
])
def test_a_batch_of_validation_has_no_point_twice_and_none_alone(points, batch_size, samples,
                                                                 descriptor):
    config = replace(descriptor, objective="hardest", batch_size=batch_size).resolved()
    sampler = builder(config).sampler(patch_set(points), 40, training=False)
    assert len(sampler) == samples
    assert len(sampler.draw(torch.Generator(), batch_size)) == samples


# ---- A denoiser and a descriptor as one network

@pytest.mark.slow
def test_a_joint_network_goes_on_training_its_denoiser(descriptor, tmp_path, no_training):
    config = replace(descriptor, network="joint", objective="hardest", margin=100.0)
    made = run(config, store=tmp_path)
    alone = config.denoiser()
    assert trained_in(tmp_path) == sorted([config.resolved().key(), alone.key()])
    no_training()
    denoiser, joint = run(alone, store=tmp_path).model(), run(config, store=tmp_path).model()
    assert isinstance(joint, Joint) and same_weights(joint, made.model())
    assert all(not torch.equal(before, after) for before, after in zip(
        denoiser.parameters(), joint.denoiser.parameters(), strict=True))
    start = builder(config.resolved(), tmp_path).network()
    builder(config.resolved(), tmp_path).warm_start(start)
    assert same_weights(start.denoiser, denoiser)


def test_a_joint_run_is_named_by_its_denoiser_too(descriptor):
    joint = replace(descriptor, network="joint").resolved()
    assert joint.key() != replace(joint, denoiser_epochs=3).key()
    assert joint.key() != replace(joint, denoiser_objective="mse").key()
    alone = descriptor.resolved()
    assert alone.key() == replace(alone, denoiser_epochs=3).key() != joint.key()


# ---- Denoisers

@pytest.mark.slow
@pytest.mark.parametrize("changes", [
    {"network": "unet++"}, {"network": "framing"}, {"residual": True},
    {"network": "framing", "residual": True}, *({"objective": name} for name in DENOISER_LOSSES),
    {"schedule": "warmup_decay", "optimizer": "adamw"},
], ids=str)
def test_every_kind_of_denoiser_is_a_run_that_comes_back(changes, denoiser, tmp_path, no_training):
    config = replace(denoiser, **changes)
    made = run(config, store=tmp_path)
    assert 0 < made.scores["test_mae"] < 255 and made.info["status"] == "finished"
    assert isinstance(made.model(), Residual) == config.residual
    no_training()
    again = run(config, store=tmp_path)
    assert again.scores == made.scores and same_weights(again.model(), made.model())


@pytest.mark.slow
def test_the_loss_is_the_objectives(denoiser, tmp_path):
    table = ablate(denoiser, [0], store=tmp_path, objective=["mae", "ssim"])
    assert table.loss[0] > 2 > table.loss[1] > 0  # grey levels; 1 - SSIM


@pytest.mark.slow
def test_another_denoiser_of_a_descriptor_is_the_one_that_its_patches_come_from(descriptor,
                                                                               tmp_path):
    config = replace(descriptor, source="denoised", test_source="denoised", **{
        "denoiser_network": "framing", "denoiser_residual": True, "denoiser_objective": "mse"})
    made = run(config, store=tmp_path)
    assert trained_in(tmp_path) == sorted([config.resolved().key(), config.denoiser().key()])
    inside = builder(config.resolved(), tmp_path).denoiser()
    assert isinstance(inside, Residual) and set(made.scores) == {"verification", "matching",
                                                                 "retrieval"}


def test_the_one_size_of_a_denoiser_is_said_before_it_trains(denoiser, tmp_path, no_training):
    no_training()
    with pytest.raises(ValueError, match="depth of unet\\+\\+ is 6: expected one of 4"):
        run(replace(denoiser, network="unet++", depth=6), store=tmp_path)


# ---- What a side is

def test_a_denoiser_draws_and_a_descriptor_takes_all(denoiser, descriptor):
    draw = replace(denoiser, validation_sequences=1, folds=0).resolved().drawn
    assert draw("train") == (3, 0) and draw("validation") == (1, 0) and draw("test") == (None, 0)
    assert all(descriptor.resolved().drawn(name) == (None, 0) for name in NAMES)
    assert len(side(replace(denoiser, folds=0).resolved(), "train").names) == 3
    assert side(replace(descriptor, folds=0).resolved(), "train").names == tuple(sorted(
        NAMES["train"]))
