"""What panels show is what the package computes: patches, rankings, counts, paired intervals."""

import matplotlib
import matplotlib.figure
import numpy as np
import pandas as pd
import pytest
import torch

from hpkit.data import photos
from hpkit.data.noise import add_noise
from hpkit.data.patches import LEVELS, PATCH_TYPES
from hpkit.data.tasks import generate_tasks
from hpkit.evaluation.baselines import raw_pixels
from hpkit.evaluation.precision import average_precision, confusion, precision_recall
from hpkit.evaluation.scores import POOLS, retrieval_by_query, verification
from hpkit.experiments.arms import arm, at_scale, recorded
from hpkit.experiments.claims import DESCRIPTOR, mae
from hpkit.experiments.intervals import interval
from hpkit.lessons import plots
from hpkit.lessons.panels import first_match, inside, neighbours, patch, today
from hpkit.lessons.panels.arms import lead, pair
from hpkit.matching.keypoints import describe_keypoints

matplotlib.use("Agg")
SEQUENCE = "v_chelsea"


def title(ax):
    """At the left in the book's style, else in the middle."""
    return ax.get_title("left") or ax.get_title()


# --- chapter 0 ----------------------------------------------------------------------------------

def test_a_view_that_stays_is_the_photo_and_its_matches_are_right():
    photo = photos.read_photo("coins")
    same, truth = first_match.second_view(photo, 0.0)
    assert np.abs(same.astype(int) - photo).mean() < 3 and np.allclose(truth, np.eye(3))
    found = first_match.match_by(raw_pixels, photo, same, 60)
    right = first_match.right_matches(found, truth)
    assert len(right) > 40 and right.mean() > 0.9
    assert not first_match.right_matches(found, np.array([[1, 0, 50], [0, 1, 0], [0, 0, 1.0]])).any()
    assert first_match.found_again(photo, photo, np.eye(3), 60) == 1
    assert first_match.found_again(photo, photo, np.diag([1, 1, 1e-3]), 60) == 0  # far outside


def test_noise_is_as_strong_as_asked_and_comes_again():
    photo = np.full((80, 90), 128, np.uint8)
    views = [first_match.second_view(photo, 0.0, noise, seed=3)[0] for noise in (10, 10, 20)]
    assert np.array_equal(*views[:2])
    assert [view.std() for view in views[1:]] == pytest.approx([10, 20], rel=0.05)


def test_the_title_counts_what_is_drawn_green():
    photo = photos.read_photo("coins")
    found = first_match.match_by(raw_pixels, photo, photo, 40)
    ax = matplotlib.figure.Figure().subplots()
    first_match.show_pair(ax, photo, photo, found, np.eye(3), "Here ")
    right = first_match.right_matches(found, np.eye(3)).sum()
    assert title(ax) == f"Here {right} of {len(found.matches)} matches are right"
    green = [line for line in ax.lines if line.get_color() == plots.COLOURS["positive"]]
    assert len(green) == right > 0
    agree = first_match.show_pair(ax, photo, photo, found)
    assert title(agree) == f"{found.inliers.sum()} of {len(found.matches)} matches agree on one camera"


# --- chapter 1 ----------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def whole():
    """A sequence as the data set has it: clean patches, and their noisy twins."""
    points = photos.keypoint_table().query("sequence == @SEQUENCE")
    clean = photos.cut_sequence(SEQUENCE, photos.read_photo(SEQUENCE[2:]), points)
    return clean, points


@pytest.mark.parametrize("patch_type", ["ref", "e5", "t2"])
def test_at_once_the_jitter_and_the_noise_it_is_the_patch_of_the_set(whole, patch_type):
    column = PATCH_TYPES.index(patch_type)
    clean, twins = whole[0][:, column], add_noise(whole[0][:, column], SEQUENCE, patch_type)
    for row in (0, 7):
        assert np.array_equal(patch.one_patch(SEQUENCE, patch_type, row)[0], twins[row])
        assert np.array_equal(patch.one_patch(SEQUENCE, patch_type, row, noise=0)[0], clean[row])


