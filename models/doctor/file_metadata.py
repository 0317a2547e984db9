"""The metadata of a model as it stands in a file, also where it makes no sense.

Places of fields follow the public schemas: mediapipe/tasks/metadata/metadata_schema.fbs (1.5.0) and
object_detector_metadata_schema.fbs (1.0.0).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from ..tflite.flatbuffer import Table

METADATA_NAME, METADATA_IDENTIFIER = "TFLITE_METADATA", b"M001"
DETECTOR_NAME = "DETECTOR_METADATA"

# Values of the schema's enumerations and unions.
IMAGE, BOX = 2, 3
CONTENTS = ("nothing", "FeatureProperties", "ImageProperties", "BoundingBoxProperties")
RGB = 1
BOUNDARIES, RATIO = 1, 0
BOX_TYPES = ("UNKNOWN", "BOUNDARIES", "UPPER_LEFT", "CENTER")
NORMALISATION, CALIBRATION, THRESHOLD = 1, 2, 3
AXIS_LABELS, VALUE_LABELS, CALIBRATION_FILE = 2, 3, 4

Read = TypeVar("Read")


@dataclass(frozen=True, slots=True)
class AssociatedFile:
    """A file in the archive; one without a name is not looked at."""

    name: str
    kind: int


@dataclass(frozen=True, slots=True)
class BoxProperties:
    """How four numbers are a box; ``index`` is None where the file does not say an order."""

    index: tuple[int, ...] | None
    kind: int
    coordinates: int


@dataclass(frozen=True, slots=True)
class TensorMetadata:
    """Of an input or output. ``name`` is None where the file says none.

    Args:
        content: type of the properties, 0 for none; ``colour`` of an image, ``box`` of boxes.
        units: types of the process units, in order.
        normalisation: (means, deviations) of the first such unit; either may be None.
    """

    name: str | None
    content: int
    colour: int
    box: BoxProperties | None
    units: tuple[int, ...]
    normalisation: tuple[tuple[float, ...] | None, tuple[float, ...] | None] | None
    files: tuple[AssociatedFile, ...]

    def file(self, kind: int) -> str | None:
        """Name of the first file of a kind."""
        return next((each.name for each in self.files if each.kind == kind and each.name), None)


@dataclass(frozen=True, slots=True)
class Decoding:
    """How boxes are read off a raw output: TensorsDecodingOptions."""

    classes: int
    boxes: int
    coordinates: int
    keypoints: int
    values_per_keypoint: int
    scales: tuple[float, float, float, float]  # x, y, w, h
    exponential: bool
    sigmoid: bool


@dataclass(frozen=True, slots=True)
class DetectorMetadata:
    """ObjectDetectorOptions; None for a table that is not there. Anchors are (xc, yc, w, h)."""

    has_anchors_table: bool
    anchors: tuple[tuple[float, float, float, float], ...]
    decoding: Decoding | None


@dataclass(frozen=True, slots=True)
class FileMetadata:
    """ModelMetadata with its first subgraph; lists that are not there are None."""

    parser_version: str
    has_subgraph: bool
    inputs: tuple[TensorMetadata, ...] | None
    outputs: tuple[TensorMetadata, ...] | None
    detector: DetectorMetadata | None


def read_metadata(content: bytes) -> FileMetadata:
    """
    Raises:
        DamagedBuffer: an offset leads outside the metadata.
    """
    root = Table.root(content)
    subgraphs = root.tables(3)
    if not subgraphs:
        return FileMetadata(root.text(7), False, None, None, None)
    subgraph = subgraphs[0]
    named = {each.text(0): each for each in reversed(subgraph.tables(9))}
    detector = named.get(DETECTOR_NAME)
    return FileMetadata(
        parser_version=root.text(7),
        has_subgraph=True,
        inputs=_list(subgraph, 2, _tensor),
        outputs=_list(subgraph, 3, _tensor),
        detector=None if detector is None else _detector(_bytes(detector, 1)),
    )


def _list(table: Table, field: int, read: Callable[[Table], Read]) -> tuple[Read, ...] | None:
    return None if table.array(field, "<u4") is None else tuple(map(read, table.tables(field)))


def _bytes(table: Table, field: int) -> bytes:
    found = table.array(field, "u1")
    return b"" if found is None else found.tobytes()


def _tensor(table: Table) -> TensorMetadata:
    content = table.table(3)
    properties = None if content is None else content.table(1)
    kind = 0 if content is None or properties is None else content.scalar(0, "B", 0)
    units = table.tables(4)
    normalisations = [each.table(1) for each in units if each.scalar(0, "B", 0) == NORMALISATION]
    return TensorMetadata(
        name=None if table.array(0, "u1") is None else table.text(0),
        content=kind,
        colour=properties.scalar(0, "b", 0) if properties is not None and kind == IMAGE else 0,
        box=_box(properties) if properties is not None and kind == BOX else None,
        units=tuple(each.scalar(0, "B", 0) for each in units),
        normalisation=next(
            ((_floats(each, 0), _floats(each, 1)) for each in normalisations if each), None
        ),
        files=tuple(
            AssociatedFile(each.text(0), each.scalar(2, "b", 0)) for each in table.tables(6)
        ),
    )


def _box(table: Table) -> BoxProperties:
    index = table.array(0, "<u4")
    return BoxProperties(
        index=None if index is None else tuple(index.tolist()),
        kind=table.scalar(1, "b", 0),
        coordinates=table.scalar(2, "b", 0),
    )


def _floats(table: Table, field: int) -> tuple[float, ...] | None:
    found = table.array(field, "<f4")
    return None if found is None else tuple(found.tolist())


def _detector(content: bytes) -> DetectorMetadata:
    root = Table.root(content)
    options, decoding = root.table(1), root.table(2)
    schema = None if options is None else options.table(0)
    anchors = [] if schema is None else schema.tables(0)
    return DetectorMetadata(
        has_anchors_table=options is not None,
        anchors=tuple(
            (number(each, 0), number(each, 1), number(each, 2), number(each, 3)) for each in anchors
        ),
        decoding=None if decoding is None else _decoding(decoding),
    )


def number(table: Table, field: int) -> float:
    return float(table.scalar(field, "f", 0))


def _decoding(table: Table) -> Decoding:
    return Decoding(
        classes=table.scalar(0, "i", 0),
        boxes=table.scalar(1, "i", 0),
        coordinates=table.scalar(2, "i", 0),
        keypoints=table.scalar(4, "i", 0),
        values_per_keypoint=table.scalar(5, "i", 0),
        scales=(number(table, 6), number(table, 7), number(table, 8), number(table, 9)),
        exponential=bool(table.scalar(10, "B", 0)),
        sigmoid=bool(table.scalar(11, "B", 0)),
    )
