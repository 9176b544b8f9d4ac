"""The twelve patients of chapter 13 and their repaired twins: results/clinic*.csv.

What is run is what the notebook shows: a patient's code is the answer cell of its
repair, and its healthy twin is the folded solution. `clinic.csv` has a row per run.
`clinic_signs.csv` has what was seen of it, a row per number: the sign, and the place
where it was seen (an epoch, a batch, a layer, a quantile ...).
"""

import ast
import hashlib
import platform
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import torch
from torch import nn

from hpkit.data.patches import PatchSet, photo_of
from hpkit.data.sets import PatchData, data_set, load
from hpkit.data.tasks import tasks_for
from hpkit.devices import resolve_precision
from hpkit.evaluation.describe import describe
from hpkit.evaluation.scores import retrieval
from hpkit.files import repository_folder
from hpkit.lessons.solutions import solutions
from hpkit.record import results_folder, write_table
from hpkit.training.fit import TrainingDiverged, fit

SHARED = {"clinic", "parameters"}  # tags of the cells that a patient's code needs
PATIENTS = range(13)  # number 0 is the healthy one that the others are held against
DENOISERS = (1, 2, 5)
SCORED = (8, 9, 10, 12)  # whose training is healthy, and the score is not
WITH_PAIRS = (6, 7)  # whose distances are recorded
SEEDS = (0, 1, 2)
QUANTILES = np.linspace(0.01, 0.99, 50)
BATCHES = (2, 4, 8, 16, 32, 64, 128)
PHOTOS = 3  # of patient 8: few, seen often
LONG = 30  # epochs of patients 8 and 9
SIZES = ("few_points", "denoiser_points", "few_samples", "few_epochs")
KEY = ["patient", "run", "seed"]
Sign = tuple[str, float, float]  # sign, place, value


# --- the code of the patients ---------------------------------------------------------


def cells() -> tuple[dict, dict[str, dict[int, str]]]:
    """What the patients' code needs, and their code.

    The code is by run ("patient", "healthy") and number.
    """
    path = repository_folder() / "notebooks" / "13_clinic.ipynb"
    notebook = nbformat.read(path, 4)
    space = {}
    for cell in notebook.cells:
        if SHARED & set(cell.metadata.get("tags", [])):
            exec(cell.source, space)  # the repository's own notebook, as a reader does
    space["check"] = lambda *_: None
    answers = {
        cell.metadata.exercise: cell.source
        for cell in notebook.cells
        if "exercise" in cell.metadata
    }
    return space, {
        "patient": _repairs(answers),
        "healthy": _repairs(solutions(notebook)),
    }


def _repairs(codes: dict[str, str]) -> dict[int, str]:
    """Those of the exercises called repair_1, repair_2 ..., by number."""
    start = "repair_"
    return {
        int(name.removeprefix(start)): code
        for name, code in codes.items()
        if name.startswith(start)
    }


def function(space: dict, code: str, number: int) -> Callable:
    """What the code of a patient defines."""
    space = dict(space)
    exec(code, space)
    return space[f"patient_{number}"]