def test_without_jitter_the_regions_coincide_and_overlap_wholly(whole):
    _, _, (true, found), overlap = patch.one_patch(SEQUENCE, "t3", 5, jitter=0)
    assert overlap == 1 and np.allclose(true, found)
    _, image, (true, found), less = patch.one_patch(SEQUENCE, "t3", 5, jitter=1)
    _, _, (same, farther), least = patch.one_patch(SEQUENCE, "t3", 5, jitter=2)
    assert 1 > less > least and np.array_equal(true, same)
    assert np.linalg.norm(farther - true) > np.linalg.norm(found - true) > 1
    height, width = image.shape
    assert (true >= 0).all() and (true <= (width, height)).all()


def test_the_region_of_the_reference_is_the_detectors(whole):
    _, image, (true, found), _ = patch.one_patch(SEQUENCE, "ref", 3)
    point = whole[1].iloc[3]
    assert np.allclose(true.mean(0), (point.x, point.y)) and np.allclose(true, found)
    assert np.allclose(np.linalg.norm(true - true.mean(0), axis=1), point.radius * 2**0.5)
    assert np.array_equal(image, photos.read_photo(SEQUENCE[2:]))


def test_a_quiz_has_positives_of_the_anchors_row_where_the_truth_says_so():
    rows = np.repeat(np.arange(6), 16).reshape(6, 16, 1, 1) * np.ones((1, 1, 32, 32))
    for seed in range(20):  # with six points, anchor and negative would often be the same
        quiz = patch.draw_quiz(rows, seed, 5)
        assert len(quiz.truth) == 5
        for number, letter in enumerate(quiz.truth):
            right, wrong = (quiz.a, quiz.b)[:: 1 if letter == "A" else -1]
            assert np.array_equal(quiz.anchor[number], right[number])
            assert not np.array_equal(quiz.anchor[number], wrong[number])


def test_a_quiz_has_two_different_columns_and_both_letters():
    columns = np.arange(16).reshape(1, 16, 1, 1) * np.ones((9, 1, 32, 32))
    quiz = patch.draw_quiz(columns, 0, 40)
    assert (quiz.anchor != quiz.a).all() and (quiz.anchor != quiz.b).all()
    assert set(quiz.truth) == {"A", "B"}


@pytest.mark.parametrize("letters, told", [
    ("ABBA", "ABBA  4 of 4 correct"), (" abaa ", "ABAA  3 of 4 correct"),
    ("ABB", "'ABB': expected 4 letters, each A or B"),
    ("ABBC", "'ABBC': expected 4 letters, each A or B"),
    (7, "7: expected 4 letters, each A or B"),
])
def test_letters_are_marked(letters, told):
    none = np.zeros((4, 32, 32))
    assert patch.Quiz(none, none, none, "ABBA").marked(letters) == told


def test_the_reference_shows_no_region_as_found(whole):
    for patch_type, many in (("ref", 4), ("h4", 7)):  # three true ones, found ones, ours
        ax = matplotlib.figure.Figure().subplots()
        patch.show_found(ax, SEQUENCE, patch_type, range(2, 5), 3)
        assert len(ax.lines) == many
    assert ax.get_legend_handles_labels()[1] == [
        "true region", "as a detector might find it", "our point"]


def test_a_point_is_shown_with_two_regions_and_two_patches(whole):
    cut, image, regions, _ = patch.one_patch(SEQUENCE, "h3", 3)
    fig = patch.show_point(image, regions, {"ref": cut, "cut": cut}, "title")
    photo, *patches = fig.axes
    assert len(photo.lines) == 2 and title(photo) == "title"
    assert [title(ax) for ax in patches] == ["ref", "cut"]


# --- chapter 4 ----------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def tasks():
    return generate_tasks(("i_a", "v_b"), (20, 30), np.full(50, 99.0), 40, 8, 30)


@pytest.fixture(scope="module")
def described():
    random = np.random.RandomState(0)
    return (random.normal(size=(50, 1, 6)) + random.normal(size=(50, 16, 6))).astype(np.float32)


@pytest.mark.parametrize("level", LEVELS)
def test_neighbours_are_a_retrieval_pool_in_its_order(described, tasks, level):
    official = retrieval_by_query(described, tasks)[list(LEVELS).index(level), len(POOLS) - 1]
    for query, point in enumerate(tasks.queries):
        found = neighbours.neighbours(described, tasks, query, level)
        assert found.distance.is_monotonic_increasing and found.hit.sum() == 5
        assert (found.hit == (found.point == point)).all()
        assert sorted(found.column[found.hit]) == list(range(16))[LEVELS[level]]
        assert (tasks.sequence[found.point[~found.hit]] != tasks.sequence[point]).all()
        row = found.iloc[3]
        apart = described[point, 0] - described[row.point, row.column]
        assert row.distance == pytest.approx(np.linalg.norm(apart))
        assert average_precision(-found.distance, found.hit) == pytest.approx(official[query])


