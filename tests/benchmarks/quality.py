"""Seconds of training until a descriptor is as good as the coursework's final model.

python tests/benchmarks/quality.py [--scale 2] [--seeds 1]

The target is the matching mAP that the final model has in the end on the noisy validation patches
(its denoiser cleans them), trained at `scale` times the scale of the recorded results. The
coursework's baseline and this final model are scored after each epoch, the denoiser's seconds
included; scoring is not counted. The best recipe is one network for noisy patches, without a
denoiser, whose learning rate falls over the whole training: it is trained from the start with 1024
samples, then twice as many, until one training reaches the target. Five minutes on two cores.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import replace

import measure
import pandas as pd

from hpkit.data.sets import load
from hpkit.data.tasks import tasks_for
from hpkit.evaluation.describe import denoise, describe
from hpkit.evaluation.scores import matching
from hpkit.experiments.claims import DESCRIPTOR
from hpkit.experiments.configs import DenoiserConfig, DescriptorConfig
from hpkit.experiments.modifications import BEST, MODEL
from hpkit.experiments.runs import follow

POINTS = 100  # per validation sequence


def scored(config: DescriptorConfig, validation, store: str) -> Iterator[tuple[float, float]]:
    """(seconds of training so far, matching mAP) after each epoch of the descriptor."""
    before, patches = 0.0, validation["noisy"]
    tasks = tasks_for(validation, 1000)
    for step in follow(config, store=store):
        seconds = before + step.history.seconds.sum()
        if isinstance(step.config, DenoiserConfig):
            if step.status == "finished":
                before, patches = seconds, denoise(step.model, validation["noisy"])
        elif len(step.history) and step.status == "running":
            yield seconds, float(matching(describe(step.model, patches), tasks).ap.mean())


def scaled(config: DescriptorConfig, scale: int, seed: int) -> DescriptorConfig:
    return replace(config, seed=seed, samples=scale * config.samples,
                   denoiser_samples=scale * config.denoiser_samples)


def first_to_reach(target: float, curve: list[tuple[float, float]]) -> dict:
    """When a curve is there; all it has, where it never is."""
    reached = [point for point in curve if point[1] >= target]
    seconds, score = reached[0] if reached else curve[-1]
    return {"seconds": seconds, "mAP": score, "reached": bool(reached)}


def best(target: float, seed: int, validation) -> tuple[dict, float]:
    """The shortest of the doubled trainings that reaches the target; and the seconds of all."""
    samples, spent = 1024, 0.0
    while True:
        config = replace(BEST, seed=seed, epochs=1, samples=samples, validation_samples=256)
        with tempfile.TemporaryDirectory() as store:
            *_, last = scored(config, validation, store)
        spent += last[0]
        if last[1] >= target or samples >= 2 * BEST.samples:
            return first_to_reach(target, [last]) | {"samples": samples}, spent
        samples *= 2


def main() -> None:
    chosen = measure.options(__doc__, scale={"type": int, "default": 2},
                             seeds={"type": int, "default": 1})
    validation, rows = load("photos", points=POINTS).validation, []
    for seed in range(chosen.seeds):
        curves = {}
        for name, config in (("final model", MODEL), ("baseline", DESCRIPTOR)):
            with tempfile.TemporaryDirectory() as store:
                curves[name] = list(scored(scaled(config, chosen.scale, seed), validation, store))
        target = curves["final model"][-1][1]
        found, tries = best(target, seed, validation)
        for name, row in (*((name, first_to_reach(target, curve))
                            for name, curve in curves.items()), ("best recipe", found)):
            rows.append({"seed": seed, "recipe": name, "target": target, **row,
                         "times the best recipe's": row["seconds"] / found["seconds"]})
        rows[-1]["seconds of all tries"] = tries
    measure.report(chosen.out, "quality", {
        "seconds to the final model's validation mAP": pd.DataFrame(rows).set_index("recipe")})


if __name__ == "__main__":
    main()
