"""Which sequences of a data set are for training, validation and test: splits.json."""

import json

from hpkit.data.archives import DAMAGED, Folder


def read_split(folder: Folder, split: str) -> dict[str, list[str]]:
    """Names of the train, validation and test sequences of a split.

    They are read from `folder/splits.json`. The official splits have no validation
    side, so every eighth training sequence (sorted by name) becomes one: a result
    cannot be trusted if a choice was made on test sequences.
    """
    path = folder / "splits.json"
    path = path if path.is_file() else folder / "splits" / "splits.json"
    if (folder / "ref.png").is_file():
        raise FileNotFoundError(
            f"{folder}: one sequence, with a ref.png in it, expected the folder above "
            "it, which holds the sequences and a splits.json"
        )
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder / 'splits.json'}: not found; the official file comes "
            "with hpkit download tasks --to FOLDER"
        )
    splits = _parse_splits(path)
    if split not in splits:
        raise ValueError(
            f"{path}: unknown split {split!r}, expected one of {', '.join(splits)}"
        )
    test, train = splits[split].get("test", []), sorted(splits[split].get("train", []))
    validation = splits[split].get("validation", train[::8])
    shared = sorted((set(train) | set(validation)) & set(test))
    if shared:
        raise ValueError(
            f"{path}: split {split!r} has {shared[0]!r} in both train and test"
        )
    train = [name for name in train if name not in set(validation)]
    return {"train": train, "validation": validation, "test": test}


def _parse_splits(path: Folder) -> dict[str, dict[str, list[str]]]:
    expected = f"{path}: expected JSON like {{split: {{test: [names], ...}}}}"
    try:
        splits = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_once)
        sides = [
            (split, *side) for split, found in splits.items() for side in found.items()
        ]
    except (ValueError, AttributeError, RecursionError, *DAMAGED) as error:
        raise ValueError(f"{expected} ({error})") from error
    for split, side, names in sides:
        if side == "name" and names == split:
            continue
        if side not in ("train", "validation", "test"):
            raise ValueError(
                f"{expected}, found {side!r}: {str(names)[:40]!r} in {split!r}"
            )
        if not isinstance(names, list) or not all(
            isinstance(name, str) for name in names
        ):
            raise ValueError(f"{expected}, found {str(names)[:40]} for a list of names")
        if len(set(names)) < len(names):
            raise ValueError(f"{expected}, found a name twice in {split!r}, {side}")
        for name in names:  # they become names of files, also of such that are written
            if not name.strip(".") or set(name) & set("/\\:\0"):
                raise ValueError(
                    f"{expected}, found {name[:40]!r}, no name of a folder"
                )
    return splits


def _once(pairs: list[tuple]) -> dict:
    """A JSON object, in which no name may be there twice."""
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a name is there twice")
    return dict(pairs)
