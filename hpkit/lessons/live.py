"""A panel that trains a configuration of your choice while you watch.

It is redrawn after each epoch. Every run goes through
`hpkit.experiments.runs.follow`: it is kept, comes back at once, and goes on if it was
stopped. It runs in a thread, so that the notebook stays usable. A cell that trains
too waits until the panel has finished. Colab shows nothing that a thread does, so there
the training runs in the button's own handler. At most one thread is left, and none once
a panel is built, closed or reset.
"""

import atexit
import math
import textwrap
import threading
import time
from collections.abc import Callable, Iterable
from html import escape

import ipywidgets
from matplotlib.figure import Figure, SubFigure
from torch import nn

from hpkit.experiments.configs import Config, choices, varied
from hpkit.experiments.runs import Progress, follow, network
from hpkit.lessons import plots, widgets
from hpkit.training.fit import TrainingDiverged

NUMBERS = {
    "epochs": (1, 20, 1),
    "batch_size": (5, 200, 5),
    "samples": (100, 10_000, 100),
    "margin": (0.1, 4.0, 0.1),
    "noisy_share": (0.0, 1.0, 0.05),
    "seed": (0, 9, 1),
    "denoiser_batch_size": (2, 128, 2),
}

UNITS = {
    "batch_size": " (samples)",
    "samples": " (per epoch)",
    "noisy_share": " (0 to 1)",
}

# The limits are exponents of ten.
RATES = {
    "min": -7.0,
    "max": 1.0,
    "step": 0.25,
    "readout_format": ".1e",
}

SHOWN = 5  # runs in the plot; the oldest goes first

# One for all panels: they train one run at a time.
THREAD, STOP = "hpkit training", threading.Event()

READY = "Each run is kept: trained once, it comes back at once."

REDRAW = 0.5  # seconds between two redraws: a browser is no cinema


def train(
    base: Config, draw: Callable[[SubFigure, nn.Module], object], *names: str
) -> None:
    """Show a panel that trains `base` with other values of the fields in `names`.

    draw(part, model) draws what the network does now into a part of a figure, below the
    learning curves. A field with a list of valid values gets a dropdown, a number a
    slider (those in NUMBERS, and lr). Nothing is trained before Train is pressed.
    Raises ValueError for other names.
    """
    panel = Panel(base, draw, names)
    widgets.show(
        panel.box, panel.first, "a panel that trains with your " + ", ".join(names)
    )


def control(base: Config, name: str) -> ipywidgets.ValueWidget:
    """A control for a field of a configuration, set to its value in `base`."""
    value, label = (
        getattr(base, name, None),
        name + UNITS.get(name.removeprefix("denoiser_"), ""),
    )
    if name == "lr":
        return ipywidgets.FloatLogSlider(
            value=base.resolved().lr,
            description=label,
            **RATES,
            continuous_update=False,
            **widgets.CONTROL,
        )
    valid = (
        [False, True] if isinstance(value, bool) else list(choices(type(base), name))
    )
    if valid:
        made = widgets.control(label, valid)
        made.value = value
        return made
    if name not in NUMBERS or value is None:
        raise ValueError(
            f"no control for {name!r}: expected lr, a field with a list of values, or "
            f"one of {', '.join(NUMBERS)}"
        )
    low, high, step = NUMBERS[name]
    return widgets.control(label, (min(low, value), max(high, value), step, value))


@atexit.register
def end_training() -> None:
    """Stop the training of any panel, and wait until it has stopped: one batch."""
    STOP.set()
    for thread in threading.enumerate():
        if thread.name == THREAD:
            thread.join()


