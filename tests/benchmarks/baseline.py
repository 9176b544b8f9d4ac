"""Score the coursework's baselines on the embedded test photos; append to results/baseline.csv.

`python tests/benchmarks/baseline.py --seeds 0 1 2` trains, for each seed that is not there yet,
the U-Net on 3 training sequences and L2-Net on all, denoised; about 6 minutes a seed on 2 cores.
The classical descriptors have no seed and are scored once. Rows are appended as they come, so an
interrupted run goes on where it stopped.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from hpkit.data.sets import PatchData, load
from hpkit.data.tasks import tasks_for
from hpkit.devices import resolve_device, resolve_precision
from hpkit.evaluation import baselines
from hpkit.evaluation.describe import denoise, describe
from hpkit.evaluation.scores import evaluate
from hpkit.networks.l2net import L2Net
from hpkit.networks.unet import UNet
from hpkit.training.fit import fit
from hpkit.training.samplers import Pairs, Triplets

RESULTS = Path(__file__).parents[2] / "notebooks" / "results" / "baseline.csv"
SETTINGS = {"denoiser_epochs": 10, "epochs": 10, "samples": 5000, "batch_size": 50}
CLASSICAL = {"raw pixels": baselines.raw_pixels, "sift": baselines.sift,
             "rootsift": baselines.rootsift}


def recorded() -> pd.DataFrame:
    """The rows that are there."""
    empty = pd.DataFrame({"descriptor": [], "source": [], "seed": []})
    return pd.read_csv(RESULTS) if RESULTS.exists() else empty


def append(row: dict) -> None:
    """Add one row to the file, with the versions and the machine's precision."""
    device = resolve_device()
    row |= {"data": "photos-v1", "torch": torch.__version__, "numpy": np.__version__,
            "precision": resolve_precision("auto", device), "device": device.type,
            "threads": torch.get_num_threads()}
    before = recorded()
    RESULTS.parent.mkdir(exist_ok=True)
    pd.concat([before, pd.DataFrame([row])]).to_csv(RESULTS, index=False, float_format="%.5g")
    print(row, flush=True)


def score(descriptor, patches, tasks) -> dict:
    scores = evaluate(describe(descriptor, patches), tasks)
    return {"verification": scores.verification, "matching": scores.matching,
            "retrieval": scores.retrieval}


def classical(data: PatchData, tasks) -> None:
    """Every classical descriptor on clean, noisy and non-local-means patches."""
    smooth = denoise(baselines.non_local_means, data.test["noisy"])
    for source, patches in (("clean", data.test["clean"]), ("noisy", data.test["noisy"]),
                            ("non-local means", smooth)):
        there = recorded().query("source == @source").descriptor
        for name, descriptor in CLASSICAL.items():
            if name in set(there):
                continue
            append({"descriptor": name, "source": source, **score(descriptor, patches, tasks)})


def baseline(data: PatchData, tasks, seed: int) -> None:
    """One seed of the coursework's baseline: it draws the weights, the sequences and the order."""
    started, chance = time.perf_counter(), np.random.RandomState(seed)
    few = data.train.select(chance.choice(data.train.names, 3, replace=False))
    one = data.validation.select(chance.choice(data.validation.names, 1))
    unet, l2net = UNet(seed=seed), L2Net(seed=seed)
    *_, cleaned = fit(unet, Pairs(few), Pairs(one), lr=1e-5, momentum=0.9, seed=seed,
                      epochs=SETTINGS["denoiser_epochs"], batch_size=SETTINGS["batch_size"])
    train, validation, test = (s.with_source("denoised", denoise(unet, s["noisy"]))
                               for s in (data.train, data.validation, data.test))
    *_, last = fit(l2net, Triplets(train, samples=SETTINGS["samples"]),
                   Triplets(validation, samples=2000), lr=0.1, seed=seed,
                   epochs=SETTINGS["epochs"], batch_size=SETTINGS["batch_size"])
    append({"descriptor": "l2net", "source": "denoised", **score(l2net, test["denoised"], tasks),
            "seed": seed, "mae": cleaned.loss, "val_mae": cleaned.val_loss,
            "loss": last.loss, "val_loss": last.val_loss, **SETTINGS,
            "denoiser_sequences": " ".join(few.names), "validation_sequence": one.names[0],
            "seconds": round(time.perf_counter() - started)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    seeds = parser.parse_args().seeds
    data = load("photos")
    tasks = tasks_for(data.test)
    classical(data, tasks)
    for seed in set(seeds) - set(recorded().seed):
        baseline(data, tasks, seed)


if __name__ == "__main__":
    main()
