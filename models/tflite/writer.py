"""Graph -> TensorFlow Lite file, written directly as a flatbuffer.

The operators are those that TFLiteConverter makes of the Keras build of the same graph: batch norm
folded, ReLU and ReLU6 fused, a zero bias where there is none. So what is measured is what ships,
and a block is written in about a millisecond instead of converted in about a second.

Layers may be int8, or float32 with int8 weights (see :mod:`..graph.arithmetic`): such files are
good for measuring speed only, because their scales are not those of any data.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from ...errors import InvalidInput
from ..arrays import Floats
from ..graph.graph import Graph
from ..graph.layer import Layer
from ..graph.weights import Weights, benchmark_weights, fold
from .file import Quantisation, TfliteFile
from .quantisation import ORDINARY, activation_scale, integer_bias, integer_weights
from .schema import ACTIVATION, BUILTIN_CODES, PADDING


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
            graph has an operator or a type that is not written (foreign operators, uint8).
    """
    folded = benchmark_weights(graph, seed) if weights is None else fold(graph, weights)
    file = TfliteFile()
    tensors: dict[str, int] = {}
    scales: dict[str, Quantisation | None] = {}
    for layer in graph:
        _check_writable(layer, weights is not None)
        before = [scales[name] for name in layer.inputs]
        scales[layer.name] = activation_scale(layer, before)
        if layer.op != "input":
            sources = [tensors[name] for name in layer.inputs]
            ranks = tuple(len(graph[name].shape) for name in layer.inputs)
            constants = _constants(file, layer, folded.get(layer.name), before[0])
            options, version = _OPTIONS[layer.op](layer, ranks)
            version = max(version, _integer_version(layer))
        tensors[layer.name] = file.tensor(layer.name, layer.shape, layer.dtype, scales[layer.name])
        if layer.op != "input":
            inputs = [*sources, *constants]
            file.operator(BUILTIN_CODES[layer.op], version, options, inputs, tensors[layer.name])
    return file.pack(
        {layer.name: tensors[layer.name] for layer in graph.inputs},
        {name: tensors[name] for name in graph.outputs},
    )


def _check_writable(layer: Layer, given: bool) -> None:
    """``given``: the weights are not random."""
    if layer.dtype not in ("float32", "int8"):
        raise InvalidInput(
            f"layer {layer.name!r} is {layer.dtype}; only float32 and int8 can be written: "
            "use the file it came from instead"
        )
    if given and _is_integer(layer):
        raise InvalidInput(
            f"layer {layer.name!r} computes with integers, whose scales no given weights tell: "
            "write random weights, or export the model as int8"
        )
    if layer.op != "input" and layer.op not in _OPTIONS:
        raise InvalidInput(
            f"layer {layer.name!r}: operator {layer.attributes.label or layer.op!r} cannot be "
            f"written; these can: {', '.join(_OPTIONS)}"
        )


def _is_integer(layer: Layer) -> bool:
    return "int8" in (layer.dtype, layer.attributes.weights_dtype)


def _constants(
    file: TfliteFile,
    layer: Layer,
    folded: tuple[Floats, Floats] | None,
    source: Quantisation | None,
) -> list[int]:
    """Indices of the constant tensors that follow a layer's inputs.

    Args:
        source: scale of the layer's first input.
    """
    name, attributes = layer.name, layer.attributes
    if folded is not None:
        return _weights(file, layer, *folded, source)
    if layer.op in ("add", "sub", "mul") and len(layer.inputs) == 1:
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
    integers = np.full(value.shape, 40, np.int8)
    return file.constant(name, integers, None, ORDINARY)


def _integer_version(layer: Layer) -> int:
    """Least version of an operator that computes with the layer's integers."""
    if layer.dtype == "int8":
        return _INT8_VERSIONS.get(layer.op, 1)
    return _HYBRID_VERSIONS.get(layer.op, 1) if _is_integer(layer) else 1


