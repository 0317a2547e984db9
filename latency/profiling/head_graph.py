"""A whole head as it is measured: C6 and the cells, on features of a backbone's sizes."""

from __future__ import annotations

from ...models.backbones.endpoints import Endpoints
from ...models.genotype import MIN_LEVEL, Genotype
from ...models.graph.builder import GraphBuilder
from ...models.graph.graph import Graph
from ...models.heads.mnasfpn import mnasfpn_head

INPUT_SIZE = 320
MOBILENET_V2_CHANNELS = (32, 96, 320)  # of C3, C4, C5


def head_graph(
    genotype: Genotype,
    channels: tuple[int, int, int] = MOBILENET_V2_CHANNELS,
    input_size: int = INPUT_SIZE,
) -> Graph:
    """C6 and the cells alone: from features ``c3``, ``c4``, ``c5`` to the last cell's outputs.

    Args:
        channels: of the backbone's C3, C4 and C5.
        input_size: pixels of the image the features would come from.
    """
    return _head(genotype, channels, input_size).prune().merge_duplicates()


def _head(genotype: Genotype, channels: tuple[int, int, int], input_size: int) -> Graph:
    builder = GraphBuilder()
    names = [f"c{MIN_LEVEL + i}" for i in range(len(channels))]
    for level, (name, count) in enumerate(zip(names, channels, strict=True), start=MIN_LEVEL):
        size = input_size // 2**level
        builder.input(name, (1, size, size, count))
    c3, c4, c5 = names
    features = mnasfpn_head(builder, Endpoints(c3, c4, c5, ssd=(c4, c5)), genotype)
    return builder.graph(features.values())


def unpruned_head(genotype: Genotype, channels: tuple[int, int, int], input_size: int) -> Graph:
    """The head with every layer an output, so that nothing is pruned."""
    graph = _head(genotype, channels, input_size)
    return Graph(graph.layers, tuple(layer.name for layer in graph if layer.op != "input"))
