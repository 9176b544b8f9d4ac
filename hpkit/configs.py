"""A run as a value: everything that its result depends on, in one flat frozen record.

Two records that are equal once `resolved` give the same numbers, so a run's folder is named by a
hash of its record. Fields that only say how to score (`SCORING`) are left out of that hash: asking
another question of a trained network is no reason to train it again.
"""

import hashlib
import json
import math
from dataclasses import Field, asdict, dataclass, fields, replace
from numbers import Integral, Real
from pathlib import Path
from typing import ClassVar

from hpkit.archives import zip_listing
from hpkit.models import DEPTHS, INITIALIZERS
from hpkit.optimizers import OPTIMIZERS
from hpkit.splits import usual_split

# Changed whenever changed code changes what a training gives (tests/test_configs.py notices), so
# that results of the old code are never taken for results of the new one.
REVISION = 1
SOURCES = ("clean", "noisy", "denoised")
CHOICES = {"optimizer": tuple(OPTIMIZERS), "init": tuple(INITIALIZERS), "depth": DEPTHS,
           "source": SOURCES, "test_source": SOURCES, "reduce": ("mean", "sum")}
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
        return _hash([type(self).__name__, data_version(self.data), self.trained()])

    def score_key(self) -> str:
        """Twelve hexadecimal digits that name how it is scored."""
        return _hash({name: value for name, value in asdict(self).items() if name in SCORING})

    def trained(self) -> dict:
        """The fields that the trained network depends on."""
        return {name: value for name, value in asdict(self).items() if name not in SCORING}


@dataclass(frozen=True, kw_only=True)
class DenoiserConfig(Config):
    """One training of a U-Net, by default the coursework's baseline, short.

    Scored by its MAE (grey levels) on the noisy patches of the test sequences.
    """

    depth: int = 4
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


@dataclass(frozen=True, kw_only=True)
class DescriptorConfig(Config):
    """One training of an L2-Net and, in `denoiser_*`, of the denoiser of its patches.

    Trained on `source`, scored on `test_source` by the mAP of the three tasks.
    """

    source: str = "denoised"
    test_source: str = "denoised"
    points: int | None = 40
    samples: int = 1500  # triplets per epoch
    margin: float = 1.0
    reduce: str = "mean"
    pairs: int = 5000  # verification pairs of each kind
    queries: int = 100
    distractors: int = 300
    denoiser_depth: int = 4
    denoiser_sequences: int | None = 3
    denoiser_points: int | None = None
    denoiser_init: str = "he_normal"
    denoiser_optimizer: str = "sgd"
    denoiser_lr: float | None = None
    denoiser_momentum: float | None = None
    denoiser_batch_size: int = 50
    denoiser_epochs: int = 5
    denoiser_samples: int = 2400
    SGD: ClassVar = (0.1, 0.0)

    def resolved(self) -> "DescriptorConfig":
        here = super().resolved()
        found = rate(self.denoiser_optimizer, self.denoiser_lr, self.denoiser_momentum,
                     *DenoiserConfig.SGD)
        return replace(here, **{f"denoiser_{name}": value for name, value in found.items()})

    def trained(self) -> dict:
        """Without the denoiser's fields where clean or noisy patches are trained on."""
        kept = super().trained()
        if self.source == "denoised":
            return kept
        return {name: value for name, value in kept.items() if not name.startswith("denoiser_")}

    def score_key(self) -> str:
        """The denoiser of the test patches counts where the training did not need it."""
        return _hash([super().score_key(), self.denoiser().key()
                      if "denoised" in (self.source, self.test_source) else None])

    def denoiser(self) -> DenoiserConfig:
        """The run that makes this one's denoised patches: same data, seed and machine."""
        shared = ("data", "split", "folds", "seed", "draw", "device", "precision", "threads",
                  "revision")
        own = {name.removeprefix("denoiser_"): value for name, value in asdict(self).items()
               if name.startswith("denoiser_")}
        return DenoiserConfig(**own, **{name: getattr(self, name) for name in shared}).resolved()


def rate(optimizer: str, lr: float | None, momentum: float | None, sgd_lr: float,
         sgd_momentum: float) -> dict[str, float]:
    """lr and momentum with None filled in: the coursework's for sgd, else the default of Keras."""
    sgd = optimizer == "sgd"
    usual = sgd_lr if sgd else OPTIMIZERS[optimizer][1]
    return {"lr": usual if lr is None else lr,
            "momentum": (sgd_momentum if sgd else 0.0) if momentum is None else momentum}


def varied(base: Config, **changes: object) -> Config:
    """`base` with other values. Raises ValueError for a field that does not exist."""
    valid = [field.name for field in fields(base)]
    for name in changes:
        if name not in valid:
            raise ValueError(f"{type(base).__name__} has no field {name!r}: expected one of "
                             f"{', '.join(valid)}")
    return replace(base, **changes)


def data_version(data: str) -> str:
    """What a result says about its data: "photos-v1", "hpatches-" and a hash of what the published
    archive holds, or a hash of a folder's names and sizes (of a zip, and the splits.json beside).
    """
    if data == "photos":
        from hpkit.photos import VERSION

        return f"photos-v{VERSION}"
    if data == "hpatches" or (Path(data) / "source.json").is_file():
        from hpkit.download import archive_version

        return f"hpatches-{archive_version(None if data == 'hpatches' else Path(data))}"
    if Path(data).is_file():
        beside = Path(data).parent / "splits.json"
        return _hash([zip_listing(Path(data)), beside.read_text() if beside.is_file() else ""])
    return _hash([(str(path.relative_to(data)), path.stat().st_size)
                  for path in sorted(Path(data).rglob("*.*")) if path.suffix in (".png", ".json")])


def _checked(owner: str, field: Field, value: object) -> object:
    """The value as a plain number where it is one; ValueError where it is not a valid one."""
    name, kind = field.name.removeprefix("denoiser_"), str(field.type)
    refused = f"{owner}: {field.name} is {value!r}, expected "
    if name in CHOICES and value not in CHOICES[name]:
        raise ValueError(f"{refused}one of {', '.join(map(str, CHOICES[name]))}")
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


def _hash(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
