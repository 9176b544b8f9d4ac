"""Chapter 4's panels: the nearest patches of a query, and a threshold on distances.

The figures are made without pyplot, so they are safe in a callback. The number that
matters is told in a sentence too.
"""

import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hpkit.data.patches import LEVELS
from hpkit.data.tasks import Tasks
from hpkit.evaluation.distances import pair_distances
from hpkit.evaluation.precision import confusion, precision_recall
from hpkit.evaluation.scores import CHUNK
from hpkit.lessons import plots


def neighbours(
    described: np.ndarray, tasks: Tasks, query: int, level: str
) -> pd.DataFrame:
    """The largest retrieval pool of a query, nearest first.

    Columns: point, column, distance, hit. described: (points, 16, d). As officially,
    the query is a reference patch, its five twins at this level are the hits and go
    first at equal distance, and the rest is of other sequences.
    """
    point, columns = tasks.queries[query], LEVELS[level]
    rest = tasks.distractors[tasks.sequence[tasks.distractors] != tasks.sequence[point]]
    pool = pd.DataFrame(
        {
            "point": [point] * 5 + list(rest),
            "column": [*range(columns.start, columns.stop)] + [0] * len(rest),
        }
    )
    apart = described[pool.point, pool.column].astype(float) - described[point, 0]
    pool = pool.assign(distance=np.linalg.norm(apart, axis=1), hit=pool.point == point)
    return pool.sort_values("distance", kind="stable", ignore_index=True)


def show_neighbours(
    query: np.ndarray, patches: np.ndarray, found: pd.DataFrame
) -> tuple[Figure, str]:
    """The query and its first 11 neighbours.

    Hits have a solid frame and ✓, misses a dashed one and ✗. query: (32, 32); patches:
    (points, 16, 32, 32); found: what `neighbours` gives.
    """
    fig, first = Figure(figsize=(6.4, 2.9), layout="constrained"), found.head(11)
    shown = [(query, "query", "anchor", "-")]
    looks = {True: ("✓", "positive", "-"), False: ("✗", "negative", ":")}
    for row in first.itertuples():
        sign, *look = looks[row.hit]
        shown.append(
            (patches[row.point, row.column], f"{sign} {row.distance:#.3g}", *look)
        )
    for ax, (patch, title, colour, line) in zip(
        fig.subplots(2, 6).flat, shown, strict=False
    ):
        ax.imshow(patch, **plots.GREY)
        ax.set(xticks=[], yticks=[])
        ax.set_title(title, fontsize="small", loc="center")
        for spine in ax.spines.values():
            spine.set(visible=True, color=plots.COLOURS[colour], lw=4, ls=line)
    ranks = ", ".join(str(rank + 1) for rank in np.flatnonzero(found.hit))
    return fig, (
        f"{first.hit.sum()} of {found.hit.sum()} twins are among the first "
        f"{len(first)} of {len(found)}; their ranks: {ranks}."
    )


def verification_pairs(
    described: np.ndarray, tasks: Tasks, level: str, negatives: str = "inter"
) -> tuple[np.ndarray, np.ndarray]:
    """Distances and labels of the pairs of a verification AP.

    They are all negatives and a fifth of the hits. negatives: "inter" (of any two
    sequences) or "intra" (of one).
    """
    some = tasks.positives[: int(0.2 * len(tasks.positives))]
    others = getattr(tasks, negatives)
    pairs = np.concatenate([others, some])
    distance = pair_distances(torch.as_tensor(described), pairs, CHUNK)[level]
    return distance, np.repeat([0, 1], [len(others), len(some)])


def decisions(
    distance: np.ndarray, labels: np.ndarray, threshold: float
) -> tuple[Figure, str]:
    """Pairs up to `threshold` times the negatives' median distance are called the same.

    The figure shows the distances with the limit, the four counts, and the place on the
    precision-recall curve.
    """
    limit = threshold * np.median(distance[labels == 0])
    found = confusion(distance, labels, limit)
    fig = Figure(figsize=(6.4, 5), layout="constrained")
    spread, counts, curve = fig.subplot_mosaic([["a", "a"], ["b", "c"]]).values()
    kinds = {"positive": distance[labels == 1], "negative": distance[labels == 0]}
    bins, title = np.linspace(0, distance.max(), 60), f"Accepted: up to {limit:.3g}"
    plots.histogram(spread, kinds, bins=bins, xlabel="distance", title=title)
    spread.axvline(limit, color="0.2")
    _four_counts(counts, found)
    every = {"all thresholds": precision_recall(-distance, labels)}
    plots.precision_recall(curve, every)
    here, style = (found["recall"], found["precision"]), {"ms": 11, "color": "0.2"}
    curve.plot(*here, "o", label="this one", **style)
    curve.legend(frameon=False, fontsize="small")
    return fig, (
        f"Precision {found['precision']:.3f} = TP / (TP + FP), recall "
        f"{found['recall']:.3f} = TP / (TP + FN)."
    )


def _four_counts(ax: Axes, found: dict[str, float]) -> None:
    """Right and wrong, accepted and rejected, as a table of four."""
    cells = [["TP", "FN"], ["FP", "TN"]]
    sns.heatmap(
        [[found[name] for name in row] for row in cells],
        ax=ax,
        cmap="Blues",
        fmt="",
        annot=[[f"{name}\n{found[name]}" for name in row] for row in cells],
        cbar=False,
        xticklabels=["accepted", "rejected"],
        yticklabels=["same", "another"],
    )
    ax.set(title="Pairs", ylabel="point")
