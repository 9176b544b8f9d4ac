"""Runs that are kept: `run` trains a configuration once, `ablate` a table of them.

A process that is killed at any moment loses only the epoch it was in: the next process
goes on from there, bit for bit. `hpkit.experiments.store` looks after the files.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import Timeout
from torch import nn
from tqdm.auto import tqdm

from hpkit.data.sets import data_set
from hpkit.devices import threads_used
from hpkit.evaluation.describe import denoise
from hpkit.experiments import store as kept_runs
from hpkit.experiments.build import Builder, DenoiserBuilder, DescriptorBuilder, side
from hpkit.experiments.configs import Config, DenoiserConfig, varied
from hpkit.experiments.store import AVERAGED, LAST
from hpkit.files import read_json, write_json, writing
from hpkit.training.fit import Epoch, TrainingDiverged, fit
from hpkit.waiting import TRAINING


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run.

    config: resolved, with the device and the number of threads that it was trained
    with. history: a row per epoch (epoch, loss, val_loss, lr, seconds, samples).
    scores: {"test_mae": grey levels} or {"verification": mAP, "matching": ...,
    "retrieval": ...}, NaN where the training diverged, and a "..._averaged" of each for
    a run with averaged weights. info: status ("finished" or
    "diverged"), versions, machine.
    """

    config: Config
    folder: Path
    history: pd.DataFrame
    scores: dict[str, float]
    info: dict

    def model(self, averaged: bool = False) -> nn.Module:
        """The trained network on the CPU, in eval mode.

        For a diverged run it is as after the last good epoch. averaged: with the mean
        weights of the last steps, of a run that has them.
        """
        if averaged and not self.config.averaged:
            raise ValueError(
                f"{self.folder}: a run without averaged weights, expected one whose "
                "averaged is above 0"
            )
        return trained(self.config, self.folder, AVERAGED if averaged else LAST)

    def row(self) -> dict[str, object]:
        """One flat row: configuration, last losses, scores, circumstances."""
        last = self.history[["loss", "val_loss"]].tail(1).to_dict("records") or [{}]
        losses = {"loss": np.nan, "val_loss": np.nan, **last[0]}
        apart = ("config", "sha256", "device", "threads")
        told = {name: value for name, value in self.info.items() if name not in apart}
        return {
            **self.config.row(),
            **losses,
            **self.scores,
            **told,
            "key": self.folder.name,
        }


@dataclass(frozen=True, eq=False)
class Progress:
    """Where a run stands.

    history: as a Run's. model: its network, only to look at.
    """

    config: Config
    history: pd.DataFrame
    model: nn.Module
    status: str  # "running", "finished" or "diverged"


def run(
    config: Config, *, store: str | Path | None = None, progress: bool = False
) -> Run:
    """The run of this configuration: kept in the store, continued, or trained anew.

    A run that diverges is a result too: its status is "diverged", its scores NaN.
    If two processes want the same run, only one trains it, and the second waits. In one
    process, threads train one after the other. A damaged folder is named in a warning
    and set aside. Raises ValueError for a configuration that cannot be trained.
    """
    with TRAINING:
        config = config.resolved()
        folder = kept_runs.run_folder(config, store)
        with kept_runs.lock(folder), threads_used(config.threads):
            info = kept_runs.open_run(folder, config)
            if info is None:
                info = _trained_to_the_end(config, folder, progress)
            scores = _scores(config, folder, info["status"])
    as_trained = replace(config, device=info["device"], threads=info["threads"])
    return Run(as_trained, folder, pd.read_csv(folder / "history.csv"), scores, info)


def _trained_to_the_end(config: Config, folder: Path, progress: bool) -> dict:
    """Train, and give what run.json then says."""
    steps = _train(config, folder)
    done = len(next(steps).history)
    with tqdm(
        total=config.epochs,
        initial=done,
        unit="epoch",
        disable=not progress,
        leave=False,
    ) as bar:
        for step in steps:
            bar.update(len(step.history) - bar.n)
    return read_json(folder / "run.json")


