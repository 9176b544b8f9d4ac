"""What a cell shows in one call: source code, a claim, the answers of fresh seeds."""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import replace

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Markdown
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hpkit.experiments.arms import (
    Claim,
    Contrast,
    answers,
    arm,
    at_scale,
    conclude,
    judge,
)
from hpkit.experiments.claims import (
    CLAIMS,
    DESCRIPTOR,
    FINAL,
    HARD,
    NORMAL,
    QUESTIONS,
    SINGLE,
    WEIGHTS,
    by_weights,
    first_look,
    matches,
)
from hpkit.experiments.intervals import (
    BETTER,
    OPEN,
    SAME,
    UNANSWERED,
    WORSE,
    gain_of_seeing,
    interval,
)
from hpkit.experiments.modifications import TENTH, WITHOUT, ladder
from hpkit.lessons import plots

# Answers about a part of a recipe, by those about the whole against the rest.
MISSED = {BETTER: "missed", WORSE: "better without", SAME: "not missed"}


def show_source(*objects: Callable) -> Markdown:
    """The source of functions or classes of the package, as it runs."""
    sources = "\n\n".join(inspect.getsource(o).rstrip() for o in objects)
    return Markdown(f"```python\n{sources}\n```")


def show_claim(table: pd.DataFrame, name: str) -> None:
    """A claim's contrasts as a figure, an axis per unit, with their answers in words.

    table: recorded runs.
    """
    judged, line = judge(table, CLAIMS[name]), conclude(table, CLAIMS[name])
    answered = (judged.answer != UNANSWERED).sum()
    heading = f"{answered} of {len(judged)} questions answered"
    _, axes = _axis_per_unit(judged)
    for ax, (unit, rows) in zip(axes, _by_unit(judged), strict=True):
        title = "" if ax is not axes[0] else f"{name} {line['verdict']}: {heading}"
        plots.contrasts(ax, rows, xlabel=_lead(unit), title=title)
    plt.show()
    print(f"{name} {line['verdict']}; {heading}.")
    print(_in_words(judged))
    if line["largest"] == 1:
        print("No larger budget was run.")
        return
    print(_beyond(judged, judge(table, CLAIMS[name], line["largest"]), line))


def show_fresh(first: pd.DataFrame, fresh: pd.DataFrame, *names: str) -> None:
    """What fresh seeds answer to these QUESTIONS, beside what the first look saw.

    first, fresh: recorded runs without and with averaged weights. Up to three bars a
    question: the first look (where any of its runs is recorded), the fresh seeds by
    their last step, and the same runs by their averaged weights. Questions whose runs
    are not all recorded are only named.
    """
    asked, waiting = _by_looks(fresh, names)
    if asked:
        _draw_fresh(first, fresh, asked)
    if waiting:
        print(_too_few(contrast.name for contrast in waiting))


def _too_few(names: Iterable[str]) -> str:
    return f"Too few seeds are recorded yet for: {', '.join(names)}."


def _by_looks(
    fresh: pd.DataFrame, names: Iterable[str]
) -> tuple[list[Contrast], list[Contrast]]:
    """The contrasts of these QUESTIONS that have enough fresh seeds, and the others."""
    contrasts = [contrast for name in names for contrast in QUESTIONS[name]]
    seeds = answers(fresh, contrasts).seeds
    asked = [c for c, seen in zip(contrasts, seeds, strict=True) if seen]
    return asked, [c for c in contrasts if c not in asked]


def _at_first(first: pd.DataFrame, asked: list[Contrast]) -> pd.DataFrame:
    """The answers of the first look to the same questions, a row each."""
    return judge(first, Claim("", "", "", "", tuple(map(first_look, asked))))


def _draw_fresh(
    first: pd.DataFrame, fresh: pd.DataFrame, asked: list[Contrast]
) -> None:
    before = _at_first(first, asked)
    last, averaged = (
        answers(fresh, [by_weights(contrast, weights) for contrast in asked])
        for weights in WEIGHTS
    )
    bars = {"fresh seeds": last, "fresh seeds, averaged weights": averaged}
    if before.seeds.any():
        bars = {"first look": before} | bars
    found = (last.answer != UNANSWERED).sum()
    title = f"Fresh seeds answer {found} of {len(asked)} questions"
    if len(asked) == 1:
        title = f"Fresh seeds on {asked[0].name}: {last.answer[0]}"
    _, ax = plt.subplots(figsize=(8.5, 0.75 * len(asked) + 1.1))
    plots.contrasts(ax, bars, xlabel=_lead(last.unit[0]), title=title)
    plt.show()
    print(f"{last.seeds.max()} fresh seeds, by the last step:\n{_in_words(last)}")
    print(f"The same runs, by their averaged weights:\n{_in_words(averaged)}")


