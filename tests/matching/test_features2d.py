"""`Descriptor2D` and `cv2.SIFT` side by side: the same calls, the same types of answers."""

import cv2
import numpy as np
import pytest

import hpkit
from hpkit.data.photos import move, read_photo, relight
from hpkit.evaluation.baselines import rootsift
from hpkit.matching.features2d import Descriptor2D
from hpkit.matching.keypoints import describe_keypoints, keypoint_frames
from hpkit.matching.photos import corner_error

PHOTO = read_photo("camera")
LEFT = np.zeros_like(PHOTO)
LEFT[:, :256] = 255
POINTS = [cv2.KeyPoint(100, 90, 8, 30), cv2.KeyPoint(0, 0, 9), cv2.KeyPoint(300, 200, 5, 250),
          cv2.KeyPoint(511, 511, 20, 7), cv2.KeyPoint(-20, 100, 6), cv2.KeyPoint(100, 90, 8, 200)]
PAIR = [cv2.SIFT_create(200), Descriptor2D(cv2.SIFT_create(200))]  # what ours stands in for, ours


def form(answer):
    """An answer's types, shapes and numbers of things, whatever its values are."""
    if isinstance(answer, tuple | list):
        return type(answer), [form(part) for part in answer]
    if isinstance(answer, np.ndarray):
        return answer.dtype, answer.shape, answer.flags.c_contiguous
    return type(answer)


@pytest.mark.parametrize("call", [
    lambda f: f.detect(PHOTO, None),
    lambda f: f.detect(PHOTO),
    lambda f: f.detect(image=PHOTO, mask=LEFT),
    lambda f: f.compute(PHOTO, POINTS),
    lambda f: f.compute(PHOTO, tuple(POINTS)),
    lambda f: f.compute(PHOTO, []),
    lambda f: f.compute(PHOTO, ()),
    lambda f: f.compute(None, POINTS),
    lambda f: f.detect(None, None),
    lambda f: f.detect(PHOTO[:0]),
    lambda f: f.detectAndCompute(PHOTO, None),
    lambda f: f.detectAndCompute(PHOTO, mask=LEFT),
    lambda f: f.detectAndCompute(np.dstack([PHOTO] * 3), None),
    lambda f: f.detectAndCompute(np.dstack([PHOTO] * 4), None),
    lambda f: f.detectAndCompute(PHOTO[..., None], None),
    lambda f: f.detectAndCompute(PHOTO[::2, ::2], None),  # a view, not contiguous
    lambda f: f.detectAndCompute(np.zeros((90, 90), np.uint8), None),
    lambda f: f.detectAndCompute(PHOTO, np.zeros_like(PHOTO)),
    lambda f: (f.descriptorSize(), f.descriptorType(), f.defaultNorm(), f.empty()),
])
def test_the_same_call_gives_the_same_form_of_answer(call):
    theirs, ours = (call(feature) for feature in PAIR)
    assert form(ours) == form(theirs)


@pytest.mark.parametrize("call", [
    lambda f: f.detectAndCompute(None, None),
    lambda f: f.detectAndCompute(PHOTO[:0], None),
    lambda f: f.detectAndCompute(PHOTO / 255, None),
    lambda f: f.detect(PHOTO.astype(np.uint16)),
    lambda f: f.compute(PHOTO.astype(np.float32), POINTS),
    lambda f: f.detectAndCompute(PHOTO, LEFT > 0),
    lambda f: f.detectAndCompute(PHOTO, LEFT.astype(float)),
])
def test_what_sift_refuses_is_refused_in_the_same_way(call):
    for feature in PAIR:
        with pytest.raises(cv2.error):
            call(feature)


def test_numbers_and_names_are_those_of_sift():
    theirs, ours = PAIR
    for name in ("descriptorSize", "descriptorType", "defaultNorm", "empty"):
        assert getattr(ours, name)() == getattr(theirs, name)()
    assert theirs.getDefaultName() == "Feature2D.SIFT"
    assert ours.getDefaultName() == "Feature2D.Descriptor2D"


def test_refusals_say_what_was_found():
    with pytest.raises(cv2.error, match=r"image is float64 \(512, 512\), expected uint8 \(h, w\)"):
        PAIR[1].detect(PHOTO / 255)
    with pytest.raises(cv2.error, match="image is NoneType, expected"):
        PAIR[1].detectAndCompute(None, None)
    with pytest.raises(cv2.error, match=r"mask is uint8 \(50, 512\), expected uint8 \(512, 512\)"):
        PAIR[1].detect(PHOTO, LEFT[:50])  # SIFT reads on in memory
    with pytest.raises(ValueError, match=r"keypoint 1 is at .* with size 0"):
        PAIR[1].compute(PHOTO, [POINTS[0], cv2.KeyPoint(5, 5, 0)])