def test_twins_go_first_among_equals(tasks):
    found = neighbours.neighbours(np.zeros((50, 16, 3), np.float32), tasks, 0, "hard")
    assert found.hit.tolist()[:6] == [True] * 5 + [False]


def test_hits_and_misses_differ_in_more_than_colour(described, tasks):
    found = neighbours.neighbours(described, tasks, 2, "tough")
    patches = np.zeros((50, 16, 32, 32), np.uint8)
    figure, said = neighbours.show_neighbours(patches[0, 0], patches, found)
    titles = [ax.get_title("center") for ax in figure.axes]
    lines = [ax.spines["top"].get_linestyle() for ax in figure.axes]
    assert titles[0] == "query" and len(titles) == 12
    for hit, title, line in zip(found.hit, titles[1:], lines[1:], strict=False):
        assert (title[0], line) == (("✓", "-") if hit else ("✗", ":"))
    ranks = [str(n) for n, hit in enumerate(found.hit, 1) if hit]
    assert said.startswith(f"{found.hit[:11].sum()} of 5 twins") and ", ".join(ranks) in said


def test_counts_at_a_threshold():
    distance, labels = np.array([0.1, 0.2, 0.3, 0.4, 0.5]), np.array([1, 0, 1, 1, 0])
    found = confusion(distance, labels, 0.3)
    assert found == {"TP": 2, "FP": 1, "FN": 1, "TN": 1, "precision": 2 / 3, "recall": 2 / 3}
    assert confusion(distance, labels, 0) == {"TP": 0, "FP": 0, "FN": 3, "TN": 2, "precision": 1.0,
                                              "recall": 0.0}
    recall, precision = precision_recall(-distance, labels)
    for number, threshold in enumerate([0, *distance]):  # the slider moves along the curve
        found = confusion(distance, labels, threshold)
        assert (found["recall"], found["precision"]) == (recall[number], precision[number])


@pytest.mark.parametrize("negatives", ["inter", "intra"])
def test_pairs_are_those_of_the_verification_score(described, tasks, negatives):
    rows = verification(described, tasks).query("negatives == @negatives").set_index("level")
    for level in LEVELS:
        distance, labels = neighbours.verification_pairs(described, tasks, level, negatives)
        assert (len(labels), labels.sum()) == (48, 8)
        assert average_precision(-distance, labels) == pytest.approx(rows.ap[level])


def test_the_threshold_is_in_medians_of_the_negatives():
    distance, labels = np.array([1.0, 3.0, 2.0, 4.0, 6.0]), np.array([1, 1, 0, 0, 0])
    figure, said = neighbours.decisions(distance, labels, 0.75)
    spread, counts, curve = figure.axes
    assert list(spread.lines[0].get_xdata()) == [3.0, 3.0]
    written = [text.get_text() for text in counts.texts]
    assert written == ["TP\n2", "FN\n0", "FP\n1", "TN\n2"]
    assert curve.lines[-1].get_xydata().tolist() == [[1.0, 2 / 3]]
    assert said == "Precision 0.667 = TP / (TP + FP), recall 1.000 = TP / (TP + FN)."


# --- chapters 5 to 9 ----------------------------------------------------------------------------

ARMS = {name: {"source": name} for name in ("clean", "noisy", "denoised")}


@pytest.fixture(scope="module")
def descriptors():
    return recorded("descriptors")


def test_two_arms_have_the_paired_interval_of_statistics(descriptors):
    figure, said = pair(descriptors, "matching", ARMS, "denoised", "clean")
    a, b = (arm(descriptors, DESCRIPTOR, source=name).matching for name in ("denoised", "clean"))
    mean, low, high = interval((a - b).dropna())
    assert (f"Lead of denoised over clean: {mean:+.3f} mAP, 95 % interval {low:+.3f} to {high:+.3f}"
            in said) and f"{len((a - b).dropna())} seeds" in said
    left, right = figure.axes
    assert title(left) == f"Means: {a.mean():.3f}, {b.mean():.3f}"
    drawn = [list(line.get_ydata()) for line in left.lines if len(line.get_xdata()) == len(a)]
    assert drawn[:2] == [list(a), list(b)]
    assert title(right) == f"Lead: {mean:+.3f}"
    _, back = pair(descriptors, "matching", ARMS, "clean", "denoised")
    assert f"{-mean:+.3f} mAP, 95 % interval {-high:+.3f} to {-low:+.3f}" in back


