"""The coursework's optimizers, at the learning rates of Keras in 2019; and AdamW."""

import math
from collections.abc import Callable

from torch import nn, optim

WARMUP = 0.05  # the share of the training in which the learning rate grows from 0

# name: (class, learning rate, settings)
OPTIMIZERS: dict[str, tuple[type[optim.Optimizer], float, dict[str, float]]] = {
    "sgd": (optim.SGD, 1e-2, {}),
    "rmsprop": (optim.RMSprop, 1e-3, {"alpha": 0.9, "eps": 1e-7}),
    "adam": (optim.Adam, 1e-3, {"eps": 1e-7}),
    "adamax": (optim.Adamax, 2e-3, {"eps": 1e-7}),
    "nadam": (optim.NAdam, 2e-3, {"eps": 1e-7, "momentum_decay": 0.004}),
    "adadelta": (optim.Adadelta, 1.0, {"rho": 0.95, "eps": 1e-7}),
    # Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019.
    "adamw": (optim.AdamW, 1e-3, {"weight_decay": 1e-4}),
}
COURSEWORK = ("sgd", "rmsprop", "adam", "adamax", "nadam", "adadelta")
# The learning rate divided by `lr`, after a share of training.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "decay": lambda done: 1 - done,  # linear, to 0
    "warmup": lambda done: min(done / WARMUP, 1),
    "warmup_decay": lambda done: min(done / WARMUP, 1 - done),
}


def make_optimizer(
    name: str, model: nn.Module, lr: float | None = None, momentum: float = 0.0
) -> optim.Optimizer:
    """One of OPTIMIZERS over the model's weights; lr None takes the default of 2019.

    momentum is Nesterov's, and for sgd only: the adaptive optimizers have their own
    kind of it. Raises ValueError for an unknown name or a number out of range.
    """
    if name not in OPTIMIZERS:
        raise ValueError(
            f"unknown optimizer {name!r}: expected one of {', '.join(OPTIMIZERS)}"
        )
    kind, default, settings = OPTIMIZERS[name]
    lr = default if lr is None else lr
    if not 0 < lr < math.inf:
        raise ValueError(f"lr is {lr}: expected a finite number above 0")
    if momentum and name != "sgd":
        raise ValueError(
            f"momentum is {momentum} for {name}: expected 0, only sgd takes it"
        )
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum is {momentum}: expected 0 to below 1")
    if momentum:
        settings = {"momentum": momentum, "nesterov": True}
    return kind(model.parameters(), lr=lr, **settings)


def rate(
    optimizer: str,
    lr: float | None,
    momentum: float | None,
    sgd_lr: float,
    sgd_momentum: float,
) -> dict[str, float]:
    """lr and momentum with None filled in: for sgd the coursework's, else Keras'."""
    sgd = optimizer == "sgd"
    usual = sgd_lr if sgd else OPTIMIZERS[optimizer][1]
    return {
        "lr": usual if lr is None else lr,
        "momentum": (sgd_momentum if sgd else 0.0) if momentum is None else momentum,
    }


def make_schedule(name: str) -> Callable[[float], float]:
    """One of SCHEDULES: a factor of the learning rate, by the share of training done.

    Raises ValueError for an unknown name.
    """
    if name not in SCHEDULES:
        raise ValueError(
            f"unknown schedule {name!r}: expected one of {', '.join(SCHEDULES)}"
        )
    return SCHEDULES[name]
