"""The mean of a network's weights over its last steps: what the last step's luck hides.

At a constant learning rate the weights keep wobbling around where they are going. Their
mean over the last part of a run lies nearer to it than the last of them does
(Polyak and Juditsky 1992; Izmailov et al. 2018, "SWA", sections 3.1 and 3.2).
"""

from collections.abc import Callable

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

BATCH_NORM = nn.modules.batchnorm._BatchNorm


class Average:
    """The mean network of the last `share` of `steps`, beside the one that is trained.

    `network` is that mean; it is the first weights until the averaging begins.
    """

    def __init__(self, model: nn.Module, share: float, steps: int) -> None:
        self.mean = AveragedModel(model)
        self.begins = steps - max(1, round(share * steps))  # steps before it

    @property
    def network(self) -> nn.Module:
        return self.mean.module

    def note(self, model: nn.Module, step: int) -> None:
        """Take the weights after a step (from 1) into the mean, if it is a late one."""
        if step > self.begins:
            self.mean.update_parameters(model)

    def restore(self, weights: dict, steps: int) -> None:
        """Go on from a mean of so many steps."""
        self.network.load_state_dict(weights)
        self.mean.n_averaged.fill_(steps)


@torch.no_grad()
def recalibrate(model: nn.Module, pass_over: Callable[[nn.Module], object]) -> None:
    """Measure batch norm's statistics anew for these weights; the rest stays.

    Mean weights have statistics of their own, which none of the steps has seen.
    pass_over(model) puts training patches through the network, batch by batch; a layer
    then holds the mean of their statistics.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, BATCH_NORM)]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # every batch counts alike
    model.train()
    pass_over(model)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    model.eval()