def test_the_budget_picks_other_runs(descriptors):
    _, said = pair(descriptors, "matching", ARMS, "denoised", "clean", 4)
    four = [arm(descriptors, DESCRIPTOR, **(at_scale(DESCRIPTOR, 4) | change)).matching
            for change in (ARMS["denoised"], ARMS["clean"])]
    gains = (four[0] - four[1]).dropna()
    assert said.startswith(f"Lead of denoised over clean: {gains.mean():+.3f} mAP")
    _, said = pair(descriptors, "matching", ARMS, "noisy", "clean", 16)
    assert said == "Lead of noisy over clean: no seed of both is recorded with these settings."


def test_a_lower_error_is_a_lead():
    table = recorded("denoisers")
    arms = {name: {"optimizer": name} for name in ("adam", "sgd")}
    _, said = pair(table, "test_mae", arms, "adam", "sgd")
    assert "Lead of adam over sgd: +" in said and "grey levels" in said


def test_a_lead_is_said_as_it_is_decided():
    asked = mae("a over b", smallest=0.5)
    for gains, told in (([2.0, 2.1, 2.2], ": more than the least that matters, 0.5."),
                        ([0.1, 0.1, 0.2], ": less than the least that matters, 0.5."),
                        ([-1.0, 3.0, 1.0], "whether more than the least that matters, 0.5."),
                        ([2.0], "; too few seeds for an interval (1).")):
        assert lead(asked, np.array(gains)).endswith(told)


def test_an_arm_beside_itself_leads_by_nothing(descriptors):
    figure, said = pair(descriptors, "matching", ARMS, "noisy", "noisy")
    assert "+0.000 mAP, 95 % interval +0.000 to +0.000" in said and len(figure.axes) == 2


# --- chapter 14 ---------------------------------------------------------------------------------

def test_gradients_have_length_one_and_turn_from_right_to_down():
    filters = inside.oriented_gradients(8)
    assert np.allclose((filters ** 2).sum((1, 2)), 1)
    right, down, left = filters[0], filters[2], filters[4]
    assert (right[:, 3:] > 0).all() and np.allclose(down, right.T) and np.allclose(left, -right)


def test_covering_moves_what_looks_there_and_nothing_else():
    patch_ = np.full((32, 32), 40, np.uint8)
    patch_[:, 16:] = 200                                      # the mean is 120
    seen = inside.occlusion(lambda p: p[:, 8:12, 20:24].reshape(len(p), -1), patch_, 4, 4)
    assert seen.shape == (8, 8) and seen[2, 5] == 80 * 4      # sixteen pixels, 80 levels each
    assert np.count_nonzero(seen) == 1


class Quadratic(torch.nn.Module):
    """Two numbers: the square of a pixel, and three times another."""

    def forward(self, patches):
        return torch.stack([patches[:, 0, 1, 2] ** 2, 3 * patches[:, 0, 5, 6]], 1)


def test_sensitivity_is_the_gradient_at_each_pixel():
    patches = np.stack([np.full((32, 32), grey, np.uint8) for grey in (10, 20)])
    found = inside.sensitivity(Quadratic(), patches)
    assert found[:, 1, 2].tolist() == [20, 40] and found[:, 5, 6].tolist() == [3, 3]
    assert np.count_nonzero(found) == 4


def test_the_panel_marks_the_most_alike_place_and_says_how_far_off_it_is():
    photo = photos.read_photo("coins")
    places = inside.grid(photo.shape, 20)
    assert places[0].tolist() == [10, 10, inside.SIZE, 0] and places[1, 0] == 30
    described = places, describe_keypoints(photo, places, raw_pixels)
    figure, said = inside.search(raw_pixels, photo, photo, np.eye(3), described, 150, 110)
    assert said == "The most similar place is 0 pixels from the truth."
    truth, alike = (line.get_xydata()[0].tolist() for line in figure.axes[1].lines)
    assert truth == alike == [150, 110]
    moved = np.array([[1, 0, 30], [0, 1, 40], [0, 0, 1.0]])
    said = inside.search(raw_pixels, photo, photo, moved, described, 150, 110)[1]
    assert said == "The most similar place is 50 pixels from the truth."


