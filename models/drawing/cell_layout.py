"""Where the boxes and wires of a drawn cell go: levels as rows, data from left to right.

Wires are horizontal and vertical, as on a circuit board: vertical pieces stand in the gaps between
columns, long horizontal pieces lie between rows, so no wire ever runs through a box.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

from ..genotype import MIN_LEVEL
from ..heads.cell import Cell
from .cell_diagram import BoxKind, DiagramNode, Edge, EdgeKind, diagram

Point = tuple[float, float]

# Inches.
BOX_SIZES: dict[BoxKind, tuple[float, float]] = {
    "input": (0.62, 0.46),
    "block": (1.36, 0.86),
    "sum": (0.3, 0.3),
    "output": (0.62, 0.46),
}
TRACK = 0.13  # between neighbouring wires
GAP_BEFORE, GAP_AFTER = 0.16, 0.44  # around the vertical wires of a gap; labels stand after them
ROW_MARGIN = 0.2


@dataclass(frozen=True, slots=True)
class Box:
    """A box's text, centre and size; y grows upwards."""

    kind: BoxKind
    level: int
    lines: tuple[str, ...]
    used: bool
    x: float
    y: float

    @property
    def width(self) -> float:
        return BOX_SIZES[self.kind][0]

    @property
    def height(self) -> float:
        return BOX_SIZES[self.kind][1]


@dataclass(frozen=True, slots=True)
class Wire:
    """Corners of a wire; ``label`` tells the change of resolution at its end."""

    kind: EdgeKind
    level: int  # of its source
    points: tuple[Point, ...]
    label: str
    used: bool


@dataclass(frozen=True, slots=True)
class Layout:
    boxes: tuple[Box, ...]
    wires: tuple[Wire, ...]
    rows: dict[int, float]  # level -> y
    width: float
    height: float


def cell_layout(cell: Cell, input_size: int = 320) -> Layout:
    """Boxes and wires of a cell; blocks that reach no output are marked as unused."""
    drawn = diagram(cell, input_size)
    nodes, edges = drawn.nodes, drawn.edges
    lanes = _lanes(nodes, edges)
    tracks = _tracks(nodes, edges, lanes)
    xs, width = _columns(nodes, tracks)
    rows, zones, height = _rows(drawn.levels, lanes)
    ports = _ports(nodes, edges, lanes)
    boxes = tuple(Box(n.kind, n.level, n.lines, n.used, xs[n.column], rows[n.level]) for n in nodes)
    wires = []
    for index, edge in enumerate(edges):
        source, target = boxes[edge.source], boxes[edge.target]
        gap = nodes[edge.source].column
        left = _track_x(nodes, xs, tracks, gap, edge.source)
        points = [(source.x + source.width / 2, source.y), (left, source.y)]
        lane_y = zones[lanes[index][0]] - TRACK * lanes[index][1] if index in lanes else 0.0
        if edge.kind == "residual":  # down onto the top of the sum
            top = target.y + target.height / 2
            points += [(left, lane_y), (target.x, lane_y), (target.x, top)]
        else:
            port = target.y + ports[index]
            if index in lanes:
                right = _track_x(nodes, xs, tracks, nodes[edge.target].column - 1, ~index)
                points += [(left, lane_y), (right, lane_y), (right, port)]
            points += [(points[-1][0], port), (target.x - target.width / 2, port)]
        label = _change(source.level, target.level) if target.kind == "block" else ""
        wires.append(Wire(edge.kind, source.level, _simplified(points), label, edge.used))
    return Layout(boxes, tuple(wires), rows, width, height)


def _change(source: int, target: int) -> str:
    if source == target:
        return ""
    return f"↓{2 ** (target - source)}" if source < target else f"↑{2 ** (source - target)}"


def _lanes(nodes: tuple[DiagramNode, ...], edges: tuple[Edge, ...]) -> dict[int, tuple[int, int]]:
    """For edges that cannot go straight: the space between rows, and the lane in it, they use.

    Space r is above row r. Lanes are given greedily, residuals and long wires outermost.
    """
    occupied = {(node.column, node.level) for node in nodes}
    spans: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    for index, edge in enumerate(edges):
        source, target = nodes[edge.source], nodes[edge.target]
        between = range(source.column + 1, target.column)
        if not between:
            continue
        if source.level == target.level and not any((c, source.level) in occupied for c in between):
            continue
        row = target.level - MIN_LEVEL
        zone = row + 1 if source.level > target.level else row
        spans[zone].append((source.column, target.column, index))
    lanes = {}
    for zone, wanted in spans.items():
        ends: list[list[tuple[int, int]]] = []
        for start, end, index in sorted(
            wanted, key=lambda span: (edges[span[2]].kind != "residual", span[0] - span[1], span)
        ):
            lane = next(
                (i for i, lane in enumerate(ends) if all(end < a or start > b for a, b in lane)),
                len(ends),
            )
            if lane == len(ends):
                ends.append([])
            ends[lane].append((start, end))
            lanes[index] = (zone, lane)
    return lanes


