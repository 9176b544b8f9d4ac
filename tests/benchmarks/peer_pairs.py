"""Descriptors that others made, on whole photos, by the measures of the field.

`python tests/benchmarks/peer_pairs.py FOLDER` writes results/peer_pairs.csv: the test photos beside
changed copies of themselves, whose homography is known (`hpkit.record.matching`), and graf1 and
graf3 from the FOLDER, as in Debian's opencv-doc. A few minutes on one idle core.

All descriptors get the same SIFT keypoints and the same upright 32 x 32 patches, five keypoint
sizes wide. "RootSIFT on the photo" is OpenCV's own, which looks at the photo itself. A match is a
mutual nearest neighbour that passes the ratio test. Each descriptor has a ratio of its own: the
one with the best mean F1 on the validation photos, changed in the same way. F1 takes matches within
3 pixels of the truth as correct, and a keypoint that was found again as one to be matched.

Columns: repeatability is DeTone et al.'s ("SuperPoint", 2018, appendix A) at 3 pixels; it is the
detector's, and so the same for all. mma_1 to mma_10 is the share of matches within 1 to 10 pixels,
the mean matching accuracy of one pair (Dusmanu et al., "D2-Net", CVPR 2019); corner_error is what
homography accuracy is made of.
"""

import argparse
import zlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import measure
import numpy as np
import pandas as pd
import peers
import torch
from scipy.spatial.distance import cdist

from hpkit.data.photos import photo_table, read_photo
from hpkit.data.sets import data_set
from hpkit.matching.keypoints import (
    detect,
    keypoint_frames,
    keypoint_patches,
    opencv_rootsift,
)
from hpkit.matching.photos import corner_error, fit_homography, match, project
from hpkit.record import graf, write_table
from hpkit.record.matching import CLOSE, KEYPOINTS, changed

