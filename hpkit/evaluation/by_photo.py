"""The three tasks, photo by photo, so that an interval over the photos can be given."""

from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from hpkit.data.patches import photo_of
from hpkit.data.tasks import Tasks
from hpkit.evaluation.distances import tied
from hpkit.evaluation.scores import matching, retrieval_by_query, verification


def scores_by_photo(descriptors: np.ndarray, tasks: Tasks) -> pd.DataFrame:
    """The mAPs of each photo, a row per photo: verification, matching, retrieval.

    A photo has its own pairs (those whose first point is in it), its own reference
    patches, and its own queries. Everything else is as `evaluate` has it: negatives and
    distractors are still from all photos. descriptors: float32 (points, 16, d).
    """
    ties_win = not tied(torch.from_numpy(descriptors), tasks.inter)
    retrieved = retrieval_by_query(descriptors, tasks, ties_win=ties_win)
    matched = matching(descriptors, tasks)
    photos = np.array([photo_of(name) for name in tasks.names])
    rows = {}
    for photo in dict.fromkeys(photos):
        mine = photos[tasks.sequence] == photo
        verified = verification(descriptors, pairs_of(tasks, mine))
        rows[photo] = {
            "verification": verified.ap.mean(),
            "matching": matched.ap[matched.sequence.map(photo_of) == photo].mean(),
            "retrieval": retrieved[:, :, mine[tasks.queries]].mean(),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("photo")


def pairs_of(tasks: Tasks, mine: np.ndarray) -> Tasks:
    """The pairs whose first point is one of mine, as many of each kind.

    mine: bool (points,).
    """
    kinds = {kind: getattr(tasks, kind) for kind in ("positives", "intra", "inter")}
    kinds = {kind: pairs[mine[pairs[:, 0]]] for kind, pairs in kinds.items()}
    least = min(map(len, kinds.values()))
    return replace(tasks, **{kind: pairs[:least] for kind, pairs in kinds.items()})
