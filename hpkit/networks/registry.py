"""The networks by name; a new one is one entry more."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from hpkit.networks.denoisers import FramingUNet, UNetPlusPlus
from hpkit.networks.l2net import L2Net
from hpkit.networks.unet import DEPTHS, UNet


@dataclass(frozen=True)
class Denoiser:
    """A denoiser: (n, 1, 32, 32) pixels on 0..255 to the same.

    build: takes depth, seed and init. depths: those that it comes in.
    """

    build: Callable[..., nn.Module]
    depths: tuple[int, ...] = (4,)


@dataclass(frozen=True)
class Descriptor:
    """A descriptor: (n, 1, 32, 32) pixels on 0..255 to (n, 128).

    build: takes seed, init and the options of `L2Net`. joint: its denoiser stands in
    front of it and is trained further along with it (`denoisers.Joint`).
    """

    build: Callable[..., nn.Module]
    joint: bool = False


DENOISERS: dict[str, Denoiser] = {
    "unet": Denoiser(UNet, DEPTHS),
    "unet++": Denoiser(lambda depth, seed, init: UNetPlusPlus(seed, init)),
    "framing": Denoiser(lambda depth, seed, init: FramingUNet(seed, init)),
}
DESCRIPTORS: dict[str, Descriptor] = {
    "l2net": Descriptor(L2Net),
    "joint": Descriptor(L2Net, joint=True),
}


def make_denoiser(
    name: str, depth: int = 4, seed: int | None = None, init: str = "he_normal"
) -> nn.Module:
    """One of DENOISERS with its first weights.

    Raises ValueError for an unknown name or init, or for a depth that it does not come
    in.
    """
    if name not in DENOISERS:
        raise ValueError(
            f"no denoiser {name!r}: expected one of {', '.join(DENOISERS)}"
        )
    denoiser = DENOISERS[name]
    if depth not in denoiser.depths:
        sizes = ", ".join(map(str, denoiser.depths))
        raise ValueError(f"depth of {name} is {depth!r}: expected one of {sizes}")
    return denoiser.build(depth, seed, init)
