"""Configurations: equal ones have one name, different ones different names, bad ones a sentence."""

import json
import re
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import PATCHES, TASKS

from hpkit.configs import (
    CHOICES,
    REVISION,
    SCORING,
    DenoiserConfig,
    DescriptorConfig,
    choices,
    data_version,
    varied,
)
from hpkit.losses import DESCRIPTOR_LOSSES, PAIRWISE
from hpkit.training import fit

KINDS = (DenoiserConfig, DescriptorConfig)
OTHER = {"data": "elsewhere", "split": "b", "lr": 0.5, "momentum": 0.25, "margin": 2.0,
         "device": "cpu:0", "precision": "bfloat16", "revision": REVISION + 1, "dropout": 0.5}


def another(kind, name, value):
    """A valid value of this field that is not this one."""
    plain = name.removeprefix("denoiser_")
    if valid := choices(kind.__name__, name):
        return next(choice for choice in valid if choice != value)
    if isinstance(value, bool):
        return not value
    return OTHER[plain] if plain in OTHER else 3 if value is None else value + 1


CASES = [(kind, field.name) for kind in KINDS for field in fields(kind)]


@pytest.mark.parametrize(("kind", "name"), CASES, ids=lambda x: getattr(x, "__name__", x))
def test_every_field_that_training_depends_on_changes_the_name(kind, name, monkeypatch):
    monkeypatch.setattr("hpkit.configs.data_version", lambda data: data)
    base = kind(threads=1, precision="float32").resolved()
    other = replace(base, **{name: another(kind, name, getattr(base, name))})
    assert (other.key() != base.key()) == (name not in SCORING)
    assert (other.score_key() != base.score_key()) >= (name in SCORING)


def test_what_is_left_open_is_what_the_coursework_used():
    assert (DenoiserConfig().resolved().lr, DenoiserConfig().resolved().momentum) == (1e-5, 0.9)
    assert (DescriptorConfig().resolved().lr, DescriptorConfig().resolved().momentum) == (0.1, 0)
    nadam = DescriptorConfig(optimizer="nadam", denoiser_optimizer="adam").resolved()
    assert (nadam.lr, nadam.momentum, nadam.denoiser_lr) == (2e-3, 0, 1e-3)
    assert DescriptorConfig(lr=0.1).resolved() == DescriptorConfig().resolved()
    assert DescriptorConfig(seed=3).resolved().draw == 3


@pytest.mark.parametrize("kind", KINDS)
def test_equal_numbers_of_other_types_are_one_run(kind):
    plain = kind(seed=1, lr=1.0, threads=1).resolved()
    assert kind(seed=np.int64(1), lr=1, threads=1).resolved().key() == plain.key()


def test_a_denoiser_counts_only_where_its_patches_are_trained_on():
    for source, same in (("clean", True), ("noisy", True), ("denoised", False)):
        shallow, deep = (DescriptorConfig(source=source, denoiser_depth=d).resolved()
                         for d in (4, 8))
        assert (shallow.key() == deep.key()) == same
    clean = DescriptorConfig(source="clean").resolved()
    assert clean.score_key() != replace(clean, denoiser_depth=8).score_key()  # tested on denoised
    on_clean = replace(clean, test_source="clean")
    assert on_clean.score_key() == replace(on_clean, denoiser_depth=8).score_key()


def test_a_descriptors_denoiser_is_the_run_that_one_would_make_alone():
    alone = DenoiserConfig(seed=2, depth=6, optimizer="nadam", samples=100).resolved()
    inside = DescriptorConfig(seed=2, denoiser_depth=6, denoiser_optimizer="nadam",
                              denoiser_samples=100)
    assert inside.denoiser() == inside.resolved().denoiser() == alone


