"""The program in docs/decoding.md finds what our own evaluation finds."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from mnasfpn.models.data.images import load_image, normalise
from mnasfpn.models.detection.anchors import anchors_for
from mnasfpn.models.detection.client_detections import by_mediapipe, cut
from mnasfpn.models.evaluation.predictors import detector_predictor
from mnasfpn.models.export.export import Shipment, export
from mnasfpn.tests.models.export.small_detector import BOXES, DETECTOR, LABELS, SIZE

DOCUMENT = Path(__file__).parents[3] / "docs" / "decoding.md"
LEAST, MOST_LINES = 0.5, 42  # with imports and the overlap


def test_the_program_of_the_document_finds_the_same(weights, held_out, tmp_path):
    (program,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert len(program.splitlines()) <= MOST_LINES
    names: dict[str, object] = {}
    exec(program, names)
    export(Shipment(DETECTOR, weights, LABELS), tmp_path / "detector.tflite", held_out)
    network = detector_predictor(DETECTOR, weights)
    count = 0
    for example in held_out.split.examples:
        pixels = load_image(example, SIZE)
        found = names["detect"](str(tmp_path / "detector"), pixels, LEAST)
        (codes,), (scores,) = network.predict(normalise(pixels)[None])
        everything = by_mediapipe(codes, scores, anchors_for(SIZE, BOXES))
        expected = cut(everything, LEAST, len(everything.scores))
        assert [name for name, _, _ in found] == [LABELS[label - 1] for label in expected.labels]
        np.testing.assert_allclose([score for _, score, _ in found], expected.scores, atol=1e-4)
        np.testing.assert_allclose([box for _, _, box in found], expected.boxes, atol=1e-4)
        count += len(found)
    assert count >= len(held_out)  # something was there to be found
