"""From patches to descriptors to three scores: verification, matching, retrieval, as officially.

`python -m hpkit.evaluation DESCRIPTORS --tasks DIR --split NAME` scores descriptor files. What the
three tasks ask is in Balntas et al., "HPatches", CVPR 2017, section 5; where the paper is silent
(ties, the trapezoid, the pools) the published Python benchmark decides.
"""

import argparse
import json
import sys
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from hpkit.descriptors import denoise, describe, read_descriptors
from hpkit.devices import keep_memory, resolve_device
from hpkit.patches import LEVELS, PATCH_TYPES, read_split
from hpkit.ranking import (
    EPSILON,
    apart,
    areas,
    average_precision,
    count_nearer,
    nearest_neighbours,
    pair_distances,
    precision_recall,
    roc_auc,
    squares,
)
from hpkit.tasks import Tasks, read_tasks

POOLS = (100, 500, 1000, 5000, 10000, 15000, 20000)  # sizes K of the retrieval pools
CHUNK = 1_000_000  # numbers held at once: more would not stay in a processor's cache
__all__ = ["POOLS", "Scores", "average_precision", "denoise", "describe", "evaluate", "matching",
           "precision_recall", "retrieval", "retrieval_by_query", "roc_auc", "verification"]


def verification(descriptors: np.ndarray, tasks: Tasks, *, device: str = "auto",
                 chunk: int = CHUNK) -> pd.DataFrame:
    """Which pairs show one point? Rows: level, negatives ("inter", "intra"), ap, auc.

    descriptors: float32 (points, 16, d). auc: all pairs; ap: all negatives and the first fifth of
    the positives. At equal distance the negative goes first, which is pessimistic.
    """
    points = _points(descriptors, tasks, device)
    found = {kind: pair_distances(points, getattr(tasks, kind), chunk)
             for kind in ("positives", "inter", "intra")}
    fifth = int(0.2 * len(tasks.positives))
    rows = []
    for level in LEVELS:
        positives = found["positives"][level]
        some, positives = np.sort(positives[:fifth]), np.sort(positives)
        for kind in ("inter", "intra"):
            ap, auc = areas(some, positives, np.sort(found[kind][level]))
            rows.append({"task": "verification", "level": level, "negatives": kind,
                         "ap": ap, "auc": auc})
    return pd.DataFrame(rows)


def matching(descriptors: np.ndarray, tasks: Tasks, *, device: str = "auto",
             chunk: int = CHUNK) -> pd.DataFrame:
    """Does a reference patch's nearest neighbour in a target image show the same point?

    Rows: level, sequence, image (1..5), ap, success_rate (the share that does). A wrong neighbour
    counts twice, as found and as missed; the first of equally near ones is taken.
    """
    points = _points(descriptors, tasks, device)
    rows = []
    for number, name in enumerate(tasks.names):
        start, stop = np.searchsorted(tasks.sequence, (number, number + 1))
        for level, columns in LEVELS.items():
            for image, column in enumerate(range(columns.start, columns.stop), 1):
                distance, nearest = nearest_neighbours(points[start:stop, 0],
                                                       points[start:stop, column], chunk)
                correct = nearest == np.arange(stop - start)
                rows.append({"task": "matching", "level": level, "sequence": name, "image": image,
                             "ap": average_precision(-distance, correct, total=stop - start),
                             "success_rate": correct.mean()})
    return pd.DataFrame(rows)


def retrieval(descriptors: np.ndarray, tasks: Tasks, *, device: str = "auto",
              chunk: int = CHUNK) -> pd.DataFrame:
    """Do a query's five positives come before the rest of a pool? Rows: level, pool, ap.

    pool is no rank cut-off: the 5 positives and the first pool - 5 distractors that are not of
    the query's own sequence are ranked, all of them. ap: the mean over the queries.
    """
    ap = retrieval_by_query(descriptors, tasks, device=device, chunk=chunk).mean(2)
    return pd.DataFrame([{"task": "retrieval", "level": level, "pool": pool, "ap": ap[i, j]}
                         for i, level in enumerate(LEVELS) for j, pool in enumerate(POOLS)])


