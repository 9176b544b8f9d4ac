"""Draw the figures of the README, in `notebooks/figures`.

match.png: two noisy photos and their matches. The photo is one that nothing was trained or chosen
on; its other view and the noise are the kit's own, seeded; the network is the shipped one.

worth.png: what each change to the coursework's descriptor was worth, from the recorded runs.

peers.png: descriptors that others made beside the shipped one, from the recorded rows.
"""

import hashlib
import inspect
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import peer_tables
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from hpkit.data.photos import move, read_photo
from hpkit.data.tasks import tasks_for
from hpkit.evaluation import baselines
from hpkit.evaluation.describe import describe
from hpkit.evaluation.scores import evaluate
from hpkit.experiments.arms import recorded
from hpkit.experiments.build import side
from hpkit.experiments.claims import DESCRIPTOR
from hpkit.experiments.intervals import interval
from hpkit.lessons import plots, show
from hpkit.matching.keypoints import (
    describe_keypoints,
    detect,
    keypoint_patches,
    opencv_rootsift,
)
from hpkit.matching.photos import PhotoMatch, match_photos, project
from hpkit.networks.pretrained import WEIGHTS, pretrained

FOLDER = Path(__file__).parents[2] / "notebooks" / "figures"
PHOTO, STRENGTH, NOISE, NUMBER, SHOWN = "china", 0.8, 8, 400, 14


def views() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The photo, the same from another viewpoint, both with Gaussian noise; the true homography."""
    random = np.random.RandomState(0)
    first = read_photo(PHOTO)
    second, truth = move(first, STRENGTH, random)
    noisy = [np.clip(np.rint(image + NOISE * random.standard_normal(image.shape)), 0, 255)
             for image in (first, second)]
    return *(image.astype(np.uint8) for image in noisy), truth


def match() -> Figure:
    """Above: the matches of the shipped descriptor. Below: some of the patches that it saw."""
    first, second, truth = views()
    ways = partial(describe_keypoints, descriptor=pretrained()), opencv_rootsift
    made, theirs = (match_photos(first, second, compute, number=NUMBER) for compute in ways)
    right, others = (near(match, truth) for match in (made, theirs))
    plots.use_style()
    fig = plt.figure(figsize=(9, 5.3), layout="constrained")
    above, below = fig.subplots(2, 1, height_ratios=(3.6, 1.2))
    plots.show_matches(above, first, second, np.hstack(made.pairs()), right,
                       title=f"A network that a laptop trained: {right.sum()} of {len(right)} "
                             f"matches are right (RootSIFT: {others.sum()} of {len(others)})")
    chosen = np.flatnonzero(right)[np.linspace(0, right.sum() - 1, SHOWN).astype(int)]
    seen = [keypoint_patches(image, detect(image, NUMBER))[made.matches[chosen, side]]
            for side, image in enumerate((first, second))]
    plots.show_patches(below, np.stack(seen), rows=["left", "right"],
                       title="What it saw: the same points in both photos")
    return fig


def near(made: PhotoMatch, truth: np.ndarray) -> np.ndarray:
    """Which matches are right: at most 3 pixels off."""
    here, there = made.pairs()
    return np.linalg.norm(project(here, truth) - there, axis=1) < 3


def worth() -> Figure:
    """The changes that were tuned, longer training, and another question, on one axis."""
    plots.use_style()
    test = side(DESCRIPTOR.resolved(), "test")
    tasks = tasks_for(test, DESCRIPTOR.pairs, DESCRIPTOR.queries, DESCRIPTOR.distractors)
    rootsift = evaluate(describe(baselines.rootsift, test["noisy"]), tasks).matching
    return show.show_worth(recorded("descriptors"), recorded("averaged_descriptors"), rootsift)


def peers() -> Figure:
    """Left: matching of patches, a dot per descriptor. Right: matches of photos by pixels."""
    plots.use_style()
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4.4), layout="constrained",
                                         width_ratios=(1.2, 1))
    show_patch_scores(left)
    show_accuracy(right)
    return figure


def show_patch_scores(ax: Axes) -> None:
    """The mean over photos and its 95 % interval; best descriptor first."""
    table = peer_tables.patches().query("task == 'matching' and photo != 'all'")
    order = table.groupby("descriptor").mAP.mean().sort_values(ascending=False).index
    for shift, kind in ((-0.12, "clean"), (0.12, "noisy")):
        some = table[table.side == kind].groupby("descriptor").mAP
        mean, low, high = np.array([interval(some.get_group(name)) for name in order]).T
        y = np.arange(len(order)) + shift
        ax.hlines(y, low, high, color=plots.COLOURS[kind], lw=2, alpha=0.5)
        ax.plot(mean, y, "o", color=plots.COLOURS[kind], label=kind)
    ax.set_yticks(range(len(order)), order)
    ax.invert_yaxis()
    ax.set(xlabel="matching mAP of patches", title="Patches: five test photos")
    ax.legend(frameon=False)


def show_accuracy(ax: Axes) -> None:
    """A line per descriptor: those of the book in their colours, the others in grey."""
    rows = recorded("peer_pairs").query("change != 'graf'")
    columns = [f"mma_{pixels}" for pixels in range(1, 11)]
    for name, some in rows.groupby("descriptor", sort=False):
        mean = some[columns].mean().to_numpy()
        named = {"ours": "ours", "RootSIFT on the photo": "RootSIFT"}.get(name)
        colour = plots.COLOURS[named] if named else "0.75"
        ax.plot(range(1, 11), mean, color=colour, zorder=3 if named else 2,
                label=name if named else None)
    ax.plot([], [], color="0.75", label="all others")
    ax.set(xlabel="within so many pixels", ylabel="share of matches", ylim=(0, 1),
           title=f"Photos: {rows.groupby(['change', 'strength', 'photo', 'draw']).ngroups} pairs")
    ax.legend(frameon=False, loc="lower right")


# What draws each, and what else it is made of.
FIGURES = {
    "match.png": (match, lambda: (WEIGHTS / "descriptor.safetensors").read_bytes()),
    "worth.png": (worth, lambda: "".join(
        map(inspect.getsource, (show.show_worth, plots.worth))
    ).encode() + b"".join((FOLDER.parent / "results" / f"{name}.csv").read_bytes()
                          for name in ("descriptors", "averaged_descriptors"))),
    "peers.png": (peers, lambda: inspect.getsource(peer_tables).encode() + b"".join(
        (FOLDER.parent / "results" / f"{name}.csv").read_bytes()
        for name in ("peers", "peer_pairs"))),
}


def origin(name: str) -> str:
    """What a figure was made of: this file and more; kept in the PNG."""
    _, more = FIGURES[name]
    return hashlib.sha256(Path(__file__).read_bytes() + more()).hexdigest()


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, (draw, _) in FIGURES.items():
        path = FOLDER / name
        draw().savefig(path, dpi=100)
        told = PngInfo()
        told.add_text("origin", origin(name))
        picture = Image.open(path).convert("RGB").quantize(64)
        picture.save(path, optimize=True, pnginfo=told)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
