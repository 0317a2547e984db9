"""Foreign files as graphs: our own read back, conversions of others' models, and damaged ones."""

import contextlib
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnasfpn.errors import InvalidModelFile
from mnasfpn.models.graph.attributes import Attributes
from mnasfpn.models.graph.builder import GraphBuilder
from mnasfpn.models.graph.costs import cost
from mnasfpn.models.graph.graph import Graph
from mnasfpn.models.graph.layer import Layer
from mnasfpn.models.published import PUBLISHED, published
from mnasfpn.models.tflite.reader import read_tflite
from mnasfpn.models.tflite.writer import write_tflite


def folded(graph: Graph) -> Graph:
    """What a file keeps of a graph: no batch norm, nothing about training, a bias everywhere."""
    layers = []
    for layer in graph:
        a = layer.attributes
        owner = graph[layer.weights_from]
        shares = None if a.norm or owner.attributes.norm else a.shares
        constant = None if a.constant is None else float(np.float32(a.constant))
        kept = Attributes(
            stride=a.stride,
            dilation=a.dilation,
            padding=a.padding,
            window=a.window,
            target=a.target,
            axis=a.axis % len(layer.shape) if layer.op == "concat" else a.axis,
            pads=a.pads,
            groups=a.groups,
            axes=a.axes,
            keepdims=a.keepdims,
            constant=constant,
            activation=a.activation,
            bias=layer.weights is not None,
            shares=shares,
        )
        layers.append(replace(layer, attributes=kept))
    return Graph(tuple(layers), graph.outputs)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_models_read_back(name):
    graph = published(name).graph()
    assert read_tflite(write_tflite(graph)) == folded(graph)


def every_operator() -> Graph:
    b = GraphBuilder()
    x, y = b.input("x", (1, 9, 7, 6)), b.input("y", (1, 9, 7, 6))
    outputs = [
        b.conv("conv", x, 5, 3, 2, activation="relu"),
        b.conv("valid", x, 4, 3, padding="valid", activation="relu6"),
        b.conv("dilated", x, 4, 3, dilation=(2, 2)),
        b.add_layer("grouped", "conv", (x,), (3, 3, 2, 9), groups=3),
        b.add_layer("uneven", "conv", (x,), (1, 5, 6, 3), stride=(2, 1)),
        b.add_layer("multiplied", "depthwise_conv", (x,), (3, 3, 6, 2), dilation=(1, 2)),
        b.max_pool("max_pool", x, 3, 2),
        b.unary("average", "average_pool", x, window=(2, 3), stride=(2, 1), activation="relu6"),
        b.unary("mean", "global_average_pool", x),
        b.unary("max", "global_max_pool", x, keepdims=False),
        b.resize_nearest("nearest", x, 18, 14),
        b.unary("bilinear", "resize_bilinear", x, target=(5, 5)),
        b.add("add", x, y, activation="relu6"),
        b.add_layer("sub", "sub", (x, y), None, activation="relu"),
        b.mul("gate", x, "mean"),
        b.unary("times", "mul", x, constant=1 / 6),
        b.unary("vector", "add", x),
        *(
            b.unary(op, op, x)
            for op in ("relu", "relu6", "hard_swish", "sigmoid", "softmax", "prelu")
        ),
        b.concat("rows", (x, y, x), axis=-3),
        b.reshape("reshape", x, (1, 63, 6)),
        b.unary("pad", "pad", x, pads=((0, 1), (2, 3))),
        b.add_layer("div", "div", (x, y), None),
        b.add_layer("difference", "squared_difference", (x, y), None),
        *(b.unary(op, op, x) for op in ("gelu", "gelu_tanh", "tanh", "leaky_relu", "neg", "rsqrt")),
        b.unary("mean_channels", "mean", x, axes=(3,)),
        b.unary("mean_rows", "mean", x, axes=(1,), keepdims=False),
        b.unary("transpose", "transpose", x, axes=(0, 3, 1, 2)),
        b.unary("crop", "slice", x, target=(1, 5, 7, 2)),
        b.unary("seconds", "slice", x, target=(1, 5, 4, 6), stride=(2, 2)),
        b.unary("row", "slice", x, target=(1, 7, 6), axes=(1,)),
        b.add_layer("dense", "fully_connected", ("reshape",), (6, 4), activation="relu"),
        b.add_layer("flat_dense", "fully_connected", (x,), (378, 4)),
    ]
    return b.graph(outputs)


def test_every_operator_reads_back():
    graph = every_operator()
    assert read_tflite(write_tflite(graph)) == folded(graph)


# Files of others -----------------------------------------------------------------------------


def convert(model, quantize=None):
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if quantize is not None:
        quantize(tf, converter)
    return converter.convert()


def float16(tf, converter):
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]


