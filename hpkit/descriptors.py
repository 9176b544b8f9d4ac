"""Descriptors and denoised patches: computed from patches, or read from descriptor files."""

import io
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm.auto import tqdm

from hpkit.devices import exact, keep_memory, memory_layout, resolve_device, resolve_precision
from hpkit.patches import PATCH_TYPES, PatchSet

LARGEST = 20_000 * 1024 * 8  # bytes of an array: more points, of more values, than any has


def describe(descriptor: nn.Module | Callable, patches: np.ndarray, *, batch_size: int = 128,
             device: str = "auto", precision: str = "auto", progress: bool = False) -> np.ndarray:
    """Descriptors of patches: a network in eval mode, or a function such as `baselines.sift`.

    patches: uint8 (..., 32, 32), usually (points, 16, 32, 32) -> float32 (..., d). A network is
    left on the device, its train/eval mode is put back. Raises ValueError for other patches.
    """
    outputs = [np.asarray(output, np.float32) for output in
               _outputs(descriptor, patches, batch_size, device, precision, progress)]
    return np.concatenate(outputs).reshape(*patches.shape[:-2], -1)


def denoise(denoiser: nn.Module | Callable, patches: np.ndarray, *, batch_size: int = 128,
            device: str = "auto", precision: str = "auto", progress: bool = False) -> np.ndarray:
    """Denoised patches, rounded and clipped to 0..255: uint8 of the shape of `patches`.

    denoiser: a network, float (n, 1, 32, 32) to the same, or a function such as
    `baselines.non_local_means`. Raises ValueError where its output is not finite.
    """
    parts = []
    for output in _outputs(denoiser, patches, batch_size, device, precision, progress):
        if not np.isfinite(output).all():
            raise ValueError("the denoiser's output is not finite: its training diverged")
        parts.append(np.clip(np.rint(output), 0, 255).astype(np.uint8))
    return np.concatenate(parts).reshape(patches.shape)


def _outputs(function: nn.Module | Callable, patches: np.ndarray, batch_size: int, device: str,
             precision: str, progress: bool) -> Iterator[np.ndarray]:
    """The outputs for one batch of patches after the other."""
    if not isinstance(patches, np.ndarray):
        raise ValueError(f"patches are a {type(patches).__name__}, expected an array such as "
                         'data.test["clean"]')
    if patches.dtype != np.uint8 or patches.ndim < 3 or patches.size == 0:
        raise ValueError(f"patches are {patches.dtype} {patches.shape}, expected uint8 "
                         "(..., height, width) with at least one patch")
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}, expected at least 1 patch")
    modes = []
    if isinstance(function, nn.Module):
        chosen = resolve_device(device)
        keep_memory()
        modes = [(module, module.training) for module in function.modules()]
        function = _network(function, chosen, resolve_precision(precision, chosen))
        batch_size = min(batch_size, 128) if chosen.type == "cpu" else batch_size  # more is slower
    flat = patches.reshape(-1, *patches.shape[-2:])
    try:
        for start in tqdm(range(0, len(flat), batch_size), disable=not progress, unit="batch"):
            batch = flat[start:start + batch_size]
            output = function(batch)
            if len(output) != len(batch):
                raise ValueError(f"{len(output)} outputs for {len(batch)} patches, expected one "
                                 "for each")
            yield output
    finally:
        for module, mode in modes:
            module.training = mode


def _network(network: nn.Module, device: torch.device, precision: str) -> Callable:
    """A network, put in eval mode, as a function of uint8 (n, height, width) arrays."""
    network.to(device, memory_format=memory_layout(device)).eval()

    @torch.inference_mode()
    def call(batch: np.ndarray) -> np.ndarray:
        images = torch.tensor(batch, device=device)[:, None].float()
        with exact(), torch.autocast(device.type, torch.bfloat16, precision == "bfloat16"):
            return network(images).float().cpu().numpy()

    return call


