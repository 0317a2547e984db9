"""Scales and integers of quantised files whose values do not matter, only their speed.

As TensorFlow's converter lays int8 out: activations with one scale, weights symmetric with one
scale for each output channel, biases of 32 bits with the product of both (quantization
specification of TensorFlow Lite, ai.google.dev/edge/litert).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ...errors import InvalidInput
from ..graph.arithmetic import INTEGERS
from ..graph.layer import Layer
from .file import Quantisation

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Those of int8; of uint8 the zero points are 128 more.
ORDINARY = Quantisation((0.05,), -28)  # -5 to 7.75
POSITIVE = Quantisation((0.05,), -128)  # 0 to 12.75
#: Results whose scale the specification demands.
DEMANDED = {
    "sigmoid": Quantisation((1 / 256,), -128),  # 0 to 1
    "softmax": Quantisation((1 / 256,), -128),
    "tanh": Quantisation((1 / 128,), 0),  # -1 to 1
}
UNSIGNED_ZERO = 128
#: Operators that move numbers about; the runtime wants the same scale before and after.
MOVING = frozenset(
    (
        *("max_pool", "average_pool", "global_max_pool", "concat", "reshape", "pad"),
        *("resize_nearest", "resize_bilinear", "relu", "relu6", "transpose", "slice"),
    )
)
LIMIT = 127  # of symmetric int8 weights


def activation_scale(
    layer: Layer, sources: Sequence[Quantisation | None], positive: bool = False
) -> Quantisation | None:
    """Of a layer's result; None if it is no tensor of integers.

    Args:
        positive: it must hold no negative number.

    Raises:
        InvalidInput: tensors of different scales are joined, which no runtime takes.
    """
    if layer.dtype not in INTEGERS:
        return None
    if layer.op in DEMANDED:
        return _of(layer.dtype, DEMANDED[layer.op])
    if layer.op in MOVING:
        if len(set(sources)) > 1:
            raise InvalidInput(
                f"layer {layer.name!r} joins tensors of different scales; put a 'requantize' "
                "before those that came out of a sigmoid or softmax"
            )
        return sources[0]
    return _of(layer.dtype, POSITIVE) if positive else ordinary(layer.dtype)


def ordinary(dtype: str) -> Quantisation:
    """Of tensors whose range nothing demands."""
    return _of(dtype, ORDINARY)


def _of(dtype: str, signed: Quantisation) -> Quantisation:
    if dtype == "int8":
        return signed
    return replace(signed, zero_point=signed.zero_point + UNSIGNED_ZERO)


def unsigned_weights(kernel: NDArray[np.float32]) -> tuple[NDArray[np.uint8], Quantisation]:
    """uint8 with one scale, as TensorFlow 1 laid them out."""
    scale = max(float(np.abs(kernel).max()), 1e-6) / LIMIT
    integers = (np.rint(kernel / scale) + UNSIGNED_ZERO).astype(np.uint8)
    return integers, Quantisation((scale,), UNSIGNED_ZERO)


def integer_weights(
    kernel: NDArray[np.float32], axis: int
) -> tuple[NDArray[np.int8], Quantisation]:
    """Symmetric int8, one scale for each index of an axis."""
    others = tuple(place for place in range(kernel.ndim) if place != axis)
    scales = np.maximum(np.abs(kernel).max(axis=others, keepdims=True), 1e-6) / LIMIT
    integers = np.rint(kernel / scales).astype(np.int8)
    return integers, Quantisation(tuple(scales.ravel().tolist()), 0, axis)


def integer_bias(
    bias: NDArray[np.float32], source: Quantisation, weights: Quantisation
) -> tuple[NDArray[np.int32], Quantisation]:
    """32 bits, at the scale of the products it is added to."""
    scales = source.scales[0] * np.asarray(weights.scales)
    integers = np.rint(bias / scales).clip(-(2**30), 2**30).astype(np.int32)
    return integers, Quantisation(tuple(scales.tolist()))
