"""TensorFlow Lite's and MediaPipe's metadata schemas as one table, and FlatBuffers by it.

Fields stand in the order of the public schemas, which is their place in the file:
mediapipe/tasks/metadata/metadata_schema.fbs (1.5.0) and object_detector_metadata_schema.fbs
(1.0.0). A table is a mapping from fields to values; a field that is left out is not written. The
value of a union is (name of its table, the table).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import flatbuffers
import numpy as np

from ..tflite.flatbuffer import Table

Values = Mapping[str, Any]

#: Table -> its fields. A field of numbers has their NumPy type; ``[...]`` is a vector.
TABLES: dict[str, tuple[tuple[str, str], ...]] = {
    "ModelMetadata": (
        ("name", "string"),
        ("description", "string"),
        ("version", "string"),
        ("subgraph_metadata", "[SubGraphMetadata]"),
        ("author", "string"),
        ("license", "string"),
        ("associated_files", "[AssociatedFile]"),
        ("min_parser_version", "string"),
    ),
    "SubGraphMetadata": (
        ("name", "string"),
        ("description", "string"),
        ("input_tensor_metadata", "[TensorMetadata]"),
        ("output_tensor_metadata", "[TensorMetadata]"),
        ("associated_files", "[AssociatedFile]"),
        ("input_process_units", "[ProcessUnit]"),
        ("output_process_units", "[ProcessUnit]"),
        ("input_tensor_groups", "[TensorGroup]"),
        ("output_tensor_groups", "[TensorGroup]"),
        ("custom_metadata", "[CustomMetadata]"),
    ),
    "CustomMetadata": (("name", "string"), ("data", "[u1]")),
    "TensorMetadata": (
        ("name", "string"),
        ("description", "string"),
        ("dimension_names", "[string]"),
        ("content", "Content"),
        ("process_units", "[ProcessUnit]"),
        ("stats", "Stats"),
        ("associated_files", "[AssociatedFile]"),
    ),
    "AssociatedFile": (
        ("name", "string"),
        ("description", "string"),
        ("type", "i1"),
        ("locale", "string"),
        ("version", "string"),
    ),
    "Content": (("content_properties", "ContentProperties"), ("range", "ValueRange")),
    "FeatureProperties": (),
    "ImageProperties": (("color_space", "i1"), ("default_size", "ImageSize")),
    "ImageSize": (("width", "u4"), ("height", "u4")),
    "BoundingBoxProperties": (("index", "[u4]"), ("type", "i1"), ("coordinate_type", "i1")),
    "AudioProperties": (("sample_rate", "u4"), ("channels", "u4")),
    "ValueRange": (("min", "i4"), ("max", "i4")),
    "Stats": (("max", "[f4]"), ("min", "[f4]")),
    "TensorGroup": (("name", "string"), ("tensor_names", "[string]")),
    "ProcessUnit": (("options", "ProcessUnitOptions"),),
    "NormalizationOptions": (("mean", "[f4]"), ("std", "[f4]")),
    "ScoreCalibrationOptions": (("score_transformation", "i1"), ("default_score", "f4")),
    "ScoreThresholdingOptions": (("global_score_threshold", "f4"),),
    "ObjectDetectorOptions": (
        ("min_parser_version", "string"),
        ("ssd_anchors_options", "SsdAnchorsOptions"),
        ("tensors_decoding_options", "TensorsDecodingOptions"),
    ),
    "SsdAnchorsOptions": (("fixed_anchors_schema", "FixedAnchorsSchema"),),
    "FixedAnchorsSchema": (("anchors", "[FixedAnchor]"),),
    "FixedAnchor": (("x_center", "f4"), ("y_center", "f4"), ("width", "f4"), ("height", "f4")),
    "TensorsDecodingOptions": (
        ("num_classes", "i4"),
        ("num_boxes", "i4"),
        ("num_coords", "i4"),
        ("keypoint_coord_offset", "i4"),
        ("num_keypoints", "i4"),
        ("num_values_per_keypoint", "i4"),
        ("x_scale", "f4"),
        ("y_scale", "f4"),
        ("w_scale", "f4"),
        ("h_scale", "f4"),
        ("apply_exponential_on_box_size", "b1"),
        ("sigmoid_score", "b1"),
    ),
}
#: Union -> its tables in the order of the schema; those of texts are never written here.
UNIONS: dict[str, tuple[str, ...]] = {
    "ContentProperties": (
        *("FeatureProperties", "ImageProperties", "BoundingBoxProperties", "AudioProperties"),
    ),
    "ProcessUnitOptions": (
        *("NormalizationOptions", "ScoreCalibrationOptions", "ScoreThresholdingOptions"),
    ),
}
#: NumPy type -> struct's letter.
LETTERS = {"b1": "?", "i1": "b", "u1": "B", "i4": "i", "u4": "I", "f4": "f"}
DATA_ALIGNMENT = 16  # schema: ``force_align: 16`` of CustomMetadata.data


def write_table(table: str, values: Values, identifier: bytes) -> bytes:
    """A FlatBuffer whose root is that table.

    Raises:
        KeyError: a field that the table does not have.
    """
    builder = flatbuffers.Builder(4096)
    builder.Finish(_write(builder, table, values), identifier)
    return bytes(builder.Output())


def read_table(table: str, content: bytes) -> dict[str, Any]:
    """Inverse of :func:`write_table`: the fields that are there.

    Raises:
        DamagedBuffer: an offset leads outside the content.
    """
    return _read(table, Table.root(content))


@cache
def _slots(table: str) -> dict[str, tuple[int, str]]:
    """Field -> its place and kind; a union takes two places, and the first holds its type."""
    slots, place = {}, 0
    for name, kind in TABLES[table]:
        place += kind in UNIONS
        slots[name] = (place, kind)
        place += 1
    return slots


def _write(builder: Any, table: str, values: Values) -> int:
    """What a table points to is written before it."""
    slots = _slots(table)
    fields: list[Callable[[], None]] = []
    for name, value in values.items():
        place, kind = slots[name]
        if kind in LETTERS:
            prepend = _SCALARS[kind]
            fields.append(lambda p=place, v=value, w=prepend: w(builder, p, v, 0))  # type: ignore[misc]
            continue
        if kind in UNIONS:
            chosen, value = value
            number = UNIONS[kind].index(chosen) + 1
            fields.append(lambda p=place, n=number: builder.PrependUint8Slot(p - 1, n, 0))  # type: ignore[misc]
            kind = chosen
        at = _write_pointed(builder, kind, value)
        fields.append(lambda p=place, a=at: builder.PrependUOffsetTRelativeSlot(p, a, 0))  # type: ignore[misc]
    builder.StartObject(max((place for place, _ in slots.values()), default=-1) + 1)
    for add in fields:
        add()
    return int(builder.EndObject())


_SCALARS: dict[str, Callable[..., None]] = {
    "b1": flatbuffers.Builder.PrependBoolSlot,
    "i1": flatbuffers.Builder.PrependInt8Slot,
    "i4": flatbuffers.Builder.PrependInt32Slot,
    "u4": flatbuffers.Builder.PrependUint32Slot,
    "f4": flatbuffers.Builder.PrependFloat32Slot,
}


def _write_pointed(builder: Any, kind: str, value: Any) -> int:
    """Position of a string, a table or a vector."""
    if kind == "string":
        return int(builder.CreateString(value))
    if not kind.startswith("["):
        return _write(builder, kind, value)
    element = kind[1:-1]
    if element in LETTERS:
        return _write_numbers(builder, np.asarray(value, f"<{element}"))
    items = [_write_pointed(builder, element, item) for item in value]
    builder.StartVector(4, len(items), 4)
    for item in reversed(items):
        builder.PrependUOffsetTRelative(item)
    return int(builder.EndVector())


def _write_numbers(builder: Any, array: np.ndarray[Any, Any]) -> int:
    alignment = DATA_ALIGNMENT if array.itemsize == 1 else array.itemsize
    builder.StartVector(array.itemsize, array.size, alignment)
    builder.head = builder.Head() - array.nbytes
    builder.Bytes[builder.head : builder.head + array.nbytes] = array.tobytes()
    return int(builder.EndVector())


def _read(table: str, source: Table) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, (place, kind) in _slots(table).items():
        value: Any = None
        if kind in LETTERS:
            value = source.scalar(place, LETTERS[kind], 0)
        elif kind in UNIONS:
            number, inner = source.scalar(place - 1, "B", 0), source.table(place)
            if inner is not None and 0 < number <= len(UNIONS[kind]):
                chosen = UNIONS[kind][number - 1]
                value = (chosen, _read(chosen, inner))
        elif kind == "string":
            value = source.text(place)
        elif not kind.startswith("["):
            inner = source.table(place)
            value = inner and _read(kind, inner)
        elif kind[1:-1] in LETTERS:
            array = source.array(place, f"<{kind[1:-1]}")
            value = None if array is None else array.tolist()
        elif kind != "[string]":  # names of axes and groups, which nobody reads here
            value = [_read(kind[1:-1], item) for item in source.tables(place)]
        if value not in (None, "", []):
            found[name] = value
    return found
