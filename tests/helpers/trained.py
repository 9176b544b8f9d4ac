"""The trained number that has to come out again on every processor."""

import re

# The mean error of chapter 2's three U-Nets, in grey levels.
# The three differ by about twice as much as may lie between two processors.
NOTEBOOK, NEAR = "02_denoiser", 0.3


def mean_error(text: str) -> float | None:
    """As the chapter prints it, if it does so in this text."""
    found = re.search(r"mean of 3 seeds: (\d+\.\d+) ", text)
    return float(found[1]) if found else None
