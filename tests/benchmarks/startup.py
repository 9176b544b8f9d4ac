"""Seconds until one can begin: `import hpkit`, and to open the embedded set.

python tests/benchmarks/startup.py [--rounds 5]

`import hpkit` is timed inside a fresh Python. The embedded set is opened where it has been built
before.
"""

import subprocess
import sys

import measure

FRESH = "import time; t = time.perf_counter(); {}; print(time.perf_counter() - t)"
STEPS = {"import hpkit": "import hpkit",
         "import hpkit.patches": "import hpkit.patches",
         "import hpkit.training (torch)": "import hpkit.training",
         "open the embedded set": "from hpkit.patches import load; t = time.perf_counter(); "
                                  "load('photos')",
         "and read all of one source": "from hpkit.patches import load; t = time.perf_counter(); "
                                       "load('photos').train['clean']"}


def fresh(code: str) -> float:
    """Seconds of this code in a Python of its own."""
    command = [sys.executable, "-c", FRESH.format(code)]
    return float(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout)


def main() -> None:
    chosen = measure.options(__doc__, rounds={"type": int, "default": 5})
    arms = {name: lambda code=code: fresh(code) for name, code in STEPS.items()}
    measure.take_turns(arms, 1)  # reads the files
    rounds = measure.take_turns(arms, chosen.rounds)
    columns = ["median", "least", "most"]
    measure.report(chosen.out, "startup", {"seconds": measure.compare(rounds)[columns]})


if __name__ == "__main__":
    main()
