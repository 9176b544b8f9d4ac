"""Training as an iterator: `fit` yields a record per epoch.

Training can be resumed from any of them. `list(fit(...))` trains to the end, a progress
bar wraps it, and a plot redraws in its loop. The whole set lies on the device as uint8;
a batch is cast to float when it is used. Dropout draws from torch's random state, which
a process has only once. So several threads that train take turns, epoch by epoch, and
the random state is put back after each.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial, wraps
from numbers import Integral

import numpy as np
import torch
from torch import Tensor, nn

from hpkit.devices import (
    exact,
    keep_memory,
    memory_layout,
    resolve_device,
    resolve_precision,
)
from hpkit.training.averaging import Average, recalibrate
from hpkit.training.collapse import warn_if_alike
from hpkit.training.optimizers import make_optimizer, make_schedule
from hpkit.training.samplers import Sampler
from hpkit.waiting import NETWORKS

CHECK_EVERY = 100  # batches between two looks at the loss: each look makes a GPU wait


@dataclass(frozen=True)
class Epoch:
    """One finished epoch; losses are means over its samples.

    loss: taken while the weights changed. seconds: of training only. state: all that
    the next epoch depends on, for `fit(state=...)`: {"epoch": 3, "model": tensors on
    the CPU, "optimizer": {"name": "adam", "state": ...}}, and with `averaged` the mean
    weights as "averaged", those of "steps_averaged" steps.
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

    def row(self) -> dict[str, float | None]:
        """All but the state, for a table with a row per epoch."""
        names = ("epoch", "loss", "val_loss", "lr", "seconds", "samples")
        return {name: getattr(self, name) for name in names}


class TrainingDiverged(ArithmeticError):
    """A loss or weight became infinite or NaN; the last finished epoch is kept."""

    def __init__(self, epoch: int, lr: float) -> None:
        # The arguments, so that it travels between processes.
        super().__init__(epoch, lr)
        self.epoch, self.lr = epoch, lr
        self.hint = f"try a learning rate ten times smaller, {lr / 10:g}"

    def __str__(self) -> str:
        return (
            f"epoch {self.epoch} at lr {self.lr:g}: the loss is not finite; {self.hint}"
        )


def begins_at_once(generator: Callable[..., Iterator]) -> Callable[..., Iterator]:
    """Run a generator to its first `yield` when it is called.

    Bad arguments then fail at the call.
    """

    @wraps(generator)
    def begin(*args: object, **options: object) -> Iterator:
        begun = generator(*args, **options)
        next(begun)
        return begun

    return begin


# fmt: off
@begins_at_once
def fit(model: nn.Module, train: Sampler, validation: Sampler | None = None, *,
        epochs: int, loss: Callable[..., Tensor] | None = None, optimizer: str = "sgd",
        lr: float | None = None, momentum: float = 0.0, schedule: str = "constant",
        batch_size: int = 50, seed: int = 0, device: str = "auto",
        precision: str = "auto", averaged: float = 0.0, state: dict | None = None,
        stopped: Callable[[], bool] = lambda: False) -> Iterator[Epoch]:
    """Train `model` in place; it stays on the device, in eval mode, as last recorded.

    loss: takes what the sampler gives (None: its `natural_loss`). epochs: in total,
    those before `state` included. lr: None takes the 2019 default of Keras. momentum:
    Nesterov's, of sgd alone. schedule: of lr, one of SCHEDULES. averaged: a share of
    the last steps; the mean of their weights is in the state, beside the last ones.
    stopped: asked before each batch; an epoch that it ends is discarded. An epoch
    depends on nothing but the state before it, `seed`, its number and their total: a
    resumed run is bit-identical. Raises ValueError at once for a bad argument,
    TrainingDiverged in the middle.
    """
    run = _Run(model, train, validation, loss, batch_size, epochs, seed,
               device, precision)
    run.set_up(make_optimizer(optimizer, model, lr, momentum), optimizer, schedule)
    run.average(averaged)
    run.begin(state)
    yield None                                   # ready; what follows is asked for
    while run.done < epochs:
        with run.epoch(stopped) as batches:      # whatever ends it early undoes it
            for batch in batches:
                run.optimizer.zero_grad()
                batch_loss = run.loss_of(batch)
                batch_loss.backward()
                run.optimizer.step()
                run.note(batch_loss)
        if run.was_stopped:
            return
        yield run.finished
# fmt: on


class Stopped(Exception):
    """The reader asked for the run to end, before one of its batches."""


