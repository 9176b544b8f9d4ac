"""A training to watch: kept, stopped within a batch, gone on with; and no thread is left."""

import base64
import sys
import threading
from dataclasses import replace

import matplotlib
import pandas as pd
import pytest
from filelock import FileLock
from matplotlib.figure import Figure
from tiny import QUICK, same_weights

from hpkit.experiments import runs
from hpkit.experiments.configs import DenoiserConfig, DescriptorConfig
from hpkit.experiments.runs import follow, run
from hpkit.lessons import live, plots, widgets
from hpkit.training.fit import fit as real_fit

matplotlib.use("Agg")
CPU = {"device": "cpu", "precision": "float32", "threads": 1}
NAMES = ("optimizer", "lr", "batch_size", "depth", "init", "objective", "epochs")
PATIENCE = 60  # seconds until a test that hangs has failed


pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def base(folder):
    return DenoiserConfig(data=folder, samples=8, lr=1e-5, **QUICK, **CPU)


def training():
    return [thread for thread in threading.enumerate() if thread.name == live.THREAD]


class Look:
    """Draws next to nothing, knows the networks that it was shown, and can fail."""

    def __init__(self):
        self.models, self.fail = [], 0

    def __call__(self, part, model):
        part.subplots().set_title(f"drawn {len(self.models)}")
        self.models.append(model)
        if len(self.models) == self.fail:
            raise OSError("the <disk> is full")


@pytest.fixture
def look():
    return Look()


@pytest.fixture
def panel(base, look):
    return live.Panel(base, look, NAMES)


def press(panel, name, wait=True):
    panel.buttons[name].click()
    for thread in training() if wait else []:
        thread.join(PATIENCE)
        assert not thread.is_alive()


@pytest.fixture
def held(monkeypatch):
    """From now on trainings wait for `go_on` before the batch of this number (from 0)."""
    def hold(number, go_on):
        reached, fit, asked = threading.Event(), real_fit, []

        def waiting(*args, stopped, **options):
            def ask():
                asked.append(1)
                if len(asked) == number + 1:
                    reached.set()
                    assert go_on.wait(PATIENCE)
                return stopped()

            return fit(*args, stopped=ask, **options)

        monkeypatch.setattr(runs, "fit", waiting)
        return reached, asked

    return hold


def epochs(panel):
    """Of each run in the plot, in order."""
    return [len(history) for history in panel.runs.values()]


# --- the plain part -----------------------------------------------------------------------------

@pytest.mark.slow
def test_a_run_that_is_followed_is_the_run(base, tmp_path):
    steps = list(follow(base, store=tmp_path / "followed"))
    assert [step.status for step in steps] == ["running"] * 3 + ["finished"]
    assert [len(step.history) for step in steps] == [0, 1, 2, 2]
    whole = run(base, store=tmp_path / "run")
    found = run(base, store=tmp_path / "followed")
    assert same_weights(found.model(), whole.model()) and found.scores == whole.scores
    again, = follow(base, store=tmp_path / "followed")
    assert again.status == "finished" and same_weights(again.model, whole.model())
    pd.testing.assert_frame_equal(again.history, found.history)


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on_where_it_was(base, tmp_path):
    asked = []

    def stopped():
        asked.append(1)
        return len(asked) == 4  # before the last batch of the second epoch

    *_, last = follow(base, store=tmp_path, stopped=stopped)
    assert (last.status, len(last.history), len(asked)) == ("running", 1, 4)
    first, *_, end = follow(base, store=tmp_path)
    assert len(first.history) == 1 and end.status == "finished"
    assert same_weights(end.model, run(base, store=tmp_path / "whole").model())


