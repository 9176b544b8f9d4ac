"""A model of your own, trained in a panel and put on the ladder of the recorded ones.

What is scored is what `hpkit.runs.run` scores: the test photos, by the mAP of a task.
"""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from torch import nn

from hpkit import live, plots, widgets
from hpkit.configs import Config, DescriptorConfig
from hpkit.runs import Progress, follow, run
from hpkit.statistics import arm


def rungs(denoisers: pd.DataFrame, descriptors: pd.DataFrame, arms: dict[str, DescriptorConfig],
          score: str = "matching") -> pd.DataFrame:
    """Recorded arms, a row each: rung, seconds of training, mean, seeds.

    The seconds are those of the quickest seed, and of the quickest denoiser before it: the machine
    had other work at times.
    """
    rows = []
    for name, config in arms.items():
        own = arm(descriptors, config)
        of_denoiser = arm(denoisers, config.denoiser()).seconds.min() if denoises(config) else 0
        rows.append((name, own.seconds.min() + of_denoiser, own[score].mean(), len(own)))
    return pd.DataFrame(rows, columns=["rung", "seconds", "mean", "seeds"])


def denoises(config: DescriptorConfig) -> bool:
    """Does it take a denoiser to train this descriptor or to score it?"""
    return "denoised" in (config.source, config.test_source)


def placed(config: DescriptorConfig, score: str = "matching") -> tuple[float, float]:
    """Seconds of training (its denoiser's too) and score of a run; trained if it is not yet."""
    made = run(config)
    of_denoiser = run(config.denoiser()).info["seconds"] if denoises(config) else 0
    return made.info["seconds"] + of_denoiser, made.scores[score]


def show_ladder(ax: Axes, steps: pd.DataFrame, own: dict[str, tuple[float, float]], *,
                ylabel: str) -> Axes:
    """Numbered rungs by seconds and score, and your own runs as lettered squares.

    steps: what `rungs` gives; own: {label: what `placed` gives}.
    """
    marks = [(str(number), step.rung, step.seconds, step.mean, "o", plots.COLOURS["ours"])
             for number, step in enumerate(steps.itertuples())]
    for letter, (label, (x, y)) in zip("ABCDE", own.items(), strict=False):
        marks.append((letter, f"{' '.join(label.split())}: {y:.3f}", x, y, "s", "0.2"))
    for _, _, x, y, shape, colour in marks:
        ax.plot(x, y, shape, ms=3, color=colour)
    ax.set_xscale("log")
    points = ax.transData.transform([mark[2:4] for mark in marks]) * 72 / ax.get_figure().dpi
    for line, (mark, aside) in enumerate(zip(marks, _asides(points), strict=True)):
        sign, label, x, y, shape, colour = mark
        box = {"boxstyle": {"o": "circle", "s": "square"}[shape], "fc": "w", "ec": colour}
        ax.annotate(sign, (x, y), aside, textcoords="offset points", ha="center", va="center",
                    fontsize=8, bbox=box, arrowprops={"arrowstyle": "-", "color": colour},
                    zorder=9 - line / 99)
        ax.text(1.02, 1 - line / max(len(marks), 14), f"{sign}  {label}", fontsize=8, va="top",
                transform=ax.transAxes, weight="bold" if shape == "s" else "normal")
    ticks = [20, 50, 100, 200, 500, 1000]
    title = f"Your best: {max(y for _, y in own.values()):.3f}" if own else "Where will yours be?"
    ax.set(xlabel="seconds of training", ylabel=ylabel, title=title)
    ax.set_xticks(ticks, ticks)
    ax.minorticks_off()
    return ax


def _asides(points: np.ndarray, size: float = 19) -> np.ndarray:
    """How far each round sign moves off its place so that it lies on none before it; in points."""
    ring = [size * r * np.array([np.cos(a), np.sin(a)]) for r in (0, 1, 2, 3)
            for a in np.radians([-30, 30, -90, 90, 0])]  # to the left is the axis
    placed = []
    for point in points:
        free = (point + aside for aside in ring
                if all(np.hypot(*(point + aside - other)) > 0.95 * size for other in placed))
        placed.append(next(free, point))
    return np.array(placed) - points


class Climb(live.Panel):
    """A panel that trains, scores the run on the test photos and puts it on the ladder."""

    SIZE, HEIGHTS = (6.4, 5.8), (2, 3)

    def __init__(self, base: DescriptorConfig, steps: pd.DataFrame, names: tuple[str, ...]) -> None:
        self.steps, self.own = steps, {}
        super().__init__(base, self._ladder, names)
        for widget in self.inputs.values():
            widget.style.description_width, widget.layout.width = "210px", "380px"  # long names

    @staticmethod
    def follow(config: Config, stopped: Callable[[], bool]) -> Iterator[Progress]:
        """The denoiser first, also where only the test patches need it."""
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
        return (f"{told}. Matching mAP {score:.3f} after {seconds:.0f} s of training: above "
                f"{(self.steps['mean'] < score).sum()} of {len(self.steps)} rungs")

    def _ladder(self, part: SubFigure, _: nn.Module) -> None:
        labels = live.told_apart(list(self.runs), self.inputs)
        own = {label: self.own[config] for label, config in zip(labels, self.runs, strict=True)
               if config in self.own}
        show_ladder(part.subplots(), self.steps, own, ylabel="matching mAP")


def climb(base: DescriptorConfig, steps: pd.DataFrame, *names: str) -> None:
    """Show a panel that trains `base` with your values of `names`, and where it comes to stand."""
    panel = Climb(base, steps, names)
    widgets.show(panel.box, panel.first, "a panel that trains and scores your " + ", ".join(names))
