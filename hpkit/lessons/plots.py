"""One function per figure: data and an axis in, the axis out.

Nothing here runs a model.
"""

from collections.abc import Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from hpkit.experiments.arms import ERRORS
from hpkit.experiments.intervals import UNANSWERED, interval

# One colour per idea in the whole book, from a palette safe for the colour-blind.
_palette = dict(
    zip(
        (
            "blue",
            "orange",
            "green",
            "red",
            "purple",
            "brown",
            "pink",
            "grey",
            "yellow",
            "sky",
        ),
        sns.color_palette("colorblind"),
        strict=True,
    )
)

COLOURS = {
    "clean": _palette["blue"],
    "noisy": _palette["grey"],
    "denoised": _palette["purple"],
    "anchor": _palette["blue"],
    "positive": _palette["green"],
    "negative": _palette["red"],
    "easy": "#7ad151",
    "hard": "#22a884",
    "tough": "#414487",
    "train": _palette["sky"],
    "validation": _palette["brown"],
    "raw pixels": _palette["grey"],
    "L2-Net on U-Net": _palette["blue"],
    "SIFT": _palette["yellow"],
    "RootSIFT": _palette["orange"],
    "RootSIFT on non-local means": _palette["brown"],
    "coursework": _palette["pink"],
    "ours": _palette["blue"],
    "first look": _palette["grey"],
    "fresh seeds": _palette["blue"],
    "fresh seeds, averaged weights": _palette["orange"],
}

# Of what each change was worth: baseline, tuning, longer training, another recipe.
WORTH = ("0.35", _palette["blue"], _palette["purple"], _palette["green"])

GREY = {"cmap": "gray", "vmin": 0, "vmax": 255, "interpolation": "nearest"}

# Photos are shown smaller than they are, so neighbours are averaged. 24 greys halve the
# size of the PNG.
PHOTO = GREY | {
    "interpolation": "antialiased",
    "interpolation_stage": "data",
    "cmap": plt.get_cmap("gray", 24),
}


def use_style() -> None:
    """The book's look, for this kernel: readable sizes, no top and right frame.

    Figures have 90 dots per inch.
    """
    sns.set_theme(context="notebook", style="ticks", palette="colorblind")
    plt.rcParams.update(
        {
            "figure.dpi": 90,
            "savefig.dpi": 90,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlelocation": "left",
            "figure.constrained_layout.use": True,
            "image.cmap": "gray",
        }
    )


def percent(share: float) -> str:
    """A share of 1 as the book writes it, with a space: 0.76 is "76 %"."""
    return f"{100 * share:.0f} %"


def show_patches(
    ax: Axes,
    patches: np.ndarray,
    *,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    title: str = "",
    gap: int = 2,
) -> Axes:
    """A table of patches on one grey scale.

    patches: (rows, columns, 32, 32), 0..255.
    """
    n, m, height, width = patches.shape
    sheet = np.full((n * (height + gap) - gap, m * (width + gap) - gap), np.nan)
    for i in range(n):
        for j in range(m):
            top, left = i * (height + gap), j * (width + gap)
            sheet[top : top + height, left : left + width] = patches[i, j]
    ax.imshow(sheet, **GREY)
    ax.set_yticks([i * (height + gap) + height / 2 for i in range(len(rows))], rows)
    ax.set_xticks([j * (width + gap) + width / 2 for j in range(len(columns))], columns)
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    sns.despine(ax=ax, left=True, bottom=True)
    ax.set_title(title)
    return ax


def show_regions(
    ax: Axes,
    image: np.ndarray,
    regions: np.ndarray,
    *,
    colour: str = "orange",
    line: str = "-",
    title: str = "",
    label: str | None = None,
) -> Axes:
    """Square regions drawn on a photo.

    image: (h, w), 0..255; regions: (n, 4, 2), corners x, y.
    """
    ax.imshow(image, **PHOTO)
    for number, corners in enumerate(regions):
        closed = np.vstack([corners, corners[:1]])
        ax.plot(*closed.T, line, color=colour, lw=1.2, label=None if number else label)
    ax.set(xlim=(0, image.shape[1]), ylim=(image.shape[0], 0), xticks=[], yticks=[])
    sns.despine(ax=ax, left=True, bottom=True)
    ax.set_title(title)
    return ax


