"""The recorded results are whole, belong to this code, and come out again."""

from dataclasses import fields

import numpy as np
import pandas as pd
import pytest
import reference

from hpkit.claims import CLAIMS, DENOISER, DESCRIPTOR
from hpkit.configs import REVISION, DenoiserConfig, DescriptorConfig
from hpkit.lessons import recorded
from hpkit.runs import run
from hpkit.statistics import arm, judge

KINDS = {"denoisers": DenoiserConfig, "descriptors": DescriptorConfig}
SCORES = {"denoisers": ["test_mae"], "descriptors": ["verification", "matching", "retrieval"]}
TOLERANCE = {"denoisers": 0.3, "descriptors": 0.02}  # between processors; on one it is exact


def config_of(name: str, row: pd.Series):
    """The configuration of a recorded row."""
    values = {f.name: row[f.name] for f in fields(KINDS[name])}
    whole = {f.name for f in fields(KINDS[name]) if "int" in str(f.type)}
    return KINDS[name](**{k: None if pd.isna(v) else int(v) if k in whole else v
                          for k, v in values.items()})


@pytest.mark.parametrize("name", KINDS)
def test_results_are_whole(name):
    table = recorded(name)
    assert len({reference.identity(row) for row in
                table[[f.name for f in fields(KINDS[name])]].to_dict("records")}) == len(table)
    assert (table.revision == REVISION).all() and (table.data_version == table.data + "-v1").all()
    finished = table[table.status == "finished"]
    assert finished[[*SCORES[name], "loss", "val_loss", "seconds"]].notna().all(axis=None)
    assert set(finished.key) <= set(recorded("histories").key)


@pytest.mark.parametrize("name", KINDS)
def test_a_rows_configuration_can_be_read_back(name):
    for _, row in recorded(name).iterrows():
        config = config_of(name, row)
        assert config.resolved() == config and config.key() == row.key


def test_every_claim_has_a_verdict_from_at_least_five_seeds_or_says_how_many():
    everything = pd.concat([recorded(name) for name in KINDS])
    for claim in CLAIMS.values():
        judged = judge(everything, claim)
        assert (judged.seeds >= (3 if claim.name in ("C4b", "C12") else 5)).all(), claim.name


def test_the_baselines_have_five_seeds():
    assert len(arm(recorded("denoisers"), DENOISER)) >= 5
    assert len(arm(recorded("descriptors"), DESCRIPTOR)) >= 5


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", KINDS)
def test_the_cheapest_recorded_run_comes_out_again(name, tmp_path):
    """Trained anew; of the descriptors one that needs no denoiser."""
    table = recorded(name)
    if name == "descriptors":
        table = table[(table.source == "noisy") & (table.test_source == "noisy")]
    row = table.loc[(table.samples * table.epochs + table.seconds / 1e6).idxmin()]
    made = run(config_of(name, row), store=tmp_path)
    np.testing.assert_allclose([made.scores[s] for s in SCORES[name]],
                               row[SCORES[name]].to_numpy(float), atol=TOLERANCE[name])
