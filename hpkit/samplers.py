"""What an epoch is made of: `Pairs` for a denoiser, `Triplets` for a descriptor.

A sampler says which patches an epoch uses (`draw`) and what the loss gets of a batch (`outputs`).
A patch number is 16 * point + column. All is drawn at once from a generator, without a loop.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hpkit.losses import mae, triplet_loss
from hpkit.patches import PATCH_TYPES, PatchSet

COLUMNS = len(PATCH_TYPES)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Noisy patches and their clean twins, for a denoiser.

    An epoch is every patch of all 16 types once, in shuffled order; with `samples`, that many
    patches (none twice before each was drawn once). Raises ValueError for an empty set, an
    unknown source or fewer than one sample.
    """

    patches: PatchSet
    noisy: str = "noisy"
    clean: str = "clean"
    samples: int | None = None
    natural_loss = staticmethod(mae)

    def __post_init__(self) -> None:
        _check(self, 1, self.noisy, self.clean)

    def __len__(self) -> int:
        return self.samples or len(self.patches) * COLUMNS

    def on(self, device: torch.device) -> tuple[Tensor, ...]:
        """Both sources on the device, uint8 (points * 16, 1, 32, 32)."""
        return _flat(self.patches[self.noisy], device), _flat(self.patches[self.clean], device)

    def draw(self, generator: torch.Generator) -> Tensor:
        """(samples,) patch numbers."""
        patches = len(self.patches) * COLUMNS
        passes = -(-len(self) // patches)  # rounded up
        order = [torch.randperm(patches, generator=generator) for _ in range(passes)]
        return torch.cat(order)[:len(self)]

    def outputs(self, model: Callable[[Tensor], Tensor], data: tuple[Tensor, ...],
                batch: Tensor) -> tuple[Tensor, ...]:
        """What the loss takes: (denoised, clean), float on 0..255."""
        noisy, clean = data
        return model(noisy[batch].float()), clean[batch].float()


@dataclass(frozen=True, eq=False)
class Triplets:
    """Random triplets from one source, `samples` an epoch, for a descriptor.

    Anchor and positive are two columns of one point; the negative is any column of any other
    point, of the same sequence or not. Raises ValueError for fewer than two points, an unknown
    source or fewer than one sample.
    """

    patches: PatchSet
    source: str = "denoised"
    samples: int = 100_000
    natural_loss = staticmethod(triplet_loss)

    def __post_init__(self) -> None:
        _check(self, 2, self.source)

    def __len__(self) -> int:
        return self.samples

    def on(self, device: torch.device) -> tuple[Tensor, ...]:
        """The source on the device, uint8 (points * 16, 1, 32, 32)."""
        return (_flat(self.patches[self.source], device),)

    def draw(self, generator: torch.Generator) -> Tensor:
        """(samples, 3) patch numbers: anchor, positive, negative."""
        def integers(low: int, high: int) -> Tensor:  # low included, high not
            return torch.randint(low, high, (self.samples,), generator=generator)

        points = len(self.patches)
        point, anchor, negative = integers(0, points), integers(0, COLUMNS), integers(0, COLUMNS)
        positive = (anchor + integers(1, COLUMNS)) % COLUMNS  # 1 to 15 columns on: never itself
        other = (point + integers(1, points)) % points
        return torch.stack([COLUMNS * point + anchor, COLUMNS * point + positive,
                            COLUMNS * other + negative], dim=1)

    def outputs(self, model: Callable[[Tensor], Tensor], data: tuple[Tensor, ...],
                batch: Tensor) -> tuple[Tensor, ...]:
        """What the loss takes: three (n, 128), each from a pass of its own through the model."""
        return tuple(model(data[0][numbers].float()) for numbers in batch.unbind(dim=1))


def _check(sampler: Pairs | Triplets, points: int, *sources: str) -> None:
    for source in sources:
        sampler.patches[source]  # refuses an unknown source with the list of those here
    if len(sampler.patches) < points:
        raise ValueError(f"{type(sampler).__name__} of {len(sampler.patches)} points: "
                         f"expected at least {points}")
    if sampler.samples is not None and sampler.samples < 1:
        raise ValueError(f"samples is {sampler.samples}: expected at least 1")


def _flat(patches: np.ndarray, device: torch.device) -> Tensor:
    # On the CPU nothing is copied, unless torch would warn: the tensor may even lie in a file.
    patches = patches if patches.flags.writeable else patches.copy()
    return torch.from_numpy(patches).reshape(-1, 1, *patches.shape[2:]).to(device)
