"""A leaderboard scores what was handed in, tells who failed and why, and gives no answers away."""

import io

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import save_file

from hpkit.__main__ import main
from hpkit.book.hand_ins import Student
from hpkit.book.leaderboard import Entry, Exam, board, hand_in, network_of
from hpkit.data.sets import load
from hpkit.evaluation.baselines import raw_pixels
from hpkit.experiments.configs import DescriptorConfig
from hpkit.files import write_json
from hpkit.networks.l2net import L2Net


@pytest.fixture(scope="module")
def exam():
    return Exam(load("photos", points=5).test, "noisy", seed=1)


def saved(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_questions_come_in_another_order_and_answers_are_sorted_back(exam):
    asked = np.load(io.BytesIO(exam.questions()))
    assert asked.shape == exam.patches.shape and (asked != exam.patches).any()
    answers = exam.answers(saved(raw_pixels(asked)))
    assert answers.shape == (exam.points, 16, 1024)
    np.testing.assert_array_equal(answers.reshape(-1, 1024), raw_pixels(exam.patches))


def test_two_exams_have_different_orders():
    patches = load("photos", points=5).test
    assert (Exam(patches, "noisy").order != Exam(patches, "noisy").order).any()


@pytest.mark.parametrize(("data", "said"), [
    (b"", "no array"),
    (b"PK\x03\x04 no array", "no array"),
    (saved(np.array([{}], dtype=object)), "no array"),
    (saved(np.zeros((3, 4), np.float32)), "expected one row for each of"),
    (saved(np.zeros(480, np.float32)), "expected one row for each of"),
])
def test_what_is_no_array_of_descriptors_is_refused(exam, data, said):
    with pytest.raises(ValueError, match=said):
        exam.answers(data)


def test_descriptors_may_not_be_as_long_as_they_like(exam):
    with pytest.raises(ValueError, match="at most 1024"):
        exam.answers(saved(np.zeros((len(exam.order), 1025), np.float32)))


@pytest.mark.parametrize(("places", "said"), [
    ([], "nothing: expected descriptor.py"),
    (["readme.txt"], "readme.txt: expected descriptor.py"),
    (["a.safetensors", "b.safetensors"], "a.safetensors and b.safetensors: expected one"),
    (["x/descriptor.py", "descriptor.py"], "expected one of them"),
])
def test_one_file_counts(tmp_path, places, said):
    with pytest.raises(ValueError, match=said):
        hand_in(Student("anna", files={place: tmp_path for place in places}))


def test_a_function_goes_before_the_weights_that_it_loads(tmp_path):
    files = {"net.safetensors": tmp_path, "descriptor.py": tmp_path}
    assert hand_in(Student("anna", files=files)) == "descriptor.py"


def weights(folder, model, **config):
    """A student who hands in a network's weights, and what a run's folder says."""
    save_file(model.state_dict(), folder / "weights.safetensors")
    files = {"weights.safetensors": folder / "weights.safetensors"}
    if config:
        row = DescriptorConfig(**config).resolved().row()
        write_json(folder / "config.json", row)
        files["config.json"] = folder / "config.json"
    return Student("anna", files=files)


def test_weights_make_the_network_again(tmp_path):
    made = L2Net(seed=3)
    found = network_of(weights(tmp_path, made), "weights.safetensors")
    assert not found.training
    for name, value in found.state_dict().items():
        assert (value == made.state_dict()[name]).all()


def test_weights_of_another_network_and_sick_ones_are_refused(tmp_path):
    with pytest.raises(ValueError, match="not the weights of this network"):
        network_of(weights(tmp_path, L2Net(half=True)), "weights.safetensors")
    sick = L2Net()
    sick.layers[0].weight.data[0] = np.nan
    with pytest.raises(ValueError, match="NaN or infinite"):
        network_of(weights(tmp_path, sick), "weights.safetensors")


def test_a_run_that_needs_a_denoiser_is_told_to_bring_it(tmp_path):
    student = weights(tmp_path, L2Net(), source="denoised", test_source="denoised")
    with pytest.raises(ValueError, match="needs a denoiser"):
        network_of(student, "weights.safetensors")


def entry(name, *matching, problem=""):
    by_photo = pd.Series(matching, index=range(len(matching)), dtype=float)
    mean = by_photo.mean()
    scores = {} if problem else dict.fromkeys(("verification", "matching", "retrieval"), mean)
    return Entry(name, "function", scores, by_photo, 1.0, problem)


def test_the_board_ranks_and_says_who_is_level():
    table = board([
        entry("behind", 0.5, 0.6, 0.4),
        entry("broken", problem="stopped after 20 s"),
        entry("first", 0.9, 0.8, 0.7),
        entry("close", 0.91, 0.78, 0.68),
    ])
    assert list(table.name) == ["first", "close", "behind", "broken"]
    assert list(table["rank"])[:3] == [1, 2, 3] and pd.isna(table["rank"][3])
    assert list(table.level)[:3] == ["with the first", "with the first", ""]
    assert table.problem[3] == "stopped after 20 s"
    assert (table.low < table.matching)[:3].all() and (table.matching < table.high)[:3].all()


@pytest.mark.slow
def test_a_class_is_scored_and_nobody_stops_the_others(tmp_path, capsys):
    codes = {
        "anna": "def describe(p):\n    return p.reshape(len(p), -1)[:, ::4].astype(float)\n",
        "ben": "def describe(p):\n    return p[:10].reshape(10, -1)\n",
        "cleo": "def describe(p):\n    while True: pass\n",
        "dan": "import os\n\ndef describe(p):\n    return open(os.environ['SPY']).read()\n",
    }
    for name, code in codes.items():
        (tmp_path / "class" / name).mkdir(parents=True)
        (tmp_path / "class" / name / "descriptor.py").write_text(code)
    (tmp_path / "class" / "eve").mkdir()
    weights(tmp_path / "class" / "eve", L2Net(seed=0))
    assert main(["leaderboard", str(tmp_path / "class"), "--points=5", "--timeout=20"]) == 0
    told = capsys.readouterr().out
    table = pd.read_csv(tmp_path / "class-board" / "leaderboard.csv").set_index("name")
    assert set(table.index) > {*codes, "eve", "RootSIFT", "raw pixels"}
    assert table.matching[["anna", "eve", "RootSIFT"]].between(0, 1).all()
    for name, said in (("ben", "expected one row for each"), ("cleo", "stopped after 20 s"),
                       ("dan", "KeyError")):
        assert said in table.problem[name] and f"{name}: " in told
    assert "| anna |" in (tmp_path / "class-board" / "leaderboard.md").read_text()
