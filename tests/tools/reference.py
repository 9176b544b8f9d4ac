"""Train what the book's tables and verdicts rest on; append to notebooks/results/, a row per run.

`python tests/tools/reference.py [--workers 2] [--device auto] [--stages 1 2 ...]` goes on where
the last call stopped, here or on another machine: a row that is there is not made again. Stage 1
has the coursework's tables at 5 seeds; 2 the descriptor's learning rates, deep networks, chance and
batch sizes at equal updates; 3 the arms that decide a claim at 4 times the budget; 4 the denoiser's
learning rates; 5 stage 3 at 16 times, then with more seeds; 6 the modifications and 7 the ladder of
`hpkit.modifications`, up to the best recipe, and 8 that recipe (by itself, with `--workers 1
--threads 2`). Seeds are outermost: all arms grow.
"""

import argparse
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, fields, replace
from itertools import chain, product
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from hpkit.claims import ADAPTIVE, DENOISER, DESCRIPTOR, FINAL, SINGLE
from hpkit.configs import SOURCES, Config, varied
from hpkit.models import INITIALIZERS
from hpkit.modifications import BEST, DENOISING, DESCRIBING, ITS_DENOISER, MODEL, ladder
from hpkit.optimizers import COURSEWORK
from hpkit.runs import run
from hpkit.statistics import at_scale

RESULTS = Path(__file__).parents[2] / "notebooks" / "results"
MACHINE = ("device", "precision", "threads")  # a row made on another machine is the same row
INITS = [name for name in INITIALIZERS if name != "he_normal"]
BATCHES = (32, 128, 512, 2048)
EVERY = [{}, *({"optimizer": name} for name in COURSEWORK if name != "sgd")]
WHOLE = {"sequences": None}

TABLES = {  # arms as changes of the baseline; those on one denoiser follow each other
    DENOISER: [
        *EVERY, *({"init": name} for name in INITS), *({"batch_size": b} for b in BATCHES),
        *({"depth": depth} for depth in (6, 8)), *({"sequences": n} for n in (6, 9, None)),
        {"samples": 4 * DENOISER.samples},
    ],
    DESCRIPTOR: [
        *EVERY, *({"init": name} for name in INITS),
        *({"source": a, "test_source": b} for a, b in product(SOURCES, SOURCES)),
        *(change for name, change in SINGLE.items() if "denoiser" in name),
        # the cumulative log: trained on clean patches until the last step
        {"source": "clean", "optimizer": "adamax", "denoiser_optimizer": "nadam"},
        {"source": "clean", "optimizer": "adamax", "denoiser_optimizer": "nadam",
         "denoiser_depth": 8},
        {"source": "clean", "optimizer": "adamax", "denoiser_optimizer": "nadam",
         "denoiser_depth": 8, "init": "xavier_uniform", "denoiser_init": "lecun_uniform"},
        {**FINAL, "source": "clean"}, FINAL,
    ],
}


def rates(base: Config, **factors: tuple[float, ...]) -> list[dict]:
    """Each optimizer at these multiples of its usual learning rate."""
    usual = {name: varied(base, optimizer=name).resolved().lr for name in factors}
    return [{"optimizer": name, "lr": float(f"{factor * usual[name]:.6g}")}
            for name, several in factors.items() for factor in several]


FEW, SOME, MANY = (0.3, 3), (0.3, 3, 10), (0.1, 0.3, 3, 10)
DEEP = [{"depth": 8, "optimizer": name, **WHOLE} for name in (*reversed(ADAPTIVE), "sgd")]
MORE = {
    DESCRIPTOR: rates(DESCRIPTOR, sgd=MANY, adam=SOME, nadam=SOME, adamax=SOME, rmsprop=FEW,
                      adadelta=FEW),
    DENOISER: DEEP,
}
UPDATES = {DENOISER: [{"batch_size": b, "samples": 12 * b} for b in (50, *BATCHES)]}  # 60 each
RATES = {DENOISER: rates(DENOISER, **dict.fromkeys(COURSEWORK, (0.1, 10)))}
# The first are done first: those that decide a claim at scale 1, then the rest.
DECISIVE = [
    (DENOISER, [{}, *({"optimizer": name} for name in reversed(ADAPTIVE)),
                *({"batch_size": b} for b in BATCHES)]),
    (DESCRIPTOR, [{}, {"source": "clean"}]),
    (DENOISER, [*DEEP, WHOLE, {"depth": 6}, {"depth": 8}, *({"init": name} for name in INITS)]),
    (DESCRIPTOR, [*({"optimizer": name} for name in reversed(ADAPTIVE)),
                  *({"init": name} for name in INITS), FINAL, *SINGLE.values()]),
]


