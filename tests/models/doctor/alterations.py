"""How one part of a file is altered: the words in which the table of mutations is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

from mnasfpn.tests.models.doctor.detector_files import (
    BYTE,
    DETECTION_OPTIONS,
    FLOAT,
    Parts,
    Record,
)

Alter = Callable[[Parts], Any]
Damage = Callable[[bytes], bytes]
TYPES = schema.TensorType


def tensor(parts: Parts, name: str) -> Any:
    (found,) = (each for each in parts.graph.tensors if each.name == name)
    return found


def index(parts: Parts, name: str) -> int:
    return [each.name for each in parts.graph.tensors].index(name)


def retype(parts: Parts, name: str, kind: int) -> None:
    tensor(parts, name).type = kind


def reshape(parts: Parts, name: str, *shape: int) -> None:
    tensor(parts, name).shape = np.array(shape, np.int32)


def outputs(parts: Parts, *places: int) -> None:
    parts.graph.outputs = np.array([parts.graph.outputs[place] for place in places], np.int32)


def second_output(parts: Parts, index: int) -> None:
    parts.graph.outputs = np.array([parts.graph.outputs[0], index], np.int32)


def code(parts: Parts, builtin: int, custom: str | None = None, version: int = 1) -> int:
    parts.model.operatorCodes.append(
        schema.OperatorCodeT(min(builtin, 127), custom, version, builtin)
    )
    return len(parts.model.operatorCodes) - 1


def new_tensor(parts: Parts, name: str, like: Any, kind: int, scale: float | None = None) -> int:
    details = None
    if scale is not None:
        scales, zeros = np.array([scale], np.float32), np.array([0], np.int64)
        details = schema.QuantizationParametersT(scale=scales, zeroPoint=zeros)
    parts.graph.tensors.append(
        schema.TensorT(shape=like.shape, type=kind, name=name, hasRank=True, quantization=details)
    )
    return len(parts.graph.tensors) - 1


def operator(parts: Parts, opcode: int, inputs: list[int], output: list[int]) -> Any:
    read, made = np.array(inputs, np.int32), np.array(output, np.int32)
    return schema.OperatorT(opcodeIndex=opcode, inputs=read, outputs=made)


def uint8_input(parts: Parts) -> None:
    """Bytes of the image, made floats by the first operator."""
    image = int(parts.graph.inputs[0])
    like = parts.graph.tensors[image]
    place = new_tensor(parts, "bytes", like, TYPES.UINT8, 1 / 255)
    opcode = code(parts, schema.BuiltinOperator.DEQUANTIZE, version=2)
    parts.graph.operators.insert(0, operator(parts, opcode, [place], [image]))
    parts.graph.inputs = np.array([place], np.int32)
    parts.model.signatureDefs = []


def integer_outputs(parts: Parts, kind: int, names: tuple[str, ...]) -> None:
    """Quantised results of some outputs."""
    opcode = code(parts, schema.BuiltinOperator.QUANTIZE)
    for name in names:
        source = index(parts, name)
        place = new_tensor(parts, f"{name}/integers", parts.graph.tensors[source], kind, 1 / 16)
        parts.graph.operators.append(operator(parts, opcode, [source], [place]))
        found = [place if each == source else int(each) for each in parts.graph.outputs]
        parts.graph.outputs = np.array(found, np.int32)
    parts.model.signatureDefs = []


def second_input(parts: Parts) -> None:
    place = new_tensor(parts, "other", parts.graph.tensors[0], TYPES.FLOAT32)
    parts.graph.inputs = np.append(parts.graph.inputs, np.int32(place))


def custom_operator(parts: Parts, name: str) -> None:
    """An operator on the scores that no runtime has."""
    source = index(parts, "scores")
    place = new_tensor(parts, "after", parts.graph.tensors[source], TYPES.FLOAT32)
    opcode = code(parts, schema.BuiltinOperator.CUSTOM, name)
    parts.graph.operators.append(operator(parts, opcode, [source], [place]))
    second_output(parts, place)
    parts.model.signatureDefs = []


def detection_options(parts: Parts, **changes: Any) -> None:
    values = {key: value for key, value in {**DETECTION_OPTIONS, **changes}.items() if value != ()}
    packed = np.frombuffer(bytes(flexbuffers.Dumps(values)), np.uint8)
    parts.graph.operators[-1].customOptions = packed


def process_unit(parts: Parts, place: int, kind: int, **fields: Any) -> None:
    unit = Record({0: np.uint8(kind), 1: Record(fields.get("fields", {}))})
    parts.outputs[place].setdefault(4, []).append(unit)


def normalisation(parts: Parts, mean: list[float], std: list[float]) -> None:
    values = Record({0: np.array(mean, FLOAT), 1: np.array(std, FLOAT)})
    parts.input[4] = [Record({0: np.uint8(1), 1: values})]


def calibration(parts: Parts, content: bytes | None) -> None:
    process_unit(parts, 2, 2, fields={0: BYTE(0), 1: FLOAT(0)})
    if content is not None:
        parts.outputs[2][6] = [Record({0: "calibration.txt", 2: BYTE(4)})]
        parts.archive["calibration.txt"] = content


def box(parts: Parts, **changes: Any) -> None:
    """Fields of BoundingBoxProperties; a field that is None is left out."""
    record = parts.outputs[0][3][1]
    for name, value in changes.items():
        place = {"index": 0, "kind": 1, "coordinates": 2}[name]
        if value is None:
            record.pop(place)
        else:
            record[place] = np.array(value, np.uint32) if place == 0 else BYTE(value)


def unaligned(parts: Parts) -> None:
    """Constants as the generated classes write them: anywhere."""
    parts.model.buffers = [
        schema.BufferT(data=None if each.data is None else np.asarray(each.data))
        for each in parts.model.buffers
    ]
    parts.model.description = "x"


def archive_offset(content: bytes) -> int:
    return content.index(b"PK\x03\x04")


def overwrite(start: float, data: bytes) -> Damage:
    """Bytes from a share of the file on."""

    def damage(content: bytes) -> bytes:
        at = int(start * len(content)) if isinstance(start, float) else start
        return content[:at] + data + content[at + len(data) :]

    return damage
