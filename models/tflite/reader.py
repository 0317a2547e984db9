"""Any .tflite file -> Graph: the networks of others, to be costed and estimated like our own."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from ...errors import InvalidGraph, InvalidModelFile
from ..graph.attributes import DEFAULT, Attributes, Shape
from ..graph.graph import Graph
from ..graph.layer import Layer
from ..graph.operators import FUSING, OPS
from .flatbuffer import DamagedBuffer, Table
from .operator_rules import DECOMPRESSING, RULES, Call, FileTensor, Reading, decompressed
from .schema import ACTIVATION, BUILTIN_NAMES, IDENTIFIER

MOST_AXES = 16  # of any tensor; more can only be damage

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
ACTIVATION_OPS = {code: op for op, code in ACTIVATION.items()}
ACTIVATION_NAMES = {
    code: name for name, code in vars(schema.ActivationFunctionType).items() if name[0] != "_"
}


def read_tflite(source: str | os.PathLike[str] | bytes) -> Graph:
    """The graph of a TensorFlow Lite file: float32, float16 weights, or quantised.

    Layers are called after the tensors they make. Operators without a row in
    :data:`..graph.operators.OPS`, and unusual uses of those that have one, become ``foreign``
    layers that keep their name (``attributes.label``), shapes and type; further outputs of one are
    foreign layers ``NAME:1``, ``NAME:2``, ... that read the first. Decompression of constant
    weights is left out (``attributes.weights_dtype`` tells their type). A free batch size is 1.

    Args:
        source: a path, or the file's bytes.

    Raises:
        InvalidModelFile: it cannot be read, is no TensorFlow Lite file, is damaged, has several
            subgraphs (control flow), or shapes that are only known at run time.
    """
    if isinstance(source, bytes):
        content, what = source, "the model"
    else:
        what = str(source)
        try:
            content = Path(source).read_bytes()
        except OSError as error:
            raise InvalidModelFile(
                f"cannot read {what}: {error.strerror}; give the path of a .tflite file"
            ) from error
    if content[4:8] != IDENTIFIER:
        raise InvalidModelFile(
            f"{what} is not a TensorFlow Lite file: its bytes 4 to 8 are {content[4:8]!r}, "
            f"expected {IDENTIFIER!r}; convert the model with TFLiteConverter first"
        )
    try:
        return _Reader(Table.root(content)).graph()
    except (DamagedBuffer, InvalidGraph) as error:
        raise InvalidModelFile(
            f"{what} is damaged, or no runtime would take it: {error}; "
            "expected a whole TensorFlow Lite file: download or convert it again"
        ) from error
    except InvalidModelFile as error:
        raise InvalidModelFile(f"{what}: {error}") from None


@dataclass
class _Reader:
    """One file on its way to a Graph. Fields of tables are by their place in schema.fbs."""

    model: Table
    tensors: list[FileTensor] = field(default_factory=list)
    layers: dict[str, Layer] = field(default_factory=dict)
    made: dict[int, str] = field(default_factory=dict)  # tensor -> layer
    owners: dict[object, str] = field(default_factory=dict)  # kernel and bias -> first layer

    def graph(self) -> Graph:
        subgraphs = self.model.tables(2)
        if len(subgraphs) != 1:
            raise InvalidModelFile(
                f"it has {len(subgraphs)} subgraphs, expected 1: control flow (while, if) "
                "cannot be estimated; convert the inference function without it"
            )
        (subgraph,) = subgraphs
        buffers = self.model.tables(4)
        self.tensors = [self._tensor(table, buffers) for table in subgraph.tables(0)]
        for index in subgraph.integers(1):
            tensor = self._at(index)
            self._add(index, "input", (), target=tensor.shape)
        codes = [_code(table) for table in self.model.tables(1)]
        for table in subgraph.tables(3):
            self._operator(table, codes)
        outputs = tuple(self._source(index) for index in subgraph.integers(2))
        if not outputs:
            raise DamagedBuffer("the model has no outputs")
        return Graph(tuple(self.layers.values()), outputs)

    def _tensor(self, table: Table, buffers: list[Table]) -> FileTensor:
        name = table.text(3)
        shape = table.integers(0)
        if len(shape) > MOST_AXES:
            raise DamagedBuffer(f"tensor {name!r} has {len(shape):,} axes")
        if shape[:1] == (-1,):
            shape = (1, *shape[1:])
        free = [axis for axis, size in enumerate(table.integers(7) or shape) if size < 0]
        if any(axis > 0 for axis in free):
            raise InvalidModelFile(
                f"tensor {name!r} has a shape that is only known at run time ({table.integers(7)});"
                " only the batch size may be free: convert the model with a fixed input size"
            )
        if min(shape, default=1) < 1:
            raise DamagedBuffer(f"tensor {name!r} has shape {shape}")
        code = table.scalar(1, "b", 0)
        if code not in DTYPES:
            raise DamagedBuffer(f"tensor {name!r} has the unknown type {code}")
        tensor = FileTensor(name, shape, DTYPES[code], variable=bool(table.scalar(5, "b", 0)))
        place = table.scalar(2, "I", 0)
        if place >= len(buffers):
            raise DamagedBuffer(f"tensor {name!r} has constant {place} of {len(buffers)}")
        data = self._data(buffers[place])
        if data is None or not data.size:
            return tensor
        sparse = table.table(6) is not None
        bits = BITS.get(tensor.dtype)
        if bits and not sparse and data.size != math.ceil(math.prod(shape) * bits / 8):
            raise DamagedBuffer(
                f"constant {name!r} of shape {shape} and type {tensor.dtype} has {data.size} bytes"
            )
        return replace(tensor, data=data, **_scale(table.table(4)))

    def _data(self, buffer: Table) -> Any:
        """Bytes of a constant: in the buffer's table, or behind it in files above 2 GB."""
        offset, size = buffer.scalar(1, "Q", 0), buffer.scalar(2, "Q", 0)
        if offset <= 1:
            return buffer.array(0, "u1")
        if offset + size > len(buffer.buffer):
            raise DamagedBuffer(f"{size:,} bytes at {offset:,} do not fit the file")
        return np.frombuffer(buffer.buffer, np.uint8, size, offset)

    def _at(self, index: int) -> FileTensor:
        if not 0 <= index < len(self.tensors):
            raise DamagedBuffer(f"tensor {index} is asked for, there are {len(self.tensors)}")
        return self.tensors[index]

    def _operator(self, table: Table, codes: list[tuple[int, str]]) -> None:
        place = table.scalar(0, "I", 0)
        if place >= len(codes):
            raise DamagedBuffer(f"operator code {place} is asked for, there are {len(codes)}")
        code, label = codes[place]
        inputs, outputs = table.integers(1), table.integers(2)
        sources = tuple(None if index == -1 else self._at(index) for index in inputs)
        if not outputs:
            return  # keeps state only; nothing of the network reads it
        output = self._at(outputs[0])
        if code in DECOMPRESSING and sources and sources[0] and sources[0].data is not None:
            self.tensors[outputs[0]] = decompressed(sources[0], output)
            return
        rule = RULES.get(code)
        reading = None
        if rule is not None and len(outputs) == 1:
            reading = rule(Call(sources, output, table.table(4)))
        if reading is None:
            self._foreign(label, inputs, outputs)
        else:
            self._known(reading, inputs, outputs[0])

    def _known(self, reading: Reading, inputs: tuple[int, ...], output: int) -> None:
        """A layer of OPS, and one more where the file fuses or flattens what a Graph does not."""
        sources = tuple(self._source(inputs[place]) for place in reading.inputs)
        declared = self._at(output).shape
        attributes = dict(reading.attributes)
        first = declared
        after: list[tuple[str, dict[str, Any]]] = []
        if reading.op == "fully_connected":
            shapes = tuple(self.layers[name].shape for name in sources)
            first = OPS[reading.op].shape(shapes, DEFAULT, reading.weights)
            if first != declared:
                after.append(("reshape", {"target": declared}))
        if reading.activation not in ACTIVATION_NAMES:
            raise DamagedBuffer(f"unknown activation {reading.activation} in an operator")
        activation = ACTIVATION_OPS.get(reading.activation)
        if activation and reading.op in FUSING:
            attributes["activation"] = activation
        elif activation:
            after.append((activation, {}))
        elif reading.activation:
            label = ACTIVATION_NAMES[reading.activation]
            after.append(("foreign", {"label": label, "target": declared}))
        for op, following in after:
            sources = (self._inner(output, reading, sources, attributes, first),)
            reading, attributes, first = Reading(op), following, declared
        if reading.weights is not None:
            key = (reading.op, *inputs[1:])
            attributes["shares"] = self.owners.get(key)
        self._add(output, reading.op, sources, reading.weights, **attributes)
        if reading.weights is not None:
            self.owners.setdefault(key, self.made[output])

    def _inner(
        self,
        output: int,
        reading: Reading,
        sources: tuple[str, ...],
        attributes: dict[str, Any],
        shape: Shape,
    ) -> str:
        """A layer whose result has no tensor in the file."""
        tensor = self._at(output)
        name = self._unique(f"{tensor.name}/{reading.op}")
        values = Attributes(**attributes)
        self.layers[name] = Layer(
            name, reading.op, sources, shape, reading.weights, values, tensor.dtype
        )
        return name

    def _foreign(self, label: str, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> None:
        """Reads all tensors and constants of numbers, but not the integers that say how."""
        read = [index for index in inputs if index != -1 and self._is_read(index)]
        sources = tuple(self._source(index) for index in read)
        for place, index in enumerate(outputs):
            name = label if place == 0 else f"{label}:{place}"
            target = self._at(index).shape
            self._add(index, "foreign", sources, target=target, label=name)
            sources = (self.made[outputs[0]],)

    def _is_read(self, index: int) -> bool:
        tensor = self._at(index)
        return tensor.data is None or tensor.dtype not in ("int32", "int64", "bool", "string")

    def _source(self, index: int) -> str:
        """Name of the layer that makes a tensor."""
        if index not in self.made:
            tensor = self._at(index)
            if tensor.data is None and not tensor.variable:
                raise DamagedBuffer(f"tensor {tensor.name!r} is read before anything makes it")
            self._add(index, "constant", (), target=tensor.shape)
        return self.made[index]

    def _add(
        self,
        index: int,
        op: str,
        sources: tuple[str, ...],
        weights: Shape | None = None,
        **attributes: Any,
    ) -> None:
        """The layer that makes a tensor."""
        tensor = self._at(index)
        if index in self.made:
            raise DamagedBuffer(f"two operators make the tensor {tensor.name!r}")
        name = self._unique(tensor.name)
        self.made[index] = name
        self.layers[name] = Layer(
            name, op, sources, tensor.shape, weights, Attributes(**attributes), tensor.dtype
        )

    def _unique(self, name: str) -> str:
        """Names in a file may repeat or be empty; those of a Graph may not."""
        name = name or "tensor"
        unique, repeat = name, 1
        while unique in self.layers:
            repeat += 1
            unique = f"{name}:{repeat}"
        return unique


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
