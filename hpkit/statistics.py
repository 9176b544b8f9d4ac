"""From recorded runs to verdicts: named contrasts, paired intervals, and a rule written in advance.

Two arms are compared *paired*: seed by seed, since a seed fixes the weights, the left-out fold of
photos and the drawn sequences of both. `hpkit.claims` says what is compared.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import pandas as pd
from scipy.stats import t

from hpkit.configs import Config, DescriptorConfig, varied

# What may differ between two rows of one arm: chance, the machine, and what follows from them.
CHANCE = ("seed", "draw", "validation_draw", "device", "precision", "threads")
HOLDS, FAILS, OPEN = "holds", "does not hold", "undecided"
SCALES = (1, 4, 16)  # times the budget of the recorded baseline
ERRORS = ("test_mae", "loss", "val_loss")  # better when lower; the other scores are mAP


@dataclass(frozen=True)
class Contrast:
    """Is arm `a` better than arm `b` by more than `smallest`, the least effect that matters?

    base: the configuration that both arms start from; a, b: what they change in it (lr "best":
    the rate with the least mean val_loss among the recorded ones). score: a column, of both arms
    or, with score_b, of a alone. A negative `smallest` asks whether a is *not worse* by that much.
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
        return "triplet loss" if isinstance(self.base, DescriptorConfig) else "grey levels"


@dataclass(frozen=True)
class Claim:
    """A statement of the coursework (or our reading of it) and the contrasts that decide it."""

    name: str
    statement: str
    coursework: str  # what it rests on there
    notebook: str
    contrasts: tuple[Contrast, ...]


def arm(table: pd.DataFrame, base: Config, **changes: object) -> pd.DataFrame:
    """The recorded runs of one arm, a row per seed: `base` with these changes, whatever chance.

    Only those of the base's revision, usually the current one: runs of older code are another arm.
    Empty where there are none. Raises ValueError for a field that does not exist.
    """
    best = changes.get("lr") == "best"
    changes = {name: value for name, value in changes.items() if value != "best"}
    wanted = asdict(varied(base, **changes).resolved())
    free = (*CHANCE, "lr") if best else CHANCE
    fits = np.ones(len(table), bool)
    for name, value in wanted.items():
        if name not in free:
            fits &= (table[name].isna() if value is None else table[name] == value).to_numpy()
    found = table[fits]
    if best and len(found):
        found = found[found.lr == found.groupby("lr").val_loss.mean().idxmin()]
    own_draw = (found.draw == found.seed).to_numpy()  # not the runs that vary chance on purpose
    return found[own_draw].sort_values("seed").drop_duplicates("seed").set_index("seed")


def at_scale(base: Config, times: int) -> dict[str, object]:
    """The changes that give `base` so many times its budget: samples, and for triplets points too.

    A denoiser draws its samples from all points at any scale.
    """
    changes = {name: times * getattr(base, name) for name in ("samples", "denoiser_samples")
               if hasattr(base, name)}
    if isinstance(base, DescriptorConfig) and times > 1:
        changes["points"] = {4: 100, 16: None}[times]
    return changes


def differences(table: pd.DataFrame, contrast: Contrast, times: int = 1) -> np.ndarray:
    """How much better a is than b, one number per seed that both have, at a scale of SCALES."""
    scale = at_scale(contrast.base, times)
    first = arm(table, contrast.base, **(scale | contrast.a))[contrast.score]
    second = arm(table, contrast.base, **(scale | contrast.b))[contrast.score_b or contrast.score]
    gain = (second - first) if contrast.lower_is_better else (first - second)
    return gain.dropna().to_numpy(float)


def interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """Mean, low and high end of Student's t interval; the ends are NaN for fewer than 3 values.

    (With two, t is 12.7: such an interval says that nothing is known, and looks like a mistake.)
    """
    values = np.asarray(values, float)
    mean = values.mean() if len(values) else np.nan
    if len(values) < 3:
        return mean, np.nan, np.nan
    half = t.ppf((1 + confidence) / 2, len(values) - 1) * values.std(ddof=1) / len(values)**0.5
    return mean, mean - half, mean + half