class Panel:
    """What `train` shows.

    `box` holds the controls, the buttons, a status line and a picture.
    """

    SIZE, HEIGHTS, follow = (6.4, 4.9), (3, 2), staticmethod(follow)  # inches; parts

    def __init__(self, base: Config, draw: Callable, names: tuple[str, ...]) -> None:
        end_training()  # of the cell that is run again
        self.base, self.draw, self.runs = base, draw, {}
        self.inputs = {name: control(base, name) for name in names}
        self.start = {name: widget.value for name, widget in self.inputs.items()}
        if {"optimizer", "lr"} <= set(names):
            self.inputs["optimizer"].observe(self._usual_rate, names="value")
        self.buttons = {
            name: ipywidgets.Button(description=name, layout={"width": "108px"})
            for name in ("Train", "Stop", "Reset")
        }
        for name, button in self.buttons.items():
            button.on_click(getattr(self, name.lower()))
        self.bar = ipywidgets.IntProgress(max=100, layout={"width": "340px"})
        self.status = ipywidgets.HTML(layout={"width": "340px"})
        self.first = self._picture(
            network(base.resolved()), "Not trained yet: press Train"
        )
        self.image = ipywidgets.Image(
            value=self.first, format="png", layout={"max_width": "640px"}
        )
        buttons = ipywidgets.HBox(list(self.buttons.values()))
        left = ipywidgets.VBox([*self.inputs.values(), buttons, self.bar, self.status])
        self.box = ipywidgets.HBox([left, self.image])
        self.box.observe(self._closed, names="comm")
        self._busy(False)
        self._say(READY)

    def config(self) -> Config:
        """What the controls say.

        Raises ValueError for values that do not go together.
        """
        values = {name: widget.value for name, widget in self.inputs.items()}
        if "lr" in values:
            # 0.00316, not 0.0031622776601683794.
            values["lr"] = float(f"{values['lr']:.3g}")
        return varied(self.base, **values).resolved()

    def train(self, _: object = None) -> None:
        """Train in a thread.

        On Colab train right here, where a click on Stop would come too late.
        """
        end_training()
        try:
            config = self.config()
        except ValueError as error:
            return self._say(error)
        self._busy(True)
        self._say("preparing the data")
        self.bar.value = 0
        STOP.clear()
        thread = threading.Thread(
            target=self._train, args=(config,), name=THREAD, daemon=True
        )
        return thread.run() if widgets.in_colab() else thread.start()

    def stop(self, _: object = None) -> None:
        """Ask the training to stop before its next batch; do not wait for it."""
        self._say("stopping before the next batch")
        STOP.set()

    def reset(self, _: object = None) -> None:
        """Back to the start: no curves, the controls at their first values.

        What is in the store stays there.
        """
        end_training()
        self.runs = {}
        # lr comes last: the optimizer's control moves it.
        for name in sorted(self.start, key="lr".__eq__):
            self.inputs[name].value = self.start[name]
        self.image.value, self.bar.value = self.first, 0
        self._say(READY)

    def _train(self, config: Config) -> None:
        """Train from start to end.

        Whatever goes wrong ends the run and is told, and does nothing else.
        """
        try:
            told = self._followed(config)
        except KeyboardInterrupt:  # how to stop on Colab
            told = "interrupted; Train goes on from the last finished epoch"
        except Exception as error:
            told = error
        self._busy(False)
        self._say(told)

    def _followed(self, config: Config) -> str:
        """Train, redraw and report; gives the sentence to end with."""
        began, drawn = None, -REDRAW
        for step in self.follow(config, stopped=self._stopped):
            self.step, self.batch, done, now = (
                step,
                0,
                len(step.history),
                time.monotonic(),
            )
            if step.config != config:
                self._show_denoiser(step, config)
                continue
            self.runs[config] = step.history
            self.runs = dict(list(self.runs.items())[-SHOWN:])
            began = began or (now, done)
            if now - drawn >= REDRAW:
                self._redraw()
                drawn = time.monotonic()
            self._say(pace(done, config.epochs, *began))
        if began:
            self._redraw()
            self.bar.value = int(100 * len(self.step.history) / config.epochs)
        return ending(self.step, config)

    def _stopped(self) -> bool:
        """Whether to stop; asked before each batch, so it also moves the bar."""
        config = self.step.config
        done = len(self.step.history) + self.batch / math.ceil(
            config.samples / config.batch_size
        )
        self.bar.value = int(100 * done / config.epochs)
        self.batch += 1
        return STOP.is_set()

    def _show_denoiser(self, step: Progress, config: Config) -> None:
        """How far the denoiser is that a descriptor's patches have to wait for."""
        done = f"{len(step.history)} of {step.config.epochs} epochs"
        if step.status == "finished":
            self._say(f"its denoiser is ready after {done}: denoising the patches")
        else:
            self._say(f"first its denoiser: {done}")
        figure, above, below = self._parts()
        plots.compare_runs(
            above.subplots(),
            {"its denoiser": step.history},
            ylabel=loss_label([step.config]),
            title=f"First its denoiser: {done}",
        )
        self.draw(below, network(config))
        self.image.value = widgets.to_png(figure)

    def _redraw(self) -> None:
        last, loss = len(self.step.history), self.step.history.val_loss.tail(1)
        title = f"After {last} of {self.step.config.epochs} epochs"
        title += f": validation loss {loss.item():.3g}" if last else ""
        self.image.value = self._picture(self.step.model, title)

    def _picture(self, model: nn.Module, title: str) -> bytes:
        """The curves of all runs above what `draw` makes of the model."""
        figure, above, below = self._parts()
        configs = list(self.runs)
        labels = told_apart(configs, self.inputs)
        histories = dict(zip(labels, self.runs.values(), strict=True))
        plots.compare_runs(
            above.subplots(),
            histories,
            ylabel=loss_label(configs or [self.base]),
            title=title,
        )
        self.draw(below, model)
        return widgets.to_png(figure)

    def _parts(self) -> tuple[Figure, SubFigure, SubFigure]:
        """An empty picture, its part for the curves, and the one for `draw`."""
        figure = Figure(figsize=self.SIZE, layout="constrained")
        above, below = figure.subfigures(2, 1, height_ratios=self.HEIGHTS)
        return figure, above, below

    def _usual_rate(self, change: dict) -> None:
        """Set the learning rate that the chosen optimizer usually starts from."""
        self.inputs["lr"].value = (
            varied(self.base, optimizer=change["new"], lr=None).resolved().lr
        )

    def _busy(self, busy: bool) -> None:
        self.buttons["Train"].disabled = busy
        self.buttons["Stop"].disabled = not busy or widgets.in_colab()

    def _say(self, what: str | Exception) -> None:
        name = f"<b>{type(what).__name__}:</b> " if isinstance(what, Exception) else ""
        self.status.value = name + escape(str(what))

    def _closed(self, change: dict) -> None:
        if change["new"] is None:
            end_training()


