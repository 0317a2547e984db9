"""Costs: what is counted and what is not, and two independent counts of the Keras builds."""

from dataclasses import replace

import pytest

from mnasfpn.models.graph.attributes import BatchNorm
from mnasfpn.models.graph.builder import GraphBuilder
from mnasfpn.models.graph.costs import Cost, cost, cost_by_part, layers_cost
from mnasfpn.models.networks.keras_network import build_keras
from mnasfpn.models.published import PUBLISHED


def test_what_is_counted():
    """An odd input, by hand: 5x7 with stride 2 is 3x4."""
    builder = GraphBuilder()
    image = builder.input("image", (1, 5, 7, 3))
    x = builder.conv("a/conv", image, 4, 3, 2, norm=BatchNorm(), activation="relu6")
    x = builder.depthwise("a/depthwise", x, 5, bias=True)
    y = builder.conv("b/one", x, 4)
    y = builder.conv("b/two", y, 4, shares="b/one", norm=BatchNorm())
    y = builder.mul("b/gate", y, builder.unary("b/sigmoid", "sigmoid", x))
    y = builder.add("b/sum", x, y)
    y = builder.unary("b/mean", "global_average_pool", y)
    y = builder.add_layer("b/dense", "fully_connected", (y,), (4, 10), bias=True)
    graph = builder.graph([y])
    conv, depthwise, one, dense = 3 * 4 * 27 * 4, 3 * 4 * 25 * 4, 3 * 4 * 4 * 4, 4 * 10
    assert cost(graph) == Cost(
        madds=conv + depthwise + 2 * one + dense,
        weights=27 * 4 + 25 * 4 + 16 + 40,  # the shared kernel once
        biases=4 + 10,
        norm_channels=4 + 4,
    )
    assert cost(graph).params == 264 + 14 + 4 * 8
    assert cost(graph).params_without_norm == 264 + 14
    parts = cost_by_part(graph)
    assert set(parts) == {"a", "b"}
    assert parts["a"] == Cost(conv + depthwise, 27 * 4 + 25 * 4, 4, 4)
    assert parts["b"] == Cost(2 * one + dense, 16 + 40, 10, 4)


def test_weights_shared_with_a_layer_outside_count():
    builder = GraphBuilder()
    image = builder.input("image", (1, 2, 2, 3))
    builder.conv("one", image, 5, bias=True)
    builder.conv("two", image, 5, bias=True, shares="one")
    graph = builder.graph(["two"])
    assert layers_cost((graph["two"],)) == Cost(4 * 15, 15, 5, 0)
    assert cost(graph) == Cost(2 * 4 * 15, 15, 5, 0)


@pytest.mark.parametrize("name", PUBLISHED)
def test_parts_add_up(name):
    graph = PUBLISHED[name].graph()
    parts = cost_by_part(graph)
    assert set(parts) == {"backbone", "head", "predictor"}
    for field in ("madds", "weights", "biases", "norm_channels"):
        assert sum(getattr(part, field) for part in parts.values()) == getattr(cost(graph), field)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "mobilenetv3-ssdlite-halved",
        "mnasneta1-ssdlite",
        "mobilenetv2-nasfpnlite",
        "mobilenetv2-mnasfpn-x5-nosdo",
    ],
)
def test_keras_and_the_tensorflow_profiler_count_the_same(name):
    """Parameters by Keras; multiply-adds, each two operations, by TensorFlow's own profiler."""
    detector = replace(PUBLISHED[name], input_size=64, classes=7)
    graph = detector.graph()
    model = build_keras(graph)
    counted = cost(graph)
    assert model.count_params() == counted.params
    trained = sum(variable.value.shape.num_elements() for variable in model.trainable_variables)
    assert trained == counted.params_without_norm + 2 * counted.norm_channels
    assert _profiled_operations(model, graph["image"].shape) == 2 * counted.madds


def _profiled_operations(model, shape):
    """Floating-point operations of convolutions in the TensorFlow graph of a Keras model."""
    import tensorflow as tf
    from tensorflow.python.profiler.model_analyzer import profile
    from tensorflow.python.profiler.option_builder import ProfileOptionBuilder

    function = tf.function(lambda image: model(image, training=False))
    concrete = function.get_concrete_function(tf.TensorSpec(shape, tf.float32))
    options = ProfileOptionBuilder(ProfileOptionBuilder.float_operation())
    found = profile(concrete.graph, cmd="op", options=options.with_empty_output().build())
    by_operator = {}
    while found.children:
        (found,) = found.children
        by_operator[found.name] = found.float_ops
    return by_operator["Conv2D"] + by_operator["DepthwiseConv2dNative"]


def test_nothing():
    assert cost(GraphBuilder().graph([])) == Cost(0, 0, 0, 0)
