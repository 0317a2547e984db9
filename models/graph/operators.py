"""The operators of a Graph: one table, operator name -> shape rule and multiply-add rule.

An operator is what TensorFlow Lite calls one, minus what it fuses: bias, folded batch norm and
ReLU/ReLU6 are attributes of the layer that computes them, never layers of their own.

Multiply-adds follow the paper's convention (1 per multiply-accumulate of a convolution or dense
product; batch norm, bias, activations, adds, pools, resizing and gating are 0).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ...errors import InvalidGraph
from .attributes import Attributes, Shape

ShapeRule = Callable[[tuple[Shape, ...], Attributes, Shape | None], Shape]
MaddsRule = Callable[[Shape, Shape], int]  # (output shape, weights shape) -> multiply-adds


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """(before, after) of TensorFlow's SAME: the output has ceil(size / stride) positions."""
    total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _window(shape: Shape, kernel: Shape, attributes: Attributes) -> tuple[int, int]:
    """Height and width after a sliding window."""

    def one(size: int, width: int, stride: int, dilation: int) -> int:
        if attributes.padding == "same":
            return math.ceil(size / stride)
        return (size - (width - 1) * dilation - 1) // stride + 1

    height, width = (
        one(size, k, s, d)
        for size, k, s, d in zip(
            shape[1:3], kernel, attributes.stride, attributes.dilation, strict=True
        )
    )
    if height < 1 or width < 1:
        raise InvalidGraph(
            f"a {kernel[0]}x{kernel[1]} window does not fit an input of {shape[1]}x{shape[2]}; "
            "use a larger input or SAME padding"
        )
    return height, width


def _conv(inputs: tuple[Shape, ...], attributes: Attributes, weights: Shape | None) -> Shape:
    (shape,) = inputs
    assert weights is not None  # the Layer constructor has checked
    kernel_h, kernel_w, channels, filters = weights
    groups = attributes.groups
    if channels * groups != shape[3] or filters % groups:
        per_group = f" in each of {groups} groups" if groups > 1 else ""
        raise InvalidGraph(f"kernel takes {channels} channels{per_group}, its input has {shape[3]}")
    return (shape[0], *_window(shape, (kernel_h, kernel_w), attributes), filters)


def _depthwise(inputs: tuple[Shape, ...], attributes: Attributes, weights: Shape | None) -> Shape:
    (shape,) = inputs
    assert weights is not None
    kernel_h, kernel_w, channels, multiplier = weights
    if channels != shape[3]:
        raise InvalidGraph(f"kernel takes {channels} channels, its input has {shape[3]}")
    height, width = _window(shape, (kernel_h, kernel_w), attributes)
    return (shape[0], height, width, channels * multiplier)


def _dense(inputs: tuple[Shape, ...], attributes: Attributes, weights: Shape | None) -> Shape:
    (shape,) = inputs
    assert weights is not None
    if math.prod(shape[1:]) % weights[0]:
        raise InvalidGraph(f"kernel takes {weights[0]} features, its input has shape {shape}")
    return (*shape[:-1], weights[1]) if shape[-1] == weights[0] else (shape[0], weights[1])


def _pool(inputs: tuple[Shape, ...], attributes: Attributes, weights: Shape | None) -> Shape:
    (shape,) = inputs
    return (shape[0], *_window(shape, attributes.window, attributes), shape[3])


def _global_pool(inputs: tuple[Shape, ...], attributes: Attributes, weights: Shape | None) -> Shape:
    (shape,) = inputs
    return (shape[0], 1, 1, shape[3]) if attributes.keepdims else (shape[0], shape[3])


def _target(attributes: Attributes) -> Shape:
    if attributes.target is None:
        raise InvalidGraph("needs a target shape; set the attribute `target`")
    return attributes.target


