"""Do the baselines overfit? Each photo under networks that saw it, and that did not.

A training loss and a validation loss come from different photos, and photos differ by
more than overfitting does. Here a photo is its own control. The baselines of the fresh
seeds have trained on different photos, so each photo of the training side was seen by
some of them. results/seen.csv has a row per network, seed and sequence.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch import nn

from hpkit.data.patches import PatchSet, photo_of
from hpkit.data.sets import data_set, load
from hpkit.evaluation.describe import denoise, describe
from hpkit.experiments.build import side
from hpkit.experiments.claims import DESCRIPTOR, SEEDS
from hpkit.experiments.configs import REVISION, Config, DescriptorConfig
from hpkit.experiments.runs import run
from hpkit.record import results_folder, write_table
from hpkit.training.losses import triplet_loss
from hpkit.training.samplers import Triplets

TRIPLETS = 1_000  # of each sequence
POINTS = 100  # of each sequence, to denoise


def denoiser_errors(unet: nn.Module, patches: PatchSet) -> Iterator[float]:
    """The mean absolute error on each sequence, in grey levels."""
    few = patches.head(POINTS)
    for noisy, clean in zip(few.each("noisy"), few.each("clean"), strict=True):
        yield np.abs(denoise(unet, noisy).astype(np.int16) - clean).mean()


def descriptor_losses(
    l2net: nn.Module, unet: nn.Module, patches: PatchSet, config: DescriptorConfig
) -> Iterator[float]:
    """The triplet loss on each sequence, of its denoised patches and of them alone."""
    for name in patches.names:
        mine = patches.select([name]).head(config.points)
        mine = mine.with_source("denoised", denoise(unet, mine["noisy"]))
        described = torch.from_numpy(describe(l2net, mine["denoised"])).flatten(0, 1)
        triplets = Triplets(mine, "denoised", TRIPLETS)
        chosen = triplets.draw(torch.Generator().manual_seed(0))
        yield triplet_loss(*described[chosen].unbind(1), margin=config.margin).item()


def rows(
    network: str, config: Config, names: tuple[str, ...], errors: Iterator[float]
) -> Iterator[dict]:
    """A row per sequence; none where only another sequence of its photo was seen."""
    trained = set(side(config, "train").names)
    photos = {photo_of(name) for name in trained}
    for name, error in zip(names, errors, strict=True):
        seen = name in trained
        if seen or photo_of(name) not in photos:
            row = {"network": network, "seed": config.seed, "sequence": name}
            yield row | {"seen": seen, "error": error}


def both(seed: int, patches: PatchSet) -> Iterator[dict]:
    """The rows of a seed's U-Net and L2-Net, trained where the store has none.

    In float32, as the fresh seeds were trained (see `reference.asked`).
    """
    base = replace(DESCRIPTOR, averaged=0.2, threads=1, precision="float32")
    descriptor = run(replace(base, seed=seed))
    denoiser = run(descriptor.config.denoiser())
    l2net, unet = descriptor.model(), denoiser.model()
    told = {"precision": denoiser.config.precision}
    errors = denoiser_errors(unet, patches)
    losses = descriptor_losses(l2net, unet, patches, descriptor.config)
    for row in rows("unet", denoiser.config, patches.names, errors):
        yield row | told
    for row in rows("l2net", descriptor.config, patches.names, losses):
        yield row | told


def record() -> None:
    """Add the seeds that results/seen.csv does not have, each as soon as it is made.

    Rows of other patches or of older code are left out, and made again.
    """
    path = results_folder() / "seen.csv"
    patches = load(DESCRIPTOR.data).train
    today = {"data_version": data_set(DESCRIPTOR.data).version(), "revision": REVISION}
    table = pd.read_csv(path) if path.exists() else pd.DataFrame({"seed": []})
    made_today = table.reindex(columns=list(today)) == pd.Series(today)
    table = table[made_today.all(axis=1)]
    for seed in SEEDS:
        if seed in table.seed.to_numpy():
            continue
        made = pd.DataFrame(both(seed, patches)).assign(**today)
        table = pd.concat([table, made])[list(made)]
        write_table(path, table, float_format="%.5g")