@pytest.mark.slow
def test_a_denoiser_is_followed_first_and_can_be_stopped_too(folder, tmp_path):
    config = DescriptorConfig(data=folder, samples=8, denoiser_epochs=2, denoiser_samples=8,
                              **QUICK, **CPU)
    of_denoiser, = follow(config, store=tmp_path, stopped=lambda: True)
    assert of_denoiser.config == config.resolved().denoiser() and len(of_denoiser.history) == 0
    steps = list(follow(config, store=tmp_path))
    kinds = [type(step.config).__name__ for step in steps]
    assert kinds == ["DenoiserConfig"] * 4 + ["DescriptorConfig"] * 4
    clean = replace(config, source="clean", test_source="clean")
    assert all(step.config == clean.resolved() for step in follow(clean, store=tmp_path))


@pytest.mark.slow
def test_the_picture_moves_while_a_denoiser_is_trained_first(folder, look, monkeypatch):
    config = DescriptorConfig(data=folder, samples=8, denoiser_epochs=2, denoiser_samples=8,
                              **QUICK, **CPU)
    panel, titles, said = live.Panel(config, look, ("margin",)), [], []
    draw = plots.compare_runs

    def noted(axes, histories, title, **options):
        titles.append(f"{', '.join(histories)}: {title}")
        return draw(axes, histories, title=title, **options)

    monkeypatch.setattr(plots, "compare_runs", noted)
    panel.status.observe(lambda change: said.append(change["new"]), names="value")
    press(panel, "Train")
    alone = [f"its denoiser: First its denoiser: {n} of 2 epochs" for n in (0, 1, 2)]
    assert list(dict.fromkeys(titles))[:3] == alone
    assert titles[-1].startswith("this run: After 2 of 2 epochs")
    assert any("denoising the patches" in sentence for sentence in said)
    assert {type(model).__name__ for model in look.models} == {"L2Net"}


@pytest.mark.slow
def test_a_run_that_someone_else_trains_is_refused_in_a_sentence(base, store, panel):
    store.mkdir()
    with FileLock(f"{store / base.resolved().key()}.lock"):
        press(panel, "Train")
    assert "RuntimeError:</b> run" in panel.status.value and "elsewhere" in panel.status.value
    press(panel, "Train")
    assert "finished after 2 of 2 epochs" in panel.status.value


# --- the panel ----------------------------------------------------------------------------------

def test_controls_are_fields_with_their_valid_values(base, folder):
    made = {name: live.control(base, name) for name in (*NAMES, "residual", "samples", "seed")}
    assert made["optimizer"].options[0] == "sgd" and made["depth"].options == (4, 6, 8)
    assert made["lr"].value == 1e-5 and made["residual"].value is False
    assert made["samples"].description == "samples (per epoch)" and made["samples"].min == 8
    assert made["batch_size"].description == "batch_size (samples)"
    source = live.control(DescriptorConfig(data=folder, source="noisy"), "source")
    assert source.value == "noisy" and "mixed" in source.options
    assert live.control(replace(base, epochs=50), "epochs").value == 50
    for name in ("points", "data", "optimiser"):
        with pytest.raises(ValueError, match=f"no control for '{name}': expected lr, a field"):
            live.control(base, name)


def test_building_a_panel_trains_nothing(monkeypatch, base, look, store):
    shown = []
    monkeypatch.setattr(widgets, "display", lambda bundle, raw: shown.append(bundle))
    assert live.train(base, look, *NAMES) is None
    assert not training() and not store.exists() and len(look.models) == 1
    assert base64.b64decode(shown[0]["image/png"])[:4] == b"\x89PNG"
    assert "optimizer, lr" in shown[0]["text/plain"]


@pytest.mark.slow
def test_train_goes_through_the_store(panel, base, look, store):
    first = panel.image.value
    press(panel, "Train")
    assert "finished after 2 of 2 epochs, validation loss" in panel.status.value
    assert epochs(panel) == [2]
    assert panel.bar.value == 100 and panel.image.value != first
    kept, = store.glob("*/run.json")
    assert kept.parent.name == base.resolved().key()
    assert same_weights(look.models[-1], run(base).model())
    assert panel.buttons["Stop"].disabled and not panel.buttons["Train"].disabled


