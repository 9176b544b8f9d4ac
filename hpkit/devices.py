"""Where, and how precisely, the networks compute: 'auto' becomes what is best here."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

PRECISIONS = ("auto", "float32", "bfloat16")

MMAP_MAX, TRIM_THRESHOLD = -4, -1  # options of glibc's mallopt (its malloc.h)


def resolve_device(name: str = "auto") -> torch.device:
    """Turn 'auto' into the fastest device here: cuda, else mps, else cpu.

    A numbered device such as "cuda:1" works too. Raises ValueError for a device that is
    unknown or not in this machine.
    """
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    valid = [kind for kind, present in there.items() if present]
    if name == "auto":
        return torch.device(valid[0])
    if str(name).split(":")[0] not in valid:
        raise ValueError(
            f"no device {str(name)!r} here: expected one of auto, {', '.join(valid)}"
        )
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise ValueError(
            f"no device {str(name)!r}: expected a number after the colon"
        ) from error


def memory_layout(device: torch.device) -> torch.memory_format:
    """Channels last where that makes convolutions fastest; unchanged on Apple's MPS."""
    return torch.preserve_format if device.type == "mps" else torch.channels_last


def keep_memory() -> None:
    """Keep freed large blocks in this process, for the next ones: 10 to 30 % less time.

    By default glibc gives each block back to the system, which has to clear it before
    it lends it again. Nothing happens where the C library is another one.
    """
    if hasattr(libc := ctypes.CDLL(None) if os.name == "posix" else None, "mallopt"):
        libc.mallopt(MMAP_MAX, 0)
        libc.mallopt(TRIM_THRESHOLD, 2**31 - 1)


def resolve_precision(name: str, device: torch.device) -> str:
    """Turn 'auto' into 'bfloat16' where the hardware has it natively, else 'float32'.

    On a GPU bfloat16 needs an Ampere or newer, on a CPU AVX512-BF16 or AMX. Raises
    ValueError for an unknown name.
    """
    if name not in PRECISIONS:
        raise ValueError(
            f"unknown precision {name!r}: expected one of {', '.join(PRECISIONS)}"
        )
    if name != "auto":
        return name
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = device.type == "cpu" and _cpu_has_bfloat16()
    return "bfloat16" if native else "float32"


@contextmanager
def exact() -> Iterator[None]:
    """Repeatable convolutions and full float32 on a GPU, inside this context.

    Convolutions repeat bit for bit, and float32 is not cut to TF32.
    """
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.allow_tf32
    cudnn.deterministic, cudnn.allow_tf32 = True, False
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.allow_tf32 = before


@contextmanager
def threads_used(number: int) -> Iterator[None]:
    """Use as many threads as the configuration says, inside this context.

    Sums depend on their number.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _cpu_has_bfloat16() -> bool:
    # Two variables restrict torch's kernels (ATen) and its convolutions (oneDNN) to
    # what older CPUs can do.
    aten = os.environ.get("ATEN_CPU_CAPABILITY", "avx512").lower()
    onednn = os.environ.get("ONEDNN_MAX_CPU_ISA", "ALL").upper()
    if "avx512" not in aten or not any(
        w in onednn for w in ("ALL", "DEFAULT", "16", "AMX")
    ):
        return False
    # These are private: they may move.
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(
        getattr(torch.cpu, probe)() for probe in probes if hasattr(torch.cpu, probe)
    )
