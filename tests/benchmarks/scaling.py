"""Cost grows in proportion to patches and epochs, memory not at all with epochs: from small to 116.

python tests/benchmarks/scaling.py [--points 862]

Each measurement is a process of its own, the quicker of two: seconds without its start, and peak
resident memory. The largest set has 116 sequences and 1.6 million patches of random grey levels,
written as arrays to a temporary folder (2 GB of disk). Four minutes on two cores.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import measure
import numpy as np
import pandas as pd

SEQUENCES = (1, 4, 16, 58, 116)
EPOCHS = (1, 2, 4, 8)
SAMPLES = (500, 1000, 2000, 4000)


def write(folder: Path, points: int) -> None:
    """116 sequences as arrays; clean and noisy are one file, since nothing here compares them."""
    random = np.random.default_rng(0)
    (folder / "arrays").mkdir()
    for name in names(116):
        size = (points, 16, 32, 32)
        np.save(folder / "arrays" / f"{name}_clean.npy", random.integers(0, 256, size, np.uint8))
        (folder / "arrays" / f"{name}_noisy.npy").symlink_to(f"{name}_clean.npy")


def names(count: int) -> list[str]:
    return [f"i_{n:03d}" for n in range(count)]


def train(folder: Path, sequences: int, samples: int, epochs: int) -> list[float]:
    """L2-Net on so many triplets and epochs; seconds of each epoch."""
    from hpkit.data.sets import read_sequences
    from hpkit.networks.l2net import L2Net
    from hpkit.training.fit import fit
    from hpkit.training.samplers import Triplets

    patches = read_sequences(folder, names(sequences))
    run = fit(L2Net(seed=0), Triplets(patches, "noisy", samples), epochs=epochs, device="cpu",
              lr=1e-6)
    return [epoch.seconds for epoch in run]


def describe(folder: Path, sequences: int, samples: int, epochs: int) -> list[float]:
    """So many patches described, and their files read."""
    from hpkit.data.sets import read_sequences
    from hpkit.evaluation.describe import describe
    from hpkit.networks.l2net import L2Net

    patches = read_sequences(folder, names(sequences))["noisy"].reshape(-1, 32, 32)[:samples]
    started = time.perf_counter()
    describe(L2Net(seed=0), patches, device="cpu")
    return [time.perf_counter() - started]


def table(work: str, folder: Path, changed: str, values: tuple[int, ...], threads: int,
          **usual: int) -> pd.DataFrame:
    """Seconds and GB for each value of what is changed, and the seconds per unit of it."""
    rows = []
    for value in values:
        given = usual | {changed: value}
        command = ["--step", work, "--folder", folder, "--threads", threads,
                   *(f"--{k}={v}" for k, v in given.items())]
        found = min((measure.in_own_process(__file__, *command) for _ in range(2)),
                    key=lambda one: one["seconds"])
        rows.append({changed: value, "seconds": found["seconds"],
                     f"seconds per {changed}": found["seconds"] / value, "peak GB": found["GB"]})
    return pd.DataFrame(rows).set_index(changed)


def step(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--step", choices=("train", "describe"))
    parser.add_argument("--folder", type=Path)
    for name in ("threads", "sequences", "samples", "epochs"):
        parser.add_argument(f"--{name}", type=int)
    chosen = parser.parse_args(arguments)
    import torch

    torch.set_num_threads(chosen.threads)
    work = {"train": train, "describe": describe}[chosen.step]
    spent = work(chosen.folder, chosen.sequences, chosen.samples, chosen.epochs)
    print(json.dumps({"seconds": sum(spent), "GB": measure.memory()}))


def main() -> None:
    if "--step" in sys.argv:
        return step(sys.argv[1:])
    chosen = measure.options(__doc__, points={"type": int, "default": 862,
                                              "help": "per sequence"})
    with tempfile.TemporaryDirectory(prefix="hpkit-scaling-") as name:
        folder, usual = Path(name), {"sequences": 4, "samples": 1000, "epochs": 1}
        write(folder, chosen.points)
        tables = {
            "L2-Net by epochs (1000 triplets each)": table(
                "train", folder, "epochs", EPOCHS, chosen.threads, **usual),
            "L2-Net by triplets (one epoch)": table(
                "train", folder, "samples", SAMPLES, chosen.threads, **usual),
            "patches described": table("describe", folder, "samples", tuple(
                4 * n for n in SAMPLES), chosen.threads, **usual),
            "L2-Net by sequences of the set (1000 triplets)": table(
                "train", folder, "sequences", SEQUENCES, chosen.threads, **usual)}
    measure.report(chosen.out, "scaling", tables)
    return None


if __name__ == "__main__":
    main()
