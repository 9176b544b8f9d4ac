"""What makes a notebook a lesson: source on display, exercises that answer, predictions kept."""

import getpass
import inspect
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from filelock import FileLock
from IPython.display import Markdown

from hpkit import (
    exercises,
    exercises_05_07,
    exercises_08_10,
    exercises_11_12,
    exercises_13,
    plots,
)
from hpkit.claims import CLAIMS
from hpkit.patches import cache_folder
from hpkit.statistics import FAILS, HOLDS, OPEN, conclude, judge
from hpkit.store import read_json, write_json

EXERCISES = (exercises.EXERCISES | exercises_05_07.EXERCISES | exercises_08_10.EXERCISES
             | exercises_11_12.EXERCISES | exercises_13.EXERCISES)
VERDICTS = (HOLDS, FAILS, OPEN)


def show_source(*objects: Callable) -> Markdown:
    """The source of functions or classes of the package, as it runs."""
    sources = "\n\n".join(inspect.getsource(o).rstrip() for o in objects)
    return Markdown(f"```python\n{sources}\n```")


def recorded(name: str) -> pd.DataFrame:
    """Results of recorded runs, `results/<name>.csv` beside the notebooks: one row per run.

    For a notebook away from its folder those that an installed hpkit carries. Raises
    FileNotFoundError where there are none, ValueError for what is no table. A changed number is not
    noticed here, but it makes the stamps of all notebooks stale, and `make check` red.
    """
    package = Path(__file__).parent
    beside = Path.cwd(), Path.cwd() / "notebooks", package.parent / "notebooks", package
    for folder in beside:
        path = folder / "results" / f"{name}.csv"
        if path.is_file():
            try:
                return pd.read_csv(path)
            except (ValueError, OverflowError) as error:
                raise ValueError(f"{path}: not a whole table ({str(error).strip()})") from error
    raise FileNotFoundError(f"results/{name}.csv: not found in {beside[0]}, expected beside the "
                            "notebooks as in the repository")


def predict(claim: str, verdict: str, confidence: float = ...) -> None:
    """Bet on a verdict before the reveal, with a confidence from 1/3 (a guess) to 1.

    verdict: "holds", "does not hold" or "undecided". The last bet on each claim is kept, in the
    cache folder, a file per user; at `...`, none. Raises ValueError for another verdict and for a
    confidence outside 1/3..1.
    """
    if verdict not in VERDICTS:
        raise ValueError(f"{claim}: no verdict {verdict!r}, expected one of {', '.join(VERDICTS)}")
    if confidence is ...:
        print(f"– {claim}: not predicted yet (write your verdict and confidence, 0.33 to 1)")
        return
    if not 0.33 <= confidence <= 1:
        raise ValueError(f"confidence {confidence}: expected 0.33 (a guess) to 1 (certain)")
    _keep("predictions", claim, {"verdict": verdict, "confidence": confidence})
    print(f"✎ {claim} {verdict}: {confidence:.0%} sure; kept in {_file('predictions')}")


def reveal(claim: str, verdict: str) -> None:
    """Print a verdict, what your bet on it cost (Brier 1950), and your mean over those revealed."""
    bet = _kept("predictions").get(claim)
    if not bet:
        print(f"{claim} {verdict}. (You made no bet.)")
        return
    _keep("predictions", claim, bet | {"revealed": verdict})
    bets = _kept("predictions").items()
    table, mean = calibration({name: b["revealed"] for name, b in bets if "revealed" in b})
    cost = table.penalty[table.claim == claim].item()
    print(f"{claim} {verdict}. You said: {bet['verdict']}, {bet['confidence']:.0%} sure. It cost "
          f"you {cost:.2f} (0 is best, 1 worst)"
          + (f"; your mean over {len(table)} bets is {mean:.2f}." if len(table) > 1 else "."))


def calibration(verdicts: dict[str, str]) -> tuple[pd.DataFrame, float]:
    """Your bets beside the verdicts, a row each, and your Brier score, the mean penalty.

    verdicts: {claim: verdict}. The penalty is the squared difference between your confidence and
    the outcome, 1 if you named the verdict, else 0. NaN where there are no bets.
    """
    kept = _kept("predictions")
    rows = [{"claim": claim, "predicted": kept[claim]["verdict"],
             "confidence": kept[claim]["confidence"], "verdict": verdict,
             "penalty": (kept[claim]["confidence"]
                         - verdict.startswith(kept[claim]["verdict"])) ** 2}
            for claim, verdict in verdicts.items() if claim in kept]
    table = pd.DataFrame(rows, columns=["claim", "predicted", "confidence", "verdict", "penalty"])
    return table, float(table.penalty.mean())


