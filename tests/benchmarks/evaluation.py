"""Scoring at full size: seconds and memory, beside what the official script does on a part of it.

python tests/benchmarks/evaluation.py [--part 20] [--rounds 3]

Full size: 59,494 points in 40 sequences, 3 million pairs, 10,000 queries, 20,000 distractors, drawn
by the official procedure. The official arm follows its published description: SciPy's distances,
one pair after the other in verification, a whole matrix in matching, one query after the other in
retrieval. It gets one part in 20 of the pairs, the sequences and the queries, and its seconds are
multiplied (its work is in proportion to them); hpkit gets that part too, and the figures of both
are compared. `--part 1` runs all of it, for about five minutes. Three minutes on two cores.
"""

import json
import sys
import time
from dataclasses import replace

import measure
import numpy as np
import pandas as pd
from scipy.integrate import trapezoid
from scipy.spatial.distance import cdist, euclidean

from hpkit.data.patches import LEVELS
from hpkit.data.tasks import OFFICIAL, Tasks, generate_tasks
from hpkit.evaluation import scores
from hpkit.evaluation.scores import POOLS

LENGTHS = np.full(40, 1487) + (np.arange(40) < 14)
NAMES = [f"s_{n:02d}" for n in range(40)]
TASKS = ("verification", "matching", "retrieval")


def descriptors() -> np.ndarray:
    """A random descriptor for each point, and as much noise in each of its 16 patches."""
    random = np.random.default_rng(0)
    points = random.standard_normal(size=(LENGTHS.sum(), 128), dtype=np.float32)
    made = np.empty((len(points), 16, 128), np.float32)
    for column in range(16):
        made[:, column] = points + random.standard_normal(points.shape, dtype=np.float32)
    return made


def part_of(tasks: Tasks, part: int) -> tuple[Tasks, int]:
    """One in `part` of the pairs and queries; and how many sequences matching gets."""
    pairs = {kind: getattr(tasks, kind)[::part] for kind in ("positives", "inter", "intra")}
    return replace(tasks, **pairs, queries=tasks.queries[::part]), -(-len(tasks.names) // part)


# --- as the official script does it --------------------------------------------------------------

def precision_area(scores: np.ndarray, labels: np.ndarray, total: int | None = None) -> float:
    """Its precision-recall routine: a stable sort, trapezoids, precision 1 at recall 0."""
    order = np.argsort(-scores, kind="stable")
    hits = np.concatenate([[0], np.cumsum(labels[order])])
    misses = np.concatenate([[0], np.cumsum(1 - labels[order])])
    recall = hits / max(labels.sum() if total is None else total, 1e-10)
    precision = np.maximum(hits, 1e-10) / np.maximum(hits + misses, 1e-10)
    return float(trapezoid(precision, recall))


def official_verification(points: np.ndarray, tasks: Tasks, sequences: int) -> float:
    aps, count = [], len(tasks.positives)
    labels = np.repeat([0, 1], count)[:count + int(0.2 * count)]
    for columns in LEVELS.values():
        column = [0, *range(columns.start, columns.stop)]
        far = {kind: np.array([euclidean(points[a, column[i]], points[b, column[j]])
                               for a, i, b, j in getattr(tasks, kind).tolist()])
               for kind in ("positives", "inter", "intra")}
        for kind in ("inter", "intra"):
            scores = -np.concatenate([far[kind], far["positives"]])
            aps.append(precision_area(scores[:len(labels)], labels))
    return float(np.mean(aps))


def official_matching(points: np.ndarray, tasks: Tasks, sequences: int) -> float:
    aps = []
    for number in range(sequences):
        own = points[tasks.sequence == number]
        for columns in LEVELS.values():
            for column in range(columns.start, columns.stop):
                far = cdist(own[:, 0], own[:, column])
                nearest = far.argmin(1)
                labels = (nearest == np.arange(len(own))).astype(int)
                scores = -far[np.arange(len(own)), nearest]
                aps.append(precision_area(scores, labels, len(own)))
    return float(np.mean(aps))


def official_retrieval(points: np.ndarray, tasks: Tasks, sequences: int) -> float:
    aps, sequence = [], tasks.sequence[tasks.distractors]
    distractors = points[tasks.distractors, 0]
    for query in tasks.queries:
        mine, others = points[query], distractors[sequence != tasks.sequence[query]]
        far = cdist(mine[:1], others)[0]
        for columns in LEVELS.values():
            pool = np.concatenate([cdist(mine[:1], mine[columns])[0], far])
            labels = np.repeat([1, 0], [5, len(far)])
            aps.append([precision_area(-pool[:size], labels[:size], 5) for size in POOLS])
    return float(np.mean(aps))


# --- the arms ------------------------------------------------------------------------------------

def ours(task: str, points: np.ndarray, tasks: Tasks, sequences: int) -> float:
    table = getattr(scores, task)(points, tasks, device="cpu")
    if task == "matching":  # on all sequences; compared on the first
        table = table[table.sequence.isin(tasks.names[:sequences])]
    return float(table.ap.mean())


def whole(points: np.ndarray, tasks: Tasks) -> dict[str, float]:
    """Seconds of each task at full size."""
    found = {}
    for task in TASKS:
        started = time.perf_counter()
        getattr(scores, task)(points, tasks, device="cpu")
        found[task] = time.perf_counter() - started
    started = time.perf_counter()
    scores.evaluate(points, tasks, device="cpu")
    return found | {"all in one call": time.perf_counter() - started}


def memory(points: np.ndarray, tasks: Tasks) -> None:
    """Peak memory above descriptors and tasks, in GB, as JSON."""
    before = measure.memory("VmRSS")
    scores.evaluate(points, tasks, device="cpu")
    print(json.dumps({"descriptors": points.nbytes / 1e9, "above": measure.memory() - before}))


def main() -> None:
    chosen = measure.options(__doc__, part={"type": int, "default": 20},
                             rounds={"type": int, "default": 3},
                             memory={"action": "store_true", "help": "print peak memory alone"})
    points = descriptors()
    tasks = generate_tasks(NAMES, LENGTHS, np.full(LENGTHS.sum(), 50.0), **OFFICIAL)
    if chosen.memory:
        return memory(points, tasks)
    some, sequences = part_of(tasks, chosen.part)
    rounds, official = [], []
    for _ in range(chosen.rounds):
        rounds.append(whole(points, tasks))
    for task in TASKS:
        started = time.perf_counter()
        score = globals()[f"official_{task}"](points, some, sequences)
        spent = time.perf_counter() - started
        share = sequences / len(NAMES) if task == "matching" else 1 / chosen.part
        official.append({"task": task, "seconds": spent / share, "score": score,
                         "hpkit's score": ours(task, points, some, sequences)})
    table = pd.DataFrame(official).set_index("task")
    fast = pd.DataFrame(rounds).agg(["median", "min", "max"]).T.add_prefix("hpkit ")
    table = table.join(fast, how="outer").reindex([*TASKS, "all in one call"])
    table.loc["all in one call", "seconds"] = table.seconds.sum()
    table["times faster"] = table.seconds / table["hpkit median"]
    table["difference"] = table.score - table["hpkit's score"]
    used = measure.in_own_process(__file__, "--memory", "--threads", chosen.threads)
    measure.report(chosen.out, "evaluation", {"seconds at full size": table,
                                              "memory, GB": pd.DataFrame([used])})
    return None


if __name__ == "__main__":
    sys.exit(main())