def read_descriptors(path: str | Path, names: Iterable[str]) -> tuple[np.ndarray, list[int]]:
    """Descriptors of these sequences, float32 (points, 16, d), and how many points each has.

    path: an .npz with arrays named `<sequence>/<type>`, or a folder of `<sequence>/<type>.csv`
    without header, delimiter comma or semicolon. Raises FileNotFoundError or ValueError with the
    file, what was found and what was expected.
    """
    path, names = Path(path), tuple(names)
    if not path.exists():
        raise FileNotFoundError(f"{path}: not found, expected an .npz file or a folder")
    if path.is_dir():
        blocks = [_block({t: _read_csv(path / name / f"{t}.csv") for t in PATCH_TYPES},
                         f"{path / name}") for name in names]
    else:
        with _open_npz(path) as archive:
            blocks = [_block({t: _member(archive, path, f"{name}/{t}") for t in PATCH_TYPES},
                             f"{path}: {name}") for name in names]
    for name, block in zip(names, blocks, strict=True):
        if block.shape[2] != blocks[0].shape[2]:
            raise ValueError(f"{path}: descriptors of {name} have {block.shape[2]} values, "
                             f"expected {blocks[0].shape[2]} as in {names[0]}")
    return np.concatenate(blocks), [len(block) for block in blocks]


def write_descriptors(folder: str | Path, descriptors: np.ndarray, patches: PatchSet) -> None:
    """Write `<sequence>/<type>.csv` as the official tool reads them, float32 to the last digit.

    descriptors: float32 (points, 16, d), in the rows of `patches`.
    """
    starts = np.cumsum([0, *patches.lengths])
    if len(descriptors) != starts[-1]:
        raise ValueError(f"descriptors of {len(descriptors)} points, expected {starts[-1]}")
    for name, start, stop in zip(patches.names, starts[:-1], starts[1:], strict=True):
        (Path(folder) / name).mkdir(parents=True, exist_ok=True)
        for column, patch_type in enumerate(PATCH_TYPES):
            table = pd.DataFrame(np.asarray(descriptors[start:stop, column], np.float32))
            table.to_csv(Path(folder) / name / f"{patch_type}.csv", header=False, index=False,
                         float_format="%.9g")


def _open_npz(path: Path) -> np.lib.npyio.NpzFile:
    try:
        archive = np.load(path, allow_pickle=False)
        if isinstance(archive, np.lib.npyio.NpzFile):
            return archive
    except Exception:  # a damaged directory fails in many ways
        pass
    raise ValueError(f"{path}: neither a whole .npz file nor a folder")


def _block(types: dict[str, np.ndarray], where: str) -> np.ndarray:
    """One sequence's 16 arrays as float32 (points, 16, d)."""
    expected = types["ref"].shape
    for patch_type, array in types.items():
        if array.shape != expected or array.ndim != 2 or array.size == 0:
            raise ValueError(f"{where}/{patch_type}: shape {array.shape}, expected (points, "
                             f"values) as ref has: {expected}")
    return np.stack(list(types.values()), 1)


def _member(archive: np.lib.npyio.NpzFile, path: Path, name: str) -> np.ndarray:
    if f"{name}.npy" not in archive.zip.NameToInfo:
        raise ValueError(f"{path}: no array {name}, expected one for each test sequence and type")
    size = archive.zip.getinfo(f"{name}.npy").file_size
    if size > LARGEST:
        raise ValueError(f"{path}: {name} unpacks to {size:,} bytes, expected at most {LARGEST:,}")
    try:
        data = archive.zip.read(f"{name}.npy")  # all of it: only then is its checksum compared
        array = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except Exception as error:  # what is damaged, or made to harm, fails in many ways
        raise ValueError(f"{path}: {name} is not an array of numbers ({error})") from error
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{path}: {name} is not an array of numbers (but of {array.dtype})")
    return array.astype(np.float32)


def _read_csv(path: Path) -> np.ndarray:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not found, expected one file for each sequence and type")
    try:
        with path.open() as file:
            delimiter = ";" if ";" in file.readline() else ","
        return pd.read_csv(path, header=None, sep=delimiter).to_numpy(np.float32)
    except ValueError as error:
        raise ValueError(f"{path}: not a table of numbers ({str(error).strip()})") from error
