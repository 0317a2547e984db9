"""What is no detector is refused; those that are one are run in ``test_evaluate.py``."""

from __future__ import annotations

import pytest

from mnasfpn.errors import InvalidInput, InvalidModelFile
from mnasfpn.models.evaluation.predictors import predictor_of, tflite_predictor
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


def test_a_path_tells_what_predicts(tmp_path):
    path = tmp_path / "model.tflite"
    detector = published("mobilenetv2-mnasfpn")
    path.write_bytes(write_tflite(detector.graph()))
    assert predictor_of(path).input_size == detector.input_size
    for other in (tmp_path, tmp_path / "nothing.tflite"):
        with pytest.raises(InvalidInput, match="neither the folder of a finished"):
            predictor_of(other)
