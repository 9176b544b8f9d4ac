"""Patches described and denoised a second, beside the `predict` loop of the Keras baseline.

python tests/benchmarks/inference.py [--patches 2048] [--rounds 5]

The baseline's loop calls `predict` for one batch of 128 after the other. hpkit picks its batch by
itself; the second table shows what other batches would give. Two minutes on two cores.
"""

import tempfile
from functools import partial
from pathlib import Path

import measure
import numpy as np

from hpkit.data.sets import load
from hpkit.devices import resolve_device, resolve_precision
from hpkit.evaluation.describe import denoise, describe
from hpkit.networks.l2net import L2Net
from hpkit.networks.unet import UNet

BATCHES = (16, 32, 64, 128, 256, 1024)


def main() -> None:
    chosen = measure.options(__doc__, patches={"type": int, "default": 2048},
                             rounds={"type": int, "default": 5})
    noisy = load("photos").train["noisy"]
    patches = noisy.reshape(-1, 32, 32)[:chosen.patches]
    precisions = dict.fromkeys(["float32", resolve_precision("auto", resolve_device("cpu"))])
    tables = {}
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "patches.npz", train_noisy=noisy[:-(-len(patches) // 16)])
        keras = measure.keras_worker(Path(folder) / "patches.npz", chosen.threads)
        for name, network, work in (("unet", UNet(seed=0), denoise),
                                    ("l2net", L2Net(seed=0), describe)):
            arms = {"Keras, predict": lambda name=name: keras(
                do="predict", network=name, patches=len(patches), batch=128)["seconds"]}
            arms |= {f"hpkit, {precision}": measure.seconds(partial(
                work, network, patches, device="cpu", precision=precision))
                for precision in precisions}
            measure.take_turns(arms, 1)  # warms up
            rates = len(patches) / measure.take_turns(arms, chosen.rounds)
            tables[f"{work.__name__}: patches a second"] = measure.compare(rates, faster="more")
            tables[f"{work.__name__}: by batch"] = by_batch(work, network, patches, chosen.rounds)
        keras.close()
    measure.report(chosen.out, "inference", tables)


def by_batch(work, network, patches: np.ndarray, rounds: int):
    """Patches a second by batch. On a CPU `describe` takes no more than 128 at once itself."""
    arms = {str(size): measure.seconds(partial(work, network, patches, batch_size=size,
                                               device="cpu")) for size in BATCHES}
    return measure.compare(len(patches) / measure.take_turns(arms, rounds), faster="more")


if __name__ == "__main__":
    main()
