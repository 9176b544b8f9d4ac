"""Parameters of notebooks: what there are, what a file or a command line says, whether they fit."""

import ast
import logging
import reprlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import yaml


def defaults(notebook: Path) -> dict[str, object]:
    """Name and default of each parameter that papermill sees in the notebook."""
    from papermill import inspect_notebook

    logging.getLogger("papermill").setLevel(logging.ERROR)
    try:
        inspected = inspect_notebook(notebook)
        return {name: ast.literal_eval(found["default"]) for name, found in inspected.items()}
    except Exception as error:  # what is no notebook fails in many ways
        problem = " ".join(str(error).split())[:200]
        raise ValueError(f"{notebook}: cannot read its parameters ({problem})") from None


def fitted(name: str, value: object, default: object) -> object:
    """The value in the type of the default; ValueError if it does not fit."""
    if isinstance(default, list) and isinstance(value, list):
        return [fitted(name, v, default[0]) for v in value] if default else value
    if default is None or type(value) is type(default):
        return value
    if isinstance(default, float) and not isinstance(value, bool):
        with suppress(TypeError, ValueError):
            return float(value)  # a whole number, or 1e-3, which YAML takes for text
    raise ValueError(f"{name}: {value!r} does not fit, expected {type(default).__name__} like the "
                     f"default {default!r}")


def read_values(pairs: list[list[str]], file: str | None) -> dict[str, object]:
    """Parameters of a YAML file, overruled by NAME VALUE pairs; ValueError if unreadable.

    Plain values and flat lists of them: a list of lists of lists could be made to fill the memory.
    """
    try:
        in_file = yaml.safe_load(Path(file).read_text(encoding="utf-8")) or {} if file else {}
        given = {name: yaml.safe_load(text) for name, text in pairs}
    except FileNotFoundError:
        raise FileNotFoundError(f"{file}: no such parameter file") from None
    except OSError:
        raise
    except Exception as error:  # besides YAMLError, of values that are no date, no number ...
        problem = " ".join(str(error).split())
        raise ValueError(f"parameters ({file or '-p'}) are not valid YAML: {problem}") from None
    if not isinstance(in_file, dict):
        raise ValueError(f"{file}: holds {reprlib.repr(in_file)}, expected lines of the form "
                         "name: value")
    for name, value in (in_file | given).items():
        for one in value if isinstance(value, list) else [value]:
            if not isinstance(one, str | int | float | None):
                raise ValueError(f"parameters ({file or '-p'}): {name} is {reprlib.repr(value)}, "
                                 "expected a number, a text, true, false, null, or a list of these")
    return in_file | given


def assign(notebooks: list[Path], values: dict[str, object], of_file: Iterable[str] = (),
           book: Iterable[Path] = ()) -> list[dict[str, object]]:
    """For each notebook those of the values that it has; ValueError for a name that none has.

    of_file: names that come from a file, which is for the whole book: any of it may have them.
    """
    known = [defaults(notebook) for notebook in notebooks]
    valid = sorted({name for names in known for name in names})
    others = book if set(of_file) - set(valid) else []
    elsewhere = {name for other in others for name in defaults(other)} & set(of_file)
    if bad := [name for name in values if name not in {*valid, *elsewhere}]:
        raise ValueError(f"no parameter {bad[0]!r}, expected one of: {', '.join(valid) or 'none'}")
    return [{name: fitted(name, values[name], names[name]) for name in names if name in values}
            for names in known]
