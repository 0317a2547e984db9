"""The written file: what it holds, what the runtime makes of it, and how it differs from nothing
that TFLiteConverter makes of the Keras build of the same graph.
"""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from hypothesis import given, settings
from hypothesis import strategies as st

from mnasfpn.errors import InvalidInput
from mnasfpn.models.backbones.endpoints import Endpoints
from mnasfpn.models.genotype_array import random_genotypes
from mnasfpn.models.graph.attributes import Attributes, BatchNorm
from mnasfpn.models.graph.builder import GraphBuilder
from mnasfpn.models.graph.graph import Graph
from mnasfpn.models.graph.layer import Layer
from mnasfpn.models.graph.weights import random_weights
from mnasfpn.models.heads.mnasfpn import mnasfpn_head
from mnasfpn.models.heads.predictor import SharedPredictor, shared_predictor
from mnasfpn.models.networks.keras_network import build_keras
from mnasfpn.models.published import PUBLISHED, published
from mnasfpn.models.space import MNASFPN
from mnasfpn.models.tflite.writer import write_tflite

NAMES = {code: name for name, code in vars(schema.BuiltinOperator).items() if name[0] != "_"}


def random_head(seed: int, size: int = 8, predictor: bool = False) -> Graph:
    """A MnasFPN head of a random genotype on three inputs, the finest of ``size`` pixels."""
    (genotype,) = random_genotypes(MNASFPN, np.random.default_rng(seed), 1, repeats=1)
    builder = GraphBuilder()
    c3, c4, c5 = (
        builder.input(f"c{level}", (1, size >> (level - 3), size >> (level - 3), channels))
        for level, channels in ((3, 8), (4, 12), (5, 20))
    )
    endpoints = Endpoints(c3, c4, c5, ssd=(c4, c5))
    features = mnasfpn_head(builder, endpoints, genotype)
    outputs = tuple(features.values())
    if predictor:
        outputs = shared_predictor(builder, features, SharedPredictor(8, anchors=2), slots=3)
    return builder.graph(outputs).prune().merge_duplicates()


def inputs_of(graph, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.uniform(-1, 1, layer.shape).astype(np.float32) for layer in graph.inputs]


def run_tflite(content, inputs, resolver=OpResolverType.AUTO):
    """Outputs in the file's order."""
    interpreter = Interpreter(model_content=content, experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    for detail, value in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
    return [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]


def run_keras(graph, weights, inputs):
    model = build_keras(graph, weights)
    outputs = model(inputs if len(inputs) > 1 else inputs[0])
    return [np.asarray(value) for value in (outputs if isinstance(outputs, list) else [outputs])]


def assert_equal(got, expected):
    """To 1e-4 of the largest value: boxes are small, features are not."""
    for one, other in zip(got, expected, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-4 * np.abs(other).max())


def assert_runs_as_keras(graph, seed=0):
    weights = random_weights(graph, seed, random_norm=True)
    inputs = inputs_of(graph, seed)
    written = run_tflite(write_tflite(graph, weights), inputs)
    assert_equal(written, run_keras(graph, weights, inputs))


#: Each backbone and each kind of head once; the others are proofs.
VARIED = (
    "mobilenetv3-ssdlite-halved",
    "mnasneta1-ssdlite",
    "mobilenetv2-nasfpnlite",
    "mobilenetv2-mnasfpn",
    "mobilenetv2-mnasfpn-x4-nosdo",
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in VARIED else pytest.mark.proof) for name in PUBLISHED],
)
def test_every_published_model_runs_as_keras(name):
    assert_runs_as_keras(published(name).graph())


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000))
def test_any_head_runs_as_keras(seed):
    assert_runs_as_keras(random_head(seed, predictor=seed % 2 == 0), seed)


