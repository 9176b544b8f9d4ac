"""How fast this machine trains: patches and triplets per second, by precision.

python tests/benchmarks/throughput.py [--threads 2] [--samples 1000]
"""

import argparse

import numpy as np
import torch

from hpkit.models import L2Net, UNet
from hpkit.patches import PatchSet
from hpkit.training import Pairs, Triplets, fit, resolve_device, resolve_precision


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--samples", type=int, default=1000, help="per epoch; two are trained")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    patches = random_patches(200)
    pairs = Pairs(patches, samples=options.samples)
    triplets = Triplets(patches, samples=options.samples // 2)
    device = resolve_device(options.device)
    print(f"torch {torch.__version__}, {device}, {options.threads} threads; "
          f"precision auto is {resolve_precision('auto', device)}")
    print(f"{'':16}{'float32':>10}{'bfloat16':>10}   samples/s, batch 50")
    for depth in (4, 6, 8):
        print_row(f"U-Net depth {depth}", lambda depth=depth: UNet(depth, seed=0), pairs, device)
    print_row("L2-Net triplets", lambda: L2Net(seed=0), triplets, device)


def random_patches(points: int) -> PatchSet:
    noise = np.random.default_rng(0).integers(0, 256, (points, 16, 32, 32), dtype=np.uint8)
    sources = {"clean": noise, "noisy": noise, "denoised": noise}
    return PatchSet({s: [p] for s, p in sources.items()}, ("i_noise",))


def print_row(name: str, build, sampler, device: torch.device) -> None:
    rates = []
    for precision in ("float32", "bfloat16"):
        epochs = fit(build(), sampler, epochs=2, lr=1e-6, device=str(device), precision=precision)
        rates.append(max(epoch.samples_per_second for epoch in epochs))  # the first one warms up
    print(f"{name:16}" + "".join(f"{rate:10.0f}" for rate in rates), flush=True)


if __name__ == "__main__":
    main()
