"""Mistakes that a kit like this could contain: each replaces one thing in hpkit.

`install("name")` waits for the module to be imported, so that every other module gets
the mistake, too.
"""

import importlib.util
import sys
from dataclasses import replace
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

import numpy as np
from scipy.stats import norm


def columns_swapped(sets: ModuleType) -> None:
    """Types e1 and h1 change places in memory."""
    read, order = sets.read_sequences, np.arange(16)
    order[[1, 6]] = order[[6, 1]]

    def swapped(*args, **options):
        data = read(*args, **options)
        swapped = {
            source: [np.asarray(part)[:, order] for part in parts]
            for source, parts in data.parts.items()
        }
        return replace(data, parts=swapped)

    sets.read_sequences = swapped


def leaked_photo(splits: ModuleType) -> None:
    """The first test sequence is a training sequence too."""
    split = splits.read_split

    def leaked(*args):
        sides = split(*args)
        return sides | {"train": [*sides["train"], sides["test"][0]]}

    splits.read_split = leaked


def source_ignored(patches: ModuleType) -> None:
    """Whatever source is asked for, the clean patches come."""
    get = patches.PatchSet.__getitem__
    patches.PatchSet.__getitem__ = lambda self, source: get(self, "clean")


def noise_twice(sets: ModuleType) -> None:
    """Noisy patches get their noise a second time."""
    from hpkit.data.noise import add_noise
    from hpkit.data.patches import PATCH_TYPES

    read = sets.read_sequences

    def noisier(*args, **options):
        data = read(*args, **options)
        strips = data["noisy"].swapaxes(0, 1)
        noisy = [
            add_noise(strip, "again", t)
            for t, strip in zip(PATCH_TYPES, strips, strict=True)
        ]
        return data.with_source("noisy", np.stack(noisy, 1))

    sets.read_sequences = noisier


def sum_for_mean(losses: ModuleType) -> None:
    """Squared distances are summed over the values, which shrinks the margin."""
    losses.distance = lambda first, second, reduce="mean": ((first - second) ** 2).sum(
        1
    )


def rows_alone(losses: ModuleType) -> None:
    """The hardest negative of a pair is looked for in its row, not in its column."""

    def hardest(anchor, positive, margin=1.0, reduce="mean"):
        far = losses._without_diagonal(losses.distances(anchor, positive, reduce)).amin(
            dim=1
        )
        return (
            (losses.distance(anchor, positive, reduce) - far + margin)
            .clamp(min=0)
            .mean()
        )

    losses.hardest_loss = hardest
    entry = losses.DESCRIPTOR_LOSSES["hardest"]
    losses.DESCRIPTOR_LOSSES["hardest"] = replace(entry, function=hardest)


def step_average_precision(precision: ModuleType) -> None:
    """The usual sum of steps in place of the official trapezoids."""

    def steps(scores, labels, total=None):
        recall, precise = precision.precision_recall(scores, labels, total)
        return float(np.sum(np.diff(recall) * precise[1:]))

    precision.average_precision = steps


def padded_before(layers: ModuleType) -> None:
    """The odd row and column of a "same" convolution go to the top and left."""
    right = layers.conv

    def conv(*args, **options):
        layer = right(*args, **options)
        if isinstance(layer, layers.nn.Sequential):
            layer[0].padding = layer[0].padding[
                ::-1
            ]  # (left, right, top, bottom): 0, 1, 0, 1
        return layer

    layers.conv = conv


def truncation_forgotten(layers: ModuleType) -> None:
    """A normal that is cut at two sigma is narrower: nothing makes up for it here."""

    def truncated(weight, variance, generator):
        sigma = variance**0.5
        layers.nn.init.trunc_normal_(
            weight, 0, sigma, -2 * sigma, 2 * sigma, generator=generator
        )

    layers._truncated_normal = truncated


def summed_over_batch(losses: ModuleType) -> None:
    """The error is averaged over a patch, but summed over the batch."""

    def summed(output, target):
        return (output - target).abs().flatten(1).mean(1).sum()

    losses.mae = summed
    losses.DENOISER_LOSSES["mae"] = summed


def torch_epsilon(optimizers: ModuleType) -> None:
    """Adam keeps torch's epsilon, ten times smaller than that of Keras."""
    kind, rate, _ = optimizers.OPTIMIZERS["adam"]
    optimizers.OPTIMIZERS["adam"] = (kind, rate, {})


def normal_for_t(intervals: ModuleType) -> None:
    """Intervals as wide as for very many values, 1.96 standard errors, for few."""
    intervals.t = norm_as_t


class norm_as_t:
    ppf = staticmethod(lambda p, freedom: norm.ppf(p))


def base_forgotten(arms: ModuleType) -> None:
    """An arm is every row that has its changes, whatever else is not the baseline's."""

    def arm(table, base, **changes):
        for name, value in changes.items():
            table = table[table[name] == value]
        return table.set_index("seed")

    arms.arm = arm


def mutual_forgotten(photos: ModuleType) -> None:
    """A match need not point back, whatever is asked for."""
    right = photos.match
    photos.match = lambda a, b, ratio=0.9, mutual=True: right(a, b, ratio, mutual=False)


def angles_mirrored(keypoints: ModuleType) -> None:
    """A keypoint's patch is turned the wrong way."""
    frames = keypoints.keypoint_frames
    keypoints.keypoint_frames = lambda points: frames(points) * np.array([1, 1, 1, -1])


def eval_forgotten(describe: ModuleType) -> None:
    """Patches are described in training mode, with dropout and batch statistics."""
    right = describe._function

    def function(network, *where):
        call = right(network, *where)

        def in_training_mode(batch):
            network.train()
            return call(batch)

        return in_training_mode

    describe._function = function


MODULES = {  # where the name is defined that a fault replaces
    "hpkit.data.sets": (columns_swapped, noise_twice),
    "hpkit.data.splits": (leaked_photo,),
    "hpkit.data.patches": (source_ignored,),
    "hpkit.training.losses": (sum_for_mean, summed_over_batch, rows_alone),
    "hpkit.training.optimizers": (torch_epsilon,),
    "hpkit.evaluation.precision": (step_average_precision,),
    "hpkit.evaluation.describe": (eval_forgotten,),
    "hpkit.networks.layers": (padded_before, truncation_forgotten),
    "hpkit.experiments.intervals": (normal_for_t,),
    "hpkit.experiments.arms": (base_forgotten,),
    "hpkit.matching.photos": (mutual_forgotten,),
    "hpkit.matching.keypoints": (angles_mirrored,),
}
FAULTS = {f.__name__: (name, f) for name, faults in MODULES.items() for f in faults}


class Breaker(MetaPathFinder):
    """Lets the real module load, then puts the mistake in."""

    def __init__(self, fault: str) -> None:
        self.module, self.fault = FAULTS[fault]

    def find_spec(
        self, name: str, path: object, target: object = None
    ) -> ModuleSpec | None:
        if name != self.module:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def load_and_break(module: ModuleType) -> None:
            load(module)
            self.fault(module)

        spec.loader.exec_module = load_and_break
        return spec


def install(fault: str) -> None:
    """Break the module of this fault in this process, as soon as it is imported."""
    sys.meta_path.insert(0, Breaker(fault))