def report() -> pd.DataFrame:
    """Your exercises: a row each, with the tries until it was right, and when that was (UTC)."""
    rows = [{"exercise": name, **told} for name, told in _kept("exercises").items()]
    return pd.DataFrame(rows, columns=["exercise", "tries", "right", "last"])


def _file(kind: str) -> Path:
    folder = os.environ.get("HPKIT_PROGRESS") or cache_folder()
    return Path(folder) / f"{kind}-{getpass.getuser()}.json"


def _kept(kind: str) -> dict:
    return read_json(_file(kind)) if _file(kind).exists() else {}


def _keep(kind: str, name: str, value: dict) -> None:
    _file(kind).parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{_file(kind)}.lock"):  # two notebooks may be open
        write_json(_file(kind), _kept(kind) | {name: value})


def show_claim(table: pd.DataFrame, name: str) -> None:
    """A claim's contrasts as a figure, an axis per unit, and its verdict; table: recorded runs."""
    judged, line = judge(table, CLAIMS[name]), conclude(table, CLAIMS[name])
    units = dict(list(judged.groupby("unit", sort=False)))
    _, axes = plt.subplots(len(units), squeeze=False, height_ratios=[*map(len, units.values())],
                           figsize=(8, 0.42 * len(judged) + 0.8 * len(units) + 0.4))
    for ax, (unit, rows) in zip(axes[:, 0], units.items(), strict=True):
        plots.contrasts(ax, rows, xlabel=f"better by so much, in {unit} (tick: the least that "
                        "matters)", title="" if ax.get_subplotspec().rowspan.start
                        else f"{name} {line['verdict']}")
    plt.show()
    print(f"{name} {line['verdict']}. Deciding: {line['contrast']}, {line['mean']:+.3f} "
          f"[{line['low']:+.3f}, {line['high']:+.3f}] {line['unit']}, {line['seeds']} seeds.")
    if line["largest"] == 1:
        print("No larger budget was run.")
        return
    print(_beyond(judged, judge(table, CLAIMS[name], line["largest"]), line))


def _beyond(judged: pd.DataFrame, large: pd.DataFrame, line: dict) -> str:
    """What a larger budget says of a claim's contrasts, in a sentence."""
    run = large[large.seeds > 0]
    least, most, many = run.seeds.min(), run.seeds.max(), len(run) > 1
    seeds = (f"{least} to {most} seeds" if least < most else
             f"{most} seeds" if most > 1 else "one seed")
    decided = (judged.verdict[run.index] != OPEN).any()
    return (f"At {line['largest']} times the budget {len(run)} of {len(large)} contrasts "
            f"{'were' if many else 'was'} run ({seeds}{' each' * many}); "
            + (f"contradicted at a larger budget: {line['turned']}." if line["turned"] else
               "none contradicts a verdict above." if decided else
               "none of them is decided above."))


def check(exercise: str, answer: object) -> None:
    """Print ✓, or ✗ with a hint that fits the mistake, or – while the answer is still `...`.

    Tries are counted for `report`, in the cache folder, a file per user. Raises ValueError for an
    exercise that does not exist.
    """
    if exercise not in EXERCISES:
        raise ValueError(f"no exercise {exercise!r}: there are {', '.join(EXERCISES)}")
    if answer is ...:
        print(f"– {exercise}: not attempted yet")
        return
    try:
        hint = EXERCISES[exercise](answer)
    except Exception as error:  # an answer that breaks its check is a mistake like any other
        hint = f"your answer raised {type(error).__name__}: {error}"
    before = _kept("exercises").get(exercise, {"tries": 0, "right": False})
    now = datetime.now(UTC).isoformat(timespec="seconds")
    if not before["right"]:
        _keep("exercises", exercise, {"tries": before["tries"] + 1, "right": not hint, "last": now})
    print(f"✗ {exercise}: {hint}" if hint else f"✓ {exercise}: right")