class _Run:
    """The state of a run, and all about it that is not the idea of `fit`."""

    def __init__(
        self,
        model: nn.Module,
        train: Sampler,
        validation: Sampler | None,
        loss: Callable[..., Tensor] | None,
        batch_size: int,
        epochs: int,
        seed: int,
        device: str,
        precision: str,
    ) -> None:
        _check_samplers(train=train, validation=validation)
        _check_whole(1, epochs=epochs, batch_size=batch_size)
        _check_whole(0, seed=seed)
        self.model, self.train, self.validation = model, train, validation
        self.loss = loss or train.natural_loss
        self.batch_size, self.epochs, self.seed = batch_size, epochs, seed
        self.device = resolve_device(device)
        self.precision = resolve_precision(precision, self.device)
        self.was_stopped = self.collapsed = False

    def set_up(
        self, optimizer: torch.optim.Optimizer, name: str, schedule: str
    ) -> None:
        """Take the optimizer, and put network and patches on the device."""
        self.optimizer, self.name = optimizer, name
        self.lr, self.schedule = (
            optimizer.param_groups[0]["lr"],
            make_schedule(schedule),
        )
        keep_memory()
        self.model.to(self.device, memory_format=memory_layout(self.device))
        self.data = self.train.on(self.device)
        self.draw(1)  # a sampler refuses here what it cannot draw
        if self.validation is not None:
            self.val_data = self.validation.on(self.device)
            # The same for every epoch and seed.
            draw = self.validation.draw(_generator(0, 0), self.batch_size)
            self.val_batches = draw.to(self.device).split(self.batch_size)

    def average(self, share: float) -> None:
        """Keep the mean of the weights over this share of the last steps, if any."""
        if not 0 <= share <= 1:
            raise ValueError(f"averaged is {share!r}: expected a share from 0 to 1")
        self.batches_each = math.ceil(len(self.train) / self.batch_size)
        steps = self.epochs * self.batches_each
        self.mean = Average(self.model, share, steps) if share else None

    def begin(self, state: dict | None) -> None:
        """Start where the state was, or at the beginning."""
        if state is not None and state["epoch"] > self.epochs:
            raise ValueError(
                f"epochs is {self.epochs}: expected at least {state['epoch']}, the "
                "epoch of the state"
            )
        if state is not None and self.mean and "averaged" not in state:
            raise ValueError("state is of a run without averaged weights: start anew")
        if state is not None:
            self.restore(state)
        self.good = self.snapshot(state["epoch"] if state else 0)

    @property
    def done(self) -> int:
        """Finished epochs."""
        return self.good["epoch"]

    def draw(self, number: int) -> tuple[Tensor, ...]:
        """The batches of an epoch, patch numbers on the device."""
        numbers = self.train.draw(_generator(self.seed, number), self.batch_size)
        return numbers.to(self.device).split(self.batch_size)

    @contextmanager
    def epoch(self, stopped: Callable[[], bool]) -> Iterator[Iterator[Tensor]]:
        """Give the batches of the next epoch; at its end `finished` is its record.

        If it is stopped, diverges or is interrupted, all is as after the last finished
        epoch.
        """
        number, self.finished = self.done + 1, None
        batches = self._batches(number, stopped)
        with NETWORKS:  # no other thread draws random numbers, or describes, meanwhile
            try:
                yield batches
                self._finish(number)
            except Stopped:
                self.was_stopped = True
            finally:
                batches.close()  # puts the random state back, also where a batch failed
                if self.finished is None:
                    self.restore(self.good)

    def _batches(self, number: int, stopped: Callable[[], bool]) -> Iterator[Tensor]:
        """The batches, each at its learning rate.

        Dropout has a random state of its own.
        """
        started, self.first_lr = time.perf_counter(), self._set_rate(number - 1)
        batches, self.losses = self.draw(number), []
        self.model.train()
        with exact(), _random_state(_derived(self.seed, number, 1), self.device):
            for i, batch in enumerate(batches, 1):
                if stopped():
                    raise Stopped
                self._set_rate(number - 1 + (i - 0.5) / len(batches))
                yield batch
        self.mean_loss = _mean(self.losses, batches)
        self.seconds = time.perf_counter() - started

    def _set_rate(self, epochs_done: float) -> float:
        """Set the learning rate as the schedule says, and return it."""
        lr = self.lr * self.schedule(epochs_done / self.epochs)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        return lr

    def loss_of(self, batch: Tensor) -> Tensor:
        """The loss of a batch of training."""
        return self._loss(self.train, self.data, batch)

    def note(self, loss: Tensor) -> None:
        """Keep a batch's loss for the epoch's mean, and look at it now and then."""
        self.losses.append(loss.detach())
        if self.mean:
            step = self.done * self.batches_each + len(self.losses)
            self.mean.note(self.model, step)
        if len(self.losses) % CHECK_EVERY == 0 and not loss.isfinite():
            raise TrainingDiverged(self.done + 1, self.lr)

    def _finish(self, number: int) -> None:
        """Validate, and make the record of an epoch that is finite throughout."""
        if self.mean and number == self.epochs:
            with exact(), _random_state(_derived(self.seed, number, 2), self.device):
                recalibrate(self.mean.network, self._pass_over)
        val_loss, state = self._validate(), self.snapshot(number)
        weights = [w for w in state["model"].values() if w.is_floating_point()]
        numbers = [self.mean_loss, val_loss or 0.0]
        numbers += [w.abs().max().item() for w in weights]
        if not all(map(math.isfinite, numbers)):
            raise TrainingDiverged(number, self.lr)
        self.good = state
        self.finished = Epoch(
            epoch=number,
            loss=self.mean_loss,
            val_loss=val_loss,
            lr=self.first_lr,
            seconds=self.seconds,
            samples=len(self.train),
            state=state,
        )

    @torch.no_grad()
    def _validate(self) -> float | None:
        self.model.eval()
        if self.validation is None:
            return None
        # A sampler may add noise: the same each time.
        with exact(), _random_state(0, self.device):
            losses = [
                self._loss(self.validation, self.val_data, batch)
                for batch in self.val_batches
            ]
            if not self.collapsed:
                forward = partial(self._forward, self.model)
                first = forward, self.val_data, self.val_batches[0]
                output, *_ = self.validation.outputs(*first)
                self.collapsed = warn_if_alike(output, self.done + 1, self.lr)
        return _mean(losses, self.val_batches)

    def _pass_over(self, model: nn.Module) -> None:
        """Put the patches of the last epoch through another network."""
        for batch in self.draw(self.epochs):
            self.train.outputs(partial(self._forward, model), self.data, batch)

    def _loss(
        self, sampler: Sampler, data: tuple[Tensor, ...], batch: Tensor
    ) -> Tensor:
        forward = partial(self._forward, self.model)
        return self.loss(*sampler.outputs(forward, data, batch))

    def _forward(self, model: nn.Module, patches: Tensor) -> Tensor:
        bfloat16 = self.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, bfloat16):
            output = model(patches)
        return output.float()  # the loss is taken in float32

    def snapshot(self, epoch: int) -> dict:
        """All that the next epoch depends on, on the CPU."""
        state = self.optimizer.state_dict()["state"]
        snapshot = {
            "epoch": epoch,
            "model": _copy(self.model.state_dict()),
            "optimizer": {
                "name": self.name,
                "state": {number: _copy(values) for number, values in state.items()},
            },
        }
        if self.mean:
            snapshot["averaged"] = _copy(self.mean.network.state_dict())
            snapshot["steps_averaged"] = int(self.mean.mean.n_averaged)
        return snapshot

    def restore(self, state: dict) -> None:
        """Back to a snapshot, in eval mode."""
        if state["optimizer"]["name"] != self.name:
            raise ValueError(
                f"state is of optimizer {state['optimizer']['name']!r}: "
                f"expected {self.name!r}"
            )
        self.model.load_state_dict(state["model"])
        kept = {i: _copy(s) for i, s in state["optimizer"]["state"].items()}
        whole = {**self.optimizer.state_dict(), "state": kept}
        self.optimizer.load_state_dict(whole)
        if self.mean:
            self.mean.restore(state["averaged"], state["steps_averaged"])
        self.model.eval()


