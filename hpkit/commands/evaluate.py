"""`hpkit evaluate`: HPatches scores of descriptors: verification, matching, retrieval.

Descriptors are an .npz with arrays <sequence>/<type>, or a folder of
<sequence>/<type>.csv without header, comma or semicolon.

example:
  hpkit evaluate descriptors.npz --tasks tasks --split a --json
"""

import argparse
import json
from pathlib import Path

from hpkit.commands import parser
from hpkit.data.splits import read_split
from hpkit.data.tasks import read_tasks
from hpkit.evaluation.descriptor_files import read_descriptors
from hpkit.evaluation.scores import Scores, evaluate


def main(argv: list[str]) -> int:
    """0 where the scores were printed."""
    made = parser(__doc__)
    add = made.add_argument
    add("descriptors", type=Path, help="an .npz file or a folder")
    tasks = "folder of the official task files, e.g. verif_pos_split-a.csv"
    add("--tasks", type=Path, required=True, metavar="DIR", help=tasks)
    add("--split", required=True, help="whose test sequences are scored, e.g. a")
    add("--splits", type=Path, help="splits.json, or its folder (default: --tasks)")
    add("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    add("--json", action="store_true", help="print one JSON object, not tables")
    given = made.parse_args(argv)
    scores = _score_files(given)
    print(_as_json(scores, given.split) if given.json else scores)
    return 0


def _score_files(given: argparse.Namespace) -> Scores:
    splits = given.splits or given.tasks
    folder = splits.parent if splits.name == "splits.json" else splits
    names = read_split(folder, given.split)["test"]
    if not names:
        raise ValueError(
            f"{folder / 'splits.json'}: split {given.split!r} has no test sequences"
        )
    descriptors, lengths = read_descriptors(given.descriptors, names)
    tasks = read_tasks(given.tasks, given.split, names, lengths)
    return evaluate(descriptors, tasks, device=given.device)


def _as_json(scores: Scores, split: str) -> str:
    tables = {title: table.to_dict("index") for title, table in scores.tables().items()}
    told = {
        "split": split,
        "verification": scores.verification,
        "matching": scores.matching,
        "retrieval": scores.retrieval,
        "tables": tables,
    }
    return json.dumps(told, indent=1)
