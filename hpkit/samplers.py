"""What an epoch is made of: `Pairs` for a denoiser, `Triplets` or `Positives` for a descriptor.

A sampler says which patches an epoch uses (`draw`) and what the loss gets of a batch (`outputs`).
A patch number is 16 * point + column. All is drawn at once from a generator, without a loop; what
is done to the patches of a batch (turns, noise) is drawn from torch's random state, as dropout is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from hpkit.losses import hardest_loss, mae, triplet_loss
from hpkit.noise import NOISE_FRACTION, level_of
from hpkit.patches import PATCH_TYPES, PatchSet

COLUMNS = len(PATCH_TYPES)
FRACTIONS = torch.tensor([NOISE_FRACTION[level_of(patch_type)] for patch_type in PATCH_TYPES])


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
class _Described:
    """What the two samplers for a descriptor share: how its patches are made ready.

    source: one of the set's, or "mixed": clean ones, each given new noise with a chance of
    `noisy_share`. augment: "none", or "flips": the patches of one row are mirrored and turned
    alike, by one of the eight symmetries of a square; "flips_invert": and half of them negatives.
    """

    patches: PatchSet
    source: str = "denoised"
    samples: int = 100_000
    augment: str = "none"
    noisy_share: float = 0.75

    def __post_init__(self) -> None:
        _check(self, 2, "clean" if self.source == "mixed" else self.source)

    def __len__(self) -> int:
        return self.samples

    def on(self, device: torch.device) -> tuple[Tensor, ...]:
        """The source on the device, uint8 (points * 16, 1, 32, 32)."""
        return (_flat(self.patches["clean" if self.source == "mixed" else self.source], device),)

    def ready(self, data: tuple[Tensor, ...], batch: Tensor) -> list[Tensor]:
        """The patches of a batch (n, k) as k times float (n, 1, 32, 32) on 0..255."""
        columns = batch.unbind(dim=1)
        patches = [data[0][numbers].float() for numbers in columns]
        if self.augment != "none":
            patches = turned(patches)
        if self.source == "mixed":
            patches = [with_noise(p, numbers, self.noisy_share)
                       for p, numbers in zip(patches, columns, strict=True)]
        return inverted(patches) if self.augment == "flips_invert" else patches


@dataclass(frozen=True, eq=False)
class Triplets(_Described):
    """Random triplets, `samples` an epoch: see the fields of `Positives`.

    Anchor and positive are two columns of one point; the negative is any column of any other
    point, of the same sequence or not. Raises ValueError for fewer than two points, an unknown
    source or fewer than one sample.
    """

    natural_loss = staticmethod(triplet_loss)

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
        return tuple(model(patches) for patches in self.ready(data, batch))


@dataclass(frozen=True, eq=False)
class Positives(_Described):
    """Anchors and positives, `samples` of each an epoch: the loss finds negatives in the batch.

    The points go round: none comes again before half of all points have come, so that a batch of
    up to half of them has no point twice. With batch_photos, each batch of batch_size has its
    points from so many photos alone, since the negatives that matter are those of the same photo.
    source, augment, noisy_share: see `_Described`; the errors are those of `Triplets`.
    """

    batch_size: int = 50
    batch_photos: int | None = None
    natural_loss = staticmethod(hardest_loss)

    def draw(self, generator: torch.Generator) -> Tensor:
        """(samples, 2) patch numbers: anchor, positive."""
        point = (self._from_all(generator) if self.batch_photos is None else
                 self._from_few(generator))[:self.samples]
        anchor = torch.randint(0, COLUMNS, (self.samples,), generator=generator)
        further = torch.randint(1, COLUMNS, (self.samples,), generator=generator)
        return COLUMNS * point[:, None] + torch.stack([anchor, (anchor + further) % COLUMNS], dim=1)

    def outputs(self, model: Callable[[Tensor], Tensor], data: tuple[Tensor, ...],
                batch: Tensor) -> tuple[Tensor, ...]:
        """What the loss takes: (n, 128) twice, from one pass of both through the model."""
        return model(torch.cat(self.ready(data, batch))).chunk(2)

    def _from_all(self, generator: torch.Generator) -> Tensor:
        order = [_shuffled(torch.arange(len(self.patches)), generator)]
        while len(order) * len(self.patches) < self.samples:
            halves = order[-1].tensor_split(2)
            order.append(torch.cat([_shuffled(half, generator) for half in halves]))
        return torch.cat(order)

    def _from_few(self, generator: torch.Generator) -> Tensor:
        photos = self._photos()
        chance = torch.tensor([len(points) ** 0.5 for points in photos])  # small ones not too often
        share, batches = -(-self.batch_size // self.batch_photos), []
        for _ in range(-(-self.samples // self.batch_size)):
            chosen = torch.multinomial(chance, self.batch_photos, generator=generator)
            points = [_shuffled(photos[photo], generator)[:share] for photo in chosen]
            batches.append(torch.cat(points)[:self.batch_size])
        return torch.cat(batches)

    def _photos(self) -> list[Tensor]:
        """The points of each photo; its sequences are called alike after the "_"."""
        photo = np.array([name.partition("_")[2] for name in self.patches.names])
        of_point = photo[self.patches.sequence]
        found = {name: torch.from_numpy(np.flatnonzero(of_point == name)) for name in set(photo)}
        least, name = min((len(points), name) for name, points in found.items())
        if len(found) < self.batch_photos or least * self.batch_photos < self.batch_size:
            raise ValueError(f"batch_photos is {self.batch_photos}: there are {len(found)} photos "
                             f"with at least {least} points ({name}), too few for batches of "
                             f"{self.batch_size}")
        return [found[name] for name in sorted(found)]


def _shuffled(points: Tensor, generator: torch.Generator) -> Tensor:
    return points[torch.randperm(len(points), generator=generator)]


def turned(patches: list[Tensor]) -> list[Tensor]:
    """Patches (n, 1, h, h) of the same n points, those of each point by the same random symmetry.
    """
    n, device = len(patches[0]), patches[0].device
    for flip in (partial(torch.flip, dims=[-1]), partial(torch.flip, dims=[-2]),
                 partial(torch.transpose, dim0=-2, dim1=-1)):
        chosen = torch.rand(n, 1, 1, 1, device=device) < 0.5
        patches = [torch.where(chosen, flip(p), p) for p in patches]
    return patches


def inverted(patches: list[Tensor]) -> list[Tensor]:
    """Every second point or so as a photographic negative, all patches of that point alike."""
    chosen = torch.rand(len(patches[0]), 1, 1, 1, device=patches[0].device) < 0.5
    return [torch.where(chosen, 255 - p, p) for p in patches]


def with_noise(patches: Tensor, numbers: Tensor, share: float) -> Tensor:
    """The kit's noise model on float (n, 1, 32, 32), drawn anew, on a `share` of the patches.

    numbers: (n,) patch numbers, for the level of each. See `hpkit.noise`.
    """
    sigma = FRACTIONS.to(patches.device)[numbers % COLUMNS].view(-1, 1, 1, 1)
    sigma = sigma * (patches.amax((2, 3), keepdim=True) - patches.amin((2, 3), keepdim=True))
    sigma = sigma * (torch.rand_like(sigma) < share)
    return (patches + sigma * torch.randn_like(patches)).round().clamp(0, 255)


def _check(sampler: Pairs | _Described, points: int, *sources: str) -> None:
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
