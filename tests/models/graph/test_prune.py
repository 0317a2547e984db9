"""Pruning keeps what reaches an output, and the weights that are shared."""

from hypothesis import given
from hypothesis import strategies as st

from mnasfpn.models.graph.attributes import Attributes, BatchNorm
from mnasfpn.models.graph.costs import cost
from mnasfpn.models.graph.graph import Graph
from mnasfpn.models.graph.layer import Layer

SHAPE = (1, 4, 4, 3)
IMAGE = Layer("image", "input", (), SHAPE, None, Attributes(target=SHAPE))


def conv(name, source="image", **attributes):
    return Layer(name, "conv", (source,), SHAPE, (1, 1, 3, 3), Attributes(**attributes))


def test_pruning_to_other_outputs():
    graph = Graph((IMAGE, conv("x"), conv("y", "x"), conv("z", "x")), ("y", "z"))
    pruned = graph.prune(["z"])
    assert [layer.name for layer in pruned] == ["image", "x", "z"]
    assert pruned.outputs == ("z",)
    assert graph.prune(["z", "y"]).outputs == ("z", "y")
    assert graph.prune() is graph


def test_the_first_sharer_inherits_the_weights_of_a_pruned_owner():
    norm = BatchNorm()
    graph = Graph(
        (
            IMAGE,
            conv("owner", bias=True),
            conv("second", shares="owner", bias=True),
            conv("third", "second", shares="owner", bias=True, norm=norm),
        ),
        ("third",),
    )
    pruned = graph.prune()
    assert [layer.name for layer in pruned] == ["image", "second", "third"]
    assert pruned["second"].attributes.shares is None
    assert pruned["third"].attributes.shares == "second"
    assert pruned["third"].attributes.norm is norm
    assert pruned["second"].weights_from == pruned["third"].weights_from == "second"
    assert (cost(pruned).weights, cost(pruned).biases) == (9, 3)


@st.composite
def graphs(draw):
    """Any directed acyclic graph of additions over two inputs."""
    shape = (1, 2, 2, 3)
    layers = [Layer(f"in{i}", "input", (), shape, None, Attributes(target=shape)) for i in (0, 1)]
    for i in range(draw(st.integers(1, 20))):
        names = st.sampled_from([layer.name for layer in layers])
        layers.append(Layer(f"add{i}", "add", (draw(names), draw(names)), shape))
    names = st.sampled_from([layer.name for layer in layers])
    outputs = draw(st.lists(names, min_size=1, max_size=3, unique=True))
    return Graph(tuple(layers), tuple(outputs))


@given(graphs())
def test_prune_keeps_exactly_the_ancestors_of_the_outputs(graph):
    needed = set(graph.outputs)
    for layer in reversed(graph.layers):
        if layer.name in needed:
            needed |= set(layer.inputs)
    pruned = graph.prune()
    assert pruned.layers == tuple(layer for layer in graph if layer.name in needed)
    assert pruned.outputs == graph.outputs
    assert pruned.prune() is pruned
