"""Every notebook runs on HPatches: here on a small replica of it, fetched from loopback.

The same replica and parameters are used in the browser's tests, and what one of the two has
trained, the other finds in the store of `make test`.
"""

import asyncio
import json
import os
from pathlib import Path

import pytest
from web import archive, serve

from hpkit.book.executed import NOTEBOOKS
from hpkit.book.parameters import defaults
from hpkit.book.run import papermill
from hpkit.data.photos import photo_table, photos_folder

VALUES = {"data": "hpatches", "epochs": 1, "samples": 60, "points": 16, "test_points": 12,
          "denoiser_epochs": 1, "denoiser_samples": 60, "seeds": [0], "pairs": 100, "queries": 8,
          "distractors": 30, "descriptor_optimizers": ["sgd", "adam"]}
# These show the photos, whatever the data set.
OF_PHOTOS = ("00", "01", "14", "15")
CHAPTERS = [path for path in sorted(NOTEBOOKS.glob("*.ipynb")) if path.stem[:2] not in OF_PHOTOS]


@pytest.fixture(scope="module")
def replica(tmp_path_factory):
    """Sequences of the photos in the release's layout, behind a server; names as officially."""
    names = [kind + name for name in photo_table().name for kind in ("i_", "v_")][:20]
    sequences = {name: {path.name: path.read_bytes() for path in
                        (photos_folder() / name).glob("*.png") if "_noise" not in path.name}
                 for name in names}
    data = tmp_path_factory.mktemp("data")
    (data / "hpatches").mkdir()
    (data / photos_folder().name).symlink_to(photos_folder())  # for what is shown of the photos
    splits = {"a": {"train": names[8:], "validation": names[4:8], "test": names[:4]}}
    (data / "hpatches" / "splits.json").write_text(json.dumps(splits))
    with serve({"/release.zip": archive(sequences)}) as site, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HPKIT_DATA", str(data))
        patch.setenv("HPKIT_HPATCHES_URL", f"{site.url}/release.zip")
        patch.setenv("HPKIT_RUNS", str(Path(os.environ.get("HPKIT_RUNS", data)) / "replica"))
        yield data


@pytest.mark.timeout(300)
@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_on_hpatches(replica, path, tmp_path):
    values = {name: value for name, value in VALUES.items() if name in defaults(path)}
    said = asyncio.run(papermill(path, tmp_path / path.name, values, 280, {}))
    assert said == "", said[-2000:]

