"""A run as a value: everything that its result depends on, in one flat frozen record.

Two records that are equal once `resolved` give the same numbers, so a run's folder is named by a
hash of its record. Fields that only say how to score (`SCORING`) are left out of that hash: asking
another question of a trained network is no reason to train it again.
"""

import math
from dataclasses import Field, asdict, dataclass, fields, replace
from numbers import Integral, Real
from typing import ClassVar

from hpkit.archives import short_digest
from hpkit.losses import DENOISER_LOSSES, DESCRIPTOR_LOSSES, PAIRWISE, REDUCTIONS
from hpkit.models import DEPTHS, INITIALIZERS
from hpkit.optimizers import OPTIMIZERS, SCHEDULES, rate
from hpkit.splits import data_version, usual_split
from hpkit.variants import DENOISERS

# Changed whenever changed code changes what a training gives (tests/test_configs.py notices), so
# that results of the old code are never taken for results of the new one.
REVISION = 1
SOURCES = ("clean", "noisy", "denoised")
CHOICES = {"optimizer": tuple(OPTIMIZERS), "init": tuple(INITIALIZERS), "depth": DEPTHS,
           "schedule": tuple(SCHEDULES), "source": (*SOURCES, "mixed"), "test_source": SOURCES,
           "reduce": REDUCTIONS, "augment": ("none", "flips", "flips_invert"),
           "network": ("l2net", "joint"), "objective": tuple(DESCRIPTOR_LOSSES)}
OF_DENOISERS = {"network": tuple(DENOISERS), "objective": tuple(DENOISER_LOSSES)}
SCORING = ("test_source", "test_points", "pairs", "queries", "distractors")


@dataclass(frozen=True, kw_only=True)
class Config:
    """What both kinds of run have. None asks for the usual value; `resolved` fills it in.

    Chance is split in three, so that each can vary alone: `seed` draws weights and batches, `draw`
    the training side (the left-out fold, a denoiser's sequences), `validation_draw` the validation
    sequences. Raises ValueError for a value that is not among the valid ones.
    """

    data: str = "photos"  # or a folder in the HPatches layout
    split: str | None = None  # a name in the folder's splits.json
    folds: int = 5  # training photos are dealt into; fold `draw` mod `folds` is left out; 0: none
    points: int | None = None  # per training sequence; None: all
    init: str = "he_normal"
    optimizer: str = "sgd"
    lr: float | None = None  # None: the coursework's
    momentum: float | None = None  # Nesterov's, of sgd alone; None: the coursework's
    schedule: str = "constant"  # of lr
    batch_size: int = 50
    epochs: int = 5
    samples: int  # per epoch
    validation_samples: int = 500
    test_points: int | None = 50  # per test sequence, to score
    seed: int = 0
    draw: int | None = None  # None: seed
    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None  # of the CPU; None: as many as torch uses now
    revision: int = REVISION
    SGD: ClassVar[tuple[float, float]]  # the coursework's learning rate and momentum

    def __post_init__(self) -> None:
        for field in fields(self):  # numbers become plain ints and floats: 1 and 1.0 are one run
            value = _checked(type(self).__name__, field, getattr(self, field.name))
            object.__setattr__(self, field.name, value)

    def resolved(self) -> "Config":
        """The same with every None and "auto" replaced by what it means here and now."""
        import torch

        from hpkit.devices import resolve_device, resolve_precision

        device = resolve_device(self.device)
        here = {"split": self.split or usual_split(self.data),
                "device": str(device), "precision": resolve_precision(self.precision, device),
                "threads": self.threads or torch.get_num_threads(),
                "draw": self.seed if self.draw is None else self.draw,
                **rate(self.optimizer, self.lr, self.momentum, *self.SGD)}
        return replace(self, **here)

    def key(self) -> str:
        """Twelve hexadecimal digits that name the training; SCORING fields do not change it."""
        return short_digest([type(self).__name__, data_version(self.data), self.trained()])

    def score_key(self) -> str:
        """Twelve hexadecimal digits that name how it is scored."""
        return short_digest({name: getattr(self, name) for name in SCORING if hasattr(self, name)})

    def drawn(self, side: str) -> tuple[int | None, int]:
        """How many sequences of a side are drawn (None: all are taken), and the seed of that."""
        return None, 0

    def trained(self) -> dict:
        """The fields that the trained network depends on."""
        return {name: value for name, value in asdict(self).items() if name not in SCORING}


@dataclass(frozen=True, kw_only=True)
class DenoiserConfig(Config):
    """One training of a U-Net, by default the coursework's baseline, short.

    Scored by its MAE (grey levels) on the noisy patches of the test sequences.
    """

    network: str = "unet"
    depth: int = 4  # of a U-Net
    residual: bool = False  # the network predicts the noise
    objective: str = "mae"  # the loss ("loss" is its value)
    sequences: int | None = 3  # drawn from the training side; None: all of it
    samples: int = 2400  # patches per epoch
    validation_sequences: int | None = None  # None: all of them; the coursework drew one
    validation_draw: int | None = None  # None: seed
    SGD: ClassVar = (1e-5, 0.9)

    def resolved(self) -> "DenoiserConfig":
        here = super().resolved()
        chosen = self.seed if self.validation_draw is None else self.validation_draw
        # Where nothing is drawn, the number must not make two runs out of one.
        return replace(here, validation_draw=chosen if self.validation_sequences else 0)

    def drawn(self, side: str) -> tuple[int | None, int]:
        return {"train": (self.sequences, self.draw), "validation": (
            self.validation_sequences, self.validation_draw)}.get(side, (None, 0))


