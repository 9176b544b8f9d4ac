"""Every kind of file that the kit reads, how one is made, how it is read, and what may come of it.

A `Reader` makes its files in an empty folder, reads them, and gives something that can be compared.
`refused` are the exceptions that are documented; each has to name a file. `others` says what else
may come where a format has no checksum, so that some damage is another valid file.
"""

import hashlib
import json
import os
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import torch
import web
from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image
from tiny import patch_set

from hpkit import files
from hpkit.book import executed, parameters
from hpkit.book.stamps import stamp
from hpkit.data import arrays, patches, strips, tasks
from hpkit.data.archives import read_pins, root_of
from hpkit.data.sets import read_sequences
from hpkit.data.splits import read_split
from hpkit.data.tasks import blob_id, generate_tasks, read_tasks, write_tasks
from hpkit.evaluation.descriptor_files import read_descriptors, write_descriptors
from hpkit.experiments import arms, store
from hpkit.experiments.configs import DenoiserConfig
from hpkit.matching.images import read_image
from hpkit.networks import pretrained

ONE = patch_set(points=2)
CONFIG = DenoiserConfig(device="cpu", precision="float32", threads=1).resolved()


@dataclass(frozen=True)
class Reader:
    """make(folder): the files. files(folder): those that are damaged, one at a time."""

    make: Callable[[Path], None]
    read: Callable[[Path], object]
    files: str  # a pattern
    others: str = ""


def hashed(*arrays: np.ndarray) -> str:
    return hashlib.sha256(b"".join(repr((a.dtype, a.shape)).encode() + a.tobytes()
                                   for a in map(np.ascontiguousarray, arrays))).hexdigest()


# --- patches -------------------------------------------------------------------------------------

def make_arrays(folder: Path) -> None:
    def write(part: Path, name: str) -> None:
        for kind, values in (("clean", ONE["clean"]), ("noisy", ONE["noisy"])):
            np.save(part / "arrays" / f"{name}_{kind}.npy", values)

    arrays.build_folder(folder / "set", write, {"a": {"train": ["i_x"], "test": ["v_y"]}})


def read_arrays(folder: Path) -> str:
    found = read_sequences(folder / "set", ["i_x", "v_y"])
    return hashed(found["clean"], found["noisy"])


def make_converted(folder: Path) -> None:
    strips.write_sequence(folder / "png" / "i_x", ONE["clean"], ONE["noisy"])
    arrays.convert(folder / "png", ["i_x"], folder / "arrays")


def read_converted(folder: Path) -> str:
    arrays.convert(folder / "png", ["i_x"], folder / "arrays")
    found = read_sequences(folder, ["i_x"])
    return hashed(found["clean"], found["noisy"], found.contrast)


def make_pngs(folder: Path) -> None:
    strips.write_sequence(folder / "i_x", ONE["clean"], ONE["noisy"])


def read_pngs(folder: Path) -> str:
    return hashed(*strips.read_sequence(folder / "i_x").values())


def make_zip(folder: Path) -> None:
    (folder / "set.zip").write_bytes(web.archive({"i_x": web.strips(2, 6, 32)}))


def read_zip(folder: Path) -> str:
    root = root_of(folder / "set.zip")
    if not (root / "i_x").is_dir():
        raise FileNotFoundError(f"{folder / 'set.zip'}: no i_x")  # as read_sequences says it
    return hashed(*strips.read_sequence(root / "i_x").values())


def make_splits(folder: Path) -> None:
    (folder / "splits.json").write_text(json.dumps({split: {
        "name": split, "test": ["v_a", "i_b", f"v_{split}x"], "train": ["i_d", "v_e", "v_f", "i_g"]}
        for split in "abc"} | {"own": {"train": ["i_a"], "validation": ["i_b"], "test": ["i_c"]}}))


def read_splits(folder: Path) -> list:
    return [read_split(folder, split) for split in ("a", "b", "own")]


def same_but_for_names(before: list, after: list) -> bool:
    """Names of sequences are text like any other: one that is not there is refused when opened."""
    return [{side: len(names) for side, names in sides.items()} for sides in before] == [
        {side: len(names) for side, names in sides.items()} for sides in after]


def make_pins(folder: Path) -> None:
    (folder / "source.json").write_text(json.dumps({"directory": "0b" * 32, "sha256": "a1" * 32}))


# --- runs and weights ----------------------------------------------------------------------------

