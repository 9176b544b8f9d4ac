"""`hpkit match`: a sentence, a picture, and an exit status that tells a script the answer."""

import json
import re
import sys

import numpy as np
import pytest
from PIL import Image

from hpkit.__main__ import main
from hpkit.data.photos import move, read_photo
from hpkit.matching.images import read_image
from hpkit.matching.photos import corner_error

FEW = ["--number", "150"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Three photos: of one thing from two places, of another thing, and of nothing."""
    folder = tmp_path_factory.mktemp("photos")
    photo = read_photo("camera")
    seen, truth = move(photo, 0.5, np.random.RandomState(1))
    images = {"a": photo, "b": seen, "other": read_photo("gravel"), "blank": photo[:99] // 255}
    for name, image in images.items():
        Image.fromarray(image).save(folder / f"{name}.png")
    return folder, truth


def matched(folder, one, other, *options):
    return main(["match", str(folder / one), str(folder / other), *FEW, *options])


@pytest.mark.slow
def test_photos_that_match_are_told_in_a_sentence_and_drawn(photos, tmp_path, capsys):
    folder, _ = photos
    assert matched(folder, "a.png", "b.png", "--out", str(tmp_path / "m.png")) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"{folder / 'a.png'} and {folder / 'b.png'} match: ")
    assert told.endswith("matches agree on one homography.\n") and told.count("\n") == 1
    with Image.open(tmp_path / "m.png") as drawn:
        colours = np.asarray(drawn.convert("RGB")).reshape(-1, 3).astype(int)
        assert drawn.width == 1350 and 500 < drawn.height < 1000
    green = (colours[:, 1] > colours[:, 0] + 60) & (colours[:, 1] > colours[:, 2] + 20)
    assert green.sum() > 1000  # the lines of matches that agree


@pytest.mark.parametrize(("other", "reason"), [
    # OpenCV 5 finds no view in the few matches, OpenCV 4 one that chance would give.
    ("other.png", "do not match: (no 4 of the 8 matches fit a possible view|.* than by chance: 4 of 8)"),
    ("blank.png", "do not match: too few keypoints: 150 in the first photo, 0 in the second"),
])
def test_photos_that_do_not_match_have_a_reason_and_a_status(photos, other, reason, capsys):
    assert matched(photos[0], "a.png", other) == 1
    assert re.search(reason, capsys.readouterr().out)


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--denoise",)])
def test_json_tells_all_in_the_pixels_of_the_photos(photos, options, capsys):
    folder, truth = photos
    assert matched(folder, "a.png", "b.png", "--json", *options) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["sizes"][0] == [512, 512] and told["keypoints"] == [150, 150]
    assert len(told["agree"]) == len(told["matches"]) > 40 and sum(told["agree"]) > 20
    assert told["reason"] == "" and len(told["matches"][0]) == 4
    # `read_image` shrinks a photo over 800 pixels, and this one has fewer
    assert corner_error(np.array(told["homography"]), truth, (512, 512)) < 5


def test_json_of_photos_that_do_not_match(photos, capsys):
    assert matched(photos[0], "a.png", "blank.png", "--json", "--ratio", "0.8") == 1
    told = json.loads(capsys.readouterr().out)
    assert told["homography"] is None and told["reason"].startswith("too few keypoints")
    assert told["matches"] == told["agree"] == []


# --- an iPhone's photos -----------------------------------------------------------------------


@pytest.fixture
def heic(photos, tmp_path):
    """The photo as an iPhone keeps it: in HEIC, lying on its side."""
    writer = pytest.importorskip("pillow_heif")
    turned = Image.Exif()
    turned[274] = 6  # "turn me a quarter clockwise"
    lying = Image.open(photos[0] / "a.png").convert("RGB").transpose(Image.Transpose.ROTATE_90)
    writer.from_pillow(lying).save(tmp_path / "IMG_1.HEIC", quality=95, exif=turned.tobytes())
    return tmp_path / "IMG_1.HEIC"


@pytest.mark.slow
def test_a_heic_photo_is_read_upright(heic):
    for data in (heic, str(heic), heic.read_bytes()):
        found = read_image(data)
        assert found.shape == (512, 512)
        assert np.abs(found.astype(int) - read_photo("camera")).mean() < 4


@pytest.mark.slow
def test_a_heic_photo_matches_like_any_other(photos, heic, capsys):
    assert main(["match", str(heic), str(photos[0] / "b.png"), *FEW]) == 0
    assert "match: " in capsys.readouterr().out


def test_without_pillow_heif_a_sentence_says_how_to_get_it(photos, tmp_path, monkeypatch, capsys):
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    assert main(["match", str(tmp_path / "a.heic"), str(photos[0] / "b.png")]) == 2
    out, said = capsys.readouterr()
    assert "a.heic: a HEIC photo, as iPhones take them: pip install 'hpkit[heic]', or ex" in said
    assert said.count("\n") == 1 and not out


def test_a_damaged_or_huge_heic_photo_is_refused(heic):
    with pytest.raises(ValueError, match=r"512 × 512 pixels, expected at most 0\.1 megapixels"):
        read_image(heic, limit_megapixels=0.1)
    heic.write_bytes(heic.read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"IMG_1\.HEIC: the image is damaged"):
        read_image(heic)
