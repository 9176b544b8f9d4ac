"""Run the ten patients of chapter 13 and their repaired twins; write results/clinic*.csv.

`python tests/tools/clinic.py` takes two minutes on one core. What is run is what the notebook
shows: a patient's code is the answer cell of its repair, its healthy twin the folded solution.
`clinic.csv` has a row per run, `clinic_signs.csv` what was seen of it, a row per number:
sign, and the place where it was seen (an epoch, a batch, a layer, a quantile ...).
"""

import argparse
import hashlib
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import torch
from anatomy import solutions
from torch import nn

from hpkit.configs import data_version
from hpkit.devices import resolve_precision
from hpkit.evaluation import describe
from hpkit.patches import PatchData, PatchSet, load
from hpkit.training import TrainingDiverged, fit

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
SHARED = {"clinic", "parameters"}  # tags of the cells that a patient's code needs
DENOISERS, DESCRIPTORS, SCORED = (1, 2, 5), (0, 3, 4, 6, 7), (8, 9, 10)
SEEDS, QUANTILES, BATCHES = (0, 1, 2), np.linspace(0.01, 0.99, 50), (2, 4, 8, 16, 32, 64, 128)
PHOTOS, LONG = 3, 30  # of patient 8, and the epochs of 8 and 9: few photos, seen often
SIZES = ("few_points", "denoiser_points", "few_samples", "few_epochs")


def cells() -> tuple[dict, dict[str, dict[int, str]]]:
    """What the patients' code needs, and the code by run ("patient", "healthy") and number."""
    notebook = nbformat.read(NOTEBOOKS / "13_clinic.ipynb", 4)
    space = {}
    for cell in notebook.cells:
        if SHARED & set(cell.metadata.get("tags", [])):
            exec(cell.source, space)
    space["lessons"] = SimpleNamespace(check=lambda *_: None)
    broken = {c.metadata.exercise: c.source for c in notebook.cells if "exercise" in c.metadata}
    codes = {run: {int(name[7:]): code for name, code in found.items() if name[:7] == "repair_"}
             for run, found in (("patient", broken), ("healthy", solutions(notebook)))}
    return space, codes


def function(space: dict, code: str, number: int) -> Callable:
    space = dict(space)
    exec(code, space)
    return space[f"patient_{number}"]


