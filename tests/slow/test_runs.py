"""Runs are trained once, survive being killed, and notice damage; sweeps take any executor."""

import os
import random
import shutil
import signal
import threading
import time
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
import pytest
from distributed import Client, LocalCluster
from tiny import NAMES, patch_set, same_weights

from hpkit.data.strips import write_sequence
from hpkit.experiments import runs
from hpkit.experiments import store as kept_runs
from hpkit.experiments.build import side
from hpkit.experiments.configs import DenoiserConfig
from hpkit.experiments.runs import ablate, follow, run

FORK = get_context("forkserver")  # children of a process that has imported torch and run nothing
FORK.set_forkserver_preload(["hpkit.experiments.runs"])


# --- one run ------------------------------------------------------------------------------------

def test_a_run_is_trained_once_and_comes_back_whole(denoiser, descriptor, tmp_path, no_training):
    first = [run(config, store=tmp_path) for config in (denoiser, descriptor)]
    no_training()
    for before, config in zip(first, (denoiser, descriptor), strict=True):
        again = run(config, store=tmp_path)
        assert again.scores == before.scores and again.info == before.info
        assert same_weights(again.model(), before.model())
        assert len(again.history) == 2 and again.row()["loss"] == again.history.loss.iloc[-1]
    assert run(replace(denoiser, test_points=2), store=tmp_path).scores != first[0].scores
    assert len(list(tmp_path.glob("*/run.json"))) == 3  # the descriptor's own denoiser is the third


def test_a_row_says_what_the_run_was(denoiser, tmp_path):
    made = run(denoiser, store=tmp_path).row()
    assert made["optimizer"] == "adam" and made["lr"] == 1e-3 and made["status"] == "finished"
    assert {"torch", "numpy", "python", "machine", "seconds", "data_version", "key"} <= set(made)


def test_a_descriptor_trained_on_clean_patches_needs_no_denoiser(descriptor, tmp_path):
    clean = replace(descriptor, source="clean", test_source="clean")
    assert set(run(clean, store=tmp_path).scores) == {"verification", "matching", "retrieval"}
    assert len(list(tmp_path.glob("*/run.json"))) == 1
    run(replace(clean, test_source="denoised"), store=tmp_path)
    assert len(list(tmp_path.glob("*/run.json"))) == 2  # no second training of the descriptor


def test_a_training_that_diverges_is_a_result(denoiser, descriptor, tmp_path, no_training):
    wild = replace(denoiser, optimizer="sgd", momentum=0.0, lr=1e30)
    made = run(wild, store=tmp_path)
    assert made.info["status"] == "diverged" and made.row()["test_mae"] != made.row()["test_mae"]
    with pytest.raises(ValueError, match="this denoiser diverged"):
        run(replace(descriptor, denoiser_lr=1e30), store=tmp_path)
    averaged = run(replace(wild, averaged=0.5), store=tmp_path)
    assert set(averaged.scores) == {"test_mae", "test_mae_averaged"}
    assert all(score != score for score in averaged.scores.values())
    no_training()
    assert run(wild, store=tmp_path).info == made.info


def test_a_progress_bar_counts_epochs(denoiser, tmp_path, capsys):
    run(denoiser, store=tmp_path, progress=True)
    assert "0/2" in (shown := capsys.readouterr().err) and "epoch" in shown


# --- what a configuration chooses of the data ---------------------------------------------------

def test_a_fold_leaves_out_whole_photos_and_each_photo_once(folder, descriptor):
    left_out = []
    for draw in range(3):
        names = side(replace(descriptor, draw=draw).resolved(), "train").names
        left_out += sorted({name[2:] for name in NAMES["train"]} - {name[2:] for name in names})
        assert len(names) == 4
    assert sorted(left_out) == ["ant", "bee", "cat"]
    assert len(side(replace(descriptor, folds=0).resolved(), "train").names) == 6


def test_data_that_changed_are_read_again_and_make_another_run(denoiser, tmp_path):
    copied = shutil.copytree(denoiser.data, tmp_path / "data")
    config = replace(denoiser, data=str(copied)).resolved()
    before, points = config.key(), len(side(config, "test"))
    patches = patch_set(points=7, seed=9)
    write_sequence(copied / NAMES["test"][0], patches["clean"], patches["noisy"])
    config = replace(config, test_points=None)
    assert len(side(config, "test")) == points + 3 and config.key() != before


