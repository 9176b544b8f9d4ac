"""A panel is a function and a control for each argument; figures say what they are given."""

import base64
from datetime import UTC, datetime

import cv2
import ipywidgets
import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from hpkit.lessons import plots, widgets

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


FILE = b"some bytes"


@pytest.mark.parametrize(("value", "data"), [
    ({}, None), ((), None),
    ({"a.jpg": {"metadata": {"name": "a.jpg"}, "content": FILE}}, FILE),          # ipywidgets 7
    (({"name": "a.jpg", "size": 10, "content": memoryview(FILE)},), FILE),        # ipywidgets 8
])
def test_an_uploaded_file_is_read_from_either_ipywidgets(value, data):
    assert widgets.uploaded(value) == data


@pytest.fixture
def photo_panel(monkeypatch):
    """The upload, the slider, the note, the picture, and the arguments of each drawing."""
    drawn, made, box = [], [], ipywidgets.HBox

    def brightness(photo, factor):
        drawn.append((photo, factor))
        figure = Figure(figsize=(2, 1))
        figure.subplots().imshow(photo * factor, vmin=0, vmax=255)
        return figure

    monkeypatch.setattr(widgets, "display", lambda bundle, raw: None)
    monkeypatch.setattr(ipywidgets, "HBox", lambda children: made.append(box(children)) or made[0])
    widgets.explore(brightness, photo=np.zeros((40, 50), np.uint8), factor=(0.0, 1.0, 0.1, 0.5))
    return *made[0].children[0].children, made[0].children[1], drawn


def upload(button, data):
    """What the front end does, in the version of ipywidgets that is installed."""
    if ipywidgets.__version__ < "8":
        value = {"a": {"content": data}}
    else:
        value = ({"name": "a", "type": "image/png", "size": len(data), "content": memoryview(data),
                  "last_modified": datetime.now(UTC)},)
    button.set_trait("value", value)


def test_a_file_takes_the_place_of_the_photo(photo_panel):
    button, factor, note, image, drawn = photo_panel
    before, bright = image.value, np.full((60, 90), 200, np.uint8)
    assert drawn[0][0].shape == (40, 50) and button.description == "photo photo"
    upload(button, cv2.imencode(".png", bright)[1].tobytes())
    factor.value = 0.9
    assert [photo.shape for photo, _ in drawn] == [(40, 50), (60, 90), (60, 90)]
    assert np.array_equal(drawn[2][0], bright) and image.value != before and note.value == ""


def test_a_bad_file_is_refused_in_a_sentence_and_the_picture_stays(photo_panel):
    button, _, note, image, drawn = photo_panel
    before = image.value
    upload(button, b"<script>")
    assert "this file: not an image, expected JPEG, PNG" in note.value
    assert image.value == before and len(drawn) == 1
    upload(button, cv2.imencode(".png", np.full((60, 90), 9, np.uint8))[1].tobytes())
    assert note.value == "" and image.value != before


def test_units_are_in_the_labels_and_sentences_under_the_controls(monkeypatch):
    def told(height):
        if height == 9:
            raise ValueError("too high")
        return draw(min(height, 5), "x"), f"{height} < 9"

    made, box = [], ipywidgets.HBox
    monkeypatch.setattr(widgets, "display", lambda bundle, raw: None)
    monkeypatch.setattr(ipywidgets, "HBox", lambda children: made.append(box(children)) or made[0])
    widgets.explore(told, units={"height": "cm"}, height=(0, 10, 1, 3))
    height, note = made[0].children[0].children
    assert height.description == "height (cm)" and note.value == "3 &lt; 9"
    height.value = 9
    assert note.value == "<b>ValueError:</b> too high"
    height.value = 8
    assert note.value == "8 &lt; 9"


def test_notes_are_text_not_html(monkeypatch, photo_panel):
    _, factor, note, _, _ = photo_panel
    monkeypatch.setattr(widgets, "to_png", lambda figure: {}["<i>"])
    factor.value = 0.9
    assert "&lt;i&gt;" in note.value


