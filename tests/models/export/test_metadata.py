"""What a file says of itself comes back as it went in, and the labels behind it."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnasfpn.errors import InvalidInput
from mnasfpn.models.detection.anchors import anchors_for
from mnasfpn.models.export.export import Shipment, tflite_files
from mnasfpn.models.export.metadata import (
    DETECTOR_METADATA,
    model_metadata,
    read_labels,
    read_metadata,
)
from mnasfpn.models.export.metadata_schema import read_table, write_table
from mnasfpn.models.tflite.writer import write_tflite
from mnasfpn.tests.models.export.small_detector import BOXES, DETECTOR, LABELS, SIZE


def names(metadata, which):
    return [tensor["name"] for tensor in metadata["subgraph_metadata"][0][which]]


@pytest.fixture(scope="module", params=["raw", "nms"])
def shipped(request, weights):
    shipment = Shipment(DETECTOR, weights, LABELS, form=request.param)
    return request.param, tflite_files(shipment)[1]


def test_every_form_has_normalisation_labels_and_names(shipped):
    form, content = shipped
    metadata = read_metadata(content)
    (subgraph,) = metadata["subgraph_metadata"]
    (image,) = subgraph["input_tensor_metadata"]
    assert image["process_units"] == [
        {"options": ("NormalizationOptions", {"mean": [127.5], "std": [127.5]})}
    ]
    expected = {
        "raw": ["location", "score"],
        "nms": ["location", "category", "score", "number of detections"],
    }[form]
    assert names(metadata, "output_tensor_metadata") == expected
    kind, box = subgraph["output_tensor_metadata"][0]["content"]["content_properties"]
    assert kind == "BoundingBoxProperties"
    assert box == {"index": [1, 0, 3, 2], "type": 1, "coordinate_type": 0}
    (labels,) = subgraph["output_tensor_metadata"][1]["associated_files"]
    assert labels["type"] == {"raw": 2, "nms": 3}[form]
    assert read_labels(content) == LABELS


def test_the_raw_form_has_every_anchor(shipped):
    form, content = shipped
    custom = read_metadata(content)["subgraph_metadata"][0].get("custom_metadata", [])
    assert [each["name"] for each in custom] == ([DETECTOR_METADATA] if form == "raw" else [])
    if form == "nms":
        return
    data = bytes(custom[0]["data"])
    assert data[4:8] == b"V001"
    options = read_table("ObjectDetectorOptions", data)
    decoding = options["tensors_decoding_options"]
    assert (decoding["num_classes"], decoding["num_boxes"], decoding["num_coords"]) == (10, 765, 4)
    assert [decoding[f"{axis}_scale"] for axis in "yxhw"] == [10, 10, 5, 5]
    assert decoding["apply_exponential_on_box_size"] == 1
    assert decoding["sigmoid_score"] == 0
    anchors = options["ssd_anchors_options"]["fixed_anchors_schema"]["anchors"]
    found = [[a["y_center"], a["x_center"], a["height"], a["width"]] for a in anchors]
    np.testing.assert_array_equal(np.float32(found), anchors_for(SIZE, BOXES))


def test_metadata_is_aligned_and_labels_are_stored_plainly(shipped):
    _, content = shipped
    start = content.index(b"M001") - 4
    assert start % 16 == 0
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (entry,) = archive.infolist()
    assert entry.compress_type == zipfile.ZIP_STORED
    assert shipped[1] == content


def test_the_same_shipment_is_the_same_bytes(weights):
    shipment = Shipment(DETECTOR, weights, LABELS)
    assert tflite_files(shipment) == tflite_files(shipment)


def test_a_file_without_metadata_has_none(weights):
    content = write_tflite(DETECTOR.graph(), weights)
    assert read_metadata(content) is None
    assert read_labels(content) == ()


@given(
    st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1, max_size=5),
    st.integers(1, 20),
    st.sampled_from(["raw", "nms"]),
)
def test_any_metadata_comes_back(classes, count, form):
    anchors = np.random.default_rng(count).uniform(0.1, 1, (count, 4)).astype(np.float32)
    written = model_metadata(form, "a detector", classes, anchors)
    content = write_table("ModelMetadata", written, b"M001")
    assert content[4:8] == b"M001"
    found = read_table("ModelMetadata", content)
    for table in found["subgraph_metadata"][0].get("custom_metadata", []):
        data = bytes(table["data"])
        table["data"] = data
        fixed = read_table("ObjectDetectorOptions", data)["ssd_anchors_options"]
        assert len(fixed["fixed_anchors_schema"]["anchors"]) == count
    assert found["name"] == "a detector"
    assert names(found, "output_tensor_metadata") == names(written, "output_tensor_metadata")


def test_unknown_fields_are_refused():
    with pytest.raises(KeyError, match="colour"):
        write_table("ImageProperties", {"colour": 1}, b"M001")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS[:-1], "9 labels and the detector has 10 classes"),
        ((*LABELS[:-1], "two\nlines"), "not one line of text"),
        ((*LABELS[:-1], " "), "not one line of text"),
    ],
)
def test_labels_that_do_not_match(labels, message, weights):
    with pytest.raises(InvalidInput, match=message):
        Shipment(DETECTOR, weights, labels)
