"""A run as a value: everything that its result depends on, in one flat frozen record.

Two records that are equal once `resolved` give the same numbers, so a run's folder is
named by a hash of its record. Three kinds of fields are not in that hash. The first
only say how to score (`SCORING`): asking another question of a trained network is no
reason to train it again. The second are the circumstances (`CIRCUMSTANCES`), which are
told with the result. The third are all fields that are at their default, so that a new
field with the old behaviour as its default leaves all names as they are. A default,
therefore, never changes.
"""

import math
from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, fields, replace
from numbers import Integral, Real
from typing import ClassVar

import torch

from hpkit.data.sets import data_name, data_set
from hpkit.devices import PRECISIONS, resolve_device, resolve_precision
from hpkit.files import short_digest
from hpkit.networks.layers import INITIALIZERS
from hpkit.networks.registry import DENOISERS, DESCRIPTORS
from hpkit.networks.unet import DEPTHS
from hpkit.training.augment import AUGMENTATIONS, NOISE_MODELS
from hpkit.training.losses import DENOISER_LOSSES, DESCRIPTOR_LOSSES, REDUCTIONS
from hpkit.training.optimizers import OPTIMIZERS, SCHEDULES, rate

# Changed whenever changed code changes what training gives (a test notices), so that
# results of the old code are never taken for results of the new one.
REVISION = 1
SOURCES = ("clean", "noisy", "denoised")
# The registries themselves: what a notebook adds to one may be chosen at once.
CHOICES = {
    "optimizer": OPTIMIZERS,
    "init": INITIALIZERS,
    "depth": DEPTHS,
    "schedule": SCHEDULES,
    "source": (*SOURCES, "mixed"),
    "test_source": SOURCES,
    "reduce": REDUCTIONS,
    "augment": AUGMENTATIONS,
    "noise": NOISE_MODELS,
    "precision": PRECISIONS,
}
OF_DENOISERS = {"network": DENOISERS, "objective": DENOISER_LOSSES}
OF_DESCRIPTORS = {"network": DESCRIPTORS, "objective": DESCRIPTOR_LOSSES}
SCORING = ("test_source", "test_points", "pairs", "queries", "distractors")
CIRCUMSTANCES = ("device", "threads")
FROM_ZERO = ("seed", "draw", "validation_draw", "folds")  # the others count from 1
SHARES = ("noisy_share", "norm_momentum", "dropout", "averaged")  # numbers from 0 to 1


@dataclass(frozen=True, kw_only=True)
class Config:
    """What both kinds of run have; None asks for the usual value (see `resolved`).

    Chance is split in three, so that each can vary alone: `seed` draws weights and
    batches, `draw` the training side (the left-out fold, a denoiser's sequences),
    `validation_draw` the validation sequences. Raises ValueError for a value that is
    not among the valid ones.
    """

    data: str = "photos"  # or another data set, or a folder in the HPatches layout
    split: str | None = None  # a name in its splits.json
    folds: int = 5  # parts of the training photos; number `draw` is left out; 0: none
    points: int | None = None  # per training sequence; None: all
    init: str = "he_normal"
    optimizer: str = "sgd"
    lr: float | None = None  # None: the coursework's
    momentum: float | None = None  # Nesterov's, of sgd alone; None: the coursework's
    schedule: str = "constant"  # of lr
    batch_size: int = 50
    epochs: int = 5
    averaged: float = 0.0  # share of the last steps whose mean weights are scored too
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
        object.__setattr__(self, "data", data_name(self.data))
        for field in fields(self):
            value = _checked(type(self), field, getattr(self, field.name))
            object.__setattr__(self, field.name, value)

    def resolved(self) -> "Config":
        """The same with each None and "auto" replaced by what it means here and now."""
        device = resolve_device(self.device)
        here = {
            "split": self.split or data_set(self.data).split,
            "device": str(device),
            "precision": resolve_precision(self.precision, device),
            "threads": self.threads or torch.get_num_threads(),
            "draw": self.seed if self.draw is None else self.draw,
            **rate(self.optimizer, self.lr, self.momentum, *self.SGD),
        }
        return replace(self, **here)

    def key(self) -> str:
        """Twelve hexadecimal digits that name the training, its data included."""
        version = data_set(self.data).version()
        return short_digest([type(self).__name__, version, self.trained()])

    def score_key(self) -> str:
        """Twelve hexadecimal digits that name how it is scored."""
        return short_digest(self._changed(SCORING))

    def trained(self) -> dict[str, object]:
        """What names the training: the fields that matter, unless at their default.

        The data's name is left out, since its version counts. The revision is included.
        """
        apart = {*SCORING, *CIRCUMSTANCES, *self.idle(), "data"}
        names = [field.name for field in fields(self) if field.name not in apart]
        return self._changed(names) | {"revision": self.revision}

    def _changed(self, names: tuple[str, ...] | list[str]) -> dict[str, object]:
        """Those of these fields that are not at their default."""
        default = {field.name: field.default for field in fields(self)}
        return {
            name: getattr(self, name)
            for name in names
            if name in default and getattr(self, name) != default[name]
        }

    def idle(self) -> set[str]:
        """The fields that play no part, given the values of the others."""
        return set()

    def drawn(self, side: str) -> tuple[int | None, int]:
        """How many sequences of a side are drawn (None: all), and the seed of that."""
        return None, 0

    def row(self) -> dict[str, object]:
        """The fields as the columns of a results table."""
        return asdict(self)

    @classmethod
    def from_row(cls, row: Mapping[str, object]) -> "Config":
        """The configuration of a row, as a CSV file gives it back.

        Other columns are ignored. A field that the row does not have is at its default,
        as it was when the row was written.
        """
        kinds = {
            field.name: str(field.type) for field in fields(cls) if field.name in row
        }
        return cls(**{name: _from_csv(row[name], kind) for name, kind in kinds.items()})


