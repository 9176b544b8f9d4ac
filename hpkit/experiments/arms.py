"""Recorded runs looked up by arm, and compared *paired*: seed by seed.

A seed fixes the weights, the left-out fold of photos and the drawn sequences of both
arms. `hpkit.experiments.claims` says what is compared.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
import pandas as pd

from hpkit.experiments.configs import Config, DescriptorConfig, varied
from hpkit.experiments.intervals import (
    FAILS,
    HOLDS,
    LOOK_CONFIDENCE,
    OPEN,
    UNANSWERED,
    answer,
    decide,
    first_answer,
    interval,
    seeds_to_tell,
    verdict,
    widest,
)

# What may differ between two rows of one arm: chance, and the machine.
CHANCE = ("seed", "draw", "validation_draw", "device", "precision", "threads")
SCALES = (1, 4, 16)  # times the budget of the recorded baseline
# What a run that diverged has reached: the noisy patches as they are, and descriptors
# drawn by chance, on the test photos of the embedded data.
NOTHING = {
    "test_mae": 18.056,
    "verification": 0.167,
    "matching": 0.001,
    "retrieval": 0.033,
}
# Better when lower; the other scores are mAP.
ERRORS = ("test_mae", "test_mae_averaged", "loss", "val_loss")


@dataclass(frozen=True)
class Contrast:
    """Is arm `a` better than `b` by more than `smallest`, the least that matters?

    base: the configuration that both arms start from. a, b: what they change in it (lr
    "best": see `arm`). score: a column, of both arms or, with score_b, of a alone. A
    negative `smallest` asks whether a is *not worse* by that much.
    """

    name: str
    base: Config
    a: dict = field(default_factory=dict)
    b: dict = field(default_factory=dict)
    score: str = "matching"
    score_b: str | None = None
    smallest: float = 0.0

    @property
    def lower_is_better(self) -> bool:
        return self.score in ERRORS

    @property
    def unit(self) -> str:
        if not self.lower_is_better:
            return "mAP"
        return (
            "triplet loss" if isinstance(self.base, DescriptorConfig) else "grey levels"
        )


@dataclass(frozen=True)
class Claim:
    """A statement of the coursework, or our reading of it, and what decides it."""

    name: str
    statement: str
    coursework: str  # what it rests on there
    notebook: str
    contrasts: tuple[Contrast, ...]


def recorded(name: str) -> pd.DataFrame:
    """Results of recorded runs, `results/<name>.csv` beside the notebooks: a row a run.

    A notebook that is away from its folder gets the results that an installed hpkit
    carries. Raises FileNotFoundError where there are none, and ValueError for what is
    no table. A changed number is not noticed here. It does make the stamps of the
    notebooks that read the file stale, and so `make check` fails.
    """
    package = Path(__file__).parents[1]
    beside = Path.cwd(), Path.cwd() / "notebooks", package.parent / "notebooks", package
    for folder in beside:
        path = folder / "results" / f"{name}.csv"
        if path.is_file():
            try:
                return pd.read_csv(path)
            except (ValueError, OverflowError) as error:
                raise ValueError(
                    f"{path}: not a whole table ({str(error).strip()})"
                ) from error
    raise FileNotFoundError(
        f"results/{name}.csv: not found in {beside[0]}, expected beside the "
        "notebooks as in the repository"
    )


def arm(table: pd.DataFrame, base: Config, **changes: object) -> pd.DataFrame:
    """The recorded runs of one arm: `base` with these changes, a row per seed.

    lr="best": the rate with the least mean val_loss over the seeds that all recorded
    rates have; no rows where fewer than two rates were tried. Only rows of the base's
    revision and of one precision count, the one with the most rows. Empty where there
    are none. Raises ValueError for a field that does not exist.
    """
    best = changes.get("lr") == "best"
    changes = {name: value for name, value in changes.items() if value != "best"}
    wanted = varied(base, **changes).resolved().row()
    free = (*CHANCE, "lr") if best else CHANCE
    found = table[
        _fits(table, {n: v for n, v in wanted.items() if n not in free}, base)
    ]
    found = found[found.draw == found.seed]  # not where chance is varied on purpose
    if len(found):
        found = found[found.precision == found.precision.mode().iloc[0]]
    if best:
        found = _at_best_rate(found)
    return found.sort_values("seed").drop_duplicates("seed").set_index("seed")


def _fits(table: pd.DataFrame, wanted: dict[str, object], base: Config) -> np.ndarray:
    """Which rows have these values.

    A field without a column is at its default in all rows.
    """
    default = {field.name: field.default for field in fields(base)}
    fits = np.ones(len(table), bool)
    for name, value in wanted.items():
        if name not in table:
            fits &= value == default[name]
        elif value is None:
            fits &= table[name].isna().to_numpy()
        else:
            fits &= (table[name] == value).to_numpy()
    return fits


def _at_best_rate(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the rate that is best on the seeds that all rates share."""
    rates = rows.lr.nunique()
    if rates < 2:
        return rows.iloc[:0]
    with_seed = rows.groupby("seed").lr.nunique()
    shared = rows[rows.seed.isin(with_seed.index[with_seed == rates])]
    means = shared.groupby("lr").val_loss.mean()
    return rows[rows.lr == means.idxmin()] if len(means) else rows.iloc[:0]