def show_replication(first: pd.DataFrame, fresh: pd.DataFrame, *names: str) -> None:
    """Do the first look's answers to these QUESTIONS come out again?

    first, fresh: as in `show_fresh`. Two bars for every question that was asked twice,
    by the last step; filled dots have an answer. One that is open now is not
    contradicted. Both looks score the same test photos, so this replicates the luck of
    training only.
    """
    asked, waiting = _by_looks(fresh, names)
    asked = [c for c in asked if _at_first(first, [c]).seeds.any()]
    if asked:
        before, last = _at_first(first, asked), answers(fresh, asked)
        bars = {"first look": before, "fresh seeds": last}
        _, ax = plt.subplots(figsize=(8, 0.4 * len(asked) + 1.1))
        title = _replicates(before.answer, last.answer)
        lead = _lead(last.unit[0])
        plots.contrasts(ax, bars, xlabel=lead, title=title, told=False)
        plt.show()
        print(_replicated(before, last))
    if waiting:
        print(_too_few(contrast.name for contrast in waiting))


def _replicates(before: pd.Series, last: pd.Series) -> str:
    """A title: how many answers come out again, and how many turn."""
    answered = before != UNANSWERED
    if not answered.any():
        return "The first look left all of these open"
    same = answered & (before == last)
    turned = (answered & ~same & (last != UNANSWERED)).sum()
    title = f"{same.sum()} of {answered.sum()} answers come out again"
    return title + (f", {turned} turned" if turned else "")


def _replicated(before: pd.DataFrame, last: pd.DataFrame) -> str:
    """What became of the first look's answers and open questions, in lines."""
    answered, opened = before.answer != UNANSWERED, last.answer == UNANSWERED
    same, stays = before.answer == last.answer, last.answer == last.by_fold
    seeds = " to ".join(map(str, sorted({before.seeds.min(), before.seeds.max()})))
    lines = [
        f"first look (95 % intervals, {seeds} seeds): {answered.sum()} answers, "
        f"{(~answered).sum()} open questions",
        f"  its answers among fresh seeds (98 %): {(answered & same).sum()} the same, "
        f"{(answered & opened).sum()} open, "
        f"{(answered & ~opened & ~same).sum()} different",
        f"  its open questions: {(~answered & ~opened).sum()} answered, "
        f"{(~answered & opened).sum()} open",
    ]
    if not opened.all():
        lines += [
            f"with one value per left-out fold of photos: {(stays & ~opened).sum()} of "
            f"{(~opened).sum()} answers of the fresh seeds stay"
        ]
    if opened.any():
        lines += [
            "open; seeds that could tell twice the least effect that matters from none:"
        ]
        needed = last[opened].set_index("contrast").needed
        told = needed.map("{:,.0f}".format).where(needed.notna(), "over 10,000")
        lines += [f"  {contrast}: {seeds}" for contrast, seeds in told.items()]
    return "\n".join(lines)


def show_seen(table: pd.DataFrame) -> None:
    """Do the baselines do better on photos that they have trained on?

    table: recorded errors, a row per network, seed and sequence.
    """
    kinds = {
        "unet": ("U-Net", "error (grey levels)"),
        "l2net": ("L2-Net", "triplet loss"),
    }
    _, axes = plt.subplots(1, len(kinds), figsize=(10.5, 4.4))
    for ax, (kind, (name, xlabel)) in zip(axes, kinds.items(), strict=True):
        rows = table[table.network == kind]
        mean, low, high = interval(gain_of_seeing(rows))
        title = f"{name}: lower by {mean:.2f} where it has seen them"
        plots.seen(ax, rows, xlabel=xlabel, title=title)
        print(
            f"{name}: lower by {mean:.3f} [{low:.3f}, {high:.3f}] on what it has seen"
        )
    plt.show()


def show_left_out(table: pd.DataFrame) -> None:
    """What the best recipe loses without each of its parts, at a tenth of its budget.

    table: recorded runs with averaged weights. A row per part, the dearest first: the
    matching mAP that is lost without it, on noisy patches and on clean ones, by the
    last step. Nothing is drawn while a part has too few seeds.
    """
    found = {}
    for kind in ("noisy", "clean"):
        base = replace(TENTH, test_source=kind)
        asked = [matches(part, base=base, b=change) for part, change in WITHOUT.items()]
        found[kind] = answers(table, asked).replace({"answer": MISSED})
    few = ~(found["noisy"].seeds * found["clean"].seeds).astype(bool)
    if few.any():
        print(_too_few(found["noisy"].contrast[few]))
        return
    order = found["noisy"]["mean"].sort_values(ascending=False).index
    lost = {kind: rows.loc[order].reset_index() for kind, rows in found.items()}
    noisy = lost["noisy"].answer
    title = f"{(noisy == 'missed').sum()} of {len(order)} parts are missed"
    _, ax = plt.subplots(figsize=(8.5, 0.6 * len(order) + 1.1))
    plots.contrasts(ax, lost, xlabel="matching mAP lost without it", title=title)
    plt.show()
    for kind, rows in lost.items():
        print(f"{kind} patches, {rows.seeds.min()} fresh seeds, lost without:")
        print(_in_words(rows))


