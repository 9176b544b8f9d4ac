"""What makes a notebook a lesson: source on display, exercises that answer, predictions kept."""

import inspect
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from IPython.display import Markdown

from hpkit.exercises import EXERCISES
from hpkit.patches import cache_folder


def show_source(*objects: Callable) -> Markdown:
    """The source of functions or classes of the package, as it runs."""
    sources = "\n\n".join(inspect.getsource(o).rstrip() for o in objects)
    return Markdown(f"```python\n{sources}\n```")


def recorded(name: str) -> pd.DataFrame:
    """Results of recorded runs, `results/<name>.csv` beside the notebooks: one row per run.

    Raises FileNotFoundError where a notebook was opened without its folder.
    """
    beside = Path.cwd(), Path.cwd() / "notebooks", Path(__file__).parents[1] / "notebooks"
    for folder in beside:
        if (folder / "results" / f"{name}.csv").is_file():
            return pd.read_csv(folder / "results" / f"{name}.csv")
    raise FileNotFoundError(f"results/{name}.csv: not found in {beside[0]}, expected beside the "
                            "notebooks as in the repository")


def predict(claim: str, statement: str, confidence: float = ...) -> None:
    """Commit to a statement before the reveal, with a confidence from 0.5 (a guess) to 1.

    Kept in `predictions.json` in the cache folder, the last word on each claim. Left at `...`,
    nothing is kept. Raises ValueError for a confidence outside 0.5..1.
    """
    if confidence is ...:
        print(f"– {claim}: not predicted yet (write your confidence, 0.5 to 1)")
        return
    if not 0.5 <= confidence <= 1:
        raise ValueError(f"confidence {confidence}: expected 0.5 (a guess) to 1 (certain)")
    path = cache_folder() / "predictions.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(kept | {claim: {"statement": statement, "confidence": confidence}}))
    print(f"✎ {claim}: {statement} ({confidence:.0%} sure)")


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
