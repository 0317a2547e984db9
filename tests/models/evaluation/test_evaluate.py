"""From predictions to pycocotools, and of detectors that have learnt."""

from __future__ import annotations

import numpy as np
import pytest

from mnasfpn.errors import InvalidInput
from mnasfpn.models.data.augmentation import NO_AUGMENTATION
from mnasfpn.models.data.coco import read_coco
from mnasfpn.models.data.digits import DigitsSettings, write_digits
from mnasfpn.models.detection.anchors import multiscale_grid
from mnasfpn.models.detection.target_assignment import Assigner
from mnasfpn.models.detector import Backbone, Detector
from mnasfpn.models.evaluation.evaluate import evaluate
from mnasfpn.models.evaluation.predictors import Predictor, run_predictor, tflite_predictor
from mnasfpn.models.genotype import Block, Genotype
from mnasfpn.models.heads.predictor import SharedPredictor
from mnasfpn.models.tflite.writer import write_tflite
from mnasfpn.models.training.recipes import Recipe
from mnasfpn.models.training.train import train

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


def test_a_predictor_that_knows_the_targets_is_perfect(data):
    anchors = multiscale_grid(64)
    assign = Assigner(anchors)
    targets = iter([assign(e.boxes, e.labels) for e in data.examples])

    def predict(images):
        (codes, labels) = ((t := next(targets)).codes, t.labels)
        scores = (labels[:, None] == np.arange(11)).astype(np.float32)
        return codes[None], scores[None]

    done = []
    precision = evaluate(
        Predictor(64, len(anchors), 11, predict, batch_size=1),
        data,
        progress=lambda count, total, what: done.append((count, total)),
    )
    assert precision.map == pytest.approx(1)
    assert done == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_classes_must_agree(data):
    predictor = Predictor(64, 765, 4, lambda images: pytest.fail("must not run"))
    with pytest.raises(InvalidInput, match="3 classes and the data 10"):
        evaluate(predictor, data)


@pytest.mark.slow
def test_eight_images_are_learnt_by_heart(tmp_path):
    """In a minute or two; the file that is written of the weights finds the same."""
    settings = DigitsSettings(train=8, validation=1, size=64, most=2, smallest=0.4)
    data = read_coco(write_digits(tmp_path / "digits", settings), "train")
    recipe = Recipe(
        "overfit",
        source="this test",
        batch_size=8,
        unit="steps",
        length=200,
        learning_rate=5e-3,
        warmup=10,
        schedule="cosine",
        optimizer="adam",
        clip_norm=10.0,
        norm_momentum=0.9,
        augmentation=NO_AUGMENTATION,
        initial="balanced",
    )
    run = train(DETECTOR, data, recipe, tmp_path / "run")
    precision = evaluate(run_predictor(run), data)
    assert precision.map > 0.9
    exported = tflite_predictor(write_tflite(DETECTOR.graph(), run.weights))
    assert evaluate(exported, data).map == pytest.approx(precision.map, abs=0.01)
