"""Convolutions padded as Keras pads them, and five ways to draw their first weights."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def conv(
    before: int, after: int, kernel: int = 3, stride: int = 1, same: bool = True
) -> nn.Module:
    """A convolution, padded as Keras pads inputs of even size.

    before, after: numbers of channels. "same" adds kernel - stride rows and columns. Of
    an odd number the larger half goes to the bottom and right, where torch's own
    padding would be symmetric.
    """
    total = kernel - stride if same else 0
    first, last = total // 2, total - total // 2
    # skip_init, for torch would draw weights from the global random state. `initialise`
    # draws them.
    layer = nn.utils.skip_init(
        nn.Conv2d, before, after, kernel, stride, padding=first if first == last else 0
    )
    return (
        layer
        if first == last
        else nn.Sequential(nn.ZeroPad2d((first, last) * 2), layer)
    )


def relu_conv(before: int, after: int, kernel: int = 3) -> nn.Module:
    """A "same" convolution followed by a ReLU."""
    return nn.Sequential(conv(before, after, kernel), nn.ReLU())


def up_conv(before: int, after: int) -> nn.Module:
    """Double height and width by repeating pixels.

    A 2x2 convolution and a ReLU follow.
    """
    return nn.Sequential(
        nn.Upsample(scale_factor=2, mode="nearest"), relu_conv(before, after, 2)
    )


def he_normal(weight: Tensor, generator: torch.Generator) -> None:
    """Variance 2 / fan_in (He et al. 2015).

    Truncated at two standard deviations, as in Keras.
    """
    _truncated_normal(weight, 2 / _fans(weight)[0], generator)


def lecun_uniform(weight: Tensor, generator: torch.Generator) -> None:
    """Variance 1 / fan_in (LeCun et al. 1998): uniform on +-sqrt(3 / fan_in)."""
    limit = (3 / _fans(weight)[0]) ** 0.5
    nn.init.uniform_(weight, -limit, limit, generator=generator)


def xavier_normal(weight: Tensor, generator: torch.Generator) -> None:
    """Variance 2 / (fan_in + fan_out) (Glorot and Bengio 2010).

    Truncated as in Keras.
    """
    _truncated_normal(weight, 2 / sum(_fans(weight)), generator)


def xavier_uniform(weight: Tensor, generator: torch.Generator) -> None:
    """Variance 2 / (fan_in + fan_out), uniform.

    This is "Glorot uniform", the default of Keras.
    """
    nn.init.xavier_uniform_(weight, generator=generator)


def orthogonal(weight: Tensor, generator: torch.Generator) -> None:
    """Orthonormal rows or columns (Saxe et al. 2014).

    They are those of the (out, in * height * width) matrix.
    """
    nn.init.orthogonal_(weight, generator=generator)


INITIALIZERS: dict[str, Callable[[Tensor, torch.Generator], None]] = {
    "he_normal": he_normal,
    "lecun_uniform": lecun_uniform,
    "xavier_normal": xavier_normal,
    "xavier_uniform": xavier_uniform,
    "orthogonal": orthogonal,
}


def initialise(model: nn.Module, init: str, seed: int | None = None) -> None:
    """Draw all convolution weights anew from `seed`, and zero the biases.

    seed None: one from the system. A layer called `last` starts Glorot uniform. The
    global random state is left alone. Raises ValueError for an unknown `init`.
    """
    if init not in INITIALIZERS:
        raise ValueError(
            f"unknown init {init!r}: expected one of {', '.join(INITIALIZERS)}"
        )
    generator = torch.Generator()
    generator.seed() if seed is None else generator.manual_seed(seed)
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d):
            draw = xavier_uniform if name == "last" else INITIALIZERS[init]
            draw(layer.weight, generator)
            nn.init.zeros_(layer.bias)


def _fans(weight: Tensor) -> tuple[int, int]:
    """Inputs to one output, and outputs of one input.

    Each is the number of channels times the kernel's area.
    """
    return weight[0].numel(), weight[:, 0].numel()


def _truncated_normal(
    weight: Tensor, variance: float, generator: torch.Generator
) -> None:
    # Cutting at 2 sigma shrinks the standard deviation to 0.8796 of sigma. Keras makes
    # up for that.
    sigma = variance**0.5 / 0.87962566103423978
    nn.init.trunc_normal_(weight, 0, sigma, -2 * sigma, 2 * sigma, generator=generator)
