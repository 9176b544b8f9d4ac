"""The runs that the book's tables and verdicts rest on: a row of results each.

A row that is there is not made again. So this goes on where the last call stopped, here
or on another machine. Within a stage the seeds are outermost, so that all arms grow
together.
"""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from itertools import chain, product
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from hpkit.experiments.arms import at_scale
from hpkit.experiments.claims import (
    ADAPTIVE,
    DENOISER,
    DESCRIPTOR,
    FINAL,
    QUESTIONS,
    SEEDS,
    SINGLE,
)
from hpkit.experiments.configs import (
    SOURCES,
    Config,
    DenoiserConfig,
    DescriptorConfig,
    varied,
)
from hpkit.experiments.modifications import (
    BEST,
    DENOISING,
    DESCRIBING,
    ITS_DENOISER,
    MODEL,
    TENTH,
    WITHOUT,
    ladder,
)
from hpkit.experiments.runs import run
from hpkit.networks.layers import INITIALIZERS
from hpkit.record import results_folder, write_table
from hpkit.training.optimizers import COURSEWORK

# A row made on another machine is the same row.
MACHINE = ("device", "precision", "threads")
FILES = {
    DenoiserConfig: ("denoisers", "averaged"),
    DescriptorConfig: ("descriptors", "averaged_descriptors"),
}
HISTORY = ["key", "epoch", "loss", "val_loss", "seconds"]

# --- the stages ---------------------------------------------------------------------

# `hpkit record reference --help` says what each is.
USUAL = (1, 2, 3, 4, 5, 6, 7, 9, 10)  # stages; the eighth wants the machine for itself

INITS = [{"init": name} for name in INITIALIZERS if name != "he_normal"]
SIZES = (32, 128, 512, 2048)
BATCHES = [{"batch_size": size} for size in SIZES]
OPTIMIZERS = [{"optimizer": name} for name in COURSEWORK if name != "sgd"]
TRIED_FIRST = [{"optimizer": name} for name in reversed(ADAPTIVE)]
WHOLE = {"sequences": None}
CLEAN = {"source": "clean", "optimizer": "adamax", "denoiser_optimizer": "nadam"}
DEEPER = {**CLEAN, "denoiser_depth": 8}

TABLES = {  # arms as changes of the baseline; those on one denoiser follow each other
    DENOISER: [
        {},
        *OPTIMIZERS,
        *INITS,
        *BATCHES,
        *({"depth": depth} for depth in (6, 8)),
        *({"sequences": number} for number in (6, 9, None)),
        {"samples": 4 * DENOISER.samples},
    ],
    DESCRIPTOR: [
        {},
        *OPTIMIZERS,
        *INITS,
        *({"source": a, "test_source": b} for a, b in product(SOURCES, SOURCES)),
        *(change for name, change in SINGLE.items() if "denoiser" in name),
        # The cumulative log: trained on clean patches until the last step.
        CLEAN,
        DEEPER,
        {**DEEPER, "init": "xavier_uniform", "denoiser_init": "lecun_uniform"},
        {**FINAL, "source": "clean"},
        FINAL,
    ],
}


def rates(base: Config, **factors: tuple[float, ...]) -> list[dict]:
    """Each optimizer at these multiples of its usual learning rate."""
    found = []
    for name, several in factors.items():
        usual = varied(base, optimizer=name).resolved().lr
        for factor in several:
            found.append({"optimizer": name, "lr": float(f"{factor * usual:.6g}")})
    return found


FEW = (0.3, 3)
SOME = (0.3, 3, 10)
MANY = (0.1, 0.3, 3, 10)
DEEP = [
    {"depth": 8, "optimizer": name, **WHOLE} for name in (*reversed(ADAPTIVE), "sgd")
]
MORE = {
    DESCRIPTOR: rates(
        DESCRIPTOR,
        sgd=MANY,
        adam=SOME,
        nadam=SOME,
        adamax=SOME,
        rmsprop=FEW,
        adadelta=FEW,
    ),
    DENOISER: DEEP,
}
UPDATES = {  # 60 each
    DENOISER: [{"batch_size": size, "samples": 12 * size} for size in (50, *SIZES)]
}
RATES = {DENOISER: rates(DENOISER, **dict.fromkeys(COURSEWORK, (0.1, 10)))}
# In the order in which they run: those that decide a claim at scale 1, then the rest.
DECISIVE = [
    (DENOISER, [{}, *TRIED_FIRST, *BATCHES]),
    (DESCRIPTOR, [{}, {"source": "clean"}]),
    (DENOISER, [*DEEP, WHOLE, {"depth": 6}, {"depth": 8}, *INITS]),
    (DESCRIPTOR, [*TRIED_FIRST, *INITS, FINAL, *SINGLE.values()]),
]


def chance() -> Iterator[Config]:
    """The baseline denoiser with one source of chance varied, the two others held."""
    one = replace(DENOISER, validation_sequences=1, draw=0, validation_draw=0)
    for number, validation in enumerate((0, 3, 6, 7, 13)):  # all validation photos
        yield replace(one, seed=number)
        yield replace(one, draw=number)
        yield replace(one, validation_draw=validation)


def arms(table: dict[Config, list[dict]], seeds: Iterable[int]) -> Iterator[Config]:
    """Every arm of the table, for every seed (outermost)."""
    for seed in seeds:
        for base, changes in table.items():
            for change in changes:
                yield varied(base, seed=seed, **change)


def decisive(times: int, seed: int) -> Iterator[Config]:
    """The arms that decide a claim, at a multiple of the budget."""
    for base, changes in DECISIVE:
        for change in changes:
            large = at_scale(varied(base, **change), times)
            yield varied(base, seed=seed, **{**large, **change})


