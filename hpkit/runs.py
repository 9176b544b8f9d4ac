"""Runs that are kept: `run` trains a configuration once, `ablate` a whole table of them.

A process that is killed at any moment loses the epoch it was in and nothing else: the next one
goes on from there, bit for bit. `hpkit.store` has the files.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from filelock import Timeout
from torch import nn
from tqdm.auto import tqdm

from hpkit import store as files
from hpkit.configs import Config, DenoiserConfig, DescriptorConfig, varied
from hpkit.evaluation import denoise
from hpkit.recipes import DenoiserRecipe, DescriptorRecipe, side
from hpkit.store import store_folder
from hpkit.training import Epoch, TrainingDiverged, fit

__all__ = ["DenoiserConfig", "DescriptorConfig", "Progress", "Run", "ablate", "follow", "run",
           "side", "store_folder"]


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


@dataclass(frozen=True, eq=False)
class Progress:
    """Where a run stands. history: as a Run's; model: as after its last row, to look at only."""

    config: Config
    history: pd.DataFrame
    model: nn.Module
    status: str  # "running", "finished" or "diverged"


def run(config: Config, *, store: str | Path | None = None, progress: bool = False) -> Run:
    """The run of this configuration: from the store, gone on with, or from the start.

    A training that diverges is a result too: status "diverged", its scores NaN. Two processes that
    want the same run do not both train it: the second waits. A damaged folder is named in a
    warning and set aside. Raises ValueError for a configuration that cannot be trained.
    """
    config = config.resolved()
    folder = files.run_folder(config, store)
    with files.lock(folder), _threads(config.threads):
        info = files.open_run(folder, config)
        if info is None:
            steps = _train(config, folder)
            with tqdm(total=config.epochs, initial=len(next(steps).history), unit="epoch",
                      disable=not progress, leave=False) as bar:
                for step in steps:
                    bar.update(len(step.history) - bar.n)
            info = files.read_json(folder / "run.json")
        scores = _scores(config, folder, info["status"])
    return Run(config, folder, pd.read_csv(folder / "history.csv"), scores, info)


def follow(config: Config, *, store: str | Path | None = None,
           stopped: Callable[[], bool] | None = None) -> Iterator[Progress]:
    """`run` without scores, a step at a time: where the run stands now, then after each epoch.

    A denoiser that it needs is followed first, in steps of its own. stopped: asked before each
    batch; finished epochs are kept, and the next call goes on from there. Raises RuntimeError where
    someone else trains this run now, ValueError for a configuration that cannot be trained.
    """
    config, step = config.resolved(), None
    if "denoiser_depth" in config.trained():  # only where the training needs one
        for step in follow(config.denoiser(), store=store, stopped=stopped):
            yield step
        if step.status == "running":  # it was stopped
            return
    folder = files.run_folder(config, store)
    try:
        lock = files.lock(folder, timeout=1)
    except Timeout as error:
        raise RuntimeError(f"run {folder.name} is being trained elsewhere: wait for it") from error
    with lock, _threads(config.threads):
        info = files.open_run(folder, config)
        if info is None:
            yield from _train(config, folder, stopped)
        else:
            yield Progress(config, pd.read_csv(folder / "history.csv"), trained(config, folder),
                           info["status"])


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

def recipe(config: Config, store: Path | None = None) -> DenoiserRecipe | DescriptorRecipe:
    """What `hpkit.recipes` says of a configuration; its denoiser comes from the store."""
    if isinstance(config, DenoiserConfig):
        return DenoiserRecipe(config)
    denoiser = config.denoiser()
    return DescriptorRecipe(
        config, denoiser=lambda: _denoiser(denoiser, store).model(),
        denoised=lambda name: _denoised(denoiser, name, config.test_points if name == "test"
                                        else config.points, store))


def network(config: Config, store: Path | None = None) -> nn.Module:
    """The network of a configuration with its initial weights."""
    return recipe(config, store).network()


def trained(config: Config, folder: Path) -> nn.Module:
    """The network with the weights in a run's folder."""
    model = network(config, folder.parent)
    model.load_state_dict(files.read_weights(folder))
    return model.eval()


def _denoiser(config: DenoiserConfig, store: Path | None) -> Run:
    made = run(config, store=store)
    if made.info["status"] == "diverged":
        raise ValueError(f"{made.folder}: this denoiser diverged, expected a finished one")
    return made


@lru_cache(maxsize=3)  # three sides of one denoiser: the next runs of a sweep want the same ones
def _denoised(denoiser: DenoiserConfig, name: str, points: int | None, store: Path) -> np.ndarray:
    whole = replace(denoiser, sequences=None, validation_sequences=None, points=points,
                    test_points=points)
    return denoise(_denoiser(denoiser, store).model(), side(whole, name)["noisy"],
                   device=denoiser.device, precision=denoiser.precision)


# --- training and scoring ------------------------------------------------------------------------

def _train(config: Config, folder: Path,
           stopped: Callable[[], bool] | None = None) -> Iterator[Progress]:
    """From the last finished epoch in the folder, or the start, to the end, or until `stopped`."""
    with files.writing(folder):
        folder.mkdir(exist_ok=True)
    files.write_json(folder / "config.json", asdict(config))
    kept = files.read_checkpoint(folder) or {"state": None, "history": []}
    model, history = network(config, folder.parent), kept["history"]
    epochs = _epochs(config, model, folder.parent, kept["state"], stopped)
    yield Progress(config, files.table(history), model, "running")
    try:
        for epoch in epochs:
            history.append({name: getattr(epoch, name) for name in files.COLUMNS})
            files.write_checkpoint(folder, epoch.state, history)
            yield Progress(config, files.table(history), model, "running")
        status = "finished" if len(history) == config.epochs else None
    except TrainingDiverged:
        status = "diverged"
    if status:  # it was not stopped
        files.finish(folder, config, model.state_dict(), history, status)
        yield Progress(config, files.table(history), model, status)


def _epochs(config: Config, model: nn.Module, store: Path, state: dict | None,
            stopped: Callable[[], bool] | None) -> Iterator[Epoch]:
    made = recipe(config, store)
    train = made.sampler(made.patches("train"), config.samples)
    validation = made.sampler(made.patches("validation"), config.validation_samples, training=False)
    return fit(model, train, validation, epochs=config.epochs, loss=made.loss(),
               optimizer=config.optimizer, lr=config.lr, momentum=config.momentum,
               schedule=config.schedule, batch_size=config.batch_size, seed=config.seed,
               device=config.device, precision=config.precision, state=state, stopped=stopped)


def _scores(config: Config, folder: Path, status: str) -> dict[str, float]:
    path, made = folder / f"scores-{config.score_key()}.json", recipe(config, folder.parent)
    if path.exists():
        return files.read_json(path)
    if status == "diverged":
        return dict.fromkeys(made.scores, np.nan)
    scores = made.score(trained(config, folder))
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
