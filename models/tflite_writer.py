"""Graph -> float32 TensorFlow Lite file, written directly as a flatbuffer.

The operators are those that TFLiteConverter makes of the Keras build of the same graph: batch norm
folded, ReLU and ReLU6 fused, a zero bias where there is none. So what is measured is what ships,
and a block is written in about a millisecond instead of converted in about a second.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from ..errors import InvalidInput
from .graph import Graph, Layer
from .tflite_file import TfliteFile
from .tflite_schema import ACTIVATION, BUILTIN, PADDING
from .weights import Array, Weights, benchmark_weights, fold


def write_tflite(graph: Graph, weights: Weights | None = None, seed: int = 0) -> bytes:
    """The graph as the bytes of a .tflite file with the signature ``serving_default``.

    Args:
        graph: prune it first to leave out what is unused. Inputs and outputs of the file are the
            graph's, in its order and under its layers' names; batch 1.
        weights: as in :mod:`.weights`; None draws weights that are good for measuring speed only.
        seed: of those.

    Raises:
        InvalidInput: weights are missing or misshapen, or the graph has an operator or a type that
            is not written (foreign operators, quantised files).
    """
    folded = benchmark_weights(graph, seed) if weights is None else fold(graph, weights)
    file = TfliteFile()
    tensors: dict[str, int] = {}
    for layer in graph:
        _check_writable(layer)
        if layer.op != "input":
            sources = [tensors[name] for name in layer.inputs]
            ranks = tuple(len(graph[name].shape) for name in layer.inputs)
            constants = _constants(file, layer, folded.get(layer.name))
            options, version = _OPTIONS[layer.op](layer, ranks)
        tensors[layer.name] = file.tensor(layer.name, layer.shape)
        if layer.op != "input":
            inputs = [*sources, *constants]
            file.operator(BUILTIN[layer.op], version, options, inputs, tensors[layer.name])
    return file.pack(
        {layer.name: tensors[layer.name] for layer in graph.inputs},
        {name: tensors[name] for name in graph.outputs},
    )


def _check_writable(layer: Layer) -> None:
    if layer.dtype != "float32":
        raise InvalidInput(
            f"layer {layer.name!r} is {layer.dtype}; only float32 graphs can be written: "
            "use the file it came from instead"
        )
    if layer.op != "input" and layer.op not in _OPTIONS:
        raise InvalidInput(
            f"layer {layer.name!r}: operator {layer.attributes.label or layer.op!r} cannot be "
            f"written; these can: {', '.join(_OPTIONS)}"
        )


def _constants(file: TfliteFile, layer: Layer, folded: tuple[Array, Array] | None) -> list[int]:
    """Indices of the constant tensors that follow a layer's inputs."""
    name, attributes = layer.name, layer.attributes
    if folded is not None:
        kernel, bias = folded
        # The same array is the same constant: kernels shared without batch norm, and zero biases.
        return [
            file.constant(f"{name}/kernel", _LAYOUT[layer.op](kernel), (id(kernel), layer.op)),
            file.constant(f"{name}/bias", bias, id(bias)),
        ]
    if layer.op in ("add", "sub", "mul") and len(layer.inputs) == 1:
        value = np.array(attributes.constant, np.float32)
        if attributes.constant is None:  # a foreign file's vector, whose values a Graph has not
            value = np.full(layer.filters, 0.5, np.float32)
        return [file.constant(f"{name}/constant", value)]
    if layer.op == "prelu":
        alpha = np.full((*(1,) * (len(layer.shape) - 2), layer.filters), 0.25, np.float32)
        return [file.constant(f"{name}/alpha", alpha)]
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


#: From (kh, kw, in, out) and (kh, kw, in, multiplier) to the file's order of axes.
_LAYOUT: dict[str, Callable[[Array], Array]] = {
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
}
