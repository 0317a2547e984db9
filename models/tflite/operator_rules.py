"""What each TensorFlow Lite operator is in a Graph: one table, builtin code -> reading rule.

A rule looks at one operator of a file and says which operator of a Graph it is, with which inputs,
kernel shape and attributes; or None: the operator, or this use of it, has no row in
:data:`mnasfpn.models.graph.operators.OPS` and stays foreign. Places of options follow
tensorflow/lite/schema/schema.fbs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from ai_edge_litert.schema_py_generated import BuiltinOperator

from ..graph.attributes import Shape
from .flatbuffer import DamagedBuffer, Table
from .schema import BUILTIN_CODES, PADDING

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class FileTensor:
    """A tensor of a file.

    Args:
        dtype: as operators see it; ``stored`` is the type of the bytes, if they are decompressed
            before use (float16 weights).
        data: bytes of a constant, else None.
        variable: keeps its value from one inference to the next.
        scale, zero_point: of a tensor of integers that has one of each.
    """

    name: str
    shape: Shape
    dtype: str
    data: NDArray[np.uint8] | None = None
    stored: str = ""
    variable: bool = False
    scale: float = 1.0
    zero_point: int = 0

    @property
    def stored_dtype(self) -> str:
        return self.stored or self.dtype

    def integers(self) -> tuple[int, ...] | None:
        """Values of a constant of integers, None if it is no such thing."""
        if self.data is None or self.stored_dtype not in ("int32", "int64"):
            return None
        return tuple(self.data.view(np.dtype(self.stored_dtype).newbyteorder("<")).tolist())

    def scalar(self) -> float | None:
        """Value of a constant float32, int8 or uint8 scalar, None if it is no such thing."""
        code = {"float32": "<f4", "int8": "i1", "uint8": "u1"}.get(self.stored_dtype)
        if self.data is None or code is None or math.prod(self.shape) != 1:
            return None
        return (float(self.data.view(code)[0]) - self.zero_point) * self.scale


@dataclass(frozen=True, slots=True)
class Call:
    """One operator of a file: its inputs (None where it is left out), output and options."""

    inputs: tuple[FileTensor | None, ...]
    output: FileTensor
    options: Table | None

    def __getitem__(self, place: int) -> FileTensor:
        tensor = self.inputs[place] if place < len(self.inputs) else None
        if tensor is None:
            raise DamagedBuffer(f"the operator of {self.output.name!r} lacks its input {place}")
        return tensor

    def has(self, place: int) -> bool:
        return place < len(self.inputs) and self.inputs[place] is not None

    def option(self, place: int, format_: str, default: int = 0) -> int:
        return default if self.options is None else self.options.scalar(place, format_, default)

    def positive(self, *places: int, default: int = 0) -> tuple[int, ...]:
        """Options that count something, as 32-bit integers."""
        values = tuple(self.option(place, "i", default) for place in places)
        if min(values) < 1:
            raise DamagedBuffer(
                f"the operator of {self.output.name!r} has a stride, window or dilation below 1: "
                f"{values}"
            )
        return values


@dataclass(frozen=True, slots=True)
class Reading:
    """An operator of a file in the words of a Graph.

    Args:
        inputs: places of the inputs that are tensors of the network.
        activation: code of the fused activation.
    """

    op: str
    inputs: tuple[int, ...] = (0,)
    weights: Shape | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    activation: int = 0


Rule: TypeAlias = Callable[[Call], "Reading | None"]


def _sliding(call: Call, fused: int, dilation: tuple[int, int] | None) -> dict[str, Any]:
    """Attributes that convolutions and pools share; strides are at the same places in all."""
    padding = {code: name for name, code in PADDING.items()}.get(call.option(0, "b"))
    if padding is None:
        raise DamagedBuffer(f"the operator of {call.output.name!r} has an unknown padding")
    width, height = call.positive(1, 2)
    attributes: dict[str, Any] = {"padding": padding, "stride": (height, width)}
    if dilation is not None:
        width, height = call.positive(*dilation, default=1)
        attributes["dilation"] = (height, width)
        attributes["bias"] = call.has(2)
        attributes["weights_dtype"] = call[1].stored_dtype
    return attributes


def _conv(call: Call) -> Reading | None:
    if len(call[0].shape) != 4 or len(call[1].shape) != 4 or call[1].data is None:
        return None
    filters, height, width, channels = call[1].shape
    attributes = _sliding(call, 3, (4, 5))
    attributes["groups"] = max(call[0].shape[3] // channels, 1)
    weights = (height, width, channels, filters)
    return Reading("conv", (0,), weights, attributes, call.option(3, "b"))


def _depthwise(call: Call) -> Reading | None:
    if len(call[0].shape) != 4 or len(call[1].shape) != 4 or call[1].data is None:
        return None
    _, height, width, filters = call[1].shape
    channels = call[0].shape[3]
    weights = (height, width, channels, max(filters // channels, 1))
    attributes = _sliding(call, 4, (5, 6))
    return Reading("depthwise_conv", (0,), weights, attributes, call.option(4, "b"))


def _dense(call: Call) -> Reading | None:
    if len(call[0].shape) < 2 or len(call[1].shape) != 2 or call[1].data is None:
        return None
    filters, features = call[1].shape
    attributes = {"bias": call.has(2), "weights_dtype": call[1].stored_dtype}
    return Reading("fully_connected", (0,), (features, filters), attributes, call.option(0, "b"))


def _pool(op: str) -> Rule:
    def read(call: Call) -> Reading | None:
        if len(call[0].shape) != 4:
            return None
        width, height = call.positive(3, 4)
        attributes = {**_sliding(call, 5, None), "window": (height, width)}
        return Reading(op, (0,), None, attributes, call.option(5, "b"))

    return read


def _global_pool(op: str) -> Rule:
    def read(call: Call) -> Reading | None:
        axes = call[1].integers()
        if len(call[0].shape) != 4 or axes is None or sorted(axis % 4 for axis in axes) != [1, 2]:
            return None
        return Reading(op, (0,), None, {"keepdims": bool(call.option(0, "b"))})

    return read


def _elementwise(op: str) -> Rule:
    def read(call: Call) -> Reading | None:
        activation = call.option(0, "b")
        constants = [place for place in (0, 1) if call[place].data is not None]
        if len(constants) == 1 and (constants == [1] or op != "sub"):
            (place,) = constants
            if call[1 - place].shape == call.output.shape:  # the constant does not enlarge it
                attributes = {"constant": call[place].scalar()}
                return Reading(op, (1 - place,), None, attributes, activation)
        return Reading(op, (0, 1), None, {}, activation)

    return read


def _resize(op: str) -> Rule:
    def read(call: Call) -> Reading | None:
        if len(call[0].shape) != 4 or len(call.output.shape) != 4:
            return None
        return Reading(op, (0,), None, {"target": call.output.shape[1:3]})

    return read


def _concat(call: Call) -> Reading | None:
    ranks = {len(tensor.shape) for tensor in call.inputs if tensor is not None}
    axis = call.option(0, "i")
    if len(ranks) != 1 or not -min(ranks) <= axis < min(ranks):
        raise DamagedBuffer(f"{call.output.name!r} joins tensors along axis {axis} of {ranks}")
    places = tuple(place for place in range(len(call.inputs)) if call.has(place))
    return Reading("concat", places, None, {"axis": axis % min(ranks)}, call.option(1, "b"))


def _pad(call: Call) -> Reading | None:
    pads = call[1].integers()
    if len(call[0].shape) != 4 or pads is None or len(pads) != 8:
        return None
    if pads[:2] != (0, 0) or pads[6:] != (0, 0):
        return None
    if min(pads) < 0:
        raise DamagedBuffer(f"{call.output.name!r} is padded by a negative number: {pads}")
    return Reading("pad", (0,), None, {"pads": (pads[2:4], pads[4:6])})


def _reshape(call: Call) -> Reading | None:
    if math.prod(call[0].shape) != math.prod(call.output.shape):
        raise DamagedBuffer(f"{call[0].shape} cannot become {call.output.shape}")
    return Reading("reshape", (0,), None, {"target": call.output.shape})


def _unary(op: str) -> Rule:
    return lambda call: Reading(op) if call[0].shape == call.output.shape else None


def _quantize(call: Call) -> Reading | None:
    """From floats, or from integers of another scale or type."""
    op = "quantize" if call[0].dtype == "float32" else "requantize"
    return _unary(op)(call)


RULES: dict[int, Rule] = {
    BuiltinOperator.CONV_2D: _conv,
    BuiltinOperator.DEPTHWISE_CONV_2D: _depthwise,
    BuiltinOperator.FULLY_CONNECTED: _dense,
    BuiltinOperator.CONCATENATION: _concat,
    BuiltinOperator.PAD: _pad,
    BuiltinOperator.QUANTIZE: _quantize,
    **dict.fromkeys(
        (BuiltinOperator.RESHAPE, BuiltinOperator.SQUEEZE, BuiltinOperator.EXPAND_DIMS), _reshape
    ),
    **{BUILTIN_CODES[op]: _pool(op) for op in ("max_pool", "average_pool")},
    **{BUILTIN_CODES[op]: _global_pool(op) for op in ("global_max_pool", "global_average_pool")},
    **{BUILTIN_CODES[op]: _resize(op) for op in ("resize_nearest", "resize_bilinear")},
    **{BUILTIN_CODES[op]: _elementwise(op) for op in ("add", "sub", "mul")},
    **{
        BUILTIN_CODES[op]: _unary(op)
        for op in (
            *("relu", "relu6", "hard_swish", "sigmoid", "softmax", "prelu"),
            "dequantize",
        )
    },
}

#: Operators that only decompress their input; of a constant, they run once, before inference.
DECOMPRESSING = (BuiltinOperator.DEQUANTIZE, BuiltinOperator.DENSIFY)


def decompressed(source: FileTensor, output: FileTensor) -> FileTensor:
    """The constant that a decompressing operator makes of a constant."""
    return replace(output, data=source.data, stored=source.stored_dtype)
