"""What the benchmarks share: arms that take turns, their medians, the machine, a file of figures.

Each script prints its tables and writes them, with the machine that gave them, to `NAME.json` in
the folder of --out (by default `measured`, beside the scripts).
"""

import argparse
import importlib.metadata
import json
import os
import platform
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

HERE = Path(__file__).parent
VERSIONS = ("torch", "numpy", "scipy", "pandas")


def machine() -> dict[str, object]:
    """What gave the figures."""
    import torch  # not sooner: some measure the memory of what needs no torch

    from hpkit.devices import resolve_device, resolve_precision

    about = Path("/proc/cpuinfo")
    gpu = {"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}
    model = re.search(r"model name\s*: (.*)", about.read_text()) if about.exists() else None
    return {"processor": model[1] if model else platform.processor() or platform.machine(),
            **gpu, "cores": os.cpu_count(), "threads": torch.get_num_threads(),
            "precision": resolve_precision("auto", resolve_device("cpu")),
            "system": platform.platform(), "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in VERSIONS},
            "finished": time.strftime("%Y-%m-%d %H:%M"), "arguments": " ".join(sys.argv[1:])}


def options(description: str, out: Path = HERE / "measured", **more: dict) -> argparse.Namespace:
    """The command line: --out, --threads, and the script's own, name to add_argument's keywords."""
    import torch

    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--out", type=Path, default=out)
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    for name, settings in more.items():
        parser.add_argument(f"--{name.replace('_', '-')}", **settings)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    return chosen


def take_turns(arms: dict[str, Callable[[], float]], rounds: int) -> pd.DataFrame:
    """One value of each arm a round, one arm after the other: other work here hits all alike."""
    return pd.DataFrame([{name: arm() for name, arm in arms.items()} for _ in range(rounds)])


def seconds(work: Callable[[], object]) -> Callable[[], float]:
    """An arm for `take_turns`: how long the work takes."""
    def arm() -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    return arm


def compare(values: pd.DataFrame, faster: str = "less") -> pd.DataFrame:
    """A row per arm: median, least and most; and how many times better than the first arm it is.

    The ratio is taken in each round, then its median, least and most. faster: "less" or "more".
    """
    first = values.iloc[:, :1].to_numpy()
    ratios = first / values if faster == "less" else values / first
    return pd.DataFrame({"median": values.median(), "least": values.min(), "most": values.max(),
                         "ratio": ratios.median(), "ratio least": ratios.min(),
                         "ratio most": ratios.max()})


def report(out: Path, name: str, tables: dict[str, pd.DataFrame]) -> None:
    """Print the tables; write them to NAME.json with the machine."""
    about = machine()
    print(f"\n{about['processor']}, {about['threads']} of {about['cores']} cores, "
          f"torch {about['torch']}, precision auto is {about['precision']}")
    for title, table in tables.items():
        print(f"\n{title}\n{table.to_string(float_format=lambda v: f'{v:.4g}')}", flush=True)
    out.mkdir(parents=True, exist_ok=True)
    rows = {title: table.reset_index().astype(object).where(table.reset_index().notna(), None)
            .to_dict("records") for title, table in tables.items()}  # NaN is not JSON
    text = json.dumps({"machine": about, "tables": rows}, indent=1, default=float, allow_nan=False)
    (out / f"{name}.json").write_text(text + "\n")


def memory(kind: str = "VmHWM") -> float:
    """Resident memory of this process, GB: its peak, or "VmRSS", what it holds now.

    Without /proc always the peak, as getrusage has it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(rf"{kind}:\s+(\d+) kB", status.read_text())[1]) / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def in_own_process(script: str, *arguments: object) -> dict:
    """What a script prints as its last line of JSON, run by itself."""
    command = [sys.executable, script, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


class Worker:
    """Another Python that waits for orders: a line of JSON in, a line of JSON out."""

    def __init__(self, python: Path, script: Path, *arguments: object) -> None:
        self.command = [str(python), str(script), *map(str, arguments)]
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def __call__(self, **order: object) -> dict:
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{' '.join(self.command)} ended in the middle of {order}")
        return json.loads(answer)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def keras_worker(data: Path, threads: int) -> Worker:
    """`keras_arm.py` in the environment that `make benchmark` sets up for it."""
    advice = ("the Keras baseline needs TensorFlow in an environment of its own: `python3 -m venv "
              ".venv/keras && .venv/keras/bin/pip install -r tests/benchmarks/keras.txt`, or name "
              "its Python in HPKIT_KERAS (Python 3.10 to 3.13)")
    return Worker(python_of("keras", advice), HERE / "keras_arm.py", data, threads)


def contrib_worker() -> Worker:
    """`contrib_arm.py` in the environment that `make peers` sets up for it."""
    advice = ("OpenCV contrib lives in an environment of its own: `make peers` sets it up, or name "
              "its Python in HPKIT_CONTRIB")
    return Worker(python_of("contrib", advice), HERE / "contrib_arm.py")


def python_of(name: str, advice: str) -> Path:
    """The Python of the environment `.venv/<name>`, or the one that HPKIT_<NAME> names.

    Raises SystemExit with the advice where it is missing.
    """
    usual = HERE.parents[1] / ".venv" / name / "bin/python"
    found = Path(os.environ.get(f"HPKIT_{name.upper()}", usual))
    if not found.exists():
        raise SystemExit(f"{found}: not found; {advice}")
    return found