def digest(code: str) -> str:
    """What a row says of its code: a hash of what it defines, without the check."""
    tree = ast.parse(code)
    parts = [node for node in tree.body if not isinstance(node, ast.Expr)]
    text = "\n".join(ast.get_source_segment(code, part) for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


# --- what is seen while a network trains ----------------------------------------------


def trained(
    made: dict, watch: Callable[[nn.Module], Iterable[tuple[str, float]]]
) -> Iterator[Sign]:
    """Train by a prescription; signs of each batch and epoch, and those of `watch`."""
    batches = []
    chosen = made.get("loss") or made["train"].natural_loss

    def loss(*outputs: torch.Tensor) -> torch.Tensor:
        value = chosen(*outputs)
        if value.requires_grad:  # not one of the validation
            batches.append(value.item())
        return value

    for sign, value in watch(made["model"]):
        yield sign, 0, value
    try:
        for epoch in fit(**made | {"loss": loss}):
            yield "loss", epoch.epoch, epoch.loss
            yield "val_loss", epoch.epoch, epoch.val_loss
            for sign, value in watch(made["model"]):
                yield sign, epoch.epoch, value
    except TrainingDiverged as error:
        yield "diverged", error.epoch, 1
    for place, value in enumerate(batches, 1):
        yield "batch loss", place, value


def active(network: nn.Module, images: torch.Tensor) -> list[float]:
    """The share of each ReLU's outputs that are above 0, layer by layer."""
    shares = []

    def note(layer: nn.Module, given: object, output: torch.Tensor) -> None:
        shares.append(float((output > 0).float().mean()))

    layers = [layer for layer in network.modules() if isinstance(layer, nn.ReLU)]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    with torch.no_grad():
        network.eval()(images)
    for hook in hooks:
        hook.remove()
    return shares


def denoiser_signs(made: dict, data: PatchData) -> Iterator[Sign]:
    """`trained`, with the output's contrast, and active units before and after."""
    some = data.validation["noisy"][::7].reshape(-1, 1, 32, 32)
    noisy = torch.from_numpy(some).float()

    def watch(network: nn.Module) -> Iterator[tuple[str, float]]:
        with torch.no_grad():
            output = network.eval()(noisy)
        yield "contrast", float(output.std((1, 2, 3)).mean())

    before = active(made["model"], noisy)
    yield from trained(made, watch)
    after = active(made["model"], noisy)
    for sign, shares in (("active before", before), ("active after", after)):
        for layer, share in enumerate(shares, 1):
            yield sign, layer, share


def descriptor_signs(
    made: dict, data: PatchData, space: dict, source: str, pairs: bool
) -> Iterator[Sign]:
    """`trained`, with the vital signs on validation patches.

    pairs: whether to add the distances of pairs at the end.
    """
    patches, sequence = data.validation[source], data.validation.sequence

    def watch(network: nn.Module) -> Iterable[tuple[str, float]]:
        return space["vital_signs"](describe(network, patches), sequence).items()

    yield from trained(made, watch)
    if not pairs:
        return
    found = describe(made["model"], patches)
    ref, tough = found[:, :1], found[:, 11:]
    yield from spread("positive", np.linalg.norm(ref - tough, axis=2))
    others = np.roll(tough, 1, axis=0)
    yield from spread("negative", np.linalg.norm(ref - others, axis=2))
    yield from own_pairs(made)


def own_pairs(made: dict) -> Iterator[Sign]:
    """Distances in the triplets of its training, and the eight worst positives."""
    sampler = replace(made["train"], samples=600)
    draw = sampler.draw(torch.Generator().manual_seed(1), 50)
    model = made["model"].eval()
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        a, p, n = sampler.outputs(model, sampler.on(torch.device("cpu")), draw)
    near, far = (a - p).norm(dim=1).numpy(), (a - n).norm(dim=1).numpy()
    yield from spread("own positive", near)
    yield from spread("own negative", far)
    for place, worst in enumerate(near.argsort()[:-9:-1]):
        yield "worst anchor", place, int(draw[worst, 0])
        yield "worst positive", place, int(draw[worst, 1])


def spread(sign: str, values: np.ndarray) -> Iterator[Sign]:
    """The quantiles of distances."""
    found = np.quantile(values, QUANTILES)
    for place, value in zip(QUANTILES, found, strict=True):
        yield f"{sign} distance", round(place, 2), value


# --- what is seen of a score ----------------------------------------------------------


def nearest(patches: PatchSet, train: PatchSet) -> np.ndarray:
    """(points,): grey levels from each reference patch to the nearest in training."""
    own, others = (
        side["clean"][:, 0].reshape(len(side), -1).astype(np.float32)
        for side in (patches, train)
    )
    return np.array([np.abs(others - patch).mean(1).min() for patch in own])


def photos_of(patches: PatchSet) -> np.ndarray:
    """(points,): the photo of each; its sequences are named i_ and v_ and its name."""
    return np.array([photo_of(name) for name in patches.names])[patches.sequence]


def evaluated(
    number: int, function: Callable, space: dict, data: PatchData, seed: int
) -> Iterator[Sign]:
    """The signs of patients 8 to 10 and 12, whose training is a healthy one."""
    if number == 8:
        some = sorted(set(photos_of(data.train)))[:PHOTOS]
        names = [name for name in data.train.names if photo_of(name) in some]
        data = replace(data, train=data.train.select(names))
    elif number == 9:
        train, scored = function(data.train)
        data = replace(data, train=train)
    made = space["healthy"](data.train, data.validation, seed)
    if number in (8, 9):
        made |= {"epochs": LONG}
    for sign in trained(made, lambda network: ()):
        if sign[0] != "batch loss":
            yield sign
    if number == 8:
        scored, score = function(made["model"], data)
        yield "reported", 0, score
        yield "nearest", 0, nearest(scored, data.train).max()
    elif number == 9:
        yield from leak_signs(made["model"], scored, data.train, space["matched"])
    elif number == 10:
        patches = data.validation
        yield from mode_signs(made["model"], function, patches, space["matched"])
    else:
        found = function(made["model"], data.validation["clean"])
        for sign, value in space["vital_signs"](
            found, data.validation.sequence
        ).items():
            yield sign, 0, value


def leak_signs(
    network: nn.Module, test: PatchSet, train: PatchSet, matched: Callable
) -> Iterator[Sign]:
    """The score of each test photo, and how near its patches are to training ones."""
    found = describe(network, test["clean"])
    near, photo = nearest(test, train), photos_of(test)
    yield "reported", 0, matched(found, test.sequence)
    for one in sorted(set(photo)):
        here = photo == one
        yield f"score of {one}", 0, matched(found[here], test.sequence[here])
        yield f"nearest of {one}", 0, np.median(near[here])


def mode_signs(
    network: nn.Module, function: Callable, patches: PatchSet, matched: Callable
) -> Iterator[Sign]:
    """The score by batch size, and how far two descriptors of one patch are apart.

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


def official_retrieval(network: nn.Module, patches: PatchSet) -> float:
    """The official score, by which a tie goes to the right answer."""
    tasks = tasks_for(patches, pairs=500, queries=20, distractors=50)
    return float(retrieval(describe(network, patches["clean"]), tasks).ap.mean())


# --- recording ------------------------------------------------------------------------


def signs(
    number: int, code: str, space: dict, data: PatchData, seed: int
) -> Iterator[Sign]:
    """Everything that is recorded of one run."""
    patient = space["healthy"] if number == 0 else function(space, code, number)
    if number in SCORED:
        yield from evaluated(number, patient, space, data, seed)
    elif number in DENOISERS:
        few = replace(data, train=data.train.head(space["denoiser_points"]))
        yield from denoiser_signs(patient(few.train, few.validation, seed), few)
    else:
        made = patient(data.train, data.validation, seed)
        source = "noisy" if number == 7 else "clean"
        pairs = number in WITH_PAIRS
        yield from descriptor_signs(made, data, space, source, pairs)
        if number == 11:
            yield "reported", 0, official_retrieval(made["model"], data.validation)


def recorded(
    number: int, run: str, code: str, space: dict, data: PatchData, seed: int
) -> tuple[dict, pd.DataFrame]:
    """One run: its row, and its signs."""
    started = time.perf_counter()
    found = signs(number, code, space, data, seed)
    seen = pd.DataFrame(found, columns=["sign", "place", "value"])
    names = {"patient": number, "run": run, "seed": seed}
    sizes = {name.removeprefix("few_"): space[name] for name in SIZES}
    if number in (8, 9):
        sizes["epochs"] = LONG
    row = {
        **names,
        "code": digest(code),
        **sizes,
        "data_version": data_set(space["data"]).version(),
        "device": "cpu",
        "precision": resolve_precision("auto", torch.device("cpu")),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "machine": platform.machine(),
        "finished": date.today().isoformat(),
        "seconds": round(time.perf_counter() - started, 1),
    }
    return row, seen.assign(**names)[[*names, *seen]]


def write(path: Path, table: pd.DataFrame) -> None:
    """Replace the rows that a file has of a run by these."""
    if path.exists():
        before = pd.read_csv(path)
        same = (before[KEY] == table[KEY].iloc[0]).all(axis=1)
        table = pd.concat([before[~same], table]).sort_values(KEY, kind="stable")
    write_table(path, table, float_format="%.4g")


def record(patients: Iterable[int] = PATIENTS, seeds: Iterable[int] = SEEDS) -> None:
    """Run these patients and their twins; write results/clinic*.csv after each run."""
    results, wanted = results_folder(), set(patients)
    torch.set_num_threads(1)
    space, codes = cells()
    data = load(space["data"], points=space["few_points"])
    runs = [("healthy", 0)]
    runs += [(run, number) for number in codes["patient"] for run in codes]
    runs = [pair for pair in runs if pair[1] in wanted]
    for seed in seeds:
        for run, number in runs:
            code = codes[run].get(number, "")
            row, seen = recorded(number, run, code, space, data, seed)
            write(results / "clinic.csv", pd.DataFrame([row]))
            write(results / "clinic_signs.csv", seen)
            told = f"patient {number} {run} seed {seed}: {row['seconds']} s"
            print(told, flush=True)
