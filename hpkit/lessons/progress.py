"""What a reader does: bets on a verdict, answers exercises, and sees how it went.

All of it is kept in the reader's own files, in the cache folder or where HPKIT_PROGRESS
says. Where HPKIT_CHECKED names a file, each check adds a line to it: `hpkit marks`
reads results there, as data, and not in what was printed.
"""

import getpass
import json
import os
import pkgutil
import re
import sys
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import import_module
from numbers import Real
from pathlib import Path

import pandas as pd

from hpkit.experiments.intervals import FAILS, HOLDS, OPEN
from hpkit.files import (
    Damaged,
    cache_folder,
    named_folder,
    read_json,
    write_json,
)
from hpkit.lessons import exercises
from hpkit.waiting import file_lock

VERDICTS = (HOLDS, FAILS, OPEN)
RIGHT, WRONG, NOT_ATTEMPTED = "right", "wrong", "not attempted"


def predict(claim: str, verdict: str = ..., confidence: float = ...) -> None:
    """Bet on a verdict before the reveal, with a confidence from 1/3 (a guess) to 1.

    verdict: "holds", "does not hold" or "undecided". The last bet on each claim is
    kept. While one of the two is `...`, there is no bet. Raises ValueError for a claim
    that the book does not make, another verdict, and a confidence outside 1/3..1.
    """
    claim = claim_named(claim)
    if verdict is not ... and verdict not in VERDICTS:
        raise ValueError(
            f"{claim}: no verdict {verdict!r}, expected one of {', '.join(VERDICTS)}"
        )
    if verdict is ... or confidence is ...:
        say(
            f"– {claim}: not predicted yet (write your verdict and confidence, "
            "0.33 to 1)"
        )
        return
    if not isinstance(confidence, Real) or not 0.33 <= confidence <= 1:
        raise ValueError(
            f"confidence {confidence!r}: expected 0.33 (a guess) to 1 (certain)"
        )
    _keep("predictions", claim, {"verdict": verdict, "confidence": confidence})
    say(f"✎ {claim} {verdict}: {confidence:.0%} sure; kept in {_file('predictions')}")


def claim_named(claim: str) -> str:
    """The claim's name as the chapters write it: "C3" for "c3".

    Chapters may make claims of their own, such as "H1". Only those with a C are all
    known here. Raises ValueError for one of these that does not exist.
    """
    letter = re.fullmatch(r"\s*([A-Za-z])(\d+)([A-Za-z]?)\s*", str(claim))
    if not letter:
        return claim
    name = letter[1].upper() + letter[2] + letter[3].lower()
    if letter[1].upper() == "C":
        # Only here: a chapter that trains nothing must not depend on all that trains.
        known = import_module("hpkit.experiments.claims").CLAIMS
        if name not in known:
            raise ValueError(f"no claim {claim!r}: there are {', '.join(known)}")
    return name


def reveal(claim: str, verdict: str) -> None:
    """Print a verdict, what your bet on it cost, and your mean over those revealed."""
    claim = claim_named(claim)
    bet = _kept("predictions").get(claim)
    if not bet:
        print(f"{claim} {verdict}. (You made no bet.)")
        return
    _keep("predictions", claim, bet | {"revealed": verdict})
    bets = _kept("predictions").items()
    revealed = {name: b["revealed"] for name, b in bets if "revealed" in b}
    table, mean = calibration(revealed)
    cost = table.penalty[table.claim == claim].item()
    so_far = (
        f"; your mean over {len(table)} bets is {mean:.2f}" if len(table) > 1 else ""
    )
    print(
        f"{claim} {verdict}. You said: {bet['verdict']}, {bet['confidence']:.0%} sure. "
        f"It cost you {cost:.2f} (0 is best, 1 worst){so_far}."
    )


def calibration(verdicts: dict[str, str]) -> tuple[pd.DataFrame, float]:
    """Your bets beside the verdicts, a row each, and your mean penalty.

    verdicts: {claim: verdict}; a bet on a claim that is not among them is left out. The
    mean is NaN where there are no bets.
    """
    kept = _kept("predictions")
    rows = [
        {
            "claim": claim,
            "predicted": kept[claim]["verdict"],
            "confidence": kept[claim]["confidence"],
            "verdict": verdict,
            "penalty": penalty(
                kept[claim]["verdict"], kept[claim]["confidence"], verdict
            ),
        }
        for claim, verdict in verdicts.items()
        if claim in kept
    ]
    columns = ["claim", "predicted", "confidence", "verdict", "penalty"]
    table = pd.DataFrame(rows, columns=columns)
    return table, float(table.penalty.mean())


