"""What a layer of a Graph is told besides its wiring and its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Shape = tuple[int, ...]
Activation = Literal["relu", "relu6"]
ACTIVATIONS: tuple[Activation, ...] = get_args(Activation)
Initializer = Literal["he_normal", "truncated_normal", "normal"]


@dataclass(frozen=True, slots=True)
class BatchNorm:
    """Batch normalisation after a convolution; folded into it wherever the runtime is concerned.

    ``momentum`` is what Keras calls so (the decay of the moving averages).
    """

    epsilon: float = 1e-3
    momentum: float = 0.99


@dataclass(frozen=True, slots=True)
class Attributes:
    """Everything about a layer that is not its wiring, shape or weights.

    Only the fields that a layer's operator reads may differ from their defaults.
    """

    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: Literal["same", "valid"] = "same"
    window: tuple[int, int] = (1, 1)  # of a pool
    target: Shape | None = None  # of a resize (H, W), reshape, slice, input or foreign operator
    axis: int = -1  # of a concat
    axes: Shape = ()  # a mean's or slice's that are gone; a transpose's: where each comes from
    groups: int = 1  # of a conv
    keepdims: bool = True  # of a mean or global pool; without, what it is taken over is gone
    pads: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))  # (top, bottom), (left, right)
    constant: float | None = None  # second operand of a one-input BINARY operator
    activation: Activation | None = None  # fused into conv, dense, add, sub, mul, pool
    bias: bool = False  # a trained bias vector
    shift: float = 0.0  # added to a convolution's result before its activation; in no parameter
    norm: BatchNorm | None = None
    shares: str | None = None  # kernel and bias are those of this layer
    initializer: Initializer = "he_normal"
    stddev: float = 0.0  # of the normal initialisers
    bias_init: float = 0.0
    l2: float = 0.0
    label: str = ""  # name of a foreign operator
    weights_dtype: str = "float32"  # of the stored kernel, in files that compress it


DEFAULT = Attributes()
