"""What is no detector is refused; those that are one are run in ``test_evaluate.py``."""

from __future__ import annotations

import pytest

from mnasfpn.errors import InvalidModelFile
from mnasfpn.models.evaluation.predictors import tflite_predictor
from mnasfpn.models.published import published
from mnasfpn.models.tflite.writer import write_tflite


def test_files_that_are_no_detector_are_refused(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(b"TFL3 is not enough to make a model of this")
    with pytest.raises(InvalidModelFile, match=r"model\.tflite"):
        tflite_predictor(path)
    one_output = write_tflite(published("mobilenetv2-mnasfpn").graph().prune(["predictor/boxes"]))
    with pytest.raises(InvalidModelFile, match="expected an image"):
        tflite_predictor(one_output)
