"""The data sets by name, and `load`: train, validation and test patches of any of them.

A data set with a name of its own is one entry in `DATA_SETS`. Everything else is a
folder (or zip) in the HPatches layout. The modules that patches come from know nothing
of this one.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hpkit.data.archives import Folder, content_of, inner_folder, root_of
from hpkit.data.arrays import convert, is_whole, open_array
from hpkit.data.hpatches import archive_version, fetch, hpatches_folder
from hpkit.data.patches import PatchSet
from hpkit.data.photos import photos_folder, photos_version
from hpkit.data.scenes import scenes_folder, scenes_version
from hpkit.data.splits import read_split
from hpkit.data.strips import check_twins
from hpkit.files import cache_folder, short_digest


@dataclass(frozen=True)
class DataSet:
    """What has to be known of a data set; each function is called only when needed.

    folder: gives the folder with its splits.json. version: names what it holds, so that
    changed patches never meet old results. arrays: gives the folder with the arrays of
    these sequences (second argument: turn colour PNGs grey). split: the usual one.
    official: whether the benchmark publishes tasks for it.
    """

    folder: Callable[[], Folder]
    version: Callable[[], str]
    arrays: Callable[[tuple[str, ...], bool], Path]
    split: str = "a"
    official: bool = True


DATA_SETS: dict[str, DataSet] = {
    "photos": DataSet(
        folder=photos_folder,
        version=photos_version,
        arrays=lambda names, colour: photos_folder() / "arrays",
        split="photos",
        official=False,
    ),
    "scenes": DataSet(
        folder=scenes_folder,
        version=scenes_version,
        arrays=lambda names, colour: scenes_folder() / "arrays",
        split="photos",
        official=False,
    ),
    "hpatches": DataSet(
        folder=hpatches_folder,
        version=lambda: f"hpatches-{archive_version()}",
        arrays=lambda names, colour: fetch(names),
    ),
}


def data_name(data: str | Path) -> str:
    """A name in `DATA_SETS`, or the absolute path.

    However a path is written, it names one data set.
    """
    if not isinstance(data, str | Path):
        raise ValueError(
            f"data is {data!r}, expected {_named()}, or the path of a folder or zip"
        )
    if str(data) in DATA_SETS:
        return str(data)
    return str(Path(data).expanduser().resolve())


def data_set(data: str | Path) -> DataSet:
    """The data set of this name, or of this folder or zip.

    Raises FileNotFoundError where there is neither.
    """
    name = data_name(data)
    if name in DATA_SETS:
        return DATA_SETS[name]
    path = Path(name)
    if path.is_dir():
        path = inner_folder(path)
    if not path.exists():
        raise FileNotFoundError(
            f"{data}: expected {_named()}, or an existing folder (or zip) with one "
            "folder per sequence"
        )
    if (path / "source.json").is_file():  # where HPatches was downloaded to
        version = partial(_hpatches_version, path)
    else:
        version = partial(_folder_version, path)
    return DataSet(
        folder=partial(_folder_of_splits, path),
        version=version,
        arrays=partial(_converted, path),
    )


def _named() -> str:
    return ", ".join(f'"{name}"' for name in DATA_SETS)


def _hpatches_version(folder: Path) -> str:
    return f"hpatches-{archive_version(folder)}"


def _folder_version(path: Path) -> str:
    """A hash of what a folder or zip holds: names and checksums."""
    return short_digest(content_of(path))


def _folder_of_splits(path: Path) -> Folder:
    """Where splits.json is: among the sequences, or beside their folder or zip."""
    root = root_of(path)
    names = ("splits.json", "splits/splits.json")
    if any((root / name).is_file() for name in (*names, "ref.png")):
        return root
    beside = any((path.parent / name).is_file() for name in names)
    return path.parent if beside or not isinstance(root, Path) else root


def _converted(path: Path, names: tuple[str, ...], colour: bool) -> Path:
    """The folder of a folder's or zip's arrays, of as many sequences as can be.

    A folder that already has arrays is read as it is. PNGs are converted into the
    cache. Raises FileNotFoundError where one of these sequences has no folder.
    """
    if (path / "arrays").is_dir():
        return path / "arrays"
    root = root_of(path)
    absent = [name for name in names if not (root / name).is_dir()]
    if absent:
        raise FileNotFoundError(
            f"{path}: no folder for sequence {absent[0]!r} "
            f"({len(absent)} of {len(names)} sequences are not on disk)"
        )
    check_twins(root, names)
    arrays = cache_folder() / "converted" / short_digest([str(path), colour])
    convert(root, names, arrays, colour=colour)
    return arrays


@dataclass(frozen=True)
class PatchData:
    """The three sides of a data set: no sequence is on two of them.

    In "photos" and "scenes" no photo is on two of them either.
    """

    train: PatchSet
    validation: PatchSet
    test: PatchSet


def load(
    data: str | Path = "photos",
    *,
    split: str | None = None,
    points: int | None = None,
    colour: bool = False,
) -> PatchData:
    """Train, validation and test patches of a data set by name, or of a folder or zip.

    data: "photos" and "scenes" are built on the first call. "hpatches" fetches the
    sequences that are not there yet, after it has said how much that is. A folder (or
    zip) of PNGs in the HPatches layout is converted once. split: a name in splits.json
    (None: the usual one, "a" for a folder). points: keep only the first points of each
    sequence. colour: accept colour PNGs and turn them grey. Raises ValueError or
    OSError with one sentence for what is missing or malformed.
    """
    chosen = data_set(data)
    sides = read_split(chosen.folder(), split or chosen.split)
    names = [name for side in sides.values() for name in side]
    everything = read_sequences(data, names, colour=colour)
    return PatchData(
        **{side: everything.select(found).head(points) for side, found in sides.items()}
    )


def read_sequences(
    data: str | Path, names: Iterable[str], *, colour: bool = False
) -> PatchSet:
    """The PatchSet of these sequences of a data set; only they are fetched or made.

    data, colour, errors: see `load`.
    """
    names = tuple(names)
    arrays = data_set(data).arrays(names, colour)
    absent = [name for name in names if not is_whole(arrays, name)]
    if absent:
        raise FileNotFoundError(
            f"{arrays}: not all of sequence {absent[0]!r} is there "
            f"({len(absent)} of {len(names)} sequences are missing)"
        )
    parts = {
        kind: [open_array(arrays, name, kind) for name in names]
        for kind in ("clean", "noisy")
    }
    contrasts = None
    if all((arrays / f"{name}_contrast.npy").is_file() for name in names):
        contrasts = [open_array(arrays, name, "contrast") for name in names]
    return PatchSet(parts, names, contrasts)
