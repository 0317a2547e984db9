"""What a drawn cell shows: boxes in columns by depth, and the edges between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..genotype import MIN_LEVEL, Genotype
from ..heads.cell import Cell, used_blocks
from ..heads.nasfpn import NasFpn

BoxKind = Literal["input", "block", "sum", "output"]
#: A block's own input; the cell-wide residual; a feature that NAS-FPN's outputs take in.
EdgeKind = Literal["feature", "residual", "leftover"]

MERGE_NAMES = {"add": "add", "se": "squeeze-excite"}


@dataclass(frozen=True, slots=True)
class DiagramNode:
    """A box before it has a place; ``used`` tells whether an output depends on it."""

    kind: BoxKind
    level: int
    lines: tuple[str, ...]
    column: int
    used: bool = True


@dataclass(frozen=True, slots=True)
class Edge:
    """From and to the nodes of these indices."""

    source: int
    target: int
    kind: EdgeKind = "feature"
    used: bool = True


@dataclass(frozen=True, slots=True)
class Diagram:
    """Nodes (the cell's inputs first, then its blocks by index) and edges."""

    levels: tuple[int, ...]
    nodes: tuple[DiagramNode, ...]
    edges: tuple[Edge, ...]


def diagram(cell: Cell, input_size: int) -> Diagram:
    """Nodes and edges of a cell; blocks that reach no output are marked as unused."""
    used = used_blocks(cell)
    nodes = [DiagramNode("input", level, (f"C{level}",), 0) for level in cell.levels]
    edges: list[Edge] = []
    taken = {(node.column, node.level) for node in nodes}
    for position, (sources, leftovers, level, lines) in enumerate(_blocks(cell)):
        column = 1 + max(nodes[source].column for source in (*sources, *leftovers))
        while (column, level) in taken:
            column += 1
        taken.add((column, level))
        side = -(-input_size // 2**level)
        index, kept = len(nodes), position in used
        nodes.append(DiagramNode("block", level, (f"R {side}×{side}", *lines), column, kept))
        edges += [Edge(source, index, used=kept) for source in sources]
        edges += [Edge(source, index, "leftover", kept) for source in leftovers]
    last = max(node.column for node in nodes)
    residual = isinstance(cell, Genotype) and cell.cell_residual
    for level, block in cell.outputs.items():
        source = block
        if residual:
            source = len(nodes)
            nodes.append(DiagramNode("sum", level, ("+",), last + 1))
            edges.append(Edge(block, source))
            edges.append(Edge(level - MIN_LEVEL, source, "residual"))
        nodes.append(DiagramNode("output", level, (f"P{level}",), last + 1 + residual))
        edges.append(Edge(source, len(nodes) - 1))
    return Diagram(cell.levels, tuple(nodes), tuple(edges))


def _blocks(
    cell: Cell,
) -> list[tuple[tuple[int, ...], tuple[int, ...], int, tuple[str, ...]]]:
    """Inputs, leftovers, level and text of every block."""
    if isinstance(cell, NasFpn):
        return [
            (node.inputs, leftovers, node.level, ("k 3×3", MERGE_NAMES[node.merge]))
            for node, leftovers in zip(cell.nodes, cell.leftovers, strict=True)
        ]
    return [
        (
            block.inputs,
            (),
            block.level,
            (
                f"F {cell.expansion(block)}   k {block.kernel}×{block.kernel}",
                MERGE_NAMES[block.merge],
            ),
        )
        for block in cell.blocks
    ]
