"""Connectivity: a block that nothing uses comes out exactly as if it had never been written."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from mnasfpn.models.detector import Detector, default_detector
from mnasfpn.models.genotype import LEVELS, Block, Genotype
from mnasfpn.models.graph.costs import cost, layers_cost
from mnasfpn.models.graph.graph import Attributes, Graph, Layer
from mnasfpn.models.published import MNASFPN_BLOCKS


@st.composite
def genotypes(draw):
    """Any genotype: 0 to 5 internal blocks, 2 to 4 distinct inputs, outputs in any order."""
    levels = draw(st.lists(st.sampled_from(LEVELS), max_size=5))
    levels += draw(st.permutations(LEVELS))
    blocks = []
    for index, level in enumerate(levels, start=len(LEVELS)):
        features = st.integers(0, index - 1)
        inputs = tuple(draw(st.lists(features, min_size=2, max_size=4, unique=True)))
        blocks.append(
            Block(
                inputs,
                level,
                draw(st.sampled_from((None, 16, 40))),
                draw(st.sampled_from((3, 5, 7))),
                draw(st.sampled_from(("add", "se"))) if len(inputs) == 2 else "add",
            )
        )
    return Genotype(
        channels=draw(st.sampled_from((16, 24))),
        repeats=draw(st.integers(1, 3)),
        blocks=tuple(blocks),
        sdo=draw(st.booleans()),
        cell_residual=draw(st.booleans()),
    )


def used_positions(genotype):
    """Positions of the blocks that an output block depends on, itself included."""
    first_output = len(genotype.blocks) - len(LEVELS)
    used = set(range(first_output, len(genotype.blocks)))
    for position in reversed(range(len(genotype.blocks))):
        if position in used:
            used.update(i - len(LEVELS) for i in genotype.blocks[position].inputs)
    return {position for position in used if position >= 0}


def without_unused(genotype):
    """The genotype written by someone who had no use for the other blocks."""
    kept = sorted(used_positions(genotype))
    index = {i: i for i in range(len(LEVELS))}
    index |= {position + len(LEVELS): i for i, position in enumerate(kept, start=len(LEVELS))}
    blocks = (genotype.blocks[position] for position in kept)
    return replace(
        genotype,
        blocks=tuple(replace(b, inputs=tuple(index[i] for i in b.inputs)) for b in blocks),
    )


def nameless(graph):
    """A graph with positions for names."""
    number = {layer.name: i for i, layer in enumerate(graph)}
    return [
        (
            layer.op,
            tuple(number[name] for name in layer.inputs),
            layer.shape,
            layer.weights,
            replace(layer.attributes, shares=None),
            number[layer.weights_from],
        )
        for layer in graph
    ], [number[name] for name in graph.outputs]


def small(genotype: Genotype) -> Detector:
    return replace(default_detector(genotype), input_size=64, classes=2)


@settings(max_examples=150, deadline=None)
@given(genotypes())
def test_unused_blocks_are_as_if_never_written(genotype):
    dropped = without_unused(genotype)
    assert nameless(small(genotype).graph()) == nameless(small(dropped).graph())
    assert cost(small(genotype).graph()) == cost(small(dropped).graph())


@settings(max_examples=50, deadline=None)
@given(genotypes())
def test_a_sum_over_all_blocks_is_wrong_by_the_unused_blocks(genotype):
    """In one cell; C6 is used by the cell residual whatever the blocks do."""
    detector = small(replace(genotype, cell_residual=True, repeats=1))
    everything, pruned = detector.unpruned_graph(), detector.graph()
    unused = set(range(len(genotype.blocks))) - used_positions(genotype)
    prefixes = tuple(f"head/cell0/block{position}/" for position in unused)
    layers = tuple(layer for layer in everything if layer.name.startswith(prefixes))
    assert cost(everything).madds - cost(pruned).madds == layers_cost(layers).madds
    used = everything.prune()
    assert [layer for layer in everything if layer.name not in used] == list(layers)


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


def test_the_published_cell_needs_every_block_of_it():
    unused = Block(inputs=(0, 1), level=5, expansion=512, kernel=7)
    shifted = tuple(
        replace(b, inputs=tuple(i + 1 if i >= 4 else i for i in b.inputs)) for b in MNASFPN_BLOCKS
    )
    with_unused = small(Genotype(48, 4, (unused, *shifted)))
    without = small(Genotype(48, 4, MNASFPN_BLOCKS))
    assert nameless(with_unused.graph()) == nameless(without.graph())
    extra = cost(with_unused.unpruned_graph()).madds - cost(without.graph()).madds
    # At 64x64: level 3 is 8x8, level 5 is 2x2. Both inputs are pooled to 2x2, then 1x1 to 512, of
    # 32 and 96 channels in the first cell and of 48 in the others; 7x7, and 512 to 48.
    expanded = (32 + 96) * 512 + 3 * (48 + 48) * 512
    assert extra == 2 * 2 * (expanded + 4 * (49 * 512 + 512 * 48))
