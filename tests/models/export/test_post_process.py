"""The operator inside a file gives what we compute of the file's raw outputs."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

from mnasfpn.models.detection.anchors import anchors_for
from mnasfpn.models.detection.client_detections import (
    IN_FILE,
    counterparts_missing,
    post_processed,
)
from mnasfpn.models.evaluation.predictors import tflite_finder, tflite_predictor
from mnasfpn.models.export.export import Shipment, tflite_files
from mnasfpn.models.export.post_process import DETECTION_OUTPUTS
from mnasfpn.models.tflite.model_object import unpack
from mnasfpn.models.tflite.schema import DETECTION_NAME
from mnasfpn.tests.models.export.small_detector import BOXES, DETECTOR, LABELS, SIZE


@pytest.fixture(scope="module", params=["float32", "float16"])
def files(request, weights):
    return tflite_files(Shipment(DETECTOR, weights, LABELS, request.param, "nms"))


def test_the_file_suppresses_as_we_do(files, held_out):
    raw, content = files
    predictor, finder = tflite_predictor(raw), tflite_finder(content)
    anchors = anchors_for(SIZE, BOXES)
    assert finder.classes == len(LABELS)
    for image in held_out:
        (codes,), (scores,) = predictor.predict(image)
        (found,) = finder.find(image)
        expected = post_processed(codes, scores, anchors)
        assert len(found.scores) == len(expected.scores) > 10
        assert len(set(found.labels.tolist())) > 1
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
        assert counterparts_missing(found, expected, 1e-5, 1e-6) == ()
        assert counterparts_missing(expected, found, 1e-5, 1e-6) == ()


def test_four_outputs_in_the_order_that_apps_expect(files):
    model = unpack(files[1])
    (graph,) = model.subgraphs
    outputs = [graph.tensors[index] for index in graph.outputs]
    assert [tensor.name.decode() for tensor in outputs] == list(DETECTION_OUTPUTS)
    assert [tensor.shape.tolist() for tensor in outputs] == [
        *([1, 100, 4], [1, 100], [1, 100], [1]),
    ]
    (signature,) = model.signatureDefs
    assert [each.name.decode() for each in signature.outputs] == list(DETECTION_OUTPUTS)
    assert [each.tensorIndex for each in signature.outputs] == graph.outputs.tolist()


def test_options_and_anchors_are_in_the_operator(files):
    model = unpack(files[1])
    (graph,) = model.subgraphs
    last = graph.operators[-1]
    code = model.operatorCodes[last.opcodeIndex]
    assert (code.builtinCode, code.customCode) == (
        schema.BuiltinOperator.CUSTOM,
        DETECTION_NAME.encode(),
    )
    options = flexbuffers.Loads(bytes(last.customOptions))
    assert options["max_classes_per_detection"] == 1
    assert options["num_classes"] == 10
    assert options["max_detections"] == IN_FILE.total
    assert [options[f"{axis}_scale"] for axis in "yxhw"] == [10, 10, 5, 5]
    assert options["nms_iou_threshold"] == pytest.approx(IN_FILE.iou)
    anchors = graph.tensors[last.inputs[2]]
    stored = np.asarray(model.buffers[anchors.buffer].data, np.uint8).view(np.float32)
    np.testing.assert_array_equal(stored.reshape(-1, 4), anchors_for(SIZE, BOXES))
