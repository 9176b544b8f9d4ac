"""Match the test photos with changed copies of themselves; write results/matching.csv.

`python tests/benchmarks/matching.py` takes three minutes on one core. Viewpoint (`photos.move`)
and light (`photos.relight`) change by a strength, 0 to 1 in the data set; noise is Gaussian, its
standard deviation in grey levels. All descriptors get the same SIFT keypoints, found anew in each
image.
"""

import argparse
import platform
import time
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch

from hpkit.configs import data_version
from hpkit.matching import (
    card,
    corner_error,
    describe_keypoints,
    detect,
    fit_homography,
    keypoint_frames,
    match,
    opencv_rootsift,
    opencv_sift,
    pretrained,
    project,
)
from hpkit.photos import move, photo_table, read_photo, relight

RESULTS = Path(__file__).parents[2] / "notebooks" / "results"
# Patches to train on were seen from viewpoints of up to 1: what lies beyond is new to a network.
CHANGES = {"viewpoint": (0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4), "light": (0.25, 0.5, 0.75, 1.0),
           "noise": (10, 20, 40, 60, 80)}
CLOSE, SOLVED = 3.0, 5.0  # pixels: a match that is correct; a mean corner error that solves a pair
KEYPOINTS, RATIO = 500, 0.9


def descriptors() -> dict[str, Callable]:
    """Name -> function of (image, keypoints)."""
    return {"SIFT": opencv_sift, "RootSIFT": opencv_rootsift,
            "ours": partial(describe_keypoints, descriptor=pretrained())}


def changed(photo: np.ndarray, change: str, strength: float, random: np.random.RandomState
            ) -> tuple[np.ndarray, np.ndarray]:
    """The photo after a change, and the true homography from it."""
    if change == "viewpoint":
        return move(photo, strength, random)
    if change == "light":
        return relight(photo, strength, random), np.eye(3)
    noisy = photo + strength * random.standard_normal(photo.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8), np.eye(3)


def scored(first: tuple, second: tuple, truth: np.ndarray, shape: tuple) -> dict:
    """Match two (points, descriptors) and compare with the truth."""
    started = time.perf_counter()
    matches = match(first[1], second[1], RATIO)
    here, there = first[0][matches[:, 0]], second[0][matches[:, 1]]
    homography, inliers = fit_homography(here, there)
    seconds = time.perf_counter() - started
    right = np.linalg.norm(project(here, truth) - there, axis=1) < CLOSE
    error = corner_error(homography, truth, shape)
    return {"keypoints": len(second[0]), "matches": len(matches), "inliers": inliers.sum(),
            "correct": right.sum(), "precision": right.mean() if len(right) else 0.0,
            "corner_error": error, "solved": error < SOLVED, "seconds": seconds}


def described(image: np.ndarray, compute: dict[str, Callable]) -> dict[str, tuple]:
    """Per descriptor: places (n, 2), descriptors (n, d), seconds for them."""
    keypoints, parts = detect(image, KEYPOINTS), {}
    for name, function in compute.items():
        started = time.perf_counter()
        found = function(image, keypoints)
        parts[name] = keypoint_frames(keypoints)[:, :2], found, time.perf_counter() - started
    return parts


def versions() -> dict[str, object]:
    """What made a row, for all rows alike."""
    return {"data": data_version("photos"), "weights": f"sha256 {card()['sha256'][:12]}",
            "python": platform.python_version(), "torch": torch.__version__,
            "numpy": np.__version__, "opencv": cv2.__version__,
            "threads": torch.get_num_threads()}


def compared(first: dict[str, tuple], image: np.ndarray, truth: np.ndarray, shape: tuple,
             compute: dict[str, Callable]) -> Iterator[dict]:
    """A row per descriptor; seconds: to describe the second image and to match it."""
    second = described(image, compute)
    for name in compute:
        row = scored(first[name], second[name], truth, shape)
        seconds = row["seconds"] + second[name][2]
        yield {"descriptor": name, **row, "seconds": round(seconds, 3)}


def rows(draws: int) -> Iterator[dict]:
    """Every photo, change, strength and draw; a draw's seed is made of their names."""
    compute, table = descriptors(), photo_table()
    for name in table.name[table.split == "test"]:
        photo = read_photo(name)
        first = described(photo, compute)
        for change, strengths in CHANGES.items():
            for strength, draw in ((s, d) for s in strengths for d in range(draws)):
                random = np.random.RandomState(zlib.crc32(f"{name}/{change}/{draw}".encode()))
                image, truth = changed(photo, change, strength, random)
                for row in compared(first, image, truth, photo.shape, compute):
                    yield {"change": change, "strength": strength, "photo": name, "draw": draw,
                           **row}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=3, help="random changes of each kind")
    draws = parser.parse_args().draws
    torch.set_num_threads(1)
    started = time.perf_counter()
    table = pd.DataFrame(rows(draws)).assign(**versions())
    table.to_csv(RESULTS / "matching.csv", index=False, float_format="%.5g")
    mean = table.groupby(["change", "strength", "descriptor"], sort=False)
    print(mean[["correct", "precision", "solved", "seconds"]].mean().round(3).to_string())
    print(f"{len(table)} rows in {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
