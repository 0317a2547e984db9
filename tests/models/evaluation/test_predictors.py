"""Average precision from predictions to pycocotools, and of detectors that have learnt."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from mnasfpn.errors import InvalidInput, InvalidModelFile
from mnasfpn.models.data.coco import read_coco
from mnasfpn.models.data.digits import DigitsSettings, write_digits
from mnasfpn.models.data.pipeline import NO_AUGMENTATION, assign
from mnasfpn.models.detection.anchors import multiscale_grid
from mnasfpn.models.detection.boxes import Detections
from mnasfpn.models.detector import Backbone, Detector
from mnasfpn.models.evaluation.coco_metrics import mean_precision
from mnasfpn.models.evaluation.predictors import (
    Predictor,
    evaluate,
    predictor_of,
    run_predictor,
    tflite_predictor,
)
from mnasfpn.models.genotype import Block, Genotype
from mnasfpn.models.heads.predictor import SharedPredictor
from mnasfpn.models.tflite.writer import write_tflite
from mnasfpn.models.training.recipes import Recipe
from mnasfpn.models.training.train import train, training_graph
from mnasfpn.search.proxy.task import balanced_weights

BLOCKS = (
    Block((0, 1), 3, expansion=32),
    Block((1, 4), 4, expansion=32),
    Block((2, 3), 5, expansion=16),
    Block((2, 3), 6, expansion=16),
)
DETECTOR = Detector(
    Backbone("mobilenet_v2", 0.35),
    Genotype(32, 1, BLOCKS),
    SharedPredictor(depth=32),
    classes=10,
    input_size=64,
)


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


def test_a_predictor_that_knows_the_targets_is_perfect(data):
    anchors = multiscale_grid(64)
    targets = iter([assign(e.boxes, e.labels, anchors) for e in data.examples])

    def predict(images):
        (codes, labels) = ((t := next(targets)).codes, t.labels)
        scores = (labels[:, None] == np.arange(11)).astype(np.float32)
        return codes[None], scores[None]

    done = []
    precision = evaluate(
        Predictor(64, len(anchors), 11, predict, batch_size=1),
        data,
        progress=lambda count, total: done.append((count, total)),
    )
    assert precision.map == pytest.approx(1)
    assert done == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_classes_must_agree(data):
    predictor = Predictor(64, 765, 4, lambda images: pytest.fail("must not run"))
    with pytest.raises(InvalidInput, match="3 classes and the data 10"):
        evaluate(predictor, data)


@pytest.mark.slow
def test_a_handful_of_images_is_learnt_by_heart(data, tmp_path):
    recipe = Recipe(
        "overfit",
        source="this test",
        batch_size=4,
        unit="steps",
        length=120,
        learning_rate=5e-3,
        warmup=10,
        schedule="cosine",
        optimizer="adam",
        clip_norm=10.0,
        norm_momentum=0.9,
        augmentation=NO_AUGMENTATION,
    )
    initial = balanced_weights(training_graph(DETECTOR), seed=0)
    run = train(DETECTOR, data, recipe, tmp_path / "run", initial=initial)
    assert run.history[-1].total < 0.3 * run.history[0].total
    precision = evaluate(run_predictor(run), data)
    assert precision.map > 0.6
    exported = tflite_predictor(write_tflite(DETECTOR.graph(), run.weights))
    assert evaluate(exported, data).map == pytest.approx(precision.map, abs=0.01)


def test_files_that_are_no_detector_are_refused(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(b"TFL3 is not enough to make a model of this")
    with pytest.raises(InvalidModelFile, match=r"model\.tflite"):
        tflite_predictor(path)
    one_output = write_tflite(DETECTOR.graph().prune(["predictor/boxes"]))
    with pytest.raises(InvalidModelFile, match="expected an image"):
        tflite_predictor(one_output)


def test_a_path_tells_what_predicts(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(write_tflite(DETECTOR.graph()))
    assert predictor_of(path).input_size == DETECTOR.input_size
    for other in (tmp_path, tmp_path / "nothing.tflite"):
        with pytest.raises(InvalidInput, match="neither the folder of a finished"):
            predictor_of(other)