@dataclass(frozen=True, kw_only=True)
class DescriptorConfig(Config):
    """One training of an L2-Net and, in `denoiser_*`, of the denoiser of its patches.

    Trained on `source`, scored on `test_source` by the mAP of the three tasks.
    """

    network: str = "l2net"  # or "joint": the denoiser in front of it, trained further with it
    source: str = "denoised"  # "mixed": clean, each patch given noise with chance noisy_share
    test_source: str = "denoised"
    noisy_share: float = 0.75
    augment: str = "none"
    standardize: bool = False  # these seven: see L2Net
    affine: bool = True
    final_norm: bool = False
    unit: bool = False
    dropout: float = 0.3
    norm_momentum: float = 0.01
    half: bool = False
    points: int | None = 40
    samples: int = 1500  # triplets (or positive pairs) per epoch
    batch_photos: int | None = None  # a batch's points come from so many; None: from all
    objective: str = "triplet"  # the loss ("loss" is its value)
    margin: float = 1.0
    reduce: str = "mean"
    pairs: int = 5000  # verification pairs of each kind
    queries: int = 100
    distractors: int = 300
    denoiser_network: str = "unet"
    denoiser_depth: int = 4
    denoiser_residual: bool = False
    denoiser_objective: str = "mae"
    denoiser_sequences: int | None = 3
    denoiser_points: int | None = None
    denoiser_init: str = "he_normal"
    denoiser_optimizer: str = "sgd"
    denoiser_lr: float | None = None
    denoiser_momentum: float | None = None
    denoiser_schedule: str = "constant"
    denoiser_batch_size: int = 50
    denoiser_epochs: int = 5
    denoiser_samples: int = 2400
    SGD: ClassVar = (0.1, 0.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("samples", "validation_samples"):
            if self.objective in PAIRWISE and (getattr(self, name) - 1) % self.batch_size == 0:
                raise ValueError(f"DescriptorConfig: {name} is {getattr(self, name)}, one pair in "
                                 f"the last batch of {self.batch_size}: expected two or none")

    def resolved(self) -> "DescriptorConfig":
        here = super().resolved()
        found = rate(self.denoiser_optimizer, self.denoiser_lr, self.denoiser_momentum,
                     *DenoiserConfig.SGD)
        return replace(here, **{f"denoiser_{name}": value for name, value in found.items()})

    def trained(self) -> dict:
        """Without the denoiser's fields where the training needs none."""
        kept = super().trained()
        if self.source == "denoised" or self.network == "joint":
            return kept
        return {name: value for name, value in kept.items() if not name.startswith("denoiser_")}

    def score_key(self) -> str:
        """The denoiser of the test patches counts where the training did not need it."""
        return short_digest([super().score_key(), self.denoiser().key()
                      if "denoised" in (self.source, self.test_source) else None])

    def denoiser(self) -> DenoiserConfig:
        """The run that makes this one's denoised patches: same data, seed and machine."""
        shared = ("data", "split", "folds", "seed", "draw", "device", "precision", "threads",
                  "revision")
        own = {name.removeprefix("denoiser_"): value for name, value in asdict(self).items()
               if name.startswith("denoiser_")}
        return DenoiserConfig(**own, **{name: getattr(self, name) for name in shared}).resolved()


def varied(base: Config, **changes: object) -> Config:
    """`base` with other values. Raises ValueError for a field that does not exist."""
    valid = [field.name for field in fields(base)]
    for name in changes:
        if name not in valid:
            raise ValueError(f"{type(base).__name__} has no field {name!r}: expected one of "
                             f"{', '.join(valid)}")
    return replace(base, **changes)


def choices(owner: str, name: str) -> tuple:
    """The valid values of a field of "DenoiserConfig" or "DescriptorConfig"; (): any."""
    plain = name.removeprefix("denoiser_")
    denoisers = owner == "DenoiserConfig" or plain != name
    return (OF_DENOISERS if denoisers and plain in OF_DENOISERS else CHOICES).get(plain, ())


def _checked(owner: str, field: Field, value: object) -> object:
    """The value as a plain number where it is one; ValueError where it is not a valid one."""
    name, kind = field.name.removeprefix("denoiser_"), str(field.type)
    refused = f"{owner}: {field.name} is {value!r}, expected "
    valid = choices(owner, field.name)
    if valid and value not in valid:
        raise ValueError(f"{refused}one of {', '.join(map(str, valid))}")
    if "bool" in kind:
        if value not in (True, False):
            raise ValueError(f"{refused}True or False")
        return bool(value)
    if "str" in kind or (value is None and "None" in kind):
        return value
    least = 0 if name in ("seed", "draw", "validation_draw", "folds") else 1
    if "int" in kind:
        if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
            raise ValueError(f"{refused}a whole number of at least {least}")
        return int(value)
    if not isinstance(value, Real) or isinstance(value, bool) or not 0 <= value < math.inf:
        raise ValueError(f"{refused}a finite number of at least 0")
    return float(value)
