"""What all subgraphs of a TensorFlow Lite file share: signatures, operator codes and constants."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from ...errors import InvalidModelFile
from .flatbuffer import DamagedBuffer, Table
from .operator_call import FileTensor
from .schema import BUILTIN_NAMES

MOST_AXES = 16  # of any tensor; more can only be damage
MOST_CALLS, MOST_DEPTH = 2_000, 32  # of subgraphs; more can only be those that call themselves

DTYPES: dict[int, str] = {
    code: name.lower() for name, code in vars(schema.TensorType).items() if name[0] != "_"
}
BITS = {
    **dict.fromkeys(("float32", "int32", "uint32"), 32),
    **dict.fromkeys(("float16", "bfloat16", "int16", "uint16"), 16),
    **dict.fromkeys(("int8", "uint8", "bool"), 8),
    **dict.fromkeys(("float64", "int64", "uint64", "complex64"), 64),
    "int4": 4,
}


@dataclass
class FileModel:
    """What all subgraphs of a file share. Fields of tables are by their place in schema.fbs."""

    table: Table
    calls: int = 0

    @cached_property
    def subgraphs(self) -> list[Table]:
        return self.table.tables(2)

    @cached_property
    def buffers(self) -> list[Table]:
        return self.table.tables(4)

    @cached_property
    def codes(self) -> list[tuple[int, str]]:
        return [_code(table) for table in self.table.tables(1)]

    def subgraph_of(self, signature: str | None) -> int:
        """Index of the subgraph that a runtime runs for a signature, or for none.

        Raises:
            InvalidModelFile: there is none.
        """
        if signature is not None:
            found = {each.text(2): each.scalar(4, "I", 0) for each in self.table.tables(7)}
            if signature not in found:
                raise InvalidModelFile(
                    f"it has no signature {signature!r}; expected one of those that it has: "
                    f"{', '.join(found) or 'none'}"
                )
            return found[signature]
        if not self.subgraphs:
            raise InvalidModelFile(
                "it has no subgraph, so there is nothing to run; expected a model: convert it again"
            )
        return 0

    def called(self, index: int, depth: int = 0) -> Table:
        """A subgraph, each time that one is read; ``depth``: inside how many others.

        Raises:
            DamagedBuffer: it is not there, or subgraphs call each other without end.
        """
        if not 0 <= index < len(self.subgraphs):
            raise DamagedBuffer(f"subgraph {index} is asked for, there are {len(self.subgraphs)}")
        self.calls += 1
        if self.calls > MOST_CALLS or depth > MOST_DEPTH:
            raise DamagedBuffer(
                f"its subgraphs call each other more than {MOST_CALLS:,} times, or more than "
                f"{MOST_DEPTH} deep"
            )
        return self.subgraphs[index]

    def _data(self, place: int) -> Any:
        """Bytes of a constant: in the buffer's table, or behind it in files above 2 GB."""
        if place >= len(self.buffers):
            raise DamagedBuffer(f"constant {place} is asked for, there are {len(self.buffers)}")
        buffer = self.buffers[place]
        offset, size = buffer.scalar(1, "Q", 0), buffer.scalar(2, "Q", 0)
        if offset <= 1:
            return buffer.array(0, "u1")
        if offset + size > len(buffer.buffer):
            raise DamagedBuffer(f"{size:,} bytes at {offset:,} do not fit the file")
        return np.frombuffer(buffer.buffer, np.uint8, size, offset)

    def tensor(self, table: Table) -> FileTensor:
        """A tensor of any subgraph."""
        name = table.text(3)
        shape = table.integers(0)
        if len(shape) > MOST_AXES:
            raise DamagedBuffer(f"tensor {name!r} has {len(shape):,} axes")
        if shape[:1] == (-1,):
            shape = (1, *shape[1:])
        declared = table.integers(7) or shape
        free = declared if any(size < 0 for size in declared[1:]) else ()
        if min(shape, default=0) < 0 and not free:
            raise DamagedBuffer(f"tensor {name!r} has shape {shape}")
        code = table.scalar(1, "b", 0)
        if code not in DTYPES:
            raise InvalidModelFile(
                f"tensor {name!r} has the type {code}, which this version does not know; expected "
                f"one of {', '.join(DTYPES.values())}: update ai-edge-litert"
            )
        tensor = FileTensor(
            name, shape, DTYPES[code], variable=bool(table.scalar(5, "b", 0)), free=free
        )
        if table.scalar(10, "I", 0):  # stands in another file
            return replace(tensor, data=np.empty(0, np.uint8), **_scale(table.table(4)))
        data = self._data(table.scalar(2, "I", 0))
        if data is None or not (data.size or tensor.is_empty):
            return replace(tensor, **_scale(table.table(4)))
        sparse = table.table(6) is not None
        bits = BITS.get(tensor.dtype)
        if bits and not sparse and data.size != math.ceil(math.prod(shape) * bits / 8):
            raise DamagedBuffer(
                f"constant {name!r} of shape {shape} and type {tensor.dtype} has {data.size} bytes"
            )
        return replace(tensor, data=data, **_scale(table.table(4)))


def _scale(quantisation: Table | None) -> dict[str, Any]:
    """Scale and zero point of a tensor, if it has one of each."""
    if quantisation is None:
        return {}
    scales, zeros = quantisation.array(2, "<f4"), quantisation.array(3, "<i8")
    if scales is None or zeros is None or len(scales) != 1 or len(zeros) != 1:
        return {}
    return {"scale": float(scales[0]), "zero_point": int(zeros[0])}


def _code(table: Table) -> tuple[int, str]:
    """Builtin code and name of an operator code; custom operators are called what they say."""
    code = max(table.scalar(0, "b", 0), table.scalar(3, "i", 0))
    label = BUILTIN_NAMES.get(code, f"BUILTIN_{code}")
    if code == schema.BuiltinOperator.CUSTOM:
        label = "_".join(table.text(1).split()) or label
    return code, label
