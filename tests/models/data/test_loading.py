"""Batches: the same every time, of every image, augmented or not."""

from __future__ import annotations

import numpy as np
import pytest

from mnasfpn.models.data.augmentation import Augmentation
from mnasfpn.models.data.coco import read_coco
from mnasfpn.models.data.digits import DigitsSettings, write_digits
from mnasfpn.models.data.images import load_image, normalise
from mnasfpn.models.data.loading import Pipeline
from mnasfpn.models.detection.anchors import multiscale_grid
from mnasfpn.models.detection.box_coding import decode

ANCHORS = multiscale_grid(64)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    settings = DigitsSettings(train=5, validation=1, size=64, most=2, smallest=0.3)
    return read_coco(write_digits(tmp_path_factory.mktemp("p") / "digits", settings), "train")


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
