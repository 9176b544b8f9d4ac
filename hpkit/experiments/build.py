"""What a configuration means: its network, patches, loss and scores.

There is a class for each kind of configuration. `hpkit.experiments.runs` trains and
keeps what is described here.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from torch import Tensor, nn

from hpkit.data.patches import PatchSet, photo_of
from hpkit.data.sets import data_set, read_sequences
from hpkit.data.splits import read_split
from hpkit.data.tasks import OFFICIAL, tasks_for, warn_unofficial
from hpkit.evaluation.describe import denoise, describe
from hpkit.evaluation.scores import evaluate
from hpkit.experiments.configs import Config, DenoiserConfig, DescriptorConfig
from hpkit.networks.denoisers import Joint, Residual
from hpkit.networks.registry import DESCRIPTORS, make_denoiser
from hpkit.training.losses import DENOISER_LOSSES, DESCRIPTOR_LOSSES
from hpkit.training.samplers import Pairs, Positives, Sampler, Triplets

NETWORK_OPTIONS = (  # fields of a DescriptorConfig that its network is built with
    "standardize",
    "affine",
    "final_norm",
    "unit",
    "dropout",
    "norm_momentum",
    "half",
)


@dataclass(frozen=True)
class DenoiserBuilder:
    """How a denoiser of this configuration is made, trained and scored."""

    config: DenoiserConfig
    scores = ("test_mae",)

    def network(self) -> nn.Module:
        """The network with its first weights."""
        config = self.config
        made = make_denoiser(config.network, config.depth, config.seed, config.init)
        return Residual(made) if config.residual else made

    def warm_start(self, model: nn.Module) -> None:
        """Put trained weights into a fresh network; a denoiser starts without any."""

    def loss(self) -> Callable[..., Tensor]:
        """The loss function, which takes what the sampler gives."""
        return DENOISER_LOSSES[self.config.objective]

    def sampler(
        self, patches: PatchSet, samples: int, training: bool = True
    ) -> Sampler:
        """What an epoch is made of."""
        return Pairs(patches, samples=samples)

    def patches(self, name: str) -> PatchSet:
        """The patches of a side."""
        return side(self.config, name)

    def score(self, model: nn.Module) -> dict[str, float]:
        """The mean absolute error on the noisy test patches, in grey levels."""
        test = self.patches("test")
        options = {"device": self.config.device, "precision": self.config.precision}
        error = pixels = 0
        for noisy, clean in zip(test.each("noisy"), test.each("clean"), strict=True):
            difference = denoise(model, noisy, **options).astype(np.int16) - clean
            error += int(np.abs(difference).sum(dtype=int))
            pixels += clean.size
        return {"test_mae": float(error / pixels)}


@dataclass(frozen=True)
class DescriptorBuilder:
    """How a descriptor of this configuration is made, trained and scored.

    denoiser: gives the trained denoiser. denoised: gives its patches (points, 16, 32,
    32) of a side. Both are called only where they are needed.
    """

    config: DescriptorConfig
    denoiser: Callable[[], nn.Module]
    denoised: Callable[[str], np.ndarray]
    scores = ("verification", "matching", "retrieval")

    def network(self) -> nn.Module:
        """The network with its first weights; "joint" has a fresh denoiser in front."""
        config, kind = self.config, DESCRIPTORS[self.config.network]
        options = {name: getattr(config, name) for name in NETWORK_OPTIONS}
        made = kind.build(config.seed, config.init, **options)
        if not kind.joint:
            return made
        return Joint(DenoiserBuilder(config.denoiser()).network(), made)

    def warm_start(self, model: nn.Module) -> None:
        """Put the trained denoiser's weights into the front of a "joint" network.

        Any other network is left alone.
        """
        if DESCRIPTORS[self.config.network].joint:
            model.denoiser.load_state_dict(self.denoiser().state_dict())

    def loss(self) -> Callable[..., Tensor]:
        """The loss function, which takes what the sampler gives."""
        function = DESCRIPTOR_LOSSES[self.config.objective].function
        return partial(function, margin=self.config.margin, reduce=self.config.reduce)

    def sampler(
        self, patches: PatchSet, samples: int, training: bool = True
    ) -> Sampler:
        """What an epoch is made of; patches are augmented only for training.

        Where there are too few points to fill a batch without one twice, training is
        refused, and validation takes each point once.
        """
        config = self.config
        usual = {
            "source": config.source,
            "samples": samples,
            "noisy_share": config.noisy_share,
            "noise": config.noise,
            "augment": config.augment if training else "none",
        }
        if not config.pairwise:
            return Triplets(patches, **usual)
        if training:
            return Positives(patches, **usual, batch_photos=config.batch_photos)
        positives = Positives(patches, **usual)
        if min(config.batch_size, samples) <= positives.largest_batch:
            return positives
        alone = len(patches) % config.batch_size == 1  # a pair without a negative
        return replace(positives, samples=len(patches) - alone)

    def patches(self, name: str) -> PatchSet:
        """The patches of a side, denoised ones among them where they are used."""
        found = side(self.config, name)
        source = self.config.test_source if name == "test" else self.config.source
        if source != "denoised":
            return found
        return found.with_source("denoised", self.denoised(name))

    def score(self, model: nn.Module) -> dict[str, float]:
        """The mAP of the three tasks on the test patches."""
        config, test = self.config, self.patches("test")
        asked = ("pairs", "queries", "distractors")
        counts = {name: getattr(config, name) for name in asked}
        tasks = tasks_for(test, **counts)
        if counts == OFFICIAL and data_set(config.data).official:
            warn_unofficial(tasks, config.split)
        options = {"device": config.device, "precision": config.precision}
        descriptors = describe(model, test[config.test_source], **options)
        found = evaluate(descriptors, tasks)
        return {name: float(getattr(found, name)) for name in self.scores}


Builder = DenoiserBuilder | DescriptorBuilder


def side(config: Config, name: str) -> PatchSet:
    """The "train", "validation" or "test" patches of a configuration, clean and noisy.

    "train" is without the left-out fold. The sequences of a photo (i_moon, v_moon) are
    in the same fold. A denoiser draws its training and validation sequences from what
    is left. Only the sequences that are needed are fetched.
    """
    names = read_split(data_set(config.data).folder(), config.split)[name]
    if name == "train" and config.folds:
        names = _without_fold(names, config.folds, config.draw)
    names = _drawn(names, *config.drawn(name))
    points = config.test_points if name == "test" else config.points
    return read_sequences(config.data, names).head(points)


def _without_fold(names: Iterable[str], folds: int, draw: int) -> list[str]:
    photos = sorted({photo_of(name) for name in names})
    if folds > len(photos):
        raise ValueError(
            f"folds is {folds}, and there are {len(photos)} training photos: "
            "expected at most as many (0: no folds)"
        )
    left_out = photos[draw % folds :: folds]
    return [name for name in names if photo_of(name) not in left_out]


def _drawn(names: Iterable[str], number: int | None, seed: int) -> list[str]:
    names = list(names)
    if number is None:
        return names
    if number > len(names):
        raise ValueError(
            f"{number} sequences asked for, and there are {len(names)} to draw from"
        )
    return list(np.random.RandomState(seed).choice(names, number, replace=False))
