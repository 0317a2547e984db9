"""The checks that a runtime makes before it reads a .tflite file; a file that fails is not loaded.

First every offset, by the rules of flatbuffers' own verifier (flatbuffers/verifier.h); then what
the parts say of each other (tflite/core/tools/verifier.cc). Options of operators are checked as
tables, but not field by field: which fields they have is the business of each operator.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from ai_edge_litert import schema_py_generated as schema

from ..tflite.flatbuffer import DamagedBuffer
from ..tflite.schema import IDENTIFIER, SCHEMA_VERSION
from .inspected_file import InspectedFile, Subgraph

#: Table of schema.fbs -> its fields in order: bytes of a number, ``s`` a string, another table, or
#: ``?`` a table of a union, whose type stands in the field before. In brackets: a vector.
TABLES: dict[str, tuple[str, ...]] = {
    "Model": (
        *("4", "[OperatorCode]", "[SubGraph]", "s", "[Buffer]", "[4]", "[Metadata]"),
        "[SignatureDef]",
    ),
    "OperatorCode": ("1", "s", "4", "4"),
    "SubGraph": ("[Tensor]", "[4]", "[4]", "[Operator]", "s", "4"),
    "Tensor": (
        *("[4]", "1", "4", "s", "QuantizationParameters", "1", "SparsityParameters", "[4]", "1"),
        "[VariantSubType]",
    ),
    "QuantizationParameters": ("[4]", "[4]", "[4]", "[8]", "1", "?", "4"),
    "SparsityParameters": ("[4]", "[4]", "[DimensionMetadata]"),
    "DimensionMetadata": ("1", "4", "1", "?", "1", "?"),
    "VariantSubType": ("[4]", "1", "1"),
    "Operator": (*("4", "[4]", "[4]", "1", "?", "[1]", "1", "[1]", "[4]", "8", "8", "1", "?"),),
    "Buffer": ("[1]", "8", "8"),
    "Metadata": ("s", "4"),
    "SignatureDef": ("[TensorMap]", "[TensorMap]", "s", "", "4"),
    "TensorMap": ("s", "4"),
    "?": (),
}
MOST_TABLES = 1_000_000
LARGEST = 2**31 - 1  # of an offset or a vector, in bytes


def verify_offsets(content: bytes) -> None:
    """Every offset from the root on leads to what the schema says.

    Raises:
        DamagedBuffer: one does not; the message says where.
    """
    if content[4:8] != IDENTIFIER:
        raise DamagedBuffer(f"bytes 4 to 8 are {content[4:8]!r}, not {IDENTIFIER!r}")
    verifier = _Verifier(content)
    verifier.table("Model", verifier.offset(0))


@dataclass
class _Verifier:
    content: bytes
    tables: int = 0

    def within(self, at: int, length: int, alignment: int = 1) -> None:
        if at < 0 or length >= len(self.content) or at > len(self.content) - length:
            raise DamagedBuffer(
                f"{length:,} bytes at {at:,} are asked for, the file has {len(self.content):,}"
            )
        if at % alignment:
            raise DamagedBuffer(f"a number of {alignment} bytes stands at {at:,}, not aligned")

    def number(self, form: str, at: int) -> int:
        size = struct.calcsize(form)
        self.within(at, size, size)
        value: int = struct.unpack_from(f"<{form}", self.content, at)[0]
        return value

    def offset(self, at: int) -> int:
        distance = self.number("I", at)
        if not 0 < distance <= LARGEST:
            raise DamagedBuffer(f"the offset at byte {at:,} is {distance:,}")
        self.within(at + distance, 1)
        return at + distance

    def vector(self, at: int, size: int) -> range:
        """Where the elements stand."""
        count = self.number("I", at)
        if count >= LARGEST // size:
            raise DamagedBuffer(f"a list at byte {at:,} has {count:,} elements")
        self.within(at, 4 + count * size)
        return range(at + 4, at + 4 + count * size, size)

    def string(self, at: int) -> None:
        end = self.vector(at, 1).stop
        self.within(end, 1)
        if self.content[end]:
            raise DamagedBuffer(f"the text at byte {at:,} does not end with a zero")

    def table(self, name: str, at: int) -> None:
        self.tables += 1
        if self.tables > MOST_TABLES:
            raise DamagedBuffer(f"there are more than {MOST_TABLES:,} tables")
        offsets = at - self.number("i", at)
        size = self.number("H", offsets)
        if size % 2:
            raise DamagedBuffer(f"the table at byte {at:,} has fields of {size} bytes")
        self.within(offsets, size)
        places = [
            struct.unpack_from("<H", self.content, offsets + entry)[0]
            for entry in range(4, size, 2)
        ]
        for place, kind in zip(places, TABLES[name], strict=False):
            if place and kind:
                self.field(name, kind, at + place)

    def field(self, name: str, kind: str, at: int) -> None:
        if kind.isdecimal():
            self.within(at, int(kind), int(kind))
            return
        target = self.offset(at)
        inner = kind.strip("[]")
        if not kind.startswith("["):
            self.pointed(inner, target)
        elif inner.isdecimal():
            self.vector(target, int(inner))
        else:
            for place in self.vector(target, 4):
                self.pointed(inner, place + self.number("I", place))

    def pointed(self, kind: str, at: int) -> None:
        if kind == "s":
            self.string(at)
        else:
            self.table(kind, at)


BITS: dict[int, int] = {
    getattr(schema.TensorType, name): bits
    for bits, names in {
        2: ("INT2",),
        4: ("INT4", "UINT4"),
        8: ("UINT8", "INT8", "BOOL", "FLOAT8_E4M3FN", "FLOAT8_E5M2"),
        16: ("FLOAT16", "BFLOAT16", "INT16", "UINT16"),
        32: ("FLOAT32", "INT32", "UINT32"),
        64: ("FLOAT64", "INT64", "UINT64", "COMPLEX64"),
        128: ("COMPLEX128",),
    }.items()
    for name in names
    if hasattr(schema.TensorType, name)
}


def verify_parts(file: InspectedFile) -> None:
    """What is computed is there before it is read, and constants have the size of their shape.

    Raises:
        DamagedBuffer: names the tensor or operator that does not fit.
    """
    if file.version != SCHEMA_VERSION:
        raise DamagedBuffer(f"its schema version is {file.version}, not {SCHEMA_VERSION}")
    if not file.subgraphs:
        raise DamagedBuffer("it has no subgraphs")
    for subgraph in file.subgraphs:
        _verify_order(file, subgraph)
        _verify_constants(file, subgraph)


def _verify_order(file: InspectedFile, subgraph: Subgraph) -> None:
    if not subgraph.has_operators:
        raise DamagedBuffer("a subgraph has no operators")
    constant = {
        place for place, tensor in enumerate(subgraph.tensors) if file.constant(tensor) is not None
    }
    given = {place for place, tensor in enumerate(subgraph.tensors) if tensor.variable}
    given |= set(subgraph.inputs or ())
    made: set[int] = set()
    for place, operator in enumerate(subgraph.operators):
        if operator.code is None:
            raise DamagedBuffer(f"operator {place} has a code that is not in the list of codes")
        what = f"operator {place} ({operator.name})"
        if operator.inputs is None or operator.outputs is None:
            raise DamagedBuffer(f"{what} does not say what it reads and makes")
        for index in operator.inputs:
            if index != -1 and index not in constant | given | made:
                raise DamagedBuffer(f"{what} reads tensor {index} before anything makes it")
        for index in operator.outputs:
            if index in constant | given | made:
                raise DamagedBuffer(f"{what} makes tensor {index}, which is there already")
            made.add(index)


def _verify_constants(file: InspectedFile, subgraph: Subgraph) -> None:
    for tensor in subgraph.tensors:
        if not tensor.buffer:
            continue
        if tensor.buffer >= len(file.buffers):
            raise DamagedBuffer(
                f"tensor {tensor.name!r} has constant {tensor.buffer} of {len(file.buffers)}"
            )
        data = file.constant(tensor)
        if data is None or tensor.shape is None or tensor.sparse or tensor.dtype == "string":
            continue
        bits = BITS.get(tensor.type_code)
        if bits is None:
            raise DamagedBuffer(f"constant {tensor.name!r} has the type {tensor.type_code}")
        needed = math.ceil(math.prod(tensor.shape) * bits / 8)
        if needed != data.size:
            raise DamagedBuffer(
                f"constant {tensor.name!r} of shape {tensor.shape} needs {needed:,} bytes and has "
                f"{data.size:,}"
            )