def _tracks(
    nodes: tuple[DiagramNode, ...], edges: tuple[Edge, ...], lanes: dict[int, tuple[int, int]]
) -> dict[int, list[int]]:
    """Vertical wires in the gap after each column, from left to right.

    A node's own wires share one track, called by the node's index; every wire that comes down
    from a lane has another, called by the edge's index inverted.
    """
    tracks: dict[int, list[int]] = defaultdict(list)
    for edge in edges:
        gap = tracks[nodes[edge.source].column]
        if edge.source not in gap:
            gap.append(edge.source)
    for index in (i for i in lanes if edges[i].kind != "residual"):
        tracks[nodes[edges[index].target].column - 1].append(~index)
    return tracks


def _column_width(nodes: tuple[DiagramNode, ...], column: int) -> float:
    return max((BOX_SIZES[n.kind][0] for n in nodes if n.column == column), default=0.0)


def _track_x(
    nodes: tuple[DiagramNode, ...],
    xs: list[float],
    tracks: dict[int, list[int]],
    gap: int,
    track: int,
) -> float:
    left = xs[gap] + _column_width(nodes, gap) / 2
    return left + GAP_BEFORE + TRACK * tracks[gap].index(track)


def _columns(
    nodes: tuple[DiagramNode, ...], tracks: dict[int, list[int]]
) -> tuple[list[float], float]:
    """Centre of every column, and where the last one ends."""
    xs, right = [], 0.0
    for column in range(1 + max(node.column for node in nodes)):
        width = _column_width(nodes, column)
        xs.append(right + width / 2)
        right += width + GAP_BEFORE + TRACK * max(0, len(tracks[column]) - 1) + GAP_AFTER
    return xs, right - GAP_AFTER - GAP_BEFORE


def _rows(
    levels: tuple[int, ...], lanes: dict[int, tuple[int, int]]
) -> tuple[dict[int, float], list[float], float]:
    """Centre of every level's row, y of the first lane above each row, and the height."""
    count = Counter[int]()
    for zone, lane in lanes.values():
        count[zone] = max(count[zone], lane + 1)
    y, rows, zones = 0.0, {}, []
    half = BOX_SIZES["block"][1] / 2
    for zone in range(len(levels) + 1):
        y -= ROW_MARGIN
        zones.append(y)
        y -= TRACK * count[zone] + ROW_MARGIN
        if zone < len(levels):
            rows[levels[zone]] = y - half
            y -= 2 * half
    shift = -y
    return (
        {level: y + shift for level, y in rows.items()},
        [y + shift for y in zones],
        shift,
    )


def _ports(
    nodes: tuple[DiagramNode, ...], edges: tuple[Edge, ...], lanes: dict[int, tuple[int, int]]
) -> dict[int, float]:
    """Where each edge enters its target, from the centre: those from above above the others.

    The centre is kept for a wire that comes straight from its own row.
    """
    ports = {}
    for target in {edge.target for edge in edges}:
        height = BOX_SIZES[nodes[target].kind][1]
        sides: dict[bool, list[int]] = {True: [], False: []}
        straight = False
        for index, edge in enumerate(edges):
            if edge.target != target or edge.kind == "residual":
                continue
            source = nodes[edge.source]
            if source.level == nodes[target].level and index not in lanes:
                straight, ports[index] = True, 0.0
            else:
                sides[source.level <= nodes[target].level].append(index)
        # The wire from farthest away enters farthest out, so that wires do not cross at the box.
        above, below = (
            sorted(sides[side], key=lambda i: (i in lanes, nodes[edges[i].source].column))
            for side in (True, False)
        )
        slots: list[int | None] = [*reversed(above), *below]
        if straight:
            slots = [*reversed(above), None, *below]
            slots = [None] * (len(below) - len(above)) + slots + [None] * (len(above) - len(below))
        elif len(slots) % 2:
            slots.insert(len(slots) // 2 + (len(above) > len(below)), None)
        for position, slot in enumerate(slots, start=1):
            if slot is not None:
                ports[slot] = height * (0.5 - position / (len(slots) + 1))
    return ports


def _simplified(points: list[Point]) -> tuple[Point, ...]:
    """Without points that repeat or lie on a straight line."""
    kept = [points[0]]
    for here, after in zip(points[1:], [*points[2:], None], strict=True):
        before = kept[-1]
        if here == before:
            continue
        straight = after is not None and (
            before[0] == here[0] == after[0] or before[1] == here[1] == after[1]
        )
        if not straight:
            kept.append(here)
    return tuple(kept)