def at_scale(base: Config, times: int) -> dict[str, object]:
    """The changes that give `base` a multiple of its budget.

    They are samples and, for triplets, points. A denoiser draws its samples from all
    points at any scale.
    """
    changes = {
        name: times * getattr(base, name)
        for name in ("samples", "denoiser_samples")
        if hasattr(base, name)
    }
    if isinstance(base, DescriptorConfig) and times > 1:
        changes["points"] = {4: 100, 16: None}[times]
    return changes


def differences(table: pd.DataFrame, contrast: Contrast, times: int = 1) -> np.ndarray:
    """How much better a is than b: a number per seed that both have in one precision.

    times: one of SCALES.
    """
    return _gains(table, contrast, times).to_numpy(float)


def _gains(table: pd.DataFrame, contrast: Contrast, times: int = 1) -> pd.Series:
    """`differences`, by seed."""
    scale = at_scale(contrast.base, times)
    first = arm(table, contrast.base, **(scale | contrast.a))
    second = arm(table, contrast.base, **(scale | contrast.b))
    both = first.add_suffix("_a").join(second.add_suffix("_b"), how="inner")
    both = both[both.precision_a == both.precision_b]
    score_b = contrast.score_b or contrast.score
    gain = both[f"{contrast.score}_a"] - both[f"{score_b}_b"]
    gain = -gain if contrast.lower_is_better else gain
    return gain.dropna()


def _checked(found: str, gain: pd.Series, contrast: Contrast) -> str:
    """An answer again, from a value per left-out fold; an open one stays open."""
    if found == UNANSWERED:
        return found
    values = _by_fold(gain, contrast.base)
    return answer(values, contrast.smallest, LOOK_CONFIDENCE)


def _by_fold(gain: pd.Series, base: Config) -> np.ndarray:
    """A value per left-out fold: the mean over the seeds that left out the same.

    gain: by seed, which is also the draw here (see `arm`).
    """
    fold = gain.index % base.folds if base.folds else gain.index
    return gain.groupby(fold).mean().to_numpy(float)


def answers(table: pd.DataFrame, contrasts: Iterable[Contrast]) -> pd.DataFrame:
    """What fresh seeds say: a row per contrast, with the answer of its deciding look.

    The mean and the 98 % interval are over the seeds of that look, the first that
    answers or the last that there was. Before the first look a row has no numbers. A
    run that diverged counts as one that did nothing.

    by_fold checks an answer: the same, at the same seeds, with one value per left-out
    fold of photos, since seeds that left out the same photos share their luck. One that
    stays does not rest on that; one that is lost may only lack values. needed: see
    `seeds_to_tell`.
    """
    table = _with_nothing(table)
    return pd.DataFrame([_answered(table, contrast) for contrast in contrasts])


def _answered(table: pd.DataFrame, contrast: Contrast) -> dict[str, object]:
    """A contrast's row of `answers`."""
    gain = _gains(table, contrast)
    values = gain.to_numpy(float)
    found, seen = first_answer(values, contrast.smallest)
    mean, low, high = interval(values[:seen], LOOK_CONFIDENCE)
    return {
        "contrast": contrast.name,
        "mean": mean,
        "low": low,
        "high": high,
        "smallest": contrast.smallest,
        "unit": contrast.unit,
        "seeds": seen,
        "ahead": int((values[:seen] > 0).sum()),
        "recorded": len(values),
        "answer": found,
        "by_fold": _checked(found, gain.iloc[:seen], contrast),
        "needed": seeds_to_tell(values[:seen], contrast.smallest),
    }