def show_matches(
    ax: Axes,
    first: np.ndarray,
    second: np.ndarray,
    pairs: np.ndarray,
    good: np.ndarray,
    *,
    most: int = 60,
    title: str = "",
) -> Axes:
    """Two photos side by side, a line from each point to its match: green if good.

    A bad one is red, dashed, and ends in crosses. first, second: (h, w), 0..255. pairs:
    (m, 4), x and y in the first and in the second. good: bool (m,). Of more than `most`
    pairs only `most`, evenly picked, are drawn.
    """
    height, right_edge = max(len(first), len(second)), first.shape[1] + 8
    sheet = np.full((height, right_edge + second.shape[1]), np.nan)
    sheet[: len(first), : first.shape[1]] = first
    sheet[: len(second), right_edge:] = second
    ax.imshow(sheet, **PHOTO)
    evenly = np.linspace(0, len(pairs) - 1, min(len(pairs), most))
    picked, style = np.unique(evenly.astype(int)), {"lw": 0.8, "ms": 2.5, "alpha": 0.8}
    for x, y, u, v, right in np.column_stack([pairs, good])[picked]:
        colour = COLOURS["positive" if right else "negative"]
        line = "o-" if right else "x--"
        ax.plot([x, u + right_edge], [y, v], line, color=colour, **style)
    ax.set(xlim=(0, sheet.shape[1]), ylim=(height, 0), xticks=[], yticks=[])
    sns.despine(ax=ax, left=True, bottom=True)
    ax.set_title(title)
    return ax


def show_panorama(
    axes: Sequence[Axes],
    photos: Sequence[np.ndarray],
    whole: np.ndarray,
    *,
    title: str = "One view",
) -> None:
    """Above the photos side by side, below what they make together; all are grey.

    axes: two. photos: (h, w) each, 0..255. whole: (H, W).
    """
    height = max(map(len, photos))
    width = sum(photo.shape[1] for photo in photos) + 8 * (len(photos) - 1)
    sheet, left = np.full((height, width), np.nan), 0
    for photo in photos:
        sheet[: len(photo), left : left + photo.shape[1]] = photo
        left += photo.shape[1] + 8
    titles = (f"{len(photos)} photos, each in its own light", title)
    # A sky needs more greys than PHOTO has: the steps would look like seams.
    styles = (PHOTO, PHOTO | {"cmap": plt.get_cmap("gray", 64)})
    shown = zip(axes, (sheet, whole), styles, titles, strict=True)
    for ax, image, style, title in shown:
        ax.imshow(image, **style)
        ax.set_title(title)
        ax.axis("off")


def show_layers(
    ax: Axes,
    layers: Sequence[tuple[str, int, int]],
    *,
    skip: tuple[int, int] | None = None,
    title: str = "",
) -> Axes:
    """What each layer makes, as a box: as high as its image, wide with many channels.

    layers: name, channels and pixels a side, each. skip: the numbers of two layers, of
    which the second is given the result of the first as well.
    """
    for place, (name, channels, side) in enumerate(layers):
        width, height = 0.06 + 0.6 * (channels / 128) ** 0.5, side / 32
        corner = (place - width / 2, -height / 2)
        style = {"facecolor": COLOURS["ours"], "edgecolor": "0.2", "alpha": 0.5}
        ax.add_patch(plt.Rectangle(corner, width, height, **style))
        ax.text(place, 0.56, name, ha="center", va="bottom", fontsize="small")
        size = f"{channels} × {side} × {side}"
        ax.text(place, -0.56, size, ha="center", va="top", fontsize="small")
    if skip:
        ends = [(place, 0.75) for place in skip]
        arrow = {"arrowstyle": "->", "connectionstyle": "arc3,rad=-0.2", "lw": 2}
        ax.annotate("", ends[1], ends[0], arrowprops=arrow | {"color": "0.3"})
        ax.text(np.mean(skip), 1.28, "skip connection", ha="center", va="bottom")
    top = 1.5 if skip else 0.95
    ax.set(xlim=(-0.55, len(layers) - 0.45), ylim=(-0.8, top), title=title)
    ax.axis("off")
    return ax