def chance() -> Iterator[Config]:
    """The baseline denoiser, with one source of chance varied and the two others held."""
    one = replace(DENOISER, validation_sequences=1, draw=0, validation_draw=0)
    for number, validation in enumerate((0, 3, 6, 7, 13)):  # these meet all validation photos
        yield from (replace(one, seed=number), replace(one, draw=number),
                    replace(one, validation_draw=validation))


def arms(table: dict[Config, list[dict]], seeds: Iterable[int]) -> Iterator[Config]:
    """Every arm of the table, for every seed (outermost)."""
    for seed in seeds:
        for base, changes in table.items():
            yield from (varied(base, seed=seed, **change) for change in changes)


def decisive(times: int, seed: int) -> Iterator[Config]:
    """The arms that decide a claim, at so many times the budget."""
    for base, changes in DECISIVE:
        for change in changes:
            large = at_scale(varied(base, **change), times)
            yield varied(base, seed=seed, **{**large, **change})


def modified() -> Iterator[Config]:
    """Every modification of the final model: its own, its denoiser's alone, then both together."""
    own = [c for group in DESCRIBING.values() for c in group.values()]
    inside = [{f"denoiser_{name}": value for name, value in changes.items()}
              for changes in DENOISING.values()]
    for base, changes in ((MODEL, [{}, *own]), (ITS_DENOISER, [{}, *DENOISING.values()]),
                          (MODEL, inside)):
        yield from arms({base: changes}, range(3))


def rungs() -> Iterator[Config]:
    """The ladder up to the best recipe, which is timed alone (`--workers 1 --threads 2`)."""
    steps = [config for config in ladder().values() if config != BEST]
    yield from arms({config: [{}] for config in steps}, range(3))


def configs(stages: Iterable[int]) -> Iterator[Config]:
    """Every run of these stages in the order of its making."""
    made = {1: [arms(TABLES, range(5))],
            2: [arms(MORE, range(3)), chance(), arms(UPDATES, range(3))],
            3: [decisive(4, 0)],
            4: [arms(RATES, range(3))],
            5: [decisive(16, 0), decisive(4, 1), decisive(4, 2)],
            6: [modified()],
            7: [rungs()], 8: [arms({BEST: [{}]}, range(3))]}
    for stage in stages:
        yield from chain(*made[stage])


def identity(values: dict) -> tuple:
    """What makes two rows the same result: the configuration, but for the machine."""
    return tuple((name, None if pd.isna(value) else value) for name, value in values.items()
                 if name not in MACHINE)


def read(kind: type[Config]) -> pd.DataFrame:
    path = RESULTS / f"{kind.__name__.removesuffix('Config').lower()}s.csv"
    if path.exists():
        return pd.read_csv(path)
    return pd.DataFrame(columns=[field.name for field in fields(kind)])


def done(kind: type[Config]) -> set[tuple]:
    names = [field.name for field in fields(kind)]
    return {identity(row) for row in read(kind)[names].to_dict("records")}


def append(path: Path, rows: pd.DataFrame) -> None:
    """The file is whole at any moment."""
    before = pd.read_csv(path) if path.exists() else None
    part = path.with_suffix(".part")
    pd.concat([before, rows]).to_csv(part, index=False)
    part.replace(path)


def result(config: Config) -> tuple[Config, dict, pd.DataFrame]:
    """In a worker: the run's row and its history."""
    made = run(config)
    return config, made.row(), made.history.assign(key=made.folder.name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--threads", type=int, default=1, help="of each worker")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--stages", type=int, nargs="+", choices=range(1, 9),
                        default=list(range(1, 8)))
    options = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    there = {kind: done(kind) for kind in (type(DENOISER), type(DESCRIPTOR))}
    todo = []
    for config in configs(options.stages):
        config = replace(config, device=options.device, threads=options.threads).resolved()
        if (name := identity(asdict(config))) not in there[type(config)]:
            there[type(config)].add(name)
            todo.append(config)
    print(f"{len(todo)} runs to make, {options.workers} at a time", flush=True)
    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # before a worker imports torch
    with ProcessPoolExecutor(options.workers, get_context("spawn"), os.nice, (10,)) as pool:
        futures = [pool.submit(result, config) for config in todo]
        for future in tqdm(as_completed(futures), total=len(todo), unit="run", mininterval=10):
            config, row, history = future.result()
            kind = type(config).__name__.removesuffix("Config").lower()
            append(RESULTS / f"{kind}s.csv", pd.DataFrame([row]))
            append(RESULTS / "histories.csv", history[["key", "epoch", "loss", "val_loss",
                                                       "seconds"]].round(6))


if __name__ == "__main__":
    main()