def _resize(inputs: tuple[Shape, ...], attributes: Attributes, weights: Shape | None) -> Shape:
    (shape,) = inputs
    target = _target(attributes)
    if len(target) != 2:
        raise InvalidGraph(f"a resize takes a height and a width as target, got {target}")
    return (shape[0], *target, shape[3])


def _elementwise(inputs: tuple[Shape, ...], attributes: Attributes, weights: Shape | None) -> Shape:
    """Broadcast as NumPy does; a constant operand has the output's channels or is a scalar."""
    rank = max(len(shape) for shape in inputs)
    padded = [(1,) * (rank - len(shape)) + tuple(shape) for shape in inputs]
    result = tuple(max(sizes) for sizes in zip(*padded, strict=True))
    for shape in padded:
        if any(size not in (1, full) for size, full in zip(shape, result, strict=True)):
            raise InvalidGraph(f"shapes {', '.join(map(str, inputs))} do not broadcast")
    return result


def _same(inputs: tuple[Shape, ...], attributes: Attributes, weights: Shape | None) -> Shape:
    (shape,) = inputs
    return shape


def _concat(inputs: tuple[Shape, ...], attributes: Attributes, weights: Shape | None) -> Shape:
    axis = attributes.axis % len(inputs[0])
    for shape in inputs:
        if shape[:axis] + shape[axis + 1 :] != inputs[0][:axis] + inputs[0][axis + 1 :]:
            raise InvalidGraph(f"cannot join {shape} to {inputs[0]} along axis {axis}")
    return (*inputs[0][:axis], sum(shape[axis] for shape in inputs), *inputs[0][axis + 1 :])


def _reshape(inputs: tuple[Shape, ...], attributes: Attributes, weights: Shape | None) -> Shape:
    (shape,) = inputs
    target = _target(attributes)
    if math.prod(target) != math.prod(shape):
        raise InvalidGraph(f"{shape} has another number of elements than {target}")
    return target


def _pad(inputs: tuple[Shape, ...], attributes: Attributes, weights: Shape | None) -> Shape:
    (shape,) = inputs
    (top, bottom), (left, right) = attributes.pads
    return (shape[0], shape[1] + top + bottom, shape[2] + left + right, *shape[3:])


def _transpose(inputs: tuple[Shape, ...], attributes: Attributes, weights: Shape | None) -> Shape:
    (shape,) = inputs
    if sorted(attributes.axes) != list(range(len(shape))):
        raise InvalidGraph(f"axes {attributes.axes} are no order of the axes of {shape}")
    return tuple(shape[axis] for axis in attributes.axes)


def _mean(inputs: tuple[Shape, ...], attributes: Attributes, weights: Shape | None) -> Shape:
    (shape,) = inputs
    axes = attributes.axes
    if not axes or len(set(axes)) < len(axes) or not set(axes) <= set(range(len(shape))):
        raise InvalidGraph(f"a mean over the axes {axes} of {shape}; name each of them once")
    if attributes.keepdims:
        return tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    return tuple(size for axis, size in enumerate(shape) if axis not in axes)


def _slice(inputs: tuple[Shape, ...], attributes: Attributes, weights: Shape | None) -> Shape:
    """Some of each axis, or every second one of height and width; ``axes`` lose the single one."""
    (shape,) = inputs
    target, axes = _target(attributes), attributes.axes
    kept = [size for axis, size in enumerate(shape) if axis not in axes]
    if len(kept) != len(target) or any(new > old for new, old in zip(target, kept, strict=True)):
        raise InvalidGraph(f"{target} is no slice of {shape} without its axes {axes}")
    return target


def _detections(inputs: tuple[Shape, ...], attributes: Attributes, weights: Shape | None) -> Shape:
    """Of boxes (1, N, 4) and scores (1, N, classes): (1, detections, 4)."""
    boxes, scores = inputs
    target = _target(attributes)
    if len(boxes) != len(scores) != 3 or boxes[:2] != scores[:2] or boxes[2:] != (4,):
        raise InvalidGraph(f"boxes {boxes} and scores {scores} are not (1, N, 4) and (1, N, C)")
    if len(target) != 3 or target[::2] != (1, 4):
        raise InvalidGraph(f"detections are (1, number, 4), not {target}")
    return target


