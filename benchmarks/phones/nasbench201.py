"""NAS-Bench-201 cells (Dong & Yang, ICLR 2020) as graphs.

The network: a 3x3 stem of 16 channels; three stages of five equal cells with 16, 32 and 64 channels
at 32, 16 and 8 pixels; a residual block with stride 2 between stages; global average pooling and a
dense layer. A cell has four nodes; each of its six edges is nothing, a skip, an average pool, or
ReLU, convolution, batch norm. A node is the sum of its edges.

What a phone executes of a cell follows from connectivity: an edge costs nothing if no output
depends on it (``Graph.prune``), nor if its source is a constant zero tensor that the exporter has
folded away. Exporters differ in what they fold, so that is a parameter: see :class:`Folding`.
"""

from __future__ import annotations

import enum
import re

from ...errors import InvalidInput
from ...models.graph.attributes import BatchNorm
from ...models.graph.builder import GraphBuilder
from ...models.graph.graph import Graph

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
KERNELS = {"nor_conv_1x1": 1, "nor_conv_3x3": 3}
STAGES = ((16, 32), (32, 16), (64, 8))  # channels, pixels
CELLS = 5
NODES = 4
NORM = BatchNorm()


class Folding(enum.Enum):
    """What an exporter does with a node that is zero whatever the input is.

    ALL: it and everything that depends only on it is computed at export and costs nothing.
    ALL_BUT_SUMS: the same, but a sum of several zero tensors stays in the file, so the edges that
        leave such a node are executed. An n-ary sum is one operator that constant folding skips.
    NOTHING: the zeros stay in the file; every edge that the output depends on is executed.
    """

    ALL = "constants folded"
    ALL_BUT_SUMS = "constants folded, except sums of constants"
    NOTHING = "nothing folded"


def parse_cell(text: str) -> tuple[tuple[str, ...], ...]:
    """``|a~0|+|b~0|c~1|+|d~0|e~1|f~2|`` -> operations into nodes 1, 2, 3, by source node.

    Raises:
        InvalidInput: the text is not a NAS-Bench-201 cell.
    """
    nodes = []
    for node, part in enumerate(text.strip().split("+"), start=1):
        found = re.findall(r"\|([a-z0-9_]+)~(\d)", part)
        sources = [int(source) for _, source in found]
        names = tuple(name for name, _ in found)
        if sources != list(range(node)) or any(name not in OPERATIONS for name in names):
            raise InvalidInput(
                f"not a NAS-Bench-201 cell: {text!r}; node {node} must have one of {OPERATIONS} "
                f"from each of the nodes 0..{node - 1}, as in |none~0|+|none~0|none~1|+..."
            )
        nodes.append(names)
    if len(nodes) != NODES - 1:
        raise InvalidInput(f"a NAS-Bench-201 cell has {NODES - 1} nodes with inputs: {text!r}")
    return tuple(nodes)


def network(cell: str, folding: Folding = Folding.ALL, every_edge: bool = False) -> Graph:
    """The whole network with that cell.

    Args:
        every_edge: keep all edges that are not ``none``, connected or not: the naive cost model
            that connectivity is compared with.
    """
    nodes = parse_cell(cell)
    builder = GraphBuilder()
    x = builder.input("image", (1, 32, 32, 3))
    x = builder.conv("stem", x, STAGES[0][0], 3, norm=NORM)
    dead: list[str] = []
    for stage, (channels, _) in enumerate(STAGES):
        if stage:
            x = _residual(builder, f"reduce{stage}", x, channels)
        for number in range(CELLS):
            x = _cell(builder, f"stage{stage}/cell{number}", x, nodes, folding, every_edge, dead)
    x = builder.unary("relu", "relu", x)
    x = builder.unary("pool", "global_average_pool", x)
    logits = builder.add_layer("logits", "fully_connected", (x,), (STAGES[-1][0], 10), bias=True)
    if every_edge:
        return builder.graph((logits, *dead))
    return builder.graph((logits,)).prune()


def _cell(
    builder: GraphBuilder,
    name: str,
    source: str,
    nodes: tuple[tuple[str, ...], ...],
    folding: Folding,
    every_edge: bool,
    dead: list[str],
) -> str:
    shape = builder.shape(source)
    tensors: list[str | None] = [source]  # None: zero, and folded away
    relus: dict[str, str] = {}
    for node, operations in enumerate(nodes, start=1):
        terms = []
        for origin, operation in enumerate(operations):
            tensor = tensors[origin]
            if operation == "none" or tensor is None:
                continue
            terms.append(_edge(builder, f"{name}/edge{origin}{node}", tensor, operation, relus))
        kept_zero = (
            folding is Folding.NOTHING
            or every_edge
            or (folding is Folding.ALL_BUT_SUMS and len(operations) > 1)
        )
        if terms:
            tensors.append(_sum(builder, f"{name}/node{node}", terms))
            if every_edge:
                dead.append(tensors[-1] or "")
        elif kept_zero or node == NODES - 1:
            tensors.append(builder.input(f"{name}/zeros{node}", shape))
        else:
            tensors.append(None)
    result = tensors[-1]
    assert result is not None  # the last node is a sum or zeros
    return result


def _edge(
    builder: GraphBuilder, name: str, source: str, operation: str, relus: dict[str, str]
) -> str:
    if operation == "skip_connect":
        return source
    if operation == "avg_pool_3x3":
        return builder.add_layer(name, "average_pool", (source,), None, window=(3, 3))
    # Every convolution begins with a ReLU; the ones that read the same node share it.
    if source not in relus:
        relus[source] = builder.unary(f"{source}/relu_for_{name}", "relu", source)
    return builder.conv(
        name, relus[source], builder.channels(source), KERNELS[operation], norm=NORM
    )


def _sum(builder: GraphBuilder, name: str, terms: list[str]) -> str:
    x = terms[0]
    for position, term in enumerate(terms[1:]):
        x = builder.add(f"{name}/add{position}", x, term)
    return x


def _residual(builder: GraphBuilder, name: str, source: str, channels: int) -> str:
    """Two convolutions, the first with stride 2, beside a pooled 1x1 shortcut."""
    x = builder.unary(f"{name}/relu", "relu", source)
    x = builder.conv(f"{name}/conv_a", x, channels, 3, 2, norm=NORM, activation="relu")
    x = builder.conv(f"{name}/conv_b", x, channels, 3, norm=NORM)
    shortcut = builder.add_layer(
        f"{name}/pool", "average_pool", (source,), None, window=(2, 2), stride=(2, 2)
    )
    shortcut = builder.conv(f"{name}/shortcut", shortcut, channels)
    return builder.add(f"{name}/add", x, shortcut)
