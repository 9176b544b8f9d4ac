"""Train the shipped networks, score them beside what they are compared with, write their cards.

`python tests/tools/pretrain.py [--seeds 0 1 2] [--threads 2]` keeps every run in the store, so it
goes on where it stopped; a quarter of an hour a seed on two cores that do nothing else. The first
seed is shipped, in half precision. It writes hpkit/weights/ and notebooks/results/best.csv (a row
per network, seed, side and kind of patches); the classical rows are those of results/baseline.csv.
"""

import argparse
import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
from safetensors.torch import save

from hpkit.archives import digest
from hpkit.configs import Config, DescriptorConfig
from hpkit.evaluation import describe, evaluate
from hpkit.layout import write_whole
from hpkit.modifications import BEST, BEST_DENOISER, DESCRIPTOR, MODEL
from hpkit.patches import load
from hpkit.runs import Run, run
from hpkit.statistics import interval
from hpkit.tasks import tasks_for

ROOT = Path(__file__).parents[2]
RESULTS, WEIGHTS = ROOT / "notebooks" / "results" / "best.csv", ROOT / "hpkit" / "weights"
TASKS = ["verification", "matching", "retrieval"]
COUNTS = {"pairs": 20_000, "queries": 500, "distractors": 2_000}  # as in results/baseline.csv
LIMITS = {
    "descriptor": "Trained on patches from nine photographs, cut as HPatches cuts them: upright, "
                  "at five times the keypoint's size. Not tried on other cuts, nor on rotations "
                  "beyond 40 degrees, nor compared with other pretrained networks, nor scored on "
                  "HPatches itself. In whole photos its lead over RootSIFT shrinks: it keeps "
                  "one under change of viewpoint, and none under image noise "
                  "(notebooks/results/matching.csv). Weights are stored in half precision.",
    "denoiser": "For the kit's noise model: independent Gaussian noise of up to a quarter of the "
                "patch's range. Weights are stored in half precision.",
}


COMPARED = {"coursework: baseline": DESCRIPTOR, "coursework: final model": MODEL}


def best_rows(made: Run) -> Iterator[dict]:
    """The best recipe on both sides and both kinds of patches, with nothing in between."""
    data = load(made.config.data)
    for where in ("validation", "test"):
        patches = getattr(data, where)
        tasks = tasks_for(patches, **COUNTS)
        for kind in ("clean", "noisy"):
            scores = evaluate(describe(made.model(), patches[kind]), tasks)
            yield {"descriptor": "best", "side": where, "patches": kind,
                   **{task: getattr(scores, task) for task in TASKS}}


def compared_rows(name: str, config: DescriptorConfig) -> Iterator[dict]:
    """A model of the coursework: noisy test patches through its denoiser, clean ones as they are.
    """
    for kind, source in (("clean", "clean"), ("noisy", "denoised")):
        made = run(replace(config, test_points=None, test_source=source, **COUNTS))
        yield {"descriptor": name, "side": "test", "patches": kind, **made.scores, **told(made)}


def told(made: Run) -> dict:
    """What a row says of its run."""
    return {"seed": made.config.seed, **{name: made.info[name] for name in
            ("seconds", "data_version", "torch", "numpy", "machine", "finished")}}


def write(name: str, config: Config, seconds: list[float], scores: dict) -> None:
    """The weights of the first seed and their card."""
    made = run(config)
    weights = {key: value.half() if value.ndim > 1 else value  # means and variances stay whole
               for key, value in made.model().state_dict().items()}
    data = save({key: value.contiguous() for key, value in weights.items()})
    WEIGHTS.mkdir(exist_ok=True)
    write_whole(WEIGHTS / f"{name}.safetensors", data)
    config = {field: value for field, value in asdict(made.config).items()
              if not field.startswith("denoiser_")}  # neither has one before it
    card = {"kind": name, "config": config, "sha256": hashlib.sha256(data).hexdigest(),
            "data": made.info["data_version"], "seeds": len(seconds),
            "seconds": seconds,
            **{key: made.info[key] for key in ("torch", "numpy", "python", "machine", "finished")},
            "scores": scores, "limits": LIMITS[name]}
    card["digest"] = digest(card)
    write_whole(WEIGHTS / f"{name}.json", json.dumps(card, indent=1).encode())


def with_intervals(table: pd.DataFrame, columns: list[str], by: list[str]) -> dict:
    """{group: {column: [mean, low, high]}}, 95 % intervals over the seeds; of one seed no ends."""
    return {" ".join(group): {column: [round(float(x), 4) for x in interval(rows[column])
                                       if x == x] for column in columns}
            for group, rows in table.groupby(by)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    best = replace(BEST, threads=options.threads)
    denoiser = replace(BEST_DENOISER, threads=1)  # minutes
    rows, errors = [], []
    for seed in options.seeds:
        made, cleaned = (run(replace(config, seed=seed), progress=True)
                         for config in (best, denoiser))
        rows += [row | told(made) for row in best_rows(made)]
        errors.append({"side": "test", **cleaned.scores, **told(cleaned)})
    for name, config in COMPARED.items():
        rows += list(compared_rows(name, replace(config, threads=1)))
    table, errors = pd.DataFrame(rows), pd.DataFrame(errors)
    table.to_csv(RESULTS, index=False, float_format="%.5g")
    own = table[table.descriptor == "best"]
    best, denoiser = (replace(c, seed=options.seeds[0]) for c in (best, denoiser))
    write("descriptor", best, list(own.groupby("seed").seconds.first()),
          with_intervals(own, TASKS, ["side", "patches"]))
    write("denoiser", denoiser, list(errors.seconds),
          with_intervals(errors, ["test_mae"], ["side"]))


if __name__ == "__main__":
    main()
