"""The shipped networks are those of their cards, and the best recipe beats what came before."""

import numpy as np
import pandas as pd
import pytest

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
