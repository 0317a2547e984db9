"""Overlap and code of boxes, by hand and beside pycocotools."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from mnasfpn.models.detection.anchors import multiscale_grid
from mnasfpn.models.detection.box_coding import (
    areas,
    clip,
    decode,
    encode,
    iou,
    to_centres,
    to_corners,
)
from mnasfpn.tests.models.detection.drawn_boxes import boxes_strategy, random_boxes


class TestOverlap:
    def test_by_hand(self):
        # two unit squares shifted by half a side: 1/2 shared of 3/2
        assert iou(np.array([[0, 0, 1, 1.0]]), np.array([[0, 0.5, 1, 1.5]]))[0, 0] == 1 / 3

    def test_touching_boxes_share_nothing(self):
        assert iou(np.array([[0, 0, 1, 1.0]]), np.array([[0, 1, 1, 2.0]]))[0, 0] == 0

    @pytest.mark.parametrize("empty", [(0.5, 0.5, 0.5, 0.9), (0.5, 0.5, 0.5, 0.5)])
    def test_a_box_without_area_overlaps_nothing_not_even_itself(self, empty):
        box = np.array([empty])
        assert iou(box, box)[0, 0] == 0
        assert areas(box)[0] == 0

    def test_swapped_corners_have_no_area(self):
        assert areas(np.array([[0.9, 0.9, 0.1, 0.1]]))[0] == 0

    def test_equals_pycocotools(self):
        from pycocotools import mask

        first, second = random_boxes(40, 0).astype(float), random_boxes(30, 1).astype(float)

        def xywh(boxes):
            return np.stack(
                [
                    boxes[:, 1],
                    boxes[:, 0],
                    boxes[:, 3] - boxes[:, 1],
                    boxes[:, 2] - boxes[:, 0],
                ],
                axis=1,
            )

        expected = mask.iou(xywh(first), xywh(second), [0] * len(second))
        np.testing.assert_allclose(iou(first, second), expected, atol=1e-12)

    def test_no_boxes(self):
        assert iou(np.zeros((0, 4)), random_boxes(3, 0)).shape == (0, 3)

    def test_clip_empties_what_is_outside(self):
        outside = np.array([[1.2, 0.1, 1.5, 0.4], [-0.5, 0.2, 0.5, 0.4]])
        np.testing.assert_allclose(areas(clip(outside)), [0, 0.1])


class TestCoder:
    def test_by_hand(self):
        # centre half a side lower, height twice the anchor's
        anchor = np.array([[0.5, 0.5, 0.2, 0.4]])
        box = to_corners(np.array([[0.6, 0.5, 0.4, 0.4]]))
        np.testing.assert_allclose(encode(box, anchor), [[5, 0, 5 * np.log(2), 0]], atol=1e-12)

    @given(boxes_strategy(1, 5))
    def test_decode_inverts_encode(self, boxes):
        anchors = np.tile([0.5, 0.5, 0.3, 0.6], (len(boxes), 1))
        np.testing.assert_allclose(decode(encode(boxes, anchors), anchors), boxes, atol=1e-9)

    @given(boxes_strategy(1, 5))
    def test_centres_and_corners_are_inverse(self, boxes):
        np.testing.assert_allclose(to_corners(to_centres(boxes)), boxes, atol=1e-12)

    def test_an_empty_box_has_a_finite_code(self):
        code = encode(np.array([[0.5, 0.5, 0.5, 0.5]]), np.array([[0.5, 0.5, 0.1, 0.1]]))
        assert np.isfinite(code).all()

    def test_a_wild_code_decodes_to_a_finite_box(self):
        box = decode(np.array([[0, 0, 1e4, 1e4]]), np.array([[0.5, 0.5, 0.1, 0.1]]))
        assert np.isfinite(box).all()

    def test_sides_and_centres_of_decoded_boxes(self):
        anchors = multiscale_grid(64)
        codes = np.random.default_rng(0).normal(0, 2, anchors.shape).astype(np.float32)
        boxes = decode(codes, anchors).astype(np.float64)
        np.testing.assert_allclose(
            boxes[:, 2] - boxes[:, 0], np.exp(codes[:, 2] / 5) * anchors[:, 2], atol=1e-4
        )
        np.testing.assert_allclose(
            (boxes[:, 3] + boxes[:, 1]) / 2,
            codes[:, 1] / 10 * anchors[:, 3] + anchors[:, 1],
            atol=1e-4,
        )
