"""The recorded results are whole, belong to this code, and come out again."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from tiny import EMULATED

from hpkit.experiments.arms import answers, arm, judge, recorded
from hpkit.experiments.claims import (
    CLAIMS,
    DENOISER,
    DESCRIPTOR,
    QUESTIONS,
    SEEDS,
    WEIGHTS,
    by_weights,
    matches,
)
from hpkit.experiments.configs import REVISION, DenoiserConfig, DescriptorConfig
from hpkit.experiments.modifications import TENTH, WITHOUT
from hpkit.experiments.runs import run
from hpkit.record import reference

KINDS = {"denoisers": DenoiserConfig, "descriptors": DescriptorConfig}
SCORES = {
    "denoisers": ["test_mae"],
    "descriptors": ["verification", "matching", "retrieval"],
}
# Between processors; on one it is exact.
TOLERANCE = {"denoisers": 0.3, "descriptors": 0.02}


@pytest.mark.parametrize("name", KINDS)
def test_results_are_whole(name):
    table = recorded(name)
    configs = [KINDS[name].from_row(row) for row in table.to_dict("records")]
    assert len({reference.identity(config) for config in configs}) == len(table)
    assert (table.revision == REVISION).all()
    assert (table.data_version == table.data + "-v1").all()
    finished = table[table.status == "finished"]
    measured = [*SCORES[name], "loss", "val_loss", "seconds"]
    assert finished[measured].notna().all(axis=None)
    assert set(finished.key) <= set(recorded("histories").key)


def test_fresh_runs_are_whole_and_of_one_block():
    """Eight seeds of each arm that has any, both scores, one precision."""
    table = recorded("averaged")
    configs = [DenoiserConfig.from_row(row) for row in table.to_dict("records")]
    assert len({reference.identity(config) for config in configs}) == len(table)
    assert [config.key() for config in configs] == list(table.key)
    assert (table.revision == REVISION).all() and (table.averaged == 0.2).all()
    assert table[["test_mae", "test_mae_averaged", "machine"]].notna().all(axis=None)
    assert table.precision.nunique() == 1
    arms = ["optimizer", "depth", "sequences", "batch_size", "samples", "init"]
    seeds = table.groupby(arms, dropna=False).seed.agg(sorted)
    assert all(found == list(SEEDS) for found in seeds)


def test_fresh_descriptor_runs_are_whole_and_of_one_block_each():
    """Eight seeds of each arm that has any, both scores; arms compared have one precision."""
    table = recorded("averaged_descriptors")
    configs = [DescriptorConfig.from_row(row) for row in table.to_dict("records")]
    assert len({reference.identity(config) for config in configs}) == len(table)
    assert [config.key() for config in configs] == list(table.key)
    scores = [f"{task}{ending}" for task in SCORES["descriptors"] for ending in ("", "_averaged")]
    assert table[scores].notna().all(axis=None)
    assert (table.revision == REVISION).all() and (table.averaged == 0.2).all()
    blocks = table.groupby("samples")  # the questions, and the recipe without its parts
    assert (blocks.precision.nunique() == 1).all()  # float32 hardly depends on the processor
    arms = {}
    for config in configs:
        arms.setdefault(replace(config, seed=0, draw=0), []).append(config.seed)
    assert all(sorted(seeds) == list(SEEDS) for seeds in arms.values())


def test_normalisation_and_hardest_negatives_help_and_unit_length_does_not():
    names = ("culprit", "normalisation", "free length")
    asked = [contrast for name in names for contrast in QUESTIONS[name]]
    found = answers(recorded("averaged_descriptors"), asked).set_index("contrast")
    assert (found.seeds == 8).all()
    assert found.answer.to_dict() == {
        "hardest negatives over random ones": "open",
        "length 1 over none": "worse",
        "length 1 and hardest over neither": "open",
        "length 1 and hardest over hardest": "open",
        "length 1 and hardest over length 1": "better",
        "all three over the baseline": "better",
        "all three over length 1 and hardest": "better",
        "normalised over not": "better",
        "normalised and hardest over normalised": "better",
        "all three over normalised and hardest": "worse",
    }


def test_the_denoiser_earns_its_place_and_its_patches_are_no_better_to_learn_from():
    found = answers(recorded("averaged_descriptors"), QUESTIONS["source"])
    assert (found.seeds == 8).all()
    assert dict(zip(found.contrast, found.answer, strict=True)) == {
        "denoised over clean": "open", "denoised over noisy": "better"}


def test_smaller_batches_win_by_their_steps():
    """At the same updates nothing that matters is left, by averaged weights."""
    asked = QUESTIONS["batch size"]
    last, averaged = (answers(recorded("averaged"), [by_weights(c, weights) for c in asked])
                      for weights in WEIGHTS)
    assert (last.seeds == 8).all() and list(last.answer) == ["better", "better", "open"]
    assert list(averaged.answer) == ["better", "better", "no difference that matters"]


def test_the_u_net_starts_better_from_lecun_uniform_or_orthogonal():
    found = answers(recorded("averaged"), QUESTIONS["initializers"])
    assert (found.seeds == 8).all()
    assert dict(zip(found.contrast, found.answer, strict=True)) == {
        "lecun_uniform over he_normal": "better", "orthogonal over he_normal": "better",
        "xavier_normal over he_normal": "open", "lecun_uniform over orthogonal": "open"}


def test_what_the_best_recipe_loses_without_each_part():
    for kind in ("noisy", "clean"):
        base = replace(TENTH, test_source=kind)
        asked = [matches(part, base=base, b=change) for part, change in WITHOUT.items()]
        found = answers(recorded("averaged_descriptors"), asked).set_index("contrast")
        assert (found.seeds == 8).all()
        missed = found.answer[found.answer == "better"].index
        assert set(missed) == {"the other normalisations", "hardest negatives", "unit length",
                               "AdamW, warm-up, decay"}


def test_a_recipe_without_one_part_is_trained_once_for_both_kinds_of_patches():
    asked = [config.resolved() for config in reference.configs([10])]
    arms = {(config.key(), config.test_source) for config in asked}
    assert len(arms) == len(asked) == 8 * 2 * (1 + len(WITHOUT))
    assert len({key for key, _ in arms}) == 8 * (1 + len(WITHOUT))


def test_the_questions_on_optimizers_and_depth_have_had_their_first_look():
    found = answers(recorded("averaged"), QUESTIONS["optimizers"])
    assert (found.seeds == 8).all() and set(found.answer) == {"better", "worse", "open"}
    (deeper,) = answers(recorded("averaged"), QUESTIONS["depth"]).itertuples()
    assert (deeper.seeds, deeper.answer) == (8, "better")


@pytest.mark.parametrize("name, kind", [("averaged", DenoiserConfig),
                                         ("averaged_descriptors", DescriptorConfig)])
def test_the_answers_of_fresh_seeds_do_not_rest_on_seeds_that_share_photos(name, kind):
    """With one value per left-out fold every answer stays what it is."""
    asked = [contrast for contrasts in QUESTIONS.values() for contrast in contrasts
             if isinstance(contrast.base, kind)]
    found = answers(recorded(name), asked)
    answered = found[found.answer != "open"]
    assert len(answered) > 5 and (answered.by_fold == answered.answer).all()


def test_every_epoch_of_a_training_is_recorded_once():
    assert not recorded("histories").duplicated(["key", "epoch"]).any()


@pytest.mark.parametrize("name", KINDS)
def test_a_rows_configuration_can_be_read_back(name):
    for _, row in recorded(name).iterrows():
        config = KINDS[name].from_row(row)
        assert config.resolved() == config and config.key() == row.key


@pytest.mark.slow
def test_every_claim_has_a_verdict_from_at_least_five_seeds_or_says_how_many():
    everything = pd.concat([recorded(name) for name in KINDS])
    for claim in CLAIMS.values():
        judged = judge(everything, claim)
        least = 3 if claim.name in ("C4b", "C12") else 5
        assert (judged.seeds >= least).all(), claim.name


def test_the_baselines_have_five_seeds():
    assert len(arm(recorded("denoisers"), DENOISER)) >= 5
    assert len(arm(recorded("descriptors"), DESCRIPTOR)) >= 5


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", [
    "denoisers",
    pytest.param("descriptors", marks=pytest.mark.repeats),  # four times as long
])
def test_the_cheapest_recorded_run_comes_out_again(name, tmp_path):
    """Trained anew; of the descriptors one that needs no denoiser.

    In float32 where bfloat16 would only be emulated: that takes many times as long.
    """
    table = recorded(name)
    if name == "descriptors":
        table = table[(table.source == "noisy") & (table.test_source == "noisy")]
    row = table.loc[(table.samples * table.epochs + table.seconds / 1e6).idxmin()]
    config = KINDS[name].from_row(row)
    if EMULATED:
        config = replace(config, precision="float32")
    made = run(config, store=tmp_path)
    np.testing.assert_allclose(
        [made.scores[s] for s in SCORES[name]],
        row[SCORES[name]].to_numpy(float),
        atol=TOLERANCE[name],
    )
