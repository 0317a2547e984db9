"""A .tflite file under construction: tensors, constants, operators, then the bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

from ... import __version__
from ..graph.attributes import Shape
from .schema import IDENTIFIER, SCHEMA_VERSION, SIGNATURE

ALIGNMENT = 16  # of constants, which the runtime maps into memory and reads with vector loads


class AlignedBuffer(schema.BufferT):  # type: ignore[misc] # generated code is not typed
    """A constant's bytes at the alignment that schema.fbs asks for (``force_align: 16``).

    The generated class writes them unaligned, and byte by byte if they are not a numpy array.
    """

    def Pack(self, builder: Any) -> int:
        size = self.data.size
        builder.StartVector(1, size, ALIGNMENT)
        builder.head = builder.Head() - size
        builder.Bytes[builder.head : builder.head + size] = self.data.data
        data = builder.EndVector()
        schema.BufferStart(builder)
        schema.BufferAddData(builder, data)
        return int(schema.BufferEnd(builder))


@dataclass(frozen=True, slots=True)
class Quantisation:
    """What the integers of a tensor stand for: ``(integer - zero_point) * scale``.

    Args:
        scales: one for the whole tensor, or one for each index along ``axis``.
    """

    scales: tuple[float, ...]
    zero_point: int = 0
    axis: int = 0

    def parameters(self) -> Any:
        """An object of the generated class."""
        return schema.QuantizationParametersT(
            scale=np.array(self.scales, np.float32),
            zeroPoint=np.full(len(self.scales), self.zero_point, np.int64),
            quantizedDimension=self.axis,
        )


#: Type of an array's elements -> type of the tensor.
TYPES: dict[str, int] = {
    "float32": schema.TensorType.FLOAT32,
    "int32": schema.TensorType.INT32,
    "int8": schema.TensorType.INT8,
    "uint8": schema.TensorType.UINT8,
    "float16": schema.TensorType.FLOAT16,
}


@dataclass
class TfliteFile:
    """Collects one subgraph; :meth:`pack` gives the bytes."""

    _tensors: list[Any] = field(default_factory=list)
    _buffers: list[Any] = field(default_factory=lambda: [schema.BufferT()])  # 0 means no constant
    _operators: list[Any] = field(default_factory=list)
    _codes: dict[tuple[int | str, int], int] = field(default_factory=dict)
    _constants: dict[object, int] = field(default_factory=dict)

    def tensor(
        self,
        name: str,
        shape: Shape,
        dtype: str = "float32",
        quantisation: Quantisation | None = None,
    ) -> int:
        """Index of a new tensor that an operator or the caller fills."""
        return self._tensor(name, shape, dtype, 0, quantisation)

    def constant(
        self,
        name: str,
        array: np.ndarray[Any, Any],
        key: object = None,
        quantisation: Quantisation | None = None,
    ) -> int:
        """Index of a constant tensor of one of :data:`TYPES`; equal keys share one.

        Args:
            key: what tells this constant from others; its values by default (for small ones).
        """
        array = np.asarray(array, order="C")
        dtype = array.dtype.name
        key = (dtype, array.shape, array.tobytes(), quantisation) if key is None else key
        if key not in self._constants:
            self._buffers.append(AlignedBuffer(array.reshape(-1).view(np.uint8)))
            buffer = len(self._buffers) - 1
            self._constants[key] = self._tensor(name, array.shape, dtype, buffer, quantisation)
        return self._constants[key]

    def _tensor(
        self, name: str, shape: Shape, dtype: str, buffer: int, quantisation: Quantisation | None
    ) -> int:
        tensor = schema.TensorT(
            shape=np.array(shape, np.int32),
            type=TYPES[dtype],
            buffer=buffer,
            name=name,
            hasRank=True,
            quantization=quantisation and quantisation.parameters(),
        )
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def operator(
        self, code: int, version: int, options: Any, inputs: list[int], output: int
    ) -> None:
        """Add a builtin operator; ``options`` is an object of its generated class, or None."""
        kind = type(options).__name__.removesuffix("T")
        self._operator(
            (code, version),
            inputs,
            [output],
            builtinOptionsType=0 if options is None else getattr(schema.BuiltinOptions, kind),
            builtinOptions=options,
        )

    def custom(
        self, name: str, options: Mapping[str, Any], inputs: list[int], outputs: list[int]
    ) -> None:
        """Add a custom operator; its options are written as a flexbuffer."""
        packed = np.frombuffer(bytes(flexbuffers.Dumps(dict(options))), np.uint8)
        self._operator((name, 1), inputs, outputs, customOptions=packed)

    def _operator(
        self, code: tuple[int | str, int], inputs: list[int], outputs: list[int], **options: Any
    ) -> None:
        self._operators.append(
            schema.OperatorT(
                opcodeIndex=self._codes.setdefault(code, len(self._codes)),
                inputs=np.array(inputs, np.int32),
                outputs=np.array(outputs, np.int32),
                **options,
            )
        )

    def pack(self, inputs: Mapping[str, int], outputs: Mapping[str, int]) -> bytes:
        """The file, with one signature that has these names."""
        subgraph = schema.SubGraphT(
            tensors=self._tensors,
            inputs=np.array(list(inputs.values()), np.int32),
            outputs=np.array(list(outputs.values()), np.int32),
            operators=self._operators,
            name="main",
        )
        signature = schema.SignatureDefT(
            inputs=[schema.TensorMapT(name, index) for name, index in inputs.items()],
            outputs=[schema.TensorMapT(name, index) for name, index in outputs.items()],
            signatureKey=SIGNATURE,
        )
        codes = [_operator_code(code, version) for code, version in self._codes]
        model = schema.ModelT(
            version=SCHEMA_VERSION,
            operatorCodes=codes,
            subgraphs=[subgraph],
            description=f"mnasfpn {__version__}",
            buffers=self._buffers,
            signatureDefs=[signature],
        )
        constants = sum(buffer.data.size for buffer in self._buffers[1:])
        overhead = 256 * (len(self._tensors) + len(self._operators)) + 4096
        builder = flatbuffers.Builder(constants + overhead)
        builder.Finish(model.Pack(builder), IDENTIFIER)
        return bytes(builder.Output())


def _operator_code(code: int | str, version: int) -> Any:
    """Of a builtin, or of a custom operator by its name."""
    if isinstance(code, str):
        custom = schema.BuiltinOperator.CUSTOM
        return schema.OperatorCodeT(custom, code, version, custom)
    # Runtimes from before 2020 read the code from a field of one byte.
    return schema.OperatorCodeT(min(code, 127), None, version, code)