def make_run(folder: Path) -> None:
    place = folder / CONFIG.key()
    place.mkdir()
    weights = {f"w{i}": torch.arange(6.0).reshape(2, 3) + i for i in range(3)}
    history = [{"epoch": n, "loss": 1 / n, "val_loss": 2 / n, "lr": 0.1, "seconds": 1.5,
                "samples": 8} for n in (1, 2)]
    files.write_json(place / "config.json", {"seed": 0})
    store.finish(place, CONFIG, {store.LAST: weights}, history, "finished")
    files.write_json(place / f"scores-{CONFIG.score_key()}.json", {"test_mae": 1.25})


def read_run(folder: Path) -> tuple:
    """As `run` does; what it would set aside is refused here."""
    place = folder / CONFIG.key()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            info = store.open_run(place, CONFIG)
        except UserWarning as said:
            raise files.Damaged(str(said)) from None
        finally:
            for aside in folder.glob("*.damaged-*"):
                aside.rename(place)
    weights = {name: w.tolist() for name, w in store.read_weights(place).items()}
    return (info, weights, pd.read_csv(place / "history.csv").to_dict(),
            files.read_json(place / f"scores-{CONFIG.score_key()}.json"))


def make_checkpoint(folder: Path) -> None:
    state = {"epoch": 2, "model": {"w": torch.arange(12.0).reshape(3, 4), "n": torch.tensor(3)},
             "optimizer": {"name": "adam", "state": {0: {"step": 2, "m": torch.ones(5)}}}}
    store.write_checkpoint(folder, state, [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}])


def read_checkpoint(folder: Path) -> str:
    return repr(store.read_checkpoint(folder))


def make_weights(folder: Path) -> None:
    for name in ("denoiser.json", "denoiser.safetensors"):
        (folder / name).write_bytes((pretrained.WEIGHTS / name).read_bytes())


def read_weights(folder: Path) -> tuple:
    usual, pretrained.WEIGHTS = pretrained.WEIGHTS, folder
    try:
        told = pretrained.card("denoiser")
        weights = pretrained.pretrained("denoiser").state_dict().values()
        return told, hashed(*(w.numpy() for w in weights))
    finally:
        pretrained.WEIGHTS = usual


# --- tasks, descriptors, results -----------------------------------------------------------------

TASKS = generate_tasks(["i_x", "v_y"], [12, 9], np.full(21, 50.0), 12, 3, 6)
SPLIT = "published"


def make_tasks(folder: Path) -> None:
    write_tasks(TASKS, folder, SPLIT)


def read_published(folder: Path) -> str:
    """With their checksums known, as those of the benchmark are."""
    usual = tasks.official_ids
    tasks.official_ids = lambda: PUBLISHED
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return read_own(folder)
    except UserWarning as said:
        raise ValueError(str(said)) from None
    finally:
        tasks.official_ids = usual


def read_own(folder: Path) -> str:
    found = read_tasks(folder, SPLIT, TASKS.names, [12, 9])
    return hashed(*(getattr(found, field) for field in tasks.FILES))


