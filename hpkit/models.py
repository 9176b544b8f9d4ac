"""The two networks: `UNet` cleans a noisy patch, `L2Net` turns a patch into 128 numbers.

By default both are the coursework's baselines layer by layer: pixels go in as 0..255, nothing is
normalised on the way in or out. What Keras does otherwise than torch by default is done here as in
Keras: the padding, the batch norm's momentum and epsilon, and the initial weights.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DEPTHS = (4, 6, 8)
L2NET_LAYERS = ((32, 1), (32, 1), (64, 2), (64, 1), (128, 2), (128, 1))  # (channels, stride)
HALF_LAYERS = ((64, 1), (64, 1), (128, 2), (128, 1))


class UNet(nn.Module):
    """Denoiser, (n, 1, 32, 32) pixels on 0..255 -> the same shape and range, not clipped.

    depth 4 is the baseline; 6 and 8 add one and two levels. Level l (l = 0 at full resolution)
    has 16 * 2**l channels on the way down and four times as many on the way up, which is what
    the baseline's one level has (16 and 64). The last layer starts Glorot uniform, whatever `init`.
    Raises ValueError for another depth or an unknown init. Ronneberger et al. 2015 (the idea).
    """

    def __init__(self, depth: int = 4, seed: int | None = None, init: str = "he_normal") -> None:
        super().__init__()
        if depth not in DEPTHS:
            raise ValueError(f"unknown depth {depth!r}: expected one of {DEPTHS}")
        down = [16 * 2**level for level in range(depth // 2 - 1)]  # depth 4: [16]
        up = [4 * width for width in reversed(down)]  # depth 4: [64]
        self.down = nn.ModuleList(relu_conv(*pair) for pair in pairwise([1, *down]))
        self.bottom = relu_conv(down[-1], 2 * down[-1])
        self.up = nn.ModuleList(up_conv(*pair) for pair in pairwise([2 * down[-1], *up]))
        self.merge = nn.ModuleList(relu_conv(skip + width, width)
                                   for skip, width in zip(reversed(down), up, strict=True))
        self.last = conv(up[-1], 1)
        initialise(self, init, seed)

    def forward(self, noisy: Tensor) -> Tensor:
        x, skips = noisy, []
        for down in self.down:
            skips.append(down(x))  # baseline: 16 channels, 32x32
            x = F.max_pool2d(skips[-1], 2)  # 32x32 -> 16x16
        x = self.bottom(x)  # 32 channels, 16x16
        for up, merge in zip(self.up, self.merge, strict=True):
            x = up(x)  # 16x16 -> 32x32, 64 channels
            x = merge(torch.cat([skips.pop(), x], dim=1))  # 16 + 64 -> 64 channels
        return self.last(x)  # 1 channel, 32x32


class L2Net(nn.Module):
    """Descriptor, (n, 1, 32, 32) pixels on 0..255 -> (n, 128).

    The layer list is HardNet's (Mishchuk et al. 2017, arXiv:1705.10872), by default with biases and
    without the normalisation of its input and output, as in the coursework. standardize: each patch
    to mean 0 and deviation 1 first. affine: batch norms scale and shift. final_norm: one more batch
    norm, never affine, after the last convolution. unit: descriptors of length 1. norm_momentum: of
    the running statistics, 0.01 as in Keras. half: begin at 16x16 pixels, each with the four it
    stands for as channels: half the work. Raises ValueError for an unknown init.
    """

    def __init__(self, seed: int | None = None, init: str = "he_normal", *,
                 standardize: bool = False, affine: bool = True, final_norm: bool = False,
                 unit: bool = False, dropout: float = 0.3, norm_momentum: float = 0.01,
                 half: bool = False) -> None:
        super().__init__()
        self.standardize, self.unit = standardize, unit
        norm = partial(nn.BatchNorm2d, eps=1e-3, momentum=norm_momentum)
        layers, before = ([nn.PixelUnshuffle(2)], 4) if half else ([], 1)
        for channels, stride in HALF_LAYERS if half else L2NET_LAYERS:
            layers += [conv(before, channels, stride=stride), norm(channels, affine=affine),
                       nn.ReLU()]
            before = channels
        layers += [nn.Dropout(dropout), conv(before, 128, 8, same=False)]  # 8x8 -> 1x1
        layers += [norm(128, affine=False)] if final_norm else []
        self.layers = nn.Sequential(*layers, nn.Flatten())
        initialise(self, init, seed)

    def forward(self, patches: Tensor) -> Tensor:
        if patches.shape[-2:] != (32, 32):
            raise ValueError(f"patches are {tuple(patches.shape)}, expected (n, 1, 32, 32)")
        if self.standardize:
            deviation, mean = torch.std_mean(patches, dim=(1, 2, 3), keepdim=True)
            patches = (patches - mean) / (deviation + 0.1)  # a flat patch stays finite
        descriptors = self.layers(patches)
        return F.normalize(descriptors.float()) if self.unit else descriptors


def conv(before: int, after: int, kernel: int = 3, stride: int = 1, same: bool = True) -> nn.Module:
    """A convolution from `before` to `after` channels, padded as Keras pads inputs of even size.

    "same" adds kernel - stride rows and columns; of an odd number the larger half goes to the
    bottom and right, where torch's own padding would be symmetric.
    """
    total = kernel - stride if same else 0
    first, last = total // 2, total - total // 2
    # skip_init: torch would draw weights from the global random state; `initialise` draws them.
    layer = nn.utils.skip_init(nn.Conv2d, before, after, kernel, stride,
                               padding=first if first == last else 0)
    return layer if first == last else nn.Sequential(nn.ZeroPad2d((first, last) * 2), layer)


def relu_conv(before: int, after: int, kernel: int = 3) -> nn.Module:
    """A "same" convolution followed by a ReLU."""
    return nn.Sequential(conv(before, after, kernel), nn.ReLU())


def up_conv(before: int, after: int) -> nn.Module:
    """Doubles height and width by repeating pixels, then a 2x2 convolution and a ReLU."""
    return nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), relu_conv(before, after, 2))


def he_normal(weight: Tensor, generator: torch.Generator) -> None:
    """Variance 2 / fan_in (He et al. 2015), truncated at two standard deviations as in Keras."""
    _truncated_normal(weight, 2 / _fans(weight)[0], generator)


def lecun_uniform(weight: Tensor, generator: torch.Generator) -> None:
    """Variance 1 / fan_in (LeCun et al. 1998): uniform on +-sqrt(3 / fan_in)."""
    limit = (3 / _fans(weight)[0]) ** 0.5
    nn.init.uniform_(weight, -limit, limit, generator=generator)


def xavier_normal(weight: Tensor, generator: torch.Generator) -> None:
    """Variance 2 / (fan_in + fan_out) (Glorot and Bengio 2010), truncated as in Keras."""
    _truncated_normal(weight, 2 / sum(_fans(weight)), generator)


def xavier_uniform(weight: Tensor, generator: torch.Generator) -> None:
    """Variance 2 / (fan_in + fan_out), uniform ("Glorot uniform", the default of Keras)."""
    nn.init.xavier_uniform_(weight, generator=generator)


def orthogonal(weight: Tensor, generator: torch.Generator) -> None:
    """Orthonormal rows or columns of the (out, in * height * width) matrix (Saxe et al. 2014)."""
    nn.init.orthogonal_(weight, generator=generator)


INITIALIZERS: dict[str, Callable[[Tensor, torch.Generator], None]] = {
    f.__name__: f for f in (he_normal, lecun_uniform, xavier_normal, xavier_uniform, orthogonal)
}


def initialise(model: nn.Module, init: str, seed: int | None = None) -> None:
    """Draw all convolution weights anew from `seed` (None: from the system), zero the biases.

    A layer called `last` starts Glorot uniform. The global random state is left alone.
    Raises ValueError for an unknown `init`.
    """
    if init not in INITIALIZERS:
        raise ValueError(f"unknown init {init!r}: expected one of {', '.join(INITIALIZERS)}")
    generator = torch.Generator()
    generator.seed() if seed is None else generator.manual_seed(seed)
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d):
            draw = xavier_uniform if name == "last" else INITIALIZERS[init]
            draw(layer.weight, generator)
            nn.init.zeros_(layer.bias)


def _fans(weight: Tensor) -> tuple[int, int]:
    """Inputs to one output and outputs of one input: channels times the kernel's area."""
    return weight[0].numel(), weight[:, 0].numel()


def _truncated_normal(weight: Tensor, variance: float, generator: torch.Generator) -> None:
    # Cutting at 2 sigma shrinks the standard deviation to 0.8796 of sigma; Keras makes up for it.
    sigma = variance**0.5 / 0.87962566103423978
    nn.init.trunc_normal_(weight, 0, sigma, -2 * sigma, 2 * sigma, generator=generator)
