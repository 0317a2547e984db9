"""A .tflite file as it stands, without a judgement: tensors, operators, constants, metadata.

A Graph (:mod:`..tflite.reader`) says what a file computes. This says what is written in it, also
where that makes no sense.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from ..graph.attributes import Shape
from ..tflite.flatbuffer import Table
from ..tflite.schema import BUILTIN_NAMES

if TYPE_CHECKING:
    from numpy.typing import NDArray

DTYPES: dict[int, str] = {
    code: name.lower() for name, code in vars(schema.TensorType).items() if name[0] != "_"
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """Of a subgraph. ``shape`` is None where the file does not say one."""

    name: str
    shape: Shape | None
    signature: Shape  # with -1 where a size is free; empty: as ``shape``
    type_code: int
    buffer: int
    variable: bool
    sparse: bool
    quantised: bool

    @property
    def dtype(self) -> str:
        return DTYPES.get(self.type_code, f"type {self.type_code}")


@dataclass(frozen=True, slots=True)
class Operator:
    """Of a subgraph. ``code`` is None where the file has no such operator code."""

    code: int | None
    name: str
    version: int
    custom: bool
    inputs: Shape | None
    outputs: Shape | None
    has_options: bool


@dataclass(frozen=True, slots=True)
class Subgraph:
    """One of a file. Inputs and outputs are indices of tensors, None where the file has no list."""

    tensors: tuple[Tensor, ...]
    inputs: Shape | None
    outputs: Shape | None
    operators: tuple[Operator, ...]
    has_operators: bool

    def tensor(self, index: int) -> Tensor | None:
        return self.tensors[index] if 0 <= index < len(self.tensors) else None


@dataclass(frozen=True)
class InspectedFile:
    """Fields of tables are read by their place in schema.fbs.

    Raises:
        DamagedBuffer: while a part is read whose offsets lead outside the file.
    """

    content: bytes

    @cached_property
    def _model(self) -> Table:
        return Table.root(self.content)

    @property
    def version(self) -> int:
        return self._model.scalar(0, "I", 0)

    @cached_property
    def buffers(self) -> tuple[NDArray[np.uint8] | None, ...]:
        """Bytes of each constant, as views of the file."""
        return tuple(table.array(0, "u1") for table in self._model.tables(4))

    def constant(self, tensor: Tensor) -> NDArray[np.uint8] | None:
        """Its bytes, None if it is computed."""
        return self.buffers[tensor.buffer] if 0 < tensor.buffer < len(self.buffers) else None

    @cached_property
    def subgraphs(self) -> tuple[Subgraph, ...]:
        codes = self._model.tables(1)
        return tuple(
            Subgraph(
                tensors=tuple(map(_tensor, table.tables(0))),
                inputs=_integers(table, 1),
                outputs=_integers(table, 2),
                operators=tuple(_operator(each, codes) for each in table.tables(3)),
                has_operators=table.array(3, "<u4") is not None,
            )
            for table in self._model.tables(2)
        )

    @property
    def main(self) -> Subgraph:
        return self.subgraphs[0]

    @cached_property
    def signatures(self) -> tuple[str, ...]:
        return tuple(table.text(2) for table in self._model.tables(7))

    def metadata(self, name: str) -> NDArray[np.uint8] | None:
        """Bytes of the metadata of a name, None if there is none; empty if it leads nowhere."""
        for entry in self._model.tables(6):
            if entry.text(0) == name:
                place = entry.scalar(1, "I", 0)
                found = self.buffers[place] if place < len(self.buffers) else None
                return np.empty(0, np.uint8) if found is None else found
        return None

    def start_of(self, data: NDArray[np.uint8]) -> int:
        """Where a constant begins in the file."""
        whole = np.frombuffer(self.content, np.uint8)
        return int(data.ctypes.data - whole.ctypes.data)


def _integers(table: Table, field: int) -> Shape | None:
    found = table.array(field, "<i4")
    return None if found is None else tuple(found.tolist())


def _tensor(table: Table) -> Tensor:
    quantisation = table.table(4)
    scales: Any = None if quantisation is None else quantisation.array(2, "<f4")
    return Tensor(
        name=table.text(3),
        shape=_integers(table, 0),
        signature=table.integers(7),
        type_code=table.scalar(1, "b", 0),
        buffer=table.scalar(2, "I", 0),
        variable=bool(table.scalar(5, "b", 0)),
        sparse=table.table(6) is not None,
        quantised=scales is not None and len(scales) > 0,
    )


def _operator(table: Table, codes: list[Table]) -> Operator:
    place = table.scalar(0, "I", 0)
    code, version, label = None, 1, ""
    if place < len(codes):
        code = max(codes[place].scalar(0, "b", 0), codes[place].scalar(3, "i", 0))
        version = codes[place].scalar(2, "i", 1)
        label = codes[place].text(1) if code == schema.BuiltinOperator.CUSTOM else ""
        label = label or BUILTIN_NAMES.get(code, f"BUILTIN_{code}")
    return Operator(
        code=code,
        name=label,
        version=version,
        custom=code == schema.BuiltinOperator.CUSTOM,
        inputs=_integers(table, 1),
        outputs=_integers(table, 2),
        has_options=table.array(5, "u1") is not None,
    )
