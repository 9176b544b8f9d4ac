"""Chapter 15's pictures: who replaced what since SIFT, and matches that are soft."""

from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from hpkit.experiments.intervals import interval
from hpkit.lessons import plots
from hpkit.matching.photos import project
from hpkit.matching.soft import dual_softmax, mutual_best

STAGES = ("detect", "cut", "describe", "match", "verify")

# A colour for each kind of idea, those of the book where it has one for it.
KINDS = {
    "by hand": "0.45",
    "learned descriptor": plots.COLOURS["ours"],
    "detector and descriptor": plots.COLOURS["positive"],
    "learned matcher": plots.COLOURS["RootSIFT"],
    "no detector": plots.COLOURS["denoised"],
    "foundation features": plots.COLOURS["RootSIFT on non-local means"],
    "the scene at once": plots.COLOURS["coursework"],
}
ON_DARK = ("by hand", "learned descriptor", "detector and descriptor")  # white letters

BAR = {"boxstyle": "round,pad=0,rounding_size=0.2", "linewidth": 0}


@dataclass(frozen=True)
class Idea:
    """A method: its year, and the first and the last stage that it does."""

    name: str
    year: int
    first: str
    last: str
    kind: str


IDEAS = (
    Idea("SIFT", 2004, "detect", "match", "by hand"),
    Idea("L2-Net", 2017, "describe", "describe", "learned descriptor"),
    Idea("HardNet", 2017, "describe", "describe", "learned descriptor"),
    Idea("SuperPoint", 2018, "detect", "describe", "detector and descriptor"),
    Idea("SOSNet", 2019, "describe", "describe", "learned descriptor"),
    Idea("HyNet", 2020, "describe", "describe", "learned descriptor"),
    Idea("DISK", 2020, "detect", "describe", "detector and descriptor"),
    Idea("SuperGlue", 2020, "match", "match", "learned matcher"),
    Idea("LoFTR", 2021, "detect", "match", "no detector"),
    Idea("ALIKED", 2023, "detect", "describe", "detector and descriptor"),
    Idea("LightGlue", 2023, "match", "match", "learned matcher"),
    Idea("DINOv2", 2023, "describe", "describe", "foundation features"),
    Idea("RoMa", 2024, "detect", "match", "no detector"),
    Idea("DUSt3R", 2024, "detect", "verify", "the scene at once"),
    Idea("VGGT", 2025, "detect", "verify", "the scene at once"),
)


def show_line(ax: Axes, ideas: tuple[Idea, ...] = IDEAS) -> Axes:
    """A row for each idea, by year, with a bar over the stages that it does.

    The columns are the stages of matching two photos, in their order.
    """
    for row, idea in enumerate(ideas):
        _show_bar(ax, row, idea)
    _show_years(ax, [idea.year for idea in ideas])
    rows = len(ideas)
    _show_ransac(ax, rows)
    for column in range(1, len(STAGES)):
        ax.axvline(column, color="0.85", lw=0.8, zorder=0)
    ax.set(xlim=(0, len(STAGES)), ylim=(rows, 0))
    ax.set_xticks(np.arange(len(STAGES)) + 0.5, STAGES, weight="bold")
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    handles = [plt.Rectangle((0, 0), 1, 1, color=colour) for colour in KINDS.values()]
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, 0.0), "ncols": 3}
    ax.legend(handles, list(KINDS), frameon=False, fontsize=8.5, **below)
    return ax


def _show_bar(ax: Axes, row: int, idea: Idea) -> None:
    """An idea's bar, with its name."""
    left, right = STAGES.index(idea.first), STAGES.index(idea.last) + 1
    corner, width = (left + 0.05, row + 0.12), right - left - 0.1
    bar = FancyBboxPatch(corner, width, 0.76, color=KINDS[idea.kind], **BAR)
    ax.add_patch(bar).set_zorder(2)  # over RANSAC's, where an idea needs no RANSAC
    look = {"ha": "center", "va": "center", "weight": "bold", "fontsize": 9}
    written = "white" if idea.kind in ON_DARK else "0.1"
    ax.text((left + right) / 2, row + 0.52, idea.name, color=written, **look)


def _show_years(ax: Axes, years: list[int]) -> None:
    """A year once, at its first row, and a line above it."""
    firsts = [row for row, year in enumerate(years) if year not in years[:row]]
    ax.set_yticks([row + 0.5 for row in firsts], [str(years[row]) for row in firsts])
    for row in firsts[1:]:
        ax.axhline(row, color="0.85", lw=0.8, zorder=0)


