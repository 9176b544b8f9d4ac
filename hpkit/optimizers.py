"""The coursework's optimizers, with the learning rates that Keras gave them in 2019."""

import math

from torch import nn, optim

# name: (class, learning rate, settings)
OPTIMIZERS: dict[str, tuple[type[optim.Optimizer], float, dict[str, float]]] = {
    "sgd": (optim.SGD, 1e-2, {}),
    "rmsprop": (optim.RMSprop, 1e-3, {"alpha": 0.9, "eps": 1e-7}),
    "adam": (optim.Adam, 1e-3, {"eps": 1e-7}),
    "adamax": (optim.Adamax, 2e-3, {"eps": 1e-7}),
    "nadam": (optim.NAdam, 2e-3, {"eps": 1e-7, "momentum_decay": 0.004}),
    "adadelta": (optim.Adadelta, 1.0, {"rho": 0.95, "eps": 1e-7}),
}


def make_optimizer(name: str, model: nn.Module, lr: float | None = None,
                   momentum: float = 0.0) -> optim.Optimizer:
    """One of OPTIMIZERS over the model's weights; lr None takes the default of 2019.

    momentum is Nesterov's, and sgd's alone: the adaptive optimizers have their own kind of it.
    Raises ValueError for an unknown name or a number out of range.
    """
    if name not in OPTIMIZERS:
        raise ValueError(f"unknown optimizer {name!r}: expected one of {', '.join(OPTIMIZERS)}")
    kind, default, settings = OPTIMIZERS[name]
    lr = default if lr is None else lr
    if not 0 < lr < math.inf:
        raise ValueError(f"lr is {lr}: expected a finite number above 0")
    if momentum and name != "sgd":
        raise ValueError(f"momentum is {momentum} for {name}: expected 0, only sgd takes it")
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum is {momentum}: expected 0 to below 1")
    if momentum:
        settings = {"momentum": momentum, "nesterov": True}
    return kind(model.parameters(), lr=lr, **settings)