def loss_maps(axes: Sequence[Axes], positives: Sequence[float], margin: float) -> None:
    """What a triplet costs for each place of its negative; all maps share one scale.

    The anchor is in the middle. positives: how far away the positive is in each map.
    The loss is that of squared distances, in two dimensions.
    """
    axis, most = np.linspace(-2.5, 2.5, 201), max(positives) ** 2 + margin
    x, y = np.meshgrid(axis, axis)
    style = {"levels": np.linspace(1e-3, most, 12), "cmap": "Reds", "vmin": 0}
    for ax, place in zip(axes, positives, strict=True):
        loss = np.maximum(place**2 - (x**2 + y**2) + margin, 0)
        filled = ax.contourf(axis, axis, loss, vmax=most, **style)
        ax.plot(0, 0, "o", color=COLOURS["anchor"], label="anchor")
        ax.plot(place, 0, "s", color=COLOURS["positive"], label="positive")
        safe = f"{np.sqrt(place**2 + margin):.2f}"
        title = f"positive {place} away:\na negative is safe beyond {safe}"
        names = {"xlabel": "first dimension", "ylabel": "second dimension"}
        ax.set(aspect="equal", title=title, **names)
        ax.legend(loc="upper left", fontsize="small")
    ticks = np.arange(0, most, 0.5)
    label = "loss of the triplet (white: 0)"
    axes[0].figure.colorbar(filled, ax=axes, ticks=ticks, label=label, format="{x:g}")


def shares_matched(
    ax: Axes, bars: pd.DataFrame, lines: pd.DataFrame, *, title: str = ""
) -> Axes:
    """A bar per network, a dot per photo, and a line for each way to compare it with.

    bars, lines: the share of points matched, a row per photo and a column per way.
    """
    for row, name in enumerate(bars):
        ax.barh(row, bars[name].mean(), color=COLOURS["ours"], alpha=0.6)
        ax.plot(bars[name], [row] * len(bars), "o", color="0.2", ms=4)
    for name, style in zip(lines, cycle((":", "--", "-.")), strict=False):
        place = lines[name].mean()
        ax.axvline(place, color=COLOURS.get(name), ls=style, lw=2)
        above = {"transform": ax.get_xaxis_transform(), "va": "bottom", "ha": "center"}
        ax.text(place, 1.01, name, fontsize="small", **above)
    limits = {"xlim": (0, 1), "ylim": (len(bars.columns) - 0.5, -0.5)}
    ax.set_yticks(range(len(bars.columns)), list(bars))
    ax.set(xlabel="share of points matched (a dot: one photo)", **limits)
    ax.set_title(title, pad=20)
    return ax


def idle_questions(
    ax: Axes, idle: dict[str, Sequence[float]], epochs: int, *, title: str = ""
) -> Axes:
    """The share of each batch's questions that cost nothing, over the epochs passed.

    idle: {label: a share per batch}; drawn is the mean of ten batches, from the tenth.
    """
    for (name, shares), style in zip(idle.items(), cycle(("--", "-")), strict=False):
        passed = epochs * np.arange(len(shares)) / len(shares)
        mean = pd.Series(shares).rolling(10).mean()
        ax.plot(passed, mean, style, label=name)
    ylabel = "share that costs nothing\n(mean of ten batches)"
    ax.set(xlabel="epochs passed", ylabel=ylabel, title=title)
    ax.set_ylim(-0.03, 1)
    ax.legend(frameon=False)
    return ax


