"""Which box each anchor answers for, and what it should predict then."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from mnasfpn.models.detection.anchors import multiscale_grid
from mnasfpn.models.detection.box_coding import decode, iou, to_corners
from mnasfpn.models.detection.target_assignment import Assigner, match
from mnasfpn.tests.models.detection.drawn_boxes import boxes_strategy

ANCHORS = multiscale_grid(64)


class TestMatcher:
    ANCHORS = np.array([[0, 0, 0.5, 0.5], [0, 0.5, 0.5, 1], [0.5, 0, 1, 0.5], [0.5, 0.5, 1, 1]])

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
        anchors = np.array([[0, 0, 0.5, 0.5], [0, 0, 0.5, 0.6]])
        np.testing.assert_array_equal(match(boxes, anchors), [0, 0])
        # with a third anchor that suits the first box exactly, both are seen
        wide = np.array([[0, 0, 0.4, 0.4], [0, 0, 0.5, 0.5]])
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
        anchors = to_corners(multiscale_grid(64))
        matches = match(boxes, anchors)
        overlap = iou(boxes, anchors) if len(boxes) else np.zeros((1, len(anchors)))
        for anchor in np.flatnonzero(matches >= 0):
            box = matches[anchor]
            own = overlap[box, anchor]
            assert own > 0
            assert own >= 0.5 or own == overlap[box].max()
        assert (overlap.max(axis=0)[matches < 0] < 0.5).all()


def test_targets_decode_to_the_boxes_they_came_from():
    boxes = np.array([[0.1, 0.1, 0.5, 0.5], [0.5, 0.4, 0.9, 0.95]], np.float32)
    targets = Assigner(ANCHORS)(boxes, np.array([3, 1]))
    for box, label in zip(boxes, (3, 1), strict=True):
        matched = targets.labels == label
        assert matched.any()
        decoded = decode(targets.codes[matched], ANCHORS[matched])
        np.testing.assert_allclose(decoded, np.tile(box, (matched.sum(), 1)), atol=1e-5)
    assert (targets.codes[targets.labels < 0] == 0).all()


def test_without_objects_everything_is_background():
    targets = Assigner(ANCHORS)(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    assert (targets.labels == -1).all()
    assert (targets.codes == 0).all()