def follow(
    config: Config,
    *,
    store: str | Path | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Progress]:
    """`run` without scores, a step at a time: where it stands, then after each epoch.

    A denoiser that it needs is followed first, in steps of its own. stopped: asked
    before each batch. Finished epochs are kept, and the next call goes on from there.
    Raises RuntimeError where another process trains this run now, or another thread any
    run, and ValueError for a configuration that cannot be trained.
    """
    if not TRAINING.take(timeout=1):
        raise RuntimeError(
            "another run is being trained in this process: stop it, or wait for its end"
        )
    try:
        config = config.resolved()
        if getattr(config, "trains_on_denoiser", False):
            denoiser = config.denoiser().resolved()
            for step in _follow(denoiser, store, stopped):
                yield step
            if step.status == "running":  # it was stopped
                return
        yield from _follow(config, store, stopped)
    finally:
        TRAINING.give_back()


def _follow(
    config: Config, store: str | Path | None, stopped: Callable[[], bool]
) -> Iterator[Progress]:
    """Follow a run whose denoiser is there."""
    folder = kept_runs.run_folder(config, store)
    try:
        lock = kept_runs.lock(folder, timeout=1)
    except Timeout as error:
        raise RuntimeError(
            f"run {folder.name} is being trained elsewhere: wait for it"
        ) from error
    with lock, threads_used(config.threads):
        info = kept_runs.open_run(folder, config)
        if info is None:
            yield from _train(config, folder, stopped)
        else:
            history = pd.read_csv(folder / "history.csv")
            yield Progress(config, history, trained(config, folder), info["status"])


def ablate(
    base: Config,
    seeds: Iterable[int],
    *,
    executor: Executor | None = None,
    store: str | Path | None = None,
    progress: bool = False,
    **grid: Iterable,
) -> pd.DataFrame:
    """One row per run: every combination of the values in `grid`, for every seed.

    executor: any concurrent.futures.Executor, dask's `Client(...).get_executor()`
    included. In one of processes each run takes one thread, unless `base` says how
    many. In threads one run waits for the other. If one run raises, what is finished is
    kept. Raises ValueError for a name that is no field of `base`, or no seeds.
    """
    in_turn = executor is None or isinstance(executor, ThreadPoolExecutor)
    threads = base.threads or (None if in_turn else 1)
    configs = _combinations(replace(base, threads=threads), {"seed": seeds, **grid})
    one = partial(_row, store=None if store is None else str(store))
    if executor is None:
        bar = tqdm(configs, disable=not progress, unit="run")
        return pd.DataFrame([one(config, progress=progress) for config in bar])
    futures = [executor.submit(one, config) for config in configs]
    finished = as_completed(futures)
    for _ in tqdm(finished, total=len(futures), disable=not progress, unit="run"):
        pass
    return pd.DataFrame([future.result() for future in futures])


def _combinations(base: Config, grid: dict[str, Iterable]) -> list[Config]:
    """Every combination of the values, those of the first name outermost."""
    chosen = {name: list(values) for name, values in grid.items()}
    if not chosen["seed"]:
        raise ValueError("no seeds, expected at least one to train")
    return [
        varied(base, **dict(zip(chosen, values, strict=True)))
        for values in product(*chosen.values())
    ]


def _row(config: Config, store: str | None, progress: bool = False) -> dict:
    return run(config, store=store, progress=progress).row()


# --- what a configuration means -----------------------------------------------------


def builder(config: Config, store: Path | None = None) -> Builder:
    """What makes a configuration's network, patches and scores.

    Its denoiser is taken from the store, or trained, at the moment it is needed.
    """
    if isinstance(config, DenoiserConfig):
        return DenoiserBuilder(config)
    denoiser = config.denoiser()

    def denoised(name: str) -> np.ndarray:
        points = config.test_points if name == "test" else config.points
        version = data_set(config.data).version()
        return _denoised(denoiser, version, name, points, store)

    return DescriptorBuilder(
        config, denoiser=lambda: _denoiser(denoiser, store).model(), denoised=denoised
    )


