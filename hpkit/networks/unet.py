"""`UNet` cleans a noisy patch: the coursework's baseline denoiser, layer by layer.

Pixels go in as 0..255, and nothing is normalised on the way in or out.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hpkit.networks.inputs import check_patches
from hpkit.networks.layers import conv, initialise, relu_conv, up_conv

DEPTHS = (4, 6, 8)


class UNet(nn.Module):
    """Denoiser: (n, 1, 32, 32) pixels on 0..255 -> the same shape and range.

    The output is not clipped. depth 4 is the baseline; 6 and 8 add one and two levels.
    Level l (l = 0 at full resolution) has 16 * 2**l channels on the way down and four
    times as many on the way up, which is what the baseline's one level has (16 and 64).
    The last layer starts Glorot uniform, whatever `init`. Raises ValueError for another
    depth or an unknown init. Ronneberger et al. 2015 (the idea).
    """

    def __init__(
        self, depth: int = 4, seed: int | None = None, init: str = "he_normal"
    ) -> None:
        super().__init__()
        if depth not in DEPTHS:
            raise ValueError(f"unknown depth {depth!r}: expected one of {DEPTHS}")
        down = [16 * 2**level for level in range(depth // 2 - 1)]  # depth 4: [16]
        up = [4 * width for width in reversed(down)]  # depth 4: [64]
        self.down = nn.ModuleList(relu_conv(*pair) for pair in pairwise([1, *down]))
        self.bottom = relu_conv(down[-1], 2 * down[-1])
        self.up = nn.ModuleList(
            up_conv(*pair) for pair in pairwise([2 * down[-1], *up])
        )
        self.merge = nn.ModuleList(
            relu_conv(skip + width, width)
            for skip, width in zip(reversed(down), up, strict=True)
        )
        self.last = conv(up[-1], 1)
        initialise(self, init, seed)

    def forward(self, noisy: Tensor) -> Tensor:
        check_patches(noisy)
        x, skips = noisy, []
        for down in self.down:
            skips.append(down(x))  # baseline: 16 channels, 32x32
            x = F.max_pool2d(skips[-1], 2)  # 32x32 -> 16x16
        x = self.bottom(x)  # 32 channels, 16x16
        for up, merge in zip(self.up, self.merge, strict=True):
            x = up(x)  # 16x16 -> 32x32, 64 channels
            x = merge(torch.cat([skips.pop(), x], dim=1))  # 16 + 64 -> 64 channels
        return self.last(x)  # 1 channel, 32x32