def test_a_denoiser_draws_its_sequences_within_the_fold(denoiser):
    for draw in range(6):
        config = replace(denoiser, draw=draw).resolved()
        assert len(side(config, "train").names) == 3
        whole = side(replace(config, sequences=None), "train").names
        assert set(side(config, "train").names) < set(whole)
    assert side(denoiser.resolved(), "test").names == tuple(NAMES["test"])


@pytest.mark.parametrize(("changes", "expected"), [
    ({"folds": 4}, "folds is 4, and there are 3 training photos"),
    ({"sequences": 5}, "5 sequences asked for, and there are 4 to draw from"),
    ({"validation_sequences": 2}, "2 sequences asked for, and there are 1"),
])
def test_more_than_there_is_cannot_be_asked_for(denoiser, tmp_path, changes, expected):
    with pytest.raises(ValueError, match=expected):
        run(replace(denoiser, **changes), store=tmp_path)


# --- damage -------------------------------------------------------------------------------------

def flip(path: Path) -> None:
    """One bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


@pytest.mark.parametrize("damage", [flip, cut, Path.unlink])
@pytest.mark.parametrize("name", ["weights.safetensors", "history.csv", "run.json", "scores-*"])
def test_a_damaged_file_is_named_and_set_aside(name, damage, denoiser, tmp_path):
    before = run(denoiser, store=tmp_path)
    path, = before.folder.glob(name)
    damage(path)
    if damage is Path.unlink and name in ("run.json", "scores-*"):  # not damaged: not yet done
        assert run(denoiser, store=tmp_path).scores == before.scores
        return
    with pytest.warns(UserWarning, match=rf"{path.name}: .*set aside as .*\.damaged-1"):
        after = run(denoiser, store=tmp_path)
    assert after.scores == before.scores
    assert before.folder.with_name(f"{before.folder.name}.damaged-1").is_dir()


class Interrupted(Exception):
    pass


@pytest.fixture
def half_done(denoiser, tmp_path, monkeypatch):
    """A run that ended in its second epoch."""
    def ends(*args, **options):
        records = runs_fit(*args, **options)
        yield next(records)
        raise Interrupted

    runs_fit = runs.fit
    monkeypatch.setattr(runs, "fit", ends)
    with pytest.raises(Interrupted):
        run(denoiser, store=tmp_path)
    monkeypatch.undo()
    return tmp_path / denoiser.resolved().key() / "checkpoint.pt"


@pytest.mark.parametrize("damage", [flip, cut])
def test_a_damaged_checkpoint_is_set_aside(damage, half_done, denoiser, tmp_path):
    damage(half_done)
    with pytest.warns(UserWarning, match="checkpoint.pt: not a whole checkpoint"):
        made = run(denoiser, store=tmp_path)
    assert list(made.history.epoch) == [1, 2] and not (made.folder / "checkpoint.pt").exists()


def test_a_run_goes_on_from_the_last_finished_epoch(half_done, denoiser, tmp_path):
    whole = run(denoiser, store=tmp_path / "another")
    resumed = run(denoiser, store=tmp_path)
    assert same_weights(resumed.model(), whole.model())
    seconds = {"seconds"}
    assert resumed.history.drop(columns=seconds).equals(whole.history.drop(columns=seconds))
    assert resumed.scores == whole.scores


def _train(config, store):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is ever found damaged
        run(config, store=store)


@pytest.mark.timeout(300)
def test_killed_at_random_moments_a_run_ends_as_if_nothing_had_happened(descriptor, tmp_path):
    """kill -9, at least 20 times: in either training, while a file is written, while scoring."""
    chance, kills = random.Random(0), 0
    for seed in count():
        config = replace(descriptor, seed=seed, epochs=6, denoiser_epochs=6)
        while True:
            child = FORK.Process(target=_train, args=(config, tmp_path / "killed"))
            child.start()
            child.join(chance.uniform(0.05, 1.5) if kills < 20 else None)
            if not child.is_alive():
                assert child.exitcode == 0
                break
            os.kill(child.pid, signal.SIGKILL)
            child.join()
            kills += 1
        for one in (config, config.denoiser()):
            killed, whole = (run(one, store=tmp_path / name) for name in ("killed", "whole"))
            assert same_weights(killed.model(), whole.model()) and killed.scores == whole.scores
            assert list(killed.history.epoch) == list(range(1, 7))
        if kills >= 20:
            break
    assert not list((tmp_path / "killed").glob("*.damaged-*"))


# --- sweeps -------------------------------------------------------------------------------------

def test_a_sweep_is_a_row_per_combination_with_seeds_outermost(denoiser, tmp_path):
    table = ablate(denoiser, [0, 1], store=tmp_path, optimizer=["adam", "sgd"], lr=[1e-5, 1e-4],
                   momentum=[0.0])
    assert list(table.seed) == [0] * 4 + [1] * 4 and list(table.draw) == list(table.seed)
    assert list(table.optimizer[:4]) == ["adam", "adam", "sgd", "sgd"]
    assert list(table.lr[:4]) == [1e-5, 1e-4] * 2 and table.test_mae.notna().all()


def test_one_training_gives_the_scores_of_the_last_step_and_of_the_average(
        denoiser, tmp_path, no_training):
    plain = run(denoiser, store=tmp_path)
    both = run(replace(denoiser, averaged=0.5), store=tmp_path)
    assert both.folder != plain.folder and same_weights(both.model(), plain.model())
    assert both.scores["test_mae"] == plain.scores["test_mae"]
    assert both.scores["test_mae_averaged"] != plain.scores["test_mae"]
    assert both.row()["averaged"] == 0.5
    no_training()
    again = run(replace(denoiser, averaged=0.5), store=tmp_path)
    assert again.scores == both.scores
    assert same_weights(again.model(averaged=True), both.model(averaged=True))
    assert not same_weights(again.model(averaged=True), again.model())
    with pytest.raises(ValueError, match="without averaged weights"):
        plain.model(averaged=True)


def test_averaged_weights_outlive_a_kill_after_the_last_epoch(denoiser, tmp_path, monkeypatch):
    config = replace(denoiser, averaged=0.5)

    def fails(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(kept_runs, "finish", fails)
    with pytest.raises(KeyboardInterrupt):
        run(config, store=tmp_path)
    monkeypatch.undo()
    resumed, whole = (run(config, store=store) for store in (tmp_path, tmp_path / "another"))
    assert resumed.scores == whole.scores
    assert same_weights(resumed.model(averaged=True), whole.model(averaged=True))


def test_sweeps_share_their_baseline(denoiser, tmp_path, no_training):
    table = ablate(denoiser, [0], store=tmp_path, depth=[4, 6])
    no_training()
    again = ablate(denoiser, [0], store=tmp_path, init=["he_normal"])
    assert again.key[0] == table.key[0] and again.test_mae[0] == table.test_mae[0]


def test_a_sweep_refuses_an_unknown_name_before_it_trains(denoiser, no_training):
    no_training()
    with pytest.raises(ValueError, match="no field 'optimiser'"):
        ablate(denoiser, [0], optimiser=["adam"])


def compare(denoiser: DenoiserConfig, executor, tmp_path: Path) -> None:
    """A sweep through the executor gives the rows of one without, and no run was made twice."""
    grid = {"optimizer": ["adam", "sgd", "adamax"], "momentum": [0.0]}
    store, seen, end = tmp_path / "executor", {}, threading.Event()

    def watch():
        while not end.is_set():
            for path in store.glob("*/run.json"):
                seen.setdefault(path, path.stat().st_mtime_ns)
            time.sleep(0.01)

    watcher = threading.Thread(target=watch)
    watcher.start()
    table = ablate(replace(denoiser, threads=None), range(4), store=store, executor=executor,
                   **grid)
    end.set()
    watcher.join()
    assert len(seen) == 12 and all(p.stat().st_mtime_ns == t for p, t in seen.items())
    alone = ablate(replace(denoiser, threads=1), range(4), store=tmp_path / "alone", **grid)
    changing = ["seconds", "finished"]
    pd.testing.assert_frame_equal(table.drop(columns=changing), alone.drop(columns=changing))


@pytest.mark.timeout(200)
def test_a_sweep_over_a_process_pool(denoiser, tmp_path):
    with ProcessPoolExecutor(2, FORK) as executor:
        compare(denoiser, executor, tmp_path)


@pytest.mark.timeout(200)
def test_a_sweep_over_a_dask_cluster_outlives_a_worker(denoiser, tmp_path):
    """One of two worker processes is killed once results have begun to arrive."""
    with (LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster,
          Client(cluster) as client):
        victim = next(iter(client.run(os.getpid).values()))

        def kill():
            while not list((tmp_path / "executor").glob("*/run.json")):
                time.sleep(0.01)
            os.kill(victim, signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        compare(replace(denoiser, epochs=4), client.get_executor(), tmp_path)
        killer.join()


def test_two_processes_that_want_one_run_do_not_both_train_it(denoiser, tmp_path):
    long = replace(denoiser, epochs=30)
    with ProcessPoolExecutor(2, FORK) as executor:
        first, second = executor.map(run_in(tmp_path), [long, long])
    assert first == second


def noisy(descriptor, **changes):
    """An L2-Net, which has dropout; no denoiser."""
    return replace(descriptor, source="noisy", test_source="noisy", epochs=3, **changes)


def without(table, *columns):
    return table.drop(columns=["seconds", "finished", *columns])


@contextmanager
def dask_threads(number: int):
    """Dask's usual worker: several threads in one process."""
    with (LocalCluster(1, threads_per_worker=number, processes=False, dashboard_address=None)
          as cluster, Client(cluster) as client):
        yield client.get_executor()


