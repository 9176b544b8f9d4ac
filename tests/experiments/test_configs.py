"""Configurations: equal ones have one name, different ones different names, bad ones a sentence."""

import io
import os
import re
from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpkit import files
from hpkit.data.sets import DATA_SETS, DataSet, data_set
from hpkit.experiments.configs import (
    CIRCUMSTANCES,
    REVISION,
    SCORING,
    DenoiserConfig,
    DescriptorConfig,
    choices,
    varied,
)
from hpkit.networks.registry import DENOISERS, DESCRIPTORS
from hpkit.training.augment import NOISE_MODELS
from hpkit.training.losses import DENOISER_LOSSES, DESCRIPTOR_LOSSES
from hpkit.training.optimizers import OPTIMIZERS, SCHEDULES

QUOTED = '"{}"'.format
PAIRWISE = [name for name, loss in DESCRIPTOR_LOSSES.items() if loss.pairwise]

KINDS = (DenoiserConfig, DescriptorConfig)
OTHER = {"data": "elsewhere", "split": "b", "lr": 0.5, "momentum": 0.25, "margin": 2.0,
         "device": "cpu:0", "precision": "bfloat16", "revision": REVISION + 1, "dropout": 0.5,
         "noisy_share": 0.5, "norm_momentum": 0.5}


def another(kind, name, value):
    """A valid value of this field that is not this one."""
    plain = name.removeprefix("denoiser_")
    if valid := choices(kind, name):
        return next(choice for choice in valid if choice != value)
    if isinstance(value, bool):
        return not value
    return OTHER[plain] if plain in OTHER else 3 if value is None else value + 1


def fake_data_set(data):
    """A data set whose version is its name."""
    return DataSet(folder=None, version=lambda: data, arrays=None)


CASES = [(kind, field.name) for kind in KINDS for field in fields(kind)]


@pytest.mark.parametrize(("kind", "name"), CASES, ids=lambda x: getattr(x, "__name__", x))
def test_every_field_that_training_depends_on_changes_the_name(kind, name, monkeypatch):
    monkeypatch.setattr("hpkit.experiments.configs.data_set", fake_data_set)
    monkeypatch.setitem(NOISE_MODELS, "another", NOISE_MODELS["gaussian"])
    base = kind(threads=1, precision="float32").resolved()
    other = replace(base, **{name: another(kind, name, getattr(base, name))})
    no_part = {*SCORING, *CIRCUMSTANCES, *base.idle()}
    assert (other.key() != base.key()) == (name not in no_part)
    assert (other.score_key() != base.score_key()) >= (name in SCORING)


def test_what_a_notebook_adds_to_a_registry_may_be_chosen(monkeypatch):
    with pytest.raises(ValueError, match="own"):
        DescriptorConfig(optimizer="own")
    monkeypatch.setitem(OPTIMIZERS, "own", OPTIMIZERS["sgd"])
    assert DescriptorConfig(optimizer="own").optimizer == "own"


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
    ({"schedule": "sawtooth"}, f"schedule is 'sawtooth', expected one of {', '.join(SCHEDULES)}"),
    ({"objective": "triplet"},
     f"objective is 'triplet', expected one of {', '.join(DENOISER_LOSSES)}"),
    ({"lr": "fast"}, "lr is 'fast', expected a finite number"),
    ({"data": 5}, f'data is 5, expected {", ".join(map(QUOTED, DATA_SETS))}, or the path'),
    ({"points": -1}, "points is -1, expected a whole number of at least 1"),
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
    assert choices(DenoiserConfig, "network") == tuple(DENOISERS)
    assert choices(DescriptorConfig, "network") == tuple(DESCRIPTORS)
    assert choices(DenoiserConfig, "objective") == tuple(DENOISER_LOSSES)
    assert choices(DescriptorConfig, "objective") == tuple(DESCRIPTOR_LOSSES)
    for kind, name in CASES:
        if name.startswith("denoiser_"):
            plain = name.removeprefix("denoiser_")
            assert choices(kind, name) == choices(DenoiserConfig, plain)
    assert choices(DescriptorConfig, "samples") == choices(DescriptorConfig, "unit") == ()
    assert "mixed" in choices(DescriptorConfig, "source")
    assert "mixed" not in choices(DescriptorConfig, "test_source")


