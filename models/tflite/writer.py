"""Graph -> TensorFlow Lite file, written directly as a flatbuffer.

The operators are those that TFLiteConverter makes of the Keras build of the same graph: batch norm
folded, ReLU and ReLU6 fused, a zero bias where there is none. So what is measured is what ships,
and a block is written in about a millisecond instead of converted in about a second.

Layers may be int8 or uint8, or float32 with int8 weights (see :mod:`..graph.arithmetic`): such
files are good for measuring speed only, because their scales are not those of any data.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from ...errors import InvalidInput
from ..arrays import Floats
from ..graph.arithmetic import INTEGERS
from ..graph.attributes import Shape
from ..graph.graph import Graph
from ..graph.layer import Layer
from ..graph.operators import BINARY, DETECTIONS
from ..graph.weights import Weights, benchmark_weights, fold
from .detections import detection_options, spread_anchors
from .file import Quantisation, TfliteFile
from .quantisation import (
    activation_scale,
    integer_bias,
    integer_weights,
    ordinary,
    unsigned_weights,
)
from .schema import ACTIVATION, BUILTIN_CODES, DETECTION_NAME, PADDING

if TYPE_CHECKING:
    from numpy.typing import NDArray


def write_tflite(graph: Graph, weights: Weights | None = None, seed: int = 0) -> bytes:
    """The graph as the bytes of a .tflite file with the signature ``serving_default``.

    Args:
        graph: prune it first to leave out what is unused. Inputs and outputs of the file are the
            graph's, in its order and under its layers' names; batch 1.
        weights: as in :mod:`..graph.weights`; None draws weights that are good for measuring
            speed only.
        seed: of those.

    Raises:
        InvalidInput: weights are missing or misshapen, or given for a graph with integers, or the
            graph has an operator or a type that is not written (foreign operators, int16).
    """
    folded = benchmark_weights(graph, seed) if weights is None else fold(graph, weights)
    file = TfliteFile()
    tensors: dict[str, int] = {}
    scales: dict[str, Quantisation | None] = {}
    positive = {name for layer in graph if layer.op == "rsqrt" for name in layer.inputs}
    for layer in graph:
        _check_writable(layer, weights is not None)
        before = [scales[name] for name in layer.inputs]
        scales[layer.name] = activation_scale(layer, before, layer.name in positive)
        if layer.op != "input":
            sources = [tensors[name] for name in layer.inputs]
            shapes = tuple(graph[name].shape for name in layer.inputs)
            constants = _constants(file, layer, shapes, folded.get(layer.name), before[0])
        tensors[layer.name] = file.tensor(layer.name, layer.shape, layer.dtype, scales[layer.name])
        if layer.op in DETECTIONS:
            outputs = [tensors[layer.name], *_further_detections(file, layer)]
            options = detection_options(layer, shapes[1][2] - 1)
            file.custom(DETECTION_NAME, options, [*sources, *constants], outputs)
        elif layer.op != "input":
            options, version = _OPTIONS[layer.op](layer, shapes)
            version = max(version, _integer_version(layer))
            inputs = [*sources, *constants]
            file.operator(BUILTIN_CODES[layer.op], version, options, inputs, tensors[layer.name])
    return file.pack(
        {layer.name: tensors[layer.name] for layer in graph.inputs},
        {name: tensors[name] for name in graph.outputs},
    )


def _check_writable(layer: Layer, given: bool) -> None:
    """``given``: the weights are not random."""
    if layer.dtype not in ("float32", *INTEGERS):
        raise InvalidInput(
            f"layer {layer.name!r} is {layer.dtype}; only float32, {' and '.join(INTEGERS)} can be "
            "written: use the file it came from instead"
        )
    if given and _is_integer(layer):
        raise InvalidInput(
            f"layer {layer.name!r} computes with integers, whose scales no given weights tell: "
            "write random weights, or export the model as int8"
        )
    if layer.op not in ("input", *_OPTIONS, *DETECTIONS):
        raise InvalidInput(
            f"layer {layer.name!r}: operator {layer.attributes.label or layer.op!r} cannot be "
            f"written; these can: {', '.join((*_OPTIONS, *DETECTIONS))}"
        )


def _is_integer(layer: Layer) -> bool:
    return layer.dtype in INTEGERS or layer.attributes.weights_dtype in INTEGERS


def _constants(
    file: TfliteFile,
    layer: Layer,
    shapes: tuple[Shape, ...],
    folded: tuple[Floats, Floats] | None,
    source: Quantisation | None,
) -> list[int]:
    """Indices of the constant tensors that follow a layer's inputs.

    Args:
        shapes: of the layer's inputs.
        source: scale of the first of them.
    """
    name, attributes = layer.name, layer.attributes
    if folded is not None:
        return _weights(file, layer, *folded, source)
    if layer.op in DETECTIONS:
        return [file.constant(f"{name}/anchors", spread_anchors(shapes[0][1]))]
    if layer.op == "slice":
        return [
            file.constant(f"{name}/{word}", np.array(values, np.int32))
            for word, values in zip(
                ("begin", "end", "strides"), _sliced(layer, shapes[0]), strict=True
            )
        ]
    if layer.op in BINARY and len(layer.inputs) == 1:
        value = np.array(attributes.constant, np.float32)
        if attributes.constant is None:  # a foreign file's vector, whose values a Graph has not
            value = np.full(layer.filters, 0.5, np.float32)
        return [_operand(file, layer, f"{name}/constant", value)]
    if layer.op == "prelu":
        alpha = np.full((*(1,) * (len(layer.shape) - 2), layer.filters), 0.25, np.float32)
        return [_operand(file, layer, f"{name}/alpha", alpha)]
    integers: Any = None
    if layer.op in ("resize_nearest", "resize_bilinear", "reshape"):
        integers = attributes.target
    elif layer.op in ("global_average_pool", "global_max_pool"):
        integers = (1, 2)
    elif layer.op == "pad":
        integers = ((0, 0), *attributes.pads, (0, 0))
    elif layer.op in ("mean", "transpose"):
        integers = attributes.axes
    return (
        [] if integers is None else [file.constant(f"{name}/sizes", np.array(integers, np.int32))]
    )


def _weights(
    file: TfliteFile, layer: Layer, kernel: Floats, bias: Floats, source: Quantisation | None
) -> list[int]:
    """Kernel and bias; of a layer that reads float32 the bias is float32."""
    names = f"{layer.name}/kernel", f"{layer.name}/bias"
    # The same array is the same constant: kernels shared without batch norm, and zero biases.
    laid_out, key = _LAYOUT[layer.op](kernel), (id(kernel), layer.op, _is_integer(layer))
    if not _is_integer(layer):
        return [file.constant(names[0], laid_out, key), file.constant(names[1], bias, id(bias))]
    integers: NDArray[Any]
    if layer.dtype == "uint8":
        integers, scales = unsigned_weights(laid_out)
    else:
        axis = laid_out.ndim - 1 if layer.op == "depthwise_conv" else 0
        integers, scales = integer_weights(laid_out, axis)
    kernel_index = file.constant(names[0], integers, key, scales)
    if source is None:
        return [kernel_index, file.constant(names[1], bias, id(bias))]
    values, scales = integer_bias(bias, source, scales)
    return [kernel_index, file.constant(names[1], values, None, scales)]


def _operand(file: TfliteFile, layer: Layer, name: str, value: Floats) -> int:
    """A constant beside a tensor, of that tensor's type."""
    if layer.dtype == "float32":
        return file.constant(name, value)
    integers = np.full(value.shape, 40, layer.dtype)
    return file.constant(name, integers, None, ordinary(layer.dtype))