def test_matches_are_lines_between_two_photos():
    first, second = np.zeros((30, 40), np.uint8), np.zeros((20, 50), np.uint8)
    pairs = np.array([[1, 2, 3, 4], [5, 6, 7, 8]])
    ax = plots.show_matches(Figure().subplots(), first, second, pairs, np.array([True, False]))
    assert ax.images[0].get_array().shape == (30, 98)
    assert [list(line.get_xdata()) for line in ax.lines] == [[1, 51], [5, 55]]
    assert [line.get_color() for line in ax.lines] == [plots.COLOURS["positive"],
                                                       plots.COLOURS["negative"]]
    many = np.tile(pairs, (99, 1))
    ax = plots.show_matches(Figure().subplots(), first, second, many, many[:, 0] > 1, most=20)
    assert len(ax.lines) == 20
    none = plots.show_matches(Figure().subplots(), first, second, pairs[:0], np.zeros(0, bool))
    assert len(none.lines) == 0


def test_curves_average_a_photos_draws_before_their_interval():
    rows = [(s, p, d, p + 10 * s + d) for s in (0, 1) for p in (1, 2, 3) for d in (0, 2)]
    table = pd.DataFrame(rows, columns=["strength", "photo", "draw", "score"])
    table["descriptor"] = "SIFT"
    ax = plots.curves_by_strength(Figure().subplots(), table, score="score", xlabel="", ylabel="")
    assert list(ax.lines[0].get_ydata()) == [3, 13]  # mean of 2, 3 and 4
    low, high = ax.collections[0].get_paths()[0].get_extents().intervaly
    half = 4.303 / 3**0.5
    assert low == pytest.approx(3 - half, abs=0.01) and high == pytest.approx(13 + half, abs=0.01)


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
    ax = plots.precision_recall(Figure().subplots(), {"us": ([0, 1], [1, 0.5])})
    assert ax.lines[0].get_ydata().tolist() == [1, 0.5]


@pytest.mark.parametrize("share, told", [(0.76, "76 %"), (1, "100 %"), (0.004, "0 %")])
def test_a_share_is_written_with_a_space(share, told):
    assert plots.percent(share) == told


def test_a_layer_is_as_high_as_its_image_and_wide_with_many_channels():
    layers = [("patch", 1, 32), ("conv", 32, 32), ("pool", 32, 16), ("last", 128, 1)]
    ax = plots.show_layers(Figure().subplots(), layers, skip=(1, 3), title="t")
    boxes = ax.patches[:4]
    assert [box.get_height() for box in boxes] == [1, 1, 0.5, 1 / 32]
    widths = [box.get_width() for box in boxes]
    assert widths[0] < widths[1] == widths[2] < widths[3] < 1
    said = [text.get_text() for text in ax.texts]
    assert {"pool", "32 × 16 × 16", "skip connection"} <= set(said)
    plain = plots.show_layers(Figure().subplots(), layers)
    assert "skip connection" not in [text.get_text() for text in plain.texts]


def test_maps_of_the_loss_share_one_scale():
    axes = Figure().subplots(1, 2)
    plots.loss_maps(axes, (0.4, 1.2), margin=1.0)
    for ax in axes:
        assert ax.collections[0].get_clim() == pytest.approx((0, 1.2**2 + 1))
    assert "beyond 1.08" in title(axes[0]) and "beyond 1.56" in title(axes[1])


def title(ax):
    return ax.get_title("left") or ax.get_title()


def test_shares_are_bars_with_a_dot_per_photo_and_lines():
    shares = pd.DataFrame({"ours": [0.2, 0.6], "RootSIFT": [0.5, 0.7]})
    ax = plots.shares_matched(Figure().subplots(), shares[["ours"]], shares[["RootSIFT"]])
    assert [bar.get_width() for bar in ax.patches] == [pytest.approx(0.4)]
    dots, line = ax.lines
    assert list(dots.get_xdata()) == [0.2, 0.6] and list(line.get_xdata()) == [0.6, 0.6]


def test_idle_questions_are_a_mean_of_ten_batches_from_the_tenth_on():
    ax = plots.idle_questions(Figure().subplots(), {"a": [0] * 10 + [1] * 10, "b": [0]}, 2)
    line = ax.lines[0]
    assert np.isnan(line.get_ydata()[:9]).all()
    assert line.get_ydata()[[9, 14, 19]].tolist() == pytest.approx([0, 0.5, 1])
    assert line.get_xdata()[10] == 1