def _show_ransac(ax: Axes, rows: int) -> None:
    """The one stage that kept its method: a bar from the first row to the last."""
    corner = (STAGES.index("verify") + 0.05, 0.12)
    ax.add_patch(FancyBboxPatch(corner, 0.9, rows - 0.24, color="0.9", **BAR))
    place = STAGES.index("verify") + 0.5, rows / 2
    said = "RANSAC, of 1981,\nand its children"
    ax.text(*place, said, ha="center", va="center", rotation=90, fontsize=9)


def show_soft(
    axes: np.ndarray, similarity: np.ndarray, temperatures: tuple[float, ...]
) -> None:
    """A matrix of similarities, and its dual softmax at each temperature, as boards.

    axes: one more than temperatures. White is 0, dark is 1.
    """
    boards = {"similarity": similarity}
    for temperature in temperatures:
        boards[f"temperature {temperature:g}"] = dual_softmax(similarity, temperature)
    for ax, (name, board) in zip(axes, boards.items(), strict=True):
        ax.imshow(board, cmap="Purples", vmin=0, vmax=1, interpolation="nearest")
        for (row, column), value in np.ndenumerate(board):
            colour = "white" if value > 0.45 else "0.3"
            told = f"{round(value, 2) + 0:.2f}".replace("0.", ".").replace("-", "−")
            ax.text(column, row, told, ha="center", va="center", color=colour, size=6.5)
        ax.set(xticks=[], yticks=[])
        ax.set_title(name, fontsize=9)
        ax.spines[:].set_visible(False)


def soft_matches(
    photos: tuple[np.ndarray, np.ndarray],
    places: tuple[np.ndarray, np.ndarray],
    similarity: np.ndarray,
    truth: np.ndarray,
    temperature: float,
    threshold: float,
    close: float = 3.0,
) -> tuple[Figure, str]:
    """The matches of which the dual softmax is surer than the threshold.

    photos: uint8 (h, w). places: (n, 2) and (k, 2) pixels, with their similarity (n,
    k). truth: the homography. close: pixels to it, within which a match is right. ->
    the figure, with how sure it is of right and of wrong pairs, and a sentence.
    """
    sure = dual_softmax(similarity, temperature)
    pairs = mutual_best(sure)
    here, there = places[0][pairs[:, 0]], places[1][pairs[:, 1]]
    right = np.linalg.norm(project(here, truth) - there, axis=1) < close
    score = sure[pairs[:, 0], pairs[:, 1]]
    kept = score > threshold
    fig = Figure(figsize=(6.4, 4.6), layout="constrained")
    top, bottom = fig.subplots(2, height_ratios=[1.7, 1])
    title = f"{right[kept].sum()} of {kept.sum()} matches are right"
    lines = np.hstack([here, there])[kept]
    plots.show_matches(top, *photos, lines, right[kept], title=title)
    _show_sure(bottom, score, right, threshold)
    return fig, (
        f"Of {right.sum()} right pairs it keeps {right[kept].sum()}, and "
        f"{(kept & ~right).sum()} wrong ones."
    )


def _show_sure(
    ax: Axes, score: np.ndarray, right: np.ndarray, threshold: float
) -> None:
    """How sure it is of right and of wrong pairs, stacked, with the threshold."""
    kinds = {"right": ("positive", score[right]), "wrong": ("negative", score[~right])}
    colours = [plots.COLOURS[colour] for colour, _ in kinds.values()]
    values = [scores for _, scores in kinds.values()]
    bins = np.linspace(0, 1, 31)
    ax.hist(values, bins, stacked=True, color=colours, label=list(kinds))
    ax.axvline(threshold, color="0.2")
    ax.set(xlabel="how sure it is (line: the threshold)", ylabel="mutual pairs")
    ax.legend(frameon=False, fontsize="small")


def show_leads(ax: Axes, leads: pd.DataFrame, distance: float) -> Axes:
    """Average precision against the ratio test's, over the temperature.

    leads: a row per photo, a column per temperature; a dot is a photo, and the band is
    the 95 % interval over photos. distance: the mean lead of the plain distance.
    """
    temperatures = list(leads)
    for _, row in leads.iterrows():
        ax.plot(temperatures, row, "o", color="0.6", ms=4)
    mean, low, high = np.array([interval(leads[t]) for t in temperatures]).T
    blue = plots.COLOURS["ours"]
    ax.plot(temperatures, mean, "o-", color=blue, label="dual softmax")
    ax.fill_between(temperatures, low, high, color=blue, alpha=0.15, lw=0)
    ax.axhline(0, color=plots.COLOURS["RootSIFT"], lw=1.5, label="ratio test")
    ax.axhline(distance, color="0.4", lw=1.5, ls="--", label="plain distance")
    ax.set(xscale="log", xlabel="temperature", ylabel="lead in\naverage precision")
    ax.set_xticks(temperatures, [f"{t:g}" for t in temperatures])
    ax.minorticks_off()
    ax.legend(
        frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5)
    )
    return ax
