"""The files of a run's folder: written whole or not at all, and not trusted when read.

config.json, checkpoint.pt (the last finished epoch of a training that goes on), history.csv (a row
per epoch), weights.safetensors, run.json (versions, machine, seconds, checksums; its presence says
that the training is finished) and a scores file for each way of scoring.
"""

import hashlib
import io
import json
import os
import platform
import time
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from filelock import FileLock
from safetensors.torch import load, save

from hpkit.archives import digest
from hpkit.configs import Config, data_version
from hpkit.layout import write_whole, writing
from hpkit.patches import cache_folder

COLUMNS = ["epoch", "loss", "val_loss", "lr", "seconds", "samples"]
CHECKED = ("weights.safetensors", "history.csv")


class Damaged(ValueError):
    """A file of a run is not what was written."""


def store_folder() -> Path:
    """Where runs are kept: the environment's HPKIT_RUNS, or `runs` in the cache folder."""
    return Path(os.environ.get("HPKIT_RUNS") or cache_folder() / "runs")


def run_folder(config: Config, store: str | Path | None) -> Path:
    """The folder of a run; the store is made where there is none."""
    whole = Path(store or store_folder())
    with writing(whole):
        whole.mkdir(parents=True, exist_ok=True)
    return whole / config.key()


def lock(folder: Path, timeout: float = -1) -> FileLock:
    """A run's lock, taken: the operating system's, which falls when its process dies, in any way.

    Raises filelock's Timeout after so many seconds, OSError in one sentence for a read-only store.
    """
    with writing(folder):
        return FileLock(f"{folder}.lock", timeout=timeout).acquire()


def open_run(folder: Path, config: Config) -> dict | None:
    """What run.json says of a finished training, None where there is none yet.

    A folder with a damaged file is renamed to `<name>.damaged-1` (-2 ...) with a warning that says
    what was wrong; the training then starts afresh.
    """
    try:
        return _info(folder, config)
    except (Damaged, OSError) as error:
        number = 1
        while (aside := folder.with_name(f"{folder.name}.damaged-{number}")).exists():
            number += 1
        with writing(folder):
            folder.rename(aside)
        warnings.warn(f"{error}; the folder was set aside as {aside.name}, and the run starts "
                      "afresh", stacklevel=3)
        return None


def _info(folder: Path, config: Config) -> dict | None:
    if not (folder / "run.json").exists():
        read_checkpoint(folder)  # raises Damaged
        return None
    info = read_json(folder / "run.json")
    if info["config"] != config.trained():
        raise Damaged(f"{folder / 'run.json'}: holds another configuration than its name says")
    for name, expected in info["sha256"].items():
        if not (folder / name).exists() or sha256(folder / name) != expected:
            raise Damaged(f"{folder / name}: missing or changed since it was written")
    for path in folder.glob("scores-*.json"):
        read_json(path)
    return info


def read_checkpoint(folder: Path) -> dict | None:
    """The last finished epoch's state and the history until then; None before the first.

    Raises Damaged for a file that is cut or changed.
    """
    path = folder / "checkpoint.pt"
    if not path.exists():
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            if bad := archive.testzip():  # compares the checksum of every part
                raise ValueError(f"{bad} has changed")
        return load_state(path)
    except Exception as error:  # a damaged file can fail in any way
        raise Damaged(f"{path}: not a whole checkpoint ({error})") from error


def write_checkpoint(folder: Path, state: dict, history: list[dict]) -> None:
    """Both in one file, so that they always belong to the same epoch."""
    save_state({"state": state, "history": history}, folder / "checkpoint.pt")


def save_state(state: dict, path: str | Path) -> None:
    """Write an epoch's state to a file; an interrupted write leaves the old file as it was."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_whole(Path(path), buffer.getbuffer())


def load_state(path: str | Path) -> dict:
    """Read what `save_state` wrote, onto the CPU; a file cannot run code (`weights_only`)."""
    return torch.load(path, map_location="cpu", weights_only=True)


def table(history: list[dict]) -> pd.DataFrame:
    """A row per epoch, with the columns also where there is none yet."""
    return pd.DataFrame(history, columns=COLUMNS)


def finish(folder: Path, config: Config, weights: dict, history: list[dict], status: str) -> dict:
    """Write what a finished training leaves, run.json last; gives what is in it."""
    rows = table(history)
    write_whole(folder / "weights.safetensors",
                save({name: w.cpu().contiguous() for name, w in weights.items()}))
    write_whole(folder / "history.csv", rows.to_csv(index=False).encode())
    info = {"config": config.trained(), "data_version": data_version(config.data),
            "status": status, "seconds": round(float(rows.seconds.sum()), 2),
            "python": platform.python_version(), "torch": torch.__version__,
            "numpy": np.__version__, "machine": machine(config.device),
            "finished": time.strftime("%Y-%m-%d"),
            "sha256": {name: sha256(folder / name) for name in CHECKED}}
    write_json(folder / "run.json", info)
    for path in [folder / "checkpoint.pt", *folder.glob("*.part")]:  # parts of killed processes
        path.unlink(missing_ok=True)
    return info


def read_weights(folder: Path) -> dict[str, torch.Tensor]:
    """The weights of a finished run. Raises Damaged where they are not what run.json says."""
    path = folder / "weights.safetensors"
    data = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(data).hexdigest() != read_json(folder / "run.json")["sha256"][path.name]:
        raise Damaged(f"{path}: missing or changed since it was written")
    return load(data)


def machine(device: str) -> str:
    """The name of a GPU, or the kind of processor."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return platform.processor() or platform.machine()


def write_json(path: Path, content: dict) -> None:
    """With a checksum of the content beside it."""
    whole = {"content": content, "sha256": digest(content)}
    write_whole(path, json.dumps(whole, indent=1).encode())


def read_json(path: Path) -> dict:
    """What `write_json` wrote; raises Damaged for anything else."""
    try:
        whole = json.loads(path.read_text())
        if digest(whole["content"]) == whole["sha256"]:
            return whole["content"]
    except (ValueError, KeyError, TypeError, RecursionError, FileNotFoundError):
        pass
    raise Damaged(f"{path}: missing or changed since it was written")


def sha256(path: Path) -> str:
    """Of the file's bytes, as text."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