@pytest.mark.timeout(200)
@pytest.mark.parametrize("pool", [ThreadPoolExecutor, dask_threads])
def test_threads_train_what_a_loop_trains_bit_for_bit(pool, descriptor, tmp_path):
    base = noisy(descriptor)
    serial = ablate(base, range(4), store=tmp_path / "serial")
    with pool(4) as executor:
        threaded = ablate(base, range(4), executor=executor, store=tmp_path / "threads")
    pd.testing.assert_frame_equal(without(threaded), without(serial))
    for key in serial.key:
        one, other = ((tmp_path / store / key / "weights.safetensors").read_bytes()
                      for store in ("serial", "threads"))
        assert one == other


def test_a_run_beside_a_panel_that_trains_waits_and_both_are_right(descriptor, tmp_path):
    ours, theirs = noisy(descriptor, seed=1), noisy(descriptor, seed=2, threads=2)
    expected = [run(config, store=tmp_path / "serial") for config in (ours, theirs)]
    begun, seen = threading.Event(), []

    def panel():
        for step in follow(theirs, store=tmp_path):
            seen.append(step.status)
            begun.set()

    followed = threading.Thread(target=panel)
    followed.start()
    assert begun.wait(60)
    beside = run(ours, store=tmp_path)
    followed.join()
    assert seen[-1] == "finished"
    found = [beside, run(theirs, store=tmp_path)]
    for one, other in zip(found, expected, strict=True):
        assert same_weights(one.model(), other.model()) and one.scores == other.scores
        assert one.info["threads"] == other.info["threads"]