def _derived(*numbers: int) -> int:
    """A seed for torch from several numbers, say a run's seed and an epoch.

    Numbers that are near each other give unrelated seeds.
    """
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def _generator(*numbers: int) -> torch.Generator:
    return torch.Generator().manual_seed(_derived(*numbers))


@contextmanager
def _random_state(seed: int, device: torch.device) -> Iterator[None]:
    """Dropout inside starts from `seed`; at the end torch's own state is put back."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _mean(losses: list[Tensor], batches: Iterable[Tensor]) -> float:
    """The mean over samples: the last batch may be smaller than the others."""
    sizes = torch.tensor([len(batch) for batch in batches])
    return float((torch.stack(losses).cpu().double() * sizes).sum() / sizes.sum())


def _copy(values: dict) -> dict:
    return {
        key: value.detach().to("cpu", copy=True) if isinstance(value, Tensor) else value
        for key, value in values.items()
    }


def _check_whole(least: int, **numbers: int) -> None:
    for name, value in numbers.items():
        if not isinstance(value, Integral) or value < least:
            raise ValueError(
                f"{name} is {value!r}: expected a whole number of at least {least}"
            )


def _check_samplers(**samplers: object) -> None:
    for name, sampler in samplers.items():
        if not isinstance(sampler, Sampler) and (name, sampler) != ("validation", None):
            raise ValueError(
                f"{name} is a {type(sampler).__name__}: expected Pairs, Triplets, "
                "Positives, or an own sampler with `on`, `draw` and `outputs`"
            )