def _with_nothing(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the scores of doing nothing where a run diverged."""
    table = table.copy()
    diverged = table.status == "diverged"
    for score, value in NOTHING.items():
        for column in {score, f"{score}_averaged"} & set(table):
            table.loc[diverged, column] = value
    return table


def summary(
    arms: dict[str, pd.Series], coursework: dict[str, float] | None = None
) -> pd.DataFrame:
    """A row per arm: mean, 95 % interval, seeds, and the coursework's number beside it.

    arms: {name: a score per seed}, as from `arm(...)[score]`.
    """
    rows = {
        name: (*interval(scores), len(scores), (coursework or {}).get(name, np.nan))
        for name, scores in arms.items()
    }
    columns = ["mean", "low", "high", "seeds", "coursework"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def judge(table: pd.DataFrame, claim: Claim, times: int = 1) -> pd.DataFrame:
    """A row per contrast: mean, 95 % interval, least effect, unit, seeds, answer.

    `ahead` counts the seeds in which the first arm leads at all. `answer` is the
    contrast's own. `verdict` is its part in the claim's verdict, where `widest`, the
    high end, has to be below `smallest` for "does not hold".
    """
    rows = []
    for contrast in claim.contrasts:
        values = differences(table, contrast, times)
        mean, low, high = interval(values)
        rows.append(
            {
                "claim": claim.name,
                "contrast": contrast.name,
                "score": contrast.score,
                "mean": mean,
                "low": low,
                "high": high,
                "widest": widest(values, len(claim.contrasts)),
                "smallest": contrast.smallest,
                "unit": contrast.unit,
                "seeds": len(values),
                "ahead": int((values > 0).sum()),
                "answer": answer(values, contrast.smallest),
                "verdict": decide(values, contrast.smallest, len(claim.contrasts)),
            }
        )
    return pd.DataFrame(rows)


def changes_with_scale(small: pd.DataFrame, large: pd.DataFrame) -> list[str]:
    """Names of contrasts decided at the small scale that reverse at the large one.

    Contrasts without a run at the large scale say nothing.
    """
    both = small.merge(large, on="contrast", suffixes=("", "_large"))
    both = both.dropna(subset="mean_large")
    above = both.mean_large > both.smallest
    flipped = ((both.verdict == HOLDS) & ~above) | ((both.verdict == FAILS) & above)
    return list(both.contrast[flipped])


def conclude(table: pd.DataFrame, claim: Claim) -> dict:
    """A claim's line of the scorecard, from all its recorded runs.

    verdict: at scale 1, unless a decided contrast reverses at a larger scale. The
    numbers are those of the weakest contrast with that verdict. Since units differ,
    weakness is measured by how far a contrast is from the least effect, in widths of
    its interval. largest: the largest scale at which any of its contrasts was run.
    """
    judged = {times: judge(table, claim, times) for times in SCALES}
    found = verdict(judged[1])
    speaking = judged[1][judged[1].verdict == found] if found != HOLDS else judged[1]
    beyond = (speaking["mean"] - speaking.smallest) / (speaking.high - speaking.low)
    weakest = judged[1].loc[beyond.fillna(np.inf).idxmin()]
    turned = dict.fromkeys(
        name
        for times in SCALES[1:]
        for name in changes_with_scale(judged[1], judged[times])
    )
    largest = max((times for times in SCALES if judged[times].seeds.any()), default=1)
    return {
        "claim": claim.name,
        "statement": claim.statement,
        "verdict": f"{OPEN} beyond this scale" if turned else found,
        "contrast": weakest.contrast,
        "mean": weakest["mean"],
        "low": weakest.low,
        "high": weakest.high,
        "unit": weakest.unit,
        "seeds": weakest.seeds,
        "turned": "; ".join(turned),
        "largest": largest,
        "coursework": claim.coursework,
        "notebook": claim.notebook,
    }
