"""MediaPipe's own ObjectDetector takes our files; of floats it gives what our evaluation gives.

Integers it rounds otherwise than ai-edge-litert does: of such files scores move, other boxes are
suppressed, and on a trained detector many detections have no like. Its boxes are whole pixels, cut
off; a number on the edge may be cut to either side. Where two detections have the same pixels it
makes them one with several classes.
"""

from __future__ import annotations

import numpy as np
import pytest

from mnasfpn.models.detection.anchors import anchors_for
from mnasfpn.models.detection.client_detections import (
    MEDIAPIPE,
    by_mediapipe,
    counterparts_missing,
    in_pixels,
)
from mnasfpn.models.detection.suppression import Detections
from mnasfpn.models.evaluation.predictors import tflite_finder, tflite_predictor
from mnasfpn.models.export.export import Shipment, tflite_files
from mnasfpn.models.export.metadata import model_metadata, with_labels
from mnasfpn.models.export.metadata_schema import write_table
from mnasfpn.models.tflite.model_object import pack, unpack
from mnasfpn.tests.models.export.small_detector import BOXES, DETECTOR, LABELS, SIZE

REASON = "mediapipe is not installed; it is the extra `ship`"
mediapipe = pytest.importorskip("mediapipe", reason=REASON)
#: Largest differences of a score, and of a corner in pixels.
SCORE, PIXELS = 1e-5, 1.001


def found_by_mediapipe(content: bytes, image: np.ndarray) -> tuple[Detections, list[str]]:
    """Of an image [1, S, S, 3] in [-1, 1], and the name of each class."""
    from mediapipe.tasks import python as tasks
    from mediapipe.tasks.python import vision

    options = vision.ObjectDetectorOptions(
        base_options=tasks.BaseOptions(model_asset_buffer=content),
        score_threshold=MEDIAPIPE.score,
        max_results=MEDIAPIPE.total,
    )
    pixels = np.ascontiguousarray(np.round((image[0] + 1) * 127.5).astype(np.uint8))
    with vision.ObjectDetector.create_from_options(options) as detector:
        result = detector.detect(
            mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)
        )
    rows, names = [], []
    for detection in result.detections:
        box = detection.bounding_box
        top, left = box.origin_y, box.origin_x
        for category in detection.categories:
            rows.append((top, left, top + box.height, left + box.width, category.score))
            names.append(category.category_name)
    array = np.array(rows, np.float32).reshape(-1, 5)
    order = np.argsort(-array[:, 4], kind="stable")
    labels = np.array([LABELS.index(name) + 1 for name in names], np.int64)
    names = [names[index] for index in order]
    return Detections(array[order, :4] / SIZE, array[order, 4], labels[order]), names


@pytest.mark.parametrize("form", ["raw", "nms"])
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_it_finds_what_we_find(precision, form, weights, held_out):
    _, content = tflite_files(Shipment(DETECTOR, weights, LABELS, precision, form))
    for image in held_out:
        if form == "raw":
            (codes,), (scores,) = tflite_predictor(content).predict(image)
            expected = by_mediapipe(codes, scores, anchors_for(SIZE, BOXES))
        else:
            (expected,) = tflite_finder(content).find(image)
        found, _ = found_by_mediapipe(content, image)
        expected = in_pixels(expected, (SIZE, SIZE))
        assert len(expected.scores) > 10
        assert found.scores.std() > 0.02
        assert len(found.scores) == len(expected.scores)
        for one, other in ((found, expected), (expected, found)):
            assert len(counterparts_missing(one, other, PIXELS / SIZE, SCORE)) == 0


@pytest.mark.slow
@pytest.mark.parametrize("form", ["raw", "nms"])
@pytest.mark.parametrize("precision", ["dynamic", "int8"])
def test_it_opens_files_of_integers(precision, form, weights, held_out, calibration):
    _, content = tflite_files(Shipment(DETECTOR, weights, LABELS, precision, form), calibration)
    for image in held_out:
        found, names = found_by_mediapipe(content, image)
        assert len(found.scores) > 10
        assert found.scores.std() > 0.02
        assert set(names) <= set(LABELS)


def test_nothing_found_is_an_answer(weights, held_out):
    """The operator's count is 0."""
    low = {**weights}
    key = "predictor/class/level3/pointwise/bias"
    low[key] = weights[key] - np.float32(30)
    _, content = tflite_files(Shipment(DETECTOR, low, LABELS, form="nms"))
    found, names = found_by_mediapipe(content, next(iter(held_out)))
    assert (len(found.scores), names) == (0, [])


def test_its_own_classes_read_our_metadata():
    """The classes that are generated from the public schemas, of a buffer that our table wrote."""
    from mediapipe.tasks.metadata import metadata_schema_py_generated as schema
    from mediapipe.tasks.metadata import object_detector_metadata_schema_py_generated as detectors

    anchors = anchors_for(SIZE, BOXES)
    content = write_table(
        "ModelMetadata", model_metadata("raw", "a detector", LABELS, anchors), b"M001"
    )
    assert schema.ModelMetadata.ModelMetadataBufferHasIdentifier(content, 0)
    metadata = schema.ModelMetadataT.InitFromPackedBuf(content)
    (subgraph,) = metadata.subgraphMetadata
    (unit,) = subgraph.inputTensorMetadata[0].processUnits
    assert unit.optionsType == schema.ProcessUnitOptions.NormalizationOptions
    assert unit.options.mean.tolist() == unit.options.std.tolist() == [127.5]
    boxes, scores = subgraph.outputTensorMetadata
    assert boxes.content.contentPropertiesType == schema.ContentProperties.BoundingBoxProperties
    assert boxes.content.contentProperties.index.tolist() == [1, 0, 3, 2]
    assert boxes.content.contentProperties.type == schema.BoundingBoxType.BOUNDARIES
    assert (boxes.content.range.min, boxes.content.range.max) == (2, 2)
    assert scores.associatedFiles[0].type == schema.AssociatedFileType.TENSOR_AXIS_LABELS
    (custom,) = subgraph.customMetadata
    options = detectors.ObjectDetectorOptionsT.InitFromPackedBuf(custom.data.tobytes())
    assert options.tensorsDecodingOptions.numBoxes == BOXES
    assert options.tensorsDecodingOptions.applyExponentialOnBoxSize
    fixed = options.ssdAnchorsOptions.fixedAnchorsSchema.anchors
    found = np.float32([(a.yCenter, a.xCenter, a.height, a.width) for a in fixed])
    np.testing.assert_array_equal(found, anchors)


def test_a_file_without_metadata_is_refused(weights):
    """So our tests can fail: the same file, its metadata taken away."""
    _, content = tflite_files(Shipment(DETECTOR, weights, LABELS))
    model = unpack(content)
    model.metadata = []
    with pytest.raises(ValueError, match="require TFLite Model Metadata"):
        found_by_mediapipe(with_labels(pack(model), LABELS), np.zeros((1, SIZE, SIZE, 3)))
