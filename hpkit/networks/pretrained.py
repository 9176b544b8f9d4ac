"""Networks that are shipped with the package: weights, and a card that describes them.

`weights/<name>.safetensors` holds numbers and cannot run code. `weights/<name>.json` is
its card.
"""

import hashlib
import json
import warnings
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from hpkit.files import digest
from hpkit.networks.denoisers import Residual
from hpkit.networks.inputs import check_patches
from hpkit.networks.registry import DESCRIPTORS, make_denoiser

WEIGHTS = Path(__file__).parent / "weights"
SHIPPED = ("descriptor", "denoiser")

LEAST = 4.0  # grey levels: fractions all below were scaled to 0..1, or standardised


def card(name: str = "descriptor") -> dict:
    """What is known of a shipped network.

    kind; network: the arguments that build it; config: of the run that trained it;
    sha256 of the weights; data, seeds, scores, limits. Raises ValueError for a name
    that is not among the shipped ones, or a card that is damaged.
    """
    if name not in SHIPPED:
        raise ValueError(
            f"no pretrained network {name!r}: there are {', '.join(SHIPPED)}"
        )
    path = WEIGHTS / f"{name}.json"
    try:
        told = json.loads(_bytes(path))
        rest = {key: value for key, value in told.items() if key != "digest"}
        if (
            told["kind"] == name
            and isinstance(told["network"], dict)
            and told["sha256"]
            and told.get("digest", digest(rest)) == digest(rest)
        ):
            return told
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if "not found" in str(error):
            raise
    raise ValueError(
        f"{path}: damaged, expected the card of a {name} with kind, network, sha256"
    )


def pretrained(name: str = "descriptor") -> nn.Module:
    """The shipped "descriptor" or "denoiser", trained: in eval mode, on the CPU.

    No network access is needed. Patches are float (n, 1, 32, 32) on 0..255; it warns of
    pixels on another scale. Descriptors are (n, 128); denoised patches are like the
    patches. `card(name)` tells how it was trained and what it is good for. Raises
    ValueError for an unknown name and for files
    that are missing, damaged, or do not belong together.
    """
    told, path = card(name), WEIGHTS / f"{name}.safetensors"
    data = _bytes(path)
    found = hashlib.sha256(data).hexdigest()
    if found != told["sha256"]:
        raise ValueError(
            f"{path}: sha256 {found[:12]}..., expected {str(told['sha256'])[:12]}... "
            "as its card says: the file is damaged or not the card's"
        )
    try:
        model = build(name, **told["network"])
        # Half precision in the file, single in the network.
        model.load_state_dict(load(data))
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        first = str(error).strip().splitlines()[0]
        raise ValueError(
            f"{path}: not the weights of its card's network ({first})"
        ) from error
    model.register_forward_pre_hook(check_pixels, with_kwargs=True)
    return model.eval()


def check_pixels(
    model: nn.Module, inputs: tuple[Tensor, ...], named: dict[str, Tensor]
) -> None:
    """Refuse patches of another type than the weights; warn of pixels not on 0..255.

    torch's usual scale, 0 to 1, gives answers without an error, and worse ones.
    """
    if torch.compiler.is_compiling():  # an exported network cannot look at values
        return
    (patches,) = (*inputs, *named.values())
    check_patches(patches)
    weights = next(model.parameters()).dtype
    mixed = torch.is_autocast_enabled(patches.device.type)
    if patches.dtype != weights and not mixed:
        raise ValueError(
            f"patches are {patches.dtype}, expected {weights} as the weights are: "
            f"patches.to({weights})"
        )
    if not patches.numel():
        return
    try:
        low, high = (float(end) for end in patches.detach().aminmax())
    except RuntimeError:  # nor can one inside torch.func.vmap
        return
    if low > -LEAST and high < LEAST and (patches != patches.round()).any():
        warnings.warn(
            f"pixels run from {low:.3g} to {high:.3g}: this network was trained on 0 "
            "to 255, and its answers to another scale are worse; give it the grey "
            "levels as they are in the file",
            stacklevel=2,
        )


def build(kind: str, name: str, **arguments: object) -> nn.Module:
    """A "descriptor" or "denoiser" by its name in the registry.

    arguments: those that it is built with.
    """
    if kind == "descriptor":
        return DESCRIPTORS[name].build(**arguments)
    residual = arguments.pop("residual")
    made = make_denoiser(name, **arguments)
    return Residual(made) if residual else made


def _bytes(path: Path) -> bytes:
    if not path.is_file():
        raise ValueError(
            f"{path}: not found, expected the file that is shipped with the package"
        )
    return path.read_bytes()