def test_a_map_and_a_board_show_each_of_theirs():
    figure = matplotlib.figure.Figure()
    first, second, third = figure.subplots(1, 3)
    patches = np.zeros((3, 32, 32), np.uint8)
    inside.show_map(first, np.eye(3)[:, :2], patches, [0, 1, 1], names=["a", "b"])
    assert len(first.artists) == 3 and len(first.get_legend().get_texts()) == 2
    inside.show_board(second, np.array([[0.5, 1.5], [1, 1]]))
    assert [text.get_text() for text in second.texts] == ["0.50", "1.50", "1.00", "1.00"]
    inside.show_filters(third, np.stack([np.eye(6), 5 * np.eye(6), -np.eye(6)]), 2)
    (picture,) = third.images
    sheet = picture.get_array()
    assert sheet.shape == (13, 13) and sheet[:6, :6].max() == sheet[:6, 7:].max() == 1


# --- chapter 15 ---------------------------------------------------------------------------------

def test_the_line_of_ideas_has_each_method_over_its_stages():
    ax = matplotlib.figure.Figure().subplots()
    today.show_line(ax)
    bars = {text.get_text(): patch_.get_bbox() for text, patch_ in zip(ax.texts, ax.patches,
                                                                       strict=True)}
    assert [name for name in bars if not name.startswith("RANSAC")] == [
        idea.name for idea in today.IDEAS]
    assert [label.get_text() for label in ax.get_xticklabels()] == list(today.STAGES)
    assert (round(bars["SIFT"].x0), round(bars["SIFT"].x1)) == (0, 4)
    assert (round(bars["HardNet"].x0), round(bars["HardNet"].x1)) == (2, 3)
    assert (round(bars["LightGlue"].x0), round(bars["LightGlue"].x1)) == (3, 4)
    assert (round(bars["VGGT"].x0), round(bars["VGGT"].x1)) == (0, 5)
    years = [label.get_text() for label in ax.get_yticklabels()]
    assert years == sorted(set(years)) and years[0] == "2004"


def test_the_ideas_are_in_order_and_name_known_stages_and_kinds():
    years = [idea.year for idea in today.IDEAS]
    assert years == sorted(years) and {idea.kind for idea in today.IDEAS} == set(today.KINDS)
    for idea in today.IDEAS:
        assert today.STAGES.index(idea.first) <= today.STAGES.index(idea.last)


def test_the_soft_panel_counts_what_it_keeps():
    photo = np.full((40, 60), 90, np.uint8)
    places = np.array([[10.0, 10], [30, 20], [50, 30]])
    similarity = np.array([[0.9, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.7]])
    moved = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1.0]])
    wrong_place = places + np.array([[0, 0], [0, 0], [9, 0]])
    given = (photo, photo), (places, wrong_place), similarity, moved
    figure, said = today.soft_matches(*given, 0.05, 0.2)
    assert said == "Of 2 right pairs it keeps 2, and 1 wrong ones."
    assert figure.axes[0].get_title("left") or figure.axes[0].get_title() == "2 of 3 matches are right"
    assert today.soft_matches(*given, 0.05, 1.0)[1] == "Of 2 right pairs it keeps 0, and 0 wrong ones."
    assert today.soft_matches(*given, 1.0, 0.5)[1] == "Of 2 right pairs it keeps 0, and 0 wrong ones."


def test_boards_and_leads_show_their_numbers():
    figure = matplotlib.figure.Figure()
    axes = figure.subplots(1, 4)
    today.show_soft(axes[:3], np.array([[0.9, -0.001], [-0.2, 0.5]]), (0.01, 10))
    shown = [[text.get_text() for text in ax.texts] for ax in axes[:3]]
    assert shown == [[".90", ".00", "−.20", ".50"], ["1.00", ".00", ".00", "1.00"],
                     [".28", ".23", ".23", ".27"]]
    leads = pd.DataFrame({0.1: [0.01, 0.02, 0.03], 1.0: [-0.01, 0.0, 0.01]})
    today.show_leads(axes[3], leads, -0.05)
    mean = next(line for line in axes[3].lines if line.get_label() == "dual softmax")
    assert mean.get_ydata() == pytest.approx([0.02, 0])
