"""Fixtures for all tests: small data and runs, and panels whose runs are a test's own."""

import threading
from itertools import count

import matplotlib
import pytest
from tiny import QUICK, write_data

from hpkit.experiments import runs
from hpkit.experiments.configs import DenoiserConfig, DescriptorConfig
from hpkit.lessons import live, widgets


@pytest.fixture(autouse=True)
def style():
    """What a test sets of matplotlib's style ends with it."""
    with matplotlib.rc_context():
        yield


MACHINE = {"device": "cpu", "precision": "float32", "threads": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Nine sequences of four points in the HPatches layout."""
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture
def denoiser(folder):
    return DenoiserConfig(data=folder, samples=8, optimizer="adam", **QUICK, **MACHINE)


@pytest.fixture
def descriptor(folder):
    return DescriptorConfig(data=folder, samples=8, optimizer="nadam", denoiser_epochs=1,
                            denoiser_samples=8, pairs=20, queries=2, distractors=4, **QUICK,
                            **MACHINE)


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Of panels: a test's runs are its own, no training outlives it; pictures are numbers: quicker.
    """
    numbers = count()
    monkeypatch.setattr(widgets, "to_png", lambda figure: b"\x89PNG%d" % next(numbers))
    monkeypatch.setenv("HPKIT_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(live, "REDRAW", 0)
    yield tmp_path / "runs"
    live.end_training()
    assert live.THREAD not in [thread.name for thread in threading.enumerate()]


@pytest.fixture
def no_training(monkeypatch):
    """From when it is called on, a training is an error."""
    def refuse(*args, **options):
        raise AssertionError("trained again")

    return lambda: monkeypatch.setattr(runs, "fit", refuse)
