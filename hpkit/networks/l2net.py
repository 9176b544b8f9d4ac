"""`L2Net` turns a patch into 128 numbers; by default it is the coursework's baseline.

Pixels go in as 0..255. Where Keras and torch have different defaults, Keras is
followed: in the padding, the batch norm's momentum and epsilon, and the initial
weights.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hpkit.networks.inputs import check_patches
from hpkit.networks.layers import conv, initialise

# (channels, stride) of each layer but the last.
L2NET_LAYERS = ((32, 1), (32, 1), (64, 2), (64, 1), (128, 2), (128, 1))

HALF_LAYERS = ((64, 1), (64, 1), (128, 2), (128, 1))


class L2Net(nn.Module):
    """Descriptor, (n, 1, 32, 32) pixels on 0..255 -> (n, 128).

    The layer list is HardNet's (Mishchuk et al. 2017, arXiv:1705.10872). By default it
    has biases and does not normalise its input and output, as in the coursework.
    standardize: each patch to mean 0 and deviation 1 first. affine: batch norms scale
    and shift. final_norm: one more batch norm, never affine, after the last
    convolution. unit: descriptors of length 1. norm_momentum: of the running
    statistics, 0.01 as in Keras. half: begin at 16x16 pixels, each with the four it
    stands for as channels, which halves the work. Raises ValueError for an unknown
    init.
    """

    def __init__(
        self,
        seed: int | None = None,
        init: str = "he_normal",
        *,
        standardize: bool = False,
        affine: bool = True,
        final_norm: bool = False,
        unit: bool = False,
        dropout: float = 0.3,
        norm_momentum: float = 0.01,
        half: bool = False,
    ) -> None:
        super().__init__()
        self.standardize, self.unit = standardize, unit
        norm = partial(nn.BatchNorm2d, eps=1e-3, momentum=norm_momentum)
        layers, before = ([nn.PixelUnshuffle(2)], 4) if half else ([], 1)
        for channels, stride in HALF_LAYERS if half else L2NET_LAYERS:
            layers += [
                conv(before, channels, stride=stride),
                norm(channels, affine=affine),
                nn.ReLU(),
            ]
            before = channels
        layers += [nn.Dropout(dropout), conv(before, 128, 8, same=False)]  # 8x8 -> 1x1
        layers += [norm(128, affine=False)] if final_norm else []
        self.layers = nn.Sequential(*layers, nn.Flatten())
        initialise(self, init, seed)

    def forward(self, patches: Tensor) -> Tensor:
        check_patches(patches)
        if patches.shape[-2:] != (32, 32):
            raise ValueError(
                f"patches are {tuple(patches.shape)}, expected (n, 1, 32, 32)"
            )
        if patches.shape[0] == 0:  # not `len`, which would fix the size for an export
            return patches.new_empty(0, 128)
        if self.standardize:
            deviation, mean = torch.std_mean(patches, dim=(1, 2, 3), keepdim=True)
            patches = (patches - mean) / (deviation + 0.1)  # a flat patch stays finite
        descriptors = self.layers(patches)
        return F.normalize(descriptors.float()) if self.unit else descriptors