def summary(arms: dict[str, pd.Series], coursework: dict[str, float] | None = None
            ) -> pd.DataFrame:
    """A row per arm: mean, 95 % interval, seeds, and the coursework's number beside it.

    arms: {name: a score per seed}, as from `arm(...)[score]`.
    """
    rows = {name: (*interval(scores), len(scores), (coursework or {}).get(name, np.nan))
            for name, scores in arms.items()}
    columns = ["mean", "low", "high", "seeds", "coursework"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def decide(values: Sequence[float], smallest: float, contrasts: int = 1) -> str:
    """One contrast's verdict: its whole interval lies above `smallest`, below, or on both sides.

    contrasts: of the claim. A claim needs all of them to hold, which is strict by itself; one
    that fails refutes it, so to fail each has to miss at a level of 0.05 / contrasts (Bonferroni).
    """
    low, high = interval(values)[1], widest(values, contrasts)
    return HOLDS if low > smallest else FAILS if high < smallest else OPEN


def widest(values: Sequence[float], contrasts: int) -> float:
    """The high end that a contrast is refuted by, one of so many of a claim (Bonferroni)."""
    return interval(values, 1 - 0.05 / contrasts)[2]


def judge(table: pd.DataFrame, claim: Claim, times: int = 1) -> pd.DataFrame:
    """A row per contrast: mean, interval (95 %: low, high), smallest, unit, seeds, verdict.

    `widest` is the high end that has to be below `smallest` for "does not hold".
    """
    rows = []
    for contrast in claim.contrasts:
        values = differences(table, contrast, times)
        mean, low, high = interval(values)
        rows.append({"claim": claim.name, "contrast": contrast.name, "score": contrast.score,
                     "mean": mean, "low": low, "high": high,
                     "widest": widest(values, len(claim.contrasts)),
                     "smallest": contrast.smallest, "unit": contrast.unit, "seeds": len(values),
                     "verdict": decide(values, contrast.smallest, len(claim.contrasts))})
    return pd.DataFrame(rows)


def verdict(judged: pd.DataFrame) -> str:
    """A claim's verdict from its contrasts: all hold, one fails, or neither."""
    found = set(judged.verdict)
    return FAILS if FAILS in found else HOLDS if found == {HOLDS} else OPEN


def changes_with_scale(small: pd.DataFrame, large: pd.DataFrame) -> list[str]:
    """Names of contrasts decided at the small scale whose mean is on the other side at the large.

    Contrasts without a run at the large scale say nothing.
    """
    both = small.merge(large, on="contrast", suffixes=("", "_large")).dropna(subset="mean_large")
    above = both.mean_large > both.smallest
    flipped = ((both.verdict == HOLDS) & ~above) | ((both.verdict == FAILS) & above)
    return list(both.contrast[flipped])


def conclude(table: pd.DataFrame, claim: Claim) -> dict:
    """A claim's line of the scorecard, from all its recorded runs.

    verdict: at scale 1, unless a decided contrast turns at a larger scale. The numbers are those of
    the weakest contrast with that verdict: where it holds the narrowest, where it fails the worst.
    largest: the largest scale at which any of its contrasts was run.
    """
    judged = {times: judge(table, claim, times) for times in SCALES}
    found = verdict(judged[1])
    speaking = judged[1][judged[1].verdict == found] if found != HOLDS else judged[1]
    weakest = judged[1].loc[(speaking["mean"] - speaking.smallest).fillna(np.inf).idxmin()]
    turned = dict.fromkeys(name for times in SCALES[1:]
                           for name in changes_with_scale(judged[1], judged[times]))
    largest = max((times for times in SCALES if judged[times].seeds.any()), default=1)
    return {"claim": claim.name, "statement": claim.statement,
            "verdict": f"{OPEN} beyond this scale" if turned else found,
            "contrast": weakest.contrast, "mean": weakest["mean"], "low": weakest.low,
            "high": weakest.high, "unit": weakest.unit, "seeds": weakest.seeds,
            "turned": "; ".join(turned), "largest": largest, "coursework": claim.coursework,
            "notebook": claim.notebook}