def network(config: Config) -> nn.Module:
    """The network of a configuration with its first weights; nothing is trained."""
    return builder(config).network()


def trained(config: Config, folder: Path, file: str = LAST) -> nn.Module:
    """The network with the weights in a file of a run's folder."""
    model = network(config)
    model.load_state_dict(kept_runs.read_weights(folder, file))
    return model.eval()


def _denoiser(config: DenoiserConfig, store: Path | None) -> Run:
    made = run(config, store=store)
    if made.info["status"] == "diverged":
        raise ValueError(
            f"{made.folder}: this denoiser diverged, expected a finished one"
        )
    return made


@lru_cache(maxsize=3)  # three sides of one denoiser: the next runs of a sweep want them
def _denoised(
    denoiser: DenoiserConfig,
    version: str,
    name: str,
    points: int | None,
    store: Path | None,
) -> np.ndarray:
    """Denoised patches of a side, from this version of the data."""
    whole = replace(
        denoiser,
        sequences=None,
        validation_sequences=None,
        points=points,
        test_points=points,
    )
    noisy = side(whole, name)["noisy"]
    options = {"device": denoiser.device, "precision": denoiser.precision}
    return denoise(_denoiser(denoiser, store).model(), noisy, **options)


# --- training and scoring -----------------------------------------------------------


def _train(
    config: Config, folder: Path, stopped: Callable[[], bool] = lambda: False
) -> Iterator[Progress]:
    """Train from the last finished epoch in the folder until the end or a stop.

    Starts at the beginning where there is no such epoch.
    """
    with writing(folder):
        folder.mkdir(exist_ok=True)
    write_json(folder / "config.json", config.row())
    kept = kept_runs.read_checkpoint(folder) or {"state": None, "history": []}
    made, history = builder(config, folder.parent), kept["history"]
    model = made.network()
    state = kept["state"]
    if state is None:
        made.warm_start(model)
    epochs = _epochs(config, made, model, state, stopped)
    yield Progress(config, kept_runs.table(history), model, "running")
    try:
        for epoch in epochs:
            history.append(epoch.row())
            state = epoch.state
            kept_runs.write_checkpoint(folder, state, history)
            yield Progress(config, kept_runs.table(history), model, "running")
        status = "finished" if len(history) == config.epochs else None
    except TrainingDiverged:
        status = "diverged"
    if status:  # it was not stopped
        weights = {LAST: model.state_dict()}
        if status == "finished" and config.averaged:
            weights[AVERAGED] = state["averaged"]
        kept_runs.finish(folder, config, weights, history, status)
        yield Progress(config, kept_runs.table(history), model, status)


def _epochs(
    config: Config,
    made: Builder,
    model: nn.Module,
    state: dict | None,
    stopped: Callable[[], bool],
) -> Iterator[Epoch]:
    train = made.sampler(made.patches("train"), config.samples)
    validation = made.sampler(
        made.patches("validation"), config.validation_samples, training=False
    )
    shared = ("epochs", "optimizer", "lr", "momentum", "schedule", "batch_size", "seed")
    shared += ("device", "precision", "averaged")
    return fit(
        model,
        train,
        validation,
        loss=made.loss(),
        state=state,
        stopped=stopped,
        **{name: getattr(config, name) for name in shared},
    )


def _scores(config: Config, folder: Path, status: str) -> dict[str, float]:
    path = folder / f"scores-{config.score_key()}.json"
    made = builder(config, folder.parent)
    if path.exists():
        return read_json(path)
    files = {"": LAST, "_averaged": AVERAGED} if config.averaged else {"": LAST}
    if status == "diverged":
        names = [name + ending for ending in files for name in made.scores]
        return dict.fromkeys(names, np.nan)
    scores = {}
    for ending, file in files.items():
        found = made.score(trained(config, folder, file))
        scores |= {name + ending: score for name, score in found.items()}
    write_json(path, scores)
    return scores
