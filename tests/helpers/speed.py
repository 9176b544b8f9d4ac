"""How fast this machine trains decides how often the tests repeat what takes longest.

HPKIT_TESTS=all runs every test anywhere.
HPKIT_TESTS=few leaves out everywhere what a slow machine leaves out.
"""

import os
import time
from functools import cache

# Processors with AVX-512 take 0.3 to 0.5 seconds, others 1.5 and more.
# No known kind is near the limit, so that one kind of machine always chooses alike.
LIMIT = 0.75
CHOICE = os.environ.get("HPKIT_TESTS", "")
NO_BFLOAT16 = "this processor only emulates bfloat16, and so has no need of"
NO_NEWER = "this processor has no newer instructions to switch off for"
OTHER_TORCH = "older torch releases draw other first weights than those of"
LEFT_OUT = "too slow a machine: `HPKIT_TESTS=all make test` runs"


@cache
def seconds() -> float:
    """Of one thread, for a hundred triplets: the best of three.

    They are the processor's, not the clock's, which other work would slow down.
    """
    return min(_training() for _ in range(3))


def _training() -> float:
    # Only here: `make check` has no use for it, and torch takes seconds to import.
    from tiny import PATCHES

    from hpkit.networks.l2net import L2Net
    from hpkit.training.fit import fit
    from hpkit.training.samplers import Triplets

    options = {"epochs": 1, "lr": 1e-6, "batch_size": 50, "device": "cpu"}
    started = time.process_time()
    list(fit(L2Net(seed=0), Triplets(PATCHES, samples=100), **options))
    return time.process_time() - started


def is_slow(measured: float) -> bool:
    """Whether the tests marked `repeats` are left out."""
    return CHOICE == "few" or (CHOICE != "all" and measured > LIMIT)
