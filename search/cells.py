"""Cells that searches find: one spelling for the same network, other repeats, JSON."""

from __future__ import annotations

from dataclasses import replace

from ..errors import InvalidInput
from ..models.detector import Detector
from ..models.genotype import LEVELS, Block, Genotype
from ..models.heads.cell import Cell, used_blocks
from ..models.heads.nasfpn import NasFpn
from ..models.model_files import from_json


def canonical(cell: Cell) -> Cell:
    """The same network in one spelling, so that none is trained twice.

    A MnasFPN cell loses its unused blocks, and its blocks and added inputs get one order. In a
    NAS-FPN cell no block is unused (outputs take in what is left over, in order), so there only the
    added inputs are sorted.

    Two cells with the same canonical form are the same network. The opposite holds but for cells
    with twin blocks (equal inputs and attributes), whose order is not settled.
    """
    if isinstance(cell, NasFpn):
        nodes = tuple(
            replace(node, inputs=(min(node.inputs), max(node.inputs)))
            if node.merge == "add"
            else node
            for node in cell.nodes
        )
        return replace(cell, nodes=nodes)
    return _canonical_genotype(cell)


def with_repeats(cell: Cell, repeats: int) -> Cell:
    """The same cell, repeated otherwise."""
    return replace(cell, repeats=repeats)


def cell_from_json(text: str, where: str = "JSON") -> Cell:
    """Inverse of :func:`mnasfpn.models.model_files.to_json` for cells.

    Raises:
        InvalidInput: the text is no cell; the message names the field.
    """
    cell = from_json(text, where)
    if isinstance(cell, Detector):
        raise InvalidInput(f"{where}: expected a cell, got a whole detector")
    return cell


def _canonical_genotype(genotype: Genotype) -> Genotype:
    used = sorted(len(LEVELS) + position for position in used_blocks(genotype))
    first_output = len(genotype.blocks)  # as many outputs as inputs
    renamed = {index: index for index in range(len(LEVELS))}
    blocks: list[Block] = []
    internal = [index for index in used if index < first_output]
    outputs = [index for index in used if index >= first_output]
    for waiting in (internal, outputs):
        while waiting:
            ready = {
                index: _rename(block, renamed)
                for index in waiting
                if set((block := _block(genotype, index)).inputs) <= set(renamed)
            }
            chosen = min(ready, key=lambda index: _order(ready[index]))
            renamed[chosen] = len(LEVELS) + len(blocks)
            blocks.append(ready[chosen])
            waiting.remove(chosen)
    return replace(genotype, blocks=tuple(blocks))


def _block(genotype: Genotype, index: int) -> Block:
    return genotype.blocks[index - len(LEVELS)]


def _rename(block: Block, renamed: dict[int, int]) -> Block:
    """New feature indices; a sum does not depend on the order of its inputs."""
    inputs = tuple(renamed[source] for source in block.inputs)
    return replace(block, inputs=tuple(sorted(inputs)) if block.merge == "add" else inputs)


def _order(block: Block) -> tuple[int, tuple[int, ...], int, int, str]:
    return (block.level, block.inputs, block.expansion or 0, block.kernel, block.merge)
