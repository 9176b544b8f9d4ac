"""Training as an iterator: `fit` yields one record per epoch, and any record can be resumed from.

`list(fit(...))` trains to the end, a progress bar wraps it, a plot redraws in its loop. The whole
set lies on the device as uint8; a batch is cast to float when it is used. One run at a time in a
process: dropout draws from torch's random state, which is put back after each epoch.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from numbers import Integral

import numpy as np
import torch
from torch import Tensor, nn

from hpkit.devices import exact, keep_memory, memory_layout, resolve_device, resolve_precision
from hpkit.optimizers import OPTIMIZERS, make_optimizer, make_schedule
from hpkit.samplers import Pairs, Positives, Triplets

__all__ = ["OPTIMIZERS", "Epoch", "Pairs", "Positives", "TrainingDiverged", "Triplets", "fit",
           "resolve_device", "resolve_precision"]

Sampler = Pairs | Triplets | Positives
CHECK_EVERY = 100  # batches between two looks at the loss: each look makes a GPU wait


@dataclass(frozen=True)
class Epoch:
    """One finished epoch. Losses are means over its samples, `loss` while the weights changed.

    seconds: training only. state: all that the next epoch depends on, for `fit(state=...)`:
    {"epoch": 3, "model": tensors on the CPU, "optimizer": {"name": "adam", "state": ...}}.
    """

    epoch: int  # from 1
    loss: float
    val_loss: float | None
    lr: float
    seconds: float
    samples: int
    state: dict = field(repr=False, compare=False)

    @property
    def samples_per_second(self) -> float:
        return self.samples / self.seconds


class TrainingDiverged(ArithmeticError):
    """A loss or weight became infinite or NaN; the model is as after the last finished epoch."""

    def __init__(self, epoch: int, lr: float) -> None:
        super().__init__(epoch, lr)  # the arguments, so that it travels between processes
        self.epoch, self.lr = epoch, lr
        self.hint = f"try a learning rate ten times smaller, {lr / 10:g}"

    def __str__(self) -> str:
        return f"epoch {self.epoch} at lr {self.lr:g}: the loss is not finite; {self.hint}"


def fit(model: nn.Module, train: Sampler, validation: Sampler | None = None, *,
        epochs: int, loss: Callable[..., Tensor] | None = None, optimizer: str = "sgd",
        lr: float | None = None, momentum: float = 0.0, batch_size: int = 50, seed: int = 0,
        schedule: str = "constant", device: str = "auto", precision: str = "auto",
        state: dict | None = None, stopped: Callable[[], bool] | None = None) -> Iterator[Epoch]:
    """Train `model` in place; it stays on the device, in eval mode, as after the last record.

    loss: takes what the sampler gives (None: its `natural_loss`). epochs: in total, those before
    `state` included. lr: None takes the 2019 default of Keras. momentum: of sgd alone, and
    Nesterov's. schedule: of lr over all epochs, one of SCHEDULES. stopped: asked before each batch;
    an epoch it ends is discarded. An epoch depends on nothing but the state before it, `seed`, its
    number and their total (the validation draw is always the same), so on one machine a resumed run
    is bit-identical.
    Raises ValueError at once for a bad argument, TrainingDiverged in the middle.
    """
    first = state["epoch"] if state else 0
    _check_samplers(train=train, validation=validation)
    _check_whole(1, epochs=epochs, batch_size=batch_size)
    _check_whole(0, seed=seed)
    if first > epochs:
        raise ValueError(f"epochs is {epochs}: expected at least {first}, the epoch of the state")
    where = resolve_device(device)
    run = _Run(model, make_optimizer(optimizer, model, lr, momentum), optimizer, train, validation,
               loss or train.natural_loss, epochs, make_schedule(schedule), batch_size, seed, where,
               resolve_precision(precision, where), stopped or (lambda: False))
    if state is not None:
        run.restore(state)
    return _epochs(run, run.snapshot(first), epochs)


def _epochs(run: "_Run", good: dict, epochs: int) -> Iterator[Epoch]:
    while good["epoch"] < epochs:
        finished = None
        try:
            finished = run.epoch(good["epoch"] + 1)
        finally:  # stopped, diverged or interrupted: back to the last finished epoch
            if finished is None:
                run.restore(good)
        if finished is None:
            return
        good = finished.state
        yield finished


@dataclass
class _Run:
    """What does not change from epoch to epoch, and the two things that do: model, optimizer."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    name: str
    train: Sampler
    validation: Sampler | None
    loss: Callable[..., Tensor]
    epochs: int
    schedule: Callable[[float], float]
    batch_size: int
    seed: int
    device: torch.device
    precision: str
    stopped: Callable[[], bool]

    def __post_init__(self) -> None:
        keep_memory()
        self.model.to(self.device, memory_format=memory_layout(self.device))
        self.lr = self.optimizer.param_groups[0]["lr"]
        self.data = self.train.on(self.device)
        if self.validation is not None:
            self.val_data = self.validation.on(self.device)
            draw = self.validation.draw(_generator(0, 0))  # the same for every epoch and seed
            self.val_batches = draw.to(self.device).split(self.batch_size)

    def epoch(self, number: int) -> Epoch | None:
        started, lr = time.perf_counter(), self._rate(number - 1)
        loss = self._train(number)
        seconds = time.perf_counter() - started
        if loss is None:
            return None
        val_loss, state = self._validate(), self.snapshot(number)
        weights = [w for w in state["model"].values() if w.is_floating_point()]
        numbers = [loss, val_loss or 0.0, *(w.abs().max().item() for w in weights)]
        if not all(map(math.isfinite, numbers)):
            raise TrainingDiverged(number, self.lr)
        return Epoch(number, loss, val_loss, lr, seconds, len(self.train), state)

    def _rate(self, epochs_done: float) -> float:
        """Set the learning rate as the schedule says, and give it."""
        lr = self.lr * self.schedule(epochs_done / self.epochs)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        return lr

    def _train(self, number: int) -> float | None:
        """The mean loss of an epoch, None where it was stopped."""
        draw = self.train.draw(_generator(self.seed, number)).to(self.device)
        self.model.train()
        losses, batches = [], draw.split(self.batch_size)
        with exact(), _random_state(_derived(self.seed, number, 1), self.device):
            for i, batch in enumerate(batches, 1):
                if self.stopped():
                    return None
                self._rate(number - 1 + (i - 0.5) / len(batches))
                self.optimizer.zero_grad()
                loss = self._loss(self.train, self.data, batch)
                loss.backward()
                self.optimizer.step()
                losses.append(loss.detach())
                if len(losses) % CHECK_EVERY == 0 and not loss.isfinite():
                    raise TrainingDiverged(number, self.lr)
        return _mean(losses, batches)

    @torch.no_grad()
    def _validate(self) -> float | None:
        self.model.eval()
        if self.validation is None:
            return None
        with exact(), _random_state(0, self.device):  # a sampler may add noise: the same each time
            losses = [self._loss(self.validation, self.val_data, b) for b in self.val_batches]
        return _mean(losses, self.val_batches)

    def _loss(self, sampler: Sampler, data: tuple[Tensor, ...], batch: Tensor) -> Tensor:
        return self.loss(*sampler.outputs(self._forward, data, batch))

    def _forward(self, patches: Tensor) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, self.precision == "bfloat16"):
            output = self.model(patches)
        return output.float()  # the loss is taken in float32

    def snapshot(self, epoch: int) -> dict:
        state = {i: _copy(s) for i, s in self.optimizer.state_dict()["state"].items()}
        return {"epoch": epoch, "model": _copy(self.model.state_dict()),
                "optimizer": {"name": self.name, "state": state}}

    def restore(self, state: dict) -> None:
        if state["optimizer"]["name"] != self.name:
            raise ValueError(f"state is of optimizer {state['optimizer']['name']!r}: "
                             f"expected {self.name!r}")
        self.model.load_state_dict(state["model"])
        kept = {i: _copy(s) for i, s in state["optimizer"]["state"].items()}
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": kept})
        self.model.eval()


