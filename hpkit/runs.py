"""Runs that are kept: `run` trains a configuration once, `ablate` a whole table of them.

A process that is killed at any moment loses the epoch it was in and nothing else: the next one
goes on from there, bit for bit. `hpkit.store` has the files.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from filelock import FileLock
from safetensors.torch import load_file
from torch import nn
from tqdm.auto import tqdm

from hpkit import store as files
from hpkit.configs import Config, DenoiserConfig, DescriptorConfig, varied
from hpkit.evaluation import denoise, describe, evaluate
from hpkit.losses import mae, triplet_loss
from hpkit.models import L2Net, UNet
from hpkit.patches import PatchSet, read_sequences, read_split, splits_folder
from hpkit.store import store_folder
from hpkit.tasks import OFFICIAL, tasks_for, warn_unofficial
from hpkit.training import Epoch, Pairs, TrainingDiverged, Triplets, fit

__all__ = ["DenoiserConfig", "DescriptorConfig", "Run", "ablate", "run", "store_folder"]
SCORES = {DenoiserConfig: ("test_mae",),
          DescriptorConfig: ("verification", "matching", "retrieval")}


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run. history: a row per epoch (epoch, loss, val_loss, lr, seconds, samples).

    scores: {"test_mae": grey levels} or {"verification": mAP, "matching": ..., "retrieval": ...},
    NaN where the training diverged. info: status ("finished" or "diverged"), versions, machine.
    """

    config: Config
    folder: Path
    history: pd.DataFrame
    scores: dict[str, float]
    info: dict

    def model(self) -> nn.Module:
        """The trained network on the CPU, in eval mode; of a diverged run, its last good epoch."""
        return trained(self.config, self.folder)

    def row(self) -> dict:
        """All of it in one flat row: the configuration, last losses, scores, circumstances."""
        last = self.history[["loss", "val_loss"]].tail(1).to_dict("records") or [{}]
        told = {name: value for name, value in self.info.items()
                if name not in ("config", "sha256")}
        return {**asdict(self.config), "loss": np.nan, "val_loss": np.nan, **last[0],
                **self.scores, **told, "key": self.folder.name}


def run(config: Config, *, store: str | Path | None = None, progress: bool = False) -> Run:
    """The run of this configuration: from the store, gone on with, or from the start.

    A training that diverges is a result too: status "diverged", its scores NaN. Two processes that
    want the same run do not both train it: the second waits. A damaged folder is named in a
    warning and set aside. Raises ValueError for a configuration that cannot be trained.
    """
    config = config.resolved()
    folder = Path(store or store_folder()) / config.key()
    folder.parent.mkdir(parents=True, exist_ok=True)
    # The lock is the operating system's: it falls when its process dies, however it dies.
    with FileLock(f"{folder}.lock"), _threads(config.threads):
        info = files.open_run(folder, config) or _train(config, folder, progress)
        scores = _scores(config, folder, info["status"])
    return Run(config, folder, pd.read_csv(folder / "history.csv"), scores, info)


def ablate(base: Config, seeds: Iterable[int], *, executor: Executor | None = None,
           store: str | Path | None = None, progress: bool = False,
           **grid: Iterable) -> pd.DataFrame:
    """One row per run: every combination of the values in `grid`, for every seed (outermost).

    executor: any concurrent.futures.Executor of processes (a training is not safe in threads),
    dask's `Client(...).get_executor()` included; each run then takes one thread, unless `base` says
    how many. What is finished when one run raises is kept. Raises ValueError for a name that is no
    field of `base`.
    """
    threads = base.threads or (1 if executor else None)
    configs = [varied(base, seed=seed, threads=threads, **dict(zip(grid, values, strict=True)))
               for seed in seeds for values in product(*map(list, grid.values()))]
    one = partial(_row, store=None if store is None else str(store))
    if executor is None:
        bar = tqdm(configs, disable=not progress, unit="run")
        return pd.DataFrame([one(config, progress=progress) for config in bar])
    futures = [executor.submit(one, config) for config in configs]
    for _ in tqdm(as_completed(futures), total=len(futures), disable=not progress, unit="run"):
        pass
    return pd.DataFrame([future.result() for future in futures])


def _row(config: Config, store: str | None, progress: bool = False) -> dict:
    return run(config, store=store, progress=progress).row()


# --- what a configuration means ------------------------------------------------------------------

def network(config: Config) -> nn.Module:
    """The network of a configuration with its initial weights."""
    if isinstance(config, DenoiserConfig):
        return UNet(config.depth, seed=config.seed, init=config.init)
    return L2Net(seed=config.seed, init=config.init)


def trained(config: Config, folder: Path) -> nn.Module:
    """The network with the weights in a run's folder."""
    model = network(config)
    model.load_state_dict(load_file(folder / "weights.safetensors"))
    return model.eval()


def side(config: Config, name: str) -> PatchSet:
    """The "train", "validation" or "test" patches of a configuration, clean and noisy.

    "train" is without the left-out fold; the two sequences of a photo (i_moon, v_moon) are in the
    same fold. A denoiser draws its training and validation sequences from what is left. Only the
    sequences that are needed are fetched.
    """
    names = read_split(splits_folder(config.data), config.split)[name]
    points = config.test_points if name == "test" else config.points
    if name == "train" and config.folds:
        names = _without_fold(names, config.folds, config.draw)
    if isinstance(config, DenoiserConfig) and name != "test":
        names = (_drawn(names, config.sequences, config.draw) if name == "train" else
                 _drawn(names, config.validation_sequences, config.validation_draw))
    return read_sequences(config.data, names).head(points)


