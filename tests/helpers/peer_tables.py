"""The tables of other descriptors in `notebooks/pages/results.md`, from the recorded rows.

python tests/helpers/peer_tables.py
"""

import numpy as np
import pandas as pd
import readme

from hpkit.experiments.arms import recorded
from hpkit.experiments.intervals import interval

COMMAND = "tests/helpers/peer_tables.py"
TASKS = ["verification", "matching", "retrieval"]
BINARY = ("BEBLID", "TEBLID", "LATCH", "BoostDesc")
FILTERED = "non-local means"  # the noisy patches, filtered
PIXELS = (1, 3, 5)
AREA = 5  # pixels: the area under homography accuracy ends there


def patches() -> pd.DataFrame:
    """Scores by photo: a row per descriptor, photo, side ("clean", "noisy") and task.

    On noisy patches a descriptor has the filter before it or not, whichever matches better.
    """
    rows = recorded("peers")
    clean, noisy = rows[rows.source == "clean"], rows[rows.source != "clean"]
    best = noisy[noisy.photo == "all"].sort_values("matching").groupby("descriptor").source.last()
    noisy = noisy[noisy.source == noisy.descriptor.map(best)]
    both = pd.concat([clean.assign(side="clean"), noisy.assign(side="noisy")])
    names = ["descriptor", "photo", "side", "source"]
    return both.melt(names, TASKS, "task", "mAP")


def lead(values: pd.Series) -> tuple[float, float, float]:
    """Mean and 95 % interval over photos; values: a lead per photo."""
    return interval(values.to_numpy())


def leads(table: pd.DataFrame, score: str) -> dict[str, tuple[float, float, float]]:
    """Of each descriptor how far ours is ahead of it, photo by photo."""
    by_photo = table.pivot_table(score, "photo", "descriptor", sort=False)
    ahead = by_photo.rsub(by_photo.ours, axis=0).drop(columns="ours")
    return {name: lead(ahead[name]) for name in ahead}


def text(values: tuple[float, float, float]) -> str:
    mean, low, high = values
    return f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]"


def patch_scores() -> str:
    """A row per descriptor: the three scores on each kind of patches."""
    rows = recorded("peers").query("photo == 'all'")
    columns = list(dict.fromkeys(rows.source))
    lines = []
    for name, mine in rows.groupby("descriptor", sort=False):
        scores = mine.set_index("source")[TASKS]
        cells = [" / ".join(f"{value:.3f}" for value in scores.loc[c]) for c in columns]
        numbers = f"{mine.numbers.iloc[0]}{' bits' if name in BINARY else ''}"
        lines.append((name, numbers, *cells))
    heads = ["clean", "noisy", "noisy, non-local means first"]
    return readme.markdown(["descriptor", "numbers", *heads], lines)


def patch_leads() -> str:
    """A row per descriptor: our lead in each task, clean and noisy, with its interval."""
    table = patches()
    table, parts = table[table.photo != "all"], {}
    for side in ("clean", "noisy"):
        for task in TASKS:
            some = table[(table.side == side) & (table.task == task)]
            parts[f"{side}: {task}"] = leads(some, "mAP")
    names = next(iter(parts.values()))
    lines = [(name, *(text(part[name]) for part in parts.values())) for name in names]
    return f"{readme.markdown(['ours ahead of', *parts], lines)}\n\n{behind(parts)}"


def behind(parts: dict[str, dict]) -> str:
    """Which leads are none, in a sentence or two."""
    none = {
        part: [name for name, (_, low, _) in ahead.items() if not low > 0]
        for part, ahead in parts.items()
    }
    total, fewer = sum(map(len, parts.values())), sum(map(len, none.values()))
    if not fewer:
        return f"All {total} intervals lie above 0."
    told = "; ".join(f"in {part}: {', '.join(names)}" for part, names in none.items() if names)
    return f"{total - fewer} of {total} intervals lie above 0. Those that do not: {told}."


def area(errors: pd.Series) -> float:
    """Of the share of pairs whose corners are off by at most x, x from 0 to AREA pixels."""
    return float(np.maximum(0, 1 - errors / AREA).mean())


def changes(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Rows by what happened to the second photo."""
    told = rows.change + rows.strength.map("{: g}".format).str.replace(" nan", "")
    return dict(list(rows.groupby(told, sort=False)))


def accuracy(rows: pd.DataFrame) -> str:
    return " / ".join(f"{rows[f'mma_{pixels}'].mean():.2f}" for pixels in (1, 3, 10))


def pair_scores() -> str:
    """A row per descriptor: matches of each change, homographies of all, and the real pair."""
    rows = recorded("peer_pairs")
    made = rows[rows.change != "graf"]
    heads = ["descriptor", "ratio", *(f"matches, {change}" for change in changes(rows)),
             "homographies", f"area to {AREA} px", "corners, graf"]
    lines = []
    for name, mine in rows.groupby("descriptor", sort=False):
        errors = made[made.descriptor == name].corner_error
        solved = " / ".join(f"{(errors < pixels).mean():.2f}" for pixels in PIXELS)
        real = mine[mine.change == "graf"].corner_error.iloc[0]
        cells = [accuracy(some) for some in changes(mine).values()]
        lines.append((name, f"{mine.ratio.iloc[0]:g}", *cells, solved, f"{area(errors):.2f}",
                      f"{real:.1f} px off"))
    found = {change: some.repeatability.mean() for change, some in changes(rows).items()}
    again = ", ".join(f"{value:.2f} ({change})" for change, value in found.items())
    number = made.groupby(["change", "strength", "photo", "draw"]).ngroups
    real = rows[rows.change == "graf"].set_index("descriptor").corner_error
    nearer = (real < real.ours).sum()
    return (f"{readme.markdown(heads, lines)}\n\nThe homographies are those of {number} pairs. "
            f"On graf, the real pair, {nearer} of {len(real) - 1} others have nearer corners than "
            f"ours, at best by {real.ours - real.min():.1f} px. "
            f"Repeatability of the keypoints, the same for all: {again}.")


def pair_leads() -> str:
    """A row per descriptor: our lead in matches and homographies, with its interval."""
    rows = recorded("peer_pairs").query("change != 'graf'")
    rows = rows.assign(area=np.maximum(0, 1 - rows.corner_error / AREA))
    parts = {f"matches within 3 px, {change}": leads(some, "mma_3")
             for change, some in changes(rows).items()}
    parts[f"area to {AREA} px, all pairs"] = leads(rows, "area")
    names = next(iter(parts.values()))
    lines = [(name, *(text(part[name]) for part in parts.values())) for name in names]
    return f"{readme.markdown(['ours ahead of', *parts], lines)}\n\n{behind(parts)}"


TABLES = {
    "patches": patch_scores,
    "leads": patch_leads,
    "pairs": pair_scores,
    "pair leads": pair_leads,
}


if __name__ == "__main__":
    for which, made in TABLES.items():
        readme.put(f"{COMMAND} {which}", made())
