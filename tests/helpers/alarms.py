"""The table of false alarms in `notebooks/pages/matching.md`, from the recorded rows.

python tests/helpers/alarms.py
"""

import readme
from scipy.stats import binomtest

from hpkit.experiments.arms import recorded

COMMAND = "tests/helpers/alarms.py"


def table() -> str:
    """A row for each kind of pair, and one for all that have nothing in common.

    The intervals are Clopper and Pearson's.
    """
    counts = recorded("unrelated").groupby("kind", sort=False)[["pairs", "alarms"]].sum()
    mirrored = counts.index == "its mirror image"
    counts.loc["nothing in common"] = counts[~mirrored].sum()
    counts = counts.sort_values("pairs", ascending=False, kind="stable")
    rows = []
    for kind, (pairs, alarms) in counts.iterrows():
        sure = binomtest(int(alarms), int(pairs)).proportion_ci()
        rows.append((kind, f"{pairs:,}", f"{alarms}", f"{sure.low:.2%} to {sure.high:.2%}"))
    return readme.markdown(["matched with", "pairs", "false alarms", "95 % interval"], rows)


if __name__ == "__main__":
    readme.put(COMMAND, table())
