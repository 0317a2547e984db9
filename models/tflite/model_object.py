"""A .tflite file as an object that can be changed, and back: for what is done to finished files.

Graphs are written by :mod:`.writer`. This is for changes that no graph expresses, and for files
that other programs made.
"""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from ..graph.attributes import Shape
from .file import TYPES, AlignedBuffer
from .schema import IDENTIFIER


def unpack(content: bytes) -> Any:
    """The ``ModelT`` of a file that is known to be whole; constants are views of its bytes."""
    return schema.ModelT.InitFromPackedBuf(content)


def pack(model: Any) -> bytes:
    """The file, with every constant aligned."""
    model.buffers = [_aligned(buffer) for buffer in model.buffers]
    constants = sum(buffer.data.size for buffer in model.buffers if buffer.data is not None)
    builder = flatbuffers.Builder(constants + 4096)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def _aligned(buffer: Any) -> Any:
    data = buffer.data
    return buffer if data is None else AlignedBuffer(np.asarray(data, np.uint8))


def name_of(tensor: Any) -> str:
    """Of a ``TensorT``: bytes where it was read, text where it was given."""
    return tensor.name.decode() if isinstance(tensor.name, bytes) else str(tensor.name)


def add_buffer(model: Any, data: np.ndarray[Any, Any]) -> int:
    """Index of a new constant's bytes."""
    model.buffers.append(AlignedBuffer(np.ascontiguousarray(data).reshape(-1).view(np.uint8)))
    return len(model.buffers) - 1


def add_tensor(graph: Any, name: str, shape: Shape, dtype: str, buffer: int = 0) -> int:
    """Index of a new tensor of a ``SubGraphT``; buffer 0 means no constant."""
    graph.tensors.append(
        schema.TensorT(
            shape=np.array(shape, np.int32),
            type=TYPES[dtype],
            buffer=buffer,
            name=name,
            hasRank=True,
        )
    )
    return len(graph.tensors) - 1


def add_code(model: Any, code: int, version: int, custom: str | None = None) -> int:
    """Index of a new operator code."""
    # Runtimes from before 2020 read the code from a field of one byte.
    model.operatorCodes.append(schema.OperatorCodeT(min(code, 127), custom, version, code))
    return len(model.operatorCodes) - 1