def _sliced(layer: Layer, shape: Shape) -> tuple[Shape, Shape, Shape]:
    """Begins, ends and strides: from the start of every axis; those that go lose all but one."""
    sizes, steps = iter(layer.shape), (1,) * len(shape)
    if layer.attributes.stride != (1, 1):
        steps = (1, *layer.attributes.stride, 1)
    kept = [1 if axis in layer.attributes.axes else next(sizes) for axis in range(len(shape))]
    ends = tuple((size - 1) * step + 1 for size, step in zip(kept, steps, strict=True))
    return (0,) * len(shape), ends, steps


def _further_detections(file: TfliteFile, layer: Layer) -> list[int]:
    """Classes, scores and number beside the boxes that a layer stands for."""
    many = layer.shape[1]
    shapes = {"classes": (1, many), "scores": (1, many), "number": (1,)}
    return [file.tensor(f"{layer.name}/{name}", shape) for name, shape in shapes.items()]


def _integer_version(layer: Layer) -> int:
    """Least version of an operator that computes with the layer's integers."""
    if layer.dtype == "int8":
        return _INT8_VERSIONS.get(layer.op, 1)
    if layer.dtype == "uint8":
        return 1
    return _HYBRID_VERSIONS.get(layer.op, 1) if _is_integer(layer) else 1


# tensorflow/compiler/mlir/lite/tools/versioning/op_version.cc
_INT8_VERSIONS = {
    **dict.fromkeys(("conv", "depthwise_conv"), 3),
    "fully_connected": 4,
    **dict.fromkeys(("add", "sub", "mul", "concat", "pad", "relu", "relu6"), 2),
    **dict.fromkeys(("max_pool", "average_pool", "global_average_pool", "global_max_pool"), 2),
    **dict.fromkeys(("sigmoid", "softmax", "tanh", "leaky_relu", "gelu", "gelu_tanh"), 2),
    **dict.fromkeys(("mean", "transpose", "slice", "squared_difference", "rsqrt"), 2),
}
_HYBRID_VERSIONS = {"conv": 5, "depthwise_conv": 6, "fully_connected": 12}

#: From (kh, kw, in, out) and (kh, kw, in, multiplier) to the file's order of axes.
_LAYOUT: dict[str, Callable[[Floats], Floats]] = {
    "conv": lambda kernel: kernel.transpose(3, 0, 1, 2),
    "depthwise_conv": lambda kernel: kernel.reshape(1, *kernel.shape[:2], -1),
    "fully_connected": lambda kernel: kernel.transpose(),
}

