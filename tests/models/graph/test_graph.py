"""Graph and Layer: every rule has its message."""

import pytest

from mnasfpn.errors import InvalidGraph
from mnasfpn.models.graph.attributes import Attributes
from mnasfpn.models.graph.builder import GraphBuilder
from mnasfpn.models.graph.graph import Graph
from mnasfpn.models.graph.layer import Layer

SHAPE = (1, 4, 4, 3)
IMAGE = Layer("image", "input", (), SHAPE, None, Attributes(target=SHAPE))


def conv(name, source="image", weights=(1, 1, 3, 3), shape=SHAPE, **attributes):
    return Layer(name, "conv", (source,), shape, weights, Attributes(**attributes))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Layer("x", "convolve", (), SHAPE), "no operator is called 'convolve'; known: inp"),
        (lambda: Layer("x", "relu", (), SHAPE), "relu takes 1 to 1 inputs, got 0"),
        (lambda: Layer("x", "conv", ("a",), SHAPE), "conv takes a kernel of rank 4, got None"),
        (lambda: Layer("x", "relu", ("a",), SHAPE, (1, 1)), r"kernel of rank None, got \(1, 1\)"),
        (lambda: Layer("x", "relu", ("a",), (1, 0)), "sizes must be positive"),
        (lambda: conv("x", weights=(1, 1, 3, 0)), "sizes must be positive"),
        (lambda: Graph((IMAGE, IMAGE), ()), "two layers are called 'image'"),
        (lambda: Graph((conv("x"), IMAGE), ()), "'x' reads 'image', which does not come before"),
        (lambda: Graph((IMAGE, conv("x", shares="y")), ()), "'x' reads 'y', which does not come"),
        (lambda: Graph((IMAGE,), ("boxes",)), "output 'boxes' is not a layer of the graph"),
        (
            lambda: Graph((IMAGE, conv("x", shape=(1, 2, 2, 3))), ()),
            r"'x': conv of \(\(1, 4, 4, 3\),\) gives \(1, 4, 4, 3\), not \(1, 2, 2, 3\)",
        ),
        (
            lambda: Graph((IMAGE, conv("x", weights=(1, 1, 2, 3))), ()),
            "'x': kernel takes 2 channels, its input has 3",
        ),
        (
            lambda: Graph((IMAGE, conv("x"), conv("y", weights=(3, 3, 3, 3), shares="x")), ()),
            r"'y' shares the weights of 'x', but their kernels are \(3, 3, 3, 3\) and \(1, 1, 3, 3",
        ),
        (lambda: Graph((IMAGE,), ())["x"], "the graph has no layer 'x'"),
        (lambda: Graph((IMAGE,), ()).prune(["x"]), "the graph has no layer 'x'"),
    ],
)
def test_messages(make, message):
    with pytest.raises(InvalidGraph, match=message) as caught:
        make()
    assert caught.value.exit_code == 2


def test_reading():
    graph = Graph((IMAGE, conv("a/x"), conv("a/y", "a/x")), ("a/y",))
    assert [layer.name for layer in graph] == ["image", "a/x", "a/y"]
    assert len(graph) == 3
    assert "a/x" in graph
    assert "x" not in graph
    assert graph.inputs == (IMAGE,)
    assert graph["a/y"].part == "a"
    assert graph["a/y"].elements == 48
    assert graph.consumers() == {"image": (graph["a/x"],), "a/x": (graph["a/y"],), "a/y": ()}
    assert graph == Graph((IMAGE, conv("a/x"), conv("a/y", "a/x")), ("a/y",))
    assert graph != Graph((IMAGE, conv("a/x"), conv("a/y", "a/x")), ("a/x",))


def test_a_layer_that_reads_twice_is_one_consumer():
    twice = Layer("sum", "add", ("image", "image"), SHAPE)
    assert Graph((IMAGE, twice), ("sum",)).consumers()["image"] == (twice,)


def test_builder():
    builder = GraphBuilder()
    image = builder.input("image", (1, 5, 7, 3))
    x = builder.conv("x", image, 4, 3, 2, activation="relu")
    assert builder[x].attributes.activation == "relu"
    assert (builder.shape(x), builder.channels(x)) == ((1, 3, 4, 4), 4)
    with pytest.raises(InvalidGraph, match="two layers are called 'x'"):
        builder.conv("x", image, 4)
    with pytest.raises(InvalidGraph, match=r"layer 'y': shapes .* do not broadcast"):
        builder.add("y", image, x)
    graph = builder.graph([x])
    assert graph.outputs == ("x",)
    assert len(graph) == 2


def test_merging_keeps_the_first_of_equal_computations():
    """Two pools of one feature are one; kernels are never equal, and attributes count."""
    b = GraphBuilder()
    x = b.input("x", (1, 4, 4, 2))
    one, two, other = (
        b.max_pool("one", x, 3, 2),
        b.max_pool("two", x, 3, 2),
        b.max_pool("k", x, 2, 2),
    )
    kernels = [b.conv(f"conv{i}", pool, 2) for i, pool in enumerate((one, two, other))]
    after = [b.unary(f"relu{i}", "relu", pool) for i, pool in enumerate((one, two))]
    merged = b.graph([*kernels, *after]).merge_duplicates()
    assert [la.name for la in merged] == ["x", "one", "k", "conv0", "conv1", "conv2", "relu0"]
    assert merged["conv1"].inputs == ("one",)
    assert merged.outputs == ("conv0", "conv1", "conv2", "relu0", "relu0")
    assert merged.merge_duplicates() is merged


def test_inputs_of_equal_shape_are_not_duplicates():
    b = GraphBuilder()
    total = b.add("sum", b.input("x", (1, 4, 4, 2)), b.input("y", (1, 4, 4, 2)))
    assert len(b.graph([total]).merge_duplicates()) == 3
