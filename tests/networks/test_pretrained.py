"""The shipped networks are those of their cards, and the best recipe beats what came before."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import torch

import hpkit
from hpkit.data.sets import load
from hpkit.data.tasks import tasks_for
from hpkit.evaluation.baselines import non_local_means
from hpkit.evaluation.describe import denoise, describe
from hpkit.evaluation.scores import evaluate
from hpkit.experiments.arms import recorded
from hpkit.experiments.configs import DenoiserConfig, DescriptorConfig
from hpkit.experiments.modifications import BEST, BEST_DENOISER
from hpkit.networks.pretrained import card
from hpkit.record.pretrained import COUNTS, LIMITS, TASKS, network_of

KINDS = {"descriptor": DescriptorConfig, "denoiser": DenoiserConfig}


def rows_on(patches: str) -> pd.DataFrame:
    """Mean scores on the test side for one kind of patches, a row per descriptor."""
    classical = recorded("baseline").query("descriptor in ('sift', 'rootsift')")
    kinds = ["noisy", "non-local means"] if patches == "noisy" else ["clean"]
    classical = classical[classical.source.isin(kinds)].assign(
        descriptor=lambda table: table.descriptor + " " + table.source)
    best = recorded("best").query("side == 'test' and patches == @patches")
    return pd.concat([best, classical]).groupby("descriptor")[TASKS].mean()


@pytest.mark.parametrize("patches", ["clean", "noisy"])
def test_the_best_recipe_beats_all_others_in_every_task(patches):
    rows = rows_on(patches)
    assert {"coursework: baseline", "coursework: final model"} < set(rows.index)
    assert len(rows) == (7 if patches == "noisy" else 5)
    assert (rows.drop("best") < rows.loc["best"]).all(axis=None)


def test_every_recorded_seed_of_the_best_recipe_has_all_four_rows_and_its_versions():
    best = recorded("best").query("descriptor == 'best'")
    assert (best.groupby("seed")[["side", "patches"]].value_counts() == 1).all()
    assert len(best) == 4 * card()["seeds"] and (best.data_version == "scenes-v1").all()
    assert best[["seconds", "torch", "numpy", "machine", "finished"]].notna().all(axis=None)


@pytest.mark.parametrize(("name", "recipe"), [("descriptor", BEST), ("denoiser", BEST_DENOISER)])
def test_cards_are_of_the_recipes(name, recipe):
    written = card(name)["config"]
    assert not [field for field in written if field.startswith("denoiser_")]  # there is none
    told = type(recipe)(**written).resolved()
    chance = {"seed": told.seed, "draw": told.draw, "threads": told.threads,
              "device": told.device, "precision": told.precision}
    assert told == type(recipe)(**(recipe.__dict__ | chance)).resolved()
    assert card(name)["network"] == network_of(told)
    assert card(name)["limits"] == LIMITS[name]


def test_cards_give_scores_with_intervals():
    for name, groups in (("descriptor", 4), ("denoiser", 1)):
        scores = card(name)["scores"]
        assert len(scores) == groups
        for found in scores.values():
            for mean, *ends in found.values():
                assert len(ends) == 2 * (card(name)["seeds"] > 1)
                assert min(ends, default=mean) <= mean <= max(ends, default=mean)


@pytest.mark.slow
@pytest.mark.parametrize("patches", ["clean", "noisy"])
def test_the_shipped_descriptor_scores_what_was_recorded(patches):
    """In half precision, and on another processor than that which trained it."""
    test = load("photos").test
    found = evaluate(describe(hpkit.pretrained(), test[patches]), tasks_for(test, **COUNTS))
    row = recorded("best").query("side == 'test' and descriptor == 'best' and seed == 0")
    expected = row[row.patches == patches][TASKS].iloc[0]
    np.testing.assert_allclose([getattr(found, task) for task in TASKS], expected, atol=0.005)


@pytest.mark.slow
def test_the_shipped_denoiser_is_better_than_non_local_means():
    test = load("photos", points=3).test
    errors = [np.abs(denoise(d, test["noisy"]).astype(int) - test["clean"]).mean()
              for d in (hpkit.pretrained("denoiser"), non_local_means)]
    assert errors[0] < errors[1]


PIXELS = np.random.RandomState(0).randint(0, 256, (4, 1, 32, 32)).astype(np.float32)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(("patches", "sentence"), [
    (torch.tensor(PIXELS[:, 0]), r"patches are float32 \(4, 32, 32\), expected a float tensor"),
    (torch.tensor(PIXELS[0, 0]), r"patches are float32 \(32, 32\), expected a float tensor"),
    (torch.tensor(PIXELS).expand(4, 3, 32, 32), r"float32 \(4, 3, 32, 32\), expected"),
    (torch.tensor(PIXELS).to(torch.uint8), r"patches are uint8 \(4, 1, 32, 32\), .*\.float\(\)"),
    (torch.tensor(PIXELS).long(), r"patches are int64 \(4, 1, 32, 32\)"),
    (torch.tensor(PIXELS).double(), r"patches are torch.float64, expected torch.float32 as the w"),
    (PIXELS, r"patches are float32 \(4, 1, 32, 32\), expected a float tensor"),
    ([1, 2], r"patches are list \(\), expected a float tensor"),
])
def test_what_a_shipped_network_cannot_take_is_refused_in_one_sentence(name, patches, sentence):
    with pytest.raises(ValueError, match=sentence) as error:
        hpkit.pretrained(name)(patches)
    assert "\n" not in str(error.value) and len(str(error.value)) < 300


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("scaled", [PIXELS / 255, PIXELS / 127.5 - 1,
                                    (PIXELS - PIXELS.mean()) / PIXELS.std()])
def test_pixels_on_another_scale_are_named(name, scaled):
    with pytest.warns(UserWarning, match=r"pixels run from .* trained on 0 to 255"):
        hpkit.pretrained(name)(torch.tensor(scaled))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("patches", [PIXELS, PIXELS * 0, PIXELS[:0], PIXELS // 128])
@pytest.mark.filterwarnings("error")
def test_patches_of_any_darkness_and_none_at_all_are_taken(name, patches):
    found = hpkit.pretrained(name)(torch.tensor(patches))
    assert found.shape == ((len(patches), 128) if name == "descriptor" else patches.shape)


def test_shipped_networks_travel_with_their_check():
    for copied in (copy.deepcopy(hpkit.pretrained()), pickle.loads(pickle.dumps(hpkit.pretrained()))):
        with pytest.warns(UserWarning, match="pixels run from 0 to 1"):
            copied(torch.tensor(PIXELS / 255))
    half = hpkit.pretrained().half()
    assert half(torch.tensor(PIXELS).half()).isfinite().all()


@pytest.mark.slow
def test_a_shipped_network_can_be_exported_for_batches_of_any_size():
    model, patches = hpkit.pretrained(), torch.tensor(PIXELS)
    batch = {"patches": {0: torch.export.Dim("batch")}}
    exported = torch.export.export(model, (patches,), dynamic_shapes=batch).module()
    assert torch.allclose(exported(patches[:3]), model(patches[:3]), atol=1e-5)


def test_patches_that_lost_their_scale_on_the_way_to_uint8_are_named():
    lost = (PIXELS[:, 0] / 255).round().astype(np.uint8)
    with pytest.warns(UserWarning, match=r"no pixel is over 1, of 255"):
        describe(hpkit.pretrained(), lost)


@pytest.mark.parametrize("name", KINDS)
def test_patches_may_be_named_and_mapped_over(name):
    network = hpkit.pretrained(name)
    patches = (torch.arange(2 * 2 * 1024.0) % 256).reshape(2, 2, 1, 32, 32)
    expected = network(patches[0])
    own = "patches" if name == "descriptor" else "noisy"
    torch.testing.assert_close(network(**{own: patches[0]}), expected)
    mapped = torch.func.vmap(network)(patches)
    torch.testing.assert_close(mapped[0], expected, rtol=1e-4, atol=1e-3)
