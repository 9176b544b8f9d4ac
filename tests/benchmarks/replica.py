"""A replica of HPatches with all its sequences, fetched, converted, opened, sampled and trained on.

`python tests/benchmarks/replica.py [--points 862] [--json FILE]` builds 116 sequences of 65 × 65
patches (1.6 million with the default) from the embedded photos in a temporary folder, as one zip,
serves it on loopback, and measures seconds and peak memory of each step in a process of its own.
Needs 12 GB of disk for a while. The small set that sampling is compared with has 6 sequences.
"""

import argparse
import json
import mmap
import os
import platform
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import cv2
import numpy as np
from measure import in_own_process, peak
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

NAMES = [f"i_{n:03d}" for n in range(57)] + [f"v_{n:03d}" for n in range(59)]
TEST, SMALL = NAMES[::3] + NAMES[1:2], NAMES[3:9]


def build(path: Path, points: int) -> None:
    """The zip: photos' patches enlarged to 65 pixels, each sequence moved, mirrored and relit."""
    from hpkit.data.patches import PATCH_TYPES
    from hpkit.data.sets import load

    photos = load("photos").train["clean"]
    random = np.random.RandomState(0)
    lengths = random.randint(points // 3, 2 * points - points // 3, len(NAMES))
    with zipfile.ZipFile(path, "w") as archive:
        for name, length in zip(tqdm(NAMES, desc="building", mininterval=10), lengths, strict=True):
            rows = random.randint(0, len(photos), length)
            gain, flip = random.uniform(0.6, 1), 1 - 2 * random.randint(0, 2)
            for column, patch_type in enumerate(PATCH_TYPES):
                patches = (photos[rows, column][:, :, ::flip] * gain).astype(np.uint8)
                large = cv2.resize(patches.reshape(-1, 32), (65, 65 * length),
                                   interpolation=cv2.INTER_LINEAR)
                png = cv2.imencode(".png", large, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
                archive.writestr(f"hpatches-release/{name}/{patch_type}.png", png.tobytes())


# --- steps, each in a process of its own ---------------------------------------------------------

def fetch() -> dict:
    """All sequences over HTTP, to arrays."""
    from hpkit.data import hpatches

    hpatches.fetch(NAMES)
    return {}


def open_and_split() -> dict:
    from hpkit.data.sets import load

    data = load("hpatches")
    return {"points": [len(side) for side in (data.train, data.validation, data.test)]}


def sample() -> dict:
    """Triplets gathered a second, batch 50, from all training sequences and from six."""
    import torch

    from hpkit.data.sets import data_set, read_sequences
    from hpkit.data.splits import read_split
    from hpkit.training.samplers import Triplets

    names, rates = read_split(data_set("hpatches").folder(), "a")["train"], {}
    for size, chosen in (("small", SMALL), ("large", names), ("small again", SMALL)):
        triplets = Triplets(read_sequences("hpatches", chosen), source="noisy", samples=50_000)
        data = triplets.on(torch.device("cpu"))
        for _ in range(2):  # the first time pages come from the disk
            started = time.perf_counter()
            for batch in triplets.draw(torch.Generator().manual_seed(0)).split(50):
                triplets.outputs(lambda patches: patches, data, batch)
            rates[size] = round(50_000 / (time.perf_counter() - started))
    return {"triplets_per_second": rates}


def train() -> dict:
    """One short epoch of L2-Net on everything, to see the memory that it takes."""
    from hpkit.data.sets import load
    from hpkit.networks.l2net import L2Net
    from hpkit.training.fit import fit
    from hpkit.training.samplers import Triplets

    data = load("hpatches")
    list(fit(L2Net(seed=0), Triplets(data.train, "noisy", 500),
             Triplets(data.validation, "noisy", 100), epochs=1, device="cpu"))
    return {}


STEPS = {step.__name__: step for step in (fetch, open_and_split, sample, train)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=862, help="per sequence, on average")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        started = time.perf_counter()
        found = STEPS[options.step]()
        print(json.dumps({"step": options.step, "seconds": round(time.perf_counter() - started, 2),
                          "peak_GB": round(peak(), 2), **found}))
        return
    from web import serve

    with tempfile.TemporaryDirectory(prefix="hpkit-replica-") as folder:
        path, data = Path(folder) / "hpatches-release.zip", Path(folder) / "data" / "hpatches"
        build(path, options.points)
        data.mkdir(parents=True)
        split = {"test": TEST, "train": [name for name in NAMES if name not in TEST]}
        (data / "splits.json").write_text(json.dumps({"a": split}))
        with (path.open("rb") as file,
              mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as zipped,
              serve({"/x.zip": zipped}) as site):
            os.environ["HPKIT_DATA"] = str(data.parent)
            os.environ["HPKIT_HPATCHES_URL"] = f"{site.url}/x.zip"
            rows = [{"machine": platform.processor() or platform.machine(),
                     "cores": os.cpu_count(), "archive_GB": round(len(zipped) / 1e9, 2)}]
            for name in STEPS:
                rows.append(in_own_process(__file__, "--step", name))
                print(rows[-1], flush=True)
        rows[0]["arrays_GB"] = round(sum(f.stat().st_size for f in data.rglob("*")) / 1e9, 2)
    print(rows[0])
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
