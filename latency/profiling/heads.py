"""What to measure: every kernel variant a space needs, and whole random heads."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ...models.backbones.endpoints import Endpoints
from ...models.genotype import LEVELS, MIN_LEVEL, Block, Genotype
from ...models.genotype_array import random_genotypes
from ...models.graph.builder import GraphBuilder
from ...models.graph.costs import cost
from ...models.graph.graph import Graph
from ...models.heads.mnasfpn import mnasfpn_head
from ...models.model_files import to_json
from ...models.space import Space
from ..kernels.execution import execution_plan
from ..kernels.kernel import Kernel
from ..kernels.runtimes import XNNPACK, Runtime

INPUT_SIZE = 320
MOBILENET_V2_CHANNELS = (32, 96, 320)  # of C3, C4, C5
REPEATS = (3, 4, 5)  # of the cells along the paper's frontier
DIGEST = 8  # hexadecimal digits of a head's digest


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


@dataclass(frozen=True, slots=True)
class DrawnHead:
    """A random head.

    Args:
        name: ``space/seed/index/digest``. The first three say how to draw it again; the digest of
            its JSON tells it from what another version, or another space of the same name, draws
            under the same numbers: what was measured of one is never taken for the other.
    """

    name: str
    genotype: Genotype


def random_heads(space: Space, count: int, seed: int) -> tuple[DrawnHead, ...]:
    """Heads drawn uniformly from a space, each with 3 to 5 cells."""
    return tuple(_drawn_head(space, seed, index) for index in range(count))


def _drawn_head(space: Space, seed: int, index: int) -> DrawnHead:
    (genotype,) = random_genotypes(space, np.random.default_rng((seed, index)), 1, REPEATS)
    digest = hashlib.sha256(to_json(genotype).encode()).hexdigest()[:DIGEST]
    return DrawnHead(f"{space.name}/{seed}/{index}/{digest}", genotype)


DRAWN_PER_GRADED_HEAD = 4
LEAST_GRADED = 8  # fewer would be extremes with little in between


@lru_cache(maxsize=8)
def graded_heads(space: Space, count: int, seed: int) -> tuple[DrawnHead, ...]:
    """Of four times as many random heads, those whose work is spread most evenly.

    Few heads drawn at random are all of middling size, and say little about what differs between
    the fastest and the slowest: what is still in the caches when a kernel has its turn. Fewer than
    eight are drawn at random all the same.
    """
    if count < LEAST_GRADED:
        return random_heads(space, count, seed)
    drawn = random_heads(space, DRAWN_PER_GRADED_HEAD * count, seed)
    work = {head: math.log(cost(head_graph(head.genotype)).madds) for head in drawn}
    chosen: list[DrawnHead] = []
    for wanted in np.linspace(min(work.values()), max(work.values()), count):
        left = (head for head in drawn if head not in chosen)
        chosen.append(min(left, key=lambda head: abs(work[head] - float(wanted))))
    return tuple(sorted(chosen, key=drawn.index))


def space_kernels(
    space: Space,
    channels: tuple[int, int, int] = MOBILENET_V2_CHANNELS,
    input_size: int = INPUT_SIZE,
    runtime: Runtime = XNNPACK,
) -> tuple[Kernel, ...]:
    """Every kernel that any genotype of a space can be made of, each once, sorted by signature."""
    heads = (unpruned_head(genotype, channels, input_size) for genotype in covering(space))
    return distinct(kernel for head in heads for kernel in execution_plan(head, runtime).kernels)


def distinct(kernels: Iterable[Kernel]) -> tuple[Kernel, ...]:
    """Each kernel once, sorted by signature."""
    return tuple(sorted(set(kernels), key=lambda kernel: kernel.signature))


def covering(space: Space) -> Iterator[Genotype]:
    """One huge cell for each C, repeated, which together make every decision of the space.

    Shapes follow from C, F, k, a block's level and its inputs' levels alone, so blocks that read
    the cell's inputs suffice. In the second cell those have C channels instead of the backbone's.
    """
    sources = [
        tuple(range(start, start + degree))
        for degree in space.in_degrees
        for start in range(len(LEVELS) - degree + 1)
    ]
    expansions: tuple[int | None, ...] = space.expansions or (None,)
    for channels in space.channels:
        variants = [
            (inputs, expansion, kernel, merge)
            for expansion in expansions
            for inputs in sources
            for kernel in (space.kernels if inputs == sources[0] else space.kernels[:1])
            for merge in space.merges
            if merge == "add" or len(inputs) == 2
        ]
        blocks = tuple(
            Block(inputs, level, expansion, kernel, merge)
            for inputs, expansion, kernel, merge in variants
            for level in LEVELS  # the last four are the outputs
        )
        yield Genotype(channels, 2, blocks, space.sdo, space.cell_residual)


def unpruned_head(genotype: Genotype, channels: tuple[int, int, int], input_size: int) -> Graph:
    """The head with every layer an output, so that nothing is pruned."""
    graph = _head(genotype, channels, input_size)
    return Graph(graph.layers, tuple(layer.name for layer in graph if layer.op != "input"))