@pytest.mark.slow
def test_earlier_runs_stay_and_are_told_apart(panel, monkeypatch):
    drawn = []
    monkeypatch.setattr(plots, "compare_runs", lambda ax, runs, **said: drawn.append((runs, said)))
    press(panel, "Train")
    assert list(drawn[-1][0]) == ["this run"] and drawn[-1][1]["ylabel"] == "MAE (grey levels)"
    panel.inputs["optimizer"].value = "adam"
    assert panel.inputs["lr"].value == 1e-3  # its own
    press(panel, "Train")
    assert list(drawn[-1][0]) == ["sgd, lr\xa01e-05", "adam, lr\xa00.001"]
    panel.inputs["objective"].value = "mse"
    press(panel, "Train")
    assert list(drawn[-1][0])[2] == "adam, lr\xa00.001, mse"
    assert drawn[-1][1]["ylabel"] == "loss (of several kinds)"
    for depth in (6, 8, 6):
        panel.inputs["depth"].value, panel.inputs["epochs"].value = depth, 1
        press(panel, "Train")
    assert epochs(panel) == [2, 2, 2, 1, 1]


def test_stop_ends_it_within_a_batch_and_train_goes_on(panel, base, held):
    go_on = threading.Event()
    reached, asked = held(3, go_on)  # four batches: the last of the second epoch
    press(panel, "Train", wait=False)
    assert reached.wait(PATIENCE) and panel.buttons["Train"].disabled
    assert panel.bar.value == 50 and "epoch 1 of 2 done" in panel.status.value
    press(panel, "Stop", wait=False)
    assert panel.status.value == "stopping before the next batch"
    go_on.set()
    press(panel, "Stop")
    assert len(asked) == 4 and epochs(panel) == [1]
    press(panel, "Train")
    assert epochs(panel) == [2] and len(asked) == 6  # the second epoch's two batches
    assert "finished" in panel.status.value


@pytest.mark.slow
def test_what_became_of_a_training_is_told(panel, held):
    go_on = threading.Event()
    reached, _ = held(1, go_on)
    press(panel, "Train", wait=False)
    assert reached.wait(PATIENCE)
    press(panel, "Stop", wait=False)
    go_on.set()
    for thread in training():
        thread.join(PATIENCE)
    assert panel.status.value == "stopped after 0 of 2 epochs; Train goes on from there"


@pytest.mark.slow
def test_reset_forgets_the_curves_but_not_the_store(panel, held, store):
    panel.inputs["optimizer"].value = "adam"
    panel.inputs["lr"].value = 1e-4
    press(panel, "Train")
    reached, _ = held(0, live.STOP)
    panel.inputs["epochs"].value = 1
    press(panel, "Train", wait=False)
    assert reached.wait(PATIENCE)
    press(panel, "Reset")
    assert not training() and panel.runs == {} and panel.image.value == panel.first
    assert [panel.inputs[n].value for n in ("optimizer", "lr", "epochs")] == ["sgd", 1e-5, 2]
    assert len(list(store.glob("*/run.json"))) == 1 and panel.bar.value == 0


def test_a_training_that_diverges_is_told_with_a_way_out(panel):
    panel.inputs["lr"].max, panel.inputs["lr"].value = 30, 1e30
    press(panel, "Train")
    assert panel.status.value.startswith("diverged: epoch 1 at lr 1e+30")
    assert "ten times smaller" in panel.status.value
    panel.inputs["lr"].value = 1e-5
    press(panel, "Train")
    assert "finished" in panel.status.value and epochs(panel) == [0, 2]