def _given(inputs: tuple[Shape, ...], attributes: Attributes, weights: Shape | None) -> Shape:
    """The layer itself states its shape (graph inputs, and operators of foreign files)."""
    return _target(attributes)


def _no_madds(output: Shape, weights: Shape) -> int:
    return 0


def _conv_madds(output: Shape, weights: Shape) -> int:
    return math.prod(output[1:]) * math.prod(weights[:3])


def _depthwise_madds(output: Shape, weights: Shape) -> int:
    return math.prod(output[1:]) * weights[0] * weights[1]


def _dense_madds(output: Shape, weights: Shape) -> int:
    return math.prod(output) * weights[0]


@dataclass(frozen=True, slots=True)
class Op:
    """What an operator needs (inputs, weights rank) and the two rules."""

    shape: ShapeRule
    arity: tuple[int, int]  # least and most inputs
    weights_rank: int | None = None  # None: no weights
    madds: MaddsRule = _no_madds


MANY = 1_000_000

GIVEN = ("input", "constant")  # there before anything is computed
#: Those that state their shape themselves, which may have no elements.
UNRULED = (*GIVEN, "foreign", "further_output")
#: Of two tensors, or of one and a constant.
BINARY = ("add", "sub", "mul", "div", "squared_difference")
#: Of each element by itself.
UNARY = (
    *("relu", "relu6", "hard_swish", "sigmoid", "softmax", "prelu", "leaky_relu"),
    *("gelu", "gelu_tanh", "tanh", "neg", "rsqrt"),
)
#: Boxes and scores of a detector to the best of them; ``regular``: class by class.
DETECTIONS = ("detections", "detections_regular")
#: Those with which a runtime computes a ReLU or ReLU6 that follows.
FUSING = frozenset(
    (
        *("conv", "depthwise_conv", "fully_connected", "max_pool", "average_pool"),
        *("add", "sub", "mul"),
    )
)

OPS: dict[str, Op] = {
    "input": Op(_given, (0, 0)),
    "constant": Op(_given, (0, 0)),  # of a foreign file, where an operator reads one as an input
    "conv": Op(_conv, (1, 1), 4, _conv_madds),
    "depthwise_conv": Op(_depthwise, (1, 1), 4, _depthwise_madds),
    "fully_connected": Op(_dense, (1, 1), 2, _dense_madds),
    "max_pool": Op(_pool, (1, 1)),
    "average_pool": Op(_pool, (1, 1)),
    "global_average_pool": Op(_global_pool, (1, 1)),
    "global_max_pool": Op(_global_pool, (1, 1)),
    "resize_nearest": Op(_resize, (1, 1)),
    "resize_bilinear": Op(_resize, (1, 1)),
    **dict.fromkeys(BINARY, Op(_elementwise, (1, 2))),
    **dict.fromkeys(UNARY, Op(_same, (1, 1))),
    "mean": Op(_mean, (1, 1)),
    "transpose": Op(_transpose, (1, 1)),
    "slice": Op(_slice, (1, 1)),
    **dict.fromkeys(DETECTIONS, Op(_detections, (2, 2))),
    "concat": Op(_concat, (1, MANY)),
    "reshape": Op(_reshape, (1, 1)),
    "pad": Op(_pad, (1, 1)),
    "quantize": Op(_same, (1, 1)),
    "requantize": Op(_same, (1, 1)),
    "dequantize": Op(_same, (1, 1)),
    # Operators of foreign files that the table above has no rule for: named by `attributes.label`.
    "foreign": Op(_given, (0, MANY)),
    # Of the operator whose first output it reads: no work of its own.
    "further_output": Op(_given, (1, 1)),
}
