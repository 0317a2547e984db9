"""What each TensorFlow Lite operator is in a Graph: one table, builtin code -> reading rule.

A rule looks at one operator of a file and says which operator of a Graph it is, with which inputs,
kernel shape and attributes; or None: the operator, or this use of it, has no row in
:data:`mnasfpn.models.graph.operators.OPS` and stays foreign. Places of options follow
tensorflow/lite/schema/schema.fbs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

from ai_edge_litert.schema_py_generated import BuiltinOperator

from ..graph.operators import BINARY, UNARY
from .detections import read_detection_options
from .flatbuffer import DamagedBuffer
from .operator_call import Call, FileTensor, Reading
from .schema import BUILTIN_CODES, DETECTION_NAME, PADDING

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


def _reduced(call: Call) -> tuple[int, ...]:
    """The axes that an operator leaves one number of, in order; none if they are not known."""
    axes, rank = call[1].integers(), len(call[0].shape)
    if not axes or not all(-rank <= axis < rank for axis in axes):
        return ()
    return tuple(sorted({axis % rank for axis in axes}))


def _global_pool(op: str) -> Rule:
    def read(call: Call) -> Reading | None:
        if len(call[0].shape) != 4 or _reduced(call) != (1, 2):
            return None
        return Reading(op, (0,), None, {"keepdims": bool(call.option(0, "b"))})

    return read


def _mean(call: Call) -> Reading | None:
    """Over height and width it is a global pool."""
    pool = _global_pool("global_average_pool")(call)
    axes = _reduced(call)
    if pool is not None or not axes:
        return pool
    return Reading("mean", (0,), None, {"axes": axes, "keepdims": bool(call.option(0, "b"))})


def _transpose(call: Call) -> Reading | None:
    axes, rank = call[1].integers(), len(call[0].shape)
    if axes is None or sorted(axes) != list(range(rank)):
        return None
    return Reading("transpose", (0,), None, {"axes": axes})


def _slice(call: Call) -> Reading | None:
    """Of a whole run of each axis."""
    return Reading("slice", (0,), None, {"target": call.output.shape})


#: Places of the options of a STRIDED_SLICE: bits of axes that are left out, new, or gone.
ELLIPSIS_MASK, NEW_MASK, GONE_MASK = 2, 3, 4


def _strided_slice(call: Call) -> Reading | None:
    """With strides over height and width only, and axes that go, but none that are new."""
    rank = len(call[0].shape)
    strides = call[3].integers()
    if strides is None or call.option(ELLIPSIS_MASK, "i") or call.option(NEW_MASK, "i"):
        return None
    steps = (*strides, *(1,) * (rank - len(strides)))
    gone = tuple(axis for axis in range(rank) if call.option(GONE_MASK, "i") >> axis & 1)
    if min(steps) < 1 or any(step > 1 for step in (steps[0], *steps[3:])):
        return None
    strided = max(steps) > 1
    if strided and rank != 4:
        return None
    attributes: dict[str, Any] = {"target": call.output.shape, "axes": gone}
    if strided:
        attributes["stride"] = (steps[1], steps[2])
    return Reading("slice", (0,), None, attributes)


def _detections(call: Call) -> Reading | None:
    """The file need not say the shapes of its results: its options do."""
    boxes, scores = call[0].shape, call[1].shape
    if len(boxes) != 3 or len(scores) != 3 or boxes[:2] != scores[:2] or boxes[2] != 4:
        return None
    most, regular = read_detection_options(call.operator)
    op = "detections_regular" if regular else "detections"
    return Reading(op, (0, 1), None, {"target": (1, most, 4)}, shape=(1, most, 4))


def _elementwise(op: str) -> Rule:
    def read(call: Call) -> Reading | None:
        activation = call.option(0, "b")
        constants = [place for place in (0, 1) if call[place].data is not None]
        if len(constants) == 1 and (constants == [1] or op not in ("sub", "div")):
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
    places = tuple(
        place for place in range(len(call.inputs)) if call.has(place) and not call[place].is_empty
    )
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


def _gelu(call: Call) -> Reading | None:
    """Of integers it is a table, however it is approximated."""
    approximate = call.option(0, "b") and call.output.dtype == "float32"
    return _unary("gelu_tanh" if approximate else "gelu")(call)


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
    BUILTIN_CODES["global_max_pool"]: _global_pool("global_max_pool"),
    BuiltinOperator.MEAN: _mean,
    BuiltinOperator.TRANSPOSE: _transpose,
    BuiltinOperator.SLICE: _slice,
    BuiltinOperator.STRIDED_SLICE: _strided_slice,
    **{BUILTIN_CODES[op]: _resize(op) for op in ("resize_nearest", "resize_bilinear")},
    **{BUILTIN_CODES[op]: _elementwise(op) for op in BINARY},
    **{BUILTIN_CODES[op]: _unary(op) for op in (*UNARY, "dequantize")},
    BuiltinOperator.GELU: _gelu,
}
#: The same of custom operators, by name.
CUSTOM_RULES: dict[str, Rule] = {DETECTION_NAME: _detections}

#: Operators that only decompress their input; of a constant, they run once, before inference.
DECOMPRESSING = (BuiltinOperator.DEQUANTIZE, BuiltinOperator.DENSIFY)


def decompressed(source: FileTensor, output: FileTensor) -> FileTensor:
    """The constant that a decompressing operator makes of a constant."""
    return replace(output, data=source.data, stored=source.stored_dtype)
