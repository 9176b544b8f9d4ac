"""A panel is a function and a control for each argument; figures say what they are given."""

import base64

import ipywidgets
import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from hpkit import plots, widgets

matplotlib.use("Agg")
VIEW = "application/vnd.jupyter.widget-view+json"


def draw(height, name):
    if height > 8:
        raise ValueError("too high")
    figure = Figure(figsize=(2, 1))
    figure.subplots().set_title(f"{name} {height}")
    return figure


@pytest.fixture
def panel(monkeypatch):
    """The MIME bundle of a panel and its three parts: two controls, a note, a picture."""
    shown = []
    monkeypatch.setattr(widgets, "display", lambda bundle, raw: shown.append(bundle))
    made = []
    box = ipywidgets.HBox
    monkeypatch.setattr(ipywidgets, "HBox", lambda children: made.append(box(children)) or made[0])
    widgets.explore(draw, height=(0, 10, 1, 3), name=["one", "two"])
    return shown[0], *made[0].children[0].children, made[0].children[1]


def test_labels_are_the_names_of_the_arguments(panel):
    _, height, name, _, _ = panel
    assert (height.description, height.value, height.min, height.max) == ("height", 3, 0, 10)
    assert (name.description, name.value, name.options) == ("name", "one", ("one", "two"))
    assert isinstance(widgets.control("x", (0.0, 1.0, 0.1, 0.5)), ipywidgets.FloatSlider)


def test_the_bundle_carries_the_first_picture(panel):
    bundle, _, _, _, image = panel
    assert base64.b64decode(bundle["image/png"]) == image.value
    assert bundle[VIEW]["model_id"] and "height, name" in bundle["text/plain"]


def test_moving_a_slider_redraws(panel):
    _, height, name, _, image = panel
    first = image.value
    height.value = 5
    second = image.value
    name.value = "two"
    assert len({first, second, image.value}) == 3 and first[:4] == b"\x89PNG"


def test_an_error_is_shown_and_the_picture_stays(panel):
    _, height, _, note, image = panel
    before = image.value
    height.value = 9
    assert "ValueError" in note.value and "too high" in note.value and image.value == before
    height.value = 2
    assert note.value == "" and image.value != before


def test_patches_are_shown_on_one_grey_scale():
    ax = Figure().subplots()
    patches = np.zeros((2, 3, 32, 32), np.uint8)
    patches[1, 2] = 100  # bright for its table, not for the book
    plots.show_patches(ax, patches, rows=["a", "b"], columns=["x", "y", "z"], title="t")
    image = ax.images[0]
    assert image.get_clim() == (0, 255) and image.get_array().shape == (66, 100)
    assert np.nanmax(image.get_array()) == 100
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b"]


def test_curves_draw_what_they_get():
    ax = Figure().subplots()
    history = pd.DataFrame({"epoch": [1, 2], "loss": [4.0, 2.0], "val_loss": [3.0, 2.5]})
    plots.learning_curve(ax, history, ylabel="MAE", lines={"nothing": 5.0})
    assert [line.get_label() for line in ax.lines] == ["train", "validation", "nothing"]
    assert ax.lines[1].get_ydata().tolist() == [3.0, 2.5]
    ax = plots.precision_recall(Figure().subplots(), {"us": ([0, 1], [1, 0.5])})
    assert ax.lines[0].get_ydata().tolist() == [1, 0.5]


def test_bars_are_as_high_as_the_scores():
    scores = pd.DataFrame({"matching": [0.2, 0.6], "retrieval": [0.4, 0.8]}, index=["a", "b"])
    ax = plots.score_bars(Figure().subplots(), scores)
    heights = [bar.get_height() for group in ax.containers for bar in group]
    assert heights == pytest.approx([0.2, 0.4, 0.6, 0.8])


def test_arms_are_a_dot_per_seed_an_interval_and_the_coursework():
    arms = {"a": pd.Series([1.0, 2.0, 3.0]), "b": pd.Series([4.0])}
    ax = plots.compare_arms(Figure().subplots(), arms, ylabel="mAP", coursework={"b": 5.0})
    drawn = {line.get_label(): line.get_ydata() for line in ax.get_lines()}
    assert list(drawn["coursework"]) == [5.0]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["a", "b"]
    assert sum(len(y) for y in drawn.values()) >= 5


@pytest.mark.parametrize(("score", "bad_edge"), [("test_mae", 1), ("matching", 0)])
def test_rates_at_which_a_run_diverged_show_it_at_the_bad_edge(score, bad_edge):
    runs = pd.DataFrame({"optimizer": ["sgd"] * 4 + ["adam"], "times": [1.0, 1.0, 10.0, 10.0, 1.0],
                         "status": ["finished"] * 3 + ["diverged", "finished"],
                         score: [0.2, 0.4, 0.5, np.nan, 0.6]})
    ax = plots.learning_rates(Figure().subplots(), runs, score=score, ylabel="")
    lines = ax.get_lines()
    means = {line.get_label(): list(line.get_ydata()) for line in lines}
    assert means["sgd"] == pytest.approx([0.3, 0.5]) and means["adam"] == [0.6]
    cross, = (line for line in lines if line.get_marker() == "X" and len(line.get_xdata()))
    assert cross.get_xdata() == pytest.approx([10.0], rel=0.1)
    assert cross.get_color() == lines[0].get_color()
    assert cross.get_transform() == ax.get_xaxis_transform()
    assert list(cross.get_ydata()) == [bad_edge]
    shown = [text.get_text() for text in ax.get_legend().get_texts()]
    assert shown == ["sgd", "adam", "diverged"]
    ax = plots.learning_rates(Figure().subplots(), runs.dropna(), score=score, ylabel="")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["sgd", "adam"]


def test_contrasts_are_filled_where_they_are_decided():
    judged = pd.DataFrame({"contrast": ["x", "y"], "mean": [0.3, 0.1], "low": [0.2, -1.0],
                           "high": [0.4, 1.0], "smallest": 0.1,
                           "verdict": ["holds", "undecided"]})
    ax = plots.contrasts(Figure().subplots(), judged, xlabel="mAP")
    dots = [line for line in ax.get_lines() if line.get_marker() == "o"]
    assert [dot.get_markerfacecolor() == "w" for dot in dots] == [False, True]