@dataclass(frozen=True, kw_only=True)
class DenoiserConfig(Config):
    """One run of a U-Net, by default the coursework's baseline, short.

    Scored by its MAE (grey levels) on the noisy patches of the test sequences.
    """

    network: str = "unet"
    depth: int = 4  # of a U-Net
    residual: bool = False  # the network predicts the noise
    objective: str = "mae"  # the loss ("loss" is its value)
    sequences: int | None = 3  # drawn from the training side; None: all of it
    samples: int = 2400  # patches per epoch
    validation_sequences: int | None = None  # None: all; the coursework drew one
    validation_draw: int | None = None  # None: seed
    SGD: ClassVar = (1e-5, 0.9)

    def resolved(self) -> "DenoiserConfig":
        chosen = self.seed if self.validation_draw is None else self.validation_draw
        drawn = chosen if self.validation_sequences else 0  # where nothing is drawn
        return replace(super().resolved(), validation_draw=drawn)

    def idle(self) -> set[str]:
        nothing_left_out = not self.folds and self.sequences is None
        nothing_chosen = self.validation_sequences is None
        idle = {"draw"} if nothing_left_out else set()
        return idle | ({"validation_draw"} if nothing_chosen else set())

    def drawn(self, side: str) -> tuple[int | None, int]:
        return {
            "train": (self.sequences, self.draw),
            "validation": (self.validation_sequences, self.validation_draw),
        }.get(side, (None, 0))


