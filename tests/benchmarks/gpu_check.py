"""Does the accelerator here compute what the processor does, the same twice, and how fast?

python tests/benchmarks/gpu_check.py [--out build/gpu-check] [--device auto] [--samples 20000]

The same weights denoise and describe the test photos on both, in float32: scores may differ by
0.001 at most. Short trainings are run twice, and once more stopped in their second epoch and gone
on with: the weights must be the same bytes. Then the best recipe, training throughput and peak
memory there, in float32 and, where the device multiplies it and does not only emulate it, in
bfloat16. Ends with 1 where scores or bytes differ. --data is that of the short trainings. The
table on the page on speed is of `--out tests/benchmarks/measured`; `tests/benchmarks/tables.py`
writes it.
"""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import count
from pathlib import Path

import measure
import numpy as np
import pandas as pd
import torch

from hpkit.data.sets import load
from hpkit.data.tasks import tasks_for
from hpkit.devices import resolve_device, resolve_precision
from hpkit.evaluation.describe import denoise, describe
from hpkit.evaluation.scores import evaluate
from hpkit.experiments.configs import Config, DenoiserConfig, DescriptorConfig
from hpkit.experiments.modifications import BEST, MODEL
from hpkit.experiments.runs import follow, run
from hpkit.experiments.store import run_folder
from hpkit.files import sha256
from hpkit.networks.l2net import L2Net
from hpkit.networks.unet import UNet
from hpkit.training.fit import fit
from hpkit.training.samplers import Pairs, Triplets

TOLERANCE = 1e-3  # of a mean average precision (0..1), and of an MAE in grey levels, relative
SHORT = {"denoiser": DenoiserConfig(), "denoiser, depth 8": DenoiserConfig(depth=8),
         "baseline": DescriptorConfig(points=5, denoiser_epochs=1, denoiser_samples=500),
         "final model": replace(MODEL, points=5, denoiser_epochs=1, denoiser_samples=500),
         "best recipe": replace(BEST, data="photos")}
# What one seed of chapter 10 trains on at the scale of notebooks/paper.yaml, baseline and final.
PAPER = {"U-Net, depth 4": 1.2e6, "U-Net, depth 8": 1.2e6, "L2-Net triplets": 4e6}


def networks(train, samples: int) -> tuple[UNet, L2Net]:
    """Both networks, trained for a moment on the CPU, so that their outputs mean something."""
    unet, l2net = UNet(seed=0), L2Net(seed=0)
    options = {"epochs": 1, "device": "cpu", "precision": "float32"}
    list(fit(unet, Pairs(train, samples=samples), lr=1e-5, momentum=0.9, **options))
    list(fit(l2net, Triplets(train, "noisy", samples), lr=0.1, **options))
    return unet, l2net


def scores(unet: UNet, l2net: L2Net, test, device: str) -> dict[str, float]:
    """What the test photos get with these weights, all computed on the device."""
    where = {"device": device, "precision": "float32"}
    denoised = denoise(unet, test["noisy"], **where)
    found = evaluate(describe(l2net, denoised, **where), tasks_for(test, 5000), device=device)
    return {"MAE": float(np.abs(denoised.astype(np.float32) - test["clean"]).mean()),
            "verification": found.verification, "matching": found.matching,
            "retrieval": found.retrieval}


def compare(device: str, samples: int, points: int) -> pd.DataFrame:
    """A row per score: there, here on the processor, and whether they agree."""
    data = load("photos", points=points)
    unet, l2net = networks(data.train, samples)
    table = pd.DataFrame({name: scores(unet, l2net, data.test, where)
                          for name, where in (("there", device), ("processor", "cpu"))})
    off = (table.there - table.processor).abs()
    off["MAE"] /= table.processor["MAE"]
    return table.assign(agree=off <= TOLERANCE)


def stopped_once(config: Config, store: str) -> int:
    """Train until a batch of its second epoch is done; how many epochs are kept of it."""
    kept, batches = 0, count()

    def stopped() -> bool:
        return kept > 0 and next(batches) > 0

    for step in follow(config, store=store, stopped=stopped):
        kept = len(step.history) if step.config == config.resolved() else 0  # else its denoiser's
    return kept


def weights(config: Config, store: str) -> str:
    """A hash of them at the end of the training, gone on with or from the start."""
    list(follow(config, store=store))
    return sha256(run_folder(config.resolved(), store) / "weights.safetensors")