def errors_by_patches(
    ax: Axes,
    runs: dict[str, pd.DataFrame],
    levels: dict[str, float],
    *,
    title: str = "",
) -> Axes:
    """Validation errors over the patches seen, and lines for what needs no training.

    runs: {label: columns patches and validation}, in grey levels like the levels.
    """
    styles = cycle(("s--", "o-", "D:"))
    for (name, run), style in zip(runs.items(), styles, strict=False):
        ax.plot(run.patches, run.validation, style, label=name)
    for (name, level), style in zip(levels.items(), cycle((":", "-.")), strict=False):
        ax.axhline(level, ls=style, color="0.4", label=name)
    ax.set(
        xlabel="patches seen",
        ylabel="validation MAE (grey levels, log scale)",
        title=title,
    )
    ax.set_yscale("log")
    ax.yaxis.set(major_locator=LogLocator(subs=(1, 1.5, 2, 3, 4, 5, 6, 8)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.minorticks_off()
    lowest = min(min(line.get_ydata()) for line in ax.lines)
    ax.set_ylim(bottom=0.9 * lowest)  # so that a tick stands below it
    ax.legend(frameon=False)
    return ax


def slope(
    ax: Axes,
    weights: np.ndarray,
    losses: np.ndarray,
    at: tuple[float, float],
    gradient: float,
    *,
    xlabel: str = "one weight",
    title: str = "",
) -> Axes:
    """A loss over one weight, and the straight line that has its slope in one place.

    weights, losses: the curve. at: the weight and the loss where the slope is taken.
    """
    ax.plot(weights, losses, color="0.4", label="loss")
    line = at[1] + gradient * (weights - at[0])
    told = f"slope {gradient:.2f}".replace("-", "\N{MINUS SIGN}")
    ax.plot(weights, line, "--", color="C1", label=told)
    ax.plot(*at, "o", color="C1", ms=9)
    ax.set(xlabel=xlabel, ylabel="MAE (grey levels)", title=title)
    ax.set_ylim(0, 1.1 * max(losses))
    ax.legend(frameon=False)
    return ax


def histogram(
    ax: Axes,
    values: dict[str, np.ndarray],
    *,
    bins: np.ndarray | int = 40,
    xlabel: str = "",
    title: str = "",
) -> Axes:
    """Overlaid densities, one per name; a name used in the book has its own colour."""
    lines = cycle(("-", "--", ":"))
    for (name, numbers), line in zip(values.items(), lines, strict=False):
        ax.hist(
            numbers,
            bins=bins,
            density=True,
            alpha=0.55,
            label=name,
            color=COLOURS.get(name),
            edgecolor="0.15",
            linewidth=1.2,
            linestyle=line,
            histtype="stepfilled",
        )
    ax.set(xlabel=xlabel, ylabel="density", title=title)
    ax.legend(frameon=False)
    return ax


def compare_runs(
    ax: Axes, runs: dict[str, pd.DataFrame], *, ylabel: str, title: str = ""
) -> Axes:
    """A colour and a marker per run, over its epochs.

    The validation loss is drawn through, the training loss dotted. runs: {label:
    history with the columns epoch, loss, val_loss}; the losses share a log axis.
    """
    for (label, history), colour, marker in zip(
        runs.items(), _palette.values(), "osD^vPX<>*", strict=False
    ):
        style = {"color": colour, "marker": marker, "ms": 5}
        ax.plot(history.epoch, history.loss, ":", mfc="w", **style)
        ax.plot(history.epoch, history.val_loss, "-", label=label, **style)
    ax.plot([], [], "o-", ms=5, color="0.3", label="validation")
    ax.plot([], [], "o:", ms=5, color="0.3", mfc="w", label="train, epoch's mean")
    losses = [value for line in ax.lines for value in line.get_ydata() if value > 0]
    last = max([1, *(len(history) for history in runs.values())])
    ax.set(
        xlabel="epoch", ylabel=ylabel, title=title, xlim=(0.7, last + 0.3), yscale="log"
    )
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    wide = max(losses, default=1) > 30 * min(losses, default=1)
    ax.yaxis.set(
        major_locator=LogLocator() if wide else MaxNLocator(6),
        major_formatter="{x:g}",
        visible=bool(losses),
    )
    ax.minorticks_off()
    ax.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    return ax


def precision_recall(
    ax: Axes, curves: dict[str, tuple[np.ndarray, np.ndarray]], *, title: str = ""
) -> Axes:
    """One line per name.

    curves: {label: (recall, precision)}, both 0..1.
    """
    for label, (recall, precision) in curves.items():
        ax.plot(recall, precision, label=label, color=COLOURS.get(label))
    ax.set(
        xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02), title=title
    )
    ax.legend(frameon=False)
    return ax


def average_precisions(ax: Axes, hits: np.ndarray, *, title: str = "") -> Axes:
    """The curve of one ranking with the areas of both rules, its dots numbered by rank.

    hits: 0 or 1 for each item, best guess first; all hits there are.
    """
    found, ranks = np.cumsum(hits), np.arange(1, len(hits) + 1)
    recall = np.concatenate([[0], found / found[-1]])
    precision = np.concatenate([[1], found / ranks])
    edges, heights = np.repeat(recall, 2)[1:-1], np.repeat(precision[1:], 2)
    ax.fill_between(edges, heights, alpha=0.25, label="step rule")
    ax.plot(recall, precision, "o-", color="C1", label="trapezoid rule", clip_on=False)
    for rank in ranks:
        place = recall[rank], precision[rank]
        ax.annotate(rank, place, xytext=(7, 5), textcoords="offset points")
    limits = {"xlim": (0, 1), "ylim": (0, 1.1)}
    ax.set(xlabel="recall", ylabel="precision", title=title, **limits)
    ax.legend(loc="lower left")
    return ax


def compare_arms(
    ax: Axes,
    arms: dict[str, pd.Series],
    *,
    ylabel: str,
    title: str = "",
    coursework: dict[str, float] | None = None,
    diamonds: str = "coursework",
) -> Axes:
    """A dot per seed, mean and 95 % interval per arm; the coursework's as diamonds.

    arms: {name: a score per seed}. diamonds: their name in the legend. They come from
    other data, and may be another score: their order counts, not their level. The
    legend is the figure's: see `legend_below`.
    """
    for x, (name, scores) in enumerate(arms.items()):
        label, places = None if x else "one seed", np.full(len(scores), x - 0.12)
        ax.plot(places, scores, "o", color="0.6", ms=4, label=label)
        mean, low, high = interval(scores)
        ends = [[mean - low], [high - mean]]
        style = {"fmt": "o", "capsize": 4, "color": COLOURS["ours"]}
        label = None if x else "mean, 95 % interval"
        ax.errorbar(x, mean, ends, label=label, **style)
        if coursework and name in coursework:
            label = None if diamonds in ax.get_legend_handles_labels()[1] else diamonds
            style = {"color": COLOURS["coursework"], "label": label}
            ax.plot(x + 0.2, coursework[name], "D", **style)
    ax.set(ylabel=ylabel, title=title, xticks=range(len(arms)), xticklabels=list(arms))
    legend_below(ax.figure)
    return ax


def legend_below(figure: Figure) -> None:
    """One legend for all axes of a figure, below them, in place of an earlier one.

    Inside an axis its markers would look like results. An axis with a legend of its own
    keeps it. The figure needs constrained layout, as `use_style` has it, or the legend
    covers the labels of the lowest axis.
    """
    for legend in list(figure.legends):
        legend.remove()
    found = {}
    for ax in figure.axes:
        if ax.get_legend() is None:
            handles, labels = ax.get_legend_handles_labels()
            found |= dict(zip(labels, handles, strict=True))
    below = {"loc": "outside lower center", "ncols": 3, "fontsize": "small"}
    figure.legend(found.values(), found, frameon=False, **below)


def learning_rates(
    ax: Axes, runs: pd.DataFrame, *, score: str, ylabel: str, title: str = ""
) -> Axes:
    """A line per optimizer through its mean at each rate, its default ringed.

    A dot is a seed. runs: columns optimizer, times (the rate as a multiple of the
    default), status and the score. A run that diverged has no score and no part in the
    mean. It is a cross at the edge where bad scores are.
    """
    several = runs.groupby("optimizer", sort=False)
    for number, (name, rows) in enumerate(several):
        colour, marker = f"C{number}", "osD^vP"[number % 6]
        aside = 1.12 ** (number - len(several) / 2 + 0.5)  # side by side
        mean = rows.groupby("times")[score].mean()
        style = {"marker": marker, "ls": "-", "ms": 5, "color": colour}
        ax.plot(aside * mean.index, mean, label=name, **style)
        ax.plot(aside * rows.times, rows[score], marker, ms=3, alpha=0.5, color=colour)
        ax.plot(aside, mean.get(1.0), "o", ms=11, mfc="none", color=colour)
        lost = aside * rows.times[rows.status == "diverged"]
        _crosses(ax, lost, float(score in ERRORS), colour)
    if (runs.status == "diverged").any():
        ax.plot([], [], "X", ms=10, color="0.4", label="diverged")
    xlabel = "learning rate (× the default, ringed)"
    ax.set(xscale="log", xlabel=xlabel, ylabel=ylabel, title=title)
    ax.xaxis.set_major_formatter("{x:g}")
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.2)}
    ax.legend(frameon=False, ncols=3, fontsize="small", **below)
    return ax


