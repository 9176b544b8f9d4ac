"""A network that has collapsed answers the same to every patch: how that is seen."""

import warnings

from torch import Tensor

ALIKE = 1e-3  # of their size: outputs that differ by less are all the same


def warn_if_alike(output: object, epoch: int, lr: float) -> bool:
    """Whether a batch of outputs (n, ...) are all alike, with a warning if so.

    Only tensors are looked at: a sampler of one's own may give anything.
    """
    if not isinstance(output, Tensor) or not alike(output):
        return False
    warnings.warn(
        f"epoch {epoch} at lr {lr:g}: the network gives nearly the same output for "
        "all patches, so it has collapsed; try a smaller learning rate, or other "
        "negatives, and look at the loss: it may sit at the margin",
        stacklevel=2,
    )
    return True


def alike(outputs: Tensor) -> bool:
    """Whether the outputs (n, ...) differ by under a thousandth of their size."""
    if len(outputs) < 2:
        return False
    rows = outputs.detach().float().flatten(1)
    spread = (rows - rows.mean(0)).norm(dim=1).mean()
    return bool(spread <= ALIKE * rows.norm(dim=1).mean())
