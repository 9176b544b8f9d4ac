"""A panorama of views whose homographies are known; none where the photos do not match."""

import cv2
import numpy as np
import pytest

from hpkit.data.photos import read_photo
from hpkit.matching.keypoints import opencv_rootsift
from hpkit.matching.panorama import panorama, to_the_middle
from hpkit.matching.photos import corner_error, match_photos

SCENE = read_photo("china")
SIZE = 300, 420
CORNERS = np.float32([(0, 0), (300, 0), (300, 420), (0, 420)])
QUADS = ([(0, 25), (270, 0), (290, 426), (15, 400)], [(170, 10), (460, 10), (460, 415), (170, 415)],
         [(350, 0), (639, 30), (620, 405), (345, 426)])
TRUTH = [cv2.getPerspectiveTransform(np.float32(quad), CORNERS) for quad in QUADS]
VIEWS = [np.clip(light * cv2.warpPerspective(SCENE, seen, SIZE), 0, 255).astype(np.uint8)
         for seen, light in zip(TRUTH, (0.7, 0.85, 1.0), strict=True)]


def test_each_photo_goes_to_where_the_middle_one_has_it():
    for homography, seen in zip(to_the_middle(VIEWS, opencv_rootsift), TRUTH, strict=True):
        truth = TRUTH[1] @ np.linalg.inv(seen)
        assert corner_error(homography, truth, SIZE[::-1]) < 3


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_whole_is_the_scene_by_the_middle_photos_camera_and_light():
    whole = panorama(VIEWS)
    height, width = whole.shape
    assert 420 <= height < 470 and 620 < width < 700 and whole.dtype == np.uint8
    found = match_photos(SCENE, whole, opencv_rootsift)
    back = cv2.warpPerspective(whole, np.linalg.inv(found.homography), SCENE.shape[::-1])
    inside = np.s_[30:390, 30:600]
    seen, scene = back[inside].astype(float), SCENE[inside].astype(float)
    assert np.corrcoef(seen.ravel(), scene.ravel())[0, 1] > 0.965  # 0.949 where exposure is left as it is
    # The light is nearly one: 0.7 on the left and 0.98 on the right, were nothing done.
    share = [seen[:, half].sum() / scene[:, half].sum() for half in (np.s_[:150], np.s_[-150:])]
    assert 0.82 < share[0] / share[1] < 1.1


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_colour_stays_and_two_photos_are_enough():
    colour = [np.dstack([view // 2, view, view]) for view in VIEWS[:2]]
    whole = panorama(colour, opencv_rootsift)
    assert whole.shape[2] == 3 and 400 < whole.shape[1] < 520
    grey = panorama(VIEWS[:2], opencv_rootsift)
    assert np.abs(np.subtract(grey.shape, whole.shape[:2])).max() < 5
    bright = whole[..., 2] > 60
    assert np.abs(whole[..., 0] * 2.0 - whole[..., 2])[bright].mean() < 6


def test_laid_over_each_other_each_photo_keeps_its_light():
    dim = VIEWS[1] // 2
    whole = panorama([dim, VIEWS[1][:, :250]], places, blend=False)
    for columns, photo in ((np.s_[5:245], VIEWS[1]), (np.s_[255:295], dim)):  # the last is on top
        off = whole[5:415, columns].astype(int) - photo[5:415, columns]
        assert np.median(np.abs(off)) <= 1 and np.abs(off.mean()) < 1


def places(image, points):
    """Descriptors of photos that were cut from one: where a point lies."""
    return np.array([point.pt for point in points])


@pytest.mark.parametrize(("photos", "sentence"), [
    (VIEWS[:1], "1 photos, expected two or three"),
    (VIEWS * 2, "6 photos, expected two or three"),
    ([VIEWS[0], read_photo("coins")], "photo 1 does not match photo 2: no "),
    ([VIEWS[0], VIEWS[1], np.zeros((99, 99), np.uint8)], "photo 3 does not match photo 2: too few"),
])
def test_photos_that_make_no_panorama_are_refused(photos, sentence):
    with pytest.raises(ValueError, match=sentence):
        panorama(photos, opencv_rootsift)


def test_a_view_without_end_is_refused():
    """A camera that looks along a wall sees it reach the horizon."""
    tipped = cv2.getPerspectiveTransform(
        CORNERS, np.float32([(0, 0), (300, 190), (300, 230), (0, 420)]))
    aside = cv2.warpPerspective(SCENE[:420, :300], tipped, SIZE)
    with pytest.raises(ValueError, match="times the photos' pixels: they look in too different"):
        panorama([aside, SCENE[:420, :300]], lambda image, points: exact(image, points, tipped, aside))


def exact(image, points, tipped, aside):
    """Descriptors that know the answer: where a point lies in the upright photo."""
    where = np.array([point.pt for point in points])
    if image is aside:
        where = cv2.perspectiveTransform(where[None], np.linalg.inv(tipped))[0]
    return where