def retrieval_by_query(descriptors: np.ndarray, tasks: Tasks, *, device: str = "auto",
                       chunk: int = CHUNK) -> np.ndarray:
    """Average precision of each query: float64 (3 levels, 7 pools, queries)."""
    points = _points(descriptors, tasks, device)
    result = np.empty((len(LEVELS), len(POOLS), len(tasks.queries)))
    query_sequence = tasks.sequence[tasks.queries]
    for sequence in np.unique(query_sequence):  # its queries share one list of distractors
        others = tasks.distractors[tasks.sequence[tasks.distractors] != sequence]
        others = points[torch.tensor(others[:POOLS[-1] - 5]), 0]
        sizes, mine = squares(others), torch.tensor(np.flatnonzero(query_sequence == sequence))
        for part in mine.split(max(1, chunk // 5000)):  # a pool adds at most 5000
            queries = points[torch.tensor(tasks.queries)[part]]
            result[:, :, part.numpy()] = _query_precision(queries, others, sizes, chunk)
    return result


def _query_precision(queries: Tensor, others: Tensor, sizes: Tensor, chunk: int) -> np.ndarray:
    """(3, 7, n) from the queries' points (n, 16, d) and the distractors (m, d) in file order.

    The j-th nearest positive has rank j + (distractors strictly nearer): it wins ties.
    """
    own = np.arange(15 * len(queries))
    positives = apart(queries[:, 0], queries[:, 1:].flatten(0, 1), own // 15, own, chunk)
    positives = np.sort(positives.reshape(-1, len(LEVELS), 5)).reshape(-1, 15)
    nearer = np.zeros((len(POOLS), *positives.shape), int)
    for found, (a, b) in zip(nearer, pairwise([0, *(pool - 5 for pool in POOLS)]), strict=True):
        if a < len(others):
            found[:] = count_nearer(queries[:, 0], others[a:b], sizes[a:b], positives, chunk)
    nearer = np.cumsum(nearer, axis=0)  # (pools, n, levels * 5)
    j = np.arange(1, 6)
    nearer = nearer.reshape(len(POOLS), -1, len(LEVELS), 5).transpose(2, 0, 1, 3)
    before = np.maximum(nearer + j - 1, EPSILON)  # rank just before the hit, EPSILON for none
    step = j / (nearer + j) + np.maximum(j - 1, EPSILON) / before
    return step.mean(-1) / 2


def _points(descriptors: np.ndarray | Tensor, tasks: Tasks, device: str) -> Tensor:
    """Checked descriptors (points, 16, d) on the device; a tensor has been through this."""
    if isinstance(descriptors, Tensor):
        return descriptors
    shape = np.shape(descriptors)
    if len(shape) != 3 or shape[:2] != (len(tasks.sequence), len(PATCH_TYPES)) or not shape[2]:
        raise ValueError(f"descriptors {shape}, expected ({len(tasks.sequence)}, "
                         f"{len(PATCH_TYPES)}, d): points, types, values")
    descriptors = np.require(descriptors, np.float32, ["C", "W"])
    if not np.isfinite([descriptors.min(), descriptors.max()]).all():
        row, column, _ = np.argwhere(~np.isfinite(descriptors))[0]
        number = tasks.sequence[row]
        raise ValueError(f"the descriptor of {tasks.names[number]}/{PATCH_TYPES[column]}, row "
                         f"{row - np.searchsorted(tasks.sequence, number)}, is not finite")
    keep_memory()  # each matrix of distances takes the place of the last one
    chosen = resolve_device(device)
    return torch.from_numpy(descriptors).to("cpu" if chosen.type == "mps" else chosen)  # no float64


@dataclass(frozen=True)
class Scores:
    """The three mean average precisions, 0..1; print it for the official tables."""

    verification: float
    matching: float
    retrieval: float
    table: pd.DataFrame = field(repr=False, compare=False)  # one row per average precision

    def tables(self) -> dict[str, pd.DataFrame]:
        """The official tables, levels as rows and then their mean."""
        rows = dict(list(self.table.groupby("task")))
        tables = {
            "verification, average precision": _pivot(rows["verification"], "negatives", "ap"),
            "verification, area under ROC": _pivot(rows["verification"], "negatives", "auc"),
            "matching": rows["matching"].groupby("level", sort=False).mean(numeric_only=True)[
                ["ap", "success_rate"]],
            "retrieval, average precision by pool":
                _pivot(rows["retrieval"].astype({"pool": int}), "pool", "ap"),
        }
        for table in tables.values():
            table.loc["mean"] = table.mean()
        return tables

    def __str__(self) -> str:
        parts = [f"{title}\n{table.rename_axis(index=None, columns=None).to_string()}"
                 for title, table in self.tables().items()]
        return "\n\n".join([*parts, f"verification mAP {self.verification:.6f}\n"
                             f"matching mAP     {self.matching:.6f}\n"
                             f"retrieval mAP    {self.retrieval:.6f}"])


def _pivot(rows: pd.DataFrame, columns: str, values: str) -> pd.DataFrame:
    return rows.pivot_table(values, "level", columns, sort=False)


def evaluate(descriptors: np.ndarray, tasks: Tasks, *, device: str = "auto",
             chunk: int = CHUNK) -> Scores:
    """All three tasks; each score is the plain mean of its average precisions, as officially.

    descriptors: float32 (points, 16, d), in the rows of `tasks`. Raises ValueError for another
    shape, or naming the sequence, type and row of a descriptor that is not finite.
    """
    points = _points(descriptors, tasks, device)  # once for all
    tables = [task(points, tasks, device=device, chunk=chunk)
              for task in (verification, matching, retrieval)]
    return Scores(*(float(table.ap.mean()) for table in tables),
                  pd.concat(tables, ignore_index=True))


def main(arguments: list[str] | None = None) -> int:
    """Score descriptor files from the command line; 2 where the input is at fault."""
    parser = argparse.ArgumentParser(prog="python -m hpkit.evaluation", description=(
        "HPatches scores of descriptors: verification, matching, retrieval."))
    parser.add_argument("descriptors", type=Path, help="an .npz with arrays <sequence>/"
                        "<type>, or a folder of <sequence>/<type>.csv (comma or semicolon)")
    parser.add_argument("--tasks", type=Path, required=True, help="folder of the official task "
                        "files, e.g. verif_pos_split-a.csv")
    parser.add_argument("--split", required=True, help="whose test sequences are scored, e.g. a")
    parser.add_argument("--splits", type=Path, help="splits.json, or its folder (default: --tasks)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    parser.add_argument("--json", action="store_true", help="print one JSON object, not tables")
    options = parser.parse_args(arguments)
    try:
        scores = _score_files(options)
    except (ValueError, OSError) as error:
        print(f"hpkit.evaluation: {error}", file=sys.stderr)
        return 2
    print(_as_json(scores, options.split) if options.json else scores)
    return 0


def _score_files(options: argparse.Namespace) -> Scores:
    splits = options.splits or options.tasks
    folder = splits.parent if splits.name == "splits.json" else splits
    names = read_split(folder, options.split)["test"]
    if not names:
        raise ValueError(f"{folder / 'splits.json'}: split {options.split!r} has no test sequences")
    descriptors, lengths = read_descriptors(options.descriptors, names)
    tasks = read_tasks(options.tasks, options.split, names, lengths)
    return evaluate(descriptors, tasks, device=options.device)


def _as_json(scores: Scores, split: str) -> str:
    tables = {title: table.to_dict("index") for title, table in scores.tables().items()}
    return json.dumps({"split": split, "verification": scores.verification,
                       "matching": scores.matching, "retrieval": scores.retrieval,
                       "tables": tables}, indent=1)


if __name__ == "__main__":
    sys.exit(main())
