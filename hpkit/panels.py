"""What the panels of the book show: plain functions of what their controls say.

The figures are made without pyplot, so they are safe in a callback, and the number that matters
stands in a sentence too.
"""

from functools import lru_cache
from textwrap import fill

import cv2
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.figure import Figure

from hpkit import photos, plots
from hpkit.claims import mae, mAP
from hpkit.evaluation import CHUNK
from hpkit.noise import add_noise
from hpkit.patches import LEVELS, shrink
from hpkit.ranking import confusion, pair_distances, precision_recall
from hpkit.statistics import ERRORS, Contrast, arm, at_scale, decide, differences, interval
from hpkit.tasks import Tasks

SQUARE = np.array([[-1, 1, 1, -1], [-1, -1, 1, 1.0]])  # corners of a patch, in its own coordinates


# --- chapter 1: where a patch comes from ---------------------------------------------------------

@lru_cache(maxsize=2)
def _images(sequence: str) -> list[tuple[np.ndarray, np.ndarray]]:
    return photos.images_of(sequence, photos.read_photo(sequence[2:]))


def one_patch(sequence: str, patch_type: str, row: int, jitter: float = 1.0, noise: float = 1.0
              ) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """A noisy patch of the embedded set, its jitter and noise so many times as strong as there.

    Gives the patch (32, 32), the image that it is cut from, two regions in it (2, 4, 2), the true
    one and the one that was cut, and their overlap.
    """
    points = photos.keypoint_table().query("sequence == @sequence")
    image, homography = _images(sequence)[photos.image_of(patch_type)]
    affine, shift = photos.jitter_of(sequence, patch_type, len(points), jitter)
    found, true = photos.frames(points, affine, shift), photos.frames(points, np.eye(2), 0 * shift)
    clean = shrink(photos.cut(image, *found, homography)).reshape(-1, 32, 32)
    corners = np.stack([(matrix[row] @ SQUARE).T + centre[row] for matrix, centre in (true, found)])
    regions = cv2.perspectiveTransform(corners.reshape(1, -1, 2), homography).reshape(2, 4, 2)
    noisy = add_noise(clean, sequence, patch_type, noise)[row]
    return noisy, image, regions, photos.overlap(affine[row:row + 1], shift[row:row + 1])[0]


# --- chapter 4: neighbours and thresholds --------------------------------------------------------

def neighbours(described: np.ndarray, tasks: Tasks, query: int, level: str) -> pd.DataFrame:
    """The largest retrieval pool of a query, nearest first: point, column, distance, hit.

    described: (points, 16, d). As officially, the query is a reference patch, its five twins at
    this level are the hits and go first at equal distance, and the rest is of other sequences.
    """
    point, columns = tasks.queries[query], LEVELS[level]
    rest = tasks.distractors[tasks.sequence[tasks.distractors] != tasks.sequence[point]]
    pool = pd.DataFrame({"point": [point] * 5 + list(rest),
                         "column": [*range(columns.start, columns.stop)] + [0] * len(rest)})
    apart = described[pool.point, pool.column].astype(float) - described[point, 0]
    pool = pool.assign(distance=np.linalg.norm(apart, axis=1), hit=pool.point == point)
    return pool.sort_values("distance", kind="stable", ignore_index=True)


def show_neighbours(query: np.ndarray, patches: np.ndarray, found: pd.DataFrame
                    ) -> tuple[Figure, str]:
    """The query and its first 11 neighbours: hits in a solid frame with ✓, misses dashed with ✗.

    query: (32, 32); patches: (points, 16, 32, 32); found: what `neighbours` gives.
    """
    fig, first = Figure(figsize=(6.4, 2.9), layout="constrained"), found.head(11)
    shown = [(query, "query", "anchor", "-")]
    looks = {True: ("✓", "positive", "-"), False: ("✗", "negative", ":")}
    for row in first.itertuples():
        sign, *look = looks[row.hit]
        shown.append((patches[row.point, row.column], f"{sign} {row.distance:.3g}", *look))
    for ax, (patch, title, colour, line) in zip(fig.subplots(2, 6).flat, shown, strict=False):
        ax.imshow(patch, **plots.GREY)
        ax.set(xticks=[], yticks=[])
        ax.set_title(title, fontsize="small", loc="center")
        for spine in ax.spines.values():
            spine.set(visible=True, color=plots.COLOURS[colour], lw=4, ls=line)
    ranks = ", ".join(str(rank + 1) for rank in np.flatnonzero(found.hit))
    return fig, (f"{first.hit.sum()} of {found.hit.sum()} twins are among the first {len(first)} "
                 f"of {len(found)}; their ranks: {ranks}.")


