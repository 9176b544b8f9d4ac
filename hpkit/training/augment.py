"""What is done to the patches of a batch: turns, negatives, new noise.

Everything is drawn from torch's random state, as dropout is. An augmentation is an
entry in `AUGMENTATIONS`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from hpkit.data.noise import NOISE_FRACTION, level_of
from hpkit.data.patches import COLUMNS, PATCH_TYPES

FRACTIONS = torch.tensor([NOISE_FRACTION[level_of(kind)] for kind in PATCH_TYPES])
Change = Callable[[list[Tensor]], list[Tensor]]  # the patches of a batch to the same


def turned(patches: list[Tensor]) -> list[Tensor]:
    """All patches of a point turned by the same one of a square's eight symmetries.

    patches: some (n, 1, h, h) of the same n points.
    """
    n, device = len(patches[0]), patches[0].device
    for flip in (
        partial(torch.flip, dims=[-1]),
        partial(torch.flip, dims=[-2]),
        partial(torch.transpose, dim0=-2, dim1=-1),
    ):
        chosen = torch.rand(n, 1, 1, 1, device=device) < 0.5
        patches = [torch.where(chosen, flip(p), p) for p in patches]
    return patches


def inverted(patches: list[Tensor]) -> list[Tensor]:
    """About half of the points as photographic negatives.

    All patches of a point are treated alike.
    """
    chosen = torch.rand(len(patches[0]), 1, 1, 1, device=patches[0].device) < 0.5
    return [torch.where(chosen, 255 - p, p) for p in patches]


@dataclass(frozen=True)
class Augmentation:
    """What happens to a batch before the noise, if any, and after it."""

    before_noise: tuple[Change, ...] = ()
    after_noise: tuple[Change, ...] = ()


AUGMENTATIONS: dict[str, Augmentation] = {
    "none": Augmentation(),
    "flips": Augmentation(before_noise=(turned,)),
    "flips_invert": Augmentation(before_noise=(turned,), after_noise=(inverted,)),
}


def gaussian(patches: Tensor, fraction: Tensor) -> Tensor:
    """Independent Gaussian noise, its deviation a fraction of each patch's range."""
    span = patches.amax((2, 3), keepdim=True) - patches.amin((2, 3), keepdim=True)
    return fraction * span * torch.randn_like(patches)


# Each gives the noise, (n, 1, h, h), for patches and their fractions (n, 1, 1, 1).
NOISE_MODELS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"gaussian": gaussian}


def with_noise(
    patches: Tensor, numbers: Tensor, share: float, noise: str = "gaussian"
) -> Tensor:
    """Float (n, 1, 32, 32) patches, a `share` of them with noise that is drawn anew.

    numbers: (n,) patch numbers, for the level of each. noise: one of NOISE_MODELS.
    `hpkit.data.noise` says how strong the noise is at each level.
    """
    fraction = FRACTIONS.to(patches.device)[numbers % COLUMNS].view(-1, 1, 1, 1)
    fraction = fraction * (torch.rand_like(fraction) < share)
    noisy = patches + NOISE_MODELS[noise](patches, fraction)
    return noisy.round().clamp(0, 255)
