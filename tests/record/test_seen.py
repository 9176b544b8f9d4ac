"""Each photo is scored under networks that trained on it, and under others."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from hpkit.data.patches import photo_of
from hpkit.data.sets import load
from hpkit.evaluation.baselines import raw_pixels
from hpkit.experiments.arms import recorded
from hpkit.experiments.build import side
from hpkit.experiments.claims import DENOISER, DESCRIPTOR, SEEDS
from hpkit.experiments.configs import varied
from hpkit.record import seen
from hpkit.training.losses import triplet_loss
from hpkit.training.samplers import Triplets


@pytest.fixture(scope="module")
def patches():
    return load("photos", points=20).train


def test_a_denoiser_that_does_nothing_has_the_error_of_the_noise(patches):
    found = list(seen.denoiser_errors(lambda noisy: noisy, patches))
    by_hand = [np.abs(noisy.astype(float) - clean).mean()
               for noisy, clean in zip(patches.each("noisy"), patches.each("clean"), strict=True)]
    assert found == pytest.approx(by_hand) and len(found) == len(patches.names)


def test_a_sequences_triplets_are_of_its_own_points(patches):
    config = varied(DESCRIPTOR, points=10, margin=0.5)
    found = list(seen.descriptor_losses(raw_pixels, lambda noisy: noisy, patches, config))
    mine = patches.select(patches.names[2:3]).head(10)
    chosen = Triplets(mine, "noisy", 1000).draw(torch.Generator().manual_seed(0))
    described = torch.from_numpy(raw_pixels(mine["noisy"].reshape(-1, 32, 32)))
    assert found[2] == pytest.approx(triplet_loss(*described[chosen].unbind(1), 0.5).item())


def test_a_sequence_whose_photo_was_half_seen_has_no_row(patches):
    config = varied(DENOISER, seed=3).resolved()
    trained = side(config, "train").names
    made = list(seen.rows("unet", config, patches.names, iter(range(len(patches.names)))))
    assert [row["sequence"] for row in made if row["seen"]] == sorted(trained, key=patches.names.index)
    strangers = {photo_of(row["sequence"]) for row in made if not row["seen"]}
    assert strangers.isdisjoint({photo_of(name) for name in trained})
    assert all(patches.names[row["error"]] == row["sequence"] for row in made)


def test_an_interrupted_recording_keeps_its_seeds_and_goes_on(monkeypatch, tmp_path, patches):
    asked = []

    def rows_of(seed, _):
        if seed == SEEDS[2] and len(asked) < 3:
            asked.append(seed)
            raise KeyboardInterrupt
        asked.append(seed)
        yield {"network": "unet", "seed": seed, "sequence": "i_moon", "seen": True, "error": 1 / 3}

    monkeypatch.setattr(seen, "both", rows_of)
    monkeypatch.setattr(seen, "load", lambda name: SimpleNamespace(train=patches))
    monkeypatch.setattr(seen, "results_folder", lambda: tmp_path)
    with pytest.raises(KeyboardInterrupt):
        seen.record()
    assert list(pd.read_csv(tmp_path / "seen.csv").seed) == list(SEEDS[:2])
    seen.record()
    assert asked == [*SEEDS[:3], *SEEDS[2:]]
    table = pd.read_csv(tmp_path / "seen.csv")
    assert list(table.seed) == list(SEEDS) and set(table.error) == {0.33333}


def test_rows_of_other_patches_are_made_again(monkeypatch, tmp_path, patches):
    row = {"network": "unet", "seed": SEEDS[0], "sequence": "i_moon", "seen": True, "error": 1}
    pd.DataFrame([row | {"data_version": "photos-v0"}]).to_csv(tmp_path / "seen.csv", index=False)
    monkeypatch.setattr(seen, "both", lambda seed, _: [row | {"seed": seed, "error": 2}])
    monkeypatch.setattr(seen, "load", lambda name: SimpleNamespace(train=patches))
    monkeypatch.setattr(seen, "results_folder", lambda: tmp_path)
    seen.record()
    assert set(pd.read_csv(tmp_path / "seen.csv").error) == {2}


def test_the_recorded_table_is_whole():
    table = recorded("seen")
    assert set(table.network) == {"unet", "l2net"} and table.error.notna().all()
    for _, rows in table.groupby("network"):
        assert set(rows.seed) == set(SEEDS) and not rows.duplicated(["seed", "sequence"]).any()
        assert (rows.groupby("sequence").seen.nunique() == 2).mean() > 0.7  # its own control
