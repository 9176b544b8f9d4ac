"""A real pair of photos with a known homography, matched: results/graf.csv.

graf1 and graf3 are Mikolajczyk and Schmid's wall with graffiti, the second seen from 30
degrees to the side. It is a first look at reality: it is reported, and never used to
train or to choose anything.
"""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch

from hpkit.record import results_folder, write_table
from hpkit.record.matching import compared, described, descriptors, versions


def read(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both photos in grey and the true homography; ValueError where one is missing."""
    names = ("graf1.png", "graf3.png", "H1to3p.xml")
    if not all((folder / name).is_file() for name in names):
        raise ValueError(
            f"{folder}: expected graf1.png, graf3.png and H1to3p.xml in it"
        )
    photos = [cv2.imread(str(folder / n), cv2.IMREAD_GRAYSCALE) for n in names[:2]]
    file = cv2.FileStorage(str(folder / names[2]), cv2.FILE_STORAGE_READ)
    if any(photo is None for photo in photos) or not file.isOpened():
        raise ValueError(f"{folder}: graf1.png, graf3.png or H1to3p.xml is damaged")
    return *photos, file.getFirstTopLevelNode().mat()


def record(folder: Path) -> None:
    """Match graf1.png with graf3.png of a folder and write results/graf.csv."""
    path = results_folder() / "graf.csv"
    first, second, truth = read(folder)
    torch.set_num_threads(1)
    compute = descriptors()
    rows = compared(described(first, compute), second, truth, first.shape, compute)
    told = {"change": "graf", "strength": np.nan, "photo": "graf1 and graf3", "draw": 0}
    table = pd.DataFrame([{**told, **row} for row in rows]).assign(**versions())
    write_table(path, table, float_format="%.5g")
    print(table.iloc[:, 4:12].round(2).to_string(index=False))