@dataclass(frozen=True, kw_only=True)
class DescriptorConfig(Config):
    """One run of an L2-Net and, in `denoiser_*`, of the denoiser of its patches.

    Trained on `source`, scored on `test_source` by the mAP of the three tasks.
    """

    network: str = "l2net"
    source: str = "denoised"  # "mixed": clean, with new noise by chance `noisy_share`
    test_source: str = "denoised"
    noisy_share: float = 0.75
    noise: str = "gaussian"  # that is drawn anew
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
    batch_photos: int | None = None  # photos that a batch is from; None: all
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
            samples = getattr(self, name)
            if self.pairwise and (samples - 1) % self.batch_size == 0:
                raise ValueError(
                    f"DescriptorConfig: {name} is {samples}, one pair in the last "
                    f"batch of {self.batch_size}: expected two or none"
                )

    @property
    def pairwise(self) -> bool:
        """Whether its loss finds the negatives among the other pairs of a batch."""
        return DESCRIPTOR_LOSSES[self.objective].pairwise

    @property
    def trains_on_denoiser(self) -> bool:
        """Whether its training needs a trained denoiser."""
        return self.source == "denoised" or DESCRIPTORS[self.network].joint

    def resolved(self) -> "DescriptorConfig":
        found = rate(
            self.denoiser_optimizer,
            self.denoiser_lr,
            self.denoiser_momentum,
            *DenoiserConfig.SGD,
        )
        of_denoiser = {f"denoiser_{name}": value for name, value in found.items()}
        return replace(super().resolved(), **of_denoiser)

    def idle(self) -> set[str]:
        idle = set()
        if self.source != "mixed":
            idle |= {"noisy_share", "noise"}
        if not self.pairwise:
            idle |= {"batch_photos"}
        if not self.trains_on_denoiser:
            idle |= {f.name for f in fields(self) if f.name.startswith("denoiser_")}
        draws_sequences = (
            self.trains_on_denoiser and self.denoiser_sequences is not None
        )
        if not self.folds and not draws_sequences:
            idle |= {"draw"}
        return idle

    def score_key(self) -> str:
        """Twelve digits that name how it is scored, by which denoiser included.

        The denoiser of the test patches counts also where the network is not trained on
        its patches.
        """
        denoised = "denoised" in (self.source, self.test_source)
        denoiser = self.denoiser().key() if denoised else None
        return short_digest([super().score_key(), denoiser])

    def denoiser(self) -> DenoiserConfig:
        """The run that makes its denoised patches: same data, seed and machine."""
        shared = ("data", "split", "folds", "seed", "draw")
        shared += ("device", "precision", "threads", "revision")
        own = {
            name.removeprefix("denoiser_"): value
            for name, value in asdict(self).items()
            if name.startswith("denoiser_")
        }
        same = {name: getattr(self, name) for name in shared}
        return DenoiserConfig(**own, **same).resolved()


def varied(base: Config, **changes: object) -> Config:
    """`base` with other values. Raises ValueError for a field that does not exist."""
    valid = [field.name for field in fields(base)]
    for name in changes:
        if name not in valid:
            raise ValueError(
                f"{type(base).__name__} has no field {name!r}: expected one of "
                f"{', '.join(valid)}"
            )
    return replace(base, **changes)


def choices(kind: type[Config], name: str) -> tuple:
    """The valid values of a field; () where there is no list of them."""
    plain = name.removeprefix("denoiser_")
    of_denoiser = issubclass(kind, DenoiserConfig) or plain != name
    own = OF_DENOISERS if of_denoiser else OF_DESCRIPTORS
    return tuple(own.get(plain) or CHOICES.get(plain, ()))


def _checked(kind: type[Config], field: Field, value: object) -> object:
    """The value of a field, a number as a plain one: 1 and 1.0 are one run.

    Raises ValueError if it is invalid.
    """
    name, expected = field.name.removeprefix("denoiser_"), str(field.type)
    refused = f"{kind.__name__}: {field.name} is {value!r}, expected "
    valid = choices(kind, field.name)
    if valid and value not in valid:
        raise ValueError(f"{refused}one of {', '.join(map(str, valid))}")
    if value is None and "None" in expected:
        return None
    if "bool" in expected:
        if value not in (True, False):
            raise ValueError(f"{refused}True or False")
        return bool(value)
    if "str" in expected:
        if not isinstance(value, str):
            raise ValueError(f"{refused}a text")
        return value
    if "int" in expected:
        least = 0 if name in FROM_ZERO else 1
        whole = isinstance(value, Integral) and not isinstance(value, bool)
        if not whole or value < least:
            raise ValueError(f"{refused}a whole number of at least {least}")
        return int(value)
    return _checked_real(refused, name, value)


def _checked_real(refused: str, name: str, value: object) -> float:
    most = 1 if name in SHARES else math.inf
    real = isinstance(value, Real) and not isinstance(value, bool)
    if not real or not 0 <= value <= most or math.isinf(value):
        number = (
            "a number from 0 to 1" if most == 1 else "a finite number of at least 0"
        )
        raise ValueError(f"{refused}{number}")
    return float(value)


def _from_csv(value: object, kind: str) -> object:
    """A cell as the value that was written.

    A table turns None into NaN, and whole numbers into floats.
    """
    if value is None or value != value:  # NaN
        return None
    if "bool" in kind:
        return str(value) == "True"
    if "int" in kind:
        return int(value)
    return float(value) if "float" in kind else str(value)
