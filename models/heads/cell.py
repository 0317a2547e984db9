"""A cell of either kind of pyramid head, and which of its blocks are used."""

from __future__ import annotations

from ..genotype import Genotype
from ..graph.prune import reached
from .nasfpn import NasFpn

Cell = Genotype | NasFpn


def used_blocks(cell: Cell) -> frozenset[int]:
    """Positions of the blocks (NAS-FPN: nodes) that an output of the cell depends on.

    Those that :meth:`..graph.graph.Graph.prune` keeps of the last cell in a detector, all of whose
    outputs are read. In a NAS-FPN cell they are all: outputs take in what is left over.
    """
    inputs = len(cell.levels)
    sources = [()] * inputs + _sources(cell)
    used = reached(cell.outputs.values(), lambda index: sources[index])
    return frozenset(index - inputs for index in used if index >= inputs)


def _sources(cell: Cell) -> list[tuple[int, ...]]:
    """Indices of the features that each block reads."""
    if isinstance(cell, Genotype):
        return [block.inputs for block in cell.blocks]
    leftovers = zip(cell.nodes, cell.leftovers, strict=True)
    return [(*node.inputs, *left) for node, left in leftovers]
