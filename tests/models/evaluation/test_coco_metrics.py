"""Average precision of detections that are right, wrong, shifted or missing."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from mnasfpn.models.data.coco import read_coco
from mnasfpn.models.data.digits import DigitsSettings, write_digits
from mnasfpn.models.detection.suppression import Detections
from mnasfpn.models.evaluation.coco_metrics import mean_precision


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "digits"
    settings = DigitsSettings(train=4, validation=1, size=64, most=2, smallest=0.4)
    return read_coco(write_digits(folder, settings), "train")


def truth(example, score=0.9):
    return Detections(example.boxes, np.full(len(example.boxes), score), example.labels)


class TestMeanPrecision:
    def test_the_truth_is_perfect(self, data):
        found = {example.image_id: truth(example) for example in data.examples}
        precision = mean_precision(data, found)
        assert precision.map == pytest.approx(1)
        assert precision.map50 == pytest.approx(1)
        assert math.isnan(precision.large)  # the images have 64 pixels a side

    def test_wrong_classes_score_nothing(self, data):
        found = {
            example.image_id: replace(truth(example), labels=example.labels % 10 + 1)
            for example in data.examples
        }
        assert mean_precision(data, found).map < 0.5

    def test_no_detections_score_nothing(self, data):
        empty = Detections(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64))
        found = {example.image_id: empty for example in data.examples}
        assert mean_precision(data, found).map == 0

    def test_shifted_boxes_lose_only_the_strict_thresholds(self, data):
        def shifted(example):
            height = example.boxes[:, 2] - example.boxes[:, 0]
            moved = example.boxes.copy()
            moved[:, [0, 2]] += 0.2 * height[:, None]  # IoU 0.8 / 1.2 = 2/3
            return replace(truth(example), boxes=moved)

        precision = mean_precision(data, {e.image_id: shifted(e) for e in data.examples})
        assert precision.map50 == pytest.approx(1)
        assert precision.map75 == 0
        assert precision.map == pytest.approx(0.4)  # at 0.5, 0.55, 0.6 and 0.65 of ten