def digest(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()[:12]


def trained(made: dict, watch: Callable[[nn.Module], Iterator[tuple]]) -> Iterator[tuple]:
    """Train by a prescription; signs (sign, place, value) of each batch and epoch, and `watch`'s.
    """
    batches, chosen = [], made.get("loss") or made["train"].natural_loss

    def loss(*outputs: torch.Tensor) -> torch.Tensor:
        value = chosen(*outputs)
        if value.requires_grad:  # not one of the validation
            batches.append(value.item())
        return value

    yield from ((sign, 0, value) for sign, value in watch(made["model"]))
    try:
        for epoch in fit(**made | {"loss": loss}):
            yield "loss", epoch.epoch, epoch.loss
            yield "val_loss", epoch.epoch, epoch.val_loss
            yield from ((sign, epoch.epoch, value) for sign, value in watch(made["model"]))
    except TrainingDiverged as error:
        yield "diverged", error.epoch, 1
    yield from (("batch loss", place, value) for place, value in enumerate(batches, 1))


def active(network: nn.Module, images: torch.Tensor) -> list[float]:
    """The share of each ReLU's outputs that are above 0, layer by layer."""
    shares = []
    layers = [layer for layer in network.modules() if isinstance(layer, nn.ReLU)]
    hooks = [layer.register_forward_hook(lambda _, __, out: shares.append((out > 0).float().mean()))
             for layer in layers]
    with torch.no_grad():
        network.eval()(images)
    for hook in hooks:
        hook.remove()
    return [float(share) for share in shares]


def denoiser_signs(made: dict, data: PatchData) -> Iterator[tuple]:
    """`trained`, with the contrast of the output and the share of active units before and after."""
    noisy = torch.from_numpy(data.validation["noisy"][::7].reshape(-1, 1, 32, 32)).float()

    def watch(network: nn.Module) -> Iterator[tuple]:
        with torch.no_grad():
            output = network.eval()(noisy)
        yield "contrast", float(output.std((1, 2, 3)).mean())

    before = active(made["model"], noisy)
    yield from trained(made, watch)
    for sign, shares in (("before", before), ("after", active(made["model"], noisy))):
        yield from ((f"active {sign}", layer, share) for layer, share in enumerate(shares, 1))


def descriptor_signs(made: dict, data: PatchData, space: dict, source: str, pairs: bool
                     ) -> Iterator[tuple]:
    """`trained`, with the vital signs on validation patches; with pairs, distances at the end."""
    patches, sequence = data.validation[source], data.validation.sequence

    def watch(network: nn.Module) -> Iterator[tuple]:
        yield from space["vital_signs"](describe(network, patches), sequence).items()

    yield from trained(made, watch)
    if not pairs:
        return
    found = describe(made["model"], patches)
    ref, tough = found[:, :1], found[:, 11:]
    yield from spread("positive", np.linalg.norm(ref - tough, axis=2))
    yield from spread("negative", np.linalg.norm(ref - np.roll(tough, 1, axis=0), axis=2))
    yield from own_pairs(made)


def own_pairs(made: dict) -> Iterator[tuple]:
    """Distances within the triplets that it was trained on, and the eight worst positives."""
    sampler = replace(made["train"], samples=600)
    draw = sampler.draw(torch.Generator().manual_seed(1))
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        a, p, n = sampler.outputs(made["model"].eval(), sampler.on(torch.device("cpu")), draw)
    near, far = (a - p).norm(dim=1).numpy(), (a - n).norm(dim=1).numpy()
    yield from spread("own positive", near)
    yield from spread("own negative", far)
    for place, worst in enumerate(near.argsort()[:-9:-1]):
        yield "worst anchor", place, int(draw[worst, 0])
        yield "worst positive", place, int(draw[worst, 1])


def spread(sign: str, values: np.ndarray) -> Iterator[tuple]:
    yield from ((f"{sign} distance", round(place, 2), value)
                for place, value in zip(QUANTILES, np.quantile(values, QUANTILES), strict=True))


def nearest(patches: PatchSet, train: PatchSet) -> np.ndarray:
    """(points,): grey levels from each reference patch to the most alike one in training."""
    own, others = (p["clean"][:, 0].reshape(len(p), -1).astype(np.float32)
                   for p in (patches, train))
    return np.array([np.abs(others - patch).mean(1).min() for patch in own])


def photos_of(patches: PatchSet) -> np.ndarray:
    """(points,): the photo of each; its sequences are called i_ and v_ and its name."""
    return np.array([name[2:] for name in patches.names])[patches.sequence]


def evaluated(number: int, function: Callable, space: dict, data: PatchData, seed: int
              ) -> Iterator[tuple]:
    """The signs of patients 8 to 10, whose training is a healthy one."""
    if number == 8:
        some = sorted(set(photos_of(data.train)))[:PHOTOS]
        names = [name for name in data.train.names if name[2:] in some]
        data = replace(data, train=data.train.select(names))
    elif number == 9:
        train, scored = function(data.train)
        data = replace(data, train=train)
    made = space["healthy"](data.train, data.validation, seed)
    made |= {} if number == 10 else {"epochs": LONG}
    yield from (sign for sign in trained(made, lambda network: ()) if sign[0] != "batch loss")
    if number == 8:
        scored, score = function(made["model"], data)
        yield "reported", 0, score
        yield "nearest", 0, nearest(scored, data.train).max()
    elif number == 9:
        yield from leak_signs(made["model"], scored, data.train, space["matched"])
    else:
        yield from mode_signs(made["model"], function, data.validation, space["matched"])


def leak_signs(network: nn.Module, test: PatchSet, train: PatchSet, matched: Callable
               ) -> Iterator[tuple]:
    """Of each test photo its score and how alike its most alike training patches are."""
    found, alike, photo = describe(network, test["clean"]), nearest(test, train), photos_of(test)
    yield "reported", 0, matched(found, test.sequence)
    for one in sorted(set(photo)):
        here = photo == one
        yield f"score of {one}", 0, matched(found[here], test.sequence[here])
        yield f"nearest of {one}", 0, np.median(alike[here])


def mode_signs(network: nn.Module, function: Callable, patches: PatchSet, matched: Callable
               ) -> Iterator[tuple]:
    """The score for several batch sizes, and how far two descriptors of one patch are apart.

    The network comes as a training loop leaves it: in training mode.
    """
    state = {name: values.clone() for name, values in network.state_dict().items()}
    torch.manual_seed(0)
    for size in BATCHES:
        network.load_state_dict(state)
        found = function(network.train(), patches["clean"], size)
        yield "score by batch", size, matched(found, patches.sequence)
    yield "reported", 0, matched(found, patches.sequence)
    again = function(network.train(), patches["clean"], size)
    apart = np.linalg.norm(found - again, axis=2)
    usual = np.linalg.norm(found - np.roll(found, 1, axis=0), axis=2)
    yield "apart from itself", 0, apart.mean() / usual.mean()


def signs(number: int, code: str, space: dict, data: PatchData, seed: int) -> Iterator[tuple]:
    """Everything that is recorded of one run: (sign, place, value)."""
    patient = space["healthy"] if number == 0 else function(space, code, number)
    if number in SCORED:
        yield from evaluated(number, patient, space, data, seed)
    elif number in DENOISERS:
        few = replace(data, train=data.train.head(space["denoiser_points"]))
        yield from denoiser_signs(patient(few.train, few.validation, seed), few)
    else:
        source = "noisy" if number == 7 else "clean"
        yield from descriptor_signs(patient(data.train, data.validation, seed), data, space,
                                    source, number in (6, 7))


def recorded(number: int, run: str, code: str, space: dict, data: PatchData, seed: int
             ) -> tuple[dict, pd.DataFrame]:
    """One run: its row, and its signs."""
    started = time.perf_counter()
    seen = pd.DataFrame(signs(number, code, space, data, seed), columns=["sign", "place", "value"])
    names = {"patient": number, "run": run, "seed": seed}
    sizes = {name.removeprefix("few_"): space[name] for name in SIZES}
    sizes |= {"epochs": LONG} if number in (8, 9) else {}
    row = names | {"code": digest(code), **sizes,
                   "data_version": data_version(space["data"]), "device": "cpu",
                   "precision": resolve_precision("auto", torch.device("cpu")),
                   "threads": torch.get_num_threads(), "python": platform.python_version(),
                   "torch": torch.__version__, "numpy": np.__version__,
                   "machine": platform.machine(), "finished": date.today().isoformat(),
                   "seconds": round(time.perf_counter() - started, 1)}
    return row, seen.assign(**names)[[*names, *seen]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("patients", nargs="*", type=int, help="only these (default: all)")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    space, codes = cells()
    data = load(space["data"], points=space["few_points"])
    wanted = options.patients or range(11)
    runs = [("healthy", 0), *((run, number) for number in codes["patient"] for run in codes)]
    for seed in options.seeds:
        for run, number in (pair for pair in runs if pair[1] in wanted):
            row, seen = recorded(number, run, codes[run].get(number, ""), space, data, seed)
            write("clinic", pd.DataFrame([row]))
            write("clinic_signs", seen)
            print(f"patient {number} {run} seed {seed}: {row['seconds']} s", flush=True)


def write(name: str, table: pd.DataFrame) -> None:
    """Put a run's rows in the place of those that the file has of it."""
    path = NOTEBOOKS / "results" / f"{name}.csv"
    if path.exists():
        before, key = pd.read_csv(path), ["patient", "run", "seed"]
        same = (before[key] == table[key].iloc[0]).all(axis=1)
        table = pd.concat([before[~same], table]).sort_values(key, kind="stable")
    table.to_csv(path, index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
