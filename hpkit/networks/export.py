"""A network as an ONNX file, which other programs run without Python and torch."""

import copy
import io
import warnings
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor, nn

from hpkit.networks.denoisers import Joint
from hpkit.networks.l2net import L2Net
from hpkit.networks.pretrained import card, pretrained

# Enough for every network here, and not too new for `cv2.dnn.readNetFromONNX`.
OPSET = 13

PIXELS = "grey levels, 0 to 255, as they are in an image file"


def shipped_onnx(name: str = "descriptor") -> bytes:
    """The shipped "descriptor" or "denoiser" as `to_onnx` gives it, with its card.

    Raises ValueError for an unknown name, and where the package onnx is missing.
    """
    told = card(name)
    about = {
        "name": f"hpkit {name}",
        "sha256": told["sha256"],  # of the weights that the card describes
        "data": told["data"],
        "finished": told["finished"],
        "limits": told["limits"],
        "licence": "MIT",
    }
    return to_onnx(pretrained(name), about)


def to_onnx(network: nn.Module, about: dict[str, str] | None = None) -> bytes:
    """A network of the registry as the content of an ONNX file, in eval mode.

    Input "patches": float32 (n, 1, 32, 32) on 0..255, for any n from 1. Output
    "descriptors", (n, 128), or "denoised", like the patches. about: kept in the file's
    metadata, beside the pixels' range. Weights that half precision holds exactly take
    two bytes each, and a Cast makes them float32; so nothing is rounded. Raises
    ValueError where the package onnx is missing.
    """
    onnx = _onnx()
    model = onnx.load_from_string(_traced(network))
    _halve(onnx, model.graph)
    onnx.helper.set_model_props(model, {"pixels": PIXELS, **(about or {})})
    model.producer_name = "hpkit"
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


class _InPlainSteps(nn.Module):
    """What `L2Net.forward` does, in operations that OpenCV 4 can read as well."""

    def __init__(self, network: L2Net) -> None:
        super().__init__()
        self.network = network

    def forward(self, patches: Tensor) -> Tensor:
        if self.network.standardize:
            centred = patches - patches.mean((1, 2, 3), keepdim=True)
            variance = (centred * centred).mean((1, 2, 3), keepdim=True) * 1024 / 1023
            patches = centred / (variance.sqrt() + 0.1)
        found = self.network.layers(patches)
        if not self.network.unit:
            return found
        return found / (found * found).sum(1, keepdim=True).sqrt().clamp(min=1e-12)


def _in_plain_steps(network: nn.Module) -> nn.Module:
    if isinstance(network, Joint):
        return Joint(network.denoiser, _in_plain_steps(network.descriptor))
    return _InPlainSteps(network) if isinstance(network, L2Net) else network


def _traced(network: nn.Module) -> bytes:
    """What torch's older exporter makes of a network.

    The newer one needs a second package, and gives names and shapes that OpenCV's
    reader stumbles over.
    """
    plain = _in_plain_steps(copy.deepcopy(network)).cpu().float().eval()
    # Whole numbers up to 255, so that the shipped networks do not warn of their range.
    patches = (torch.arange(2 * 1024.0) % 256).reshape(2, 1, 32, 32)
    written = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), torch.no_grad():
        output = "denoised" if plain(patches).ndim == 4 else "descriptors"
        torch.onnx.export(
            plain,
            (patches,),
            written,
            dynamo=False,
            opset_version=OPSET,
            # Otherwise batch norms are multiplied into the weights, which half
            # precision would no longer hold. onnxruntime does it when it loads them.
            training=torch.onnx.TrainingMode.PRESERVE,
            input_names=["patches"],
            output_names=[output],
            dynamic_axes={"patches": {0: "n"}, output: {0: "n"}},
        )
    return written.getvalue()


def _halve(onnx: ModuleType, graph: object) -> None:
    """Keep the weights of an ONNX graph in half precision, where they lose nothing."""
    casts = []
    for weight in graph.initializer:
        values = onnx.numpy_helper.to_array(weight)
        if values.dtype != np.float32 or values.ndim < 2:
            continue
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if (half != values).any():
            continue
        name = weight.name
        weight.CopyFrom(onnx.numpy_helper.from_array(half, f"{name}.half"))
        to = onnx.TensorProto.FLOAT
        casts.append(onnx.helper.make_node("Cast", [weight.name], [name], to=to))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def is_onnx(path: Path) -> bool:
    """Whether a file is a network in the ONNX format.

    Raises ValueError where the package onnx is missing.
    """
    onnx = _onnx()
    if not path.is_file():
        return False
    try:
        onnx.checker.check_model(path.read_bytes())
    except Exception:  # the reader of Protocol Buffers and the checker have their own
        return False
    return True


def _onnx() -> ModuleType:
    try:
        return import_module("onnx")
    except ImportError as error:
        raise ValueError(
            "an ONNX file needs the package onnx: pip install 'hpkit[export]'"
        ) from error