# Options object and operator version; the second argument is the shapes of the inputs.
_Options: TypeAlias = Callable[[Layer, tuple[Shape, ...]], tuple[Any, int]]


def _conv(layer: Layer, shapes: tuple[Shape, ...]) -> tuple[Any, int]:
    (stride_h, stride_w), (dilation_h, dilation_w) = (
        layer.attributes.stride,
        layer.attributes.dilation,
    )
    options = {
        "padding": PADDING[layer.attributes.padding],
        "strideH": stride_h,
        "strideW": stride_w,
        "fusedActivationFunction": ACTIVATION[layer.attributes.activation],
        "dilationHFactor": dilation_h,
        "dilationWFactor": dilation_w,
    }
    if layer.op == "conv":
        return schema.Conv2DOptionsT(**options), 1
    assert layer.weights is not None
    multiplier = layer.weights[3]
    version = 1 if (dilation_h, dilation_w) == (1, 1) else 2
    return schema.DepthwiseConv2DOptionsT(depthMultiplier=multiplier, **options), version


def _dense(layer: Layer, shapes: tuple[Shape, ...]) -> tuple[Any, int]:
    rank = len(shapes[0])
    options = schema.FullyConnectedOptionsT(
        fusedActivationFunction=ACTIVATION[layer.attributes.activation],
        keepNumDims=rank > 2 and len(layer.shape) == rank,
        asymmetricQuantizeInputs=_is_integer(layer) and layer.dtype == "float32",
    )
    return options, 5 if options.keepNumDims else 1


def _pool(layer: Layer, shapes: tuple[Shape, ...]) -> tuple[Any, int]:
    height, width = layer.attributes.window
    stride_h, stride_w = layer.attributes.stride
    return (
        schema.Pool2DOptionsT(
            padding=PADDING[layer.attributes.padding],
            strideH=stride_h,
            strideW=stride_w,
            filterHeight=height,
            filterWidth=width,
            fusedActivationFunction=ACTIVATION[layer.attributes.activation],
        ),
        1,
    )


def _reduction(layer: Layer, shapes: tuple[Shape, ...]) -> tuple[Any, int]:
    return schema.ReducerOptionsT(keepDims=layer.attributes.keepdims), 1


def _plain(options: Callable[..., Any] | None = None, version: int = 1, **values: Any) -> _Options:
    """Options that no layer changes."""
    return lambda layer, shapes: (options(**values) if options else None, version)


def _fusing(options: Callable[..., Any]) -> _Options:
    """Options whose only field is the fused activation."""
    return lambda layer, shapes: (
        options(fusedActivationFunction=ACTIVATION[layer.attributes.activation]),
        1,
    )


_OPTIONS: dict[str, _Options] = {
    "conv": _conv,
    "depthwise_conv": _conv,
    "fully_connected": _dense,
    "max_pool": _pool,
    "average_pool": _pool,
    "global_average_pool": _reduction,
    "global_max_pool": _reduction,
    "mean": _reduction,
    # As tf.image.resize: sampling at pixel centres, which version 3 of both operators has.
    "resize_nearest": _plain(schema.ResizeNearestNeighborOptionsT, 3, halfPixelCenters=True),
    "resize_bilinear": _plain(schema.ResizeBilinearOptionsT, 3, halfPixelCenters=True),
    "add": _fusing(schema.AddOptionsT),
    "sub": _fusing(schema.SubOptionsT),
    "mul": _fusing(schema.MulOptionsT),
    "div": _fusing(schema.DivOptionsT),
    "squared_difference": _plain(schema.SquaredDifferenceOptionsT),
    "relu": _plain(),
    "relu6": _plain(),
    "hard_swish": _plain(),
    "sigmoid": _plain(),
    "softmax": _plain(schema.SoftmaxOptionsT, beta=1.0),
    "prelu": _plain(),
    "leaky_relu": _plain(schema.LeakyReluOptionsT, alpha=0.1),
    "gelu": _plain(schema.GeluOptionsT),
    "gelu_tanh": _plain(schema.GeluOptionsT, approximate=True),
    "tanh": _plain(),
    "neg": _plain(schema.NegOptionsT),
    "rsqrt": _plain(),
    "transpose": _plain(schema.TransposeOptionsT),
    "slice": lambda layer, shapes: (
        schema.StridedSliceOptionsT(
            shrinkAxisMask=sum(1 << axis for axis in layer.attributes.axes)
        ),
        1,
    ),
    "concat": lambda layer, shapes: (
        schema.ConcatenationOptionsT(axis=layer.attributes.axis % len(layer.shape)),
        1,
    ),
    "reshape": _plain(),
    "pad": _plain(),
    "quantize": _plain(schema.QuantizeOptionsT),
    "requantize": _plain(schema.QuantizeOptionsT),
    "dequantize": _plain(schema.DequantizeOptionsT, 2),
}
