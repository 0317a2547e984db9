"""Suppression and detections, by hand and beside TensorFlow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnasfpn.errors import InvalidInput
from mnasfpn.models.detection.anchors import multiscale_grid
from mnasfpn.models.detection.box_coding import clip, decode, iou, to_centres
from mnasfpn.models.detection.suppression import NmsSettings, detect, nms
from mnasfpn.tests.models.detection.drawn_boxes import random_boxes


class TestSuppression:
    def test_by_hand(self):
        boxes = np.array([[0, 0, 1, 1], [0, 0, 1, 0.9], [0, 0, 0.5, 0.5], [0, 0, 1, 1.0]])
        scores = np.array([0.8, 0.9, 0.7, 0.6])
        np.testing.assert_array_equal(nms(boxes, scores, 0.6, 10), [1, 2])
        np.testing.assert_array_equal(nms(boxes, scores, 0.6, 1), [1])

    def test_an_overlap_equal_to_the_threshold_stays(self):
        boxes = np.array([[0, 0, 1, 1.0], [0, 0, 1, 0.5]])
        np.testing.assert_array_equal(nms(boxes, np.array([0.9, 0.8]), 0.5, 10), [0, 1])

    def test_equal_scores_keep_the_lower_index(self):
        boxes = np.tile([[0, 0, 1, 1.0]], (3, 1))
        np.testing.assert_array_equal(nms(boxes, np.full(3, 0.5), 0.6, 10), [0])

    def test_nothing_in_nothing_out(self):
        assert len(nms(np.zeros((0, 4)), np.zeros(0), 0.5, 10)) == 0

    @pytest.mark.slow
    def test_equals_tensorflow_on_random_boxes(self):
        import tensorflow as tf

        for seed in range(5):
            boxes = random_boxes(300, seed)
            scores = np.random.default_rng(seed + 100).uniform(0, 1, 300).astype(np.float32)
            expected = tf.image.non_max_suppression(boxes, scores, 50, 0.6).numpy()
            np.testing.assert_array_equal(nms(boxes, scores, 0.6, 50), expected)

    @given(st.integers(0, 2**31))
    def test_kept_boxes_do_not_overlap_and_dropped_ones_do(self, seed):
        boxes = random_boxes(30, seed)
        scores = np.random.default_rng(seed).uniform(0, 1, 30)
        kept = nms(boxes, scores, 0.5, 30)
        overlap = iou(boxes, boxes)
        assert (overlap[np.ix_(kept, kept)][~np.eye(len(kept), dtype=bool)] <= 0.5).all()
        for dropped in set(range(30)) - set(kept.tolist()):
            rivals = kept[overlap[dropped, kept] > 0.5]
            assert (scores[rivals] >= scores[dropped]).any()


class TestDetect:
    ANCHORS = to_centres(np.array([[0.0, 0, 0.5, 0.5], [0, 0, 0.5, 0.5], [0.4, 0.4, 1.4, 1.4]]))

    def test_classes_do_not_suppress_each_other_and_background_is_ignored(self):
        scores = np.array([[0.99, 0.9, 0.1], [0.99, 0.8, 0.7], [0.99, 0.0, 0.6]])
        found = detect(np.zeros((3, 4)), scores, self.ANCHORS, NmsSettings(score=0.2))
        np.testing.assert_array_equal(found.labels, [1, 2, 2])
        np.testing.assert_allclose(found.scores, [0.9, 0.7, 0.6])
        np.testing.assert_allclose(found.boxes[2], [0.4, 0.4, 1, 1])  # cut to the image

    def test_total_is_shared_by_the_classes(self):
        scores = np.array([[0, 0.9, 0.1], [0, 0.0, 0.7], [0, 0.5, 0.6]])
        found = detect(np.zeros((3, 4)), scores, self.ANCHORS, NmsSettings(score=0.2, total=2))
        np.testing.assert_allclose(found.scores, [0.9, 0.7])

    def test_boxes_outside_the_image_are_no_detections(self):
        anchors = to_centres(np.array([[1.2, 1.2, 1.4, 1.4]]))
        found = detect(np.zeros((1, 4)), np.array([[0, 0.9]]), anchors)
        assert len(found.scores) == 0

    def test_nothing_above_the_score(self):
        found = detect(np.zeros((3, 4)), np.zeros((3, 3)), self.ANCHORS)
        assert found.boxes.shape == (0, 4)

    @pytest.mark.slow
    def test_equals_tensorflow_combined_suppression(self):
        import tensorflow as tf

        rng = np.random.default_rng(5)
        anchors = multiscale_grid(64)
        codes = rng.normal(0, 1, (len(anchors), 4)).astype(np.float32)
        scores = rng.uniform(0, 1, (len(anchors), 4)).astype(np.float32)
        settings = NmsSettings(score=0.3, iou=0.6, per_class=20, total=40)
        found = detect(codes, scores, anchors, settings)
        boxes = clip(decode(codes, anchors)).astype(np.float32)
        expected = tf.image.combined_non_max_suppression(
            boxes[None, :, None],
            scores[None, :, 1:],
            max_output_size_per_class=20,
            max_total_size=40,
            iou_threshold=0.6,
            score_threshold=0.3,
        )
        np.testing.assert_allclose(found.scores, expected.nmsed_scores[0], atol=1e-7)
        np.testing.assert_allclose(found.boxes, expected.nmsed_boxes[0], atol=1e-6)
        np.testing.assert_array_equal(found.labels, expected.nmsed_classes[0].numpy() + 1)

    def test_settings_must_make_sense(self):
        with pytest.raises(InvalidInput, match="thresholds"):
            NmsSettings(iou=1.5)
        with pytest.raises(InvalidInput, match="at least 1"):
            NmsSettings(total=0)