def modified() -> Iterator[Config]:
    """Every modification of the final model: its own, its denoiser's, then both."""
    own = [change for group in DESCRIBING.values() for change in group.values()]
    alone = list(DENOISING.values())
    inside = [
        {f"denoiser_{name}": value for name, value in change.items()}
        for change in alone
    ]
    yield from arms({MODEL: [{}, *own]}, range(3))
    yield from arms({ITS_DENOISER: [{}, *alone]}, range(3))
    yield from arms({MODEL: inside}, range(3))


def rungs() -> Iterator[Config]:
    """The ladder below the best recipe."""
    steps = [config for config in ladder().values() if config != BEST]
    yield from arms({config: [{}] for config in steps}, range(3))


def asked(question: str) -> Iterator[Config]:
    """Both arms of every contrast of a question, for the fresh seeds.

    In float32: runs are compared in one precision only, and the first had no other.
    """
    if question not in QUESTIONS:
        expected = ", ".join(QUESTIONS)
        raise ValueError(f"no question {question!r}: expected one of {expected}")
    contrasts = QUESTIONS[question]
    sides = [(c.base, side) for c in contrasts for side in (c.a, c.b)]
    for seed in SEEDS:
        for base, changes in sides:
            yield varied(base, seed=seed, precision="float32", **changes)


def left_out() -> Iterator[Config]:
    """A tenth of the best recipe, whole and without each part: clean and noisy."""
    tenth = replace(TENTH, precision="bfloat16")  # as the first runs had it
    for seed in SEEDS:
        for test_source in ("noisy", "clean"):  # trained once: see Config.key
            for change in ({}, *WITHOUT.values()):
                yield varied(tenth, seed=seed, test_source=test_source, **change)


def configs(
    stages: Iterable[int], questions: Iterable[str] = QUESTIONS
) -> Iterator[Config]:
    """Every run of these stages, in the order in which they are made.

    questions: names of QUESTIONS, which stage 9 answers; ValueError for another name.
    """
    made = {
        1: [arms(TABLES, range(5))],
        2: [arms(MORE, range(3)), chance(), arms(UPDATES, range(3))],
        3: [decisive(4, 0)],
        4: [arms(RATES, range(3))],
        5: [decisive(16, 0), decisive(4, 1), decisive(4, 2)],
        6: [modified()],
        7: [rungs()],
        8: [arms({BEST: [{}, {"augment": "none"}]}, range(3))],
        9: map(asked, questions),
        10: [left_out()],
    }
    for stage in stages:
        yield from chain(*made[stage])


# --- what is there, and what is added ------------------------------------------------


def identity(config: Config) -> tuple:
    """What makes two rows the same result: the configuration, but for the machine."""
    fields_of = config.row().items()
    return tuple((name, value) for name, value in fields_of if name not in MACHINE)


def file_of(config: Config) -> str:
    """The name of the table that a run's row is in."""
    usual, *others = FILES[type(config)]
    return others[0] if config.averaged else usual


def done(results: Path, kind: type[Config]) -> set[tuple]:
    """The identities of the rows that are there."""
    paths = [results / f"{name}.csv" for name in FILES[kind]]
    tables = [pd.read_csv(path).to_dict("records") for path in paths if path.exists()]
    return {identity(kind.from_row(row)) for table in tables for row in table}


def append(path: Path, rows: pd.DataFrame, once: list[str] | None = None) -> None:
    """Add rows to a file, which is whole at any moment.

    once: columns that name a row; of two rows of one name the first is kept.
    """
    if path.exists():
        rows = pd.concat([pd.read_csv(path), rows])
    write_table(path, rows.drop_duplicates(once) if once else rows)


def add(results: Path, config: Config, row: dict, history: pd.DataFrame) -> None:
    """A run's row, and its history unless that is there.

    Runs that differ only in their scoring were trained once, with one history.
    """
    append(results / f"{file_of(config)}.csv", pd.DataFrame([row]))
    if config.averaged:
        return  # its curve is that of the same run without
    curve = history[HISTORY].round(6)
    append(results / "histories.csv", curve, once=["key", "epoch"])


def result(config: Config) -> tuple[Config, dict, pd.DataFrame]:
    """In a worker: the run's row and its history."""
    made = run(config)
    return config, made.row(), made.history.assign(key=made.folder.name)


def missing(
    results: Path, runs: Iterable[Config], device: str, threads: int
) -> list[Config]:
    """Those of these runs that have no row yet, each once."""
    there = {kind: done(results, kind) for kind in FILES}
    todo = []
    for config in runs:
        config = replace(config, device=device, threads=threads).resolved()
        name = identity(config)
        if name not in there[type(config)]:
            there[type(config)].add(name)
            todo.append(config)
    return todo


def record(
    stages: Iterable[int] = USUAL,
    workers: int = 1,
    threads: int = 1,
    device: str = "auto",
    questions: Iterable[str] = QUESTIONS,
) -> None:
    """Make what is missing of these stages, `workers` runs at a time.

    questions: as `configs` takes them.
    """
    results = results_folder()
    results.mkdir(exist_ok=True)
    todo = missing(results, configs(stages, questions), device, threads)
    print(f"{len(todo)} runs to make, {workers} at a time", flush=True)
    os.environ["OMP_NUM_THREADS"] = str(threads)  # before a worker imports torch
    spawn = get_context("spawn")
    with ProcessPoolExecutor(workers, spawn, os.nice, (10,)) as pool:
        futures = [pool.submit(result, config) for config in todo]
        finished = as_completed(futures)
        for future in tqdm(finished, total=len(todo), unit="run", mininterval=10):
            add(results, *future.result())