def _crosses(ax: Axes, places: pd.Series, edge: float, colour: str) -> None:
    """A cross for each diverged run at an edge, 0 below and 1 above."""
    style = {"ms": 10, "color": colour, "clip_on": False, "zorder": 3}
    for place in places:
        ax.plot(place, edge, "X", transform=ax.get_xaxis_transform(), **style)


def contrasts(
    ax: Axes,
    judged: pd.DataFrame | dict[str, pd.DataFrame],
    *,
    xlabel: str,
    title: str = "",
    told: bool = True,
) -> Axes:
    """A row per contrast: its interval, and a grey band where no effect matters.

    judged: what `experiments.arms.judge` or `answers` gives, or several of them by name
    with the same contrasts, drawn below each other in a row. Filled dots have an
    answer; told: it stands at the right. A contrast that was not run has no line.
    """
    several = judged if isinstance(judged, dict) else {"": judged}
    for number, (label, table) in enumerate(several.items()):
        colour = COLOURS.get(label, COLOURS["ours"])
        aside = 0.22 * (number - (len(several) - 1) / 2)
        _intervals(ax, table, aside, colour, label)
        if told:
            _answers(ax, table, aside, colour if label else "k")
    first = next(iter(several.values()))
    for y, size in enumerate(first.smallest.abs()):
        ax.fill_betweenx([y - 0.42, y + 0.42], -size, size, color="0.9", lw=0, zorder=0)
    ax.axvline(0, color="0.6", lw=0.8, zorder=0)
    ax.set_yticks(range(len(first)), first.contrast)
    ax.set(xlabel=xlabel, title=title, ylim=(len(first) - 0.5, -0.5))
    if len(several) > 1:
        # A fixed way below the axis, however high the figure is.
        below = {"loc": "upper center", "bbox_to_anchor": (0.4, 0)}
        look = {"frameon": False, "ncols": 3, "fontsize": "small"}
        ax.legend(borderaxespad=4.5, **below, **look)
    return ax