def test_errors_are_drawn_over_the_patches_seen():
    run = pd.DataFrame({"patches": [2, 4], "validation": [9.0, 5.0]})
    ax = plots.errors_by_patches(Figure().subplots(), {"ours": run}, {"do nothing": 12.0})
    curve, level = ax.lines
    assert list(curve.get_xdata()) == [2, 4] and list(curve.get_ydata()) == [9, 5]
    assert list(level.get_ydata()) == [12, 12]


def test_the_line_has_the_slope_where_it_touches():
    places = np.array([-1.0, 0, 1])
    ax = plots.slope(Figure().subplots(), places, places**2, (1.0, 1.0), 2.0)
    line = ax.lines[1]
    assert line.get_ydata().tolist() == [-3, -1, 1] and line.get_label() == "slope 2.00"


def test_the_curve_of_a_ranking_starts_at_precision_1_and_is_numbered():
    ax = plots.average_precisions(Figure().subplots(), np.array([1, 0, 1, 1, 0]))
    assert ax.lines[0].get_xdata() == pytest.approx([0, 1 / 3, 1 / 3, 2 / 3, 1, 1])
    assert ax.lines[0].get_ydata() == pytest.approx([1, 1, 1 / 2, 2 / 3, 3 / 4, 3 / 5])
    assert [text.get_text() for text in ax.texts] == ["1", "2", "3", "4", "5"]


def test_bars_are_as_high_as_the_scores():
    scores = pd.DataFrame({"matching": [0.2, 0.6], "retrieval": [0.4, 0.8]}, index=["a", "b"])
    ax = plots.score_bars(Figure().subplots(), scores)
    heights = [bar.get_height() for group in ax.containers for bar in group]
    assert heights == pytest.approx([0.2, 0.4, 0.6, 0.8])


def test_arms_are_a_dot_per_seed_an_interval_and_the_coursework():
    arms = {"a": pd.Series([1.0, 2.0, 3.0]), "b": pd.Series([4.0])}
    ax = plots.compare_arms(Figure().subplots(), arms, ylabel="mAP", coursework={"b": 5.0})
    drawn = {line.get_label(): line.get_ydata() for line in ax.get_lines()}
    assert list(drawn["coursework"]) == [5.0] and list(drawn["one seed"]) == [1.0, 2.0, 3.0]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["a", "b"]
    assert sum(len(y) for y in drawn.values()) >= 5
    ax = plots.compare_arms(Figure().subplots(), arms, ylabel="mAP", coursework={"a": 4, "b": 5},
                            diamonds="its validation error")
    (legend,) = ax.figure.legends
    shown = [text.get_text() for text in legend.get_texts()]
    assert sorted(shown) == ["its validation error", "mean, 95 % interval", "one seed"]


def test_histograms_of_three_have_three_kinds_of_outline():
    ax = plots.histogram(Figure().subplots(), {name: np.arange(9) for name in "abc"})
    assert len({patch.get_linestyle() for patch in ax.patches}) == 3
    assert {patch.get_linewidth() for patch in ax.patches} == {1.2}


def test_a_figure_of_several_axes_has_one_legend_with_each_name_once():
    left, right = Figure().subplots(1, 2)
    for ax, diamonds in ((left, "its training error"), (right, "its test error")):
        plots.compare_arms(ax, {"a": pd.Series([1.0, 2.0, 4.0])}, ylabel="",
                           coursework={"a": 3.0}, diamonds=diamonds)
    (legend,) = left.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "one seed", "its training error", "mean, 95 % interval", "its test error"]


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


def test_contrasts_are_filled_where_they_have_an_answer():
    judged = pd.DataFrame({"contrast": ["x", "y"], "mean": [0.3, 0.1], "low": [0.2, -1.0],
                           "high": [0.4, 1.0], "smallest": 0.1, "seeds": [5, 0],
                           "answer": ["better", "open"]})
    ax = plots.contrasts(Figure().subplots(), judged, xlabel="mAP")
    dots = [line for line in ax.get_lines() if line.get_marker() == "o"]
    assert [dot.get_markerfacecolor() == "w" for dot in dots] == [False, True]
    assert [text.get_text() for text in ax.texts] == ["better", "not run"]
    band, _ = ax.collections
    assert band.get_paths()[0].get_extents().intervalx == pytest.approx([-0.1, 0.1])
    ax = plots.contrasts(Figure().subplots(), {"a": judged, "b": judged}, xlabel="mAP")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]
    assert len([line for line in ax.get_lines() if line.get_marker() == "o"]) == 4
