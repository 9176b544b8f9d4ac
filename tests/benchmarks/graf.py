"""Match a real pair of photos with a known homography, graf1 and graf3; write results/graf.csv.

`python tests/benchmarks/graf.py FOLDER`, which holds graf1.png, graf3.png and H1to3p.xml, as
Debian's package opencv-doc does (Mikolajczyk and Schmid's wall with graffiti, from 30 degrees
aside). It is a first look at reality: reported, never used to train or to choose anything.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from matching import RESULTS, compared, described, descriptors, versions


def read(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both photos in grey and the true homography. Raises SystemExit where one is not there."""
    photos = [cv2.imread(str(folder / f"graf{n}.png"), cv2.IMREAD_GRAYSCALE) for n in (1, 3)]
    file = cv2.FileStorage(str(folder / "H1to3p.xml"), cv2.FILE_STORAGE_READ)
    if any(photo is None for photo in photos) or not file.isOpened():
        raise SystemExit(f"{folder}: expected graf1.png, graf3.png and H1to3p.xml in it")
    return *photos, file.getFirstTopLevelNode().mat()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    first, second, truth = read(parser.parse_args().folder)
    torch.set_num_threads(1)
    compute = descriptors()
    rows = compared(described(first, compute), second, truth, first.shape, compute)
    table = pd.DataFrame([{"change": "graf", "strength": np.nan, "photo": "graf1 and graf3",
                           "draw": 0, **row} for row in rows]).assign(**versions())
    table.to_csv(RESULTS / "graf.csv", index=False, float_format="%.5g")
    print(table.iloc[:, 4:12].round(2).to_string(index=False))


if __name__ == "__main__":
    main()
