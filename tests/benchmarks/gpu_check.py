"""Does the accelerator here compute what the processor does, and how fast? (`make gpu-check`)

python tests/benchmarks/gpu_check.py [--device auto] [--samples 20000]

The same weights denoise and describe the test photos on both, in float32: scores may differ by
0.001 at most, or the script ends with 1. Then training throughput and peak memory there.
"""

import argparse
import sys

import numpy as np
import torch

from hpkit.evaluation import denoise, describe, evaluate
from hpkit.models import L2Net, UNet
from hpkit.patches import load
from hpkit.tasks import tasks_for
from hpkit.training import Pairs, Triplets, fit, resolve_device, resolve_precision

TOLERANCE = 1e-3  # of a mean average precision (0..1), and of an MAE in grey levels, relative


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


def compare(device: str, samples: int, points: int) -> bool:
    """Print both columns; whether they agree."""
    data = load("photos", points=points)
    unet, l2net = networks(data.train, samples)
    here, there = (scores(unet, l2net, data.test, d) for d in ("cpu", device))
    agree = True
    print(f"{'the same weights':18}{'cpu':>12}{device:>12}")
    for name, value in here.items():
        off = abs(there[name] - value) / (value if name == "MAE" else 1)
        agree &= off <= TOLERANCE
        verdict = "" if off <= TOLERANCE else "DIFFERS"
        print(f"{name:18}{value:12.5f}{there[name]:12.5f}   {verdict}")
    return agree


def throughput(device: torch.device, samples: int) -> None:
    """Samples a second and peak memory, by precision and batch size."""
    data = load("photos", points=50).train
    print(f"\n{'training':18}{'batch':>6}{'precision':>11}{'samples/s':>11}{'peak MB':>9}")
    for name, build, sampler in (("U-Net, depth 4", UNet, Pairs(data, samples=samples)),
                                 ("U-Net, depth 8", lambda: UNet(8), Pairs(data, samples=samples)),
                                 ("L2-Net triplets", L2Net, Triplets(data, "noisy", samples))):
        for batch_size in (50, 512):
            for precision in ("float32", resolve_precision("auto", device)):
                if device.type == "cuda":
                    torch.cuda.reset_peak_memory_stats(device)
                run = fit(build(), sampler, epochs=2, lr=1e-6, batch_size=batch_size,
                          device=str(device), precision=precision)
                rate = max(epoch.samples_per_second for epoch in run)  # the first one warms up
                used = (f"{torch.cuda.max_memory_allocated(device) / 1e6:9.0f}"
                        if device.type == "cuda" else f"{'-':>9}")
                print(f"{name:18}{batch_size:6}{precision:>11}{rate:11.0f}{used}", flush=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--samples", type=int, default=20_000, help="per epoch of the timed runs")
    parser.add_argument("--trained", type=int, default=2000, help="samples, before comparing")
    parser.add_argument("--points", type=int, default=50, help="per sequence, to compare on")
    options = parser.parse_args(arguments)
    device = resolve_device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    print(f"torch {torch.__version__}, {name}")
    if device.type == "cpu":
        print("no accelerator is used here: the processor is compared with itself")
    agree = compare(str(device), options.trained, options.points)
    throughput(device, options.samples)
    print("\nthe scores agree" if agree else f"\nscores differ by more than {TOLERANCE}")
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
