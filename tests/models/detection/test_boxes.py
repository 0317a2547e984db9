from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mnasfpn.errors import InvalidInput
from mnasfpn.models.detection.anchors import multiscale_grid
from mnasfpn.models.detection.boxes import (
    NmsSettings,
    areas,
    clip,
    decode,
    detect,
    encode,
    iou,
    match,
    nms,
    to_centres,
    to_corners,
)


def boxes_strategy(least: int, most: int, smallest_side: float = 1e-3):
    """[M, 4] boxes with positive sides, some beyond the image."""

    def corners(values):
        low, sides = values[:, :2], np.abs(values[:, 2:]) + smallest_side
        return np.concatenate([low, low + sides], axis=1)

    return (
        st.integers(least, most)
        .flatmap(lambda count: arrays(np.float64, (count, 4), elements=st.floats(-1, 1)))
        .map(corners)
    )


def random_boxes(count: int, seed: int) -> np.ndarray:
    corners = np.sort(np.random.default_rng(seed).uniform(0, 1, (count, 2, 2)), axis=1)
    return corners.reshape(count, 4).astype(np.float32)


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
        mask = pytest.importorskip("pycocotools.mask")
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


class TestMatcher:
    ANCHORS = to_centres(
        np.array([[0, 0, 0.5, 0.5], [0, 0.5, 0.5, 1], [0.5, 0, 1, 0.5], [0.5, 0.5, 1, 1]])
    )

    def test_no_ground_truth_is_all_background(self):
        np.testing.assert_array_equal(match(np.zeros((0, 4)), self.ANCHORS), [-1] * 4)

    def test_exactly_half_is_enough(self):
        box = np.array([[0, 0, 0.5, 0.25]])  # half of the first anchor
        np.testing.assert_array_equal(match(box, self.ANCHORS), [0, -1, -1, -1])

    def test_a_small_box_is_forced_onto_its_best_anchor(self):
        box = np.array([[0.8, 0.8, 0.85, 0.85]])
        np.testing.assert_array_equal(match(box, self.ANCHORS), [-1, -1, -1, 0])

    def test_a_forced_match_displaces_a_better_overlap(self):
        # the second box sees only the first anchor, which overlaps the first box more
        boxes = np.array([[0, 0, 0.5, 0.5], [0.1, 0.1, 0.2, 0.2]])
        anchors = to_centres(np.array([[0, 0, 0.5, 0.5], [0, 0, 0.5, 0.6]]))
        np.testing.assert_array_equal(match(boxes, anchors), [0, 0])
        # with a third anchor that suits the first box exactly, both are seen
        wide = to_centres(np.array([[0, 0, 0.4, 0.4], [0, 0, 0.5, 0.5]]))
        np.testing.assert_array_equal(match(boxes, wide), [1, 0])

    def test_two_boxes_with_one_best_anchor_leave_it_to_the_first(self):
        boxes = np.array([[0.8, 0.8, 0.85, 0.85], [0.6, 0.6, 0.65, 0.65]])
        np.testing.assert_array_equal(match(boxes, self.ANCHORS), [-1, -1, -1, 0])

    def test_ties_go_to_the_lower_index(self):
        box = np.array([[0, 0.4, 0.2, 0.6]])  # as much in the first anchor as in the second
        np.testing.assert_array_equal(match(box, self.ANCHORS), [0, -1, -1, -1])
        twins = np.array([[0, 0, 0.5, 0.5], [0, 0, 0.5, 0.5]])
        assert match(twins, self.ANCHORS)[0] == 0

    @pytest.mark.parametrize(
        "box", [(0.2, 0.2, 0.2, 0.4), (1.5, 1.5, 1.9, 1.9), (-0.4, 0.1, -0.1, 0.3)]
    )
    def test_no_area_or_outside_matches_nothing(self, box):
        np.testing.assert_array_equal(match(np.array([box]), self.ANCHORS), [-1] * 4)

    @given(boxes_strategy(0, 6, smallest_side=0.05))
    def test_every_match_is_earned(self, boxes):
        anchors = multiscale_grid(64)
        matches = match(boxes, anchors)
        overlap = iou(boxes, to_corners(anchors)) if len(boxes) else np.zeros((1, len(anchors)))
        for anchor in np.flatnonzero(matches >= 0):
            box = matches[anchor]
            own = overlap[box, anchor]
            assert own > 0
            assert own >= 0.5 or own == overlap[box].max()
        assert (overlap.max(axis=0)[matches < 0] < 0.5).all()


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
        tf = pytest.importorskip("tensorflow")
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
        tf = pytest.importorskip("tensorflow")
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
