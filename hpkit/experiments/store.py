"""The files of a run's folder: written whole or not at all, and not trusted when read.

config.json; checkpoint.pt (the last finished epoch of a run that is not done);
history.csv (a row per epoch); weights.safetensors, and averaged.safetensors where the
mean of the last steps was asked for; run.json (versions, machine,
seconds, checksums; its presence says that the training is finished); and a scores file
for each way of scoring.
"""

import hashlib
import io
import platform
import subprocess
import sys
import time
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from filelock import FileLock
from safetensors.torch import load, save

from hpkit.data.sets import data_set
from hpkit.experiments.configs import Config
from hpkit.files import (
    Damaged,
    cache_folder,
    named_folder,
    read_json,
    sha256,
    write_json,
    write_whole,
    writing,
)
from hpkit.waiting import file_lock

COLUMNS = ["epoch", "loss", "val_loss", "lr", "seconds", "samples"]
LAST, AVERAGED = "weights.safetensors", "averaged.safetensors"


def store_folder() -> Path:
    """Where runs are kept: HPKIT_RUNS, or `runs` in the cache folder."""
    return named_folder("HPKIT_RUNS") or cache_folder() / "runs"


def run_folder(config: Config, store: str | Path | None) -> Path:
    """The folder of a run; the store is made where there is none."""
    whole = Path(store).expanduser() if store else store_folder()
    with writing(whole):
        whole.mkdir(parents=True, exist_ok=True)
    return whole / config.key()


def lock(folder: Path, timeout: float = -1) -> FileLock:
    """Take a run's lock, see `waiting.file_lock`.

    Raises OSError in one sentence for a read-only store, too.
    """
    with writing(folder):
        return file_lock(f"{folder}.lock", timeout)


def open_run(folder: Path, config: Config) -> dict | None:
    """What run.json says of a finished training, None where there is none yet.

    A folder with a file that is proven to be damaged is renamed to `<name>.damaged-1`
    (-2 ...), with a warning that says what was wrong. The training then starts afresh.
    Raises OSError where the folder cannot be read now (too many open files, a drive
    that is away); nothing is moved then.
    """
    try:
        return _info(folder, config)
    except Damaged as error:
        number = 1
        while (aside := folder.with_name(f"{folder.name}.damaged-{number}")).exists():
            number += 1
        with writing(folder):
            folder.rename(aside)
        warnings.warn(
            f"{error}; the folder was set aside as {aside.name}, and the run starts "
            "afresh",
            stacklevel=3,
        )
        return None


def _info(folder: Path, config: Config) -> dict | None:
    if not (folder / "run.json").exists():
        read_checkpoint(folder)  # raises Damaged
        return None
    info = read_json(folder / "run.json")
    if info["config"] != config.trained():
        raise Damaged(
            f"{folder / 'run.json'}: holds another configuration than its name says"
        )
    for name, expected in info["sha256"].items():
        if not (folder / name).exists() or sha256(folder / name) != expected:
            raise Damaged(f"{folder / name}: missing or changed since it was written")
    for path in folder.glob("scores-*.json"):
        read_json(path)
    return info


def read_checkpoint(folder: Path) -> dict | None:
    """The last finished epoch's state and the history; None before the first.

    Raises Damaged for a file that is cut or changed.
    """
    path = folder / "checkpoint.pt"
    if not path.exists():
        return None
    content = io.BytesIO(path.read_bytes())  # an OSError is no damage
    try:
        with zipfile.ZipFile(content) as archive:
            if bad := archive.testzip():  # compares the checksum of every part
                raise ValueError(f"{bad} has changed")
        content.seek(0)
        return load_state(content)
    except Exception as error:  # a damaged file can fail in any way
        raise Damaged(f"{path}: not a whole checkpoint ({error})") from error


def write_checkpoint(folder: Path, state: dict, history: list[dict]) -> None:
    """Write state and history in one file, so that they always belong to one epoch."""
    save_state({"state": state, "history": history}, folder / "checkpoint.pt")


def save_state(state: dict, path: str | Path) -> None:
    """Write an epoch's state to a file; an interrupted write leaves the old file."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_whole(Path(path), buffer.getbuffer())


def load_state(file: str | Path | io.BytesIO) -> dict:
    """Read what `save_state` wrote, onto the CPU; a file cannot run code."""
    return torch.load(file, map_location="cpu", weights_only=True)


def table(history: list[dict]) -> pd.DataFrame:
    """A row per epoch; it has the columns even where there is no epoch yet."""
    return pd.DataFrame(history, columns=COLUMNS)


def finish(
    folder: Path,
    config: Config,
    weights: dict[str, dict],
    history: list[dict],
    status: str,
) -> dict:
    """Write what a finished training leaves, run.json last, and give its content.

    weights: those for each file, LAST or AVERAGED.
    """
    rows = table(history)
    for file, tensors in weights.items():
        _write_weights(folder / file, tensors)
    write_whole(folder / "history.csv", rows.to_csv(index=False).encode())
    info = {
        "config": config.trained(),
        "data_version": data_set(config.data).version(),
        "status": status,
        "seconds": round(float(rows.seconds.sum()), 2),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "machine": machine(config.device),
        "device": config.device,
        "threads": config.threads,
        "finished": time.strftime("%Y-%m-%d"),
        "sha256": {file: sha256(folder / file) for file in (*weights, "history.csv")},
    }
    write_json(folder / "run.json", info)
    left = [folder / "checkpoint.pt", *folder.glob("*.part")]  # of killed processes
    for path in left:
        path.unlink(missing_ok=True)
    return info


def _write_weights(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    whole = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    write_whole(path, save(whole))


def read_weights(folder: Path, file: str = LAST) -> dict[str, torch.Tensor]:
    """The weights of a finished run; Damaged where they are not what run.json says."""
    path = folder / file
    data = path.read_bytes() if path.is_file() else b""
    expected = read_json(folder / "run.json")["sha256"][path.name]
    if hashlib.sha256(data).hexdigest() != expected:
        raise Damaged(f"{path}: missing or changed since it was written")
    return load(data)


def machine(device: str) -> str:
    """The name of a GPU, or of the processor as its maker calls it."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return _processor() or platform.processor() or platform.machine()


def _processor() -> str:
    """The processor's name as Linux and macOS tell it; "" where they do not."""
    if sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    return names[0] if names else ""
