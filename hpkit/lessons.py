"""What makes a notebook a lesson: source on display, exercises that answer, predictions kept."""

import inspect
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from filelock import FileLock
from IPython.display import Markdown

from hpkit import exercises, exercises_05_07, exercises_08_10, exercises_11_12, plots
from hpkit.claims import CLAIMS
from hpkit.patches import cache_folder
from hpkit.statistics import conclude, judge
from hpkit.store import read_json, write_json

EXERCISES = (exercises.EXERCISES | exercises_05_07.EXERCISES | exercises_08_10.EXERCISES
             | exercises_11_12.EXERCISES)


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


def predict(claim: str, statement: str, confidence: float = ...) -> None:
    """Commit to a statement before the reveal, with a confidence from 0.5 (a guess) to 1.

    Kept in `predictions.json` in the cache folder, the last word on each claim. Left at `...`,
    nothing is kept. Raises ValueError for a confidence outside 0.5..1, or a damaged file.
    """
    if confidence is ...:
        print(f"– {claim}: not predicted yet (write your confidence, 0.5 to 1)")
        return
    if not 0.5 <= confidence <= 1:
        raise ValueError(f"confidence {confidence}: expected 0.5 (a guess) to 1 (certain)")
    path = cache_folder() / "predictions.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        kept = read_json(path) if path.exists() else {}
        write_json(path, kept | {claim: {"statement": statement, "confidence": confidence}})
    print(f"✎ {claim}: {statement} ({confidence:.0%} sure)")


def show_claim(table: pd.DataFrame, name: str) -> None:
    """A claim's contrasts as a figure, and its verdict in a sentence; table: recorded runs."""
    judged, line = judge(table, CLAIMS[name]), conclude(table, CLAIMS[name])
    mixed = judged.unit.nunique() > 1  # then each line names its own
    unit = "much" if mixed else f"many {judged.unit[0]}"
    if mixed:
        judged.contrast += "\n(" + judged.unit + ")"
    _, ax = plt.subplots(figsize=(8, 0.42 * len(judged) + 1.2))
    plots.contrasts(ax, judged, xlabel=f"better by so {unit} (tick: the least that matters)",
                    title=f"{name} {line['verdict']}")
    plt.show()
    print(f"{name} {line['verdict']}. Deciding: {line['contrast']}, {line['mean']:+.3f} "
          f"[{line['low']:+.3f}, {line['high']:+.3f}] {line['unit']}, {line['seeds']} seeds.")
    print(f"The largest budget tried: {line['largest']} times this one; contrasts that turn there: "
          f"{line['turned'] or 'none'}.")


def calibration(verdicts: dict[str, str]) -> tuple[pd.DataFrame, float]:
    """Your predictions of claims beside their verdicts, and your Brier score (Brier 1950).

    verdicts: {claim: "holds", "does not hold" or something undecided}. The score is the mean
    squared difference between confidence and outcome over the decided claims that you predicted:
    0 is a prophet, 0.25 a coin; NaN where there are none.
    """
    path = cache_folder() / "predictions.json"
    kept = read_json(path) if path.exists() else {}
    rows = [{"claim": claim, **kept[claim], "verdict": verdict,
             "penalty": (kept[claim]["confidence"] - (kept[claim]["statement"] == verdict)) ** 2}
            for claim, verdict in verdicts.items()
            if claim in kept and verdict in ("holds", "does not hold")]
    table = pd.DataFrame(rows, columns=["claim", "statement", "confidence", "verdict", "penalty"])
    return table, float(table.penalty.mean())


def check(exercise: str, answer: object) -> None:
    """Print ✓, or ✗ with a hint that fits the mistake, or – while the answer is still `...`.

    Raises ValueError for an exercise that does not exist.
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
    print(f"✗ {exercise}: {hint}" if hint else f"✓ {exercise}: right")
