"""A model of one's own: trained through the store, scored as `evaluate` does, put on the ladder."""

import threading

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from tiny import QUICK

from hpkit.data.tasks import tasks_for
from hpkit.evaluation.describe import denoise, describe
from hpkit.evaluation.scores import evaluate
from hpkit.experiments import arms
from hpkit.experiments.arms import arm
from hpkit.experiments.build import side
from hpkit.experiments.claims import DESCRIPTOR
from hpkit.experiments.configs import DescriptorConfig, varied
from hpkit.experiments.modifications import MODEL
from hpkit.experiments.runs import run
from hpkit.lessons import live, widgets
from hpkit.lessons.panels import climb

matplotlib.use("Agg")
CPU = {"device": "cpu", "precision": "float32", "threads": 1}
PATIENCE = 180  # seconds until a test that hangs has failed
NAMES = ("source", "test_source", "optimizer", "denoiser_depth", "denoiser_batch_size", "epochs")
STEPS = pd.DataFrame({"rung": ["low", "high"], "seconds": [40.0, 600.0], "mean": [-0.1, 1.1],
                      "seeds": [5, 1]})


pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def base(folder):
    return DescriptorConfig(data=folder, samples=8, points=None, denoiser_epochs=1, pairs=20,
                            denoiser_samples=8, queries=2, distractors=4, **QUICK, **CPU)


def press(panel, name):
    panel.buttons[name].click()
    for thread in threading.enumerate():
        if thread.name == live.THREAD:
            thread.join(PATIENCE)
            assert not thread.is_alive()


def by_hand(config, patches):
    """Matching of the trained network on the test patches as given."""
    test = side(config.resolved(), "test")
    tasks = tasks_for(test, config.pairs, config.queries, config.distractors)
    return evaluate(describe(run(config).model(), patches(test)), tasks).matching


@pytest.mark.slow
def test_a_placed_model_has_the_score_of_evaluate(base):
    noisy = varied(base, source="noisy", test_source="noisy")
    seconds, score = climb.placed(noisy)
    assert score == by_hand(noisy, lambda test: test["noisy"])
    assert seconds == run(noisy).info["seconds"]
    seconds, score = climb.placed(base)
    unet = run(base.resolved().denoiser())
    assert score == by_hand(base, lambda test: denoise(unet.model(), test["noisy"]))
    assert seconds == run(base).info["seconds"] + unet.info["seconds"]


def test_rungs_are_means_of_recorded_arms():
    denoisers, descriptors = (arms.recorded(name) for name in ("denoisers", "descriptors"))
    clean = varied(DESCRIPTOR, source="noisy", test_source="noisy")
    found = climb.rungs(denoisers, descriptors, {"final": MODEL, "noisy": clean}).set_index("rung")
    own = arm(descriptors, MODEL)
    assert found.seeds["final"] == len(own) and found["mean"]["final"] == own.matching.mean()
    assert found.seconds["final"] > own.seconds.min()  # its denoiser's too
    assert found.seconds["noisy"] == arm(descriptors, clean).seconds.min()


def test_building_it_trains_nothing(monkeypatch, base, store):
    shown = []
    monkeypatch.setattr(widgets, "display", lambda bundle, raw: shown.append(bundle))
    assert climb.climb(base, STEPS, *NAMES) is None
    assert not store.exists() and "image/png" in shown[0]
    assert "source, test_source" in shown[0]["text/plain"]


@pytest.mark.slow
def test_a_run_is_trained_scored_and_placed(base, store, monkeypatch):
    drawn, show = [], climb.show_ladder
    monkeypatch.setattr(climb, "show_ladder",
                        lambda ax, steps, own, **said: drawn.append(own) or show(ax, steps, own,
                                                                                 **said))
    panel = climb.Climb(base, STEPS, NAMES)
    assert panel.inputs["denoiser_batch_size"].value == 50 and drawn == [{}]
    press(panel, "Train")
    seconds, score = climb.placed(base)
    assert f"Matching mAP {score:.3f} after {seconds:.0f} s of training: above 1 of 2 rungs" in (
        panel.status.value)
    assert drawn[-1] == {"this run": (seconds, score)}
    assert len(list(store.glob("*/run.json"))) == 2
    panel.inputs["source"].value = "clean"
    panel.inputs["denoiser_depth"].value = 6  # of the test patches' denoiser
    press(panel, "Train")
    changed = varied(base, source="clean", denoiser_depth=6)
    assert list(drawn[-1].values()) == [(seconds, score), climb.placed(changed)]
    assert list(drawn[-1])[1].split() == ["clean,", "denoiser_depth", "6"]
    panel.inputs["test_source"].value = "noisy"  # one training, another score
    press(panel, "Train")
    assert len(drawn[-1]) == 3 and len(list(store.glob("*/run.json"))) == 4


@pytest.mark.slow
def test_a_stopped_run_is_not_scored(base, store, monkeypatch):
    monkeypatch.setattr(live.Panel, "_stopped", lambda panel: True)
    panel = climb.Climb(base, STEPS, NAMES)
    press(panel, "Train")
    assert "stopped after 0 of 1 epochs of its denoiser" in panel.status.value
    assert panel.own == {} and not list(store.glob("*/run.json"))


def test_the_ladder_numbers_rungs_and_letters_yours():
    ax = climb.show_ladder(Figure().subplots(), STEPS, {"adam,\nlr 1": (60.0, 0.25)}, ylabel="mAP")
    places = [tuple(line.get_xydata()[0]) for line in ax.lines]
    assert places == [(40, -0.1), (600, 1.1), (60, 0.25)]
    assert [line.get_marker() for line in ax.lines] == ["o", "o", "s"]
    said = [text.get_text() for text in ax.texts]
    assert said[::2] == ["0", "1", "A"] and said[-1] == "A  adam, lr 1: 0.250"
    assert (ax.get_title("left") or ax.get_title()) == "Your best: 0.250"


def test_signs_of_rungs_that_meet_stand_apart():
    meeting = pd.DataFrame({"rung": list("abcd"), "seconds": [16.0, 15.7, 15.4, 500.0],
                            "mean": [0.615, 0.612, 0.610, 0.8], "seeds": 5})
    ax = climb.show_ladder(Figure().subplots(), meeting, {}, ylabel="mAP")
    signs = [text for text in ax.texts if text.get_text().isdigit()]
    aside = np.array([sign.xyann for sign in signs])
    places = ax.transData.transform(meeting[["seconds", "mean"]]) * 72 / ax.figure.dpi + aside
    gaps = np.hypot(*(places[:, None] - places).T)[np.triu_indices(4, 1)]
    assert gaps.min() > 17 and (aside[:, 0] >= -1e-9).all() and np.allclose(aside[[0, 3]], 0)