def every_operator() -> Graph:
    """One layer of each operator the writer knows and Keras has, awkward sizes, several inputs."""
    b = GraphBuilder()
    x, y = b.input("x", (1, 9, 7, 6)), b.input("y", (1, 9, 7, 6))
    norm = BatchNorm(epsilon=0.01)
    outputs = [
        b.conv("conv", x, 5, 3, 2, norm=norm, activation="relu"),
        b.conv("valid", x, 4, 3, padding="valid", bias=True, bias_init=0.3, activation="relu6"),
        b.conv("dilated", x, 4, 3, dilation=(2, 2)),
        b.add_layer("grouped", "conv", (x,), (3, 3, 2, 9), groups=3),
        b.conv("shifted", x, 4, shift=3.0, activation="relu6"),
        b.add_layer("uneven", "conv", (x,), (1, 5, 6, 3), stride=(2, 1)),
        b.depthwise("depthwise", x, 5, 2, norm=norm),
        b.add_layer("multiplied", "depthwise_conv", (x,), (3, 3, 6, 2), norm=norm),
        b.max_pool("max_pool", x, 3, 2),
        b.unary("average_pool", "average_pool", x, window=(2, 3), stride=(2, 2)),
        b.unary("valid_pool", "max_pool", x, window=(3, 3), stride=(2, 2), padding="valid"),
        b.unary("mean", "global_average_pool", x),
        b.unary("max", "global_max_pool", x),
        b.unary("flat", "global_average_pool", x, keepdims=False),
        b.resize_nearest("nearest", x, 18, 14),
        b.resize_nearest("nearest_uneven", x, 20, 11),
        b.unary("bilinear", "resize_bilinear", x, target=(18, 14)),
        b.add("add", x, y, activation="relu6"),
        b.add_layer("sub", "sub", (x, y), None),
        b.mul("mul", x, y),
        b.unary("plus", "add", x, constant=0.7),
        b.unary("minus", "sub", x, constant=0.2, activation="relu"),
        b.unary("times", "mul", x, constant=1 / 6),
        *(b.unary(op, op, x) for op in ("relu", "relu6", "hard_swish", "sigmoid", "softmax")),
        b.concat("channels", (x, y), axis=-1),
        b.concat("rows", (x, y, x), axis=1),
        b.reshape("reshape", x, (1, 63, 6)),
        b.unary("pad", "pad", x, pads=((0, 1), (2, 3))),
        b.add_layer("dense", "fully_connected", ("flat",), (6, 4), bias=True, activation="relu"),
        b.mul("gated", x, "mean"),
        x,
    ]
    return b.graph(outputs)


@pytest.mark.slow
def test_every_operator_runs_as_keras():
    assert_runs_as_keras(every_operator())