def test_keypoints_are_the_detectors_and_every_one_is_described():
    theirs, ours = (feature.detectAndCompute(PHOTO, LEFT) for feature in PAIR)
    assert np.array_equal(*(keypoint_frames(found) for found, _ in (theirs, ours)))
    assert max(point.pt[0] for point in ours[0]) < 256.5
    kept, described = PAIR[1].compute(PHOTO, POINTS)
    assert all(one is other for one, other in zip(kept, POINTS, strict=True))
    assert np.array_equal(described, describe_keypoints(PHOTO, POINTS))
    assert np.allclose(np.linalg.norm(described, axis=1), 1, atol=1e-5)
    assert np.array_equal(PAIR[1].compute(PHOTO, POINTS[::-1])[1], described[::-1])


def test_colour_is_read_in_opencvs_order():
    colour = cv2.cvtColor(np.random.RandomState(0).randint(0, 256, (60, 80, 3), np.uint8),
                          cv2.COLOR_BGR2BGRA)
    point = [cv2.KeyPoint(40, 30, 6, 10)]
    grey = cv2.cvtColor(colour, cv2.COLOR_BGRA2GRAY)
    each = [PAIR[1].compute(image, point)[1] for image in (colour, colour[..., :3], grey)]
    assert np.array_equal(each[0], each[1]) and np.array_equal(each[0], each[2])


def test_another_detector_and_another_descriptor_may_be_named():
    fast = cv2.FastFeatureDetector_create(60)
    feature = Descriptor2D(fast, descriptor=rootsift, magnification=3)
    found, described = feature.detectAndCompute(PHOTO, None)
    assert len(found) == len(fast.detect(PHOTO, None)) == len(described) > 50
    assert np.array_equal(described, describe_keypoints(PHOTO, found, rootsift, magnification=3))
    few = Descriptor2D(descriptor=lambda patches: patches.reshape(len(patches), -1)[:, :9] / 255)
    assert few.descriptorSize() == 9


def stitching_style(feature, matcher, first, second):
    """OpenCV's own tutorial, "Features2D + Homography to find a known object", by any feature."""
    (here, u), (there, v) = (feature.detectAndCompute(image, None) for image in (first, second))
    good = [m for m, n in matcher.knnMatch(u, v, k=2) if m.distance < 0.8 * n.distance]
    source = np.float32([here[m.queryIdx].pt for m in good]).reshape(-1, 1, 2)
    target = np.float32([there[m.trainIdx].pt for m in good]).reshape(-1, 1, 2)
    return cv2.findHomography(source, target, cv2.RANSAC, 3.0)[0]


MATCHERS = {
    "BFMatcher": lambda feature: cv2.BFMatcher(feature.defaultNorm()),
    "FlannBasedMatcher": lambda _: cv2.FlannBasedMatcher({"algorithm": 1, "trees": 5},
                                                         {"checks": 64}),
}


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("matcher", MATCHERS)
@pytest.mark.parametrize("name", ["camera", "china"])
def test_a_program_of_opencvs_finds_the_known_homography(name, matcher):
    photo = read_photo(name)
    random = np.random.RandomState(1)
    image, truth = move(photo, 0.6, random)
    image = relight(image, 0.4, random)
    for feature in (cv2.SIFT_create(500), Descriptor2D(cv2.SIFT_create(500))):
        found = stitching_style(feature, MATCHERS[matcher](feature), photo, image)
        assert corner_error(found, truth, photo.shape) < 3


def test_matches_are_those_of_the_same_descriptors_by_hand():
    image, _ = move(PHOTO, 0.5, np.random.RandomState(0))
    u, v = (PAIR[1].detectAndCompute(each, None)[1] for each in (PHOTO, image))
    mutual = cv2.BFMatcher(cv2.NORM_L2, crossCheck=True).match(u, v)
    ours = hpkit.matching.photos.match(u, v, ratio=None)
    assert [(m.queryIdx, m.trainIdx) for m in mutual] == [tuple(row) for row in ours.tolist()]


def test_opencvs_stitching_in_c_plus_plus_takes_none_but_its_own():
    """And it says so. A Python class that inherits from cv2.Feature2D would end the process."""
    assert cv2.detail.computeImageFeatures2(PAIR[0], PHOTO).getKeypoints()
    with pytest.raises(cv2.error, match="Expected Ptr<cv::Feature2D>"):
        cv2.detail.computeImageFeatures2(PAIR[1], PHOTO)
    assert not isinstance(PAIR[1], cv2.Feature2D)
