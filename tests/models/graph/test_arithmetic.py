"""Quantised graphs: what the converter would make of the same network, operator for operator."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from mnasfpn.errors import InvalidInput
from mnasfpn.models.graph.arithmetic import (
    LEAST_HYBRID_WEIGHTS,
    hybrid_graph,
    in_arithmetic,
    integer_graph,
    with_fused_activations,
)
from mnasfpn.models.graph.builder import GraphBuilder
from mnasfpn.models.graph.graph import Graph
from mnasfpn.models.graph.weights import random_weights
from mnasfpn.models.networks.keras_network import build_keras
from mnasfpn.models.published import published
from mnasfpn.models.tflite.reader import read_tflite
from mnasfpn.models.tflite.writer import write_tflite

NAMES = {code: name for name, code in vars(schema.BuiltinOperator).items() if name[0] != "_"}


def small_network() -> Graph:
    """One of every common operator between an image and two results."""
    b = GraphBuilder()
    x = b.conv("stem", b.input("image", (1, 24, 24, 3)), 32, 3, 2, bias=True, activation="relu6")
    y = b.depthwise("depthwise", x, 7, bias=True, activation="relu")
    y = b.add("sum", x, b.conv("project", y, 32, bias=True), activation="relu")
    y = b.concat("joined", (b.max_pool("max", y, 3, 2), b.conv("down", y, 16, 3, 2)), 3)
    gate = b.unary("gate", "sigmoid", b.unary("mean", "global_average_pool", y))
    y = b.resize_nearest("up", b.mul("gated", y, gate), 12, 12)
    flat = b.unary("flat", "global_average_pool", y, keepdims=False)
    dense = b.add_layer("dense", "fully_connected", (flat,), (48, 40), bias=True, bias_init=0.3)
    return b.graph((b.unary("classes", "softmax", dense), b.reshape("rows", y, (1, 144, 48))))


def convert(graph: Graph, calibrated: bool) -> bytes:
    """The file TFLiteConverter makes of the Keras build: int8, or int8 weights alone."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    model = build_keras(graph, random_weights(graph, 0, random_norm=True))
    (image,) = graph.inputs
    function = tf.function(lambda x: model(x, training=False))
    frozen = convert_variables_to_constants_v2(
        function.get_concrete_function(tf.TensorSpec(image.shape, tf.float32, image.name))
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if calibrated:
        images = np.random.default_rng(0).normal(size=(2, *image.shape)).astype(np.float32)
        converter.representative_dataset = lambda: ([one] for one in images)
    return converter.convert()


def operators(content: bytes) -> list[tuple]:
    """(name, its highest version, types, shapes) of every operator, in any order.

    The converter gives every operator of a name the version that one of them needs.
    """
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    (subgraph,) = model.subgraphs
    versions: dict[int, int] = {}
    for code in model.operatorCodes:
        versions[code.builtinCode] = max(code.version, versions.get(code.builtinCode, 0))
    rows = []
    for operator in subgraph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        tensors = [subgraph.tensors[i] for i in (*operator.inputs, *operator.outputs)]
        types = tuple(tensor.type for tensor in tensors)
        shapes = tuple(tuple(map(int, tensor.shape)) for tensor in tensors)
        rows.append((NAMES[code.builtinCode], versions[code.builtinCode], types, shapes))
    return sorted(rows)


@pytest.mark.slow
def test_an_int8_file_has_the_operators_of_a_conversion() -> None:
    graph = small_network()
    assert operators(write_tflite(integer_graph(graph, "int8"))) == operators(convert(graph, True))


@pytest.mark.slow
def test_a_hybrid_file_has_the_operators_of_a_conversion() -> None:
    graph = small_network()
    assert operators(write_tflite(hybrid_graph(graph))) == operators(convert(graph, False))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["mobilenetv3-ssdlite", pytest.param("mobilenetv2-mnasfpn", marks=pytest.mark.proof)],
)
def test_an_int8_detector_has_the_operators_of_a_conversion(name: str) -> None:
    graph = published(name).graph()
    assert operators(write_tflite(integer_graph(graph, "int8"))) == operators(convert(graph, True))


