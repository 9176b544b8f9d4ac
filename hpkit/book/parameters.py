"""Parameters of notebooks: which there are, which are given, and whether they fit.

They are given by a file or a command line.
"""

import ast
import logging
import reprlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import yaml

from hpkit.data.sets import data_name, data_set


def defaults(notebook: Path) -> dict[str, object]:
    """Name and default of each parameter that papermill finds in the notebook."""
    from papermill import inspect_notebook

    logging.getLogger("papermill").setLevel(logging.ERROR)
    try:
        inspected = inspect_notebook(notebook)
        return {
            name: ast.literal_eval(found["default"])
            for name, found in inspected.items()
        }
    except Exception as error:  # what is no notebook fails in many ways
        problem = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{notebook}: cannot read its parameters ({problem})"
        ) from None


def fitted(name: str, value: object, default: object) -> object:
    """The value in the type of the default; ValueError if it does not fit."""
    if isinstance(default, list) and isinstance(value, list):
        if default and not value:
            raise ValueError(
                f"{name}: the list is empty, expected at least one value, as in the "
                f"default {default!r}"
            )
        return [fitted(name, v, default[0]) for v in value] if default else value
    if default is None or type(value) is type(default):
        return value
    if isinstance(default, float) and not isinstance(value, bool):
        with suppress(TypeError, ValueError):
            return float(value)  # a whole number, or 1e-3, which YAML takes for text
    raise ValueError(
        f"{name}: {value!r} does not fit, expected {type(default).__name__} like the "
        f"default {default!r}"
    )


def read_values(pairs: list[list[str]], file: str | None) -> dict[str, object]:
    """Parameters of a YAML file, overruled by NAME VALUE pairs.

    They are plain values and flat lists of them: a list of lists of lists could be made
    to fill the memory. Raises ValueError for anything else, and FileNotFoundError where
    there is no file.
    """
    where = f"parameters ({file or '-p'})"
    try:
        text = Path(file).read_text(encoding="utf-8") if file else ""
        in_file = yaml.safe_load(text) or {}
        given = {name: yaml.safe_load(value) for name, value in pairs}
    except FileNotFoundError:
        raise FileNotFoundError(f"{file}: no such parameter file") from None
    except OSError:
        raise
    except Exception as error:  # besides YAMLError, of values that are no date ...
        problem = " ".join(str(error).split())
        raise ValueError(f"{where} are not valid YAML: {problem}") from None
    if not isinstance(in_file, dict):
        found = reprlib.repr(in_file)
        raise ValueError(
            f"{file}: holds {found}, expected lines of the form name: value"
        )
    for name, value in (in_file | given).items():
        parts = value if isinstance(value, list) else [value]
        if not all(isinstance(part, str | int | float | None) for part in parts):
            raise ValueError(
                f"{where}: {name} is {reprlib.repr(value)}, expected a number, a text, "
                "true, false, null, or a list of these"
            )
    return in_file | given


def placed(values: dict[str, object]) -> dict[str, object]:
    """The values, with the path of `data` made absolute.

    A notebook runs in its own folder, where a path from here would lead elsewhere.
    Raises FileNotFoundError where there is no such folder or zip.
    """
    if not isinstance(values.get("data"), str):
        return values
    data_set(values["data"])  # there is one
    return {**values, "data": data_name(values["data"])}


def assign(
    notebooks: list[Path],
    values: dict[str, object],
    of_file: Iterable[str] = (),
    book: Iterable[Path] = (),
) -> list[dict[str, object]]:
    """For each notebook, those of the values that it has a parameter for.

    of_file: names that come from a file. A file is for the whole book, so any notebook
    of it may have them. Raises ValueError for a name that no notebook has.
    """
    known = [defaults(notebook) for notebook in notebooks]
    valid = sorted({name for names in known for name in names})
    others = book if set(of_file) - set(valid) else []
    elsewhere = {name for other in others for name in defaults(other)} & set(of_file)
    if bad := [name for name in values if name not in {*valid, *elsewhere}]:
        raise ValueError(
            f"no parameter {bad[0]!r}, expected one of: {', '.join(valid) or 'none'}"
        )
    return [
        {
            name: fitted(name, values[name], names[name])
            for name in names
            if name in values
        }
        for names in known
    ]