CHANGES = (("viewpoint", 0.6), ("viewpoint", 1.2), ("noise", 40))
RATIOS = (0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
PIXELS = range(1, 11)
Described = dict[str, tuple[np.ndarray, np.ndarray]]  # places (n, 2), descriptors (n, d)


def described(image: np.ndarray, ways: dict[str, peers.Descriptor]) -> Described:
    """A photo's keypoints, by each descriptor."""
    keypoints = detect(image, KEYPOINTS)
    places = keypoint_frames(keypoints)[:, :2]
    patches = keypoint_patches(image, keypoints)
    found = {name: (places, way(patches)) for name, way in ways.items()}
    return found | {"RootSIFT on the photo": (places, opencv_rootsift(image, keypoints))}


def ranked(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mutual nearest neighbours (m, 2), and of each how near it is beside the second nearest.

    Those below a ratio are what `match` gives at that ratio.
    """
    matches = match(first, second, ratio=None)
    far = np.sort(cdist(first[matches[:, 0]], second), axis=1)
    return matches, far[:, 0] / np.maximum(far[:, 1], 1e-12)


def found_again(first: np.ndarray, second: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Which keypoints of the first photo have one of the second within CLOSE: bool (n,)."""
    return cdist(project(first, truth), second).min(axis=1) < CLOSE


def repeatability(
    first: np.ndarray, second: np.ndarray, truth: np.ndarray, shapes: tuple[tuple, tuple]
) -> float:
    """The share of keypoints found again, of those that both photos show."""
    back = np.linalg.inv(truth)
    seen = inside(project(first, truth), shapes[1]), inside(project(second, back), shapes[0])
    again = found_again(first, second, truth)[seen[0]], found_again(second, first, back)[seen[1]]
    return float(np.concatenate(again).mean())


def inside(places: np.ndarray, shape: tuple) -> np.ndarray:
    """Which places lie in a photo of this shape."""
    return ((places >= 0) & (places <= np.array(shape[1::-1]) - 1)).all(axis=1)


def f1(right: np.ndarray, ratios: np.ndarray, total: int) -> np.ndarray:
    """F1 at each of RATIOS: right, bool (m,), of the matches; total: keypoints found again."""
    kept = ratios < np.array(RATIOS)[:, None]
    return 2 * (kept & right).sum(1) / np.maximum(kept.sum(1) + total, 1)


def errors(first: tuple, second: tuple, matches: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Pixels between where each match goes and where it should."""
    here, there = first[0][matches[:, 0]], second[0][matches[:, 1]]
    return np.linalg.norm(project(here, truth) - there, axis=1)


def pairs(side: str, draws: int, ways: dict) -> Iterator[tuple]:
    """A side's photos and their changed copies: what it is, both described, truth, shapes."""
    table = photo_table()
    for name in table.name[table.split == side]:
        photo = read_photo(name)
        first = described(photo, ways)
        for change, strength in CHANGES:
            for draw in range(draws):
                random = np.random.RandomState(zlib.crc32(f"{name}/{change}/{draw}".encode()))
                image, truth = changed(photo, change, strength, random)
                told = {"change": change, "strength": strength, "photo": name, "draw": draw}
                yield told, first, described(image, ways), truth, (photo.shape, image.shape)


def best_ratios(draws: int, ways: dict) -> dict[str, tuple[float, float]]:
    """Of each descriptor the ratio with the best mean F1 on validation photos, and that F1."""
    found = {}
    for told, first, second, truth, _ in pairs("validation", draws, ways):
        for name in first:
            matches, ratios = ranked(first[name][1], second[name][1])
            right = errors(first[name], second[name], matches, truth) < CLOSE
            total = found_again(first[name][0], second[name][0], truth).sum()
            found.setdefault(name, []).append(f1(right, ratios, total))
        print("validation", *told.values(), flush=True)
    means = {name: np.mean(values, axis=0) for name, values in found.items()}
    return {name: (RATIOS[mean.argmax()], mean.max()) for name, mean in means.items()}


def row(first: tuple, second: tuple, truth: np.ndarray, shape: tuple, ratio: float) -> dict:
    """One pair by one descriptor."""
    matches, ratios = ranked(first[1], second[1])
    matches = matches[ratios < ratio]
    off = errors(first, second, matches, truth)
    homography, _ = fit_homography(first[0][matches[:, 0]], second[0][matches[:, 1]])
    accuracy = {f"mma_{p}": (off < p).mean() if len(off) else 0.0 for p in PIXELS}
    return {"matches": len(matches), "correct": (off < CLOSE).sum(), **accuracy,
            "corner_error": corner_error(homography, truth, shape)}


def rows(folder: Path, draws: int, ways: dict) -> Iterator[dict]:
    """All pairs by all descriptors."""
    chosen = best_ratios(draws, ways)
    print(chosen, flush=True)
    one, other, truth = graf.read(folder)
    told = {"change": "graf", "strength": np.nan, "photo": "graf1 and graf3", "draw": 0}
    real = told, described(one, ways), described(other, ways), truth, (one.shape, other.shape)
    for told, first, second, truth, shapes in chain([real], pairs("test", draws, ways)):
        places = next(iter(first.values()))[0], next(iter(second.values()))[0]
        repeated = repeatability(*places, truth, shapes)
        for name, (ratio, score) in chosen.items():
            made = row(first[name], second[name], truth, shapes[0], ratio)
            yield {**told, "descriptor": name, "ratio": ratio, "validation_f1": score,
                   "repeatability": repeated, **made}
        print(*told.values(), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="with graf1.png, graf3.png and H1to3p.xml")
    parser.add_argument("--draws", type=int, default=3, help="random changes (default: 3)")
    parser.add_argument("--out", type=Path, default=peers.RESULTS / "peer_pairs.csv")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    try:
        graf.read(chosen.folder)  # a missing file is told now, not after minutes
    except (OSError, ValueError) as error:
        raise SystemExit(str(error)) from error
    worker = measure.contrib_worker()
    made = pd.DataFrame(rows(chosen.folder, chosen.draws, peers.descriptors(worker)))
    worker.close()
    made = made.assign(**peers.versions(data_set("photos").version()))
    write_table(chosen.out, made, float_format="%.5g")
    print(made.groupby(["change", "descriptor"], sort=False)[["mma_3", "corner_error"]].median())


if __name__ == "__main__":
    main()