def _intervals(
    ax: Axes, table: pd.DataFrame, aside: float, colour: str, label: str
) -> None:
    """A dot and a line per contrast, the dot filled where there is an answer."""
    for y, row in enumerate(table.itertuples()):
        inside = colour if row.answer != UNANSWERED else "w"
        style = {"color": colour, "mfc": inside, "label": None if y else label}
        ax.plot([row.low, row.high], [y + aside] * 2, color=colour, lw=2)
        ax.plot(row.mean, y + aside, "o", **style)


def _answers(ax: Axes, table: pd.DataFrame, aside: float, colour: str) -> None:
    """The answers, right of the axis."""
    for y, row in enumerate(table.itertuples()):
        ax.annotate(
            row.answer if row.seeds else "not run",
            (1.01, y + aside),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize="small",
            color=_darker(colour),
        )


def _darker(colour: str) -> tuple[float, ...]:
    """A line's colour for words: light ones would be hard to read."""
    return tuple(0.6 * part for part in to_rgb(colour))


def worth(ax: Axes, groups: dict[str, dict[str, pd.Series]], rootsift: float) -> Axes:
    """A row per arm: a dot a seed, the mean and its 95 % interval; a colour per group.

    groups: {what was changed: {name: matching mAP per seed}}, the baseline alone in the
    first. The grey band is as wide as seeds of the baseline scatter: its mean and twice
    their standard deviation on both sides.
    """
    (baseline,) = next(iter(groups.values())).values()
    low, high = baseline.mean() + 2 * baseline.std() * np.array([-1, 1])
    ax.axvspan(low, high, color="0.9", lw=0, zorder=0, label="the luck of a seed")
    ax.axvline(rootsift, color=COLOURS["RootSIFT"], ls="--", label="RootSIFT")
    names = []
    for (group, arms), colour in zip(groups.items(), WORTH, strict=True):
        for number, (name, scores) in enumerate(arms.items()):
            y = len(names)
            names.append(name)
            mean, *ends = interval(scores)
            ax.plot(scores, [y + 0.22] * len(scores), ".", color="0.6", ms=5)
            ax.plot(ends, [y, y], color=colour, lw=2.5)
            ax.plot(mean, y, "o", color=colour, label=None if number else group)
            place = {"xycoords": ("axes fraction", "data"), "va": "center"}
            ax.annotate(f"{mean:.2f}", (1.01, y), **place)
    ax.set_yticks(range(len(names)), names)
    ax.set(xlabel="matching mAP on noisy patches", title=_gains(groups))
    ax.set_ylim(len(names) - 0.4, -0.6)
    below = {"loc": "upper center", "bbox_to_anchor": (0.35, -0.13)}
    ax.legend(frameon=False, ncols=3, fontsize="small", **below)
    return ax


