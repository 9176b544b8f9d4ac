"""Which data set, in which version, and which of its sequences are for what: splits.json."""

import json
from pathlib import Path

from hpkit.archives import DAMAGED, Folder, root_of, short_digest, zip_listing

EMBEDDED = ("photos", "scenes")  # made from the photos that come with Python packages


def usual_split(data: str | Path) -> str:
    """The split that is meant where none is named."""
    return "photos" if str(data) in EMBEDDED else "a"


def splits_folder(data: str | Path) -> Folder:
    """The folder in which the data set's splits.json is."""
    if str(data) == "photos":
        from hpkit.photos import photos_folder

        return photos_folder()
    if str(data) == "scenes":
        from hpkit.scenes import scenes_folder

        return scenes_folder()
    if str(data) == "hpatches":
        from hpkit.download import hpatches_folder

        return hpatches_folder()
    if not Path(data).exists():
        raise FileNotFoundError(f'{data}: expected "photos", "scenes", "hpatches", or an existing '
                                "folder (or zip) with one folder per sequence")
    root = root_of(Path(data))
    beside = any((root / name).is_file() for name in ("splits.json", "splits/splits.json"))
    return root if beside or isinstance(root, Path) else Path(data).parent


def data_version(data: str) -> str:
    """What a result says about its data: "photos-v1", "hpatches-" and a hash of what the published
    archive holds, or a hash of a folder's names and sizes (of a zip, and the splits.json beside).
    """
    if data == "photos":
        from hpkit.photos import VERSION

        return f"photos-v{VERSION}"
    if data == "scenes":
        from hpkit.scenes import VERSION

        return f"scenes-v{VERSION}"
    if data == "hpatches" or (Path(data) / "source.json").is_file():
        from hpkit.download import archive_version

        return f"hpatches-{archive_version(None if data == 'hpatches' else Path(data))}"
    if Path(data).is_file():
        beside = Path(data).parent / "splits.json"
        listed, text = zip_listing(root_of(Path(data)).root), ""
        if beside.is_file():
            text = beside.read_text(encoding="utf-8", errors="replace")
        return short_digest([listed, text])
    return short_digest([(str(path.relative_to(data)), path.stat().st_size)
                         for path in sorted(Path(data).rglob("*.*"))
                         if path.suffix in (".png", ".json")])


def read_split(folder: Folder, split: str) -> dict[str, list[str]]:
    """Names of the train, validation and test sequences of a split in `folder/splits.json`.

    The official splits have no validation side: every eighth training sequence (sorted by name)
    becomes one, because a choice made on test sequences is a result that cannot be trusted.
    """
    path = folder / "splits.json"
    path = path if path.is_file() else folder / "splits" / "splits.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder / 'splits.json'}: not found; the official file comes "
                                f"with python -m hpkit.download tasks --to FOLDER")
    splits = _parse_splits(path)
    if split not in splits:
        raise ValueError(f"{path}: unknown split {split!r}, expected one of {', '.join(splits)}")
    test, train = splits[split].get("test", []), sorted(splits[split].get("train", []))
    validation = splits[split].get("validation", train[::8])
    shared = sorted((set(train) | set(validation)) & set(test))
    if shared:
        raise ValueError(f"{path}: split {split!r} has {shared[0]!r} in both train and test")
    train = [name for name in train if name not in set(validation)]
    return {"train": train, "validation": validation, "test": test}


def _parse_splits(path: Folder) -> dict[str, dict[str, list[str]]]:
    expected = f"{path}: expected JSON like {{split: {{test: [names], ...}}}}"
    try:
        splits = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_once)
        sides = [(split, *side) for split, found in splits.items() for side in found.items()]
    except (ValueError, AttributeError, RecursionError, *DAMAGED) as error:
        raise ValueError(f"{expected} ({error})") from error
    for split, side, names in sides:
        if side == "name" and names == split:
            continue
        if side not in ("train", "validation", "test"):
            raise ValueError(f"{expected}, found {side!r}: {str(names)[:40]!r} in {split!r}")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError(f"{expected}, found {str(names)[:40]} for a list of names")
        if len(set(names)) < len(names):
            raise ValueError(f"{expected}, found a name twice in {split!r}, {side}")
        for name in names:  # they become names of files, also of such that are written
            if not name.strip(".") or set(name) & set("/\\:\0"):
                raise ValueError(f"{expected}, found {name[:40]!r}, no name of a folder")
    return splits


def _once(pairs: list[tuple]) -> dict:
    """A JSON object, none of whose names is there twice."""
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a name is there twice")
    return dict(pairs)