@pytest.mark.parametrize(("changes", "expected"), [
    ({"optimizer": "sdg"}, "optimizer is 'sdg', expected one of sgd, rmsprop"),
    ({"depth": 5}, "depth is 5, expected one of 4, 6, 8"),
    ({"epochs": 0}, "epochs is 0, expected a whole number of at least 1"),
    ({"batch_size": 2.5}, "batch_size is 2.5, expected a whole number"),
    ({"seed": True}, "seed is True, expected a whole number of at least 0"),
    ({"lr": float("nan")}, "lr is nan, expected a finite number"),
    ({"residual": "yes"}, "residual is 'yes', expected True or False"),
    ({"schedule": "cosine"}, "schedule is 'cosine', expected one of constant, decay, warmup, "),
    ({"objective": "triplet"}, "objective is 'triplet', expected one of mae, mse, charbonnier"),
    ({"lr": "fast"}, "lr is 'fast', expected a finite number"),
    ({"deepness": 8}, "has no field 'deepness': expected one of data, split"),
])
def test_what_does_not_fit_is_refused_in_one_sentence(changes, expected):
    with pytest.raises(ValueError, match=re.escape(expected)):
        varied(DenoiserConfig(), **changes)


@pytest.mark.parametrize("objective", PAIRWISE)
@pytest.mark.parametrize(("changes", "expected"), [
    ({"samples": 101}, "samples is 101, one pair in the last batch of 50"),
    ({"samples": 1}, "samples is 1, one pair"),
    ({"validation_samples": 51}, "validation_samples is 51, one pair in the last batch of 50"),
    ({"batch_size": 1}, "samples is 1500, one pair in the last batch of 1: expected two or none"),
])
def test_a_batch_of_one_pair_is_refused_where_negatives_come_from_it(objective, changes, expected):
    DescriptorConfig(**changes)  # triplets bring their own
    with pytest.raises(ValueError, match=re.escape(expected)):
        DescriptorConfig(objective=objective, **changes)
    assert DescriptorConfig(objective=objective, samples=102).samples == 102


def test_choices_of_a_denoiser_and_of_a_descriptor_are_their_own():
    assert choices("DenoiserConfig", "network") == ("unet", "unet++", "framing")
    assert choices("DescriptorConfig", "network") == ("l2net", "joint")
    assert choices("DenoiserConfig", "objective") == ("mae", "mse", "charbonnier", "ssim")
    assert choices("DescriptorConfig", "objective") == tuple(DESCRIPTOR_LOSSES)
    for kind, name in CASES:
        if name.startswith("denoiser_"):
            plain = name.removeprefix("denoiser_")
            assert choices(kind.__name__, name) == choices("DenoiserConfig", plain)
    assert choices("DescriptorConfig", "samples") == choices("DescriptorConfig", "unit") == ()
    assert "mixed" in choices("DescriptorConfig", "source")
    assert "mixed" not in choices("DescriptorConfig", "test_source")


@pytest.mark.parametrize("kind", KINDS)
def test_every_choice_of_every_field_is_valid(kind):
    for field in fields(kind):
        for value in choices(kind.__name__, field.name):
            assert getattr(varied(kind(), **{field.name: value}), field.name) == value


@given(st.integers(0, 10**9), st.sampled_from(CHOICES["optimizer"]), st.floats(1e-8, 10))
def test_resolving_twice_changes_nothing(seed, optimizer, lr):
    once = DescriptorConfig(seed=seed, optimizer=optimizer, lr=lr).resolved()
    assert once.resolved() == once and once.resolved().key() == once.key()


def test_the_datas_version_notices_another_file(tmp_path):
    (tmp_path / "splits.json").write_text("{}")
    before = data_version(str(tmp_path))
    (tmp_path / "ref.png").write_bytes(b"123")
    assert data_version("photos") == "photos-v1" and data_version(str(tmp_path)) != before


def two_steps() -> list[float]:
    """What two tiny training steps of every optimizer give, to compare between versions."""
    numbers = []
    for build, sampler in TASKS.values():
        for optimizer in CHOICES["optimizer"]:
            momentum = 0.9 if optimizer == "sgd" else 0.0
            record, = fit(build(), sampler, sampler, epochs=1, optimizer=optimizer, lr=1e-5,
                          momentum=momentum, batch_size=3, device="cpu", precision="float32")
            weights = [w.double().abs().sum() for w in record.state["model"].values()]
            numbers += [record.loss, record.val_loss, float(torch.stack(weights).sum())]
    return numbers


def test_changed_training_needs_a_new_revision():
    """If this fails because training is meant to change: raise REVISION and write the file anew."""
    assert len(PATCHES) == 4
    path = Path(__file__).parent / "golden" / "revision.json"
    kept = json.loads(path.read_text())
    assert kept["revision"] == REVISION
    np.testing.assert_allclose(two_steps(), kept["numbers"], rtol=1e-5)