def test_the_interpreter_without_the_delegate_agrees():
    graph = every_operator()
    content, inputs = write_tflite(graph), inputs_of(graph)
    plain = run_tflite(content, inputs, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    assert_equal(run_tflite(content, inputs), plain)


def test_upsampling_repeats_pixels():
    builder = GraphBuilder()
    image = builder.input("x", (1, 2, 2, 1))
    graph = builder.graph([builder.resize_nearest("r", image, 4, 8)])
    values = np.arange(4, dtype=np.float32).reshape(1, 2, 2, 1)
    (out,) = run_tflite(write_tflite(graph), [values])
    assert (out == values.repeat(2, axis=1).repeat(4, axis=2)).all()


def convert(graph, weights) -> bytes:
    """The file TFLiteConverter makes of the Keras build, batch 1."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    model = build_keras(graph, weights)
    specs = [tf.TensorSpec(la.shape, tf.float32, la.name) for la in graph.inputs]
    function = tf.function(lambda *x: model(list(x) if len(x) > 1 else x[0], training=False))
    frozen = convert_variables_to_constants_v2(function.get_concrete_function(*specs))
    return tf.lite.TFLiteConverter.from_concrete_functions([frozen]).convert()


def operators(content: bytes) -> list[tuple]:
    """(name, version, options, shapes, producers) of all operators, depth first from the outputs.

    That order is the same for two files of the same network, whatever the order among operators
    that do not depend on each other.
    """
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    (subgraph,) = model.subgraphs
    makers = {int(index): op for op in subgraph.operators for index in op.outputs}
    inputs = {subgraph.tensors[index].name: index for index in subgraph.inputs}
    places = {index: -1 - place for place, (_, index) in enumerate(sorted(inputs.items()))}
    rows: list[tuple] = []

    def visit(index: int) -> None:
        if index in places or index not in makers:
            return  # an input or a constant
        operator = makers[index]
        for source in operator.inputs:
            visit(int(source))
        code = model.operatorCodes[operator.opcodeIndex]
        options = operator.builtinOptions
        row = (
            NAMES[code.builtinCode],
            code.version,
            tuple(sorted(vars(options).items())) if options else (),
            tuple(tuple(map(int, subgraph.tensors[i].shape)) for i in operator.inputs),
            tuple(places.get(int(i)) for i in operator.inputs),
        )
        places[index] = len(rows)
        rows.append(row)

    by_shape = sorted(
        enumerate(subgraph.outputs), key=lambda p: tuple(subgraph.tensors[p[1]].shape)
    )
    for _, index in by_shape:
        visit(int(index))
    assert len(rows) == len(subgraph.operators)
    return rows


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "mobilenetv2-mnasfpn",
        pytest.param("mobilenetv3-ssdlite", marks=pytest.mark.proof),
        pytest.param("mobilenetv2-nasfpnlite", marks=pytest.mark.proof),
    ],
)
def test_published_models_have_the_operators_of_a_conversion(name):
    graph = published(name).graph()
    weights = random_weights(graph, 0, random_norm=True)
    assert operators(write_tflite(graph, weights)) == operators(convert(graph, weights))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_random_heads_have_the_operators_of_a_conversion(seed):
    """16 pixels at level 3, so that level 6 has more than one: see build_keras."""
    graph = random_head(seed, size=16, predictor=seed == 0)
    weights = random_weights(graph, 0, random_norm=True)
    assert operators(write_tflite(graph, weights)) == operators(convert(graph, weights))


def partitions(content: bytes) -> int:
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    return sum(op["op_name"] == "DELEGATE" for op in interpreter._get_ops_details())


def test_only_upsampling_splits_the_delegate():
    builder = GraphBuilder()
    x = builder.conv("a", builder.input("x", (1, 4, 4, 3)), 8)
    assert partitions(write_tflite(builder.graph([builder.conv("b", x, 8)]))) == 1
    x = builder.conv("b2", builder.resize_nearest("r", x, 8, 8), 8)
    assert partitions(write_tflite(builder.graph([x]))) == 2


def test_signature_has_the_names_and_the_order_of_the_graph():
    graph = published("mobilenetv2-mnasfpn").graph()
    interpreter = Interpreter(model_content=write_tflite(graph))
    assert interpreter.get_signature_list() == {
        "serving_default": {
            "inputs": ["image"],
            "outputs": ["predictor/boxes", "predictor/scores"],
        }
    }
    shapes = [tuple(d["shape"]) for d in interpreter.get_output_details()]
    assert shapes == [(1, 19125, 4), (1, 19125, 91)]


def test_constants_are_aligned_and_held_once():
    graph = random_head(2, predictor=True)
    content = write_tflite(graph, random_weights(graph, 0))
    model = schema.Model.GetRootAs(content)
    subgraph = model.Subgraphs(0)
    buffers = [subgraph.Tensors(i).Buffer() for i in range(subgraph.TensorsLength())]
    used = [index for index in buffers if index]
    assert len(used) == len(set(used)) == model.BuffersLength() - 1
    base = np.frombuffer(content, np.uint8).__array_interface__["data"][0]
    for index in used:
        start = model.Buffers(index).DataAsNumpy().__array_interface__["data"][0]
        assert (start - base) % 16 == 0
    # The predictor's depthwise kernels have no batch norm: four levels, one constant.
    kernels = [subgraph.Tensors(i).Name() for i in range(subgraph.TensorsLength())]
    assert sum(b"box" in name and b"depthwise/kernel" in name for name in kernels) == 1


def test_the_same_seed_gives_the_same_bytes():
    graph = random_head(1)
    assert write_tflite(graph, seed=5) == write_tflite(graph, seed=5)
    assert write_tflite(graph, seed=5) != write_tflite(graph, seed=6)


def test_random_activations_stay_ordinary_numbers():
    """Denormal or infinite ones would make a benchmark measure something else."""
    graph = published("mobilenetv2-mnasfpn").graph()
    boxes, _ = run_tflite(write_tflite(graph), inputs_of(graph))
    assert np.isfinite(boxes).all()
    assert 1e-3 < boxes.std() < 1e3


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            Layer("f", "foreign", ("x",), (1, 2), None, Attributes(target=(1, 2), label="GATHER")),
            "operator 'GATHER' cannot be written; these can: conv",
        ),
        (
            Layer("f", "relu", ("x",), (1, 4, 4, 3), dtype="int16"),
            "layer 'f' is int16; only float32, int8 and uint8 can be written",
        ),
    ],
)
def test_what_cannot_be_written_is_named(layer, message):
    source = Layer("x", "input", (), (1, 4, 4, 3), None, Attributes(target=(1, 4, 4, 3)))
    with pytest.raises(InvalidInput, match=message):
        write_tflite(Graph((source, layer), ("f",)))
