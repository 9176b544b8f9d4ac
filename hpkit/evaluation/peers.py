"""Published networks to compare with: HardNet, SOSNet, HyNet, and DISK with LightGlue.

Their layers come from kornia, an optional package, and their weights from a server.
Where one of the two cannot be had, a sentence says so, and the rest goes on.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import requests
import torch
from torch import Tensor, nn

from hpkit.files import cache_folder, write_whole

# kornia's own first address for them.
SOURCE = "https://huggingface.co/kornia"
TIMEOUT = 5.0  # seconds without an answer, after which a server counts as away


class PeerMissing(RuntimeError):
    """A published network cannot be had here; its text says why, in one sentence.

    final: whether the next network will be missing for the same reason.
    """

    def __init__(self, why: str, final: bool = False) -> None:
        super().__init__(why)
        self.final = final


class OnUnitScale(nn.Module):
    """A descriptor that was trained on grey levels 0..1, for patches on 0..255.

    SOSNet adds a constant to a patch's variance, so on another scale a dull patch looks
    different to it. The others hardly mind.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, patches: Tensor) -> Tensor:
        """Float (n, 1, 32, 32) on 0..255 -> (n, 128)."""
        return self.network(patches / 255)


class DiskLightGlue(nn.Module):
    """A detector and descriptor, and a matcher, both learned: two photos in, pairs out.

    Tyszkiewicz, Fua and Trulls, "DISK", NeurIPS 2020; Lindenberger, Sarlin and
    Pollefeys, "LightGlue", ICCV 2023.
    """

    def __init__(self, disk: nn.Module, lightglue: nn.Module) -> None:
        super().__init__()
        self.disk, self.lightglue = disk, lightglue

    @torch.inference_mode()
    def forward(
        self, first: np.ndarray, second: np.ndarray, number: int = 500
    ) -> np.ndarray:
        """Two uint8 photos, grey (h, w) -> pairs (m, 4), x and y in each.

        number: of keypoints in each photo, the strongest.
        """
        seen = [self._described(photo, number) for photo in (first, second)]
        if min(len(one["keypoints"][0]) for one in seen) < 2:
            return np.empty((0, 4))
        found = self.lightglue({"image0": seen[0], "image1": seen[1]})["matches"][0]
        both = [
            one["keypoints"][0][found[:, side]].numpy() for side, one in enumerate(seen)
        ]
        return np.hstack(both)

    def _described(self, photo: np.ndarray, number: int) -> dict[str, Tensor]:
        """What LightGlue wants to know of a photo, as a batch of one."""
        grey = torch.tensor(photo).float() / 255
        rgb = grey.expand(1, 3, *photo.shape)  # DISK was trained on colour
        (found,) = self.disk(rgb, n=number, pad_if_not_divisible=True)
        return {
            "keypoints": found.keypoints[None].float(),
            "descriptors": found.descriptors[None],
            "image_size": torch.tensor([photo.shape[::-1]]),
        }


@dataclass(frozen=True)
class Peer:
    """A published network.

    files: of its weights, below the source. build: makes it from `kornia.feature` and
    the contents of these files.
    """

    files: tuple[str, ...]
    build: Callable[[ModuleType, list[dict]], nn.Module]


def _descriptor(kind: str, inside: str | None = None) -> Callable:
    """How to build a network for patches; inside: the weights' place in their file."""

    def build(kornia: ModuleType, contents: list[dict]) -> nn.Module:
        network = getattr(kornia, kind)(pretrained=False)
        weights = contents[0] if inside is None else contents[0][inside]
        network.load_state_dict(weights)
        return OnUnitScale(network)

    return build


def _disk_lightglue(kornia: ModuleType, contents: list[dict]) -> nn.Module:
    disk = kornia.DISK()
    disk.load_state_dict(contents[0]["extractor"])
    lightglue = kornia.LightGlue(None, input_dim=128)
    named = {}
    for name, weights in contents[1].items():  # an older name of the same layers
        kind, _, rest = name.partition(".")
        if kind in ("self_attn", "cross_attn"):
            number, _, rest = rest.partition(".")
            name = f"transformers.{number}.{kind}.{rest}"
        named[name] = weights
    lost = lightglue.load_state_dict(named, strict=False)
    needed = set(dict(lightglue.named_parameters())) & set(lost.missing_keys)
    if needed or lost.unexpected_keys:
        raise KeyError(sorted(needed or lost.unexpected_keys)[0])
    return DiskLightGlue(disk, lightglue)


