from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnasfpn.models.data.coco import read_coco
from mnasfpn.models.data.digits import DigitsSettings, write_digits
from mnasfpn.models.data.pipeline import (
    Augmentation,
    Pipeline,
    assign,
    crop_boxes,
    crop_window,
    flip_boxes,
    load_image,
    normalise,
)
from mnasfpn.models.detection.anchors import multiscale_grid
from mnasfpn.models.detection.boxes import areas, decode, iou

ANCHORS = multiscale_grid(64)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    settings = DigitsSettings(train=5, validation=1, size=64, most=2, smallest=0.3)
    return read_coco(write_digits(tmp_path_factory.mktemp("p") / "digits", settings), "train")


def test_targets_decode_to_the_boxes_they_came_from():
    boxes = np.array([[0.1, 0.1, 0.5, 0.5], [0.5, 0.4, 0.9, 0.95]], np.float32)
    targets = assign(boxes, np.array([3, 1]), ANCHORS)
    for box, label in zip(boxes, (3, 1), strict=True):
        matched = targets.labels == label
        assert matched.any()
        decoded = decode(targets.codes[matched], ANCHORS[matched])
        np.testing.assert_allclose(decoded, np.tile(box, (matched.sum(), 1)), atol=1e-5)
    assert (targets.codes[targets.labels < 0] == 0).all()


def test_without_objects_everything_is_background():
    targets = assign(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), ANCHORS)
    assert (targets.labels == -1).all()
    assert (targets.codes == 0).all()


def test_pixels_become_minus_one_to_one():
    np.testing.assert_array_equal(normalise(np.array([0, 255], np.uint8)), [-1, 1])


def test_a_batch_is_a_function_of_seed_and_step(data):
    first, again = (Pipeline(data, 64, ANCHORS, 2, seed=1) for _ in range(2))
    for step in (3, 0):
        one, two = first.batch(step), again.batch(step)
        np.testing.assert_array_equal(one.images, two.images)
        np.testing.assert_array_equal(one.targets.labels, two.targets.labels)
    other = Pipeline(data, 64, ANCHORS, 2, seed=2)
    assert any(
        not np.array_equal(first.batch(step).images, other.batch(step).images) for step in range(3)
    )
    assert one.images.shape == (2, 64, 64, 3)
    assert one.images.dtype == np.float32


def test_the_iterator_gives_the_same_batches(data):
    pipeline = Pipeline(data, 64, ANCHORS, 2)
    for step, batch in enumerate(pipeline.batches(1, 4), start=1):
        np.testing.assert_array_equal(batch.images, pipeline.batch(step).images)
    assert step == 3
    assert list(pipeline.batches(2, 2)) == []


def test_every_epoch_shows_every_image_once(data):
    pipeline = Pipeline(data, 64, ANCHORS, 5)
    images = {normalise(load_image(example, 64)).tobytes() for example in data.examples}
    for epoch in range(2):
        shown = [image.tobytes() for image in pipeline.batch(epoch).images]
        assert set(shown) == images


def test_flipping_mirrors_boxes_with_the_picture():
    boxes = np.array([[0.1, 0.2, 0.5, 0.3]], np.float32)
    np.testing.assert_allclose(flip_boxes(boxes), [[0.1, 0.7, 0.5, 0.8]], atol=1e-6)
    np.testing.assert_allclose(flip_boxes(flip_boxes(boxes)), boxes, atol=1e-6)


@pytest.mark.parametrize("flip", [True, False])
def test_augmented_targets_lie_on_what_they_describe(data, flip):
    """A digit stands out from its background, wherever augmentation has moved it."""
    pipeline = Pipeline(data, 64, ANCHORS, 5, seed=8, augmentation=Augmentation(flip, True))
    batch = pipeline.batch(0)
    plain = Pipeline(data, 64, ANCHORS, 5, seed=8).batch(0)
    assert not np.array_equal(batch.images, plain.images)
    for image, codes, labels in zip(
        batch.images, batch.targets.codes, batch.targets.labels, strict=True
    ):
        matched = np.flatnonzero(labels >= 0)
        for box in np.unique(decode(codes[matched], ANCHORS[matched]).round(3), axis=0):
            top, left, bottom, right = np.clip(np.round(box * 64).astype(int), 0, 64)
            assert image[top:bottom, left:right].std() > 0.05


@given(st.integers(0, 2**31), st.integers(20, 500), st.integers(20, 500))
def test_windows_keep_their_promises(seed, height, width):
    left, top, right, bottom = crop_window((height, width), np.random.default_rng(seed))
    assert 0 <= left < right <= width + 1e-6
    assert 0 <= top < bottom <= height + 1e-6
    share = (right - left) * (bottom - top) / (height * width)
    assert 0.75 - 1e-6 <= share <= 1 + 1e-6


@given(st.integers(0, 2**31))
def test_cropped_boxes_are_what_is_left_of_them(seed):
    generator = np.random.default_rng(seed)
    corners = np.sort(generator.uniform(0, 1, (6, 2, 2)), axis=1).reshape(6, 4).astype(np.float32)
    window = (10.0, 20.0, 90.0, 95.0)
    boxes, labels = crop_boxes(corners, np.arange(1, 7), window, (100, 100))
    frame = np.array([[0.2, 0.1, 0.95, 0.9]])
    assert len(boxes) == np.count_nonzero(iou(corners, frame))
    for box, label in zip(boxes, labels, strict=True):
        back = box * [0.75, 0.8, 0.75, 0.8] + [0.2, 0.1, 0.2, 0.1]
        original = corners[label - 1]
        expected = np.clip(original, frame[0, [0, 1, 0, 1]], frame[0, [2, 3, 2, 3]])
        np.testing.assert_allclose(back, expected, atol=1e-5)
    assert (areas(boxes) > 0).all()


def test_a_box_outside_the_crop_is_dropped():
    boxes, labels = crop_boxes(
        np.array([[0, 0, 0.1, 0.1]], np.float32), np.array([4]), (50, 50, 100, 100), (100, 100)
    )
    assert (len(boxes), len(labels)) == (0, 0)