@pytest.mark.slow
def test_an_error_is_a_sentence_and_the_next_training_is_none_the_worse(panel, look, monkeypatch):
    look.fail = 2
    press(panel, "Train")
    assert panel.status.value == "<b>OSError:</b> the &lt;disk&gt; is full"
    press(panel, "Train")
    assert "finished after 2 of 2 epochs" in panel.status.value
    panel.inputs["lr"].value = 2e-5
    with monkeypatch.context() as patched:
        patched.setattr("hpkit.training.samplers.Pairs.draw", lambda *_: [][0])
        press(panel, "Train")
    assert "IndexError" in panel.status.value and not panel.buttons["Train"].disabled
    panel.base = replace(panel.base, momentum=0.9)
    panel.inputs["optimizer"].value = "adam"
    press(panel, "Train")
    assert "momentum is 0.9 for adam: expected 0" in panel.status.value


def test_a_cell_that_is_run_again_ends_the_old_training(panel, base, look, held):
    reached, asked = held(0, live.STOP)
    press(panel, "Train", wait=False)
    assert reached.wait(PATIENCE) and len(training()) == 1
    live.Panel(base, look, NAMES)
    assert not training() and len(asked) == 1 and "stopped after 0" in panel.status.value


def test_a_panel_that_is_closed_ends_its_training(panel, held):
    reached, _ = held(0, live.STOP)
    press(panel, "Train", wait=False)
    assert reached.wait(PATIENCE)
    panel.box.close()
    assert not training()


@pytest.mark.slow
def test_the_notebook_stays_responsive(panel, look, held):
    """While the training waits inside an epoch, a control moves and says what is next."""
    go_on = threading.Event()
    reached, _ = held(1, go_on)
    press(panel, "Train", wait=False)
    assert reached.wait(PATIENCE)
    panel.inputs["epochs"].value = 7
    assert panel.config().epochs == 7 and panel.step.config.epochs == 2
    go_on.set()
    for thread in training():
        thread.join(PATIENCE)
    assert epochs(panel) == [2]


# --- Colab --------------------------------------------------------------------------------------

def test_on_colab_it_trains_in_the_handler_and_an_interrupt_stops_it(panel, monkeypatch):
    monkeypatch.setitem(sys.modules, "google.colab", sys)
    threads, fit = [], real_fit

    def interrupted(*args, **options):
        records = fit(*args, **options)
        threads.append(threading.current_thread())
        assert panel.buttons["Stop"].disabled
        yield next(records)
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "fit", interrupted)
    panel.buttons["Train"].click()
    assert threads == [threading.main_thread()] and epochs(panel) == [1]
    assert "interrupted; Train goes on" in panel.status.value
    monkeypatch.setattr(runs, "fit", fit)
    panel.buttons["Train"].click()
    assert epochs(panel) == [2] and "finished" in panel.status.value and not training()


# --- what is drawn and said ---------------------------------------------------------------------

def test_curves_of_runs_differ_in_colour_and_marker():
    history = pd.DataFrame({"epoch": [1, 2], "loss": [4.0, 2.0], "val_loss": [3.0, 2.5]})
    empty = history.iloc[:0]
    ax = plots.compare_runs(Figure().subplots(), {"a": history, "b": history / 2, "c": empty},
                            ylabel="MAE", title="t")
    told = [text.get_text() for text in ax.get_legend().get_texts()]
    assert told == ["a", "b", "c", "validation", "train, epoch's mean"]
    a, b = ax.lines[1], ax.lines[3]
    assert list(a.get_ydata()) == [3.0, 2.5] and ax.get_yscale() == "log"
    assert a.get_color() != b.get_color() and a.get_marker() != b.get_marker()
    assert [line.get_linestyle() for line in ax.lines[:2]] == [":", "-"]
    none = plots.compare_runs(Figure().subplots(), {}, ylabel="MAE")
    assert len(none.lines) == 2


def test_pace_says_how_long_still(monkeypatch):
    monkeypatch.setattr(live.time, "monotonic", lambda: 110.0)
    assert live.pace(0, 4, 110.0, 0) == "epoch 1 of 4 begins"
    assert live.pace(3, 5, 100.0, 1) == "epoch 3 of 5 done, 5.0 s per epoch, 10 s left"
    assert live.pace(1, 5, 100.0, 1) == "epoch 1 of 5 done"
