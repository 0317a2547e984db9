"""A float32 Graph as TensorFlow's converters quantise it: in integers throughout, or weights alone.

``uint8`` is what the converters of TensorFlow 1 made, with one scale for all of a tensor.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal, cast, get_args

from ...errors import InvalidInput
from .attributes import ACTIVATIONS, Activation
from .graph import Graph
from .layer import Layer
from .operators import FUSING

#: How a network computes: ``hybrid`` has int8 weights and float32 everything else.
Arithmetic = Literal["float32", "int8", "hybrid", "uint8"]
ARITHMETICS: tuple[Arithmetic, ...] = get_args(Arithmetic)
INTEGERS = ("int8", "uint8")  # those without any float32

LEAST_HYBRID_WEIGHTS = 1024  # smaller ones the converter leaves float32


def in_arithmetic(graph: Graph, arithmetic: Arithmetic) -> Graph:
    """The same network, computed in that way.

    Raises:
        InvalidInput: it is quantised already.
    """
    if any(layer.dtype != "float32" for layer in graph):
        raise InvalidInput("only a float32 graph can be quantised, and this one has other types")
    if arithmetic in INTEGERS:
        return integer_graph(graph, arithmetic)
    return hybrid_graph(graph) if arithmetic == "hybrid" else graph


def integer_graph(graph: Graph, dtype: str) -> Graph:
    """Integers from a ``quantize`` behind each input to a ``dequantize`` before each output."""
    graph = with_fused_activations(graph)
    made: dict[str, str] = {}  # layer of the given graph -> layer that holds its integers
    layers = []
    for layer in graph:
        if layer.op == "input":
            made[layer.name] = f"{layer.name}/quantize"
            quantize = Layer(made[layer.name], "quantize", (layer.name,), layer.shape, dtype=dtype)
            layers += [layer, quantize]
            continue
        made[layer.name] = layer.name
        inputs = tuple(made[name] for name in layer.inputs)
        layers.append(replace(layer, inputs=inputs, dtype=dtype))
    outputs = [
        Layer(f"{name}/dequantize", "dequantize", (made[name],), graph[name].shape)
        for name in graph.outputs
    ]
    return Graph((*layers, *outputs), tuple(layer.name for layer in outputs))


def hybrid_graph(graph: Graph) -> Graph:
    """Weights of int8, but for small ones."""
    return Graph(tuple(map(_hybrid, graph)), graph.outputs)


def _hybrid(layer: Layer) -> Layer:
    if layer.weights is None or _elements(layer) < LEAST_HYBRID_WEIGHTS:
        return layer
    return replace(layer, attributes=replace(layer.attributes, weights_dtype="int8"))


def _elements(layer: Layer) -> int:
    size = 1
    for extent in layer.weights or ():
        size *= extent
    return size


def with_fused_activations(graph: Graph) -> Graph:
    """ReLU and ReLU6 inside the operators they follow, where nobody else reads what is between."""
    consumers = graph.consumers()
    fused = {
        layer.inputs[0]: layer
        for layer in graph
        if layer.op in ACTIVATIONS
        and graph[layer.inputs[0]].op in FUSING
        and graph[layer.inputs[0]].attributes.activation is None
        and len(consumers[layer.inputs[0]]) == 1
        and layer.inputs[0] not in graph.outputs
    }
    return Graph(tuple(_fused(graph, fused)), graph.outputs)


def _fused(graph: Graph, fused: dict[str, Layer]) -> Iterator[Layer]:
    """Layers with the activations in them, under the activations' names."""
    gone = {layer.name for layer in fused.values()}
    for layer in graph:
        if layer.name in gone:
            continue
        clamp = fused.get(layer.name)
        owner = layer.attributes.shares
        attributes = replace(
            layer.attributes, shares=fused[owner].name if owner in fused else owner
        )
        if clamp is not None:
            activation = cast(Activation, clamp.op)
            layer = replace(layer, name=clamp.name)
            attributes = replace(attributes, activation=activation)
        yield replace(layer, attributes=attributes)