def test_a_panel_beside_a_training_is_refused_and_nothing_stays_taken(descriptor, tmp_path):
    begun = follow(noisy(descriptor), store=tmp_path)
    next(begun)
    with ThreadPoolExecutor(1) as executor:
        with pytest.raises(RuntimeError, match="another run is being trained in this process"):
            executor.submit(lambda: next(follow(noisy(descriptor, seed=5), store=tmp_path))).result()
        executor.submit(begun.close).result()
        assert executor.submit(run, noisy(descriptor), store=tmp_path).result().scores


def test_no_seeds_are_refused_and_no_arms_are_an_empty_table(denoiser, tmp_path):
    with pytest.raises(ValueError, match="no seeds, expected at least one to train"):
        ablate(denoiser, [], store=tmp_path)
    assert ablate(denoiser, [0], store=tmp_path, optimizer=[]).empty  # as chapter 5 asks


class run_in:
    """run(config, store=...).info for a pool: when it was finished says who trained it."""

    def __init__(self, store: Path) -> None:
        self.store = store

    def __call__(self, config):
        made = run(config, store=self.store)
        return made.info, made.history.seconds.tolist()


def test_a_diverged_sweep_says_so_in_its_row(denoiser, tmp_path):
    table = ablate(denoiser, [0], store=tmp_path, optimizer=["sgd"], momentum=[0.0],
                   lr=[1e-5, 1e30])
    assert list(table.status) == ["finished", "diverged"]
    assert list(table.test_mae.isna()) == [False, True]
