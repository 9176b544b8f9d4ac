"""A result is of the data and the code that it says: no old one comes back under a new name."""

import builtins
import errno
import os
import resource
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import NAMES, patch_set, same_weights

from hpkit.data.sets import load
from hpkit.data.strips import write_sequence
from hpkit.experiments import runs
from hpkit.experiments import store as kept_runs
from hpkit.experiments.build import side
from hpkit.experiments.runs import network, run
from hpkit.files import cache_folder, data_folder
from hpkit.networks.denoisers import Joint


def repaint(folder: str, shift: int) -> None:
    """Every PNG anew, in the same size, as if nothing had happened."""
    for seed, name in enumerate(name for names in NAMES.values() for name in names):
        patches = patch_set(seed=seed + shift)
        write_sequence(Path(folder) / name, patches["clean"], patches["noisy"])


@pytest.fixture
def own(tmp_path):
    """A data set that only this test has."""
    from tiny import write_data

    return write_data(tmp_path / "data")


@pytest.mark.slow
def test_changed_patches_never_meet_old_results(own, descriptor, tmp_path):
    """Neither a kept run, nor denoised patches that are still in memory, nor old arrays."""
    config = replace(descriptor, data=own, epochs=1)
    before = run(config, store=tmp_path / "runs")
    repaint(own, 100)
    after = run(config, store=tmp_path / "runs")
    assert after.folder != before.folder
    fresh = run(config, store=tmp_path / "elsewhere")
    assert same_weights(after.model(), fresh.model()) and after.scores == fresh.scores
    repaint(own, 0)
    assert run(config, store=tmp_path / "runs").folder == before.folder


@pytest.mark.slow
def test_denoised_patches_are_of_the_data_as_it_is(own, descriptor, tmp_path):
    config = replace(descriptor, data=own).resolved()
    before = runs.builder(config, tmp_path).denoised("test")
    repaint(own, 100)
    assert not np.array_equal(runs.builder(config, tmp_path).denoised("test"), before)


def test_arrays_of_a_folder_are_its_data_too(own, denoiser, tmp_path, monkeypatch):
    monkeypatch.setenv("HPKIT_CACHE", str(tmp_path / "cache"))
    load(own)
    (converted,) = (cache_folder() / "converted").glob("*/i_ant_clean.npy")
    folder = tmp_path / "of arrays"
    (folder / "arrays").mkdir(parents=True)
    (folder / "splits.json").write_bytes((Path(own) / "splits.json").read_bytes())
    for path in converted.parent.glob("*.npy"):
        (folder / "arrays" / path.name).write_bytes(path.read_bytes())
    for path in converted.parent.glob("*.stamp"):
        (folder / "arrays" / path.name).write_bytes(path.read_bytes())
    config = replace(denoiser, data=folder)
    before = config.resolved().key()
    path = folder / "arrays" / "i_ant_clean.npy"
    array = np.load(path)
    np.save(path, 255 - array)
    assert config.resolved().key() != before


@pytest.mark.slow
def test_a_moved_data_set_is_the_same_data_set(own, denoiser, tmp_path, no_training):
    made = run(replace(denoiser, data=own), store=tmp_path / "runs")
    Path(own).rename(tmp_path / "moved")
    no_training()
    again = run(replace(denoiser, data=tmp_path / "moved"), store=tmp_path / "runs")
    assert again.folder == made.folder


def test_another_number_of_threads_finds_the_run_and_tells_how_it_was_made(denoiser, tmp_path,
                                                                          no_training):
    run(replace(denoiser, threads=1), store=tmp_path)
    no_training()
    again = run(replace(denoiser, threads=2), store=tmp_path)
    assert again.config.threads == 1 and again.row()["threads"] == 1


# --- damaged, unreachable and exhausted are three different things --------------------------------

def test_a_healthy_run_is_not_set_aside_for_want_of_file_descriptors(denoiser, tmp_path):
    made = run(denoiser, store=tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 8, hard))
        with pytest.raises(OSError):
            while True:
                held.append(open(os.devnull))  # noqa: SIM115 - held open on purpose
        with pytest.raises(OSError):
            kept_runs.open_run(made.folder, made.config)
    finally:
        for file in held:
            file.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert made.folder.exists() and not list(tmp_path.glob("*.damaged-*"))
    assert run(denoiser, store=tmp_path).scores == made.scores


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ESTALE, errno.EIO])
def test_a_drive_that_is_away_moves_nothing(number, denoiser, tmp_path, monkeypatch):
    made, real = run(denoiser, store=tmp_path), Path.open

    def away(path, *args, **options):
        if path.name == "weights.safetensors":
            raise OSError(number, os.strerror(number))
        return real(path, *args, **options)

    monkeypatch.setattr(Path, "open", away)
    monkeypatch.setattr(builtins, "open", lambda path, *a, **o: away(Path(path), *a, **o))
    with pytest.raises(OSError, match=os.strerror(number)):
        kept_runs.open_run(made.folder, made.config)
    assert made.folder.exists() and not list(tmp_path.glob("*.damaged-*"))


def test_what_is_proven_to_be_damaged_is_set_aside(denoiser, tmp_path):
    made = run(denoiser, store=tmp_path)
    path = made.folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.warns(UserWarning, match="missing or changed since it was written; the folder"):
        assert kept_runs.open_run(made.folder, made.config) is None
    assert [p.name for p in tmp_path.glob("*.damaged-*")] == [f"{made.folder.name}.damaged-1"]


# --- what a configuration costs, and where things are ---------------------------------------------

@pytest.mark.slow
def test_to_look_at_a_joint_network_trains_nothing(descriptor, tmp_path, no_training):
    """Its panel shows it before anything is trained; its weights do not need the denoiser's."""
    config = replace(descriptor, network="joint", source="noisy", test_source="noisy",
                     objective="hardest")
    made = run(config, store=tmp_path)
    no_training()
    assert isinstance(network(config.resolved()), Joint)
    denoiser = tmp_path / config.denoiser().key()
    for path in denoiser.iterdir():
        path.unlink()
    denoiser.rmdir()
    assert isinstance(made.model(), Joint)


@pytest.mark.parametrize("variable, folder", [
    ("HPKIT_CACHE", cache_folder), ("HPKIT_DATA", data_folder),
    ("HPKIT_RUNS", kept_runs.store_folder)])
def test_a_tilde_is_the_home(variable, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(variable, "~/x")
    assert folder() == tmp_path / "x"


def test_names_without_an_underscore_are_photos_of_their_own(own, denoiser):
    """Else all of them would be one photo, and no fold could be left out."""
    text = (Path(own) / "splits.json").read_text()
    for name in NAMES["train"]:
        plain = name.replace("_", "")
        (Path(own) / name).rename(Path(own) / plain)
        text = text.replace(f'"{name}"', f'"{plain}"')
    (Path(own) / "splits.json").write_text(text)
    train = side(replace(denoiser, data=own, sequences=None).resolved(), "train")
    assert len(train.names) == 4  # of six photos, each third is left out


def test_the_processor_is_told_by_its_name():
    name = kept_runs.machine("cpu")
    told = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else name
    assert name and (name in told or "model name" not in told)
    assert torch.get_num_threads() >= 1