# tensorflow/compiler/mlir/lite/tools/versioning/op_version.cc
_INT8_VERSIONS = {
    **dict.fromkeys(("conv", "depthwise_conv"), 3),
    "fully_connected": 4,
    **dict.fromkeys(("add", "sub", "mul", "concat", "pad", "relu", "relu6"), 2),
    **dict.fromkeys(("max_pool", "average_pool", "global_average_pool", "global_max_pool"), 2),
    **dict.fromkeys(("sigmoid", "softmax"), 2),
}
_HYBRID_VERSIONS = {"conv": 5, "depthwise_conv": 6, "fully_connected": 12}

#: From (kh, kw, in, out) and (kh, kw, in, multiplier) to the file's order of axes.
_LAYOUT: dict[str, Callable[[Floats], Floats]] = {
    "conv": lambda kernel: kernel.transpose(3, 0, 1, 2),
    "depthwise_conv": lambda kernel: kernel.reshape(1, *kernel.shape[:2], -1),
    "fully_connected": lambda kernel: kernel.transpose(),
}

# Options object and operator version; the second argument is the ranks of the inputs.
_Options: TypeAlias = Callable[[Layer, tuple[int, ...]], tuple[Any, int]]


def _conv(layer: Layer, ranks: tuple[int, ...]) -> tuple[Any, int]:
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


def _dense(layer: Layer, ranks: tuple[int, ...]) -> tuple[Any, int]:
    options = schema.FullyConnectedOptionsT(
        fusedActivationFunction=ACTIVATION[layer.attributes.activation],
        keepNumDims=ranks[0] > 2 and len(layer.shape) == ranks[0],
        asymmetricQuantizeInputs=_is_integer(layer) and layer.dtype == "float32",
    )
    return options, 5 if options.keepNumDims else 1


def _pool(layer: Layer, ranks: tuple[int, ...]) -> tuple[Any, int]:
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


def _global_pool(layer: Layer, ranks: tuple[int, ...]) -> tuple[Any, int]:
    return schema.ReducerOptionsT(keepDims=layer.attributes.keepdims), 1


def _plain(options: Callable[..., Any] | None = None, version: int = 1, **values: Any) -> _Options:
    """Options that no layer changes."""
    return lambda layer, ranks: (options(**values) if options else None, version)


def _fusing(options: Callable[..., Any]) -> _Options:
    """Options whose only field is the fused activation."""
    return lambda layer, ranks: (
        options(fusedActivationFunction=ACTIVATION[layer.attributes.activation]),
        1,
    )


_OPTIONS: dict[str, _Options] = {
    "conv": _conv,
    "depthwise_conv": _conv,
    "fully_connected": _dense,
    "max_pool": _pool,
    "average_pool": _pool,
    "global_average_pool": _global_pool,
    "global_max_pool": _global_pool,
    # As tf.image.resize: sampling at pixel centres, which version 3 of both operators has.
    "resize_nearest": _plain(schema.ResizeNearestNeighborOptionsT, 3, halfPixelCenters=True),
    "resize_bilinear": _plain(schema.ResizeBilinearOptionsT, 3, halfPixelCenters=True),
    "add": _fusing(schema.AddOptionsT),
    "sub": _fusing(schema.SubOptionsT),
    "mul": _fusing(schema.MulOptionsT),
    "relu": _plain(),
    "relu6": _plain(),
    "hard_swish": _plain(),
    "sigmoid": _plain(),
    "softmax": _plain(schema.SoftmaxOptionsT, beta=1.0),
    "prelu": _plain(),
    "concat": lambda layer, ranks: (
        schema.ConcatenationOptionsT(axis=layer.attributes.axis % len(layer.shape)),
        1,
    ),
    "reshape": _plain(),
    "pad": _plain(),
    "quantize": _plain(schema.QuantizeOptionsT),
    "requantize": _plain(schema.QuantizeOptionsT),
    "dequantize": _plain(schema.DequantizeOptionsT, 2),
}
