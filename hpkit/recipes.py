"""What a configuration means: its network, its patches, its loss, its scores; one class a kind.

`hpkit.runs` trains and keeps what is described here. A new kind of network is a class more.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
from torch import Tensor, nn

from hpkit.configs import Config, DenoiserConfig, DescriptorConfig
from hpkit.evaluation import denoise, describe, evaluate
from hpkit.losses import DENOISER_LOSSES, DESCRIPTOR_LOSSES, PAIRWISE
from hpkit.models import L2Net
from hpkit.patches import PatchSet, read_sequences, read_split, splits_folder
from hpkit.splits import EMBEDDED
from hpkit.tasks import OFFICIAL, tasks_for, warn_unofficial
from hpkit.training import Pairs, Positives, Sampler, Triplets
from hpkit.variants import DENOISERS, Joint, Residual


@dataclass(frozen=True)
class DenoiserRecipe:
    """How a denoiser of this configuration is made, trained and scored."""

    config: DenoiserConfig
    scores = ("test_mae",)

    def network(self) -> nn.Module:
        """With its initial weights."""
        made = DENOISERS[self.config.network](self.config.depth, self.config.seed, self.config.init)
        return Residual(made) if self.config.residual else made

    def loss(self) -> Callable[..., Tensor]:
        """Takes what the sampler gives."""
        return DENOISER_LOSSES[self.config.objective]

    def sampler(self, patches: PatchSet, samples: int, training: bool = True) -> Sampler:
        """What an epoch is made of."""
        return Pairs(patches, samples=samples)

    def patches(self, name: str) -> PatchSet:
        """The patches of a side."""
        return side(self.config, name)

    def score(self, model: nn.Module) -> dict[str, float]:
        """The MAE on the noisy test patches, grey levels."""
        test = self.patches("test")
        options = {"device": self.config.device, "precision": self.config.precision}
        errors = [np.abs(denoise(model, noisy, **options).astype(np.int16) - clean).sum(dtype=int)
                  for noisy, clean in zip(test.parts["noisy"], test.parts["clean"], strict=True)]
        return {"test_mae": float(sum(errors) / sum(p.size for p in test.parts["clean"]))}


@dataclass(frozen=True)
class DescriptorRecipe:
    """How a descriptor of this configuration is made, trained and scored.

    denoiser: gives the trained denoiser; denoised: gives its patches (points, 16, 32, 32) of a
    side. Both are called only where they are needed.
    """

    config: DescriptorConfig
    denoiser: Callable[[], nn.Module]
    denoised: Callable[[str], np.ndarray]
    scores = ("verification", "matching", "retrieval")

    def network(self) -> nn.Module:
        """With its initial weights; of "joint", the denoiser in it with its trained ones."""
        names = "standardize", "affine", "final_norm", "unit", "dropout", "norm_momentum", "half"
        made = L2Net(self.config.seed, self.config.init,
                     **{name: getattr(self.config, name) for name in names})
        return Joint(self.denoiser(), made) if self.config.network == "joint" else made

    def loss(self) -> Callable[..., Tensor]:
        """Takes what the sampler gives."""
        return partial(DESCRIPTOR_LOSSES[self.config.objective], margin=self.config.margin,
                       reduce=self.config.reduce)

    def sampler(self, patches: PatchSet, samples: int, training: bool = True) -> Sampler:
        """What an epoch is made of; only a training is augmented."""
        config = self.config
        usual = {"source": config.source, "samples": samples, "noisy_share": config.noisy_share,
                 "augment": config.augment if training else "none"}
        if config.objective not in PAIRWISE:
            return Triplets(patches, **usual)
        return Positives(patches, **usual, batch_size=config.batch_size,
                         batch_photos=config.batch_photos if training else None)

    def patches(self, name: str) -> PatchSet:
        """The patches of a side, denoised ones among them where they are used."""
        found = side(self.config, name)
        source = self.config.test_source if name == "test" else self.config.source
        return found.with_source("denoised", self.denoised(name)) if source == "denoised" else found

    def score(self, model: nn.Module) -> dict[str, float]:
        """The mAP of the three tasks on the test patches."""
        config, test = self.config, self.patches("test")
        counts = {"pairs": config.pairs, "queries": config.queries,
                  "distractors": config.distractors}
        tasks = tasks_for(test, **counts)
        if counts == OFFICIAL and config.data not in EMBEDDED:
            warn_unofficial(tasks, config.split)
        found = evaluate(describe(model, test[config.test_source], device=config.device,
                                  precision=config.precision), tasks)
        return {name: float(getattr(found, name)) for name in self.scores}


def side(config: Config, name: str) -> PatchSet:
    """The "train", "validation" or "test" patches of a configuration, clean and noisy.

    "train" is without the left-out fold; the sequences of a photo (i_moon, v_moon) are in the same
    fold. A denoiser draws its training and validation sequences from what is left. Only the
    sequences that are needed are fetched.
    """
    names = read_split(splits_folder(config.data), config.split)[name]
    if name == "train" and config.folds:
        names = _without_fold(names, config.folds, config.draw)
    names = _drawn(names, *config.drawn(name))
    points = config.test_points if name == "test" else config.points
    return read_sequences(config.data, names).head(points)


def _without_fold(names: Iterable[str], folds: int, draw: int) -> list[str]:
    photos = sorted({name.partition("_")[2] for name in names})
    if folds > len(photos):
        raise ValueError(f"folds is {folds}, and there are {len(photos)} training photos: "
                         "expected at most as many (0: no folds)")
    left_out = photos[draw % folds::folds]
    return [name for name in names if name.partition("_")[2] not in left_out]


def _drawn(names: Iterable[str], number: int | None, seed: int) -> list[str]:
    names = list(names)
    if number is None:
        return names
    if number > len(names):
        raise ValueError(f"{number} sequences asked for, and there are {len(names)} to draw from")
    return list(np.random.RandomState(seed).choice(names, number, replace=False))
