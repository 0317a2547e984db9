"""What a file says of itself, in the form that MediaPipe reads: normalisation, labels, outputs.

The metadata is a FlatBuffer in a buffer of the model; the labels are a text file in a zip archive
behind it, which readers find from the end. Source: mediapipe/tasks/metadata/metadata_schema.fbs,
and mediapipe/tasks/cc/components/processors/detection_postprocessing_graph.cc for what is asked of
a detector.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from ... import __version__
from ..arrays import Floats
from ..detection.box_coding import CODE_SCALES
from ..tflite.flatbuffer import DamagedBuffer, Table
from ..tflite.model_object import add_buffer
from .metadata_schema import read_table, write_table

#: ``raw``: codes and scores of every anchor. ``nms``: detections, decoded and suppressed inside.
Form = Literal["raw", "nms"]

METADATA = "TFLITE_METADATA"
METADATA_IDENTIFIER, DETECTOR_IDENTIFIER = b"M001", b"V001"
DETECTOR_METADATA = "DETECTOR_METADATA"
LABELS_FILE = "labels.txt"
PIXEL_MEAN = PIXEL_STD = 127.5  # (pixel - mean) / std: 0..255 becomes -1..1

RGB = 1
AXIS_LABELS, VALUE_LABELS = 2, 3
BOUNDARIES, RATIO = 1, 0
YMIN_XMIN_YMAX_XMAX = (1, 0, 3, 2)  # where left, top, right and bottom stand

# Fields of the model's table that hold its list of metadata and its buffers.
_BUFFERS_FIELD, _METADATA_FIELD = 4, 6


def add_metadata(
    model: Any, form: Form, name: str, classes: Sequence[str], anchors: Floats
) -> None:
    """Describe a ``ModelT``; :func:`with_labels` puts the labels behind it once it is packed."""
    (graph,) = model.subgraphs
    content = write_table(
        "ModelMetadata", model_metadata(form, name, classes, anchors), METADATA_IDENTIFIER
    )
    buffer = add_buffer(model, np.frombuffer(content, np.uint8))
    model.metadata = [
        *(model.metadata or ()),
        schema.MetadataT(name=METADATA, buffer=buffer),
    ]
    graph.name = "main"


def model_metadata(
    form: Form, name: str, classes: Sequence[str], anchors: Floats
) -> dict[str, Any]:
    """As a table of the public schema.

    Args:
        name: of the model, for people.
        classes: names of the scores' columns.
        anchors: [N, 4] (yc, xc, h, w).
    """
    image = {
        "name": "image",
        "description": "RGB, stretched to the input's size with bilinear sampling",
        "content": {"content_properties": ("ImageProperties", {"color_space": RGB})},
        "process_units": [
            {
                "options": (
                    "NormalizationOptions",
                    {"mean": [PIXEL_MEAN], "std": [PIXEL_STD]},
                )
            }
        ],
        "stats": {"max": [1.0], "min": [-1.0]},
    }
    subgraph: dict[str, Any] = {
        "input_tensor_metadata": [image],
        "output_tensor_metadata": _raw_outputs() if form == "raw" else _nms_outputs(),
    }
    if form == "raw":
        options = _detector_options(len(classes), anchors)
        data = write_table("ObjectDetectorOptions", options, DETECTOR_IDENTIFIER)
        custom = {"name": DETECTOR_METADATA, "data": np.frombuffer(data, np.uint8)}
        subgraph["custom_metadata"] = [custom]
    return {
        "name": name,
        "description": f"Object detector with {len(classes)} classes, by mnasfpn {__version__}",
        "version": "v1",
        "subgraph_metadata": [subgraph],
        "min_parser_version": "1.5.0" if form == "raw" else "1.0.0",
    }


def _boxes(description: str) -> dict[str, Any]:
    properties = {"index": YMIN_XMIN_YMAX_XMAX, "type": BOUNDARIES, "coordinate_type": RATIO}
    return {
        "name": "location",
        "description": description,
        "content": {
            "content_properties": ("BoundingBoxProperties", properties),
            "range": {"min": 2, "max": 2},
        },
    }


def _numbers(name: str, description: str, labels: int | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": name,
        "description": description,
        "content": {
            "content_properties": ("FeatureProperties", {}),
            "range": {"min": 2, "max": 2},
        },
    }
    if labels is not None:
        file = {"name": LABELS_FILE, "description": "Names of the classes", "type": labels}
        found["associated_files"] = [file]
    return found


def _raw_outputs() -> list[dict[str, Any]]:
    return [
        _boxes("Codes (ty, tx, th, tw) of every anchor's box"),
        _numbers("score", "Of every anchor and class, from 0 to 1", AXIS_LABELS),
    ]


def _nms_outputs() -> list[dict[str, Any]]:
    """MediaPipe goes by these names."""
    count = {"name": "number of detections", "description": "How many of the rows are detections"}
    return [
        _boxes("(ymin, xmin, ymax, xmax) as shares of the image"),
        _numbers("category", "Class, counted from 0", VALUE_LABELS),
        _numbers("score", "From 0 to 1, falling"),
        count,
    ]


def _detector_options(classes: int, anchors: Floats) -> dict[str, Any]:
    y_scale, x_scale, h_scale, w_scale = CODE_SCALES.tolist()
    fixed = [
        {"x_center": xc, "y_center": yc, "width": w, "height": h}
        for yc, xc, h, w in anchors.tolist()
    ]
    return {
        "min_parser_version": "1.0.0",
        "ssd_anchors_options": {"fixed_anchors_schema": {"anchors": fixed}},
        "tensors_decoding_options": {
            "num_classes": classes,
            "num_boxes": len(anchors),
            "num_coords": 4,
            "keypoint_coord_offset": 0,
            "num_keypoints": 0,
            "num_values_per_keypoint": 2,
            "x_scale": x_scale,
            "y_scale": y_scale,
            "w_scale": w_scale,
            "h_scale": h_scale,
            "apply_exponential_on_box_size": True,
            "sigmoid_score": False,  # the graph ends in it
        },
    }


def with_labels(content: bytes, classes: Sequence[str]) -> bytes:
    """A packed model with the labels' file behind it."""
    archive = io.BytesIO(content)
    archive.seek(0, io.SEEK_END)
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_STORED) as file:
        # A fixed date: the same model is the same bytes.
        entry = zipfile.ZipInfo(LABELS_FILE, (1980, 1, 1, 0, 0, 0))
        file.writestr(entry, "".join(f"{name}\n" for name in classes))
    return archive.getvalue()


def read_metadata(content: bytes) -> dict[str, Any] | None:
    """The metadata of a .tflite file as :func:`model_metadata` makes it; None if it has none.

    Raises:
        DamagedBuffer: an offset leads outside the file.
    """
    model = Table.root(content)
    buffers = model.tables(_BUFFERS_FIELD)
    for entry in model.tables(_METADATA_FIELD):
        if entry.text(0) == METADATA:
            place = entry.scalar(1, "I", 0)
            if place >= len(buffers):
                raise DamagedBuffer(f"its metadata is in buffer {place}, and it has {len(buffers)}")
            data = buffers[place].array(0, "u1")
            return None if data is None else read_table("ModelMetadata", data.tobytes())
    return None


def read_labels(content: bytes) -> tuple[str, ...]:
    """The labels behind a .tflite file; none if there are none."""
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return ()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if LABELS_FILE not in archive.namelist():
            return ()
        return tuple(archive.read(LABELS_FILE).decode().splitlines())
