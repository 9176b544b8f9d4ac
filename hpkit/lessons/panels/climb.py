"""A model of your own, trained in a panel and put on the ladder of the recorded ones.

It is scored as `hpkit.experiments.runs.run` scores: on the test photos, by the mAP of a
task.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from torch import nn

from hpkit.experiments.arms import arm
from hpkit.experiments.configs import Config, DescriptorConfig
from hpkit.experiments.runs import Progress, follow, run
from hpkit.lessons import live, plots, widgets


def rungs(
    denoisers: pd.DataFrame,
    descriptors: pd.DataFrame,
    arms: dict[str, DescriptorConfig],
    score: str = "matching",
) -> pd.DataFrame:
    """Recorded arms, a row each: rung, seconds of training, mean, seeds.

    The seconds are those of the quickest seed, and of the quickest denoiser before it,
    because the machine had other work at times.
    """
    rows = []
    for name, config in arms.items():
        own = arm(descriptors, config)
        of_denoiser = (
            arm(denoisers, config.denoiser()).seconds.min() if denoises(config) else 0
        )
        rows.append(
            (name, own.seconds.min() + of_denoiser, own[score].mean(), len(own))
        )
    return pd.DataFrame(rows, columns=["rung", "seconds", "mean", "seeds"])


def denoises(config: DescriptorConfig) -> bool:
    """Does it take a denoiser to train this descriptor or to score it?"""
    return "denoised" in (config.source, config.test_source)


def placed(config: DescriptorConfig, score: str = "matching") -> tuple[float, float]:
    """Seconds of training and score of a run, which is trained if it is not yet.

    The seconds include those of its denoiser.
    """
    made = run(config)
    of_denoiser = run(config.denoiser()).info["seconds"] if denoises(config) else 0
    return made.info["seconds"] + of_denoiser, made.scores[score]


def show_ladder(
    ax: Axes, steps: pd.DataFrame, own: dict[str, tuple[float, float]], *, ylabel: str
) -> Axes:
    """Numbered rungs by seconds and score, and your own runs as lettered squares.

    steps: what `rungs` gives; own: {label: what `placed` gives}.
    """
    colour = plots.COLOURS["ours"]
    marks = [
        Mark(str(number), step.rung, step.seconds, step.mean, "o", colour)
        for number, step in enumerate(steps.itertuples())
    ]
    for letter, (label, (x, y)) in zip("ABCDE", own.items(), strict=False):
        said = f"{' '.join(label.split())}: {y:.3f}"
        marks.append(Mark(letter, said, x, y, "s", "0.2"))
    for mark in marks:
        ax.plot(mark.x, mark.y, mark.shape, ms=3, color=mark.colour)
    ax.set_xscale("log")
    places = ax.transData.transform([(mark.x, mark.y) for mark in marks])
    asides = _asides(places * 72 / ax.get_figure().dpi)
    for line, (mark, aside) in enumerate(zip(marks, asides, strict=True)):
        _sign(ax, mark, aside, line, max(len(marks), 14))
    ticks, title = [20, 50, 100, 200, 500, 1000], "Where will yours be?"
    if own:
        title = f"Your best: {max(y for _, y in own.values()):.3f}"
    ax.set(xlabel="seconds of training", ylabel=ylabel, title=title)
    ax.set_xticks(ticks, ticks)
    ax.minorticks_off()
    return ax


class Mark(NamedTuple):
    """A rung or a run of your own on the ladder."""

    sign: str
    label: str
    x: float
    y: float
    shape: str
    colour: str


def _sign(ax: Axes, mark: Mark, aside: np.ndarray, line: int, lines: int) -> None:
    """The sign beside its place, and its line of the legend."""
    own = mark.shape == "s"
    box = {"boxstyle": "square" if own else "circle", "fc": "w", "ec": mark.colour}
    ax.annotate(
        mark.sign,
        (mark.x, mark.y),
        aside,
        textcoords="offset points",
        ha="center",
        va="center",
        fontsize=8,
        bbox=box,
        arrowprops={"arrowstyle": "-", "color": mark.colour},
        zorder=9 - line / 99,
    )
    style = {"fontsize": 8, "va": "top", "weight": "bold" if own else "normal"}
    place, said = (1.02, 1 - line / lines), f"{mark.sign}  {mark.label}"
    ax.text(*place, said, transform=ax.transAxes, **style)


def _asides(points: np.ndarray, size: float = 19) -> np.ndarray:
    """How far each round sign moves off its place, in points.

    It moves so that it lies on none before it.
    """
    # No sign goes straight to the left, where the axis is.
    ring = [
        size * r * np.array([np.cos(a), np.sin(a)])
        for r in (0, 1, 2, 3)
        for a in np.radians([-30, 30, -90, 90, 0])
    ]
    placed = []
    for point in points:
        free = (
            point + aside
            for aside in ring
            if all(np.hypot(*(point + aside - other)) > 0.95 * size for other in placed)
        )
        placed.append(next(free, point))
    return np.array(placed) - points


class Climb(live.Panel):
    """A panel that trains, scores on the test photos and puts the run on the ladder."""

    SIZE, HEIGHTS = (6.4, 5.8), (2, 3)

    def __init__(
        self, base: DescriptorConfig, steps: pd.DataFrame, names: tuple[str, ...]
    ) -> None:
        self.steps, self.own = steps, {}
        super().__init__(base, self._ladder, names)
        for widget in self.inputs.values():
            # The names of the fields are long.
            widget.style.description_width, widget.layout.width = "210px", "380px"

    @staticmethod
    def follow(config: Config, stopped: Callable[[], bool]) -> Iterator[Progress]:
        """The denoiser first, even where only the test patches need it."""
        if denoises(config):
            yield from follow(config.denoiser(), stopped=stopped)
        yield from follow(config, stopped=stopped)

    def _followed(self, config: DescriptorConfig) -> str:
        told = super()._followed(config)
        if self.step.config != config or self.step.status != "finished":
            return told
        self._say("scoring it on the test photos")
        seconds, score = self.own[config] = placed(config)
        self._redraw()
        return (
            f"{told}. Matching mAP {score:.3f} after {seconds:.0f} s of training: "
            f"above {(self.steps['mean'] < score).sum()} of {len(self.steps)} rungs"
        )

    def _ladder(self, part: SubFigure, _: nn.Module) -> None:
        labels = live.told_apart(list(self.runs), self.inputs)
        own = {
            label: self.own[config]
            for label, config in zip(labels, self.runs, strict=True)
            if config in self.own
        }
        show_ladder(part.subplots(), self.steps, own, ylabel="matching mAP")


def climb(base: DescriptorConfig, steps: pd.DataFrame, *names: str) -> None:
    """Show a panel that trains `base` with your values of `names`.

    It also shows where the run comes to stand.
    """
    panel = Climb(base, steps, names)
    widgets.show(
        panel.box,
        panel.first,
        "a panel that trains and scores your " + ", ".join(names),
    )