def _published() -> dict[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        make_tasks(Path(folder))
        return {path.name: blob_id(path.read_bytes()) for path in Path(folder).iterdir()}


PUBLISHED = _published()
DESCRIPTORS = np.random.default_rng(0).normal(size=(2, 16, 3)).astype(np.float32)


def make_npz(folder: Path) -> None:
    np.savez(folder / "d.npz", **{f"i_test/{t}": DESCRIPTORS[:, i]
                                  for i, t in enumerate(patches.PATCH_TYPES)})


def read_npz(folder: Path) -> str:
    return hashed(read_descriptors(folder / "d.npz", ["i_test"])[0])


def make_csv(folder: Path) -> None:
    write_descriptors(folder, DESCRIPTORS, ONE)


def read_csv(folder: Path) -> tuple:
    found = read_descriptors(folder, ["i_test"])[0]
    return found.shape, hashed(found)


def make_results(folder: Path) -> None:
    table = pd.DataFrame({"seed": range(4), "optimizer": ["adam", "sgd"] * 2,
                          "test_mae": [6.25, 7.5, 6.5, 7.25]})
    results = folder / "notebooks" / "results"
    results.mkdir(parents=True)
    table.to_csv(results / "toy.csv", index=False)


def read_results(folder: Path) -> tuple:
    """The table, and the stamp that a notebook would have."""
    here, notebook = Path.cwd(), new_notebook(cells=[new_code_cell('recorded("toy")')])
    os.chdir(folder)
    try:
        return stamp(notebook, package=folder / "hpkit"), arms.recorded("toy").to_csv()
    finally:
        os.chdir(here)


# --- the book ------------------------------------------------------------------------------------

def make_parameters(folder: Path) -> None:
    (folder / "toy.yaml").write_text(
        "# the scale\nepochs: 5  # passes\nlr: 1e-3\ndata: photos\nseeds: [0, 1, 2]\nbest: true\n"
        "limit: null\n")


def read_parameters(folder: Path) -> dict:
    return parameters.read_values([["epochs", "7"]], str(folder / "toy.yaml"))


def toy_notebook() -> nbformat.NotebookNode:
    cell = new_code_cell('epochs = 3  # passes\nname = "adam"\nseeds = [0, 1]',
                         metadata={"tags": ["parameters"]})
    cell.outputs = [new_output("stream", text="grüße\n")]
    return new_notebook(cells=[cell], metadata={"kernelspec": {
        "name": "python3", "display_name": "Python 3", "language": "python"}})


def make_notebook(folder: Path) -> None:
    notebook = toy_notebook()
    notebook.metadata.hpkit = executed.record(notebook, stamp(notebook), {}, 1.5)
    nbformat.write(notebook, folder / "toy.ipynb")


def read_executed(folder: Path) -> str:
    """As the book does that finds it finished; one it would run again is refused here."""
    path = folder / "toy.ipynb"
    if executed.kept(path, toy_notebook(), {}) != 1.5:
        raise ValueError(f"{path} is run again")
    return str(nbformat.read(path, 4).metadata.hpkit)


def make_predictions(folder: Path) -> None:
    files.write_json(folder / "predictions.json", {"C1": {"statement": "it is so",
                                                          "confidence": 0.75}})


# --- images --------------------------------------------------------------------------------------

PHOTO = Image.fromarray(np.add.outer(np.arange(48), 3 * np.arange(60)).astype(np.uint8))
TURNED = Image.Exif()
TURNED[274] = 6  # "turn me a quarter clockwise"


def image(kind: str) -> Reader:
    options = {"exif": TURNED} if kind in ("jpeg", "png", "webp") else {}

    def read(folder: Path) -> tuple:
        found = read_image(folder / f"photo.{kind}")
        assert found.dtype == np.uint8 and found.ndim == 2
        assert min(found.shape) >= 32 and max(found.shape) <= 800
        return found.shape, found.tobytes()

    return Reader(lambda folder: PHOTO.save(folder / f"photo.{kind}", **options), read,
                  f"photo.{kind}", "another picture: most images have no checksum")


READERS = {
    "arrays of an embedded set": Reader(make_arrays, read_arrays, "set/arrays/*"),
    "arrays of a converted folder": Reader(make_converted, read_converted, "arrays/i_x*"),
    "PNG strips of a folder": Reader(make_pngs, read_pngs, "i_x/*"),
    "zip of a data set": Reader(make_zip, read_zip, "set.zip"),
    "splits.json": Reader(make_splits, read_splits, "splits.json",
                          "another name of a sequence, refused when it is opened"),
    "source.json of a download": Reader(make_pins, lambda f: read_pins(f / "source.json"),
                                        "source.json", "another archive, refused when it is read"),
    "folder of a run": Reader(make_run, read_run, f"{CONFIG.key()}/*"),
    "checkpoint": Reader(make_checkpoint, read_checkpoint, "checkpoint.pt"),
    "shipped weights and card": Reader(make_weights, read_weights, "denoiser.*"),
    "official task files": Reader(make_tasks, read_published, "*.csv"),
    "own task files": Reader(make_tasks, read_own, "*.csv", "another valid pair or patch"),
    "descriptors, .npz": Reader(make_npz, read_npz, "d.npz"),
    "descriptors, CSV": Reader(make_csv, read_csv, "i_test/*", "another number"),
    "results CSV": Reader(make_results, read_results, "notebooks/results/toy.csv",
                          "another table, whose notebooks' stamps are stale"),
    "parameters, YAML": Reader(make_parameters, read_parameters, "toy.yaml", "another request"),
    "notebook, its parameters": Reader(
        make_notebook, lambda f: parameters.defaults(f / "toy.ipynb"), "toy.ipynb",
        "another notebook, whose stamp is stale"),
    "executed notebook": Reader(make_notebook, read_executed, "toy.ipynb"),
    "predictions": Reader(make_predictions, lambda f: files.read_json(f / "predictions.json"),
                          "predictions.json"),
    **{f"photo, {kind.upper()}": image(kind)
       for kind in ("jpeg", "png", "webp", "tiff", "bmp", "gif", "ppm")},
}