def _without_fold(names: Iterable[str], folds: int, draw: int) -> list[str]:
    photos = sorted({name.partition("_")[2] for name in names})
    if folds > len(photos):
        raise ValueError(f"folds is {folds}, and there are {len(photos)} training photos: "
                         "expected at most as many (0: no folds)")
    left_out = photos[draw % folds::folds]
    return [name for name in names if name.partition("_")[2] not in left_out]


def _drawn(names: Iterable[str], number: int | None, seed: int) -> list[str]:
    names = list(names)
    if number is None:
        return names
    if number > len(names):
        raise ValueError(f"{number} sequences asked for, and there are {len(names)} to draw from")
    return list(np.random.RandomState(seed).choice(names, number, replace=False))


def _with_denoised(config: DescriptorConfig, name: str, store: Path) -> PatchSet:
    """A descriptor's side with its denoiser's patches as a third source."""
    points = config.test_points if name == "test" else config.points
    return side(config, name).with_source("denoised",
                                          _denoised(config.denoiser(), name, points, store))


@lru_cache(maxsize=3)  # three sides of one denoiser: the next runs of a sweep want the same ones
def _denoised(denoiser: DenoiserConfig, name: str, points: int | None, store: Path) -> np.ndarray:
    made = run(denoiser, store=store)
    if made.info["status"] == "diverged":
        raise ValueError(f"{made.folder}: this denoiser diverged, expected a finished one")
    whole = replace(denoiser, sequences=None, validation_sequences=None, points=points,
                    test_points=points)
    return denoise(made.model(), side(whole, name)["noisy"], device=denoiser.device,
                   precision=denoiser.precision)


# --- training and scoring ------------------------------------------------------------------------

def _train(config: Config, folder: Path, progress: bool) -> dict:
    """From the last finished epoch in the folder, or the start, to the end."""
    folder.mkdir(exist_ok=True)
    files.write_json(folder / "config.json", asdict(config))
    kept = files.read_checkpoint(folder) or {"state": None, "history": []}
    model, history, status = network(config), kept["history"], "finished"
    epochs = _epochs(config, model, folder.parent, kept["state"])
    try:
        for epoch in tqdm(epochs, initial=len(history), total=config.epochs, unit="epoch",
                          disable=not progress, leave=False):
            history.append({name: getattr(epoch, name) for name in files.COLUMNS})
            files.write_checkpoint(folder, epoch.state, history)
    except TrainingDiverged:
        status = "diverged"
    return files.finish(folder, config, model.state_dict(), history, status)


def _epochs(config: Config, model: nn.Module, store: Path, state: dict | None) -> Iterator[Epoch]:
    if isinstance(config, DenoiserConfig):
        loss, sampler = mae, Pairs
        train, validation = side(config, "train"), side(config, "validation")
    else:
        loss = partial(triplet_loss, margin=config.margin, reduce=config.reduce)
        sampler = partial(Triplets, source=config.source)
        sides = partial(_with_denoised, store=store) if config.source == "denoised" else side
        train, validation = sides(config, "train"), sides(config, "validation")
    return fit(model, sampler(train, samples=config.samples),
               sampler(validation, samples=config.validation_samples), epochs=config.epochs,
               loss=loss, optimizer=config.optimizer, lr=config.lr, momentum=config.momentum,
               batch_size=config.batch_size, seed=config.seed, device=config.device,
               precision=config.precision, state=state)


def _scores(config: Config, folder: Path, status: str) -> dict[str, float]:
    path = folder / f"scores-{config.score_key()}.json"
    if path.exists():
        return files.read_json(path)
    if status == "diverged":
        return dict.fromkeys(SCORES[type(config)], np.nan)
    model = trained(config, folder)
    options = {"device": config.device, "precision": config.precision}
    if isinstance(config, DenoiserConfig):
        test = side(config, "test")
        errors = [np.abs(denoise(model, noisy, **options).astype(np.int16) - clean).sum(dtype=int)
                  for noisy, clean in zip(test.parts["noisy"], test.parts["clean"], strict=True)]
        scores = {"test_mae": float(sum(errors) / sum(p.size for p in test.parts["clean"]))}
    else:
        denoised = config.test_source == "denoised"
        test = _with_denoised(config, "test", folder.parent) if denoised else side(config, "test")
        counts = {"pairs": config.pairs, "queries": config.queries,
                  "distractors": config.distractors}
        tasks = tasks_for(test, **counts)
        if config.data != "photos" and counts == OFFICIAL:
            warn_unofficial(tasks, config.split)
        found = evaluate(describe(model, test[config.test_source], **options), tasks)
        scores = {name: float(getattr(found, name)) for name in SCORES[DescriptorConfig]}
    files.write_json(path, scores)
    return scores


@contextmanager
def _threads(number: int) -> Iterator[None]:
    """As many threads as the configuration says, because sums depend on their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
