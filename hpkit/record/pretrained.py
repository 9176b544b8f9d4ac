"""The shipped networks: trained, scored beside what they are compared with, described.

Every run is kept in the store, so this goes on where it stopped. The first seed is
shipped, in half precision. results/best.csv gets a row per network, seed, side and kind
of patches. The classical rows are those of results/baseline.csv.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pandas as pd
from safetensors.torch import save

from hpkit.data.sets import load
from hpkit.data.tasks import tasks_for
from hpkit.evaluation.describe import describe
from hpkit.evaluation.scores import evaluate
from hpkit.experiments.build import NETWORK_OPTIONS
from hpkit.experiments.claims import DESCRIPTOR
from hpkit.experiments.configs import Config, DenoiserConfig, DescriptorConfig
from hpkit.experiments.intervals import interval
from hpkit.experiments.modifications import BEST, BEST_DENOISER, MODEL
from hpkit.experiments.runs import Run, run
from hpkit.files import digest, write_whole
from hpkit.networks.pretrained import WEIGHTS
from hpkit.record import results_folder, write_table

SEEDS = (0, 1, 2)
TASKS = ["verification", "matching", "retrieval"]
# As in results/baseline.csv.
COUNTS = {"pairs": 20_000, "queries": 500, "distractors": 2_000}
COMPARED = {"coursework: baseline": DESCRIPTOR, "coursework: final model": MODEL}
LIMITS = {
    "descriptor": "Trained on patches from nine photographs, cut as HPatches cuts "
    "them: upright, at five times the keypoint's size. Not tried on other cuts, nor on "
    "rotations beyond 40 degrees, nor scored on HPatches itself. Compared with the "
    "descriptors of OpenCV and its contrib modules (notebooks/pages/results.md), but "
    "not with HardNet, SOSNet or HyNet. In whole photos its lead over RootSIFT "
    "shrinks: it keeps one under change of viewpoint, and none under image noise "
    "(notebooks/results/matching.csv). Weights are stored in half precision.",
    "denoiser": "For the kit's noise model: independent Gaussian noise of up to a "
    "quarter of the patch's range. Weights are stored in half precision.",
}


def best_rows(made: Run) -> Iterator[dict]:
    """The best recipe on both sides and kinds of patches, with nothing in between."""
    data = load(made.config.data)
    for where in ("validation", "test"):
        patches = getattr(data, where)
        tasks = tasks_for(patches, **COUNTS)
        for kind in ("clean", "noisy"):
            scores = evaluate(describe(made.model(), patches[kind]), tasks)
            found = {task: getattr(scores, task) for task in TASKS}
            yield {"descriptor": "best", "side": where, "patches": kind, **found}


def compared_rows(name: str, config: DescriptorConfig) -> Iterator[dict]:
    """A model of the coursework: its noisy test patches go through its denoiser."""
    for kind, source in (("clean", "clean"), ("noisy", "denoised")):
        asked = replace(config, test_points=None, test_source=source, **COUNTS)
        made = run(asked)
        row = {"descriptor": name, "side": "test", "patches": kind, **made.scores}
        yield row | told(made)


def told(made: Run) -> dict:
    """What a row says of its run."""
    names = ("seconds", "data_version", "torch", "numpy", "machine", "finished")
    return {"seed": made.config.seed, **{name: made.info[name] for name in names}}


def network_of(config: Config) -> dict[str, object]:
    """The arguments that build a run's network: see `networks.pretrained.build`."""
    if isinstance(config, DenoiserConfig):
        names = ("depth", "residual")
    else:
        names = NETWORK_OPTIONS
    return {"name": config.network, **{name: getattr(config, name) for name in names}}


def ship(name: str, config: Config, seconds: list[float], scores: dict) -> None:
    """Write the weights of a run, and their card."""
    made = run(config)
    weights = {  # means and variances stay whole
        key: (value.half() if value.ndim > 1 else value).contiguous()
        for key, value in made.model().state_dict().items()
    }
    data = save(weights)
    WEIGHTS.mkdir(exist_ok=True)
    write_whole(WEIGHTS / f"{name}.safetensors", data)
    trained = {  # neither has a denoiser before it
        field: value
        for field, value in made.config.row().items()
        if not field.startswith("denoiser_")
    }
    versions = ("torch", "numpy", "python", "machine", "finished")
    card = {
        "kind": name,
        "network": network_of(made.config),
        "config": trained,
        "sha256": hashlib.sha256(data).hexdigest(),
        "data": made.info["data_version"],
        "seeds": len(seconds),
        "seconds": seconds,
        **{key: made.info[key] for key in versions},
        "scores": scores,
        "limits": LIMITS[name],
    }
    card["digest"] = digest(card)
    write_whole(WEIGHTS / f"{name}.json", json.dumps(card, indent=1).encode())


def with_intervals(table: pd.DataFrame, columns: list[str], by: list[str]) -> dict:
    """{group: {column: [mean, low, high]}}, 95 % intervals; one seed has no ends."""
    found = {}
    for group, rows in table.groupby(by):
        values = {column: interval(rows[column]) for column in columns}
        found[" ".join(group)] = {
            column: [round(float(x), 4) for x in ends if x == x]  # not NaN
            for column, ends in values.items()
        }
    return found


def record(seeds: Sequence[int] = SEEDS, threads: int = 2) -> None:
    """Train, score and ship both networks; write results/best.csv."""
    path = results_folder() / "best.csv"
    best = replace(BEST, threads=threads)
    denoiser = replace(BEST_DENOISER, threads=1)  # minutes
    rows, errors = [], []
    for seed in seeds:
        made = run(replace(best, seed=seed), progress=True)
        rows += [row | told(made) for row in best_rows(made)]
        cleaned = run(replace(denoiser, seed=seed), progress=True)
        errors.append({"side": "test", **cleaned.scores, **told(cleaned)})
    for name, config in COMPARED.items():
        rows += compared_rows(name, replace(config, threads=1))
    table, errors = pd.DataFrame(rows), pd.DataFrame(errors)
    write_table(path, table, float_format="%.5g")
    own = table[table.descriptor == "best"]
    seconds = list(own.groupby("seed").seconds.first())
    scores = with_intervals(own, TASKS, ["side", "patches"])
    ship("descriptor", replace(best, seed=seeds[0]), seconds, scores)
    scores = with_intervals(errors, ["test_mae"], ["side"])
    ship("denoiser", replace(denoiser, seed=seeds[0]), list(errors.seconds), scores)
