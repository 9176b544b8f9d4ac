"""Patches in, descriptors or denoised patches out, by a network or by any function."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from hpkit.devices import (
    exact,
    keep_memory,
    memory_layout,
    resolve_device,
    resolve_precision,
)
from hpkit.evaluation.distances import as_array
from hpkit.waiting import NETWORKS


def describe(
    descriptor: nn.Module | Callable,
    patches: np.ndarray,
    *,
    batch_size: int = 128,
    device: str = "auto",
    precision: str = "auto",
    progress: bool = False,
) -> np.ndarray:
    """Descriptors of patches, by a network or by a function such as `baselines.sift`.

    patches: uint8 (..., 32, 32), usually (points, 16, 32, 32) -> float32 (..., d). A
    network is used in eval mode. It stays on the device, and its train/eval mode is put
    back. Raises ValueError for other patches.
    """
    outputs = [
        output.astype(np.float32, copy=False)
        for output in _outputs(
            descriptor, patches, batch_size, device, precision, progress
        )
    ]
    return np.concatenate(outputs).reshape(*patches.shape[:-2], -1)


def denoise(
    denoiser: nn.Module | Callable,
    patches: np.ndarray,
    *,
    batch_size: int = 128,
    device: str = "auto",
    precision: str = "auto",
    progress: bool = False,
) -> np.ndarray:
    """Denoised patches, rounded and clipped to 0..255: uint8 of the shape of `patches`.

    denoiser: a network, float (n, 1, 32, 32) to the same, or a function such as
    `baselines.non_local_means`. Raises ValueError where its output is not finite.
    """
    parts = []
    for output in _outputs(denoiser, patches, batch_size, device, precision, progress):
        if not np.isfinite(output).all():
            raise ValueError(
                "the denoiser's output is not finite: its training diverged"
            )
        parts.append(np.clip(np.rint(output), 0, 255).astype(np.uint8))
    return np.concatenate(parts).reshape(patches.shape)


def _outputs(
    function: nn.Module | Callable,
    patches: np.ndarray,
    batch_size: int,
    device: str,
    precision: str,
    progress: bool,
) -> Iterator[np.ndarray]:
    """The outputs, one batch of patches after the other."""
    _check(patches, batch_size)
    used = nullcontext(function)
    if isinstance(function, nn.Module):
        chosen = resolve_device(device)
        if chosen.type == "cpu":
            batch_size = min(batch_size, 128)  # more is slower
        used = _as_function(function, chosen, resolve_precision(precision, chosen))
    flat = patches.reshape(-1, *patches.shape[-2:])
    starts = range(0, len(flat), batch_size)
    with used as call:
        for start in tqdm(starts, disable=not progress, unit="batch"):
            batch = flat[start : start + batch_size].copy()  # a function may change it
            output = as_array(call(batch))
            if len(output) != len(batch):
                raise ValueError(
                    f"{len(output)} outputs for {len(batch)} patches, expected one for "
                    "each"
                )
            yield output


def _check(patches: np.ndarray, batch_size: int) -> None:
    if not isinstance(patches, np.ndarray):
        raise ValueError(
            f"patches are a {type(patches).__name__}, expected an array such as "
            'data.test["clean"]'
        )
    if patches.dtype != np.uint8 or patches.ndim < 3 or patches.size == 0:
        raise ValueError(
            f"patches are {patches.dtype} {patches.shape}, expected uint8 "
            "(..., height, width) with at least one patch"
        )
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}, expected at least 1 patch")
    if patches.max() == 1:
        warnings.warn(
            "no pixel is over 1, of 255: were these patches scaled to 0..1 before they "
            "became uint8? Give the grey levels as they are in the file",
            stacklevel=4,
        )


@contextmanager
def _as_function(
    network: nn.Module, device: torch.device, precision: str
) -> Iterator[Callable]:
    """A network in eval mode, as a function of uint8 (n, height, width) arrays.

    Its train mode is put back at the end, and no other thread changes it until then.
    """
    keep_memory()
    with NETWORKS:
        modes = [(module, module.training) for module in network.modules()]
        network.to(device, memory_format=memory_layout(device)).eval()
        try:
            yield _function(network, device, precision)
        finally:
            for module, mode in modes:
                module.training = mode


def _function(network: nn.Module, device: torch.device, precision: str) -> Callable:

    @torch.inference_mode()
    def call(batch: np.ndarray) -> np.ndarray:
        images = torch.tensor(batch, device=device)[:, None].float()
        with (
            exact(),
            torch.autocast(device.type, torch.bfloat16, precision == "bfloat16"),
        ):
            return network(images).float().cpu().numpy()

    return call
