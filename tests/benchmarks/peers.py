"""Descriptors that others made, on the patches that the shipped network is scored on.

`python tests/benchmarks/peers.py` scores them on the embedded test patches and appends to
results/peers.csv; `--points 50` takes so many points of each sequence. Sources are "clean",
"noisy", and the noisy ones after non-local means. A row has the scores of all test photos, or
those of one: its pairs, its reference patches, its queries, with everything else as it was. So
photos can be compared, and five of them give an interval.

Rows are appended as they come, so an interrupted run goes on where it stopped. Rows of other
weights, data, versions or points are made again. OpenCV contrib's descriptors come from another
process, see contrib_arm.py, which says how each gets its patch. MKD is kornia's (Mukundan, Tolias and Chum,
"Explicit spatial encoding for deep local descriptors", CVPR 2019), without the whitening, whose
weights would have to be downloaded.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import cv2
import measure
import numpy as np
import pandas as pd
import torch

from hpkit.data.sets import data_set, load
from hpkit.data.tasks import Tasks, tasks_for
from hpkit.evaluation import baselines
from hpkit.evaluation.by_photo import scores_by_photo
from hpkit.evaluation.describe import denoise, describe
from hpkit.evaluation.peers import OnUnitScale
from hpkit.evaluation.scores import evaluate
from hpkit.networks.pretrained import card, pretrained
from hpkit.record import write_table

RESULTS = Path(__file__).parents[2] / "notebooks" / "results"
SOURCES = ("clean", "noisy", "non-local means")
TASKS = ("verification", "matching", "retrieval")
CONTRIB = ("BEBLID", "TEBLID", "LATCH", "BoostDesc", "DAISY", "VGG")
Descriptor = Callable[[np.ndarray], np.ndarray]  # uint8 (n, 32, 32) to float32 (n, d)


def descriptors(worker: measure.Worker) -> dict[str, Descriptor]:
    """All of them by name, each a function of uint8 patches (n, 32, 32)."""
    from kornia.feature import MKDDescriptor

    mkd = OnUnitScale(MKDDescriptor(32, "concat", whitening=None).eval())
    ours = partial(describe, pretrained(), device="cpu", precision="float32")
    found = {"ours": ours, "RootSIFT": baselines.rootsift, "SIFT": baselines.sift,
             "MKD": partial(describe, mkd, device="cpu", precision="float32")}
    return found | {name: partial(by_worker, worker, name) for name in CONTRIB}


def by_worker(worker: measure.Worker, name: str, patches: np.ndarray) -> np.ndarray:
    """OpenCV contrib's descriptors of patches, through files."""
    with tempfile.TemporaryDirectory() as folder:
        here, there = (str(Path(folder) / f"{what}.npy") for what in ("patches", "described"))
        np.save(here, patches)
        worker(descriptor=name, patches=here, out=there)
        return np.load(there)


def scores(points: np.ndarray, tasks: Tasks) -> Iterator[dict]:
    """The three mAPs of all photos together, as `evaluate` has them, then of each photo alone."""
    found = evaluate(points, tasks)
    yield {"photo": "all"} | {task: getattr(found, task) for task in TASKS}
    yield from scores_by_photo(points, tasks).reset_index().to_dict("records")


def versions(data: str) -> dict[str, object]:
    """What made a row, for all rows alike."""
    return {"data": data, "weights": f"sha256 {card()['sha256'][:12]}", "torch": torch.__version__,
            "numpy": np.__version__, "opencv": cv2.__version__}


def recorded(path: Path, made: dict[str, object]) -> pd.DataFrame:
    """The rows that are there, of those that were made with this."""
    none = pd.DataFrame({"descriptor": [], "source": []})
    rows = pd.read_csv(path) if path.exists() else none
    if not set(made) <= set(rows):
        return none
    return rows[(rows[list(made)].astype(str) == pd.Series(made).astype(str)).all(axis=1)]


def record_patches(path: Path, points: int | None) -> None:
    """Every descriptor on every source; what is there is not made again.

    points: of each sequence; None: all.
    """
    data = load("photos", points=points)
    tasks = tasks_for(data.test)
    made = {"points": len(data.test)} | versions(data_set("photos").version())
    worker = measure.contrib_worker()
    ways = descriptors(worker)
    for source in SOURCES:
        patches = data.test["clean" if source == "clean" else "noisy"]
        if source not in ("clean", "noisy"):
            patches = denoise(baselines.non_local_means, patches)
        for name, way in ways.items():
            before, started = recorded(path, made), time.process_time()
            if ((before.descriptor == name) & (before.source == source)).any():
                continue
            found = way(patches.reshape(-1, 32, 32)).reshape(*patches.shape[:2], -1)
            told = {"descriptor": name, "numbers": found.shape[-1], "source": source,
                    "points": made["points"]}
            rows = [told | row for row in scores(found, tasks)]
            new = pd.DataFrame(rows).assign(**made)
            write_table(path, pd.concat([before, new])[new.columns], float_format="%.5g")
            print(rows[0], f"{time.process_time() - started:.0f} s", flush=True)
    worker.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, help="of each sequence (default: all)")
    parser.add_argument("--out", type=Path, default=RESULTS / "peers.csv")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    record_patches(chosen.out, chosen.points)


if __name__ == "__main__":
    main()
