"""What a cell shows in one call: the source of a function, the verdict on a claim."""

import inspect
from collections.abc import Callable

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Markdown

from hpkit.experiments.arms import conclude, judge
from hpkit.experiments.claims import CLAIMS
from hpkit.experiments.intervals import OPEN
from hpkit.lessons import plots


def show_source(*objects: Callable) -> Markdown:
    """The source of functions or classes of the package, as it runs."""
    sources = "\n\n".join(inspect.getsource(o).rstrip() for o in objects)
    return Markdown(f"```python\n{sources}\n```")


def show_claim(table: pd.DataFrame, name: str) -> None:
    """A claim's contrasts as a figure, an axis per unit, and its verdict.

    table: recorded runs.
    """
    judged, line = judge(table, CLAIMS[name]), conclude(table, CLAIMS[name])
    units = dict(list(judged.groupby("unit", sort=False)))
    _, axes = plt.subplots(
        len(units),
        squeeze=False,
        height_ratios=[*map(len, units.values())],
        figsize=(8, 0.42 * len(judged) + 0.8 * len(units) + 0.4),
    )
    for ax, (unit, rows) in zip(axes[:, 0], units.items(), strict=True):
        first = not ax.get_subplotspec().rowspan.start
        plots.contrasts(
            ax,
            rows,
            xlabel=f"better by so much, in {unit} (tick: the least that matters)",
            title=f"{name} {line['verdict']}" if first else "",
        )
    plt.show()
    print(
        f"{name} {line['verdict']}. Deciding: {line['contrast']}, {line['mean']:+.3f} "
        f"[{line['low']:+.3f}, {line['high']:+.3f}] {line['unit']}, "
        f"{line['seeds']} seeds."
    )
    if line["largest"] == 1:
        print("No larger budget was run.")
        return
    print(_beyond(judged, judge(table, CLAIMS[name], line["largest"]), line))


def _beyond(judged: pd.DataFrame, large: pd.DataFrame, line: dict) -> str:
    """What a larger budget says of a claim's contrasts, in a sentence."""
    run = large[large.seeds > 0]
    least, most, many = run.seeds.min(), run.seeds.max(), len(run) > 1
    seeds = (
        f"{least} to {most} seeds"
        if least < most
        else f"{most} seeds"
        if most > 1
        else "one seed"
    )
    decided = (judged.verdict[run.index] != OPEN).any()
    return (
        f"At {line['largest']} times the budget {len(run)} of {len(large)} contrasts "
        f"{'were' if many else 'was'} run ({seeds}{' each' * many}); "
        + (
            f"contradicted at a larger budget: {line['turned']}."
            if line["turned"]
            else "none contradicts a verdict above."
            if decided
            else "none of them is decided above."
        )
    )
