"""Descriptors that others made: each sees the whole patch, the measures are the field's."""

import importlib
import os
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import peer_tables
import pytest
import readme
from scipy.integrate import trapezoid

from hpkit.data.photos import photo_table
from hpkit.data.tasks import generate_tasks
from hpkit.evaluation.by_photo import pairs_of
from hpkit.evaluation.scores import evaluate
from hpkit.experiments.arms import recorded
from hpkit.matching.photos import match
from hpkit.networks.pretrained import card

BENCHMARKS = Path(__file__).parent / "benchmarks"
ROOT = Path(__file__).parents[1]
CONTRIB = Path(os.environ.get("HPKIT_CONTRIB", ROOT / ".venv/contrib/bin/python"))

@pytest.fixture
def script(monkeypatch):
    """Imports a script by its name, without running it."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


def blobs(number):
    """Smooth random patches, uint8 (n, 32, 32)."""
    random = np.random.default_rng(0)
    made = [cv2.GaussianBlur(random.normal(size=(32, 32)), (0, 0), 2) for _ in range(number)]
    return np.stack([cv2.normalize(m, None, 40, 180, cv2.NORM_MINMAX) for m in made]).astype("u1")


@pytest.mark.slow
@pytest.mark.skipif(not CONTRIB.exists(), reason="`make peers` sets up OpenCV contrib")
@pytest.mark.parametrize("name", ["DAISY", "VGG", "BoostDesc", "LATCH", "BEBLID", "TEBLID"])
def test_a_descriptor_sees_the_whole_patch_and_as_much_on_each_side(script, name):
    """Each of 8 x 8 squares is inverted in turn: how much does that move the descriptor?"""
    peers, worker = script("peers"), script("measure").contrib_worker()
    patches, seen = blobs(25), np.zeros((8, 8))
    try:
        plain = peers.by_worker(worker, name, patches)
        for row, column in np.ndindex(8, 8):
            changed = patches.copy()
            square = np.s_[:, 4 * row:4 * row + 4, 4 * column:4 * column + 4]
            changed[square] = 255 - changed[square]
            moved = peers.by_worker(worker, name, changed) - plain
            seen[row, column] = np.linalg.norm(moved, axis=1).mean()
    finally:
        worker.close()
    assert np.isfinite(plain).all() and plain.shape[0] == 25
    assert seen.min() > 0.05 * np.linalg.norm(plain[1:] - plain[:-1], axis=1).mean()
    left, right, top, bottom = seen[:, :4], seen[:, 4:], seen[:4], seen[4:]
    assert left.sum() == pytest.approx(right.sum(), rel=0.1)
    assert top.sum() == pytest.approx(bottom.sum(), rel=0.1)


def test_scores_of_all_photos_are_those_of_the_official_evaluation(script):
    names = ("i_a", "v_a", "i_b", "v_b")
    tasks = generate_tasks(names, [40] * 4, np.full(160, 50.0), 400, 40, 60)
    random = np.random.default_rng(0)
    points = random.normal(size=(160, 1, 8)) + 0.7 * random.normal(size=(160, 16, 8))
    points = points.astype(np.float32)
    everything, *photos = script("peers").scores(points, tasks)
    official = evaluate(points, tasks)
    for task in ("verification", "matching", "retrieval"):
        assert everything[task] == pytest.approx(getattr(official, task), abs=1e-12)
    assert [row["photo"] for row in photos] == ["a", "b"]
    matching = [row["matching"] for row in photos]
    assert np.mean(matching) == pytest.approx(official.matching)  # as many patches in each


def test_pairs_of_a_photo_begin_in_it():
    tasks = generate_tasks(("i_a", "v_b"), [40, 40], np.full(80, 50.0), 100, 20, 30)
    mine = np.arange(80) < 40
    some = pairs_of(tasks, mine)
    assert all(mine[getattr(some, kind)[:, 0]].all() for kind in ("positives", "intra", "inter"))
    assert 20 < len(some.positives) == len(some.intra) == len(some.inter) < 80


@pytest.mark.parametrize("ratio", [0.7, 0.9, 1.0])
def test_ranked_matches_below_a_ratio_are_those_of_the_ratio_test(script, ratio):
    random = np.random.default_rng(0)
    first, second = random.normal(size=(50, 8)), random.normal(size=(60, 8))
    matches, ratios = script("peer_pairs").ranked(first, second)
    assert np.array_equal(matches[ratios < ratio], match(first, second, ratio))


def test_repeatability_by_hand(script):
    """Of two and two points that both photos show, one and one are found again."""
    first = np.array([[10.0, 10], [50, 50], [95, 10]])     # the last one leaves the photo
    second = np.array([[21.0, 12], [40, 90]])
    shift = np.array([[1.0, 0, 10], [0, 1, 0], [0, 0, 1]])
    found = script("peer_pairs").repeatability(first, second, shift, ((100, 100), (100, 100)))
    assert found == 0.5


def test_f1_by_hand(script):
    pairs = script("peer_pairs")
    found = pairs.f1(np.array([True, False, True]), np.array([0.5, 0.72, 0.99]), total=4)
    by_ratio = dict(zip(pairs.RATIOS, found, strict=True))
    assert by_ratio[0.6] == 2 / 5 and by_ratio[0.75] == 2 / 6 and by_ratio[1.0] == 4 / 7


def test_the_area_is_that_under_the_share_of_solved_pairs():
    errors = pd.Series([0.5, 2.0, 7.0, np.inf])
    ends = np.linspace(0, peer_tables.AREA, 100_001)
    shares = (errors.to_numpy()[:, None] < ends).mean(axis=0)
    assert peer_tables.area(errors) == pytest.approx(trapezoid(shares, ends) / peer_tables.AREA,
                                                     abs=1e-4)


def test_what_is_not_ahead_is_named():
    ahead = {"A": (0.2, 0.1, 0.3), "B": (0.1, -0.1, 0.3)}
    told = "3 of 4 intervals lie above 0. Those that do not: in y: B."
    assert peer_tables.behind({"x": {"A": ahead["A"], "B": ahead["A"]}, "y": ahead}) == told
    assert peer_tables.behind({"x": {"A": ahead["A"]}}) == "All 1 intervals lie above 0."


def test_every_descriptor_is_recorded_on_every_side_and_photo(script):
    """Red: run `make peers` again."""
    table, pairs = recorded("peers"), recorded("peer_pairs")
    peers, test = script("peers"), photo_table().query("split == 'test'").name
    names = {"ours", "RootSIFT", "SIFT", "MKD", *peers.CONTRIB}
    expected = {(n, s, p) for n in names for s in peers.SOURCES for p in ("all", *test)}
    found = list(table[["descriptor", "source", "photo"]].itertuples(index=False, name=None))
    assert set(found) == expected and len(found) == len(expected)
    assert set(pairs.descriptor) == {*names, "RootSIFT on the photo"}
    assert set(pairs.photo) == {*test, "graf1 and graf3"}
    assert set(table.weights) == set(pairs.weights) == {f"sha256 {card()['sha256'][:12]}"}
    of = pairs.groupby("descriptor")
    assert (of.ratio.nunique() == 1).all() and of.size().nunique() == 1
    assert not pairs.duplicated(["descriptor", "change", "strength", "photo", "draw"]).any()


@pytest.mark.parametrize("name", ["SIFT", "RootSIFT"])
def test_what_is_recorded_twice_is_the_same(name):
    here = recorded("peers").query("descriptor == @name and photo == 'all'").set_index("source")
    there = recorded("baseline").query("descriptor == @name.lower()").set_index("source")
    assert here[peer_tables.TASKS].equals(there.loc[here.index, peer_tables.TASKS])


@pytest.mark.parametrize("which", peer_tables.TABLES)
def test_the_tables_are_fresh(which):
    made = peer_tables.TABLES[which]()
    assert readme.table(f"{peer_tables.COMMAND} {which}") == made, f"run {peer_tables.COMMAND}"