def scorecard(table: pd.DataFrame) -> Markdown:
    """A row per claim of the coursework: its verdict, and its contrasts by answer.

    table: recorded runs of denoisers and descriptors. Open contrasts are only counted.
    """
    lines = [
        "| claim | verdict | answers | what decides | coursework | chapter |",
        "|---|---|---|---|---|---|",
    ]
    for claim in CLAIMS.values():
        line = conclude(table, claim)
        decides = (
            f"{line['contrast']}: {line['mean']:+.3f} [{line['low']:+.3f}, "
            f"{line['high']:+.3f}] {line['unit']}, {line['seeds']} seeds"
        )
        cells = (
            f"**{claim.name}** {claim.statement}",
            f"**{line['verdict']}**",
            _by_answer(judge(table, claim)),
            decides,
            claim.coursework,
            f"[{claim.notebook[:2]}]({claim.notebook}.ipynb)",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return Markdown("\n".join(lines))


def _by_answer(judged: pd.DataFrame) -> str:
    """The contrasts by name, those with an answer first, and how many are open."""
    told = [
        f"*{found}*: {', '.join(rows.contrast)}"
        for found, rows in judged.groupby("answer", sort=False)
        if found != UNANSWERED
    ]
    unanswered = (judged.answer == UNANSWERED).sum()
    return "; ".join(told + [f"{unanswered} open"] * bool(unanswered))


def show_worth(table: pd.DataFrame, fresh: pd.DataFrame, rootsift: float) -> Figure:
    """What each change to the coursework's L2-Net was worth, on one axis of matching.

    table, fresh: recorded runs of descriptors, without and with averaged weights.
    rootsift: its matching mAP on the same test patches. Rows are the baseline, each
    tuned change alone and all together, longer training, and another recipe: the two
    changes that helped the baseline most, then all that helped.
    """
    base = replace(DESCRIPTOR, averaged=0.2)
    *_, tenth, whole = (arm(table, rung) for rung in ladder().values())
    groups = {
        "the coursework's baseline": {"baseline": arm(table, DESCRIPTOR)},
        "its tuned changes": {
            **{name: arm(table, DESCRIPTOR, **SINGLE[name]) for name in SINGLE},
            "all six together": arm(table, DESCRIPTOR, **FINAL),
        },
        "the same, trained for longer": {
            f"baseline, {times} times as long": arm(
                table, DESCRIPTOR, **at_scale(DESCRIPTOR, times)
            )
            for times in (4, 16)
        },
        "another recipe": {
            "normalised, hardest negatives": arm(fresh, base, **NORMAL, **HARD),
            "the best recipe, a tenth of it": tenth,
            "the best recipe, ten minutes": whole,
        },
    }
    scores = {
        group: {name: runs.matching for name, runs in rows.items() if len(runs)}
        for group, rows in groups.items()
    }
    figure, ax = plt.subplots(figsize=(9, 5.2), dpi=100)
    plots.worth(ax, scores, rootsift)
    return figure


def _lead(unit: str) -> str:
    return f"lead, in {unit} (grey: too small to matter)"


def _by_unit(judged: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    return list(judged.groupby("unit", sort=False))


def _axis_per_unit(judged: pd.DataFrame) -> tuple[Figure, list[Axes]]:
    units = _by_unit(judged)
    figure, axes = plt.subplots(
        len(units),
        squeeze=False,
        height_ratios=[len(rows) for _, rows in units],
        figsize=(8, 0.42 * len(judged) + 0.8 * len(units) + 0.4),
    )
    return figure, list(axes[:, 0])


def _in_words(judged: pd.DataFrame) -> str:
    """A line per contrast, those with an answer first, and in how many seeds it led."""
    width = judged.contrast.str.len().max()
    rank = judged.answer == UNANSWERED
    lines = []
    for row in judged.assign(rank=rank).sort_values("rank", kind="stable").itertuples():
        digits = 2 if row.unit == "grey levels" else 3
        numbers = (
            f"{row.mean:+.{digits}f} [{row.low:+.{digits}f}, {row.high:+.{digits}f}]"
        )
        told = (
            f"{numbers} {row.unit}: {row.answer} (ahead in {row.ahead} of {row.seeds})"
            if row.seeds
            else f"no look yet: {row.answer}"
        )
        lines.append(f"  {row.contrast:{width}}  {told}")
    return "\n".join(lines)


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
