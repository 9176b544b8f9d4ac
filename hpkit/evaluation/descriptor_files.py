"""Descriptors in files: .npz, or the CSV folders of the official tool."""

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from hpkit.data.patches import PATCH_TYPES, PatchSet
from hpkit.evaluation.distances import as_array

# Bytes of an array: more points, of more values, than any has.
LARGEST = 20_000 * 1024 * 8


def read_descriptors(
    path: str | Path, names: Iterable[str]
) -> tuple[np.ndarray, list[int]]:
    """Descriptors of sequences, float32 (points, 16, d), and the points of each.

    path: an .npz with arrays named `<sequence>/<type>`, or a folder of
    `<sequence>/<type>.csv` without a header, with comma or semicolon as delimiter.
    Raises FileNotFoundError or ValueError with the file, what was found and what was
    expected.
    """
    path, names = Path(path), tuple(names)
    if not path.exists():
        raise FileNotFoundError(f"{path}: not found, expected an .npz file or a folder")
    blocks = _from_folder(path, names) if path.is_dir() else _from_npz(path, names)
    for name, block in zip(names, blocks, strict=True):
        if block.shape[2] != blocks[0].shape[2]:
            raise ValueError(
                f"{path}: descriptors of {name} have {block.shape[2]} values, "
                f"expected {blocks[0].shape[2]} as in {names[0]}"
            )
    return np.concatenate(blocks), [len(block) for block in blocks]


def _from_folder(path: Path, names: tuple[str, ...]) -> list[np.ndarray]:
    blocks = []
    for name in names:
        types = {kind: _read_csv(path / name / f"{kind}.csv") for kind in PATCH_TYPES}
        blocks.append(_block(types, f"{path / name}"))
    return blocks


def _from_npz(path: Path, names: tuple[str, ...]) -> list[np.ndarray]:
    blocks = []
    with _open_npz(path) as archive:
        for name in names:
            types = {k: _member(archive, path, f"{name}/{k}") for k in PATCH_TYPES}
            blocks.append(_block(types, f"{path}: {name}"))
    return blocks


def write_descriptors(
    folder: str | Path, descriptors: np.ndarray, patches: PatchSet
) -> None:
    """Write `<sequence>/<type>.csv` as the official tool reads them.

    The numbers are float32, to the last digit. descriptors: float32 (points, 16, d), in
    the rows of `patches`.
    """
    descriptors = as_array(descriptors)
    starts = np.cumsum([0, *patches.lengths])
    if len(descriptors) != starts[-1]:
        raise ValueError(
            f"descriptors of {len(descriptors)} points, expected {starts[-1]}"
        )
    for name, start, stop in zip(patches.names, starts[:-1], starts[1:], strict=True):
        (Path(folder) / name).mkdir(parents=True, exist_ok=True)
        for column, patch_type in enumerate(PATCH_TYPES):
            table = pd.DataFrame(
                np.asarray(descriptors[start:stop, column], np.float32)
            )
            table.to_csv(
                Path(folder) / name / f"{patch_type}.csv",
                header=False,
                index=False,
                float_format="%.9g",
            )


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
            raise ValueError(
                f"{where}/{patch_type}: shape {array.shape}, expected (points, "
                f"values) as ref has: {expected}"
            )
        _check_counted(array, f"{where}/{patch_type}")
    return np.stack(list(types.values()), 1)


def _check_counted(array: np.ndarray, where: str) -> None:
    """Refuse a first row or column that only counts: 0, 1, 2 ...

    pandas writes them beside a table unless it is told not to, and as descriptors they
    would move every row, or add a value, without an error.
    """
    for name, line in (("row", array[0]), ("column", array[:, 0])):
        if len(line) > 2 and np.array_equal(line, np.arange(len(line))):
            raise ValueError(
                f"{where}: the first {name} counts 0, 1 ... {len(line) - 1}, as pandas "
                "numbers a table: expected descriptors alone, as of "
                "to_csv(path, header=False, index=False)"
            )


def _member(archive: np.lib.npyio.NpzFile, path: Path, name: str) -> np.ndarray:
    if f"{name}.npy" not in archive.zip.NameToInfo:
        raise ValueError(
            f"{path}: no array {name}, expected one for each test sequence and type"
        )
    size = archive.zip.getinfo(f"{name}.npy").file_size
    if size > LARGEST:
        raise ValueError(
            f"{path}: {name} unpacks to {size:,} bytes, expected at most {LARGEST:,}"
        )
    try:
        # All of it: only then is its checksum compared.
        data = archive.zip.read(f"{name}.npy")
        array = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except Exception as error:  # what is damaged, or made to harm, fails in many ways
        raise ValueError(
            f"{path}: {name} is not an array of numbers ({error})"
        ) from error
    if array.dtype.kind not in "fiu":
        raise ValueError(
            f"{path}: {name} is not an array of numbers (but of {array.dtype})"
        )
    return array.astype(np.float32)


def _read_csv(path: Path) -> np.ndarray:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: not found, expected one file for each sequence and type"
        )
    try:
        with path.open() as file:
            delimiter = ";" if ";" in file.readline() else ","
        table = pd.read_csv(path, header=None, sep=delimiter)
        array = table.to_numpy(np.float32)
    except ValueError as error:
        raise ValueError(
            f"{path}: not a table of numbers ({str(error).strip()}); a header or an "
            "index does not belong in it: to_csv(path, header=False, index=False)"
        ) from error
    if table.isna().any(axis=None):
        row, column = np.argwhere(table.isna().to_numpy())[0]
        raise ValueError(
            f"{path}: value {column + 1} of row {row + 1} is empty or NaN, expected a "
            "number; a header or an index does not belong in it: "
            "to_csv(path, header=False, index=False)"
        )
    return array
