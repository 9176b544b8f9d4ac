"""The trained number that has to come out again on every processor."""

import re

# The validation error of chapter 2's U-Net, in grey levels, and by how much it may differ
# from one processor to another.
NOTEBOOK, NEAR = "02_denoiser", 0.3


def mean_error(text: str) -> float | None:
    """As the chapter prints it, if it does so in this text."""
    found = re.search(r"your U-Net is (\d+\.\d+) grey levels off", text)
    return float(found[1]) if found else None