@pytest.mark.parametrize("kind", KINDS)
def test_every_choice_of_every_field_is_valid(kind):
    for field in fields(kind):
        for value in choices(kind, field.name):
            assert getattr(varied(kind(), **{field.name: value}), field.name) == value


@given(st.integers(0, 10**9), st.sampled_from(sorted(OPTIMIZERS)), st.floats(1e-8, 10))
def test_resolving_twice_changes_nothing(seed, optimizer, lr):
    once = DescriptorConfig(seed=seed, optimizer=optimizer, lr=lr).resolved()
    assert once.resolved() == once and once.resolved().key() == once.key()


def test_the_datas_version_is_of_what_it_holds(tmp_path):
    """Other bytes of the same size, arrays and splits count; times and leftovers do not."""
    (tmp_path / "i_ant").mkdir()
    (tmp_path / "arrays").mkdir()
    seen = []
    for file, content in (("splits.json", b"{}"), ("i_ant/ref.png", b"123"),
                          ("i_ant/ref.png", b"124"), ("arrays/i_ant_clean.npy", b"1"),
                          ("arrays/i_ant_clean.npy", b"2"), ("splits.json", b"{ }")):
        (tmp_path / file).write_bytes(content)
        seen.append(data_set(tmp_path).version())
    assert len(set(seen)) == len(seen)
    for leftover in ("i_ant/._ref.png", "._splits.json", "Thumbs.db", "notes.txt"):
        (tmp_path / leftover).write_bytes(b"macOS and Windows were here")
    os.utime(tmp_path / "i_ant" / "ref.png", (1, 1))
    assert data_set(tmp_path).version() == seen[-1]
    assert data_set("photos").version() == "photos-v1"


def test_unchanged_files_are_not_read_again(tmp_path, monkeypatch):
    monkeypatch.setenv("HPKIT_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "ref.png"
    path.write_bytes(b"123")
    os.utime(path, (1, 1))
    first = files.file_digests([path])
    monkeypatch.setattr(files, "sha256", lambda path: 1 / 0)
    assert files.file_digests([path]) == first


def test_a_folder_is_one_data_set_however_it_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "x").mkdir()
    spelled = ("x", "x/", "./x", tmp_path / "x", "~/x", str(tmp_path / "y" / ".." / "x"))
    assert {DenoiserConfig(data=data).data for data in spelled} == {str(tmp_path / "x")}


def test_fields_that_play_no_part_make_no_other_run():
    for plain, changes in (
        (DescriptorConfig(source="noisy", test_source="noisy"),
         {"noisy_share": 0.1, "batch_photos": 2, "denoiser_depth": 8}),
        (DescriptorConfig(source="noisy", test_source="noisy", folds=0), {"draw": 3}),
        (DenoiserConfig(folds=0, sequences=None), {"draw": 3, "validation_draw": 4}),
        (DenoiserConfig(), {"device": "cpu", "threads": 7}),
    ):
        for name, value in changes.items():
            other = replace(plain, **{name: value})
            assert other.resolved().key() == plain.resolved().key(), name


def test_a_new_field_at_its_default_changes_no_name():
    """The hash holds what differs from the default, so a field that is not there is one."""
    config = DescriptorConfig(epochs=7, threads=1, precision="float32").resolved()
    named = {"epochs": 7, "split": "photos", "lr": 0.1, "momentum": 0.0, "draw": 0,
             "precision": "float32", "revision": REVISION, "denoiser_lr": 1e-5,
             "denoiser_momentum": 0.9}
    assert config.trained() == named


@pytest.mark.parametrize("kind", KINDS)
def test_a_configuration_comes_back_from_a_table(kind):
    config = kind(seed=3, points=None, unit=True) if kind is DescriptorConfig else kind(lr=0.25)
    table = pd.DataFrame([config.row(), kind(seed=4, points=7, threads=2).row()])
    back = pd.read_csv(io.StringIO(table.assign(matching=0.5).to_csv(index=False)))
    assert kind.from_row(back.iloc[0]) == config
    older = back.drop(columns=["schedule", "init"])  # fields that came later
    assert kind.from_row(older.iloc[1]) == kind(seed=4, points=7, threads=2)