def _gains(groups: dict[str, dict[str, pd.Series]]) -> str:
    """The gains over the baseline, group by group."""
    (start,), tuned, longer, last = (
        [scores.mean() for scores in arms.values()] for arms in groups.values()
    )
    gain = f"Trained for longer: up to {max(longer) - start:+.2f}." if longer else ""
    return (
        f"The tuned changes: {min(tuned) - start:+.2f} to {max(tuned) - start:+.2f}. "
        f"{gain}\nOther recipes: {min(last) - start:+.2f} to {max(last) - start:+.2f}"
    )


def seen(ax: Axes, table: pd.DataFrame, *, xlabel: str, title: str) -> Axes:
    """A row per sequence: the errors of networks that trained on it, and of others.

    table: sequence, seen, error; a row per network and sequence of one kind.
    """
    names = list(table.groupby("sequence").error.mean().sort_values().index)
    looks = {False: ("not seen", "w", 0.16), True: ("seen while training", None, -0.16)}
    for was, (label, inside, aside) in looks.items():
        rows = table[table.seen == was]
        places = rows.sequence.map(names.index) + aside
        style = {"color": COLOURS["ours"], "mfc": inside or COLOURS["ours"]}
        ax.plot(rows.error, places, "o", ms=4, label=label, **style)
    ax.set_yticks(range(len(names)), names, fontsize="small")
    ax.set(xlabel=xlabel, title=title, ylim=(len(names) - 0.5, -0.5))
    ax.legend(frameon=False, fontsize="small")
    return ax


def curves_by_strength(
    ax: Axes,
    table: pd.DataFrame,
    *,
    score: str,
    xlabel: str,
    ylabel: str,
    title: str = "",
    legend: bool = True,
) -> Axes:
    """A line per descriptor over strength, its 95 % interval over photos as a band.

    table: columns strength, photo, descriptor and the score, a row per draw. Draws of a
    photo are averaged first, since they are not new photos.
    """
    for number, (name, rows) in enumerate(table.groupby("descriptor", sort=False)):
        by_photo = rows.groupby(["strength", "photo"])[score].mean().groupby("strength")
        mean, low, high = np.array([interval(values) for _, values in by_photo]).T
        strengths = list(by_photo.groups)
        (line,) = ax.plot(
            strengths,
            mean,
            "sDo^v"[number % 5],
            ls="-",
            ms=7 - 1.5 * (number % 5),
            label=name,
            color=COLOURS.get(name),
            zorder=3,
        )
        ax.fill_between(strengths, low, high, color=line.get_color(), alpha=0.15, lw=0)
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    if legend:
        ax.legend(frameon=False, fontsize="small")
    return ax


def score_bars(ax: Axes, scores: pd.DataFrame, *, title: str = "") -> Axes:
    """mAP by task, a bar per descriptor.

    scores: one row per descriptor, one column per task.
    """
    tidy = (
        scores.rename_axis("descriptor")
        .reset_index()
        .melt("descriptor", var_name="task", value_name="mAP")
    )
    palette = [COLOURS.get(name, f"C{i}") for i, name in enumerate(scores.index)]
    sns.barplot(tidy, x="task", y="mAP", hue="descriptor", ax=ax, palette=palette)
    ax.set(xlabel="", ylim=(0, 1), title=title)
    ax.legend(frameon=False, ncols=2, fontsize="small")
    return ax
