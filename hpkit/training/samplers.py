"""What an epoch is made of: `Pairs`, `Triplets` or `Positives`.

The first are for a denoiser, the others for a descriptor.

A sampler says which patches an epoch uses (`draw`) and what the loss gets of a batch
(`outputs`). A patch number is 16 * point + column. All of them are drawn at once from a
generator, without a loop. What is done to the patches of a batch (turns, noise) is
drawn from torch's random state, as dropout is.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from hpkit.data.patches import COLUMNS, PatchSet, photo_of
from hpkit.training.augment import AUGMENTATIONS, NOISE_MODELS, with_noise
from hpkit.training.losses import hardest_loss, mae, triplet_loss

Model = Callable[[Tensor], Tensor]


@runtime_checkable
class Sampler(Protocol):
    """What `fit` asks of a sampler; a sampler of your own needs nothing else.

    natural_loss: the loss where none is named. len(sampler): samples in an epoch.
    """

    natural_loss: Callable[..., Tensor]

    def __len__(self) -> int: ...

    def on(self, device: torch.device) -> tuple[Tensor, ...]:
        """The patches on the device, as `outputs` gets them."""

    def draw(self, generator: torch.Generator, batch_size: int) -> Tensor:
        """The patch numbers of an epoch, a row per sample; `fit` cuts it up."""

    def outputs(
        self, model: Model, data: tuple[Tensor, ...], batch: Tensor
    ) -> tuple[Tensor, ...]:
        """What the loss takes of a batch, which is some rows of what `draw` gave."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Noisy patches and their clean twins, for a denoiser.

    An epoch is every patch of all 16 types once, in shuffled order. With `samples` it
    is that many patches, none of them twice before each was drawn once. Raises
    ValueError for an empty set, an unknown source or fewer than one sample.
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
        sources = (self.noisy, self.clean)
        return tuple(_flat(self.patches[source], device) for source in sources)

    def draw(self, generator: torch.Generator, batch_size: int = 50) -> Tensor:
        """(samples,) patch numbers, whatever the size of a batch."""
        patches = len(self.patches) * COLUMNS
        passes = -(-len(self) // patches)  # rounded up
        order = [torch.randperm(patches, generator=generator) for _ in range(passes)]
        return torch.cat(order)[: len(self)]

    def outputs(
        self, model: Model, data: tuple[Tensor, ...], batch: Tensor
    ) -> tuple[Tensor, ...]:
        """What the loss takes: (denoised, clean), float on 0..255."""
        noisy, clean = data
        return model(noisy[batch].float()), clean[batch].float()


@dataclass(frozen=True, eq=False)
class _Described:
    """What the two samplers for a descriptor share: how patches are made ready.

    source: one of the set's, or "mixed": clean ones, each given new noise with a chance
    of `noisy_share`. augment: one of AUGMENTATIONS. noise: one of NOISE_MODELS.
    """

    patches: PatchSet
    source: str = "denoised"
    samples: int = 100_000
    augment: str = "none"
    noisy_share: float = 0.75
    noise: str = "gaussian"

    def __post_init__(self) -> None:
        _check(self, 2, self.taken)
        _check_name("augment", self.augment, AUGMENTATIONS)
        _check_name("noise", self.noise, NOISE_MODELS)

    @property
    def taken(self) -> str:
        """The source that the patches are taken from."""
        return "clean" if self.source == "mixed" else self.source

    def __len__(self) -> int:
        return self.samples

    def on(self, device: torch.device) -> tuple[Tensor, ...]:
        """The source on the device, uint8 (points * 16, 1, 32, 32)."""
        return (_flat(self.patches[self.taken], device),)

    def ready(self, data: tuple[Tensor, ...], batch: Tensor) -> list[Tensor]:
        """The patches of a batch (n, k) as k times float (n, 1, 32, 32) on 0..255."""
        columns = batch.unbind(dim=1)
        patches = [data[0][numbers].float() for numbers in columns]
        augmentation = AUGMENTATIONS[self.augment]
        for change in augmentation.before_noise:
            patches = change(patches)
        if self.source == "mixed":
            patches = [
                with_noise(patch, numbers, self.noisy_share, self.noise)
                for patch, numbers in zip(patches, columns, strict=True)
            ]
        for change in augmentation.after_noise:
            patches = change(patches)
        return patches


@dataclass(frozen=True, eq=False)
class Triplets(_Described):
    """Random triplets, `samples` an epoch; the fields are those of `_Described`.

    Anchor and positive are two columns of one point. The negative is any column of any
    other point, of the same sequence or not. Raises ValueError for fewer than two
    points, an unknown source or augmentation, or fewer than one sample.
    """

    natural_loss = staticmethod(triplet_loss)

    def draw(self, generator: torch.Generator, batch_size: int = 50) -> Tensor:
        """(samples, 3) patch numbers, whatever the size of a batch.

        The columns: anchor, positive, negative.
        """

        def integers(low: int, high: int) -> Tensor:  # low included, high not
            return torch.randint(low, high, (self.samples,), generator=generator)

        points = len(self.patches)
        point = integers(0, points)
        anchor = integers(0, COLUMNS)
        negative = integers(0, COLUMNS)
        positive = (anchor + integers(1, COLUMNS)) % COLUMNS  # never the anchor itself
        other = (point + integers(1, points)) % points
        columns = [
            COLUMNS * point + anchor,
            COLUMNS * point + positive,
            COLUMNS * other + negative,
        ]
        return torch.stack(columns, dim=1)

    def outputs(
        self, model: Model, data: tuple[Tensor, ...], batch: Tensor
    ) -> tuple[Tensor, ...]:
        """What the loss takes: three (n, 128), each from a pass of its own."""
        return tuple(model(patches) for patches in self.ready(data, batch))


@dataclass(frozen=True, eq=False)
class Positives(_Described):
    """Anchors and positives, `samples` of each an epoch: negatives are in the batch.

    No batch has a point twice, for it would be its own hardest negative. With
    batch_photos, the points of each batch come from that many photos only, since the
    negatives that matter are those of the same photo. source, augment, noisy_share: see
    `_Described`. The errors are those of `Triplets`, and a ValueError of `draw` where a
    batch is too large for the points there are.
    """

    batch_photos: int | None = None
    natural_loss = staticmethod(hardest_loss)

    def draw(self, generator: torch.Generator, batch_size: int = 50) -> Tensor:
        """(samples, 2) patch numbers: anchor, positive."""
        if self.batch_photos is None:
            point = self._from_all(generator, batch_size)[: self.samples]
        else:
            point = self._from_few(generator, batch_size)[: self.samples]
        anchor = torch.randint(0, COLUMNS, (self.samples,), generator=generator)
        further = torch.randint(1, COLUMNS, (self.samples,), generator=generator)
        columns = torch.stack([anchor, (anchor + further) % COLUMNS], dim=1)
        return COLUMNS * point[:, None] + columns

    def outputs(
        self, model: Model, data: tuple[Tensor, ...], batch: Tensor
    ) -> tuple[Tensor, ...]:
        """What the loss takes: (n, 128) twice, from one pass of both."""
        return model(torch.cat(self.ready(data, batch))).chunk(2)

    @property
    def largest_batch(self) -> int:
        """Samples in a row that are certain to have no point twice."""
        points = len(self.patches)
        return points // 2 + 1 if self.samples > points else self.samples

    def _from_all(self, generator: torch.Generator, batch_size: int) -> Tensor:
        """Points in turn: none comes again before half of all the others have come."""
        points, most = len(self.patches), self.largest_batch
        if min(batch_size, self.samples) > most:
            raise ValueError(
                f"batch_size is {batch_size}, and a batch of {self.samples} samples "
                f"from {points} points must not have one twice: expected at most {most}"
            )
        order = [_shuffled(torch.arange(points), generator)]
        while len(order) * points < self.samples:
            halves = order[-1].tensor_split(2)
            order.append(torch.cat([_shuffled(half, generator) for half in halves]))
        return torch.cat(order)

    def _from_few(self, generator: torch.Generator, batch_size: int) -> Tensor:
        """Batch by batch, the points of `batch_photos` photos.

        Each photo gives an equal share.
        """
        photos = self._photos(batch_size)
        # By the root small photos come less often, but not in proportion to their size.
        chance = torch.tensor([len(points) ** 0.5 for points in photos])
        share, batches = -(-batch_size // self.batch_photos), []  # rounded up
        for _ in range(-(-self.samples // batch_size)):
            chosen = torch.multinomial(chance, self.batch_photos, generator=generator)
            points = [_shuffled(photos[photo], generator)[:share] for photo in chosen]
            batches.append(torch.cat(points)[:batch_size])
        return torch.cat(batches)

    def _photos(self, batch_size: int) -> list[Tensor]:
        """The points of each photo, in the order of their names."""
        photo = np.array([photo_of(name) for name in self.patches.names])
        photo = photo[self.patches.sequence]
        found = {
            name: torch.from_numpy(np.flatnonzero(photo == name)) for name in set(photo)
        }
        least, name = min((len(points), name) for name, points in found.items())
        if len(found) < self.batch_photos or least * self.batch_photos < batch_size:
            raise ValueError(
                f"batch_photos is {self.batch_photos}: there are {len(found)} photos "
                f"with at least {least} points ({name}), too few for batches of "
                f"{batch_size}"
            )
        return [found[name] for name in sorted(found)]


def _shuffled(points: Tensor, generator: torch.Generator) -> Tensor:
    return points[torch.randperm(len(points), generator=generator)]


def _check(sampler: Pairs | _Described, points: int, *sources: str) -> None:
    for source in sources:
        sampler.patches.each(source)  # refuses an unknown one, with those that are here
    if len(sampler.patches) < points:
        raise ValueError(
            f"{type(sampler).__name__} of {len(sampler.patches)} points: "
            f"expected at least {points}"
        )
    if sampler.samples is not None and sampler.samples < 1:
        raise ValueError(f"samples is {sampler.samples}: expected at least 1")


def _check_name(kind: str, name: str, known: dict) -> None:
    if name not in known:
        raise ValueError(f"unknown {kind} {name!r}: expected one of {', '.join(known)}")


def _flat(patches: np.ndarray, device: torch.device) -> Tensor:
    # The warning is that the array is read-only; nobody writes to it here.
    with warnings.catch_warnings(action="ignore"):
        shared = torch.from_numpy(patches)  # on the CPU nothing is copied
    return shared.reshape(-1, 1, *patches.shape[2:]).to(device)
