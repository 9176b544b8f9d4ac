"""Denoisers that differ from `UNet` in one idea each, and two ways of using one."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hpkit.networks.layers import conv, initialise, relu_conv, up_conv


class UNetPlusPlus(nn.Module):
    """`UNet(depth=6)` with a node in the middle of its longest skip.

    Zhou et al. 2018, figure 1. (n, 1, 32, 32) pixels on 0..255 -> the same shape and
    range, not clipped. Node xij is at level i (0 at full resolution), the j-th in its
    row. It sees all nodes before it in the row and, made larger, the last one of the
    row below. Widths are those of `UNet(depth=6)`, and x01 has 32. A node has one
    convolution where the paper has two, and there is no deep supervision. Raises
    ValueError for an unknown init.
    """

    def __init__(self, seed: int | None = None, init: str = "he_normal") -> None:
        super().__init__()
        self.x00, self.x10, self.x20 = (
            relu_conv(1, 16),
            relu_conv(16, 32),
            relu_conv(32, 64),
        )
        self.up10, self.x01 = up_conv(32, 32), relu_conv(16 + 32, 32)
        self.up20, self.x11 = up_conv(64, 128), relu_conv(32 + 128, 128)
        self.up11, self.x02 = up_conv(128, 64), relu_conv(16 + 32 + 64, 64)
        self.last = conv(64, 1)
        initialise(self, init, seed)

    def forward(self, noisy: Tensor) -> Tensor:
        x00 = self.x00(noisy)  # 16 channels, 32x32
        x10 = self.x10(F.max_pool2d(x00, 2))  # 32 channels, 16x16
        x20 = self.x20(F.max_pool2d(x10, 2))  # 64 channels, 8x8
        x01 = self.x01(torch.cat([x00, self.up10(x10)], dim=1))  # 32 channels, 32x32
        x11 = self.x11(torch.cat([x10, self.up20(x20)], dim=1))  # 128 channels, 16x16
        # 64 channels, 32x32
        x02 = self.x02(torch.cat([x00, x01, self.up11(x11)], dim=1))
        return self.last(x02)


class FramingUNet(nn.Module):
    """`UNet(depth=4)` whose pooling loses nothing: a tight frame (Han & Ye 2018).

    (n, 1, 32, 32) pixels on 0..255 -> the same shape and range, not clipped.
    `frame_analysis` replaces max pooling, and `frame_synthesis` the repeating of
    pixels. The synthesis needs 16 channels in its low band, so `back` leads from the
    bottom's 32 to them, as in the authors' network. The authors bring each band back by
    itself and concatenate the results; here the synthesis adds them up. Raises
    ValueError for an unknown init.
    """

    def __init__(self, seed: int | None = None, init: str = "he_normal") -> None:
        super().__init__()
        self.down = relu_conv(1, 16)
        self.bottom, self.back = relu_conv(16, 32), relu_conv(32, 16)
        self.up = relu_conv(16, 64, 2)
        self.merge = relu_conv(16 + 64, 64)
        self.last = conv(64, 1)
        initialise(self, init, seed)

    def forward(self, noisy: Tensor) -> Tensor:
        skip = self.down(noisy)  # 16 channels, 32x32
        low, high = frame_analysis(skip)  # 16 and 48 channels, 16x16
        low = self.back(self.bottom(low))  # to 32 channels and back to 16
        x = self.up(frame_synthesis(low, high))  # 32x32, 16 -> 64 channels
        return self.last(self.merge(torch.cat([skip, x], dim=1)))


def frame_analysis(x: Tensor) -> tuple[Tensor, Tensor]:
    """Haar's low band and its three high ones.

    There are as many numbers as before, with the same energy. (n, c, h, w), h and w
    even -> low (n, c, h/2, w/2), twice the mean of each 2x2 block, and high (n, 3c,
    h/2, w/2): all channels of left minus right, of top minus bottom, of the diagonals.
    """
    pixels = F.pixel_unshuffle(x, 2).unflatten(1, (-1, 4)).unbind(dim=2)
    low, *high = _haar(*pixels)
    return low, torch.cat(high, dim=1)


def frame_synthesis(low: Tensor, high: Tensor) -> Tensor:
    """Put together exactly what `frame_analysis` took apart.

    (n, c, h, w), (n, 3c, h, w) -> (n, c, 2h, 2w).
    """
    pixels = _haar(low, *high.chunk(3, dim=1))
    return F.pixel_shuffle(torch.stack(pixels, dim=2).flatten(1, 2), 2)


def _haar(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> tuple[Tensor, ...]:
    """Four pixels of a block, a b above c d, to four bands.

    The same again leads back.
    """
    # This matrix is symmetric with orthonormal rows, so it is its own inverse.
    return (
        (a + b + c + d) / 2,
        (a - b + c - d) / 2,
        (a + b - c - d) / 2,
        (a - b - c + d) / 2,
    )


class Residual(nn.Module):
    """Lets a denoiser predict the noise, which is then taken away.

    Zhang et al. 2017, section III. network: any module that keeps the shape of its
    input, (n, 1, 32, 32) pixels on 0..255; one that puts out zeros leaves the patches
    as they are.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, noisy: Tensor) -> Tensor:
        return noisy - self.network(noisy)


class Joint(nn.Module):
    """A denoiser and a descriptor as one network: its loss trains the denoiser as well.

    (n, 1, 32, 32) pixels on 0..255 -> what the descriptor puts out, (n, 128) for
    `L2Net`. Between the two nothing is rounded or clipped, unlike where denoised
    patches are stored.
    """

    def __init__(self, denoiser: nn.Module, descriptor: nn.Module) -> None:
        super().__init__()
        self.denoiser, self.descriptor = denoiser, descriptor

    def forward(self, patches: Tensor) -> Tensor:
        return self.descriptor(self.denoiser(patches))