# The three descriptors were trained on one set of photos, Liberty.
PEERS: dict[str, Peer] = {
    "HardNet": Peer(
        ("hardnet/resolve/main/checkpoint_liberty_with_aug.pth",),
        _descriptor("HardNet", "state_dict"),
    ),
    "SOSNet": Peer(
        ("sosnet/resolve/main/sosnet_32x32_liberty.pth",), _descriptor("SOSNet")
    ),
    "HyNet": Peer(("hynet/resolve/main/HyNet_LIB.pth",), _descriptor("HyNet")),
    "DISK + LightGlue": Peer(
        (
            "disk/resolve/main/depth-save.pth",
            "lightglue/resolve/main/disk_lightglue.pth",
        ),
        _disk_lightglue,
    ),
}


def peer(name: str, source: str | None = None) -> nn.Module:
    """A published network by its name in PEERS: in eval mode, on the CPU.

    Descriptors take float patches (n, 1, 32, 32) on 0..255, so they go into `describe`;
    "DISK + LightGlue" takes two photos, see `DiskLightGlue`. source: an address, or a
    folder, with the files of PEERS below it; None: HPKIT_PEERS, or the server of
    kornia. What was fetched is kept in the cache folder. Raises PeerMissing, and
    ValueError for an unknown name.
    """
    if name not in PEERS:
        raise ValueError(f"no peer {name!r}: there are {', '.join(PEERS)}")
    try:
        kornia = import_module("kornia.feature")
    except ImportError as error:
        raise PeerMissing(
            "kornia is not installed (pip install kornia)", final=True
        ) from error
    source = source or os.environ.get("HPKIT_PEERS") or SOURCE
    paths = [_weights(source, file) for file in PEERS[name].files]
    try:
        # weights_only: a file of weights cannot run code.
        contents = [
            torch.load(path, map_location="cpu", weights_only=True) for path in paths
        ]
        network = PEERS[name].build(kornia, contents)
    except Exception as error:  # whatever a strange file makes of these three steps
        raise PeerMissing(
            f"{paths[-1].parent}: not the weights of {name} "
            f"({type(error).__name__}); delete it, and they are fetched again"
        ) from error
    return network.eval()


def available(
    names: Sequence[str], source: str | None = None
) -> tuple[dict[str, nn.Module], str]:
    """Those published networks that can be had here, and a sentence about the others.

    names, source: as of `peer`. The sentence is empty where all of them are there.
    """
    found, missing, why = {}, [], []
    for name in names:
        try:
            if why and why[-1].final:
                raise why[-1]
            found[name] = peer(name, source)
        except PeerMissing as error:
            missing.append(name)
            why.append(error)
    if not missing:
        return found, ""
    reasons = "; ".join(dict.fromkeys(map(str, why)))
    return found, f"Left out: {', '.join(missing)}. {reasons}."


def kept_as(file: str) -> str:
    """The name of a file of PEERS in the folder `peers` of the cache folder."""
    return file.replace("/resolve/main/", "--")


def _weights(source: str, file: str) -> Path:
    """The file on this machine; fetched, and kept, where source is an address."""
    if "://" not in source:
        path = Path(source).expanduser() / file
        if not path.is_file():
            raise PeerMissing(f"{path}: not found, expected weights")
        return path
    path = cache_folder() / "peers" / kept_as(file)
    if path.is_file():
        return path
    url = f"{source.rstrip('/')}/{file}"
    try:
        answer = requests.get(url, timeout=TIMEOUT)
    except requests.RequestException as error:
        raise PeerMissing(
            f"No weights: {source} did not answer ({type(error).__name__}); once you "
            "are online, run this again",
            final=True,
        ) from error
    if not answer.ok:
        raise PeerMissing(f"No weights: {url} answered {answer.status_code}")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, answer.content)
    return path
