"""What a network can take: patches of one channel, as floats."""

from torch import Tensor


def check_patches(patches: Tensor) -> None:
    """Raise ValueError for other than floating-point patches (n, 1, height, width)."""
    if (
        isinstance(patches, Tensor)
        and patches.is_floating_point()
        and patches.ndim == 4
        and patches.shape[1] == 1
    ):
        return
    found = str(getattr(patches, "dtype", type(patches).__name__))
    raise ValueError(
        f"patches are {found.removeprefix('torch.')} "
        f"{tuple(getattr(patches, 'shape', ()))}, expected a float tensor "
        "(n, 1, 32, 32) of pixels on 0..255, such as torch.tensor(patches)[:, None]"
        ".float() of uint8 (n, 32, 32); `describe` and `denoise` take the arrays"
    )
