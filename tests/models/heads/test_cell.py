"""Cells: the blocks that are used, and one that nothing uses is as if it had never been written."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnasfpn.models.detector import Detector, default_detector
from mnasfpn.models.genotype import LEVELS, MIN_LEVEL, Block, Genotype
from mnasfpn.models.graph.costs import cost, layers_cost
from mnasfpn.models.heads.cell import used_blocks
from mnasfpn.models.heads.nasfpn import NasFpn, Node
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


@st.composite
def nasfpn_cells(draw):
    """Any NAS-FPN cell: 0 to 5 internal nodes, outputs in any order, up to level 6 or 7."""
    top_level = draw(st.sampled_from((6, 7)))
    levels = tuple(range(MIN_LEVEL, top_level + 1))
    wanted = draw(st.lists(st.sampled_from(levels), max_size=5)) + draw(st.permutations(levels))
    nodes = []
    for index, level in enumerate(wanted, start=len(levels)):
        inputs = draw(st.integers(0, index - 1)), draw(st.integers(0, index - 1))
        nodes.append(Node(inputs, level, draw(st.sampled_from(("add", "se")))))
    return NasFpn(16, draw(st.integers(1, 3)), tuple(nodes), top_level, draw(st.booleans()))


def survivors(cell, prefix):
    """Positions of the blocks with layers in the real graph of a detector, cell by cell."""
    found = [set() for _ in range(cell.repeats)]
    for layer in small(cell).graph():
        part, name, block, *_ = (*layer.name.split("/"), "", "")
        if part == "head" and name.startswith("cell") and block.startswith(prefix):
            found[int(name.removeprefix("cell"))].add(int(block.removeprefix(prefix)))
    return found


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(genotypes())
def test_used_blocks_are_those_whose_layers_survive_pruning(genotype):
    *earlier, last = survivors(genotype, "block")
    assert used_blocks(genotype) == last == used_positions(genotype)
    # An earlier cell has outputs that the next one may not read.
    assert all(cell <= last for cell in earlier)


@settings(max_examples=100, deadline=None)
@given(nasfpn_cells())
def test_all_nodes_of_a_nasfpn_cell_survive_pruning(cell):
    *earlier, last = survivors(cell, "node")
    assert used_blocks(cell) == last == set(range(len(cell.nodes)))
    assert all(cell <= last for cell in earlier)


@pytest.mark.slow
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
