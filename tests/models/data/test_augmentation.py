"""Crops and mirrors take their boxes along."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mnasfpn.models.data.augmentation import Augmentation, crop_boxes, crop_window, flip_boxes
from mnasfpn.models.data.coco import read_coco
from mnasfpn.models.data.loading import TrainingImages
from mnasfpn.models.detection.anchors import multiscale_grid
from mnasfpn.models.detection.box_coding import areas, decode, iou


def test_flipping_mirrors_boxes_with_the_picture():
    boxes = np.array([[0.1, 0.2, 0.5, 0.3]], np.float32)
    np.testing.assert_allclose(flip_boxes(boxes), [[0.1, 0.7, 0.5, 0.8]], atol=1e-6)
    np.testing.assert_allclose(flip_boxes(flip_boxes(boxes)), boxes, atol=1e-6)


@given(st.integers(0, 2**31), st.integers(20, 500), st.integers(20, 500))
def test_windows_keep_their_promises(seed, height, width):
    left, top, right, bottom = crop_window((height, width), np.random.default_rng(seed))
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    area = (right - left) * (bottom - top)
    assert 0.75 - 1e-6 <= area / (height * width) <= 1
    if area < height * width:  # of whole pixels, so the aspect may be off by one of them
        assert (right - left) / (bottom - top - 1) >= 0.75
        assert (right - left - 1) / (bottom - top) <= 3


@pytest.mark.parametrize("size", [(480, 640), (640, 480), (427, 640), (300, 300)])
def test_images_of_any_usual_shape_are_cropped(size):
    whole = (0, 0, size[1], size[0])
    windows = [crop_window(size, np.random.default_rng(seed)) for seed in range(200)]
    assert windows.count(whole) <= 2


@pytest.mark.slow
@pytest.mark.parametrize("size", [(480, 640), (640, 480)])
def test_windows_are_distributed_as_tensorflow_draws_them(size):
    """Kolmogorov and Smirnov's test of area and aspect; the same seeds every time."""
    import tensorflow as tf
    from scipy.stats import ks_2samp

    generator = np.random.default_rng(3)
    ours = [crop_window(size, generator) for _ in range(1000)]
    theirs = []
    for seed in range(1000):
        begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
            (*size, 3),
            tf.zeros((1, 0, 4)),
            seed=(seed, 1),
            min_object_covered=0.0,
            aspect_ratio_range=(0.75, 3.0),
            area_range=(0.75, 1.0),
            max_attempts=100,
            use_image_if_no_bounding_boxes=True,
        )
        (top, left, _), (height, width, _) = begin.numpy(), extent.numpy()
        theirs.append((left, top, left + width, top + height))
    for measure in (
        lambda w: (w[2] - w[0]) * (w[3] - w[1]),
        lambda w: (w[2] - w[0]) / (w[3] - w[1]),
        lambda w: w[0] / max(size[1] - (w[2] - w[0]), 1),
    ):
        assert ks_2samp([*map(measure, ours)], [*map(measure, theirs)]).pvalue > 0.01


def solid(tmp_path, size=(96, 128), box=(0.25, 0.125, 0.75, 0.5)):
    """A split of one image: a white rectangle on black, and its box."""
    height, width = size
    pixels = np.zeros((*size, 3), np.uint8)
    top, left, bottom, right = (np.array(box) * [height, width, height, width]).astype(int)
    pixels[top:bottom, left:right] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    bbox = [int(left), int(top), int(right - left), int(bottom - top)]
    instances = {
        "images": [{"id": 1, "file_name": "a.png", "width": width, "height": height}],
        "categories": [{"id": 1, "name": "white"}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": bbox}],
    }
    (tmp_path / "train.json").write_text(json.dumps(instances))
    return read_coco(tmp_path, "train")


def edges(image, position):
    """Where along an axis the white begins and ends, as a share of it, from profiles of light."""
    light = image.astype(float).sum(axis=(1 - position, 2))
    level = light / light.max()
    return (level > 0.5).argmax() / len(level), 1 - (level[::-1] > 0.5).argmax() / len(level)


@pytest.mark.slow
@pytest.mark.parametrize(
    "augmentation",
    [Augmentation(flip, crop) for flip in (False, True) for crop in (False, True)],
)
def test_boxes_lie_on_the_edges_of_what_they_describe(tmp_path, augmentation):
    """A box that is transposed, not mirrored, or not cropped misses by many pixels."""
    size = 64
    samples = TrainingImages(solid(tmp_path), size, multiscale_grid(size), 0, augmentation)
    seen = set()
    for position in range(12):
        sample = samples[position]
        matched = sample.targets.labels >= 0
        boxes = decode(sample.targets.codes[matched], multiscale_grid(size)[matched])
        top, left, bottom, right = boxes[0]
        (found_top, found_bottom), (found_left, found_right) = (
            edges(sample.inputs["image"], axis) for axis in (0, 1)
        )
        np.testing.assert_allclose(
            (top, left, bottom, right),
            (found_top, found_left, found_bottom, found_right),
            atol=1.1 / size,
        )
        seen.add(tuple(np.round(boxes[0], 3)))
    expected = {(False, False): 1, (True, False): 2}
    key = (augmentation.flip, augmentation.crop)
    assert len(seen) == expected[key] if key in expected else len(seen) > 8


@given(st.integers(0, 2**31))
def test_cropped_boxes_are_what_is_left_of_them(seed):
    generator = np.random.default_rng(seed)
    corners = np.sort(generator.uniform(0, 1, (6, 2, 2)), axis=1).reshape(6, 4).astype(np.float32)
    window = (10, 20, 90, 95)
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
