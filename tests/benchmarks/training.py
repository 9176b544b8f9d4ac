"""How fast both networks train, beside the coursework's Keras baseline, and if they learn alike.

python tests/benchmarks/training.py [--seeds 3] [--epochs 4] [--patches 1000] [--triplets 300]

The same layers, batch of 50, patches in memory; the arms take turns, an epoch each. Afterwards the
last losses of all seeds are compared: learning must not have become worse on the way. The first
epoch of each arm is left out of the timing. About three minutes on two cores.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import measure
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from hpkit.data.sets import PatchData, load
from hpkit.devices import resolve_device, resolve_precision
from hpkit.networks.l2net import L2Net
from hpkit.networks.unet import UNet
from hpkit.training.fit import fit
from hpkit.training.samplers import Pairs, Triplets

RATES = {"unet": {"lr": 1e-5, "momentum": 0.9}, "l2net": {"lr": 0.1}}


@dataclass(frozen=True, eq=False)
class OnePass(Triplets):
    """Triplets through the network in one pass. Not what hpkit does: batch norms see all 150."""

    def outputs(self, model: Callable[[Tensor], Tensor], data: tuple[Tensor, ...],
                batch: Tensor) -> tuple[Tensor, ...]:
        return model(torch.cat(self.ready(data, batch))).chunk(3)


def arms(network: str, data: PatchData, keras: measure.Worker, seed: int, epochs: int,
         samples: int, validation: int) -> dict[str, Callable[[], dict]]:
    """Name -> a function that trains one more epoch: seconds, loss, val_loss."""
    done = iter(range(1, epochs + 1))

    def baseline() -> dict:
        return keras(do="epoch", network=network, seed=seed, number=next(done), samples=samples,
                     validation=validation)

    found = {"Keras, float32": baseline}
    precisions = dict.fromkeys(["float32", resolve_precision("auto", resolve_device("cpu"))])
    kinds = {"": Pairs} if network == "unet" else {"": Triplets, ", one pass": OnePass}
    for more, kind in kinds.items():
        for precision in precisions:
            source = {} if network == "unet" else {"source": "noisy"}
            run = fit(UNet(seed=seed) if network == "unet" else L2Net(seed=seed),
                      kind(data.train, samples=samples, **source),
                      kind(data.validation, samples=validation, **source), epochs=epochs,
                      seed=seed, device="cpu", precision=precision, **RATES[network])
            found[f"hpkit, {precision}{more}"] = lambda run=run: record(run)
    return found


def record(run: Iterator) -> dict:
    epoch = next(run)
    return {"seconds": epoch.seconds, "loss": epoch.loss, "val_loss": epoch.val_loss}


def trained(network: str, data: PatchData, keras: measure.Worker, seeds: int, epochs: int,
            samples: int) -> pd.DataFrame:
    """A row per seed, epoch and arm."""
    rows = []
    for seed in range(seeds):
        made = arms(network, data, keras, seed, epochs, samples, validation=500)
        for epoch in range(1, epochs + 1):
            for name, arm in made.items():
                found = arm()
                rows.append({"seed": seed, "epoch": epoch, "arm": name, **found,
                             "samples/s": samples / found["seconds"]})
    return pd.DataFrame(rows)


def learned(rows: pd.DataFrame) -> pd.DataFrame:
    """The last validation loss by arm, over the seeds; and the curves' means by epoch."""
    last = rows[rows.epoch == rows.epoch.max()].groupby("arm", sort=False).val_loss
    curve = rows.pivot_table("val_loss", "arm", "epoch", sort=False).add_prefix("mean, epoch ")
    usual = last.agg(["min", "max"]).loc["hpkit, float32"]
    table = last.agg(["min", "max"]).add_prefix("last ").join(curve)
    return table.assign(within=last.mean().between(usual["min"], usual["max"]))


def main() -> None:
    chosen = measure.options(__doc__, seeds={"type": int, "default": 3},
                             epochs={"type": int, "default": 4},
                             patches={"type": int, "default": 1000},
                             triplets={"type": int, "default": 300})
    data, tables = load("photos", points=40), {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "patches.npz"
        np.savez(path, **{f"{side}_{source}": getattr(data, name)[source]
                          for side, name in (("train", "train"), ("val", "validation"))
                          for source in ("noisy", "clean")})
        keras = measure.keras_worker(path, chosen.threads)
        for network, samples in (("unet", chosen.patches), ("l2net", chosen.triplets)):
            rows = trained(network, data, keras, chosen.seeds, chosen.epochs, samples)
            rates = rows[rows.epoch > 1].pivot_table("samples/s", ["seed", "epoch"], "arm",
                                                     sort=False)
            unit = "patches" if network == "unet" else "triplets"
            tables[f"{network}: {unit} a second"] = measure.compare(rates, faster="more")
            tables[f"{network}: validation loss"] = learned(rows)
        keras.close()
    measure.report(chosen.out, "training", tables)


if __name__ == "__main__":
    main()
