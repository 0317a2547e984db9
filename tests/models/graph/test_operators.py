"""Shapes and multiply-adds of every operator, against formulas, NumPy and hand-worked numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnasfpn.errors import InvalidGraph
from mnasfpn.models.graph.builder import GraphBuilder
from mnasfpn.models.graph.operators import OPS, same_padding

sizes = st.integers(1, 40)


@given(sizes, st.integers(1, 9), st.integers(1, 4))
def test_same_padding_covers_the_input_exactly(size, kernel, stride):
    before, after = same_padding(size, kernel, stride)
    outputs = -(-size // stride)
    assert 0 <= before <= after <= before + 1
    assert before + size + after >= (outputs - 1) * stride + kernel
    assert (before + after == 0) or before + size + after == (outputs - 1) * stride + kernel


@given(sizes, sizes, st.integers(1, 7), st.integers(1, 3), st.sampled_from(("same", "valid")))
def test_convolution_counts_its_own_positions(height, width, kernel, stride, padding):
    """Positions counted one by one, multiplied by the work of one."""
    builder = GraphBuilder()
    image = builder.input("image", (1, height, width, 5))
    if padding == "valid" and kernel > min(height, width):
        with pytest.raises(InvalidGraph, match=f"a {kernel}x{kernel} window does not fit"):
            builder.conv("x", image, 3, kernel, stride, padding=padding)
        return

    def positions(size):
        last = size - 1 if padding == "same" else size - kernel
        return len(range(0, last + 1, stride))

    x = builder[builder.conv("x", image, 3, kernel, stride, padding=padding)]
    d = builder[builder.depthwise("d", image, kernel, stride, padding=padding)]
    count = positions(height) * positions(width)
    assert x.shape == (1, positions(height), positions(width), 3)
    assert x.madds == count * kernel * kernel * 5 * 3
    assert d.shape == (1, positions(height), positions(width), 5)
    assert d.madds == count * kernel * kernel * 5


def test_dilation():
    builder = GraphBuilder()
    image = builder.input("image", (1, 9, 9, 2))
    x = builder.conv("x", image, 2, 3, padding="valid", dilation=(2, 2))
    assert builder.shape(x) == (1, 5, 5, 2)  # a 3x3 kernel with gaps of one spans 5 pixels
    with pytest.raises(InvalidGraph, match="does not fit an input of 9x9"):
        builder.conv("y", image, 2, 3, padding="valid", dilation=(5, 5))


@pytest.mark.parametrize(
    ("shape", "weights", "result", "madds"),
    [
        ((1, 10), (10, 4), (1, 4), 40),
        ((1, 2, 3, 5), (5, 4), (1, 2, 3, 4), 120),  # applied to the last axis
        ((1, 2, 3, 5), (30, 4), (1, 4), 120),  # flattened
    ],
)
def test_fully_connected(shape, weights, result, madds):
    builder = GraphBuilder()
    image = builder.input("image", shape)
    layer = builder[builder.add_layer("x", "fully_connected", (image,), weights)]
    assert (layer.shape, layer.madds) == (result, madds)


@given(
    st.lists(
        st.tuples(st.just(1), *[st.sampled_from((1, 4))] * 2, st.just(3)), min_size=2, max_size=2
    )
)
def test_elementwise_broadcasts_as_numpy(shapes):
    builder = GraphBuilder()
    names = [builder.input(f"x{i}", shape) for i, shape in enumerate(shapes)]
    for op in ("add", "sub", "mul"):
        layer = builder[builder.add_layer(op, op, tuple(names), None)]
        assert layer.shape == np.broadcast_shapes(*shapes)
        assert layer.madds == 0


def test_shapes_of_the_rest():
    builder = GraphBuilder()
    x = builder.input("x", (1, 5, 7, 6))
    y = builder.input("y", (1, 5, 7, 2))
    made = {
        "pool": builder.max_pool("pool", x, 3, 2),
        "mean": builder.unary("mean", "global_average_pool", x),
        "largest": builder.unary("largest", "global_max_pool", x),
        "resize": builder.resize_nearest("resize", x, 11, 2),
        "concat": builder.concat("concat", (x, y), axis=-1),
        "pad": builder.unary("pad", "pad", x, pads=((1, 2), (0, 3))),
        "reshape": builder.reshape("reshape", x, (1, 35, 6)),
        "constant": builder.unary("constant", "add", x, constant=3.0, activation="relu6"),
        "swish": builder.unary("swish", "hard_swish", x),
    }
    assert {name: builder.shape(layer) for name, layer in made.items()} == {
        "pool": (1, 3, 4, 6),
        "mean": (1, 1, 1, 6),
        "largest": (1, 1, 1, 6),
        "resize": (1, 11, 2, 6),
        "concat": (1, 5, 7, 8),
        "pad": (1, 8, 10, 6),
        "reshape": (1, 35, 6),
        "constant": (1, 5, 7, 6),
        "swish": (1, 5, 7, 6),
    }
    assert all(builder[layer].madds == 0 for layer in made.values())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda b, x, y: b.conv_of(x), "kernel takes 4 channels, its input has 6"),
        (lambda b, x, y: b.depthwise_of(x), "kernel takes 4 channels, its input has 6"),
        (lambda b, x, y: b.dense_of(x), r"takes 4 features, its input has shape \(1, 5, 7, 6\)"),
        (lambda b, x, y: b.add("z", x, y), r"\(1, 5, 7, 6\), \(1, 5, 7, 2\) do not broadcast"),
        (lambda b, x, y: b.concat("z", (x, y), axis=1), r"cannot join \(1, 5, 7, 2\) to"),
        (lambda b, x, y: b.reshape("z", x, (1, 3)), "another number of elements"),
        (lambda b, x, y: b.unary("z", "reshape", x), "needs a target shape"),
        (lambda b, x, y: b.unary("z", "resize_nearest", x), "needs a target shape"),
        (lambda b, x, y: b.unary("z", "resize_nearest", x, target=(1, 2, 3)), "height and a width"),
        (lambda b, x, y: b.add_layer("z", "input", (), None), "needs a target shape"),
    ],
)
def test_messages(call, message):
    class Builder(GraphBuilder):
        def conv_of(self, source):
            return self.add_layer("z", "conv", (source,), (1, 1, 4, 4))

        def depthwise_of(self, source):
            return self.add_layer("z", "depthwise_conv", (source,), (1, 1, 4, 1))

        def dense_of(self, source):
            return self.add_layer("z", "fully_connected", (source,), (4, 4))

    builder = Builder()
    x = builder.input("x", (1, 5, 7, 6))
    y = builder.input("y", (1, 5, 7, 2))
    with pytest.raises(InvalidGraph, match=f"layer 'z': .*{message}"):
        call(builder, x, y)


def test_only_products_of_weights_count():
    counting = {name for name, op in OPS.items() if op.weights_rank is not None}
    assert counting == {"conv", "depthwise_conv", "fully_connected"}
