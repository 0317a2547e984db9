"""Crops and mirrors take their boxes along."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mnasfpn.models.data.augmentation import crop_boxes, crop_window, flip_boxes
from mnasfpn.models.detection.box_coding import areas, iou


def test_flipping_mirrors_boxes_with_the_picture():
    boxes = np.array([[0.1, 0.2, 0.5, 0.3]], np.float32)
    np.testing.assert_allclose(flip_boxes(boxes), [[0.1, 0.7, 0.5, 0.8]], atol=1e-6)
    np.testing.assert_allclose(flip_boxes(flip_boxes(boxes)), boxes, atol=1e-6)


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
