"""Average precision of detections that are right, wrong, shifted or missing."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace

import numpy as np
import pytest
from PIL import Image

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


def odd_dataset(folder):
    """Categories with holes, a crowd, areas that are not those of boxes, a box without area."""
    rng = np.random.default_rng(0)
    categories = [{"id": number, "name": f"class {number}"} for number in (0, 3, 90)]
    images, annotations = [], []
    for image in (5, 17, 40):
        Image.new("RGB", (200, 150)).save(folder / f"{image}.png")
        images.append({"id": image, "file_name": f"{image}.png", "width": 200, "height": 150})
        for category in (0, 3, 90, 3):
            x, y = rng.uniform(0, 120, 2).round(1).tolist()
            w, h = rng.uniform(10, 110, 2).round(1).tolist()
            annotations.append(
                {
                    "id": len(annotations) + 100,
                    "image_id": image,
                    "category_id": category,
                    "bbox": [x, y, w, h],
                    "area": w * h * 0.6,
                    "iscrowd": int(category == 3 and len(annotations) % 4 == 1),
                }
            )
    annotations.append({**annotations[0], "id": 999, "bbox": [3, 3, 0, 0], "area": 0})
    path = folder / "val.json"
    path.write_text(
        json.dumps({"images": images, "categories": categories, "annotations": annotations})
    )
    return path


@pytest.fixture
def odd(tmp_path):
    path = odd_dataset(tmp_path)
    data = read_coco(tmp_path, "val")
    rng = np.random.default_rng(1)
    found = {}
    for example in data.examples:
        corners = example.truth.boxes.copy()
        corners[:, 2:] += corners[:, :2]
        moved = np.repeat(corners, 3, axis=0) + rng.normal(0, 6, (3 * len(corners), 4))
        boxes = moved[:, [1, 0, 3, 2]] / [150, 200, 150, 200]
        labels = np.repeat(example.truth.labels, 3)
        found[example.image_id] = Detections(boxes, rng.uniform(0, 1, len(boxes)), labels)
    return path, data, found


def test_evaluation_is_pycocotools_own_of_the_file(odd):
    """Ids with holes, crowds and areas are the file's, however the figures are computed here."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    path, data, found = odd
    ids = {1: 0, 2: 3, 3: 90}
    rows = []
    for image, detections in found.items():
        scaled = detections.boxes * [150, 200, 150, 200]
        for (top, left, bottom, right), score, label in zip(
            scaled.tolist(), detections.scores.tolist(), detections.labels.tolist(), strict=True
        ):
            rows.append(
                {
                    "image_id": image,
                    "category_id": ids[label],
                    "bbox": [left, top, right - left, bottom - top],
                    "score": score,
                }
            )
    truth = COCO(str(path))
    evaluation = COCOeval(truth, truth.loadRes(rows), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    ours = mean_precision(data, found)
    figures = (ours.map, ours.map50, ours.map75, ours.small, ours.medium, ours.large)
    expected = np.where(evaluation.stats[:6] < 0, np.nan, evaluation.stats[:6])
    np.testing.assert_allclose(figures, expected, rtol=1e-9)
    assert 0.05 < ours.map < 0.95
    assert np.mean(list(ours.per_class.values())) == pytest.approx(ours.map)


def test_faster_coco_eval_gives_the_same_figures(odd):
    pytest.importorskip("faster_coco_eval")
    _, data, found = odd
    ours, theirs = (
        mean_precision(data, found, backend) for backend in ("pycocotools", "faster-coco-eval")
    )
    for name, value in asdict(ours).items():
        found_by_other = asdict(theirs)[name]
        assert found_by_other == pytest.approx(value, abs=1e-9, nan_ok=True), name
