"""Test photos matched with changed copies of themselves: results/matching.csv.

Viewpoint (`photos.move`) and light (`photos.relight`) change by a strength, which is 0
to 1 in the data set. Noise is Gaussian, its standard deviation in grey levels. All
descriptors get the same SIFT keypoints, found anew in each image.
"""

import platform
import time
import zlib
from collections.abc import Callable, Iterator
from functools import partial

import cv2
import numpy as np
import pandas as pd
import torch

from hpkit.data.photos import move, photo_table, read_photo, relight
from hpkit.data.sets import data_set
from hpkit.matching.keypoints import (
    describe_keypoints,
    detect,
    keypoint_frames,
    opencv_rootsift,
    opencv_sift,
)
from hpkit.matching.photos import corner_error, fit_homography, match, project
from hpkit.networks.pretrained import card, pretrained
from hpkit.record import results_folder, write_table

# The training patches were seen from viewpoints of up to 1. What lies beyond is new to
# a network.
CHANGES = {
    "viewpoint": (0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4),
    "light": (0.25, 0.5, 0.75, 1.0),
    "noise": (10, 20, 40, 60, 80),
}
CLOSE = 3.0  # pixels: a match that is correct
SOLVED = 5.0  # pixels: a mean corner error that solves a pair
KEYPOINTS = 500
RATIO = 0.9


def descriptors() -> dict[str, Callable]:
    """Name -> function of (image, keypoints)."""
    ours = partial(describe_keypoints, descriptor=pretrained())
    return {"SIFT": opencv_sift, "RootSIFT": opencv_rootsift, "ours": ours}


def changed(
    photo: np.ndarray, change: str, strength: float, random: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """The photo after a change, and the true homography from it."""
    if change == "viewpoint":
        return move(photo, strength, random)
    if change == "light":
        return relight(photo, strength, random), np.eye(3)
    noisy = photo + strength * random.standard_normal(photo.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8), np.eye(3)


def scored(first: tuple, second: tuple, truth: np.ndarray, shape: tuple) -> dict:
    """Match two (points, descriptors, seconds) and compare with the truth."""
    started = time.perf_counter()
    matches = match(first[1], second[1], RATIO)
    here, there = first[0][matches[:, 0]], second[0][matches[:, 1]]
    homography, inliers = fit_homography(here, there)
    seconds = time.perf_counter() - started
    right = np.linalg.norm(project(here, truth) - there, axis=1) < CLOSE
    error = corner_error(homography, truth, shape)
    return {
        "keypoints": len(second[0]),
        "matches": len(matches),
        "inliers": inliers.sum(),
        "correct": right.sum(),
        "precision": right.mean() if len(right) else 0.0,
        "corner_error": error,
        "solved": error < SOLVED,
        "seconds": seconds,
    }


def described(image: np.ndarray, compute: dict[str, Callable]) -> dict[str, tuple]:
    """For each descriptor: places (n, 2), descriptors (n, d), and their seconds."""
    keypoints = detect(image, KEYPOINTS)
    places = keypoint_frames(keypoints)[:, :2]
    parts = {}
    for name, function in compute.items():
        started = time.perf_counter()
        found = function(image, keypoints)
        parts[name] = places, found, time.perf_counter() - started
    return parts


def versions() -> dict[str, object]:
    """What made a row, for all rows alike."""
    return {
        "data": data_set("photos").version(),
        "weights": f"sha256 {card()['sha256'][:12]}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "threads": torch.get_num_threads(),
    }


def compared(
    first: dict[str, tuple],
    image: np.ndarray,
    truth: np.ndarray,
    shape: tuple,
    compute: dict[str, Callable],
) -> Iterator[dict]:
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
                seed = zlib.crc32(f"{name}/{change}/{draw}".encode())
                random = np.random.RandomState(seed)
                image, truth = changed(photo, change, strength, random)
                told = {"change": change, "strength": strength, "photo": name}
                for row in compared(first, image, truth, photo.shape, compute):
                    yield {**told, "draw": draw, **row}


def record(draws: int = 3) -> None:
    """Write results/matching.csv; draws: random changes of each kind and strength."""
    path = results_folder() / "matching.csv"
    torch.set_num_threads(1)
    started = time.perf_counter()
    table = pd.DataFrame(rows(draws)).assign(**versions())
    write_table(path, table, float_format="%.5g")
    mean = table.groupby(["change", "strength", "descriptor"], sort=False)
    shown = ["correct", "precision", "solved", "seconds"]
    print(mean[shown].mean().round(3).to_string())
    print(f"{len(table)} rows in {time.perf_counter() - started:.0f} s")
