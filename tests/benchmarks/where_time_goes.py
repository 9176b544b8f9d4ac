"""Where a training step's time goes, and how far it is from what the processor can multiply.

python tests/benchmarks/where_time_goes.py [--steps 20]

The peak is that of a product of two 2048 × 2048 matrices, in each precision; the work of a step is
counted by torch (FlopCounterMode: convolutions, forward and backward). 20 seconds on two cores.
"""

import measure
import pandas as pd
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from hpkit.data.sets import load
from hpkit.devices import resolve_device, resolve_precision
from hpkit.networks.l2net import L2Net
from hpkit.networks.unet import UNet
from hpkit.training.fit import fit
from hpkit.training.samplers import Pairs, Triplets

KINDS = {  # a part of an operation's name -> what it is; the first that fits
    "convolution": "convolutions", "conv": "convolutions", "batch_norm": "batch norm",
    "copy_": "casts and copies", "_to_copy": "casts and copies", "index": "gathering patches",
    "pool": "pool, upsample, pad, join", "upsample": "pool, upsample, pad, join",
    "pad": "pool, upsample, pad, join", "cat": "pool, upsample, pad, join",
    "threshold": "ReLU", "relu": "ReLU", "clamp": "ReLU", "dropout": "dropout",
    "bernoulli": "dropout", "_foreach": "optimizer", "add_": "optimizer and gradients",
    "mul_": "optimizer and gradients", "empty": "memory", "zero": "memory", "fill": "memory",
}


def peak(kind: torch.dtype, size: int = 2048) -> float:
    """GFLOP a second of a matrix product, the best of ten."""
    a, b = torch.rand(2, size, size).to(kind)
    times = [measure.seconds(lambda: a @ b)() for _ in range(10)]
    return 2 * size ** 3 / min(times) / 1e9


def one_epoch(network: str, data, samples: int, precision: str) -> float:
    """Seconds of an epoch, after one that warms up."""
    model = UNet(seed=0) if network == "unet" else L2Net(seed=0)
    sampler = (Pairs(data, samples=samples) if network == "unet" else
               Triplets(data, "noisy", samples))
    run = fit(model, sampler, epochs=1, lr=1e-6, device="cpu", precision=precision)
    return next(run).seconds


def forward(network: str) -> float:
    """The work of one patch that is denoised or described."""
    model = (UNet(seed=0) if network == "unet" else L2Net(seed=0)).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 1, 32, 32))
    return counter.get_total_flops() / 1e9


def shares(network: str, data, samples: int, precision: str) -> pd.Series:
    """The share of each kind of operation in the time of all."""
    with profile(activities=[ProfilerActivity.CPU]) as found:
        one_epoch(network, data, samples, precision)
    spent: dict[str, float] = {}
    for event in found.key_averages():
        kind = next((k for part, k in KINDS.items() if part in event.key), "the rest")
        spent[kind] = spent.get(kind, 0) + event.self_cpu_time_total
    return pd.Series(spent) / sum(spent.values())


def main() -> None:
    chosen = measure.options(__doc__, steps={"type": int, "default": 20})
    data, samples = load("photos", points=40).train, 50 * chosen.steps
    precisions = dict.fromkeys(["float32", resolve_precision("auto", resolve_device("cpu"))])
    peaks = {name: peak(getattr(torch, name)) for name in precisions}
    rows, columns = [], {}
    for network in ("unet", "l2net"):
        for precision in precisions:
            with FlopCounterMode(display=False) as counter:
                one_epoch(network, data, 50, precision)
            work = counter.get_total_flops() / 1e9  # of one step
            one_epoch(network, data, samples, precision)
            seconds = one_epoch(network, data, samples, precision) / chosen.steps
            rows.append({"network": network, "precision": precision, "GFLOP a step": work,
                         "milliseconds a step": 1e3 * seconds, "GFLOP/s": work / seconds,
                         "peak GFLOP/s": peaks[precision],
                         "share of the peak": work / seconds / peaks[precision],
                         "GFLOP a patch, forward": forward(network)})
            columns[f"{network}, {precision}"] = shares(network, data, samples, precision)
    parts = pd.DataFrame(columns).fillna(0)
    measure.report(chosen.out, "where_time_goes", {
        "a step of 50": pd.DataFrame(rows).set_index(["network", "precision"]),
        "shares": parts.loc[parts.max(axis=1).sort_values(ascending=False).index]})


if __name__ == "__main__":
    main()
