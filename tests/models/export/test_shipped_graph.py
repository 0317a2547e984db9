"""The shipped network is the detector's without the background, and the same otherwise."""

from __future__ import annotations

import numpy as np
import pytest

from mnasfpn.models.evaluation.predictors import tflite_predictor
from mnasfpn.models.export.shipped_graph import shipped_graph, shipped_weights
from mnasfpn.models.graph.weights import check_weights
from mnasfpn.models.published import PUBLISHED
from mnasfpn.models.tflite.writer import write_tflite
from mnasfpn.tests.models.export.small_detector import DETECTOR


@pytest.mark.parametrize("name", PUBLISHED)
def test_only_the_background_is_missing(name):
    detector = PUBLISHED[name]
    whole, shipped = detector.graph(), shipped_graph(detector)
    boxes, scores = whole.outputs
    assert shipped.outputs == whole.outputs
    assert shipped[boxes] == whole[boxes]
    assert shipped[scores].shape == (1, whole[boxes].shape[1], detector.classes)
    changed = [layer.name for layer in whole if layer != shipped[layer.name]]
    assert all("/class/" in name or name in (scores, "predictor/logits") for name in changed)
    assert [layer.name for layer in whole] == [layer.name for layer in shipped]


def test_the_other_scores_stay_what_they_were(weights, held_out):
    kept = shipped_weights(DETECTOR, weights)
    check_weights(shipped_graph(DETECTOR), kept)
    whole = tflite_predictor(write_tflite(DETECTOR.graph(), weights))
    shipped = tflite_predictor(write_tflite(shipped_graph(DETECTOR), kept))
    assert (whole.slots, shipped.slots) == (11, 10)
    for image in held_out:
        (codes,), (scores,) = whole.predict(image)
        (shipped_codes,), (shipped_scores,) = shipped.predict(image)
        assert scores.std() > 0.01
        np.testing.assert_allclose(shipped_codes, codes, atol=1e-5)
        np.testing.assert_allclose(shipped_scores, scores[:, 1:], atol=1e-5)
