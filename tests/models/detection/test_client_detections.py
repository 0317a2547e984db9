"""What clients make of raw outputs, against a few lines that follow their sources loop by loop."""

from __future__ import annotations

import numpy as np
import pytest

from mnasfpn.models.detection.box_coding import decode, iou
from mnasfpn.models.detection.client_detections import (
    by_mediapipe,
    counterparts_missing,
    cut,
    in_pixels,
    post_processed,
)
from mnasfpn.models.detection.suppression import Detections, NmsSettings


def outputs(seed, boxes=60, classes=3):
    rng = np.random.default_rng(seed)
    anchors = rng.uniform(0.2, 0.8, (boxes, 4)).astype(np.float32)
    codes = rng.normal(0, 1, (boxes, 4)).astype(np.float32)
    scores = rng.uniform(0, 1, (boxes, classes + 1)).astype(np.float32)
    return codes, scores, anchors


def suppressed(boxes, scores, threshold, most):
    kept = []
    for index in np.argsort(-scores, kind="stable"):
        if len(kept) < most and all(
            iou(boxes[index][None], boxes[other][None])[0, 0] <= threshold for other in kept
        ):
            kept.append(int(index))
    return kept


@pytest.mark.parametrize("seed", range(5))
def test_mediapipe_lets_any_box_suppress_any_other(seed):
    codes, scores, anchors = outputs(seed)
    settings = NmsSettings(score=0.6, iou=0.3, total=8)
    boxes, best = decode(codes, anchors), scores[:, 1:].max(axis=1)
    rows = np.flatnonzero(best >= 0.6)
    expected = rows[suppressed(boxes[rows], best[rows], 0.3, 8)]
    found = by_mediapipe(codes, scores, anchors, settings)
    assert len(expected) > 2
    np.testing.assert_array_equal(found.scores, best[expected])
    np.testing.assert_array_equal(found.labels, scores[expected, 1:].argmax(axis=1) + 1)
    np.testing.assert_allclose(found.boxes, boxes[expected], atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_the_operator_suppresses_within_each_class(seed):
    codes, scores, anchors = outputs(seed)
    settings = NmsSettings(score=0.5, iou=0.4, per_class=4, total=10)
    boxes, everything = decode(codes, anchors), []
    for label in range(1, scores.shape[1]):
        rows = np.flatnonzero(scores[:, label] >= 0.5)
        kept = rows[suppressed(boxes[rows], scores[rows, label], 0.4, 4)]
        everything += [(float(scores[row, label]), label, row) for row in kept]
    everything = sorted(everything, reverse=True)[:10]
    found = post_processed(codes, scores, anchors, settings)
    assert len(everything) == 10
    np.testing.assert_allclose(found.scores, [score for score, _, _ in everything])
    assert found.labels.tolist() == [label for _, label, _ in everything]
    np.testing.assert_allclose(found.boxes, boxes[[row for _, _, row in everything]], atol=1e-6)


def test_nothing_is_found_where_no_score_is_high_enough():
    codes, scores, anchors = outputs(0)
    for client in (by_mediapipe, post_processed):
        assert len(client(codes, scores * 0.01, anchors, NmsSettings(score=0.5)).scores) == 0


def test_missing_counterparts_are_named():
    def detections(*scores, move=0.0):
        boxes = np.arange(4 * len(scores), dtype=np.float32).reshape(-1, 4) + np.float32(move)
        return Detections(boxes, np.float32(scores), np.ones(len(scores), np.int64))

    expected = detections(0.9, 0.8, 0.7)
    assert counterparts_missing(expected, expected, 0, 0) == ()
    assert counterparts_missing(detections(0.9, 0.8, 0.7, move=0.2), expected, 0.1, 0.01) == (0, 1)
    assert counterparts_missing(detections(0.9, 0.75, 0.7), expected, 0.1, 0.01) == (1,)
    assert counterparts_missing(detections(0.9, 0.8, 0.7, 0.6), expected, 0.1, 0.01) == (3,)
    assert cut(expected, 0.8, 1).scores.tolist() == [pytest.approx(0.9)]


def test_mediapipe_moves_boxes_into_the_image():
    boxes = np.float32([[-0.1, 0.25, 0.3, 0.55], [0.5, -0.2, 1.9, 0.5]])
    given = Detections(boxes, np.float32([0.9, 0.8]), np.array([1, 2]))
    found = in_pixels(given, (10, 100))
    expected = [[0, 0.25, 0.4, 0.55], [0.5, 0, 1.5, 0.7]]
    np.testing.assert_allclose(found.boxes, expected, atol=0.011)
    pixels = found.boxes * [10, 100, 10, 100]
    np.testing.assert_allclose(pixels, np.rint(pixels), atol=1e-4)