def run(content: bytes, value: np.ndarray) -> list[np.ndarray]:
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    (detail,) = interpreter.get_input_details()
    interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
    return [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]


@pytest.mark.parametrize("op", ["conv", "depthwise_conv", "fully_connected"])
@pytest.mark.parametrize("arithmetic", ["int8", "hybrid", "uint8"])
def test_integers_stand_for_the_weights_they_were_drawn_as(op: str, arithmetic: str) -> None:
    """Two steps of the coarsest scale, 0.05, and of the weights' error."""
    b = GraphBuilder()
    shape, weights = {
        "conv": ((1, 6, 6, 16), (3, 3, 16, 24)),
        "depthwise_conv": ((1, 6, 6, 128), (3, 3, 128, 1)),
        "fully_connected": ((1, 48), (48, 40)),
    }[op]
    name = b.add_layer("y", op, (b.input("x", shape),), weights, bias=True)
    graph = b.graph((name,))
    value = np.random.default_rng(1).uniform(-1, 1, shape).astype(np.float32)
    (expected,) = run(write_tflite(graph), value)
    (got,) = run(write_tflite(in_arithmetic(graph, arithmetic)), value)
    assert expected.std() > 0.5
    assert np.abs(got - expected).max() < 0.15


def test_a_quantised_graph_reads_back() -> None:
    for arithmetic in ("int8", "hybrid"):
        graph = in_arithmetic(small_network(), arithmetic)
        read = read_tflite(write_tflite(graph))
        assert [(layer.name, layer.op, layer.dtype) for layer in read] == [
            (layer.name, layer.op, layer.dtype) for layer in graph
        ]
        assert read.outputs == graph.outputs


def test_only_large_weights_become_hybrid() -> None:
    layers = [layer for layer in hybrid_graph(small_network()) if layer.weights]
    for layer in layers:
        small = np.prod(layer.weights) < LEAST_HYBRID_WEIGHTS
        assert layer.attributes.weights_dtype == ("float32" if small else "int8")
    assert {layer.attributes.weights_dtype for layer in layers} == {"float32", "int8"}


def test_an_activation_that_others_read_past_stays_apart() -> None:
    b = GraphBuilder()
    x = b.input("x", (1, 4, 4, 8))
    inner = b.conv("inner", x, 8)
    read = b.conv("read", inner, 8)
    b.unary("inner/relu", "relu", inner)
    b.unary("read/relu6", "relu6", read)
    graph = with_fused_activations(b.graph((b.add("sum", "inner/relu", "read/relu6"),)))
    assert [layer.name for layer in graph] == ["x", "inner", "read/relu6", "inner/relu", "sum"]
    assert graph["inner/relu"].op == "relu"
    assert graph["read/relu6"].op == "conv"
    assert graph["read/relu6"].attributes.activation == "relu6"


def test_shared_weights_stay_shared_when_an_activation_joins_their_owner() -> None:
    b = GraphBuilder()
    x = b.input("x", (1, 4, 4, 8))
    first = b.unary("a/relu", "relu", b.conv("a", x, 8))
    second = b.add_layer("b", "conv", (first,), (1, 1, 8, 8), shares="a")
    graph = with_fused_activations(b.graph((second,)))
    assert graph["b"].attributes.shares == "a/relu"


def test_given_weights_have_no_scales() -> None:
    graph = small_network()
    with pytest.raises(InvalidInput, match="export the model as int8"):
        write_tflite(integer_graph(graph, "int8"), random_weights(graph, 0))


def test_tensors_of_different_scales_are_not_joined() -> None:
    b = GraphBuilder()
    x = b.input("x", (1, 4, 4, 8))
    joined = b.concat("joined", (x, b.unary("s", "sigmoid", x)), 3)
    with pytest.raises(InvalidInput, match="'requantize'"):
        write_tflite(integer_graph(b.graph((joined,)), "int8"))


def test_a_graph_is_quantised_once() -> None:
    with pytest.raises(InvalidInput, match="only a float32 graph"):
        in_arithmetic(integer_graph(small_network(), "int8"), "int8")
