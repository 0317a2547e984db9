"""TensorFlow's converter as the witness of our writer, for every published system as it ships."""

from __future__ import annotations

import numpy as np
import pytest

from mnasfpn.models.evaluation.predictors import tflite_predictor
from mnasfpn.models.export.convert import convert
from mnasfpn.models.export.file_facts import list_operators
from mnasfpn.models.export.judged_images import sample_photographs
from mnasfpn.models.export.shipped_graph import shipped_graph, shipped_weights
from mnasfpn.models.published import PUBLISHED
from mnasfpn.models.tflite.writer import write_tflite
from mnasfpn.tests.models.export.small_detector import visible_weights


@pytest.mark.proof
@pytest.mark.parametrize("name", PUBLISHED)
def test_the_same_operators_and_the_same_outputs(name):
    detector = PUBLISHED[name]
    graph = shipped_graph(detector)
    weights = shipped_weights(detector, visible_weights(detector))
    ours, theirs = write_tflite(graph, weights), convert(graph, weights)
    assert list_operators(ours) == list_operators(theirs)
    (image,) = sample_photographs(detector.input_size, 1)
    (codes, scores), (their_codes, their_scores) = (
        tflite_predictor(content).predict(image[None]) for content in (ours, theirs)
    )
    assert min(codes.std(), scores.std()) > 0.05  # a comparison of nothing would pass
    np.testing.assert_allclose(scores, their_scores, atol=1e-5)
    np.testing.assert_allclose(codes / codes.std(), their_codes / codes.std(), atol=1e-4)