def penalty(predicted: str, confidence: float, verdict: str) -> float:
    """What a bet costs, 0 to 1: the Brier score over the three verdicts, halved.

    What the confidence leaves over is shared by the two other verdicts. So the cheapest
    bet is the honest one (Brier, Monthly Weather Review 1950): a bet on a verdict that
    is surely wrong is never the cheapest way to say "I do not know".
    """
    others = (1 - confidence) / 2
    chances = {name: confidence if name == predicted else others for name in VERDICTS}
    came = next(name for name in VERDICTS if verdict.startswith(name))
    return sum((chance - (name == came)) ** 2 for name, chance in chances.items()) / 2


def report() -> pd.DataFrame:
    """Your exercises, a row each: the tries until it was right, and when (UTC)."""
    rows = [{"exercise": name, **told} for name, told in _kept("exercises").items()]
    return pd.DataFrame(rows, columns=["exercise", "tries", "right", "last"])


def chapters() -> dict[str, dict[str, Callable[[object], str]]]:
    """The `EXERCISES` of each chapter, by "ch01" and so on, then by name.

    A check takes an answer and gives "" if it is right, else a hint.
    """
    found = {}
    for module in pkgutil.iter_modules(exercises.__path__):
        chapter = import_module(f"{exercises.__name__}.{module.name}")
        if hasattr(chapter, "EXERCISES"):
            found[module.name] = chapter.EXERCISES
    return found


def checks() -> dict[str, Callable[[object], str]]:
    """The checks of all chapters by the exercise's name."""
    return {name: one for asked in chapters().values() for name, one in asked.items()}


def check(exercise: str, answer: object) -> None:
    """Print ✓, or ✗ with a hint that fits the mistake, or – while the answer is `...`.

    Tries are counted for `report`. Raises ValueError for an exercise that does not
    exist.
    """
    known = checks()
    if exercise not in known:
        raise ValueError(f"no exercise {exercise!r}: there are {', '.join(known)}")
    if answer is ...:
        _note_result(exercise, NOT_ATTEMPTED)
        say(f"– {exercise}: not attempted yet")
        return
    try:
        hint = known[exercise](answer)
    except Exception as error:  # an answer that breaks its check is a mistake, too
        hint = f"your answer raised {type(error).__name__}: {error}"
    _note_result(exercise, WRONG if hint else RIGHT, hint)
    before = _kept("exercises").get(exercise, {"tries": 0, "right": False})
    now = datetime.now(UTC).isoformat(timespec="seconds")
    if not before["right"]:
        tries = {"tries": before["tries"] + 1, "right": not hint, "last": now}
        _keep("exercises", exercise, tries)
    say(f"✗ {exercise}: {hint}" if hint else f"✓ {exercise}: right")


def say(line: str) -> None:
    """Print a line; what a terminal has no sign for, perhaps ✓, becomes its number."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(line.encode(encoding, "backslashreplace").decode(encoding))


def _note_result(exercise: str, mark: str, hint: str = "") -> None:
    """Add a line of JSON to the file that HPKIT_CHECKED names, where it names one."""
    path = os.environ.get("HPKIT_CHECKED")
    if not path:
        return
    line = json.dumps({"exercise": exercise, "mark": mark, "hint": hint})
    with open(path, "a", encoding="utf-8") as file:
        file.write(f"{line}\n")


def user() -> str:
    """The reader's name, fit for the name of a file.

    In a container the user often has a number and no account. Then the name is made of
    that number.
    """
    try:
        name = getpass.getuser()
    except (KeyError, OSError, ImportError):
        name = f"user-{os.getuid()}" if hasattr(os, "getuid") else "user"
    return re.sub(r"[^\w.@-]", "_", name).strip(".") or "user"


def _file(kind: str) -> Path:
    folder = named_folder("HPKIT_PROGRESS") or cache_folder()
    return folder / f"{kind}-{user()}.json"


def _kept(kind: str) -> dict:
    """What is in a reader's file; one that is damaged is set aside, with a warning."""
    path = _file(kind)
    if not path.exists():
        return {}
    try:
        return read_json(path)
    except Damaged as error:
        aside = path.with_name(f"{path.name}.damaged")
        path.replace(aside)
        warnings.warn(
            f"{error}; it was set aside as {aside.name}, and a new one begins",
            stacklevel=3,
        )
        return {}


def _keep(kind: str, name: str, value: dict) -> None:
    path = _file(kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(f"{path}.lock"):  # two notebooks may be open
        write_json(path, _kept(kind) | {name: value})