def int8(tf, converter):
    rng = np.random.default_rng(0)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: (
        [rng.uniform(0, 1, (1, 16, 16, 3)).astype(np.float32)] for _ in range(4)
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.uint8


@pytest.fixture(scope="module")
def small_classifier():
    """Padding, a free batch size, PReLU, a dense layer, softmax."""
    import keras

    keras.utils.set_random_seed(0)
    k = keras.layers
    image = keras.Input((16, 16, 3), name="image")
    x = k.ZeroPadding2D(1)(image)  # not what SAME pads, so it stays an operator
    x = k.Conv2D(8, 3, 2, use_bias=False)(x)
    x = k.PReLU(shared_axes=[1, 2])(k.BatchNormalization()(x))
    x = k.AveragePooling2D(2)(k.DepthwiseConv2D(3, padding="same", activation="relu")(x))
    x = k.Concatenate()([x, k.MaxPooling2D(3, 1, "same")(x)])
    x = k.Dense(5)(k.GlobalAveragePooling2D()(x))
    return keras.Model(image, k.Softmax()(x))


# 8x8x8 filters of 27; 8x8x8 filters of 9; 16 features to 5 classes.
SMALL_MADDS = 8 * 8 * 8 * 27 + 8 * 8 * 8 * 9 + 16 * 5


@pytest.mark.slow
def test_a_float_classifier(small_classifier):
    graph = read_tflite(convert(small_classifier))
    assert [layer.op for layer in graph] == [
        *("input", "pad", "conv", "prelu", "depthwise_conv", "average_pool", "max_pool"),
        *("concat", "global_average_pool", "fully_connected", "softmax"),
    ]
    assert graph.inputs[0].shape == (1, 16, 16, 3)
    assert graph[graph.outputs[0]].shape == (1, 5)
    assert cost(graph).madds == SMALL_MADDS
    (conv,) = (layer for layer in graph if layer.op == "conv")
    assert conv.attributes == Attributes(stride=(2, 2), padding="valid", bias=True)


@pytest.mark.slow
def test_float16_weights_are_decompressed_once_not_in_every_inference(small_classifier):
    graph = read_tflite(convert(small_classifier, float16))
    assert "dequantize" not in {layer.op for layer in graph}
    assert cost(graph).madds == SMALL_MADDS
    weighted = [layer for layer in graph if layer.weights is not None]
    assert {layer.attributes.weights_dtype for layer in weighted} == {"float16"}
    assert {layer.dtype for layer in graph} == {"float32"}


@pytest.mark.slow
def test_int8(small_classifier):
    graph = read_tflite(convert(small_classifier, int8))
    assert graph.inputs[0].dtype == "uint8"
    assert graph[graph.outputs[0]].dtype == "float32"
    assert cost(graph).madds == SMALL_MADDS
    ops = [layer.op for layer in graph]
    assert ops[1] == "requantize"
    assert ops[-1] == "dequantize"
    weighted = [layer for layer in graph if layer.weights is not None]
    assert {layer.dtype for layer in weighted} == {"int8"}
    assert {layer.attributes.weights_dtype for layer in weighted} == {"int8"}


def keras_madds(model):
    """Multiply-accumulates by Keras layers: an independent count."""
    import keras

    k, total = keras.layers, 0
    for layer in model.layers:
        if isinstance(layer, k.DepthwiseConv2D):
            total += np.prod(layer.output.shape[1:]) * np.prod(layer.kernel.shape[:2])
        elif isinstance(layer, k.Conv2D):
            total += np.prod(layer.output.shape[1:]) * np.prod(layer.kernel.shape[:3])
        elif isinstance(layer, k.Dense):
            total += np.prod(layer.kernel.shape)
    return int(total)


def frozen(model):
    """Converted from a frozen function: several times faster for a large model."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    function = tf.function(lambda image: model(image, training=False))
    concrete = function.get_concrete_function(tf.TensorSpec(model.inputs[0].shape, tf.float32))
    constant = convert_variables_to_constants_v2(concrete)
    return tf.lite.TFLiteConverter.from_concrete_functions([constant]).convert()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "MobileNetV3Small",
        pytest.param("EfficientNetB0", marks=pytest.mark.proof),
        pytest.param("DenseNet121", marks=pytest.mark.proof),
    ],
)
def test_applications_of_keras(name):
    import keras

    image = keras.Input((64, 64, 3), batch_size=1)
    model = getattr(keras.applications, name)(weights=None, input_tensor=image)
    graph = read_tflite(frozen(model))
    assert cost(graph).madds == keras_madds(model)
    assert {layer.attributes.label for layer in graph if layer.op == "foreign"} == set()
    assert [graph[name].shape for name in graph.outputs] == [(1, 1000)]


def foreign_file():
    """Operators outside the table, with several outputs, constants and a dynamic-looking batch."""
    import tensorflow as tf

    table = tf.constant(np.random.default_rng(0).normal(size=(1, 4, 4, 6)).astype(np.float32))

    @tf.function(input_signature=[tf.TensorSpec((1, 4, 4, 6), tf.float32, name="x")])
    def network(x):
        one, two, three = tf.split(x, 3, axis=3)
        turned = tf.transpose(one + tf.nn.tanh(two), (0, 2, 1, 3))
        return {"a": turned / (three + 2.0), "b": tf.reduce_max(x, 1)[:, :1] + table}

    converter = tf.lite.TFLiteConverter.from_concrete_functions([network.get_concrete_function()])
    return converter.convert()


@pytest.mark.slow
def test_foreign_operators_keep_their_names_and_shapes():
    graph = read_tflite(foreign_file())
    foreign = {la.attributes.label: la for la in graph if la.op == "foreign"}
    assert {"SPLIT", "REDUCE_MAX"} <= set(foreign)
    further = {la.attributes.label: la for la in graph if la.op == "further_output"}
    assert set(further) == {"SPLIT:1", "SPLIT:2"}
    assert foreign["SPLIT"].shape == further["SPLIT:2"].shape == (1, 4, 4, 2)
    assert further["SPLIT:2"].inputs == (foreign["SPLIT"].name,)
    assert {"tanh", "transpose", "div", "slice"} <= {layer.op for layer in graph}
    # A constant that an addition broadcasts to is an input of its own.
    (constant,) = (layer for layer in graph if layer.op == "constant")
    assert constant.shape == (1, 4, 4, 6)
    assert {graph[name].shape for name in graph.outputs} == {(1, 4, 4, 2), (1, 4, 4, 6)}


@pytest.mark.slow
def test_shapes_known_only_at_run_time_are_refused():
    import keras

    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 3)])
    with pytest.raises(InvalidModelFile, match=r"only known at run time .*fixed input size"):
        read_tflite(convert(model))


@pytest.mark.slow
def test_control_flow_is_refused():
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((1, 2), tf.float32)])
    def loop(x):
        return tf.while_loop(lambda y: tf.reduce_sum(y) < 9, lambda y: (y * 2,), (x,))

    converter = tf.lite.TFLiteConverter.from_concrete_functions([loop.get_concrete_function()])
    with pytest.raises(InvalidModelFile, match=r"has control flow \(WHILE\), which cannot be est"):
        read_tflite(converter.convert())


# Files that are none ----------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"TFL3", b"PK\x03\x04 a zip archive", b"\x00" * 100])
def test_what_is_no_model_is_refused(tmp_path, content):
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    with pytest.raises(
        InvalidModelFile, match=r"model\.tflite is not a TensorFlow Lite file: .*TFL3"
    ):
        read_tflite(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(InvalidModelFile, match=r"cannot read .*absent\.tflite: No such file"):
        read_tflite(tmp_path / "absent.tflite")
    with pytest.raises(InvalidModelFile, match="Is a directory"):
        read_tflite(tmp_path)


def test_an_identifier_alone_is_damaged():
    with pytest.raises(InvalidModelFile, match=r"the model is damaged.*expected a whole"):
        read_tflite(b"\xff\xff\xff\x7fTFL3" + b"\xff" * 64)


WHOLE = write_tflite(every_operator())


def is_read_or_refused(content: bytes) -> None:
    """Any other exception is a failure of the test."""
    with contextlib.suppress(InvalidModelFile):
        graph = read_tflite(content)
        assert graph.outputs or not graph.layers


@pytest.mark.parametrize("seed", range(4))
def test_damaged_files_are_read_or_refused(seed):
    """Flipped bits, bytes and words: never another error, never a hang (pytest's own timeout)."""
    rng = random.Random(seed)
    for _ in range(250):
        content = bytearray(WHOLE)
        kind = rng.choice(("bits", "word", "bytes"))
        at = rng.randrange(len(content) - 4)
        if kind == "bits":
            for _ in range(rng.randrange(1, 4)):
                content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        elif kind == "word":
            extremes = (b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", bytes(4), rng.randbytes(4))
            content[at : at + 4] = rng.choice(extremes)
        else:
            for _ in range(20):
                content[rng.randrange(len(content))] = rng.randrange(256)
        is_read_or_refused(bytes(content))


@settings(max_examples=100, deadline=None)
@given(st.integers(8, len(WHOLE) - 1))
def test_cut_files_are_refused(size):
    """The writer puts the tables last, so a file cut anywhere lacks some of them."""
    with pytest.raises(InvalidModelFile):
        read_tflite(WHOLE[:size])


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_noise_behind_the_identifier(noise):
    is_read_or_refused(noise[:4].ljust(4, b"\x10") + b"TFL3" + noise[4:])


def test_an_activation_a_graph_cannot_fuse_is_a_layer_of_its_own():
    """RELU_N1_TO_1 fused into an addition, as other converters do."""
    from ai_edge_litert import schema_py_generated as schema

    from mnasfpn.models.tflite.file import TfliteFile

    file = TfliteFile()
    x, y = file.tensor("x", (1, 2)), file.tensor("y", (1, 2))
    options = schema.AddOptionsT(schema.ActivationFunctionType.RELU_N1_TO_1)
    file.operator(schema.BuiltinOperator.ADD, 1, options, [x, x], y)
    graph = read_tflite(file.pack({"x": x}, {"y": y}))
    shape = (1, 2)
    assert graph.layers[1:] == (
        Layer("y/add", "add", ("x", "x"), shape),
        Layer(
            "y",
            "foreign",
            ("y/add",),
            shape,
            None,
            Attributes(label="RELU_N1_TO_1", target=shape),
        ),
    )