def pace(done: int, epochs: int, start: float, before: int) -> str:
    """How far, how fast and how long still.

    start: time.monotonic() after `before` epochs.
    """
    told = f"epoch {done} of {epochs} done" if done else f"epoch 1 of {epochs} begins"
    if done == before:
        return told
    each = (time.monotonic() - start) / (done - before)
    return f"{told}, {each:.1f} s per epoch, {(epochs - done) * each:.0f} s left"


def ending(step: Progress, config: Config) -> str:
    """How a run ended, in a sentence."""
    done, loss = len(step.history), step.history.val_loss.tail(1)
    if step.config != config or step.status == "running":
        of = "" if step.config == config else " of its denoiser"
        return (
            f"stopped after {done} of {step.config.epochs} epochs{of}; Train goes "
            "on from there"
        )
    if step.status == "diverged":
        return f"diverged: {TrainingDiverged(done + 1, config.lr)}"
    told = f"finished after {done} of {done} epochs, validation loss {loss.item():.4g}"
    margin = getattr(config, "margin", None)
    if margin and math.isclose(loss.item(), margin, rel_tol=1e-3):
        told += ": that is the margin, so all descriptors are alike, a collapse"
    return told


def told_apart(configs: list[Config], names: Iterable[str]) -> list[str]:
    """A label for each: the fields in which they differ, wrapped.

    A value that is a word stands without its field's name.
    """
    differing = [
        n for n in names if len({getattr(config, n) for config in configs}) > 1
    ]
    said = [
        [
            value
            if isinstance(value := getattr(config, n), str)
            else f"{n}\N{NBSP}{value:g}"
            for n in differing
        ]
        for config in configs
    ]
    return [textwrap.fill(", ".join(one), 24) or "this run" for one in said]


def loss_label(configs: list[Config]) -> str:
    """What the axis of their losses shows."""
    kinds = {config.objective for config in configs}
    if len(kinds) > 1:
        return "loss (of several kinds)"
    return "MAE (grey levels)" if kinds == {"mae"} else f"{kinds.pop()} loss"