def repeated(device: str, samples: int, data: str) -> Iterator[dict]:
    """A row per short training: whether the weights of the second and the resumed are the same.

    A recipe with batches from a few photos keeps its own data: it needs many points in each.
    """
    for name, config in SHORT.items():
        batch = min(config.batch_size, samples // 2)  # two steps an epoch or more
        config = replace(config, epochs=3, samples=samples, batch_size=batch,
                         validation_samples=64, device=device)
        if not getattr(config, "batch_photos", None):
            config = replace(config, data=data)
        if isinstance(config, DescriptorConfig):
            fewer = min(samples, config.denoiser_samples)
            config = replace(config, denoiser_samples=fewer)
        with ExitStack() as stack:
            first, second, third = (stack.enter_context(tempfile.TemporaryDirectory())
                                    for _ in range(3))
            bytes_of_it = weights(config, first)
            yield {"training": name, "run again": weights(config, second) == bytes_of_it,
                   "epochs kept when stopped": stopped_once(config, third),
                   "stopped and resumed": weights(config, third) == bytes_of_it}


def recipe(device: str) -> pd.DataFrame:
    """The best recipe at its full length: seconds of training, and scores of the noisy patches."""
    with tempfile.TemporaryDirectory() as store:
        made = run(replace(BEST, device=device), store=store)
    return pd.DataFrame([{"training": "best recipe", "seconds": made.info["seconds"],
                          "precision": made.config.precision, **made.scores}])


def throughput(device: torch.device, samples: int) -> Iterator[dict]:
    """Samples a second and peak memory, by precision and batch size."""
    data = load("photos", points=50).train
    for name, build, sampler in (("U-Net, depth 4", UNet, Pairs(data, samples=samples)),
                                 ("U-Net, depth 8", lambda: UNet(8), Pairs(data, samples=samples)),
                                 ("L2-Net triplets", L2Net, Triplets(data, "noisy", samples))):
        for batch_size in (50, 512):
            for precision in dict.fromkeys(("float32", resolve_precision("auto", device))):
                if device.type == "cuda":
                    torch.cuda.reset_peak_memory_stats(device)
                epochs = fit(build(), sampler, epochs=3, lr=1e-6, batch_size=batch_size,
                             device=str(device), precision=precision)
                rate = max(epoch.samples_per_second for epoch in epochs)  # the first one warms up
                used = (torch.cuda.max_memory_allocated(device) / 1e6 if device.type == "cuda"
                        else np.nan)
                yield {"training": name, "batch": batch_size, "precision": precision,
                       "samples a second": rate, "peak MB": used}


def at_the_papers_scale(rates: pd.DataFrame) -> pd.DataFrame:
    """Minutes of training for one seed of chapter 10 at batch 50, in the faster precision."""
    fastest = rates[rates.batch == 50].groupby("training")["samples a second"].max()
    minutes = pd.Series(PAPER) / fastest / 60
    return pd.DataFrame({"samples": pd.Series(PAPER), "minutes": minutes}).rename_axis("training")


def main() -> int:
    chosen = measure.options(__doc__, Path("build/gpu-check"), device={"default": "auto"},
                             samples={"type": int, "default": 20_000},
                             trained={"type": int, "default": 2000},
                             points={"type": int, "default": 50}, data={"default": "photos"},
                             skip_recipe={"action": "store_true"})
    device = resolve_device(chosen.device)
    if device.type == "cpu":
        print("no accelerator is used here: the processor is compared with itself")
    same = compare(str(device), chosen.trained, chosen.points)
    trainings = repeated(str(device), min(chosen.samples, 2560), chosen.data)
    bytes_same = pd.DataFrame(trainings)
    rates = pd.DataFrame(throughput(device, chosen.samples))
    tables = {"the same weights": same, "the same bytes": bytes_same, "throughput": rates,
              "the coursework's scale": at_the_papers_scale(rates)}
    if not chosen.skip_recipe:
        tables["best recipe"] = recipe(str(device))
    measure.report(chosen.out, "gpu_check", tables)
    repeats = bytes_same["run again"] & bytes_same["stopped and resumed"]
    agree = same.agree.all() and repeats.all()
    print("\nthe scores agree, and the bytes repeat" if agree else "\nscores or bytes differ")
    return int(not agree)


if __name__ == "__main__":
    sys.exit(main())