def _derived(*numbers: int) -> int:
    """A seed for torch from, say, a run's seed and an epoch: near numbers, unrelated seeds."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def _generator(*numbers: int) -> torch.Generator:
    return torch.Generator().manual_seed(_derived(*numbers))


@contextmanager
def _random_state(seed: int, device: torch.device) -> Iterator[None]:
    """Dropout inside starts from `seed`; the global random state is put back at the end."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _mean(losses: list[Tensor], batches: Iterable[Tensor]) -> float:
    """The mean over samples: the last batch may be smaller than the others."""
    sizes = torch.tensor([len(batch) for batch in batches])
    return float((torch.stack(losses).cpu().double() * sizes).sum() / sizes.sum())


def _copy(values: dict) -> dict:
    return {key: value.detach().to("cpu", copy=True) if isinstance(value, Tensor) else value
            for key, value in values.items()}


def _check_whole(least: int, **numbers: int) -> None:
    for name, value in numbers.items():
        if not isinstance(value, Integral) or value < least:
            raise ValueError(f"{name} is {value!r}: expected a whole number of at least {least}")


def _check_samplers(**samplers: object) -> None:
    for name, sampler in samplers.items():
        if not hasattr(sampler, "draw") and (name, sampler) != ("validation", None):
            raise ValueError(f"{name} is a {type(sampler).__name__}: expected Pairs, Triplets or "
                             "Positives")