def verification_pairs(described: np.ndarray, tasks: Tasks, level: str, negatives: str = "inter"
                       ) -> tuple[np.ndarray, np.ndarray]:
    """Distances and labels of the pairs of a verification AP: all negatives, a fifth of the hits.

    negatives: "inter" (of any two sequences) or "intra" (of one).
    """
    some = tasks.positives[:int(0.2 * len(tasks.positives))]
    others = getattr(tasks, negatives)
    pairs = np.concatenate([others, some])
    distance = pair_distances(torch.as_tensor(described), pairs, CHUNK)[level]
    return distance, np.repeat([0, 1], [len(others), len(some)])


def decisions(distance: np.ndarray, labels: np.ndarray, threshold: float) -> tuple[Figure, str]:
    """Pairs up to `threshold` (times the negatives' median distance) are called the same.

    The distances with the limit, the four counts, and the place on the precision-recall curve.
    """
    limit = threshold * np.median(distance[labels == 0])
    found = confusion(distance, labels, limit)
    fig = Figure(figsize=(6.4, 5), layout="constrained")
    spread, counts, curve = fig.subplot_mosaic([["a", "a"], ["b", "c"]]).values()
    plots.histogram(spread, {"positive": distance[labels == 1], "negative": distance[labels == 0]},
                    bins=np.linspace(0, distance.max(), 60), xlabel="distance",
                    title=f"Accepted: up to {limit:.3g}")
    spread.axvline(limit, color="0.2")
    cells = np.array([["TP", "FN"], ["FP", "TN"]])
    sns.heatmap([[found[name] for name in row] for row in cells], ax=counts, cmap="Blues", fmt="",
                annot=[[f"{name}\n{found[name]}" for name in row] for row in cells], cbar=False,
                xticklabels=["accepted", "rejected"], yticklabels=["same", "another"])
    counts.set(title="Pairs", ylabel="point")
    plots.precision_recall(curve, {"all thresholds": precision_recall(-distance, labels)})
    curve.plot(found["recall"], found["precision"], "o", ms=11, color="0.2", label="this one")
    curve.legend(frameon=False, fontsize="small")
    return fig, (f"Precision {found['precision']:.3f} = TP / (TP + FP), recall "
                 f"{found['recall']:.3f} = TP / (TP + FN).")


# --- chapters 5 to 9: two arms of the recorded results -------------------------------------------

def pair(table: pd.DataFrame, score: str, arms: dict[object, dict], first: object, second: object,
         times: int = 1) -> tuple[Figure, str]:
    """Two recorded arms: each one's seeds, and the lead of the first, paired by seed.

    arms: {name: its changes of the baseline, the denoiser's for an error, the descriptor's for an
    mAP}. times: the budget, as many times the recorded baseline's, 1, 4 or 16.
    """
    asked = mae if score in ERRORS else mAP
    contrast = asked(f"{first} over {second}", a=arms[first], b=arms[second], score=score)
    scale, gains = at_scale(contrast.base, times), differences(table, contrast, times)
    scores = {fill(str(name), 16): arm(table, contrast.base, **(scale | arms[name]))[score].dropna()
              for name in (first, second)}
    fig = Figure(figsize=(6.4, 3.8), layout="constrained")
    left, right = fig.subplots(1, 2, width_ratios=(3, 2))
    means = ", ".join(f"{one.mean():.3f}" for one in scores.values()).replace("nan", "–")
    plots.compare_arms(left, scores, ylabel=f"{score} ({contrast.unit})", title=f"Means: {means}")
    plots.compare_arms(right, {"": pd.Series(gains)}, ylabel=f"lead ({contrast.unit})",
                       title=f"Lead: {gains.mean():+.3f}" if len(gains) else "No seed of both")
    left.plot([-0.12, 0.88], pd.DataFrame(scores).dropna().T if len(scores) > 1 else [[], []],
              color="0.85", zorder=0)  # a line joins the two runs of a seed
    right.axhline(0, color="0.5", lw=1)
    right.axhline(contrast.smallest, color="0.3", ls="--", label="least lead that matters")
    left.set(xlim=(-0.5, 1.5))
    right.set(xlim=(-0.5, 0.5), xlabel="first over second")
    for ax in (left, right):
        ax.get_legend().remove()
    fig.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=2,
               frameon=False, fontsize="small")
    return fig, lead(contrast, gains)


def lead(contrast: Contrast, gains: np.ndarray) -> str:
    """A contrast's paired interval in a sentence; gains: what `differences` gives."""
    if not len(gains):
        return f"Lead of {contrast.name}: no seed of both is recorded with these settings."
    mean, low, high = interval(gains)
    said = f"Lead of {contrast.name}: {mean:+.3f} {contrast.unit}"
    if np.isnan(low):
        return f"{said}; too few seeds for an interval ({len(gains)})."
    words = {"holds": "more than", "undecided": "undecided whether more than",
             "does not hold": "less than"}
    return (f"{said}, 95 % interval {low:+.3f} to {high:+.3f}, {len(gains)} seeds, paired: "
            f"{words[decide(gains, contrast.smallest)]} the least that matters, "
            f"{contrast.smallest:g}.")
