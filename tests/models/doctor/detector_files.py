"""Small whole detectors as .tflite files, in parts that a test can alter before they are packed.

The graph is written by our writer; post-processing, metadata and labels are added here from the
public schemas (metadata_schema.fbs, object_detector_metadata_schema.fbs), so that what is tested
does not write its own questions.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

from mnasfpn.models.graph.builder import GraphBuilder
from mnasfpn.models.tflite.file import AlignedBuffer
from mnasfpn.models.tflite.writer import write_tflite

SIZE, BOXES, CLASSES = 32, 64, 3
LABELS = b"red\ngreen\nblue\n"
BYTE, UINT, FLOAT = np.int8, np.uint32, np.float32


class Record(dict[int, Any]):
    """A FlatBuffers table: place of a field in the schema -> its value.

    Strings, numpy scalars, numpy arrays, tables, and lists of tables or strings.
    """

    def pack(self, identifier: bytes) -> bytes:
        builder = flatbuffers.Builder(1024)
        builder.Finish(self._write(builder), identifier)
        return bytes(builder.Output())

    def _write(self, builder: flatbuffers.Builder) -> int:
        before = {place: _write(builder, value) for place, value in self.items()}
        builder.StartObject(max(self, default=0) + 1)
        for place, value in self.items():
            if isinstance(value, np.generic):
                builder.Prepend(_flags(value), value.item())
                builder.Slot(place)
            else:
                builder.PrependUOffsetTRelativeSlot(place, before[place], 0)
        return builder.EndObject()


def _flags(value: np.generic) -> Any:
    return {
        "int8": flatbuffers.number_types.Int8Flags,
        "uint8": flatbuffers.number_types.Uint8Flags,
        "int32": flatbuffers.number_types.Int32Flags,
        "uint32": flatbuffers.number_types.Uint32Flags,
        "float32": flatbuffers.number_types.Float32Flags,
        "bool": flatbuffers.number_types.BoolFlags,
    }[value.dtype.name]


def _write(builder: flatbuffers.Builder, value: Any) -> int:
    if isinstance(value, np.generic):
        return 0
    if isinstance(value, str):
        return builder.CreateString(value)
    if isinstance(value, Record):
        return value._write(builder)
    if isinstance(value, bytes):  # a nested file
        builder.StartVector(1, len(value), 16)
        builder.head = builder.Head() - len(value)
        builder.Bytes[builder.head : builder.head + len(value)] = value
        return builder.EndVector()
    if isinstance(value, np.ndarray):
        return builder.CreateNumpyVector(value)
    offsets = [_write(builder, each) for each in value]
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


@dataclass
class Parts:
    """A file before it is packed; a test may alter any part.

    Args:
        model: of the classes generated from schema.fbs.
        metadata: ModelMetadata, or its packed bytes, or None: the file has none.
        options: ObjectDetectorOptions of a file without post-processing.
        archive: files appended as an archive, by name.
    """

    model: Any
    metadata: Record | bytes | None
    options: Record | bytes | None = None
    archive: dict[str, bytes] = field(default_factory=dict)
    identifier: bytes = b"M001"
    options_identifier: bytes = b"V001"
    metadata_name: str = "TFLITE_METADATA"
    options_name: str = "DETECTOR_METADATA"
    compression: int = zipfile.ZIP_STORED

    @property
    def graph(self) -> Any:
        return self.model.subgraphs[0]

    @property
    def subgraph(self) -> Record:
        """SubGraphMetadata."""
        return self.metadata[3][0]  # type: ignore[index, no-any-return]

    @property
    def input(self) -> Record:
        """TensorMetadata of the input."""
        return self.subgraph[2][0]  # type: ignore[no-any-return]

    @property
    def outputs(self) -> list[Record]:
        """TensorMetadata of the outputs."""
        return self.subgraph[3]  # type: ignore[no-any-return]

    @property
    def decoding(self) -> Record:
        """TensorsDecodingOptions."""
        return self.options[2]  # type: ignore[index, no-any-return]

    @property
    def anchors(self) -> list[Record]:
        return self.options[1][0][0]  # type: ignore[index, no-any-return]

    def pack(self) -> bytes:
        if self.options is not None:
            data = self.options
            if isinstance(data, Record):
                data = data.pack(self.options_identifier)
            self.subgraph[9] = [Record({0: self.options_name, 1: data})]
        if self.metadata is not None:
            data = self.metadata
            if isinstance(data, Record):
                data = data.pack(self.identifier)
            self.model.buffers.append(AlignedBuffer(np.frombuffer(data, np.uint8)))
            place = len(self.model.buffers) - 1
            self.model.metadata = [schema.MetadataT(name=self.metadata_name, buffer=place)]
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        content = bytes(builder.Output())
        if not self.archive:
            return content
        stream = io.BytesIO()
        stream.write(content)
        with zipfile.ZipFile(stream, "a", self.compression) as archive:
            for name, data in self.archive.items():
                archive.writestr(name, data)
        return stream.getvalue()


def small_model() -> Any:
    """Boxes [1, N, 4] and scores [1, N, classes] of an image [1, S, S, 3]."""
    build = GraphBuilder()
    image = build.input("image", (1, SIZE, SIZE, 3))
    feature = build.conv("feature", image, 8, 3, 4, bias=True, activation="relu6")
    boxes = build.conv("codes", feature, 4, bias=True)
    scores = build.conv("logits", feature, CLASSES, bias=True)
    build.reshape("boxes", boxes, (1, BOXES, 4))
    flat = build.reshape("flat", scores, (1, BOXES, CLASSES))
    build.unary("scores", "sigmoid", flat)
    content = write_tflite(build.graph(["boxes", "scores"]))
    model = schema.ModelT.InitFromPackedBuf(content)
    model.buffers = [
        buffer if buffer.data is None else AlignedBuffer(np.asarray(buffer.data, np.uint8))
        for buffer in model.buffers
    ]
    for tensor in model.subgraphs[0].tensors:
        tensor.name = tensor.name.decode()
    return model


def anchor_centres() -> list[tuple[float, float]]:
    """(y, x) of a grid over the image, row by row."""
    side = int(BOXES**0.5)
    return [((y + 0.5) / side, (x + 0.5) / side) for y in range(side) for x in range(side)]


def box_properties() -> Record:
    """Content: BoundingBoxProperties with BOUNDARIES and RATIO, read x first from (y, x, ...)."""
    properties = Record({0: np.array([1, 0, 3, 2], np.uint32), 1: BYTE(1), 2: BYTE(0)})
    return Record({0: np.uint8(3), 1: properties})


def labels_file(kind: int) -> list[Record]:
    return [Record({0: "labels.txt", 2: BYTE(kind)})]


def metadata(outputs: list[Record]) -> Record:
    normalisation = Record({0: np.array([127.5], FLOAT), 1: np.array([127.5], FLOAT)})
    image = Record(
        {
            0: "image",
            3: Record({0: np.uint8(2), 1: Record({0: BYTE(1)})}),
            4: [Record({0: np.uint8(1), 1: normalisation})],
        }
    )
    subgraph = Record({2: [image], 3: outputs})
    return Record({0: "detector", 3: [subgraph], 7: "1.5.0"})


def raw_parts() -> Parts:
    """Boxes and scores; every anchor in the metadata."""
    location = Record({0: "location", 3: box_properties()})
    score = Record({0: "score", 6: labels_file(2)})
    anchors = [
        Record({0: FLOAT(x), 1: FLOAT(y), 2: FLOAT(0.2), 3: FLOAT(0.2)})
        for y, x in anchor_centres()
    ]
    numbers = (CLASSES, BOXES, 4, 0, 0, 2)
    decoding = Record({place: np.int32(number) for place, number in enumerate(numbers)})
    decoding |= {6: FLOAT(10), 7: FLOAT(10), 8: FLOAT(5), 9: FLOAT(5)}
    decoding |= {10: np.bool_(True), 11: np.bool_(False)}
    options = Record({1: Record({0: Record({0: anchors})}), 2: Record(decoding)})
    return Parts(small_model(), metadata([location, score]), options, {"labels.txt": LABELS})


DETECTION_OPTIONS: dict[str, Any] = {
    "max_detections": 10,
    "max_classes_per_detection": 1,
    "detections_per_class": 100,
    "use_regular_nms": False,
    "nms_score_threshold": 0.0,
    "nms_iou_threshold": 0.5,
    "num_classes": CLASSES - 1,
    "y_scale": 10.0,
    "x_scale": 10.0,
    "h_scale": 5.0,
    "w_scale": 5.0,
}


def nms_parts() -> Parts:
    """Post-processing inside: locations, categories, scores, number. One class is background."""
    model = small_model()
    (graph,) = model.subgraphs
    anchors = np.array([(y, x, 0.2, 0.2) for y, x in anchor_centres()], np.float32)
    model.buffers.append(AlignedBuffer(anchors.reshape(-1).view(np.uint8)))
    graph.tensors.append(_tensor("anchors", anchors.shape, len(model.buffers) - 1))
    inputs = [*graph.outputs, len(graph.tensors) - 1]
    most = DETECTION_OPTIONS["max_detections"]
    shapes = {"location": (1, most, 4), "category": (1, most), "score": (1, most), "number": (1,)}
    first = len(graph.tensors)
    graph.tensors += [_tensor(name, shape) for name, shape in shapes.items()]
    custom = schema.BuiltinOperator.CUSTOM
    code = schema.OperatorCodeT(custom, "TFLite_Detection_PostProcess", 1, custom)
    model.operatorCodes.append(code)
    graph.outputs = np.arange(first, first + 4, dtype=np.int32)
    packed = np.frombuffer(bytes(flexbuffers.Dumps(DETECTION_OPTIONS)), np.uint8)
    graph.operators.append(
        schema.OperatorT(
            opcodeIndex=len(model.operatorCodes) - 1,
            inputs=np.array(inputs, np.int32),
            outputs=graph.outputs,
            customOptions=packed,
        )
    )
    model.signatureDefs = []
    outputs = [
        Record({0: "location", 3: box_properties()}),
        Record({0: "category", 6: labels_file(3)}),
        Record({0: "score"}),
        Record({0: "number of detections"}),
    ]
    return Parts(model, metadata(outputs), None, {"labels.txt": LABELS})


def _tensor(name: str, shape: tuple[int, ...], buffer: int = 0) -> Any:
    kind = schema.TensorType.FLOAT32
    return schema.TensorT(
        shape=np.array(shape, np.int32), type=kind, buffer=buffer, name=name, hasRank=True
    )


FORMS = {"raw": raw_parts, "nms": nms_parts}
