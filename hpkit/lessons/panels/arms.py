"""The panel of chapters 5 to 9: two arms of the recorded results, seed by seed."""

from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hpkit.experiments.arms import ERRORS, Contrast, arm, at_scale, differences
from hpkit.experiments.claims import mae, mAP
from hpkit.experiments.intervals import decide, interval
from hpkit.lessons import plots


def pair(
    table: pd.DataFrame,
    score: str,
    arms: dict[object, dict],
    first: object,
    second: object,
    times: int = 1,
) -> tuple[Figure, str]:
    """Two recorded arms: each one's seeds, and the lead of the first, paired by seed.

    arms: {name: its changes of the baseline}; for an error the denoiser's baseline, for
    an mAP the descriptor's. times: the budget, as a multiple of the recorded
    baseline's: 1, 4 or 16.
    """
    asked, names = mae if score in ERRORS else mAP, f"{first} over {second}"
    contrast = asked(names, a=arms[first], b=arms[second], score=score)
    scale, gains = at_scale(contrast.base, times), differences(table, contrast, times)
    scores = {}
    for name in (first, second):
        rows = arm(table, contrast.base, **(scale | arms[name]))
        scores[fill(str(name), 16)] = rows[score].dropna()
    fig = Figure(figsize=(6.4, 3.8), layout="constrained")
    left, right = fig.subplots(1, 2, width_ratios=(3, 2))
    _seeds(left, scores, f"{score} ({contrast.unit})")
    _lead(right, gains, contrast)
    plots.legend_below(fig)
    return fig, lead(contrast, gains)


def _seeds(ax: Axes, scores: dict[str, pd.Series], ylabel: str) -> None:
    """Both arms; a line joins the two runs of a seed."""
    means = ", ".join(f"{one.mean():.3f}" for one in scores.values())
    title = f"Means: {means}".replace("nan", "–")
    plots.compare_arms(ax, scores, ylabel=ylabel, title=title)
    joined = pd.DataFrame(scores).dropna().T if len(scores) > 1 else [[], []]
    ax.plot([-0.12, 0.88], joined, color="0.85", zorder=0)
    ax.set(xlim=(-0.5, 1.5))


def _lead(ax: Axes, gains: np.ndarray, contrast: Contrast) -> None:
    """How far the first arm is ahead, and the least lead that matters."""
    title = f"Lead: {gains.mean():+.3f}" if len(gains) else "No seed of both"
    ylabel = f"lead ({contrast.unit})"
    plots.compare_arms(ax, {"": pd.Series(gains)}, ylabel=ylabel, title=title)
    ax.axhline(0, color="0.5", lw=1)
    least = "least lead that matters"
    ax.axhline(contrast.smallest, color="0.3", ls="--", label=least)
    ax.set(xlim=(-0.5, 0.5), xlabel="first over second")


def lead(contrast: Contrast, gains: np.ndarray) -> str:
    """A contrast's paired interval in a sentence; gains: what `differences` gives."""
    if not len(gains):
        return (
            f"Lead of {contrast.name}: no seed of both is recorded with these settings."
        )
    mean, low, high = interval(gains)
    said = f"Lead of {contrast.name}: {mean:+.3f} {contrast.unit}"
    if np.isnan(low):
        return f"{said}; too few seeds for an interval ({len(gains)})."
    words = {
        "holds": "more than",
        "undecided": "undecided whether more than",
        "does not hold": "less than",
    }
    return (
        f"{said}, 95 % interval {low:+.3f} to {high:+.3f}, {len(gains)} seeds, paired: "
        f"{words[decide(gains, contrast.smallest)]} the least that matters, "
        f"{contrast.smallest:g}."
    )
